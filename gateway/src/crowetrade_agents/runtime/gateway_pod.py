"""A gateway in a pod: its journal and its configuration are on NATS, and its sessions come over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

import structlog

from crowetrade_agents import metrics
from crowetrade_agents.allowances.jetstream import JetStreamLedgers
from crowetrade_agents.bus.nats import Attempts, NatsBus
from crowetrade_agents.control.file import KillFile
from crowetrade_agents.control.grpc_server import ControlServer
from crowetrade_agents.control.kubernetes import ApiServer, KillSwitchWatch
from crowetrade_agents.control.nats import configurations, kill_orders, wait_for_bucket
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.errors import ConfigurationError
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.journal.jetstream import JetStreamJournal
from crowetrade_agents.journal.jetstream_reader import JetStreamReader
from crowetrade_agents.order_entry.grpc_server import create_server
from crowetrade_agents.order_entry.hub import Sessions
from crowetrade_agents.runtime.audit import AuditedJournal, gateway_trail, keys_used
from crowetrade_agents.runtime.clock import SystemClock, ended_when_set_back
from crowetrade_agents.runtime.config import Pod, load_file, read_pod, read_port
from crowetrade_agents.runtime.gateway import GatewayProcess
from crowetrade_agents.runtime.journal_size import measure_journal
from crowetrade_agents.runtime.keys import KeyKeeper, key_keeper
from crowetrade_agents.runtime.kills import Kills
from crowetrade_agents.runtime.venue import venue_of
from crowetrade_agents.runtime.without_journal import WithoutJournal
from crowetrade_agents.venues.port import VenuePort
from crowetrade_api.files import SERVICE_ACCOUNT_DIRECTORY, VENUE_FILE, EnvName, VenueFile
from crowetrade_process.audit.refusals import Refusals
from crowetrade_process.audit.trail import Trail, connecting
from crowetrade_process.health import Health
from crowetrade_process.identity.grpc import add_port
from crowetrade_process.identity.handshakes import counted_handshakes
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.running import running
from crowetrade_process.identity.settings import identity_from_environment
from crowetrade_process.logs import configure_logging
from crowetrade_process.stopping import cancelled, first_of, stop_on_signals, unless_stopping

log = structlog.get_logger()

HTTPS_PORT = 443
LIST_NS = 10 * SECOND_NS
"""How long a gateway that starts waits for the first list of KillSwitches before it looks after what is open."""
GRACE_SECONDS = 1.0
"""For what is being written when the server stops."""


async def run_gateway(environment: Mapping[str, str]) -> None:
    """Runs until SIGTERM; raises ConfigurationError, JournalError when the journal takes no more, and
    ClockSetBack."""
    pod = read_pod(environment, VENUE_FILE)
    file = load_file(pod.config_path, VenueFile)
    configure_logging(venue=file.name, namespace=file.namespace)
    clock = SystemClock()
    health = Health()
    health.set_ready("bus", False, "connecting to the bus")
    await health.serve(pod.http_port)
    stop = stop_on_signals()
    kill_file = KillFile(pod.kill_directory) if pod.kill_directory is not None else None
    kills = Kills(file.namespace, file.name, clock, kill_file)
    identity = identity_from_environment(environment)
    control = ControlServer(kills, clock, pod.control_port, identity)
    keeper = key_keeper(file, environment, clock)
    without_journal = WithoutJournal(file.namespace, lambda: venue_of(file, environment, clock), kills, clock)
    kills.stop_without_journal = without_journal.stop
    watching = [asyncio.create_task(watch.run()) for watch in watches_of(environment, kills, clock)]
    try:
        without_journal.start()
        async with running(identity, partial(health.set_ready, "identity"), stop), AsyncExitStack() as stack:
            if stop.is_set():
                return
            stack.enter_context(counted_handshakes(identity))
            trail = gateway_trail(file.namespace, file.name, pod.name, identity)
            refusals = Refusals(trail)
            if identity is not None:
                identity.on_refusal(refusals.refused)
            if keeper is not None:
                keeper.on_use(lambda new, old: trail.record(keys_used(file.namespace, file.name, new, old)))
            # Before everything else: kill orders need neither bus nor journal.
            await control.start()
            log.info("control_listens", port=control.port)
            async with (
                trail.writing(connecting(pod.nats_url, f"{pod.name}-audit", identity)),
                refusals.telling(),
                ended_when_set_back(clock, stop),
            ):
                # Recordings take their time; kill orders are obeyed meanwhile.
                venue = await asyncio.to_thread(venue_of, file, environment, clock, keeper)
                await _trade(pod, file, venue, keeper, kills, clock, health, stop, identity, trail)
    finally:
        await cancelled(*watching)
        await without_journal.stop()
        await control.stop()
        await health.stop()


def watches_of(environment: Mapping[str, str], kills: Kills, clock: Clock) -> list[KillSwitchWatch]:
    """One for each namespace whose KillSwitches are watched; none where no namespaces are given, as on a laptop. Raises
    ConfigurationError."""
    text = environment.get(EnvName.KILL_NAMESPACES, "")
    names = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    if not names:
        return []
    host = environment.get(EnvName.API_SERVER_HOST, "")
    if not host:
        raise ConfigurationError(
            f"the environment variable {EnvName.KILL_NAMESPACES} is set and {EnvName.API_SERVER_HOST} is not: "
            f"KillSwitches can be watched in a pod alone; unset {EnvName.KILL_NAMESPACES} elsewhere"
        )
    account = Path(environment.get(EnvName.SERVICE_ACCOUNT_DIRECTORY, SERVICE_ACCOUNT_DIRECTORY))
    server = ApiServer(host, read_port(environment, EnvName.API_SERVER_PORT, HTTPS_PORT), account)
    problems = dict.fromkeys(("",) if "*" in names else names, "the API server has not answered yet")
    unlisted = set(problems)
    kills.listed.clear()
    gauge = metrics.KILL_SWITCHES_WATCHED.labels(kills.venue)

    def watching(namespace: str, problem: str) -> None:
        problems[namespace] = problem
        if not problem:
            unlisted.discard(namespace)
            if not unlisted:
                kills.listed.set()
        kills.watched(next(filter(None, problems.values()), ""))
        gauge.set(kills.watches)

    for name, problem in problems.items():
        watching(name, problem)
    return [KillSwitchWatch(server, name, kills.put, partial(watching, name), clock) for name in problems]


async def _trade(
    pod: Pod,
    file: VenueFile,
    venue: VenuePort,
    keeper: KeyKeeper | None,
    kills: Kills,
    clock: Clock,
    health: Health,
    stop: asyncio.Event,
    identity: Identity | None,
    trail: Trail,
) -> None:
    def connection(connected: bool, why: str) -> None:
        health.set_ready("bus", connected, why)
        if not connected:
            kills.problem = why

    attempts = Attempts(connection)
    health.set_live("bus", attempts.stalled)
    connecting = NatsBus.connect(pod.nats_url, name=pod.name, on_connection=attempts, identity=identity)
    bus = await unless_stopping(stop, connecting)
    if bus is None:
        return
    known = asyncio.Event()
    obeying = asyncio.create_task(obey_bus(bus, kills, clock, known))
    reader = JetStreamReader(bus.client, file.namespace, file.name)
    measuring = asyncio.create_task(measure_journal(reader, file.namespace, file.name, clock))
    try:
        if await unless_stopping(stop, wait_for_bucket(bus.client.jetstream(), clock)) is not None:
            entry = GrpcEntry(pod.grpc_port, identity)
            await gateway_on(bus, pod.name, file, venue, entry, kills, known, clock, health, stop, keeper, trail).run()
    finally:
        await cancelled(obeying, measuring)
        await bus.close()


class GrpcEntry:
    """Order entry on a port; 0 lets the system choose, and `port` says which one."""

    def __init__(self, port: int, identity: Identity | None = None) -> None:
        self.port = port
        self._identity = identity

    @asynccontextmanager
    async def serve(self, sessions: Sessions) -> AsyncIterator[None]:
        """The gateway's sessions over gRPC."""
        server = create_server(sessions, self._identity)
        self.port = add_port(server, f"0.0.0.0:{self.port}", self._identity)
        await server.start()
        log.info("order_entry_listens", port=self.port)
        try:
            yield
        finally:
            await server.stop(grace=GRACE_SECONDS)


def gateway_on(
    bus: NatsBus,
    name: str,
    file: VenueFile,
    venue: VenuePort,
    entry: GrpcEntry,
    kills: Kills,
    kills_known: asyncio.Event,
    clock: Clock,
    health: Health,
    stop: asyncio.Event,
    keeper: KeyKeeper | None = None,
    trail: Trail | None = None,
) -> GatewayProcess:
    """A gateway whose journal and configuration are on the bus. Nothing trades before `kills_known`, nor before the
    KillSwitches of the API server were read."""
    journal = JetStreamJournal(bus.client, file.namespace, file.name)
    return GatewayProcess(
        name=name,
        file=file,
        venue=venue,
        bus=bus,
        journal=AuditedJournal(journal, trail, file.namespace, file.name) if trail is not None else journal,
        configurations=_once(
            kills_known, kills.listed, clock, configurations(bus.client, clock, file.namespace, file.name)
        ),
        ledgers=JetStreamLedgers(bus.client, file.namespace),
        serve_sessions=entry.serve,
        clock=clock,
        health=health,
        stop=stop,
        kills=kills,
        keeper=keeper,
    )


async def obey_bus(bus: NatsBus, kills: Kills, clock: Clock, known: asyncio.Event) -> None:
    """Hands over the kill orders of the bus; `known` is set once those are handed over that were there."""
    async for kill in kill_orders(bus.client, clock):
        if kill is None:
            known.set()
        else:
            kills.put(kill)


async def _once(
    known: asyncio.Event, listed: asyncio.Event, clock: Clock, items: AsyncIterator[Configuration]
) -> AsyncIterator[Configuration]:
    """The items, none before `known` is set, nor before `listed` is or LIST_NS have passed since: whoever starts while
    the API server answers does not cancel what rests at the venue, and what is open is not left alone for longer."""
    await known.wait()
    if not listed.is_set():
        await first_of(listed.wait(), clock.wait_until(clock.now_ns() + LIST_NS))
    if not listed.is_set():
        log.error("kill_switches_not_listed", hint="unknown counts as engaged: nothing trades before they are read")
    async for item in items:
        yield item
