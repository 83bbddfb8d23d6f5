"""Order messages in sliding windows, in bounded memory.

Two layers. The history keeps, per strategy and instrument, buckets that are narrow while they are young and wider as
they age (`TIERS`), for as long as the longest window that a rule can ask for. A running total is opened for each window
that is asked for: built once from the history, then kept current by `add`, so that `count` does not depend on how many
messages there were. A bucket carries the time of its newest message, so a message is never forgotten early; it is
remembered longer by at most `tolerance_ns(window)`.

Time is wall-clock time and may step back. Every message that was added lies in the past, so after a step back what
carries a later time is taken to have happened now.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence, Set
from decimal import Decimal

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.domain.instrument import InstrumentId

SECOND = 1_000_000_000
HORIZON_NS = 86_400 * SECOND
"""The longest window; what is older is dropped."""
TIERS = (
    (10 * SECOND, 10_000_000),
    (100 * SECOND, 100_000_000),
    (1_000 * SECOND, SECOND),
    (10_000 * SECOND, 10 * SECOND),
    (HORIZON_NS, 60 * SECOND),
)
"""Width of a bucket up to an age, nanoseconds. Each width is a multiple of the one before, so that buckets nest."""
MAX_BUCKETS = 2 * sum(age // width + 1 for age, width in TIERS)
"""Buckets that the history of one strategy in one instrument holds at most."""

_FINEST = TIERS[0][1]
_SHARES = 100  # buckets of a running total
_JITTER_NS = SECOND  # steps back up to here are no steps: the message counts at the latest time that was seen
_SWEEP_EVERY = 65_536  # calls of add
_UNUSED_NS = 600 * SECOND  # a running total that nobody asked for this long is closed
_SETTLED_SHARE, _SETTLED_BUCKETS = 20, 16  # a history that grew by less than so much is not compacted for a snapshot
_MAX_COUNT = 2**32 - 1  # of a bucket in a snapshot (uint32)

Key = tuple[str, InstrumentId]
_WindowKey = tuple[frozenset[str], frozenset[str] | None, int]


def bucket_width_ns(age_ns: int) -> int:
    """Width of buckets whose newest message has this age."""
    return next((width for limit, width in TIERS if age_ns <= limit), TIERS[-1][1])


def tolerance_ns(window_ns: int) -> int:
    """How much longer than `window_ns` a message may be counted."""
    return bucket_width_ns(window_ns) + max(window_ns // _SHARES, 1)


class _History:
    """Buckets of one strategy in one instrument, oldest first."""

    __slots__ = ("counts", "settled", "stamps")

    def __init__(self, stamps: Iterable[int] = (), counts: Iterable[int] = ()) -> None:
        self.stamps = array("q", stamps)
        self.counts = array("q", counts)
        # Buckets after the last compaction.
        self.settled = len(self.stamps)

    def add(self, at_ns: int, count: int) -> None:
        if self.stamps and self.stamps[-1] // _FINEST == at_ns // _FINEST:
            self.stamps[-1] = at_ns
            self.counts[-1] += count
            return
        self.stamps.append(at_ns)
        self.counts.append(count)
        if len(self.stamps) >= min(2 * self.settled + 64, MAX_BUCKETS):
            self.compact(at_ns)

    def settle(self, now_ns: int) -> None:
        """Compacts when enough has come since the last time; what has not changed much is not gone through again."""
        if len(self.stamps) > self.settled + self.settled // _SETTLED_SHARE + _SETTLED_BUCKETS:
            self.compact(now_ns)

    def compact(self, now_ns: int) -> None:
        """Merges buckets that their age no longer keeps apart, and drops those beyond the horizon."""
        stamps, counts = array("q"), array("q")
        previous = (0, 0)
        for stamp, count in zip(self.stamps, self.counts, strict=True):
            age = now_ns - stamp
            if age >= HORIZON_NS:
                continue
            width = bucket_width_ns(age)
            cell = (width, stamp // width)
            if cell == previous:
                stamps[-1] = stamp
                counts[-1] += count
            else:
                stamps.append(stamp)
                counts.append(count)
                previous = cell
        self.stamps, self.counts = stamps, counts
        self.settled = len(stamps)

    def step_back(self, now_ns: int) -> None:
        """Whatever carries a later time than now happened now at the latest."""
        start = bisect_right(self.stamps, now_ns)
        if start == len(self.stamps):
            return
        later = sum(self.counts[start:])
        del self.stamps[start:], self.counts[start:]
        self.stamps.append(now_ns)
        self.counts.append(later)


class _RunningTotal:
    """Messages of a selection in the window that ends now, and what has left it but was not taken out yet.

    The newest bucket is kept apart from the others: every message changes it.
    """

    __slots__ = ("_full_ns", "_newest", "_newest_ns", "_older", "asked_ns", "length_ns", "symbols", "total", "width_ns")

    def __init__(self, symbols: frozenset[str] | None, length_ns: int) -> None:
        self.symbols = symbols
        self.length_ns = length_ns
        self.width_ns = max(length_ns // _SHARES, 1)
        self._older: deque[tuple[int, int]] = deque()
        self._newest = self._newest_ns = 0
        # When the newest bucket takes no more.
        self._full_ns = 0
        self.total = 0
        self.asked_ns = 0

    def add(self, at_ns: int, count: int) -> None:
        """Counts at a time that is not before the last one."""
        if at_ns >= self._full_ns:
            if self._newest:
                self._older.append((self._newest_ns, self._newest))
                self._newest = 0
            self._full_ns = (at_ns // self.width_ns + 1) * self.width_ns
            self.count(at_ns)
        self._newest_ns = at_ns
        self._newest += count
        self.total += count

    def count(self, now_ns: int) -> int:
        """Takes out what has left the window."""
        older = self._older
        since = now_ns - self.length_ns
        while older and older[0][0] <= since:
            self.total -= older.popleft()[1]
        if self._newest_ns <= since:
            self.total -= self._newest
            self._newest = 0
        return self.total

    @property
    def buckets(self) -> int:
        """How many it holds."""
        return len(self._older) + bool(self._newest)


class MessageWindows:
    """How many order messages each strategy sent in each instrument, for windows of up to 86,400 seconds."""

    def __init__(self) -> None:
        self._histories: dict[Key, _History] = {}
        self._totals: dict[_WindowKey, _RunningTotal] = {}
        self._totals_of: dict[str, list[_RunningTotal]] = {}
        self._now_ns = 0
        self._adds = 0

    def add(self, strategy: str, instrument: InstrumentId, at_ns: int, count: int = 1) -> None:
        """Counts `count` messages at `at_ns`, whatever became of them (RTS 6 Article 15(1)(d), 15(2))."""
        now = self._moved(at_ns)
        key = (strategy, instrument)
        history = self._histories.get(key)
        if history is None:
            history = self._histories[key] = _History()
        history.add(now, count)
        for total in self._totals_of.get(strategy, ()):
            if total.symbols is None or instrument.symbol in total.symbols:
                total.add(now, count)
        self._adds += 1
        if self._adds % _SWEEP_EVERY == 0:
            self._sweep()

    def count(self, strategies: frozenset[str], symbols: frozenset[str] | None, now_ns: int, window_ns: int) -> int:
        """Messages of all `strategies` in `symbols` (None or empty: in all) later than `now_ns - window_ns`.

        Never below the exact number, never above the exact number for `window_ns + tolerance_ns(window_ns)`.
        """
        return self._total(strategies, symbols, now_ns, window_ns).count(self._now_ns)

    def has_room(
        self,
        strategies: frozenset[str],
        symbols: frozenset[str] | None,
        now_ns: int,
        window_ns: int,
        most: int | Decimal,
    ) -> bool:
        """Whether `count` is below `most`; where it is far below, nothing has to be taken out to know it."""
        total = self._total(strategies, symbols, now_ns, window_ns)
        return total.total < most or total.count(self._now_ns) < most

    def _total(
        self, strategies: frozenset[str], symbols: frozenset[str] | None, now_ns: int, window_ns: int
    ) -> _RunningTotal:
        """The running total of this window, with the time moved to now."""
        now = now_ns if now_ns == self._now_ns else self._moved(now_ns)
        key = (strategies, symbols or None, window_ns)
        total = self._totals.get(key)
        if total is None:
            total = self._open(key)
        total.asked_ns = now
        return total

    def strategies(self, now_ns: int) -> set[str]:
        """Whoever has sent something that a window may count."""
        oldest = now_ns - HORIZON_NS
        return {key[0] for key, item in self._histories.items() if item.stamps[-1] > oldest}

    def forget(self, strategies: Set[str]) -> None:
        """Nothing of the strategies has been counted."""
        self._close([key for key in self._totals if not strategies.isdisjoint(key[0])])
        self._histories = {key: item for key, item in self._histories.items() if key[0] not in strategies}

    def to_messages(self) -> list[journal_pb2.BookedMessages]:
        """The history for a snapshot, ordered by strategy and symbol."""
        self._sweep()
        for history in self._histories.values():
            history.settle(self._now_ns)
        return [
            journal_pb2.BookedMessages(
                strategy=strategy, symbol=instrument.symbol, unix_ns=history.stamps, counts=_bounded(history.counts)
            )
            for (strategy, instrument), history in sorted(self._histories.items())
            if history.stamps
        ]

    @classmethod
    def from_messages(cls, venue: str, messages: Iterable[journal_pb2.BookedMessages]) -> MessageWindows:
        """The inverse of `to_messages`; a snapshot holds symbols of one venue."""
        windows = cls()
        for message in messages:
            if len(message.unix_ns) != len(message.counts):
                raise ValueError(f"messages of {message.strategy} in {message.symbol} have not one count per time")
            if message.unix_ns:
                history = _History(message.unix_ns, message.counts)
                windows._histories[message.strategy, InstrumentId(venue, message.symbol)] = history
                windows._now_ns = max(windows._now_ns, history.stamps[-1])
        return windows

    def buckets(self) -> int:
        """How many buckets are held, for tests of the bound."""
        held: Sequence[int] = [len(history.stamps) for history in self._histories.values()]
        return sum(held) + sum(total.buckets for total in self._totals.values())

    def _moved(self, now_ns: int) -> int:
        """The time to count at; time that stepped back is taken for what it is."""
        if now_ns >= self._now_ns:
            self._now_ns = now_ns
        elif now_ns < self._now_ns - _JITTER_NS:
            self._now_ns = now_ns
            self._close(list(self._totals))
            for history in self._histories.values():
                history.step_back(now_ns)
        return self._now_ns

    def _open(self, key: _WindowKey) -> _RunningTotal:
        strategies, symbols, length_ns = key
        total = _RunningTotal(symbols, length_ns)
        since = self._now_ns - length_ns
        recent: list[tuple[int, int]] = []
        for (strategy, instrument), history in self._histories.items():
            if strategy in strategies and (symbols is None or instrument.symbol in symbols):
                start = bisect_right(history.stamps, since)
                recent.extend(zip(history.stamps[start:], history.counts[start:], strict=True))
        for at_ns, count in sorted(recent):
            total.add(at_ns, count)
        self._totals[key] = total
        for strategy in strategies:
            self._totals_of.setdefault(strategy, []).append(total)
        return total

    def _close(self, keys: Iterable[_WindowKey]) -> None:
        for key in keys:
            total = self._totals.pop(key)
            for strategy in key[0]:
                self._totals_of[strategy].remove(total)

    def _sweep(self) -> None:
        """Drops what nothing can ask for any more."""
        unused = self._now_ns - _UNUSED_NS
        self._close([key for key, total in self._totals.items() if total.asked_ns < unused])
        self._totals_of = {strategy: totals for strategy, totals in self._totals_of.items() if totals}
        oldest = self._now_ns - HORIZON_NS
        self._histories = {key: item for key, item in self._histories.items() if item.stamps[-1] > oldest}


def _bounded(counts: array[int]) -> Iterable[int]:
    """The counts as a snapshot can hold them."""
    return counts if max(counts) <= _MAX_COUNT else [min(count, _MAX_COUNT) for count in counts]
