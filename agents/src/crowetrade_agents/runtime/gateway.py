"""The gateway process: environment, bus, health, SIGTERM."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import structlog

from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.domain.clock import SystemClock
from crowetrade_agents.errors import ConfigurationError, JournalError
from crowetrade_agents.gateway.config import load
from crowetrade_agents.gateway.service import Gateway, load_replay
from crowetrade_agents.runtime.config import DEFAULT_HTTP_PORT, EXIT_CONFIGURATION, TERMINATION_LOG
from crowetrade_agents.runtime.health import Health
from crowetrade_agents.runtime.logs import configure_logging
from crowetrade_agents.runtime.stopping import cancelled, stop_on_signals, unless_stopping

log = structlog.get_logger()
GRPC_PORT = 50051
EXIT_OVERTAKEN = 75


async def run_gateway() -> int:
    """Runs until SIGTERM; returns the exit code."""
    environment = os.environ
    try:
        config = load(Path(environment.get("CROWETRADE_CONFIG", "/etc/crowetrade/venue.json")))
        configure_logging(venue=config.name, namespace=config.namespace)
        samples = Path(environment.get("CROWETRADE_SAMPLE_DATA", "/usr/share/crowetrade/data"))
        replay = load_replay(config, samples, Path(environment.get("CROWETRADE_DATA", "/data")))
    except ConfigurationError as error:
        configure_logging()
        log.error("configuration error", error=str(error))
        _termination_message(str(error))
        return EXIT_CONFIGURATION
    health = Health()
    health.set_ready("bus", False, "connecting to the bus")
    await health.serve(int(environment.get("HTTP_PORT", str(DEFAULT_HTTP_PORT))))
    stop = stop_on_signals()
    connecting = NatsBus.connect(
        environment["NATS_URL"],
        name=environment.get("POD_NAME", "gateway"),
        on_connection=lambda connected, why: health.set_ready("bus", connected, why),
    )
    bus = await unless_stopping(stop, connecting)
    if bus is None:
        await health.stop()
        return 0
    key_file = Path(environment.get("CROWETRADE_API_KEY_FILE", "/var/run/crowetrade/credentials/api-key"))
    wants_key = bool(config.spec.simulated.api_key_sha256)
    gateway = Gateway(
        bus,
        config,
        replay,
        SystemClock(),
        pod=environment.get("POD_NAME", ""),
        api_key_file=key_file if wants_key else None,
    )
    gateway.stop = stop
    ready = asyncio.create_task(_say_ready(gateway, health))
    try:
        await gateway.run(int(environment.get("GRPC_PORT", str(GRPC_PORT))))
    except JournalError as error:
        log.error("the gateway stops", error=str(error))
        _termination_message(str(error))
        return EXIT_OVERTAKEN
    finally:
        await cancelled(ready)
        await bus.close()
        await health.stop()
    return 0


async def _say_ready(gateway: Gateway, health: Health) -> None:
    health.set_ready("journal", False, "waiting for the journal")
    await gateway.serving.wait()
    health.set_ready("journal", True)


def _termination_message(text: str) -> None:
    try:
        Path(TERMINATION_LOG).write_text(text)
    except OSError:
        # Outside a pod there is no such file; the log line says the same.
        return
