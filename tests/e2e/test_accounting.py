"""Position and profit in status are what the recorded executions add up to."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from crowetrade.bus.v1 import orders_pb2
from tests.e2e import manifests
from tests.e2e.journal import read_journal, signed_quantity
from tests.e2e.namespaces import Namespace

# Average prices have no end in decimals; CroweTrade carries 38 digits, this test rational numbers.
_PLACES = Decimal("1e-18")


def _rounded(value: Fraction | str) -> Decimal:
    exact = Fraction(value)
    return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(_PLACES)


def _average_cost(fills: Iterable[orders_pb2.ExecutionReport]) -> tuple[Fraction, Fraction, Fraction]:
    """Quantity, average price and realised profit by average cost, in exact arithmetic."""
    quantity = average = realized = Fraction(0)
    for report in fills:
        change, price = Fraction(signed_quantity(report)), Fraction(report.fill.last_price)
        if quantity * change < 0:
            closed = min(abs(change), abs(quantity)) * (1 if quantity > 0 else -1)
            realized += closed * (price - average)
            rest = change + closed
            average = price if rest else average
        else:
            average = (quantity * average + change * price) / (quantity + change)
        quantity += change
        average = average if quantity else Fraction(0)
    return quantity, average, realized


def test_status_equals_the_recomputed_journal(namespace: Namespace) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(replay=manifests.LOCK_STEP))
    namespace.until_condition("venueconnection", manifests.VENUE, "Ready")
    namespace.apply(manifests.strategy("ema"))
    namespace.until_ended(manifests.VENUE)
    fills = read_journal(namespace, manifests.VENUE).fills("ema")
    assert len(fills) > 100

    def settled() -> str | None:
        seen = namespace.status("strategy", "ema").get("orders", {}).get("filledTotal", 0)
        wanted = sum(report.ord_status == orders_pb2.ORD_STATUS_FILLED for report in fills)
        return None if seen == wanted else f"status knows {seen} of {wanted} filled orders"

    namespace.until(settled, "the status to be up to date")
    status = namespace.status("strategy", "ema")
    quantity, average, realized = _average_cost(fills)
    fees = sum((Fraction(report.fill.fee) for report in fills), Fraction(0))
    cash = sum((-Fraction(signed_quantity(r)) * Fraction(r.fill.last_price) for r in fills), Fraction(0))
    position = status["position"][0]
    mark = Fraction(position["markPrice"])
    pnl = status["pnl"]

    assert Fraction(position["quantity"]) == quantity
    assert Fraction(pnl["fees"]) == fees
    assert _rounded(position["averagePrice"]) == _rounded(average)
    assert _rounded(pnl["realized"]) == _rounded(realized)
    assert _rounded(pnl["unrealized"]) == _rounded((mark - average) * quantity)
    # By another way: all the money that went in and out, and what the position is worth now.
    assert _rounded(pnl["net"]) == _rounded(cash + quantity * mark - fees)
