"""What a journal in a file does besides: it outlives kills, tells a damaged file, and is read while it is written."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from crowetrade_agents.errors import JournalCorrupt, JournalUnavailable
from crowetrade_agents.journal.snapshots import PART_BYTES
from crowetrade_agents.journal.sqlite import SqliteJournal, SqliteReader

from .values import NOW, books, submissions

# Appends one order after the other and prints the number of each that was confirmed.
_WRITER = """
import asyncio, pathlib, sys
from crowetrade_agents.journal.sqlite import SqliteJournal
from crowetrade_agents_tests.journal.values import NOW, submissions

async def write(path):
    journal = SqliteJournal(pathlib.Path(path))
    recovered = await journal.open()
    async for _ in recovered.events:
        pass
    number = recovered.head.sequence
    while True:
        number = (await journal.append(submissions(number + 1, 1), NOW, 1)).sequence
        print(number, flush=True)

asyncio.run(write(sys.argv[1]))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sim.journal"


@pytest.fixture
def no_journal(path: Path) -> Path:
    path.write_bytes(b"this is not an SQLite database, but it is long enough to be read as one" * 20)
    return path


async def opened(path: Path) -> SqliteJournal:
    """A journal that was read to its end."""
    journal = SqliteJournal(path)
    async for _ in (await journal.open()).events:
        continue
    return journal


def test_what_was_confirmed_outlives_a_kill(path: Path) -> None:
    tests = str(Path(__file__).parents[2])
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", _WRITER, path],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": tests},
        )
        assert process.stdout is not None
        told = [process.stdout.readline() for _ in range(20)]
        process.send_signal(signal.SIGKILL)
        told += process.stdout.read().splitlines()
        confirmed = int(told[-1])
        process.wait()
    assert len(list(SqliteReader(path).records())) in (confirmed, confirmed + 1)
    assert confirmed >= 5 * 20


async def test_the_newest_two_snapshots_are_kept(path: Path) -> None:
    journal = await opened(path)
    for number in range(1, 5):
        head = await journal.append(submissions(number, 1), NOW, 1)
        await journal.write_snapshot(books(number, text="x" * PART_BYTES), head)
    assert [snapshot.head.sequence for snapshot in SqliteReader(path).snapshots().intact] == [4, 3]


async def test_a_snapshot_that_is_written_beside_appends_takes_nothing_from_them(path: Path) -> None:
    journal = await opened(path)
    large = books(40, text="x" * PART_BYTES)
    heads = [await journal.append(submissions(1, 1), NOW, 1)]
    writing = asyncio.create_task(journal.write_snapshot(large, heads[0]))
    while not writing.done():
        heads.append(await journal.append(submissions(len(heads) + 1, 1), NOW, 1))
    await writing
    journal.close()
    recovered = await SqliteJournal(path).open()
    assert recovered.head == heads[-1]
    assert recovered.books == large
    assert len([event async for event in recovered.events]) == len(heads) - 1


async def test_a_reader_sees_what_is_there_while_a_gateway_writes(path: Path) -> None:
    journal = await opened(path)
    head = await journal.append(submissions(1, 2), NOW, 1)
    reader = SqliteReader(path)
    assert len(list(reader.records())) == 1
    await journal.append(submissions(3, 1), NOW, 1)
    assert len(list(reader.records())) == 2
    assert len(list(reader.records(from_sequence=head.sequence))) == 2
    assert len(list(reader.records(from_sequence=head.sequence + 1))) == 1


async def test_a_changed_record_is_found(path: Path) -> None:
    journal = await opened(path)
    for number in (1, 2, 3):
        await journal.append(submissions(number, 1), NOW, 1)
    journal.close()
    with sqlite3.connect(path) as connection:
        (payload,) = connection.execute("SELECT payload FROM records WHERE place = 2").fetchone()
        changed = payload.replace(b"3000", b"9000")
        connection.execute("UPDATE records SET payload = ? WHERE place = 2", (changed,))
    with pytest.raises(JournalCorrupt, match="event 3 does not follow event 2"):
        await opened(path)


async def test_a_file_that_is_no_journal_is_told_from_one_that_cannot_be_opened(no_journal: Path) -> None:
    with pytest.raises(JournalCorrupt, match=r"sim\.journal failed: file is not a database"):
        await SqliteJournal(no_journal).open()
    with pytest.raises(JournalUnavailable, match="unable to open database file"):
        await SqliteJournal(no_journal.parent / "nowhere" / "sim.journal").open()


async def test_a_disk_that_takes_no_more_ends_the_process(path: Path) -> None:
    journal = await opened(path)
    await journal.append(submissions(1, 1), NOW, 1)
    assert journal._reader is not None
    pages = journal._reader.connection.execute("PRAGMA page_count").fetchone()[0]
    journal._reader.connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalUnavailable, match="database or disk is full"):
        await journal.append(submissions(2, 5_000), NOW, 1)
    with pytest.raises(JournalUnavailable, match="an append was not confirmed"):
        await journal.append(submissions(2, 1), NOW, 1)
    journal.close()
    assert (await SqliteJournal(path).open()).head.sequence == 1


def test_nothing_is_made_where_only_is_read(path: Path) -> None:
    with pytest.raises(JournalUnavailable, match="unable to open database file"):
        SqliteReader(path)
    assert not path.exists()
