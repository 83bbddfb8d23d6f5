"""`crowetrade compare` on folders that a backtest's code wrote."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from crowetrade_cli.results.result import Result
from crowetrade_cli.results.save import save_run

from ..conftest import Run
from ..results.values import DAY_NS, EMA, PAIR, equity_run, facts

HASHES = ["a" * 64, "b" * 64]
BASE = equity_run(["1000", "1010", "1025.5"])


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "a", tmp_path / "b"


def save(folders: tuple[Path, Path], a: Result, b: Result) -> tuple[Path, Path]:
    for folder, made in zip(folders, (a, b), strict=True):
        save_run(made, folder)
    return folders


def test_the_same_run_twice(folders: tuple[Path, Path], run: Run) -> None:
    ended = run("compare", *save(folders, BASE, BASE))
    assert (ended.code, ended.err) == (0, "")
    assert "Parameters, data and code are the same." in ended.out
    assert "Not like for like" not in ended.out
    assert re.search(r"PnL +25.50 +25.50 +same", ended.out)


def test_other_parameters_are_named_and_figures_stand_side_by_side(folders: tuple[Path, Path], run: Run) -> None:
    other = replace(
        equity_run(["1000", "990", "1015.5"]),
        strategies=(facts(parameters={"fast": "6"}), facts(PAIR)),
        manifests=(replace(BASE.manifests[0], sha256=HASHES[1]),),
    )
    out = run("compare", *save(folders, BASE, other)).out
    assert re.search(r"parameter +desk/ema fast +4 +6", out)
    assert re.search(r"strategy +desk/pair +– +ema-crossover, 1000 USD", out)
    assert re.search(r"manifest +Strategy desk/ema +0123456789ab +bbbbbbbbbbbb", out)
    assert re.search(r"PnL +25.50 +15.50 +-10.00", out)
    assert re.search(r"Max drawdown +0.00% +-0.50% +-0.50%", out)
    assert "Not like for like" not in out


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (replace(BASE, data=(replace(BASE.data[0], sha256=HASHES[0]),)), "data"),
        (replace(BASE, data=()), "data"),
        (replace(BASE, last_ns=BASE.last_ns + DAY_NS), "range"),
    ],
)
def test_other_data_is_not_like_for_like(folders: tuple[Path, Path], run: Run, other: Result, what: str) -> None:
    out = run("compare", *save(folders, BASE, other)).out
    assert "Not like for like: the runs are over other data or another range" in out
    assert re.search(rf"^{what} ", out, re.MULTILINE)


def test_other_depth_with_the_same_trades_is_other_data(folders: tuple[Path, Path], run: Run) -> None:
    trades = BASE.data[0]
    a, b = (replace(BASE, data=(replace(trades, name="l2.csv", sha256=one), trades)) for one in HASHES)
    out = run("compare", *save(folders, a, b)).out
    assert "Not like for like" in out
    assert re.search(r"^data +\S+ +0123456789ab, aaaaaaaaaaaa +0123456789ab, bbbbbbbbbbbb", out, re.MULTILINE)
    assert "Not like for like" not in run("compare", folders[0], folders[0]).out


def test_the_tests_of_folds_over_the_same_data_are_like_for_like(folders: tuple[Path, Path], run: Run) -> None:
    """They have the file once for each test, with as many rows as the test has."""
    tests = replace(BASE, data=tuple(replace(BASE.data[0], rows=rows) for rows in (40, 60)))
    assert "Not like for like" not in run("compare", *save(folders, BASE, tests)).out


def test_other_code_alone_is_like_for_like_and_named(folders: tuple[Path, Path], run: Run) -> None:
    other = replace(BASE, code=replace(BASE.code, sha256=HASHES[0], models={"ema-crossover": HASHES[1]}))
    out = run("compare", *save(folders, BASE, other)).out
    assert "Not like for like" not in out
    assert re.search(r"code +CroweTrade +0.1.0 0123456789ab +0.1.0 aaaaaaaaaaaa", out)
    assert re.search(r"model +ema-crossover +0123456789ab +bbbbbbbbbbbb", out)


def test_as_json(folders: tuple[Path, Path], run: Run) -> None:
    other = replace(BASE, strategies=(facts(parameters={"fast": "6"}),), data=())
    compared = json.loads(run("compare", *save(folders, BASE, other), "--json").out)
    assert (compared["a"], compared["b"], compared["like_for_like"]) == (*map(str, folders), False)
    pnl = [row for row in compared["figures"] if row["figure"] == "pnl"]
    assert [(row["strategy"], row["a"], row["b"]) for row in pnl] == [(None, "25.5", "25.5"), (EMA, "25.5", "25.5")]
    annual = [row for row in compared["figures"] if row["figure"] == "annual_return"]
    assert [row["a"] for row in annual] == [None, None]
    assert {"what": "parameter", "name": "desk/ema fast", "a": "4", "b": "6"} in compared["different"]


def test_what_is_no_result_is_refused_in_a_sentence(folders: tuple[Path, Path], run: Run) -> None:
    save_run(BASE, folders[0])
    ended = run("compare", *folders)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"Error: {folders[1]} holds no result of a backtest: name a folder that crowetrade backtest --out has written\n"
    )
