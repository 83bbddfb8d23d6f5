"""Flatten: through limits, dust, several instruments and quiet markets, and with a name for what is left."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import Channel
from crowetrade_agents.control.state import VENUE_DELETED
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import commands, effects, kill_progress
from crowetrade_agents.gateway.books import SUSPENSE
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.gateway.status import gateway_status, is_stopped
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
    terms,
)

FLATTEN = {"alpha": TradingState.FLATTEN, "beta": TradingState.ACTIVE}


def _holding(quantity: str = "50000", instrument: InstrumentId = EUR, *, quoted: bool = True) -> Scenario:
    scenario = Scenario(ready=False)
    scenario.do(commands.Configure(configuration()))
    scenario.do(commands.VenueConnected(port.VenueSnapshot()))
    for session, strategy in enumerate(("alpha", "beta"), start=1):
        scenario.do(commands.Logon(strategy, session))
    scenario.venue(port.QuoteChanged(1, book(instrument)))
    _hold(scenario, quantity, instrument, 1)
    if not quoted:
        scenario.state.live.marks.clear()
    return scenario


def _hold(scenario: Scenario, quantity: str, instrument: InstrumentId, number: int) -> None:
    amount = Decimal(quantity)
    side = Side.BUY if amount > 0 else Side.SELL
    scenario.order(terms(number, instrument=instrument, side=side, quantity=Decimal(1_000_000)))
    scenario.executed(number, str(abs(amount)), f"open-{number}", instrument=instrument, side=side)
    scenario.ended(number)


def _flatten(scenario: Scenario, *rules: object, **more: object) -> list[effects.Effect]:
    return scenario.do(commands.Configure(configuration(FLATTEN, *rules, revision="r2", **more)))  # type: ignore[arg-type]


def _sent(done: list[effects.Effect]) -> list[tuple[str, str, Decimal]]:
    """Symbol, side and quantity of the orders that left."""
    orders = [effect.order.terms for effect in done if isinstance(effect, effects.SendOrder)]
    assert all(item.closing and item.price is None for item in orders)
    return [(item.instrument.symbol, item.side.value, item.quantity) for item in orders]


def _fill(scenario: Scenario, quantity: str | None = None) -> list[effects.Effect]:
    """The venue executes the closing order that is open, or some of it, and ends it."""
    (order,) = [order for order in scenario.books.open.values() if order.terms.closing]
    amount = Decimal(quantity) if quantity is not None else order.terms.quantity
    done: list[effects.Effect] = []
    if amount:
        made = order.terms
        exec_id = f"close-{made.cl_ord_id}"
        event = port.Executed(
            made.cl_ord_id, "v", exec_id, made.instrument, made.side, amount, Decimal("1.1"), Decimal(0), scenario.now
        )
        done += scenario.venue(event)
    if order.is_open:
        end = port.Ended(order.cl_ord_id, "v", OrdStatus.CANCELED, "ImmediateRemainder", "", scenario.now)
        done += scenario.venue(end)
    return done


def _account(scenario: Scenario, strategy: str = "alpha") -> status_pb2.StrategyAccount:
    status = gateway_status(scenario.state, 0, 0, (), scenario.now)
    return next(account for account in status.accounts if account.strategy == strategy)


def _remaining(scenario: Scenario) -> list[tuple[str, str, str, bool]]:
    return [(item.instrument.symbol, item.quantity, item.reason, item.final) for item in _account(scenario).remaining]


@pytest.mark.parametrize(("held", "side"), [("50000", "Sell"), ("-50000", "Buy")])
def test_a_position_is_closed_at_once_and_the_strategy_is_then_stopped(held: str, side: str) -> None:
    scenario = _holding(held)

    assert _sent(_flatten(scenario)) == [("EUR-USD", side, Decimal(50_000))]
    assert not is_stopped(scenario.state, "alpha")
    _fill(scenario)

    assert is_stopped(scenario.state, "alpha")
    assert _remaining(scenario) == []
    assert not scenario.state.live.closing


def test_nothing_is_pursued_for_who_is_not_flattened() -> None:
    scenario = _holding()
    scenario.order(2)
    scenario.ended(2)

    assert not scenario.state.live.closing


def test_the_venues_own_rate_is_waited_for() -> None:
    settings = Settings("cl-research", VENUE, "pod-1", INSTRUMENTS, orders_per_second=1, order_burst=1)
    scenario = Scenario(settings)
    _hold(scenario, "50000", EUR, 1)

    assert _sent(_flatten(scenario)) == []
    (left,) = _account(scenario).remaining
    assert (left.reason, left.text, left.final) == (
        "VenueRateLimit",
        "the venue's ordersPerSecond is reached",
        False,
    )
    assert _sent(scenario.later(1)) == [("EUR-USD", "Sell", Decimal(50_000))]
    (left,) = _account(scenario).remaining
    assert (left.reason, left.text) == ("OrderPending", "an order that closes 50000 is under way")


def test_a_strategy_that_sends_without_end_does_not_keep_its_position_open() -> None:
    """What is refused counts against its rate, too."""
    scenario = _holding()
    limits = rule(maxOrderRate="2/86400", maxOrderQuantity="1000000")
    scenario.do(commands.Configure(configuration(None, limits, revision="r1")))
    for number in range(10, 14):
        scenario.order(terms(number, quantity=Decimal(2_000_000)))
    assert kinds(scenario.order(terms(14, quantity=Decimal(1_000)))) == ["< REJECTED MaxOrderRate"]

    assert _sent(_flatten(scenario, limits)) == [("EUR-USD", "Sell", Decimal(50_000))]
    scenario.order(terms(15, quantity=Decimal(1_000)))
    assert _sent(_fill(scenario, "20000")) == [("EUR-USD", "Sell", Decimal(30_000))]


def test_what_the_venue_says_of_a_closing_order_that_found_nobody_is_repeated() -> None:
    scenario = _holding()
    _flatten(scenario)
    (order,) = scenario.books.open.values()
    scenario.venue(port.Ended(order.cl_ord_id, "v", OrdStatus.CANCELED, "", "", scenario.now))
    (left,) = _account(scenario).remaining
    assert (left.reason, left.text) == ("NotFilled", "the venue had nothing to trade with")

    scenario.later(1)
    (order,) = scenario.books.open.values()
    scenario.venue(port.Ended(order.cl_ord_id, "v", OrdStatus.CANCELED, "Auction", "only limit orders", scenario.now))
    (left,) = _account(scenario).remaining
    assert (left.reason, left.text) == ("Auction", "only limit orders")


def test_after_a_part_was_closed_the_next_try_follows_at_once() -> None:
    scenario = _holding()
    _flatten(scenario)
    for _ in range(3):
        _fill(scenario, "0")
        scenario.later(5)
    assert _sent(_fill(scenario, "10000")) == [("EUR-USD", "Sell", Decimal(40_000))]
    _fill(scenario, "0")

    assert _sent(scenario.later(1)) == [("EUR-USD", "Sell", Decimal(40_000))]


def test_open_orders_are_cancelled_before_anything_is_closed() -> None:
    scenario = _holding()
    scenario.order(2)
    scenario.accepted(2)

    done = _flatten(scenario)
    assert "> urgent cancel" in kinds(done)
    assert _sent(done) == []
    assert _remaining(scenario) == [("EUR-USD", "50000", "OrderPending", False)]
    assert _account(scenario).remaining[0].text == "an order of the strategy is not over yet"

    assert _sent(scenario.ended(2)) == [("EUR-USD", "Sell", Decimal(50_000))]


def test_it_is_sliced_to_the_limits_on_one_order_and_no_position_limit_stops_it() -> None:
    """Finding G7: a Total limit stopped a Flatten, and maxOrderQuantity made one refused order per quote."""
    scenario = _holding()
    limits = rule(maxOrderQuantity="20000", maxOrderNotional="16000", maxPositionQuantity="1000")

    sent = _sent(_flatten(scenario, limits))
    while scenario.position():
        sent += _sent(_fill(scenario))

    # 16,000 / 1.1 is 14,545: fourteen whole lots.
    assert [quantity for _, _, quantity in sent] == [14_000, 14_000, 14_000, 8_000]


def test_a_limit_below_one_lot_is_named_and_nothing_is_tried_in_vain() -> None:
    scenario = _holding()

    done = _flatten(scenario, rule(maxOrderQuantity="500"))

    assert _sent(done) == []
    assert _remaining(scenario) == [("EUR-USD", "50000", "MaxOrderQuantity", False)]


@pytest.mark.parametrize(("held", "side"), [("0.5", "Sell"), ("-0.5", "Buy")])
def test_less_than_one_unit_is_closed_where_the_venue_trades_it(held: str, side: str) -> None:
    listed = replace(INSTRUMENTS[EUR], lot_size=Decimal("0.1"), min_quantity=Decimal("0.1"))
    scenario = Scenario(Settings("cl-research", VENUE, "pod-1", {**INSTRUMENTS, EUR: listed}))
    _hold(scenario, held, EUR, 1)

    assert _sent(_flatten(scenario)) == [("EUR-USD", side, Decimal("0.5"))]


def test_what_a_limit_stops_is_tried_again_by_time() -> None:
    scenario = _holding()
    _flatten(scenario, rule(maxOrderNotional="1050"))  # a lot is worth 1,100
    assert _remaining(scenario) == [("EUR-USD", "50000", "MaxOrderNotional", False)]
    assert _sent(scenario.venue(port.QuoteChanged(2, book(EUR, "1.0", "1.0001")))) == []

    assert _sent(scenario.later(1)) == [("EUR-USD", "Sell", Decimal(1000))]


def test_what_others_hold_does_not_hide_what_remains() -> None:
    scenario = _holding()
    scenario.order(1, strategy="beta", quantity=Decimal(2000))
    scenario.executed(1, "2000", "of-beta", cl_ord_id=cl_ord_id(1, "beta"))
    bindings = {"alpha": TradingState.ACTIVE, "beta": TradingState.FLATTEN}
    scenario.do(commands.Configure(configuration(bindings, rule(maxOrderQuantity="500"), revision="r2")))

    (left,) = _account(scenario, "beta").remaining
    assert (left.quantity, left.reason) == ("2000", "MaxOrderQuantity")


def test_as_much_as_one_order_must_have_is_not_dust() -> None:
    scenario = _holding("1000")
    _flatten(scenario, rule(maxOrderQuantity="500"))

    assert _remaining(scenario) == [("EUR-USD", "1000", "MaxOrderQuantity", False)]


def test_dust_is_named_and_counts_as_done() -> None:
    scenario = _holding("50400")

    _flatten(scenario)
    _fill(scenario)

    assert scenario.position() == 400
    assert _remaining(scenario) == [("EUR-USD", "400", "InvalidQuantity", True)]
    assert "400" in _account(scenario).remaining[0].text
    assert is_stopped(scenario.state, "alpha")


def test_several_instruments_are_closed_side_by_side() -> None:
    scenario = _holding()
    scenario.venue(port.QuoteChanged(2, book(GBP)))
    _hold(scenario, "-30000", GBP, 2)

    assert _sent(_flatten(scenario)) == [("EUR-USD", "Sell", Decimal(50_000)), ("GBP-USD", "Buy", Decimal(30_000))]


def test_a_quiet_market_does_not_stop_it() -> None:
    """The quote is an hour old and nothing comes: the last one is what there is."""
    scenario = _holding()
    scenario.now += 3600 * SECOND

    assert _sent(_flatten(scenario)) == [("EUR-USD", "Sell", Decimal(50_000))]


def test_without_any_quote_it_waits_for_the_first_and_says_so() -> None:
    scenario = _holding(quoted=False)

    assert _sent(_flatten(scenario)) == []
    assert _remaining(scenario) == [("EUR-USD", "50000", "MissingMarketData", False)]
    assert _sent(scenario.venue(port.QuoteChanged(2, book()))) == [("EUR-USD", "Sell", Decimal(50_000))]


def test_an_order_that_closed_nothing_is_tried_again_by_time_and_more_and_more_rarely() -> None:
    """Finding G7: 1,302 orders in 70 s, one per quote, each journaled."""
    scenario = _holding()
    _flatten(scenario)
    journaled = len(scenario.events)
    for sequence in range(2, 10):
        _empty(scenario)
        for _ in range(100):
            assert scenario.venue(port.QuoteChanged(sequence, book()))[:-1] == []
        assert _remaining(scenario)[0][2] == "ImmediateRemainder"
        scenario.later(61)

    tries = sum(event.HasField("order_submitted") for event in scenario.events[journaled:])
    assert tries == 8
    assert len(scenario.events) - journaled < 8 * 4


def _empty(scenario: Scenario) -> None:
    if any(order.terms.closing for order in scenario.books.open.values()):
        _fill(scenario, "0")


def test_the_first_tries_follow_soon() -> None:
    scenario = _holding()
    _flatten(scenario)
    waits = []
    for _ in range(7):
        _fill(scenario, "0")
        start = scenario.now
        while not _sent(scenario.later(0.5)):
            pass
        waits.append((scenario.now - start) // SECOND)

    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_a_venue_that_is_suspended_keeps_the_position_and_says_so() -> None:
    scenario = _holding()

    assert _sent(_flatten(scenario, halted_reason="VenueSuspended", halted_message="spec.suspend is true")) == []

    assert _remaining(scenario) == [("EUR-USD", "50000", "VenueHalted", False)]
    assert not is_stopped(scenario.state, "alpha")


def test_a_venue_that_is_deleted_together_with_its_strategies_closes_first() -> None:
    scenario = _holding()

    assert _sent(_flatten(scenario, halted_reason=VENUE_DELETED)) == [("EUR-USD", "Sell", Decimal(50_000))]
    assert kinds(scenario.order(9, strategy="beta"))[0] == "< REJECTED VenueHalted"


@pytest.mark.parametrize(
    ("mode", "closes"),
    [
        (kill_pb2.KILL_MODE_CLOSE_ONLY, True),
        (kill_pb2.KILL_MODE_BLOCK, False),
        (kill_pb2.KILL_MODE_CANCEL, False),
    ],
)
def test_what_a_deleted_venue_would_close_waits_while_a_kill_order_wants_nothing_sent(mode: int, closes: bool) -> None:
    scenario = _holding()
    order = kill_pb2.KillOrder(namespace="trading", name="stop", mode=mode)  # type: ignore[arg-type]
    scenario.do(commands.Kill(order, Channel.RPC))

    assert bool(_sent(_flatten(scenario, halted_reason=VENUE_DELETED))) is closes


def _killed(scenario: Scenario, mode: kill_pb2.KillMode.ValueType = kill_pb2.KILL_MODE_FLATTEN) -> None:
    scope = kill_pb2.KillScope(namespaces_from="All")
    scenario.do(commands.Kill(kill_pb2.KillOrder(namespace="desk", name="stop", mode=mode, scope=scope), Channel.RPC))


def _said(scenario: Scenario) -> tuple[list[tuple[str, str, str, str]], int, bool]:
    """Positions that a kill order has not closed, how many, and whether it says that it has halted."""
    found = kill_progress.acknowledgement(scenario.state, ("desk", "stop"))
    held = [(item.strategy, item.symbol, item.quantity, item.reason) for item in found.positions]
    assert all(item.text for item in found.positions)
    return held, found.positions_count, found.halted_unix_ns == scenario.now


def test_a_flatten_has_halted_when_nothing_is_held_any_more() -> None:
    scenario = _holding()
    _killed(scenario)
    assert _said(scenario) == ([("alpha", "EUR-USD", "50000", "OrderPending")], 1, False)
    _fill(scenario)
    assert scenario.position() == 0
    assert _said(scenario) == ([], 0, True)


def test_a_flatten_that_leaves_dust_has_not_halted() -> None:
    scenario = _holding("50400")
    _killed(scenario)
    _fill(scenario)
    assert _said(scenario) == ([("alpha", "EUR-USD", "400", "InvalidQuantity")], 1, False)


def test_a_flatten_says_what_nobody_who_is_bound_holds() -> None:
    """Nobody closes it: to what it belongs, no configuration says."""
    scenario = _holding()
    scenario.do(commands.Configure(configuration({"beta": TradingState.ACTIVE}, revision="r2")))
    _killed(scenario)
    assert _said(scenario) == ([("alpha", "EUR-USD", "50000", "UnknownStrategy")], 1, False)


def test_a_cancel_does_not_wait_for_positions() -> None:
    scenario = _holding()
    _killed(scenario, kill_pb2.KILL_MODE_CANCEL)
    assert _said(scenario) == ([], 0, True)


def test_a_flatten_whose_position_comes_back_has_not_halted() -> None:
    scenario = _holding()
    _killed(scenario)
    _fill(scenario)
    scenario.executed(1, "3000", "late")
    assert _said(scenario)[1:] == (1, False)


def test_a_flatten_of_everybody_says_what_belongs_to_nobody() -> None:
    scenario = _holding("0")
    scenario.executed(99, "2000", exec_id="foreign")
    _killed(scenario)
    assert _said(scenario) == ([(SUSPENSE, "EUR-USD", "2000", "VenueHalted")], 1, False)


def test_a_gateway_that_leaves_goes_on_closing() -> None:
    scenario = _holding()
    scenario.do(commands.Leave())

    assert _sent(_flatten(scenario)) == [("EUR-USD", "Sell", Decimal(50_000))]


def test_a_strategy_that_trades_again_is_not_closed_any_further() -> None:
    scenario = _holding()
    _flatten(scenario, rule(maxOrderQuantity="20000"))

    done = scenario.do(commands.Configure(configuration(revision="r3")))

    assert "> urgent cancel" in kinds(done)
    assert _sent(_fill(scenario, "20000")) == []
    assert scenario.position() == 30_000
    assert not scenario.state.live.closing


def test_a_closing_order_goes_on_when_the_configuration_changes() -> None:
    scenario = _holding()
    _flatten(scenario)

    assert kinds(scenario.do(commands.Configure(configuration(FLATTEN, revision="r3")))) == ["configuration_applied"]


def test_a_new_configuration_is_a_try_and_does_not_make_the_next_one_come_sooner() -> None:
    scenario = _holding()
    _flatten(scenario)
    for seconds in (1, 2, 4):
        _fill(scenario, "0")
        scenario.later(seconds)
    _fill(scenario, "0")

    assert _sent(scenario.do(commands.Configure(configuration(FLATTEN, revision="r3")))) != []
    _fill(scenario, "0")
    assert [_sent(scenario.later(seconds)) != [] for seconds in (8, 7.9, 0.2)] == [False, False, True]


def test_closing_orders_of_a_silent_strategy_are_not_cancelled() -> None:
    scenario = _holding()
    scenario.do(commands.SessionLost("alpha", 1))
    _flatten(scenario)

    assert "> urgent cancel" not in kinds(scenario.later(6))
