"""Three ways to show how a kill order comes along: a live table, lines, and JSON lines."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import asdict
from typing import Any, Protocol, Self

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crowetrade_cli.fleet.kill import Look, Outcome, Way
from crowetrade_cli.fleet.progress import Row, Stage

_COLOURS = {
    Outcome.WORKS: "green",
    Outcome.FAILS: "red",
    Outcome.NOT_TRIED: "yellow",
    Outcome.TRYING: "yellow",
    Stage.HALTED: "green",
    Stage.BLOCKED: "yellow",
    Stage.WAITING: "red",
}
_OPEN_SHOWN = 3


class Show(AbstractContextManager["Show"], Protocol):
    """Used from the first look to the last."""

    def update(self, look: Look) -> None:
        """What is known now."""
        ...


class TableShow:
    """For a terminal. Gateways that have not halted are on top, because what does not fit is cut off below."""

    def __init__(self, console: Console | None = None) -> None:
        self._live = Live(console=console or Console(), auto_refresh=False, transient=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, look: Look) -> None:
        """See Show."""
        self._live.update(Group(_ways(look), _gateways(look)), refresh=True)


class PlainShow:
    """A line for each change."""

    def __init__(self) -> None:
        self._told: dict[str, Way | Row] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def update(self, look: Look) -> None:
        """See Show."""
        for way in look.ways:
            if self._is_new(f"way {way.name}", way) and way.outcome is not Outcome.TRYING:
                typer.echo(f"{way.name}: {_worded(way)}")
        for row in look.gateways:
            if self._is_new(f"gateway {row.gateway}", row):
                typer.echo(f"gateway {row.gateway}: {row.stage}{_details(row)}")

    def _is_new(self, key: str, now: Way | Row) -> bool:
        known = self._told.get(key)
        self._told[key] = now
        return known != now


class JsonShow:
    """A JSON object per line: `{"way": ...}` and `{"gateway": ...}` for each change."""

    def __init__(self) -> None:
        self._told: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def update(self, look: Look) -> None:
        """See Show."""
        for way in look.ways:
            self._tell({"way": asdict(way)}, way.name)
        for row in look.gateways:
            self._tell({"gateway": row.to_json()}, f"gateway {row.gateway}")

    def _tell(self, line: dict[str, Any], key: str) -> None:
        if self._told.get(key) != line:
            self._told[key] = line
            typer.echo(json.dumps(line))


def _worded(way: Way) -> str:
    return f"not tried, {way.message}" if way.outcome is Outcome.NOT_TRIED else way.message


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", expand=True, box=None)
    for column in columns:
        table.add_column(column)
    return table


def _ways(look: Look) -> Table:
    table = _table(f"Kill order {look.namespace}/{look.name or '...'}", "Way", "", "Says")
    for way in look.ways:
        table.add_row(Text(way.name), Text(way.outcome, style=_COLOURS[way.outcome]), Text(way.message))
    return table


def _gateways(look: Look) -> Table:
    stages = list(Stage)
    rows = sorted(look.gateways, key=lambda row: stages.index(row.stage))
    halted = sum(row.stage is Stage.HALTED for row in rows)
    table = _table(
        f"Gateways: {halted} of {len(rows)} have halted",
        "Gateway",
        "State",
        "Told by",
        "Cancels",
        "Open",
        "Time",
        "Why",
    )
    for row in rows:
        table.add_row(
            Text(row.gateway),
            Text(row.stage, style=_COLOURS[row.stage]),
            Text(", ".join(row.told_by)),
            f"{row.cancels_confirmed}/{row.cancels_sent}",
            str(row.still_open_count),
            f"{row.milliseconds} ms" if row.milliseconds is not None else "",
            Text(row.problem or _open(row) or _held(row)),
        )
    return table


def _open(row: Row) -> str:
    more = row.still_open_count - _OPEN_SHOWN
    return ", ".join(row.still_open[:_OPEN_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _held(row: Row) -> str:
    more = row.positions_count - _OPEN_SHOWN
    return ", ".join(row.positions[:_OPEN_SHOWN]) + (f" and {more} more" if more > 0 else "")


def _details(row: Row) -> str:
    parts = []
    if row.told_by:
        parts.append(f"by {', '.join(row.told_by)}")
    if row.cancels_sent:
        parts.append(f"{row.cancels_confirmed} of {row.cancels_sent} cancels confirmed")
    if row.still_open_count:
        parts.append(f"open: {_open(row)}")
    if row.positions_count:
        parts.append(f"holds {_held(row)}")
    if row.milliseconds is not None:
        parts.append(f"in {row.milliseconds} ms")
    if row.problem:
        parts.append(row.problem)
    return f" ({'; '.join(parts)})" if parts else ""
