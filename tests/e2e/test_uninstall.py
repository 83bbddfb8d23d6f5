"""Uninstalling leaves nothing stuck, and installing again carries on."""

from __future__ import annotations

import pytest
from tools.demo import install
from tools.demo.clusters import Cluster
from tools.demo.kubernetes import Kubectl

from crowetrade_api.names import FINALIZER
from tests.e2e import manifests
from tests.e2e.namespaces import Namespace


def _finalizers(namespace: Namespace, kind: str, name: str) -> list[str]:
    found: list[str] = namespace.get(kind, name)["metadata"].get("finalizers", [])
    return found


@pytest.mark.alone
def test_nothing_is_stuck_and_an_operator_that_comes_again_carries_on(
    cluster: Cluster, kubectl: Kubectl, namespace: Namespace
) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema"), manifests.strategy("other"))
    namespace.until_filled("ema")
    assert FINALIZER in _finalizers(namespace, "strategy", "ema")
    install.uninstall(cluster)
    try:
        for kind, name in (("strategy", "ema"), ("strategy", "other"), ("venueconnection", "sim")):
            assert _finalizers(namespace, kind, name) == []
        assert kubectl.get("deployment", "strategy-ema", namespace.name) is not None, "what runs is left alone"
        kubectl("delete", "strategy", "other", "-n", namespace.name, "--timeout=30s", timeout=40)
    finally:
        install.install(cluster)

    def taken_up() -> str | None:
        return None if FINALIZER in _finalizers(namespace, "strategy", "ema") else "it has no finalizer yet"

    namespace.until(taken_up, "the operator to take up what it finds")
    # Where the bus has no volume its journals are gone with it, and a person has to say that this is right.
    if cluster.persistent:
        namespace.until_condition("venueconnection", "sim", "Ready")
    else:
        namespace.until_condition("venueconnection", "sim", "Halted", reason="JournalBelowRecord")
