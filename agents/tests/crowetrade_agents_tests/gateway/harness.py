"""A gateway in this process with a real bus, and a strategy's session with it over real gRPC."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
from nats.aio.client import Client

from crowetrade import subjects
from crowetrade.bus.v1 import instrument_pb2, orders_pb2, status_pb2
from crowetrade.bus.v1 import market_data_pb2 as md
from crowetrade.config.v1 import config_pb2
from crowetrade.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.control.grpc_server import ControlServer
from crowetrade_agents.order_entry.responses import responses_of
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.gateway_pod import GrpcEntry, gateway_on, obey_bus
from crowetrade_agents.runtime.keys import key_keeper
from crowetrade_agents.runtime.kills import Kills
from crowetrade_agents.runtime.venue import venue_of
from crowetrade_api.files import EnvName, VenueFile
from crowetrade_api.gateway_config import revision_of
from crowetrade_process.health import Health
from crowetrade_process.stopping import cancelled

NAMESPACE, VENUE, STRATEGY, SYMBOL = "desk", "sim", "ema", "EUR-USD"
SYMBOLS = (SYMBOL, "GBP-USD")
RUN = "1hg3k2m9p0ab"
WAIT_SECONDS = 20
FIRST_NS = 1_400_000_000_000_000_000
if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[gateway_pb2.OrderSessionRequest, gateway_pb2.OrderSessionResponse]


def venue_file(
    *, symbols: Sequence[str] = (SYMBOL,), rate_limits: Mapping[str, int] | None = None, **simulated: object
) -> VenueFile:
    """A VenueConnection as the operator writes it to venue.json, with one recording, rec.csv, for all symbols."""
    rates = {"ordersPerSecond": 1000, "burst": 1000, "cancelsPerSecond": 1000, **(rate_limits or {})}
    return VenueFile.model_validate(
        {
            "namespace": NAMESPACE,
            "name": VENUE,
            "spec": {
                "type": "Simulated",
                "simulated": {
                    "data": [{"configMap": {"name": "recording", "key": "rec.csv"}}],
                    "fees": {"takerBps": "0.2"},
                    **simulated,
                },
                "rateLimits": rates,
                "cancelOnDisconnect": {"afterSeconds": 1},
                "instruments": [
                    {
                        "symbol": symbol,
                        "currency": "USD",
                        "tickSize": "0.00001",
                        "lotSize": "1000",
                        "minQuantity": "1000",
                    }
                    for symbol in symbols
                ],
            },
            "recordings": [{"origin": "Data", "path": "0/rec.csv"}],
        }
    )


def write_quotes(
    folder: Path, count: int, *, quantity: str = "5000", symbols: Sequence[str] = (SYMBOL,), every_ns: int = 10**9
) -> None:
    """Quotes that rise by one tick each, `every_ns` apart, symbol by symbol."""
    (folder / "0").mkdir(exist_ok=True)
    rows = ["ts_ns,symbol,bid_px,bid_sz,ask_px,ask_sz"]
    for number in range(count):
        tick = Decimal(number) / 100_000
        rows += [
            f"{FIRST_NS + number * every_ns},{symbol},{Decimal('1.10000') + tick},{quantity},"
            f"{Decimal('1.10010') + tick},{quantity}"
            for symbol in symbols
        ]
    (folder / "0" / "rec.csv").write_text("\n".join(rows) + "\n")


def limit(name: str, value: str) -> config_pb2.Limit:
    """One limit with one value."""
    return config_pb2.Limit(name=name, values={"value": value})


def configuration(
    *strategies: str,
    state: config_pb2.TradingState.ValueType = config_pb2.TRADING_STATE_ACTIVE,
    limits: Sequence[config_pb2.Limit] | None = None,
    halted_reason: str = "",
) -> config_pb2.GatewayConfig:
    """Bound strategies (one unless it is said otherwise), with one RiskLimit unless `limits` is empty."""
    message = config_pb2.GatewayConfig(halted_reason=halted_reason)
    names = strategies or (STRATEGY,)
    for strategy in names:
        message.strategies.add(strategy=strategy, state=state, symbols=SYMBOLS)
    wanted = (limit("maxOrderQuantity", "10000"), limit("maxPositionQuantity", "20000")) if limits is None else limits
    if wanted:
        message.rules.add(risk_limit="desk", uid="u1", generation=3, strategies=names, limits=wanted, enforce=True)
    message.revision = revision_of(message)
    return message


async def configure(bus: Client, message: config_pb2.GatewayConfig) -> None:
    """Puts a configuration as the operator does."""
    bucket = await bus.jetstream().key_value(subjects.CONFIG_BUCKET)
    await bucket.put(subjects.gateway_config_key(NAMESPACE, VENUE), message.SerializeToString())


class Running:
    """A gateway that serves, and the task that runs it."""

    def __init__(
        self, entry: GrpcEntry, task: asyncio.Task[None], stop: asyncio.Event, kills: Kills, control_port: int
    ) -> None:
        self.kills = kills
        self.control_port = control_port
        self._entry = entry
        self.task = task
        self._stop = stop

    @property
    def port(self) -> int:
        """Of order entry."""
        return self._entry.port

    async def leave(self) -> None:
        """As on SIGTERM; what the process raised is the caller's to look at."""
        self._stop.set()
        await asyncio.wait({self.task}, timeout=WAIT_SECONDS)
        assert self.task.done(), "the gateway did not leave"


async def start(
    bus: Client,
    folder: Path,
    *,
    file: VenueFile | None = None,
    pod: str = "pod-0",
    listing: Callable[[Kills], None] = lambda kills: None,
    **env: str,
) -> Running:
    """A gateway that serves, with the recording in `folder`. `listing`: called before it starts, as whoever watches the
    API server."""
    file = file or venue_file(replay={"speed": "max"})
    clock, stop = SystemClock(), asyncio.Event()
    environment = {EnvName.DATA_DIRECTORY: str(folder), **env}
    keeper = key_keeper(file, environment, clock)
    venue = venue_of(file, environment, clock, keeper)
    entry, kills, known = GrpcEntry(0), Kills(NAMESPACE, VENUE, clock), asyncio.Event()
    listing(kills)
    control = ControlServer(kills, clock, 0)
    await control.start()
    process = gateway_on(NatsBus(bus), pod, file, venue, entry, kills, known, clock, Health(), stop, keeper=keeper)

    async def run() -> None:
        obeying = asyncio.create_task(obey_bus(NatsBus(bus), kills, clock, known))
        try:
            await process.run()
        finally:
            await cancelled(obeying)
            await control.stop()

    task = asyncio.create_task(run())
    serving = asyncio.create_task(process.serving.wait())
    await asyncio.wait({task, serving}, return_when=asyncio.FIRST_COMPLETED, timeout=WAIT_SECONDS)
    serving.cancel()
    if task.done():
        task.result()
    assert process.serving.is_set(), "the gateway does not serve"
    return Running(entry, task, stop, kills, control.port)


@asynccontextmanager
async def running(bus: Client, folder: Path, **more: object) -> AsyncIterator[Running]:
    """A gateway that leaves in the end as on SIGTERM."""
    gateway = await start(bus, folder, **more)  # type: ignore[arg-type]
    try:
        yield gateway
    finally:
        await gateway.leave()
        if not gateway.task.cancelled():
            gateway.task.exception()


class Trader:
    """The strategy's end of a session."""

    def __init__(self, call: Call, strategy: str = STRATEGY) -> None:
        self._call = call
        self._strategy = strategy
        self._number = 0
        self._received: deque[gateway_pb2.OrderSessionResponse] = deque()

    def cl_ord_id(self) -> str:
        """A new one."""
        self._number += 1
        return f"{self._strategy}-{RUN}-{self._number}"

    async def send(self, **message: object) -> None:
        """One request, by the name of its field."""
        await self._call.write(gateway_pb2.OrderSessionRequest(**message))  # type: ignore[arg-type]

    async def receive(self) -> gateway_pb2.OrderSessionResponse:
        """The next response."""
        if not self._received:
            message = await asyncio.wait_for(self._call.read(), WAIT_SECONDS)
            assert isinstance(message, gateway_pb2.OrderSessionResponse), "the session ended"
            self._received.extend(responses_of(message))
        return self._received.popleft()

    async def until(
        self, wanted: Callable[[gateway_pb2.OrderSessionResponse], bool]
    ) -> gateway_pb2.OrderSessionResponse:
        """The first response that is wanted; others are passed over."""
        while not wanted(response := await self.receive()):
            pass
        return response

    async def order(self, quantity: str = "1000", **fields: object) -> list[orders_pb2.ExecutionReport]:
        """Sends an order and returns its reports up to one that is final, or NEW for one that rests."""
        order = self.new_order(quantity, **fields)
        rests = order.time_in_force in (orders_pb2.TIME_IN_FORCE_DAY, orders_pb2.TIME_IN_FORCE_GTC)
        await self.send(new_order=order)
        return await self.reports(order.cl_ord_id, until_new=rests)

    async def reports(self, cl_ord_id: str, *, until_new: bool = False) -> list[orders_pb2.ExecutionReport]:
        """Reports of an order up to the final one."""
        final = {
            orders_pb2.ORD_STATUS_FILLED,
            orders_pb2.ORD_STATUS_CANCELED,
            orders_pb2.ORD_STATUS_REJECTED,
            orders_pb2.ORD_STATUS_EXPIRED,
        } | ({orders_pb2.ORD_STATUS_NEW} if until_new else set())
        reports: list[orders_pb2.ExecutionReport] = []
        while not reports or reports[-1].ord_status not in final:
            response = await self.receive()
            if response.execution_report.cl_ord_id == cl_ord_id:
                reports.append(response.execution_report)
        return reports

    def new_order(self, quantity: str = "1000", **fields: object) -> orders_pb2.NewOrder:
        """A buy that crosses the offer, unless the fields say otherwise."""
        values: dict[str, object] = {
            "cl_ord_id": self.cl_ord_id(),
            "strategy": self._strategy,
            "instrument": instrument_pb2.InstrumentId(venue=VENUE, symbol=SYMBOL),
            "side": md.SIDE_BUY,
            "order_quantity": quantity,
            "ord_type": orders_pb2.ORD_TYPE_LIMIT,
            "price": "1.2",
            "time_in_force": orders_pb2.TIME_IN_FORCE_IOC,
            "valid_until_unix_ns": SystemClock().now_ns() + 5_000_000_000,
        }
        return orders_pb2.NewOrder(**(values | fields))  # type: ignore[arg-type]


@asynccontextmanager
async def session(
    gateway: Running, strategy: str = STRATEGY
) -> AsyncIterator[tuple[Trader, gateway_pb2.LogonAccepted]]:
    """Logs on and yields the snapshot."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        call = gateway_pb2_grpc.GatewayServiceStub(channel).OrderSession()
        trader = Trader(call, strategy)
        await trader.send(logon=gateway_pb2.Logon(namespace=NAMESPACE, strategy=strategy, pod="p"))
        yield trader, (await trader.until(lambda r: r.HasField("logon_accepted"))).logon_accepted


async def status_when(
    bus: Client, wanted: Callable[[status_pb2.GatewayStatus], bool], seconds: float = WAIT_SECONDS
) -> status_pb2.GatewayStatus:
    """The first status that is wanted; fails after a deadline."""
    subscription = await bus.subscribe(subjects.gateway_status(NAMESPACE, VENUE))
    last = status_pb2.GatewayStatus()
    try:
        async with asyncio.timeout(seconds):
            async for message in subscription.messages:
                last = status_pb2.GatewayStatus.FromString(message.data)
                if wanted(last):
                    return last
    except TimeoutError:
        raise AssertionError(f"the last status was not the wanted one: {last}") from None
    finally:
        await subscription.unsubscribe()
    raise AssertionError("the subscription ended")


def account(status: status_pb2.GatewayStatus, strategy: str = STRATEGY) -> status_pb2.StrategyAccount:
    """A strategy's account, empty when there is none."""
    return next((item for item in status.accounts if item.strategy == strategy), status_pb2.StrategyAccount())
