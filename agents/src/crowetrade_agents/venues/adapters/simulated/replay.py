"""Which quote comes when. Pure: positions in the recording and times in, times out.

Sequence n is place (n - 1) mod length of the recording, in round (n - 1) div length; each round is moved forward by the
length of the recording, so that event time never goes back. Against the wall clock, the first event is due at the epoch
and each later one after the recorded distance divided by the speed, where a distance longer than the longest gap
counts as that gap. So a gateway that restarts finds its place again from the epoch alone: the market did not wait.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from dataclasses import replace
from decimal import Decimal

from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.venues.port import MarketEvent

SECOND_NS = 1_000_000_000


class Replay:
    """A recording with its speed. `speed` None is lock step; `max_gap_ns` 0 keeps every gap."""

    def __init__(self, books: list[TopOfBook], *, speed: Decimal | None, loop: bool, max_gap_ns: int = 0) -> None:
        self._books = books
        self._loop = loop
        self.lock_step = speed is None
        self._speed = speed or Decimal(1)
        offsets = [0]
        for earlier, later in itertools.pairwise(books):
            gap = later.event_ns - earlier.event_ns
            offsets.append(offsets[-1] + (min(gap, max_gap_ns) if max_gap_ns else gap))
        self._offsets = offsets
        # From the last event of a round to the first of the next: the usual distance, at least one nanosecond.
        step = max(offsets[-1] // max(len(books) - 1, 1), 1)
        self._round_ns = offsets[-1] + step
        self._span_ns = books[-1].event_ns - books[0].event_ns + step

    def __len__(self) -> int:
        return len(self._books)

    def event(self, sequence: int) -> MarketEvent | None:
        """The event of a sequence from 1 on, or None after the end."""
        turn, place = divmod(sequence - 1, len(self._books))
        if turn and not self._loop:
            return None
        book = self._books[place]
        return MarketEvent(sequence, replace(book, event_ns=book.event_ns + turn * self._span_ns))

    def due_ns(self, sequence: int, epoch_ns: int) -> int:
        """Wall-clock time of an event, nanoseconds since the Unix epoch."""
        turn, place = divmod(sequence - 1, len(self._books))
        return epoch_ns + int((turn * self._round_ns + self._offsets[place]) / self._speed)

    def sequence_at(self, now_ns: int, epoch_ns: int) -> int:
        """The last sequence that is due by now; 0 before the first."""
        if now_ns < epoch_ns:
            return 0
        elapsed = int((now_ns - epoch_ns) * self._speed)
        turn, within = divmod(elapsed, self._round_ns)
        if turn and not self._loop:
            return len(self._books)
        return turn * len(self._books) + bisect_right(self._offsets, within)

    def book_at(self, sequence: int, symbol: str, at_ns: int) -> TopOfBook | None:
        """The quote of a symbol in force at a venue time, looking ahead from a sequence: for order latency."""
        found, ahead = None, sequence
        while (event := self.event(ahead)) is not None and event.book.event_ns <= at_ns:
            if event.book.symbol == symbol:
                found = event.book
            ahead += 1
        return found
