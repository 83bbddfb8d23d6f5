"""Prices about a moment: the range holds every quote that may have been in force, or there is none."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crowetrade_agents.auditor.marks import KEPT_NS, TOLERANCE_NS, Marks, Quote

SECOND = 1_000_000_000
T = 1_700_000_000 * SECOND


def quote(at_ns: int, bid: int) -> Quote:
    """A quote one wide."""
    return Quote(at_ns, Decimal(bid), Decimal(bid + 1))


def heard(*quotes: Quote) -> Marks:
    """All of them, without a gap."""
    marks = Marks()
    for sequence, item in enumerate(quotes, start=1):
        marks.heard(sequence)
        marks.add("A", item)
    return marks


def around(marks: Marks, at_ns: int) -> list[int] | None:
    """Lowest and highest bid and offer."""
    found = marks.around("A", at_ns)
    return None if found is None else [int(price) for prices in found for price in prices]


@pytest.mark.parametrize(
    ("at_ns", "bids"),
    [
        (T - 1, None),  # before anything was heard
        (T + TOLERANCE_NS, (1, 1)),
        (T + 10 * SECOND - TOLERANCE_NS, (1, 2)),
        (T + 10 * SECOND, (1, 2)),
        (T + 10 * SECOND + TOLERANCE_NS, (2, 2)),
        (T + 1000 * SECOND, (2, 2)),  # a quiet market
    ],
)
def test_the_range_holds_what_may_have_been_in_force(at_ns: int, bids: tuple[int, int] | None) -> None:
    marks = heard(quote(T, 1), quote(T + 10 * SECOND, 2))

    assert around(marks, at_ns) == (bids and [*bids, bids[0] + 1, bids[1] + 1])


def test_a_message_that_is_missing_forgets_everything() -> None:
    marks = heard(quote(T, 1), quote(T + SECOND, 2))
    marks.heard(4)

    assert marks.around("A", T + 5 * SECOND) is None


def test_a_clock_that_steps_back_begins_again() -> None:
    marks = heard(quote(T, 1), quote(T - SECOND, 2))

    assert around(marks, T + 5 * SECOND) == [2, 2, 3, 3]


def test_old_quotes_are_forgotten_but_for_the_one_in_force() -> None:
    marks = heard(*(quote(T + number * SECOND, number) for number in range(1000)))

    assert len(marks._quotes["A"]) <= KEPT_NS // SECOND + 2
    assert marks.around("A", T + 500 * SECOND) is None
    assert around(marks, T + 950 * SECOND) == [949, 951, 950, 952]
