"""The journal of one gateway: a filled order, a replaced order, an execution of no known order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import nats
from nats.js.api import StreamConfig

from crowetrade import subjects
from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade_agents.errors import JournalUnavailable
from crowetrade_agents.journal.chain import seal
from crowetrade_agents.journal.jetstream import JetStreamJournal
from crowetrade_agents.journal.port import JournalHead

NAMESPACE, VENUE = "desk", "sim"
START_NS = 1_772_355_600_123_456_789  # 2026-03-01T09:00:00.123456789Z
SECOND_NS = 1_000_000_000
EMA, PAIR = "ema-dj3k5m0p2q-1", "gold-pair-dj3k5m0p2q-7"
PAIR_REPLACED = "gold-pair-dj3k5m0p2q-8"
FINE = "1.000000000000000000000000000000000001"


def _submitted(cl_ord_id: str, strategy: str) -> pb.OrderSubmitted:
    return pb.OrderSubmitted(
        cl_ord_id=cl_ord_id,
        strategy=strategy,
        symbol="EUR-USD",
        side=market_data_pb2.SIDE_SELL,
        order_quantity="1000",
        ord_type=orders_pb2.ORD_TYPE_LIMIT,
        price="1.10",
        time_in_force=orders_pb2.TIME_IN_FORCE_GTC,
    )


def _executed(cl_ord_id: str, exec_id: str, suspense: bool = False) -> pb.OrderExecuted:
    return pb.OrderExecuted(
        cl_ord_id=cl_ord_id,
        exec_id=exec_id,
        symbol="EUR-USD",
        side=market_data_pb2.SIDE_SELL,
        quantity="1000",
        price=FINE,
        fee="-0.10",
        suspense=suspense,
    )


EVENTS = [
    pb.JournalEvent(session_started=pb.SessionStarted(pod="sim-0", fencing_token=1)),
    pb.JournalEvent(order_submitted=_submitted(EMA, "ema")),
    pb.JournalEvent(order_accepted=pb.OrderAccepted(cl_ord_id=EMA, order_id="v1")),
    pb.JournalEvent(order_submitted=_submitted(PAIR, "gold-pair")),
    pb.JournalEvent(order_executed=_executed(EMA, "x1")),
    pb.JournalEvent(replace_submitted=pb.ReplaceSubmitted(cl_ord_id=PAIR_REPLACED, orig_cl_ord_id=PAIR, price="1.2")),
    pb.JournalEvent(order_replaced=pb.OrderReplaced(cl_ord_id=PAIR_REPLACED, orig_cl_ord_id=PAIR)),
    pb.JournalEvent(order_executed=_executed("somebody's", "x2", suspense=True)),
    pb.JournalEvent(order_executed=_executed(PAIR_REPLACED, "x3")),
    pb.JournalEvent(
        requests_refused=pb.RequestsRefused(strategy="ema", reason="MaxOrderRate", count=3, text="[red]limit[/red]")
    ),
]
for place, event in enumerate(EVENTS):
    event.at_unix_ns = START_NS + place * SECOND_NS
RECORDS = [EVENTS[:1], EVENTS[1:3], EVENTS[3:4], EVENTS[4:7], EVENTS[7:10]]


def payloads() -> list[bytes]:
    """The records as they are stored."""
    head, sealed = JournalHead(), []
    for number, events in enumerate(RECORDS):
        payload, head = seal(head, events, START_NS + number, 1)
        sealed.append(payload)
    return sealed


async def make_stream(url: str, max_bytes: int = -1) -> None:
    """As the operator makes it."""
    client = await nats.connect(url)
    for config in subjects.journal_stream_configs(NAMESPACE, VENUE, max_bytes):
        await client.jetstream().add_stream(StreamConfig.from_response(config))
    await client.close()


async def write_journal(url: str, snapshots_after: Sequence[int] = ()) -> JournalHead:
    """Written by the gateway's own code, with snapshots after some of the records (from 1)."""
    await make_stream(url)
    client = await nats.connect(url)
    journal = JetStreamJournal(client, NAMESPACE, VENUE)
    recovered = await journal.open()
    assert [event async for event in recovered.events] == []
    head = recovered.head
    for number, events in enumerate(RECORDS, start=1):
        head = await journal.append(events, START_NS + number - 1, 1)
        if number in snapshots_after:
            await journal.write_snapshot(pb.Books(fencing_token=1), head)
    await client.close()
    return head


async def fill_journal(url: str, after: JournalHead | None = None) -> tuple[JournalHead, str]:
    """Writes record after record, by the gateway's own code, until the stream takes no more, with a snapshot after each
    tenth. Returns where the journal ends and why."""
    client = await nats.connect(url)
    journal = JetStreamJournal(client, NAMESPACE, VENUE)
    recovered = await journal.open()
    async for _ in recovered.events:
        pass
    head = recovered.head
    assert after is None or head == after
    try:
        for number in itertools.count(1):
            place = head.sequence + 1
            event = pb.JournalEvent(
                at_unix_ns=START_NS + place, order_submitted=_submitted(f"ema-dj3k5m0p2q-{place}", "ema")
            )
            head = await journal.append([event] * 20, START_NS + place, 1)
            if number % 10 == 0:
                await journal.write_snapshot(pb.Books(fencing_token=1), head)
    except JournalUnavailable as error:
        return head, str(error)
    finally:
        await client.close()
    raise AssertionError


async def store(url: str, records: Sequence[bytes], snapshots: Sequence[bytes] = ()) -> None:
    """Puts bytes into the stream as they are."""
    await make_stream(url)
    client = await nats.connect(url)
    for record in records:
        await client.jetstream().publish(subjects.journal(NAMESPACE, VENUE), record)
    for part in snapshots:
        await client.jetstream().publish(subjects.journal_snapshot(NAMESPACE, VENUE, 0), part)
    await client.close()


async def recovered_events(url: str) -> list[pb.JournalEvent]:
    """What a gateway that starts now reads after its snapshot."""
    client = await nats.connect(url)
    try:
        return [event async for event in (await JetStreamJournal(client, NAMESPACE, VENUE).open()).events]
    finally:
        await client.close()


async def stored_records(url: str) -> int:
    """How many records are in the stream."""
    client = await nats.connect(url)
    try:
        subject = subjects.journal(NAMESPACE, VENUE)
        stream = subjects.journal_stream(NAMESPACE, VENUE)
        info = await client.jetstream().stream_info(stream, subjects_filter=subject)
        return (info.state.subjects or {}).get(subject, 0)
    finally:
        await client.close()
