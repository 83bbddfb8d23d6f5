"""Writes a long journal into a real server, fast: what a gateway of many orders has left behind.

Records hold 1 to 50 events; an order has six events in the mean (sent, accepted, three executions, and every second
one a cancel and its end). Snapshots of the books stand every `snapshot_every` events. What is written is sealed by the
gateway's own code; only the confirmations are awaited in groups.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Iterator
from itertools import islice

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from crowetrade import subjects
from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade_agents.journal.chain import seal
from crowetrade_agents.journal.port import JournalHead
from crowetrade_agents.journal.snapshots import KEPT, split

START_NS = 1_767_225_600_000_000_000
MILLISECOND_NS = 1_000_000
STRATEGIES = [f"strategy-{number}" for number in range(50)]
SYMBOLS = ["EUR-USD", "GBP-USD", "USD-JPY", "BTC-USD", "ETH-USD"]
REMEMBERED = 2_000
IN_FLIGHT = 500
RUN = "dj3k5m0p2q"


def orders(seed: int = 1) -> Iterator[tuple[list[pb.JournalEvent], pb.BookedOrder]]:
    """Orders without end: the events of each, and what the books remember of it."""
    draw = random.Random(seed)
    for number in range(1, 1 << 62):
        at = START_NS + number * MILLISECOND_NS
        strategy = STRATEGIES[number % len(STRATEGIES)]
        cl_ord_id = f"{strategy}-{RUN}-{number}"
        side = draw.choice((market_data_pb2.SIDE_BUY, market_data_pb2.SIDE_SELL))
        price = f"1.{draw.randrange(10_000, 99_999)}"
        submitted = pb.OrderSubmitted(
            cl_ord_id=cl_ord_id,
            strategy=strategy,
            symbol=SYMBOLS[number % len(SYMBOLS)],
            side=side,
            order_quantity="3000",
            ord_type=orders_pb2.ORD_TYPE_LIMIT,
            price=price,
            time_in_force=orders_pb2.TIME_IN_FORCE_GTC,
            origin_sequence=number,
        )
        order_id = f"venue-{number:012d}"
        events = [
            pb.JournalEvent(at_unix_ns=at, order_submitted=submitted),
            pb.JournalEvent(
                at_unix_ns=at,
                order_accepted=pb.OrderAccepted(cl_ord_id=cl_ord_id, order_id=order_id, transact_unix_ns=at),
            ),
        ]
        fills = []
        for execution in range(3):
            executed = pb.OrderExecuted(
                cl_ord_id=cl_ord_id,
                order_id=order_id,
                exec_id=f"exec-{number:012d}-{execution}",
                symbol=submitted.symbol,
                side=side,
                quantity="1000" if number % 2 else "500",
                price=price,
                fee="0.0221",
                transact_unix_ns=at,
            )
            events.append(pb.JournalEvent(at_unix_ns=at, order_executed=executed))
            fills.append(
                orders_pb2.Fill(
                    exec_id=executed.exec_id, last_quantity=executed.quantity, last_price=price, fee=executed.fee
                )
            )
        if number % 2 == 0:
            events += _cancelled(cl_ord_id, order_id, at)
        status = orders_pb2.ORD_STATUS_FILLED if number % 2 else orders_pb2.ORD_STATUS_CANCELED
        yield (
            events,
            pb.BookedOrder(
                order=submitted,
                order_id=order_id,
                ord_status=status,
                cum_quantity="3000" if number % 2 else "1500",
                fills=fills,
                changed_unix_ns=at,
            ),
        )


def _cancelled(cl_ord_id: str, order_id: str, at: int) -> list[pb.JournalEvent]:
    request = pb.CancelSubmitted(cl_ord_id=f"{cl_ord_id}9", orig_cl_ord_id=cl_ord_id, reason="CancelRequested")
    ended = pb.OrderEnded(
        cl_ord_id=cl_ord_id,
        order_id=order_id,
        ord_status=orders_pb2.ORD_STATUS_CANCELED,
        reason="CancelRequested",
        transact_unix_ns=at,
    )
    return [
        pb.JournalEvent(at_unix_ns=at, cancel_submitted=request),
        pb.JournalEvent(at_unix_ns=at, order_ended=ended),
    ]


def books(ended: deque[pb.BookedOrder], at_unix_ns: int) -> pb.Books:
    """Books that remember these orders."""
    return pb.Books(
        fencing_token=1,
        ended=ended,
        used_ids=[pb.UsedIds(prefix=f"{strategy}-{RUN}", highest=10**6) for strategy in STRATEGIES],
        positions=[
            pb.BookedPosition(
                strategy=strategy, symbol=symbol, quantity="0", average_price="0", realized="0", fees="12.5"
            )
            for strategy in STRATEGIES
            for symbol in SYMBOLS
        ],
        at_unix_ns=at_unix_ns,
    )


class _Stream:
    """Publishes in order, with a bounded number of confirmations outstanding."""

    def __init__(self, client: Client, namespace: str, venue: str) -> None:
        self._jetstream = client.jetstream(publish_async_max_pending=IN_FLIGHT + 1)
        self._journal = subjects.journal(namespace, venue)
        self._snapshots = subjects.journal_snapshot(namespace, venue)
        self._stream = subjects.journal_stream(namespace, venue)
        self._waiting: deque[asyncio.Future[object]] = deque()
        self._places: list[int] = []

    async def record(self, payload: bytes) -> None:
        self._waiting.append(await self._jetstream.publish_async(self._journal, payload))  # type: ignore[arg-type]
        if len(self._waiting) >= IN_FLIGHT:
            await self._waiting.popleft()

    async def drain(self) -> None:
        while self._waiting:
            await self._waiting.popleft()

    async def snapshot(self, books_now: pb.Books, head: JournalHead) -> None:
        await self.drain()
        places = [(await self._jetstream.publish(self._snapshots, part)).seq for part in split(books_now, head)]
        self._places.append(places[0])
        if len(self._places) > KEPT:
            await self._jetstream.purge_stream(self._stream, seq=self._places[-KEPT], subject=self._snapshots)


async def write_journal(
    client: Client, namespace: str, venue: str, events: int, snapshot_every: int = 10_000
) -> JournalHead:
    """Makes the stream of a venue and writes so many events (0: no snapshots); returns where the journal ends."""
    config = StreamConfig.from_response(subjects.journal_stream_config(namespace, venue))
    try:
        await client.jetstream().add_stream(config)
    except NatsError as error:
        raise RuntimeError(f"the stream of {namespace}/{venue} cannot be made: {error}") from error
    stream, head, ended = _Stream(client, namespace, venue), JournalHead(), deque[pb.BookedOrder](maxlen=REMEMBERED)
    draw, token = random.Random(2), 1
    source = _flat(ended)
    start = pb.SessionStarted(pod="bench-0", fencing_token=token)
    payload, head = seal(head, [pb.JournalEvent(at_unix_ns=START_NS, session_started=start)], START_NS, token)
    await stream.record(payload)
    snapshots = 1
    while head.sequence < events:
        batch = list(islice(source, min(draw.randint(1, 50), events - head.sequence)))
        payload, head = seal(head, batch, batch[-1].at_unix_ns, token)
        await stream.record(payload)
        if snapshot_every and head.sequence >= snapshots * snapshot_every:
            await stream.snapshot(books(ended, batch[-1].at_unix_ns), head)
            snapshots += 1
    await stream.drain()
    return head


def _flat(ended: deque[pb.BookedOrder]) -> Iterator[pb.JournalEvent]:
    for events, booked in orders():
        yield from events
        ended.append(booked)
