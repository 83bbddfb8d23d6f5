"""The operator's side of a real bus: what it makes, puts and hears, and what it does without one."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import nats
import pytest
from google.protobuf.message import Message
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import StreamConfig
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2, status_pb2
from crowetrade.config.v1 import config_pb2, kill_pb2
from crowetrade_api.reasons import Reason
from crowetrade_operator.bus import nats as bus_module
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.bus.news import GatewayNews
from crowetrade_operator.bus.status_board import SUCCESSOR_SECONDS, StatusBoard
from crowetrade_operator.bus.stored import reserved_bytes
from crowetrade_operator.errors import BusUnavailable, JournalRefused, LeaseLost
from crowetrade_operator.settings import StreamSettings
from crowetrade_operator_tests.samples import account, gateway_status
from crowetrade_operator_tests.servers import NatsServer, nats_client
from crowetrade_operator_tests.waiting import counted, end, until
from crowetrade_process.identity.files import FilesSource
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.nats import _Transport
from crowetrade_process.identity.roles import OPERATOR_ACCOUNT
from crowetrade_process_tests.identity.authority import TRUST_DOMAIN, Authority, identity_name, write_identity
from crowetrade_process_tests.identity.identities import Files, now

pytestmark = pytest.mark.integration
PLACE = ("desk", "sim-fx")
KEY = subjects.gateway_config_key(*PLACE)
GATEWAY = status_pb2.GatewayStatus.DESCRIPTOR.full_name
AGENT = status_pb2.AgentStatus.DESCRIPTOR.full_name


def config(revision: str) -> config_pb2.GatewayConfig:
    return config_pb2.GatewayConfig(revision=revision)


@contextlib.asynccontextmanager
async def working(bus: Bus) -> AsyncIterator[Bus]:
    """The bus while its connection is kept up; closed at the end."""
    task = asyncio.create_task(bus.run())
    try:
        yield bus
    finally:
        await end({task})


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Bus]:
    """A connected bus."""
    async with working(Bus(nats_url, StatusBoard())) as found:
        await until("the bus to be connected", lambda: found.connected)
        yield found


@pytest.fixture
async def other(nats_url: str) -> AsyncIterator[Client]:
    """Somebody else on the same bus."""
    async with nats_client(nats_url) as client:
        yield client


async def bucket_of(client: Client) -> KeyValue:
    return await client.jetstream().key_value(subjects.CONFIG_BUCKET)


async def stored(client: Client) -> str:
    entry = await (await bucket_of(client)).get(KEY)
    return config_pb2.GatewayConfig.FromString(entry.value or b"").revision


async def say(client: Client, data: bytes | Message, schema: str | None) -> None:
    payload = data if isinstance(data, bytes) else data.SerializeToString()
    headers = {subjects.SCHEMA_HEADER: schema} if schema is not None else None
    await client.publish("status.desk.gateway.sim-fx", payload, headers=headers)
    await client.flush()


# --- what is there


async def test_that_nothing_is_there_for_a_gateway_is_asked_once(bus: Bus, other: Client) -> None:
    """Each Strategy of a fleet that is new looks at all venues of its namespace."""
    asked: list[str] = []

    async def hear(message: Msg) -> None:
        asked.append(message.subject + message.data.decode())

    async def is_heard() -> bool:
        await bus.read_config("desk", f"first-{next(numbers)}")
        return bool(asked)

    await other.subscribe("$JS.API.>", cb=hear)
    # The server takes a moment until it passes questions on to who has subscribed, also when it has confirmed that.
    numbers = itertools.count()
    await until("questions to be heard", is_heard)
    for venue in ("sim-fx", "sim-fx", "other", "sim-fx", "last"):
        await bus.read_config("desk", venue)
        assert bus.config_is_known("desk", venue)
        assert bus.config("desk", venue) is None
    await until("the last question", lambda: any("desk.last" in question for question in asked))
    assert sum(KEY in question for question in asked) == 1


# --- what it hears

UNREADABLE: dict[str, tuple[bytes | Message, str | None, str]] = {
    "no schema": (gateway_status(), None, "unknown"),
    "a schema that is no status": (market_data_pb2.MarketData(), "crowetrade.bus.v1.MarketData", "unknown"),
    "a schema of another version": (gateway_status(), "crowetrade.bus.v2.GatewayStatus", "unknown"),
    "a gateway's message that is cut off": (gateway_status().SerializeToString()[:-1], GATEWAY, "GatewayStatus"),
    "a position that is no number": (
        gateway_status(accounts=[account(positions=[status_pb2.Position(quantity="NaN")])]),
        GATEWAY,
        "GatewayStatus",
    ),
    "an agent's message that is noise": (b"\xff\xff\xff", AGENT, "AgentStatus"),
}


@pytest.mark.parametrize("case", UNREADABLE)
async def test_what_cannot_be_read_is_counted_and_the_next_message_is_heard(bus: Bus, other: Client, case: str) -> None:
    data, schema, label = UNREADABLE[case]
    unreadable = counted("bus_messages", schema=label, result="unreadable")
    read = counted("bus_messages", schema="GatewayStatus", result="read")
    await say(other, data, schema)
    await until(
        "it to be counted", lambda: counted("bus_messages", schema=label, result="unreadable") == unreadable + 1
    )
    await say(other, gateway_status(pod="after"), GATEWAY)
    await until("the next message", lambda: counted("bus_messages", schema="GatewayStatus", result="read") == read + 1)
    heard = bus.board.gateway("desk", "sim-fx")
    assert heard is not None
    assert heard.message.pod == "after"


async def test_listeners_hear_news_and_no_repetition(bus: Bus, other: Client) -> None:
    gateways: list[tuple[str, str]] = []
    agents: list[tuple[str, str]] = []
    bus.on_gateway(lambda namespace, name, _: gateways.append((namespace, name)))
    bus.on_agent(lambda namespace, name, _: agents.append((namespace, name)))
    for number in range(3):
        await say(other, gateway_status(sent_unix_ns=number), GATEWAY)
    await say(other, status_pb2.AgentStatus(namespace="desk", strategy="ema", pod="a"), AGENT)
    await until("the agent to be heard", lambda: agents == [("desk", "ema")])
    assert gateways == [("desk", "sim-fx")]
    assert len(bus.board.agents("desk", "ema", within=60.0)) == 1


async def test_messages_come_without_a_callback_and_by_one_when_the_subscription_is_not_known(
    bus: Bus, other: Client
) -> None:
    """nats-py dispatches in one place what it has parsed: a version that does it elsewhere is found here."""
    client = bus._client
    assert client is not None
    called: list[str] = []
    before = client._called_back

    async def called_back(message: Msg) -> None:
        called.append(message.subject)
        await before(message)

    for subscription in client._subs.values():
        if subscription._id in client._direct:
            subscription._cb = called_back
    await say(other, gateway_status(pod="direct"), GATEWAY)
    await _until_heard(bus, "direct")
    assert not called
    client._direct.clear()
    await say(other, gateway_status(pod="called"), GATEWAY)
    await _until_heard(bus, "called")
    assert called == ["status.desk.gateway.sim-fx"]


def _pod(bus: Bus) -> str:
    heard = bus.board.gateway("desk", "sim-fx")
    return heard.message.pod if heard is not None else ""


async def _until_heard(bus: Bus, pod: str) -> None:
    await until(f"{pod} to be heard", lambda: _pod(bus) == pod)


async def test_a_fleet_that_reports_faster_than_it_is_read_delays_no_answer_and_its_last_word_is_read(
    bus: Bus, other: Client
) -> None:
    """Each message is slow to read, and there are more of them in a second than could be read in it."""
    heard: list[tuple[str, str]] = []

    def listen(namespace: str, name: str, _: GatewayNews) -> None:
        heard.append((namespace, name))
        time.sleep(0.01)

    bus.on_gateway(listen)
    replaced = counted("bus_messages", schema="GatewayStatus", result="replaced")
    for number in range(2_000):
        await other.publish(
            "status.desk.gateway.sim-fx",
            gateway_status(pod=f"p{number}").SerializeToString(),
            headers={subjects.SCHEMA_HEADER: GATEWAY},
        )
    await other.flush()
    async with asyncio.timeout(5):
        await bus.read_config("desk", "sim-fx")
    await _until_heard(bus, "p1999")
    read = len(heard)
    assert read < 1_000
    assert counted("bus_messages", schema="GatewayStatus", result="replaced") == replaced + 2_000 - read


async def test_a_listener_that_breaks_ends_nothing(bus: Bus, other: Client) -> None:
    def broken(namespace: str, name: str, _: GatewayNews) -> None:
        raise RuntimeError("broken")

    bus.on_gateway(broken)
    before = counted("bus_messages", schema="GatewayStatus", result="broke")
    for pod in ("first", "second"):
        await say(other, gateway_status(pod=pod), GATEWAY)
        await _until_heard(bus, pod)
    assert bus.connected
    assert counted("bus_messages", schema="GatewayStatus", result="broke") == before + 2


async def test_one_that_waits_changes_nothing_and_knows_what_gateways_say_when_it_leads(
    nats_url: str, other: Client
) -> None:
    now = [100.0]
    bus = Bus(nats_url, StatusBoard(clock=lambda: now[0]), waits=True)
    unread = counted("bus_messages", schema="GatewayStatus", result="unread")
    heard: list[str] = []
    bus.on_gateway(lambda namespace, name, _: heard.append(name))
    async with working(bus):
        await until("it to listen", lambda: bus._client is not None)

        async def kept(pod: str) -> None:
            """Says it until it is kept: it may not listen yet."""

            async def check() -> bool:
                await say(other, gateway_status(pod=pod), GATEWAY)
                kept = bus._inbox._kept.values()
                return any(status_pb2.GatewayStatus.FromString(one.data).pod == pod for one in kept)

            await until("the message to be kept", check)

        await kept("first")
        await other.publish("status.desk.gateway.ended", gateway_status(venue="ended").SerializeToString())
        await until("another one to be kept", lambda: len(bus._inbox) == 2)
        assert counted("bus_messages", schema="GatewayStatus", result="unread") >= unread + 2
        now[0] += 2 * SUCCESSOR_SECONDS
        await kept("last")
        assert not heard
        assert not bus.connected
        assert not (await other.jetstream().streams_info()), "it makes no bucket"
        with pytest.raises(BusUnavailable):
            await bus.put_config("desk", "sim-fx", config("r1"))
        assert not bus.received_agents_for(0.0)
        bus.lead()
        assert heard == ["sim-fx"], "the last of each, and of none that has ended"
        assert not bus._inbox
        await until("the bus to be connected", lambda: bus.connected)
        assert not bus.received_agents_for(1.0), "who works has not had the time to say so"
        now[0] += 1.0
        assert bus.received_agents_for(1.0)
        message = status_pb2.AgentStatus(namespace="desk", strategy="ema", pod="a").SerializeToString()
        await other.publish("status.desk.agent.ema.all", message, headers={subjects.SCHEMA_HEADER: AGENT})
        await until("agents to be heard", lambda: bool(bus.board.agents("desk", "ema", within=60.0)))


# --- what it puts


async def test_a_configuration_is_put_once_a_revision(bus: Bus, other: Client) -> None:
    before = counted("gateway_config_puts")
    assert await bus.put_config("desk", "sim-fx", config("r1"))
    assert not await bus.put_config("desk", "sim-fx", config("r1"))
    assert await stored(other) == "r1"
    assert await bus.put_config("desk", "sim-fx", config("r2"))
    assert await stored(other) == "r2"
    assert counted("gateway_config_puts") == before + 2
    assert list(await bus.configs(lambda place: True)) == [PLACE]
    assert await bus.configs(lambda place: place != PLACE) == {}


async def test_the_next_leader_does_not_put_what_is_there_already(bus: Bus, nats_url: str) -> None:
    await bus.put_config("desk", "sim-fx", config("r1"))
    async with working(Bus(nats_url, StatusBoard())) as second:
        await until("the second bus to be connected", lambda: second.connected)
        assert not await second.put_config("desk", "sim-fx", config("r1"))


class Led:
    """The leadership of one leader, which ends when a test says so."""

    def __init__(self, epoch: int, leads: bool = True) -> None:
        self.epoch = epoch
        self.leads = leads

    def seconds_left(self) -> float:
        return 15.0 if self.leads else 0.0

    async def raise_epoch(self, above: int) -> None:
        if not self.leads:
            raise LeaseLost("another holds the Lease")
        self.epoch = above + 1


async def epoch_on(client: Client) -> int:
    entry = await (await bucket_of(client)).get(KEY)
    return config_pb2.GatewayConfig.FromString(entry.value or b"").epoch


async def test_the_next_leader_puts_its_epoch_once_and_an_earlier_one_writes_no_more(
    nats_url: str, other: Client
) -> None:
    """Whatever the earlier one has found before: here it has read what the next one then replaced."""
    earlier, later = Led(3), Led(4)
    async with (
        working(Bus(nats_url, StatusBoard(), leadership=earlier)) as first,
        working(Bus(nats_url, StatusBoard(), leadership=later)) as second,
    ):
        await until("both to be connected", lambda: first.connected and second.connected)
        assert await first.put_config("desk", "sim-fx", config("r1"))
        assert await epoch_on(other) == 3
        assert await second.put_config("desk", "sim-fx", config("r1")), "the epoch"
        assert not await second.put_config("desk", "sim-fx", config("r1"))
        assert (await stored(other), await epoch_on(other)) == ("r1", 4)
        earlier.leads = False
        for refused in (first.put_config("desk", "sim-fx", config("r0")), first.delete_config("desk", "sim-fx")):
            with pytest.raises(BusUnavailable, match="the leader of epoch 4 has written: another holds the Lease"):
                await refused
        assert (await stored(other), await epoch_on(other)) == ("r1", 4)


async def test_a_write_between_reading_and_writing_is_not_overwritten(
    bus: Bus, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An earlier leader that looked in time and writes too late."""
    await bus.put_config("desk", "sim-fx", config("r1"))
    read = bus._read

    async def overtaken(bucket: KeyValue, key: str) -> tuple[config_pb2.GatewayConfig | None, int]:
        found = await read(bucket, key)
        await (await bucket_of(other)).put(KEY, config("theirs").SerializeToString())
        return found

    monkeypatch.setattr(bus, "_read", overtaken)
    for refused in (bus.put_config("desk", "sim-fx", config("r2")), bus.delete_config("desk", "sim-fx")):
        with pytest.raises(BusUnavailable, match="wrong last sequence"):
            await refused
        assert await stored(other) == "theirs"


async def test_a_leader_whose_epoch_went_back_leads_past_what_the_bus_knows(nats_url: str, other: Client) -> None:
    """The Lease was deleted or is of a backup; without this nobody could configure any gateway again."""
    leadership = Led(9)
    async with working(Bus(nats_url, StatusBoard(), leadership=leadership)) as bus:
        await until("the bus to be connected", lambda: bus.connected)
        await bus.put_config("desk", "sim-fx", config("r1"))
        leadership.epoch = 2
        assert await bus.put_config("desk", "sim-fx", config("r2"))
        assert (await stored(other), await epoch_on(other)) == ("r2", 10)


async def test_who_may_lead_no_more_writes_nothing(nats_url: str, other: Client) -> None:
    leadership = Led(1)
    async with working(Bus(nats_url, StatusBoard(), leadership=leadership)) as bus:
        await until("the bus to be connected", lambda: bus.connected)
        await bus.put_config("desk", "sim-fx", config("r1"))
        leadership.leads = False
        for refused in (
            bus.put_config("desk", "sim-fx", config("r2")),
            bus.delete_config("desk", "sim-fx"),
            bus.put_kill(kill_pb2.KillOrder(namespace="desk", name="all", uid="u", generation=1), 1),
            bus.remove_kill("desk", "all", "u", 2),
            bus.ensure_journal("desk", "sim-fx"),
            bus.release_shares("desk", "sim-fx"),
        ):
            with pytest.raises(BusUnavailable, match="not written: the Lease may be another's"):
                await refused
        assert await stored(other) == "r1"


async def test_what_was_deleted_can_be_put_again(bus: Bus, other: Client) -> None:
    """A venue that is made again under its name."""
    await bus.put_config("desk", "sim-fx", config("r1"))
    await bus.delete_config("desk", "sim-fx")
    await bus.delete_config("desk", "sim-fx")
    assert await bus.put_config("desk", "sim-fx", config("r1"))
    assert await stored(other) == "r1"


async def test_what_somebody_put_in_its_place_is_replaced(
    nats_url: str, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not at once: the bucket is looked at again from time to time, not at every reconcile."""
    monkeypatch.setattr(bus_module, "ENSURE_SECONDS", 0.05)
    async with working(Bus(nats_url, StatusBoard())) as bus:
        await until("the bus to be connected", lambda: bus.connected)
        await bus.put_config("desk", "sim-fx", config("r1"))
        for theirs in (b"noise \xff", config("theirs").SerializeToString()):
            await (await bucket_of(other)).put(KEY, theirs)

            async def put_again() -> bool:
                return await bus.put_config("desk", "sim-fx", config("r1"))

            await until("the configuration to be put again", put_again)
            assert await stored(other) == "r1"


async def test_a_configuration_is_taken_away_and_that_twice_is_fine(bus: Bus, other: Client) -> None:
    await bus.put_config("desk", "sim-fx", config("r1"))
    for _ in range(2):
        await bus.delete_config("desk", "sim-fx")
        with pytest.raises(nats.js.errors.KeyNotFoundError):
            await stored(other)
    assert await bus.configs(lambda place: True) == {}
    assert await bus.put_config("desk", "sim-fx", config("r1")), "it is not remembered as put"


# --- what it makes


JOURNAL = subjects.journal_stream("desk", "sim-fx")
SNAPSHOTS = subjects.snapshot_stream("desk", "sim-fx")


async def test_a_new_server_has_a_bucket_and_a_stream_per_venue(bus: Bus, other: Client) -> None:
    assert (await (await bucket_of(other)).status()).history == 1
    for _ in range(2):
        await bus.ensure_journal("desk", "sim-fx")
    for name, subject, most in (
        (JOURNAL, "journal.desk.sim-fx", 512 * 2**20),
        (SNAPSHOTS, "snapshot.desk.sim-fx.*", 64 * 2**20),
    ):
        stream = (await other.jetstream().stream_info(name)).config
        assert (stream.subjects, stream.max_bytes) == ([subject], most)
        assert (stream.storage, stream.retention, stream.allow_direct) == ("file", "limits", True)
        assert stream.discard == "new"
        assert not stream.deny_delete
        assert not stream.deny_purge
    await bus.ensure_journal("desk", "sim-b")
    await other.jetstream().publish("journal.desk.sim-fx", b"an event")
    assert (await other.jetstream().stream_info(JOURNAL)).state.messages == 1
    assert (await other.jetstream().stream_info(subjects.journal_stream("desk", "sim-b"))).state.messages == 0


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"subjects": ["journal.desk.other"], "allow_direct": True}, "does not take the subject journal.desk.sim-fx"),
        ({"subjects": ["journal.desk.sim-fx"]}, "does not allow direct reads: an administrator has to allow them"),
    ],
)
async def test_a_stream_that_is_other_than_it_must_be_is_named_and_left_alone(
    bus: Bus, other: Client, there: dict[str, Any], said: str
) -> None:
    await other.jetstream().add_stream(StreamConfig(name=JOURNAL, max_age=3600.0, **there))
    before = (await other.jetstream().stream_info(JOURNAL)).config
    with pytest.raises(BusUnavailable, match=said):
        await bus.ensure_journal("desk", "sim-fx")
    assert (await other.jetstream().stream_info(JOURNAL)).config == before


async def test_a_stream_of_an_earlier_version_is_taken_as_it_is(bus: Bus, other: Client) -> None:
    both = ["journal.desk.sim-fx", "journal-snapshot.desk.sim-fx"]
    await other.jetstream().add_stream(StreamConfig(name=JOURNAL, subjects=both, allow_direct=True))
    await bus.ensure_journal("desk", "sim-fx")
    assert (await other.jetstream().stream_info(JOURNAL)).config.subjects == both


async def test_a_journal_for_which_there_is_no_room_is_named(nats_url: str) -> None:
    settings = StreamSettings(journal_max_bytes=2**60, namespace_max_bytes=0)
    async with working(Bus(nats_url, StatusBoard(), streams=settings)) as bus:
        await until("the bus to be connected", lambda: bus.connected)
        said = r"Venue sim-fx gets no journal: NATS has no room .*nats.maxFileStore .*nats.journalMaxBytes"
        with pytest.raises(JournalRefused, match=said) as refused:
            await bus.ensure_journal("desk", "sim-fx")
        assert refused.value.reason is Reason.BUS_STORE_FULL


MIB = 2**20
TWO_VENUES = StreamSettings(journal_max_bytes=8 * MIB, snapshots_max_bytes=2 * MIB, namespace_max_bytes=20 * MIB)


@contextlib.asynccontextmanager
async def bounded(nats_url: str, settings: StreamSettings = TWO_VENUES) -> AsyncIterator[Bus]:
    async with working(Bus(nats_url, StatusBoard(), streams=settings)) as bus:
        await until("the bus to be connected", lambda: bus.connected)
        yield bus


async def test_a_namespace_gets_no_more_of_the_store_than_its_bound(nats_url: str, other: Client) -> None:
    async with bounded(nats_url) as bus:
        venues = [f"v{number}" for number in range(4)]
        made = await asyncio.gather(*(bus.ensure_journal("desk", name) for name in venues), return_exceptions=True)
        refused = [error for error in made if error is not None]
        assert len(refused) == 2, "they are made one after the other, whoever asks at once"
        for error in refused:
            assert isinstance(error, JournalRefused)
            assert error.reason is Reason.NAMESPACE_STORE_FULL
            assert "reserve 20 MiB of the store of NATS in 4 streams, one more venue takes 10 MiB" in str(error)
            assert "a namespace may reserve 20 MiB (nats.namespaceMaxBytes of the chart)" in str(error)
        assert len(await reserved_bytes(other, "desk")) == 4
        # Names that begin alike, or that a pattern might take for the other's.
        for namespace in ("des", "desk-2", "k"):
            await bus.ensure_journal(namespace, "v0")

        await other.jetstream().delete_stream(subjects.journal_stream("desk", venues[made.index(None)]))
        gone = made.index(None)
        with pytest.raises(JournalRefused, match=r"reserve 12 MiB .*in 3 streams"):
            await bus.ensure_journal("desk", venues[made.index(refused[0])])
        bus._streams.clear()
        await bus.ensure_journal("desk", venues[gone])  # its snapshots are there and count once


async def test_a_bound_that_is_lowered_takes_nothing_away(nats_url: str, other: Client) -> None:
    async with bounded(nats_url) as bus:
        for venue in ("v0", "v1"):
            await bus.ensure_journal("desk", venue)
    await other.jetstream().delete_stream(subjects.snapshot_stream("desk", "v1"))
    before = await reserved_bytes(other, "desk")
    async with bounded(nats_url, replace(TWO_VENUES, namespace_max_bytes=10 * MIB)) as bus:
        for venue in ("v0", "v1"):
            await bus.ensure_journal("desk", venue)
        found = await reserved_bytes(other, "desk")
        assert found == before | {subjects.snapshot_stream("desk", "v1"): 2 * MIB}, "a journal gets its snapshots"
        with pytest.raises(JournalRefused, match="may reserve 10 MiB"):
            await bus.ensure_journal("desk", "v2")


async def test_a_stream_without_a_bound_counts_as_what_it_holds(nats_url: str, other: Client) -> None:
    name = subjects.journal_stream("desk", "old")
    await other.jetstream().add_stream(StreamConfig(name=name, subjects=["journal.desk.old"], allow_direct=True))
    for _ in range(20):
        await other.jetstream().publish("journal.desk.old", bytes(MIB - 1024))
    held = (await other.jetstream().stream_info(name)).state.bytes
    assert await reserved_bytes(other, "desk") == {name: held}
    async with bounded(nats_url) as bus:
        with pytest.raises(JournalRefused, match=r"reserve 19 MiB .*in 1 streams"):
            await bus.ensure_journal("desk", "v0")


async def test_more_streams_than_a_page_of_the_answer_are_counted(nats_url: str, other: Client) -> None:
    settings = replace(TWO_VENUES, journal_max_bytes=MIB, snapshots_max_bytes=MIB, namespace_max_bytes=2**40)
    async with bounded(nats_url, settings) as bus:
        await asyncio.gather(*(bus.ensure_journal("desk", f"v{number}") for number in range(300)))
    assert sum((await reserved_bytes(other, "desk")).values()) == 600 * MIB


async def test_a_stream_that_is_gone_is_made_again(
    nats_url: str, other: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "ENSURE_SECONDS", 0.05)
    async with working(Bus(nats_url, StatusBoard())) as bus:
        await until("the bus to be connected", lambda: bus.connected)
        await bus.ensure_journal("desk", "sim-fx")
        await other.jetstream().delete_stream(JOURNAL)

        async def made() -> bool:
            await bus.ensure_journal("desk", "sim-fx")
            with contextlib.suppress(nats.js.errors.NotFoundError):
                return bool(await other.jetstream().stream_info(JOURNAL))
            return False

        await until("the stream to be made again", made)


async def test_a_configuration_is_put_again_when_the_token_on_record_changes(bus: Bus, other: Client) -> None:
    """And not with each event of the journal, whose sequence is on record, too."""

    def recorded(token: int, sequence: int) -> config_pb2.GatewayConfig:
        record = config_pb2.JournalRecordOnFile(fencing_token=token, sequence=sequence)
        return config_pb2.GatewayConfig(revision="r1", on_record=record)

    assert await bus.put_config("desk", "sim-fx", recorded(1, 10))
    assert not await bus.put_config("desk", "sim-fx", recorded(1, 999))
    assert await bus.put_config("desk", "sim-fx", recorded(2, 999))
    entry = await (await bucket_of(other)).get(KEY)
    assert config_pb2.GatewayConfig.FromString(entry.value or b"").on_record.sequence == 999


async def test_a_bucket_that_somebody_deleted_is_made_again(bus: Bus, other: Client) -> None:
    await bus.put_config("desk", "sim-fx", config("r1"))
    await other.jetstream().delete_key_value(subjects.CONFIG_BUCKET)

    async def put() -> bool:
        with contextlib.suppress(BusUnavailable):
            return await bus.put_config("desk", "sim-fx", config("r2"))
        return False

    await until("the configuration to be put", put)
    assert await stored(other) == "r2"


# --- without a bus


async def test_without_a_bus_what_needs_it_says_so() -> None:
    bus = Bus("nats://127.0.0.1:9", StatusBoard())
    for call in (
        bus.put_config("desk", "sim-fx", config("r1")),
        bus.delete_config("desk", "sim-fx"),
        bus.configs(lambda place: True),
    ):
        with pytest.raises(BusUnavailable, match=r"NATS at nats://127.0.0.1:9 cannot be used: not connected yet"):
            await call


async def test_it_connects_when_the_server_starts_later(nats_server: NatsServer) -> None:
    await asyncio.to_thread(nats_server.stop)
    async with working(Bus(nats_server.url, StatusBoard())) as bus:
        changes: list[bool] = []
        bus.on_connection(lambda: changes.append(bus.connected))
        await asyncio.to_thread(nats_server.start)
        await until("the bus to be connected", lambda: bus.connected)
        assert changes == [True]
    assert not bus.connected
    assert bus.problem == "closed"


async def test_a_server_that_goes_is_noticed_and_its_successor_gets_everything_again(
    bus: Bus, nats_server: NatsServer
) -> None:
    changes: list[bool] = []
    bus.on_connection(lambda: changes.append(bus.connected))
    await bus.put_config("desk", "sim-fx", config("r1"))
    await asyncio.to_thread(nats_server.stop)
    await until("the loss to be noticed", lambda: not bus.connected)
    assert bus.problem
    with pytest.raises(BusUnavailable, match="cannot be used"):
        await bus.put_config("desk", "sim-fx", config("r1"))
    await until("what a new try says to be the problem", lambda: "Connect call failed" in bus.problem)
    nats_server.forget()
    await asyncio.to_thread(nats_server.start)
    await until("the bus to be connected again", lambda: bus.connected)
    assert changes == [False, True]
    assert await bus.put_config("desk", "sim-fx", config("r1")), "the new server is empty"
    async with nats_client(nats_server.url) as client:
        assert await stored(client) == "r1"


async def test_a_server_that_does_not_answer_is_unavailable_and_nothing_hangs(
    nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bus_module, "REQUEST_SECONDS", 0.3)
    monkeypatch.setattr(bus_module, "RETRY_SECONDS", 0.1)
    async with working(Bus(nats_server.url, StatusBoard())) as bus:
        await until("the bus to be connected", lambda: bus.connected)
        await bus.put_config("desk", "sim-fx", config("r1"))
        nats_server.freeze()
        try:
            results = await asyncio.gather(
                bus.put_config("desk", "sim-fx", config("r2")),
                bus.delete_config("desk", "sim-fx"),
                bus.configs(lambda place: True),
                return_exceptions=True,
            )
            assert [type(result) for result in results] == [BusUnavailable] * 3
            for what, result in zip(("put", "delete", "list"), results, strict=True):
                assert f"could not {what} the gateway configuration" in str(result)
            await until("the bus to be unusable", lambda: not bus.connected)
        finally:
            nats_server.thaw()
        await until("the bus to be connected again", lambda: bus.connected)
        assert await bus.put_config("desk", "sim-fx", config("r3"))


async def test_a_server_without_jetstream_cannot_be_used(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, jetstream=False)
    try:
        await asyncio.to_thread(server.start)
        async with working(Bus(server.url, StatusBoard())) as bus:
            await until("the problem to be known", lambda: bus.problem != "not connected yet")
            assert not bus.connected
            with pytest.raises(BusUnavailable):
                await bus.configs(lambda place: True)
    finally:
        server.stop()


async def test_it_connects_by_tls_from_when_the_operator_has_a_certificate(tmp_path: Path) -> None:
    ours, nats_name = Authority(), identity_name("nats", "crowetrade")
    server = NatsServer(tmp_path, tls=write_identity(tmp_path / "nats", ours.issue_to(nats_name), ours))
    server.start()
    files = FilesSource(tmp_path / "operator", TRUST_DOMAIN, now)
    identity = Identity(files, TRUST_DOMAIN, nats_server_name=nats_name.dns_name)
    try:
        async with working(Bus(server.url, StatusBoard(), identity=identity)) as found:
            await until("the word that there is no certificate", lambda: "no certificate yet" in found.problem)
            name = identity_name("crowetrade-operator", "crowetrade")
            write_identity(tmp_path / "operator", ours.issue_to(name), ours)
            assert await identity.refresh()
            await until("the bus to be connected", lambda: found.connected)
        kept = [*identity._listeners, *identity._revocation_listeners]
        assert not kept, "an operator that gives up a shard would keep all that it knew of it"
    finally:
        server.stop()


async def test_a_connection_ends_whose_server_is_revoked_while_it_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, nats_name = Authority(), identity_name("nats", "crowetrade")
    stolen, mine = ours.issue_to(nats_name), ours.issue_to(identity_name(OPERATOR_ACCOUNT, "crowetrade"))
    server = NatsServer(tmp_path, tls=write_identity(tmp_path / "nats", stolen, ours))
    server.start()
    files = Files(tmp_path / "operator", mine, ours, revocations=ours.revocations())
    files.identity.nats_server_name = nats_name.dns_name
    await files.identity.start()

    class Slow(_Transport):
        """Of a server that says INFO late: the list grows before it."""

        async def connect_tls(self, *arguments: Any, **named: Any) -> None:
            await super().connect_tls(*arguments, **named)
            await files.renew(mine, ours, revocations=ours.revocations(stolen))

    monkeypatch.setattr("crowetrade_process.identity.nats._Transport", Slow)
    try:
        async with working(Bus(server.url, StatusBoard(), identity=files.identity)) as found:
            await until("it to be refused", lambda: not found.connected and "is revoked" in found.problem)
            write_identity(tmp_path / "nats", ours.issue_to(nats_name), ours)
            server.reload()
            await until("another certificate to be taken", lambda: found.connected)
    finally:
        server.stop()
