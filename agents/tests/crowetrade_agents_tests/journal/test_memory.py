"""The bus of a simulation fails in every way that a bus has."""

from __future__ import annotations

import asyncio

import pytest

from crowetrade_agents.errors import JournalCorrupt, JournalUnavailable, Overtaken
from crowetrade_agents.journal.chain import decode
from crowetrade_agents.journal.memory import MemoryJournal, MemoryLog, MemoryWriter, Outcome
from crowetrade_agents.journal.snapshots import PART_BYTES

from .values import NOW, books, submissions


def writer(log: MemoryLog) -> MemoryWriter:
    """Of a process that has read the journal."""
    opened = MemoryWriter(log)
    opened.recover()
    return opened


@pytest.mark.parametrize(
    ("outcome", "confirmed", "stored"),
    [
        (Outcome.CONFIRMED, True, 1),
        (Outcome.TWICE, True, 1),
        (Outcome.UNCONFIRMED, False, 1),
        (Outcome.DELAYED, False, 0),
        (Outcome.LOST, False, 0),
    ],
)
def test_each_outcome(outcome: Outcome, confirmed: bool, stored: int) -> None:
    log = MemoryLog()
    process = writer(log)
    if confirmed:
        assert process.append(submissions(1, 2), NOW, 1, outcome).sequence == 2
        assert process.append(submissions(3, 1), NOW, 1).sequence == 3
    else:
        with pytest.raises(JournalUnavailable, match=r"^the bus did not confirm a record of the journal$"):
            process.append(submissions(1, 2), NOW, 1, outcome)
        with pytest.raises(
            JournalUnavailable, match=r"^nothing can be appended to the journal: an append was not confirmed$"
        ):
            process.append(submissions(1, 2), NOW, 1)
    assert MemoryWriter(log).recover()[1][:2] == submissions(1, 2 * stored)
    assert {decode(record, 0).recorded_unix_ns for record in log.records} <= {NOW}


def test_nothing_is_appended_before_the_journal_is_read() -> None:
    with pytest.raises(JournalUnavailable, match=r"^nothing can be appended to the journal: it has not been read$"):
        MemoryWriter(MemoryLog()).append(submissions(1, 1), NOW, 1)


def test_what_arrives_after_the_successor_has_written_is_not_stored() -> None:
    log = MemoryLog()
    with pytest.raises(JournalUnavailable):
        writer(log).append(submissions(1, 2), NOW, 1, Outcome.DELAYED)
    writer(log).append(submissions(1, 1), NOW, 2)
    assert log.deliver() == 0
    assert MemoryWriter(log).recover()[1] == submissions(1, 1)


def test_what_arrives_before_the_successor_has_written_stops_it() -> None:
    log = MemoryLog()
    with pytest.raises(JournalUnavailable):
        writer(log).append(submissions(1, 2), NOW, 1, Outcome.DELAYED)
    successor = writer(log)
    assert log.deliver() == 1
    with pytest.raises(Overtaken, match=r"^the journal does not end where this gateway left it$"):
        successor.confirm()
    with pytest.raises(Overtaken, match=r"^the journal does not end where this gateway left it$"):
        successor.append(submissions(1, 1), NOW, 2)
    assert MemoryWriter(log).recover()[1] == submissions(1, 2)


def test_a_process_that_ends_in_the_middle_of_a_snapshot_leaves_the_one_before() -> None:
    log, large = MemoryLog(), books(2, text="x" * PART_BYTES)
    process = writer(log)
    head = process.append(submissions(1, 1), NOW, 1)
    process.write_snapshot(books(1), head)
    head = process.append(submissions(2, 1), NOW, 1)
    with pytest.raises(JournalUnavailable, match=r"^writing a snapshot failed$"):
        process.write_snapshot(large, head, parts=1)
    assert MemoryWriter(log).recover() == (books(1), submissions(2, 1), head)


def test_the_newest_two_snapshots_are_kept() -> None:
    log = MemoryLog()
    process = writer(log)
    for number in range(1, 5):
        process.write_snapshot(books(number), process.append(submissions(number, 1), NOW, 1))
    assert len(log.parts) == 2
    del log.parts[1]
    assert MemoryWriter(log).recover()[:2] == (books(3), submissions(4, 1))


def test_a_changed_record_is_found() -> None:
    log = MemoryLog()
    process = writer(log)
    process.append(submissions(1, 1), NOW, 1)
    process.append(submissions(2, 1), NOW, 1)
    log.records[0] = log.records[0].replace(b"EUR", b"USD")
    with pytest.raises(JournalCorrupt, match="the record with event 2 does not follow event 1"):
        MemoryWriter(log).recover()


async def test_a_confirmation_comes_when_the_test_lets_it() -> None:
    confirmed, log = asyncio.Event(), MemoryLog()
    outcomes = [Outcome.CONFIRMED, Outcome.UNCONFIRMED]

    async def confirmation() -> None:
        await confirmed.wait()

    journal = MemoryJournal(log, outcomes, confirmation)
    assert [event async for event in (await journal.open()).events] == []
    append = asyncio.create_task(journal.append(submissions(1, 1), NOW, 1))
    await asyncio.sleep(0)
    assert (len(log.records), append.done()) == (1, False)
    confirmed.set()
    assert (await append).sequence == 1
    assert decode(log.records[0], 0).recorded_unix_ns == NOW
    with pytest.raises(JournalUnavailable):
        await journal.append(submissions(2, 1), NOW, 1)


def test_a_log_that_stores_a_record_twice_is_not_one() -> None:
    class Forgetful(MemoryLog):
        def store(self, follows: int, payload: bytes) -> None:
            assert (follows, payload[:1]) == (0, b"\x08")

    with pytest.raises(AssertionError, match=r"^a record was stored twice$"):
        writer(Forgetful()).append(submissions(1, 1), NOW, 1, Outcome.TWICE)
