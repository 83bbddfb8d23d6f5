from __future__ import annotations

import itertools
import json
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser
from rich.console import Console

from crowetrade_cli.errors import WrongUse
from crowetrade_cli.results.curves import strategy_curves
from crowetrade_cli.results.figures import short_names
from crowetrade_cli.results.metrics import run_metrics
from crowetrade_cli.results.save import save_run
from crowetrade_cli.results.store import read_run
from crowetrade_cli.results.sweep import (
    LISTED_ROWS,
    RefusedRow,
    SweepRow,
    heat_map,
    save_sweep,
    sweep,
    sweep_page,
    sweep_table,
)

from ..chromium import rendered
from .values import equity_run

RUN = equity_run(["100", "103"])
METRICS = run_metrics(RUN, strategy_curves(RUN)).totals[0]
FAST, SLOW, GATE = "strategy/ema:spec.model.parameters.fast", "strategy/ema:spec.model.parameters.slow", "spec.gate"


def rows(*values: tuple[dict[str, str], float | None]) -> list[SweepRow]:
    return [SweepRow(parameters, replace(METRICS, sharpe=sharpe)) for parameters, sharpe in values]


def test_the_best_stands_first_and_the_undefined_last() -> None:
    made = sweep(rows(({FAST: "3"}, None), ({FAST: "4"}, -1.0), ({FAST: "5"}, 2.0), ({FAST: "6"}, 2.0)))
    assert [row.parameters[FAST] for row in made.rows] == ["5", "6", "4", "3"]


def test_the_least_drawdown_is_the_best() -> None:
    made = [SweepRow({FAST: str(value)}, replace(METRICS, max_drawdown=value)) for value in (-0.3, -0.1, -0.2)]
    assert [row.metrics.max_drawdown for row in sweep(made, "max_drawdown").rows] == [-0.1, -0.2, -0.3]


@pytest.mark.parametrize("metric", ["fees", "turnover", "strategy", "sharp", ""])
def test_what_has_no_best_is_refused(metric: str) -> None:
    with pytest.raises(
        WrongUse, match=rf"'{metric}' is no metric to sort by: use one of pnl, total_return, .*, sharpe"
    ):
        sweep([], metric)


def test_the_heat_map_sorts_values_as_numbers_and_shows_the_best_over_the_rest() -> None:
    made = sweep(
        rows(
            ({FAST: "3", SLOW: "20", GATE: "a"}, 1.0),
            ({FAST: "3", SLOW: "20", GATE: "b"}, 2.0),
            ({FAST: "3", SLOW: "100", GATE: "a"}, -4.0),
            ({FAST: "10", SLOW: "20", GATE: "a"}, None),
        )
    )
    shown = heat_map(made, FAST, SLOW)
    assert shown.columns == ("20", "100")
    (three, cells), (ten, empty) = shown.rows
    assert (three, ten) == ("3", "10")
    assert [(cell.text, cell.strength, cell.direction, cell.best) for cell in cells if cell] == [
        ("2.00", 50.0, "up", True),
        ("-4.00", 100.0, "down", False),
    ]
    assert empty == (None, None)


def test_what_was_refused_is_a_blank_place_and_a_row_behind_the_others(browser: Browser, tmp_path: Path) -> None:
    refused = [RefusedRow({FAST: "20", SLOW: "20"}, "fast (20) must be less than slow (20)")]
    made = sweep(rows(({FAST: "10", SLOW: "20"}, 1.0), ({FAST: "10", SLOW: "30"}, None)), refused=refused, note="Ah.")
    shown = heat_map(made, FAST, SLOW)
    assert (shown.columns, [value for value, _ in shown.rows]) == (("20", "30"), ["10", "20"])
    assert shown.rows[1] == ("20", (None, None))
    (tmp_path / "sweep.html").write_text(sweep_page(made))
    dom, console = rendered(browser, tmp_path / "sweep.html")
    assert console == []
    assert '<p class="warning">Ah.</p>' in dom
    assert "because a model refuses the combination: 1 more." in dom
    assert dom.index("refused: fast (20) must be less than slow (20)") > dom.rindex("1.00")


def test_short_names_stay_unique() -> None:
    assert short_names(["a:spec.fast", "b:spec.fast", "a:spec.slow"]) == {
        "a:spec.fast": "a:spec.fast",
        "b:spec.fast": "b:spec.fast",
        "a:spec.slow": "slow",
    }


def test_a_sweep_is_stored(tmp_path: Path) -> None:
    made = sweep(rows(({FAST: "3", SLOW: "12"}, 1.0), ({FAST: "4", SLOW: "12"}, None), ({FAST: "5", SLOW: "12"}, 1.5)))
    save_run(RUN, tmp_path)
    save_sweep(made, tmp_path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["sweep.html", "sweep.json", "sweep.parquet"]
    stored = json.loads((tmp_path / "sweep.json").read_text())
    assert [(row["parameters"][FAST], row["metrics"]["sharpe"]) for row in stored["rows"]] == [
        ("5", 1.5),
        ("3", 1.0),
        ("4", None),
    ]
    table = pq.read_table(tmp_path / "sweep.parquet").to_pylist()
    assert [(row[FAST], row["sharpe"], row["pnl"], row["fills"]) for row in table] == [
        ("5", 1.5, 3, 0),
        ("3", 1.0, 3, 0),
        ("4", None, 3, 0),
    ]
    with pytest.raises(WrongUse, match="holds a sweep, which keeps no single run"):
        read_run(tmp_path)


@pytest.mark.parametrize(("names", "maps"), [([FAST], 0), ([FAST, SLOW], 1), ([FAST, SLOW, GATE], 3)])
def test_the_page_has_a_map_for_each_pair(browser: Browser, tmp_path: Path, names: list[str], maps: int) -> None:
    values = itertools.product("345", repeat=len(names))
    made = rows(*((dict(zip(names, value, strict=True)), float(index)) for index, value in enumerate(values)))
    page = sweep_page(sweep(made))
    assert page.count('<table class="map">') == maps
    assert ("best over all values of the other" in page) == (len(names) > 2)
    (tmp_path / "sweep.html").write_text(page)
    dom, console = rendered(browser, tmp_path / "sweep.html")
    assert console == []
    assert dom.count("<figure") == (1 if len(names) == 1 else 0)


def test_the_page_of_many_runs_lists_the_best() -> None:
    made = sweep(rows(*(({FAST: str(index)}, float(index)) for index in range(LISTED_ROWS + 10))))
    page = sweep_page(made)
    assert page.count("<tr>") == LISTED_ROWS + 1
    assert "The best 500 of 510; sweep.parquet has all." in page


def test_the_table_shows_parameters_and_the_metric_first() -> None:
    made = sweep(rows(*(({FAST: str(index), SLOW: "12"}, float(index)) for index in range(30))))
    console = Console(width=80)
    with console.capture() as capture:
        console.print(sweep_table(made))
    title, header, first, *others = capture.get().splitlines()
    assert title.strip() == "Sweep of 30 runs, by Sharpe: the best 20"
    assert header.split()[:4] == ["fast", "slow", "Sharpe", "PnL"]
    assert first.split()[:4] == ["29", "12", "29.00", "3.00"]
    assert len(others) == 19
