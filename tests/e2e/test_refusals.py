"""Orders that a limit refuses again and again are seen, and sliced where the manifest asks for that."""

from __future__ import annotations

from decimal import Decimal

from tests.e2e import manifests
from tests.e2e.journal import read_journal
from tests.e2e.namespaces import Namespace

_TIGHT = {"maxOrderQuantity": "1000"}


def _policy(slices: bool) -> dict[str, object]:
    return {
        "entryGate": {"minProbEdge": "0.5"},
        "sizing": {"method": "TemperedKelly", "fraction": "0.3", "maxLeverage": "2"},
        "execution": {"style": "Limit", "limitOffsetBps": "1", "sliceToLimits": slices},
    }


def test_refusals_are_a_condition_that_names_the_limit(namespace: Namespace) -> None:
    strategy = manifests.strategy("ema", policy=_policy(slices=False))
    namespace.apply(manifests.risk_limit("tight", **_TIGHT), manifests.venue(), strategy)
    namespace.until_condition("strategy", "ema", "OrdersRefused", "True", "OrdersRefused")
    status = namespace.status("strategy", "ema")
    message = next(entry["message"] for entry in status["conditions"] if entry["type"] == "OrdersRefused")
    assert "tight" in message
    assert "MaxOrderQuantity" in message

    def counted() -> str | None:
        last = namespace.status("strategy", "ema")["orders"].get("lastReject") or {}
        named = last.get("limit") == "tight" and last.get("reason") == "MaxOrderQuantity"
        return None if named else f"lastReject {last}"

    # The gateway counts what it refuses once a second; the agent's word may be there before.
    namespace.until(counted, "the gateway's count to name the limit")


def test_an_order_beyond_the_limit_is_sliced(namespace: Namespace) -> None:
    strategy = manifests.strategy("ema", policy=_policy(slices=True))
    namespace.apply(manifests.risk_limit("tight", **_TIGHT), manifests.venue(), strategy)
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=3)
    assert all(
        Decimal(order.order_quantity) <= 1000 for order in read_journal(namespace, manifests.VENUE).orders("ema")
    )
