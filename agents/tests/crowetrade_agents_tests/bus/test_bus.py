"""One suite for all buses: what a role may rely on, wherever its neighbour runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import nats
import pytest

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents.bus import local
from crowetrade_agents.bus.local import MOST_WAITING, LocalBus, matches
from crowetrade_agents.bus.nats import REASON_HEADER, STALLED_SECONDS, Attempts, NatsBus
from crowetrade_agents.bus.port import Bus, Handler
from crowetrade_agents.errors import NotPublished
from crowetrade_process.stopping import cancelled

from ..messages import EUR, origin, quote, wire

WAIT_SECONDS = 10


class Inbox:
    """Keeps what a handler is called with."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[pb.Signal] = asyncio.Queue()

    async def __call__(self, message: pb.Signal) -> None:
        await self.queue.put(message)

    async def get(self) -> pb.Signal:
        return await asyncio.wait_for(self.queue.get(), WAIT_SECONDS)


@pytest.fixture(params=["local", pytest.param("nats", marks=pytest.mark.integration)])
async def one_bus(request: pytest.FixtureRequest) -> AsyncIterator[Bus]:
    bus: Bus
    if request.param == "local":
        bus = LocalBus().connect()
    else:
        bus = await NatsBus.connect(request.getfixturevalue("nats_url"), "test")
    yield bus
    await bus.close()


def signal(sequence: int) -> pb.Signal:
    return pb.Signal(origin=origin(sequence), mu=0.5, weights=[pb.Weight(instrument=wire(EUR), weight=1.0)])


async def test_every_subscriber_gets_every_message_in_order(one_bus: Bus) -> None:
    first, second = Inbox(), Inbox()
    await one_bus.subscribe("signal.desk.a", pb.Signal, first)
    await one_bus.subscribe("signal.desk.*", pb.Signal, second)
    await one_bus.flush()
    for sequence in range(1, 21):
        await one_bus.publish("signal.desk.a", signal(sequence))
    await one_bus.publish("signal.other.a", signal(99))
    await one_bus.flush()
    for inbox in (first, second):
        assert [await inbox.get() for _ in range(20)] == [signal(sequence) for sequence in range(1, 21)]
        assert inbox.queue.empty()


async def test_a_ping_is_answered_from_when_it_is_promised_on(one_bus: Bus) -> None:
    assert not await one_bus.ping("ready.desk.a.feature", 0.2)
    await one_bus.answer_pings("ready.desk.a.feature")
    assert await one_bus.ping("ready.desk.a.feature", WAIT_SECONDS)
    assert not await one_bus.ping("ready.desk.a.signal", 0.2)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("payload", "schema", "reason"),
    [
        (b"\xff\xff\xff", "crowetrade.bus.v1.Signal", "Error parsing message"),
        (signal(1).SerializeToString(), None, "a message without a schema, not a crowetrade.bus.v1.Signal"),
        (
            quote(1, "1", "2").SerializeToString(),
            "crowetrade.bus.v1.MarketData",
            "a crowetrade.bus.v1.MarketData, not a crowetrade.bus.v1.Signal",
        ),
    ],
    ids=["garbage", "no schema", "another type"],
)
async def test_what_cannot_be_decoded_goes_to_dlq_and_the_next_message_is_handled(
    nats_url: str, payload: bytes, schema: str | None, reason: str
) -> None:
    bus = await nats.connect(nats_url)
    ours = await NatsBus.connect(nats_url, "test")
    inbox = Inbox()
    await ours.subscribe("signal.desk.a", pb.Signal, inbox)
    await ours.flush()
    dead = await bus.subscribe("dlq.>")
    await bus.flush()
    await bus.publish("signal.desk.a", payload, headers={subjects.SCHEMA_HEADER: schema} if schema else None)
    letter = await dead.next_msg(timeout=WAIT_SECONDS)
    assert letter.subject == "dlq.signal.desk.a"
    assert letter.data == payload
    assert letter.headers is not None
    assert reason in letter.headers[REASON_HEADER]
    await ours.publish("signal.desk.a", signal(1))
    assert await inbox.get() == signal(1)
    await ours.close()
    await bus.close()


@pytest.mark.parametrize("where", ["local", pytest.param("nats", marks=pytest.mark.integration)])
async def test_a_handler_that_fails_does_not_stop_the_subscription(where: str, request: pytest.FixtureRequest) -> None:
    bus: Bus
    if where == "local":
        bus = LocalBus().connect()
    else:
        bus = await NatsBus.connect(request.getfixturevalue("nats_url"), "test")
    inbox = Inbox()

    async def fails_first(message: pb.Signal) -> None:
        if message.origin.sequence == 1:
            raise RuntimeError("the first message is not liked")
        await inbox(message)

    await bus.subscribe("signal.desk.a", pb.Signal, fails_first)
    await bus.flush()
    for sequence in (1, 2):
        await bus.publish("signal.desk.a", signal(sequence))
    assert (await inbox.get()).origin.sequence == 2
    await bus.close()


async def test_on_the_local_bus_nobody_waits_for_a_subscriber_and_who_leaves_takes_nobody_along() -> None:
    shared, goes_on, heard = LocalBus(), asyncio.Event(), Inbox()

    async def slow(message: pb.Signal) -> None:
        await goes_on.wait()
        await heard(message)

    one, other = shared.connect(), shared.connect()
    await one.subscribe("signal.desk.a", pb.Signal, slow)
    await other.publish("signal.desk.a", signal(1))
    await other.close()
    goes_on.set()
    assert await heard.get() == signal(1)
    await other.publish("signal.desk.a", signal(2))
    await one.close()
    assert await heard.get() == signal(2), "what has come is handled before it leaves"


@pytest.mark.integration
async def test_what_the_bus_does_not_take_is_told_with_its_reason(nats_url: str) -> None:
    bus = await NatsBus.connect(nats_url, "test")
    large = pb.Signal(weights=[pb.Weight(instrument=wire(EUR), weight=1.0)] * 100_000)
    with pytest.raises(NotPublished) as refused:
        await bus.publish("signal.desk.a", large)
    await bus.close()
    with pytest.raises(NotPublished) as closed:
        await bus.publish("signal.desk.a", signal(1))
    with pytest.raises(NotPublished):
        await bus.flush()

    assert (refused.value.reason, closed.value.reason) == ("TooLarge", "ConnectionClosed")


class Recording:
    """A connection of nats-py that keeps what is written to it."""

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self.written = bytearray()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        self.written.extend(data)
        self._transport.write(data)

    def writelines(self, lines: list[bytes]) -> None:
        self.written.extend(b"".join(lines))
        self._transport.writelines(lines)


@pytest.mark.integration
@pytest.mark.parametrize("call", ["flush", "answer_pings"])
async def test_a_subscription_has_left_before_the_last_ping_of_a_flush(nats_url: str, call: str) -> None:
    """nats-py writes a PING past its own buffer; in lock step the first event was lost that way."""
    client = await nats.connect(nats_url)
    recording = Recording(client._transport)
    client._transport = recording  # type: ignore[assignment]
    ours = NatsBus(client)
    if call == "flush":
        await ours.subscribe("signal.desk.a", pb.Signal, Inbox())
        await ours.flush()
    else:
        await ours.answer_pings("signal.desk.a")
    assert 0 <= recording.written.find(b"SUB signal.desk.a") < recording.written.rfind(b"PING")
    await ours.close()


@pytest.mark.integration
async def test_a_flush_that_is_given_up_leaves_a_connection_that_hears(nats_url: str) -> None:
    """nats-py ends its reading when an answer comes that nobody waits for any more, and stays connected."""
    bus, other = await NatsBus.connect(nats_url, "test"), await NatsBus.connect(nats_url, "other")
    await other.answer_pings("ready.desk.a.feature")
    flush = asyncio.create_task(bus.client.flush())
    while not bus.client._pongs:
        await asyncio.sleep(0)
    await cancelled(flush)
    await bus.client.flush()
    assert await bus.ping("ready.desk.a.feature", WAIT_SECONDS)
    await bus.close()
    await other.close()


@pytest.mark.integration
async def test_what_cannot_be_read_ends_the_connection_and_the_next_one_hears(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    states: asyncio.Queue[bool] = asyncio.Queue()
    bus = await NatsBus.connect(nats_url, "test", lambda connected, why: states.put_nowait(connected))
    assert await states.get()
    await bus.answer_pings("ready.desk.a.feature")

    async def unreadable(data: bytes) -> None:
        monkeypatch.undo()
        raise ValueError(f"not readable: {data!r}")

    monkeypatch.setattr(bus.client._ps, "parse", unreadable)
    await bus.publish("ready.desk.a.feature", signal(1))
    async with asyncio.timeout(WAIT_SECONDS):
        assert not await states.get()
        assert await states.get()
    assert await bus.ping("ready.desk.a.feature", WAIT_SECONDS)
    await bus.close()


@pytest.mark.integration
async def test_the_state_of_the_connection_is_told(nats_url: str) -> None:
    heard: list[tuple[bool, str]] = []
    bus = await NatsBus.connect(nats_url, "test", lambda connected, why: heard.append((connected, why)))
    assert heard == [(True, "")]
    assert bus.client.is_connected
    await bus.close()
    await bus.close()


async def test_on_the_local_bus_a_subscriber_that_is_too_slow_loses_the_oldest() -> None:
    bus, goes_on, heard = LocalBus().connect(), asyncio.Event(), Inbox()

    async def slow(message: pb.Signal) -> None:
        await goes_on.wait()
        await heard(message)

    await bus.subscribe("signal.desk.a", pb.Signal, slow)
    for sequence in range(1, MOST_WAITING + 6):
        await bus.publish("signal.desk.a", signal(sequence))
    goes_on.set()
    got = [(await heard.get()).origin.sequence for _ in range(MOST_WAITING)]
    assert got == list(range(6, MOST_WAITING + 6))
    await bus.close()
    assert heard.queue.empty()


async def test_subscriptions_of_one_process_take_turns() -> None:
    """A handler that waits for nothing and a queue that is not empty must not hold the event loop."""
    bus, handled, done = LocalBus().connect(), [], asyncio.Event()

    def handler(name: str) -> Handler[pb.Signal]:
        async def handle(message: pb.Signal) -> None:
            handled.append((name, message.origin.sequence))
            if len(handled) == 6:
                done.set()

        return handle

    for name in ("a", "b"):
        await bus.subscribe("signal.desk.a", pb.Signal, handler(name))
    for sequence in (1, 2, 3):
        await bus.publish("signal.desk.a", signal(sequence))
    await asyncio.wait_for(done.wait(), WAIT_SECONDS)
    assert handled == [("a", 1), ("b", 1), ("a", 2), ("b", 2), ("a", 3), ("b", 3)]
    await bus.close()


async def test_a_handler_that_never_ends_does_not_keep_a_connection_from_closing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(local, "CLOSE_SECONDS", 0.01)
    bus, began = LocalBus().connect(), asyncio.Event()

    async def hang(_: pb.Signal) -> None:
        began.set()
        await asyncio.Event().wait()

    await bus.subscribe("signal.desk.a", pb.Signal, hang)
    await bus.publish("signal.desk.a", signal(1))
    await asyncio.wait_for(began.wait(), WAIT_SECONDS)
    await asyncio.wait_for(bus.close(), WAIT_SECONDS)


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.b", "a.b.c", False),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("*.b", "a.b", True),
        ("*.c", "a.b", False),
    ],
)
def test_subjects_match_as_in_nats(pattern: str, subject: str, expected: bool) -> None:
    assert matches(pattern, subject) == expected


def test_a_client_that_no_longer_tries_is_not_alive() -> None:
    now, reported = [0.0], list[tuple[bool, str]]()
    attempts = Attempts(lambda connected, why: reported.append((connected, why)), lambda: now[0])
    now[0] = 10 * STALLED_SECONDS
    assert attempts.stalled() == "", "nothing was tried yet: something else is waited for"
    attempts(False, "refused")
    now[0] += STALLED_SECONDS
    assert attempts.stalled() == ""
    attempts(False, "refused again")
    now[0] += STALLED_SECONDS
    assert attempts.stalled() == "", "it goes on trying"
    now[0] += 1
    assert attempts.stalled() == "no attempt to reach NATS for 21 s"
    attempts(True, "")
    now[0] += 10 * STALLED_SECONDS
    assert attempts.stalled() == ""
    assert reported == [(False, "refused"), (False, "refused again"), (True, "")]
