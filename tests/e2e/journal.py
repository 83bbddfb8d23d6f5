"""Reads a gateway's journal as an auditor would: from the stream, with nothing of the gateway's own code."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

import nats
from tools.demo import install

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from tests.e2e.namespaces import Namespace

_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
_READ_SECONDS = 30.0


@dataclass(frozen=True)
class Journal:
    """Events in the order of the stream, with the bytes that were stored."""

    raw: list[bytes]
    events: list[orders_pb2.JournalEvent]

    def reports(self, strategy: str) -> list[orders_pb2.ExecutionReport]:
        """Execution reports of one strategy."""
        found = (event.execution_report for event in self.events if event.HasField("execution_report"))
        return [report for report in found if report.strategy == strategy]

    def orders(self, strategy: str) -> list[orders_pb2.NewOrder]:
        """Orders of one strategy that were sent to the venue."""
        reports = self.reports(strategy)
        return [report.order for report in reports if report.exec_type == orders_pb2.EXEC_TYPE_PENDING_NEW]

    def fills(self, strategy: str) -> list[orders_pb2.ExecutionReport]:
        """Reports of one strategy that are executions."""
        return [report for report in self.reports(strategy) if report.exec_type == orders_pb2.EXEC_TYPE_TRADE]

    def sessions(self) -> list[orders_pb2.SessionStarted]:
        """Gateway processes that took over, in order."""
        return [event.session_started for event in self.events if event.HasField("session_started")]

    def position(self, strategy: str) -> Decimal:
        """Sum of all executions."""
        return sum((signed_quantity(report) for report in self.fills(strategy)), Decimal(0))

    def broken_link(self) -> str | None:
        """The first event that does not follow the one before, None when the chain is whole."""
        previous = b""
        for position, (raw, event) in enumerate(zip(self.raw, self.events, strict=True), start=1):
            if event.sequence != position:
                return f"event {position} has sequence {event.sequence}"
            if event.previous_hash != (hashlib.sha256(previous).digest() if previous else b""):
                return f"event {position} does not carry the hash of the one before"
            previous = raw
        return None


def signed_quantity(report: orders_pb2.ExecutionReport) -> Decimal:
    """Quantity of an execution, negative for a sale."""
    quantity = Decimal(report.fill.last_quantity)
    return quantity if report.side == market_data_pb2.SIDE_BUY else -quantity


def read_journal(namespace: Namespace, venue: str) -> Journal:
    """Everything in the journal of a venue's gateway now."""
    with _bus(namespace) as url:
        raw = asyncio.run(_read(url, subjects.journal(namespace.name, venue)))
    return Journal(raw, [orders_pb2.JournalEvent.FromString(data) for data in raw])


async def _read(url: str, subject: str) -> list[bytes]:
    client = await nats.connect(url, allow_reconnect=False)
    try:
        stream = client.jetstream()
        info = await stream.stream_info(subjects.ORDER_STREAM, subjects_filter=subject)
        count = (info.state.subjects or {}).get(subject, 0)
        subscription = await stream.subscribe(subject, ordered_consumer=True)
        return [(await subscription.next_msg(timeout=_READ_SECONDS)).data for _ in range(count)]
    finally:
        await client.close()


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
