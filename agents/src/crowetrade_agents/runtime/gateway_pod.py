"""A gateway in a pod: its journal and its configuration are on NATS, and its sessions come over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import structlog

from crowetrade_agents.allowances.jetstream import JetStreamLedgers
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.control.nats import configurations, wait_for_bucket
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.journal.jetstream import JetStreamJournal
from crowetrade_agents.order_entry.grpc_server import create_server
from crowetrade_agents.order_entry.hub import Sessions
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.config import load_file, read_pod
from crowetrade_agents.runtime.gateway import GatewayProcess
from crowetrade_agents.runtime.venue import venue_of
from crowetrade_agents.venues.port import VenuePort
from crowetrade_api.files import VENUE_FILE, VenueFile
from crowetrade_process.health import Health
from crowetrade_process.logs import configure_logging
from crowetrade_process.stopping import stop_on_signals, unless_stopping

log = structlog.get_logger()

GRACE_SECONDS = 1.0
"""For what is being written when the server stops."""


async def run_gateway(environment: Mapping[str, str]) -> None:
    """Runs until SIGTERM; raises ConfigurationError, and JournalError when the journal takes no more."""
    pod = read_pod(environment, VENUE_FILE)
    file = load_file(pod.config_path, VenueFile)
    configure_logging(venue=file.name, namespace=file.namespace)
    clock = SystemClock()
    venue = venue_of(file, environment, clock)
    health = Health()
    health.set_ready("bus", False, "connecting to the bus")
    await health.serve(pod.http_port)
    stop = stop_on_signals()
    connecting = NatsBus.connect(
        pod.nats_url,
        name=pod.name,
        on_connection=lambda connected, why: health.set_ready("bus", connected, why),
    )
    try:
        bus = await unless_stopping(stop, connecting)
        if bus is None:
            return
        try:
            if await unless_stopping(stop, wait_for_bucket(bus.client.jetstream(), clock)) is None:
                return
            await gateway_on(bus, pod.name, file, venue, GrpcEntry(pod.grpc_port), clock, health, stop).run()
        finally:
            await bus.close()
    finally:
        await health.stop()


class GrpcEntry:
    """Order entry on a port; 0 lets the system choose, and `port` says which one."""

    def __init__(self, port: int) -> None:
        self.port = port

    @asynccontextmanager
    async def serve(self, sessions: Sessions) -> AsyncIterator[None]:
        """The gateway's sessions over gRPC."""
        server = create_server(sessions)
        self.port = server.add_insecure_port(f"0.0.0.0:{self.port}")
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
    clock: Clock,
    health: Health,
    stop: asyncio.Event,
) -> GatewayProcess:
    """A gateway whose journal and configuration are on the bus."""
    return GatewayProcess(
        name=name,
        file=file,
        venue=venue,
        bus=bus,
        journal=JetStreamJournal(bus.client, file.namespace, file.name),
        configurations=configurations(bus.client.jetstream(), file.namespace, file.name),
        ledgers=JetStreamLedgers(bus.client, file.namespace),
        serve_sessions=entry.serve,
        clock=clock,
        health=health,
        stop=stop,
    )
