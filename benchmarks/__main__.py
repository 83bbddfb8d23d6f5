"""`python -m benchmarks`: measures and appends one JSON line a figure to benchmarks/results/<time>.jsonl.

Each figure: name, value, unit, machine, revision; latencies as p50, p99 and max, in the same run.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import grpc
import nats
from nats.js.api import KeyValueConfig, StreamConfig

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2, orders_pb2, status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.domain.clock import SystemClock
from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.gateway.config import VenueConfig
from crowetrade_agents.gateway.service import Gateway
from crowetrade_agents.risk.gate import decide
from crowetrade_agents.risk.request import Exposure, Facts, Limits, OrderRequest, TradingState
from crowetrade_agents.risk.rules import Rate, Rule
from crowetrade_agents.venues.adapters.simulated.replay import Replay

GATE_RUNS = 50_000
ORDER_RUNS = 2_000
BOOK = TopOfBook("EUR-USD", Decimal("1.1000"), Decimal(10**9), Decimal("1.1002"), Decimal(10**9), 1)


def percentiles(name: str, values_ns: list[int]) -> Iterator[dict[str, object]]:
    """Nearest-rank p50 and p99, and the maximum, in microseconds."""
    values_ns.sort()
    last = len(values_ns) - 1
    for label, place in (("p50", last // 2), ("p99", last * 99 // 100), ("max", last)):
        yield {"name": f"{name}_{label}", "value": values_ns[place] / 1000, "unit": "us"}


def gate() -> Iterator[dict[str, object]]:
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


async def order_round_trip(url: str) -> list[dict[str, object]]:
    """NewOrder to final fill over gRPC, three journal appends included."""
    bus = await nats.connect(url)
    stream = bus.jetstream()
    await stream.add_stream(StreamConfig(name=subjects.ORDER_STREAM, subjects=[subjects.ORDER_SUBJECTS]))
    bucket = await stream.create_key_value(KeyValueConfig(bucket=subjects.CONFIG_BUCKET))
    configuration = config_pb2.GatewayConfig(revision="r")
    configuration.strategies.add(strategy="ema", state=config_pb2.TRADING_STATE_ACTIVE)
    configuration.rules.add(risk_limit="desk", strategies=["ema"], max_order_quantity="1000000", enforce=True)
    await bucket.put(subjects.gateway_config_key("bench", "sim"), configuration.SerializeToString())
    config = VenueConfig.model_validate(
        {
            "namespace": "bench",
            "name": "sim",
            "spec": {
                "type": "Simulated",
                "simulated": {"data": {"sample": "none"}},
                "rateLimits": {"ordersPerSecond": 1_000_000, "burst": 1_000_000},
                "instruments": [{"symbol": "EUR-USD", "currency": "USD", "tickSize": "0.0001", "lotSize": "1000"}],
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


def main() -> None:
    """Runs every benchmark, prints and keeps the figures."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        server = Path(sys.executable).parent / "nats-server"
        settings = Path(folder) / "nats.conf"
        settings.write_text(f'jetstream {{ store_dir: "{folder}", sync_interval: always }}\n')
        process = subprocess.Popen(
            [server, "-c", settings, "-a", "127.0.0.1", "-p", str(port)], stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if "Server is ready" in line:
                    break
            figures = [*gate(), *asyncio.run(order_round_trip(f"nats://127.0.0.1:{port}"))]
        finally:
            process.terminate()
            process.communicate()
    git = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    python = platform.python_version()
    common = {
        "machine": f"{platform.machine()}, {platform.system()}, {os.cpu_count()} cores, Python {python}",
        "revision": git.stdout.strip(),
    }
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    with (results / f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}.jsonl").open("w") as out:
        for figure in figures:
            line = json.dumps(figure | common)
            print(line)
            out.write(line + "\n")


if __name__ == "__main__":
    main()
