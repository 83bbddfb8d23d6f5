from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from crowetrade_cli.results.curves import strategy_curves
from crowetrade_cli.results.figures import span
from crowetrade_cli.results.folds import Fold, folds_table, joined
from crowetrade_cli.results.result import DataFile, LimitUse, Refused, Result
from crowetrade_cli.results.save import save_run
from crowetrade_cli.results.trips import round_trips

from .values import DAY_NS, EMA, HASH, MONDAY_NS, PAIR, VENUE, Held, facts, fill, result

KEYS = [(EMA, "EUR-USD"), (EMA, "FUT"), (PAIR, "EUR-USD")]
NUMBERS = st.decimals(-1000, 1000, places=6).map(str)
PART = st.lists(st.fixed_dictionaries({key: st.tuples(NUMBERS, NUMBERS, NUMBERS) for key in KEYS}), max_size=4)
FLAT: dict[tuple[str, str], Held] = dict.fromkeys(KEYS, ("0", "0", "1"))


@settings(deadline=None)
@given(st.lists(PART, min_size=1, max_size=4))
def test_each_part_goes_on_from_what_those_before_made(parts: list[list[dict[tuple[str, str], Held]]]) -> None:
    runs, at_ns = [], MONDAY_NS
    for part in parts:
        samples = []
        for held in [FLAT, *part]:
            samples.append((at_ns, held))
            at_ns += DAY_NS
        runs.append(result(samples, strategies=(facts(EMA), facts(PAIR))))
    expected: list[Decimal] = []
    made = Decimal(0)
    for run in runs:
        curve = strategy_curves(run)[EMA, "USD"]
        expected += [made + pnl for pnl in curve.pnl]
        made += curve.pnl[-1]
    whole = joined(runs)
    assert list(strategy_curves(whole)[EMA, "USD"].pnl) == expected
    assert whole.starts_ns == tuple(run.first_ns for run in runs)
    assert (whole.first_ns, whole.last_ns) == (runs[0].first_ns, runs[-1].last_ns)


def test_a_fill_belongs_to_the_part_whose_order_it_is_of() -> None:
    """The last order of the first part is filled a latency later, when the second part has begun."""
    first = result([(10, FLAT), (19, FLAT)], [fill(21, "Buy", "1", "1")])
    second = result([(20, FLAT), (30, FLAT)], [fill(22, "Buy", "1", "5"), fill(25, "Sell", "1", "7")])
    trips = list(round_trips(joined([first, second])))
    assert [(trip.opened_ns, trip.closed_ns, trip.pnl) for trip in trips] == [(22, 25, Decimal(2))]


def test_what_is_counted_is_added_up() -> None:
    def part(at_ns: int, slow: str, highest: str) -> Result:
        return result(
            [(at_ns, FLAT), (at_ns + 1, FLAT)],
            [fill(at_ns, "Buy", "1", "1")],
            strategies=(facts(EMA, parameters={"fast": "4", "slow": slow}),),
            limits=(LimitUse("desk/limits", "maxPositionQuantity", EMA, "20", highest, 2),),
            refused=(Refused(EMA, VENUE, "FUT", "R", "desk/limits", f"text {slow}", 3, at_ns, at_ns + 1),),
            data=(DataFile(VENUE, "FUT", "a.csv", HASH, 5),),
        )

    whole = joined([part(10, "12", "9"), part(20, "14", "10")])
    strategy = whole.strategies[0]
    assert strategy.parameters == {"fast": "4"}
    assert (strategy.orders_sent, strategy.orders_filled, strategy.orders_refused) == (14, 10, 4)
    assert whole.limits == (LimitUse("desk/limits", "maxPositionQuantity", EMA, "20", "10", 4),)
    assert whole.refused == (Refused(EMA, VENUE, "FUT", "R", "desk/limits", "text 12", 6, 10, 21),)
    assert len(whole.data) == 1
    assert (whole.events, whole.wall_seconds, len(whole.fills)) == (200, 1.0, 2)


def fold(first_day: int, fast: str, train: float, test: float | None) -> Fold:
    """Trained for 30 days, tested on the 10 that follow."""
    first, last, end = (MONDAY_NS + (first_day + day) * DAY_NS for day in (0, 30, 40))
    parameters = {"strategy/ema:spec.fast": fast, "strategy/ema:spec.slow": "12"}
    return Fold(first, last, last, end, parameters, "sharpe", train, test)


FOLDS = [fold(0, "3", 1.5, -0.25), fold(10, "5", 2, None)]


@pytest.mark.parametrize("width", [60, 80, 160])
def test_the_table_has_a_row_per_fold_and_no_figure_is_cut(width: int) -> None:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(folds_table(FOLDS))
    text = capture.get()
    assert "…" not in text
    assert re.search(r"fast +slow +In training +In test", text)
    assert re.search(r"2017-01-02.* 3 +12 +1\.50 +-0\.25", text)
    assert re.search(r"2017-01-12.* 5 +12 +2\.00 +–", text)


@pytest.mark.parametrize(
    ("length_ns", "text"),
    [(2 * DAY_NS, "2017-01-02 – 2017-01-04"), (DAY_NS // 2, "2017-01-02 00:00 – 2017-01-02 12:00")],
)
def test_a_range_is_as_short_as_its_length_allows(length_ns: int, text: str) -> None:
    assert span(MONDAY_NS, MONDAY_NS + length_ns) == text


def test_folds_are_stored_and_stand_in_the_report(tmp_path: Path) -> None:
    save_run(result([(MONDAY_NS, FLAT), (MONDAY_NS + 1, FLAT)]), tmp_path, FOLDS)
    assert [fold["train"] for fold in json.loads((tmp_path / "folds.json").read_text())] == [1.5, 2]
    page = (tmp_path / "report.html").read_text()
    assert "<h1>Walk-forward test</h1>" in page
    assert "<td>2017-01-02 – 2017-02-01</td><td>2017-02-01 – 2017-02-11</td>" in page
