"""Breaches: found, latched, what they stop, how they are cleared, and what a restart knows of them."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.orders import OrdStatus, OrdType, Side, TimeInForce
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import commands, effects
from crowetrade_agents.gateway.books import recover
from crowetrade_agents.gateway.engine import next_timer_ns
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.gateway.status import gateway_status
from crowetrade_agents.risk.standing import problem_of
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.breaches import CAPITAL, Desk, loss_rule
from crowetrade_agents_tests.gateway.scenario import (
    EUR,
    GBP,
    INSTRUMENTS,
    SECOND,
    START,
    VENUE,
    book,
    cl_ord_id,
    kinds,
)

DAILY = {"maxDailyLoss": "100"}
LOSSES = [DAILY, {"maxDrawdown": "0.001"}, {"maxLossPerMinute": "0.001"}]


def _losing(limits: dict[str, str], **changes: Any) -> Desk:
    """Alpha holds 10,000 bought at 1.1, so that each cent is worth 100 USD."""
    desk = Desk()
    desk.put(loss_rule(limits, **changes))
    desk.trade(1, 10_000)
    assert desk.latched == []
    return desk


# --- Losses ----------------------------------------------------------------------------------------------------------

MIDS: dict[str, tuple[dict[str, str], list[str], str]] = {
    "under the daily loss": (DAILY, ["1.0901"], ""),
    "at the daily loss": (DAILY, ["1.09"], ""),
    "over the daily loss": (DAILY, ["1.09", "1.08999"], "maxDailyLoss/alpha"),
    "a gain is no loss": (DAILY, ["1.2", "1.1"], ""),
    "a day's loss is no fall from the day's high": (DAILY, ["1.2", "1.0901"], ""),
    "at the drawdown, 1 percent of 100,000": ({"maxDrawdown": "0.01"}, ["1.15", "1.05"], ""),
    "over the drawdown": ({"maxDrawdown": "0.01"}, ["1.15", "1.0499"], "maxDrawdown/alpha"),
    "over the drawdown from where it began": ({"maxDrawdown": "0.01"}, ["0.9999"], "maxDrawdown/alpha"),
    "at the loss of a minute": ({"maxLossPerMinute": "0.01"}, ["1.15", "1.05"], ""),
    "over the loss of a minute": ({"maxLossPerMinute": "0.01"}, ["1.15", "1.0499"], "maxLossPerMinute/alpha"),
}


@pytest.mark.parametrize("what", MIDS)
@pytest.mark.parametrize("seconds", [0, 1.5], ids=["at once", "over seconds"])
def test_losses(what: str, seconds: float) -> None:
    limits, mids, expected = MIDS[what]
    desk = _losing(limits)
    for mid in mids:
        desk.quote(mid)
        if seconds:
            desk.later(seconds)
    assert [name.partition("@")[0] for name in desk.latched] == ([expected] if expected else [])


def test_a_breach_names_what_was_measured_and_its_place_in_the_journal() -> None:
    desk = _losing(DAILY)
    desk.now += 7
    desk.quote("1.08")
    (name,) = desk.latched
    (sequence,) = (
        number for number, event in enumerate(desk.events, start=1) if event.WhichOneof("event") == "breach_changed"
    )
    assert name == f"maxDailyLoss/alpha@{VENUE}-{sequence}"
    body = desk.breach("maxDailyLoss/alpha")
    assert body == journal_pb2.BreachChanged(
        breach=name,
        risk_limit="loss",
        uid="uid-loss",
        limit="maxDailyLoss",
        subject="alpha",
        action="Block",
        text="200 USD lost since the trading day began, more than maxDailyLoss of loss admits, 100",
        enforced=True,
        strategies=["alpha"],
        since_unix_ns=START + 7,
    )
    (said,) = (item for item in desk.last if isinstance(item, effects.Tell))
    assert (said.level, said.event, dict(said.fields)["breach"]) == ("error", "limit_breached", name)
    assert effects.Count("BREACHES", ("loss", "maxDailyLoss", "Block")) in desk.last
    (told,) = gateway_status(desk.state, 0, 0, (), desk.now).breaches
    assert (told.breach, told.since_unix_ns, told.action, told.enforced) == (name, START + 7, "Block", True)


def test_fees_and_realised_losses_count() -> None:
    desk = Desk()
    desk.put(loss_rule(DAILY))
    desk.quote("1.1")
    desk.order(1)
    desk.accepted(1)
    desk.executed(1, "10000", fee=Decimal("100.01"))
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/alpha"]


def test_a_charge_counts() -> None:
    desk = _losing(DAILY)
    charge = port.Charged("c1", port.ChargeKind.FUNDING, EUR, Decimal(10_000), Decimal("1.1"), Decimal(101), START)
    desk.venue(charge)
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/alpha"]


def test_an_execution_that_is_taken_back_takes_its_loss_along() -> None:
    desk = _losing(DAILY)
    desk.quote("1.0905")
    desk.order(2, side=Side.SELL, quantity=Decimal(10_000), price=Decimal("1.0905"))
    desk.executed(2, "10000", "e2", "1.0905", side=Side.SELL)
    desk.venue(
        port.Busted(cl_ord_id(2), "b2", "e2", EUR, Side.SELL, Decimal(10_000), Decimal("1.0905"), Decimal(0), START)
    )
    desk.quote("1.0899")
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/alpha"]


def test_of_strategies_that_are_counted_together_all_are_stopped() -> None:
    desk = Desk()
    desk.put(loss_rule(DAILY, aggregate_total=True))
    desk.trade(1, 6_000)
    desk.trade(1, 6_000, strategy="beta")
    desk.quote("1.092")
    assert desk.latched == []
    desk.quote("1.0916")
    assert desk.breach("maxDailyLoss/-").strategies == ["alpha", "beta"]
    assert (desk.state_of("alpha"), desk.state_of("beta")) == (TradingState.BLOCKED, TradingState.BLOCKED)


def test_symbols_of_a_rule_are_all_that_it_counts() -> None:
    desk = Desk()
    only_gbp = loss_rule(DAILY)
    only_gbp.symbols.append(GBP.symbol)
    desk.put(only_gbp)
    desk.trade(1, 100_000)
    desk.quote("1.0")
    assert desk.latched == []


def test_the_loss_of_a_minute_is_forgotten_after_a_minute() -> None:
    desk = _losing({"maxLossPerMinute": "0.01"})
    for step in range(1, 200):
        desk.quote(str(Decimal("1.1") - Decimal("0.0016") * step))
        desk.later(1)
    assert desk.latched == []  # 16 USD each second are 960 in a minute
    desk.quote("0.70")
    assert len(desk.latched) == 1


@pytest.mark.parametrize("snapshot", [False, True])
def test_a_start_knows_no_minute_until_one_is_over(snapshot: bool) -> None:
    """Within a minute 600 of 1,000 were lost, and 600 more after the start: no breach, and nothing left meanwhile."""
    desk = _losing({"maxLossPerMinute": "0.01"})
    desk.quote("1.04")
    assert desk.latched == []
    books = desk.books.to_message() if snapshot else None
    restarted = Desk(books=recover(VENUE, books, () if snapshot else desk.events), ready=False)
    restarted.now = desk.now
    restarted.do(commands.Logon("alpha", 1))
    restarted.put(loss_rule({"maxLossPerMinute": "0.01"}))
    restarted.do(commands.VenueConnected(port.VenueSnapshot()))
    restarted.quote("1.04")
    restarted.quote("0.98")

    assert "< REJECTED MissingMark" in kinds(restarted.order(11))
    text = restarted.state.live.refused["alpha"].events("alpha")[-1].text
    assert text.startswith("profit and loss of the minute before this gateway started is not known until ")
    assert "> order" in kinds(restarted.order(12, side=Side.SELL, price=Decimal("0.98")))
    restarted.later(58)
    restarted.quote("0.98")
    assert kinds(restarted.order(13))[-1] == "< REJECTED MissingMark"
    restarted.later(2.1)
    restarted.quote("0.98")
    assert "> order" in kinds(restarted.order(14))
    assert restarted.latched == []


def test_what_is_lost_since_a_start_is_a_breach_at_once() -> None:
    desk = _losing({"maxLossPerMinute": "0.01"})
    restarted = Desk(books=desk.folded(), ready=False)
    restarted.put(loss_rule({"maxLossPerMinute": "0.01"}))
    restarted.do(commands.VenueConnected(port.VenueSnapshot()))
    restarted.quote("1.1")
    restarted.quote("0.99")

    assert len(restarted.latched) == 1


def test_whoever_is_bound_for_the_first_time_has_no_minute_before() -> None:
    restarted = Desk(books=_losing({"maxDrawdown": "0.9"}).folded(), ready=False)
    restarted.do(commands.Logon("alpha", 1))
    restarted.put(loss_rule({"maxLossPerMinute": "0.01"}, "new"))
    restarted.do(commands.VenueConnected(port.VenueSnapshot()))
    restarted.quote("1.1")

    assert "> order" in kinds(restarted.order(11))


def test_a_minute_whose_breach_a_person_has_cleared_begins_then() -> None:
    desk = _losing({"maxLossPerMinute": "0.01"})
    desk.quote("0.98")
    (breach,) = desk.latched
    restarted = Desk(books=desk.folded(), ready=False)
    restarted.do(commands.Logon("alpha", 1))
    restarted.do(commands.VenueConnected(port.VenueSnapshot()))
    restarted.quote("0.98")
    restarted.put(loss_rule({"maxLossPerMinute": "0.01"}), cleared_breaches={("loss", breach): "looked at"})

    assert restarted.latched == []
    assert "> order" in kinds(restarted.order(11))


def test_a_value_that_stood_still_was_there_all_the_time() -> None:
    desk = _losing({"maxLossPerMinute": "0.01"})
    desk.later(600)
    desk.quote("0.9999")
    assert len(desk.latched) == 1


# --- What is not known -----------------------------------------------------------------------------------------------


def _reducing(desk: Desk, number: int) -> list[str]:
    return kinds(
        desk.order(
            number,
            side=Side.SELL,
            quantity=Decimal(1_000),
            ord_type=OrdType.MARKET,
            price=None,
            time_in_force=TimeInForce.IOC,
        )
    )


@pytest.mark.parametrize("limits", LOSSES, ids=lambda limits: next(iter(limits)))
def test_without_a_mark_only_orders_that_reduce_leave(limits: dict[str, str]) -> None:
    desk = _losing(limits)
    restarted = Desk(books=recover(VENUE, None, desk.events), ready=False)
    restarted.put(loss_rule(limits))
    restarted.do(commands.VenueConnected(port.VenueSnapshot()))
    restarted.do(commands.Logon("alpha", 1))
    restarted.quote("1.3", GBP)
    assert kinds(restarted.order(11, instrument=GBP))[-1] == "< REJECTED MissingMark"
    restarted.later(60)
    restarted.quote("1.3", GBP)
    restarted.quote("1.1")
    assert kinds(restarted.order(12, instrument=GBP))[0] == "order_submitted"
    assert _reducing(restarted, 13)[0] == "order_submitted"
    assert restarted.latched == []


def test_a_quote_that_cannot_be_used_makes_the_loss_unknown_and_is_no_breach() -> None:
    desk = _losing(DAILY)
    desk.venue(port.QuoteChanged(0, book(EUR, "1.2", "0.2")))
    assert desk.latched == []
    assert kinds(desk.order(2, instrument=GBP))[-1] == "< REJECTED MissingMark"


def test_an_old_mark_makes_the_loss_unknown() -> None:
    desk = _losing(DAILY | {"maxDataAgeSeconds": "10"})
    desk.now += 10 * SECOND
    desk.quote("1.25", GBP)
    assert kinds(desk.order(2, instrument=GBP))[0] == "order_submitted"
    desk.now += 1
    desk.quote("1.25", GBP)
    assert kinds(desk.order(3, instrument=GBP))[-1] == "< REJECTED StaleMarketData"
    assert desk.latched == []


def test_a_silent_feed_makes_the_loss_unknown_where_no_age_is_set() -> None:
    desk = _losing(DAILY)
    desk.now += 6 * SECOND
    facts = desk.state.facts("alpha", desk.now)
    problem = problem_of(facts.standing.watches["uid-loss", "alpha"], facts)
    assert problem is not None
    assert "silent for 6.0 s" in problem.text


@pytest.mark.parametrize("limits", [{"maxDrawdown": "0.01"}, {"maxLossPerMinute": "0.01"}], ids=["drawdown", "minute"])
def test_without_capital_a_share_of_it_refuses(limits: dict[str, str]) -> None:
    desk = Desk()
    desk.put(loss_rule(limits), capital={})
    assert kinds(desk.order(1))[-1] == "< REJECTED MissingCapital"
    assert desk.latched == []


# --- Other currencies ------------------------------------------------------------------------------------------------

PAIR = InstrumentId(VENUE, "USD-CHF")
SWISS = InstrumentId(VENUE, "NESN")
LISTED = INSTRUMENTS | {
    PAIR: Instrument(PAIR, "CHF", Decimal(1), Decimal("0.00001"), Decimal(1), Decimal(1), base_currency="USD"),
    SWISS: Instrument(SWISS, "CHF", Decimal(10), Decimal("0.01"), Decimal(1), Decimal(1)),
}


def _swiss(**capital: Money) -> Desk:
    desk = Desk(Settings("cl-research", VENUE, "pod-1", LISTED, orders_per_second=1000, order_burst=1000))
    desk.put(loss_rule({"maxDailyLoss": "100", "maxDrawdown": "0.9"}), capital={**CAPITAL, **capital})
    return desk


def test_losses_are_converted_at_the_mid_of_a_pair_that_the_venue_lists() -> None:
    desk = _swiss()
    desk.quote("0.8", PAIR)
    desk.quote("100", SWISS)
    desk.order(1, instrument=SWISS, quantity=Decimal(8), price=Decimal(100))
    desk.executed(1, "8", price="100", instrument=SWISS)
    desk.quote("99", SWISS)  # 8 x 10 x 1 CHF are 100 USD
    assert desk.latched == []
    desk.quote("0.79", PAIR)  # and now 101.27
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/alpha"]


def test_without_a_rate_of_exchange_nothing_is_known() -> None:
    desk = _swiss()
    desk.quote("0.8", PAIR)
    desk.quote("100", SWISS)
    desk.order(1, instrument=SWISS, quantity=Decimal(8), price=Decimal(100))
    desk.executed(1, "8", price="100", instrument=SWISS)
    desk.now += 61 * SECOND
    desk.quote("50", SWISS)
    assert desk.latched == []
    assert kinds(desk.order(2))[-1] == "< REJECTED MissingExchangeRate"
    desk.quote("0.8", PAIR)
    desk.later(1)
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/alpha"]


# --- Actions ---------------------------------------------------------------------------------------------------------

ACTIONS: dict[str, tuple[bool, str, str, TradingState]] = {
    # action: open order stays, a new order that adds, one that reduces, state
    "Alert": (True, "order_submitted", "order_submitted", TradingState.ACTIVE),
    "Slow": (True, "order_submitted", "< REJECTED LimitBreached", TradingState.ACTIVE),
    "Block": (True, "< REJECTED LimitBreached", "< REJECTED LimitBreached", TradingState.BLOCKED),
    "CloseOnly": (False, "< REJECTED LimitBreached", "order_submitted", TradingState.CLOSE_ONLY),
    "Cancel": (False, "< REJECTED LimitBreached", "< REJECTED LimitBreached", TradingState.HALTED),
    "Flatten": (False, "< REJECTED LimitBreached", "< REJECTED LimitBreached", TradingState.FLATTEN),
    "SomethingNew": (False, "< REJECTED LimitBreached", "< REJECTED LimitBreached", TradingState.HALTED),
}


@pytest.mark.parametrize("action", ACTIONS)
def test_what_an_action_does_to_open_orders_and_to_new_ones(action: str) -> None:
    stays, adding, reducing, state = ACTIONS[action]
    desk = _losing(DAILY, on_breach=action)
    desk.order(2, quantity=Decimal(1_000), price=Decimal(1))
    desk.accepted(2)

    done = kinds(desk.quote("1.08"))

    assert done[0] == "breach_changed"
    assert ("> urgent cancel" in done) is not stays
    assert desk.state_of() is state
    assert desk.state_of("beta") is TradingState.ACTIVE
    assert kinds(desk.order(3, quantity=Decimal(1_000), price=Decimal("1.08")))[0] == adding
    assert _reducing(desk, 4)[0] == reducing


def test_flatten_closes_what_is_held_and_says_what_remains() -> None:
    desk = _losing(DAILY, on_breach="Flatten")
    done = kinds(desk.quote("1.08"))
    assert done[:3] == ["breach_changed", "order_submitted", "> order"]
    (order,) = desk.books.open.values()
    assert (order.terms.side, order.terms.quantity, order.terms.closing) == (Side.SELL, Decimal(10_000), True)
    status = gateway_status(desk.state, 0, 0, (), desk.now)
    (account,) = (item for item in status.accounts if item.strategy == "alpha")
    assert [item.reason for item in account.remaining] == ["OrderPending"]


def test_a_strategy_that_is_slowed_sends_one_order_each_second() -> None:
    desk = _losing(DAILY, on_breach="Slow")
    desk.quote("1.08")
    sent = []
    for number in range(2, 32):
        desk.quote("1.08")
        sent.append(kinds(desk.order(number, quantity=Decimal(1_000), price=Decimal(1)))[0] == "order_submitted")
        desk.now += SECOND // 10
    assert [index for index, was in enumerate(sent) if was] == [0, 10, 20]
    assert kinds(desk.order(1, strategy="beta"))[0] == "order_submitted"
    assert kinds(desk.cancel(2, 40))[0] == "cancel_submitted"


def test_a_replacement_counts_as_an_order_of_a_strategy_that_is_slowed() -> None:
    desk = _losing(DAILY, on_breach="Slow")
    desk.order(2, quantity=Decimal(1_000), price=Decimal(1))
    desk.accepted(2)
    desk.quote("1.08")
    assert kinds(desk.replace(2, 3, "2000", "1"))[0] == "replace_submitted"
    desk.venue(port.Replaced(cl_ord_id(3), cl_ord_id(2), "v3", desk.now))
    assert kinds(desk.replace(3, 4, "3000", "1"))[-1] == "< CANCEL_REJECT LimitBreached"


def test_a_rule_that_observes_is_latched_and_stops_nothing() -> None:
    desk = _losing(DAILY, enforce=False, on_breach="Cancel")
    desk.quote("1.08")
    assert not desk.breach("maxDailyLoss/alpha").enforced
    assert desk.state_of() is TradingState.ACTIVE
    assert kinds(desk.order(2))[0] == "order_submitted"


def test_a_rule_that_observed_is_latched_again_when_it_is_enforced() -> None:
    desk = _losing(DAILY, enforce=False)
    desk.quote("1.08")
    desk.put(loss_rule(DAILY), revision="r2")
    desk.quote("1.0799")
    assert [body.enforced for body in desk.books.breaches.values()] == [False, True]
    assert desk.state_of() is TradingState.BLOCKED


def test_the_action_is_that_of_the_moment_of_the_breach() -> None:
    desk = _losing(DAILY)
    desk.quote("1.08")
    desk.put(loss_rule(DAILY, on_breach="Flatten"), revision="r2")
    assert desk.state_of() is TradingState.BLOCKED


@pytest.mark.parametrize("mild", ["Alert", "Slow"])
@pytest.mark.parametrize("hard", ["Block", "Cancel"])
def test_an_action_that_let_orders_through_gives_way_to_a_harder_one(mild: str, hard: str) -> None:
    """Its limit judges no order while it is latched: whoever then sets Block would believe that it does."""
    desk = _losing(DAILY, on_breach=mild)
    desk.quote("1.08")
    assert desk.state_of() is TradingState.ACTIVE
    desk.put(loss_rule(DAILY, on_breach=hard), revision="r2")
    assert kinds(desk.order(2)) == ["< REJECTED LimitBreached"]
    assert [body.action for body in desk.books.breaches.values()] == [mild, hard]
    assert desk.state_of() is (TradingState.BLOCKED if hard == "Block" else TradingState.HALTED)


def test_a_strategy_that_a_rule_binds_later_is_stopped_with_the_others() -> None:
    desk = Desk()
    desk.put(loss_rule(DAILY, aggregate_total=True, strategies=["alpha"]))
    desk.trade(1, 10_000)
    desk.quote("1.08")
    assert desk.state_of("beta") is TradingState.ACTIVE
    desk.put(loss_rule(DAILY, aggregate_total=True), revision="r2")
    assert desk.state_of("beta") is TradingState.BLOCKED


# --- Clearing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("limits", LOSSES, ids=lambda limits: next(iter(limits)))
def test_a_breach_that_is_cleared_is_found_again_only_by_a_new_loss(limits: dict[str, str]) -> None:
    desk = _losing(limits)
    desk.quote("1.08")
    (first,) = desk.latched
    desk.put(loss_rule(limits), revision="r2", cleared_breaches={("loss", first): "hedged at another venue"})

    assert desk.latched == []
    cleared = [event.breach_changed for event in desk.events if event.breach_changed.cleared]
    assert [(body.breach, body.text) for body in cleared] == [(first, "hedged at another venue")]
    desk.later(1)
    desk.quote("1.0701")
    assert desk.latched == []
    assert kinds(desk.order(2))[0] == "order_submitted"
    desk.quote("1.0699")
    (second,) = desk.latched
    assert second != first
    # The annotation is still there: it does not clear the later one.
    desk.put(loss_rule(limits), revision="r3", cleared_breaches={("loss", first): "hedged at another venue"})
    assert desk.latched == [second]


def test_a_breach_of_a_limit_that_is_deleted_stays_and_is_cleared_as_a_halt() -> None:
    desk = _losing(DAILY)
    desk.quote("1.08")
    (name,) = desk.latched
    desk.put(revision="r2")
    assert desk.latched == [name]
    assert desk.state_of() is TradingState.BLOCKED
    assert f"clear-halt='{name}: REASON'" in (desk.state.control("alpha").refusal or pytest.fail("not stopped")).text
    desk.put(revision="r3", cleared_halts=frozenset({name}))
    assert desk.latched == [name], "it is no halt: without a reason it stays"
    desk.put(revision="r4", cleared_at_venue={name: "the limit was a mistake"})
    assert desk.latched == []
    assert [event.breach_changed.text for event in desk.events if event.breach_changed.cleared] == [
        "the limit was a mistake"
    ]
    assert desk.state_of() is TradingState.ACTIVE


@pytest.mark.parametrize("uid", ["uid-fx-desk", "uid-other"], ids=["the same RiskLimit", "made again"])
def test_a_breach_whose_limit_is_there_is_not_cleared_at_the_venue(uid: str) -> None:
    """Whoever may change a VenueConnection would lift limits that way."""
    desk = _losing(DAILY)
    desk.quote("1.08")
    (name,) = desk.latched
    desk.put(loss_rule(DAILY, uid=uid), revision="r2", cleared_at_venue={name: "I want to trade"})
    assert desk.latched == [name]
    assert desk.state_of() is TradingState.BLOCKED
    desk.put(loss_rule(DAILY, uid=uid), revision="r3", cleared_breaches={("loss", name): "looked at"})
    assert desk.latched == []


def test_a_limit_that_comes_back_with_its_breach_cleared_begins_with_the_day_that_it_is() -> None:
    """Nothing is marked before the day is known, where no mark of before is left."""
    desk = _losing(DAILY)
    desk.quote("1.08")
    (name,) = desk.latched
    desk.put(revision="r2")
    desk.books.loss_marks.clear()
    before = len(desk.events)

    desk.put(loss_rule(DAILY), revision="r3", cleared_breaches={("loss", name): "looked at"})

    marks = [event.loss_marked for event in desk.events[before:] if event.HasField("loss_marked")]
    assert {mark.day for mark in marks} == {"2023-11-14"}
    assert desk.latched == []
    desk.quote("1.0701")
    assert desk.latched == []
    desk.quote("1.0699")
    assert len(desk.latched) == 1, "it counts from when it was cleared"


CLEARED_ELSEWHERE = {
    "at another RiskLimit": ("size", "this was asked for at RiskLimit size"),
    "at a RiskLimit that is not here": ("other", "this was asked for at RiskLimit other"),
    "by an older operator, which does not say where": ("", "the configuration does not say at which RiskLimit"),
}


@pytest.mark.parametrize("how", CLEARED_ELSEWHERE)
def test_a_breach_is_cleared_at_its_own_risk_limit_alone(how: str) -> None:
    """Whoever may change one RiskLimit would lift all of them."""
    where, why = CLEARED_ELSEWHERE[how]
    desk = _losing(DAILY)
    desk.quote("1.08")
    (name,) = desk.latched
    desk.put(loss_rule(DAILY), revision="r2", cleared_breaches={(where, name): "I want to trade"})
    assert desk.latched == [name]
    assert desk.state_of() is TradingState.BLOCKED
    (said,) = (
        dict(item.fields) for item in desk.last if isinstance(item, effects.Tell) and item.event == "breach_not_cleared"
    )
    assert (said["breach"], said["risk_limit"]) == (name, "loss")
    assert str(said["why"]).startswith(why)

    both = {(where, name): "I want to trade", ("loss", name): "looked at"}
    desk.put(loss_rule(DAILY), revision="r3", cleared_breaches=both)
    assert desk.latched == []
    assert [event.breach_changed.text for event in desk.events if event.breach_changed.cleared] == ["looked at"]


def test_a_breach_outlives_a_risk_limit_that_is_deleted_and_made_again_and_is_cleared_there() -> None:
    desk = _losing(DAILY)
    desk.quote("1.08")
    (name,) = desk.latched
    desk.put(loss_rule(DAILY, uid="uid-other"), revision="r2")
    assert desk.latched == [name]
    assert desk.state_of() is TradingState.BLOCKED
    desk.put(loss_rule(DAILY, uid="uid-other"), revision="r3", cleared_breaches={("loss", name): "looked at"})
    assert desk.latched == []
    assert desk.state_of() is TradingState.ACTIVE


def test_a_breach_is_cleared_when_the_value_is_not_known() -> None:
    desk = _losing(DAILY)
    desk.quote("1.08")
    (name,) = desk.latched
    restarted = Desk(books=recover(VENUE, None, desk.events), ready=False)
    restarted.put(loss_rule(DAILY), revision="r2", cleared_breaches={("loss", name): "looked at"})
    restarted.do(commands.VenueConnected(port.VenueSnapshot()))
    restarted.do(commands.Logon("alpha", 1))
    assert restarted.latched == []
    restarted.quote("1.3", GBP)
    assert kinds(restarted.order(11, instrument=GBP))[-1] == "< REJECTED MissingMark"
    restarted.quote("1.05")
    assert kinds(restarted.order(12, instrument=GBP))[0] == "order_submitted"
    restarted.quote("1.0401")
    assert restarted.latched == []
    restarted.quote("1.0399")
    assert len(restarted.latched) == 1


# --- Rejects, executions, messages -----------------------------------------------------------------------------------


def _reject(desk: Desk, number: int, strategy: str = "alpha") -> None:
    """The gateway refuses an order that is too large."""
    done = kinds(desk.order(number, strategy=strategy, quantity=Decimal(2_000_000_000)))
    assert "< REJECTED MaxOrderQuantity" in done


def test_rejects_in_a_row() -> None:
    desk = Desk()
    desk.put(loss_rule({"maxConsecutiveRejects": "3"}))
    for number in (1, 2):
        _reject(desk, number)
    desk.order(3)
    desk.venue(port.Ended(cl_ord_id(3), "v3", OrdStatus.REJECTED, "VenueSaysNo", "not today", desk.now))
    assert desk.latched == []
    _reject(desk, 4)
    body = desk.breach("maxConsecutiveRejects/alpha")
    assert body.text == "4 orders in a row were refused or rejected, more than maxConsecutiveRejects of loss admits, 3"
    assert desk.state_of() is TradingState.BLOCKED


def test_an_order_that_is_accepted_starts_the_row_again() -> None:
    desk = Desk()
    desk.put(loss_rule({"maxConsecutiveRejects": "3"}))
    for number in range(1, 40, 4):
        for more in range(3):
            _reject(desk, number + more)
        desk.order(number + 3)
        desk.accepted(number + 3)
        if number % 8 == 1:
            desk.later(2)
    assert desk.latched == []
    assert recover(VENUE, None, desk.events).tallies == desk.books.tallies


def test_refusals_because_trading_is_stopped_and_cancels_are_no_rejects() -> None:
    desk = Desk()
    desk.put(loss_rule({"maxConsecutiveRejects": "1"}), bindings={"alpha": TradingState.HALTED})
    for number in range(1, 9):
        desk.order(number)
        desk.cancel(number, number + 20)
    desk.later(1)
    assert desk.latched == []


def test_rejects_that_were_cleared_do_not_count() -> None:
    desk = Desk()
    rejects = loss_rule({"maxConsecutiveRejects": "1"}, on_breach="Cancel")
    desk.put(rejects)
    _reject(desk, 1)
    _reject(desk, 2)
    (name,) = desk.latched
    desk.put(rejects, revision="r2", cleared_breaches={("loss", name): "repaired"})
    _reject(desk, 3)
    assert desk.latched == []
    _reject(desk, 4)
    assert len(desk.latched) == 1


def test_a_breach_of_one_limit_that_is_cleared_takes_nothing_from_another() -> None:
    """The highest profit and loss counts for the peak, also where nobody has looked since."""
    desk = Desk()
    limits = loss_rule({"maxConsecutiveRejects": "1", "maxDrawdown": "0.001"}, on_breach="Alert")
    desk.put(limits)
    desk.trade(1, 10_000)
    desk.quote("1.1")
    _reject(desk, 2)
    _reject(desk, 3)
    desk.later(2)
    (name,) = desk.latched
    desk.quote("1.12")
    desk.quote("1.115")
    desk.put(limits, revision="r2", cleared_breaches={("loss", name): "repaired"})
    assert desk.latched == []
    desk.quote("1.1101")
    assert desk.latched == []
    desk.quote("1.1099")
    assert desk.breach("maxDrawdown/alpha").limit == "maxDrawdown"


def test_a_breach_of_rejects_that_is_cleared_begins_no_day() -> None:
    """Also where the rule gets its first limit of the day with that."""
    desk = Desk()
    desk.put(loss_rule({"maxConsecutiveRejects": "1"}))
    _reject(desk, 1)
    _reject(desk, 2)
    (name,) = desk.latched
    desk.put(
        loss_rule({"maxConsecutiveRejects": "1", **DAILY}), revision="r2", cleared_breaches={("loss", name): "repaired"}
    )
    desk.later(1)
    days = [event.loss_marked.day for event in desk.events if event.HasField("loss_marked")]
    assert days
    assert "" not in days


def _refused_at(desk: Desk) -> list[tuple[float, str]]:
    """When refusals were journaled, in seconds since the start, and whose."""
    events = [event for event in desk.events if event.HasField("requests_refused")]
    return [((event.at_unix_ns - START) / SECOND, event.requests_refused.strategy) for event in events]


def test_a_breach_of_rejects_is_journaled_at_once_and_makes_no_other_record_come_sooner() -> None:
    """It left a timer behind, and each of these brought one more record a second for as long as there were refusals."""
    desk = Desk()
    desk.put(loss_rule({"maxConsecutiveRejects": "1"}, on_breach="Alert"))
    _reject(desk, 1)
    desk.later(0.5)
    _reject(desk, 2)
    assert len(desk.latched) == 1
    for number in range(3, 33):
        _reject(desk, number)
        desk.later(0.1)

    assert _refused_at(desk) == [(0.5, "alpha"), (1.5, "alpha"), (2.5, "alpha"), (3.5, "alpha")]


def test_a_breach_of_rejects_journals_nobody_elses_refusals_before_their_time() -> None:
    desk = Desk()
    desk.put(loss_rule({"maxConsecutiveRejects": "1"}))
    _reject(desk, 1, "beta")
    _reject(desk, 1)
    _reject(desk, 2)
    desk.later(1)

    assert _refused_at(desk) == [(0, "alpha"), (1, "beta")]


def test_a_limit_on_rejects_that_is_passed_again_and_again_fills_no_journal() -> None:
    """A breach that lets the strategy go on: each order that the venue took began a row that was journaled at once."""
    desk = Desk()
    desk.put(loss_rule({"maxConsecutiveRejects": "1"}, on_breach="Alert"))
    for number in range(1, 91, 3):
        _reject(desk, number)
        _reject(desk, number + 1)
        desk.order(number + 2)
        desk.accepted(number + 2)
        desk.later(0.1)
    desk.later(1)

    assert [name.partition("@")[0] for name in desk.latched] == ["maxConsecutiveRejects/alpha"]
    assert len(_refused_at(desk)) == 4  # the breach, and three seconds
    assert desk.books.counters["alpha"].rejected == 60


def test_rejects_of_strategies_that_are_counted_together_add_up() -> None:
    desk = Desk()
    desk.put(loss_rule({"maxConsecutiveRejects": "2"}, aggregate_total=True))
    _reject(desk, 1)
    _reject(desk, 1, "beta")
    desk.later(1)
    assert desk.latched == []
    _reject(desk, 2, "beta")
    desk.later(1)
    assert [name.partition("@")[0] for name in desk.latched] == ["maxConsecutiveRejects/-"]


def test_over_several_gateways_this_one_admits_its_part_of_rejects_in_a_row() -> None:
    desk = Desk()
    shared = loss_rule({"maxConsecutiveRejects": "5"}, aggregate_total=True)
    shared.gateways.extend((VENUE, "other"))
    desk.put(shared)
    _reject(desk, 1)
    _reject(desk, 1, "beta")
    desk.later(1)
    assert desk.latched == []
    _reject(desk, 2, "beta")
    desk.later(1)
    body = desk.breach("maxConsecutiveRejects/-")
    assert body.text.startswith("3 orders in a row were refused or rejected")
    assert body.text.endswith("admits, 2 here, of 5 at 2 gateways")


def test_one_strategy_that_passes_its_gateways_part_is_found_before_refusals_are_journaled() -> None:
    desk = Desk()
    shared = loss_rule({"maxConsecutiveRejects": "5"}, aggregate_total=True)
    shared.gateways.extend((VENUE, "other"))
    desk.put(shared)
    for number in (1, 2):
        _reject(desk, number)
    assert desk.latched == []
    _reject(desk, 3)
    assert [name.partition("@")[0] for name in desk.latched] == ["maxConsecutiveRejects/-"]


def test_repeated_executions_disable_their_strategy_alone() -> None:
    desk = Desk()
    desk.put(loss_rule({"repeatedExecution": "3/10"}, aggregate_total=True))
    for number in range(1, 4):
        desk.trade(number, 1_000)
        desk.trade(number, 1_000, strategy="beta", side=Side.SELL)
        desk.later(3)
    assert desk.latched == []
    desk.later(2)
    desk.trade(4, 1_000)
    assert desk.latched == []
    desk.later(0.5)
    desk.trade(5, 1_000, side=Side.SELL)
    assert desk.latched == []
    desk.trade(6, 1_000)
    body = desk.breach("repeatedExecution/alpha")
    assert body.text.startswith("4 executions (buy, sim-fx/EUR-USD) in 10 s")
    assert (desk.state_of("alpha"), desk.state_of("beta")) == (TradingState.BLOCKED, TradingState.ACTIVE)


def test_executions_that_were_cleared_do_not_count() -> None:
    desk = Desk()
    repeated = loss_rule({"repeatedExecution": "1/3600"})
    desk.put(repeated)
    desk.trade(1, 1_000)
    desk.trade(2, 1_000)
    (name,) = desk.latched
    desk.put(repeated, revision="r2", cleared_breaches={("loss", name): "meant"})
    desk.trade(3, 1_000)
    assert desk.latched == []
    restarted = recover(VENUE, None, desk.events)
    assert restarted.buys.to_messages() == desk.books.buys.to_messages()
    desk.trade(4, 1_000)
    assert len(desk.latched) == 1


def test_messages_for_each_execution_are_judged_from_the_hundredth_on() -> None:
    desk = Desk()
    desk.put(loss_rule({"maxOrderToTradeRatio": "60"}))
    for number in range(1, 100):
        desk.order(number, quantity=Decimal(1_000), price=Decimal(1))
    assert desk.latched == []
    desk.order(100, quantity=Decimal(1_000), price=Decimal(1))
    body = desk.breach("maxOrderToTradeRatio/alpha")
    assert body.text.startswith("100 order messages and 0 executions in the trading day")


def test_a_ratio_at_the_limit_is_no_breach_and_a_day_ends() -> None:
    desk = Desk()
    ratio = loss_rule({"maxOrderToTradeRatio": "60"})
    desk.put(ratio)
    desk.trade(1, 1_000)
    desk.trade(2, 1_000)
    for number in range(3, 121):
        desk.order(number, quantity=Decimal(1_000), price=Decimal(1))
    assert desk.latched == []
    desk.now += 86_400 * SECOND
    desk.quote("1.1")
    for number in range(121, 220):
        desk.order(number, quantity=Decimal(1_000), price=Decimal(1))
    assert desk.latched == []
    desk.order(220, quantity=Decimal(1_000), price=Decimal(1))
    (name,) = desk.latched
    desk.put(ratio, revision="r2", cleared_breaches={("loss", name): "quoting again"})
    desk.order(221, quantity=Decimal(1_000), price=Decimal(1))
    assert desk.latched == []


def test_whoever_still_holds_something_may_pass_the_ratio_of_all() -> None:
    """The rule selects alpha no more, which counts until it is flat."""
    desk = Desk()
    limits = {"maxOrderToTradeRatio": "60"}
    desk.put(loss_rule(limits, aggregate_total=True, strategies=["alpha", "beta"]))
    desk.trade(1, 1_000)
    desk.put(loss_rule(limits, aggregate_total=True, strategies=["beta"]), revision="r2")
    for number in range(2, 100):
        desk.order(number, quantity=Decimal(1_000), price=Decimal(1))
    assert desk.latched == []
    desk.order(100, quantity=Decimal(1_000), price=Decimal(1))
    (name,) = desk.latched
    assert desk.books.breaches[name].text.startswith("100 order messages and 1 executions")


# --- Exposures -------------------------------------------------------------------------------------------------------


def test_a_late_execution_above_the_position_limit_is_a_breach() -> None:
    desk = Desk()
    desk.put(loss_rule({"maxPositionQuantity": "10000"}))
    desk.order(1)
    desk.accepted(1)
    desk.ended(1)
    desk.order(2)
    assert desk.latched == []
    desk.executed(1, "1000")
    body = desk.breach("maxPositionQuantity/alpha")
    assert body.text == "alpha/sim-fx/EUR-USD: 11000 is above maxPositionQuantity 10000 of loss"


def test_the_market_moves_a_value_above_its_limit() -> None:
    desk = Desk()
    desk.put(loss_rule({"maxGrossNotional": "12000"}, on_breach="Flatten"))
    desk.trade(1, 10_000)
    desk.quote("1.2")
    desk.later(1)
    assert desk.latched == []
    desk.quote("1.2001")
    done = desk.later(1)
    assert desk.breach("maxGrossNotional/alpha").text == "alpha: 12001 is above maxGrossNotional 12000 of loss"
    assert "> order" in kinds(done)


@pytest.mark.parametrize(
    "limits", [{"maxGrossNotional": "40000"}, {"maxNetNotional": "40000"}, {"maxConcentration": "0.4"}], ids=str
)
@pytest.mark.parametrize("side", [Side.BUY, Side.SELL])
def test_the_market_moves_a_value_from_far_below_its_limit_above_it(limits: dict[str, str], side: Side) -> None:
    """Far below it is not reckoned; whatever way the market takes, it is from where it might be above."""
    desk = Desk()
    desk.put(loss_rule(limits))
    desk.trade(1, 10_000, side=side)
    for mid in ("1.3", "0.9", "1.6", "2.2", "3.1", "2.4", "3.9", "4"):
        desk.quote(mid)
        desk.later(1)
        assert desk.latched == [], mid
    desk.quote("4.0001")
    desk.later(1)
    assert [name.partition("@")[0] for name in desk.latched] == [f"{next(iter(limits))}/alpha"]


@pytest.mark.parametrize("limit", ["12000", "11500", "20000", ""], ids=["same", "lowered", "raised", "taken away"])
def test_what_the_market_did_before_a_configuration_came_is_judged_by_the_rules_of_then(limit: str) -> None:
    desk = Desk()
    desk.put(loss_rule({"maxGrossNotional": "12000"}))
    desk.trade(1, 10_000)
    desk.later(1)
    desk.quote("1.2001")
    desk.put(*[loss_rule({"maxGrossNotional": limit})] if limit else [], revision="r2")
    assert desk.breach("maxGrossNotional/alpha").text == "alpha: 12001 is above maxGrossNotional 12000 of loss"
    desk.later(1)
    assert len(desk.latched) == 1


def test_a_late_execution_of_somebody_whom_no_binding_names_is_a_breach_of_all_together() -> None:
    desk = Desk()
    gross = loss_rule({"maxGrossNotional": "12000"}, aggregate_total=True, strategies=["alpha"])
    desk.put(gross)
    desk.order(1, strategy="beta")
    desk.accepted(1, "beta")
    desk.venue(port.Ended(cl_ord_id(1, "beta"), "v1", OrdStatus.CANCELED, "", "", desk.now))
    desk.trade(1, 10_000)
    desk.put(gross, revision="r2", bindings={"alpha": TradingState.ACTIVE})
    assert desk.latched == []
    desk.executed(1, "10000", "late", cl_ord_id=cl_ord_id(1, "beta"))
    assert [name.partition("@")[0] for name in desk.latched] == ["maxGrossNotional/-"]


def test_a_limit_that_a_person_lowers_is_no_breach_until_it_was_kept_once() -> None:
    desk = Desk()
    desk.trade(1, 10_000)
    desk.put(loss_rule({"maxGrossNotional": "5000"}), revision="r2")
    desk.quote("1.2")
    desk.later(1)
    assert desk.latched == []
    desk.quote("0.4")
    desk.later(1)
    desk.quote("0.6")
    desk.later(1)
    assert [name.partition("@")[0] for name in desk.latched] == ["maxGrossNotional/alpha"]


def test_an_exposure_that_was_cleared_is_found_again_when_it_was_within_its_limit_meanwhile() -> None:
    desk = Desk()
    gross = loss_rule({"maxGrossNotional": "12000"})
    desk.put(gross)
    desk.trade(1, 10_000)
    desk.quote("1.3")
    desk.later(1)
    (name,) = desk.latched
    desk.put(gross, revision="r2", cleared_breaches={("loss", name): "will come down"})
    desk.quote("1.31")
    desk.later(1)
    assert desk.latched == []
    for mid in ("1.1", "1.3"):
        desk.quote(mid)
        desk.later(1)
    assert len(desk.latched) == 1


def test_what_is_above_its_limit_at_a_start_is_a_breach() -> None:
    desk = Desk()
    desk.put(loss_rule({"maxPositionQuantity": "10000"}))
    desk.trade(1, 10_000)
    restarted = Desk(books=recover(VENUE, None, desk.events), ready=False)
    restarted.put(loss_rule({"maxPositionQuantity": "9000"}), revision="r2")
    assert [name.partition("@")[0] for name in restarted.latched] == ["maxPositionQuantity/alpha"]


# --- Days, restarts, members -----------------------------------------------------------------------------------------


def test_a_new_day_starts_from_what_is() -> None:
    desk = _losing(DAILY)
    desk.quote("1.0901")
    desk.now += 86_400 * SECOND
    desk.quote("1.0900")
    desk.quote("1.0801")
    assert desk.latched == []
    desk.quote("1.0799")
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/alpha"]


def test_a_restart_in_the_middle_of_a_day_knows_day_and_peak() -> None:
    desk = _losing(DAILY | {"maxDrawdown": "0.0015"})
    desk.quote("1.107")
    desk.later(1)
    desk.quote("1.0935")
    books = recover(VENUE, desk.books.to_message(), ())
    assert books.loss_marks == desk.books.loss_marks == recover(VENUE, None, desk.events).loss_marks

    restarted = Desk(books=books, ready=False)
    restarted.now = desk.now + 60 * SECOND
    restarted.put(loss_rule(DAILY | {"maxDrawdown": "0.0015"}))
    restarted.do(commands.VenueConnected(port.VenueSnapshot()))
    restarted.quote("1.0925")
    assert restarted.latched == []
    restarted.quote("1.0919")  # 70 + 81 below the peak
    assert [name.partition("@")[0] for name in restarted.latched] == ["maxDrawdown/alpha"]
    restarted.quote("1.0899")
    assert len(restarted.latched) == 2


@pytest.mark.parametrize("side", Side)
def test_what_was_worth_nothing_without_a_quote_is_no_peak(side: Side) -> None:
    """Without its quote a short position seems to have earned what it was sold for."""
    limits = {"maxDrawdown": "0.0015", "maxLossPerMinute": "0.0015"}
    desk = Desk()
    desk.quote("1.1")
    desk.put(loss_rule(limits))
    desk.trade(1, 10_000, side=side)
    restarted = Desk(books=recover(VENUE, None, desk.events), ready=False)
    restarted.put(loss_rule(limits))
    restarted.do(commands.VenueConnected(port.VenueSnapshot()))
    restarted.later(1)
    restarted.quote("1.1")
    restarted.later(1)
    restarted.quote(str(Decimal("1.1") - side.sign * Decimal("0.015")))
    restarted.later(1)
    assert restarted.latched == []
    assert restarted.books.loss_marks["uid-loss", "alpha"].peak == "0"
    restarted.quote(str(Decimal("1.1") - side.sign * Decimal("0.0151")))
    assert len(restarted.latched) == 2


def test_what_was_worth_nothing_without_a_rate_is_no_peak() -> None:
    limits = {"maxDrawdown": "0.5", "maxDailyLoss": "100000"}
    desk = Desk(Settings("cl-research", VENUE, "pod-1", LISTED, orders_per_second=1000, order_burst=1000))
    desk.put(loss_rule(limits))
    desk.quote("0.8", PAIR)
    desk.quote("100", SWISS)
    desk.order(1, instrument=SWISS, quantity=Decimal(8), price=Decimal(100))
    desk.executed(1, "8", price="100", instrument=SWISS)
    desk.quote("90", SWISS)
    restarted = Desk(desk.settings, recover(VENUE, None, desk.events), ready=False)
    restarted.put(loss_rule(limits))
    restarted.do(commands.VenueConnected(port.VenueSnapshot()))
    restarted.quote("90", SWISS)
    restarted.later(1)
    restarted.quote("0.8", PAIR)
    restarted.later(1)
    watch = restarted.state.live.standing.watches["uid-loss", "alpha"]
    assert watch.ledger.value == -1000
    assert watch.highest_of_minute(restarted.now) == -1000


def test_a_peak_outlives_a_configuration_that_cannot_be_read() -> None:
    desk = _losing({"maxDrawdown": "0.5"})
    desk.quote("1.2")
    desk.do(commands.Configure(Configuration(unreadable="not a GatewayConfig")))
    desk.quote("1.1")
    desk.put(loss_rule({"maxDrawdown": "0.5"}), revision="r3")
    assert desk.books.loss_marks["uid-loss", "alpha"].peak == "1000"


def test_latches_outlive_a_restart_and_a_snapshot() -> None:
    desk = _losing(DAILY)
    desk.quote("1.08")
    for books in (recover(VENUE, None, desk.events), recover(VENUE, desk.books.to_message(), ())):
        assert books.breaches == desk.books.breaches
        restarted = Desk(books=books, ready=False)
        assert restarted.state.held("alpha").stops
        restarted.put(loss_rule(DAILY))
        restarted.do(commands.VenueConnected(port.VenueSnapshot()))
        restarted.do(commands.Logon("alpha", 1))
        restarted.quote("1.08")
        assert kinds(restarted.order(11))[-1] == "< REJECTED LimitBreached"
        assert restarted.latched == desk.latched


def test_whoever_joins_brings_no_loss_of_the_past() -> None:
    desk = Desk()
    desk.put(loss_rule(DAILY, aggregate_total=True, strategies=["alpha"]))
    desk.trade(1, 10_000)
    desk.trade(1, 10_000, strategy="beta")
    desk.quote("1.0901")
    desk.put(loss_rule(DAILY, aggregate_total=True), revision="r2")
    assert desk.latched == []
    desk.quote("1.09005")
    assert desk.latched == []  # 99.5 of alpha and 0.5 of beta
    desk.quote("1.09004")
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/-"]


def test_whoever_leaves_while_rates_are_old_takes_no_loss_of_the_others_along() -> None:
    """Rates of the last minute alone are good for an order; what somebody has made long ago is told by older ones."""
    desk = _swiss()
    desk.quote("0.8", PAIR)
    desk.put(loss_rule({"maxDailyLoss": "100"}, aggregate_total=True, currency="CHF"), revision="r2")
    desk.trade(1, 10_000)
    desk.trade(1, 1_000, strategy="beta")
    desk.quote("1.0901")
    desk.order(2, strategy="beta", quantity=Decimal(1_000), price=Decimal("1.0901"), side=Side.SELL)
    desk.executed(2, "1000", "x2", "1.0901", cl_ord_id=cl_ord_id(2, "beta"), side=Side.SELL)
    desk.later(61)
    desk.quote("1.0901")
    before = desk.books.loss_marks["uid-loss", ""].day_start
    assert before
    desk.put(
        loss_rule({"maxDailyLoss": "100"}, aggregate_total=True, currency="CHF", strategies=["alpha"]), revision="r3"
    )
    mark = desk.books.loss_marks["uid-loss", ""]
    assert Decimal(mark.day_start) == Decimal(before) + Decimal("7.92"), "beta has lost 9.90 USD, which are 7.92 CHF"


def test_what_those_bring_who_join_after_a_start_is_waited_for() -> None:
    """Without a quote nobody knows what they hold: the day's loss of the others is not forgotten for that."""
    desk = Desk()
    desk.put(loss_rule(DAILY, aggregate_total=True, strategies=["alpha"]))
    desk.trade(1, 10_000)
    desk.trade(1, 10_000, strategy="beta")
    desk.quote("1.0901")  # alpha has lost 99 of 100
    restarted = Desk(books=recover(VENUE, None, desk.events), ready=False)
    restarted.put(loss_rule(DAILY, aggregate_total=True), revision="r2")
    restarted.do(commands.VenueConnected(port.VenueSnapshot()))
    restarted.do(commands.Logon("alpha", 1))
    watch = restarted.state.live.standing.watches["uid-loss", ""]
    assert watch.baseline.day_start is None
    assert kinds(restarted.order(11)) == ["< REJECTED MissingMarketData"]
    restarted.quote("1.0901")
    assert restarted.latched == []
    assert watch.pending is None
    restarted.quote("1.09004")
    assert [name.partition("@")[0] for name in restarted.latched] == ["maxDailyLoss/-"]


def test_whoever_leaves_takes_its_gain_along() -> None:
    desk = Desk()
    desk.put(loss_rule(DAILY, aggregate_total=True))
    desk.trade(1, 10_000)
    desk.trade(1, 20_000, strategy="beta", side=Side.SELL)
    desk.quote("1.095")
    desk.order(2, strategy="beta", quantity=Decimal(20_000), price=Decimal("1.095"))
    desk.executed(2, "20000", "x2", "1.095", cl_ord_id=cl_ord_id(2, "beta"))  # beta has made 100, alpha lost 50
    desk.put(loss_rule(DAILY, aggregate_total=True, strategies=["alpha"]), revision="r2")
    desk.quote("1.0801")
    assert desk.latched == []  # 50 of gain and 149 of loss since
    desk.quote("1.0749")
    assert len(desk.latched) == 1


MINUTE = {"maxLossPerMinute": "0.0005"}
"""Of 100,000 each: 50 USD of alpha, 100 USD of both."""


def test_the_loss_of_the_minute_stays_when_somebody_joins_and_leaves() -> None:
    desk = Desk()
    desk.put(loss_rule(MINUTE, aggregate_total=True, strategies=["alpha"]))
    desk.quote("1.1")
    desk.trade(1, 10_000)
    desk.trade(1, 1_000, strategy="beta", side=Side.SELL)
    desk.later(1)
    desk.quote("1.0955")  # alpha has lost 45, beta has made 4.50
    desk.later(10)
    desk.put(loss_rule(MINUTE, aggregate_total=True), revision="r2")
    watch = desk.state.live.standing.watches["uid-loss", ""]
    assert watch.highest_of_minute(desk.now) - watch.ledger.value == 45
    desk.later(10)
    desk.trade(2, 1_000, "1.0955", strategy="beta")
    desk.put(loss_rule(MINUTE, aggregate_total=True, strategies=["alpha"]), revision="r3")
    assert desk.latched == []
    desk.quote("1.095")
    assert desk.latched == []
    desk.quote("1.0949")
    assert desk.breach("maxLossPerMinute/-").text.startswith("51 USD lost since the last 60 s began")


def test_the_loss_of_the_minute_ends_after_a_minute_whoever_joins() -> None:
    desk = Desk()
    desk.put(loss_rule(MINUTE, aggregate_total=True, strategies=["alpha"]))
    desk.trade(1, 10_000)
    desk.later(1)
    desk.quote("1.0955")
    desk.later(1)
    desk.put(loss_rule(MINUTE, aggregate_total=True), revision="r2")
    desk.later(61)
    desk.quote("1.0860")  # 95 since
    assert desk.latched == []
    desk.quote("1.0854")
    assert [name.partition("@")[0] for name in desk.latched] == ["maxLossPerMinute/-"]


def test_the_loss_of_the_minute_waits_for_a_quote_of_what_somebody_brings() -> None:
    desk = Desk(ready=False)
    desk.do(commands.VenueConnected(port.VenueSnapshot()))
    desk.put(loss_rule(MINUTE, aggregate_total=True, strategies=["alpha"]))
    desk.quote("1.1")
    desk.trade(1, 10_000)
    desk.quote("1.1", GBP)
    desk.order(1, strategy="beta", instrument=GBP, quantity=Decimal(1_000))
    desk.executed(1, "1000", "x-b", cl_ord_id=cl_ord_id(1, "beta"), instrument=GBP)
    desk.later(1)
    desk.quote("1.0955")
    desk.later(1)
    del desk.state.live.marks[GBP]
    desk.put(loss_rule(MINUTE, aggregate_total=True), revision="r2")
    watch = desk.state.live.standing.watches["uid-loss", ""]
    assert watch.pending is not None
    desk.quote("1.1", GBP)
    assert watch.pending is None
    assert watch.highest_of_minute(desk.now) - watch.ledger.value == 45


def test_a_rule_in_another_currency_counts_from_the_present_on() -> None:
    desk = _swiss()
    desk.quote("0.8", PAIR)
    desk.trade(1, 10_000)
    desk.quote("1.0901")
    desk.put(loss_rule(DAILY, currency="CHF"), revision="r2")
    desk.quote("1.0851")
    assert desk.latched == []
    assert desk.books.loss_marks["uid-loss", "alpha"].currency == "CHF"
    desk.quote("1.0775")  # 126 USD since are 100.8 CHF
    assert len(desk.latched) == 1


def test_a_peak_is_journaled_once_each_second_when_it_has_risen() -> None:
    desk = _losing({"maxDrawdown": "0.5"})
    desk.later(1)
    before = len(desk.events)
    for tick in range(50):
        desk.quote(str(Decimal("1.1") + Decimal(tick) / 10_000))
    assert len(desk.events) == before
    desk.later(1)
    (mark,) = (event.loss_marked for event in desk.events[before:])
    assert mark.peak == "49"
    for _ in range(5):
        desk.quote("1.1")
        desk.later(1)
    assert len(desk.events) == before + 1


# --- Shares ----------------------------------------------------------------------------------------------------------


def _shared(share: str | None) -> Desk:
    desk = Desk()
    shared = loss_rule(DAILY, aggregate_total=True)
    shared.gateways.extend((VENUE, "other"))
    desk.state.live.shares = {} if share is None else {("uid-loss", "maxDailyLoss"): Decimal(share)}
    desk.put(shared)
    return desk


def test_a_share_of_a_loss_that_is_not_known_refuses_and_is_no_breach() -> None:
    desk = _shared(None)
    assert kinds(desk.order(1))[-1] == "< REJECTED ShareUnknown"
    desk.quote("0.5")
    assert desk.latched == []


def test_a_gateway_may_lose_its_share() -> None:
    desk = _shared("0.25")
    desk.trade(1, 10_000)
    desk.quote("1.0975")
    assert desk.latched == []
    desk.quote("1.0974")
    assert kinds(desk.order(2))[-1] == "< REJECTED MaxDailyLoss"
    assert kinds(desk.order(3, side=Side.SELL))[-1] == "< PENDING_NEW"
    desk.later(0.999)
    assert desk.latched == []
    desk.later(0.001)
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/-"]


def test_a_loss_above_the_share_is_no_breach_when_more_of_it_comes_or_the_loss_is_over() -> None:
    desk = _shared("0.25")
    desk.trade(1, 10_000)
    for _ in range(3):
        desk.quote("1.0974")
        desk.later(0.9)
        desk.quote("1.0976")
        desk.later(0.9)
    assert desk.latched == []
    desk.quote("1.0974")
    key = ("uid-loss", "maxDailyLoss")
    desk.do(commands.SharesChanged({key: 300_000}, {key: 300_000}))
    desk.later(2)
    assert desk.latched == []
    assert kinds(desk.order(2))[-1] == "< PENDING_NEW"


def test_another_configuration_gives_no_loss_above_the_share_more_time() -> None:
    desk = _shared("0.25")
    desk.trade(1, 10_000)
    desk.quote("1.0974")
    desk.later(0.6)
    shared = loss_rule(DAILY, aggregate_total=True)
    shared.gateways.extend((VENUE, "other"))
    desk.put(shared, revision="r2")
    desk.later(0.4)
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/-"]


# --- What it costs ---------------------------------------------------------------------------------------------------


def test_without_such_limits_nothing_is_watched_and_no_timer_is_set() -> None:
    desk = Desk()
    desk.put(revision="r2")
    desk.quote("1.2")
    assert next_timer_ns(desk.state) is None
    assert not desk.state.live.judging.active
    assert desk.state.live.standing.ledgers is None


def test_one_command_tells_everything_that_it_found() -> None:
    desk = _losing(DAILY | {"maxDrawdown": "0.001", "maxLossPerMinute": "0.001"}, on_breach="Cancel")
    done = kinds(desk.quote("1.05"))
    assert done == ["breach_changed"] * 3
    assert kinds(desk.quote("1.04")) == []
