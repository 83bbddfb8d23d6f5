"""Strategy processes in this process: each with its own connections, models and bus, as in pods of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.order_entry.port import OrderSession, SessionListener
from crowetrade_agents.roles.order_sender import Patience
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.strategy import OpenSession, StrategyProcess
from crowetrade_agents.runtime.strategy_pod import run_over_nats
from crowetrade_api.files import StrategyFile
from crowetrade_api.names import ROLES, Role
from crowetrade_process.health import Health

from ..messages import NAMESPACE
from ..roles.fake_gateway import FakeGateway

COMBINED: Sequence[Sequence[Role]] = (ROLES,)
SPLIT: Sequence[Sequence[Role]] = tuple((role,) for role in ROLES)
STOP_SECONDS = 20
STATUS_SECONDS = 0.1


class Running:
    """One started process."""

    def __init__(
        self,
        config: StrategyFile,
        roles: Sequence[Role],
        nats_url: str,
        open_session: OpenSession,
        patience: Patience | None,
    ) -> None:
        self.health = Health()
        self.stopping = asyncio.Event()
        process = StrategyProcess(
            config,
            roles,
            "-".join(roles),
            "sha256:test",
            SystemClock(),
            self.health,
            self.stopping,
            open_session,
            patience,
        )
        self.task = asyncio.create_task(run_over_nats(process, nats_url))

    async def stop(self) -> None:
        """As on SIGTERM; raises what the process raised."""
        self.stopping.set()
        await asyncio.wait_for(self.task, STOP_SECONDS)

    async def kill(self) -> None:
        """As on SIGKILL, as far as one can within a process."""
        self.task.cancel()
        await asyncio.wait({self.task})


@asynccontextmanager
async def strategy(
    config: StrategyFile,
    nats_url: str,
    processes: Sequence[Sequence[Role]],
    open_session: OpenSession,
    patience: Patience | None = None,
) -> AsyncIterator[list[Running]]:
    """All processes of a strategy."""
    running = [Running(config, roles, nats_url, open_session, patience) for roles in processes]
    try:
        yield running
    finally:
        for one in running:
            if not one.task.done():
                await one.stop()


@asynccontextmanager
async def market(
    nats_url: str, gateways: Sequence[FakeGateway], quotes: Mapping[str, Sequence[market_data_pb2.MarketData]]
) -> AsyncIterator[asyncio.Task[None]]:
    """The gateways publish the quotes of their venues and their status over NATS; the task ends with the last quote."""
    bus = await NatsBus.connect(nats_url, "gateways")

    async def play(gateway: FakeGateway) -> None:
        async def publish(event: market_data_pb2.MarketData) -> None:
            await bus.publish(subjects.market_data(NAMESPACE, gateway.venue, event.quote.instrument.symbol), event)

        await gateway.play(quotes[gateway.venue], publish)

    async def play_all() -> None:
        await asyncio.gather(*(play(gateway) for gateway in gateways))

    async def report_status() -> None:
        while True:
            for gateway in gateways:
                await bus.publish(subjects.gateway_status(NAMESPACE, gateway.venue), gateway.status())
            await asyncio.sleep(STATUS_SECONDS)

    playing, reporting = asyncio.create_task(play_all()), asyncio.create_task(report_status())
    try:
        yield playing
    finally:
        for task in (playing, reporting):
            task.cancel()
        await asyncio.wait({playing, reporting})
        await bus.close()


def sessions(*gateways: FakeGateway) -> OpenSession:
    """Opens each session with the gateway of its venue."""
    by_venue = {gateway.venue: gateway for gateway in gateways}

    def open_session(venue: str, address: str, logon: gateway_pb2.Logon, listener: SessionListener) -> OrderSession:
        return by_venue[venue].open_session(venue, address, logon, listener)

    return open_session
