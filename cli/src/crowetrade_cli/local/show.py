"""Three ways to show a desk in a terminal: a live table, lines, and JSON lines; and several ways at once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import Any, Protocol, Self

import typer
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crowetrade_cli.journal.rows import Row
from crowetrade_cli.local.fills import fill_fields
from crowetrade_cli.local.report import Report, StrategyRow, VenueRow
from crowetrade_cli.local.said import Said
from crowetrade_cli.local.stops import StopRow
from crowetrade_cli.local.table import limits_table, tables
from crowetrade_cli.local.wanted import Address

LAST_FILLS, LEAST_FILLS = 8, 3
"""How many executions are shown where there is room, and where there is none."""


class Show(AbstractContextManager["Show"], Protocol):
    """Used from the first look to the last."""

    def update(self, now: Report, fills: Sequence[tuple[Address, Row]]) -> None:
        """The desk as it is now, and the executions since the last time, each with its venue."""
        ...

    def say(self, sentence: str, *, passing: bool = False) -> None:
        """A sentence to the user. Where it would stay until the next one, a passing one goes by itself."""
        ...


class TableShow:
    """For a terminal. What matters most is on top, because what does not fit is cut off below: limits, and all but the
    newest executions."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._live = Live(console=self._console, auto_refresh=False, transient=False)
        self._fills: list[tuple[Address, Row]] = []
        self._said = Said()

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, now: Report, fills: Sequence[tuple[Address, Row]]) -> None:
        """See Show."""
        self._fills = [*reversed(fills), *self._fills][:LAST_FILLS]
        above, limits = tables(now, self._said.look()), limits_table(now)
        room = self._console.height - self._lines(above) - self._lines(limits)
        shown = len(self._fills)
        while shown > LEAST_FILLS and self._lines(self._fills_table(now, shown)) > room:
            shown -= 1
        self._live.update(Group(above, self._fills_table(now, shown), limits), refresh=True)

    def say(self, sentence: str, *, passing: bool = False) -> None:
        """See Show."""
        self._said.say(sentence, passing=passing)

    def _lines(self, what: RenderableType) -> int:
        return len(self._console.render_lines(what))

    def _fills_table(self, now: Report, shown: int) -> Table:
        table = Table(title="Last executions", title_justify="left", title_style="bold", expand=True, box=None)
        for column in ("Time", "Venue", "Strategy", "Side", "Quantity", "Symbol", "Price", "Fee"):
            table.add_column(column)
        for venue, row in self._fills[:shown]:
            fill = fill_fields(venue, row)
            fill["strategy"] = now.label(fill["namespace"], fill["strategy"])
            fill["time"] = fill["time"][_CLOCK]
            table.add_row(*(Text(str(fill[name])) for name in _COLUMNS))
        return table


class PlainShow:
    """A line for each execution, for each change of a state and of what stops strategies."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._stops: dict[tuple[str, str, str], StopRow] = {}
        self._last: Report | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._last is None:
            return
        for strategy in self._last.strategies:
            name = self._last.label(strategy.namespace, strategy.name)
            typer.echo(
                f"{name}: {strategy.held}, PnL {strategy.pnl or '-'} {strategy.currency}, {strategy.sent} sent, "
                f"{strategy.filled} filled, {strategy.refused} refused"
            )

    def update(self, now: Report, fills: Sequence[tuple[Address, Row]]) -> None:
        """See Show."""
        self._last = now
        rows: list[tuple[str, StrategyRow | VenueRow, str]] = [
            *(("strategy", row, row.state) for row in now.strategies),
            *(("venue", row, row.session) for row in now.venues),
        ]
        for key in self._states.keys() - {(kind, row.namespace, row.name) for kind, row, _ in rows}:
            del self._states[key]
            kind, namespace, name = key
            typer.echo(f"{kind} {now.label(namespace, name)}: gone")
        for kind, row, state in rows:
            # The sentence of a strategy that trades now and then changes with each order.
            said = (state, row.why if kind == "venue" or state == "Failed" else "")
            if self._states.get((kind, row.namespace, row.name)) != said:
                self._states[kind, row.namespace, row.name] = said
                why = f" ({row.why})" if row.why else ""
                typer.echo(f"{kind} {now.label(row.namespace, row.name)}: {state}{why}")
        self._tell_stops(now)
        for address, event in fills:
            fill = fill_fields(address, event)
            typer.echo(
                f"{fill['time']} {now.label(fill['namespace'], fill['strategy'])}: {fill['side']} {fill['quantity']} "
                f"{fill['symbol']} at {fill['price']} on {address.name}, fee {fill['fee']}"
            )

    def _tell_stops(self, now: Report) -> None:
        stops = {(row.kind, row.namespace, row.name): row for row in now.stops}
        for kind, namespace, name in self._stops.keys() - stops.keys():
            typer.echo(f"{kind} {now.label(namespace, name)}: over")
        for key, row in stops.items():
            if self._stops.get(key) != row:
                whom = ", ".join(now.label(*item.split("/")) for item in row.stops) or "nobody yet"
                halted = f", {row.halted} gateways have halted" if row.halted else ""
                name = f"{row.kind} {now.label(row.namespace, row.name)}"
                typer.echo(f"{name}: {row.action} for {whom}{halted} ({row.why}). To end it: {row.remedy}")
        self._stops = stops

    def say(self, sentence: str, *, passing: bool = False) -> None:
        """See Show."""
        typer.echo(sentence)


class JsonShow:
    """A JSON object per line: `{"fill": ...}` for each execution, `{"desk": ...}` for each look."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def update(self, now: Report, fills: Sequence[tuple[Address, Row]]) -> None:
        """See Show."""
        for venue, row in fills:
            typer.echo(json.dumps({"fill": fill_fields(venue, row)}))
        typer.echo(json.dumps({"desk": now.to_json()}))

    def say(self, sentence: str, *, passing: bool = False) -> None:
        """See Show."""
        typer.echo(json.dumps({"message": sentence}))


class Shows:
    """All of these at once."""

    def __init__(self, *shows: Show) -> None:
        self._shows = shows
        self._entered = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as entered:
            for show in self._shows:
                entered.enter_context(show)
            self._entered = entered.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._entered.__exit__(*exception)

    def update(self, now: Report, fills: Sequence[tuple[Address, Row]]) -> None:
        """See Show."""
        for show in self._shows:
            show.update(now, fills)

    def say(self, sentence: str, *, passing: bool = False) -> None:
        """See Show."""
        for show in self._shows:
            show.say(sentence, passing=passing)


_CLOCK = slice(len("2026-11-26T"), len("2026-11-26T00:02:03"))
_COLUMNS = ("time", "venue", "strategy", "side", "quantity", "symbol", "price", "fee")
