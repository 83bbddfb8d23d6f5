"""One order that is executed again and again for as long as it rests."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.auditor import orders as audited_orders
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.gateway import commands, effects, executions
from crowetrade_agents.gateway import order as orders
from crowetrade_agents.gateway.books import Books
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.audited import Following, audited
from crowetrade_agents_tests.gateway.scenario import EUR, INSTRUMENTS, SECOND, START, VENUE, Scenario, cl_ord_id, kinds

SETTINGS = Settings("cl-research", VENUE, "pod-1", INSTRUMENTS, orders_per_second=10**6, order_burst=10**6)
WHOLE = 900_000
MANY = 200
"""More executions than an order remembers."""


def _execution(number: int, at_ns: int | None = None, **changes: object) -> port.Executed:
    """The number-th one: one unit, a second after the one before."""
    event = port.Executed(
        cl_ord_id(1),
        "v1",
        f"e{number}",
        EUR,
        Side.BUY,
        Decimal(1),
        Decimal("1.1"),
        Decimal(0),
        START + number * SECOND if at_ns is None else at_ns,
    )
    return replace(event, **changes)  # type: ignore[arg-type]


def _bust(number: int, at_ns: int | None = None, **changes: object) -> port.Busted:
    at_ns = START + (number + 1) * SECOND if at_ns is None else at_ns
    event = port.Busted(
        cl_ord_id(1), f"b{number}", f"e{number}", EUR, Side.BUY, Decimal(1), Decimal("1.1"), Decimal(0), at_ns
    )
    return replace(event, **changes)  # type: ignore[arg-type]


def _resting(count: int) -> Scenario:
    """An order that was executed so often."""
    scenario = Scenario(SETTINGS)
    scenario.order(1, quantity=Decimal(WHOLE))
    scenario.accepted(1)
    for number in range(count):
        scenario.later(1)
        assert "order_executed" in kinds(scenario.venue(_execution(number)))
    return scenario


def _restarted(books: journal_pb2.Books) -> Scenario:
    """A gateway that starts from a snapshot, and logs on."""
    scenario = Scenario(SETTINGS, Books.from_message(VENUE, books), ready=False)
    order = scenario.books.open[cl_ord_id(1)]
    at_venue = port.OpenOrder(
        order.cl_ord_id, "v1", EUR, Side.BUY, order.terms.quantity, None, order.cum, OrdStatus.NEW
    )
    scenario.make_ready(port.VenueSnapshot((at_venue,)))
    return scenario


def _halt(scenario: Scenario) -> str:
    (text,) = scenario.books.halts.values()
    return text


@pytest.fixture
def executed() -> Scenario:
    """Its first executions are forgotten by the order."""
    scenario = _resting(MANY)
    assert _execution(0).exec_id not in scenario.books.open[cl_ord_id(1)].executions
    return scenario


@pytest.fixture
def long_ago(executed: Scenario, monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """They are forgotten altogether."""
    monkeypatch.setattr(executions, "KEPT", MANY)
    for number in range(MANY, 2 * MANY):
        executed.venue(_execution(number))
    return executed


def _sizes(scenario: Scenario) -> tuple[int, int, int]:
    """What one order could make grow: executions with the gateway and with the auditor, and timers."""
    order = scenario.books.open[cl_ord_id(1)]
    seen = audited(scenario).orders[cl_ord_id(1)]
    return len(order.executions), len(seen.executions), len(scenario.state.live.timers)


def test_thousands_of_executions_make_neither_snapshot_nor_memory_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executions, "KEPT", 512)
    few, many = _resting(500), _resting(5000)

    assert _sizes(few) == _sizes(many)
    assert _sizes(many)[:2] == (orders.EXECUTIONS_KEPT, audited_orders.EXECUTIONS_KEPT)
    (before,), (booked,) = few.books.to_message().open, many.books.to_message().open
    assert len(booked.fills) == orders.EXECUTIONS_KEPT
    assert many.position() == 5000
    # Numbers have a digit more.
    assert booked.ByteSize() < before.ByteSize() + 2 * orders.EXECUTIONS_KEPT


def test_an_order_remembers_the_last_ones(executed: Scenario) -> None:
    first = MANY - orders.EXECUTIONS_KEPT

    assert [*executed.books.open[cl_ord_id(1)].executions] == [f"e{number}" for number in range(first, MANY)]


def test_a_snapshot_that_kept_more_is_cut_at_the_next_execution() -> None:
    """One that was written when all were kept."""
    message = _resting(orders.EXECUTIONS_KEPT).books.to_message()
    for number in range(MANY):
        message.open[0].fills.add(exec_id=f"more{number}", last_quantity="1", last_price="1.1", fee="0")
    scenario = _restarted(message)
    scenario.venue(_execution(MANY))

    assert len(scenario.books.open[cl_ord_id(1)].executions) == orders.EXECUTIONS_KEPT


@pytest.mark.parametrize("restart", [False, True])
def test_what_the_order_has_forgotten_is_known_when_it_is_reported_again(executed: Scenario, restart: bool) -> None:
    scenario = _restarted(executed.books.to_message()) if restart else executed
    for number in range(MANY):
        assert kinds(scenario.venue(_execution(number))) == []

    assert scenario.position() == MANY
    assert not scenario.books.halts


def test_an_execution_that_was_lost_long_ago_is_booked_to_its_order(executed: Scenario) -> None:
    """All that were booked since are remembered by themselves: this is none of them."""
    assert kinds(executed.venue(_execution(MANY, at_ns=START))) == ["order_executed", "< TRADE"]
    assert executed.position() == MANY + 1


@pytest.mark.parametrize("restart", [False, True])
@pytest.mark.parametrize("later_ns", [SECOND, executions.DAY_NS])
def test_a_forgotten_execution_that_is_taken_back_is_its_orders(
    executed: Scenario, restart: bool, later_ns: int
) -> None:
    """On its day, or on the next one."""
    scenario = _restarted(executed.books.to_message()) if restart else executed
    bust = _bust(0, START + later_ns)

    assert kinds(scenario.venue(bust)) == ["execution_busted", "< TRADE_CANCEL"]
    assert scenario.position() == MANY - 1
    order = scenario.books.open[cl_ord_id(1)]
    assert order.cum == MANY - 1
    assert order.busted == 1
    assert kinds(scenario.venue(bust)) == []
    assert kinds(scenario.venue(_execution(0))) == []
    assert scenario.position() == MANY - 1
    assert not scenario.books.halts


def test_a_bust_that_is_reported_again_is_known_after_the_order_forgot_it(executed: Scenario) -> None:
    executed.venue(_bust(0))
    for number in range(MANY, 2 * MANY):
        executed.venue(_execution(number))

    assert "e0" not in executed.books.open[cl_ord_id(1)].executions
    assert kinds(executed.venue(_bust(0))) == []
    assert executed.position() == 2 * MANY - 1


@pytest.mark.parametrize("changes", [{"exec_ref_id": "e9999"}, {"quantity": Decimal(2)}, {"price": Decimal("1.2")}])
def test_a_bust_of_what_was_not_booked_is_nobodys_and_halts(executed: Scenario, changes: dict[str, object]) -> None:
    """An order that remembers all its executions would book it and take it back. Of this one nobody knows, so the venue
    is asked first."""
    bust = _bust(0, None, **changes)
    (asked,) = executed.venue(bust)
    assert isinstance(asked, effects.SendRecall)
    assert executed.position() == MANY

    done = executed.venue(port.Recalled((), (bust,)))

    assert kinds(done)[:2] == ["execution_busted", "halt_changed"]
    assert done[0].event.execution_busted.suspense  # type: ignore[union-attr]
    assert "which this gateway does not remember" in _halt(executed)
    assert executed.position() == MANY
    assert kinds(executed.venue(_bust(0, None, **changes))) == []


def test_the_bust_of_an_execution_whose_report_was_lost_follows_what_the_venue_says_of_it(executed: Scenario) -> None:
    """The bust came first: booked at once it would have been nobody's, and taken back once more after the execution."""
    lost, bust = _execution(MANY), _bust(MANY)
    executed.venue(bust)

    done = executed.venue(port.Recalled((lost,), (bust,)))

    assert [kind for kind in kinds(done) if kind.islower()] == ["order_executed", "execution_busted"]
    assert executed.position() == MANY
    assert kinds(executed.venue(bust)) == []
    assert not executed.books.halts


def test_what_happened_before_the_last_logon_is_booked(long_ago: Scenario) -> None:
    """A venue that sends all executions of an order at each logon."""
    scenario = _restarted(long_ago.books.to_message())

    assert kinds(scenario.venue(_execution(0))) == []
    assert kinds(scenario.venue(_bust(0))) == []
    assert scenario.position() == 2 * MANY
    assert not scenario.books.halts


def test_whether_an_older_one_of_this_session_was_booked_is_not_known_and_halts(long_ago: Scenario) -> None:
    done = long_ago.venue(_execution(0))

    assert kinds(done)[:2] == ["order_executed", "halt_changed"]
    assert long_ago.position() == 2 * MANY
    assert long_ago.books.exposure(("", EUR)).position == 1
    assert (
        "an order that was executed many times since: whether it was booked before is not known any more. Compare the "
        "account with the venue; "
    ) in _halt(long_ago)
    assert kinds(long_ago.venue(_execution(0))) == []


def test_new_executions_go_on_being_booked(long_ago: Scenario) -> None:
    assert kinds(long_ago.venue(_execution(2 * MANY))) == ["order_executed", "< TRADE"]
    assert not long_ago.books.halts


def test_what_nobody_sent_is_remembered_in_bounded_memory_too() -> None:
    """Executions under one ClOrdID of somebody else, as of a person at a screen of the venue."""
    scenario = Scenario(SETTINGS)
    events = [_execution(number, cl_ord_id="by-hand", order_id="v9") for number in range(MANY)]
    for event in events:
        assert "order_executed" in kinds(scenario.venue(event))
    for event in events:
        assert kinds(scenario.venue(event)) == []

    assert scenario.books.exposure(("", EUR)).position == MANY
    assert sum(len(order.executions) for order in scenario.books.ended.values()) == orders.EXECUTIONS_KEPT


class Executions(RuleBasedStateMachine):
    """One order whose executions are reported once or twice, taken back once or twice, and whose gateway starts again
    from its snapshot or logs on again. Orders remember three of their executions. The model is what the venue did."""

    def __init__(self) -> None:
        super().__init__()
        self.kept, orders.EXECUTIONS_KEPT = orders.EXECUTIONS_KEPT, 3
        self.told: list[port.Executed] = []
        self.busts: dict[str, port.Busted] = {}
        self.audited = Following()

    def teardown(self) -> None:
        """As many as before."""
        orders.EXECUTIONS_KEPT = self.kept

    @initialize()
    def send(self) -> None:
        """The order."""
        self.scenario = Scenario(SETTINGS)
        self.scenario.order(1, quantity=Decimal(WHOLE))
        self.scenario.accepted(1)

    @rule(count=st.integers(1, 8))
    def execute(self, count: int) -> None:
        """By the venue's own time, which stands still now and then."""
        for _ in range(count):
            event = _execution(len(self.told), at_ns=START + len(self.told) // 3)
            self.told.append(event)
            self.scenario.venue(event)

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """By itself, or with all others at a logon."""
        if data.draw(st.booleans()):
            self.scenario.venue(data.draw(st.sampled_from(self.told)))
        else:
            order = self.scenario.books.open[cl_ord_id(1)]
            state = port.OpenOrder(
                order.cl_ord_id, "v1", EUR, Side.BUY, order.terms.quantity, None, order.cum, OrdStatus.NEW
            )
            snapshot = port.VenueSnapshot((state,), tuple(self.told), tuple(self.busts.values()))
            self.scenario.do(commands.VenueConnected(snapshot))

    @precondition(lambda self: self.told)
    @rule(data=st.data())
    def take_back(self, data: st.DataObject) -> None:
        """For the first time, or again."""
        event = data.draw(st.sampled_from(self.told))
        number = int(event.exec_id.removeprefix("e"))
        bust = self.busts.setdefault(event.exec_id, _bust(number, at_ns=START + len(self.told)))
        self.scenario.venue(bust)

    @rule()
    def restart(self) -> None:
        """From the snapshot."""
        self.audited.take(self.scenario)
        self.scenario = _restarted(self.scenario.books.to_message())

    @invariant()
    def books_and_auditor_are_right_and_bounded(self) -> None:
        """Every execution and every bust once; nothing halts."""
        if not hasattr(self, "scenario"):
            return
        self.audited.take(self.scenario)
        books = self.scenario.books
        order = books.open[cl_ord_id(1)]
        assert self.scenario.position() == order.cum == len(self.told) - len(self.busts)
        assert order.busted == len(self.busts)
        assert not books.halts
        assert len(order.executions) <= 3
        assert self.audited.ledger.differences(books.to_message()) == []


Executions.TestCase.settings = hypothesis_settings(deadline=None, max_examples=60, stateful_step_count=30)
TestExecutions = Executions.TestCase
