"""KillSwitch manifests of `crowetrade run`: who edits the files is the authority."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
import yaml

from crowetrade_api_tests.samples import change
from crowetrade_cli_tests.conftest import Run
from crowetrade_cli_tests.desk import Desk

SWITCH: dict[str, Any] = {
    "apiVersion": "trading.crowetrade.io/v1alpha1",
    "kind": "KillSwitch",
    "metadata": {"name": "all", "namespace": "desk"},
    "spec": {"engaged": False},
}
ENGAGED = change(SWITCH, "spec", {"engaged": True, "reason": "drill"})
STOPPED = r"^KillSwitch all: Cancel for ema, 1/1 gateways have halted"


@pytest.fixture
def trading(desk: Desk) -> Desk:
    """One that trades, with a KillSwitch that is not engaged."""
    desk.write(SWITCH)
    desk.start("--plain")
    desk.until(r"ema: (Buy|Sell)", times=2)
    return desk


def _nothing_is_sent_after(desk: Desk, since_ns: int) -> None:
    late = [row for row in desk.rows("OrderSubmitted") if row.at_unix_ns > since_ns]
    assert late == []


def test_engaged_it_stops_and_not_engaged_again_it_trades_on(trading: Desk) -> None:
    # Before the first line of what runs: who needs it needs it then.
    said = "While it runs, the KillSwitch of manifests/killswitch-all.yaml, line 1 stops whom it selects"
    assert trading.lines[0].startswith(said)
    trading.write(ENGAGED)
    assert "set spec.engaged to false in its manifest" in trading.until(STOPPED)
    since_ns = time.time_ns()
    trading.until(r"^strategy ema: Halted \(KillSwitch all is engaged: drill\)")
    fills = sum("on sim-fx, fee" in line for line in trading.lines)
    _nothing_is_sent_after(trading, since_ns)
    trading.write(SWITCH)
    trading.until("^KillSwitch all: over")
    trading.until("on sim-fx, fee", times=fills + 1)
    assert trading.interrupt() == 0
    switched = trading.rows("KillChanged")
    assert [row.event.get("rearmed", False) for row in switched] == [False, True]


@pytest.mark.parametrize("output", ["run.jsonl", "run.json"])
def test_it_stops_a_run_that_writes_its_output_beside_it(desk: Desk, output: str) -> None:
    desk.write(SWITCH)
    desk.start("--json", manifests=".", state=".crowetrade", data="../data", cwd=desk.manifests, output=output)
    desk.until('"fill"')
    desk.write(ENGAGED)
    desk.until('"halted": "1/1"')
    desk.write(SWITCH)
    desk.until(r'"stops": \[\]', times=sum('"stops": []' in line for line in desk.lines) + 1)
    assert desk.interrupt() == 0
    said = [message["message"] for line in desk.lines if "message" in (message := json.loads(line))]
    assert said[:2] == ["The manifests have changed and are taken over."] * 2
    assert len(said) == 3  # and that it stops


def test_a_file_that_is_gone_rearms_nothing_not_even_in_the_next_run(trading: Desk) -> None:
    trading.write(ENGAGED)
    trading.until(STOPPED)
    since_ns = time.time_ns()
    (trading.manifests / "killswitch-all.yaml").unlink()
    trading.until("^KillSwitch all: .* its manifest is gone and it stays engaged: bring it back")
    assert trading.interrupt() == 0

    trading.start("--plain")
    trading.until("^KillSwitch all: .* its manifest is gone and it stays engaged: bring it back")
    trading.until(r"^strategy ema: Halted")
    _nothing_is_sent_after(trading, since_ns)
    trading.write(SWITCH)
    trading.until("^KillSwitch all: over")
    trading.until("ema: (Buy|Sell)")
    assert trading.interrupt() == 0


def test_one_that_is_engaged_from_the_start_lets_nothing_out(desk: Desk) -> None:
    desk.write(ENGAGED)
    desk.start("--plain")
    desk.until(STOPPED)
    desk.until("^strategy ema: Halted")
    assert desk.interrupt() == 0
    assert desk.rows("OrderSubmitted") == []


def test_a_killswitch_that_cannot_be_read_counts_as_engaged(trading: Desk) -> None:
    trading.write(change(SWITCH, "spec.engaged", "treu"))
    trading.until("spec.engaged")
    trading.until("counts as engaged: everything is stopped")
    trading.until(r"^strategy ema: Halted \(KillSwitch unreadable is engaged")
    trading.write(SWITCH)
    trading.until("^KillSwitch unreadable: over")
    assert trading.interrupt() == 0


def test_another_file_that_cannot_be_read_stops_nothing(trading: Desk) -> None:
    (trading.manifests / "note.yaml").write_text("kind: [")
    trading.until("What runs goes on as it was")
    fills = sum("on sim-fx, fee" in line for line in trading.lines)
    trading.until("on sim-fx, fee", times=fills + 1)
    assert trading.interrupt() == 0


def test_one_that_another_one_of_its_name_replaces_is_named(trading: Desk) -> None:
    (trading.manifests / "also.yaml").write_text(yaml.safe_dump(ENGAGED))
    trading.until("^manifests/killswitch-all.yaml, line 1: KillSwitch all replaces the one of manifests/also.yaml")
    assert trading.interrupt() == 0


def test_its_scope_spares_who_is_not_selected(desk: Desk) -> None:
    selector = {"strategySelector": {"matchLabels": {"desk": "other"}}}
    desk.write(change(ENGAGED, "spec.scope", selector))
    desk.start("--plain")
    desk.until("ema: (Buy|Sell)")
    assert desk.interrupt() == 0


def test_json_has_it_too(desk: Desk) -> None:
    desk.write(ENGAGED)
    desk.start("--json")
    [stop] = json.loads(desk.until('"halted": "1/1"'))["desk"]["stops"]
    assert stop == {
        "namespace": "desk",
        "kind": "KillSwitch",
        "name": "all",
        "action": "Cancel",
        "stops": ["desk/ema"],
        "halted": "1/1",
        "why": "KillSwitch all is engaged: drill",
        "remedy": "set spec.engaged to false in its manifest",
    }
    assert desk.interrupt() == 0


def test_a_backtest_refuses_one_that_is_engaged_and_passes_over_one_that_is_not(desk: Desk, run: Run) -> None:
    desk.write(ENGAGED)
    refused = run("backtest", desk.manifests, "--data", desk.folder / "data", "--out", desk.folder / "out")
    assert refused.code == 2
    assert refused.err == (
        "Error: KillSwitch all is engaged, so nothing would trade: leave it out, or set spec.engaged to false\n"
    )
    desk.write(SWITCH)
    assert run("backtest", desk.manifests, "--data", desk.folder / "data", "--out", desk.folder / "out").code == 0
