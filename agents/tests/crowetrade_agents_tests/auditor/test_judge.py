"""Every limit and every other thing that stops an order: a journal of the real engine with one order that never went
through the gate raises exactly that alert, and the same order just within the limit raises none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pytest

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade.config.v1 import config_pb2, kill_pb2
from crowetrade_agents.auditor.judge import KNOWN
from crowetrade_agents_tests.auditor.forging import (
    ACTIVE,
    BASE,
    Journal,
    audit,
    configuration,
    configure,
    found,
    rule,
    traded,
)
from crowetrade_agents_tests.gateway.scenario import VENUE, Scenario
from crowetrade_api.v1alpha1.risklimit import LIMIT_NAMES

BUY, SELL = market_data_pb2.SIDE_BUY, market_data_pb2.SIDE_SELL
Forge = Callable[[Journal], Journal]


def mark(**values: str) -> pb.LossMarked:
    """The baseline of alpha under the tested rule."""
    return pb.LossMarked(risk_limit="tested", uid="uid-tested", subject="alpha", day="2023-11-14", **values)  # type: ignore[arg-type]


def rejected(number: int) -> pb.OrderEnded:
    """The venue rejects a forged order."""
    return pb.OrderEnded(cl_ord_id=f"alpha-forged-{number}", ord_status=orders_pb2.ORD_STATUS_REJECTED)


def executed(number: int) -> pb.OrderExecuted:
    """The venue executes a unit of the real order."""
    cl_ord_id = "alpha-1hg3k2m9p0ab-1"
    return pb.OrderExecuted(
        cl_ord_id=cl_ord_id, exec_id=f"x{number}", symbol="EUR-USD", side=BUY, quantity="1", price="1.1", fee="0"
    )


def refused(count: int, rejects: int = 0) -> pb.RequestsRefused:
    """Requests of alpha that were refused."""
    return pb.RequestsRefused(strategy="alpha", symbol="EUR-USD", reason="X", count=count, rejects=rejects)


class Row(NamedTuple):
    """Values of a limit, an order at it, and one over it that is number 50."""

    values: Mapping[str, str]
    within: Forge
    over: Forge


LIMITS: dict[str, Row] = {
    "maxOrderQuantity": Row(
        {"value": "10000"}, lambda it: it.order(), lambda it: it.order(order_quantity="10000.000001")
    ),
    "maxOrderNotional": Row({"value": "11001"}, lambda it: it.order(), lambda it: it.order(ask_price="1.10010001")),
    "priceCollarBps": Row(
        {"value": "10"},
        lambda it: it.order(price="1.1012001"),
        lambda it: it.order(price="1.1012002"),
    ),
    # Of alpha there is one message already.
    "maxOrderRate": Row(
        {"count": "3", "perSeconds": "10"},
        lambda it: it.order(1, after=0.1).order(2, after=10, price="1.09").order(3, price="1.08"),
        lambda it: it.order(1, after=0.1).order(2, price="1.09").order(50, after=9, price="1.08"),
    ),
    "maxOpenOrders": Row({"value": "2"}, lambda it: it.order(1), lambda it: it.order(1).order(50, price="1.09")),
    # 4,000 are held and 6,000 work.
    "maxPositionQuantity": Row({"value": "20000"}, lambda it: it.order(), lambda it: it.order(order_quantity="10001")),
    "maxGrossNotional": Row({"value": "22001"}, lambda it: it.order(), lambda it: it.order(order_quantity="10001")),
    "maxNetNotional": Row({"value": "22001"}, lambda it: it.order(), lambda it: it.order(order_quantity="10001")),
    "maxConcentration": Row({"value": "0.22001"}, lambda it: it.order(), lambda it: it.order(order_quantity="10001")),
    # The 4,000 were bought at 1.1.
    "maxDailyLoss": Row(
        {"value": "200"},
        lambda it: it.add(loss_marked=mark(day_start="0")).order(bid_price="1.05", ask_price="1.05"),
        lambda it: it.add(loss_marked=mark(day_start="0")).order(bid_price="1.0499", ask_price="1.05"),
    ),
    "maxDrawdown": Row(
        {"value": "0.002"},
        lambda it: it.add(loss_marked=mark(peak="100")).order(bid_price="1.075", ask_price="1.075"),
        lambda it: it.add(loss_marked=mark(peak="100")).order(bid_price="1.0749", ask_price="1.075"),
    ),
    "maxLossPerMinute": Row(
        {"value": "0.002"},
        lambda it: it.order(1).order(50, after=61, bid_price="1.04", ask_price="1.04", price="1.04"),
        lambda it: it.order(1).order(50, after=59, bid_price="1.04", ask_price="1.04", price="1.04"),
    ),
    "maxConsecutiveRejects": Row(
        {"value": "2"},
        lambda it: it.order(1).add(order_ended=rejected(1)).add(after=5, requests_refused=refused(5, 1)).order(),
        lambda it: it.order(1).add(order_ended=rejected(1)).add(after=5, requests_refused=refused(5, 2)).order(),
    ),
    "maxDataAgeSeconds": Row({"value": "5"}, lambda it: it.order(quote_age=5), lambda it: it.order(quote_age=5.000001)),
    "duplicateWindowMillis": Row(
        {"value": "500"},
        lambda it: it.order(1, price="1.09").order(50, after=0.5, price="1.09"),
        lambda it: it.order(1, price="1.09").order(50, after=0.499999, price="1.09"),
    ),
    # One execution there is already.
    "repeatedExecution": Row(
        {"count": "2", "perSeconds": "60"},
        lambda it: it.add(order_executed=executed(1)).order(),
        lambda it: it.add(order_executed=executed(1)).add(order_executed=executed(2)).order(),
    ),
    "maxOrderToTradeRatio": Row(
        {"value": "100"},
        lambda it: it.add(loss_marked=mark()).add(requests_refused=refused(100)).order(),
        lambda it: it.add(loss_marked=mark()).add(requests_refused=refused(101)).order(),
    ),
    "selfMatchPrevention": Row(
        {"value": "true"},
        lambda it: it.order(strategy="beta", side=SELL, price="1.10001"),
        lambda it: it.order(strategy="beta", side=SELL, price="1.1"),
    ),
    "restrictedInstruments": Row({"value": "GBP-USD"}, lambda it: it.order(), lambda it: it.order(symbol="GBP-USD")),
    # It is Tuesday, 22:13 UTC: the exchange is closed until 14:30.
    "tradingHours": Row(
        {"calendar": "XNYS"}, lambda it: it.order(after=16.3 * 3600), lambda it: it.order(after=16 * 3600)
    ),
}


def test_every_limit_has_a_row() -> None:
    assert set(LIMITS) == set(LIMIT_NAMES) == set(KNOWN)


def under(values: Mapping[str, str], limit: str) -> Scenario:
    """The engine with its trades, and the tested limit beside the generous one."""
    scenario = traded()
    scenario.do(configure(configuration(rule(BASE, "base"), rule({limit: values}))))
    return scenario


@pytest.mark.parametrize("limit", LIMITS)
def test_an_order_over_a_limit_is_found(limit: str) -> None:
    row = LIMITS[limit]
    fleet = audit(row.over(Journal(under(row.values, limit).events)))

    number, strategy = 50, "beta" if limit == "selfMatchPrevention" else "alpha"
    assert found(fleet) == [(limit, f"{strategy}-forged-{number}")]
    assert fleet.findings[0].risk_limit == "tested"


@pytest.mark.parametrize("limit", LIMITS)
def test_an_order_within_a_limit_is_not(limit: str) -> None:
    row = LIMITS[limit]
    fleet = audit(row.within(Journal(under(row.values, limit).events)))

    assert found(fleet) == []
    assert fleet.orders > 1


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_that_only_observes_finds_nothing(limit: str) -> None:
    row = LIMITS[limit]
    scenario = traded()
    scenario.do(configure(configuration(rule(BASE, "base"), rule({limit: row.values}, enforce=False))))

    assert found(audit(row.over(Journal(scenario.events)))) == []


@pytest.mark.parametrize("limit", LIMITS)
def test_a_limit_that_cannot_be_read_blocks(limit: str) -> None:
    scenario = under({"amount": "1"}, limit)

    assert found(audit(Journal(scenario.events).order())) == [(limit, "alpha-forged-50")]


# A rule's own day, and the day that the gateway marked when the order left: 2023-11-14, 22:13 UTC.
DAYS: dict[str, tuple[tuple[str, str] | None, dict[str, dict[str, str]], str, bool]] = {
    "UTC": (None, {}, "2023-11-14", True),
    "UTC, of yesterday": (None, {}, "2023-11-13", False),
    "UTC, of tomorrow": (None, {}, "2023-11-15", False),
    "of an exchange": (None, {"tradingHours": {"calendar": "XTKS"}}, "2023-11-15", True),
    "of an exchange, yesterday's": (None, {"tradingHours": {"calendar": "XTKS"}}, "2023-11-14", False),
    "its own, which began a while ago": (("America/New_York", "17:00"), {}, "2023-11-14", True),
    "its own, which does not begin yet": (("America/New_York", "17:30"), {}, "2023-11-13", True),
    "its own is not that of UTC": (("America/New_York", "17:30"), {}, "2023-11-14", False),
    "its own before its calendar's": (
        ("Asia/Tokyo", "00:00"),
        {"tradingHours": {"calendar": "24x7"}},
        "2023-11-15",
        True,
    ),
}


@pytest.mark.parametrize("limit", ["maxDailyLoss", "maxOrderToTradeRatio"])
@pytest.mark.parametrize("what", DAYS)
def test_what_is_counted_from_another_day_is_found(what: str, limit: str) -> None:
    day, more, marked, right = DAYS[what]
    scenario = traded()
    tested = rule({limit: {"value": "1000"}} | more, day=day)
    scenario.do(configure(configuration(rule(BASE, "base"), tested)))
    journal = Journal(scenario.events)
    journal.add(loss_marked=pb.LossMarked(uid="uid-tested", subject="alpha", day=marked, day_start="0"))
    accused = [item for item in found(audit(journal.order())) if item[0] == limit]

    assert accused == ([] if right else [(limit, "alpha-forged-50")])


def test_the_first_order_of_a_day_may_be_judged_by_the_day_before_and_no_other() -> None:
    scenario = traded()
    scenario.do(configure(configuration(rule(BASE, "base"), rule({"maxDailyLoss": {"value": "1000"}}))))
    journal = Journal(scenario.events)
    journal.add(loss_marked=mark(day_start="0"))
    hours = 2 * 3600
    fleet = audit(journal.order(1, after=hours).order(50, price="1.09"))

    assert found(fleet) == [("maxDailyLoss", "alpha-forged-50")]
    (finding,) = fleet.findings
    assert (finding.computed, finding.allowed) == ("2023-11-14", "2023-11-15")
    assert finding.text == "the gateway counts from the beginning of 2023-11-14, and the trading day is 2023-11-15"


@pytest.mark.parametrize("day", [("Europe/Nowhere", "17:00"), ("Europe/Zurich", "25:00"), ("", "")])
def test_a_day_that_cannot_be_read_blocks(day: tuple[str, str]) -> None:
    journal = Journal(traded().events)
    journal.add(**apply(RULE, rule(BASE, "tested", day=day)))

    assert found(audit(journal.order())) == [("limitsInForce", "alpha-forged-50")]


@pytest.mark.parametrize(
    ("limit", "value", "within", "over"),
    [
        ("maxConsecutiveRejects", "6", refused(5, 2), refused(5, 3)),
        ("maxOrderToTradeRatio", "90", refused(33), refused(34)),
        ("maxOrderToTradeRatio", "300", refused(100), refused(101)),
    ],
)
def test_over_three_gateways_one_has_its_part(
    limit: str, value: str, within: pb.RequestsRefused, over: pb.RequestsRefused
) -> None:
    scenario = traded()
    tested = rule({limit: {"value": value}}, total=True, gateways=[VENUE, "two", "three"])
    scenario.do(configure(configuration(rule(BASE, "base"), tested)))
    marked = pb.LossMarked(risk_limit="tested", uid="uid-tested", day="2023-11-14")

    def judged(requests: pb.RequestsRefused) -> list[tuple[str, str]]:
        journal = Journal([*scenario.events])
        journal.add(loss_marked=marked)
        return found(audit(journal.add(after=1, requests_refused=requests).order()))

    assert judged(within) == []
    assert judged(over) == [(limit, "alpha-forged-50")]


QUOTED = ("priceCollarBps", "maxDataAgeSeconds", "maxGrossNotional", "maxNetNotional", "maxConcentration")


@pytest.mark.parametrize("limit", QUOTED)
def test_what_cannot_be_judged_is_counted_and_never_fine(limit: str) -> None:
    row = LIMITS[limit]
    journal = Journal(under(row.values, limit).events)
    fleet = audit(journal.order(bid_price="", ask_price="", quote_unix_ns=0))

    assert found(fleet) == []
    assert [unjudged.limit for unjudged in fleet.unjudged] == [limit]


def test_a_journal_without_its_configuration_is_not_judged() -> None:
    journal = Journal(traded().events)
    journal.add(configuration_applied=pb.ConfigurationApplied(revision="r9"))
    fleet = audit(journal.order())

    assert found(fleet) == []
    assert [unjudged.limit for unjudged in fleet.unjudged] == ["limitsInForce"]


def kill(
    mode: kill_pb2.KillMode.ValueType = kill_pb2.KILL_MODE_CANCEL, selects: str = "fx", **scope: str
) -> pb.KillChanged:
    """A kill order for strategies with a label."""
    selector = kill_pb2.LabelSelector(match_labels={"desk": selects})
    return pb.KillChanged(
        order=kill_pb2.KillOrder(
            namespace="ops",
            name="stop",
            mode=mode,
            scope=kill_pb2.KillScope(strategy_selector=selector, **({"namespaces_from": "All"} | scope)),  # type: ignore[arg-type]
        ),
        channel="Api",
    )


def breach(action: str = "Block", subject: str = "alpha", enforced: bool = True) -> pb.BreachChanged:
    """A latched breach of the generous limit."""
    return pb.BreachChanged(
        breach="maxDailyLoss/x@sim-fx-9",
        risk_limit="base",
        uid="uid-base",
        limit="maxDailyLoss",
        subject=subject,
        action=action,
        enforced=enforced,
    )


def apply(*rules: config_pb2.RiskRule, **more: object) -> dict[str, Any]:
    """A configuration as the journal has it."""
    message = configuration(*rules, **more)
    return {"configuration_applied": pb.ConfigurationApplied(revision=message.revision, config=message)}


def bound(
    state: config_pb2.TradingState.ValueType, symbols: Sequence[str] = ("EUR-USD",)
) -> list[config_pb2.StrategyBinding]:
    """Alpha in a state."""
    return [config_pb2.StrategyBinding(strategy="alpha", state=state, symbols=symbols)]


RULE = rule(BASE, "base")
SMALLER: dict[str, Any] = {"side": SELL, "order_quantity": "4000", "price": "1.2"}
CLOSING: dict[str, Any] = SMALLER | {"closing": True, "ord_type": orders_pb2.ORD_TYPE_MARKET, "price": ""}
FLATTEN = config_pb2.TRADING_STATE_FLATTEN


def guests() -> dict[str, Any]:
    """Beside alpha and beta, an alpha of the namespace ops."""
    binds = rule(BASE, "base")
    binds.strategies.append("alpha.ops")
    strategies = [
        config_pb2.StrategyBinding(
            strategy=name, state=config_pb2.TRADING_STATE_ACTIVE, labels={"desk": "fx"}, symbols=["EUR-USD"]
        )
        for name in binds.strategies
    ]
    labels = {"ops": config_pb2.NamespaceLabels(labels={"owner": "quants"})}
    return apply(binds, strategies=strategies, strategy_namespaces=labels)


def kept(strategy: str) -> pb.KillChanged:
    """A kill order for others that goes on to stop a strategy."""
    found = kill(selects="rates")
    found.strategies.append(strategy)
    return found


def of_owner(owner: str) -> pb.KillChanged:
    """A kill order for namespaces with a label."""
    found = kill(namespaces_from="Selector")
    found.order.scope.namespace_selector.match_labels["owner"] = owner
    return found


CONTROLS: dict[str, tuple[str, Forge]] = {
    "a kill order that cancels": ("killSwitch", lambda it: it.add(kill_changed=kill()).order()),
    "a kill order that has stopped it before it got other labels": (
        "killSwitch",
        lambda it: it.add(kill_changed=kept("alpha")).order(),
    ),
    "a kill order that blocks": (
        "killSwitch",
        lambda it: it.add(kill_changed=kill(kill_pb2.KILL_MODE_BLOCK)).order(),
    ),
    "a kill order of the guest's own namespace": (
        "killSwitch",
        lambda it: it.add(**guests()).add(kill_changed=kill(namespaces_from="Same")).order(strategy="alpha.ops"),
    ),
    "a kill order by labels of the guest's namespace": (
        "killSwitch",
        lambda it: it.add(**guests()).add(kill_changed=of_owner("quants")).order(strategy="alpha.ops"),
    ),
    "a kill order of a mode that nobody knows": (
        "killSwitch",
        lambda it: it.add(kill_changed=kill(kill_pb2.KILL_MODE_UNSPECIFIED)).order(),
    ),
    "a kill order that lets reduce, and an order that does not": (
        "killSwitch",
        lambda it: it.add(kill_changed=kill(kill_pb2.KILL_MODE_CLOSE_ONLY)).order(),
    ),
    "a kill order that flattens, and an order of the strategy": (
        "killSwitch",
        lambda it: it.add(kill_changed=kill(kill_pb2.KILL_MODE_FLATTEN)).order(**SMALLER),
    ),
    "a kill order that blocks, and an order that closes": (
        "killSwitch",
        lambda it: it.add(kill_changed=kill(kill_pb2.KILL_MODE_BLOCK)).order(**CLOSING),
    ),
    "a breach that blocks": ("breach", lambda it: it.add(breach_changed=breach()).order()),
    "a breach of all that are counted": ("breach", lambda it: it.add(breach_changed=breach(subject="")).order()),
    "a breach that cancels": ("breach", lambda it: it.add(breach_changed=breach("Cancel")).order(**SMALLER)),
    "a breach that flattens": ("breach", lambda it: it.add(breach_changed=breach("Flatten")).order(**SMALLER)),
    "a breach that lets reduce": ("breach", lambda it: it.add(breach_changed=breach("CloseOnly")).order()),
    "a breach with an action that nobody knows": (
        "breach",
        lambda it: it.add(breach_changed=breach("Explode")).order(**SMALLER),
    ),
    "a breach that slows, and three orders in a second": (
        "breach",
        lambda it: it.add(breach_changed=breach("Slow")).order(1).order(2, price="1.09").order(50, price="1.08"),
    ),
    "a halt": ("halt", lambda it: it.add(halt_changed=pb.HaltChanged(halt="X@1", text="x")).order()),
    "a venue that is suspended": ("halt", lambda it: it.add(**apply(RULE, halted_reason="VenueSuspended")).order()),
    "a strategy that is suspended": (
        "binding",
        lambda it: it.add(**apply(RULE, strategies=bound(config_pb2.TRADING_STATE_SUSPENDED))).order(),
    ),
    "an instrument that its strategy names no more": (
        "binding",
        lambda it: it.add(**apply(RULE, strategies=bound(ACTIVE, ["GBP-USD"]))).order(),
    ),
    "a strategy that is bound no more": (
        "binding",
        lambda it: it.add(**apply(RULE, strategies=bound(ACTIVE))).order(strategy="gamma"),
    ),
    "no configuration": (
        "configuration",
        lambda it: it.add(configuration_applied=pb.ConfigurationApplied()).order(),
    ),
    "no limit": ("limitsInForce", lambda it: it.add(**apply()).order()),
    "a limit that only observes": ("limitsInForce", lambda it: it.add(**apply(rule(BASE, enforce=False))).order()),
    "a limit for another instrument": (
        "limitsInForce",
        lambda it: it.add(**apply(rule(BASE, symbols=["GBP-USD"]))).order(),
    ),
    "a rule without limits": ("limitsInForce", lambda it: it.add(**apply(RULE, rule({}, "empty"))).order()),
    "a required limit that is missing": (
        "requiredLimits",
        lambda it: it.add(**apply(RULE, required_limits=["OrderSize", "Position"])).order(),
    ),
    "a required limit that nobody knows": (
        "requiredLimits",
        lambda it: it.add(**apply(RULE, required_limits=["Luck"])).order(),
    ),
    "a closing order that nobody asked for": ("binding", lambda it: it.order(**CLOSING)),
    "a closing order that closes too much": (
        "binding",
        lambda it: it.add(**apply(RULE, strategies=bound(FLATTEN))).order(**CLOSING | {"order_quantity": "4001"}),
    ),
}


@pytest.mark.parametrize("case", CONTROLS)
def test_an_order_that_something_stops_is_found(case: str) -> None:
    limit, forge = CONTROLS[case]
    fleet = audit(forge(Journal(traded().events)))

    assert [found_limit for found_limit, _ in found(fleet)] == [limit]
    assert found(fleet)[0][1].endswith("-forged-50")


ADMITTED: dict[str, Forge] = {
    "a kill order of a guest's namespace, and another's order": lambda it: (
        it.add(**guests()).add(kill_changed=kill(namespaces_from="Same")).order()
    ),
    "a kill order for namespaces of others": lambda it: (
        it.add(**guests()).add(kill_changed=of_owner("desk")).order(strategy="alpha.ops")
    ),
    "a kill order for others": lambda it: it.add(kill_changed=kill(selects="equities")).order(),
    "a kill order of another namespace for its own": lambda it: it.add(
        kill_changed=kill(namespaces_from="Same")
    ).order(),
    "a kill order that was re-armed": lambda it: (
        it.add(kill_changed=kill()).add(kill_changed=pb.KillChanged(order=kill().order, rearmed=True)).order()
    ),
    "a kill order that lets reduce": lambda it: it.add(kill_changed=kill(kill_pb2.KILL_MODE_CLOSE_ONLY)).order(
        **SMALLER
    ),
    "an order that reduces what its strategy has left": lambda it: it.add(
        **apply(RULE, strategies=bound(ACTIVE, ["GBP-USD"]))
    ).order(**SMALLER),
    "a kill order that flattens": lambda it: it.add(kill_changed=kill(kill_pb2.KILL_MODE_FLATTEN)).order(**CLOSING),
    "a breach that is told alone": lambda it: it.add(breach_changed=breach("Alert")).order(),
    "a breach of another strategy": lambda it: it.add(breach_changed=breach(subject="beta")).order(),
    "a breach that only observes": lambda it: it.add(breach_changed=breach(enforced=False)).order(),
    "a breach that was cleared": lambda it: (
        it.add(breach_changed=breach())
        .add(breach_changed=pb.BreachChanged(breach="maxDailyLoss/x@sim-fx-9", cleared=True))
        .order()
    ),
    "a breach that slows, and an order each second": lambda it: (
        it.add(breach_changed=breach("Slow")).order(1).order(2, after=1, price="1.09").order(50, after=1, price="1.08")
    ),
    "a breach that flattens": lambda it: it.add(breach_changed=breach("Flatten")).order(**CLOSING),
    "a halt that was cleared": lambda it: (
        it.add(halt_changed=pb.HaltChanged(halt="X@1"))
        .add(halt_changed=pb.HaltChanged(halt="X@1", cleared=True))
        .order()
    ),
    "a strategy that is deleted and closed": lambda it: it.add(**apply(RULE, strategies=bound(FLATTEN))).order(
        **CLOSING
    ),
    "a venue that is deleted, and closes": lambda it: it.add(
        **apply(RULE, strategies=bound(FLATTEN), halted_reason="VenueDeleted")
    ).order(**CLOSING),
    "required limits that are there": lambda it: it.add(**apply(RULE, required_limits=["OrderSize"])).order(),
}


@pytest.mark.parametrize("case", ADMITTED)
def test_an_order_that_nothing_stops_is_not(case: str) -> None:
    assert found(audit(ADMITTED[case](Journal(traded().events)))) == []


def test_a_finding_says_all_that_is_needed() -> None:
    fleet = audit(Journal(under({"value": "10000"}, "maxOrderQuantity").events).order(order_quantity="10001"))

    (finding,) = fleet.findings
    told = finding.fields()
    assert told == {
        "namespace": "cl-research",
        "venue": VENUE,
        "sequence": finding.sequence,
        "at_unix_ns": finding.at_unix_ns,
        "cl_ord_id": "alpha-forged-50",
        "strategy": "alpha",
        "symbol": "EUR-USD",
        "limit": "maxOrderQuantity",
        "risk_limit": "tested",
        "computed": "10001",
        "allowed": "10000",
        "text": "order quantity 10001 is over 10000",
    }
