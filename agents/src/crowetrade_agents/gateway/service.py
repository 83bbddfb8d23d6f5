"""One gateway from start to SIGTERM: opens the journal, logs on, replays the market, serves sessions, says how it is.

It ends by raising a JournalError when the journal takes no more from it, and returns when `stop` is set.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

import grpc
import structlog
from nats.js import JetStreamContext
from nats.js.errors import BucketNotFoundError, NotFoundError

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2, orders_pb2, status_pb2
from crowetrade.gateway.v1 import gateway_pb2_grpc
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.numbers import render
from crowetrade_agents.gateway import config
from crowetrade_agents.gateway.core import OrderPath
from crowetrade_agents.gateway.journal import open_journal
from crowetrade_agents.gateway.limits import decode
from crowetrade_agents.gateway.rate import TokenBucket
from crowetrade_agents.gateway.sessions import Sessions
from crowetrade_agents.gateway.state import State
from crowetrade_agents.gateway.status import Identity, VenueSession, gateway_status
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.risk.request import Limits, TradingState
from crowetrade_agents.venues.adapters.simulated.recording import read
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_agents.venues.adapters.simulated.venue import SimulatedVenue
from crowetrade_agents.venues.port import LogonRefused, MarketEvent
from crowetrade_api.files import VenueFile

log = structlog.get_logger()
SECOND_NS = 1_000_000_000
RETRY_SECONDS = 1.0
STATUS_SECONDS = 1.0


def load_replay(file: VenueFile, sample_directory: Path, data_directory: Path) -> Replay:
    """The recording that spec.simulated.data names; raises DataError."""
    data = file.simulated.data
    if data.sample:
        path = sample_directory / f"{data.sample}.csv"
    elif data.persistent_volume_claim is not None:
        path = data_directory / data.persistent_volume_claim.path
    else:
        path = data_directory / (data.config_map.key if data.config_map else "")
    books = read(path, config.instrument(file), config.quote_making(file))
    return Replay(books, speed=config.speed(file), loop=file.simulated.replay.loop, max_gap_ns=config.max_gap_ns(file))


class Gateway:
    """Wires the parts; each task does one thing."""

    def __init__(
        self, bus: NatsBus, file: VenueFile, replay: Replay, clock: Clock, *, pod: str, api_key_file: Path | None
    ) -> None:
        self._bus = bus
        self._jetstream: JetStreamContext = bus.client.jetstream()
        self._file = file
        self._replay = replay
        self._clock = clock
        self._api_key_file = api_key_file
        self._identity = Identity(file.namespace, file.name, pod)
        self._session = VenueSession()
        self._published = 0
        self._resumed_after = 0
        self._changed = asyncio.Event()
        self.stop = asyncio.Event()
        self.serving = asyncio.Event()
        self.port = 0

    async def run(self, port: int) -> None:
        """Serves on `port` (0: any, see self.port) until stop is set; raises JournalError."""
        await self._wait_for_bus_resources()
        journal, events = await open_journal(self._jetstream, self._file.namespace, self._file.name)
        state = State()
        for event in events:
            state.apply(event)
        await journal.append(
            orders_pb2.JournalEvent(
                session_started=orders_pb2.SessionStarted(
                    pod=self._identity.pod,
                    fencing_token=state.fencing_token + 1,
                    replay_epoch_unix_ns=state.replay_epoch_ns or self._clock.now_ns(),
                )
            ),
            self._clock.now_ns(),
        )
        state.fencing_token += 1
        state.replay_epoch_ns = state.replay_epoch_ns or self._clock.now_ns()
        fees, latency = config.fees(self._file), config.latency_ns(self._file)
        self._venue = SimulatedVenue(self._replay, fees, latency, state.fencing_token)
        limits = self._file.spec.rate_limits
        self.path = OrderPath(
            journal,
            state,
            self._venue,
            config.instrument(self._file),
            order_budget=TokenBucket(limits.orders_per_second, limits.burst),
            cancel_budget=TokenBucket(limits.cancels_per_second, limits.cancels_per_second),
            clock=self._clock,
        )
        await self.path.recover()
        self._published = self._resumed_after = self._resume_at(state)
        self._sessions = Sessions(
            self.path,
            self._file.namespace,
            lock_step=self._replay.lock_step,
            published=lambda: self._published,
            cancel_after_seconds=self._file.spec.cancel_on_disconnect.after_seconds,
        )
        server = grpc.aio.server()
        gateway_pb2_grpc.add_GatewayServiceServicer_to_server(self._sessions, server)
        self.port = server.add_insecure_port(f"0.0.0.0:{port}")
        await server.start()
        self.serving.set()
        log.info("gateway serves", port=self.port, fencing_token=state.fencing_token, journal_events=len(events))
        tasks = [
            asyncio.create_task(coroutine)
            for coroutine in (self._watch_configuration(), self._trade(), self._report_status(), self.stop.wait())
        ]
        tasks.append(asyncio.create_task(self._journal_failure()))
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._leave(server)

    async def _journal_failure(self) -> None:
        """Raises when any task, an order of a session among them, met a journal that takes no more."""
        await asyncio.shield(self.path.failed)

    async def _leave(self, server: grpc.aio.Server) -> None:
        """Cancels what is open, says so, ends the sessions."""
        self.path.session_ready = False
        with suppress(Exception):
            # Best effort by nature: when the journal is lost or the bus gone, there is nothing left to say it to.
            await asyncio.wait_for(self.path.cancel_all(None, Reason.GATEWAY_STOPPING), 5)
            self._session.become(status_pb2.SESSION_STATE_DISCONNECTED, self._clock.now_ns(), "the gateway is leaving")
            await self._publish_status()
            await asyncio.wait_for(self._bus.flush(), 2)
        self._sessions.end_all()
        await server.stop(grace=1)

    async def _wait_for_bus_resources(self) -> None:
        """The operator makes the stream and the bucket; without them nothing can be journaled."""
        while not self.stop.is_set():
            try:
                await self._jetstream.stream_info(subjects.ORDER_STREAM)
                await self._jetstream.key_value(subjects.CONFIG_BUCKET)
            except (NotFoundError, BucketNotFoundError):
                log.warning("waiting for the operator to create the journal stream and the configuration bucket")
                await self._pause(RETRY_SECONDS)
            else:
                return

    def _resume_at(self, state: State) -> int:
        """Sequence last published: from the clock, or in lock step from the journal."""
        if self._replay.lock_step:
            return state.market_data_sequence
        return self._replay.sequence_at(self._clock.now_ns(), state.replay_epoch_ns)

    async def _watch_configuration(self) -> None:
        bucket = await self._jetstream.key_value(subjects.CONFIG_BUCKET)
        watcher = await bucket.watch(subjects.gateway_config_key(self._file.namespace, self._file.name))
        async for entry in watcher:
            # None marks the end of what was there at the start.
            if entry is None:
                continue
            revision, limits = decode(entry.value) if entry.value else ("", Limits())
            await self.path.configure(revision, limits)
            self._sessions.changed.set()
            self._changed.set()
            log.info("configuration in force", revision=revision, unreadable=limits.unreadable, halted=limits.halted)

    async def _trade(self) -> None:
        """Logs on, then lets the market run; a refused logon is tried again, the key may be replaced meanwhile."""
        while True:
            try:
                self._venue.log_on(self._api_key(), self._file.simulated.api_key_sha256 or "")
                break
            except LogonRefused as refused:
                self._become(status_pb2.SESSION_STATE_LOGON_REJECTED, str(refused))
                await self._pause(RETRY_SECONDS)
        self.path.session_ready = True
        self._become(status_pb2.SESSION_STATE_LOGGED_ON)
        while (event := self._replay.event(self._published + 1)) is not None:
            await self._wait_until_due(event.sequence)
            await self._publish_market(event)
        # The last event must be worked off before the market closes.
        await self._wait_until_due(self._published + 1)
        self._become(status_pb2.SESSION_STATE_ENDED, "the recording has ended and spec.simulated.replay.loop is false")
        await asyncio.Event().wait()

    def _api_key(self) -> str | None:
        if self._api_key_file is None:
            return None
        try:
            return self._api_key_file.read_text().strip()
        except OSError as error:
            log.error("the API key file cannot be read", error=str(error))
            return None

    async def _wait_until_due(self, sequence: int) -> None:
        if self._replay.lock_step:
            while not self._all_done(sequence - 1):
                self._sessions.changed.clear()
                await self._sessions.changed.wait()
            return
        if self._replay.event(sequence) is None:
            return
        delay = self._replay.due_ns(sequence, self.path.state.replay_epoch_ns) - self._clock.now_ns()
        await asyncio.sleep(max(delay, 0) / SECOND_NS)

    def _all_done(self, sequence: int) -> bool:
        """Lock step: every bound active strategy has a session and has handled the event; there is at least one."""
        bindings = self.path.limits.bindings or {}
        active = [name for name, state in bindings.items() if state is TradingState.ACTIVE]
        sessions = self._sessions.by_strategy
        # No session owes progress for what was published before this process began.
        started = sequence == self._resumed_after
        return bool(active) and all(
            name in sessions and (started or sessions[name].progress >= sequence) for name in active
        )

    async def _publish_market(self, event: MarketEvent) -> None:
        async with self.path.lock:
            await self.path.market(event.book, self._venue.advance(event))
            self._published = event.sequence
            if self._replay.lock_step:
                self._sessions.say_published(event.sequence)
        book = event.book
        message = market_data_pb2.MarketData(
            sequence=event.sequence,
            event_unix_ns=book.event_ns,
            published_unix_ns=self._clock.now_ns(),
            quote=market_data_pb2.Quote(
                symbol=book.symbol,
                venue=self._file.name,
                bid_price=render(book.bid_price),
                bid_quantity=render(book.bid_quantity) if book.bid_quantity is not None else "",
                ask_price=render(book.ask_price),
                ask_quantity=render(book.ask_quantity) if book.ask_quantity is not None else "",
            ),
        )
        subject = subjects.market_data(self._file.namespace, self._file.name, book.symbol)
        await self._bus.publish(subject, message)

    def _become(self, state: status_pb2.SessionState.ValueType, message: str = "") -> None:
        if state != self._session.state:
            log.info("venue session", state=status_pb2.SessionState.Name(state), text=message)
        self._session.become(state, self._clock.now_ns(), message)
        self._changed.set()

    async def _report_status(self) -> None:
        while True:
            await self._publish_status()
            self._changed.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), STATUS_SECONDS)

    async def _publish_status(self) -> None:
        status = gateway_status(
            self._identity,
            self.path,
            self._session,
            self._sessions.by_strategy.keys(),
            self._published,
            self._clock.now_ns(),
        )
        subject = subjects.gateway_status(self._identity.namespace, self._identity.venue)
        await self._bus.publish(subject, status)

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self.stop.wait(), seconds)
