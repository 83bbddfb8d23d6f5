"""One order that its strategy replaces again and again for as long as it rests."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.auditor.ledger import IDS_KEPT
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.gateway import commands
from crowetrade_agents.gateway.books import ENDED_KEPT, Books
from crowetrade_agents.gateway.order import FORMER_KEPT, Order
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.audited import Following, audited
from crowetrade_agents_tests.gateway.scenario import EUR, INSTRUMENTS, VENUE, Scenario, cl_ord_id, kinds

SETTINGS = Settings("cl-research", VENUE, "pod-1", INSTRUMENTS, orders_per_second=10**6, order_burst=10**6)
MANY = 40
"""More replacements than an order remembers ClOrdIDs."""
FORGOTTEN = 5
"""Number of a request among them that is not remembered."""


def _replaced(scenario: Scenario, old: int, new: int, order_id: str = "v1") -> None:
    """A replacement that the venue accepts, from number to number."""
    assert "> replace" in kinds(scenario.replace(old, new, price="1.09" if new % 2 else "1.08"))
    assert "order_replaced" in kinds(
        scenario.venue(port.Replaced(cl_ord_id(new), cl_ord_id(old), order_id, scenario.now))
    )


def _resting(replacements: int) -> Scenario:
    """An order of 20,000, of which 4,000 are executed, replaced once a second."""
    scenario = Scenario(SETTINGS)
    scenario.order(1, quantity=Decimal(20_000))
    scenario.accepted(1)
    scenario.executed(1, "4000", "e1")
    for number in range(1, replacements + 1):
        scenario.later(1)
        _replaced(scenario, number, number + 1)
    return scenario


@pytest.fixture
def replaced() -> Scenario:
    """Its ClOrdIDs but for the first and the last ones are forgotten."""
    scenario = _resting(MANY)
    assert scenario.find(1) is scenario.find(MANY) is scenario.find(MANY + 1) is _order(scenario)
    assert scenario.find(FORGOTTEN) is None
    return scenario


def _restarted(snapshot: journal_pb2.Books) -> Scenario:
    """A gateway that starts from a snapshot, to which the venue says that the order is open."""
    scenario = Scenario(SETTINGS, Books.from_message(VENUE, snapshot))
    (order,) = scenario.books.open.values()
    scenario.later(60)
    scenario.venue(
        port.OrderState(
            order.cl_ord_id, order.cl_ord_id, "v1", OrdStatus.NEW, order.terms.quantity, None, order.cum, scenario.now
        )
    )
    return scenario


def _order(scenario: Scenario) -> Order:
    return scenario.books.open[cl_ord_id(1)]


def _event(number: int = FORGOTTEN, **changes: object) -> port.Executed:
    values: dict[str, object] = {
        "cl_ord_id": cl_ord_id(number),
        "order_id": "v1",
        "exec_id": "e2",
        "instrument": EUR,
        "side": Side.BUY,
        "quantity": Decimal(1000),
        "price": Decimal("1.1"),
        "fee": Decimal(0),
        "at_ns": 1,
    }
    return port.Executed(**{**values, **changes})  # type: ignore[arg-type]


def _sizes(scenario: Scenario) -> tuple[int, int, int, int]:
    """What one order could make grow: its part of a snapshot in bytes, names in the books and with the auditor, and
    timers."""
    (booked,) = scenario.books.to_message().open
    return (
        booked.ByteSize(),
        len(scenario.books._by_id),
        len(audited(scenario)._by_id),
        len(scenario.state.live.timers),
    )


def test_ten_thousand_replacements_make_neither_snapshot_nor_memory_larger() -> None:
    few = _sizes(_resting(100))
    scenario = _resting(10_000)
    size, names, ids, timers = _sizes(scenario)

    assert names == few[1] == FORMER_KEPT + 1
    assert ids == few[2] == IDS_KEPT
    assert timers == few[3]
    # The numbers in the ClOrdIDs have two digits more.
    assert size <= few[0] + 2 * (FORMER_KEPT + 1)
    assert len(scenario.books.executions._booked) == 1
    assert scenario.books.to_message().ByteSize() < 32_000


def test_a_report_says_which_cl_ord_id_it_had_last_and_the_first_stays(replaced: Scenario) -> None:
    order = _order(replaced)

    assert order.first_id == cl_ord_id(1)
    assert order.former[-1] == cl_ord_id(MANY)
    assert len(order.former) == FORMER_KEPT


def test_all_are_remembered_up_to_the_bound() -> None:
    scenario = _resting(FORMER_KEPT)
    assert _order(scenario).former == tuple(cl_ord_id(number) for number in range(1, FORMER_KEPT + 1))
    _replaced(scenario, FORMER_KEPT + 1, FORMER_KEPT + 2)

    assert _order(scenario).former == (cl_ord_id(1), *(cl_ord_id(n) for n in range(3, FORMER_KEPT + 2)))


def test_a_snapshot_that_kept_more_is_cut_at_the_next_replacement(replaced: Scenario) -> None:
    message = replaced.books.to_message()
    message.open[0].former_cl_ord_ids[:] = [cl_ord_id(number) for number in range(1, MANY + 1)]
    scenario = _restarted(message)
    assert kinds(scenario.venue(_event())) == ["order_executed", "< TRADE"]

    _replaced(scenario, MANY + 1, MANY + 2)

    assert len(_order(scenario).former) == FORMER_KEPT
    assert len(scenario.books._by_id) == FORMER_KEPT + 1
    assert kinds(scenario.venue(_event(exec_id="e3"))) == ["order_executed", "< TRADE"]


@pytest.mark.parametrize("restart", [False, True])
def test_an_execution_under_a_forgotten_cl_ord_id_is_booked_to_its_order(replaced: Scenario, restart: bool) -> None:
    """Found by the venue's own identifier of the order; the auditor and a restart find it in the journal."""
    scenario = replaced
    if restart:
        scenario = _restarted(replaced.books.to_message())

    done = scenario.venue(_event())

    assert kinds(done) == ["order_executed", "< TRADE"]
    assert scenario.events[-1].order_executed.cl_ord_id == cl_ord_id(MANY + 1)
    assert kinds(scenario.venue(_event())) == []
    assert scenario.position() == 5000
    assert not scenario.books.halts
    if not restart:
        assert scenario.folded().to_message().open == scenario.books.to_message().open
        assert audited(scenario).differences(scenario.books.to_message()) == []


def test_an_execution_that_was_booked_is_known_though_the_venue_calls_the_order_otherwise_by_now() -> None:
    scenario = _resting(1)
    scenario.venue(_event(2, order_id="v1"))
    for number in range(2, MANY):
        _replaced(scenario, number, number + 1, f"v{number}")

    assert scenario.find(2) is None
    assert kinds(scenario.venue(_event(2, at_ns=2))) == []
    assert scenario.position() == 5000


@pytest.mark.parametrize("restart", [False, True])
def test_an_execution_of_a_replacement_that_was_refused_is_booked_to_its_order(restart: bool) -> None:
    """The request came twice; the venue refuses the first one and takes the second one."""
    scenario = _resting(1)
    scenario.replace(2, 3)
    scenario.venue(port.RequestRejected(cl_ord_id(3), cl_ord_id(2), "no", "", False, scenario.now))
    scenario.venue(port.Replaced(cl_ord_id(3), cl_ord_id(2), "v1", scenario.now))
    if restart:
        scenario = _restarted(scenario.books.to_message())

    assert kinds(scenario.venue(_event(3)))[0] == "order_executed"
    assert scenario.position() == 5000
    assert not scenario.books.halts


@pytest.mark.parametrize(
    "changes",
    [
        {"order_id": "v9"},
        {"order_id": ""},
        {"cl_ord_id": cl_ord_id(2, "beta")},
        {"cl_ord_id": cl_ord_id(9999)},
        {"cl_ord_id": "by-hand"},
        {"cl_ord_id": "alpha-1hg3k2m9p0ab-0005"},
        {"side": Side.SELL},
    ],
    ids=["another order", "no order", "another strategy", "not used", "not ours", "not as we write it", "another side"],
)
def test_what_cannot_be_its_execution_is_booked_to_nobody_and_halts(
    replaced: Scenario, changes: dict[str, object]
) -> None:
    replaced.order(1, strategy="beta")
    replaced.cancel(1, 2, "beta")

    assert "halt_changed" in kinds(replaced.venue(_event(**changes)))  # type: ignore[arg-type]
    assert abs(replaced.books.exposure(("", EUR)).position) == 1000
    assert replaced.position() == 4000


def test_an_execution_under_a_forgotten_cl_ord_id_can_be_taken_back(replaced: Scenario) -> None:
    bust = port.Busted(
        cl_ord_id(FORGOTTEN), "b1", "e1", EUR, Side.BUY, Decimal(4000), Decimal("1.1"), Decimal(0), replaced.now
    )

    assert kinds(replaced.venue(bust)) == ["execution_busted", "< TRADE_CANCEL"]
    assert replaced.events[-1].execution_busted.cl_ord_id == cl_ord_id(MANY + 1)
    assert replaced.position() == 0
    assert kinds(replaced.venue(bust)) == []
    assert replaced.folded().to_message().open == replaced.books.to_message().open


def test_the_end_under_a_forgotten_cl_ord_id_is_the_orders(replaced: Scenario) -> None:
    done = replaced.venue(port.Ended(cl_ord_id(FORGOTTEN), "v1", OrdStatus.EXPIRED, "", "", replaced.now))

    assert kinds(done) == ["order_ended", "< EXPIRED"]
    assert not replaced.books.open
    assert kinds(replaced.venue(_event())) == ["order_executed", "< TRADE"]


def test_a_replacement_of_a_forgotten_cl_ord_id_is_asked_for(replaced: Scenario) -> None:
    done = replaced.venue(port.Replaced(cl_ord_id(FORGOTTEN + 1), cl_ord_id(FORGOTTEN), "v1", replaced.now))

    assert kinds(done) == ["order_unknown", "< ORDER_STATUS UnexpectedReplace", "> query"]
    answer = port.OrderState(
        cl_ord_id(FORGOTTEN),
        _order(replaced).cl_ord_id,
        "v1",
        OrdStatus.NEW,
        Decimal(20_000),
        None,
        Decimal(4000),
        replaced.now,
    )
    assert kinds(replaced.venue(answer)) == ["order_accepted", "< ORDER_STATUS"]


def test_an_acknowledgement_of_a_forgotten_cl_ord_id_is_no_news(replaced: Scenario) -> None:
    assert replaced.accepted(FORGOTTEN) != []  # another order of the venue: told
    assert replaced.venue(port.Accepted(cl_ord_id(FORGOTTEN), "v1", replaced.now)) == []


@pytest.mark.parametrize(
    "event",
    [
        lambda now: port.Ended(cl_ord_id(FORGOTTEN), "v9", OrdStatus.EXPIRED, "", "", now),
        lambda now: port.Replaced(cl_ord_id(FORGOTTEN), cl_ord_id(FORGOTTEN - 1), "v9", now),
    ],
)
def test_what_changes_no_order_that_is_known_is_told(
    replaced: Scenario, event: Callable[[int], port.VenueEvent]
) -> None:
    done = replaced.venue(event(replaced.now))

    assert kinds(done) == []
    assert "venue_reports_unknown_order" in str(done)
    assert _order(replaced).is_open


def test_a_forgotten_cl_ord_id_stays_used(replaced: Scenario) -> None:
    assert kinds(replaced.order(FORGOTTEN)) == ["< REJECTED DuplicateClOrdID"]
    assert kinds(replaced.cancel(MANY + 1, FORGOTTEN)) == ["< CANCEL_REJECT DuplicateClOrdID"]
    assert kinds(replaced.replace(MANY + 1, FORGOTTEN)) == ["< CANCEL_REJECT DuplicateClOrdID"]


def test_a_strategy_can_cancel_by_the_first_cl_ord_id_and_not_by_a_forgotten_one(replaced: Scenario) -> None:
    assert kinds(replaced.cancel(FORGOTTEN, MANY + 2)) == ["< CANCEL_REJECT UnknownOrder"]
    assert "> cancel" in kinds(replaced.cancel(1, MANY + 3))


def test_what_is_forgotten_with_its_order_is_forgotten_altogether(replaced: Scenario) -> None:
    replaced.ended(MANY + 1)
    for number in range(MANY + 2, MANY + 2 + ENDED_KEPT):
        replaced.order(number)
        replaced.ended(number)

    assert replaced.find(1) is None
    assert not replaced.books._renamed
    assert len(replaced.books._by_id) == ENDED_KEPT


class Replacements(RuleBasedStateMachine):
    """One order of 1,000,000 whose executions are reported under any ClOrdID that it ever had, some of them twice, and
    whose gateway starts again from its snapshot. The model is what the venue did."""

    def __init__(self) -> None:
        super().__init__()
        self.scenario = Scenario(SETTINGS)
        self.scenario.order(1, quantity=Decimal(900_000))
        self.scenario.accepted(1)
        self.ids = [1]
        self.last = 1
        self.reported: list[port.Executed] = []
        self.audited = Following()

    @rule(count=st.integers(1, FORMER_KEPT + 2))
    def replace(self, count: int) -> None:
        """Accepted ones."""
        for _ in range(count):
            self.last += 1
            self.scenario.replace(self.ids[-1], self.last, "900000")
            self.scenario.venue(port.Replaced(cl_ord_id(self.last), cl_ord_id(self.ids[-1]), "v1", self.scenario.now))
            self.ids.append(self.last)

    @rule()
    def refuse(self) -> None:
        """The venue refuses one."""
        self.last += 1
        self.scenario.replace(self.ids[-1], self.last, "900000")
        no = port.RequestRejected(cl_ord_id(self.last), cl_ord_id(self.ids[-1]), "no", "", False, self.scenario.now)
        self.scenario.venue(no)

    @rule(data=st.data())
    def execute(self, data: st.DataObject) -> None:
        """Under a ClOrdID that it has or had."""
        number = data.draw(st.sampled_from(self.ids))
        event = _event(number, exec_id=f"e{len(self.reported)}", at_ns=self.scenario.now)
        self.reported.append(event)
        self.scenario.venue(event)

    @precondition(lambda self: self.reported)
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        """By itself, or at a logon."""
        event = data.draw(st.sampled_from(self.reported))
        if data.draw(st.booleans()):
            self.scenario.venue(event)
        else:
            order = next(iter(self.scenario.books.open.values()))
            state = port.OpenOrder(
                order.cl_ord_id, "v1", EUR, Side.BUY, order.terms.quantity, None, order.cum, OrdStatus.NEW
            )
            self.scenario.do(commands.VenueConnected(port.VenueSnapshot((state,), (event,))))

    @rule()
    def restart(self) -> None:
        """From the snapshot."""
        self.audited.take(self.scenario)
        self.scenario = _restarted(self.scenario.books.to_message())

    @invariant()
    def books_and_auditor_are_right_and_bounded(self) -> None:
        """Every execution once, to its owner; nothing halts."""
        self.audited.take(self.scenario)
        books = self.scenario.books
        assert self.scenario.position() == 1000 * len(self.reported)
        assert not books.halts
        assert len(books._by_id) <= FORMER_KEPT + 1
        assert len(self.audited.ledger._by_id) <= IDS_KEPT
        assert self.audited.ledger.differences(books.to_message()) == []


Replacements.TestCase.settings = hypothesis_settings(deadline=None, max_examples=30, stateful_step_count=30)
TestReplacements = Replacements.TestCase
