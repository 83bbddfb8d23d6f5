"""What the venue has sent and what has not arrived yet. Pure. Two channels, as at a real venue: answers to orders, and
the feed. Within a channel nothing overtakes: what comes after a delayed event waits behind it."""

from __future__ import annotations

import heapq

from crowetrade_agents.venues.port import FeedAlive, QuoteChanged, TradePrinted, VenueEvent


class Outbox:
    """Events with the wall-clock time (ns) of their arrival."""

    def __init__(self) -> None:
        # A heap: when it arrives, and which number of all that was sent it is.
        self.waiting: list[tuple[int, int, VenueEvent]] = []
        self._serial = 0
        self._last_ns = {True: 0, False: 0}

    def push(self, event: VenueEvent, at_ns: int) -> None:
        """Arrives at `at_ns`, or when what was sent before it on its channel does."""
        is_feed = isinstance(event, QuoteChanged | TradePrinted | FeedAlive)
        self._last_ns[is_feed] = max(self._last_ns[is_feed], at_ns)
        self._serial += 1
        heapq.heappush(self.waiting, (self._last_ns[is_feed], self._serial, event))

    def pop(self, now_ns: int) -> list[VenueEvent]:
        """What has arrived by now, in order."""
        arrived: list[VenueEvent] = []
        while self.waiting and self.waiting[0][0] <= now_ns:
            arrived.append(heapq.heappop(self.waiting)[2])
        return arrived

    def next_ns(self) -> int | None:
        """When the next event arrives."""
        return self.waiting[0][0] if self.waiting else None

    def clear(self) -> None:
        """What is on its way is lost."""
        self.waiting.clear()
        self._last_ns = {True: 0, False: 0}
