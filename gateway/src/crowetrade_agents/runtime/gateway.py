"""The gateway: wires the engine's loop to its ports, which are a pod's (gateway_pod.py) or a laptop's.

It starts in this order: journal, session record, engine, order entry, configuration, venue. When it is asked to stop,
nothing new leaves, what is open is cancelled, positions that are to be closed are closed within the time that a pod
has; or it ends by raising a JournalError when the journal takes no more from it. At that, and at whatever else ends it,
what is open is cancelled first. A status or a quote that the bus does not take ends nothing: it is counted and logged.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime

import structlog
from google.protobuf.message import Message

from crowetrade import subjects
from crowetrade.bus.v1 import journal_pb2, status_pb2
from crowetrade_agents.allowances.port import LedgerPort
from crowetrade_agents.bus.port import Bus
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.flow_wire import market_event_to_wire
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.errors import ConfigurationError, JournalUnavailable, NotPublished
from crowetrade_agents.gateway.books import Books, begin
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.commands import Configure, KillSwitchesListed, Leave, SharesChanged
from crowetrade_agents.gateway.lock_step import LockStep
from crowetrade_agents.gateway.loop import Gateway
from crowetrade_agents.gateway.state import GatewayState, Settings
from crowetrade_agents.gateway.status import gateway_status, shorten, status_pieces
from crowetrade_agents.gateway.venue_session import VenueSession
from crowetrade_agents.gateway.warnings import Warnings
from crowetrade_agents.journal.port import JournalHead, JournalPort
from crowetrade_agents.metrics import LIMIT_WARNINGS, UNPUBLISHED, series
from crowetrade_agents.order_entry.commands import SessionCommand
from crowetrade_agents.order_entry.hub import Sessions
from crowetrade_agents.risk.rules import RuleSet
from crowetrade_agents.runtime.keys import KeyKeeper
from crowetrade_agents.runtime.kills import Kills
from crowetrade_agents.runtime.shares import ShareKeeper
from crowetrade_agents.runtime.venue import instruments_of
from crowetrade_agents.venues.port import QuoteChanged, Resume, SessionState, TradePrinted, VenueFeatures, VenuePort
from crowetrade_api.files import VenueFile
from crowetrade_process.health import Health
from crowetrade_process.memory import give_back_memory
from crowetrade_process.stopping import cancelled, unless_stopping

log = structlog.get_logger()

STATUS_NS = SECOND_NS
STATUS_PAUSE_NS = SECOND_NS // 500
"""Between two pieces of a status, of about half a millisecond each."""
RETRY_NS = SECOND_NS
JOURNAL_AHEAD_NS = 60 * SECOND_NS
"""A gateway does not wait for a clock that is further behind the journal: its pod would start without end."""
LOOK_NS = SECOND_NS // 20
"""Lock step looks this often whether configuration or patience lets the market go on."""
CANCEL_NS = 5 * SECOND_NS
"""How long a gateway that leaves waits for the answers to its cancels."""
CLOSE_NS = 35 * SECOND_NS
"""How long a gateway that leaves goes on closing positions; less than the pod's terminationGracePeriodSeconds."""
FLATTEN_WAIT_NS = 5 * SECOND_NS
"""How long a gateway that leaves waits for the order to close positions of strategies that want that when they are
deleted: with a whole namespace it is stopped first, and the operator sees that only by its end."""


ServeSessions = Callable[[Sessions], AbstractAsyncContextManager[None]]
"""Makes order entry reachable as long as the context lives."""


class GatewayProcess:
    """One gateway from its journal to its end."""

    def __init__(
        self,
        name: str,
        file: VenueFile,
        venue: VenuePort,
        bus: Bus,
        journal: JournalPort,
        configurations: AsyncIterator[Configuration],
        ledgers: LedgerPort,
        serve_sessions: ServeSessions,
        clock: Clock,
        health: Health,
        stop: asyncio.Event,
        kills: Kills,
        keeper: KeyKeeper | None = None,
    ) -> None:
        """`kills` may outlive this process's gateway: whoever has kill orders puts them there. `keeper`: of the keys
        that `venue` logs on with, for a venue with credentials."""
        self._name = name
        self._file = file
        self._venue = venue
        self._bus = bus
        self._journal = journal
        self._configurations = configurations
        self._ledgers = ledgers
        self._serve_sessions = serve_sessions
        self._clock = clock
        self._health = health
        self._stop = stop
        self._kills = kills
        self._keeper = keeper
        self._waiting_for: list[str] = []
        self._warnings = Warnings()
        # Kinds of messages of which the bus did not take the last one, and what the last status left out.
        self._unpublished: set[str] = set()
        self._left_out: list[str] = []
        # Once the journal has been read; the engine moves them.
        self.books: Books | None = None
        # Set once sessions can be opened.
        self.serving = asyncio.Event()

    async def run(self) -> None:
        """Runs until it is asked to stop; raises JournalError."""
        self._health.set_ready("journal", False, "waiting for the journal")
        opened = await unless_stopping(self._stop, self._open())
        if opened is None:
            return
        state, head = opened
        state.live.kill_switches_unread = not self._kills.listed.is_set()
        self.books = state.books

        async def put(command: SessionCommand) -> None:
            await gateway.put(command)

        sessions = Sessions(
            self._file.namespace,
            self._file.name,
            put,
            self._clock,
            is_bound=lambda strategy: strategy in (state.live.configuration.bindings or {}),
            published=lambda: state.live.published,
        )
        gateway = Gateway(
            state,
            self._journal,
            head,
            self._venue,
            sessions,
            self._publish_market,
            self._clock,
            self._kills.store if self._kills.stores else None,
            self._kills.notify,
        )
        try:
            await self._kills.attach(gateway)
            await self._trade(gateway, sessions)
        finally:
            self._kills.detach("the gateway has stopped")
            await self._venue.close()

    async def _trade(self, gateway: Gateway, sessions: Sessions) -> None:
        session = VenueSession(
            self._venue, gateway.put, lambda: self._resume(gateway.state.books), gateway.prove, self._clock
        )
        if self._keeper is not None:
            session.logged_on = self._keeper.logged_on
        keeper = ShareKeeper(
            self._file.name, gateway.state, self._ledgers, lambda told: self._use_shares(gateway, told), self._clock
        )
        running = asyncio.create_task(gateway.run())
        others = [
            asyncio.create_task(keeper.run()),
            asyncio.create_task(self._configure(gateway, keeper)),
            asyncio.create_task(self._keep_session(gateway, session)),
            asyncio.create_task(self._report_status(gateway)),
            asyncio.create_task(self._serve(gateway, sessions)),
        ]
        if gateway.state.live.kill_switches_unread:
            others.append(asyncio.create_task(self._trade_once_listed(gateway)))
        if self._keeper is not None:
            others.append(asyncio.create_task(self._keeper.run(session.renew)))
        if gateway.state.settings.features.lock_step:
            others.append(asyncio.create_task(self._release(gateway, sessions)))
        stopping = asyncio.create_task(self._stop.wait())
        try:
            done, _ = await asyncio.wait({running, stopping, *others}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if running not in done:
                await self._leave(gateway, running)
        except Exception:
            # The loop has seen to what is open when it ended by itself.
            if not running.done():
                await cancelled(running)
                await gateway.emergency()
            raise
        finally:
            await cancelled(stopping, *others)
            await cancelled(running)

    async def _keep_session(self, gateway: Gateway, session: VenueSession) -> None:
        """The session with the venue, from when it is known who may trade: before that nothing may stay open, and every
        restart would cancel what rests at the venue."""
        await self._until_configured(gateway)
        await session.run()

    async def _until_configured(self, gateway: Gateway) -> None:
        while not await gateway.drain(lambda: gateway.state.live.configured, self._clock.now_ns() + RETRY_NS):
            pass

    async def _trade_once_listed(self, gateway: Gateway) -> None:
        """Until it is cancelled."""
        await self._kills.listed.wait()
        await gateway.put(KillSwitchesListed())
        await asyncio.Event().wait()

    async def _serve(self, gateway: Gateway, sessions: Sessions) -> None:
        """Order entry, from when it is known who may trade until it is cancelled."""
        await self._until_configured(gateway)
        give_back_memory()
        async with self._serve_sessions(sessions):
            self.serving.set()
            self._health.set_ready("journal", True)
            books = gateway.state.books
            log.info("gateway_serves", fencing_token=books.fencing_token, journal=gateway.head.sequence)
            try:
                await asyncio.Event().wait()
            finally:
                sessions.leave()

    async def _open(self) -> tuple[GatewayState, JournalHead]:
        while True:
            try:
                state, head = await begin_session(self._journal, self._settings(), self._clock.now_ns)
            except JournalUnavailable as error:
                log.warning("journal_not_open", error=str(error))
                self._health.set_ready("journal", False, str(error))
                self._kills.problem = f"the journal is not open: {error}"
                await self._clock.wait_until(self._clock.now_ns() + RETRY_NS)
            else:
                # The clock of the machine that wrote it was ahead of this one.
                await self._clock.wait_until(state.books.at_ns)
                return state, head

    def _settings(self) -> Settings:
        return settings_of(self._file, self._venue.features, self._name)

    def _resume(self, books: Books) -> Resume:
        positions = {name: account.total.position for name, account in books.account.items()}
        return Resume(books.resume_ns, books.venue_state, books.origin_sequence, books.fencing_token, positions)

    async def _configure(self, gateway: Gateway, keeper: ShareKeeper) -> None:
        async for configuration in self._configurations:
            await keeper.prepare(configuration)
            await gateway.put(Configure(configuration))

    async def _use_shares(self, gateway: Gateway, told: SharesChanged) -> None:
        """Returns once the engine uses them."""
        live, before = gateway.state.live, gateway.state.live.shares
        await gateway.put(told)
        while not await gateway.drain(lambda: live.shares is not before, self._clock.now_ns() + RETRY_NS):
            pass

    async def _release(self, gateway: Gateway, sessions: Sessions) -> None:
        """Lock step: lets the next event come when every strategy has handled the last one."""
        live = gateway.state.live
        lock_step = LockStep(sessions, live.published)
        released = -1
        while True:
            tradable = live.configuration.tradable
            active = [
                name
                for name, bound in (live.configuration.bindings or {}).items()
                if bound is TradingState.ACTIVE and tradable.get(name)
            ]
            now = self._clock.now_ns()
            missing = lock_step.waiting_for(active, live.published, now)
            self._waiting_for = sorted({*missing, *lock_step.given_up()})
            ready = bool(active) and not missing and bool(sessions.connected())
            if ready and released != live.published and live.session is SessionState.LOGGED_ON:
                released = live.published
                self._venue.release(released)
            await gateway.first(sessions.changed, now + LOOK_NS)
            sessions.changed.clear()

    async def _publish_market(self, event: QuoteChanged | TradePrinted) -> None:
        happened = event.market_event
        subject = subjects.market_data(self._file.namespace, self._file.name, happened.instrument.symbol)
        await self._publish("market_data", subject, market_event_to_wire(happened, self._clock.now_ns()))

    async def _report_status(self, gateway: Gateway) -> None:
        """Each second, and at once when something changed that the operator waits for."""
        while True:
            due_ns = self._clock.now_ns() + STATUS_NS
            status = await self._status_beside_orders(gateway)
            self._warn(status, gateway.state.live.configuration.rules)
            await self._publish_status(status)
            await gateway.wait_for_news(due_ns)

    async def _status_beside_orders(self, gateway: Gateway) -> status_pb2.GatewayStatus:
        """The status, made in pieces between which the loop handles what has come meanwhile."""
        status = status_pb2.GatewayStatus()
        for _ in status_pieces(status, *self._status_facts(gateway)):
            await self._clock.wait_until(self._clock.now_ns() + STATUS_PAUSE_NS)
        return status

    def _warn(self, status: status_pb2.GatewayStatus, rules: RuleSet) -> None:
        """Tells which uses of limits have risen to warnAt."""
        for item in self._warnings.crossed(status, rules):
            series(LIMIT_WARNINGS, (item.risk_limit, item.limit)).inc()
            log.warning(
                "limit_nearly_used",
                risk_limit=item.risk_limit,
                limit=item.limit,
                key=item.key,
                used=item.used,
                allowed=item.allowed,
            )

    def _status_facts(self, gateway: Gateway) -> tuple[GatewayState, int, int, list[str], int]:
        now_ns = self._clock.now_ns()
        return gateway.state, gateway.head.sequence, gateway.latency_p99_ns, self._waiting_for, now_ns

    async def _publish_status(self, status: status_pb2.GatewayStatus) -> None:
        status.watches_kill_switches = self._kills.watches
        status.kill_switches_unwatched_since_unix_ns = self._kills.unwatched_since_ns
        status.kill_switches_problem = self._kills.unwatched_problem
        if self._keeper is not None:
            status.credentials.CopyFrom(self._keeper.status())
        left_out = shorten(status)
        if left_out and left_out != self._left_out:
            log.warning("status_shortened", left_out=left_out, bytes=status.ByteSize())
        self._left_out = left_out
        await self._publish("status", subjects.gateway_status(self._file.namespace, self._file.name), status)

    async def _publish(self, kind: str, subject: str, message: Message) -> None:
        """What the bus does not take is counted; of several in a row the first is logged."""
        try:
            await self._bus.publish(subject, message)
        except NotPublished as error:
            series(UNPUBLISHED, (kind, error.reason)).inc()
            if kind not in self._unpublished:
                self._unpublished.add(kind)
                log.error("not_published", message=kind, reason=error.reason, error=str(error))
        else:
            self._unpublished.discard(kind)

    async def _leave(self, gateway: Gateway, running: asyncio.Task[None]) -> None:
        """Cancels what is open, closes what is to be closed, writes a snapshot, publishes the last status."""
        state, began = gateway.state, self._clock.now_ns()
        await gateway.put(Leave())
        flat = asyncio.create_task(
            gateway.drain(lambda: has_left(state, self._clock.now_ns() - began), began + CLOSE_NS)
        )
        await asyncio.wait({flat, running}, return_when=asyncio.FIRST_COMPLETED)
        await cancelled(flat)
        gateway.stop()
        await running
        await gateway.snapshot()
        await self._publish_status(gateway_status(*self._status_facts(gateway)))
        try:
            await self._bus.flush()
        except NotPublished as error:
            log.warning("last_status_not_sent", reason=error.reason, error=str(error))


async def begin_session(
    journal: JournalPort, settings: Settings, now_ns: Callable[[], int]
) -> tuple[GatewayState, JournalHead]:
    """Opens the journal and writes this session's record into it, which fences the gateway before. Raises JournalError,
    and ConfigurationError for a journal that is more than JOURNAL_AHEAD_NS ahead of the clock: until then nothing
    would be due, neither an answer nor the end of a session."""
    recovered = await journal.open()
    books = begin(settings.venue, recovered.books)
    async for event in recovered.events:
        books.apply(event, replayed=True)
    if (ahead_ns := books.at_ns - now_ns()) > JOURNAL_AHEAD_NS:
        at = datetime.fromtimestamp(books.at_ns // SECOND_NS, UTC).isoformat()
        raise ConfigurationError(
            f"the last record of the journal is of {at}, {ahead_ns // SECOND_NS:,} s ahead of this machine's clock: "
            "set the clock right; if it is right, the record was written while a clock was wrong (docs/journals.md)"
        )
    started = journal_pb2.JournalEvent(
        at_unix_ns=now_ns(),
        session_started=journal_pb2.SessionStarted(pod=settings.pod, fencing_token=books.fencing_token + 1),
    )
    books.apply(started)
    head = await journal.append([started], now_ns(), books.fencing_token)
    state = GatewayState.start(settings, books, recovered.head.sequence)
    state.live.published = books.origin_sequence
    return state, head


def settings_of(file: VenueFile, features: VenueFeatures, pod: str) -> Settings:
    """What a gateway of this venue is started with."""
    spec = file.spec
    return Settings(
        namespace=file.namespace,
        venue=file.name,
        pod=pod,
        instruments=instruments_of(file),
        features=features,
        orders_per_second=spec.rate_limits.orders_per_second,
        order_burst=spec.rate_limits.burst,
        cancels_per_second=spec.rate_limits.cancels_per_second,
        cancel_after_ns=spec.cancel_on_disconnect.after_seconds * SECOND_NS,
    )


def has_left(state: GatewayState, since_ns: int) -> bool:
    """Nothing is open (or its answer does not come), and nothing is being closed."""
    closing, flattened = state.live.closing, state.live.configuration.flattened_when_deleted
    if any(not item.final for item in closing.values()):
        return False
    held = (key for key, position in state.books.positions.items() if position.quantity and key not in closing)
    if since_ns < FLATTEN_WAIT_NS and any(owner in flattened for owner, _ in held):
        return False
    return not state.books.open or since_ns >= CANCEL_NS
