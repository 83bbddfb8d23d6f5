"""The bus may go and come back, even empty: nothing trades meanwhile, and everything goes on by itself afterwards."""

from __future__ import annotations

import pytest
from tools.demo import install

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace


@pytest.mark.parametrize("topology", ["Combined", "Split"])
def test_trading_goes_on_after_the_bus_was_killed(namespace: Namespace, topology: str) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema", topology=topology))
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=3)

    Namespace(install.NAMESPACE, namespace.cluster, namespace.kubectl).kill("app.kubernetes.io/name=nats")
    filled = namespace.filled("ema")

    def moved() -> str | None:
        # Up when the bus kept the journal, from zero when it came back empty.
        now = namespace.filled("ema")
        return None if now != filled else f"{now} filled orders as before"

    namespace.until(moved, "the gateway to be heard again")
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=namespace.filled("ema") + 3)
