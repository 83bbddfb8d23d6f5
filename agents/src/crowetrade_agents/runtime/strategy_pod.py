"""Roles of a strategy in a pod: the bus is NATS, and the sessions with gateways go over gRPC."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import structlog

from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.bus.nats import Attempts, NatsBus
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.order_entry.port import OrderSession, SessionListener
from crowetrade_agents.runtime.clock import SystemClock, ended_when_set_back
from crowetrade_agents.runtime.config import Pod
from crowetrade_agents.runtime.strategy import OpenSession, StrategyProcess
from crowetrade_agents.runtime.watchdog import StageWatchdog
from crowetrade_api.files import StrategyFile
from crowetrade_api.names import Role
from crowetrade_process.health import Health
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.running import running
from crowetrade_process.stopping import stop_on_signals, unless_stopping

_log = structlog.get_logger(__name__)


async def run_over_nats(process: StrategyProcess, url: str, identity: Identity | None = None) -> None:
    """Connects, trying without end, and runs; returns when the process is asked to stop."""
    health = process.health
    health.set_ready("bus", False, f"connecting to NATS at {url}")
    attempts = Attempts(partial(health.set_ready, "bus"))
    health.set_live("bus", attempts.stalled)
    connecting = NatsBus.connect(url, name=process.name, on_connection=attempts, identity=identity)
    market = await unless_stopping(process.stopping, connecting)
    if market is not None:
        await process.run(market)


def _over_grpc(clock: Clock, identity: Identity | None) -> OpenSession:
    # Imported here, so that what runs without a gateway of its own process does without gRPC.
    from crowetrade_agents.order_entry.grpc_client import GrpcSession

    def open_session(venue: str, address: str, logon: gateway_pb2.Logon, listener: SessionListener) -> OrderSession:
        return GrpcSession(venue, address, logon, listener, clock, identity=identity)

    return open_session


async def run_strategy(
    config: StrategyFile,
    roles: Sequence[Role],
    pod: Pod,
    identity: Identity | None,
    write_termination_message: Callable[[str], None],
) -> None:
    """Runs until SIGTERM or SIGINT; raises ClockSetBack."""
    stopping = stop_on_signals()
    health = Health()
    clock = SystemClock()
    open_session = _over_grpc(clock, identity)
    process = StrategyProcess(config, roles, pod.name, pod.config_hash, clock, health, stopping, open_session)
    watchdog = StageWatchdog(process.running, write_termination_message)
    watchdog.start()
    await health.serve(pod.http_port)
    _log.info("strategy_started", config_hash=pod.config_hash)
    try:
        async with (
            running(identity, partial(health.set_ready, "identity"), stopping),
            ended_when_set_back(clock, stopping),
        ):
            if not stopping.is_set():
                await run_over_nats(process, pod.nats_url, identity)
    finally:
        await health.stop()
        watchdog.stop()
        _log.info("strategy_stopped")
