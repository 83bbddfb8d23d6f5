"""The gateway process: environment, bus, health, SIGTERM."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import structlog

from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.domain.clock import SystemClock
from crowetrade_agents.gateway.service import Gateway, load_replay
from crowetrade_agents.runtime.config import load_file, read_pod
from crowetrade_api.files import CREDENTIALS_FILE, DATA_DIRECTORY, SAMPLE_DIRECTORY, VENUE_FILE, EnvName, VenueFile
from crowetrade_process.health import Health
from crowetrade_process.logs import configure_logging
from crowetrade_process.stopping import cancelled, stop_on_signals, unless_stopping

log = structlog.get_logger()


async def run_gateway(environment: Mapping[str, str]) -> None:
    """Runs until SIGTERM; raises ConfigurationError, and JournalError when the journal takes no more."""
    pod = read_pod(environment, VENUE_FILE)
    file = load_file(pod.config_path, VenueFile)
    configure_logging(venue=file.name, namespace=file.namespace)
    samples = Path(environment.get(EnvName.SAMPLE_DIRECTORY, SAMPLE_DIRECTORY))
    replay = load_replay(file, samples, Path(environment.get(EnvName.DATA_DIRECTORY, DATA_DIRECTORY)))
    health = Health()
    health.set_ready("bus", False, "connecting to the bus")
    await health.serve(pod.http_port)
    stop = stop_on_signals()
    connecting = NatsBus.connect(
        pod.nats_url,
        name=pod.name,
        on_connection=lambda connected, why: health.set_ready("bus", connected, why),
    )
    bus = await unless_stopping(stop, connecting)
    if bus is None:
        await health.stop()
        return
    key_file = Path(environment.get(EnvName.CREDENTIALS_FILE, CREDENTIALS_FILE))
    gateway = Gateway(
        bus,
        file,
        replay,
        SystemClock(),
        pod=pod.name,
        api_key_file=key_file if file.simulated.api_key_sha256 else None,
    )
    gateway.stop = stop
    ready = asyncio.create_task(_say_ready(gateway, health))
    try:
        await gateway.run(pod.grpc_port)
    finally:
        await cancelled(ready)
        await bus.close()
        await health.stop()


async def _say_ready(gateway: Gateway, health: Health) -> None:
    health.set_ready("journal", False, "waiting for the journal")
    await gateway.serving.wait()
    health.set_ready("journal", True)
