"""`crowetrade backtest` as a user starts it, compared with `crowetrade run` in lock step and with sums by hand."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from crowetrade_agents.journal.sqlite import SqliteReader
from crowetrade_api.files import EnvName
from crowetrade_api_tests.samples import UNSET, change, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_cli.backtest.plan import Recordings, plan_of
from crowetrade_cli.journal.rows import rows_of
from crowetrade_cli.samples import sample_manifests
from crowetrade_cli_tests.conftest import Run

Object = dict[str, Any]
HOUR_NS = 3_600_000_000_000
FIRST_NS = 1_483_315_200_000_000_000  # 2017-01-02
QUOTES = 400
SECONDS = 60
PAIR = ("free", "charged")
SAME_TIMES = {"EUR-USD": "q.csv", "OTHER": "o.csv"}
NUMBERS = ("quantity", "price", "fee")

VENUE = change(
    change(
        change(
            venue_manifest(),
            "spec.simulated.data",
            [{"symbol": "EUR-USD", "configMap": {"name": "waves", "key": "q.csv"}}],
        ),
        "spec.simulated.replay",
        {"speed": "max", "loop": False},
    ),
    "spec.rateLimits",
    {"ordersPerSecond": 100_000, "burst": 100_000, "cancelsPerSecond": 100_000},
)
STRATEGY = change(
    change(strategy_manifest(), "spec.model.parameters", {"fast": 2, "slow": 5}), "spec.policy.entryGate", UNSET
)
WIDE = {
    "maxOrderQuantity": "5000000",
    "maxPositionQuantity": "9000000",
    "maxOrderRate": {"count": 100_000, "perSeconds": 1},
}
LIMIT = change(limit_manifest(), "spec.limits", WIDE)
FAST = "strategy/ema:spec.model.parameters.fast"


def write(folder: Path, *manifests: Object) -> None:
    """One file per manifest, named as it is."""
    (folder / "manifests").mkdir(exist_ok=True)
    for manifest in manifests:
        name = f"{manifest['kind']}-{manifest['metadata']['name']}.yaml".lower()
        (folder / "manifests" / name).write_text(yaml.safe_dump(manifest))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hourly quotes of a price that swings, a strategy that follows it, and a limit; the working directory."""
    write(tmp_path, VENUE, STRATEGY, LIMIT)
    recording = tmp_path / "data" / "waves" / "q.csv"
    recording.parent.mkdir(parents=True)
    rows = ["ts_ns,bid_px,bid_sz,ask_px,ask_sz"]
    for number in range(QUOTES):
        bid = 1.1 + 0.005 * math.sin(number / 6)
        rows.append(f"{FIRST_NS + number * HOUR_NS},{bid:.5f},5000000,{bid + 0.00002:.5f},5000000")
    recording.write_text("\n".join(rows) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def fills(folder: str) -> list[dict[str, Any]]:
    """Rows of fills.parquet."""
    table = pq.read_table(Path(folder) / "fills.parquet")
    times = table["at"].cast(pa.int64())
    rows: list[dict[str, Any]] = table.set_column(0, "at_ns", times).to_pylist()
    return rows


def journaled_in_lock_step(desk: Path, kind: str) -> list[dict[str, str]]:
    """Events of that kind in the journal of `crowetrade run`, which ends with its recording."""
    program = str(Path(sys.executable).parent / "crowetrade")
    command = [program, "run", "manifests", "--state", "state", "--data", "data", "--plain"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert any("venue sim-fx: Ended" in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
    return [
        {name: str(value) for name, value in row.event.items()}
        for payload in SqliteReader(desk / "state" / "desk" / "sim-fx.journal").records()
        for row in rows_of(payload)
        if row.kind == kind
    ]


@pytest.mark.parametrize("aggregate", ["PerStrategy", "Total"])
def test_its_executions_are_those_of_a_run_in_lock_step(desk: Path, run: Run, aggregate: str) -> None:
    write(desk, change(LIMIT, "spec.aggregate", aggregate))
    live = [
        (
            int(event["transact_unix_ns"]),
            event["side"],
            *(Decimal(event[name]) for name in ("quantity", "price", "fee")),
        )
        for event in journaled_in_lock_step(desk, "OrderExecuted")
    ]

    assert run("backtest", "manifests", "--out", "out").code == 0

    sides = {"Buy": "SIDE_BUY", "Sell": "SIDE_SELL"}
    over_history = [
        (row["at_ns"], sides[row["side"]], row["quantity"], row["price"], row["fee"]) for row in fills("out")
    ]
    assert len(live) > 50
    assert over_history == live


def test_the_same_input_gives_the_same_result(desk: Path) -> None:
    """In two processes, in which sets of text have another order."""
    program = str(Path(sys.executable).parent / "crowetrade")
    for folder, seed in (("one", "1"), ("two", "2")):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        subprocess.run([program, "backtest", "manifests", "--out", folder], check=True, env=environment)
    assert fills("one") == fills("two")
    for name in ("equity.parquet", "fills.parquet", "metrics.json"):
        assert (desk / "one" / name).read_bytes() == (desk / "two" / name).read_bytes()


def test_pnl_is_what_the_fills_brought_and_what_is_held_is_worth(desk: Path, run: Run) -> None:
    ended = run("backtest", "manifests", "--out", "out")
    cash, position = Decimal(0), Decimal(0)
    for row in fills("out"):
        signed = row["quantity"] if row["side"] == "Buy" else -row["quantity"]
        cash -= signed * row["price"] + row["fee"]
        position += signed
    last = 1.1 + 0.005 * math.sin((QUOTES - 1) / 6)
    pnl = cash + position * (Decimal(f"{last:.5f}") + Decimal("0.00001"))
    (total,) = json.loads((desk / "out" / "metrics.json").read_text())["totals"]
    assert Decimal(total["pnl"]) == pnl
    assert f"{pnl:,.2f} USD" in ended.out
    assert "<!doctype html>" in (desk / "out" / "report.html").read_text().lower()


def with_another_instrument(desk: Path, currency: str = "USD") -> None:
    """OTHER with rows at the times of EUR-USD, and a strategy that trades it, whose capital is in its currency."""
    turned = ["ts_ns,bid_px,bid_sz,ask_px,ask_sz"]
    for number in range(QUOTES):
        bid = 1.3 + 0.008 * math.sin(number / 4 + 2)
        turned.append(f"{FIRST_NS + number * HOUR_NS},{bid:.5f},5000000,{bid + 0.00002:.5f},5000000")
    (desk / "data" / "waves" / "o.csv").write_text("\n".join(turned) + "\n")
    (instrument,) = VENUE["spec"]["instruments"]
    declared = [instrument, {**instrument, "symbol": "OTHER", "currency": currency}]
    files = [{"symbol": name, "configMap": {"name": "waves", "key": key}} for name, key in SAME_TIMES.items()]
    other = change(change(STRATEGY, "metadata.name", "other"), "spec.instruments.0.symbol", "OTHER")
    write(
        desk,
        change(change(VENUE, "spec.instruments", declared), "spec.simulated.data", files),
        change(other, "spec.capital.currency", currency),
    )


def test_every_instrument_of_a_time_counts_with_what_it_traded_then(desk: Path, run: Run) -> None:
    """Two instruments whose rows come at the same times: what is held is looked at when both have come."""
    with_another_instrument(desk)
    assert run("backtest", "manifests", "--to", "2017-01-04", "--out", "out").code == 0
    recorded = {name: (desk / "data" / "waves" / key).read_text().splitlines()[1:] for name, key in SAME_TIMES.items()}
    samples = pq.read_table(desk / "out" / "holdings.parquet")
    looks = samples.set_column(0, "at_ns", samples["at"].cast(pa.int64())).to_pylist()
    traded = fills("out")
    assert {row["symbol"] for row in traded} == set(SAME_TIMES)
    latency_ns = VENUE["spec"]["simulated"]["latency"]["orderMillis"] * 1_000_000
    for row in looks[len(SAME_TIMES) :]:
        until_then = [
            one for one in traded if one["symbol"] == row["symbol"] and one["at_ns"] <= row["at_ns"] + latency_ns
        ]
        signed = [one["quantity"] if one["side"] == "Buy" else -one["quantity"] for one in until_then]
        paid = sum((q * one["price"] + one["fee"] for q, one in zip(signed, until_then, strict=True)), Decimal(0))
        assert (row["position"], row["cash"]) == (sum(signed, Decimal(0)), -paid)
        _, bid, _, ask, _ = recorded[row["symbol"]][(row["at_ns"] - FIRST_NS) // HOUR_NS].split(",")
        assert row["mark"] == (Decimal(bid) + Decimal(ask)) / 2


@pytest.mark.parametrize("folds", [(), ("--folds", "2")])
def test_strategies_of_two_currencies_are_not_ranked_by_one_of_them(
    desk: Path, run: Run, folds: tuple[str, ...]
) -> None:
    with_another_instrument(desk, "EUR")
    ended = run("backtest", "manifests", "--set", f"{FAST}=1..2", *folds)
    assert (ended.code, "the strategies' capital is in EUR and USD" in ended.err) == (2, True), ended.err
    assert run("backtest", "manifests").code == 0


def test_what_a_position_is_charged_counts(desk: Path, run: Run) -> None:
    """Six hours at 1 bp of what is held, at the middle of the quote in force."""
    free = run("backtest", "manifests", "--out", "free")
    write(desk, change(VENUE, "spec.simulated.funding", [{"symbol": "EUR-USD", "rateBps": "1", "everyHours": 6}]))
    charged = run("backtest", "manifests", "--out", "charged")
    assert (free.code, charged.code) == (0, 0)
    trades = [(row["at_ns"], row["quantity"] if row["side"] == "Buy" else -row["quantity"]) for row in fills("charged")]
    assert [row["cl_ord_id"] for row in fills("free")] == [row["cl_ord_id"] for row in fills("charged")]
    paid = Decimal(0)
    for hour in range(6, QUOTES, 6):
        at_ns = FIRST_NS + hour * HOUR_NS
        held = sum((quantity for filled_ns, quantity in trades if filled_ns < at_ns), Decimal(0))
        # At its own time the quote before is in force.
        mid = Decimal(f"{1.1 + 0.005 * math.sin((hour - 1) / 6):.5f}") + Decimal("0.00001")
        paid += (held * mid / 10_000).quantize(Decimal("0.00000001"))
    assert f"was charged {paid:,.2f} for what it held" in charged.out
    assert Decimal(json.loads((desk / "charged" / "run.json").read_text())["strategies"][0]["charges"]) == paid
    pnl = {name: Decimal(json.loads((desk / name / "metrics.json").read_text())["totals"][0]["pnl"]) for name in PAIR}
    assert pnl["free"] - pnl["charged"] == paid != 0


def test_a_range_of_time_is_all_that_is_traded(desk: Path, run: Run) -> None:
    assert run("backtest", "manifests", "--from", "2017-01-05", "--to", "2017-01-10T12:00:00", "--out", "out").code == 0
    facts = json.loads((desk / "out" / "run.json").read_text())
    # From the first quote of the fifth to the last one before noon of the tenth.
    assert (facts["first_ns"] - FIRST_NS, facts["last_ns"] - FIRST_NS) == (72 * HOUR_NS, 203 * HOUR_NS)
    assert facts["events"] == 132
    # An order takes its latency to the venue.
    assert all(facts["first_ns"] <= row["at_ns"] < facts["last_ns"] + HOUR_NS for row in fills("out"))
    for last_day in ("2017-01-02", "20170102", "2017-W01-1"):
        assert "24 events" in run("backtest", "manifests", "--to", last_day).out


def test_rows_that_are_no_market_are_counted(desk: Path, run: Run) -> None:
    recording = desk / "data" / "waves" / "q.csv"
    rows = recording.read_text().splitlines()
    at_ns = rows[9].split(",")[0]
    recording.write_text("\n".join([*rows[:9], f"{at_ns},-1.1,5,1.2,5", f"{at_ns},1.3,5,1.2,5", *rows[9:]]) + "\n")
    of = "2 rows of waves/q.csv (EUR-USD), counted over the whole recording,"
    sentence = f"{of} are no market and were left out: a bid above its offer"
    ended = run("backtest", "manifests", "--out", "out")
    assert (ended.code, f"{QUOTES} events" in ended.out) == (0, True)
    assert sentence in " ".join(ended.out.split())
    assert sentence in (desk / "out" / "report.html").read_text()
    folds = run("backtest", "manifests", "--set", f"{FAST}=1..2", "--folds", "2", "--metric", "pnl")
    assert " ".join(folds.out.split()).count(sentence) == 1


def test_the_last_quote_counts_though_it_takes_its_latency(desk: Path, run: Run) -> None:
    write(desk, change(VENUE, "spec.simulated.latency", {"orderMillis": 5, "marketDataMillis": 50}))
    assert f"{QUOTES} events" in run("backtest", "manifests", "--out", "out").out
    facts = json.loads((desk / "out" / "run.json").read_text())
    assert facts["data"][0]["rows"] == QUOTES
    assert facts["last_ns"] == FIRST_NS + (QUOTES - 1) * HOUR_NS + 50_000_000
    # With an end what has arrived before it counts.
    ended = run("backtest", "manifests", "--to", "2017-01-02T05:00:00.010", "--out", "out")
    assert "5 events" in ended.out
    assert json.loads((desk / "out" / "run.json").read_text())["data"][0]["rows"] == 5


@pytest.mark.parametrize(
    ("option", "text", "events"),
    [
        ("--to", "2017-01-02T05:00:00.000000001", 6),
        ("--to", "2017-01-02T05:00:00", 5),
        ("--from", "2017-01-18T15:00:00", 1),
        ("--from", "2017-01-18T14:59:59.5", 1),
        ("--from", "2017-01-18T14:00:00,000000001", 1),
    ],
)
def test_times_are_of_nanoseconds(desk: Path, run: Run, option: str, text: str, events: int) -> None:
    assert f"{events:,} events" in run("backtest", "manifests", option, text).out


def test_orders_that_a_limit_refuses_are_counted_with_its_name(desk: Path, run: Run) -> None:
    write(desk, change(LIMIT, "spec.limits.maxPositionQuantity", "1000"))
    assert run("backtest", "manifests", "--out", "out").code == 0
    facts = json.loads((desk / "out" / "run.json").read_text())
    (refused,) = facts["refused"]
    assert (refused["risk_limit"], refused["reason"]) == ("desk/fx-desk", "MaxPositionQuantity")
    assert refused["count"] == facts["strategies"][0]["orders_refused"] > 0
    assert fills("out") == []


def test_a_sweep_runs_every_combination_and_names_the_best_first(desk: Path, run: Run) -> None:
    settings = ("--set", f"{FAST}=1..4", "--set", "venue/sim-fx:spec.simulated.fees.takerBps=0,5")
    ended = run("backtest", "manifests", *settings, "--metric", "pnl", "--out", "out")
    assert (ended.code, "8 runs" in ended.out) == (0, True)
    rows = pq.read_table(desk / "out" / "sweep.parquet").to_pylist()
    taker = "venueconnection/sim-fx:spec.simulated.fees.takerBps"
    assert {(row[FAST], row[taker]) for row in rows} == {(fast, fee) for fast in "1234" for fee in "05"}
    assert [row["pnl"] for row in rows] == sorted((row["pnl"] for row in rows), reverse=True)
    # What was set is what was run.
    run("backtest", "manifests", "--set", f"{FAST}=3", "--set", f"{taker}=5", "--out", "alone")
    (alone,) = json.loads((desk / "alone" / "metrics.json").read_text())["totals"]
    (same,) = [row["pnl"] for row in rows if (row[FAST], row[taker]) == ("3", "5")]
    assert Decimal(alone["pnl"]) == same.quantize(Decimal(1).scaleb(-8))


@pytest.mark.no_cover
def test_combinations_that_a_model_refuses_are_counted_beside_the_others(desk: Path, run: Run) -> None:
    slow = FAST.replace("fast", "slow")
    ended = run("backtest", "manifests", "--set", f"{FAST}=3", "--set", f"{slow}=3,5", "--out", "out")
    assert (ended.code, ended.err) == (0, "")
    assert "annualised from 17 days: " in ended.out
    assert "Not run, because a model refuses it: 1 of 2 combinations, first: " in ended.out
    assert f"fast (3) must be less than slow (3) (with {FAST}=3, {slow}=3)" in ended.out
    admitted, refused = pq.read_table(desk / "out" / "sweep.parquet").to_pylist()
    assert (admitted["refused"], admitted[slow], admitted["fills"] > 0) == ("", "5", True)
    assert refused["refused"].endswith("fast (3) must be less than slow (3)")
    assert (refused[FAST], refused[slow], refused["pnl"], refused["fills"]) == ("3", "3", None, None)


def test_folds_choose_among_what_the_model_admits(desk: Path, run: Run) -> None:
    grid = f"{FAST}=3..9"
    ended = run("backtest", "manifests", "--set", grid, "--folds", "2", "--metric", "pnl", "--out", "out")
    assert (ended.code, ended.err) == (0, "")
    assert "a model refuses it: 5 of 7 combinations" in ended.out
    page = (desk / "out" / "report.html").read_text()
    for fast in range(5, 10):
        assert re.search(rf'<td class="n">{fast}</td><td>[^<]*fast \({fast}\) must be less than slow \(5\)</td>', page)


def test_one_core_and_several_give_the_same_sweep(desk: Path, run: Run) -> None:
    for cores in ("1", "2"):
        assert run("backtest", "manifests", "--set", f"{FAST}=1..4", "--cores", cores, "--out", cores).code == 0
    assert (desk / "1" / "sweep.json").read_bytes() == (desk / "2" / "sweep.json").read_bytes()


def test_folds_test_what_was_best_before_on_what_follows(desk: Path, run: Run) -> None:
    ended = run("backtest", "manifests", "--set", f"{FAST}=1..4", "--folds", "3", "--metric", "pnl", "--out", "out")
    assert ended.code == 0
    folds = json.loads((desk / "out" / "folds.json").read_text())
    assert len(folds) == 3
    for fold, after in zip(folds, [*folds[1:], None], strict=True):
        assert (fold["train_first_ns"], fold["train_last_ns"]) == (FIRST_NS, fold["test_first_ns"])
        assert after is None or after["test_first_ns"] == fold["test_last_ns"]
    # The last one was trained on three quarters of the history: the best of a sweep over the same range.
    assert len(fills("out")) == json.loads((desk / "out" / "metrics.json").read_text())["totals"][0]["fills"] > 0


def test_a_venue_is_alive_while_only_another_one_moves(run: Run, tmp_path: Path) -> None:
    """Of the sample's pair one leg has a bar an hour and the other one a day."""
    names = ("risklimit-fx-desk", "strategy-pair", "venue-sim-equity", "venue-sim-fx")
    files = [path for path in sample_manifests() if path.stem in names]
    dates = ("--from", "2017-01-02", "--to", "2017-01-20")
    assert run("backtest", *files, *dates, "--out", tmp_path / "out").code == 0
    facts = json.loads((tmp_path / "out" / "run.json").read_text())
    assert facts["strategies"][0]["orders_filled"] > 5
    assert facts["refused"] == []


def test_gateways_that_share_limits_go_on_trading(run: Run, tmp_path: Path) -> None:
    """Both legs of the sample's pair under one rate, and one gateway that is alone in it: it has all of it."""
    names = ("strategy-pair", "venue-sim-equity", "venue-sim-fx")
    files = [path for path in sample_manifests() if path.stem in names]
    (desk,) = [path for path in sample_manifests() if path.stem == "risklimit-fx-desk"]
    total = change(yaml.safe_load(desk.read_text()), "spec.aggregate", "Total")
    write(tmp_path, change(total, "spec.limits.maxOpenOrders", 4))
    dates = ("--from", "2017-01-02", "--to", "2017-01-20")
    for out in ("one", "two"):
        assert run("backtest", *files, tmp_path / "manifests", *dates, "--out", tmp_path / out).code == 0
    facts = json.loads((tmp_path / "one" / "run.json").read_text())
    assert facts["strategies"][0]["orders_filled"] > 5
    assert facts["refused"] == []
    assert fills(str(tmp_path / "one")) == fills(str(tmp_path / "two"))


WIDE_QUOTES = """
from crowetrade_agents.sdk import Features, Model, QuoteTerms, Quoting

class Wide(Model):
    def __init__(self, parameters, instruments):
        (self.instrument,) = instruments

    def on_quote(self, quote):
        return Features(True, {"x": 1.0})

    def signal(self, features):
        return Quoting({self.instrument: QuoteTerms(half_spread=0.1, skew=0.0, size=0.2)})
"""
# Of the New York Stock Exchange in the 400 hours from 2 January 2017, which was a holiday, as was the 16th.
SESSIONS = (3, 4, 5, 6, 9, 10, 11, 12, 13, 17)


@pytest.fixture
def quotes_of_a_day(desk: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Its strategy has two DAY orders that nothing reaches, and sends others when they have ended."""
    monkeypatch.syspath_prepend(desk)
    monkeypatch.setenv("PYTHONPATH", str(desk))
    monkeypatch.delitem(sys.modules, "wide_quotes", raising=False)
    (desk / "wide_quotes.py").write_text(WIDE_QUOTES)
    strategy = change(STRATEGY, "spec.model", {"entryPoint": "wide_quotes:Wide"})
    execution = {"style": "Quote", "timeInForce": "DAY", "requoteTicks": 100_000}
    write(desk, change(strategy, "spec.policy.execution", execution))
    return desk


def test_day_orders_end_with_the_sessions_of_the_venues_calendar(quotes_of_a_day: Path, run: Run) -> None:
    desk = quotes_of_a_day
    write(desk, change(VENUE, "spec.calendar", "XNYS"))

    ended = [event for event in journaled_in_lock_step(desk, "OrderEnded") if event["reason"] == "EndOfSession"]
    assert run("backtest", "manifests", "--out", "out").code == 0

    assert {event["ord_status"] for event in ended} == {"ORD_STATUS_EXPIRED"}
    closes = [FIRST_NS + ((day - 2) * 24 + 21) * HOUR_NS for day in SESSIONS]
    assert [int(event["transact_unix_ns"]) for event in ended] == [at_ns for at_ns in closes for _ in range(2)]
    (facts,) = json.loads((desk / "out" / "run.json").read_text())["strategies"]
    assert (facts["orders_sent"], facts["orders_refused"]) == (2 * (1 + len(SESSIONS)), 0)


def test_day_orders_whose_end_nobody_knows_are_refused_and_counted(quotes_of_a_day: Path, run: Run) -> None:
    """Holidays of the Saudi exchange are known from 2021 on."""
    write(quotes_of_a_day, change(VENUE, "spec.calendar", "XSAU"))
    ended = run("backtest", "manifests", "--out", "out")
    facts = json.loads((quotes_of_a_day / "out" / "run.json").read_text())
    assert {refused["reason"] for refused in facts["refused"]} == {"TradingDayUnknown"}
    assert facts["strategies"][0]["orders_refused"] > 0
    assert "TradingDayUnknown" in ended.out


BROKEN = """
from crowetrade_agents.sdk import Features, Model

class Broken(Model):
    def __init__(self, parameters, instruments):
        self.left = 30

    def on_quote(self, quote):
        return Features(True, {"x": 1.0})

    def signal(self, features):
        self.left -= 1
        if self.left >= 0:
            return None
        RAISE
"""


FAILS_LATE = """
from crowetrade_agents.sdk import Features, Forecast, Model

class Broken(Model):
    def __init__(self, parameters, instruments):
        self.fails = parameters["fails"]
        self.weights = {instruments[0]: 1.0}
        self.count = 0

    def on_quote(self, quote):
        return Features(True, {"x": 1.0})

    def signal(self, features):
        self.count += 1
        if not self.fails:
            return None
        if self.count % 50 == 0:
            raise RuntimeError("boom")
        return Forecast(mu=0.001 if self.count % 20 < 10 else -0.001, sigma=0.001, weights=self.weights)
"""


@pytest.mark.parametrize(
    ("raised", "said"),
    [('raise RuntimeError("boom")', "signal raised RuntimeError: boom"), ("raise SystemExit(3)", "SystemExit: 3")],
)
def test_a_model_that_fails_is_named_with_how_often(
    desk: Path, run: Run, monkeypatch: pytest.MonkeyPatch, raised: str, said: str
) -> None:
    monkeypatch.syspath_prepend(desk)
    monkeypatch.delitem(sys.modules, "broken_model", raising=False)
    (desk / "broken_model.py").write_text(BROKEN.replace("RAISE", raised))
    write(desk, change(STRATEGY, "spec.model", {"entryPoint": "broken_model:Broken"}))
    ended = run("backtest", "manifests", "--out", "out")
    assert ended.code == 1
    assert f"{said}: the figures are without what the model would have done" in ended.err
    line = f"ema: ModelFailing {QUOTES - 30} times, first at 2017-01-03 06:00:00: "
    assert line in ended.out
    assert said in ended.out
    (problem,) = json.loads((desk / "out" / "run.json").read_text())["strategies"][0]["problems"]
    assert (problem["reason"], problem["count"]) == ("ModelFailing", QUOTES - 30)
    assert said in (desk / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "failed"),
    [((), "1 of 2"), (("--cores", "2"), "1 of 2"), (("--folds", "1"), "2 of 3"), (("--folds", "2"), "4 of 6")],
)
def test_runs_in_which_a_model_fails_are_counted(
    desk: Path, run: Run, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], failed: str
) -> None:
    """Each training and each test of a walk-forward is a run; the one that is tested has the model that fails, because
    the other sends no order and has no figure to choose by."""
    monkeypatch.syspath_prepend(desk)
    monkeypatch.delitem(sys.modules, "broken_model", raising=False)
    (desk / "broken_model.py").write_text(FAILS_LATE)
    write(desk, change(STRATEGY, "spec.model", {"entryPoint": "broken_model:Broken", "parameters": {"fails": 0}}))
    setting = "strategy/ema:spec.model.parameters.fails=0..1"
    ended = run("backtest", "manifests", "--set", setting, "--cores", "1", "--out", "out", *options)
    assert ended.code == 1
    assert f"a model failed in {failed} runs" in ended.err
    assert "fails=1" in ended.err
    assert "boom" in ended.err
    assert any((desk / "out").iterdir())


def test_why_nothing_was_traded_is_said(desk: Path, run: Run) -> None:
    (desk / "manifests" / "risklimit-fx-desk.yaml").unlink()
    assert "ema: OrdersRefused" in run("backtest", "manifests").out
    write(desk, LIMIT, change(STRATEGY, "spec.capital.amount", "100"))
    assert "ema sent no order" in run("backtest", "manifests").out


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_a_sweep_that_is_ended_leaves_no_process_and_no_folder(desk: Path, number: signal.Signals) -> None:
    program = str(Path(sys.executable).parent / "crowetrade")
    slow = f"{FAST}=1..4", "strategy/ema:spec.model.parameters.slow=5..40"
    command = [program, "backtest", "manifests", "--cores", "2", "--out", "out"]
    command += [part for text in slow for part in ("--set", text)]
    with subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True) as process:
        workers = until(lambda: children(process.pid), 2)
        os.killpg(process.pid, number) if number is signal.SIGINT else process.kill()
        process.wait(SECONDS)
    until(lambda: [pid for pid in workers if Path(f"/proc/{pid}").exists()], 0)
    assert not (desk / "out" / "sweep.json").exists()


def children(pid: int) -> list[int]:
    """Processes that it has started."""
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def until(look: Callable[[], list[int]], count: int) -> list[int]:
    """What is seen when there are so many."""
    deadline = time.monotonic() + SECONDS
    while len(seen := look()) != count:
        assert time.monotonic() < deadline, f"{len(seen)} processes, not {count}"
        time.sleep(0.05)
    return seen


TWO = ("--set", f"{FAST}=1..2")
WRONG: dict[str, tuple[tuple[str, ...], int, str]] = {
    "a time that is none": (("--from", "yesterday"), 2, "--from 'yesterday' is no time: write 2017-01-01"),
    "an empty range": (("--from", "2017-02-01", "--to", "2017-01-01"), 2, "--from 2017-02-01 is not before --to"),
    "a range without data": (("--from", "2031-01-01"), 1, "no recording has market data in that range"),
    "a setting without values": (("--set", "strategy/ema:spec.suspend"), 2, "is no setting: write KIND/NAME:PATH"),
    "a kind that is none": (("--set", "pod/ema:spec.x=1"), 2, "names the kind 'pod': write strategy, venueconnection"),
    "a name that is not there": (
        ("--set", "strategy/emma:spec.x=1"),
        2,
        "no Strategy of that name is there: there is ema",
    ),
    "a status": (("--set", "strategy/ema:status.phase=1"), 2, "only a field below spec can be set"),
    "text that YAML cannot read": (("--set", f"{FAST}=*"), 1, "whole number from 1 to 100000 (got '*')"),
    "a bracket": (("--set", f"{FAST}={{"), 1, "whole number from 1 to 100000 (got '{')"),
    "a day": (("--set", f"{FAST}=2026-01-01"), 1, "(got '2026-01-01')"),
    "an item of a strange digit": (
        ("--set", "strategy/ema:spec.instruments.\u00b2.symbol=X"),
        2,
        "is no item of a list",
    ),
    "a range beyond numbers": (("--set", f"{FAST}=0..1e999999/1e-999999"), 2, "a range is of numbers"),
    "a step that adds nothing": (("--set", f"{FAST}=1e70..1.1e70/1e68,1e90..1e90/1"), 2, "is too small beside"),
    "a time finer than a nanosecond": (("--to", "2017-01-02T05:00:00.0000000001"), 2, "is no time"),
    "a value that is empty": (("--set", f"{FAST}=3,"), 2, "has a value that is empty: write one between all commas"),
    "a range of words": (("--set", f"{FAST}=a..b"), 2, "a range is of numbers"),
    "a range that goes down": (("--set", f"{FAST}=8..3"), 2, "goes up by a step above 0"),
    "too many": (("--set", f"{FAST}=1..20000"), 2, "more than 10000 values"),
    "too many together": (
        ("--set", f"{FAST}=1..200", "--set", "strategy/ema:spec.model.parameters.slow=201..400"),
        2,
        "asks for 40000 runs",
    ),
    "the same field twice": (("--set", f"{FAST}=1", "--set", f"{FAST}=2"), 2, "twice: give all its values in one"),
    "an item that is not there": (
        ("--set", "strategy/ema:spec.instruments.7.symbol=X"),
        2,
        "is no item of a list of 1",
    ),
    "a field of no object": (("--set", "strategy/ema:spec.mode.x=1"), 2, "spec.mode holds no fields"),
    "what the API server refuses": (("--set", "strategy/ema:spec.capital.amount=0"), 1, 'amount: Invalid value: "0"'),
    "what the model refuses of every value": (("--set", f"{FAST}=5..9"), 1, f"slow (5) (with {FAST}=5)"),
    "folds without a figure": ((*TWO, "--folds", "2", "--metric", "calmar"), 1, "no run has a calmar from 2017-01-02"),
    "what the model refuses": (("--set", f"{FAST}=9"), 1, "fast (9) must be less than slow (5)"),
    "folds of nothing to choose from": (("--folds", "3"), 2, "name a field with several values by --set"),
    "a metric that is none": (("--metric", "luck"), 2, "'luck' is no metric to sort by"),
    "a folder below a file": (("--out", "manifests/strategy-ema.yaml/out"), 2, "is a file: --out takes a folder"),
    "a folder of something else": (("--out", "manifests"), 2, "which no backtest wrote"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named_with_what_to_write_instead(desk: Path, run: Run, case: str) -> None:
    arguments, code, sentence = WRONG[case]
    ended = run("backtest", "manifests", *arguments)
    assert (ended.code, sentence in ended.err) == (code, True), ended.err
    assert "Traceback" not in ended.err


def test_decimals_of_a_field_that_the_manifest_leaves_out_are_set(desk: Path, run: Run) -> None:
    write(desk, change(VENUE, "spec.simulated.fees", UNSET))
    taker = "venue/sim-fx:spec.simulated.fees.takerBps"
    ended = run("backtest", "manifests", "--set", f"{taker}=0..1/0.5", "--cores", "1", "--out", "out")
    assert (ended.code, ended.err) == (0, "")
    rows = pq.read_table(desk / "out" / "sweep.parquet").to_pylist()
    assert len({row["pnl"] for row in rows}) == 3


def test_a_name_that_is_there_twice_cannot_be_set(desk: Path, run: Run) -> None:
    elsewhere = change(STRATEGY, "metadata.namespace", "other")
    (desk / "manifests" / "other.yaml").write_text(yaml.safe_dump(elsewhere))
    ended = run("backtest", "manifests", "--set", f"{FAST}=3")
    assert (ended.code, "is there in several namespaces" in ended.err) == (2, True)


def test_a_manifest_without_metadata_is_named(desk: Path, run: Run) -> None:
    (desk / "manifests" / "a.yaml").write_text(yaml.safe_dump({**STRATEGY, "metadata": None}))
    (desk / "manifests" / "b.yaml").write_text(
        yaml.safe_dump({name: part for name, part in STRATEGY.items() if name != "metadata"})
    )
    ended = run("backtest", "manifests", "--set", f"{FAST}=3")
    assert ended.code == 1
    assert "manifests/b.yaml, line 1: " in ended.err


def test_a_sweep_over_fees_reads_each_recording_once(desk: Path) -> None:
    recordings = Recordings({EnvName.DATA_DIRECTORY: str(desk / "data")})
    plans = [
        plan_of([VENUE, LIMIT, STRATEGY], "desk"),
        plan_of([change(VENUE, "spec.simulated.fees.takerBps", "7"), LIMIT, STRATEGY], "desk"),
        plan_of([change(VENUE, "spec.instruments.0.lotSize", "1"), LIMIT, STRATEGY], "desk"),
    ]
    one, other_fees, other_lots = (recordings.of(plan.traded[0]) for plan in plans)
    assert one.replay is other_fees.replay
    assert one.spec.fees != other_fees.spec.fees
    assert one.replay is not other_lots.replay


def test_rows_are_those_of_each_recording(desk: Path, run: Run) -> None:
    """Of one instrument the quotes and the trades, and of another one the quotes."""
    waves = desk / "data" / "waves"
    (waves / "t.csv").write_text(f"ts_ns,price,size\n{FIRST_NS + 1},1.1,5\n{FIRST_NS + HOUR_NS},1.1,5\n")
    (waves / "other.csv").write_text("\n".join((waves / "q.csv").read_text().splitlines()[:11]) + "\n")
    instrument = VENUE["spec"]["instruments"][0]
    data = [
        {"symbol": symbol, "configMap": {"name": "waves", "key": key}}
        for symbol, key in (("EUR-USD", "q.csv"), ("EUR-USD", "t.csv"), ("OTHER", "other.csv"))
    ]
    venue = change(VENUE, "spec.instruments", [instrument, {**instrument, "symbol": "OTHER"}])
    write(desk, change(venue, "spec.simulated.data", data))
    assert run("backtest", "manifests", "--to", "2017-01-02T06:00:00", "--out", "out").code == 0
    found = json.loads((desk / "out" / "run.json").read_text())["data"]
    assert [(Path(file["name"]).name, file["rows"]) for file in found] == [("q.csv", 6), ("t.csv", 2), ("other.csv", 6)]


def test_a_strategy_that_cannot_be_run_is_named(desk: Path, run: Run) -> None:
    write(desk, change(STRATEGY, "spec.instruments.0.symbol", "EUR-GBP"))
    ended = run("backtest", "manifests")
    assert ended.code == 1
    assert re.search("strategy ema: .*declares no instrument EUR-GBP", ended.err)


def test_a_calendar_that_nobody_knows_is_named(desk: Path, run: Run) -> None:
    write(desk, change(VENUE, "spec.calendar", "XXXX"))
    ended = run("backtest", "manifests")
    assert ended.code == 1
    assert "spec.calendar: calendar 'XXXX' is neither '24x7' nor one of exchange_calendars" in ended.err


def test_a_recording_that_is_not_there_is_named(desk: Path, run: Run) -> None:
    (desk / "data" / "waves" / "q.csv").unlink()
    ended = run("backtest", "manifests")
    assert (ended.code, "q.csv" in ended.err) == (1, True)


def test_without_a_strategy_there_is_nothing_to_run(desk: Path, run: Run) -> None:
    ended = run("backtest", "manifests/venueconnection-sim-fx.yaml")
    assert (ended.code, "no Strategy is among the manifests" in ended.err) == (2, True)


def test_a_strategy_at_a_venue_of_another_namespace_trades_as_one_of_its_own(desk: Path, run: Run) -> None:
    assert run("backtest", "manifests", "--out", "own").code == 0
    allowed = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": "desk"}}}}
    write(
        desk,
        change(change(VENUE, "metadata.namespace", "venues"), "spec.allowedStrategies", allowed),
        change(LIMIT, "metadata.namespace", "venues"),
        change(STRATEGY, "spec.instruments.0.venueRef", {"name": "sim-fx", "namespace": "venues"}),
    )
    assert run("backtest", "manifests", "--out", "other").code == 0
    own, other = fills("own"), fills("other")
    assert len(own) > 50
    same = ("at_ns", "side", "quantity", "price", "fee", "symbol", "strategy")
    assert [[row[name] for name in same] for row in other] == [[row[name] for name in same] for row in own]
    assert {row["strategy"] for row in other} == {"desk/ema"}
    assert {row["venue"] for row in other} == {"venues/sim-fx"}
    figures = [json.loads((desk / name / "metrics.json").read_text())["totals"] for name in ("own", "other")]
    assert figures[0] == figures[1]


def test_who_is_not_admitted_is_named_with_what_to_do(desk: Path, run: Run) -> None:
    write(
        desk,
        change(VENUE, "metadata.namespace", "venues"),
        change(LIMIT, "metadata.namespace", "venues"),
        change(STRATEGY, "spec.instruments.0.venueRef", {"name": "sim-fx", "namespace": "venues"}),
    )
    ended = run("backtest", "manifests")
    words = "VenueConnection venues/sim-fx does not admit strategies of namespace desk"
    assert (ended.code, words in ended.err) == (1, True)


def test_two_venues_of_one_name_are_refused(desk: Path, run: Run) -> None:
    elsewhere = [
        change(change(one, "metadata.namespace", "other"), "metadata.name", "else") for one in (STRATEGY, LIMIT)
    ]
    (desk / "manifests" / "venue-else.yaml").write_text(yaml.safe_dump(change(VENUE, "metadata.namespace", "other")))
    write(desk, *elsewhere)
    ended = run("backtest", "manifests")
    assert (ended.code, "and a backtest runs one venue of a name" in ended.err) == (2, True)
