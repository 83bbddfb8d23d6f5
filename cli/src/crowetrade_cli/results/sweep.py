"""Many runs of the same manifests with other parameters: which were best, and whether their neighbours were, too."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from rich.table import Table
from rich.text import Text

from crowetrade_cli.errors import WrongUse
from crowetrade_cli.results import store
from crowetrade_cli.results.chart import Chart, bar_chart
from crowetrade_cli.results.figures import BY_NAME, FIGURES, Figure, short_names
from crowetrade_cli.results.metrics import Metrics
from crowetrade_cli.results.pages import render
from crowetrade_cli.results.rows import figure_column
from crowetrade_cli.results.tables import COLUMNS, Fitting, plain_table

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_ROWS, LISTED_ROWS = 20, 500
_LABELS = 12
DEFAULT_METRIC = "sharpe"
RANKED = tuple(figure.name for figure in FIGURES if figure.better_when_higher)
"""The metrics that a sweep may be sorted by: those of which more is better."""


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A run: the parameters that were set, as text, and the figures of all strategies together."""

    parameters: Mapping[str, str]
    metrics: Metrics


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A combination that a model refuses, and its sentence: it was not run."""

    parameters: Mapping[str, str]
    refused: str


@dataclass(frozen=True, slots=True)
class Sweep:
    """sweep.json: the rows, best first by `metric`; those where it is undefined are last. Combinations that a model
    refuses are beside them."""

    metric: str
    rows: tuple[SweepRow, ...]
    refused: tuple[RefusedRow, ...] = ()
    note: str = ""
    """What has to be known of all rows first; see annualised_from."""
    kind: Literal["crowetrade.sweep"] = "crowetrade.sweep"
    schema: int = store.SCHEMA

    @property
    def combinations(self) -> tuple[SweepRow | RefusedRow, ...]:
        """Those that were run, best first, then those that were not."""
        return *self.rows, *self.refused


@dataclass(frozen=True, slots=True)
class Cell:
    """A place of the heat map: None where no run has a figure. `strength` is 0 to 100, `direction` is up or down."""

    text: str
    strength: float
    direction: str
    best: bool


@dataclass(frozen=True, slots=True)
class HeatMap:
    """The metric for each pair of values; a place with several runs shows the best of them."""

    across: str
    down: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell | None, ...]], ...]


def metric_named(name: str) -> Figure:
    """The metric that a sweep is sorted by. Raises WrongUse for a name that is none."""
    if name not in RANKED:
        raise WrongUse(f"{name!r} is no metric to sort by: use one of {', '.join(RANKED)}")
    return BY_NAME[name]


def sweep(
    rows: Sequence[SweepRow], metric: str = DEFAULT_METRIC, refused: Sequence[RefusedRow] = (), note: str = ""
) -> Sweep:
    """The rows with the best first. Rows that are equal keep their order."""
    metric_named(metric)
    return Sweep(metric, tuple(sorted(rows, key=lambda row: -_value(row, metric))), tuple(refused), note)


def sweep_table(of: Sweep) -> Fitting:
    """The best rows."""
    names = _parameters(of)
    short = short_names(names)
    title = f"Sweep of {len(of.rows)} runs, by {BY_NAME[of.metric].label}"
    if len(of.rows) > SHOWN_ROWS:
        title += f": the best {SHOWN_ROWS}"

    def make(columns: Sequence[str]) -> Table:
        table = plain_table(title, *(short[name] for name in names), *(BY_NAME[name].label for name in columns))
        for row in of.rows[:SHOWN_ROWS]:
            values = [row.parameters[name] for name in names]
            table.add_row(*map(Text, values), *(Text(BY_NAME[name].of(row.metrics)) for name in columns))
        return table

    return Fitting((of.metric, *(name for name in COLUMNS if name != of.metric)), make)


def save_sweep(of: Sweep, folder: Path) -> None:
    """Writes sweep.json, sweep.parquet and sweep.html. Raises WrongUse where the folder holds something else."""
    files = {
        store.SWEEP: store.write_json(Sweep, of),
        store.SWEEP_ROWS: store.write_table(lambda: _columns(of)),
        store.SWEEP_PAGE: store.write_text(sweep_page(of)),
    }
    store.write_folder(folder, files)


def sweep_page(of: Sweep) -> str:
    """The page: a line of one parameter, a heat map of each pair of several, and all rows."""
    names = _parameters(of)
    short = short_names(names)
    maps = [heat_map(of, down, across) for down, across in itertools.combinations(names, 2)]
    return render(
        "sweep.html.jinja",
        sweep=of,
        figure=BY_NAME[of.metric],
        figures=FIGURES,
        names=names,
        short=short,
        listed=LISTED_ROWS,
        maps=maps,
        bars=_bars(of, names[0]) if len(names) == 1 else None,
    )


def heat_map(of: Sweep, down: str, across: str) -> HeatMap:
    """Two parameters against each other. Where others vary, too, each place is the best over them."""
    best: dict[tuple[str, str], SweepRow] = {}
    for row in of.rows:
        best.setdefault((row.parameters[down], row.parameters[across]), row)
    known = [abs(value) for row in of.rows if (value := _value(row, of.metric)) > -math.inf]
    greatest = max(known, default=0.0)
    columns = _values(of, across)

    def cell(row: SweepRow | None) -> Cell | None:
        if row is None or (value := _value(row, of.metric)) == -math.inf:
            return None
        strength = round(100 * abs(value) / greatest, 1) if greatest else 0.0
        text = BY_NAME[of.metric].of(row.metrics)
        return Cell(text, strength, "up" if value >= 0 else "down", row is of.rows[0])

    rows = tuple((value, tuple(cell(best.get((value, column))) for column in columns)) for value in _values(of, down))
    return HeatMap(across, down, columns, rows)


def _value(row: SweepRow, metric: str) -> float:
    value = getattr(row.metrics, metric)
    return -math.inf if value is None else float(value)


def _parameters(of: Sweep) -> list[str]:
    return sorted({name for row in of.rows for name in row.parameters})


def _values(of: Sweep, name: str) -> tuple[str, ...]:
    """The values that a parameter had, as numbers where all are."""
    values = {row.parameters[name] for row in of.combinations}
    try:
        return tuple(sorted(values, key=Decimal))
    except InvalidOperation:
        return tuple(sorted(values))


def _bars(of: Sweep, name: str) -> Chart:
    by_value = {row.parameters[name]: _value(row, of.metric) for row in of.rows}
    values = _values(of, name)
    bars = [(value, by_value[value]) for value in values if by_value.get(value, -math.inf) > -math.inf]
    note = "" if len(bars) == len(values) else "Values for which the figure is undefined are left out."
    every = max(-(-len(bars) // _LABELS), 1)
    return bar_chart(f"{BY_NAME[of.metric].label} by {short_names([name])[name]}", bars, note=note, every=every)


def _columns(of: Sweep) -> pa.Table:
    """A row per run, best first, then those that a model refuses: the parameters as text, then the figures, money as
    decimal128(38, 18), then why it was refused."""
    import pyarrow as pa

    columns: dict[str, Any] = {
        name: pa.array([row.parameters[name] for row in of.combinations], pa.string()) for name in _parameters(of)
    }
    nothing = [None] * len(of.refused)
    for figure in FIGURES:
        columns[figure.name] = figure_column([*(getattr(row.metrics, figure.name) for row in of.rows), *nothing])
    columns["refused"] = pa.array([*[""] * len(of.rows), *(row.refused for row in of.refused)], pa.string())
    return pa.table(columns)
