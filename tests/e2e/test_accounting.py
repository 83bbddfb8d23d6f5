"""Position and profit in status are what the recorded executions add up to."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction

from crowetrade.bus.v1 import journal_pb2
from tests.e2e import manifests
from tests.e2e.journal import read_journal, signed_quantity
from tests.e2e.namespaces import Namespace

# What is reported is rounded: money to 8 decimal places, prices to those of the tick size plus 4. This test carries
# rational numbers.
_MONEY = Decimal("1e-8")
_PRICE = Decimal("1e-9")


def _rounded(value: Fraction | str, places: Decimal) -> Decimal:
    exact = Fraction(value)
    return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(places)


def _average_cost(fills: Iterable[journal_pb2.OrderExecuted]) -> tuple[Fraction, Fraction, Fraction]:
    """Quantity, average price and realised profit by average cost, in exact arithmetic."""
    quantity = average = realized = Fraction(0)
    for fill in fills:
        change, price = Fraction(signed_quantity(fill)), Fraction(fill.price)
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
    journal = read_journal(namespace, manifests.VENUE)
    fills, wanted = journal.fills("ema"), journal.filled("ema")
    assert len(fills) > 100

    def settled() -> str | None:
        seen = namespace.status("strategy", "ema").get("orders", {}).get("filledTotal", 0)
        return None if seen == wanted else f"status knows {seen} of {wanted} filled orders"

    namespace.until(settled, "the status to be up to date")
    status = namespace.status("strategy", "ema")
    quantity, average, realized = _average_cost(fills)
    fees = sum((Fraction(fill.fee) for fill in fills), Fraction(0))
    cash = sum((-Fraction(signed_quantity(fill)) * Fraction(fill.price) for fill in fills), Fraction(0))
    position = status["position"][0]
    mark = Fraction(position["markPrice"])
    pnl = status["pnl"]

    assert Fraction(position["quantity"]) == quantity
    assert Decimal(pnl["fees"]) == _rounded(fees, _MONEY)
    assert Decimal(position["averagePrice"]) == _rounded(average, _PRICE)
    assert Decimal(pnl["realized"]) == _rounded(realized, _MONEY)
    assert Decimal(pnl["unrealized"]) == _rounded((mark - average) * quantity, _MONEY)
    # By another way: all the money that went in and out, and what the position is worth now. It is the sum of three
    # rounded figures.
    assert abs(Decimal(pnl["net"]) - _rounded(cash + quantity * mark - fees, _MONEY)) <= 2 * _MONEY
