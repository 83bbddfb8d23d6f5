"""What a gateway says in the audit trail: a table of journal events, and a whole gateway on a real bus."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.config.v1 import config_pb2, kill_pb2
from crowetrade_agents.errors import JournalUnavailable
from crowetrade_agents.journal.memory import MemoryJournal, MemoryLog, Outcome
from crowetrade_agents.journal.port import JournalHead
from crowetrade_agents.runtime.audit import AuditedJournal, audit_event, keys_used
from crowetrade_agents.runtime.gateway_pod import run_gateway
from crowetrade_api.files import EnvName
from crowetrade_process.audit.chain import decode
from crowetrade_process.audit.trail import Trail
from crowetrade_process.audit.verification import Verification

from ..conftest import make_bus_resources
from ..gateway.harness import NAMESPACE, VENUE, configuration, configure, status_when, venue_file, write_quotes

SELF = f"{NAMESPACE}.venue-{VENUE}"
ORDER = kill_pb2.KillOrder(namespace="desk", name="all", uid="k1", reason="bad data", engaged_by="alice")
WAIT_SECONDS = 20


def killed(**fields: object) -> pb.JournalEvent:
    return pb.JournalEvent(kill_changed=pb.KillChanged(order=ORDER, **fields))  # type: ignore[arg-type]


def halted(*, cleared: bool) -> pb.JournalEvent:
    return pb.JournalEvent(halt_changed=pb.HaltChanged(halt="UnknownExecution@7", text="why", cleared=cleared))


def breached(*, cleared: bool) -> pb.JournalEvent:
    breach = pb.BreachChanged(breach="loss/-@sim-9", risk_limit="fx-desk", uid="u1", text="why", cleared=cleared)
    return pb.JournalEvent(breach_changed=breach)


Row = tuple[str, str, str, str, str]
"""Action, actor, proof, resource and reason."""
VENUE_NAMED = f"VenueConnection {NAMESPACE}/{VENUE}"
SAID: dict[str, tuple[pb.JournalEvent, Row | None]] = {
    "a gateway starts": (
        pb.JournalEvent(session_started=pb.SessionStarted(pod="p", fencing_token=7)),
        ("STARTED", SELF, "SELF", VENUE_NAMED, "gateway with fencing token 7"),
    ),
    "limits are in force": (
        pb.JournalEvent(configuration_applied=pb.ConfigurationApplied(revision="abc")),
        ("LIMIT_IN_FORCE", SELF, "SELF", VENUE_NAMED, "revision abc"),
    ),
    "there is no configuration": (
        pb.JournalEvent(configuration_applied=pb.ConfigurationApplied()),
        ("LIMIT_IN_FORCE", SELF, "SELF", VENUE_NAMED, "no configuration that can be read"),
    ),
    "a kill by the API server": (
        killed(channel="Api"),
        ("KILL", "alice", "API_SERVER", "KillSwitch desk/all", "by Api: bad data"),
    ),
    "a kill by the bus is hearsay": (
        killed(channel="Bus"),
        ("KILL", "alice", "CLAIMED", "KillSwitch desk/all", "by Bus: bad data"),
    ),
    "a kill by who shows a certificate": (
        killed(channel="Rpc", caller="spiffe://t/ns/people/sa/bob", caller_certificate_sha256="ab12"),
        (
            "KILL",
            "spiffe://t/ns/people/sa/bob",
            "CERTIFICATE",
            "KillSwitch desk/all",
            "by Rpc, in the name of alice: bad data",
        ),
    ),
    "a kill by Rpc without certificates is hearsay": (
        killed(channel="Rpc"),
        ("KILL", "alice", "CLAIMED", "KillSwitch desk/all", "by Rpc: bad data"),
    ),
    "a kill is re-armed": (
        killed(channel="Api", rearmed=True),
        ("REARM", "", "UNSPECIFIED", "KillSwitch desk/all", "by Api: bad data"),
    ),
    "a halt": (halted(cleared=False), ("HALT", SELF, "SELF", VENUE_NAMED, "UnknownExecution@7: why")),
    "a halt is cleared": (
        halted(cleared=True),
        ("OVERRIDE", SELF, "SELF", VENUE_NAMED, "UnknownExecution@7 cleared: why"),
    ),
    "a breach": (
        breached(cleared=False),
        ("HALT", SELF, "SELF", f"RiskLimit {NAMESPACE}/fx-desk", "loss/-@sim-9: why"),
    ),
    "a breach is cleared": (
        breached(cleared=True),
        ("OVERRIDE", SELF, "SELF", f"RiskLimit {NAMESPACE}/fx-desk", "loss/-@sim-9 cleared: why"),
    ),
    "an order": (pb.JournalEvent(order_submitted=pb.OrderSubmitted(cl_ord_id="a-1-1")), None),
    "a peak": (pb.JournalEvent(loss_marked=pb.LossMarked(risk_limit="fx-desk")), None),
}


def row(event: audit_pb2.AuditEvent) -> Row:
    return (
        audit_pb2.Action.Name(event.action).removeprefix("ACTION_"),
        event.actor,
        audit_pb2.ActorProof.Name(event.proof).removeprefix("ACTOR_PROOF_"),
        f"{event.kind} {event.namespace}/{event.name}",
        event.reason,
    )


@pytest.mark.parametrize("case", SAID)
def test_what_is_said_of_an_event_of_the_journal(case: str) -> None:
    event, expected = SAID[case]
    told = audit_event(NAMESPACE, VENUE, event)
    assert (row(told) if told is not None else None) == expected


def test_of_a_kill_the_certificate_is_told_that_gave_it_and_not_of_its_rearming() -> None:
    fields = {"channel": "Rpc", "caller": "spiffe://t/ns/people/sa/bob", "caller_certificate_sha256": "ab12"}
    told = audit_event(NAMESPACE, VENUE, killed(**fields))
    assert told is not None
    assert told.certificate_sha256 == "ab12"
    rearmed = audit_event(NAMESPACE, VENUE, killed(**fields, rearmed=True))
    assert rearmed is not None
    assert (rearmed.actor, rearmed.certificate_sha256) == ("", "")


def test_limits_in_force_are_told_with_their_values() -> None:
    config = config_pb2.GatewayConfig(revision="abc")
    config.rules.add(risk_limit="fx-desk")
    applied = pb.ConfigurationApplied(revision="abc", config=config)
    told = audit_event(NAMESPACE, VENUE, pb.JournalEvent(configuration_applied=applied))
    assert told is not None
    assert json.loads(told.after)["rules"] == [{"risk_limit": "fx-desk"}]


def test_of_keys_the_versions_are_told_alone() -> None:
    for before, since in (("3", "after 3"), ("", "after unknown"), (None, "at the first logon since the start")):
        assert row(keys_used(NAMESPACE, VENUE, "4", before)) == (
            "CREDENTIAL_ROTATED",
            SELF,
            "SELF",
            VENUE_NAMED,
            f"version 4 of the venue's keys {since}",
        )


class Broken:
    """A journal that takes nothing."""

    async def append(self, events: object, recorded_unix_ns: int, fencing_token: int) -> JournalHead:
        raise JournalUnavailable("no bus")


async def test_what_the_journal_did_not_take_is_not_told() -> None:
    trail = Trail(NAMESPACE, f"venue-{VENUE}", "pod-1")
    journal = AuditedJournal(Broken(), trail, NAMESPACE, VENUE)  # type: ignore[arg-type]
    with pytest.raises(JournalUnavailable):
        await journal.append([SAID["a halt"][0]], 1, 1)
    assert not trail._waiting


async def test_what_was_stored_and_not_confirmed_is_told_by_whoever_opens_the_journal_next() -> None:
    stored, trail = MemoryLog(), Trail(NAMESPACE, f"venue-{VENUE}", "pod-1")
    lost = AuditedJournal(MemoryJournal(stored, [Outcome.UNCONFIRMED]), trail, NAMESPACE, VENUE)
    await lost.open()
    with pytest.raises(JournalUnavailable):
        await lost.append([SAID["an order"][0], SAID["a halt"][0]], 1, 1)
    assert not trail._waiting

    recovered = await AuditedJournal(MemoryJournal(stored), trail, NAMESPACE, VENUE).open()
    events = [event async for event in recovered.events]

    assert len(events) == recovered.head.sequence == 2
    [(told, sequence)] = trail._found
    assert (told.reason, sequence) == ("UnknownExecution@7: why", 2)


async def test_what_is_told_is_told_with_its_place_in_the_journal() -> None:
    trail = Trail(NAMESPACE, f"venue-{VENUE}", "pod-1")
    journal = AuditedJournal(MemoryJournal(MemoryLog()), trail, NAMESPACE, VENUE)
    await journal.open()
    await journal.append([SAID["an order"][0], SAID["a halt"][0], SAID["an order"][0]], 1, 1)
    await journal.append([SAID["a breach"][0]], 1, 1)
    assert [sequence for _, sequence in trail._waiting] == [2, 4]


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    client = await nats.connect(nats_url)
    await make_bus_resources(client, (NAMESPACE, VENUE))
    config = StreamConfig.from_response(subjects.audit_stream_config(subjects.AUDIT_RETENTION_SECONDS))
    await client.jetstream().add_stream(config)
    yield client
    await client.close()


async def stored(bus: Client) -> list[bytes]:
    """The gateway's records."""
    jetstream, found = bus.jetstream(), []
    for place in range(1, (await jetstream.stream_info(subjects.AUDIT_STREAM)).state.last_seq + 1):
        message = await jetstream.get_msg(subjects.AUDIT_STREAM, place)
        assert message.subject == subjects.audit(NAMESPACE, f"venue-{VENUE}")
        found.append(message.data or b"")
    return found


@pytest.mark.integration
async def test_a_gateway_tells_its_start_and_what_is_in_force(
    bus: Client, nats_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "venue.json").write_text(json.dumps(venue_file(replay={"speed": "1000"}).content()))
    write_quotes(tmp_path, 10)
    for name, text in (
        (EnvName.CONFIG_FILE, str(tmp_path / "venue.json")),
        (EnvName.DATA_DIRECTORY, str(tmp_path)),
        (EnvName.HTTP_PORT, "0"),
        (EnvName.GRPC_PORT, "0"),
        (EnvName.CONTROL_PORT, "0"),
        (EnvName.NATS_URL, nats_url),
    ):
        monkeypatch.setenv(name, text)
    wanted = configuration()
    await configure(bus, wanted)
    running = asyncio.create_task(run_gateway(os.environ))
    await status_when(bus, lambda status: status.config_revision == wanted.revision)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, WAIT_SECONDS)
    records = await stored(bus)
    events = [decode(payload, "").event for payload in records if decode(payload, "").HasField("event")]
    assert [audit_pb2.Action.Name(event.action) for event in events][:2] == ["ACTION_STARTED", "ACTION_LIMIT_IN_FORCE"]
    assert [event.reason for event in events if event.action == audit_pb2.ACTION_LIMIT_IN_FORCE][-1] == (
        f"revision {wanted.revision}"
    )
    verification = Verification(time.time_ns(), subjects.AUDIT_RETENTION_SECONDS)
    for payload in records:
        verification.follow(subjects.audit(NAMESPACE, f"venue-{VENUE}"), payload)
    (found,) = verification.finish()
    assert (found.problem, found.ends_with, found.unsigned >= 1) == ("", len(records), True)
