"""`crowetrade audit export`: the audit trail as a file that can be read, and verified again, without the bus."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from crowetrade_cli.audit.rows import row_of
from crowetrade_cli.audit.source import LiveSource
from crowetrade_cli.bus import connect
from crowetrade_cli.commands.journal.options import DEFAULT_NATS, Nats
from crowetrade_cli.errors import WrongUse
from crowetrade_cli.journal.files import whole_or_nothing


def export(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")], nats: Nats = DEFAULT_NATS
) -> None:
    """Export the audit trail as JSON lines, one per record, with its bytes and hash. `crowetrade audit verify FILE`
    verifies it."""
    if file.exists():
        raise WrongUse(f"{file} exists: name a file that does not")
    asyncio.run(_export(file, nats))


async def _export(file: Path, nats: str) -> None:
    count = 0
    async with connect(nats) as client:
        with whole_or_nothing(file) as part, part.open("w", encoding="utf-8") as out:
            async for _, payload in LiveSource(client).records():
                out.write(row_of(payload).line() + "\n")
                count += 1
    typer.echo(f"{count} records are in {file}")
