"""Kill orders at a gateway's process whose strategies send without a pause, and whose venue is a process with a log of
its own.

The strategies' sessions are real ones from this process: each has several orders under way all the time, and sends the
next one as soon as one of them is over. With one order each there are moments in which nobody asks for anything, and
the time until the first refusal would be that until somebody does.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

import grpc
import uvloop
from tests.chaos.processes import LOOK_SECONDS, Lines, VenueServer, free_port, until

from benchmarks.figures import Figure, durations, figure
from benchmarks.gateway.process import GatewayHost, Session, connect, gateway_host, sessions, venue_file, write_files
from benchmarks.gateway.workload import NAMESPACE, STRATEGIES
from benchmarks.nats_server import nats_server
from crowetrade.bus.v1 import orders_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_agents.runtime.venue import instruments_of
from crowetrade_agents.venues.adapters.simulated.spec import Fees, Recording, SimulatedSpec
from crowetrade_agents.venues.adapters.simulated.wire import ServerFile
from crowetrade_api.files import EnvName

KILLS = 1_000
CANCEL_ROUNDS = 5
RESTING = 1_000
RECORDING_SECONDS = 600
UNDER_WAY = 4
"""Orders of each strategy."""
MODES = (kill_pb2.KILL_MODE_BLOCK, kill_pb2.KILL_MODE_CANCEL)
FINAL = (orders_pb2.ORD_STATUS_FILLED, orders_pb2.ORD_STATUS_CANCELED, orders_pb2.ORD_STATUS_REJECTED)


@dataclass(slots=True)
class Refusals:
    """Of orders, because of a kill order."""

    count: int = 0
    # When a strategy has read the first since `forget`.
    first_read_ns: int = 0

    def forget(self) -> None:
        """The next one is the first."""
        self.first_read_ns = 0

    def note(self) -> None:
        """One more."""
        self.count += 1
        self.first_read_ns = self.first_read_ns or time.time_ns()


@dataclass(slots=True)
class Killed:
    """What 1,000 kills took, ns, and how many orders reached the venue after each was said to block."""

    until_refused_outside: list[int] = field(default_factory=list)
    until_blocked: list[int] = field(default_factory=list)
    orders_after: list[int] = field(default_factory=list)


class Desk:
    """A gateway with 50 sessions, its venue's log, and its control service."""

    def __init__(
        self,
        host: GatewayHost,
        opened: list[Session],
        log: Path,
        channel: grpc.aio.Channel,
        noted: Mapping[str, list[tuple[int, int]]],
    ) -> None:
        """`noted` is what the gateway's process has noted, once it has ended."""
        self.sessions, self.noted = opened, noted
        self.refusals = Refusals()
        self.control = control_pb2_grpc.ControlServiceStub(channel)
        self._host = host
        self._lines = Lines(log)
        self._generation = 0

    async def trade(self, session: Session) -> None:
        """Sends the next order as soon as one is over."""
        for _ in range(UNDER_WAY):
            await session.send(session.order())
        while True:
            report = (await session.receive()).execution_report
            if report.ord_status not in FINAL:
                continue
            await session.send(session.order())
            if report.reason == "KillSwitchEngaged":
                self.refusals.note()
            elif report.ord_status == orders_pb2.ORD_STATUS_REJECTED and report.reason != "NotSent":
                raise RuntimeError(f"an order was refused: {report.reason} {report.text}")

    def read(self, *kinds: str) -> list[int]:
        """When the venue has read each request of these kinds since the last look, wall clock, ns."""
        return [line["wall"] for line in self._lines.new() if line["message"]["_"] in kinds]

    def order(self, mode: kill_pb2.KillMode.ValueType) -> kill_pb2.KillOrder:
        """The next order to stop, newer than the last one and than its re-arming."""
        self._generation += 2
        return kill_pb2.KillOrder(
            namespace=NAMESPACE,
            name="bench",
            uid="bench",
            generation=self._generation,
            mode=mode,
            scope=kill_pb2.KillScope(namespaces_from="Same"),
            reason="benchmark",
        )

    async def rearm(self) -> None:
        """Returns when the gateway has nothing in force any more."""
        os.kill(self._host.pid, signal.SIGUSR1)
        while (await self.control.ListKills(control_pb2.ListKillsRequest())).kills:  # noqa: ASYNC110 - it asks
            await asyncio.sleep(LOOK_SECONDS)


@asynccontextmanager
async def desk(folder: Path, url: str) -> AsyncIterator[Desk]:
    """Serves until the end of the block."""
    write_files(folder, RECORDING_SECONDS)
    recording = Recording(folder / "0" / "rec.csv")
    spec = SimulatedSpec(recordings=(recording,), loop=True, fees=Fees(Decimal(0), Decimal(0)))
    server = VenueServer(folder, ServerFile(tuple(instruments_of(venue_file()).values()), spec))
    await server.start()
    client, control_port = await connect(url), free_port()
    extra: dict[str, str] = {
        EnvName.SIMULATED_SERVER: f"127.0.0.1:{server.port}",
        EnvName.CONTROL_PORT: str(control_port),
    }
    try:
        with gateway_host(folder, url, "benchmarks.risk.host", extra) as (host, noted):
            async with (
                sessions(host, *STRATEGIES) as opened,
                grpc.aio.insecure_channel(f"127.0.0.1:{control_port}") as channel,
            ):
                yield Desk(host, opened, server.log, channel, noted)
    finally:
        await client.close()
        await server.kill()


def kills(folder: Path) -> Iterator[Figure]:
    """kill.block: from when the gateway saw a kill order until it refused the first order that it had or then got, by
    its clock, 1,000 times under full load (when no order was there, from the arrival of the next one);
    kill.block_outside: from the control service's request until a strategy has read the refusal; kill.blocked: until
    the acknowledgement that no new order can reach the venue, because those that had left are answered.
    kill.orders_after_ack: new orders and replacements in the venue's own log with a later time than the acknowledgement
    names for that, until it is re-armed. kill.cancel_1000: 1,000 orders rest, and a kill order cancels them: from the
    request until the venue has read the last cancel."""
    killed, cancels, blocked = Killed(), list[int](), list[int]()

    async def run(url: str) -> None:
        async with desk(folder, url) as found:
            cancels.extend([await _cancel_all(found) for _ in range(CANCEL_ROUNDS)])
            # A strategy that fails ends everything.
            async with asyncio.TaskGroup() as group:
                trading = [group.create_task(found.trade(session)) for session in found.sessions]
                for number in range(KILLS):
                    await _kill(found, MODES[number % len(MODES)], killed)
                for task in trading:
                    task.cancel()
        blocked.extend(waited_ns for _, waited_ns in found.noted["refusals"][-KILLS:])

    with nats_server(folder) as url:
        uvloop.run(run(url))
    yield durations("kill.cancel_1000", "ms", cancels)
    yield durations("kill.block", "ms", blocked, sessions=len(STRATEGIES))
    yield durations("kill.block_outside", "ms", killed.until_refused_outside, sessions=len(STRATEGIES))
    yield durations("kill.blocked", "ms", killed.until_blocked, sessions=len(STRATEGIES))
    yield figure("kill.orders_after_ack", "orders", killed.orders_after, kills=KILLS)


async def _kill(found: Desk, mode: kill_pb2.KillMode.ValueType, killed: Killed) -> None:
    found.read()
    await until(lambda: bool(found.read("NewOrder")), "orders to reach the venue")
    found.refusals.forget()
    begin_ns, before = time.time_ns(), 0
    blocked: kill_pb2.KillAcknowledgement | None = None
    async for answer in found.control.Kill(control_pb2.KillRequest(order=found.order(mode))):
        said = answer.acknowledgement
        if blocked is None and said.blocked_unix_ns:
            blocked, before = said, found.refusals.count
    assert blocked is not None
    await until(lambda: found.refusals.count > before, "an order to be refused")
    after = sum(at_ns > blocked.blocked_unix_ns for at_ns in found.read("NewOrder", "Replace"))
    killed.until_refused_outside.append(found.refusals.first_read_ns - begin_ns)
    killed.until_blocked.append(blocked.blocked_unix_ns - blocked.seen_unix_ns)
    killed.orders_after.append(after)
    await found.rearm()


async def _cancel_all(found: Desk) -> int:
    for session in found.sessions:
        for _ in range(RESTING // len(found.sessions)):
            await session.send(session.resting_order())
    for session in found.sessions:
        for _ in range(RESTING // len(found.sessions)):
            await session.until(orders_pb2.ORD_STATUS_NEW)
    found.read()
    request, read = control_pb2.KillRequest(order=found.order(kill_pb2.KILL_MODE_CANCEL)), 0

    async def halted() -> None:
        async for _ in found.control.Kill(request):
            pass

    def all_read() -> bool:
        nonlocal read
        read += len(found.read("Cancel"))
        return read == RESTING

    begin = time.perf_counter_ns()
    halting = asyncio.create_task(halted())
    await until(all_read, "all cancels at the venue")
    taken = time.perf_counter_ns() - begin
    await halting
    for session in found.sessions:
        for _ in range(RESTING // len(found.sessions)):
            await session.until(orders_pb2.ORD_STATUS_CANCELED)
    await found.rearm()
    return taken
