"""One run: its processes and sessions, and the comparison of the venue, the journal and the strategies."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from google.protobuf.json_format import MessageToJson
from nats.aio.msg import Msg
from nats.js.api import KeyValueConfig, StreamConfig
from nats.js.errors import NotFoundError

from crowetrade import subjects
from crowetrade.bus.v1 import journal_pb2, status_pb2
from crowetrade.config.v1 import config_pb2, kill_pb2
from tests.chaos.desk import ACTIVE, HALTED, NAMESPACE, STRATEGIES, SYMBOLS, VENUE
from tests.chaos.processes import Gateway, Launcher, Lines, Nats, VenueServer, until
from tests.chaos.records import JournalRecord, VenueRecord, broken, differences, different
from tests.chaos.report import Report
from tests.chaos.strategies import Strategy

PLAIN_EVERY = 20
"""Every so many starts are a plain `python -m`; the others are forked, which saves the imports."""
QUIET_SECONDS = 20.0
WANTED_CANCELS = {"CancelRequested", "LimitChanged"}


class Run:
    """One bus, one venue, three strategies, and one gateway after the other."""

    def __init__(self, folder: Path, seed: int, server: Nats, launcher: Launcher, venue: VenueServer) -> None:
        self.folder = folder
        self.report = Report()
        self.venue = venue
        self.venue_record = VenueRecord()
        self.journal_record = JournalRecord()
        self.strategies = [Strategy(name, NAMESPACE, VENUE, SYMBOLS, f"{seed} {name}") for name in STRATEGIES]
        self.gateway: Gateway | None = None
        self.random = random.Random(seed)
        self.nats = server
        self._bus = server.client
        self._jetstream = server.client.jetstream()
        self._launcher = launcher
        self._venue_lines = Lines(venue.log)
        self._records: list[tuple[bytes, int]] = []
        self._kept: list[bytes] = []
        self._status = status_pb2.GatewayStatus()
        # Called with the name of what has happened; a round counts them and kills.
        self.happened: Callable[[str], None] = nothing
        # Whether a kill order is in force.
        self.killed = False
        # ClOrdIDs that were written after a halt was acknowledged.
        self.after_halt: list[str] = []

    async def begin(self) -> None:
        """The resources that the operator makes, and what the run listens to."""
        for config in subjects.journal_stream_configs(NAMESPACE, VENUE):
            await self._jetstream.add_stream(StreamConfig.from_response(config))
        for bucket in (subjects.CONFIG_BUCKET, subjects.ALLOWANCE_BUCKET):
            await self._jetstream.create_key_value(KeyValueConfig(bucket=bucket, history=1))
        await self._put(ACTIVE)

        async def stored(message: Msg) -> None:
            self._records.append((message.data, message.metadata.sequence.stream))

        async def passing(message: Msg) -> None:
            if b"-1hg3k2m9p0ab-" in message.data:
                self.happened("recorded")

        async def status(message: Msg) -> None:
            self._status = status_pb2.GatewayStatus.FromString(message.data)

        journal = subjects.journal(NAMESPACE, VENUE)
        stream = subjects.journal_stream(NAMESPACE, VENUE)
        await self._jetstream.subscribe(journal, stream=stream, ordered_consumer=True, cb=stored)
        await self._bus.subscribe(journal, cb=passing)
        await self._bus.subscribe(subjects.gateway_status(NAMESPACE, VENUE), cb=status)

    async def _put(self, message: config_pb2.GatewayConfig) -> None:
        bucket = await self._jetstream.key_value(subjects.CONFIG_BUCKET)
        await bucket.put(subjects.gateway_config_key(NAMESPACE, VENUE), message.SerializeToString())

    async def configure(self, message: config_pb2.GatewayConfig) -> None:
        """Puts a configuration and waits until the gateway acknowledges it."""
        await self._put(message)
        await until(lambda: self._status.config_revision == message.revision, "the configuration to be acknowledged")

    async def kill_order(self, order: kill_pb2.KillOrder) -> None:
        """Puts a kill order on the bus."""
        self.killed = True
        bucket = await self._jetstream.key_value(subjects.KILL_BUCKET)
        await bucket.put(subjects.kill_key(order.namespace, order.name), order.SerializeToString())

    async def acknowledged(self) -> kill_pb2.KillAcknowledgement:
        """Of the one kill order that is in force, once nothing is open any more."""
        await until(
            lambda: any(kill.halted_unix_ns for kill in self._status.kills), "the kill order to be acknowledged"
        )
        return self._status.kills[0]

    # --- Gateways and sessions ----------------------------------------------------------------------------------------

    def tell_gateways(self, environment: Mapping[str, str]) -> None:
        """Adds to the environment of gateways that start from now on."""
        self._launcher.tell(environment)

    async def start_gateway(self) -> Gateway:
        """A gateway that serves."""
        gateway = await self.spawn()
        await gateway.serving()
        return gateway

    async def spawn(self) -> Gateway:
        """A gateway that does not serve yet."""
        self.report.totals["starts"] += 1
        plain = self.report.totals["starts"] % PLAIN_EVERY == 0
        self.gateway = await self._launcher.start(plain=plain)
        return self.gateway

    async def kill_gateway(self) -> None:
        """SIGKILL, and its sessions end."""
        assert self.gateway is not None
        self.gateway.send(signal.SIGKILL)
        await self.gateway.ended()
        self.gateway = None
        for strategy in self.strategies:
            await strategy.log_off()

    async def log_on(self) -> None:
        """All strategies have a session with the gateway."""
        assert self.gateway is not None
        port = self.gateway.port
        await asyncio.gather(*(strategy.log_on(port) for strategy in self.strategies))

    async def send_again(self) -> None:
        """What the strategies do not know the fate of."""
        await asyncio.gather(*(strategy.send_again() for strategy in self.strategies))

    async def burst(self, count: int) -> None:
        """Each strategy sends so many requests."""
        await asyncio.gather(*(strategy.burst(count, lambda: self.happened("written")) for strategy in self.strategies))

    # --- Comparison ---------------------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Takes in the venue's log and then the journal, which therefore must have all that the log has."""
        for entry in self._venue_lines.new():
            self.venue_record.take(entry)
        try:
            message = await self._jetstream.get_last_msg(
                subjects.journal_stream(NAMESPACE, VENUE), subjects.journal(NAMESPACE, VENUE)
            )
        except NotFoundError:
            return
        last = message.seq or 0
        await until(lambda: self._has_read(last), f"message {last} of the journal")
        for payload, place in self._records:
            self.journal_record.take(payload, place)
            self._kept.append(payload)
        self._records.clear()

    def _has_read(self, place: int) -> bool:
        return (self._records[-1][1] if self._records else self.journal_record.stored) >= place

    async def check(self) -> None:
        """Fails when something is broken that must hold at any time."""
        await self.read()
        faults = [*broken(self.venue_record, self.journal_record), *self._control_broken()]
        assert not faults, "\n".join(faults[:20])

    def _control_broken(self) -> Iterator[str]:
        for cl_ord_id in self.after_halt:
            if cl_ord_id in self.venue_record.requests:
                yield f"order {cl_ord_id} was sent after a halt that was acknowledged"
        for cl_ord_id, revision in self.journal_record.under_revision.items():
            if revision == HALTED.revision:
                yield f"order {cl_ord_id} stands in the journal under the configuration that halts"
        for (reason, revision), count in self.journal_record.cancelled_because.items():
            if reason not in WANTED_CANCELS and revision != HALTED.revision and not self.killed:
                yield f"{count} orders were cancelled for {reason} though nothing stops trading"

    async def settle(self) -> None:
        """When it is quiet, the venue, the journal and the strategies agree order by order."""
        deadline = time.monotonic() + QUIET_SECONDS
        while True:
            await self.check()
            found = [*different(self.venue_record, self.journal_record), *self._strategies_differ()]
            if not found:
                return
            assert time.monotonic() < deadline, "it is quiet and:\n" + "\n".join(found[:20])
            await asyncio.sleep(0.01)

    def _strategies_differ(self) -> Iterator[str]:
        journal = self.journal_record
        for strategy in self.strategies:
            mine = {
                name: (order.quantity, order.price)
                for name, order in journal.open.items()
                if name.startswith(f"{strategy.name}-")
            }
            yield from differences(f"{strategy.name}'s open order", strategy.open, mine)
            held = {
                symbol: quantity
                for (owner, symbol), quantity in journal.positions_by_strategy.items()
                if owner == strategy.name and quantity
            }
            reported = {symbol: quantity for symbol, quantity in strategy.positions.items() if quantity}
            yield from differences(f"{strategy.name}'s position", reported, held)

    def keep(self) -> None:
        """Writes the journal beside the venue's log, as JSON lines."""
        with (self.folder / "journal.jsonl").open("w") as file:
            for payload in self._kept:
                record = journal_pb2.JournalRecord.FromString(payload)
                file.write(json.dumps(json.loads(MessageToJson(record, preserving_proto_field_name=True))) + "\n")


def nothing(what: str) -> None:
    """Nobody counts."""
