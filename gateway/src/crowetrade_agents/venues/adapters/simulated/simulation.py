"""The whole venue without I/O: replay, exchange, session and faults. Wall-clock times in, port events out.

Whoever runs it calls `poll` when `next_wall_ns` has come, and after each request and release: adapter.py inside the
gateway's process, server.py behind TCP, a simulation of the gateway on its own virtual clock.

Paced: venue time follows the wall clock (replay.Pace). A quote is reported `market_data_latency` after its time, a
request arrives `order_latency` after it was sent, both in venue time, so on the clock divided by the speed.

Lock step: the market stands at the last reported quote until it is released. The exchange is always ahead of it by both
latencies: it has taken in every quote up to that time. So a request takes effect and is answered at once, with the time
that its arrival has. What the exchange does by itself in between (fills of resting orders, expiries) is reported
together with the quote, whatever requests come: the same orders have the same executions in whichever process they are
made. Nobody gains by what is reported so early, because the next request arrives no earlier than that.

Without loop the recording ends one usual distance after its last quote (in lock step: when that is released). Trading
at the venue is then over.
"""

from __future__ import annotations

import hashlib
import heapq
import hmac
from collections.abc import Reversible, Sequence
from itertools import takewhile
from typing import TypeVar

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.errors import DataError
from crowetrade_agents.venues.adapters.simulated.costs import FundingSchedule, RolloverSchedule
from crowetrade_agents.venues.adapters.simulated.exchange import Exchange
from crowetrade_agents.venues.adapters.simulated.faults import FaultInjector, FaultKind, Message
from crowetrade_agents.venues.adapters.simulated.ledger import RETAIN
from crowetrade_agents.venues.adapters.simulated.market import END, Feed, LockStepMarket, Market, PacedMarket
from crowetrade_agents.venues.adapters.simulated.outbox import Outbox
from crowetrade_agents.venues.adapters.simulated.queue import QueueModel
from crowetrade_agents.venues.adapters.simulated.replay import Anchor, Pace, Place, Replay, place_of
from crowetrade_agents.venues.adapters.simulated.requests import Request, not_sent
from crowetrade_agents.venues.adapters.simulated.spec import SimulatedSpec, features
from crowetrade_agents.venues.calendar import calendar_of
from crowetrade_agents.venues.port import (
    FEED_ALIVE_SECONDS,
    Busted,
    Charged,
    Executed,
    FeedAlive,
    LogonRefused,
    QuoteChanged,
    Recalled,
    Resume,
    SessionChanged,
    SessionState,
    TradePrinted,
    VenueEvent,
    VenueSnapshot,
)

Event = TypeVar("Event", Executed, Busted, Charged)
ALIVE_NS = int(FEED_ALIVE_SECONDS * 1_000_000_000)
_MARKET_DATA = QuoteChanged, TradePrinted
_AT_ARRIVAL = frozenset({FaultKind.REJECT, FaultKind.FORGET, FaultKind.LATE_FILL})


class Simulation:
    """`now_ns` is the wall clock, nanoseconds since the Unix epoch; what events carry is venue time.

    `keeps_books`: the venue outlives the gateway's process, so its snapshot has positions. `retain`: how many ended
    orders and executions it remembers, None for all. `exchange.ledger` is the venue's truth. Raises DataError for a
    queue model without recorded depth, ConfigurationError for a calendar that is not known.
    """

    def __init__(
        self,
        spec: SimulatedSpec,
        replay: Replay,
        instruments: tuple[Instrument, ...],
        *,
        keeps_books: bool,
        retain: int | None = RETAIN,
    ) -> None:
        lacking = replay.without_depth()
        if spec.queue_model is not QueueModel.NONE and lacking:
            raise DataError(
                f"queueModel {spec.queue_model} needs recorded depth (l2), and there is none of {', '.join(lacking)}: "
                "record it, or write queueModel: None"
            )
        self._spec = spec
        self._replay = replay
        self._keeps_books = keeps_books
        self.exchange = Exchange(
            {instrument.id: instrument for instrument in instruments},
            spec.fees,
            order_latency_ns=spec.order_latency_ns,
            calendar=calendar_of(spec.calendar),
            queue_model=spec.queue_model,
            short_selling=spec.short_selling,
            charges=(*map(FundingSchedule, spec.funding), *map(RolloverSchedule, spec.rollovers)),
            retain=retain,
        )
        self.features = features(spec.speed, positions=keeps_books)
        self._faults = FaultInjector(spec.faults, spec.fault_rates, spec.seed)
        self._outbox = Outbox()
        self._busts: list[tuple[int, str]] = []
        self._market: Market | None = None
        self._connected = False
        self._silent_until_ns = 0
        self._last_feed_ns = 0
        self._last_ns = 0
        self._skew_ns = 0

    # Session

    def connect(self, resume: Resume, now_ns: int, api_key: str | None = None) -> VenueSnapshot:
        """Logs on. What an earlier session sent and did not arrive is lost. Raises LogonRefused."""
        now_ns = self._time(now_ns)
        log_on(api_key, self._accepted_keys())
        self._bust_due(now_ns)
        if self._market is None:
            self.exchange.id_prefix = f"{resume.fencing_token or now_ns}-"
            if not self._keeps_books:
                self.exchange.ledger.positions.update(resume.positions)
            self._market = self._start(resume, now_ns)
        else:
            self._market.miss(now_ns)
        self.exchange.drop_arrivals()
        self._outbox.clear()
        self._connected = True
        self._last_feed_ns = now_ns
        for event in self._replay.in_force(self._market.reported):
            self._outbox.push(event, now_ns)
        if self._market.ended:
            self._outbox.push(END, now_ns)
        return self._snapshot(resume.since_ns)

    def renew(self, api_key: str | None) -> None:
        """The session goes on with this key. Raises LogonRefused: it goes on with the one that it had."""
        log_on(api_key, self._accepted_keys())

    def _accepted_keys(self) -> tuple[str, ...]:
        """Empty where none is asked for."""
        current, previous = self._spec.api_key_sha256, self._spec.previous_api_key_sha256
        return tuple(filter(None, (current, previous))) if current else ()

    def disconnect(self, now_ns: int, text: str = "the venue closed the session") -> None:
        """The session breaks: what is on its way is lost both ways; orders stay where they are."""
        if self._connected:
            self._break(self._time(now_ns), text)

    def _break(self, now_ns: int, text: str = "the venue closed the session") -> None:
        self._connected = False
        self.exchange.drop_arrivals()
        self._outbox.clear()
        self._outbox.push(SessionChanged(SessionState.DISCONNECTED, text), now_ns)

    def _snapshot(self, since_ns: int) -> VenueSnapshot:
        ledger = self.exchange.ledger
        return VenueSnapshot(
            open_orders=tuple(order.as_open() for order in ledger.open_orders()),
            executions=_since(ledger.executions.values(), since_ns),
            busts=_since(ledger.busts.values(), since_ns),
            charges=_since(ledger.charges, since_ns),
            positions=dict(ledger.positions) if self._keeps_books else None,
            state=self._place().to_text(),
        )

    def recall(self, since_ns: int, now_ns: int) -> None:
        """Says again what was executed since then; without a session nobody has asked."""
        now_ns = self._time(now_ns)
        if self._market is not None and self._connected:
            snapshot = self._snapshot(since_ns)
            self._outbox.push(Recalled(snapshot.executions, snapshot.busts), now_ns)

    # Requests and time

    def request(self, request: Request, now_ns: int) -> None:
        """The gateway sends something; what follows comes out of `poll`."""
        now_ns = self._time(now_ns)
        if self._market is None or not self._connected:
            unsent = not_sent(request, "there is no session with the venue", self.exchange.now_ns)
            if unsent is not None:
                self._outbox.push(unsent, now_ns)
            return
        struck = {fault.kind for fault in self._faults.strike(Message(type(request).__name__))}
        if FaultKind.DISCONNECT in struck:
            self._break(now_ns)
        if struck & {FaultKind.LOSE, FaultKind.DISCONNECT}:
            return
        at_arrival = min(struck & _AT_ARRIVAL, default=None)
        for _ in range(2 if FaultKind.DUPLICATE in struck else 1):
            for event in self._market.request(request, now_ns, at_arrival):
                self._deliver(event, now_ns)

    def release(self, sequence: int) -> None:
        """In lock step: market data up to this sequence is handled."""
        if self._market is not None:
            self._market.release(sequence)

    def poll(self, now_ns: int) -> list[VenueEvent]:
        """What arrives at the gateway by now."""
        now_ns = self._time(now_ns)
        if self._busts:
            self._bust_due(now_ns)
        arrived: list[VenueEvent] = []
        if self._market is not None and self._connected:
            if self._faults.never_strike and not self._outbox.waiting:
                # What nothing delays or loses need not wait its turn.
                arrived = list(self._market.run(now_ns))
                for event in arrived:
                    if isinstance(event, _MARKET_DATA):
                        self._last_feed_ns = now_ns
                        break
            elif not (self.features.lock_step and now_ns < self._silent_until_ns):
                for event in self._market.run(now_ns):
                    self._deliver(event, now_ns)
                    if not self._connected:
                        break
            if now_ns >= self._last_feed_ns + ALIVE_NS:
                self._keep_alive(self._market, now_ns)
        return arrived + self._outbox.pop(now_ns) if self._outbox.waiting else arrived

    def next_market_ns(self) -> int | None:
        """Venue time of the next market data event that is reported; None at the end, and before the first logon."""
        return None if self._market is None else self._market.next_report_ns()

    @property
    def is_still(self) -> bool:
        """In lock step: whether nothing comes before the market is released, something is sent, or time passes."""
        if self._outbox.waiting or self._busts:
            return False
        return self._market is None or self._market.next_wall_ns(self._last_ns) is None

    def next_wall_ns(self, now_ns: int) -> int | None:
        """When `poll` has something to return by itself; None when only a request, a release or a logon helps."""
        now_ns = self._time(now_ns)
        times = [self._outbox.next_ns(), self._busts[0][0] if self._busts else None]
        if self._market is not None and self._connected:
            move_ns = self._market.next_wall_ns(now_ns)
            if move_ns is not None and self.features.lock_step:
                move_ns = max(move_ns, self._silent_until_ns)
            times.append(move_ns)
            if not self._market.ended:
                times.append(max(self._last_feed_ns + ALIVE_NS, self._silent_until_ns))
        return min((at_ns - self._skew_ns for at_ns in times if at_ns is not None), default=None)

    def _time(self, now_ns: int) -> int:
        """The wall clock, except that it never goes back: after a step back the market goes on from where it was."""
        if now_ns + self._skew_ns < self._last_ns:
            self._skew_ns = self._last_ns - now_ns
        self._last_ns = now_ns + self._skew_ns
        return self._last_ns

    def _keep_alive(self, market: Market, now_ns: int) -> None:
        if now_ns >= self._silent_until_ns and self._connected and not market.ended:
            self._deliver(FeedAlive(market.venue_ns(now_ns)), now_ns)

    # Faults on what the venue sends

    def _deliver(self, event: VenueEvent, now_ns: int) -> None:
        if isinstance(event, SessionChanged):
            self._outbox.push(event, now_ns)
        elif isinstance(event, QuoteChanged | TradePrinted | FeedAlive):
            self._deliver_feed(event, now_ns)
        else:
            self._deliver_answer(event, now_ns)

    def _deliver_feed(self, event: VenueEvent, now_ns: int) -> None:
        self._last_feed_ns = now_ns
        faults = {fault.kind: fault for fault in self._faults.strike(Message(type(event).__name__))}
        if FaultKind.DISCONNECT in faults:
            self._break(now_ns)
            return
        if FaultKind.SILENCE in faults:
            self._silent_until_ns = max(self._silent_until_ns, now_ns + faults[FaultKind.SILENCE].delay_ns)
        silent = now_ns < self._silent_until_ns
        if self.features.lock_step and silent and FaultKind.LOSE not in faults:
            # The market stands until this event is released, so it is late instead of lost.
            self._outbox.push(event, self._silent_until_ns)
        elif FaultKind.LOSE in faults or silent:
            if isinstance(event, QuoteChanged | TradePrinted):
                self.release(event.sequence)
        else:
            self._outbox.push(event, now_ns)
        if FaultKind.FOREIGN_EXECUTION in faults:
            self._deliver_foreign(now_ns)

    def _deliver_answer(self, event: VenueEvent, now_ns: int) -> None:
        faults = {fault.kind: fault for fault in self._faults.strike(Message(type(event).__name__))}
        if FaultKind.DISCONNECT in faults:
            self._break(now_ns)
            return
        copies = 0 if FaultKind.LOSE in faults else 2 if FaultKind.DUPLICATE in faults else 1
        delay = faults.get(FaultKind.DELAY)
        for _ in range(copies):
            self._outbox.push(event, now_ns + (delay.delay_ns if delay else 0))
        bust = faults.get(FaultKind.BUST)
        if bust is not None and isinstance(event, Executed):
            heapq.heappush(self._busts, (now_ns + bust.delay_ns, event.exec_id))
            self._bust_due(now_ns)
        if FaultKind.FOREIGN_EXECUTION in faults:
            self._deliver_foreign(now_ns)

    def _deliver_foreign(self, now_ns: int) -> None:
        for event in self.exchange.foreign_execution():
            self._deliver(event, now_ns)

    def _bust_due(self, now_ns: int) -> None:
        while self._busts and self._busts[0][0] <= now_ns:
            for event in self.exchange.bust(heapq.heappop(self._busts)[1]):
                if self._connected:
                    self._deliver(event, now_ns)

    # Where the replay is

    def _start(self, resume: Resume, now_ns: int) -> Market:
        place = place_of(resume.state)
        if place is not None and place.recording != self._replay.fingerprint:
            # Another recording: its sequences and times have nothing to do with the old place.
            place, resume = None, Resume(fencing_token=resume.fencing_token)
        feed = Feed(self._replay, self.exchange)
        latency_ns, lead_ns = self._spec.market_data_latency_ns, self._spec.order_latency_ns
        old = None
        if place is not None and place.anchor is not None and place.speed is not None:
            old = Pace(self._replay, place.speed, place.max_gap_ns, place.anchor)
        if self._spec.speed is None:
            done = old.sequence_at(now_ns) if old else resume.market_data_sequence
            done = done if self._replay.loops else min(done, len(self._replay))
            return LockStepMarket(feed, done, latency_ns, latency_ns + lead_ns)
        speed, max_gap_ns = self._spec.speed, self._spec.max_gap_ns
        if old is None:
            pace = Pace(self._replay, speed, max_gap_ns, Anchor(now_ns, resume.market_data_sequence + 1))
        elif place is not None and (place.speed, place.max_gap_ns) == (speed, max_gap_ns):
            pace = old
        else:
            pace = old.moved(speed, max_gap_ns, now_ns)
        return PacedMarket(feed, pace, latency_ns, now_ns)

    def _place(self) -> Place:
        if not isinstance(self._market, PacedMarket):
            return Place(self._replay.fingerprint)
        anchor = self._market.pace.anchor
        on_the_clock = Anchor(anchor.wall_ns - self._skew_ns, anchor.sequence)
        return Place(self._replay.fingerprint, self._spec.speed, self._spec.max_gap_ns, on_the_clock)


def _since(events: Reversible[Event], since_ns: int) -> tuple[Event, ...]:
    """Those of a time or later; they stand in the order of their times."""
    newest_first = takewhile(lambda event: event.at_ns >= since_ns, reversed(events))
    return tuple(reversed(list(newest_first)))


def log_on(api_key: str | None, accepted_sha256: Sequence[str]) -> None:
    """Raises LogonRefused when the venue asks for a key and this is none of those that it accepts."""
    if not accepted_sha256:
        return
    if not api_key:
        raise LogonRefused("the venue asks for an API key and none was given: set spec.credentials")
    actual = hashlib.sha256(api_key.encode()).hexdigest()
    if not any(hmac.compare_digest(actual, accepted.lower()) for accepted in accepted_sha256):
        raise LogonRefused(
            "the venue refused the API key: its SHA-256 is not spec.simulated.apiKeySha256; "
            "write the right key to the secret that spec.credentials names"
        )
