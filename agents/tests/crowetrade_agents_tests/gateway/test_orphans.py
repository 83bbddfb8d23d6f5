"""Orders at the venue that nobody owns: each is cancelled until the venue says that it is over, and a kill order that
cancels is not halted before."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import pytest

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import Channel, Kill
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.gateway import commands, effects, kill_progress
from crowetrade_agents.gateway.supervision import RETRY_NS
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import EUR, SECOND, Scenario, cl_ord_id

ORPHAN = "x-3"
RETRY_SECONDS, ANSWER_SECONDS = RETRY_NS // SECOND, 10


def _open(name: str = ORPHAN) -> port.OpenOrder:
    return port.OpenOrder(name, "v8", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(0), OrdStatus.NEW)


def _logged_on(*open_orders: port.OpenOrder) -> tuple[Scenario, str]:
    """A logon that shows them, and the ClOrdID of the one cancel."""
    scenario = Scenario()
    scenario.do(commands.VenueConnected(port.VenueSnapshot(open_orders or (_open(),))))
    (cancel,) = _cancels(scenario.last)
    return scenario, cancel


def _cancels(done: Iterable[effects.Effect], orig: str = ORPHAN) -> list[str]:
    sent = [effect for effect in done if isinstance(effect, effects.SendCancel)]
    assert all(effect.urgent for effect in sent)
    return [effect.cancel.cl_ord_id for effect in sent if effect.cancel.orig_cl_ord_id == orig]


def _queries(done: Iterable[effects.Effect]) -> list[str]:
    return [effect.cl_ord_id for effect in done if isinstance(effect, effects.SendQuery)]


def _rejected(scenario: Scenario, cancel: str, *, unknown: bool = False) -> port.RequestRejected:
    return port.RequestRejected(cancel, ORPHAN, "Busy", "not now", unknown_order=unknown, at_ns=scenario.now)


def _state(status: OrdStatus | None) -> port.OrderState:
    return port.OrderState(ORPHAN, ORPHAN, "v8", status, Decimal(10_000), Decimal("1.1"), Decimal(0), 1)


def _is_over(scenario: Scenario) -> bool:
    return not scenario.state.live.orphans and not _cancels(scenario.later(10 * ANSWER_SECONDS))


def test_a_rejected_cancel_is_sent_again_soon() -> None:
    scenario, cancel = _logged_on()

    assert _cancels(scenario.venue(_rejected(scenario, cancel))) == []
    assert _cancels(scenario.later(RETRY_SECONDS / 2)) == []
    (again,) = _cancels(scenario.later(RETRY_SECONDS / 2))

    assert again != cancel
    # The answer to the first one comes twice.
    scenario.venue(_rejected(scenario, cancel))
    assert _cancels(scenario.later(RETRY_SECONDS)) == []
    scenario.venue(port.Ended(ORPHAN, "v8", OrdStatus.CANCELED, "", "", scenario.now))
    assert _is_over(scenario)


def test_a_cancel_that_was_lost_is_sent_again_when_its_answer_is_overdue() -> None:
    scenario, cancel = _logged_on()
    assert _cancels(scenario.later(ANSWER_SECONDS - 1)) == []
    for _ in range(3):
        (again,) = _cancels(scenario.later(ANSWER_SECONDS))
        assert again != cancel
        cancel = again


@pytest.mark.parametrize("status", [None, OrdStatus.FILLED, OrdStatus.CANCELED])
def test_where_the_venue_has_no_such_order_it_is_asked(status: OrdStatus | None) -> None:
    scenario, cancel = _logged_on()
    assert _queries(scenario.venue(_rejected(scenario, cancel, unknown=True))) == [ORPHAN]
    scenario.venue(_state(status))
    assert _is_over(scenario)


def test_one_that_still_works_by_that_answer_is_cancelled_again() -> None:
    scenario, cancel = _logged_on()
    scenario.venue(_rejected(scenario, cancel, unknown=True))
    scenario.venue(_state(OrdStatus.NEW))
    assert len(_cancels(scenario.later(RETRY_SECONDS))) == 1


def test_without_a_session_nothing_is_sent_and_the_next_one_tells_what_is_left() -> None:
    scenario, _ = _logged_on()
    scenario.venue(port.SessionChanged(port.SessionState.DISCONNECTED, "gone"))
    assert _cancels(scenario.later(2 * ANSWER_SECONDS)) == []
    assert len(_cancels(scenario.do(commands.VenueConnected(port.VenueSnapshot((_open(),)))))) == 1
    scenario.do(commands.VenueConnected(port.VenueSnapshot()))
    assert _is_over(scenario)


def test_an_order_that_the_journal_has_as_ended_is_one_too() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.ended(1)
    scenario.do(commands.VenueConnected(port.VenueSnapshot((_open(cl_ord_id(1)),))))
    assert len(_cancels(scenario.last, cl_ord_id(1))) == 1
    assert len(_cancels(scenario.later(ANSWER_SECONDS), cl_ord_id(1))) == 1
    scenario.ended(1)
    assert _is_over(scenario)


def _kill(
    scenario: Scenario, mode: kill_pb2.KillMode.ValueType, namespace: str = "cl-research"
) -> kill_pb2.KillAcknowledgement:
    scope = kill_pb2.KillScope(namespaces_from="Same")
    order = kill_pb2.KillOrder(namespace=namespace, name="stop", uid="u1", generation=1, mode=mode, scope=scope)
    scenario.do(Kill(order, Channel.RPC))
    return _said(scenario, namespace)


def _said(scenario: Scenario, namespace: str = "cl-research") -> kill_pb2.KillAcknowledgement:
    return kill_progress.acknowledgement(scenario.state, (namespace, "stop"))


@pytest.mark.parametrize("mode", [kill_pb2.KILL_MODE_CANCEL, kill_pb2.KILL_MODE_FLATTEN])
def test_a_kill_order_that_cancels_is_not_halted_while_one_works(mode: kill_pb2.KillMode.ValueType) -> None:
    scenario, _ = _logged_on()
    said = _kill(scenario, mode)
    assert ([*said.still_open], said.still_open_count, said.halted_unix_ns) == ([ORPHAN], 1, 0)
    assert said.blocked_unix_ns
    scenario.now += SECOND
    scenario.venue(port.Ended(ORPHAN, "v8", OrdStatus.CANCELED, "", "", scenario.now))
    assert (_said(scenario).still_open_count, _said(scenario).halted_unix_ns) == (0, scenario.now)


def test_one_that_is_found_later_takes_halted_back() -> None:
    scenario = Scenario()
    assert _kill(scenario, kill_pb2.KILL_MODE_CANCEL).halted_unix_ns
    scenario.do(commands.VenueConnected(port.VenueSnapshot((_open(),))))
    assert ([*_said(scenario).still_open], _said(scenario).halted_unix_ns) == ([ORPHAN], 0)


@pytest.mark.parametrize(
    ("mode", "namespace"), [(kill_pb2.KILL_MODE_BLOCK, "cl-research"), (kill_pb2.KILL_MODE_CANCEL, "cl-other")]
)
def test_one_that_cancels_nothing_here_does_not_wait_for_it(mode: kill_pb2.KillMode.ValueType, namespace: str) -> None:
    scenario, _ = _logged_on()
    assert _kill(scenario, mode, namespace).halted_unix_ns
