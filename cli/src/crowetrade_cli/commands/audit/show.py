"""`crowetrade audit show`: who changed what, for people or as JSON lines."""

from __future__ import annotations

import asyncio
import json as json_text
from collections import deque
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from crowetrade_cli.audit.filters import RowFilter
from crowetrade_cli.audit.rows import AuditRow, row_of
from crowetrade_cli.audit.source import open_source
from crowetrade_cli.commands.audit.options import File
from crowetrade_cli.commands.journal.options import DEFAULT_NATS, Nats
from crowetrade_cli.commands.journal.show import DEFAULT_LAST, PIPED_WIDTH
from crowetrade_cli.journal.filters import parse_since
from crowetrade_cli.journal.rows import iso


def show(
    file: File = None,
    nats: Nats = DEFAULT_NATS,
    since: Annotated[
        str, typer.Option(help="Since then only: 2026-03-01T09:30:00Z, or an age such as 90s, 15m, 2h, 3d.")
    ] = "",
    actor: Annotated[str, typer.Option(help="What this user, or this identity, did.")] = "",
    resource: Annotated[
        str, typer.Option(help="About this resource: KIND, KIND NAMESPACE/NAME, or NAMESPACE/NAME.")
    ] = "",
    action: Annotated[str, typer.Option(help="Of this action: Created, Changed, Kill, LimitInForce, ...")] = "",
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="Checkpoints, too.")] = False,
    last: Annotated[
        int | None, typer.Option(min=1, help=f"The last so many. In a table {DEFAULT_LAST}, as JSON all.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
) -> None:
    """Show who changed what, in the order of the bus. What is shown is not verified.

    A name in brackets is not proven: it is what somebody said.
    """
    wanted = RowFilter(parse_since(since, datetime.now(UTC)), actor, resource, action, checkpoints)
    asyncio.run(_show(file, nats, wanted, last, json))


async def _show(file: Path | None, nats: str, wanted: RowFilter, last: int | None, json: bool) -> None:
    shown: deque[AuditRow] = deque(maxlen=last or (None if json else DEFAULT_LAST))
    matching = 0
    async with open_source(file, nats) as source:
        async for _, payload in source.records():
            row = row_of(payload)
            if not wanted.takes(row):
                continue
            matching += 1
            if json and last is None:
                typer.echo(json_text.dumps(row.fields()))
            else:
                shown.append(row)
    if json:
        for row in shown:
            typer.echo(json_text.dumps(row.fields()))
    else:
        _table(shown, matching)


def _table(shown: deque[AuditRow], matching: int) -> None:
    table = Table("Time", "Action", "Who", "Resource", "Details", "Writer", "#", box=None, pad_edge=False)
    for row in shown:
        cells = (iso(row.at_unix_ns), row.action, who(row), row.resource, details(row), row.writer, str(row.sequence))
        # Text, not markup: what somebody wrote is shown as it is.
        table.add_row(*(Text(cell) for cell in cells))
    console = Console()
    (console if console.is_terminal else Console(width=PIPED_WIDTH)).print(table)
    if matching > len(shown):
        typer.echo(f"the last {len(shown)} of {matching} records; --last shows more", err=True)


def who(row: AuditRow) -> str:
    """The actor, in brackets where nothing proves it."""
    if not row.actor:
        return "unknown"
    return f"({row.actor})" if row.proof in ("Claimed", "Unspecified") else row.actor


def details(row: AuditRow) -> str:
    """Reason, number, and what has changed: path old -> new."""
    parts = [row.reason, f"{row.count} times" if row.count > 1 else "", *changes(row.before, row.after)]
    return ", ".join(part for part in parts if part)


def changes(before: str, after: str) -> list[str]:
    """What differs between two resources, of those that both were."""
    if not before or not after:
        return []
    old, new = _leaves(json_text.loads(before)), _leaves(json_text.loads(after))
    paths = [path for path in (*old, *(path for path in new if path not in old)) if old.get(path) != new.get(path)]
    return [f"{path} {old.get(path, 'nothing')} -> {new.get(path, 'nothing')}" for path in paths]


def _leaves(value: object, path: str = "") -> dict[str, str]:
    if isinstance(value, dict):
        inside = [_leaves(item, f"{path}.{key}" if path else str(key)) for key, item in value.items()]
    elif isinstance(value, list):
        inside = [_leaves(item, f"{path}[{place}]") for place, item in enumerate(value)]
    else:
        return {path: json_text.dumps(value)}
    return {key: text for found in inside for key, text in found.items()}
