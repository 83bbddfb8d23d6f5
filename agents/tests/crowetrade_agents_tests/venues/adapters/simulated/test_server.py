"""The server process: its log is the truth that a test compares a gateway's books with, and a logon ends what an older
connection has sent."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crowetrade_agents.venues.adapters.simulated.client import ServerSpec, SimulatedServerVenue, make
from crowetrade_agents.venues.adapters.simulated.codec import decode, encode, frame, read_frame
from crowetrade_agents.venues.adapters.simulated.requests import NewOrder
from crowetrade_agents.venues.adapters.simulated.spec import Recording, SimulatedSpec
from crowetrade_agents.venues.adapters.simulated.wire import LoggedOn, Logon, ServerFile, ToClient, ToServer
from crowetrade_agents.venues.port import (
    Executed,
    OrderState,
    QuoteChanged,
    Resume,
    SessionChanged,
    SessionState,
    VenueUnavailable,
)
from crowetrade_agents.venues.registry import AdapterContext

from ....clock import JumpingClock
from ...values import EUR, EUR_USD, START_NS, D, Quote, approved, terms, write_quotes

DEADLINE_SECONDS = 30
MODULE = "crowetrade_agents.venues.adapters.simulated.server"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[tuple[int, Path, asyncio.subprocess.Process]]:
    """A server process in lock step: its port, its log."""
    path = write_quotes(tmp_path / "quotes.csv", [Quote(second, "1.0998", "1.1000") for second in range(5)])
    file, log = tmp_path / "venue.json", tmp_path / "venue.jsonl"
    file.write_text(json.dumps(encode(ServerFile((EUR_USD,), SimulatedSpec((Recording(path),), speed=None)))))
    command = [sys.executable, "-m", MODULE, "--file", str(file), "--log", str(log)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE_SECONDS):
        port = json.loads(await process.stdout.readline())["port"]
    yield port, log, process
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    await process.communicate()


def client(port: int) -> SimulatedServerVenue:
    return make(ServerSpec(port, speed=None), AdapterContext("sim", (EUR_USD,), JumpingClock(START_NS)))


def logged(log: Path, kind: str) -> list[Any]:
    """Messages of a kind in the log."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    hint = ToServer if kind in {"NewOrder", "Cancel", "Replace", "Query", "Logon"} else ToClient
    return [decode(hint, line["message"]) for line in lines if line["message"]["_"] == kind]


async def test_what_a_client_has_seen_stands_in_the_log(
    server: tuple[int, Path, asyncio.subprocess.Process],
) -> None:
    port, log, process = server
    venue = client(port)
    await venue.connect(Resume(fencing_token=1))
    venue.release(0)
    begun_ns = time.time_ns()
    venue.submit(approved(terms("a", quantity="4000")))
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for event in venue.events():
            if isinstance(event, Executed):
                lines = [json.loads(line) for line in log.read_text().splitlines()]
                (order,) = (line for line in lines if line["message"]["_"] == "NewOrder")
                assert begun_ns <= order["wall"] <= time.time_ns()
                assert logged(log, "Executed") == [event]
                assert logged(log, "NewOrder") == [NewOrder(terms("a", quantity="4000"))]
                process.kill()
            if isinstance(event, SessionChanged):
                assert event.state is SessionState.DISCONNECTED
                await venue.close()
    # Of a process that dies, one socket is closed before another.
    await process.wait()
    with pytest.raises(VenueUnavailable, match="cannot be reached"):
        await client(port).connect(Resume())


async def test_the_books_outlive_the_client(server: tuple[int, Path, asyncio.subprocess.Process]) -> None:
    port, _, _ = server
    first = client(port)
    await first.connect(Resume(fencing_token=1))
    first.release(0)
    first.submit(approved(terms("a", quantity="12000")))
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for event in first.events():
            if isinstance(event, Executed):
                break
    second = client(port)
    snapshot = await second.connect(Resume(fencing_token=2))
    assert [(order.cl_ord_id, order.cum_quantity) for order in snapshot.open_orders] == [("a", D(10_000))]
    assert snapshot.positions == {EUR: D(10_000)}
    await first.close()
    await second.close()


async def test_what_an_older_connection_sends_after_a_logon_never_happens(
    server: tuple[int, Path, asyncio.subprocess.Process],
) -> None:
    port, log, _ = server
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(frame(Logon(Resume(fencing_token=1), None)))
    assert isinstance(await read_frame(reader, ToClient), LoggedOn)
    # In the kernel's buffers and, half a message, in the server's.
    half = frame(NewOrder(terms("half", price="1.0900")))
    writer.write(half[: len(half) // 2])
    await writer.drain()
    newer = client(port)
    snapshot = await newer.connect(Resume(fencing_token=2))
    assert snapshot.open_orders == ()
    writer.write(half[len(half) // 2 :] + frame(NewOrder(terms("late", price="1.0900"))))
    newer.query("late", "", EUR)
    newer.query("half", "", EUR)
    states = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        async for event in newer.events():
            if isinstance(event, OrderState):
                states.append(event.status)
            if len(states) == 2:
                break
    assert states == [None, None]
    assert logged(log, "NewOrder") == []
    await newer.close()
    writer.close()


async def test_a_message_that_cannot_be_read_ends_its_connection_alone(
    server: tuple[int, Path, asyncio.subprocess.Process],
) -> None:
    port, _, _ = server
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"\x00\x00\x00\x02[]")
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert await reader.read() == b""
    venue = client(port)
    await venue.connect(Resume())
    venue.release(0)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert isinstance(await anext(venue.events()), QuoteChanged)
    await venue.close()
    writer.close()
