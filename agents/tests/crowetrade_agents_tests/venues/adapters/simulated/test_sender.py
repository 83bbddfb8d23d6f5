"""What leaves through a real socket, also when the process was frozen or the other end does not read."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator

import pytest

from crowetrade_agents.venues.adapters.simulated import requests
from crowetrade_agents.venues.adapters.simulated.requests import Cancel, NewOrder, Query, Replace, Request
from crowetrade_agents.venues.adapters.simulated.sender import FROZEN_SECONDS, TICK_SECONDS, Sender
from crowetrade_agents_tests.clock import Stopwatch

from ...values import EUR_USD, approved, terms

ORDER = requests.of(approved(terms("a")))
REPLACE = Replace(terms("b"), "a", "")
CANCEL = Cancel("c", "a", "")
QUERY = Query("a", "", EUR_USD.id)


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    watch = Stopwatch()
    monkeypatch.setattr("crowetrade_agents.venues.adapters.simulated.sender.monotonic", watch)
    return watch


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, venues = socket.socketpair()
    for end in (ours, venues):
        end.setblocking(False)
    yield ours, venues
    ours.close()
    venues.close()


async def read(end: socket.socket) -> list[str]:
    """Kinds of requests that have come."""
    for _ in range(3):
        await asyncio.sleep(0)
    try:
        data = end.recv(1 << 20)
    except BlockingIOError:
        return []
    kinds = []
    while data:
        length = 4 + int.from_bytes(data[:4], "big")
        kinds.append(json.loads(data[4:length])["_"])
        data = data[length:]
    return kinds


Ends = tuple[socket.socket, socket.socket]


async def test_requests_leave_in_their_order_at_the_end_of_the_turn(ends: Ends) -> None:
    unsent: list[Request] = []
    sender = Sender(ends[0], unsent.append)
    for request in (ORDER, CANCEL, REPLACE, QUERY):
        sender.send(request)
    assert await read(ends[1]) == ["NewOrder", "Cancel", "Replace", "Query"]
    sender.send(QUERY)
    sender.close()
    assert await read(ends[1]) == ["Query"]
    assert unsent == []


@pytest.mark.parametrize(
    ("seconds", "left", "unsent"),
    [
        (FROZEN_SECONDS, ["NewOrder", "Cancel", "Replace", "Query"], []),
        (FROZEN_SECONDS + 0.01, ["Cancel", "Query"], [ORDER, REPLACE]),
    ],
)
async def test_what_was_handed_over_before_the_process_froze_does_not_leave_but_for_cancels_and_questions(
    stopwatch: Stopwatch, ends: Ends, seconds: float, left: list[str], unsent: list[Request]
) -> None:
    said: list[Request] = []
    sender = Sender(ends[0], said.append)
    for request in (ORDER, CANCEL, REPLACE, QUERY):
        sender.send(request)
    stopwatch.seconds += seconds
    assert await read(ends[1]) == left
    assert said == unsent
    sender.send(NewOrder(terms("d")))
    assert await read(ends[1]) == ["NewOrder"]
    sender.close()


async def test_a_timer_that_runs_first_after_the_thaw_lets_nothing_through(stopwatch: Stopwatch, ends: Ends) -> None:
    said: list[Request] = []
    sender = Sender(ends[0], said.append)
    sender.send(ORDER)
    stopwatch.seconds += FROZEN_SECONDS + 0.01
    sender._note()
    assert await read(ends[1]) == []
    assert said == [ORDER]
    sender.close()


async def test_a_quiet_session_is_not_a_frozen_one(stopwatch: Stopwatch, ends: Ends) -> None:
    said: list[Request] = []
    sender = Sender(ends[0], said.append)
    for _ in range(3):
        stopwatch.seconds += FROZEN_SECONDS * 0.9
        await asyncio.sleep(1.2 * TICK_SECONDS)
    sender.send(ORDER)
    assert await read(ends[1]) == ["NewOrder"]
    assert said == []
    sender.close()


async def test_what_the_kernel_does_not_take_at_once_follows_byte_by_byte(ends: Ends) -> None:
    ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    said: list[Request] = []
    sender = Sender(ends[0], said.append)
    names = [f"a-{number}" for number in range(400)]
    for name in names:
        sender.send(NewOrder(terms(name)))
    loop, data = asyncio.get_running_loop(), b""
    async with asyncio.timeout(20):
        while data.count(b"cl_ord_id") < len(names) or not data.endswith(b"}"):
            data += await loop.sock_recv(ends[1], 1000)
    found = []
    while data:
        length = 4 + int.from_bytes(data[:4], "big")
        found.append(json.loads(data[4:length])["terms"]["cl_ord_id"])
        data = data[length:]
    assert found == names
    assert said == []
    sender.close()


async def test_an_order_of_which_a_part_had_left_ends_the_session(stopwatch: Stopwatch, ends: Ends) -> None:
    ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    said: list[Request] = []
    sender = Sender(ends[0], said.append)
    for number in range(400):
        sender.send(NewOrder(terms(f"a-{number}")))
    await asyncio.sleep(0)
    stopwatch.seconds += FROZEN_SECONDS + 0.01
    loop, data = asyncio.get_running_loop(), b""
    async with asyncio.timeout(20):
        while chunk := await loop.sock_recv(ends[1], 1000):
            data += chunk
    whole, length = 0, 0
    while data and len(data) >= (length := 4 + int.from_bytes(data[:4], "big")):
        whole, data = whole + 1, data[length:]
    assert 0 < whole < 400
    assert len(said) in (400 - whole, 399 - whole)
    sender.close()
