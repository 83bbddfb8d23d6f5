"""A desk's place in the market data: what is past, what is held, what is begun anew."""

from __future__ import annotations

import pytest

from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.runtime.desk import Task, VenueDesk, progress
from crowetrade_agents.runtime.gateway_session import GatewaySession

from ..messages import VENUE, quote, target


class UpSession(GatewaySession):
    """A session of which the test says whether it is up."""

    def __init__(self) -> None:
        self._up = False
        self.sent: list[gateway_pb2.OrderSessionRequest] = []

    async def send(self, request: gateway_pb2.OrderSessionRequest) -> bool:
        self.sent.append(request)
        return self._up

    def set_up(self, up: bool) -> None:
        self._up = up


def logon(desk: VenueDesk, session: UpSession, sequence: int) -> list[gateway_pb2.OrderSessionRequest]:
    accepted = gateway_pb2.LogonAccepted(lock_step=True, market_data_sequence=sequence)
    first = desk.logged_on(accepted)
    session.set_up(True)
    return first


def event(desk: VenueDesk, sequence: int) -> list[Task]:
    return desk.take_event(quote(sequence, "1", "2"), traded=True)


def event_with_target(desk: VenueDesk, sequence: int) -> Task:
    assert event(desk, sequence) == []
    (task,) = desk.take_target(target(sequence, "0"))
    return task


@pytest.fixture
def session() -> UpSession:
    return UpSession()


@pytest.fixture
def desk(session: UpSession) -> VenueDesk:
    desk = VenueDesk(VENUE)
    desk.session = session
    return desk


async def test_the_first_event_may_overtake_the_answer_to_logon(desk: VenueDesk, session: UpSession) -> None:
    task = event_with_target(desk, 1)
    assert desk.must_wait
    desk.hold(task)
    assert desk.release() == []
    assert logon(desk, session, 0) == []
    assert desk.release() == [task]
    assert not task.is_past
    await desk.finish(1)
    assert session.sent == [progress(1)]
    assert task.is_past


async def test_what_was_published_before_the_first_logon_is_past(desk: VenueDesk, session: UpSession) -> None:
    old, new = event_with_target(desk, 4), event_with_target(desk, 6)
    assert logon(desk, session, 5) == [progress(5)]
    assert (old.is_past, new.is_past) == (True, False)


async def test_a_short_loss_of_the_session_changes_nothing_but_progress_is_said_again(
    desk: VenueDesk, session: UpSession
) -> None:
    logon(desk, session, 0)
    await desk.finish(event_with_target(desk, 1).step.sequence)
    session.set_up(False)
    desk.went_down()
    assert logon(desk, session, 1) == [progress(1)]
    assert not event_with_target(desk, 2).is_past


async def test_a_gateway_that_went_back_begins_anew(desk: VenueDesk, session: UpSession) -> None:
    logon(desk, session, 0)
    for sequence in range(1, 9):
        await desk.finish(event_with_target(desk, sequence).step.sequence)
    pending = event_with_target(desk, 9)
    session.set_up(False)
    desk.went_down()
    assert logon(desk, session, 5) == [progress(5)]
    assert pending.is_past
    assert not event_with_target(desk, 6).is_past


async def test_the_first_event_of_a_gateway_that_went_back_may_overtake_the_answer_to_logon(
    desk: VenueDesk, session: UpSession
) -> None:
    logon(desk, session, 0)
    for sequence in range(1, 9):
        await desk.finish(event_with_target(desk, sequence).step.sequence)
    session.set_up(False)
    desk.went_down()
    task = event_with_target(desk, 6)
    assert logon(desk, session, 5) == [progress(5)]
    assert not task.is_past
    assert (desk.finished, desk.published) == (5, 6)


async def test_lock_step_is_stalled_when_an_event_is_published_and_nothing_comes(
    desk: VenueDesk, session: UpSession
) -> None:
    logon(desk, session, 0)
    assert not desk.is_stalled(0.0)
    desk.published = 1
    assert desk.is_stalled(0.0)
    assert not desk.is_stalled(1000.0)
    session.set_up(False)
    assert not desk.is_stalled(0.0)
