"""Limits that count over several gateways: journals of two gateways together, with clocks that differ."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.bus.v1 import orders_pb2
from crowetrade_agents.auditor.figures import decimal
from crowetrade_agents.auditor.fleet import CLOCK_TOLERANCE_NS, Fleet
from crowetrade_agents.auditor.ledger import Ledger
from crowetrade_agents.auditor.marks import Quote
from crowetrade_agents_tests.auditor.forging import BASE, Journal, configuration, found, rule
from crowetrade_agents_tests.gateway.scenario import SECOND, START

NAMES = (("desk", "one"), ("desk", "two"))
INSTRUMENTS = [pb.ListedInstrument(symbol="EUR-USD", currency="USD", multiplier="1")]


def journal(limits: Mapping[str, Mapping[str, str]], **more: object) -> Journal:
    """A gateway that shares a limit with another one, and has a generous one of its own."""
    shared = rule(limits, "shared", total=True, gateways=("one", "two"))
    message = configuration(rule(BASE, "base"), shared, **more)
    applied = pb.ConfigurationApplied(revision=message.revision, config=message, instruments=INSTRUMENTS)
    return Journal([pb.JournalEvent(at_unix_ns=START, configuration_applied=applied)])


def audit(one: Journal, two: Journal, *, quoted: bool = True, more: Quote | None = None) -> Fleet:
    """Both journals by the times of their events."""
    fleet = Fleet()
    for name in NAMES:
        ledger = Ledger(*name)
        fleet.follow(ledger)
        if quoted:
            ledger.marks.heard(1)
            ledger.marks.add("EUR-USD", Quote(START - 60 * SECOND, decimal("1.1"), decimal("1.1")))
            if more is not None:
                ledger.marks.add("EUR-USD", more)
    events = [
        (event.at_unix_ns, place, sequence, event)
        for place, written in enumerate((one, two))
        for sequence, event in enumerate(written.events, start=1)
    ]
    merged = sorted(events, key=lambda item: item[:3])
    for _, place, sequence, event in merged:
        fleet.take(NAMES[place], sequence, event)
    fleet.settle(merged[-1][0])
    return fleet


SHARED: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    # 10,000 at each gateway, quoted at 1.1.
    "maxOpenOrders": ({"value": "2"}, {"value": "1"}),
    "maxGrossNotional": ({"value": "22000"}, {"value": "21999"}),
    "maxNetNotional": ({"value": "22000"}, {"value": "21999"}),
    "maxOrderRate": ({"count": "2", "perSeconds": "60"}, {"count": "1", "perSeconds": "60"}),
}
QUOTED: dict[str, Any] = {"bid_price": "1.1", "ask_price": "1.1"}


@pytest.mark.parametrize("limit", SHARED)
def test_the_sum_over_gateways_is_judged(limit: str) -> None:
    for values, accused in zip(SHARED[limit], ([], [(limit, "alpha-forged-50")]), strict=True):
        one = journal({limit: values}).order(1, after=2, **QUOTED)
        two = journal({limit: values}).order(50, after=10, **QUOTED)

        fleet = audit(one, two)

        assert found(fleet) == accused
        assert all(finding.venue == "two" for finding in fleet.findings)
        assert not fleet.unjudged


@pytest.mark.parametrize("limit", SHARED)
def test_nobody_is_accused_because_of_a_clock(limit: str) -> None:
    """The other order came within the tolerance: it may as well have come after."""
    values = SHARED[limit][1]
    apart = (CLOCK_TOLERANCE_NS - 1) / SECOND
    one = journal({limit: values}).order(1, after=10 - apart, **QUOTED)
    two = journal({limit: values}).order(50, after=10, **QUOTED)

    accused = found(audit(one, two))

    # The earlier one came alone in any case, the later one may have.
    assert accused == []


def test_what_ended_at_the_other_gateway_does_not_count() -> None:
    values = {"value": "1"}
    one = journal({"maxOpenOrders": values}).order(1, after=2)
    one.add(after=3, order_ended=pb.OrderEnded(cl_ord_id="alpha-forged-1", ord_status=orders_pb2.ORD_STATUS_CANCELED))
    two = journal({"maxOpenOrders": values}).order(50, after=10)

    assert found(audit(one, two)) == []


def test_opposite_positions_of_two_gateways_cancel_out_in_the_net() -> None:
    values = {"value": "21999"}
    sold: dict[str, Any] = {"side": 2, "price": "1.1", **QUOTED}
    one = journal({"maxNetNotional": values}).order(1, after=2, **sold)
    two = journal({"maxNetNotional": values}).order(50, after=10, **QUOTED)

    assert found(audit(one, two)) == []


LOSSES: dict[str, tuple[str, str]] = {
    # 150 at each gateway, with a capital of 200,000.
    "maxDailyLoss": ("300", "299"),
    "maxDrawdown": ("0.0015", "0.001495"),
    "maxLossPerMinute": ("0.0015", "0.001495"),
}


def losing(limit: str, value: str, *, day: str = "2023-11-14") -> Journal:
    """A gateway that bought 10,000 at 1.1; the market falls to 1.085 in the tenth second."""
    one = journal({limit: {"value": value}})
    mark = pb.LossMarked(risk_limit="shared", uid="uid-shared", day=day, day_start="0", peak="0", currency="USD")
    one.add(0, loss_marked=mark).order(1, after=1, **QUOTED)
    bought: dict[str, Any] = {"symbol": "EUR-USD", "side": 1, "quantity": "10000", "price": "1.1", "fee": "0"}
    return one.add(1, order_executed=pb.OrderExecuted(cl_ord_id="alpha-forged-1", exec_id="x", **bought))


def audit_losses(one: Journal, two: Journal) -> Fleet:
    """Both, with the quotes; the last order of `two` is judged."""
    return audit(one, two, more=Quote(START + 10 * SECOND, decimal("1.085"), decimal("1.085")))


FALLEN: dict[str, Any] = {"price": "1.085", "bid_price": "1.085", "ask_price": "1.085"}


@pytest.mark.parametrize("limit", LOSSES)
def test_losses_of_all_gateways_are_judged_together(limit: str) -> None:
    for value, accused in zip(LOSSES[limit], ([], [(limit, "alpha-forged-50")]), strict=True):
        fleet = audit_losses(losing(limit, value), losing(limit, value).order(50, after=20, **FALLEN))

        assert found(fleet) == accused
        assert all((item.computed, item.allowed) == ("300", "299") for item in fleet.findings)
        assert not fleet.unjudged


@pytest.mark.parametrize("limit", LOSSES)
def test_a_gateway_whose_breach_is_latched_takes_no_share_of_the_others(limit: str) -> None:
    value = LOSSES[limit][1]
    latched = pb.BreachChanged(
        breach="b", risk_limit="shared", uid="uid-shared", limit=limit, action="Block", enforced=True
    )
    one = losing(limit, value).add(9, breach_changed=latched)

    assert found(audit_losses(one, losing(limit, value).order(50, after=20, **FALLEN))) == []


def test_a_loss_of_another_day_counts_nothing_and_without_a_baseline_it_is_not_judged() -> None:
    two = losing("maxDailyLoss", "299").order(50, after=20, **FALLEN)

    # At gateway one its own order is wrong; that of gateway two is not.
    accused = found(audit_losses(losing("maxDailyLoss", "299", day="2023-11-13"), two))
    assert accused == [("maxDailyLoss", "alpha-forged-1")]

    one = losing("maxDailyLoss", "299")
    one.events = [event for event in one.events if event.WhichOneof("event") != "loss_marked"]
    fleet = audit_losses(one, two)

    assert found(fleet) == []
    assert ("two", "maxDailyLoss") in [(item.venue, item.limit) for item in fleet.unjudged]


def test_a_gateway_that_has_started_knows_no_minute_before_it() -> None:
    one = losing("maxLossPerMinute", "0.001495").add(9, session_started=pb.SessionStarted(pod="p", fencing_token=2))
    two = losing("maxLossPerMinute", "0.001495").order(50, after=20, **FALLEN)

    assert found(audit_losses(one, two)) == []


def test_a_loss_counts_by_the_limit_that_its_own_gateway_has() -> None:
    """150 of 600 and 150 of 200 are the whole; the limit of one of them was lowered a moment ago."""
    two = losing("maxDailyLoss", "200").order(50, after=20, **FALLEN)

    assert found(audit_losses(losing("maxDailyLoss", "600"), two)) == []
    assert found(audit_losses(losing("maxDailyLoss", "599"), two)) == [("maxDailyLoss", "alpha-forged-50")]


def test_without_prices_of_the_other_gateway_the_sum_is_not_judged() -> None:
    values = {"value": "21999"}
    one = journal({"maxGrossNotional": values}).order(1, after=2, **QUOTED)
    two = journal({"maxGrossNotional": values}).order(50, after=10, **QUOTED)

    fleet = audit(one, two, quoted=False)

    assert found(fleet) == []
    assert ("two", "maxGrossNotional") in [(item.venue, item.limit) for item in fleet.unjudged]


def test_while_the_other_journal_cannot_be_read_the_sum_is_not_judged() -> None:
    fleet = Fleet()
    fleet.follow(Ledger(*NAMES[1]))
    fleet.lagging = {NAMES[0]}
    two = journal({"maxOpenOrders": {"value": "5"}}).order(50, after=10)
    for sequence, event in enumerate(two.events, start=1):
        fleet.take(NAMES[1], sequence, event)
    fleet.settle(two.now_ns)

    assert found(fleet) == []
    assert [(item.venue, item.limit) for item in fleet.unjudged] == [("two", "maxOpenOrders")]


def test_a_sum_that_is_not_judged_yet_holds_back_how_far_was_told() -> None:
    fleet = Fleet()
    fleet.follow(Ledger(*NAMES[1]))
    two = journal({"maxOpenOrders": {"value": "5"}}).order(50, after=10).add(after=0.1, halt_changed=pb.HaltChanged())
    for sequence, event in enumerate(two.events, start=1):
        fleet.take(NAMES[1], sequence, event)

    assert fleet.judged(NAMES[1]) == 1
    fleet.settle(two.now_ns)
    assert fleet.judged(NAMES[1]) == 3
