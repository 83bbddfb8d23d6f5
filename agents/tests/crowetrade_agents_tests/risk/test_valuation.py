"""What is kept current equals what is added up from nothing, whatever moves in between."""

from __future__ import annotations

from decimal import Decimal
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import Mark, TopOfBook
from crowetrade_agents.risk.facts import Exposure
from crowetrade_agents.risk.valuation import BAND, Group, Valuation

INSTRUMENTS = tuple(InstrumentId("sim", f"S{number}") for number in range(6))
LISTED = {
    name: Instrument(name, ("USD", "EUR")[place % 2], Decimal(10), Decimal("0.01"), Decimal(1), Decimal(1))
    for place, name in enumerate(INSTRUMENTS)
}
OWNERS = ("alpha", "beta", "gamma")
GROUPS = (
    (frozenset(OWNERS), frozenset[str]()),
    (frozenset({"alpha"}), frozenset[str]()),
    (frozenset(OWNERS), frozenset({"S0", "S1"})),
)


class Moved(NamedTuple):
    """An owner's exposure is another; 0 is none."""

    owner: str
    instrument: InstrumentId
    position: int
    open_buy: int
    open_sell: int


class Quoted(NamedTuple):
    """A new quote; 0 is one that cannot be used."""

    instrument: InstrumentId
    bid: int


class Asked(NamedTuple):
    """Somebody asks for a group."""

    group: int


class Settled(NamedTuple):
    """What has moved is taken in."""


instruments = st.sampled_from(INSTRUMENTS)
changes = st.one_of(
    st.builds(Moved, st.sampled_from(OWNERS), instruments, st.integers(-9, 9), st.integers(0, 3), st.integers(0, 3)),
    st.builds(Quoted, instruments, st.integers(0, 50)),
    st.builds(Asked, st.integers(0, len(GROUPS) - 1)),
    st.builds(Settled),
)


def mark(instrument: InstrumentId, bid: int, at_ns: int) -> Mark:
    """A quote of width 1."""
    size = Decimal(1)
    return Mark(TopOfBook(instrument, Decimal(bid), size, Decimal(bid + 1), size, at_ns), at_ns)


def summary(group: Group) -> tuple[object, ...]:
    totals = {name: (total.gross, total.up, total.down) for name, total in group.totals.items()}
    return totals, group.unvalued, group.orders


def assert_ceiling(ceilings: dict[str, Decimal] | None, exact: Group) -> None:
    """It is there when everything has a value; it is never below the sum, and not far above it."""
    assert (ceilings is None) is bool(exact.unvalued)
    if ceilings is not None:
        for currency, ceiling in ceilings.items():
            gross = exact.totals[currency].gross if currency in exact.totals else Decimal(0)
            assert gross <= ceiling <= gross * BAND * BAND
        assert ceilings.keys() >= exact.totals.keys()


@given(st.lists(changes, max_size=60))
def test_sums_follow_every_exposure_and_every_quote(happened: list[Moved | Quoted | Asked | Settled]) -> None:
    """At first everybody holds something of everything, at a quote each."""
    exposures = {(owner, name): Exposure(Decimal(3)) for owner in OWNERS for name in INSTRUMENTS}
    marks = {name: mark(name, 20, 0) for name in INSTRUMENTS}
    moved, quoted = set[tuple[str, InstrumentId]](), set[InstrumentId]()
    kept = Valuation(exposures, {}, LISTED, marks, moved, quoted)
    for number, change in enumerate(happened, 1):
        match change:
            case Moved(owner, instrument, position, buy, sell):
                working = int(buy > 0) + int(sell > 0)
                exposures[owner, instrument] = Exposure(Decimal(position), Decimal(buy), Decimal(sell), working)
                moved.add((owner, instrument))
            case Quoted(instrument, bid):
                marks[instrument] = mark(instrument, bid, number)
                quoted.add(instrument)
            case Asked(place):
                fresh = Valuation(exposures, {}, LISTED, marks)
                assert_ceiling(kept.ceilings(kept.counted(*GROUPS[place])), fresh.group(*GROUPS[place]))
                assert summary(kept.group(*GROUPS[place])) == summary(fresh.group(*GROUPS[place]))
            case Settled():
                kept.settle()
    fresh = Valuation(exposures, {}, LISTED, marks)
    for group in GROUPS:
        assert_ceiling(kept.ceilings(kept.counted(*group)), fresh.group(*group))
        assert summary(kept.group(*group)) == summary(fresh.group(*group))
