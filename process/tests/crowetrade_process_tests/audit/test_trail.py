"""The audit trail of a process on a real NATS server."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig
from nats.js.errors import APIError

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_operator_tests.servers import NatsServer, nats_client
from crowetrade_operator_tests.waiting import until
from crowetrade_process.audit import metrics, quota, stream
from crowetrade_process.audit.chain import End, Head, decode, seal
from crowetrade_process.audit.checkpoints import Authorities
from crowetrade_process.audit.trail import Trail, connecting
from crowetrade_process.audit.verification import Findings, Verification
from crowetrade_process.identity.files import FilesSource
from crowetrade_process.identity.holder import Identity, utc_now
from crowetrade_process_tests.identity.authority import TRUST_DOMAIN, Authority, identity_name, write_identity

pytestmark = pytest.mark.integration
NAMESPACE, ACCOUNT = "desk", "venue-sim"
WRITER = f"{NAMESPACE}.{ACCOUNT}"
SUBJECT = subjects.audit(NAMESPACE, ACCOUNT)
RETENTION = subjects.AUDIT_RETENTION_SECONDS
HOUR_NS = 3600 * 10**9
SUMMED_UP = audit_pb2.ACTION_SUMMED_UP


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
    server = NatsServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def client(nats_server: NatsServer) -> AsyncIterator[Client]:
    """An administrator, and the stream."""
    async with nats_client(nats_server.url) as found:
        config = StreamConfig.from_response(subjects.audit_stream_config(RETENTION))
        await found.jetstream().add_stream(config)
        yield found


def trail(**options: object) -> Trail:
    return Trail(NAMESPACE, ACCOUNT, "pod-1", **options)  # type: ignore[arg-type]


def event(name: str) -> audit_pb2.AuditEvent:
    return audit_pb2.AuditEvent(action=audit_pb2.ACTION_CHANGED, name=name)


def change(namespace: str, name: str, actor: str) -> audit_pb2.AuditEvent:
    return audit_pb2.AuditEvent(
        action=audit_pb2.ACTION_CHANGED, kind="Strategy", namespace=namespace, name=name, actor=actor, after="x" * 200
    )


async def stored(client: Client) -> list[bytes]:
    """All records of the writer, oldest first."""
    jetstream, found = client.jetstream(), []
    count = (await jetstream.stream_info(subjects.AUDIT_STREAM)).state.last_seq
    for sequence in range(1, count + 1):
        found.append((await jetstream.get_msg(subjects.AUDIT_STREAM, sequence)).data or b"")
    return found


def names(records: list[bytes]) -> list[str]:
    """Names in the events; - for a checkpoint, and the number of lost events."""
    found = []
    for payload in records:
        record = decode(payload, "")
        said = record.event
        lost = said.action == audit_pb2.ACTION_RECORDS_LOST
        found.append("-" if record.HasField("checkpoint") else f"lost {said.count}" if lost else said.name)
    return found


def verified(records: list[bytes], authorities: Authorities | None = None) -> Findings:
    verification = Verification(time.time_ns(), RETENTION, authorities)
    for payload in records:
        verification.follow(SUBJECT, payload)
    (found,) = verification.finish()
    return found


async def test_events_are_stored_in_order_and_vouched_for(
    nats_server: NatsServer, client: Client, tmp_path: Path
) -> None:
    authority = Authority()
    identity = await _identity(tmp_path, authority)
    audit = trail(identity=identity)
    audit.record(event("before the bus is there"))
    async with audit.writing(connecting(nats_server.url, "test")):
        await until("the first record and its checkpoint", lambda: _count(client, 2))
        for number in range(3):
            audit.record(event(str(number)))
    records = await stored(client)
    assert names(records) == ["before the bus is there", "-", "0", "1", "2", "-"]
    assert verified(records, Authorities(authority.pem)) == Findings(WRITER, 1, 6, vouched_to=5, signed=2)


async def _identity(folder: Path, authority: Authority) -> Identity:
    files = write_identity(folder / "identity", authority.issue_to(identity_name(ACCOUNT, NAMESPACE)), authority)
    identity = Identity(FilesSource(files, TRUST_DOMAIN, utc_now), TRUST_DOMAIN)
    await identity.start()
    return identity


async def _write(nats_server: NatsServer, audit: Trail, name: str) -> None:
    audit.record(event(name))
    async with audit.writing(connecting(nats_server.url, "test")):
        await audit.settle()


@pytest.mark.parametrize("wrong_by", [2 * HOUR_NS, -2 * HOUR_NS])
async def test_nothing_is_written_that_cannot_be_signed(
    nats_server: NatsServer, client: Client, tmp_path: Path, wrong_by: int
) -> None:
    authority, wrong = Authority(), [wrong_by]
    identity = await _identity(tmp_path, authority)
    audit = trail(identity=identity, clock_ns=lambda: time.time_ns() + wrong[0])
    async with audit.writing(connecting(nats_server.url, "test")):
        audit.record(event("a"))
        await until("the trail to wait", lambda: "certificate is not valid" in audit._problem)
        wrong[0] = 0
        await audit.settle()
    records = await stored(client)
    assert names(records) == ["a", "-"]
    found = verified(records, Authorities(authority.pem))
    assert (found.problem, found.unsigned) == ("", 0)


async def test_a_process_without_an_identity_whose_clock_was_ahead_spoils_no_signature(
    nats_server: NatsServer, client: Client, tmp_path: Path
) -> None:
    authority = Authority()
    await _write(nats_server, trail(clock_ns=lambda: time.time_ns() + 2 * HOUR_NS), "ahead")
    await _write(nats_server, trail(identity=await _identity(tmp_path, authority)), "right")
    records = await stored(client)
    assert names(records) == ["ahead", "-", "right", "-"]
    found = verified(records, Authorities(authority.pem))
    assert (found.problem, found.vouched_to) == ("", 3)


async def test_what_a_killed_process_left_unsigned_is_signed_before_anything_follows(
    nats_server: NatsServer, client: Client, tmp_path: Path
) -> None:
    authority = Authority()
    identity = await _identity(tmp_path, authority)
    await _write(nats_server, trail(identity=identity), "before")
    writer = stream.WriterStream(client, SUBJECT)
    end = await writer.end()
    left, _ = seal(end.head, WRITER, "pod-1", time.time_ns() - HOUR_NS, event("left"))
    assert await writer.append(left, end) == 3
    successor = trail(identity=identity)
    async with successor.writing(connecting(nats_server.url, "test")):
        successor.record(event("a"))
        await successor.settle()
        successor.record(event("b"))
        await successor.settle()
    records = await stored(client)
    assert names(records) == ["before", "-", "left", "-", "a", "b", "-"]
    assert not verified(records, Authorities(authority.pem)).problem


async def test_without_an_identity_nothing_is_signed(nats_server: NatsServer, client: Client) -> None:
    audit = trail()
    async with audit.writing(connecting(nats_server.url, "test")):
        audit.record(event("a"))
        await until("the record and its checkpoint", lambda: _count(client, 2))
    records = await stored(client)
    assert verified(records) == Findings(WRITER, 1, 2, unsigned=1)
    assert "is signed" in verified(records, Authorities(Authority().pem)).problem


async def test_a_checkpoint_follows_after_its_time(nats_server: NatsServer, client: Client) -> None:
    audit = trail(checkpoint_seconds=0.1)
    async with audit.writing(connecting(nats_server.url, "test")):
        audit.record(event("a"))
        await until("the first checkpoint", lambda: _count(client, 2))
        audit.record(event("b"))
        await until("the second checkpoint", lambda: _count(client, 4))
    assert names(await stored(client)) == ["a", "-", "b", "-"]


async def test_two_processes_of_one_identity_extend_one_chain(nats_server: NatsServer, client: Client) -> None:
    one, two = trail(), trail()
    connect = connecting(nats_server.url, "test")
    async with one.writing(connect), two.writing(connect):
        for number in range(50):
            one.record(event(f"one {number}"))
            two.record(event(f"two {number}"))
        await until("all records and a checkpoint of each", lambda: _count(client, 102))
    records = await stored(client)
    found = names(records)
    assert not verified(records).problem
    for writer in ("one", "two"):
        assert [name for name in found if name.startswith(writer)] == [f"{writer} {number}" for number in range(50)]


async def test_nothing_waits_while_the_bus_is_away_and_what_is_lost_is_told(
    nats_server: NatsServer, client: Client
) -> None:
    audit, before = trail(capacity=3), metrics.LOST._value.get()
    nats_server.stop()
    async with audit.writing(connecting(nats_server.url, "test")):
        for number in range(5):
            audit.record(event(str(number)))
        assert metrics.LOST._value.get() == before + 2
        nats_server.start()
        await until("what waited, the loss and a checkpoint", lambda: _count(client, 5))
    records = await stored(client)
    assert names(records) == ["0", "1", "2", "lost 2", "-"]
    assert verified(records).lost == 2


@pytest.mark.parametrize("namespace_bytes_per_day", [4096, 0], ids=["bounded", "without a bound"])
async def test_one_namespace_does_not_fill_the_trail_of_all(
    nats_server: NatsServer, client: Client, namespace_bytes_per_day: int
) -> None:
    """A stream that holds some 500 records, and one namespace that makes 2000."""
    config = StreamConfig.from_response(subjects.audit_stream_config(RETENTION, max_bytes=256 * 1024))
    await client.jetstream().update_stream(config)
    audit = trail(namespace_bytes_per_day=namespace_bytes_per_day)
    async with audit.writing(connecting(nats_server.url, "test")):
        for number in range(2000):
            audit.record(change("noisy", f"n{number}", "mallory"))
        audit.record(change("quiet", "q", "alice"))
        if not namespace_bytes_per_day:
            await until("the stream to refuse records", lambda: bool(audit._problem))
            assert "q" not in names(await stored(client)), "the bound is what lets it through"
            return
        assert audit.summing == {"noisy"}
        await audit.settle()
        assert audit.summing == set()
    records = await stored(client)
    assert not verified(records).problem
    singly = [name for name in names(records) if name.startswith("n")]
    assert singly == [f"n{number}" for number in range(len(singly))]
    assert names(records).count("q") == 1
    (summed,) = [decode(one, "").event for one in records if decode(one, "").event.action == SUMMED_UP]
    assert (summed.count, summed.namespace, summed.actor) == (2000 - len(singly), "noisy", WRITER)
    assert "by mallory" in summed.reason
    assert sum(map(len, records)) < 64 * 1024


async def test_a_sum_is_recorded_in_its_time(
    nats_server: NatsServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quota, "SUM_SECONDS", 0.2)
    audit = trail(namespace_bytes_per_day=1)
    async with audit.writing(connecting(nats_server.url, "test")):
        audit.record(change("noisy", "a", "mallory"))
        audit.record(change("noisy", "b", "mallory"), by_itself=True)
        await until("the record, the sum and a checkpoint", lambda: _count(client, 3))
    found = [decode(one, "").event for one in await stored(client)]
    assert [(one.name, one.count) for one in found if one.action] == [("b", 0), ("", 1)]


async def test_a_record_that_was_not_confirmed_is_stored_once(
    nats_server: NatsServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "TIMEOUT_SECONDS", 0.3)
    audit = trail()
    async with audit.writing(connecting(nats_server.url, "test")):
        audit.record(event("a"))
        await until("the first record and its checkpoint", lambda: _count(client, 2))
        nats_server.freeze()
        audit.record(event("b"))
        await until("the append to be given up", lambda: "did not confirm" in audit._problem)
        nats_server.thaw()
        await until("the second record", lambda: _count(client, 3))
        audit.record(event("c"))
    records = await stored(client)
    assert [name for name in names(records) if name != "-"] == ["a", "b", "c"]
    assert not verified(records).problem


async def test_an_event_after_a_checkpoint_that_was_not_confirmed_is_not_taken_for_it(
    nats_server: NatsServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "TIMEOUT_SECONDS", 0.3)
    audit = trail(checkpoint_seconds=0.1)
    async with audit.writing(connecting(nats_server.url, "test")):
        audit.record(event("a"))
        await until("the first record and its checkpoint", lambda: _count(client, 2))
        audit.record(event("b"))
        await until("the second record", lambda: _count(client, 3))
        nats_server.freeze()
        await until("the checkpoint to be given up", lambda: "did not confirm" in audit._problem)
        audit.record(event("c"))
        nats_server.thaw()
        await until("the third record", lambda: audit.settled)
    records = await stored(client)
    assert [name for name in names(records) if name != "-"] == ["a", "b", "c"]
    assert not verified(records).problem


async def test_of_what_the_journal_holds_that_is_recorded_which_the_chain_does_not_tell(
    nats_server: NatsServer, client: Client
) -> None:
    audit = trail()
    async with audit.writing(connecting(nats_server.url, "test")):
        audit.record(event("five"), told_sequence=5)
        audit.record(event("of no journal"))
        await audit.settle()
    successor = trail()
    async with successor.writing(connecting(nats_server.url, "test")):
        successor.record_found([(event("four"), 4), (event("five"), 5), (event("six"), 6), (event("nine"), 9)], 9)
        successor.record(event("ten"), told_sequence=10)
        await successor.settle()
    records = await stored(client)
    told = [name for name in names(records) if name != "-"]
    assert told == ["five", "of no journal", "six", "nine", "ten"]
    assert decode(records[-1], "").told_sequence == 10
    assert not verified(records).problem


async def test_a_journal_that_begins_again_is_told_from_its_beginning(nats_server: NatsServer, client: Client) -> None:
    audit = trail()
    async with audit.writing(connecting(nats_server.url, "test")):
        audit.record(event("seventy"), told_sequence=70)
        audit.record(event("one"), told_sequence=1)
        await audit.settle()
    successor = trail()
    async with successor.writing(connecting(nats_server.url, "test")):
        successor.record_found([(event("one"), 1), (event("two"), 2)], 2)
        await successor.settle()
    assert [name for name in names(await stored(client)) if name != "-"] == ["seventy", "one", "two"]


async def test_of_a_journal_that_began_again_and_was_not_told_that_is_told_which_came_since(
    nats_server: NatsServer, client: Client
) -> None:
    """It was restored from a backup, say, and its gateway was killed before it could tell anything."""
    audit, before = trail(), time.time_ns()
    async with audit.writing(connecting(nats_server.url, "test")):
        audit.record(event("seventy"), told_sequence=70)
        await audit.settle()
    successor = trail()
    async with successor.writing(connecting(nats_server.url, "test")):
        of_before, since = event("fifty"), event("fifty-one")
        of_before.at_unix_ns, since.at_unix_ns = before, time.time_ns()
        successor.record_found([(of_before, 50), (since, 51)], 51)
        await successor.settle()
    assert [name for name in names(await stored(client)) if name != "-"] == ["seventy", "fifty-one"]


async def test_what_a_successor_has_told_is_not_told_by_the_one_before(nats_server: NatsServer, client: Client) -> None:
    """A gateway whose node was cut off has an event in its queue that its successor found in the journal."""
    first, second, third = trail(), trail(), trail()
    connect = connecting(nats_server.url, "test")
    async with first.writing(connect), second.writing(connect):
        first.record(event("four"), told_sequence=4)
        await first.settle()
        second.record_found([(event("five"), 5), (event("six"), 6)], 6)
        await second.settle()
        first.record(event("five"), told_sequence=5)
        first.record(event("of no journal"))
        await first.settle()
    async with third.writing(connect):
        third.record_found([(event("five"), 5), (event("six"), 6)], 6)
        await third.settle()
    records = await stored(client)
    assert [name for name in names(records) if name != "-"] == ["four", "five", "six", "of no journal"]
    assert not verified(records).problem


async def test_what_waits_at_the_end_and_cannot_be_written_is_counted(nats_server: NatsServer) -> None:
    nats_server.stop()
    before = metrics.LOST._value.get()
    audit = trail()
    async with audit.writing(connecting(nats_server.url, "test")):
        audit.record(event("a"))
    assert metrics.LOST._value.get() == before + 1


async def test_nobody_deletes_or_purges_a_record(client: Client) -> None:
    jetstream = client.jetstream()
    await jetstream.publish(SUBJECT, b"x")
    with pytest.raises(APIError, match="message delete not permitted"):
        await jetstream.delete_msg(subjects.AUDIT_STREAM, 1)
    with pytest.raises(APIError, match="stream purge not permitted"):
        await jetstream.purge_stream(subjects.AUDIT_STREAM)
    config = StreamConfig.from_response(subjects.audit_stream_config(RETENTION))
    with pytest.raises(APIError, match="can not cancel deny message deletes"):
        await jetstream.update_stream(config.evolve(deny_delete=False))
    with pytest.raises(APIError, match="can not cancel deny purge"):
        await jetstream.update_stream(config.evolve(deny_purge=False))


async def test_a_second_writer_that_does_not_know_the_end_is_refused(client: Client) -> None:
    writer = stream.WriterStream(client, SUBJECT)
    empty = End(Head(), 0)
    assert await writer.append(b"first", empty) == 1
    assert await writer.append(b"second", empty) is None


async def _count(client: Client, wanted: int) -> bool:
    return (await client.jetstream().stream_info(subjects.AUDIT_STREAM)).state.messages >= wanted
