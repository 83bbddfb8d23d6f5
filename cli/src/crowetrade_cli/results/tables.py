"""A run's figures as a table for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from crowetrade_cli.results.figures import BY_NAME, labels
from crowetrade_cli.results.metrics import Metrics, RunMetrics

COLUMNS = (
    "pnl",
    "total_return",
    "sharpe",
    "sortino",
    "calmar",
    "max_drawdown",
    "turnover",
    "hit_rate",
    "round_trips",
    "orders_refused",
)
_GOOD, _BAD = "green", "red"
_SIGNED = {"pnl", "total_return"}


def run_table(metrics: RunMetrics) -> Table:
    """A row per strategy and one for all of each currency."""
    shown = labels([row.strategy for row in metrics.strategies if row.strategy is not None])
    table = plain_table("Result", "Strategy", *(BY_NAME[name].label for name in COLUMNS))
    for row in metrics.strategies:
        table.add_row(Text(shown[row.strategy or ""]), *_cells(row))
    table.add_section()
    for row in metrics.totals:
        table.add_row(Text(all_label(row, metrics.totals)), *_cells(row), style="bold")
    return table


def all_label(row: Metrics, totals: Sequence[Metrics]) -> str:
    """What the row of all strategies is called, or of those of one currency."""
    return "All" if len(totals) == 1 else f"All in {row.currency}"


def plain_table(title: str, first: str, *others: str) -> Table:
    """The first column holds names, the others figures."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(first, no_wrap=True)
    for column in others:
        table.add_column(column, justify="right")
    return table


def _cells(row: Metrics) -> list[Text]:
    cells = []
    for name in COLUMNS:
        value, text = getattr(row, name), BY_NAME[name].of(row)
        if name == "pnl":
            text = f"{text} {row.currency}"
        style = ("" if not value else _GOOD if value > 0 else _BAD) if name in _SIGNED else ""
        cells.append(Text(text, style=style))
    return cells
