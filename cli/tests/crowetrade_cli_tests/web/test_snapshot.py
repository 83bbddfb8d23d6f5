from __future__ import annotations

import json
from typing import Any

import pytest

from crowetrade_cli.local.report import LimitRow, OrderRow, PositionRow, Report, StrategyRow, VenueRow
from crowetrade_cli.local.stops import StopRow
from crowetrade_cli.web.snapshot import ORDERS_SHOWN, amounts, snapshot, totals

AT_NS = 1_772_355_600_123_456_789  # 2026-03-01T09:00:00.123456789Z


def _strategy(name: str, pnl: str, currency: str = "USD", namespace: str = "desk") -> StrategyRow:
    return StrategyRow(namespace, name, "Trading", "", ["1000 EUR-USD"], True, pnl, currency, 3, 2, 1)


def _report(**rows: Any) -> Report:
    return Report(**{"stops": [], "strategies": [], "positions": [], "orders": [], "venues": [], "limits": [], **rows})


TOTALS = {
    "the sum to the cent": ([_strategy("a", "0.10"), _strategy("b", "0.20")], {"USD": "0.30"}),
    "one of each currency": ([_strategy("a", "1.00"), _strategy("b", "-2.50", "EUR")], {"EUR": "-2.50", "USD": "1.00"}),
    "not known where that of one strategy is not": ([_strategy("a", "1.00"), _strategy("b", "")], {"USD": ""}),
    "none without a strategy": ([], {}),
}


@pytest.mark.parametrize("case", TOTALS)
def test_totals(case: str) -> None:
    strategies, expected = TOTALS[case]
    assert totals(_report(strategies=strategies)) == expected


def test_the_curve_has_each_strategy_and_the_total() -> None:
    now = _report(strategies=[_strategy("a", "1.00"), _strategy("a", "2.00", namespace="other")])
    assert amounts(now) == {"desk/a": "1.00", "other/a": "2.00", "USD": "3.00"}


LIMITS = {
    "far": ("10", "100", ("good", "10%", 0.1)),
    "near": ("80", "100", ("waits", "80%", 0.8)),
    "all of it": ("100", "100", ("bad", "100%", 1.0)),
    "beyond": ("150", "100", ("bad", "150%", 1.0)),
    "nothing is allowed": ("0", "0", ("bad", "none allowed", 1.0)),
}


@pytest.mark.parametrize("case", LIMITS)
def test_a_limit_has_its_share_in_words_in_length_and_in_tone(case: str) -> None:
    used, allowed, expected = LIMITS[case]
    row = LimitRow("desk", "fx", "maxPositionQuantity", "a/sim/EUR-USD", used, allowed)
    (shown,) = snapshot(_report(limits=[row]), [], "", AT_NS)["limits"]
    assert (shown["tone"], shown["share"], shown["filled"]) == expected
    assert shown["scope"] == "a/sim/EUR-USD"


def _order(number: int) -> OrderRow:
    return OrderRow(
        "desk", "a", "sim", f"a-1-{number}", "EUR-USD", "Buy", "Limit", "IOC", "9", "1", "1.1", "New", f"{number:09}"
    )


def test_of_many_open_orders_the_newest_are_shown_and_all_are_counted() -> None:
    shown = snapshot(_report(orders=[_order(number) for number in range(ORDERS_SHOWN + 5)]), [], "", AT_NS)
    assert shown["orders_open"] == ORDERS_SHOWN + 5
    newest_first = range(ORDERS_SHOWN + 4, 4, -1)
    assert [row["cl_ord_id"] for row in shown["orders"]] == [f"a-1-{number}" for number in newest_first]
    assert shown["orders"][0]["terms"] == "Limit IOC"


def test_names_carry_their_namespace_where_there_are_several() -> None:
    position = PositionRow("desk", "a", "sim", "EUR-USD", "1", "1.1", "1.2", "0.10", "0.00", "0.01", "0.09")
    venue = VenueRow("other", "sim", "LoggedOn", "", 0, 5, 1234)
    fill = {"namespace": "desk", "strategy": "a"}
    shown = snapshot(_report(strategies=[_strategy("a", "")], positions=[position], venues=[venue]), [fill], "", AT_NS)
    assert [row["label"] for part in ("strategies", "positions", "fills") for row in shown[part]] == ["desk/a"] * 3
    assert (shown["venues"][0]["label"], shown["venues"][0]["latency"]) == ("other/sim", "1.2 ms")


def test_it_is_json_and_says_when_it_was_made() -> None:
    shown = snapshot(_report(strategies=[_strategy("a", "1.00")]), [], "Stopping", AT_NS)
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["time"], shown["message"]) == ("2026-03-01T09:00:00.123456789Z", "Stopping")


def test_what_is_stopped_is_shown_with_whom_it_stops() -> None:
    row = StopRow("desk", "KillSwitch", "all", "Cancel", ("desk/a", "other/b"), "1/2", "why", "how")
    venues = [VenueRow("desk", "sim", "LoggedOn", "", 0, 5, 1), VenueRow("other", "sim", "LoggedOn", "", 0, 5, 1)]
    [shown] = snapshot(_report(stops=[row], venues=venues), [], "", AT_NS)["stops"]
    assert (shown["label"], shown["whom"], shown["halted"]) == ("desk/all", "desk/a, other/b", "1/2")
    assert shown["key"] == "KillSwitch/desk/all"
