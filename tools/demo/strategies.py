"""The demo's namespace: two venues, one with its key in Vault, a risk limit, and five strategies that trade."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial

from tools.demo import venue_key
from tools.demo.clusters import ROOT, Cluster
from tools.demo.errors import CommandFailed
from tools.demo.kubernetes import Kubectl, Object, missing_condition
from tools.demo.wait import wait_for

NAMESPACE = "demo"
VENUE = "sim-fx"
SAMPLES = ROOT / "samples"
RESTRICTED = {
    "pod-security.kubernetes.io/enforce": "restricted",
    "pod-security.kubernetes.io/enforce-version": "latest",
}
READY_SECONDS = 240.0
Report = Callable[[str], None]
POSITION_SECONDS = 240.0


def start(cluster: Cluster, report: Report = print) -> None:
    """Applies the samples and waits until every strategy trades and holds a position."""
    kubectl = cluster.kubectl()
    kubectl.apply([namespace(NAMESPACE)])
    manifests = samples(kubectl)
    report(f"vault: writing a random API key for venue {VENUE}")
    key = _key(cluster)
    kubectl.apply([with_key(item, key) if item["metadata"]["name"] == VENUE else item for item in manifests], NAMESPACE)
    names = [item["metadata"]["name"] for item in manifests if item["kind"] == "Strategy"]
    report(f"strategies: {', '.join(names)}")
    for venue in (item["metadata"]["name"] for item in manifests if item["kind"] == "VenueConnection"):
        wait_for(partial(_venue, kubectl, venue), READY_SECONDS, f"venue {venue} to be connected", report=report)
        report(f"venue {venue}: logged on")
    for name in names:
        wait_for(partial(_trading, kubectl, name), READY_SECONDS, f"{name} to trade", report=report)
        report(f"strategy {name}: trading")
    report("waiting for the first positions: models warm up for a dozen bars, one a second")
    for name in names:
        wait_for(partial(_position, kubectl, name), POSITION_SECONDS, f"{name} to hold a position", report=report)


def stop(cluster: Cluster, report: Report = print) -> None:
    """Deletes the namespace: strategies stop first, then venues; waits until it is gone."""
    kubectl = cluster.kubectl()
    if kubectl.get("namespace", NAMESPACE) is None:
        return
    report(f"deleting namespace {NAMESPACE}")
    kubectl("delete", "namespace", NAMESPACE, "--wait=false")
    wait_for(lambda: _still_there(kubectl), 240, f"namespace {NAMESPACE} to be gone", report=report)


def namespace(name: str, labels: Mapping[str, str] = RESTRICTED) -> Object:
    """A namespace; one in which only restricted pods may run, unless its labels say otherwise."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": dict(labels)}}


def samples(kubectl: Kubectl) -> list[Object]:
    """The manifests of samples/, in an order that does not matter."""
    found: list[Object] = []
    for path in sorted(SAMPLES.glob("*.yaml")):
        found.append(json.loads(kubectl("create", "--dry-run=client", "-o", "json", "-f", str(path))))
    for item in found:
        item["metadata"].pop("namespace", None)
    return found


def with_key(manifest: Object, key: venue_key.VenueKey) -> Object:
    """A VenueConnection that asks for the key, and where its gateway finds it; other kinds unchanged."""
    if manifest["kind"] != "VenueConnection":
        return manifest
    spec = manifest["spec"]
    simulated = {**spec["simulated"], "apiKeySha256": key.sha256}
    vault = {"path": key.path, "role": key.role, "refreshSeconds": 10}
    return {**manifest, "spec": {**spec, "simulated": simulated, "credentials": {"vault": vault}}}


def kill_hints(kubectl: str, user: str) -> list[str]:
    """Commands by which `user`, whose kubectl is `kubectl`, stops the demo and another person re-arms it."""
    switch = f"{kubectl} patch killswitch all -n {NAMESPACE} --type=merge -p"
    engage = json.dumps({"spec": {"engaged": True, "reason": "drill", "engagedBy": user}})
    rearm = json.dumps({"spec": {"engaged": False, "reason": "the drill is over"}})
    return [
        f"{switch} '{engage}'      # stop everything",
        f"{kubectl} get killswitches -n {NAMESPACE} -w         # until every gateway has acknowledged",
        f"{switch} '{rearm}' --as=second-person --as-group=system:masters      # who engaged it cannot re-arm it",
        f"kubectl crowetrade kill --all -n {NAMESPACE} --reason drill      # every way at once (make demo installs it)",
    ]


def table(kubectl: Kubectl) -> str:
    """What a person sees."""
    return kubectl("get", "strategies", "-n", NAMESPACE)


def _key(cluster: Cluster) -> venue_key.VenueKey:
    return venue_key.provide(cluster, NAMESPACE, VENUE)


def _venue(kubectl: Kubectl, name: str) -> str | None:
    return missing_condition(kubectl.get("venueconnection", name, NAMESPACE), "Ready")


def _trading(kubectl: Kubectl, name: str) -> str | None:
    strategy = kubectl.get("strategy", name, NAMESPACE)
    return missing_condition(strategy, "Ready") or missing_condition(strategy, "Trading")


def _position(kubectl: Kubectl, name: str) -> str | None:
    strategy = kubectl.get("strategy", name, NAMESPACE)
    status = (strategy or {}).get("status", {})
    if any(entry["quantity"] != "0" for entry in status.get("position", [])):
        return None
    orders = status.get("orders", {})
    return f"no position; {orders.get('sentTotal', 0)} orders sent, {orders.get('rejectedTotal', 0)} refused"


def _still_there(kubectl: Kubectl) -> str | None:
    try:
        left = kubectl.get("namespace", NAMESPACE)
    except CommandFailed as error:
        return str(error)
    if left is None:
        return None
    conditions = left.get("status", {}).get("conditions", [])
    return "; ".join(entry["message"] for entry in conditions if entry["status"] == "True") or "terminating"
