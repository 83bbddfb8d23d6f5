"""The place of a venue's stream: what is past, what is held, what begins again."""

from __future__ import annotations

import pytest

from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.order_entry.port import progress_request
from crowetrade_agents.roles.venue_stream import Task, VenueStream

from ..clock import ManualClock
from ..messages import SECOND_NS, START_NS, VENUE, target
from ..messages import event as market


class UpSession:
    """A session of which the test says whether it is up."""

    venue = VENUE

    def __init__(self) -> None:
        self._up = False
        self.sent: list[gateway_pb2.OrderSessionRequest] = []

    @property
    def up(self) -> bool:
        return self._up

    async def run(self) -> None:
        return

    async def close(self) -> None:
        return

    async def send(self, request: gateway_pb2.OrderSessionRequest) -> bool:
        self.sent.append(request)
        return self._up

    async def progress(self, sequence: int) -> bool:
        return await self.send(progress_request(sequence))

    def set_up(self, up: bool) -> None:
        self._up = up


def logon(stream: VenueStream, session: UpSession, sequence: int) -> list[gateway_pb2.OrderSessionRequest]:
    accepted = gateway_pb2.LogonAccepted(lock_step=True, market_data_sequence=sequence)
    first = stream.logged_on(accepted)
    session.set_up(True)
    return first


def event(stream: VenueStream, sequence: int) -> list[Task]:
    return stream.take_event(market(sequence, "1", "2"), traded=True)


def event_with_target(stream: VenueStream, sequence: int) -> Task:
    assert event(stream, sequence) == []
    (task,) = stream.take_target(target(sequence, "0"))
    return task


@pytest.fixture
def session() -> UpSession:
    return UpSession()


@pytest.fixture
def stream(session: UpSession) -> VenueStream:
    stream = VenueStream(VENUE, ManualClock(START_NS))
    stream.session = session
    return stream


async def test_the_first_event_may_overtake_the_answer_to_logon(stream: VenueStream, session: UpSession) -> None:
    task = event_with_target(stream, 1)
    assert stream.must_wait
    stream.hold(task)
    assert stream.release() == []
    assert logon(stream, session, 0) == []
    assert stream.release() == [task]
    assert not task.is_past
    await stream.finish(1)
    assert session.sent == [progress_request(1)]
    assert task.is_past


async def test_what_was_published_before_the_first_logon_is_past(stream: VenueStream, session: UpSession) -> None:
    old, new = event_with_target(stream, 4), event_with_target(stream, 6)
    assert logon(stream, session, 5) == [progress_request(5)]
    assert (old.is_past, new.is_past) == (True, False)


async def test_a_short_loss_of_the_session_changes_nothing_but_progress_is_said_again(
    stream: VenueStream, session: UpSession
) -> None:
    logon(stream, session, 0)
    await stream.finish(event_with_target(stream, 1).step.sequence)
    session.set_up(False)
    stream.went_down()
    assert logon(stream, session, 1) == [progress_request(1)]
    assert not event_with_target(stream, 2).is_past


async def test_a_gateway_that_went_back_begins_again(stream: VenueStream, session: UpSession) -> None:
    logon(stream, session, 0)
    for sequence in range(1, 9):
        await stream.finish(event_with_target(stream, sequence).step.sequence)
    pending = event_with_target(stream, 9)
    session.set_up(False)
    stream.went_down()
    assert logon(stream, session, 5) == [progress_request(5)]
    assert pending.is_past
    assert not event_with_target(stream, 6).is_past


async def test_the_first_event_of_a_gateway_that_went_back_may_overtake_the_answer_to_logon(
    stream: VenueStream, session: UpSession
) -> None:
    logon(stream, session, 0)
    for sequence in range(1, 9):
        await stream.finish(event_with_target(stream, sequence).step.sequence)
    session.set_up(False)
    stream.went_down()
    task = event_with_target(stream, 6)
    assert logon(stream, session, 5) == [progress_request(5)]
    assert not task.is_past
    assert (stream.finished, stream.published) == (5, 6)


async def test_lock_step_is_stalled_when_an_event_is_published_and_nothing_comes(
    stream: VenueStream, session: UpSession
) -> None:
    logon(stream, session, 0)
    assert stream.stalls_at_ns(SECOND_NS) is None
    stream.published = 1
    assert stream.stalls_at_ns(SECOND_NS) == START_NS + SECOND_NS
    session.set_up(False)
    assert stream.stalls_at_ns(SECOND_NS) is None


def test_event_time_passes_forward_only(stream: VenueStream) -> None:
    for event_ns in (100, 250, 200, 260):
        stream.pass_event_time(event_ns)
    assert stream.elapsed_event_ns == 150 + 60
