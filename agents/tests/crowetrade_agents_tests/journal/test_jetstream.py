"""The journal on a real server: fencing, unconfirmed appends, damage, trimming."""

from __future__ import annotations

import asyncio
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from crowetrade import subjects
from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade_agents.errors import JournalCorrupt, JournalUnavailable
from crowetrade_agents.journal import jetstream_reader, snapshots
from crowetrade_agents.journal.chain import MAX_RECORD_BYTES
from crowetrade_agents.journal.jetstream import JetStreamJournal
from crowetrade_agents.journal.jetstream_reader import JetStreamReader
from crowetrade_agents.journal.port import JournalHead
from crowetrade_agents.journal.snapshots import Verification, split
from crowetrade_agents.journal.trim import trim

from .conftest import NAMESPACE, VENUE, Server, serving, with_streams
from .values import NOW, books, journal_of, submissions, submitted

pytestmark = pytest.mark.integration

STREAM = subjects.journal_stream(NAMESPACE, VENUE)
JOURNAL = subjects.journal(NAMESPACE, VENUE)
SNAPSHOTS = subjects.snapshot_stream(NAMESPACE, VENUE)
SLOT = subjects.journal_snapshot(NAMESPACE, VENUE, 0)
WAIT_SECONDS = 20

Recovery = tuple[pb.Books | None, list[pb.JournalEvent], JournalHead]


async def recover(client: Client) -> Recovery:
    recovered = await JetStreamJournal(client, NAMESPACE, VENUE).open()
    return recovered.books, [event async for event in recovered.events], recovered.head


async def opened(client: Client, append_timeout_seconds: float = WAIT_SECONDS) -> JetStreamJournal:
    journal = JetStreamJournal(client, NAMESPACE, VENUE, append_timeout_seconds)
    async for _ in (await journal.open()).events:
        pass
    return journal


async def write(client: Client, sizes: list[int], snapshots_after: list[int]) -> list[JournalHead]:
    """Records of so many events each, with a snapshot after some of them; returns the head after each."""
    journal, heads = await opened(client), [JournalHead()]
    for place, size in enumerate(sizes, start=1):
        heads.append(await journal.append(submissions(heads[-1].sequence + 1, size), NOW, 1))
        if place in snapshots_after:
            await journal.write_snapshot(books(heads[-1].sequence), heads[-1])
    return heads[1:]


async def stored(client: Client, stream: str) -> int:
    return (await client.jetstream().stream_info(stream)).state.messages


async def test_a_stream_that_does_not_exist_yet_is_waited_for(server: Server) -> None:
    client = await nats.connect(server.url)
    with pytest.raises(JournalUnavailable, match=f"stream {STREAM} .* does not exist yet: waiting for the operator"):
        await recover(client)
    await client.close()


async def test_a_stream_that_cannot_be_read_directly_is_named(client: Client) -> None:
    config = subjects.journal_stream_configs(NAMESPACE, VENUE)[0] | {"allow_direct": False}
    await client.jetstream().update_stream(StreamConfig.from_response(config))
    with pytest.raises(JournalUnavailable, match="does not allow direct reads"):
        await recover(client)


async def test_a_server_that_takes_only_small_messages_is_named(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Client, "max_payload", property(lambda _: 65_536))
    with pytest.raises(JournalUnavailable, match=r"at most 65536 bytes; .* set max_payload to 1MB"):
        await recover(client)


async def test_a_bus_that_does_not_answer_is_named(
    server: Server, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream_reader, "READ_TIMEOUT_SECONDS", 0.2)
    server.freeze()
    with pytest.raises(JournalUnavailable, match="reading the journal failed"):
        await recover(client)
    server.thaw()


async def test_records_that_are_purged_while_they_are_read_are_missed(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jetstream_reader, "READ_TIMEOUT_SECONDS", 0.2)
    await write(client, [1, 1, 1], [])
    recovered = await JetStreamJournal(client, NAMESPACE, VENUE).open()
    await client.jetstream().purge_stream(STREAM)
    with pytest.raises(JournalUnavailable, match=f"message 3 of stream {STREAM} cannot be read"):
        [event async for event in recovered.events]


async def test_messages_carry_their_schema(client: Client) -> None:
    await write(client, [1], [1])
    messages = [await client.jetstream().get_msg(stream, seq=1) for stream in (STREAM, SNAPSHOTS)]
    schemas = [(message.headers or {}).get(subjects.SCHEMA_HEADER) for message in messages]
    assert schemas == ["crowetrade.bus.v1.JournalRecord", "crowetrade.bus.v1.JournalSnapshot"]


async def test_the_largest_record_is_taken(client: Client) -> None:
    journal = await opened(client)
    event = pb.JournalEvent(halt_changed=pb.HaltChanged(text="x" * (MAX_RECORD_BYTES - 200)))
    head = await journal.append([event], NOW, 1)
    assert await recover(client) == (None, [event], head)


async def test_an_append_that_is_not_confirmed_ends_the_process_and_its_successor_reads_what_was_stored(
    server: Server, client: Client
) -> None:
    journal = await opened(client, append_timeout_seconds=0.2)
    await journal.append(submissions(1, 1), NOW, 1)
    server.freeze()
    with pytest.raises(JournalUnavailable, match="did not confirm a record"):
        await journal.append(submissions(2, 2), NOW, 1)
    server.thaw()
    with pytest.raises(JournalUnavailable, match="an append was not confirmed"):
        await journal.append(submissions(2, 2), NOW, 1)
    async with asyncio.timeout(WAIT_SECONDS):
        while await stored(client, STREAM) < 2:
            await asyncio.sleep(0.01)
    assert (await recover(client))[1] == submissions(1, 3)


async def test_an_append_that_is_cancelled_ends_the_process(server: Server, client: Client) -> None:
    journal = await opened(client)
    server.freeze()
    append = asyncio.create_task(journal.append(submissions(1, 1), NOW, 1))
    await asyncio.sleep(0)
    append.cancel()
    with pytest.raises(asyncio.CancelledError):
        await append
    server.thaw()
    with pytest.raises(JournalUnavailable, match="an append was not confirmed"):
        await journal.append(submissions(1, 1), NOW, 1)


async def test_a_record_without_a_stream_is_not_confirmed(client: Client) -> None:
    journal = await opened(client)
    await client.jetstream().delete_stream(STREAM)
    with pytest.raises(JournalUnavailable, match="did not confirm a record"):
        await journal.append(submissions(1, 1), NOW, 1)


async def test_a_server_without_room_refuses_the_newest_record_and_keeps_every_one_before(tmp_path: Path) -> None:
    """As when its disk is full: JetStream may use a megabyte and a half here."""
    settings = tmp_path / "nats.conf"
    settings.write_text("jetstream {max_file_store: 1500000}")
    with serving(tmp_path, "-c", settings) as server:
        client = await with_streams(server)
        journal, written = await opened(client), list[pb.JournalEvent]()
        event = pb.JournalEvent(halt_changed=pb.HaltChanged(text="x" * 200_000))

        async def fill() -> None:
            for _ in range(20):
                await journal.append([event], NOW, 1)
                written.append(event)

        with pytest.raises(JournalUnavailable, match="did not confirm a record"):
            await fill()
        assert 3 < len(written) < 12
        with pytest.raises(JournalUnavailable, match="an append was not confirmed"):
            await journal.append([event], NOW, 1)
        found, events, _ = await recover(client)
        assert (found, events) == (None, written)
        await client.close()


async def test_a_stream_with_another_name_does_not_take_the_record(client: Client) -> None:
    journal = await opened(client)
    await client.jetstream().delete_stream(STREAM)
    await client.jetstream().add_stream(StreamConfig(name="OTHER", subjects=[JOURNAL]))
    with pytest.raises(JournalUnavailable):
        await journal.append(submissions(1, 1), NOW, 1)
    assert (await client.jetstream().stream_info("OTHER")).state.messages == 0


@pytest.mark.parametrize("records", [1, 2, 3, 40])
async def test_snapshot_and_tail_are_what_a_full_read_says(client: Client, records: int) -> None:
    heads = await write(client, [2] * records, [])
    whole = (await recover(client))[1]
    for place, head in enumerate(heads, start=1):
        journal = await opened(client)
        await journal.write_snapshot(books(place), head)
        found, tail, end = await recover(client)
        assert (found, end) == (books(place), heads[-1])
        assert tail == whole[head.sequence :]


async def test_a_snapshot_that_cannot_be_written_is_named(client: Client) -> None:
    heads = await write(client, [1], [])
    journal = await opened(client)
    await client.jetstream().delete_stream(SNAPSHOTS)
    with pytest.raises(JournalUnavailable, match=r"^writing a snapshot failed .* check the NATS pods$"):
        await journal.write_snapshot(books(), heads[0])


async def test_a_record_says_when_it_was_recorded_and_by_whom(client: Client) -> None:
    await write(client, [1], [])
    stored_record = await client.jetstream().get_msg(STREAM, seq=1)
    record = pb.JournalRecord.FromString(stored_record.data or b"")
    assert (record.recorded_unix_ns, record.fencing_token, record.first_sequence) == (NOW, 1, 1)


async def intact(client: Client) -> list[int]:
    """Events on which the intact snapshots stand, newest first."""
    reader = JetStreamReader(client, NAMESPACE, VENUE)
    return [snapshot.head.sequence for snapshot in (await reader.read_snapshots()).intact]


async def test_each_snapshot_replaces_the_oldest_of_three(client: Client) -> None:
    heads = await write(client, [1, 1, 1, 1], [1, 2, 3, 4])
    assert await intact(client) == [4, 3, 2]
    # Also by the next process, which did not write those that are there.
    head = await (journal := await opened(client)).append(submissions(5, 1), NOW, 1)
    await journal.write_snapshot(books(5), head)
    assert await intact(client) == [5, 4, 3]
    assert (await stored(client, SNAPSHOTS), await stored(client, STREAM)) == (3, 5)
    assert heads[-1].sequence == 4


async def test_the_newest_two_snapshots_stay_while_another_one_is_written_and_when_its_writer_dies(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshots, "PART_BYTES", 4)
    heads = await write(client, [1, 1, 1, 1], [1, 2, 3])
    for _ in range(3):
        journal = await opened(client)
        written = 0

        async def dies(subject: str, payload: bytes, replaces: bool, journal: JetStreamJournal = journal) -> None:
            nonlocal written
            if written == 1:
                raise JournalUnavailable("the writer dies")
            written += 1
            await JetStreamJournal._publish_part(journal, subject, payload, replaces)

        monkeypatch.setattr(journal, "_publish_part", dies)
        with pytest.raises(JournalUnavailable, match="the writer dies"):
            await journal.write_snapshot(books(4), heads[-1])
        assert await intact(client) == [3, 2]
    await (await opened(client)).write_snapshot(books(4), heads[-1])
    assert await intact(client) == [4, 3, 2]


@pytest.mark.parametrize("fault", ["content", "sequence", "a part is missing", "not a message"])
async def test_a_damaged_snapshot_falls_back_to_the_one_before(client: Client, fault: str) -> None:
    heads = await write(client, [2, 2, 2], [1])
    part = pb.JournalSnapshot.FromString(next(split(books(9), heads[1])))
    if fault == "content":
        part.content += b"\x08\x01"
    elif fault == "sequence":
        part.sequence += 90
    elif fault == "a part is missing":
        part.parts = 2
    payload = b"\xff" if fault == "not a message" else part.SerializeToString()
    await client.jetstream().publish(SLOT, payload)
    assert await recover(client) == (books(2), submissions(3, 4), heads[-1])


async def test_without_an_intact_snapshot_a_whole_journal_is_read_from_its_beginning(client: Client) -> None:
    heads = await write(client, [2, 2], [])
    await client.jetstream().publish(SLOT, b"\xff")
    assert await recover(client) == (None, submissions(1, 4), heads[-1])


async def test_without_an_intact_snapshot_a_trimmed_journal_is_corrupt(client: Client) -> None:
    await write(client, [2, 2, 2], [])
    await client.jetstream().purge_stream(STREAM, seq=2)
    await client.jetstream().publish(SLOT, b"\xff")
    with pytest.raises(JournalCorrupt, match=r"begins with event 3, and no snapshot .* cannot be decoded"):
        await recover(client)


async def test_a_journal_that_lost_its_end_is_corrupt(client: Client) -> None:
    await write(client, [2, 2, 2], [3])
    await client.jetstream().delete_msg(STREAM, 3)
    with pytest.raises(JournalCorrupt, match="a snapshot stands on event 6, but the journal ends with event 4"):
        await recover(client)


async def test_a_journal_that_lost_a_record_is_corrupt(client: Client) -> None:
    await write(client, [2, 2, 2], [])
    await client.jetstream().delete_msg(STREAM, 2)
    with pytest.raises(JournalCorrupt, match="the record after event 2 says that it begins with event 5"):
        await recover(client)


async def test_a_journal_that_was_written_again_is_not_the_one_of_the_snapshot(client: Client) -> None:
    heads = await write(client, [2, 2, 2], [2])
    await client.jetstream().purge_stream(STREAM, subject=JOURNAL)
    payloads, _ = journal_of([2, 2, 2], tokens=[7, 7, 7])
    for payload in payloads:
        await client.jetstream().publish(JOURNAL, payload)
    with pytest.raises(JournalCorrupt, match=f"the snapshot of event {heads[1].sequence} stands on"):
        await recover(client)


async def test_nothing_is_appended_to_a_corrupt_journal(client: Client) -> None:
    await write(client, [1, 1, 1], [])
    await client.jetstream().delete_msg(STREAM, 2)
    journal = JetStreamJournal(client, NAMESPACE, VENUE)
    recovered = await journal.open()
    with pytest.raises(JournalCorrupt):
        [event async for event in recovered.events]
    with pytest.raises(JournalUnavailable, match="has not been read to its end"):
        await journal.append([submitted(4)], NOW, 1)


async def test_a_trimmed_journal_starts_from_its_snapshot_and_goes_on(client: Client) -> None:
    heads = await write(client, [2, 2, 2, 2, 2], [2, 4])
    assert await trim(client, NAMESPACE, VENUE, before_sequence=11) == 3
    assert await stored(client, STREAM) == 4
    assert await recover(client) == (books(8), submissions(9, 2), heads[-1])
    journal = await opened(client)
    end = await journal.append(submissions(11, 1), NOW, 2)
    assert await recover(client) == (books(8), submissions(9, 3), end)
    reader = JetStreamReader(client, NAMESPACE, VENUE)
    verification = Verification((await reader.read_snapshots()).intact)
    async for record in reader.records(1, await _last_place(reader)):
        verification.follow(record.payload)
    verification.finish()
    assert (verification.begins_with, verification.head) == (3, end)


async def test_a_journal_that_is_full_says_so_and_what_to_do(server: Server) -> None:
    """Not one record of it is dropped."""
    client = await nats.connect(server.url)
    for config in subjects.journal_stream_configs(NAMESPACE, VENUE, max_bytes=64 * 1024):
        await client.jetstream().add_stream(StreamConfig.from_response(config))
    journal, head = await opened(client), JournalHead()

    async def fill() -> None:
        nonlocal head
        while True:
            head = await journal.append(submissions(head.sequence + 1, 100), NOW, 1)

    with pytest.raises(JournalUnavailable) as raised:
        await fill()

    assert str(raised.value).startswith(
        f"stream {STREAM} of the journal is full: nothing trades before an administrator"
    )
    assert "crowetrade journal export FILE --trim --yes" in str(raised.value)
    _, events, end = await recover(client)
    assert (len(events), end) == (head.sequence, head)
    held, most = await JetStreamReader(client, NAMESPACE, VENUE).size()
    assert most == 64 * 1024
    assert 0.5 * most < held <= most
    await client.close()


async def _last_place(reader: JetStreamReader) -> int:
    last = await reader.last()
    assert last is not None
    return last.place


async def test_after_trimming_the_older_snapshot_still_starts_a_gateway(client: Client) -> None:
    heads = await write(client, [2, 2, 2, 2, 2], [2, 4])
    await trim(client, NAMESPACE, VENUE, before_sequence=11)
    newest = (await JetStreamReader(client, NAMESPACE, VENUE).read_snapshots()).intact[0]
    await client.jetstream().delete_msg(SNAPSHOTS, newest.place)
    assert await recover(client) == (books(4), submissions(5, 6), heads[-1])


async def test_only_what_was_exported_is_trimmed(client: Client) -> None:
    await write(client, [2, 2, 2, 2, 2], [3, 5])
    # Event 4 is in the second record, which therefore stays.
    assert await trim(client, NAMESPACE, VENUE, before_sequence=4) == 3
    assert await trim(client, NAMESPACE, VENUE, before_sequence=1) == 3
    assert await stored(client, STREAM) == 4


async def test_trimming_removes_records_and_no_snapshots(client: Client) -> None:
    await client.jetstream().publish(subjects.journal_snapshot(NAMESPACE, VENUE, 2), b"\xff")
    await write(client, [2, 2, 2, 2, 2], [2, 4])
    assert await trim(client, NAMESPACE, VENUE, before_sequence=11) == 3
    assert (await stored(client, STREAM), await stored(client, SNAPSHOTS)) == (4, 3)


@pytest.mark.parametrize("snapshots", [[], [2]])
async def test_nothing_is_trimmed_without_two_snapshots(client: Client, snapshots: list[int]) -> None:
    await write(client, [2, 2, 2], snapshots)
    with pytest.raises(JournalUnavailable, match=f"has {len(snapshots)} of the 2 intact snapshots"):
        await trim(client, NAMESPACE, VENUE, before_sequence=7)
    assert await stored(client, STREAM) == 3


async def test_nothing_is_trimmed_when_a_snapshot_does_not_stand_on_the_journal(client: Client) -> None:
    heads = await write(client, [2, 2, 2], [2])
    for part in split(books(), JournalHead(heads[2].sequence, b"h" * 32)):
        await client.jetstream().publish(SLOT, part)
    with pytest.raises(JournalCorrupt):
        await trim(client, NAMESPACE, VENUE, before_sequence=7)
    assert await stored(client, STREAM) == 3


async def test_what_fails_beside_the_journal_is_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise TimeoutError

    heads = await write(client, [1, 1, 1], [1, 2])
    journal = await opened(client)
    monkeypatch.setattr("nats.js.client.JetStreamContext.purge_stream", fail)
    # Which needs no purging.
    await journal.write_snapshot(books(), heads[2])
    with pytest.raises(JournalUnavailable, match=r"^trimming the journal failed"):
        await trim(client, NAMESPACE, VENUE, before_sequence=2)


async def test_a_journal_that_is_trimmed_while_it_is_searched_is_named(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def gone(self: JetStreamReader, place: int) -> None:
        return None

    await write(client, [1, 1, 1], [])
    reader = JetStreamReader(client, NAMESPACE, VENUE)
    last = await reader.last()
    assert last is not None
    monkeypatch.setattr(JetStreamReader, "record_at", gone)
    with pytest.raises(JournalUnavailable, match=r"^the journal was trimmed while it was read: start again$"):
        await reader.record_of(1, last)


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ({"Status": "503"}, "nothing answers"),
        ({"Status": "408", "Description": "Bad Request"}, "Bad Request"),
        ({"Status": "408"}, "408"),
    ],
)
async def test_an_answer_that_is_none_is_named(client: Client, headers: dict[str, str], why: str) -> None:
    inbox = client.new_inbox()
    subscription = await client.subscribe(inbox)
    await client.publish(inbox, headers=headers)
    with pytest.raises(JournalUnavailable, match=f"^stream {STREAM} cannot be read directly: {why}$"):
        await JetStreamReader(client, NAMESPACE, VENUE)._answers(subscription)
