"""The auditor's process on a real NATS server, behind a real gateway that trades at the simulated venue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from crowetrade import subjects
from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade_agents import metrics
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.journal.chain import seal
from crowetrade_agents.journal.jetstream import JetStreamJournal
from crowetrade_agents.journal.port import JournalHead
from crowetrade_agents.runtime.auditor import AuditorProcess, Progress
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents_tests.conftest import NatsServer, make_bus_resources
from crowetrade_agents_tests.gateway.harness import (
    NAMESPACE,
    STRATEGY,
    SYMBOL,
    VENUE,
    configuration,
    configure,
    running,
    session,
    write_quotes,
)
from crowetrade_process.health import Health
from crowetrade_process.stopping import cancelled

pytestmark = pytest.mark.integration

SECONDS = 30


class Running:
    """An auditor, what it said on the bus, and whether it is ready."""

    def __init__(self, health: Health, task: asyncio.Task[None]) -> None:
        self.health = health
        self.task = task
        self.told: list[dict[str, Any]] = []

    async def until(self, wanted: Callable[[], object], what: str) -> None:
        """Waits for a condition."""
        try:
            async with asyncio.timeout(SECONDS):
                while not wanted():
                    assert not self.task.done(), self.task.exception()
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not in time: {what}; waiting for {self.health.waiting}, told {self.told}") from None

    @property
    def limits(self) -> list[str]:
        """Limits of what it told."""
        return [item["limit"] for item in self.told]


@asynccontextmanager
async def auditing(url: str) -> AsyncIterator[Running]:
    """An auditor of all journals on the bus, on a connection of its own."""
    connection, listener = await NatsBus.connect(url, "auditor"), await nats.connect(url)
    health = Health()
    health.set_ready("journals", False, "starting")
    task = asyncio.create_task(AuditorProcess(connection.client, health, Progress()).run())
    auditor = Running(health, task)

    async def told(message: Any) -> None:
        auditor.told.append(json.loads(message.data))

    await listener.subscribe("risk-finding.>", cb=told)
    await listener.flush()
    try:
        yield auditor
    finally:
        await cancelled(task)
        # A test may have taken the server away.
        with suppress(OSError, NatsError):
            await connection.client.close()
        with suppress(OSError, NatsError):
            await listener.close()


async def trade(bus: Client, folder: Path) -> None:
    """A real gateway under real limits, and a strategy that fills one order and is refused another."""
    await make_bus_resources(bus, (NAMESPACE, VENUE))
    write_quotes(folder, 5)
    await configure(bus, configuration())
    async with running(bus, folder) as gateway, session(gateway) as (trader, _):
        filled = await trader.order("5000")
        refused = await trader.order("11000")
        assert filled[-1].ord_status == orders_pb2.ORD_STATUS_FILLED
        assert refused[-1].ord_status == orders_pb2.ORD_STATUS_REJECTED


async def journaled(bus: Client) -> int:
    """How many events the journal has."""
    return (await JetStreamJournal(bus, NAMESPACE, VENUE).open()).head.sequence


async def forge(bus: Client, quantity: str = "10001", number: int = 1) -> None:
    """An order in the journal that no gate let through: one over maxOrderQuantity."""
    journal = JetStreamJournal(bus, NAMESPACE, VENUE)
    recovered = await journal.open()
    tokens = [event.session_started.fencing_token async for event in recovered.events]
    tokens.append(recovered.books.fencing_token if recovered.books is not None else 0)
    now = SystemClock().now_ns()
    body = pb.OrderSubmitted(
        cl_ord_id=f"{STRATEGY}-forged-{number}",
        strategy=STRATEGY,
        symbol=SYMBOL,
        side=market_data_pb2.SIDE_BUY,
        order_quantity=quantity,
        ord_type=orders_pb2.ORD_TYPE_LIMIT,
        price="1.1",
        bid_price="1.1",
        ask_price="1.1001",
        quote_unix_ns=now,
    )
    await journal.append([pb.JournalEvent(at_unix_ns=now, order_submitted=body)], now, max(tokens))


async def kept(bus: Client) -> int:
    """How far the auditor remembers to have told."""
    try:
        bucket = await bus.jetstream().key_value(subjects.RISK_AUDITOR_BUCKET)
        return int((await bucket.get(subjects.risk_auditor_key(NAMESPACE, VENUE))).value or b"0")
    except NotFoundError:
        return 0


def violations(limit: str) -> float:
    """The metric."""
    return float(metrics.RISK_AUDITOR_VIOLATIONS.labels(NAMESPACE, VENUE, limit)._value.get())


async def test_a_real_gateway_is_clean_and_a_forged_order_is_told_within_seconds(
    nats_server: NatsServer, tmp_path: Path
) -> None:
    bus = await nats.connect(nats_server.url)
    before = violations("maxOrderQuantity")
    async with auditing(nats_server.url) as auditor:
        await auditor.until(lambda: auditor.health.ready, "ready where there is nothing to audit")
        await trade(bus, tmp_path)
        judged = metrics.RISK_AUDITOR_ORDERS._value.get
        await auditor.until(lambda: judged() >= 1 and auditor.health.ready, "the real order is judged")
        assert auditor.told == []

        await forge(bus)

        await auditor.until(lambda: auditor.told, "the forged order is told")
    (told,) = auditor.told
    assert (told["namespace"], told["venue"], told["limit"]) == (NAMESPACE, VENUE, "maxOrderQuantity")
    assert (told["cl_ord_id"], told["computed"], told["allowed"]) == (f"{STRATEGY}-forged-1", "10001", "10000")
    assert told["sequence"] == await journaled(bus)
    assert violations("maxOrderQuantity") == before + 1
    await bus.close()


async def test_what_was_told_is_not_told_again_after_a_restart(nats_server: NatsServer, tmp_path: Path) -> None:
    bus = await nats.connect(nats_server.url)
    await trade(bus, tmp_path)
    await forge(bus)
    async with auditing(nats_server.url) as first:
        await first.until(lambda: first.told, "told once")
        end = await journaled(bus)
        async with asyncio.timeout(SECONDS):
            while await kept(bus) < end:
                await asyncio.sleep(0.02)

    async with auditing(nats_server.url) as second:
        await second.until(lambda: second.health.ready, "the journal is read again")
        await forge(bus, "10002", 2)
        await second.until(lambda: second.told, "the next one is told")

    # The second one is over the position, too.
    assert [item["computed"] for item in second.told] == ["10002", "25003"]
    await bus.close()


async def test_a_journal_that_was_changed_is_told_and_never_ready(nats_server: NatsServer, tmp_path: Path) -> None:
    bus = await nats.connect(nats_server.url)
    await trade(bus, tmp_path)
    end = await journaled(bus)
    event = pb.JournalEvent(at_unix_ns=1, halt_changed=pb.HaltChanged(halt="X@1"))
    payload, _ = seal(JournalHead(end, b"not the hash of the record before"), [event], 1, 99)
    await bus.jetstream().publish(subjects.journal(NAMESPACE, VENUE), payload)

    async with auditing(nats_server.url) as auditor:
        await auditor.until(lambda: auditor.told, "the broken chain is told")
        await auditor.until(lambda: "hashes differ" in str(auditor.health.waiting), "not ready")

    assert auditor.limits == ["journal"]
    await bus.close()


async def test_a_journal_whose_records_are_gone_is_told(nats_server: NatsServer, tmp_path: Path) -> None:
    bus = await nats.connect(nats_server.url)
    await trade(bus, tmp_path)
    async with auditing(nats_server.url) as auditor:
        await auditor.until(lambda: auditor.health.ready, "ready")
        await bus.jetstream().purge_stream(subjects.journal_stream(NAMESPACE, VENUE))
        await auditor.until(lambda: auditor.told, "what is lost is told")

    assert auditor.limits == ["journal"]
    await bus.close()


async def test_a_trimmed_journal_is_audited_from_its_oldest_snapshot(nats_server: NatsServer, tmp_path: Path) -> None:
    bus = await nats.connect(nats_server.url)
    await trade(bus, tmp_path)
    stream = bus.jetstream()
    last = await stream.get_last_msg(subjects.journal_stream(NAMESPACE, VENUE), subjects.journal(NAMESPACE, VENUE))
    await stream.purge_stream(
        subjects.journal_stream(NAMESPACE, VENUE), seq=last.seq, subject=subjects.journal(NAMESPACE, VENUE)
    )

    async with auditing(nats_server.url) as auditor:
        await auditor.until(lambda: auditor.health.ready, "ready")
        # 5,000 are held by the snapshot, and the limit is 20,000.
        await forge(bus, "10000", 1)
        await forge(bus, "6000", 2)
        await auditor.until(lambda: auditor.told, "the position is counted on")

    assert [(item["limit"], item["computed"]) for item in auditor.told] == [("maxPositionQuantity", "21000")]
    await bus.close()


async def test_a_bucket_that_the_bus_has_lost_is_made_again(nats_server: NatsServer, tmp_path: Path) -> None:
    bus = await nats.connect(nats_server.url)
    jetstream, key = bus.jetstream(), subjects.risk_auditor_key(NAMESPACE, VENUE)
    async with auditing(nats_server.url) as auditor:
        await trade(bus, tmp_path)
        await auditor.until(lambda: not auditor.health.waiting, "the journal is audited")
        await jetstream.delete_key_value(subjects.RISK_AUDITOR_BUCKET)
        async with running(bus, tmp_path):
            known = await journaled(bus)
        await auditor.until(lambda: bool(auditor.health.waiting), "the loss is noticed")
        await auditor.until(lambda: not auditor.health.waiting, "it goes on")
        entry = await (await jetstream.key_value(subjects.RISK_AUDITOR_BUCKET)).get(key)
    assert int(entry.value or b"0") >= known
    await bus.close()


async def test_it_is_not_ready_while_the_bus_does_not_answer(nats_server: NatsServer, tmp_path: Path) -> None:
    bus = await nats.connect(nats_server.url)
    await trade(bus, tmp_path)
    async with auditing(nats_server.url) as auditor:
        await auditor.until(lambda: auditor.health.ready, "ready")
        nats_server.process.terminate()
        await auditor.until(lambda: not auditor.health.ready, "not ready any more")
    with suppress(OSError, NatsError):
        await bus.close()
