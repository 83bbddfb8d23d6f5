"""Two runs side by side: what came out, and what of the parameters, the limits, the data and the code was different."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated

from pydantic import PlainSerializer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from crowetrade_agents.domain.numbers import render, render_money
from crowetrade_cli.results.figures import BY_NAME, FIGURES, NONE, Figure, labels, utc
from crowetrade_cli.results.store import Run, StoredRun
from crowetrade_cli.results.tables import plain_table

_GOOD, _BAD = "green", "red"
_SHORT_HASH = 12
_HASH = re.compile(r"[0-9a-f]{64}")
_BY_STRATEGY = ("pnl", "sharpe", "max_drawdown", "round_trips")

Number = Annotated[Decimal, PlainSerializer(render_money, return_type=str, when_used="json")] | int | float | None


@dataclass(frozen=True, slots=True)
class Compared:
    """One figure in both runs, None where it is undefined; `strategy` is None for all together."""

    strategy: str | None
    currency: str
    figure: str
    a: Number
    b: Number


@dataclass(frozen=True, slots=True)
class Different:
    """Something that is not the same, None where one run does not have it. `what` is one of strategy, parameter,
    manifest, data, range, model and code."""

    what: str
    name: str
    a: str | None
    b: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """`like_for_like` is whether both ran over the same data and range; only then the figures tell which is better."""

    a: str
    b: str
    like_for_like: bool
    figures: tuple[Compared, ...]
    different: tuple[Different, ...]


def compare(a: StoredRun, b: StoredRun) -> Comparison:
    """What differs between two runs, and every figure of what both have."""
    different = tuple(_different(a.run, b.run))
    return Comparison(
        str(a.folder),
        str(b.folder),
        not any(each.what in {"data", "range"} for each in different),
        tuple(_figures(a, b)),
        different,
    )


def _figures(a: StoredRun, b: StoredRun) -> Iterator[Compared]:
    rows_a, rows_b = (
        {(row.strategy, row.currency): row for row in (*stored.metrics.totals, *stored.metrics.strategies)}
        for stored in (a, b)
    )
    for (strategy, currency), row in rows_a.items():
        other = rows_b.get((strategy, currency))
        if other is not None:
            for figure in FIGURES:
                yield Compared(strategy, currency, figure.name, getattr(row, figure.name), getattr(other, figure.name))


def _different(a: Run, b: Run) -> Iterator[Different]:
    for what, texts in (
        ("range", _range),
        ("data", _data),
        ("code", _code),
        ("model", _models),
        ("strategy", _strategies),
        ("parameter", _parameters),
        ("manifest", _manifests),
    ):
        of_a, of_b = texts(a), texts(b)
        for name in sorted(of_a.keys() | of_b.keys()):
            if of_a.get(name) != of_b.get(name):
                yield Different(what, name, of_a.get(name), of_b.get(name))


def _range(run: Run) -> Mapping[str, str]:
    return {"from": utc(run.first_ns), "to": utc(run.last_ns)}


def _data(run: Run) -> Mapping[str, str]:
    """By instrument, because a recording may have another name and be the same. An instrument may have several: its
    depth and its trades, and the tests of folds each have all of them."""
    found: dict[str, list[str]] = {}
    for file in run.data:
        found.setdefault(f"{file.venue}/{file.symbol}", []).append(file.sha256)
    return {name: ", ".join(sorted(set(hashes))) for name, hashes in found.items()}


def _code(run: Run) -> Mapping[str, str]:
    return {"CroweTrade": f"{run.code.version} {run.code.sha256}"}


def _models(run: Run) -> Mapping[str, str]:
    return run.code.models


def _strategies(run: Run) -> Mapping[str, str]:
    """Model and capital."""
    return {facts.id: f"{facts.model}, {render(facts.capital)} {facts.currency}" for facts in run.strategies}


def _parameters(run: Run) -> Mapping[str, str]:
    return {f"{facts.id} {name}": value for facts in run.strategies for name, value in facts.parameters.items()}


def _manifests(run: Run) -> Mapping[str, str]:
    return {f"{one.kind} {one.namespace}/{one.name}": one.sha256 for one in run.manifests}


def comparison_text(of: Comparison) -> Group:
    """For a terminal: all together in every figure, each strategy in a few, and what is different."""
    parts: list[RenderableType] = [Text.assemble(("A", "bold"), f" {of.a}   ", ("B", "bold"), f" {of.b}")]
    if not of.like_for_like:
        text = "Not like for like: the runs are over other data or another range, so their figures cannot be compared."
        parts.append(Text(text, style="bold yellow"))
    for currency in dict.fromkeys(row.currency for row in of.figures if row.strategy is None):
        rows = [row for row in of.figures if row.strategy is None and row.currency == currency]
        parts.append(_figures_table(f"All strategies, {currency}", rows))
    parts.append(_strategies_table([row for row in of.figures if row.strategy is not None]))
    parts.append(_different_table(of.different) if of.different else Text("Parameters, data and code are the same."))
    return Group(*(line for part in parts for line in (part, Text())))


def _figures_table(title: str, rows: Sequence[Compared]) -> Table:
    table = plain_table(title, "Figure", "A", "B", "B - A")
    for row in rows:
        figure = BY_NAME[row.figure]
        table.add_row(Text(figure.label), Text(figure.text(row.a)), Text(figure.text(row.b)), _change(figure, row))
    return table


def _strategies_table(rows: Sequence[Compared]) -> Table:
    """Two rows of figures would be too wide, so a strategy has a line per run."""
    table = plain_table("Strategies", "Strategy", "Run", *(BY_NAME[name].label for name in _BY_STRATEGY))
    shown = labels([row.strategy for row in rows if row.strategy is not None])
    by_strategy: dict[str, dict[str, Compared]] = {}
    for row in rows:
        by_strategy.setdefault(row.strategy or "", {})[row.figure] = row
    for strategy, figures in by_strategy.items():
        for run in ("A", "B"):
            values = (BY_NAME[name].text(getattr(figures[name], run.lower())) for name in _BY_STRATEGY)
            table.add_row(Text(shown[strategy] if run == "A" else ""), Text(run), *map(Text, values))
    return table


def _change(figure: Figure, row: Compared) -> Text:
    if row.a is None or row.b is None:
        return Text(NONE)
    change = row.b - row.a  # type: ignore[operator]
    if not change:
        return Text("same")
    better = None if figure.better_when_higher is None else (change > 0) == figure.better_when_higher
    style = "" if better is None else _GOOD if better else _BAD
    sign = "+" if change > 0 else ""
    return Text(sign + figure.text(change), style=style)


def _different_table(different: Sequence[Different]) -> Table:
    table = plain_table("Different", "What", "Name", "A", "B")
    for column in table.columns:
        column.justify, column.overflow, column.no_wrap = "left", "fold", False
    for each in different:
        table.add_row(*map(Text, (each.what, each.name, _short(each.a), _short(each.b))))
    return table


def _short(value: str | None) -> str:
    """Hashes by their beginning."""
    return NONE if value is None else _HASH.sub(lambda found: found[0][:_SHORT_HASH], value)
