"""A run's figures as a table for a terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from crowetrade_cli.results.figures import BY_NAME, labels
from crowetrade_cli.results.metrics import Metrics, RunMetrics

COLUMNS = (
    "pnl",
    "total_return",
    "sharpe",
    "max_drawdown",
    "round_trips",
    "orders_refused",
    "hit_rate",
    "sortino",
    "calmar",
    "turnover",
)
"""The most important first."""
_UNBOUNDED = 10_000
_GOOD, _BAD = "green", "red"
_SIGNED = {"pnl", "total_return"}


@dataclass(frozen=True, slots=True)
class Fitting:
    """A table with as many columns as the terminal is wide enough for, so that no figure is cut. `columns` are dropped
    from the last on; `make` returns the table with those that are left."""

    columns: Sequence[str]
    make: Callable[[Sequence[str]], Table]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        left = list(self.columns)
        while len(left) > 1 and self._width(console, options, left) > options.max_width:
            left.pop()
        yield self.make(left)

    def _width(self, console: Console, options: ConsoleOptions, columns: Sequence[str]) -> int:
        unbounded = options.update(max_width=_UNBOUNDED)
        return Measurement.get(console, unbounded, self.make(columns)).maximum


def run_table(metrics: RunMetrics) -> Fitting:
    """A row per strategy and one for all of each currency."""
    shown = labels([row.strategy for row in metrics.strategies if row.strategy is not None])

    def make(columns: Sequence[str]) -> Table:
        table = plain_table("Result", "Strategy", *(BY_NAME[name].label for name in columns))
        for row in metrics.strategies:
            table.add_row(Text(shown[row.strategy or ""]), *_cells(row, columns))
        table.add_section()
        for row in metrics.totals:
            table.add_row(Text(all_label(row, metrics.totals)), *_cells(row, columns), style="bold")
        return table

    return Fitting(COLUMNS, make)


def all_label(row: Metrics, totals: Sequence[Metrics]) -> str:
    """What the row of all strategies is called, or of those of one currency."""
    return "All" if len(totals) == 1 else f"All in {row.currency}"


def plain_table(title: str, first: str, *others: str) -> Table:
    """The first column holds names, the others figures."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for column in others:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _cells(row: Metrics, columns: Sequence[str]) -> list[Text]:
    cells = []
    for name in columns:
        value, text = getattr(row, name), BY_NAME[name].of(row)
        if name == "pnl":
            text = f"{text} {row.currency}"
        style = ("" if not value else _GOOD if value > 0 else _BAD) if name in _SIGNED else ""
        cells.append(Text(text, style=style))
    return cells
