"""Starts the gateway's process (host.py) with a venue that quotes every instrument each second and fills what crosses,
and logs strategies on from this process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import grpc
import nats
from nats.aio.client import Client
from nats.js.api import KeyValueConfig, StreamConfig
from nats.js.errors import BadRequestError

from benchmarks.gateway.workload import (
    ASK,
    BID,
    INSTRUMENTS,
    NAMESPACE,
    RUN,
    SECOND_NS,
    START_NS,
    VENUE,
    configuration_message,
)
from crowetrade import subjects
from crowetrade.bus.v1 import instrument_pb2, market_data_pb2, orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.order_entry.responses import responses_of
from crowetrade_api.files import EnvName, VenueFile
from crowetrade_process.identity.grpc import open_channel
from crowetrade_process.identity.holder import Identity

START_SECONDS = 120
STOP_SECONDS = 60
VALID_NS = 3600 * SECOND_NS
FAR_BELOW = Decimal("0.5")
if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[bytes, bytes]
METHOD = "/crowetrade.gateway.v1.GatewayService/OrderSession"


def venue_file() -> VenueFile:
    """The VenueConnection: no fees worth a thought, no limit of its own."""
    return VenueFile.model_validate(
        {
            "namespace": NAMESPACE,
            "name": VENUE,
            "spec": {
                "type": "Simulated",
                "simulated": {
                    "data": [{"configMap": {"name": "recording", "key": "rec.csv"}}],
                    "replay": {"speed": "1"},
                },
                "rateLimits": {"ordersPerSecond": 100_000, "burst": 100_000, "cancelsPerSecond": 100_000},
                "instruments": [
                    {
                        "symbol": item.symbol,
                        "currency": "USD",
                        "tickSize": "0.00001",
                        "lotSize": "1000",
                        "minQuantity": "1000",
                    }
                    for item in INSTRUMENTS
                ],
            },
            "recordings": [{"origin": "Data", "path": "0/rec.csv"}],
        }
    )


def write_files(folder: Path, seconds: int = 3600) -> None:
    """venue.json and its recording."""
    (folder / "venue.json").write_text(json.dumps(venue_file().content()))
    (folder / "0").mkdir(exist_ok=True)
    with (folder / "0" / "rec.csv").open("w") as out:
        out.write("ts_ns,symbol,bid_px,bid_sz,ask_px,ask_sz\n")
        for second in range(seconds):
            for item in INSTRUMENTS:
                out.write(f"{START_NS + second * SECOND_NS},{item.symbol},{BID},1000000000,{ASK},1000000000\n")


async def make_bus_resources(client: Client) -> None:
    """What the operator makes: the streams of the journal and the configuration."""
    jetstream = client.jetstream()
    for config in subjects.journal_stream_configs(NAMESPACE, VENUE):
        try:
            await jetstream.add_stream(StreamConfig.from_response(config))
        except BadRequestError:  # a benchmark has written into it already
            await jetstream.stream_info(str(config["name"]))
    await jetstream.create_key_value(KeyValueConfig(bucket=subjects.ALLOWANCE_BUCKET, history=1))
    bucket = await jetstream.create_key_value(KeyValueConfig(bucket=subjects.CONFIG_BUCKET, history=1))
    await bucket.put(subjects.gateway_config_key(NAMESPACE, VENUE), configuration_message().SerializeToString())


@dataclass(frozen=True, slots=True)
class GatewayHost:
    """A gateway's process that serves."""

    pid: int
    port: int
    serving_seconds: float


@contextmanager
def gateway_host(
    folder: Path,
    nats_url: str,
    module: str = "benchmarks.gateway.host",
    extra: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[tuple[GatewayHost, dict[str, list[tuple[int, int]]]]]:
    """Serves until the end of the block; what it noted (see host.py) is in the dictionary after it. `extra` is added to
    its environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        EnvName.POD_NAME: "pod-0",
        EnvName.NATS_URL: nats_url,
        EnvName.HTTP_PORT: "0",
        EnvName.GRPC_PORT: str(port),
        EnvName.CONTROL_PORT: "0",
        EnvName.CONFIG_FILE: str(folder / "venue.json"),
        EnvName.DATA_DIRECTORY: str(folder),
        **extra,
    }
    notes, noted = folder / "notes.json", dict[str, list[tuple[int, int]]]()
    begin = time.monotonic()
    with (folder / "gateway.log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", module, notes], env=environment, stdout=log, stderr=log)
    try:
        _until_it_listens(process, port, folder / "gateway.log")
        yield GatewayHost(process.pid, port, time.monotonic() - begin), noted
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    noted.update(json.loads(notes.read_text()))


def _until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None:
            break
        time.sleep(0.005)
    raise RuntimeError(f"the gateway does not serve:\n{log.read_text()[-4000:]}")


class Session:
    """A strategy's end of a stream."""

    def __init__(self, strategy: str, call: Call) -> None:
        self.strategy = strategy
        self._call = call
        self._number = 0
        self._received: deque[gateway_pb2.OrderSessionResponse] = deque()
        # gRPC takes one write at a time.
        self._writing = asyncio.Lock()

    async def send(self, payload: bytes) -> None:
        """One serialized request."""
        async with self._writing:
            await self._call.write(payload)

    async def receive(self) -> gateway_pb2.OrderSessionResponse:
        """The next response."""
        if not self._received:
            payload = await self._call.read()
            if not isinstance(payload, bytes):
                raise RuntimeError(f"the session of {self.strategy} ended: {await self._call.details()}")
            self._received.extend(responses_of(gateway_pb2.OrderSessionResponse.FromString(payload)))
        return self._received.popleft()

    async def until(self, status: orders_pb2.OrdStatus.ValueType) -> orders_pb2.ExecutionReport:
        """The next report of an order in this state."""
        while True:
            report = (await self.receive()).execution_report
            if report.ord_status == status:
                return report
            if report.ord_status == orders_pb2.ORD_STATUS_REJECTED:
                raise RuntimeError(f"an order was refused: {report.reason} {report.text}")

    def order(self) -> bytes:
        """An IOC order that is filled at once, of the next instrument; buys and sells in turn."""
        buys = ((self._number + 1) // len(INSTRUMENTS)) % 2 == 0
        return self._order(buys, ASK if buys else BID, orders_pb2.TIME_IN_FORCE_IOC)

    def resting_order(self) -> bytes:
        """A buy far below the market, of the next instrument."""
        return self._order(True, FAR_BELOW, orders_pb2.TIME_IN_FORCE_GTC)

    def _order(self, buys: bool, price: Decimal, time_in_force: orders_pb2.TimeInForce.ValueType) -> bytes:
        self._number += 1
        number = self._number
        order = orders_pb2.NewOrder(
            cl_ord_id=f"{self.strategy}-{RUN}-{number}",
            strategy=self.strategy,
            instrument=instrument_pb2.InstrumentId(venue=VENUE, symbol=INSTRUMENTS[number % len(INSTRUMENTS)].symbol),
            side=market_data_pb2.SIDE_BUY if buys else market_data_pb2.SIDE_SELL,
            order_quantity="1000",
            ord_type=orders_pb2.ORD_TYPE_LIMIT,
            price=str(price),
            time_in_force=time_in_force,
            valid_until_unix_ns=time.time_ns() + VALID_NS,
        )
        return gateway_pb2.OrderSessionRequest(new_order=order).SerializeToString()


@asynccontextmanager
async def sessions(
    host: GatewayHost,
    *strategies: str,
    identities: Mapping[str, Identity] = MappingProxyType({}),
    server_name: str = "",
) -> AsyncIterator[list[Session]]:
    """Logs each strategy on over a connection of its own, as pods do, and waits until the market is quoted."""
    async with AsyncExitStack() as stack:
        opened = []
        for strategy in strategies:
            channel = await stack.enter_async_context(
                open_channel(
                    f"127.0.0.1:{host.port}",
                    identities.get(strategy),
                    server_name,
                    [("grpc.use_local_subchannel_pool", 1)],
                )
            )
            call: Call = channel.stream_stream(METHOD)()
            session = Session(strategy, call)
            logon = gateway_pb2.Logon(namespace=NAMESPACE, strategy=strategy, pod=f"{strategy}-0")
            await session.send(gateway_pb2.OrderSessionRequest(logon=logon).SerializeToString())
            await session.receive()
            opened.append(session)
        beating = asyncio.create_task(_beat(opened))
        try:
            yield opened
        finally:
            beating.cancel()


async def _beat(opened: list[Session]) -> None:
    beat = gateway_pb2.OrderSessionRequest(heartbeat=gateway_pb2.Heartbeat()).SerializeToString()
    while True:
        await asyncio.sleep(3)
        for session in opened:
            await session.send(beat)


async def connect(nats_url: str) -> Client:
    """A client that has made what the gateway needs."""
    client = await nats.connect(nats_url)
    await make_bus_resources(client)
    return client
