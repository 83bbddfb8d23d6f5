"""Exposures in two instruments and two currencies, for the limits on money.

A unit of EUR-USD is worth 1.1001 USD by the mid; one of USD-JPY is 10 x 160.00 JPY, and 160.00 JPY are one USD: 10 USD.
"""

from __future__ import annotations

from typing import Any

from crowetrade_agents.domain.market import Mark, TopOfBook
from crowetrade_agents.domain.money import Money
from crowetrade_agents.risk.facts import Exposure, Facts
from crowetrade_agents_tests.risk.values import EUR, JPY, NOW, SECOND, D, facts

Held = dict[tuple[str, Any], Exposure]


def exposure(position: str = "0", buy: str = "0", sell: str = "0", orders: int = 0) -> Exposure:
    """What one owner holds and works."""
    return Exposure(D(position), D(buy), D(sell), orders)


TOGETHER: Held = {
    ("ema", EUR): exposure("6000", orders=1),
    ("other", EUR): exposure("5000", buy="1000", orders=2),
    ("gone", EUR): exposure("-3000", sell="1000", orders=1),
    ("", JPY): exposure("100"),
    ("stranger", EUR): exposure("1000000", orders=9),
}
MEMBERS = {"desk": frozenset({"ema", "other", "gone", ""})}
CAPITAL = {"ema": Money(D(10_000), "USD"), "other": Money(D(3_200_000), "JPY")}
"""Together 30,000 USD."""


def unquoted(instrument: Any) -> dict[str, Any]:
    """Facts without a usable quote of one instrument, by what is wrong with it."""
    marks = facts().marks
    book = marks[instrument].book
    bad = {
        "missing": None,
        "NaN": TopOfBook(instrument, D("NaN"), None, D("NaN"), None, NOW),
        "crossed": TopOfBook(instrument, book.ask_price, None, book.bid_price, None, NOW),
        "of another instrument": TopOfBook(JPY if instrument == EUR else EUR, D(1), None, D(1), None, NOW),
    }
    return {
        what: {
            key: mark if key != instrument or made is None else Mark(made, NOW)
            for key, mark in marks.items()
            if key != instrument or made is not None
        }
        for what, made in bad.items()
    }


def old_rate(seconds: int, **changes: Any) -> Facts:
    """Facts in which the quote of USD-JPY is that old."""
    marks = dict(facts().marks)
    marks[JPY] = Mark(marks[JPY].book, NOW - seconds * SECOND)
    return facts(marks=marks, **changes)
