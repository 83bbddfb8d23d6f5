"""Orders over gRPC through the gateway's own process: one at a time, a burst, and as many as it takes.

The strategies' sessions are real ones from this process, so a client's time is not the gateway's; the bus syncs every
write, as the chart's does. "Received" is when the gateway has decoded an order, "sent" when the venue's adapter has it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop

from benchmarks.figures import Figure, cpu_seconds, durations, figure
from benchmarks.gateway.process import Session, connect, gateway_host, sessions, write_files
from benchmarks.gateway.workload import STRATEGIES
from benchmarks.nats_server import nats_server
from crowetrade.bus.v1 import orders_pb2
from crowetrade_agents.gateway.budget import SECOND_NS

WARM_UP = 100
ORDERS = 2_000
BURSTS = 60
BURST_PAUSE_SECONDS = 0.05
SUSTAINED_SECONDS = 15
IN_FLIGHT = 8
EVENTS_OF_AN_ORDER = 3  # submitted, accepted, executed

PENDING_NEW, FILLED = orders_pb2.ORD_STATUS_PENDING_NEW, orders_pb2.ORD_STATUS_FILLED


def order_path(folder: Path) -> Iterator[Figure]:
    """Every figure of the gateway's process, of one process each."""
    for measure in (one_at_a_time, bursts, sustained):
        place = folder / measure.__name__
        place.mkdir()
        write_files(place)
        with nats_server(place) as url:
            yield from measure(place, url)


def one_at_a_time(folder: Path, url: str) -> Iterator[Figure]:
    """gateway.order: received to sent in the gateway; gateway.order_outside: from the client's write to the report
    PendingNew; gateway.append: the part of it that waits for the journal."""
    taken: list[int] = []

    async def run() -> None:
        client = await connect(url)
        with gateway_host(folder, url) as (host, noted):
            async with sessions(host, *STRATEGIES) as opened:
                for number in range(WARM_UP + ORDERS):
                    taken.append(await one_order(opened[number % len(opened)]))
            inside.append(noted)
        await client.close()

    inside: list[dict[str, list[tuple[int, int]]]] = []
    uvloop.run(run())
    orders = [elapsed for _, elapsed in inside[0]["orders"]][WARM_UP:]
    appends = [elapsed for _, elapsed in inside[0]["appends"]][WARM_UP:]
    yield durations("gateway.order", "ms", orders)
    yield durations("gateway.order_outside", "ms", taken[WARM_UP:])
    yield durations("gateway.append", "ms", appends)


async def one_order(session: Session) -> int:
    """Nanoseconds from the write to the report PendingNew of an order that is filled then."""
    payload = session.order()
    begin = time.perf_counter_ns()
    await session.send(payload)
    await session.until(PENDING_NEW)
    taken = time.perf_counter_ns() - begin
    await session.until(FILLED)
    return taken


def bursts(folder: Path, url: str) -> Iterator[Figure]:
    """gateway.burst50: 50 sessions answer one tick; received to sent of each order. gateway.burst50_tick: from the
    tick, which this process has before it writes the first of the 50 orders, to each order sent; gateway.burst50_last:
    to the last one. Both hold the time that one process takes to write 50 orders (`write_ms`)."""
    ticks: list[int] = []
    written: list[int] = []

    async def run() -> None:
        client = await connect(url)
        with gateway_host(folder, url) as (host, noted):
            async with sessions(host, *STRATEGIES) as opened:
                for session in opened:
                    await one_order(session)
                for _ in range(BURSTS):
                    payloads = [session.order() for session in opened]
                    ticks.append(time.time_ns())
                    await asyncio.gather(
                        *(session.send(payload) for session, payload in zip(opened, payloads, strict=True))
                    )
                    written.append(time.time_ns() - ticks[-1])
                    await asyncio.gather(*(session.until(FILLED) for session in opened))
                    await asyncio.sleep(BURST_PAUSE_SECONDS)
            inside.append(noted)
        await client.close()

    inside: list[dict[str, list[tuple[int, int]]]] = []
    uvloop.run(run())
    size = len(STRATEGIES)
    sent = inside[0]["orders"][size:]
    groups = [sent[start : start + size] for start in range(0, len(sent), size)]
    since = [[at_ns - tick for at_ns, _ in group] for tick, group in zip(ticks, groups, strict=True)]
    write_ms = round(sorted(written)[len(written) // 2] / 1e6, 2)
    yield durations("gateway.burst50", "ms", [elapsed for _, elapsed in sent], bursts=BURSTS)
    yield durations("gateway.burst50_tick", "ms", [item for group in since for item in group], write_ms=write_ms)
    yield durations("gateway.burst50_last", "ms", [max(group) for group in since], write_ms=write_ms)


def sustained(folder: Path, url: str) -> Iterator[Figure]:
    """gateway.events_per_second: order events journaled (submitted, accepted, executed) while 50 sessions each keep
    IN_FLIGHT orders under way; gateway.events_per_cpu_second: by CPU time of the gateway's process, which other
    processes of a busy machine do not change as much."""
    rates: list[float] = []
    by_cpu: list[float] = []

    async def run() -> None:
        client = await connect(url)
        with gateway_host(folder, url) as (host, _):
            async with sessions(host, *STRATEGIES) as opened:
                await _keep_busy(opened, SUSTAINED_SECONDS / 3)
                for _ in range(3):
                    begin, cpu = time.perf_counter_ns(), cpu_seconds(host.pid)
                    filled = await _keep_busy(opened, SUSTAINED_SECONDS / 3)
                    rates.append(filled * EVENTS_OF_AN_ORDER * SECOND_NS / (time.perf_counter_ns() - begin))
                    by_cpu.append(filled * EVENTS_OF_AN_ORDER / (cpu_seconds(host.pid) - cpu))
        await client.close()

    uvloop.run(run())
    yield figure("gateway.events_per_second", "1/s", rates, in_flight=IN_FLIGHT * len(STRATEGIES))
    yield figure("gateway.events_per_cpu_second", "1/s", by_cpu)


async def _keep_busy(opened: list[Session], seconds: float) -> int:
    """How many orders were filled in that time, those included that were under way at its end."""
    deadline = time.monotonic() + seconds

    async def trade(session: Session) -> int:
        for _ in range(IN_FLIGHT):
            await session.send(session.order())
        filled, under_way = 0, IN_FLIGHT
        while under_way:
            await session.until(FILLED)
            filled += 1
            if time.monotonic() < deadline:
                await session.send(session.order())
            else:
                under_way -= 1
        return filled

    return sum(await asyncio.gather(*(trade(session) for session in opened)))
