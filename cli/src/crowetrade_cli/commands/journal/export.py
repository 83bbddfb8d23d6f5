"""`crowetrade journal export`: a journal as a file that can be read, and verified again, without the bus."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from nats.aio.client import Client

from crowetrade_agents.journal.snapshots import Verification
from crowetrade_agents.journal.trim import trim as trim_journal
from crowetrade_cli.bus import connect, jetstream_api
from crowetrade_cli.commands.journal.options import DEFAULT_NATS, Namespace, Nats, Venue
from crowetrade_cli.errors import WrongUse
from crowetrade_cli.journal.files import Format, format_of, write_file
from crowetrade_cli.journal.rows import rows_of
from crowetrade_cli.journal.source import FileSource, LiveSource, require_venue


def export(
    file: Annotated[Path, typer.Argument(help="The file to write; it must not exist.")],
    nats: Nats = DEFAULT_NATS,
    namespace: Namespace = "",
    venue: Venue = "",
    file_format: Annotated[
        Format | None, typer.Option("--format", help="By default what the file's extension says.")
    ] = None,
    trim: Annotated[
        bool, typer.Option("--trim", help="Then delete from the bus what is in the file and covered by snapshots.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Confirm that --trim deletes.")] = False,
) -> None:
    """Export the whole journal as JSON lines or Parquet, one row per event, with the bytes and hashes of its records.

    It is verified while it is exported. With --trim the file is read and verified again before anything is deleted.
    """
    require_venue(namespace, venue)
    if trim and not yes:
        raise WrongUse("--trim deletes records of the journal from the bus: add --yes if that is meant")
    if file.exists():
        raise WrongUse(f"{file} exists: name a file that does not")
    asyncio.run(_export(file, format_of(file, file_format), nats, namespace, venue, trim))


async def _export(file: Path, file_format: Format, nats: str, namespace: str, venue: str, trim: bool) -> None:
    async with connect(nats) as client:
        source = LiveSource(client, namespace, venue)
        verification = Verification((await source.snapshots()).intact)
        with write_file(file, file_format) as write:
            async for payload in source.records():
                verification.follow(payload)
                write(rows_of(payload))
            verification.finish()
        exported = verification.head.sequence
        typer.echo(f"events {verification.begins_with} to {exported} are in {file}")
        if trim:
            await _trim(client, namespace, venue, FileSource(file, file_format), exported)


async def _trim(client: Client, namespace: str, venue: str, written: FileSource, exported: int) -> None:
    again = Verification(())
    async for payload in written.records():
        again.follow(payload)
    first = await trim_journal(client, namespace, venue, min(exported, again.head.sequence) + 1, jetstream_api())
    typer.echo(f"the journal on the bus begins with event {first} now")
