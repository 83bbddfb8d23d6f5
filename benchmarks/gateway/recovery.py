"""A gateway's start with a long history: the journal is written by the engine and the journal's own code."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import nats
import uvloop

from benchmarks.figures import Figure, cpu_seconds, figure, peak_rss_mib, rss_mib
from benchmarks.gateway.engine import Trading
from benchmarks.gateway.process import gateway_host, make_bus_resources, write_files
from benchmarks.gateway.workload import NAMESPACE, START_NS, VENUE, trading_state
from benchmarks.nats_server import nats_server
from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.gateway import batch
from crowetrade_agents.gateway.loop import SNAPSHOT_EVENTS
from crowetrade_agents.journal.jetstream import JetStreamJournal

EVENTS = 1_000_000
STARTS = 3
RECORDING_SECONDS = 10
# 1,000,000 events are eight hours of trading.
ORDER_NS = 100_000_000
ORDERS_OF_A_RECORD = 8


def recovery(folder: Path, events: int = EVENTS) -> Iterator[Figure]:
    """gateway.recover_1m.seconds: from the start of the process until sessions can be opened; .rss_mib: its memory
    then; .cpu_seconds and .peak_rss_mib: its CPU time and the peak of its memory until then. After the last snapshot
    as many events follow as can."""
    write_files(folder, RECORDING_SECONDS)
    with nats_server(folder, synced=False) as url:
        written = uvloop.run(write_journal(url, events))
        starts = []
        for _ in range(STARTS):
            with gateway_host(folder, url) as (host, _):
                pid = host.pid
                starts.append((host.serving_seconds, rss_mib(pid), peak_rss_mib(pid), cpu_seconds(pid)))
    yield figure("gateway.recover_1m.seconds", "s", [start[0] for start in starts], events=written)
    yield figure("gateway.recover_1m.rss_mib", "MiB", [start[1] for start in starts], events=written)
    yield figure("gateway.recover_1m.cpu_seconds", "s", [start[3] for start in starts], events=written)
    yield figure("gateway.recover_1m.peak_rss_mib", "MiB", [start[2] for start in starts], events=written)


async def write_journal(url: str, events: int) -> int:
    """Trades until the journal has so many events and the next snapshot is due; returns how many it has."""
    client = await nats.connect(url)
    await make_bus_resources(client)
    journal = JetStreamJournal(client, NAMESPACE, VENUE)
    async for _ in (await journal.open()).events:
        raise RuntimeError("the journal is not empty")
    state = trading_state()
    state.books.fencing_token = 0
    started = journal_pb2.JournalEvent(
        at_unix_ns=START_NS, session_started=journal_pb2.SessionStarted(pod="pod-0", fencing_token=1)
    )
    state.books.apply(started)
    head = await journal.append([started], START_NS, 1)
    trading, snapshot_at = Trading(state, START_NS, step_ns=ORDER_NS), 0
    while head.sequence < events or head.sequence - snapshot_at < SNAPSHOT_EVENTS * 99 // 100:
        waiting = [command for _ in range(ORDERS_OF_A_RECORD) for command in (trading.order(), *trading.answers())]
        todo = batch.take(state, waiting, trading.now_ns)
        head = await journal.append(todo.events, trading.now_ns, 1)
        if head.sequence - snapshot_at >= SNAPSHOT_EVENTS:
            await journal.write_snapshot(state.books.to_message(), head)
            snapshot_at = head.sequence
        await asyncio.sleep(0)
    await client.close()
    return head.sequence
