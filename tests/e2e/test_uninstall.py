"""Uninstalling leaves nothing stuck, and installing again carries on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tools.demo import install
from tools.demo.clusters import Cluster, LocalCluster
from tools.demo.kubernetes import Kubectl, Object

from crowetrade_api.names import FINALIZER
from tests.e2e import manifests
from tests.e2e.journal import Journal, read_journal, until_position_agrees
from tests.e2e.namespaces import LABELS, Namespace

CLAIM = "data-nats-0"
VOLUME = "e2e-bus"


@pytest.fixture
def persistent(cluster: Cluster, kubectl: Kubectl, tmp_path: Path) -> Iterator[Cluster]:
    """The cluster with a bus whose volume stays when the release goes; where there is no storage class, a folder of
    the node."""
    if cluster.persistent:
        yield cluster
        return
    assert isinstance(cluster, LocalCluster), "the node is this machine"
    # The bus is no root, and kubelet changes the owner of no such folder.
    (tmp_path / "bus").mkdir()
    (tmp_path / "bus").chmod(0o777)
    with_volume = LocalCluster()
    with_volume.persistent = True
    try:
        _delete_bus(kubectl)
        kubectl.apply([_volume(tmp_path / "bus")])
        install.install(with_volume)
        yield with_volume
    finally:
        _delete_bus(kubectl)
        kubectl("delete", "persistentvolumeclaim", CLAIM, "-n", install.NAMESPACE, "--ignore-not-found")
        kubectl("delete", "persistentvolume", VOLUME, "--ignore-not-found")
        install.install(cluster)


def _delete_bus(kubectl: Kubectl) -> None:
    """No upgrade can give a StatefulSet other volumes."""
    kubectl("delete", "statefulset", "nats", "-n", install.NAMESPACE, "--ignore-not-found", "--cascade=foreground")


def _volume(folder: Path) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": VOLUME, "labels": LABELS},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "hostPath": {"path": str(folder)},
            "claimRef": {"namespace": install.NAMESPACE, "name": CLAIM},
        },
    }


def _finalizers(namespace: Namespace, kind: str, name: str) -> list[str]:
    found: list[str] = namespace.get(kind, name)["metadata"].get("finalizers", [])
    return found


@pytest.mark.alone
def test_nothing_is_stuck_and_an_operator_that_comes_again_carries_on(
    persistent: Cluster, kubectl: Kubectl, namespace: Namespace
) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema"), manifests.strategy("other"))
    namespace.until_filled("ema")
    assert FINALIZER in _finalizers(namespace, "strategy", "ema")
    before = read_journal(namespace, manifests.VENUE)
    install.uninstall(persistent)
    try:
        for kind, name in (("strategy", "ema"), ("strategy", "other"), ("venueconnection", manifests.VENUE)):
            assert _finalizers(namespace, kind, name) == []
        assert kubectl.get("deployment", "strategy-ema", namespace.name) is not None, "what runs is left alone"
        kubectl("delete", "strategy", "other", "-n", namespace.name, "--timeout=30s", timeout=40)
    finally:
        install.install(persistent)

    def taken_up() -> str | None:
        return None if FINALIZER in _finalizers(namespace, "strategy", "ema") else "it has no finalizer yet"

    namespace.until(taken_up, "the operator to take up what it finds")
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=namespace.filled("ema"))
    _assert_carried_on(namespace, before)


def _assert_carried_on(namespace: Namespace, before: Journal) -> None:
    """It is one journal, and what is held is what all of it adds up to."""
    namespace.patch("strategy", "ema", {"spec": {"suspend": True}})
    namespace.until_condition("strategy", "ema", "Trading", "False", "Suspended")
    journal = read_journal(namespace, manifests.VENUE)
    assert journal.broken_link() is None
    known = [fill.exec_id for fill in before.fills("ema")]
    fills = [fill.exec_id for fill in journal.fills("ema")]
    assert known
    assert fills[: len(known)] == known
    assert len(set(fills)) == len(fills) > len(known)
    until_position_agrees(namespace, "ema", journal)
