"""`crowetrade audit` against a real server, with trails that the processes' code wrote, and what a tamperer made of
them. A record can be neither deleted nor purged, so whoever tampers deletes the stream and writes another one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from nats.js.api import StreamConfig

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_operator_tests.servers import nats_client
from crowetrade_process.audit.chain import End, Head, head_of
from crowetrade_process.audit.trail import Trail, connecting
from crowetrade_process.audit.verification import KEPT_CONFIG_MAPS, end_text, place_of
from crowetrade_process.identity.files import FilesSource
from crowetrade_process.identity.holder import Identity, utc_now
from crowetrade_process_tests.identity.authority import TRUST_DOMAIN, Authority, identity_name, write_identity

from ..cluster import Cluster
from ..conftest import Run

pytestmark = pytest.mark.integration
GATEWAY, OPERATOR = ("desk", "venue-sim"), ("crowetrade-system", "crowetrade-operator")
Message = tuple[str, bytes]


class Trails(NamedTuple):
    """What two writers wrote, oldest first, and what somebody keeps who wants to verify it."""

    messages: list[Message]
    ca: str
    kept: str


def changed(before: str, after: str) -> audit_pb2.AuditEvent:
    return audit_pb2.AuditEvent(
        action=audit_pb2.ACTION_CHANGED,
        actor="alice",
        proof=audit_pb2.ACTOR_PROOF_API_SERVER,
        kind="RiskLimit",
        namespace="desk",
        name="fx-desk",
        before=json.dumps({"spec": {"limits": {"maxOrderQuantity": before}}}),
        after=json.dumps({"spec": {"limits": {"maxOrderQuantity": after}}}),
        at_unix_ns=1_772_355_600_000_000_000,
    )


def in_force(revision: str) -> audit_pb2.AuditEvent:
    return audit_pb2.AuditEvent(
        action=audit_pb2.ACTION_LIMIT_IN_FORCE, kind="VenueConnection", namespace="desk", name="sim", reason=revision
    )


async def write(url: str, folder: Path) -> Trails:
    """The trails of an operator and a gateway with identities, each of three events and checkpoints."""
    authority = Authority()
    async with nats_client(url) as client:
        config = StreamConfig.from_response(subjects.audit_stream_config(subjects.AUDIT_RETENTION_SECONDS))
        await client.jetstream().add_stream(config)
        for writer, events in (
            (OPERATOR, [changed("100", "200"), changed("200", "300"), changed("300", "10")]),
            (GATEWAY, [in_force("a"), in_force("b"), in_force("c")]),
        ):
            name = identity_name(writer[1], writer[0])
            files = write_identity(folder / writer[1], authority.issue_to(name), authority)
            identity = Identity(FilesSource(files, TRUST_DOMAIN, utc_now), TRUST_DOMAIN)
            await identity.start()
            await _write(url, Trail(*writer, "pod-1", identity=identity), events)
        messages = await stored(url)
    (folder / "ca.pem").write_bytes(authority.pem)
    kept = {
        subject.removeprefix("audit."): end_text(End(head_of(payload), place))
        for place, (subject, payload) in enumerate(messages, 1)
    }
    (folder / "kept.json").write_text(json.dumps(kept))
    return Trails(messages, str(folder / "ca.pem"), str(folder / "kept.json"))


async def _write(url: str, trail: Trail, events: list[audit_pb2.AuditEvent]) -> None:
    for event in events:
        trail.record(event)
    async with trail.writing(connecting(url, "test")):
        while trail._waiting:
            await asyncio.sleep(0.01)


async def stored(url: str) -> list[Message]:
    """Everything in the stream."""
    async with nats_client(url) as client:
        jetstream = client.jetstream()
        last = (await jetstream.stream_info(subjects.AUDIT_STREAM)).state.last_seq
        found = [await jetstream.get_msg(subjects.AUDIT_STREAM, number) for number in range(1, last + 1)]
    return [(message.subject or "", message.data or b"") for message in found]


async def replace(url: str, messages: list[Message]) -> None:
    """An administrator of the bus deletes the stream and writes another one."""
    async with nats_client(url) as client:
        jetstream = client.jetstream()
        await jetstream.delete_stream(subjects.AUDIT_STREAM)
        config = StreamConfig.from_response(subjects.audit_stream_config(subjects.AUDIT_RETENTION_SECONDS))
        await jetstream.add_stream(config)
        for subject, payload in messages:
            await jetstream.publish(subject, payload)


@pytest.fixture
def trails(nats_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Trails:
    written = asyncio.run(write(nats_url, tmp_path))
    capsys.readouterr()
    return written


def test_a_whole_trail_verifies(nats_url: str, run: Run, trails: Trails) -> None:
    ended = run("audit", "verify", "--nats", nats_url, "--ca", trails.ca, "--kept", trails.kept)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == (
        "crowetrade-system.crowetrade-operator: records 1 to 4 are as they were written, signed up to 3\n"
        "desk.venue-sim: records 1 to 4 are as they were written, signed up to 3\n"
    )


def test_it_says_what_it_cannot_find_without_what_is_kept_elsewhere(nats_url: str, run: Run, trails: Trails) -> None:
    ended = run("audit", "verify", "--nats", nats_url)
    assert ended.code == 0
    assert "signed up to 3 by a certificate that is not judged" in ended.out
    assert "note: without --operator-namespace or --kept an end that was cut off is not found" in ended.err
    assert "note: without --ca the certificates of checkpoints are taken at their word" in ended.err


def without(*places: int) -> Callable[[list[Message]], list[Message]]:
    return lambda messages: [message for place, message in enumerate(messages) if place not in places]


def with_a_change(messages: list[Message]) -> list[Message]:
    """The limit that Alice set to 10 was 90, says whoever changes it."""
    return [(subject, payload.replace(b'"10"', b'"90"')) for subject, payload in messages]


def swapped(messages: list[Message]) -> list[Message]:
    return [messages[1], messages[0], *messages[2:]]


def with_another_writers_record(messages: list[Message]) -> list[Message]:
    """A gateway writes under the operator's subject."""
    return [*messages, (subjects.audit(*OPERATOR), messages[-1][1])]


TAMPERED: dict[str, tuple[Callable[[list[Message]], list[Message]], str]] = {
    "a changed record": (with_a_change, "record 4 of crowetrade-system.crowetrade-operator does not follow record 3"),
    "a deleted record": (without(1), "record 3 of crowetrade-system.crowetrade-operator stands after record 1"),
    "records in another order": (swapped, "begins with record 2, and the one before was not older than the retention"),
    "a beginning that was cut off": (without(0, 1), "its beginning was cut off"),
    "an end that was cut off": (without(6, 7), "the chain of desk.venue-sim ends with record 2, and record 4 is on"),
    "a chain that was deleted": (without(4, 5, 6, 7), "the chain of desk.venue-sim ends with record 0"),
    "everything deleted": (
        lambda messages: [],
        "the chain of crowetrade-system.crowetrade-operator ends with record 0",
    ),
    "a record of another writer": (with_another_writers_record, "says that desk.venue-sim wrote it"),
    "bytes that are no record": (lambda messages: [("audit.desk.venue-sim", b"\xff")], "cannot be decoded"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_tampering_is_found(nats_url: str, run: Run, trails: Trails, case: str) -> None:
    tamper, words = TAMPERED[case]
    tampered = tamper(trails.messages)
    assert tampered != trails.messages
    asyncio.run(replace(nats_url, tampered))
    ended = run("audit", "verify", "--nats", nats_url, "--ca", trails.ca, "--kept", trails.kept)
    assert ended.code == 1
    assert ended.err.startswith("Error: the audit trail is broken: ")
    assert words in ended.err
    assert ended.err.count("\n") == 1


def test_a_trail_that_was_written_anew_by_somebody_without_the_key_is_found(
    nats_url: str, run: Run, trails: Trails, tmp_path: Path
) -> None:
    asyncio.run(replace(nats_url, []))
    asyncio.run(_write(nats_url, Trail(*OPERATOR, "pod-1"), [changed("100", "1000000")]))
    ended = run("audit", "verify", "--nats", nats_url, "--ca", trails.ca)
    assert ended.code == 1
    assert "no checkpoint of crowetrade-system.crowetrade-operator is signed" in ended.err
    assert run("audit", "verify", "--nats", nats_url).code == 0
    kept = {"crowetrade-system.crowetrade-operator": end_text(End(Head(1, b"x" * 32, 1), 1))}
    (tmp_path / "old.json").write_text(json.dumps(kept))
    ended = run("audit", "verify", "--nats", nats_url, "--kept", str(tmp_path / "old.json"))
    assert "record 1 of crowetrade-system.crowetrade-operator is not the one that is on record" in ended.err


def test_an_end_that_was_written_anew_by_somebody_without_the_key_is_found(
    nats_url: str, run: Run, trails: Trails
) -> None:
    asyncio.run(_write(nats_url, Trail(*OPERATOR, "pod-1"), [changed("10", "1000000")]))
    ended = run("audit", "verify", "--nats", nats_url, "--ca", trails.ca)
    assert ended.code == 1
    assert "checkpoint 6 of crowetrade-system.crowetrade-operator is not signed, and one before it is" in ended.err
    assert "desk.venue-sim: records 1 to 4 are as they were written, signed up to 3\n" in ended.out
    ended = run("audit", "verify", "--nats", nats_url)
    assert ended.code == 0
    assert "signed up to 3 by a certificate that is not judged, 5 to 6 not vouched for" in ended.out


def test_an_export_verifies_and_one_that_was_edited_does_not(
    nats_url: str, run: Run, trails: Trails, tmp_path: Path
) -> None:
    file = tmp_path / "audit.jsonl"
    assert run("audit", "export", str(file), "--nats", nats_url).out == f"8 records are in {file}\n"
    ended = run("audit", "verify", str(file), "--ca", trails.ca, "--kept", trails.kept)
    assert (ended.code, ended.err) == (0, "")
    assert "crowetrade-operator: records 1 to 4 are as they were written, signed up to 3" in ended.out
    assert run("audit", "export", str(file), "--nats", nats_url).code == 2
    file.write_text(file.read_text().replace("alice", "mallory", 1))
    assert "line 1 of" in run("audit", "verify", str(file)).err
    file.write_text("{}\n")
    assert "is not what an export writes" in run("audit", "verify", str(file)).err


def test_show_says_who_changed_what(nats_url: str, run: Run, trails: Trails) -> None:
    ended = run("audit", "show", "--nats", nats_url, "--action", "Changed")
    assert ended.code == 0
    lines = [" ".join(line.split()) for line in ended.out.splitlines()]
    assert lines[1] == (
        "2026-03-01T09:00:00.000000000Z Changed alice RiskLimit desk/fx-desk "
        'spec.limits.maxOrderQuantity "100" -> "200" crowetrade-system.crowetrade-operator 1'
    )
    assert len(lines) == 4
    shown = run("audit", "show", "--nats", nats_url, "--json", "--resource", "VenueConnection").out.splitlines()
    assert [json.loads(line)["reason"] for line in shown] == ["a", "b", "c"]
    assert run("audit", "show", "--nats", nats_url, "--json", "--actor", "bob").out == ""
    assert len(run("audit", "show", "--nats", nats_url, "--json", "--checkpoints").out.splitlines()) == 8


def test_what_the_operator_keeps_is_read_in_the_cluster(
    nats_url: str, run: Run, trails: Trails, cluster: Cluster
) -> None:
    kept = json.loads(Path(trails.kept).read_text())

    def keep(*names: str) -> None:
        for number, name in enumerate(names):
            data = {writer: end for writer, end in kept.items() if place_of(writer) == number}
            cluster.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})

    verify = ("audit", "verify", "--nats", nats_url, "--ca", trails.ca, "--operator-namespace", cluster.namespace)
    keep(*KEPT_CONFIG_MAPS[:-1])
    assert f'"{KEPT_CONFIG_MAPS[-1]}" not found' in run(*verify).err, "some ends are not known"
    keep(*KEPT_CONFIG_MAPS)
    ended = run(*verify)
    assert (ended.code, ended.err) == (0, "")
    asyncio.run(replace(nats_url, trails.messages[:-1]))
    assert "its end was cut off" in run(*verify).err
    kept["a.b"] = "what is this"
    keep(*KEPT_CONFIG_MAPS)
    place = f"ConfigMap {cluster.namespace}/{KEPT_CONFIG_MAPS[place_of('a.b')]}"
    assert f"{place} holds something else than ends of chains" in run(*verify).err


def test_a_bus_without_an_audit_trail(nats_url: str, run: Run) -> None:
    ended = run("audit", "verify", "--nats", nats_url)
    assert ended.code == 1
    assert "stream AUDIT of the audit trail does not exist yet" in ended.err


WRONG_USE = {
    "no certificates": (["--ca", "{file}"], "holds no certificates in PEM"),
    "nothing kept": (["--kept", "{file}"], "cannot be read"),
    "kept twice": (["--kept", "{file}", "--operator-namespace", "a"], "name either --kept or --operator-namespace"),
}


@pytest.mark.parametrize("case", WRONG_USE)
def test_wrong_use_is_refused(run: Run, tmp_path: Path, case: str) -> None:
    arguments, words = WRONG_USE[case]
    (tmp_path / "empty").write_text("")
    ended = run("audit", "verify", *(part.format(file=tmp_path / "empty") for part in arguments))
    assert ended.code == 2
    assert words in ended.err
