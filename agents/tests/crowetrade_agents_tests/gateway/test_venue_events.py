"""What the venue reports: booked exactly once, in any order, and never dropped."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import commands, effects
from crowetrade_agents.gateway.books import ENDED_KEPT, Books, recover
from crowetrade_agents.gateway.state import GatewayState, Settings
from crowetrade_agents.gateway.status import gateway_status
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import (
    EUR,
    GBP,
    INSTRUMENTS,
    SECOND,
    VENUE,
    Scenario,
    book,
    cl_ord_id,
    configuration,
    kinds,
    rule,
)


def _filled() -> Scenario:
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.executed(1, "4000", "e1")
    return scenario


def test_an_execution_that_comes_twice_is_booked_once_also_after_a_restart() -> None:
    """Finding G20: a repeated execution id was appended and then found, which broke every later start."""
    scenario = _filled()

    assert kinds(scenario.executed(1, "4000", "e1")) == []
    successor = Scenario(books=recover(VENUE, None, scenario.events))
    assert kinds(successor.executed(1, "4000", "e1")) == []
    assert successor.position() == 4000


TOO_LONG = Decimal("1.1000000000000000001")


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(
            port.Executed(cl_ord_id(1), "v1", "e2", EUR, Side.BUY, Decimal(1000), TOO_LONG, Decimal(0), 0),
            id="executed",
        ),
        pytest.param(
            port.Executed(cl_ord_id(1), "v1", "e2", EUR, Side.BUY, Decimal(10**20), Decimal(1), Decimal(0), 0),
            id="too large",
        ),
        pytest.param(
            port.Executed(cl_ord_id(1), "v1", "e2", EUR, Side.BUY, Decimal(1), Decimal(1), Decimal("NaN"), 0), id="NaN"
        ),
        pytest.param(
            port.Busted(cl_ord_id(1), "b1", "e1", EUR, Side.BUY, Decimal(4000), Decimal("1.1"), TOO_LONG, 0),
            id="taken back",
        ),
        pytest.param(
            port.Charged("c1", port.ChargeKind.FUNDING, EUR, Decimal(4000), Decimal("1.1"), TOO_LONG, 0), id="charged"
        ),
    ],
)
def test_a_number_that_the_journal_cannot_hold_halts_and_is_not_booked(
    event: port.Executed | port.Busted | port.Charged,
) -> None:
    """It ended the gateway, and each one after it: the next session's snapshot says the same again."""
    scenario = _filled()

    for _ in range(2):
        scenario.venue(replace(event, at_ns=scenario.now))

    (text,) = map(str, scenario.books.halts.values())
    assert "a number has at most 20 digits before the point and 18 after it" in text
    assert scenario.position() == 4000
    successor = Scenario(books=recover(VENUE, None, scenario.events))
    assert successor.position() == 4000
    assert len(successor.books.halts) == 1


def test_a_fill_after_a_cancel_is_booked_to_its_owner() -> None:
    scenario = _filled()
    scenario.ended(1)

    done = scenario.executed(1, "6000", "late")

    assert kinds(done) == ["order_executed", "< TRADE"]
    assert scenario.position() == 10_000
    assert not scenario.books.halts
    assert scenario.books.exposure(("alpha", EUR)).open_buy == 0


@pytest.mark.parametrize(
    "changes",
    [{"cl_ord_id": "stranger"}, {"instrument": GBP}, {"side": Side.SELL}],
    ids=["unknown order", "another instrument", "another side"],
)
def test_an_execution_of_no_known_order_goes_to_suspense_and_halts(changes: dict[str, object]) -> None:
    scenario = Scenario()
    scenario.order(1)

    done = scenario.executed(1, "7000", "e9", **changes)  # type: ignore[arg-type]

    assert "halt_changed" in kinds(done)
    instrument = changes.get("instrument", EUR)
    assert abs(scenario.books.exposure(("", instrument)).position) == 7000  # type: ignore[arg-type]
    scenario.executed(1, "7000", "e9", **changes)  # type: ignore[arg-type]
    assert kinds(scenario.last) == []
    assert kinds(scenario.order(2))[0] == "< REJECTED VenueHalted"


def test_an_execution_under_the_name_of_one_in_suspense_is_nobodys_either_and_halts_again() -> None:
    """What the books keep in suspense is kept as an order of nobody, under the venue's ClOrdID behind a question
    mark: a venue that reports that very name must not make it an order of ours."""
    scenario = Scenario()
    scenario.executed(1, "1000", "e1", cl_ord_id="stranger")
    scenario.do(commands.Configure(configuration(cleared_halts=frozenset(scenario.books.halts), revision="r2")))
    assert not scenario.books.halts

    done = scenario.executed(1, "1000", "e2", cl_ord_id="?stranger")

    assert kinds(done) == ["order_executed", "halt_changed"]
    assert scenario.events[-2].order_executed.suspense
    assert scenario.books.exposure(("", EUR)).position == 2000


def test_quantities_of_more_digits_than_the_default_context_are_booked_exactly() -> None:
    """A context of 28 digits would round each of them when its sign is turned."""
    many, rest = "12345678901.123456789012345678", "0.000000000000000001"
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.executed(1, many, "e1", fee=Decimal(many))
    scenario.executed(1, rest, "e2")
    assert scenario.position() == Decimal("12345678901.123456789012345679")

    bust = port.Busted(
        cl_ord_id(1), "b1", "e1", EUR, Side.BUY, Decimal(many), Decimal("1.1"), Decimal(many), scenario.now
    )
    scenario.venue(bust)

    assert scenario.position() == Decimal(rest)
    assert scenario.books.positions["alpha", EUR].fees == 0


def test_an_order_of_many_digits_leaves_no_exposure_behind() -> None:
    instrument = replace(INSTRUMENTS[EUR], lot_size=Decimal("1e-18"), min_quantity=Decimal("1e-18"))
    settings = Settings("cl-research", VENUE, "pod-1", {**INSTRUMENTS, EUR: instrument})
    scenario = Scenario(settings)
    scenario.do(commands.Configure(configuration(None, rule(maxOrderQuantity="99999999999999999999"))))
    scenario.order(1, quantity=Decimal("12345678901.123456789012345678"))
    assert scenario.books.exposure(("alpha", EUR)).open_buy == Decimal("12345678901.123456789012345678")

    scenario.ended(1)

    assert scenario.books.exposure(("alpha", EUR)).open_buy == 0


def test_more_than_was_ordered_is_booked_and_halts() -> None:
    scenario = _filled()

    done = scenario.executed(1, "7000", "e2")

    assert scenario.position() == 11_000
    assert "halt_changed" in kinds(done)
    ((halt, text),) = scenario.books.halts.items()
    assert halt.startswith("PositionDifference")
    assert text.startswith(f"order {cl_ord_id(1)} of 10000 is executed for 11000; ")


def test_an_execution_before_its_acknowledgement_does_not_go_back_to_new() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "4000", "e1")

    assert kinds(scenario.accepted(1)) == []
    assert scenario.find() is not None
    assert scenario.books.open[cl_ord_id(1)].status is OrdStatus.PARTIALLY_FILLED


def _bust(scenario: Scenario) -> port.Busted:
    return port.Busted(cl_ord_id(1), "b1", "e1", EUR, Side.BUY, Decimal(4000), Decimal("1.1"), Decimal(0), scenario.now)


def test_a_busted_trade_moves_the_position_back_and_is_taken_back_once() -> None:
    scenario = _filled()
    bust = _bust(scenario)

    done = scenario.venue(bust)

    assert kinds(done) == ["execution_busted", "< TRADE_CANCEL"]
    assert scenario.position() == 0
    assert scenario.books.open[cl_ord_id(1)].leaves == 6_000
    assert kinds(scenario.venue(bust)) == []


def test_what_was_taken_back_does_not_work_again() -> None:
    """venues/port.py, Busted: found by the simulation, where the rest of the order filled and the order stayed open."""
    scenario = _filled()
    scenario.venue(_bust(scenario))
    assert scenario.books.exposure(("alpha", EUR)).open_buy == 6_000
    restarted = Scenario(books=Books.from_message(VENUE, scenario.books.to_message()))

    for found in (scenario, restarted):
        found.executed(1, "6000", "e2")
        assert not found.books.open
        assert found.books.ended[cl_ord_id(1)].status is OrdStatus.FILLED
        assert found.position() == 6_000
        assert found.books.exposure(("alpha", EUR)).open_buy == 0


def test_a_bust_of_something_unknown_halts() -> None:
    scenario = Scenario()
    bust = port.Busted("x", "b1", "e7", EUR, Side.BUY, Decimal(4000), Decimal("1.1"), Decimal(0), scenario.now)

    assert kinds(scenario.venue(bust)) == ["execution_busted", "halt_changed"]
    (text,) = map(str, scenario.books.halts.values())
    assert text.startswith("the venue takes execution e7 back, which this gateway does not remember: find out why; ")
    assert scenario.books.exposure(("", EUR)).position == -4000
    assert kinds(scenario.venue(bust)) == []


@pytest.mark.parametrize("cum", ["5000", "0"])
def test_an_answer_that_contradicts_the_journal_halts(cum: str) -> None:
    scenario = _filled()
    answer = port.OrderState(
        cl_ord_id(1), cl_ord_id(1), "v1", OrdStatus.PARTIALLY_FILLED, Decimal(10_000), None, Decimal(cum), scenario.now
    )

    assert "halt_changed" in kinds(scenario.venue(answer))


@pytest.mark.parametrize(
    ("told", "ends"),
    [
        (OrdStatus.EXPIRED, OrdStatus.EXPIRED),
        (OrdStatus.REJECTED, OrdStatus.REJECTED),
        (OrdStatus.CANCELED, OrdStatus.CANCELED),
        # Executed for what the books have: the rest was canceled.
        (OrdStatus.FILLED, OrdStatus.CANCELED),
    ],
)
def test_an_order_that_is_over_at_the_venue_ends_as_the_venue_says(told: OrdStatus, ends: OrdStatus) -> None:
    scenario = _filled()
    answer = port.OrderState(cl_ord_id(1), cl_ord_id(1), "v1", told, Decimal(10_000), None, Decimal(4000), scenario.now)

    scenario.venue(answer)

    assert scenario.books.ended[cl_ord_id(1)].status is ends
    assert not scenario.books.halts


def test_an_order_of_unknown_fate_that_is_open_is_what_it_was_before() -> None:
    scenario = _filled()
    scenario.do(commands.VenueConnected(port.VenueSnapshot()))
    assert scenario.books.open[cl_ord_id(1)].status is OrdStatus.UNKNOWN
    answer = port.OrderState(
        cl_ord_id(1), cl_ord_id(1), "v1", OrdStatus.NEW, Decimal(10_000), None, Decimal(4000), scenario.now
    )

    scenario.venue(answer)

    assert scenario.books.open[cl_ord_id(1)].status is OrdStatus.PARTIALLY_FILLED


def test_an_acknowledgement_that_comes_again_says_nothing_of_an_order_in_doubt() -> None:
    """Found by the simulation, seed 80000049: the venue had forgotten the order, the question was lost, and a late copy
    of the acknowledgement made the order New again, so that nobody asked any more."""
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.cancel(1, 2)
    scenario.venue(port.RequestRejected(cl_ord_id(2), cl_ord_id(1), "UnknownOrder", "", True, scenario.now))

    assert kinds(scenario.accepted(1)) == []

    assert scenario.books.open[cl_ord_id(1)].status is OrdStatus.UNKNOWN
    assert "> query" in kinds(scenario.later(10))


def test_each_execution_of_an_order_that_nobody_sent_is_booked_once() -> None:
    scenario = Scenario()
    for exec_id in ("e1", "e2", "e1", "e2"):
        scenario.executed(1, "1000", exec_id, cl_ord_id="stranger")

    assert scenario.books.exposure(("", EUR)).position == 2000


def test_an_answer_to_a_question_of_the_same_moment_does_not_settle_a_request() -> None:
    """The question may have left before the request."""
    for request in ("replace", "cancel"):
        scenario = Scenario()
        scenario.order(1)
        scenario.accepted(1)
        if request == "replace":
            scenario.replace(1, 2, "20000")
        else:
            scenario.cancel(1, 2)
        order = port.OpenOrder(
            cl_ord_id(1), "v1", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(0), OrdStatus.NEW
        )
        scenario.do(commands.VenueConnected(port.VenueSnapshot((order,))))
        answer = port.OrderState(
            cl_ord_id(1), cl_ord_id(1), "v1", OrdStatus.NEW, Decimal(10_000), None, Decimal(0), scenario.now
        )

        assert "request_rejected" not in kinds(scenario.venue(answer))
        scenario.now += 1
        scenario.do(commands.VenueConnected(port.VenueSnapshot((order,))))
        assert "request_rejected" in kinds(scenario.venue(answer))


def test_an_order_of_unknown_fate_is_asked_for_until_there_is_an_answer_and_counts_meanwhile() -> None:
    scenario = Scenario()
    scenario.order(1)

    asked = [kinds(scenario.later(10)).count("> query") for _ in range(3)]

    assert asked == [1, 1, 1]
    assert scenario.books.exposure(("alpha", EUR)).open_buy == 10_000


def test_a_replacement_that_happened_without_an_answer_is_found_by_asking() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.replace(1, 2, "20000")
    scenario.later(10)
    answer = port.OrderState(
        cl_ord_id(1), cl_ord_id(2), "v1", OrdStatus.NEW, Decimal(20_000), Decimal("1.09"), Decimal(0), scenario.now
    )

    done = scenario.venue(answer)

    assert kinds(done) == ["order_replaced", "< REPLACED"]
    assert scenario.books.open[cl_ord_id(1)].terms.quantity == 20_000


def _made_although_refused() -> Scenario:
    """The request came twice; the venue refuses the first one and takes the second one."""
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.replace(1, 2, "20000")
    scenario.venue(port.RequestRejected(cl_ord_id(2), cl_ord_id(1), "no", "", False, scenario.now))
    return scenario


def test_an_order_that_the_venue_has_replaced_although_it_refused_to_is_cancelled() -> None:
    """Its terms are not in the books, so it counts for less than it may buy."""
    scenario = _made_although_refused()
    replaced = scenario.venue(port.Replaced(cl_ord_id(2), cl_ord_id(1), "v1", scenario.now))
    assert kinds(replaced) == ["order_unknown", "< ORDER_STATUS UnexpectedReplace", "> query"]
    answer = port.OrderState(
        cl_ord_id(1), cl_ord_id(2), "v1", OrdStatus.NEW, Decimal(20_000), Decimal("1.09"), Decimal(0), scenario.now
    )

    assert kinds(scenario.venue(answer)) == ["cancel_submitted", "> urgent cancel"]
    assert scenario.books.open[cl_ord_id(1)].unknown
    over = port.Ended(cl_ord_id(2), "v1", OrdStatus.CANCELED, "", "", scenario.now)
    assert kinds(scenario.venue(over)) == ["order_ended", "< CANCELED UnexpectedReplace"]
    assert not scenario.books.open


def test_a_missed_execution_in_a_snapshot_is_booked_before_the_order_is_confirmed() -> None:
    scenario = _filled()
    missed = port.Executed(
        cl_ord_id(1), "v1", "e2", EUR, Side.BUY, Decimal(1000), Decimal("1.1"), Decimal(0), scenario.now
    )
    again = port.Executed(
        cl_ord_id(1), "v1", "e1", EUR, Side.BUY, Decimal(4000), Decimal("1.1"), Decimal(0), scenario.now
    )
    order = port.OpenOrder(
        cl_ord_id(1), "v1", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(5000), OrdStatus.PARTIALLY_FILLED
    )

    done = scenario.do(commands.VenueConnected(port.VenueSnapshot((order,), (again, missed))))

    assert kinds(done) == ["order_executed", "< TRADE"]
    assert scenario.position() == 5000


def test_an_open_order_of_which_the_venue_executed_something_else_halts() -> None:
    scenario = _filled()
    order = port.OpenOrder(
        cl_ord_id(1), "v1", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(5000), OrdStatus.PARTIALLY_FILLED
    )

    done = scenario.do(commands.VenueConnected(port.VenueSnapshot((order,))))

    assert kinds(done)[0] == "halt_changed"
    ((halt, text),) = scenario.books.halts.items()
    assert halt == "PositionDifference@6"
    assert text.startswith(
        f"the venue says that order {cl_ord_id(1)} is executed for 5000, the journal has 4000; then annotate"
    )


def test_an_order_that_ended_at_the_venue_under_its_replacements_cl_ord_id_was_replaced_first() -> None:
    scenario = _filled()
    scenario.replace(1, 2, "20000")
    answer = port.OrderState(
        cl_ord_id(1), cl_ord_id(2), "v1", OrdStatus.CANCELED, Decimal(20_000), None, Decimal(4000), scenario.now
    )

    assert kinds(scenario.venue(answer)) == ["order_replaced", "< REPLACED", "order_ended", "< CANCELED"]
    assert scenario.events[-2].order_replaced.transact_unix_ns == scenario.now


def test_a_cl_ord_id_that_the_venue_has_already_is_that_of_an_order_which_goes_on() -> None:
    scenario = _filled()

    assert kinds(scenario.ended(1, OrdStatus.REJECTED, port.DUPLICATE_CL_ORD_ID)) == []
    assert scenario.books.open[cl_ord_id(1)].is_open


def test_a_replacement_that_the_venue_has_already_is_answered_by_its_own_answer_or_asked_for() -> None:
    """Found by the simulation, seed 20004: the request was doubled and the answer to the first copy was lost, so that
    the books had the order as it was before."""
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.replace(1, 2)
    twice = port.RequestRejected(cl_ord_id(2), cl_ord_id(1), port.DUPLICATE_CL_ORD_ID, "", False, scenario.now)

    assert kinds(scenario.venue(twice)) == []

    assert scenario.books.open[cl_ord_id(1)].replace is not None
    assert "> query" in kinds(scenario.later(10))


def test_filled_orders_are_counted() -> None:
    scenario = Scenario()
    for number in (1, 2, 3):
        scenario.order(number)
        scenario.executed(number, "10000", f"e{number}")

    status = gateway_status(scenario.state, 0, 0, (), scenario.now)
    assert (status.accounts[0].sent_total, status.accounts[0].filled_total) == (3, 3)


def test_a_cancel_that_the_venue_refuses_is_sent_again_while_the_gateway_wants_it() -> None:
    scenario = _filled()
    stopped = configuration({"alpha": TradingState.HALTED}, revision="r2")
    scenario.do(commands.Configure(stopped))
    refused = port.RequestRejected("alpha-g1-1", cl_ord_id(1), "VenueSaysNo", "no", False, scenario.now)

    assert kinds(scenario.venue(refused)) == ["request_rejected"]
    assert [kinds(scenario.later(seconds)) for seconds in (0.9, 0.1)] == [[], ["cancel_submitted", "> urgent cancel"]]


@pytest.mark.parametrize("asked", ["cancel", "replace"])
def test_the_refusal_of_another_request_means_nothing(asked: str) -> None:
    scenario = _filled()
    if asked == "cancel":
        scenario.cancel(1, 2)
    else:
        scenario.replace(1, 2)

    refused = port.RequestRejected(cl_ord_id(9), cl_ord_id(1), "VenueSaysNo", "no", False, scenario.now)

    assert kinds(scenario.venue(refused)) == []


def test_an_order_that_a_snapshot_knows_is_accepted() -> None:
    scenario = Scenario()
    scenario.order(1)
    order = port.OpenOrder(
        cl_ord_id(1), "v1", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(0), OrdStatus.NEW
    )

    assert kinds(scenario.do(commands.VenueConnected(port.VenueSnapshot((order,))))) == [
        "order_accepted",
        "< ORDER_STATUS",
    ]
    assert scenario.books.open[cl_ord_id(1)].order_id == "v1"


def test_a_missed_bust_in_a_snapshot_is_booked() -> None:
    scenario = _filled()
    order = port.OpenOrder(
        cl_ord_id(1), "v1", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(0), OrdStatus.NEW
    )

    done = scenario.do(commands.VenueConnected(port.VenueSnapshot((order,), busts=(_bust(scenario),))))

    assert kinds(done) == ["execution_busted", "< TRADE_CANCEL"]
    assert scenario.position() == 0


def test_an_order_at_the_venue_that_the_journal_does_not_have_is_cancelled() -> None:
    scenario = Scenario()
    order = port.OpenOrder(
        "alpha-stranger-1", "v9", GBP, Side.SELL, Decimal(1000), Decimal("1.2"), Decimal(0), OrdStatus.NEW
    )

    done = scenario.do(commands.VenueConnected(port.VenueSnapshot((order,))))

    (cancel,) = [effect.cancel for effect in done if isinstance(effect, effects.SendCancel)]
    assert (cancel.orig_cl_ord_id, cancel.order_id, cancel.instrument, cancel.side) == (
        "alpha-stranger-1",
        "v9",
        GBP,
        Side.SELL,
    )


@pytest.mark.parametrize(("told", "halts"), [({EUR: Decimal(4000)}, False), ({EUR: Decimal(3000)}, True), ({}, True)])
def test_positions_that_the_venue_tells_must_be_those_of_the_journal(
    told: dict[InstrumentId, Decimal], halts: bool
) -> None:
    scenario = _filled()
    order = port.OpenOrder(
        cl_ord_id(1), "v1", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(4000), OrdStatus.PARTIALLY_FILLED
    )

    done = scenario.do(commands.VenueConnected(port.VenueSnapshot((order,), positions=told)))

    assert ("halt_changed" in kinds(done)) is halts


def test_a_venue_need_not_report_a_position_that_is_closed() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1, "10000", "e1")
    scenario.order(2, side=Side.SELL)
    scenario.executed(2, "10000", "e2", side=Side.SELL)

    assert kinds(scenario.do(commands.VenueConnected(port.VenueSnapshot(positions={})))) == []


def test_a_quote_that_a_new_session_repeats_marks_again_and_is_not_published_again() -> None:
    scenario = Scenario()
    scenario.now += 1
    again = scenario.venue(port.QuoteChanged(1, book(EUR, "1.2", "1.3")))
    again += scenario.venue(port.QuoteChanged(2, book(EUR, "1.2", "1.3")))
    later = scenario.venue(port.QuoteChanged(3, book(EUR, "1.2", "1.3")))

    assert not any(isinstance(effect, effects.Publish) for effect in again)
    assert scenario.state.live.marks[EUR].received_ns == scenario.now
    assert any(isinstance(effect, effects.Publish) for effect in later)


def test_what_is_remembered_is_bounded() -> None:
    settings = Settings("cl-research", VENUE, "pod-1", INSTRUMENTS, orders_per_second=100_000, order_burst=100_000)
    scenario = Scenario(settings)
    for number in range(1, 3 * ENDED_KEPT):
        scenario.order(number)
        scenario.executed(number, "10000", f"e{number}")

    books = scenario.books
    assert len(books.ended) == len(books._by_id) == ENDED_KEPT
    assert not books.open
    assert scenario.position() == (3 * ENDED_KEPT - 1) * 10_000


def test_a_snapshot_and_its_tail_are_the_whole_journal() -> None:
    scenario = _filled()
    middle = len(scenario.events)
    snapshot = Books.to_message(scenario.books)
    scenario.replace(1, 2)
    scenario.executed(1, "1000", "e2")
    scenario.order(3)

    tail = recover(VENUE, snapshot, scenario.events[middle:])

    assert tail.to_message() == recover(VENUE, None, scenario.events).to_message() == scenario.books.to_message()


def test_an_execution_under_the_replacements_cl_ord_id_says_that_it_took_place() -> None:
    """Found by the simulation: the order filled under the new ClOrdID, which the books then forgot, so that the bust of
    that execution was booked to nobody."""
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.replace(1, 2, "4000")

    done = scenario.executed(2, "4000", "e1")
    bust = port.Busted(cl_ord_id(2), "b1", "e1", EUR, Side.BUY, Decimal(4000), Decimal("1.1"), Decimal(0), scenario.now)

    assert kinds(done) == ["order_replaced", "< REPLACED", "order_executed", "< TRADE"]
    assert scenario.events[-2].order_replaced.transact_unix_ns == scenario.now
    assert scenario.books.ended[cl_ord_id(1)].status is OrdStatus.FILLED
    assert kinds(scenario.venue(bust)) == ["execution_busted", "< TRADE_CANCEL"]
    assert scenario.position() == 0


def test_the_end_under_the_replacements_cl_ord_id_says_that_it_took_place() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.replace(1, 2, "20000")

    done = scenario.ended(2)

    assert kinds(done) == ["order_replaced", "< REPLACED", "order_ended", "< CANCELED"]
    assert scenario.events[-2].order_replaced.transact_unix_ns == scenario.now
    assert scenario.books.ended[cl_ord_id(1)].cl_ord_id == cl_ord_id(2)


def test_an_order_that_is_over_at_the_venue_ends_though_executions_are_missing() -> None:
    """Found by the simulation: the gateway cancelled the order every second without end, and journaled each time."""
    scenario = _filled()
    answer = port.OrderState(
        cl_ord_id(1), cl_ord_id(1), "v1", OrdStatus.FILLED, Decimal(10_000), None, Decimal(10_000), scenario.now
    )

    assert "halt_changed" in kinds(scenario.venue(answer))
    assert not scenario.books.open
    assert scenario.books.exposure(("alpha", EUR)).open_buy == 0
    before = len(scenario.events)
    for _ in range(5):
        scenario.later(10)
    assert len(scenario.events) == before
    assert kinds(scenario.executed(1, "6000", "late"))[0] == "order_executed"


def test_a_refused_cancel_does_not_end_an_order_whose_replacement_may_be_in_force() -> None:
    """Found by the simulation: the order was taken for filled and its exposure released, while the venue may already
    work the larger quantity."""
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.replace(1, 2, "20000")
    scenario.executed(1, "10000", "e1")
    scenario.cancel(1, 3)

    scenario.venue(port.RequestRejected(cl_ord_id(3), cl_ord_id(1), "VenueSaysNo", "no", False, scenario.now))

    assert scenario.books.exposure(("alpha", EUR)).open_buy == 10_000
    scenario.venue(port.Replaced(cl_ord_id(2), cl_ord_id(1), "v1", scenario.now))
    assert scenario.books.open[cl_ord_id(1)].leaves == 10_000


def test_an_order_that_works_at_the_venue_though_it_ended_in_the_books_is_cancelled() -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.venue(port.OrderState(cl_ord_id(1), cl_ord_id(1), "", None, Decimal(0), None, Decimal(0), scenario.now))
    order = port.OpenOrder(
        cl_ord_id(1), "v1", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(0), OrdStatus.NEW
    )

    done = scenario.do(commands.VenueConnected(port.VenueSnapshot((order,))))

    assert kinds(done) == ["> urgent cancel"]


def test_the_bust_of_an_execution_whose_report_was_lost_books_both() -> None:
    """Found by the simulation: the bust alone was booked, to nobody's account, and left a position that nobody has."""
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)

    done = scenario.venue(_bust(scenario))

    assert kinds(done) == ["order_executed", "< TRADE", "execution_busted", "< TRADE_CANCEL"]
    assert scenario.events[-2].order_executed.transact_unix_ns == scenario.now
    assert scenario.position() == 0
    assert scenario.books.exposure(("", EUR)).position == 0
    assert scenario.books.exposure(("alpha", EUR)).open_buy == 6_000
    assert kinds(scenario.executed(1, "4000", "e1")) == []


def test_the_bust_of_something_else_than_the_order_executed_is_booked_to_nobody() -> None:
    scenario = _filled()
    bust = replace(_bust(scenario), instrument=GBP)

    done = scenario.venue(replace(bust, exec_ref_id="e2"))

    assert kinds(done)[:2] == ["execution_busted", "halt_changed"]
    assert scenario.books.exposure(("", GBP)).position == -4000
    assert scenario.position() == 4000


def test_a_trade_of_others_is_published_and_says_that_the_feed_is_alive() -> None:
    scenario = Scenario()
    scenario.now += SECOND
    trade = port.TradePrinted(3, EUR, Decimal("1.1"), Decimal(1000), Side.BUY, scenario.now)

    assert scenario.venue(trade) == [effects.Publish(trade)]
    assert scenario.state.live.feed_alive_ns == scenario.now


def test_the_events_of_the_journal_are_counted() -> None:
    scenario = _filled()
    assert scenario.state.live.sequence == len(scenario.events)
    later = Scenario(books=recover(VENUE, None, scenario.events), ready=False)
    assert (later.state.live.start_sequence, later.state.live.sequence) == (0, 1)
    started = GatewayState.start(later.settings, later.books, 100).live
    assert (started.start_sequence, started.sequence) == (100, 101)


def test_an_answer_that_is_older_than_a_request_does_not_settle_it() -> None:
    """Found by the simulation: a repeated answer made the gateway take a replacement for lost that was on its way; the
    venue then worked an order that the books had with other terms."""
    scenario = Scenario()
    scenario.order(1)
    scenario.later(10)
    answer = port.OrderState(
        cl_ord_id(1), cl_ord_id(1), "v1", OrdStatus.NEW, Decimal(10_000), None, Decimal(0), scenario.now
    )
    scenario.venue(answer)
    scenario.now += SECOND
    scenario.replace(1, 2, "20000")

    assert kinds(scenario.venue(answer)) == []
    assert kinds(scenario.venue(port.Replaced(cl_ord_id(2), cl_ord_id(1), "v1", scenario.now))) == [
        "order_replaced",
        "< REPLACED",
    ]


def test_a_snapshot_that_may_be_older_than_a_request_asks_what_became_of_it() -> None:
    """Found by the simulation: with a slow journal a request leaves with a session whose snapshot does not know it."""
    scenario = Scenario()
    scenario.order(1)
    scenario.accepted(1)
    scenario.replace(1, 2, "20000")
    order = port.OpenOrder(
        cl_ord_id(1), "v1", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(0), OrdStatus.NEW
    )

    done = scenario.do(commands.VenueConnected(port.VenueSnapshot((order,))))

    assert kinds(done) == ["order_unknown", "< ORDER_STATUS RequestPending", "> query"]
    assert scenario.books.exposure(("alpha", EUR)).open_buy == 20_000
    replaced = port.OpenOrder(
        cl_ord_id(2), "v1", EUR, Side.BUY, Decimal(20_000), Decimal("1.09"), Decimal(0), OrdStatus.NEW
    )
    done = scenario.do(commands.VenueConnected(port.VenueSnapshot((replaced,))))
    assert kinds(done) == ["order_replaced", "< REPLACED"]
