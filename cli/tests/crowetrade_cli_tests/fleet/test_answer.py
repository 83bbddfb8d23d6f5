"""Why does it not trade: the causes of a table of clusters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crowetrade_api_tests.samples import limit_manifest, strategy_manifest, venue_manifest
from crowetrade_cli.fleet.answer import Answer, answer_for_strategy, answer_for_venue
from crowetrade_cli.fleet.status import status

Object = dict[str, Any]
AT = "2026-01-05T09:00:00Z"
NOW = datetime(2026, 1, 5, 9, 20, tzinfo=UTC)


def told(manifest: Object, phase: str, *conditions: tuple[str, str, str, str], seen: int = 1) -> Object:
    listed = [
        {
            "type": kind,
            "status": status,
            "reason": reason,
            "message": message,
            "lastTransitionTime": "2026-01-05T09:00:00Z",
        }
        for kind, status, reason, message in conditions
    ]
    told_ = {"phase": phase, "conditions": listed, "observedGeneration": seen, "lastReportTime": AT}
    return {**manifest, "metadata": {**manifest["metadata"], "generation": 1}, "status": told_}


def trading() -> Object:
    return told(strategy_manifest(), "Trading", ("Trading", "True", "OrdersAccepted", ""))


def halted(reason: str, message: str) -> Object:
    return told(strategy_manifest(), "Halted", ("Halted", "True", reason, message))


def connected() -> Object:
    return told(venue_manifest(), "Connected")


def engaged(namespace: str = "desk", name: str = "fx") -> Object:
    return {
        "apiVersion": "trading.crowetrade.io/v1alpha1",
        "kind": "KillSwitch",
        "metadata": {"name": name, "namespace": namespace, "uid": "1", "generation": 1},
        "spec": {"engaged": True, "reason": "drill", "engagedBy": "alice"},
    }


def what(answer: Answer) -> list[str]:
    return [cause.what for cause in answer.causes]


def test_what_trades_has_no_cause() -> None:
    answer = answer_for_strategy(trading(), [connected()], [limit_manifest()], [], NOW)
    assert (answer.trades, answer.state, answer.causes) == (True, "Trading", [])


def test_a_kill_switch() -> None:
    stopped = halted("KillSwitchEngaged", "KillSwitch desk/fx is engaged: drill")
    answer = answer_for_strategy(stopped, [connected()], [], [engaged(), engaged("elsewhere", "other")], NOW)
    assert (answer.trades, answer.reason) == (False, "KillSwitchEngaged")
    assert what(answer) == ["KillSwitch desk/fx"]
    assert answer.causes[0].why == "engaged by alice: drill"
    assert "crowetrade rearm fx -n desk" in answer.causes[0].next


def test_a_kill_switch_that_stops_somebody_else_is_no_cause() -> None:
    assert what(answer_for_strategy(trading(), [connected()], [], [engaged()], NOW)) == []


def test_a_breach_of_its_own_and_not_that_of_a_neighbour() -> None:
    breach = {
        "limit": "maxDailyLoss",
        "action": "Block",
        "since": "2026-01-05T09:00:00Z",
        "message": "lost 21000 of 20000",
    }
    mine = {**breach, "id": "fx-desk/ema@sim-fx-88", "strategy": "ema", "venue": "sim-fx"}
    other = {**breach, "id": "fx-desk/pair@sim-fx-89", "strategy": "pair", "venue": "sim-fx"}
    limit = {**limit_manifest(), "status": {"breached": [mine, other]}}
    answer = answer_for_strategy(halted("LimitBreached", "fx-desk"), [connected()], [limit], [], NOW)
    assert what(answer) == ["RiskLimit desk/fx-desk"]
    assert answer.causes[0].next == "crowetrade clear-breach fx-desk fx-desk/ema@sim-fx-88 -n desk --reason ..."


def test_a_venue_that_is_not_connected() -> None:
    why = ("SessionEstablished", "False", "CredentialsMissing", "Vault has no venues/sim-fx")
    venue = told(venue_manifest(), "Starting", why)
    stopped = told(strategy_manifest(), "Pending", ("Trading", "False", "VenueNotConnected", "sim-fx is not connected"))
    answer = answer_for_strategy(stopped, [venue, told(venue_manifest("other"), "Starting")], [], [], NOW)
    assert (answer.reason, what(answer)) == ("VenueNotConnected", ["VenueConnection desk/sim-fx"])
    assert answer.causes[0].why == "Starting: Vault has no venues/sim-fx"


def test_a_venue_that_is_not_there() -> None:
    assert what(answer_for_strategy(trading(), [], [], [], NOW)) == ["VenueConnection desk/sim-fx"]


def test_a_suspension_says_how_it_ends() -> None:
    manifest = strategy_manifest()
    manifest["spec"]["suspend"] = True
    answer = answer_for_strategy(told(manifest, "Suspended"), [connected()], [], [], NOW)
    assert answer.causes[0].next == "crowetrade resume strategy/ema -n desk"


@pytest.mark.parametrize(("seen", "why"), [(1, "looked at generation 1 of it and not"), (-1, "not carried it out")])
def test_a_spec_that_nobody_has_looked_at(seen: int, why: str) -> None:
    item = told(strategy_manifest(), "Trading", seen=seen)
    item["metadata"]["generation"] = 2
    (cause,) = answer_for_strategy(item, [connected()], [limit_manifest()], [], NOW).causes
    assert why in cause.why
    assert cause.next.startswith("is the operator running?")


def test_a_venue_of_its_own() -> None:
    stopped = told(venue_manifest(), "Halted", ("Halted", "True", "KillSwitchEngaged", "KillSwitch fx is engaged"))
    answer = answer_for_venue(stopped, [engaged()], NOW)
    assert (answer.trades, what(answer)) == (False, ["KillSwitch desk/fx"])
    assert answer_for_venue(connected(), [engaged()], NOW).causes == []


def test_what_was_well_when_somebody_reported_last_is_not_called_well() -> None:
    """No operator works, and its pods may be dead, too."""
    for answer, was in (
        (answer_for_strategy(trading(), [connected()], [], [], NOW + timedelta(seconds=1)), "Trading"),
        (answer_for_venue(connected(), [], NOW + timedelta(seconds=1)), "Connected"),
    ):
        assert (answer.trades, answer.state, answer.reason) == (False, "Unknown", "NotReported")
        assert answer.message == f"nobody has reported since {AT}; it was {was} then"
        assert answer.causes[0].why == f"nobody has reported since {AT}"
        assert answer.causes[0].next.startswith("is the operator running?")


def test_an_old_status_that_says_why_it_stopped_is_said_to_be_old() -> None:
    answer = answer_for_strategy(halted("Breach", "it lost"), [connected()], [], [], NOW + timedelta(hours=1))
    assert (answer.state, answer.reason, answer.message) == (
        "Halted",
        "Breach",
        f"it lost (nobody has reported since {AT})",
    )


@pytest.mark.parametrize("reported", [None, "", "yesterday"])
def test_a_status_without_a_time_is_not_believed(reported: str | None) -> None:
    item = trading()
    item["status"]["lastReportTime"] = reported
    answer = answer_for_strategy(item, [connected()], [], [], NOW)
    assert (answer.trades, answer.causes[0].why) == (False, "nobody knows when its status was reported")


def test_one_that_nobody_has_looked_at_yet_is_not_old() -> None:
    item = strategy_manifest()
    answer = answer_for_strategy(item, [connected()], [], [], NOW)
    assert (answer.trades, answer.message) == (False, "the operator has not written its status yet")


def test_the_whole_fleet_counts_as_trading_only_who_was_reported_lately() -> None:
    for now, stopped in ((NOW, 0), (NOW + timedelta(seconds=1), 1)):
        found = status([trading()], [connected()], [], [], now)
        assert (len(found.strategies), len(found.venues)) == (stopped, stopped)
