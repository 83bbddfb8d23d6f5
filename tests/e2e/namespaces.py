"""A namespace of a test: apply, look, wait, run something inside a pod."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tools.demo import images, strategies
from tools.demo.clusters import Cluster
from tools.demo.kubernetes import Kubectl, Object, missing_condition
from tools.demo.wait import wait_for

PYTHON = "/opt/venv/bin/python"
"""In every image of ours."""
LABELS = {"app.kubernetes.io/part-of": "crowetrade-e2e"}
"""Of what a test makes outside its namespace, so that the next run finds what an interrupted one left."""
READY_SECONDS = 180.0
TRADES_SECONDS = 120.0
REPLAY_SECONDS = 600.0


def manifest(name: str, restricted: bool = True) -> Object:
    """A namespace for tests, in which only restricted pods may run unless it is to be otherwise."""
    return strategies.namespace(name, LABELS | (strategies.RESTRICTED if restricted else {}))


@dataclass(frozen=True)
class Namespace:
    """One namespace of the cluster."""

    name: str
    cluster: Cluster
    kubectl: Kubectl

    def apply(self, *objects: Object) -> None:
        """Server-side apply."""
        self.kubectl.apply(objects, self.name)

    def get(self, kind: str, name: str) -> Object:
        """An object that must be there."""
        found = self.kubectl.get(kind, name, self.name)
        assert found is not None, f"{kind} {name} is not in namespace {self.name}"
        return found

    def status(self, kind: str, name: str) -> dict[str, Any]:
        """Status of an object; empty when it has none yet."""
        status: dict[str, Any] = self.get(kind, name).get("status", {})
        return status

    def patch(self, kind: str, name: str, patch: dict[str, Any]) -> None:
        """Merge patch, as a person would."""
        self.kubectl("patch", kind, name, "-n", self.name, "--type=merge", "-p", json.dumps(patch))

    def delete(self, kind: str, name: str, *arguments: str) -> None:
        """Deletes without waiting."""
        self.kubectl("delete", kind, name, "-n", self.name, "--wait=false", *arguments)

    def until(self, probe: Callable[[], str | None], description: str, seconds: float = READY_SECONDS) -> None:
        """Waits for a probe that says what is missing."""
        wait_for(probe, seconds, f"{description} in {self.name}")

    def until_condition(self, kind: str, name: str, condition: str, status: str = "True", reason: str = "") -> None:
        """Waits for a condition of the current generation, with a reason when one is given."""

        def probe() -> str | None:
            found = self.kubectl.get(kind, name, self.name)
            missing = missing_condition(found, condition, status)
            if missing or not reason or found is None:
                return missing
            seen = next(c["reason"] for c in found["status"]["conditions"] if c["type"] == condition)
            return None if seen == reason else f"reason is {seen}, not {reason}"

        self.until(probe, f"{kind} {name}: {condition}={status} {reason}")

    def until_trading(self, *names: str) -> None:
        """Waits until strategies are Ready and Trading."""
        for name in names:
            self.until_condition("strategy", name, "Ready")
            self.until_condition("strategy", name, "Trading")

    def until_filled(self, name: str, more_than: int = 0) -> None:
        """Waits until a strategy has more than this many filled orders."""

        def probe() -> str | None:
            orders = self.status("strategy", name).get("orders", {})
            return None if orders.get("filledTotal", 0) > more_than else f"orders: {orders}"

        self.until(probe, f"strategy {name} to have more than {more_than} filled orders", TRADES_SECONDS)

    def until_ended(self, venue: str) -> None:
        """Waits until a venue has played its recording to the end."""

        def probe() -> str | None:
            status = self.status("venueconnection", venue)
            if status.get("session", {}).get("state") == "Ended":
                return None
            return f"session {status.get('session', {})}, orders {status.get('orders', {})}"

        self.until(probe, f"venue {venue} to end its replay", REPLAY_SECONDS)

    def filled(self, name: str) -> int:
        """Filled orders of a strategy."""
        total: int = self.status("strategy", name).get("orders", {}).get("filledTotal", 0)
        return total

    def pods(self, selector: str) -> list[Object]:
        """Pods by label that are not on their way out."""
        found = self.kubectl.list("pods", self.name, selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def pod(self, selector: str) -> Object:
        """The one pod with these labels."""
        found = self.pods(selector)
        assert len(found) == 1, f"expected one pod with {selector}, found {[pod['metadata']['name'] for pod in found]}"
        return found[0]

    def lives(self, selector: str) -> list[tuple[str, int]]:
        """uid of each pod with these labels, and how often its containers have restarted: the same for as long as
        nothing has."""
        return [
            (pod["metadata"]["uid"], sum(one["restartCount"] for one in pod["status"].get("containerStatuses", [])))
            for pod in self.pods(selector)
        ]

    def kill(self, selector: str) -> None:
        """Kills the one pod with these labels as a node failure would, with no time to say good-bye, and waits until
        another one in its place is ready."""
        killed = self.pod(selector)
        self.delete("pod", pod_name(killed), "--grace-period=0", "--force")

        def probe() -> str | None:
            pods = self.pods(selector)
            uids = [pod["metadata"]["uid"] for pod in pods]
            ready = [c["status"] for pod in pods for c in pod["status"].get("conditions", []) if c["type"] == "Ready"]
            if killed["metadata"]["uid"] not in uids and ready == ["True"]:
                return None
            return f"pods {[pod_name(pod) for pod in pods]}, ready {ready}"

        self.until(probe, f"a new pod instead of {pod_name(killed)}")

    def python(self, pod: str, script: str, *arguments: str) -> Any:
        """Runs a Python script in a pod's first container; it prints JSON."""
        output = self.kubectl("exec", "-n", self.name, pod, "--", PYTHON, "-c", script, *arguments)
        return json.loads(output)


def of_strategy(name: str) -> str:
    """Selector of a strategy's pods."""
    return f"trading.crowetrade.io/strategy={name}"


def of_venue(name: str) -> str:
    """Selector of a venue's gateway."""
    return f"trading.crowetrade.io/venue={name}"


def pod_name(pod: Object) -> str:
    """metadata.name."""
    name: str = pod["metadata"]["name"]
    return name


def idle_pod(namespace: Namespace, name: str, labelled: Mapping[str, str]) -> Object:
    """A pod that does nothing, and ends by itself if nobody deletes it."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    container = {"name": "idle", "image": images.names(namespace.cluster).agents, "command": ["sleep", "infinity"]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace.name, "labels": dict(labelled)},
        "spec": {
            "automountServiceAccountToken": False,
            "activeDeadlineSeconds": 900,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{**container, "securityContext": security}],
        },
    }
