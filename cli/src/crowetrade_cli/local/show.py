"""Three ways to show a desk: a live table, lines, and JSON lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any, Protocol, Self

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from crowetrade_cli.journal.rows import Row, iso
from crowetrade_cli.local.report import Report
from crowetrade_cli.local.table import tables

LAST_FILLS = 8
_SIDES = {"SIDE_BUY": "Buy", "SIDE_SELL": "Sell"}


class Show(AbstractContextManager["Show"], Protocol):
    """Used from the first look to the last; `say` is for a sentence to the user."""

    def update(self, now: Report, fills: Sequence[tuple[str, Row]]) -> None:
        """The desk as it is now, and the executions since the last time, each with its venue."""
        ...

    def say(self, sentence: str) -> None:
        """Something that is no part of the report."""
        ...


class TableShow:
    """For a terminal."""

    def __init__(self) -> None:
        self._live = Live(console=Console(), auto_refresh=False, transient=False)
        self._fills: list[tuple[str, Row]] = []
        self._sentence = ""

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def update(self, now: Report, fills: Sequence[tuple[str, Row]]) -> None:
        """See Show."""
        self._fills = [*self._fills, *fills][-LAST_FILLS:]
        content = tables(now)
        content.renderables.append(self._last_fills())
        content.renderables.append(Text(self._sentence, style="bold"))
        self._live.update(content, refresh=True)

    def say(self, sentence: str) -> None:
        """See Show."""
        self._sentence = sentence

    def _last_fills(self) -> Table:
        table = Table(title="Last executions", title_justify="left", title_style="bold", expand=True, box=None)
        for column in ("Time", "Venue", "Strategy", "Side", "Quantity", "Symbol", "Price", "Fee"):
            table.add_column(column)
        for venue, row in self._fills:
            fill = _fill(venue, row)
            table.add_row(*(Text(str(fill[name])) for name in _COLUMNS))
        return table


class PlainShow:
    """A line for each execution and for each change of a state."""

    def __init__(self) -> None:
        self._states: dict[tuple[str, str], str] = {}
        self._last: Report | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for row in self._last.strategies if self._last is not None else ():
            held = ", ".join(row.positions) or "flat"
            typer.echo(
                f"{row.name}: {held}, PnL {row.pnl or '-'} {row.currency}, {row.sent} sent, {row.filled} filled, "
                f"{row.refused} refused"
            )

    def update(self, now: Report, fills: Sequence[tuple[str, Row]]) -> None:
        """See Show."""
        self._last = now
        here = {("strategy", row.name) for row in now.strategies} | {("venue", row.name) for row in now.venues}
        for kind, name in self._states.keys() - here:
            del self._states[kind, name]
            typer.echo(f"{kind} {name}: gone")
        for strategy in now.strategies:
            self._state("strategy", strategy.name, strategy.state, strategy.why)
        for venue in now.venues:
            self._state("venue", venue.name, venue.session, venue.why)
        for name, row in fills:
            fill = _fill(name, row)
            typer.echo(
                f"{fill['time']} {fill['strategy']}: {fill['side']} {fill['quantity']} {fill['symbol']} at "
                f"{fill['price']} on {name}, fee {fill['fee']}"
            )

    def say(self, sentence: str) -> None:
        """See Show."""
        typer.echo(sentence)

    def _state(self, kind: str, name: str, state: str, why: str) -> None:
        if self._states.get((kind, name)) != state:
            self._states[kind, name] = state
            typer.echo(f"{kind} {name}: {state}{f' ({why})' if why else ''}")


class JsonShow:
    """A JSON object per line: `{"fill": ...}` for each execution, `{"desk": ...}` for each look."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def update(self, now: Report, fills: Sequence[tuple[str, Row]]) -> None:
        """See Show."""
        for venue, row in fills:
            typer.echo(json.dumps({"fill": _fill(venue, row)}))
        typer.echo(json.dumps({"desk": now.to_json()}))

    def say(self, sentence: str) -> None:
        """See Show."""
        typer.echo(json.dumps({"message": sentence}))


_COLUMNS = ("time", "venue", "strategy", "side", "quantity", "symbol", "price", "fee")


def _fill(venue: str, row: Row) -> dict[str, Any]:
    event = row.event
    return {
        "time": iso(row.at_unix_ns),
        "venue": venue,
        "strategy": row.strategy,
        "cl_ord_id": row.cl_ord_id,
        "side": _SIDES.get(str(event.get("side")), ""),
        "quantity": event.get("quantity", ""),
        "symbol": row.symbol,
        "price": event.get("price", ""),
        "fee": str(Decimal(str(event.get("fee") or "0"))),
    }
