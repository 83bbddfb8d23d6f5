"""The venue's own rate limits: a token bucket. Time is passed in."""

from __future__ import annotations

SECOND_NS = 1_000_000_000


class TokenBucket:
    """`per_second` tokens flow in and at most `burst` are kept; it starts full."""

    def __init__(self, per_second: int, burst: int) -> None:
        self._per_second = per_second
        self._capacity_ns = burst * SECOND_NS
        # Kept in token-nanoseconds, so that no float is involved.
        self._level_ns = self._capacity_ns
        self._at_ns: int | None = None

    def take(self, now_ns: int) -> bool:
        """Takes one token if there is one. A clock that goes back adds nothing."""
        if self._at_ns is not None and now_ns > self._at_ns:
            self._level_ns = min(self._capacity_ns, self._level_ns + (now_ns - self._at_ns) * self._per_second)
        self._at_ns = now_ns if self._at_ns is None else max(now_ns, self._at_ns)
        if self._level_ns < SECOND_NS:
            return False
        self._level_ns -= SECOND_NS
        return True
