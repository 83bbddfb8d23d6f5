"""`crowetrade journal verify`: whether a journal is as it was written, and where it is not."""

from __future__ import annotations

import asyncio

import typer

from crowetrade_agents.errors import JournalCorrupt
from crowetrade_agents.journal.snapshots import SnapshotReader, Verification
from crowetrade_cli.commands.journal.options import DEFAULT_NATS, File, Namespace, Nats, Venue
from crowetrade_cli.errors import Failed
from crowetrade_cli.journal.source import Source, open_source


def verify(file: File = None, nats: Nats = DEFAULT_NATS, namespace: Namespace = "", venue: Venue = "") -> None:
    """Verify the hash chain of every record, and every snapshot against it.

    Exit code 0: whole. 1: broken, or it cannot be read; the message names the first place.
    """
    asyncio.run(_verify(file, nats, namespace, venue))


async def _verify(file: File, nats: str, namespace: str, venue: str) -> None:
    async with open_source(file, nats, namespace, venue) as source:
        snapshots = await source.snapshots()
        verification = Verification(snapshots.intact)
        await _follow(source, verification)
    for note in snapshots.unfinished:
        typer.echo(f"note: {note}; a start does not use it", err=True)
    if snapshots.damaged:
        raise Failed("; ".join(snapshots.damaged))
    typer.echo(_summary(verification, snapshots))


async def _follow(source: Source, verification: Verification) -> None:
    try:
        async for payload in source.records():
            verification.follow(payload)
        if source.is_whole:
            verification.finish()
    except JournalCorrupt as error:
        raise Failed(f"the journal is broken: {error}") from error


def _summary(verification: Verification, snapshots: SnapshotReader) -> str:
    if not verification.begins_with:
        return "the journal is empty"
    head = verification.head
    text = (
        f"events {verification.begins_with} to {head.sequence} are as they were written; "
        f"the last record has the hash {head.record_hash.hex()}"
    )
    if snapshots.intact:
        text += "; snapshots stand on events " + ", ".join(
            str(snapshot.head.sequence) for snapshot in reversed(snapshots.intact)
        )
    if not verification.proven:
        text += "; what came before is not in this file, so the first record is taken at its word"
    return text
