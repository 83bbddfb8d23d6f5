"""Where the audit trail is read from: the bus, or an exported file."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from nats.aio.client import Client

from crowetrade import subjects
from crowetrade_agents.journal.jetstream_reader import StreamReader
from crowetrade_cli.audit.rows import row_of, subject_of
from crowetrade_cli.bus import connect, jetstream_api
from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_process.audit.errors import AuditBroken

ALL_WRITERS = "audit.>"


class Source(Protocol):
    """An audit trail that can be read."""

    def records(self) -> AsyncIterator[tuple[str, bytes]]:
        """Subject and bytes of the records as they were stored, oldest first."""
        ...


class LiveSource:
    """The audit trail on the bus."""

    def __init__(self, client: Client) -> None:
        self._reader = StreamReader(client, subjects.AUDIT_STREAM, "the audit trail", jetstream_api())

    async def records(self) -> AsyncIterator[tuple[str, bytes]]:
        """As Source.records: those that are there when the reading begins."""
        await self._reader.check_stream()
        last = await self._reader.last_of(ALL_WRITERS)
        if last is None:
            return
        async for record in self._reader.messages(ALL_WRITERS, 1, last.place):
            yield record.subject, record.payload


class FileSource:
    """An exported audit trail."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def records(self) -> AsyncIterator[tuple[str, bytes]]:
        """As Source.records. Raises Failed when a line says something else than the bytes of its record."""
        if not self._file.is_file():
            raise WrongUse(f"{self._file} is no file")
        with self._file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                payload = self._record(number, line)
                yield subject_of(payload), payload

    def _record(self, number: int, line: bytes) -> bytes:
        try:
            row = json.loads(line)
            payload = base64.b64decode(row["record"]["bytes"], validate=True)
            expected = json.loads(row_of(payload).line())
        except (ValueError, LookupError, TypeError, binascii.Error, AuditBroken) as error:
            raise Failed(f"line {number} of {self._file} is not what an export writes: {error}") from error
        if row != expected:
            raise Failed(f"line {number} of {self._file} says something else than the bytes of its record")
        return payload


@asynccontextmanager
async def open_source(file: Path | None, url: str) -> AsyncIterator[Source]:
    """The audit trail in the file, or the one on the bus. Raises WrongUse, Failed."""
    if file is not None:
        yield FileSource(file)
        return
    async with connect(url) as client:
        yield LiveSource(client)
