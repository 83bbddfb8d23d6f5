"""Where a journal is read from: the bus, the file of a run on a laptop, or an exported file. Each is read record by
record."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from nats.aio.client import Client

from crowetrade_agents.journal.jetstream_reader import JetStreamReader
from crowetrade_agents.journal.snapshots import SnapshotReader
from crowetrade_agents.journal.sqlite import SqliteReader
from crowetrade_cli.bus import connect, jetstream_api
from crowetrade_cli.errors import WrongUse
from crowetrade_cli.journal.files import JOURNAL_SUFFIX, Format, format_of, read_file


class Source(Protocol):
    """A journal that can be read."""

    @property
    def is_whole(self) -> bool:
        """Whether it must prove where it begins; a file may go on where an earlier one ends."""
        ...

    async def snapshots(self) -> SnapshotReader:
        """Its snapshots. Read them before the records: these then hold what the snapshots stand on."""
        ...

    def records(self) -> AsyncIterator[bytes]:
        """The records as they were stored, oldest first."""
        ...


class LiveSource:
    """A journal on the bus."""

    is_whole = True

    def __init__(self, client: Client, namespace: str, venue: str) -> None:
        self._reader = JetStreamReader(client, namespace, venue, jetstream_api())

    async def snapshots(self) -> SnapshotReader:
        """As Source.snapshots."""
        await self._reader.check_stream()
        return await self._reader.read_snapshots()

    async def records(self) -> AsyncIterator[bytes]:
        """As Source.records: those that are there when the reading begins."""
        await self._reader.check_stream()
        last = await self._reader.last()
        if last is None:
            return
        async for record in self._reader.records(1, last.place):
            yield record.payload


class LocalSource:
    """The journal of a venue on a laptop; a gateway may be writing to it."""

    is_whole = True

    def __init__(self, file: Path) -> None:
        self._reader = SqliteReader(file)

    async def snapshots(self) -> SnapshotReader:
        """As Source.snapshots."""
        return self._reader.snapshots()

    async def records(self) -> AsyncIterator[bytes]:
        """As Source.records."""
        for payload in self._reader.records():
            yield payload


class FileSource:
    """An exported journal."""

    is_whole = False

    def __init__(self, file: Path, file_format: Format) -> None:
        self._file = file
        self._format = file_format

    async def snapshots(self) -> SnapshotReader:
        """There are none in a file."""
        return SnapshotReader()

    async def records(self) -> AsyncIterator[bytes]:
        """As Source.records. Raises Failed when the columns say something else than the bytes of their record."""
        for payload in read_file(self._file, self._format):
            yield payload


@asynccontextmanager
async def open_source(file: Path | None, url: str, namespace: str, venue: str) -> AsyncIterator[Source]:
    """The journal in the file, or the one of the venue on the bus. Raises WrongUse, Failed."""
    if file is not None:
        if namespace or venue:
            raise WrongUse("name either a file or, with --namespace and --venue, a journal on the bus")
        yield _source_of(file)
        return
    require_venue(namespace, venue)
    async with connect(url) as client:
        yield LiveSource(client, namespace, venue)


def _source_of(file: Path) -> Source:
    if not file.is_file():
        raise WrongUse(f"{file} is no file: name an exported journal, or a {JOURNAL_SUFFIX} below the --state of a run")
    return LocalSource(file) if file.suffix == JOURNAL_SUFFIX else FileSource(file, format_of(file, None))


def require_venue(namespace: str, venue: str) -> None:
    """Raises WrongUse unless both are there."""
    if not namespace or not venue:
        raise WrongUse("--namespace and --venue say whose journal is meant: both are needed")
