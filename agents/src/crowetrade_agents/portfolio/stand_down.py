"""Stand-down: when the market data itself says that it is no time to trade.

Both detectors see event times and mid prices of one instrument only, so a replay gives what the live run gave. They act
at events: a feed that falls silent is noticed by the execution role's timer (execution/silence.py), and by the gap
detector when it comes back.
"""

from __future__ import annotations

import math
from collections import deque
from statistics import median_low

# Intervals whose median is the usual interval of a feed.
CADENCE_EVENTS = 21
# Span of the usual move, and how long after a spike to stand down, in events.
USUAL_MOVE_SPAN = 100
COOL_DOWN_EVENTS = 10
# Moves to have seen before a move can be called unusual.
MIN_MOVES = 20


class GapDetector:
    """A gap is a silence longer than `gap_ns` beyond the feed's usual interval (hourly bars are not a gap each hour).

    After a gap it stays down until events have come without a gap for `gap_ns`.
    """

    def __init__(self, gap_ns: int) -> None:
        self._gap_ns = gap_ns
        self._intervals: deque[int] = deque(maxlen=CADENCE_EVENTS)
        self._last_ns: int | None = None
        self._down_until_ns: int | None = None

    @property
    def down(self) -> bool:
        """True while to stand down, as of the instrument's last event."""
        return self._down_until_ns is not None

    def update(self, event_ns: int) -> None:
        """Takes the time of one event."""
        if self._last_ns is not None:
            interval = event_ns - self._last_ns
            usual = median_low(self._intervals) if self._intervals else 0
            if interval > usual + self._gap_ns and len(self._intervals) > 1:
                self._down_until_ns = event_ns + self._gap_ns
            self._intervals.append(interval)
        self._last_ns = event_ns
        if self._down_until_ns is not None and event_ns >= self._down_until_ns:
            self._down_until_ns = None


class SpikeDetector:
    """A spike is a log return of the mid above `sigmas` times its weighted deviation before that event."""

    def __init__(self, sigmas: float) -> None:
        self._sigmas = sigmas
        self._alpha = 2.0 / (USUAL_MOVE_SPAN + 1.0)
        self._variance = 0.0
        self._moves = 0
        self._last: float | None = None
        self._cool_down = 0

    @property
    def down(self) -> bool:
        """True while to stand down, as of the instrument's last event."""
        return self._cool_down > 0

    def update(self, mid: float) -> None:
        """Takes the mid price at one event; `mid` is positive."""
        log_mid = math.log(mid)
        move = 0.0 if self._last is None else log_mid - self._last
        self._last = log_mid
        usual = math.sqrt(self._variance)
        spike = self._moves >= MIN_MOVES and usual > 0 and abs(move) > self._sigmas * usual
        self._cool_down = COOL_DOWN_EVENTS if spike else max(0, self._cool_down - 1)
        if move != 0.0:
            self._moves += 1
            # The first moves count fully (a running mean), later ones with the usual weight.
            weight = max(self._alpha, 1.0 / self._moves)
            self._variance += weight * (move * move - self._variance)
