"""docs/performance.md says what the figures say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from benchmarks.backtest.manifests import plan
from benchmarks.backtest.peers.task import Bar, Task
from benchmarks.backtest.runs import written
from benchmarks.figures import figure
from benchmarks.goals import GOALS, LARGE
from tools.performance import page


def test_p50_and_p99_are_nearest_ranks() -> None:
    found = figure("some.figure", "us", range(1, 201))

    assert [found[key] for key in ("p50", "p99", "max", "n")] == [100, 198, 200, 200]
    assert [figure("one", "s", [7.0])[key] for key in ("p50", "p99", "max", "n")] == [7, 7, 7, 1]


def test_the_page_says_which_goals_are_met_and_which_figures_are_missing() -> None:
    common = {"load_average": 1.5, "machine": "a machine", "python": "3.12", "revision": "r1", "measured": "today"}
    lines = [
        json.dumps({"name": name, "unit": unit, "p50": p50, "p99": p99, "max": 9000, "n": 5, **common})
        for name, unit, p50, p99 in (
            ("engine.order", "us", 79, 201),
            ("gateway.events_per_second", "1/s", 4999, 5001),
        )
    ]

    rows = page(lines).splitlines()

    assert "| `engine.order` p50 | 79 us | at most 80 us | yes |" in rows
    assert "| `engine.order` p99 | 201 us | at most 200 us | no |" in rows
    assert "| `gateway.events_per_second` p50 | 4,999 1/s | at least 5000 1/s | no |" in rows
    assert "| `engine.order` | us | 79 | 201 | 9,000 | 5 | 1.5 |  |" in rows
    assert sum("not measured in this run" in row for row in rows) == len(GOALS) - 3


def test_a_goal_for_a_large_fleet_is_not_met_by_a_small_one() -> None:
    common = {"unit": "MiB", "p99": 1, "max": 1, "n": 1, "load_average": 0, "machine": "m", "python": "3.12"}
    goal = "| `operator.rss_mib` p50 |"
    for strategies, p50, said in (
        (10_000, 250, "250 MiB | at most 250 MiB | yes |"),
        (300, 250, "250 MiB | at most 250 MiB | at 300 strategies; the goal is for 10,000 |"),
        (300, 251, "251 MiB | at most 250 MiB | no |"),
    ):
        size = {"strategies": strategies, "venues": 6, "namespaces": 3}
        item = {"name": "operator.rss_mib", "p50": p50, "measured": "today", "revision": "r1", **size, **common}
        rows = page([json.dumps(item)]).splitlines()
        assert f"{goal} {said}" in rows
        assert rows[-3].endswith(f"| {strategies:,} strategies, 6 venues, 3 namespaces |")


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({1_000: 40.0, 3_000: 36.0, 10_000: 43.0}, "1.194 times | at most 1.2 times | yes |"),
        ({1_000: 40.0, 3_000: 36.0, 10_000: 46.3}, "1.286 times | at most 1.2 times | no |"),
        ({100: 40.0, 300: 36.0}, "1.111 times | at most 1.2 times | at 300 strategies; the goal is for 10,000 |"),
        ({10_000: 40.0}, "not measured in this run | at most 1.2 | |"),
    ],
)
def test_growth_is_the_highest_cost_of_a_strategy_divided_by_the_lowest(sizes: dict[int, float], said: str) -> None:
    common = {"unit": "ms", "p99": 1, "max": 1, "n": 1, "load_average": 0, "machine": "m", "python": "3.12"}
    for where in ("", ".one_namespace"):
        lines = [
            json.dumps(
                {
                    "name": f"operator.cold.ms_per_strategy.{size}{where}",
                    "p50": p50,
                    "strategies": size,
                    "measured": "today",
                    "revision": "r1",
                    **common,
                }
            )
            for size, p50 in sizes.items()
        ]
        rows = page(lines).splitlines()
        assert f"| `operator.cold.growth{where.replace('.', '_')}` p50 | {said}" in rows
        other = "operator.cold.growth" if where else "operator.cold.growth_one_namespace"
        assert f"| `{other}` p50 | not measured in this run | at most 1.2 | |" in rows


def test_every_goal_of_the_operator_is_for_the_fleet_of_the_largest_size() -> None:
    assert {goal.strategies for goal in GOALS if goal.figure.startswith("operator.")} == {LARGE}


def test_the_page_ends_with_a_line_for_each_run() -> None:
    common = {"unit": "s", "p50": 1, "p99": 1, "max": 1, "n": 1, "load_average": 0, "machine": "m", "python": "3.12"}
    lines = [
        json.dumps({"name": name, "measured": measured, "revision": revision, **common})
        for name, measured, revision in (("a", "Monday", "r1"), ("b", "Monday", "r1"), ("c", "Tuesday", "r2"))
    ]

    assert page(lines).splitlines()[-2:] == [
        "- `a` to `b`: Monday on m, Python 3.12, revision r1",
        "- `c` to `c`: Tuesday on m, Python 3.12, revision r2",
    ]


def test_backtests_are_measured_under_every_limit_there_is(tmp_path: Path) -> None:
    """They run with `make bench-backtest` only, so that a limit that is new would stop them unseen."""
    rows = written(tmp_path, "bars.csv", [Bar(0, 1.0, 1.0, 1.0, 1.0)])

    planned, _ = plan(Task(rows, 10, 20))

    assert len(planned.traded) == 1
