"""Notices that a feed has fallen silent, without waiting for its next event.

A silence counts as a gap, as in portfolio/stand_down.py, when it is longer than spec.policy.standDown.onDataGapSeconds
beyond the feed's usual interval. Both are event time; a replay may run faster or slower than the clock, by a speed that
its gateway says. How events arrive does not count: after a burst or a stall the next silence is noticed as early as
any other. While the usual interval is not known (fewer than MIN_INTERVALS) nothing is noticed, because the next bar may
be an hour away; where the market waits for us (lock step) silence means nothing and the caller does not ask.

A recording that is replayed with a longest gap (maxGapSeconds) plays a silence shorter than it was recorded, and then
the next event comes before this one is due.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median_low

from crowetrade_agents.domain.instrument import InstrumentId

INTERVALS = 21
MIN_INTERVALS = 2
MIN_SILENCE_NS = 250_000_000
"""Shortest silence of the wall clock that counts, however fast the replay: below it, it is the machine's."""


@dataclass(slots=True)
class _Feed:
    event_ns: int
    wall_ns: int
    # Event time.
    intervals: deque[int] = field(default_factory=lambda: deque(maxlen=INTERVALS))


class SilenceWatch:
    """The feeds of one strategy's instruments. Event times by the venue, wall times by the caller; nanoseconds."""

    def __init__(self, gap_ns: int) -> None:
        self._gap_ns = gap_ns
        self._feeds: dict[InstrumentId, _Feed] = {}

    def on_event(self, instrument: InstrumentId, event_ns: int, wall_ns: int) -> None:
        """Takes one event."""
        feed = self._feeds.get(instrument)
        if feed is None:
            self._feeds[instrument] = _Feed(event_ns, wall_ns)
            return
        feed.intervals.append(max(event_ns - feed.event_ns, 0))
        feed.event_ns, feed.wall_ns = event_ns, wall_ns

    def due_ns(self, instrument: InstrumentId, speed: Decimal) -> int | None:
        """Wall time at which the silence of the instrument becomes a gap, at `speed` seconds of event time per second
        of the clock; None while that is not known."""
        feed = self._feeds.get(instrument)
        if feed is None or len(feed.intervals) < MIN_INTERVALS:
            return None
        allowed_ns = int((median_low(feed.intervals) + self._gap_ns) / speed)
        return feed.wall_ns + max(allowed_ns, MIN_SILENCE_NS)

    def sentence(self, instrument: InstrumentId, now_ns: int) -> str:
        """What is said about a silent instrument."""
        feed = self._feeds[instrument]
        return (
            f"no market data of {instrument} for {(now_ns - feed.wall_ns) / 1e9:.1f} s: longer than its usual interval "
            f"and spec.policy.standDown.onDataGapSeconds ({self._gap_ns / 1e9:g} s of event time); working orders are "
            "canceled and nothing is ordered until it comes again"
        )
