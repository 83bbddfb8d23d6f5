"""Rounds of trading in which a process dies, and the comparison after each: see the package."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
import random
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

from google.protobuf.json_format import MessageToJson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import KeyValueConfig, StreamConfig
from nats.js.errors import NotFoundError

from crowetrade import subjects
from crowetrade.bus.v1 import journal_pb2, status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_agents.runtime.venue import instruments_of
from crowetrade_agents.venues.adapters.simulated.spec import Fees, Recording, SimulatedSpec
from crowetrade_agents.venues.adapters.simulated.wire import ServerFile
from crowetrade_api.files import EnvName, VenueFile
from crowetrade_api.gateway_config import revision_of
from tests.chaos.processes import Gateway, Launcher, Lines, VenueServer, nats_server, until
from tests.chaos.records import JournalRecord, VenueRecord, broken, differences, different
from tests.chaos.strategies import Strategy, Symbol

NAMESPACE, VENUE = "desk", "sim"
SYMBOLS = (
    Symbol("EUR-USD", Decimal("1.10000"), Decimal("0.00001"), 8),
    Symbol("GBP-USD", Decimal("1.30000"), Decimal("0.00001"), 8),
)
STRATEGIES = ("alpha", "beta", "gamma")
FIRST_NS = 1_400_000_000_000_000_000
QUOTES = 2_000
QUOTE_EVERY_NS = 20_000_000
PLAIN_EVERY = 20
"""Every so many starts are a plain `python -m`; the others are forked, which saves the imports."""
QUIET_SECONDS = 20.0
WEIGHTS = {"written": 15, "recorded": 25, "at venue": 20, "time": 15, "start": 5, "venue": 6, "frozen": 7, "halted": 7}
"""Kinds of rounds. The gateway is killed at the n-th request that a strategy wrote; at the n-th record on its way to
the journal; at the n-th request in the venue's log; at some time within the burst; within its start. Or the venue is
killed, or the gateway is frozen while another takes over, or it is killed after a halt."""


@dataclass
class Report:
    """What a run has seen. `points`: rounds in which a kill left requests at that point; `requests`: how many."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    start_seconds: list[float] = field(default_factory=list)
    round_seconds: list[float] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"rounds {self.rounds}; kills after: {dict(self.kills)}"
        yield f"rounds by the point that the kill hit: {dict(self.points)}"
        yield f"requests left at that point: {dict(self.requests)}"
        yield f"totals: {dict(self.totals)}"
        for name, values in (("start", self.start_seconds), ("round", self.round_seconds)):
            if values:
                ordered = sorted(values)
                middle, last = ordered[len(ordered) // 2], ordered[-1]
                yield f"{name}: median {middle:.2f} s, 90 % {ordered[len(ordered) * 9 // 10]:.2f} s, max {last:.2f} s"


def venue_file() -> VenueFile:
    """venue.json."""
    return VenueFile.model_validate(
        {
            "namespace": NAMESPACE,
            "name": VENUE,
            "spec": {
                "type": "Simulated",
                "simulated": {
                    "data": [{"configMap": {"name": "recording", "key": "rec.csv"}}],
                    "fees": {"takerBps": "0.2", "makerBps": "-0.05"},
                    "replay": {"speed": "1", "loop": True},
                },
                "rateLimits": {"ordersPerSecond": 1000, "burst": 1000, "cancelsPerSecond": 1000},
                "cancelOnDisconnect": {"afterSeconds": 60},
                "instruments": [
                    {
                        "symbol": symbol.name,
                        "currency": "USD",
                        "tickSize": str(symbol.tick),
                        "lotSize": "1000",
                        "minQuantity": "1000",
                    }
                    for symbol in SYMBOLS
                ],
            },
            "recordings": [{"origin": "Data", "path": "rec.csv"}],
        }
    )


def write_quotes(path: Path, seed: str) -> None:
    """Both symbols, QUOTE_EVERY_NS apart, within their swing; sizes from nothing to 9 lots."""
    chance = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ts_ns", "symbol", "bid_px", "bid_sz", "ask_px", "ask_sz"])
        for number in range(QUOTES):
            for symbol in SYMBOLS:
                bid = symbol.base + symbol.tick * chance.randint(-symbol.swing, symbol.swing)
                ask = bid + symbol.tick * chance.randint(1, 3)
                sizes = [chance.randint(0, 9) * 1000 for _ in range(2)]
                writer.writerow([FIRST_NS + number * QUOTE_EVERY_NS, symbol.name, bid, sizes[0], ask, sizes[1]])


def configuration(state: config_pb2.TradingState.ValueType) -> config_pb2.GatewayConfig:
    """All strategies in one state, with limits that bind seldom."""
    message = config_pb2.GatewayConfig()
    for strategy in STRATEGIES:
        message.strategies.add(strategy=strategy, state=state)
    limits = [
        config_pb2.Limit(name="maxOrderQuantity", values={"value": "7000"}),
        config_pb2.Limit(name="maxPositionQuantity", values={"value": "200000"}),
    ]
    message.rules.add(risk_limit="desk", uid="u1", generation=1, strategies=STRATEGIES, limits=limits, enforce=True)
    message.revision = revision_of(message)
    return message


ACTIVE = configuration(config_pb2.TRADING_STATE_ACTIVE)
HALTED = configuration(config_pb2.TRADING_STATE_SUSPENDED)


WANTED_CANCELS = {"CancelRequested", "LimitChanged"}


class Run:
    """One bus, one venue, three strategies, and one gateway after the other."""

    def __init__(self, folder: Path, seed: int, bus: Client, launcher: Launcher, venue: VenueServer) -> None:
        self.folder = folder
        self.report = Report()
        self.venue = venue
        self.venue_record = VenueRecord()
        self.journal_record = JournalRecord()
        self.strategies = [Strategy(name, NAMESPACE, VENUE, SYMBOLS, f"{seed} {name}") for name in STRATEGIES]
        self.gateway: Gateway | None = None
        self.random = random.Random(seed)
        self._bus = bus
        self._jetstream = bus.jetstream()
        self._launcher = launcher
        self._venue_lines = Lines(venue.log)
        self._records: list[tuple[bytes, int]] = []
        self._kept: list[bytes] = []
        self._status = status_pb2.GatewayStatus()
        # Called with the name of what has happened; a round counts them and kills.
        self._happened: Callable[[str], None] = _nothing
        # ClOrdIDs that were written after a halt was acknowledged.
        self.after_halt: list[str] = []

    async def begin(self) -> None:
        """The resources that the operator makes, and what the run listens to."""
        config = subjects.journal_stream_config(NAMESPACE, VENUE)
        await self._jetstream.add_stream(StreamConfig.from_response(config))
        await self._jetstream.create_key_value(KeyValueConfig(bucket=subjects.CONFIG_BUCKET, history=1))
        await self._put(ACTIVE)

        async def stored(message: Msg) -> None:
            self._records.append((message.data, message.metadata.sequence.stream))

        async def passing(message: Msg) -> None:
            if b"-1hg3k2m9p0ab-" in message.data:
                self._happened("recorded")

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

    # --- Gateways and sessions ----------------------------------------------------------------------------------------

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
        await asyncio.gather(
            *(strategy.burst(count, lambda: self._happened("written")) for strategy in self.strategies)
        )

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
            if reason not in WANTED_CANCELS and revision != HALTED.revision:
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

    # --- Rounds -------------------------------------------------------------------------------------------------------

    async def round(self, kind: str | None = None) -> None:
        """One round: trade, kill, start again, compare; of a kind of WEIGHTS, drawn unless it is given."""
        began = time.monotonic()
        kind = self.random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0] if kind is None else kind
        self.report.kills[kind] += 1
        special = {"venue": self.venue_dies, "frozen": self.gateway_freezes, "halted": self.halts}
        await (special[kind]() if kind in special else self.gateway_dies(kind))
        self.report.rounds += 1
        self.report.round_seconds.append(time.monotonic() - began)

    async def ready(self) -> None:
        """A gateway serves and every strategy has a session."""
        if self.gateway is None:
            began = time.monotonic()
            await self.start_gateway()
            self.report.start_seconds.append(time.monotonic() - began)
        if not all(strategy.connected for strategy in self.strategies):
            await self.log_on()
            await self.send_again()

    async def gateway_dies(self, cause: str) -> None:
        """The promise itself."""
        if cause == "start":
            await self._dies_at_its_start()
        else:
            await self.ready()
            token = self.gateway.token if self.gateway else 0
            written = sum(len(strategy.written) for strategy in self.strategies)
            await self._trade_until_killed(cause)
            await self.check()
            self._count_points(token, written)
        await self.ready()
        await self.settle()

    async def _dies_at_its_start(self) -> None:
        if self.gateway is not None:
            await self.burst(3)
            await self.kill_gateway()
        await self.spawn()
        await asyncio.sleep(self.random.random() * 0.25)
        await self.kill_gateway()

    async def _trade_until_killed(self, cause: str) -> None:
        gateway = self.gateway
        assert gateway is not None
        left = self.random.randint(1, 25)

        def happened(what: str) -> None:
            nonlocal left
            if what == cause:
                left -= 1
                if left == 0:
                    gateway.send(signal.SIGKILL)

        self._happened = happened
        others = [asyncio.create_task(self._watch_venue())] if cause == "at venue" else []
        if cause == "time":
            delay = self.random.random() * 0.2
            asyncio.get_running_loop().call_later(delay, gateway.send, signal.SIGKILL)
        try:
            await self.burst(self.random.randint(8, 20))
        finally:
            self._happened = _nothing
            for task in others:
                task.cancel()
        await self.kill_gateway()

    async def _watch_venue(self) -> None:
        """Looks at the end of the venue's log all the time."""
        lines = Lines(self.venue.log)
        lines.new()
        while True:
            for line in lines.new():
                if line["message"]["_"] in ("NewOrder", "Replace"):
                    self._happened("at venue")
            await asyncio.sleep(0)

    async def venue_dies(self) -> None:
        """SIGKILL of the venue in the middle of a burst, at times of the gateway too."""
        await self.ready()
        both = self.random.random() < 0.3
        delay = self.random.random() * 0.05

        async def kill() -> None:
            await asyncio.sleep(delay)
            await self.venue.kill()

        await asyncio.gather(self.burst(10), kill())
        if both:
            await self.kill_gateway()
        await self.venue.start()
        await self.ready()
        await self.settle()

    async def gateway_freezes(self) -> None:
        """SIGSTOP of the gateway while another takes over; when it goes on, it finds that out and ends."""
        await self.ready()
        old = self.gateway
        assert old is not None
        delay = self.random.random() * 0.04
        asyncio.get_running_loop().call_later(delay, old.send, signal.SIGSTOP)
        await self.burst(10)
        old.send(signal.SIGSTOP)
        for strategy in self.strategies:
            await strategy.log_off()
        await self.start_gateway()
        await self.log_on()
        await self.send_again()
        asyncio.get_running_loop().call_later(self.random.random() * 0.03, old.send, signal.SIGCONT)
        await self.burst(10)
        old.send(signal.SIGCONT)
        await old.ended()
        assert self.gateway is not None
        assert not self.gateway.gone, f"the gateway that took over has ended, see {self.gateway.output}"
        await self.settle()

    async def halts(self) -> None:
        """A halt in the middle of a burst; after it is acknowledged, nothing new leaves, also not after a kill."""
        await self.ready()
        await asyncio.gather(self.burst(12), self.configure(HALTED))
        await self._send_in_vain()
        await self.kill_gateway()
        self._status = status_pb2.GatewayStatus()
        await self.ready()
        await self._send_in_vain()
        await asyncio.gather(*(strategy.until_answered() for strategy in self.strategies))
        await self.settle()
        await self.configure(ACTIVE)

    async def _send_in_vain(self) -> None:
        before = {strategy.name: len(strategy.written) for strategy in self.strategies}
        await self.burst(5)
        for strategy in self.strategies:
            self.after_halt += strategy.written[before[strategy.name] :]
        await self.check()

    def _count_points(self, token: int, written_before: int) -> None:
        """Where the kill of this session left requests."""
        venue, journal, report = self.venue_record, self.journal_record, self.report
        written = [name for strategy in self.strategies for name in strategy.written]
        refused = {name for strategy in self.strategies for name in strategy.refused}
        new = len(written) - written_before
        fresh = {name for strategy in self.strategies for name in strategy.written[-new:]} if new else set()
        in_journal = {
            name for names in (journal.submitted, journal.cancels) for name, sender in names.items() if sender == token
        }
        at_venue = venue.requests.keys() | venue.cancels.keys()
        points = {
            "before append": fresh - journal.submitted.keys() - journal.cancels.keys() - refused,
            "after append, before send": in_journal - at_venue,
            "after send, before the answer is booked": (in_journal & at_venue) - journal.answered.keys(),
        }
        for point, names in points.items():
            report.points[point] += bool(names)
            report.requests[point] += len(names)
        report.points["at rest"] += not any(points.values())

    def totals(self) -> None:
        """Counts what both sides have."""
        totals = self.report.totals
        totals["requests written"] = sum(len(strategy.written) for strategy in self.strategies)
        totals["orders and replaces at the venue"] = len(self.venue_record.requests)
        totals["cancels at the venue"] = len(self.venue_record.cancels)
        totals["executions"] = len(self.venue_record.executions)
        totals["journal events"] = self.journal_record.sequence
        totals["venue sessions"] = len(self.venue_record.logons)
        for strategy in self.strategies:
            for reason in strategy.refused.values():
                totals[f"refused {reason}"] += 1

    def keep(self) -> None:
        """Writes the journal beside the venue's log, as JSON lines."""
        with (self.folder / "journal.jsonl").open("w") as file:
            for payload in self._kept:
                record = journal_pb2.JournalRecord.FromString(payload)
                file.write(json.dumps(json.loads(MessageToJson(record, preserving_proto_field_name=True))) + "\n")


def _nothing(what: str) -> None:
    """Nobody counts."""


@contextlib.asynccontextmanager
async def running(folder: Path, seed: int, repeat: str = "") -> AsyncIterator[Run]:
    """Everything but a gateway runs. A failure keeps both logs and says how to repeat it: `repeat`, or the test that
    runs."""
    repeat = repeat or f"python -m pytest '{os.environ.get('PYTEST_CURRENT_TEST', '').partition(' ')[0]}'"
    file = venue_file()
    recording = folder / "rec.csv"
    write_quotes(recording, f"{seed} quotes")
    (folder / "venue.json").write_text(json.dumps(file.content()))
    spec = SimulatedSpec(
        recordings=(Recording(recording),), loop=True, fees=Fees(Decimal("-0.05"), Decimal("0.2")), seed=seed
    )
    venue = VenueServer(folder, ServerFile(tuple(instruments_of(file).values()), spec))
    async with nats_server(folder) as (url, bus):
        environment = {
            str(EnvName.NATS_URL): url,
            str(EnvName.CONFIG_FILE): str(folder / "venue.json"),
            str(EnvName.HTTP_PORT): "0",
            str(EnvName.GRPC_PORT): "0",
            str(EnvName.DATA_DIRECTORY): str(folder),
            str(EnvName.TERMINATION_LOG): str(folder / "termination.log"),
            str(EnvName.SIMULATED_SERVER): f"127.0.0.1:{venue.port}",
        }
        launcher = Launcher(folder, environment)
        await asyncio.gather(venue.start(), launcher.import_everything())
        run = Run(folder, seed, bus, launcher, venue)
        try:
            await run.begin()
            yield run
        except BaseException:
            run.keep()
            print(f"seed {seed} failed after {run.report.rounds} rounds; repeat it with: {repeat}")
            print(f"both logs: {venue.log} and {folder / 'journal.jsonl'}; output of the gateways beside them")
            raise
        finally:
            for strategy in run.strategies:
                await strategy.log_off()
            await launcher.close()
            await venue.kill()


async def rounds(folder: Path, seed: int, count: int, kind: str | None = None) -> Report:
    """Runs so many rounds, of one kind when it is given."""
    repeat = f"make chaos SEED={seed} ROUNDS={count}" + (f" KIND='{kind}'" if kind else "")
    async with running(folder, seed, repeat) as run:
        for _ in range(count):
            await run.round(kind)
        run.totals()
        return run.report
