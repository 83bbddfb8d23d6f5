"""The quotes that this process heard, as ranges of prices about a moment.

A gateway judged by the last quote that it had; which one that was is not journaled for other instruments than the
order's. It is one of those that were in force within TOLERANCE_NS of the order. What was not heard without a gap has no
range.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from decimal import Decimal
from typing import NamedTuple

from crowetrade_agents.auditor.figures import Range

TOLERANCE_NS = 1_000_000_000
"""Between a quote's way to the auditor and its way to the gate."""
KEPT_NS = 120 * 1_000_000_000
KEPT = 8192


class Quote(NamedTuple):
    """Bid and offer from a time on, by the gateway's clock."""

    at_ns: int
    bid: Decimal
    ask: Decimal


class Marks:
    """Quotes of one venue, the last two minutes of each symbol."""

    def __init__(self) -> None:
        self._quotes: dict[str, deque[Quote]] = {}
        self._last_sequence = 0

    def heard(self, sequence: int) -> None:
        """One message of the venue's market data, whatever it says; one that is missing forgets everything."""
        if sequence != self._last_sequence + 1:
            self._quotes.clear()
        self._last_sequence = sequence

    def add(self, symbol: str, quote: Quote) -> None:
        """A quote; times of a symbol do not step back (one that does begins again)."""
        quotes = self._quotes.setdefault(symbol, deque())
        if quotes and quote.at_ns < quotes[-1].at_ns:
            quotes.clear()
        quotes.append(quote)
        # The one in force at the beginning of what is kept stays.
        while len(quotes) > KEPT or (len(quotes) > 1 and quotes[1].at_ns < quote.at_ns - KEPT_NS):
            quotes.popleft()

    def around(self, symbol: str, at_ns: int, tolerance_ns: int = TOLERANCE_NS) -> tuple[Range, Range] | None:
        """Bids and offers that were in force within a tolerance of a moment; None when they are not known."""
        quotes = self._quotes.get(symbol)
        if not quotes:
            return None
        times = [quote.at_ns for quote in quotes]
        first = bisect_right(times, at_ns - tolerance_ns) - 1
        if first < 0:
            return None
        last = bisect_left(times, at_ns + tolerance_ns + 1)
        inside = [quotes[number] for number in range(first, last)]
        bids, asks = [quote.bid for quote in inside], [quote.ask for quote in inside]
        return Range(min(bids), max(bids)), Range(min(asks), max(asks))
