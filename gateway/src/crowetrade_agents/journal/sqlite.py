"""The gateway's journal in a file, for a laptop: an SQLite database per venue, fenced, hash-chained, with snapshots.

Each record is a transaction whose commit is synced to the disk. A record has the next place, which is the primary key,
so of two processes with the same file only one appends. SQLite serialises them and recovers from a process or a machine
that stopped in the middle of a write.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.errors import JournalCorrupt, JournalError, JournalUnavailable, Overtaken
from crowetrade_agents.journal.chain import Chain, decode, head_of, seal
from crowetrade_agents.journal.port import JournalHead, Recovered
from crowetrade_agents.journal.snapshots import KEPT, Snapshot, SnapshotReader, split, start_of, starting_point

BUSY_SECONDS = 5.0
READ_AT_ONCE = 500

_TABLES = """
CREATE TABLE IF NOT EXISTS records (place INTEGER PRIMARY KEY, last_sequence INTEGER NOT NULL, payload BLOB NOT NULL);
CREATE UNIQUE INDEX IF NOT EXISTS records_by_event ON records (last_sequence);
CREATE TABLE IF NOT EXISTS snapshots (place INTEGER PRIMARY KEY AUTOINCREMENT, payload BLOB NOT NULL);
"""
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NOT_WHERE_IT_WAS = "the journal does not end where this gateway left it: another process has written to it"

_log = structlog.get_logger(__name__)


class SqliteReader:
    """Reads one venue's journal; also while a gateway writes to it."""

    def __init__(self, path: Path, *, writable: bool = False) -> None:
        self._path = path
        with self.failing("opening"):
            self.connection = self._connect(writable)

    def _connect(self, writable: bool) -> sqlite3.Connection:
        mode = "rwc" if writable else "ro"
        # Used by one thread at a time, though not always by the same.
        connection = sqlite3.connect(
            f"{self._path.absolute().as_uri()}?mode={mode}", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
        )
        if writable:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_TABLES)
        return connection

    @contextmanager
    def failing(self, doing: str) -> Iterator[None]:
        """Turns every failure of the database into a JournalError."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            kind: type[JournalError] = JournalUnavailable
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
                kind = JournalCorrupt
            raise kind(f"{doing} the journal {self._path} failed: {error}") from error

    def last(self) -> tuple[int, bytes]:
        """Place and bytes of the last record; 0 and nothing when there is none."""
        with self.failing("reading"):
            found = self.connection.execute("SELECT place, payload FROM records ORDER BY place DESC LIMIT 1").fetchone()
        return found or (0, b"")

    def first_sequence(self) -> int:
        """Of the journal's first event; 0 when it is empty."""
        with self.failing("reading"):
            found = self.connection.execute("SELECT payload FROM records ORDER BY place LIMIT 1").fetchone()
        return decode(found[0], 0).first_sequence if found else 0

    def records(self, from_sequence: int = 0) -> Iterator[bytes]:
        """The records as they were stored, oldest first, from the one that holds the event on."""
        query = "SELECT payload FROM records WHERE last_sequence >= ? ORDER BY place"
        with self.failing("reading"):
            cursor = self.connection.execute(query, (from_sequence,))
            while rows := cursor.fetchmany(READ_AT_ONCE):
                for (payload,) in rows:
                    yield payload

    def snapshots(self) -> SnapshotReader:
        """All snapshots that are stored."""
        reader = SnapshotReader()
        with self.failing("reading the snapshots of"):
            for place, payload in self.connection.execute("SELECT place, payload FROM snapshots ORDER BY place"):
                reader.add(place, payload)
        return reader

    def close(self) -> None:
        """Closes the file."""
        self.connection.close()


class SqliteJournal:
    """Implements JournalPort for one gateway process. The file's folder must exist."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader: SqliteReader | None = None
        self._head = JournalHead()
        self._last_place = 0
        self._snapshot_places: list[int] = []
        self._closed = "it has not been read to its end"
        # A snapshot may be written beside an append, each in its thread, but in a transaction of its own.
        self._transaction = threading.Lock()

    @property
    def _open(self) -> SqliteReader:
        if self._reader is None:
            raise JournalUnavailable("nothing can be appended to the journal: it has not been read to its end")
        return self._reader

    async def open(self) -> Recovered:
        """As JournalPort.open."""
        self._reader = SqliteReader(self._path, writable=True)
        # Snapshots first: what they stand on is then among the records that are read.
        snapshots = self._reader.snapshots()
        self._last_place, last = self._reader.last()
        head = head_of(last)
        snapshot = starting_point(snapshots, self._reader.first_sequence(), head.sequence)
        for fault in [*snapshots.damaged, *snapshots.unfinished]:
            _log.warning("journal_snapshot_unusable", fault=fault)
        self._snapshot_places = [intact.place for intact in reversed(snapshots.intact)]
        self._head = head
        books, chain = start_of(snapshot)
        return Recovered(books, self._events(self._reader, chain, snapshot), head)

    async def _events(
        self, reader: SqliteReader, chain: Chain, snapshot: Snapshot | None
    ) -> AsyncIterator[journal_pb2.JournalEvent]:
        for payload in reader.records(snapshot.head.sequence if snapshot is not None else 0):
            for event in chain.follow(payload):
                yield event
        chain.check_end(self._head)
        self._closed = ""

    async def append(
        self, events: Sequence[journal_pb2.JournalEvent], recorded_unix_ns: int, fencing_token: int
    ) -> JournalHead:
        """As JournalPort.append. The write is made in a thread: a disk may take its time."""
        if self._closed:
            raise JournalUnavailable(f"nothing can be appended to the journal: {self._closed}")
        payload, head = seal(self._head, events, recorded_unix_ns, fencing_token)
        # Also where the task is cancelled: what is under way may be stored.
        self._closed = "an append was not confirmed"
        await asyncio.to_thread(self._store, payload, head.sequence)
        self._last_place += 1
        self._head, self._closed = head, ""
        return head

    def _store(self, payload: bytes, sequence: int) -> None:
        reader = self._open
        row = (self._last_place + 1, sequence, payload)
        with self._transaction, reader.failing("writing"):
            try:
                with reader.connection:
                    reader.connection.execute("INSERT INTO records VALUES (?, ?, ?)", row)
            except sqlite3.IntegrityError as error:
                raise Overtaken(_NOT_WHERE_IT_WAS) from error

    async def confirm(self) -> None:
        """As JournalPort.confirm."""
        if self._open.last()[0] != self._last_place:
            raise Overtaken(_NOT_WHERE_IT_WAS)

    async def write_snapshot(self, books: journal_pb2.Books, head: JournalHead) -> None:
        """As JournalPort.write_snapshot. Of the snapshots before, the newest one stays."""
        await asyncio.to_thread(self._store_snapshot, list(split(books, head)))

    def _store_snapshot(self, parts: list[bytes]) -> None:
        reader = self._open
        with self._transaction, reader.failing("writing a snapshot of"), reader.connection:
            places = [
                reader.connection.execute("INSERT INTO snapshots (payload) VALUES (?)", (part,)).lastrowid or 0
                for part in parts
            ]
            self._snapshot_places.append(places[0])
            if len(self._snapshot_places) > KEPT:
                kept = self._snapshot_places[-KEPT]
                reader.connection.execute("DELETE FROM snapshots WHERE place < ?", (kept,))
                del self._snapshot_places[:-KEPT]

    def close(self) -> None:
        """Closes the file, which then holds all of the journal; to be called when the gateway has ended."""
        if self._reader is not None:
            # So that a copy of the file alone is the journal; readers that hold the log open make it a wish.
            with contextlib.suppress(sqlite3.Error):
                self._reader.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._reader.close()
