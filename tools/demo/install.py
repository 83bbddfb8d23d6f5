"""Installs CroweTrade into a cluster: images, chart, and a wait until the operator and the bus are ready."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tools.demo import administrator, images
from tools.demo.clusters import ROOT, Cluster, choose
from tools.demo.errors import CommandFailed
from tools.demo.images import Images
from tools.demo.kubernetes import Kubectl
from tools.demo.shell import run
from tools.demo.wait import wait_for
from tools.localcluster import paths, vault, versions
from tools.localcluster.lock import exclusive

RELEASE = "crowetrade"
NAMESPACE = "crowetrade-system"
CHART = ROOT / "charts" / "crowetrade"
MONITORING_LABELS = {"monitoring": "true"}
"""Of a namespace whose pods may read metrics."""
IDENTITY_VARIABLE = "CROWETRADE_IDENTITY"
"""Environment variable: Vault, or None to run without certificates."""
READY_SECONDS = 240.0


@dataclass(frozen=True)
class Installation:
    """A cluster with CroweTrade in it."""

    cluster: Cluster
    images: Images


def install(cluster: Cluster | None = None, report: Callable[[str], None] = print) -> Installation:
    """Starts the cluster when needed, then installs or upgrades; safe to repeat."""
    where = cluster or choose()
    report(f"cluster: {where.name}")
    where.up()
    with ThreadPoolExecutor(max_workers=2) as pool:
        built = pool.submit(images.ensure, where, report)
        pool.submit(where.install_vault).result()
        found = built.result()
    report(f"helm: installing {RELEASE} {found.tag}")
    release(where, values(where, found))
    until_ready(where, report)
    if identified():
        administrator.issue(where, administrator.directory())
    report(f"CroweTrade is installed in namespace {NAMESPACE}")
    return Installation(where, found)


def release(cluster: Cluster, given: Mapping[str, object], chart: Path = CHART) -> None:
    """Installs or upgrades the release with these values, and returns before it is ready."""
    command = [*cluster.helm(), "upgrade", "--install", RELEASE, str(chart), "-n", NAMESPACE, "--create-namespace"]
    with exclusive(paths.cache() / "install.lock", "install CroweTrade"):
        if cluster.ours:
            _forget_interrupted(cluster.kubectl())
        run([*command, "-f", "-"], stdin=json.dumps(given), timeout=300)


def rollback(cluster: Cluster) -> None:
    """Back to the release before."""
    run([*cluster.helm(), "rollback", RELEASE, "-n", NAMESPACE], timeout=300)


def until_ready(cluster: Cluster, report: Callable[[str], None] = print) -> None:
    """Waits until the operator and the bus are ready."""
    wait_for(lambda: not_ready(cluster), READY_SECONDS, "the operator and the bus to be ready", report=report)


def uninstall(cluster: Cluster) -> None:
    """Removes the release; custom resource definitions stay, as the chart says."""
    run([*cluster.helm(), "uninstall", RELEASE, "-n", NAMESPACE, "--ignore-not-found", "--wait"], timeout=180)


def values(cluster: Cluster, found: Images) -> dict[str, object]:
    """Values of the chart for this cluster."""
    return {
        "operator": {"image": {"repository": found.operator.rpartition(":")[0], "tag": found.tag}},
        "agents": {"image": {"repository": found.agents.rpartition(":")[0], "tag": found.tag}},
        "gateway": {"image": {"repository": found.gateway.rpartition(":")[0], "tag": found.tag}},
        "vault": {
            "address": vault.ADDRESS,
            "image": versions.VAULT_IMAGE,
            "caCertificate": cluster.vault_authority(),
            "podLabels": vault.POD_LABELS,
        },
        "identity": {
            "source": "Vault" if identified() else "None",
            "trustDomain": vault.TRUST_DOMAIN,
            "administrators": [vault.ADMINISTRATOR],
            "vault": {"pkiPath": vault.PKI_PATH, "role": vault.PKI_ROLE, "authRole": vault.IDENTITY_ROLE},
        },
        "monitoring": {"namespaceLabels": MONITORING_LABELS},
        # Many venues come and go in the tests, and nothing deletes a journal.
        "nats": {
            # By its tag: the local cluster has made its image itself, so no registry's digest is its.
            "image": {"digest": ""},
            # The only one that is loaded here.
            "certificateImage": {"tag": found.tag},
            "persistence": {"enabled": cluster.persistent},
            "maxFileStore": "32GB",
            "journalMaxBytes": 128 * 1024 * 1024,
            "snapshotsMaxBytes": 16 * 1024 * 1024,
        },
    }


def identified() -> bool:
    """Whether processes prove who they are."""
    return os.environ.get(IDENTITY_VARIABLE) != "None"


def not_ready(cluster: Cluster) -> str | None:
    """What of the installation is not ready yet, None when all is."""
    kubectl = cluster.kubectl()
    parts = [("statefulset", "nats"), ("deployment", "crowetrade-operator")]
    if identified():
        parts.append(("deployment", "crowetrade-authorizer"))
    for kind, name in parts:
        found = kubectl.get(kind, name, NAMESPACE)
        if found is None:
            return f"no {kind} {name}"
        status, wanted = found.get("status", {}), found["spec"]["replicas"]
        current = status.get("observedGeneration", 0) >= found["metadata"]["generation"]
        counts = tuple(status.get(key, 0) for key in ("updatedReplicas", "readyReplicas", "replicas"))
        if not current or counts != (wanted, wanted, wanted):
            return f"{kind} {name}: {counts[1]} of {wanted} ready, {counts[0]} updated{_pods(cluster, name)}"
    return None


def _pods(cluster: Cluster, name: str) -> str:
    """What holds the pods up, with the last line that a crashing one wrote."""
    kubectl = cluster.kubectl()
    told = []
    for pod in kubectl.list("pods", NAMESPACE, f"app.kubernetes.io/name={name}"):
        pod_name = pod["metadata"]["name"]
        for container in pod.get("status", {}).get("containerStatuses", []):
            waiting = container.get("state", {}).get("waiting", {}).get("reason")
            if waiting:
                said = _last_line(kubectl, pod_name) if container.get("restartCount") else ""
                told.append(f"{pod_name}: {waiting} {said}".strip())
    return f" ({'; '.join(told)})" if told else ""


def _last_line(kubectl: Kubectl, pod: str) -> str:
    try:
        return kubectl("logs", "-n", NAMESPACE, pod, "--previous", "--tail=1").strip()
    except CommandFailed:
        return ""


def _forget_interrupted(kubectl: Kubectl) -> None:
    """A helm that was killed leaves the record of an operation that never ends, and every later one refuses to start.
    Under our lock, in a cluster that is ours alone, such a record is nobody's."""
    pending = f"owner=helm,name={RELEASE},status in (pending-install,pending-upgrade,pending-rollback)"
    kubectl("delete", "secret", "-n", NAMESPACE, "-l", pending)
