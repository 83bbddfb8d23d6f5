"""Sessions whatever carries them: who gets a place in the gateway's queue, who is ended, who counts as connected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from crowetrade.bus.v1 import orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.order_entry.commands import Logon, Malformed, NewOrder, SessionLost
from crowetrade_agents.order_entry.limits import SessionLimits
from crowetrade_agents.order_entry.port import Request, Response
from crowetrade_agents.order_entry.session import End, EndKind, Session
from crowetrade_agents_tests.clock import SECOND_NS, settle
from crowetrade_agents_tests.order_entry import requests
from crowetrade_agents_tests.order_entry.engine_side import EngineSide, running

LIMITS = SessionLimits(commands_queued=4, responses_queued=60, sessions=2, logons_burst=4, streams_per_strategy=3)


@pytest.fixture
async def engine() -> AsyncIterator[EngineSide]:
    async with running(EngineSide(LIMITS)) as side:
        yield side


class Carried:
    """A session with the reader and, if its client reads, the writer that whatever carries it has."""

    def __init__(self, session: Session, *, reads: bool) -> None:
        self.session = session
        self.requests: asyncio.Queue[Request | None] = asyncio.Queue()
        self.received: list[Response] = []
        self.reader = asyncio.create_task(session.read(self.requests.get))
        self.writer = asyncio.create_task(self._write()) if reads else None

    def send(self, *sent: Request | None) -> None:
        """None ends the client's side."""
        for request in sent:
            self.requests.put_nowait(request)

    def kinds(self) -> list[str | None]:
        """What was received, LogonAccepted first."""
        return [response.WhichOneof("message") for response in self.received]

    async def _write(self) -> None:
        while waiting := await self.session.next(at_most=1):
            self.received.extend(waiting)


def opened(engine: EngineSide, strategy: str = "alpha", *, reads: bool = True) -> Carried:
    """A session on its way to the engine."""
    session = engine.sessions.open(requests.logon(strategy))
    assert isinstance(session, Session), session
    return Carried(session, reads=reads)


async def logged_on(engine: EngineSide, strategy: str = "alpha", *, reads: bool = True) -> Carried:
    """An accepted session."""
    carried = opened(engine, strategy, reads=reads)
    await carried.session.accepted.wait()
    return carried


def end_of(carried: Carried) -> EndKind | None:
    """Why it ended, if it did."""
    return carried.session.end_reason.kind if carried.session.end_reason else None


@contextmanager
def busy(engine: EngineSide) -> Iterator[None]:
    """The engine handles nothing meanwhile."""
    engine.not_busy.clear()
    yield
    engine.not_busy.set()


async def is_served(engine: EngineSide, carried: Carried) -> bool:
    """Whether an order of the session is handled and answered."""
    number = 1 + len(engine.orders(carried.session.strategy))
    request = requests.new_order(number, carried.session.strategy)
    carried.send(request)
    await settle()
    return request.new_order.cl_ord_id in [response.execution_report.cl_ord_id for response in carried.received]


async def test_a_session_begins_with_its_snapshot_and_the_heartbeat_deadline(engine: EngineSide) -> None:
    carried = opened(engine)
    await settle()
    first = carried.received[0].logon_accepted
    assert first.market_data_sequence == engine.published
    assert first.heartbeat_deadline_millis == 10_000
    assert engine.sessions.connected() == {"alpha"}
    assert await is_served(engine, carried)


@pytest.mark.parametrize(
    "logon",
    [
        requests.logon("gamma"),
        requests.logon("alpha", namespace="other"),
        gateway_pb2.Logon(),
    ],
)
async def test_only_a_bound_strategy_of_the_namespace_gets_a_session(
    engine: EngineSide, logon: gateway_pb2.Logon
) -> None:
    refused = engine.sessions.open(logon)
    assert isinstance(refused, End)
    assert refused.kind is EndKind.UNBOUND
    await settle()
    assert engine.handled == []


async def test_nothing_is_read_before_the_engine_has_accepted_the_logon(engine: EngineSide) -> None:
    with busy(engine):
        carried = opened(engine)
        carried.send(requests.new_order(1))
        await settle()
        assert carried.requests.qsize() == 1
        assert engine.sessions.connected() == frozenset()
    await settle()
    assert [type(command) for command in engine.handled] == [Logon, NewOrder]


async def test_a_flood_has_its_share_of_the_queue_and_no_more(engine: EngineSide) -> None:
    alpha, beta = await logged_on(engine, "alpha"), await logged_on(engine, "beta")
    with busy(engine):
        alpha.send(*(requests.new_order(number) for number in range(1, 101)))
        await settle()
        # One is in the loop's hands.
        assert engine.queue.qsize() == LIMITS.commands_queued - 1
        beta.send(requests.new_order(1, "beta"))
        await settle()
        assert engine.queue.qsize() == LIMITS.commands_queued
    await settle()
    assert engine.orders("beta") == [requests.cl_ord_id(1, "beta")]
    owners = [command.terms.strategy for command in engine.handled if isinstance(command, NewOrder)]
    assert owners.index("beta") == LIMITS.commands_queued


async def test_the_share_comes_back_as_commands_are_handled(engine: EngineSide) -> None:
    alpha = await logged_on(engine)
    alpha.send(*(requests.new_order(number) for number in range(1, 8)), requests.cancel(8), requests.replace(9))
    alpha.send(requests.new_order(10), Request(new_order=orders_pb2.NewOrder(cl_ord_id="of nobody")))
    await settle()
    assert len(engine.handled) == 12
    assert isinstance(engine.handled[-1], Malformed)
    assert await is_served(engine, alpha)


async def test_a_new_session_does_not_get_the_share_twice(engine: EngineSide) -> None:
    alpha = await logged_on(engine)
    with busy(engine):
        alpha.send(*(requests.new_order(number) for number in range(1, 20)))
        await settle()
        opened(engine).send(*(requests.new_order(number) for number in range(20, 40)))
        await settle()
        # One is in the loop's hands; the Logon and the SessionLost of the takeover come on top.
        assert engine.queue.qsize() == LIMITS.commands_queued - 1 + 2


async def test_what_waits_for_room_when_its_session_ends_is_never_put(engine: EngineSide) -> None:
    alpha = await logged_on(engine)
    with busy(engine):
        alpha.send(*(requests.new_order(number) for number in range(1, 20)))
        await settle()
        alpha.session.end(End(EndKind.BROKEN, "reset"))
    await settle()
    assert len(engine.orders("alpha")) == LIMITS.commands_queued
    assert engine.lifecycle("alpha")[-1] == SessionLost("alpha", alpha.session.number)
    assert engine.handled[-1] == SessionLost("alpha", alpha.session.number)
    # The share was given back: the next session can use all of it.
    again = await logged_on(engine)
    again.send(*(requests.new_order(number) for number in range(20, 40)))
    await settle()
    assert len(engine.orders("alpha")) == LIMITS.commands_queued + 20


async def test_the_share_comes_back_when_a_session_ends_while_the_queue_is_full() -> None:
    async with running(EngineSide(LIMITS, queue_size=1)) as engine:
        beta = await logged_on(engine, "beta")
        for number in range(1, 2 * LIMITS.commands_queued):
            alpha = await logged_on(engine, "alpha")
            with busy(engine):
                beta.send(requests.new_order(2 * number, "beta"), requests.new_order(2 * number + 1, "beta"))
                await settle()
                assert engine.queue.full()
                alpha.send(requests.new_order(number))
                await settle()
                alpha.session.end(End(EndKind.BROKEN, "reset"))
            await settle()
            engine.sessions.release(alpha.session)
            await engine.clock.advance(SECOND_NS)
        assert engine.orders("alpha") == []
        assert await is_served(engine, await logged_on(engine, "alpha"))


async def test_sending_too_much_slows_its_own_session_only() -> None:
    limits = replace(LIMITS, messages_per_second=10, messages_burst=3)
    async with running(EngineSide(limits)) as engine:
        alpha, beta = await logged_on(engine, "alpha"), await logged_on(engine, "beta")
        alpha.send(*(requests.new_order(number) for number in range(1, 101)))
        await settle()
        assert len(engine.orders("alpha")) == 3
        assert await is_served(engine, beta)
        await engine.clock.advance(SECOND_NS)
        assert len(engine.orders("alpha")) == 13
        assert alpha.session.is_open


async def test_a_session_that_is_held_back_does_not_count_as_silent(engine: EngineSide) -> None:
    alpha = await logged_on(engine)
    with busy(engine):
        alpha.send(*(requests.new_order(number) for number in range(1, 20)))
        await settle()
        await engine.clock.advance(3600 * SECOND_NS)
        assert alpha.session.last_heard_ns() == engine.clock.now_ns()


async def test_a_client_that_does_not_read_loses_its_session(engine: EngineSide) -> None:
    alpha, beta = await logged_on(engine, "alpha", reads=False), await logged_on(engine, "beta")
    for _ in range(LIMITS.responses_queued - 1):  # LogonAccepted waits as well
        engine.sessions.deliver("alpha", Response(heartbeat=gateway_pb2.Heartbeat()))
    assert alpha.session.is_open
    engine.sessions.deliver("alpha", Response(heartbeat=gateway_pb2.Heartbeat()))
    assert end_of(alpha) is EndKind.EXHAUSTED
    assert not await alpha.session.next(at_most=1)  # what waited holds no memory any more
    await settle()
    assert SessionLost("alpha", alpha.session.number) in engine.handled
    assert engine.sessions.connected() == {"beta"}
    assert await is_served(engine, beta)


async def test_heartbeats_that_nobody_reads_the_answers_of_end_the_session(engine: EngineSide) -> None:
    alpha = await logged_on(engine, reads=False)
    alpha.send(*(requests.heartbeat() for _ in range(LIMITS.responses_queued + 1)))
    await settle()
    assert end_of(alpha) is EndKind.EXHAUSTED


@pytest.mark.parametrize("message", [Request(), Request(logon=requests.logon()), requests.progress(2**64 - 1)])
async def test_a_message_that_has_no_answer_ends_its_session(engine: EngineSide, message: Request) -> None:
    alpha, beta = await logged_on(engine, "alpha"), await logged_on(engine, "beta")
    alpha.send(message, requests.new_order(1))
    await settle()
    assert end_of(alpha) is EndKind.VIOLATION
    assert engine.orders("alpha") == []
    assert engine.sessions.progress("alpha") == 0
    assert await is_served(engine, beta)


async def test_a_sink_that_fails_ends_the_session_and_says_so() -> None:
    engine = EngineSide(LIMITS)

    async def sink(command: object) -> None:
        if isinstance(command, NewOrder):
            raise RuntimeError("the gateway's loop has ended")
        await engine.queue.put(command)  # type: ignore[arg-type]

    engine.sessions._sink = sink
    async with running(engine):
        alpha = await logged_on(engine)
        alpha.send(requests.new_order(1))
        await settle()
        assert end_of(alpha) is EndKind.BROKEN


# Takeover.


async def test_a_newer_session_takes_over_at_once_while_the_gateway_is_busy(engine: EngineSide) -> None:
    older = await logged_on(engine)
    with busy(engine):
        older.send(*(requests.new_order(number) for number in range(1, 20)))
        await settle()
        newer = opened(engine)
        assert end_of(older) is EndKind.TAKEN_OVER
        assert newer.session.end_reason is None
    await settle()
    assert engine.sessions.connected() == {"alpha"}
    # The older's SessionLost does not end the newer: it comes after its Logon, and nothing of the older comes after.
    first, second = older.session.number, newer.session.number
    assert engine.lifecycle("alpha") == [Logon("alpha", first), Logon("alpha", second), SessionLost("alpha", first)]
    logon = engine.handled.index(Logon("alpha", second))
    assert not any(isinstance(command, NewOrder) for command in engine.handled[logon:])
    assert await is_served(engine, newer)


async def test_a_session_is_opened_by_its_own_logon_alone(engine: EngineSide) -> None:
    with busy(engine):
        opened(engine)
        newest = opened(engine)
        newest.send(requests.new_order(1))
        await settle()
    await settle()
    assert newest.kinds() == ["logon_accepted", "execution_report"]
    assert isinstance(engine.handled[-1], NewOrder)


async def test_a_session_that_ends_before_it_is_accepted_stays_ended(engine: EngineSide) -> None:
    older = await logged_on(engine)
    with busy(engine):
        newer = opened(engine)
        newer.session.end(End(EndKind.BROKEN, "reset"))
    await settle()
    first, second = older.session.number, newer.session.number
    assert engine.lifecycle("alpha")[1:] == [
        Logon("alpha", second),
        SessionLost("alpha", first),
        SessionLost("alpha", second),
    ]
    assert engine.sessions.connected() == frozenset()


async def test_logons_and_ends_are_not_lost_when_the_queue_is_full() -> None:
    async with running(EngineSide(LIMITS, queue_size=1)) as engine:
        with busy(engine):
            sessions = [opened(engine) for _ in range(3)]
            for carried in sessions:
                carried.session.end(End(EndKind.BROKEN, "reset"))
            await settle()
            assert engine.queue.qsize() == 1
        await settle()
        numbers = [carried.session.number for carried in sessions]
        assert sorted(c.session for c in engine.lifecycle("alpha") if isinstance(c, Logon)) == numbers
        assert sorted(c.session for c in engine.lifecycle("alpha") if isinstance(c, SessionLost)) == numbers


# Bounds on sessions.


async def test_there_is_a_maximum_of_sessions_and_a_takeover_needs_no_place(engine: EngineSide) -> None:
    engine.bound.update({"gamma"})
    await logged_on(engine, "alpha")
    beta = await logged_on(engine, "beta")
    refused = engine.sessions.open(requests.logon("gamma"))
    assert isinstance(refused, End)
    assert refused.kind is EndKind.EXHAUSTED
    await logged_on(engine, "alpha")
    assert await is_served(engine, beta)
    beta.session.end(End(EndKind.CLOSED, ""))
    await settle()
    await logged_on(engine, "gamma")


async def test_who_logs_on_too_often_has_to_wait_and_nobody_else(engine: EngineSide) -> None:
    for _ in range(LIMITS.logons_burst):
        carried = await logged_on(engine, "alpha")
        carried.session.end(End(EndKind.CLOSED, ""))
        engine.sessions.release(carried.session)
    refused = engine.sessions.open(requests.logon("alpha"))
    assert isinstance(refused, End)
    assert refused.kind is EndKind.EXHAUSTED
    assert await is_served(engine, await logged_on(engine, "beta"))
    await engine.clock.advance(SECOND_NS)
    assert await is_served(engine, await logged_on(engine, "alpha"))


async def test_logons_do_not_pile_up_before_a_gateway_that_is_busy() -> None:
    limits = replace(LIMITS, logons_burst=1000, lifecycle_queued=6)
    async with running(EngineSide(limits, queue_size=1)) as engine:
        with busy(engine):
            begun = 0
            while isinstance(session := engine.sessions.open(requests.logon("alpha")), Session):
                begun += 1
                session.end(End(EndKind.CLOSED, ""))
                engine.sessions.release(session)
                await settle()
            assert session.kind is EndKind.EXHAUSTED
            assert begun <= limits.lifecycle_queued
        await settle()
        assert await is_served(engine, await logged_on(engine, "alpha"))


async def test_streams_that_are_not_read_to_their_end_count_until_they_are_released(engine: EngineSide) -> None:
    carried = [await logged_on(engine) for _ in range(LIMITS.streams_per_strategy)]
    refused = engine.sessions.open(requests.logon("alpha"))
    assert isinstance(refused, End)
    assert refused.kind is EndKind.EXHAUSTED
    engine.sessions.release(carried[0].session)
    await logged_on(engine)


async def test_leaving_writes_what_is_queued_ends_all_and_opens_none(engine: EngineSide) -> None:
    alpha = await logged_on(engine)
    engine.sessions.deliver("alpha", Response(heartbeat=gateway_pb2.Heartbeat()))
    engine.sessions.leave()
    await settle()
    assert alpha.kinds() == ["logon_accepted", "heartbeat"]
    assert end_of(alpha) is EndKind.LEAVING
    refused = engine.sessions.open(requests.logon("beta"))
    assert isinstance(refused, End)
    assert refused.kind is EndKind.LEAVING


# Lock step.


async def test_progress_counts_when_what_was_sent_before_it_is_handled(engine: EngineSide) -> None:
    alpha = await logged_on(engine)
    alpha.send(requests.progress(5))
    await settle()
    assert engine.sessions.progress("alpha") == 5
    with busy(engine):
        alpha.send(requests.new_order(1), requests.progress(6), requests.new_order(2), requests.progress(7))
        await settle()
        assert engine.sessions.progress("alpha") == 5
    engine.sessions.changed.clear()
    await settle()
    assert engine.sessions.progress("alpha") == 7
    assert engine.sessions.changed.is_set()


async def test_progress_never_goes_back_and_is_that_of_one_session(engine: EngineSide) -> None:
    alpha = await logged_on(engine)
    alpha.send(requests.progress(9), requests.progress(4))
    await settle()
    assert engine.sessions.progress("alpha") == 9
    await logged_on(engine)
    assert engine.sessions.progress("alpha") == 0


async def test_published_goes_to_every_session_after_the_reports_before_it(engine: EngineSide) -> None:
    alpha, beta = await logged_on(engine, "alpha"), await logged_on(engine, "beta")
    alpha.send(requests.new_order(1))
    await settle()
    engine.sessions.publish(101)
    await settle()
    assert alpha.kinds() == ["logon_accepted", "execution_report", "published"]
    assert beta.received[-1].published.sequence == 101


async def test_a_strategy_of_another_namespace_has_a_session_of_its_own_beside_its_namesake(engine: EngineSide) -> None:
    engine.bound |= {"alpha.guests"}
    own = await logged_on(engine)
    session = engine.sessions.open(requests.logon("alpha", namespace="guests"))
    assert isinstance(session, Session), session
    guest = Carried(session, reads=True)
    await session.accepted.wait()
    assert engine.sessions.connected() == {"alpha", "alpha.guests"}
    assert end_of(own) is None
    assert await is_served(engine, guest)
    assert await is_served(engine, own)
    guest.send(requests.new_order(9, "alpha"))
    await settle()
    assert len(engine.orders("alpha")) == len(engine.orders("alpha.guests")) == 1, "nobody sends under another's name"


@pytest.mark.parametrize("namespace", [requests.NAMESPACE, "", "guests", "x"])
async def test_nobody_logs_on_by_what_the_gateway_calls_a_strategy_of_another_namespace(
    engine: EngineSide, namespace: str
) -> None:
    engine.bound |= {"alpha.guests"}
    refused = engine.sessions.open(requests.logon("alpha.guests", namespace=namespace))
    assert isinstance(refused, End)
    assert refused.kind is EndKind.UNBOUND
