"""Round trips: what a strategy did with one instrument from flat until flat again, or until it turned to the other
side. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_cli.results.result import Fill, Result


@dataclass(frozen=True, slots=True)
class RoundTrip:
    """`pnl` is less fees, without funding, in the currency of the instrument."""

    strategy: str
    venue: str
    symbol: str
    opened_ns: int
    closed_ns: int
    pnl: Decimal


@dataclass(slots=True)
class _Open:
    """What is held: signed contracts, and what buying and selling them has brought so far."""

    opened_ns: int
    position: Decimal = ZERO
    cash: Decimal = ZERO

    def add(self, quantity: Decimal, price: Decimal, fee: Decimal, multiplier: Decimal) -> None:
        """`quantity` is signed."""
        notional = CONTEXT.multiply(CONTEXT.multiply(quantity, price), multiplier)
        self.position = CONTEXT.add(self.position, quantity)
        self.cash = CONTEXT.subtract(self.cash, CONTEXT.add(notional, fee))


def round_trips(result: Result) -> Iterator[RoundTrip]:
    """Those that were closed, in the order in which they were. What is held when a joined run begins its next part is
    dropped there, because each part begins flat."""
    held: dict[tuple[str, str, str], _Open] = {}
    for fills in _parts(result.fills, result.fills_by_part):
        held.clear()
        for fill in fills:
            key = (fill.strategy, fill.venue, fill.symbol)
            multiplier = result.instruments[fill.venue, fill.symbol].multiplier
            trip = _booked(held, key, fill, multiplier)
            if trip is not None:
                yield trip


def _booked(
    held: dict[tuple[str, str, str], _Open], key: tuple[str, str, str], fill: Fill, multiplier: Decimal
) -> RoundTrip | None:
    """Books the fill; returns the round trip that it closed."""
    quantity = fill.quantity if fill.side == "Buy" else -fill.quantity
    trip = held.setdefault(key, _Open(fill.at_ns))
    if trip.position * quantity >= 0 or abs(quantity) < abs(trip.position):
        trip.add(quantity, fill.price, fill.fee, multiplier)
        return None
    closing = -trip.position
    # The fee of a fill that closes and opens is shared by quantity.
    closing_fee = CONTEXT.divide(CONTEXT.multiply(fill.fee, closing), quantity)
    trip.add(closing, fill.price, closing_fee, multiplier)
    del held[key]
    opening = CONTEXT.subtract(quantity, closing)
    if opening:
        held[key] = _Open(fill.at_ns)
        held[key].add(opening, fill.price, CONTEXT.subtract(fill.fee, closing_fee), multiplier)
    return RoundTrip(*key, trip.opened_ns, fill.at_ns, trip.cash)


def _parts(fills: Sequence[Fill], counts: Sequence[int]) -> Iterator[Sequence[Fill]]:
    """The fills, cut where a part begins."""
    begin = 0
    for count in counts or (len(fills),):
        yield fills[begin : begin + count]
        begin += count
