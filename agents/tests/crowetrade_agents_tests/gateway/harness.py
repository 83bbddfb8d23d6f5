"""A gateway in this process with a real bus, and a strategy's session with it over real gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from nats.aio.client import Client

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2 as md
from crowetrade.bus.v1 import orders_pb2, status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.domain.clock import SystemClock
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.gateway.service import Gateway
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_api.files import VenueFile

NAMESPACE, VENUE, STRATEGY, SYMBOL = "desk", "sim", "ema", "EUR-USD"
WAIT_SECONDS = 20
INSTRUMENT = {"symbol": SYMBOL, "currency": "USD", "tickSize": "0.00001", "lotSize": "1000", "minQuantity": "1000"}
if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[gateway_pb2.OrderSessionRequest, gateway_pb2.OrderSessionResponse]


def venue_config(*, cancels_per_second: int = 1000, **simulated: object) -> VenueFile:
    """A VenueConnection as the operator writes it to venue.json."""
    return VenueFile.model_validate(
        {
            "namespace": NAMESPACE,
            "name": VENUE,
            "spec": {
                "type": "Simulated",
                "simulated": {"data": {"sample": "eurusd-1h"}, "fees": {"takerBps": "0.2"}, **simulated},
                "rateLimits": {"ordersPerSecond": 1000, "burst": 1000, "cancelsPerSecond": cancels_per_second},
                "cancelOnDisconnect": {"afterSeconds": 1},
                "instruments": [
                    {
                        "symbol": SYMBOL,
                        "currency": "USD",
                        "tickSize": "0.00001",
                        "lotSize": "1000",
                        "minQuantity": "1000",
                    }
                ],
            },
        }
    )


def books(count: int, *, quantity: str = "5000") -> list[TopOfBook]:
    """Quotes one second apart that rise by one tick each."""
    return [
        TopOfBook(
            SYMBOL,
            Decimal("1.10000") + Decimal(i) / 100_000,
            Decimal(quantity),
            Decimal("1.10010") + Decimal(i) / 100_000,
            Decimal(quantity),
            1_400_000_000_000_000_000 + i * 1_000_000_000,
        )
        for i in range(count)
    ]


def configuration(
    revision: str = "r1",
    *,
    state: config_pb2.TradingState.ValueType = config_pb2.TRADING_STATE_ACTIVE,
    rule: bool = True,
    halted: bool = False,
) -> config_pb2.GatewayConfig:
    """One bound strategy, with one RiskLimit unless told otherwise."""
    message = config_pb2.GatewayConfig(revision=revision, halted=halted)
    message.strategies.add(strategy=STRATEGY, state=state)
    if rule:
        message.rules.add(
            risk_limit="desk",
            generation=3,
            strategies=[STRATEGY],
            max_order_quantity="10000",
            max_position_quantity="20000",
            enforce=True,
        )
    return message


async def configure(bus: Client, message: config_pb2.GatewayConfig) -> None:
    """Puts a configuration as the operator does."""
    bucket = await bus.jetstream().key_value(subjects.CONFIG_BUCKET)
    await bucket.put(subjects.gateway_config_key(NAMESPACE, VENUE), message.SerializeToString())


async def start(
    bus: Client,
    quotes: Sequence[TopOfBook],
    *,
    config: VenueFile | None = None,
    speed: Decimal | None = None,
    api_key_file: Path | None = None,
) -> tuple[Gateway, asyncio.Task[None]]:
    """A gateway that serves, and the task that runs it."""
    replay = Replay(list(quotes), speed=speed, loop=False)
    gateway = Gateway(
        NatsBus(bus), config or venue_config(), replay, SystemClock(), pod="pod-0", api_key_file=api_key_file
    )
    task = asyncio.create_task(gateway.run(0))
    serving = asyncio.create_task(gateway.serving.wait())
    await asyncio.wait({task, serving}, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_SECONDS)
    serving.cancel()
    return gateway, task


@asynccontextmanager
async def running(
    bus: Client,
    quotes: Sequence[TopOfBook],
    *,
    config: VenueFile | None = None,
    speed: Decimal | None = None,
    api_key_file: Path | None = None,
) -> AsyncIterator[Gateway]:
    """A gateway that serves; leaves as on SIGTERM."""
    gateway, task = await start(bus, quotes, config=config, speed=speed, api_key_file=api_key_file)
    try:
        yield gateway
    finally:
        gateway.stop.set()
        await asyncio.wait({task}, timeout=WAIT_SECONDS)
        if not task.cancelled():
            task.exception()


class Trader:
    """The strategy's end of a session."""

    def __init__(
        self, call: grpc.aio.StreamStreamCall[gateway_pb2.OrderSessionRequest, gateway_pb2.OrderSessionResponse]
    ):
        self._call = call

    async def send(self, **message: object) -> None:
        """One request, by the name of its field."""
        await self._call.write(gateway_pb2.OrderSessionRequest(**message))  # type: ignore[arg-type]

    async def receive(self) -> gateway_pb2.OrderSessionResponse:
        """The next response."""
        response = await asyncio.wait_for(self._call.read(), WAIT_SECONDS)
        assert isinstance(response, gateway_pb2.OrderSessionResponse), "the session ended"
        return response

    async def order(self, cl_ord_id: str, quantity: str = "1000", **fields: object) -> list[orders_pb2.ExecutionReport]:
        """Sends an immediate limit order and returns its reports up to the final one."""
        await self.send(new_order=new_order(cl_ord_id, quantity, **fields))
        reports: list[orders_pb2.ExecutionReport] = []
        while not reports or reports[-1].ord_status not in (
            orders_pb2.ORD_STATUS_FILLED,
            orders_pb2.ORD_STATUS_CANCELED,
            orders_pb2.ORD_STATUS_REJECTED,
        ):
            response = await self.receive()
            if response.execution_report.cl_ord_id == cl_ord_id:
                reports.append(response.execution_report)
        return reports

    async def cancel_reject(self) -> orders_pb2.CancelReject:
        """The next refusal of a cancel; reports before it are passed over."""
        while not (response := await self.receive()).HasField("cancel_reject"):
            pass
        return response.cancel_reject


def new_order(cl_ord_id: str, quantity: str = "1000", **fields: object) -> orders_pb2.NewOrder:
    """A buy that crosses the offer, unless the fields say otherwise."""
    values: dict[str, object] = {
        "cl_ord_id": cl_ord_id,
        "strategy": STRATEGY,
        "symbol": SYMBOL,
        "side": md.SIDE_BUY,
        "order_quantity": quantity,
        "ord_type": orders_pb2.ORD_TYPE_LIMIT,
        "price": "1.20000",
        "time_in_force": orders_pb2.TIME_IN_FORCE_IOC,
        "origin": md.Origin(venue=VENUE, symbol=SYMBOL, sequence=1),
    }
    return orders_pb2.NewOrder(**(values | fields))  # type: ignore[arg-type]


@asynccontextmanager
async def session(
    gateway: Gateway, strategy: str = STRATEGY
) -> AsyncIterator[tuple[Trader, gateway_pb2.LogonAccepted]]:
    """Logs on and gives the snapshot."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        call = gateway_pb2_grpc.GatewayServiceStub(channel).OrderSession()
        trader = Trader(call)
        await trader.send(logon=gateway_pb2.Logon(namespace=NAMESPACE, strategy=strategy, pod="p"))
        yield trader, (await trader.receive()).logon_accepted


async def status_when(bus: Client, wanted: str) -> status_pb2.GatewayStatus:
    """The first status for which the expression over `s` holds; fails after a deadline."""
    subscription = await bus.subscribe(subjects.gateway_status(NAMESPACE, VENUE))
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            async for message in subscription.messages:
                s = status_pb2.GatewayStatus.FromString(message.data)
                if eval(wanted, {"s": s, "pb": status_pb2}):
                    return s
    finally:
        await subscription.unsubscribe()
    raise AssertionError(f"no status with {wanted}")
