"""The bus may go and come back, even empty: nothing trades meanwhile, and everything goes on by itself afterwards."""

from __future__ import annotations

import pytest
from tools.demo import install
from tools.demo.kubernetes import Kubectl

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace


@pytest.mark.parametrize("topology", ["Combined", "Split"])
def test_trading_goes_on_after_the_bus_was_killed(namespace: Namespace, kubectl: Kubectl, topology: str) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema", topology=topology))
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=3)
    before = kubectl.get("pod", "nats-0", install.NAMESPACE)
    assert before is not None

    kubectl("delete", "pod", "nats-0", "-n", install.NAMESPACE, "--grace-period=0", "--force")

    def another() -> str | None:
        pod = kubectl.get("pod", "nats-0", install.NAMESPACE) or {"metadata": {"uid": ""}, "status": {}}
        ready = [c["status"] for c in pod["status"].get("conditions", []) if c["type"] == "Ready"]
        new = pod["metadata"]["uid"] not in ("", before["metadata"]["uid"])
        return None if new and ready == ["True"] else f"new: {new}, ready: {ready}"

    namespace.until(another, "a new pod of the bus")
    filled = namespace.filled("ema")

    def moved() -> str | None:
        # Up when the bus kept the journal, from zero when it came back empty.
        now = namespace.filled("ema")
        return None if now != filled else f"{now} filled orders as before"

    namespace.until(moved, "the gateway to be heard again")
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=namespace.filled("ema") + 3)
