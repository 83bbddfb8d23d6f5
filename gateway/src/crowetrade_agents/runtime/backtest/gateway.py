"""One venue and its gateway in a backtest: the engine, its loop, a journal whose chain is sealed, and the simulated
venue in lock step. Whatever the venue answers is handled before a call returns."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from crowetrade.bus.v1 import journal_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.allowances.memory import MemoryLedgers
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.flow import MarketEvent
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.commands import Command, Configure, FromVenue, SharesChanged, Timer, VenueConnected
from crowetrade_agents.gateway.engine import next_timer_ns
from crowetrade_agents.gateway.loop import Gateway
from crowetrade_agents.journal.chain import seal
from crowetrade_agents.journal.port import JournalHead, Recovered
from crowetrade_agents.order_entry.commands import Logon
from crowetrade_agents.order_entry.port import Response, SessionListener
from crowetrade_agents.order_entry.responses import hand_over
from crowetrade_agents.runtime.backtest.time import VirtualClock, at_once
from crowetrade_agents.runtime.gateway import begin_session, settings_of
from crowetrade_agents.runtime.shares import ShareKeeper
from crowetrade_agents.runtime.venue import instruments_of, simulated_spec_of
from crowetrade_agents.venues.adapters.simulated import adapter, recording
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_agents.venues.adapters.simulated.spec import Recording, SimulatedSpec
from crowetrade_agents.venues.port import QuoteChanged, Resume, TradePrinted
from crowetrade_agents.venues.registry import AdapterContext, no_credentials
from crowetrade_api.files import VenueFile

POD = "backtest"

Recorded = Callable[[Gateway, Sequence[journal_pb2.JournalEvent]], None]
"""Called with a gateway and what it has just journaled; the books hold it already."""


class Replays:
    """Recordings by what they are read with, so that each is read and kept once, whatever else of its venue differs."""

    def __init__(self) -> None:
        self._read: dict[tuple[tuple[Recording, ...], tuple[Instrument, ...]], Replay] = {}

    def of(self, spec: SimulatedSpec, instruments: tuple[Instrument, ...]) -> Replay:
        """Raises DataError."""
        key = (spec.recordings, instruments)
        if key not in self._read:
            self._read[key] = Replay(recording.read(spec.recordings, instruments), loop=spec.loop)
        return self._read[key]


@dataclass(frozen=True)
class History:
    """A venue's recordings, read: any number of runs may replay them."""

    file: VenueFile
    spec: SimulatedSpec
    replay: Replay

    @classmethod
    def of(cls, file: VenueFile, environment: Mapping[str, str], replays: Replays) -> History:
        """In lock step, from the beginning to the end once, whatever the manifest says of the pace; no key is asked
        for. Raises DataError and ConfigurationError."""
        spec = replace(
            simulated_spec_of(file, environment),
            speed=None,
            loop=False,
            api_key_sha256="",
            previous_api_key_sha256="",
        )
        return cls(file, spec, replays.of(spec, tuple(instruments_of(file).values())))


class Journal:
    """Implements JournalPort: seals every record into the chain and keeps none of them."""

    def __init__(self) -> None:
        self._head = JournalHead()

    async def open(self) -> Recovered:
        """An empty one."""
        return Recovered(None, _nothing(), JournalHead())

    async def append(
        self, events: Sequence[journal_pb2.JournalEvent], recorded_unix_ns: int, fencing_token: int
    ) -> JournalHead:
        """See JournalPort."""
        _, self._head = seal(self._head, events, recorded_unix_ns, fencing_token)
        return self._head

    async def confirm(self) -> None:
        """Nobody else writes."""

    async def write_snapshot(self, books: journal_pb2.Books, head: JournalHead) -> None:
        """There is no next start."""


class BacktestGateway:
    """`move` lets the next market data event come; `command` handles what a strategy sent."""

    def __init__(
        self,
        history: History,
        configuration: Configuration,
        ledgers: MemoryLedgers,
        clock: VirtualClock,
        recorded: Recorded,
    ) -> None:
        self.name = history.file.name
        self._clock = clock
        self._recorded = recorded
        self._latency_ns = history.spec.market_data_latency_ns
        self._listeners: dict[str, SessionListener] = {}
        self._published: list[MarketEvent] = []
        # When it was looked last what comes from the venue.
        self._followed_ns = -1
        instruments = tuple(instruments_of(history.file).values())
        context = AdapterContext(self.name, instruments, clock, no_credentials)
        self._venue = adapter.on_replay(history.spec, history.replay, context)
        self._replay = history.replay
        settings = settings_of(history.file, self._venue.features, POD)
        journal = Journal()
        state, head = at_once(begin_session(journal, settings, clock.now_ns))
        # A machine that stalls changes nothing: whatever could have come meanwhile is in the recordings.
        self.gateway = Gateway(
            state, journal, head, self._venue, self, self._publish, clock, steady=lambda: clock.now_ns() / SECOND_NS
        )
        self.keeper = ShareKeeper(self.name, state, ledgers.port(), self._use_shares, clock)
        self.command(Configure(configuration))

    @property
    def next_ns(self) -> int | None:
        """When the next market data event arrives; None at the end."""
        at_ns = self._venue.simulation.next_market_ns()
        return None if at_ns is None else at_ns + self._latency_ns

    def start(self, from_ns: int) -> None:
        """Logs on at the venue. The events before a venue time are over; the last quote of each instrument is known."""
        sequence = self._replay.sequence_at(from_ns - 1)
        self.gateway.state.live.published = sequence
        token = self.gateway.state.books.fencing_token
        snapshot = at_once(self._venue.connect(Resume(market_data_sequence=sequence, fencing_token=token)))
        self.command(VenueConnected(snapshot))

    def move(self) -> list[MarketEvent]:
        """Lets the next market data event come; returns what strategies get to see."""
        self._venue.simulation.release(self.gateway.state.live.published)
        self._follow()
        published, self._published = self._published, []
        return published

    def command(self, command: Command) -> None:
        """Handles a command, and everything that the venue answers to it. Before, what has come since the last event:
        where an order is caused by an event of another venue, this one's feed was alive meanwhile."""
        self._follow()
        self._handle([command])
        self._follow()

    def timers(self, until_ns: int) -> None:
        """Handles what was to happen at a time up to `until_ns`, each at its time."""
        while (due_ns := next_timer_ns(self.gateway.state)) is not None and due_ns <= until_ns:
            self._clock.advance(due_ns)
            # The venue is still, so nothing but signs of life has come since the last event.
            self._followed_ns = self._clock.now_ns()
            arrived = self._venue.simulation.poll(self._followed_ns)
            self._handle([*map(FromVenue, arrived), Timer()])
            self._follow()

    def log_on(self, strategy: str, listener: SessionListener) -> None:
        """Opens the session of a strategy."""
        self._listeners[strategy] = listener
        self.command(Logon(strategy, len(self._listeners)))

    def _follow(self) -> None:
        """Market data does not move by itself, so this ends. Most often there is nothing to ask for: nothing was sent
        since the last time, and no time has passed."""
        simulation, now_ns = self._venue.simulation, self._clock.now_ns()
        if now_ns == self._followed_ns and simulation.is_still:
            return
        self._followed_ns = now_ns
        while events := simulation.poll(now_ns):
            self._handle([FromVenue(event) for event in events])
            if simulation.is_still:
                return

    def _handle(self, commands: Sequence[Command]) -> None:
        events = at_once(self.gateway.handle(commands))
        if events:
            self._recorded(self.gateway, events)

    async def _use_shares(self, told: SharesChanged) -> None:
        self.command(told)

    async def _publish(self, event: QuoteChanged | TradePrinted) -> None:
        self._published.append(event.market_event)

    # As SessionHub: a session is open from its logon to the end, and a response is delivered at once.

    def deliver(self, strategy: str, response: Response) -> None:
        """See SessionHub."""
        hand_over(response, self.name, self._listeners[strategy])

    def accept(self, strategy: str, session: int, snapshot: gateway_pb2.LogonAccepted) -> None:
        """See SessionHub."""
        self._listeners[strategy].on_logon(self.name, snapshot)

    def handled(self, command: object) -> None:
        """Nobody waits."""

    def publish(self, sequence: int) -> None:
        """See SessionHub."""
        for listener in self._listeners.values():
            listener.on_published(self.name, sequence)

    def connected(self) -> frozenset[str]:
        """See SessionHub."""
        return frozenset(self._listeners)

    def progress(self, strategy: str) -> int:
        """Nobody owes any."""
        return self.gateway.state.live.published

    def leave(self) -> None:
        """The end is the end."""


async def _nothing() -> AsyncIterator[journal_pb2.JournalEvent]:
    return
    yield
