"""`crowetrade run` as a user starts it: a process of its own, manifests in a folder, and what it writes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from crowetrade_api_tests.samples import change, kill_manifest
from crowetrade_cli_tests.conftest import Run
from crowetrade_cli_tests.desk import LIMIT, PATIENCE_SECONDS, STRATEGY, VENUE, Desk

FLATTENED = change(STRATEGY, "spec.deletionPolicy", "Flatten")


def test_it_trades_until_it_is_interrupted_and_goes_on_from_there(desk: Desk, run: Run) -> None:
    desk.start("--plain")
    desk.until(r"venue sim-fx: LoggedOn")
    desk.until(r"ema: (Buy|Sell) \d+ EUR-USD at 1\.\d+ on sim-fx, fee \d+\.\d+", times=3)
    assert desk.interrupt() == 0
    desk.until("positions are kept")
    assert "are as they were written" in run("journal", "verify", desk.journal).out
    assert f" {desk.rows('OrderExecuted')[-1].event['exec_id']}" in run("journal", "show", desk.journal).out
    held, sent = desk.position(), len(desk.rows("OrderSubmitted"))
    assert desk.until(rf"^ema: .* {sent} sent").startswith(f"ema: {held} EUR-USD" if held else "ema: flat")

    desk.start("--json", "--for", "15")
    first = json.loads(desk.until(r'"state": "Trading"'))["desk"]["strategies"][0]
    assert first["sent"] >= sent
    assert desk.process is not None
    assert desk.process.wait(PATIENCE_SECONDS) == 0
    assert [row.event["fencing_token"] for row in desk.rows("SessionStarted")] == ["1", "2"]


def test_every_order_is_within_the_limit_and_refusals_name_it(desk: Desk) -> None:
    desk.write(change(LIMIT, "spec.limits.maxOrderQuantity", "1000"))
    desk.start("--plain")
    line = desk.until(r"strategy ema: OrdersRefused")
    assert "fx-desk" in line
    assert desk.interrupt() == 0
    assert desk.rows("OrderSubmitted") == []


def test_without_a_limit_nothing_trades(desk: Desk) -> None:
    (desk.manifests / "risklimit-fx-desk.yaml").unlink()
    desk.start("--plain")
    desk.until("strategy ema: OrdersRefused")
    assert desk.interrupt() == 0
    assert desk.rows("OrderSubmitted") == []


@pytest.fixture
def holding(desk: Desk) -> Desk:
    """One that runs and has traded."""
    desk.write(FLATTENED)
    desk.start("--plain")
    desk.until(r"ema: (Buy|Sell)", times=2)
    return desk


def test_a_changed_file_is_picked_up(holding: Desk) -> None:
    holding.write(change(FLATTENED, "spec.suspend", True))
    holding.until("The manifests have changed")
    holding.until("strategy ema: Suspended")
    holding.write(FLATTENED)
    holding.until("strategy ema: Trading", times=2)
    assert holding.interrupt() == 0


def test_a_strategy_trades_on_when_its_venue_has_changed(holding: Desk) -> None:
    holding.write(change(VENUE, "spec.simulated.fees", {"makerBps": "0", "takerBps": "0"}))
    holding.until(r"on sim-fx, fee 0(\.0+)?$", times=2)
    assert holding.interrupt() == 0


def test_a_strategy_trades_on_when_its_venue_has_come_back(holding: Desk) -> None:
    (holding.manifests / "venueconnection-sim-fx.yaml").unlink()
    holding.until("venue sim-fx: gone")
    fills = sum("on sim-fx, fee" in line for line in holding.lines)
    holding.write(VENUE)
    holding.until("on sim-fx, fee", times=fills + 2)
    assert holding.interrupt() == 0


def test_a_manifest_that_is_taken_away_is_closed_as_its_deletion_would(holding: Desk) -> None:
    (holding.manifests / "strategy-ema.yaml").unlink()
    holding.until("strategy ema: gone")
    assert holding.interrupt() == 0
    assert holding.position() == 0


def test_what_is_to_be_closed_waits_for_a_gateway_that_cannot_run(holding: Desk) -> None:
    recording = holding.folder / "data" / "waves" / "q.csv"
    quotes = recording.read_text()
    recording.unlink()
    holding.write(change(VENUE, "spec.simulated.fees.takerBps", "0.3"))
    holding.until(r"venue sim-fx: Failed \(.*q\.csv")
    (holding.manifests / "strategy-ema.yaml").unlink()
    holding.until("strategy ema: Stopping")
    recording.write_text(quotes)
    holding.until("strategy ema: gone")
    assert holding.interrupt() == 0
    assert holding.position() == 0


def test_a_change_that_is_refused_changes_nothing(holding: Desk) -> None:
    holding.write(change(STRATEGY, "spec.mode", "Yolo"))
    assert 'spec.mode: Unsupported value: "Yolo"' in holding.until("is invalid")
    holding.until("goes on as it was")
    fills = sum("on sim-fx, fee" in line for line in holding.lines)
    holding.until("on sim-fx, fee", times=fills + 2)
    assert holding.interrupt() == 0


@pytest.mark.parametrize("text", ["", "---\n# nothing yet\n", "{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}"])
def test_a_run_of_nothing_ends_at_once(run: Run, tmp_path: Path, text: str) -> None:
    (tmp_path / "empty.yaml").write_text(text)
    ended = run("run", tmp_path / "empty.yaml", "--state", tmp_path / "state")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith("Error: no manifest of CroweTrade is there: name the files or folders that hold one\n")


@pytest.mark.parametrize("below", ["", "below"])
def test_a_state_that_is_a_file_is_refused(run: Run, desk: Desk, below: str) -> None:
    (desk.folder / "file").write_text("")
    ended = run("run", desk.manifests, "--state", desk.folder / "file" / below)
    assert ended.code == 2
    assert ended.err.endswith(" is a file, or below one: --state takes a folder\n")


@pytest.mark.parametrize("seconds", ["-3", "nan", "inf"])
def test_a_time_below_zero_or_without_end_is_refused(run: Run, desk: Desk, seconds: str) -> None:
    ended = run("run", desk.manifests, "--for", seconds, "--state", desk.folder / "state")
    assert (ended.code, "--for" in ended.err, "Traceback" in ended.err) == (2, True, False)


@pytest.mark.parametrize("command", ["run", "backtest"])
def test_a_closed_standard_input_is_named(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """As Python has it after `<&-` in a shell."""
    monkeypatch.setattr(sys, "stdin", None)
    ended = run(command, "-")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Error: standard input is closed: write manifests to it, or name files or folders")
    assert ended.err.count("\n") == 1


def test_what_is_wrong_from_the_start_ends_it_with_the_api_servers_sentence(desk: Desk) -> None:
    desk.write(change(STRATEGY, "spec.capital.amount", "0"))
    desk.start("--plain")
    assert desk.process is not None
    assert desk.process.wait(PATIENCE_SECONDS) == 1
    desk.until(r'strategy-ema\.yaml.*spec\.capital\.amount: Invalid value: "0"')
    assert not desk.journal.exists()


PROBLEMS: dict[str, tuple[Callable[[Desk], object], str]] = {
    "an instrument that the venue does not declare": (
        lambda desk: desk.write(change(STRATEGY, "spec.instruments.0.symbol", "EUR-GBP")),
        r"strategy ema: Failed \(.*declares no instrument EUR-GBP",
    ),
    "a recording that is not there": (
        lambda desk: (desk.folder / "data" / "waves" / "q.csv").unlink(),
        r"venue sim-fx: Failed \(.*q\.csv",
    ),
    "parameters that the model does not take": (
        lambda desk: desk.write(change(STRATEGY, "spec.model.parameters", {"fast": "quick"})),
        r"strategy ema: Failed \(.*fast",
    ),
}


@pytest.mark.parametrize("case", PROBLEMS)
def test_what_cannot_run_is_named_and_picked_up_when_it_is_mended(desk: Desk, case: str) -> None:
    spoil, said = PROBLEMS[case]
    recording = (desk.folder / "data" / "waves" / "q.csv").read_text()
    spoil(desk)
    desk.start("--plain")
    desk.until(said)
    (desk.folder / "data" / "waves" / "q.csv").write_text(recording)
    desk.write(VENUE, change(STRATEGY, "spec.capital.amount", "500000"))
    desk.until("ema: (Buy|Sell)")
    assert desk.interrupt() == 0


def test_what_a_strategy_holds_at_a_venue_that_does_not_start_is_not_known(holding: Desk) -> None:
    (holding.folder / "data" / "waves" / "q.csv").unlink()
    holding.write(change(VENUE, "spec.simulated.fees", {"makerBps": "0", "takerBps": "0"}))
    holding.until(r"strategy ema: Halted \(sim-fx: recorded data .* is missing")
    assert holding.interrupt() == 0
    assert holding.until("^ema: .* sent").startswith("ema: not known, PnL - USD")


def test_two_namespaces_are_told_apart(desk: Desk) -> None:
    desk.write(VENUE, STRATEGY)
    for manifest in (VENUE, STRATEGY):
        elsewhere = change(manifest, "metadata.namespace", "elsewhere")
        (desk.manifests / f"elsewhere-{manifest['kind']}.yaml").write_text(yaml.safe_dump(elsewhere))
    desk.start("--plain")
    desk.until("^strategy elsewhere/ema: OrdersRefused")
    desk.until("^strategy desk/ema: Trading")
    desk.until(" desk/ema: (Buy|Sell)")
    assert desk.interrupt() == 0
    assert sum(line.startswith("strategy elsewhere/ema: OrdersRefused") for line in desk.lines) == 1
    desk.until("^elsewhere/ema: flat")


def test_a_strategy_trades_at_a_venue_of_another_namespace_while_that_admits_it(desk: Desk) -> None:
    venue = change(VENUE, "metadata.namespace", "venues")
    admitting = change(venue, "spec.allowedStrategies", {"namespaces": {"from": "All"}})
    switch = kill_manifest("all", "desk", engaged=False)
    desk.write(
        admitting,
        change(LIMIT, "metadata.namespace", "venues"),
        change(STRATEGY, "spec.instruments.0.venueRef", {"name": "sim-fx", "namespace": "venues"}),
        switch,
    )
    desk.start("--plain")
    desk.until("^strategy desk/ema: Trading")
    desk.until(" desk/ema: (Buy|Sell)", times=2)
    desk.write(change(switch, "spec.engaged", True))
    desk.until(r"^KillSwitch desk/all: Cancel for desk/ema, 1/1 gateways have halted")
    desk.write(switch)
    desk.until("^KillSwitch desk/all: over")
    desk.write(venue)
    desk.until("^strategy desk/ema: Failed .*does not admit strategies of namespace desk")
    assert desk.interrupt() == 0


def test_a_journal_that_cannot_be_opened_says_why(desk: Desk) -> None:
    desk.journal.mkdir(parents=True)
    desk.start("--plain")
    desk.until(r"venue sim-fx: Starting \(opening the journal .*unable to open")
    assert desk.interrupt() == 0


def test_a_journal_that_is_broken_fails_its_venue_alone(desk: Desk) -> None:
    other = change(change(VENUE, "metadata.name", "sim-other"), "spec.account", "paper-2")
    desk.write(other)
    desk.journal.parent.mkdir(parents=True)
    desk.journal.write_bytes(b"no database " * 100)
    desk.start("--plain")
    desk.until(r"venue sim-fx: Failed \(.*sim-fx\.journal failed: file is not a database")
    desk.until("venue sim-other: LoggedOn")
    assert desk.interrupt() == 0
    assert desk.journal.read_bytes().startswith(b"no database")


HANGING = """
import hashlib, math, os, time
from crowetrade_agents.sdk import Features, Model, QuoteTerms, Quoting

class Hanging(Model):
    def __init__(self, parameters, instruments):
        (self.instrument,) = instruments
        self.hang_in("__init__")

    def hang_in(self, hook):
        if os.path.exists(hook):
            print("it hangs", flush=True)
            exec(open(hook).read())

    def on_start(self):
        self.hang_in("on_start")

    def on_quote(self, quote):
        self.hang_in("on_quote")
        return Features(ready=True, values={"any": 0.0})

    def signal(self, features):
        self.hang_in("signal")
        return Quoting({self.instrument: QuoteTerms(half_spread=0.1, skew=0.0, size=0.2)})
"""
LOOP = "while True: pass"
SLEEP = "time.sleep(1e6)"
NATIVE = "hashlib.pbkdf2_hmac('sha256', b'p', b's', 2**31 - 1)"
"""Releases the interpreter and takes no signals."""


@pytest.fixture
def quoting(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A desk whose strategy quotes far from the market. Its model hangs in a hook when there is a file of that name, by
    what the file says."""
    monkeypatch.setenv("PYTHONPATH", str(desk.folder))
    (desk.folder / "hanging.py").write_text(HANGING)
    image = "registry.example.com/desk/models@sha256:" + "0" * 64
    strategy = change(change(STRATEGY, "spec.model", {"entryPoint": "hanging:Hanging"}), "spec.agents.image", image)
    strategy = change(strategy, "spec.agents.updatePolicy", "Immediate")
    execution = {"style": "Quote", "timeInForce": "GTC", "requoteTicks": 100_000}
    desk.write(change(strategy, "spec.policy.execution", execution))
    return desk


HANGS: dict[str, tuple[str, str, str, signal.Signals]] = {
    "a loop in a hook": ("on_quote", LOOP, "feature", signal.SIGTERM),
    "a loop in the constructor": ("__init__", LOOP, "feature", signal.SIGINT),
    "a sleep in the forecast": ("signal", SLEEP, "signal", signal.SIGINT),
    "native code at the start": ("on_start", NATIVE, "feature", signal.SIGTERM),
}
SAYS_WITHIN_SECONDS = 5


@pytest.mark.parametrize("case", HANGS)
def test_a_model_that_never_returns_is_named_and_holds_no_run_that_is_to_end(quoting: Desk, case: str) -> None:
    desk, (hook, forever, role, number) = quoting, HANGS[case]
    (desk.folder / hook).write_text(forever)
    desk.start("--plain")
    desk.until("it hangs")
    began = time.monotonic()
    desk.until(f"the model of strategy desk/ema has not returned to the {role} role for 3 s and holds all")
    assert time.monotonic() - began < SAYS_WITHIN_SECONDS
    assert desk.process is not None
    assert desk.process.poll() is None
    desk.process.send_signal(number)
    assert desk.process.wait(SAYS_WITHIN_SECONDS) == 1
    desk.until("this run ends without an orderly stop, because the model of strategy desk/ema does not answer")
    assert "run_is_held" in (desk.folder / "state" / "run.log").read_text()


def test_a_model_that_never_returns_does_not_outlast_the_time_of_the_run(quoting: Desk) -> None:
    desk = quoting
    (desk.folder / "__init__").write_text(LOOP)
    desk.start("--plain", "--for", "10")
    desk.until("it hangs")
    assert desk.process is not None
    assert desk.process.wait(PATIENCE_SECONDS) == 1
    desk.until("this run ends without an orderly stop")


def test_a_second_interrupt_ends_a_run_whose_model_never_returns_at_once(quoting: Desk) -> None:
    desk = quoting
    (desk.folder / "on_quote").write_text(LOOP)
    desk.start("--plain")
    desk.until("it hangs")
    assert desk.process is not None
    desk.process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        desk.process.wait(0.5)
    assert desk.interrupt() == 128 + signal.SIGINT


def test_a_model_that_is_late_is_named_and_the_run_goes_on(quoting: Desk) -> None:
    desk = quoting
    (desk.folder / "on_start").write_text("time.sleep(5)")
    desk.start("--plain")
    desk.until("has not returned to the feature role")
    desk.until(r"the model of strategy desk/ema has returned after [5-9]\.\d s, and the run goes on")
    desk.until("strategy ema: Trading")
    assert desk.interrupt() == 0


def test_what_was_open_when_a_run_ended_without_an_orderly_stop_is_canceled_by_the_next_one(
    quoting: Desk, run: Run
) -> None:
    desk = quoting
    desk.start("--json")
    desk.until('"status": "New"')
    (desk.folder / "on_quote").write_text(LOOP)
    desk.until("it hangs")
    assert desk.process is not None
    desk.process.send_signal(signal.SIGTERM)
    assert desk.process.wait(PATIENCE_SECONDS) == 1
    desk.until("an order that is open now is canceled then")
    left = _open_orders(desk)
    assert left
    assert "are as they were written" in run("journal", "verify", desk.journal).out

    (desk.folder / "on_quote").unlink()
    desk.start("--plain")
    desk.until("strategy ema: Trading")
    assert desk.interrupt() == 0
    ended = {str(row.event["cl_ord_id"]): row.event["ord_status"] for row in desk.rows("OrderEnded")}
    assert {ended[cl_ord_id] for cl_ord_id in left} == {"ORD_STATUS_CANCELED"}
    assert _open_orders(desk) == set()


def _open_orders(desk: Desk) -> set[str]:
    sent, ended = (
        {str(row.event["cl_ord_id"]) for row in desk.rows(kind)} for kind in ("OrderSubmitted", "OrderEnded")
    )
    return sent - ended


def test_one_process_at_a_time_has_the_state(holding: Desk) -> None:
    other = Desk(holding.folder)
    other.start("--plain")
    assert other.process is not None
    assert other.process.wait(PATIENCE_SECONDS) == 1
    other.until("another crowetrade run works with state: stop it, or name another folder with --state")
    assert holding.interrupt() == 0
