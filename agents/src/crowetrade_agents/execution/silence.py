"""Notices that a feed has fallen silent, without waiting for its next event.

A silence counts as a gap, as in portfolio/stand_down.py, when it is longer than spec.policy.standDown.onDataGapSeconds
beyond the feed's usual interval. Both are event time. A replay may run faster or slower than the wall clock, so the
ratio of the two is measured over the last intervals that were no gaps, and the silence that is allowed is divided by
it. While the ratio is not known (fewer than MIN_INTERVALS) nothing is noticed; where the market waits for us (lock
step) silence means nothing and the caller does not ask.

A recording that is replayed with a longest gap (maxGapSeconds) plays a silence shorter than it was recorded; such an
interval is longer in event time than usual, so it does not count in the ratio.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
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
    intervals: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=INTERVALS))


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
        interval = event_ns - feed.event_ns, wall_ns - feed.wall_ns
        feed.event_ns, feed.wall_ns = event_ns, wall_ns
        if interval[0] >= 0 and interval[1] >= 0 and not self._is_gap(feed, interval[0]):
            feed.intervals.append(interval)

    def due_ns(self, instrument: InstrumentId) -> int | None:
        """Wall time at which the silence of the instrument becomes a gap; None while that is not known."""
        feed = self._feeds.get(instrument)
        allowed = None if feed is None else self._allowed_wall_ns(feed)
        return None if feed is None or allowed is None else feed.wall_ns + allowed

    def sentence(self, instrument: InstrumentId, now_ns: int) -> str:
        """What is said about a silent instrument."""
        feed = self._feeds[instrument]
        return (
            f"no market data of {instrument} for {(now_ns - feed.wall_ns) / 1e9:.1f} s: longer than its usual interval "
            f"and spec.policy.standDown.onDataGapSeconds ({self._gap_ns / 1e9:g} s of event time); working orders are "
            "canceled and nothing is ordered until it comes again"
        )

    def _is_gap(self, feed: _Feed, event_interval_ns: int) -> bool:
        if len(feed.intervals) < MIN_INTERVALS:
            return False
        return event_interval_ns > _usual_ns(feed) + self._gap_ns

    def _allowed_wall_ns(self, feed: _Feed) -> int | None:
        event_ns = sum(interval[0] for interval in feed.intervals)
        wall_ns = sum(interval[1] for interval in feed.intervals)
        if len(feed.intervals) < MIN_INTERVALS or event_ns <= 0 or wall_ns <= 0:
            return None
        return max((_usual_ns(feed) + self._gap_ns) * wall_ns // event_ns, MIN_SILENCE_NS)


def _usual_ns(feed: _Feed) -> int:
    return median_low(interval[0] for interval in feed.intervals)
