"""`crowetrade journal show`: events for people, or as JSON lines."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crowetrade_cli.commands.journal.options import DEFAULT_NATS, File, Namespace, Nats, Venue
from crowetrade_cli.journal.filters import EventFilter, parse_since
from crowetrade_cli.journal.rows import Row, iso, rows_of
from crowetrade_cli.journal.source import open_source

DEFAULT_LAST = 100
PIPED_WIDTH = 1000
_SHOWN_ELSEWHERE = frozenset({"strategy", "symbol", "cl_ord_id"})


def show(
    file: File = None,
    nats: Nats = DEFAULT_NATS,
    namespace: Namespace = "",
    venue: Venue = "",
    strategy: Annotated[str, typer.Option(help="Events of this Strategy only.")] = "",
    since: Annotated[
        str, typer.Option(help="Events since then only: 2026-03-01T09:30:00Z, or an age such as 90s, 15m, 2h, 3d.")
    ] = "",
    order: Annotated[
        str, typer.Option(metavar="CLORDID", help="Events of this order only, also once it is replaced.")
    ] = "",
    last: Annotated[
        int | None, typer.Option(min=1, help=f"The last so many events. In a table {DEFAULT_LAST}, as JSON all.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line; decimals are strings.")] = False,
) -> None:
    """Show events, oldest first. What is shown is not verified."""
    wanted = EventFilter(strategy, parse_since(since, datetime.now(UTC)), order)
    asyncio.run(_show(_rows(file, nats, namespace, venue, wanted), last, json))


async def _rows(file: File, nats: str, namespace: str, venue: str, wanted: EventFilter) -> AsyncIterator[Row]:
    async with open_source(file, nats, namespace, venue) as source:
        async for payload in source.records():
            for row in rows_of(payload):
                if wanted.takes(row):
                    yield row


async def _show(rows: AsyncIterator[Row], last: int | None, json: bool) -> None:
    if json and last is None:
        async for row in rows:
            typer.echo(row.event_line())
        return
    shown: deque[Row] = deque(maxlen=last or DEFAULT_LAST)
    matching = 0
    async for row in rows:
        matching += 1
        shown.append(row)
    if json:
        for row in shown:
            typer.echo(row.event_line())
    else:
        _table(shown, matching)


def _table(shown: deque[Row], matching: int) -> None:
    table = Table("#", "Time", "Event", "Strategy", "Symbol", "ClOrdID", "Details", box=None, pad_edge=False)
    for row in shown:
        details = ", ".join(f"{key} {value}" for key, value in row.event.items() if key not in _SHOWN_ELSEWHERE)
        cells = (iso(row.at_unix_ns), row.kind, row.strategy, row.symbol, row.cl_ord_id, details)
        # Text, not markup: what a strategy or a venue wrote is shown as it is.
        table.add_row(str(row.sequence), *(Text(cell) for cell in cells))
    console = Console()
    # Where the output is no terminal an event stays on one line, so that it can be searched line by line.
    (console if console.is_terminal else Console(width=PIPED_WIDTH)).print(table)
    if matching > len(shown):
        typer.echo(f"the last {len(shown)} of {matching} events; --last shows more", err=True)
