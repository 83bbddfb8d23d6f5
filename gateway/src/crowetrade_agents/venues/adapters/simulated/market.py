"""How the market moves: along the wall clock, or in lock step. Pure. Both move the exchange along the replay, yield
what happens in order, and say when something happens next.

A generator of events may be left at any event (the session broke): what was not yielded is in the exchange's ledger.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Protocol

from crowetrade_agents.venues.adapters.simulated.exchange import Exchange
from crowetrade_agents.venues.adapters.simulated.faults import FaultKind
from crowetrade_agents.venues.adapters.simulated.replay import Pace, Replay
from crowetrade_agents.venues.adapters.simulated.requests import Request
from crowetrade_agents.venues.port import (
    OrderEvent,
    QuoteChanged,
    SessionChanged,
    SessionState,
    TradePrinted,
    VenueEvent,
)

AT_ONCE = 1_000
"""Steps of a market that is behind, as when it is to play faster than whoever trades can follow: the list of what is
due would grow with every look at it, and nobody else would get a turn."""
END = SessionChanged(SessionState.ENDED, "the recording is at its end")


class Market(Protocol):
    """`now_ns` is wall-clock time. `reported`: the last sequence that was reported. `ended`: the recording is over."""

    ended: bool

    @property
    def reported(self) -> int:
        """The last sequence that was reported."""
        ...

    def run(self, now_ns: int) -> Iterable[VenueEvent]:
        """What is due until now, or some of it: then `next_wall_ns` is not after now."""
        ...

    def miss(self, now_ns: int) -> None:
        """As run, while nobody is connected: nothing is reported, and in lock step nothing moves."""
        ...

    def request(self, request: Request, now_ns: int, fault: FaultKind | None) -> Iterator[VenueEvent]:
        """A request leaves the gateway; yields what follows at once."""
        ...

    def release(self, sequence: int) -> None:
        """In lock step: the market may move on from this sequence."""
        ...

    def next_report_ns(self) -> int | None:
        """Venue time of the next quote or trade that is reported; None at the end."""
        ...

    def venue_ns(self, now_ns: int) -> int:
        """Venue time."""
        ...

    def next_wall_ns(self, now_ns: int) -> int | None:
        """Wall-clock time at which `run` has something to do; None until a request or a release."""
        ...


class Feed:
    """Quotes and trades on their way from the replay through the exchange to the gateway."""

    def __init__(self, replay: Replay, exchange: Exchange) -> None:
        self.replay = replay
        self.exchange = exchange
        self.taken = 0
        # The last sequence that was reported.
        self.reported = 0
        # Those that are on their way: taken and not reported.
        self.waiting: deque[QuoteChanged | TradePrinted] = deque()
        # Venue time of the next quote or trade that the exchange takes in; None at the end.
        self.next_event_ns: int | None = replay.event_ns(1)

    def start(self, reported: int, venue_ns: int) -> None:
        """The exchange begins at a venue time, with the quotes that are then in force; what was reported before stays
        reported."""
        self.taken, self.reported = max(self.replay.sequence_at(venue_ns), reported), reported
        for event in self.replay.in_force(self.taken):
            self.exchange.on_quote(event.book, self.replay.depth(event.sequence, whole=True))
        self.waiting.extend(self.replay.event(sequence) for sequence in range(reported + 1, self.taken + 1))
        self.next_event_ns = self.replay.next_ns(self.taken)
        self.exchange.start(venue_ns)

    def next_report_ns(self) -> int | None:
        """Venue time of the next quote or trade that is reported; None at the end."""
        return self.replay.event_ns(self.waiting[0].sequence) if self.waiting else self.next_event_ns

    def take(self) -> list[OrderEvent]:
        """The exchange takes the next quote or trade in."""
        event = self.replay.event(self.taken + 1)
        self.taken += 1
        self.waiting.append(event)
        self.next_event_ns = self.replay.next_ns(self.taken)
        if isinstance(event, TradePrinted):
            return self.exchange.on_trade(event)
        if self.replay.has_depth:
            return self.exchange.on_quote(event.book, self.replay.depth(event.sequence))
        return self.exchange.on_quote(event.book)

    def take_until(self, venue_ns: int) -> list[OrderEvent]:
        """The exchange takes in every quote and trade up to a venue time, and what is due by then."""
        events: list[OrderEvent] = []
        while self.next_event_ns is not None and self.next_event_ns <= venue_ns:
            events += self.take()
        return events + self.exchange.advance(venue_ns)

    def report(self) -> QuoteChanged | TradePrinted:
        """The next one arrives."""
        self.reported += 1
        return self.waiting.popleft()


class PacedMarket:
    """Venue time follows the wall clock."""

    def __init__(self, feed: Feed, pace: Pace, market_latency_ns: int, now_ns: int) -> None:
        self.pace = pace
        self.ended = False
        self._feed = feed
        self._latency_ns = market_latency_ns
        self._feed.start(pace.sequence_at(now_ns - 1), pace.venue_ns(now_ns - 1))

    @property
    def reported(self) -> int:
        """The last sequence that was reported."""
        return self._feed.reported

    def run(self, now_ns: int) -> Iterator[VenueEvent]:
        """What is due until now, in the order of venue time; what is more than AT_ONCE steps is due at once again."""
        return self._run(now_ns, range(AT_ONCE))

    def _run(self, now_ns: int, steps: Iterable[int]) -> Iterator[VenueEvent]:
        target_ns = self.venue_ns(now_ns)
        for _ in steps:
            at_ns = self._next_ns()
            if at_ns is None or at_ns > target_ns:
                yield from self._feed.exchange.advance(target_ns)
                return
            if self._feed.waiting and self._report_ns() <= at_ns:
                yield self._feed.report()
            elif self._feed.next_event_ns == at_ns:
                yield from self._take()
            elif self._end_ns() == at_ns:
                self.ended = True
                self._feed.exchange.end_trading()
                yield END
            else:
                yield from self._feed.exchange.advance(at_ns)

    def miss(self, now_ns: int) -> None:
        """Everything until now, reported to nobody."""
        for _ in self._run(now_ns, count()):
            pass

    def request(self, request: Request, now_ns: int, fault: FaultKind | None) -> Iterator[VenueEvent]:
        """It arrives after the latency; `run` finds it then."""
        self._feed.exchange.send(request, self.venue_ns(now_ns), fault)
        return iter(())

    def release(self, sequence: int) -> None:
        """The clock does not wait."""

    def next_report_ns(self) -> int | None:
        """Without its latency."""
        return self._feed.next_report_ns()

    def venue_ns(self, now_ns: int) -> int:
        """Venue time, which never goes back though the wall clock may."""
        return max(self.pace.venue_ns(now_ns), self._feed.exchange.now_ns)

    def next_wall_ns(self, now_ns: int) -> int | None:
        """When venue time reaches what comes next."""
        at_ns = self._next_ns()
        return None if at_ns is None else self.pace.wall_ns(at_ns)

    def _take(self) -> Iterator[VenueEvent]:
        events = self._feed.take()
        if not self._latency_ns:
            yield self._feed.report()
        yield from events

    def _next_ns(self) -> int | None:
        times = [self._feed.next_event_ns, self._feed.exchange.next_ns(), self._end_ns()]
        if self._feed.waiting:
            times.append(self._report_ns())
        return min((at_ns for at_ns in times if at_ns is not None), default=None)

    def _report_ns(self) -> int:
        return self._feed.replay.event_ns(self._feed.waiting[0].sequence) + self._latency_ns

    def _end_ns(self) -> int | None:
        replay = self._feed.replay
        if self.ended or self._feed.waiting or replay.exists(self._feed.taken + 1):
            return None
        return replay.event_ns(self._feed.taken) + max(replay.step_ns, self._latency_ns)


class LockStepMarket:
    """The market stands at the last reported quote until that is released, also when that was reported before it began;
    the exchange is `lead_ns` ahead of it."""

    def __init__(self, feed: Feed, done: int, market_latency_ns: int, lead_ns: int) -> None:
        self.ended = False
        self._feed = feed
        self._latency_ns = market_latency_ns
        self._lead_ns = lead_ns
        # The event after it comes when somebody is there to handle it.
        self._released = done - 1
        # Before the first quote the market stands so early that no quote is in force when a request arrives.
        self._standing_ns = feed.replay.event_ns(done) if done else feed.replay.event_ns(1) - lead_ns - 1
        feed.start(done, self._standing_ns + lead_ns)

    @property
    def reported(self) -> int:
        """The last sequence that was reported."""
        return self._feed.reported

    def run(self, now_ns: int) -> Sequence[VenueEvent]:
        """The next quote, when the last one is released, and what the exchange does until the time that it leads to."""
        feed = self._feed
        if not self._may_move():
            return ()
        next_ns = feed.next_report_ns()
        if next_ns is None:
            self.ended = True
            feed.exchange.end_trading()
            return (END,)
        self._standing_ns = next_ns
        events = feed.take_until(next_ns + self._lead_ns)
        return (feed.report(), *events)

    def miss(self, now_ns: int) -> None:
        """The market waits."""

    def request(self, request: Request, now_ns: int, fault: FaultKind | None) -> Iterator[VenueEvent]:
        """It arrives where the exchange is."""
        exchange = self._feed.exchange
        exchange.send(request, self._standing_ns + self._latency_ns, fault)
        return iter(exchange.advance(exchange.now_ns))

    def release(self, sequence: int) -> None:
        """What was not reported cannot be released."""
        self._released = max(self._released, min(sequence, self._feed.reported))

    def next_report_ns(self) -> int | None:
        """When the market moves to it, if it is released."""
        return self._feed.next_report_ns()

    def venue_ns(self, now_ns: int) -> int:
        """Time of the quote at which the market stands."""
        return self._standing_ns

    def next_wall_ns(self, now_ns: int) -> int | None:
        """At once, or when it is released."""
        return now_ns if self._may_move() else None

    def _may_move(self) -> bool:
        return not self.ended and self._released >= self._feed.reported
