"""Reads a gateway's journal and the audit trail as an auditor would: from the stream, with nothing of our own code."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import ssl
import subprocess
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import nats
from nats.js import JetStreamContext
from nats.js.api import AckPolicy, ConsumerConfig
from tools.demo import administrator, install
from tools.localcluster import vault

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade.bus.v1 import journal_pb2, market_data_pb2
from tests.e2e.namespaces import Namespace

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
_READ_SECONDS = 30.0
_BATCH = 200


@dataclass(frozen=True)
class Journal:
    """Records in the order of the stream, with the bytes that were stored."""

    raw: list[bytes]
    records: list[journal_pb2.JournalRecord]

    @cached_property
    def events(self) -> list[journal_pb2.JournalEvent]:
        """Events of all records, oldest first."""
        return [event for record in self.records for event in record.events]

    def orders(self, strategy: str) -> list[journal_pb2.OrderSubmitted]:
        """Orders of one strategy that left for the venue."""
        found = (event.order_submitted for event in self.events if event.HasField("order_submitted"))
        return [order for order in found if order.strategy == strategy]

    def fills(self, strategy: str) -> list[journal_pb2.OrderExecuted]:
        """Executions of one strategy's orders."""
        own = {order.cl_ord_id for order in self.orders(strategy)}
        found = (event.order_executed for event in self.events if event.HasField("order_executed"))
        return [fill for fill in found if fill.cl_ord_id in own]

    def filled(self, strategy: str) -> int:
        """How many orders of one strategy were executed completely."""
        executed: dict[str, Decimal] = defaultdict(Decimal)
        for fill in self.fills(strategy):
            executed[fill.cl_ord_id] += Decimal(fill.quantity)
        orders = self.orders(strategy)
        return sum(executed[order.cl_ord_id] == Decimal(order.order_quantity) for order in orders)

    def sessions(self) -> list[journal_pb2.SessionStarted]:
        """Gateway processes that took over, in order."""
        return [event.session_started for event in self.events if event.HasField("session_started")]

    def position(self, strategy: str) -> Decimal:
        """Sum of all executions."""
        return sum((signed_quantity(fill) for fill in self.fills(strategy)), Decimal(0))

    def was_flat(self, strategy: str, since: datetime, until: datetime) -> bool:
        """Whether the sum of all executions was zero at some time between these."""
        own = {order.cl_ord_id for order in self.orders(strategy)}
        held = Decimal(0)
        for record in self.records:
            recorded = datetime.fromtimestamp(record.recorded_unix_ns / 1e9, UTC)
            if recorded > until:
                break
            if not held and recorded >= since:
                return True
            fills = (event.order_executed for event in record.events if event.HasField("order_executed"))
            held += sum((signed_quantity(fill) for fill in fills if fill.cl_ord_id in own), Decimal(0))
        return not held

    def broken_link(self) -> str | None:
        """The first record that does not follow the one before, None when the chain is whole."""
        previous, sequence = b"", 1
        for raw, record in zip(self.raw, self.records, strict=True):
            if record.first_sequence != sequence:
                return f"the record that should begin with event {sequence} begins with {record.first_sequence}"
            if record.previous_hash != (hashlib.sha256(previous).digest() if previous else b""):
                return f"the record at event {sequence} does not carry the hash of the one before"
            previous, sequence = raw, sequence + len(record.events)
        return None


def signed_quantity(fill: journal_pb2.OrderExecuted) -> Decimal:
    """Quantity of an execution, negative for a sale."""
    quantity = Decimal(fill.quantity)
    return quantity if fill.side == market_data_pb2.SIDE_BUY else -quantity


def read_journal(namespace: Namespace, venue: str) -> Journal:
    """Everything in the journal of a venue's gateway now."""
    stream, subject = subjects.journal_stream(namespace.name, venue), subjects.journal(namespace.name, venue)
    with _bus(namespace) as url:
        raw = asyncio.run(_read(url, stream, subject))
    return Journal(raw, [journal_pb2.JournalRecord.FromString(data) for data in raw])


def read_audit(namespace: Namespace) -> list[audit_pb2.AuditEvent]:
    """What the operator has recorded of this namespace until now, oldest first."""
    with _bus(namespace) as url:
        raw = asyncio.run(_read(url, subjects.AUDIT_STREAM, subjects.audit(install.NAMESPACE, "crowetrade-operator")))
    events = [audit_pb2.AuditRecord.FromString(data).event for data in raw]
    return [event for event in events if event.namespace == namespace.name]


def until_position_agrees(namespace: Namespace, strategy: str, journal: Journal) -> None:
    """Waits until the status of a strategy that trades no more holds what its executions add up to."""
    executed = journal.position(strategy)

    def probe() -> str | None:
        positions = namespace.status("strategy", strategy).get("position", [])
        seen = sum((Decimal(entry["quantity"]) for entry in positions), Decimal(0))
        return None if seen == executed else f"status {seen}, journal {executed}"

    namespace.until(probe, f"status and journal to hold the same position of {strategy}")


def lose_journal(namespace: Namespace, venue: str) -> None:
    """Deletes the streams of a venue's journal, as a bus does that comes back without its disk."""
    with _bus(namespace) as url:
        for stream in (subjects.journal_stream, subjects.snapshot_stream):
            asyncio.run(_delete(url, stream(namespace.name, venue)))


async def _read(url: str, name: str, subject: str) -> list[bytes]:
    async with _connected(url) as stream:
        info = await stream.stream_info(name, subjects_filter=subject)
        count = (info.state.subjects or {}).get(subject, 0)
        config = ConsumerConfig(filter_subject=subject, ack_policy=AckPolicy.NONE, mem_storage=True)
        consumer = await stream.pull_subscribe(subject, stream=name, config=config)
        found: list[bytes] = []
        while len(found) < count:
            fetched = await consumer.fetch(min(_BATCH, count - len(found)), timeout=_READ_SECONDS)
            found += [message.data for message in fetched]
        return found


async def _delete(url: str, stream: str) -> None:
    async with _connected(url) as jetstream:
        await jetstream.delete_stream(stream)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[JetStreamContext]:
    """As the administrator, who alone may delete a stream; without identities anybody may."""
    # The way leads through a port forward, and the machine has more to do.
    options: dict[str, Any] = {"allow_reconnect": False, "connect_timeout": _READ_SECONDS}
    of_api: dict[str, Any] = {"timeout": _READ_SECONDS}
    if install.identified():
        options |= _administrator()
        of_api["prefix"] = subjects.ADMIN_API
    client = await nats.connect(url, **options)
    stream = client.jetstream(**of_api)
    try:
        yield stream
    finally:
        await client.close()


def _administrator() -> dict[str, Any]:
    folder = administrator.directory()
    context = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    namespace, account = vault.ADMINISTRATOR.split("/")[4::2]
    return {
        "tls": context,
        "tls_hostname": f"nats.{install.NAMESPACE}.svc",
        "tls_handshake_first": True,
        "inbox_prefix": f"_INBOX.{namespace}.{account}",
    }


@contextmanager
def _bus(namespace: Namespace) -> Iterator[str]:
    """Address of the bus from here, through the API server."""
    kubectl = namespace.kubectl
    command = [*kubectl.command, "port-forward", "-n", install.NAMESPACE, "svc/nats", ":4222", "--address", "127.0.0.1"]
    environment = {**os.environ, **kubectl.environment}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = _FORWARDING.match(line)
            assert found is not None, f"kubectl port-forward to the bus failed: {line!r}"
            yield f"nats://127.0.0.1:{found.group(1)}"
        finally:
            process.terminate()
