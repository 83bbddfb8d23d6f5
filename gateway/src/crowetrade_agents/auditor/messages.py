"""Order messages of one owner in one instrument, in bounded memory, never more than there were.

Young messages are kept in narrow buckets and old ones in wide ones. A bucket carries the time of its first message, so
a message may be forgotten early, by the width of its bucket, and is never counted too long: what is counted here may be
below the exact number by that tolerance and is never above it.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import pairwise

SECOND = 1_000_000_000
HORIZON_NS = 86_400 * SECOND
TIERS = ((100 * SECOND, 10_000_000), (10_000 * SECOND, SECOND), (HORIZON_NS, 60 * SECOND))
"""Width of a bucket up to an age, nanoseconds."""
_COMPACT_AT = 4096


def tolerance_ns(window_ns: int) -> int:
    """By how much a message in a window of this length may be forgotten early."""
    return next((width for age, width in TIERS if window_ns <= age), TIERS[-1][1])


class Messages:
    """See the module. Times never step back: a gateway's do not within its journal."""

    def __init__(self) -> None:
        self._times: list[int] = []
        # Messages up to and with each bucket since the first that was ever added.
        self._sums: list[int] = []
        self._dropped = 0
        self._compact_at = _COMPACT_AT

    def add(self, at_ns: int, count: int = 1) -> None:
        """So many more at a time."""
        total = (self._sums[-1] if self._sums else self._dropped) + count
        if self._times and at_ns <= self._times[-1]:
            self._sums[-1] = total
            return
        self._times.append(at_ns)
        self._sums.append(total)
        if len(self._times) >= self._compact_at:
            self._compact(at_ns)

    def after(self, since_ns: int) -> int:
        """How many later than a time."""
        if not self._sums:
            return 0
        start = bisect_right(self._times, since_ns)
        return self._sums[-1] - (self._sums[start - 1] if start else self._dropped)

    def _compact(self, now_ns: int) -> None:
        times: list[int] = []
        sums: list[int] = []
        cell = (0, -1)
        for at_ns, total in zip(self._times, self._sums, strict=True):
            age = now_ns - at_ns
            if age > HORIZON_NS:
                self._dropped = total
                continue
            width = tolerance_ns(age)
            if cell == (width, at_ns // width):
                sums[-1] = total
                continue
            cell = (width, at_ns // width)
            times.append(at_ns)
            sums.append(total)
        assert all(one <= other for one, other in pairwise(times))
        self._times, self._sums = times, sums
        self._compact_at = max(_COMPACT_AT, 2 * len(times))

    @property
    def buckets(self) -> int:
        """How many are held, for tests of the bound."""
        return len(self._times)
