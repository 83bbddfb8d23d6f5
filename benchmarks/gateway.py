"""The order path: the risk gate alone, and an order from NewOrder to its fill."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from decimal import Decimal

import grpc
import nats
from nats.js.api import KeyValueConfig, StreamConfig

from benchmarks.figures import Figure, percentiles
from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2, orders_pb2, status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.domain.clock import SystemClock
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.gateway.service import Gateway
from crowetrade_agents.risk.gate import decide
from crowetrade_agents.risk.request import Exposure, Facts, Limits, OrderRequest, TradingState
from crowetrade_agents.risk.rules import Rate, Rule
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_api.files import VenueFile

GATE_RUNS = 50_000
ORDER_RUNS = 2_000
BOOK = TopOfBook("EUR-USD", Decimal("1.1000"), Decimal(10**9), Decimal("1.1002"), Decimal(10**9), 1)


def gate() -> Iterator[Figure]:
    """The risk gate with one rule of four limits."""
    rule = Rule(
        "desk",
        1,
        frozenset({"ema"}),
        frozenset(),
        False,
        True,
        Decimal(10**6),
        Decimal(10**7),
        Decimal(10**7),
        Rate(10**6, 10**9),
    )
    facts = Facts(
        now_ns=1,
        limits=Limits(bindings={"ema": TradingState.ACTIVE}, rules=(rule,)),
        instruments={"EUR-USD": Instrument("EUR-USD", "USD", Decimal("0.0001"), Decimal(1000), Decimal(1000))},
        book=BOOK,
        session_ready=True,
        known_cl_ord_id=False,
        exposures={("ema", "EUR-USD"): Exposure(Decimal(1000))},
    )
    order = OrderRequest("1", "ema", "EUR-USD", True, Decimal(5000), Decimal("1.1000"))
    taken = []
    for _ in range(GATE_RUNS):
        begin = time.perf_counter_ns()
        decide(order, facts)
        taken.append(time.perf_counter_ns() - begin)
    yield from percentiles("risk_gate", taken)


def filled(response: object) -> bool:
    """Whether a response says that the order is filled."""
    assert isinstance(response, gateway_pb2.OrderSessionResponse)
    return response.execution_report.ord_status == orders_pb2.ORD_STATUS_FILLED


async def order_round_trip(url: str) -> list[Figure]:
    """NewOrder to final fill over gRPC, three journal appends included."""
    bus = await nats.connect(url)
    stream = bus.jetstream()
    await stream.add_stream(StreamConfig(name=subjects.ORDER_STREAM, subjects=[subjects.ORDER_SUBJECTS]))
    bucket = await stream.create_key_value(KeyValueConfig(bucket=subjects.CONFIG_BUCKET))
    configuration = config_pb2.GatewayConfig(revision="r")
    configuration.strategies.add(strategy="ema", state=config_pb2.TRADING_STATE_ACTIVE)
    configuration.rules.add(risk_limit="desk", strategies=["ema"], max_order_quantity="1000000", enforce=True)
    await bucket.put(subjects.gateway_config_key("bench", "sim"), configuration.SerializeToString())
    config = VenueFile.model_validate(
        {
            "namespace": "bench",
            "name": "sim",
            "spec": {
                "type": "Simulated",
                "simulated": {"data": {"sample": "none"}},
                "rateLimits": {"ordersPerSecond": 100_000, "burst": 100_000},
                "instruments": [
                    {
                        "symbol": "EUR-USD",
                        "currency": "USD",
                        "tickSize": "0.0001",
                        "lotSize": "1000",
                        "minQuantity": "1000",
                    }
                ],
            },
        }
    )
    status = await bus.subscribe(subjects.gateway_status("bench", "sim"))
    market = await bus.subscribe(subjects.market_data("bench", "sim", "EUR-USD"))
    gateway = Gateway(
        NatsBus(bus), config, Replay([BOOK], speed=None, loop=False), SystemClock(), pod="bench", api_key_file=None
    )
    running = asyncio.create_task(gateway.run(0))
    await gateway.serving.wait()
    while status_pb2.GatewayStatus.FromString((await status.next_msg(timeout=10)).data).config_revision != "r":
        continue
    taken = []
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gateway.port}") as channel:
        call = gateway_pb2_grpc.GatewayServiceStub(channel).OrderSession()
        await call.write(
            gateway_pb2.OrderSessionRequest(logon=gateway_pb2.Logon(namespace="bench", strategy="ema", pod="bench"))
        )
        await call.read()
        await market.next_msg(timeout=10)
        for number in range(ORDER_RUNS):
            order = orders_pb2.NewOrder(
                cl_ord_id=f"o-{number}",
                strategy="ema",
                symbol="EUR-USD",
                side=market_data_pb2.SIDE_BUY,
                order_quantity="1000",
                ord_type=orders_pb2.ORD_TYPE_MARKET,
                time_in_force=orders_pb2.TIME_IN_FORCE_IOC,
            )
            begin = time.perf_counter_ns()
            await call.write(gateway_pb2.OrderSessionRequest(new_order=order))
            while not filled(await call.read()):
                continue
            taken.append(time.perf_counter_ns() - begin)
    sent = sorted(gateway.path.latencies_ns)
    gateway.stop.set()
    await running
    await bus.close()
    return [*percentiles("order_to_fill", taken), *percentiles("order_to_sent", sent)]
