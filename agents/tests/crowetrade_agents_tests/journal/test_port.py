"""What every journal does: the one in memory, which simulations use, the one in a file, and the one in JetStream."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from nats.aio.client import Client

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade_agents.errors import JournalCorrupt, JournalUnavailable, Overtaken
from crowetrade_agents.journal.jetstream import JetStreamJournal
from crowetrade_agents.journal.memory import MemoryJournal, MemoryLog
from crowetrade_agents.journal.port import JournalHead, JournalPort
from crowetrade_agents.journal.sqlite import SqliteJournal

from .conftest import NAMESPACE, VENUE
from .values import NOW, books, started, submissions

NewProcess = Callable[[], JournalPort]


@pytest.fixture(params=["memory", "file", pytest.param("jetstream", marks=pytest.mark.integration)])
def new_process(request: pytest.FixtureRequest, tmp_path: Path) -> NewProcess:
    """Makes the journal of another process of the same gateway."""
    if request.param == "file":
        return lambda: SqliteJournal(tmp_path / "sim.journal")
    if request.param == "memory":
        log = MemoryLog()
        return lambda: MemoryJournal(log)
    client: Client = request.getfixturevalue("client")
    return lambda: JetStreamJournal(client, NAMESPACE, VENUE)


async def recover(journal: JournalPort) -> tuple[pb.Books | None, list[pb.JournalEvent], JournalHead]:
    recovered = await journal.open()
    return recovered.books, [event async for event in recovered.events], recovered.head


async def test_a_new_journal_is_empty(new_process: NewProcess) -> None:
    assert await recover(new_process()) == (None, [], JournalHead())


async def test_what_one_process_appends_the_next_one_reads(new_process: NewProcess) -> None:
    first = new_process()
    await recover(first)
    await first.append([started(1)], NOW, 1)
    head = await first.append(submissions(2, 3), NOW, 1)
    second = new_process()
    assert await recover(second) == (None, [started(1), *submissions(2, 3)], head)
    assert (await second.append(submissions(5, 1), NOW, 2)).sequence == 5


async def test_nothing_is_appended_before_the_journal_is_read(new_process: NewProcess) -> None:
    with pytest.raises(JournalUnavailable, match="has not been read"):
        await new_process().append([started(1)], NOW, 1)
    assert await recover(new_process()) == (None, [], JournalHead())


async def test_of_two_writers_exactly_one_appends(new_process: NewProcess) -> None:
    one, two = new_process(), new_process()
    await recover(one)
    await recover(two)
    head = await one.append([started(1)], NOW, 1)
    with pytest.raises(Overtaken):
        await two.append([started(2)], NOW, 2)
    with pytest.raises(JournalUnavailable, match="nothing can be appended"):
        await two.append([started(2)], NOW, 2)
    assert (await one.append(submissions(2, 1), NOW, 1)).sequence == 2
    assert head.sequence == 1
    assert (await recover(new_process()))[1] == [started(1), *submissions(2, 1)]


async def test_snapshot_and_tail_are_what_a_full_read_says(new_process: NewProcess) -> None:
    journal = new_process()
    await recover(journal)
    at = await journal.append(submissions(1, 3), NOW, 1)
    await journal.append(submissions(4, 2), NOW, 1)
    await journal.write_snapshot(books(3), at)
    head = await journal.append(submissions(6, 2), NOW, 1)
    assert await recover(new_process()) == (books(3), submissions(4, 4), head)


async def test_a_snapshot_of_the_end_leaves_no_tail_and_the_next_append_follows(new_process: NewProcess) -> None:
    journal = new_process()
    await recover(journal)
    head = await journal.append(submissions(1, 3), NOW, 1)
    await journal.write_snapshot(books(3), head)
    successor = new_process()
    assert await recover(successor) == (books(3), [], head)
    end = await successor.append(submissions(4, 1), NOW, 2)
    assert await recover(new_process()) == (books(3), submissions(4, 1), end)


async def test_books_larger_than_a_message_are_kept(new_process: NewProcess) -> None:
    large = books(40, text="x" * 80_000)
    assert large.ByteSize() > 3_000_000
    journal = new_process()
    await recover(journal)
    head = await journal.append(submissions(1, 1), NOW, 1)
    await journal.write_snapshot(large, head)
    assert await recover(new_process()) == (large, [], head)


async def test_after_a_snapshot_an_older_gateway_has_no_place(new_process: NewProcess) -> None:
    journal = new_process()
    await recover(journal)
    await journal.write_snapshot(books(token=2), await journal.append([started(2)], NOW, 2))
    await journal.append(submissions(2, 1), NOW, 1)
    with pytest.raises(JournalCorrupt, match="carries fencing token 1 after 2"):
        await recover(new_process())
