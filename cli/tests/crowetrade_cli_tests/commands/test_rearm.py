"""`crowetrade rearm`, `clear-breach` and `status` against a real API server."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from crowetrade_api_tests.samples import limit_manifest, strategy_manifest, venue_manifest
from crowetrade_cli_tests.cluster import Cluster
from crowetrade_cli_tests.conftest import Run
from crowetrade_cli_tests.control import ScriptedGateway

pytestmark = pytest.mark.integration
BREACH = "fx-desk/eurusd-ema@sim-fx-88"
CLEAR = "trading.crowetrade.io/clear-breach"


def _engaged(namespace: str, by: str) -> dict[str, Any]:
    return {
        "apiVersion": "trading.crowetrade.io/v1alpha1",
        "kind": "KillSwitch",
        "metadata": {"name": "fx", "namespace": namespace},
        "spec": {"engaged": True, "reason": "drill", "engagedBy": by},
    }


def test_rearm(cluster: Cluster, run: Run) -> None:
    cluster.apply(_engaged(cluster.namespace, "alice"))
    ended = run("rearm", "fx", "--reason", "drill is over", "-n", cluster.namespace)
    assert (ended.code, ended.err) == (0, "")
    spec = cluster.get("killswitch", "fx")["spec"]
    assert (spec["engaged"], spec["reason"], spec["engagedBy"]) == (False, "drill is over", "alice")
    again = run("rearm", "fx", "--reason", "drill is over", "-n", cluster.namespace)
    assert (again.code, again.out) == (0, f"KillSwitch {cluster.namespace}/fx is not engaged.\n")


def test_who_engaged_it_does_not_rearm_it_and_another_person_does(
    cluster: Cluster, policies: None, second_person: Path, run: Run
) -> None:
    """By the policies of the chart."""
    run("kill", "--all", "--reason", "drill", "-n", cluster.namespace, "--plain", "--timeout", "0.1")
    refused = run("rearm", "all", "--reason", "over", "-n", cluster.namespace)
    assert refused.code == 1
    assert "admin engaged this KillSwitch: ask another person with the verb rearm on killswitches" in refused.err
    assert refused.err.count("\n") == 1
    assert cluster.get("killswitch", "all")["spec"]["engaged"] is True

    done = run("rearm", "all", "--reason", "over", "-n", cluster.namespace, "--kubeconfig", second_person)
    assert (done.code, done.err) == (0, "")
    assert cluster.get("killswitch", "all")["spec"]["engaged"] is False


def test_what_may_not_be_changed_is_stopped_by_a_second_killswitch(cluster: Cluster, policies: None, run: Run) -> None:
    command = ("kill", "all", "--reason", "r", "-n", cluster.namespace, "--plain", "--timeout", "2")
    run(*command, "-l", "desk=fx")
    run(*command, "-l", "desk=rates")
    first, second = sorted(cluster.list("killswitches"), key=lambda item: str(item["metadata"]["name"]))
    assert first["spec"]["scope"]["strategySelector"] == {"matchLabels": {"desk": "fx"}}
    assert second["metadata"]["name"].startswith("all-")
    assert second["spec"]["scope"]["strategySelector"] == {"matchLabels": {"desk": "rates"}}


def test_a_name_that_is_not_there(cluster: Cluster, run: Run) -> None:
    ended = run("rearm", "fz", "--reason", "r", "-n", cluster.namespace)
    assert (ended.code, ended.err) == (1, 'Error: killswitches.trading.crowetrade.io "fz" not found\n')


@pytest.mark.parametrize("command", [("rearm", "fx"), ("clear-breach", "fx-desk", BREACH)], ids=lambda one: one[0])
def test_a_reason_is_needed(state_home: object, run: Run, command: tuple[str, ...]) -> None:
    assert run(*command, "--reason", " ").code == 2


def _breached(cluster: Cluster, *ids: str) -> None:
    cluster.apply(limit_manifest("fx-desk", cluster.namespace))
    breached = [
        {
            "id": breach,
            "limit": "maxDailyLoss",
            "strategy": "eurusd-ema",
            "venue": "sim-fx",
            "action": "Block",
            "since": "2026-11-26T06:00:00Z",
            "message": "lost 21000 of 20000",
        }
        for breach in ids
    ]
    cluster.write_status("risklimit", "fx-desk", {"observedGeneration": 1, "breached": breached})


def test_a_breach_is_cleared_with_a_reason_beside_those_that_still_wait(
    cluster: Cluster, policies: None, run: Run
) -> None:
    _breached(cluster, BREACH, "other")
    cluster.kubectl("annotate", "risklimit", "fx-desk", f"{CLEAR}=gone: long ago; other: looked at: fine")
    ended = run("clear-breach", "fx-desk", BREACH, "--reason", "hedged: by hand", "-n", cluster.namespace)
    assert (ended.code, ended.err) == (0, "")
    annotations = cluster.get("risklimit", "fx-desk")["metadata"]["annotations"]
    assert annotations[CLEAR] == f"other: looked at: fine; {BREACH}: hedged: by hand"


def test_a_breach_that_does_not_wait_is_refused(cluster: Cluster, run: Run) -> None:
    _breached(cluster, BREACH)
    ended = run("clear-breach", "fx-desk", "other", "--reason", "r", "-n", cluster.namespace)
    assert ended.code == 1
    assert f"has no breach other to be cleared (there are: {BREACH})" in ended.err


def test_of_a_breach_that_the_status_does_not_list_nobody_says_that_it_is_cleared(cluster: Cluster, run: Run) -> None:
    _breached(cluster, *(f"maxDailyLoss/s{number}@sim-fx-7" for number in range(16)))
    ended = run("clear-breach", "fx-desk", BREACH, "--reason", "r", "-n", cluster.namespace)
    assert (ended.code, ended.err) == (0, "")
    assert f"{BREACH} is not listed: if it is one, it is cleared; if not, nothing is" in ended.out


def test_breaches_that_a_full_status_does_not_list_are_cleared_one_after_the_other(cluster: Cluster, run: Run) -> None:
    _breached(cluster, *(f"maxDailyLoss/s{number}@sim-fx-7" for number in range(16)))
    for breach in (BREACH, "other"):
        assert run("clear-breach", "fx-desk", breach, "--reason", "r", "-n", cluster.namespace).code == 0
    annotations = cluster.get("risklimit", "fx-desk")["metadata"]["annotations"]
    assert annotations[CLEAR] == f"{BREACH}: r; other: r"


def test_status_says_who_is_stopped_and_why(cluster: Cluster, run: Run) -> None:
    cluster.apply(_engaged(cluster.namespace, "alice"), venue_manifest("sim-fx", cluster.namespace))
    cluster.apply(strategy_manifest("ema", cluster.namespace), strategy_manifest("pair", cluster.namespace))
    _breached(cluster, BREACH)
    cluster.write_status(
        "killswitch",
        "fx",
        {
            "observedGeneration": 1,
            "state": "Engaging",
            "stillOpenCount": 2,
            "openPositionsCount": 3,
            "acknowledgements": {
                "acknowledged": 0,
                "concerned": 1,
                "summary": "0/1",
                "pending": [f"{cluster.namespace}/sim-fx"],
            },
        },
    )
    halted = {
        "type": "Halted",
        "status": "True",
        "reason": "KillSwitchEngaged",
        "message": "KillSwitch fx is engaged: drill",
        "lastTransitionTime": "2026-11-26T06:00:00Z",
    }
    cluster.write_status("strategy", "ema", {"phase": "Halted", "conditions": [halted]})
    reported = {"lastReportTime": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    cluster.write_status("strategy", "pair", {"phase": "Trading", **reported})
    cluster.write_status("venueconnection", "sim-fx", {"phase": "Connected", **reported})
    ended = run("status", "-n", cluster.namespace, "-o", "json")
    assert (ended.code, ended.err) == (0, "")
    found = json.loads(ended.out)
    [kill], [breach], [strategy] = found["kills"], found["breaches"], found["strategies"]
    assert kill == {
        "namespace": cluster.namespace,
        "name": "fx",
        "state": "Engaging",
        "mode": "Cancel",
        "acknowledged": "0/1",
        "pending": [f"{cluster.namespace}/sim-fx"],
        "still_open": 2,
        "open_positions": 3,
        "engaged_by": "alice",
        "since": "",
        "reason": "drill",
    }
    assert (breach["id"], breach["action"], breach["message"]) == (BREACH, "Block", "lost 21000 of 20000")
    assert (strategy["name"], strategy["state"], strategy["reason"]) == ("ema", "Halted", "KillSwitchEngaged")
    assert (found["strategies_total"], found["venues"], found["venues_total"]) == (2, [], 1)


def test_status_for_people(cluster: Cluster, run: Run) -> None:
    cluster.apply(_engaged(cluster.namespace, "alice"))
    _breached(cluster, BREACH)
    out = run("status", "-n", cluster.namespace).out
    for text in ("KillSwitches", "alice", "Engaging", "Breaches", "Venues: 0 of 0 connected.", "crowetrade rearm"):
        assert text in out


def test_a_flatten_that_has_not_closed_everything_shows_how_many_positions_are_left(cluster: Cluster, run: Run) -> None:
    switch = _engaged(cluster.namespace, "alice")
    switch["spec"]["mode"] = "Flatten"
    cluster.apply(switch)
    told = {"observedGeneration": 1, "state": "Engaging", "stillOpenCount": 4, "openPositionsCount": 37}
    cluster.write_status("killswitch", "fx", told)
    out = run("status", "-n", cluster.namespace).out
    header, row = (line.split() for line in out.splitlines()[1:3])
    assert header[:6] == ["Name", "State", "Mode", "Acked", "Open", "Positions"]
    # No gateway has acknowledged, so that column is empty.
    assert row[1:5] == ["Engaging", "Flatten", "4", "37"]
    shown = cluster.kubectl("get", "killswitch", "fx").splitlines()
    assert shown[0].split()[:7] == ["NAME", "ENGAGED", "MODE", "STATE", "ACKED", "STILL", "OPEN"]
    assert "POSITIONS" in shown[0]
    assert shown[1].split()[:6] == ["fx", "true", "Flatten", "Engaging", "4", "37"]


def test_with_the_api_server_down_the_gateways_are_asked(
    cluster: Cluster, gateway: Callable[..., ScriptedGateway], run: Run, remembered: Callable[..., Any]
) -> None:
    cluster.apply(venue_manifest("sim-fx", cluster.namespace))
    desk = gateway(cluster.namespace, "sim-fx")
    kubeconfig = remembered(run, desk.target)
    run("kill", "--all", "--reason", "drill", "-n", cluster.namespace, "--kubeconfig", kubeconfig, "--plain")
    ended = run("status", "-n", cluster.namespace, "--kubeconfig", kubeconfig, "-o", "json")
    assert ended.code == 1
    assert "cannot be reached" in ended.err
    [kill] = json.loads(ended.out)["kills"]
    assert (kill["gateway"], kill["mode"], kill["reason"]) == (f"{cluster.namespace}/sim-fx", "Cancel", "drill")
    desk.stop()
    silent = run("status", "-n", cluster.namespace, "--kubeconfig", kubeconfig, "-o", "json")
    assert json.loads(silent.out)["silent"] == [f"{cluster.namespace}/sim-fx"]


def test_a_user_without_rights_is_told_so(cluster: Cluster, run: Run) -> None:
    ended = run("status", "-n", cluster.namespace, "--kubeconfig", cluster.server.powerless)
    assert ended.code == 1
    assert 'User "powerless" cannot list resource' in ended.err
