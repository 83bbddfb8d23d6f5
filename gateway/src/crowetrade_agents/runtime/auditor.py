"""The process that judges again: finds the journals on the bus, follows them, and tells what should not have left.

What was told once is not told again after a restart: the place up to which each journal was told is kept in a bucket of
its own. The state is rebuilt from the journals. Until they have been read to the present, and while one cannot be read,
the process is not ready.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from functools import partial

import structlog
from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig
from nats.js.errors import BucketNotFoundError, KeyNotFoundError
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2
from crowetrade_agents import metrics
from crowetrade_agents.auditor.figures import decimal
from crowetrade_agents.auditor.findings import Finding
from crowetrade_agents.auditor.fleet import Fleet, Name
from crowetrade_agents.auditor.following import HOLD_NS, Auditor
from crowetrade_agents.auditor.judge import CONTROLS, KNOWN
from crowetrade_agents.auditor.marks import Quote
from crowetrade_agents.bus.nats import Attempts, NatsBus
from crowetrade_agents.errors import JournalUnavailable
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.config import Pod, read_pod
from crowetrade_process.health import Health
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.running import running
from crowetrade_process.identity.settings import identity_from_environment
from crowetrade_process.stopping import stop_on_signals, unless_stopping

log = structlog.get_logger()

ROUND_NS = 500_000_000
DISCOVER_NS = 5_000_000_000
BEHIND_NS = 10_000_000_000
"""Lag from which the auditor is not ready."""
STALLED_SECONDS = 120.0
"""Without any progress for so long, the process is not alive."""
JETSTREAM_SECONDS = 5.0
BUCKET_BYTES = 16 * 1024 * 1024
"""Of what it remembers: a number for each journal."""


async def run_auditor(environment: Mapping[str, str]) -> None:
    """Runs until SIGTERM; raises ConfigurationError."""
    pod = read_pod(environment)
    progress = Progress()
    health = Health(live={"audit": progress.stalled})
    health.set_ready("bus", False, "connecting to the bus")
    health.set_ready("journals", False, "the journals have not been read yet")
    await health.serve(pod.http_port)
    stop = stop_on_signals()
    identity = identity_from_environment(environment)
    try:
        async with running(identity, partial(health.set_ready, "identity"), stop):
            if not stop.is_set():
                await _audit(pod, identity, health, progress, stop)
    finally:
        await health.stop()


async def _audit(pod: Pod, identity: Identity | None, health: Health, progress: Progress, stop: asyncio.Event) -> None:
    attempts = Attempts(partial(health.set_ready, "bus"))
    health.set_live("bus", attempts.stalled)
    connecting = NatsBus.connect(pod.nats_url, name=pod.name, on_connection=attempts, identity=identity)
    bus = await unless_stopping(stop, connecting)
    if bus is None:
        return
    try:
        await unless_stopping(stop, AuditorProcess(bus.client, health, progress).run())
    finally:
        await bus.close()


class Progress:
    """When the auditor last got on."""

    def __init__(self) -> None:
        self._at = time.monotonic()

    def __call__(self) -> None:
        """It gets on."""
        self._at = time.monotonic()

    def stalled(self) -> str:
        """A sentence when it does not get on; empty when it does."""
        silent = time.monotonic() - self._at
        return f"nothing was done for {silent:.0f} s" if silent > STALLED_SECONDS else ""


class AuditorProcess:
    """One auditor on one connection."""

    def __init__(self, client: Client, health: Health, progress: Progress) -> None:
        self._client = client
        self._health = health
        self._progress = progress
        self._jetstream = client.jetstream(timeout=JETSTREAM_SECONDS)
        self._clock = SystemClock()
        self._fleet = Fleet()
        self._auditor = Auditor(client, self._fleet, progress)
        self._told: dict[Name, int] = {}
        self._bucket: KeyValue | None = None
        self._orders = 0
        self._explained: set[tuple[str, str, str, str]] = set()

    async def run(self) -> None:
        """Follows the journals until it is cancelled."""
        await self._client.subscribe(subjects.MARKET_DATA_SUBJECTS, cb=self._market_data)
        discovered_ns = 0
        while True:
            now_ns = self._clock.now_ns()
            try:
                if now_ns - discovered_ns >= DISCOVER_NS:
                    await self._discover()
                    await self._remember()
                    discovered_ns = now_ns
                await self._auditor.round(now_ns)
                await self._tell()
                self._report(self._clock.now_ns(), "")
            except (NatsError, OSError, TimeoutError, JournalUnavailable) as error:
                log.warning("risk_auditor_interrupted", error=str(error) or type(error).__name__)
                self._report(self._clock.now_ns(), f"the bus does not answer ({error or type(error).__name__})")
                # A bus that has lost its disk has no bucket any more: the next round makes it again.
                self._bucket, discovered_ns = None, 0
            self._progress()
            await self._clock.wait_until(now_ns + ROUND_NS)

    # --- Journals and market data -----------------------------------------------------------------------------------

    async def _discover(self) -> None:
        """Every stream that holds a journal is one."""
        if self._bucket is None:
            self._bucket = await self._open_bucket()
        names: list[Name] = []
        offset = 0
        while streams := await self._jetstream.streams_info(offset):
            offset += len(streams)
            for stream in streams:
                if (stream.config.name or "").startswith(subjects.JOURNAL_STREAMS):
                    namespace, _, venue = str(stream.config.name).removeprefix(subjects.JOURNAL_STREAMS).partition("_")
                    names.append((namespace, venue))
        gone = self._auditor.followers.keys() - set(names)
        for name in self._auditor.found(names):
            await self._begin(name)
        for namespace, venue in gone:
            log.warning("risk_auditor_journal_gone", namespace=namespace, venue=venue)
            metrics.RISK_AUDITOR_LAG.remove(namespace, venue)

    async def _open_bucket(self) -> KeyValue:
        try:
            return await self._jetstream.key_value(subjects.RISK_AUDITOR_BUCKET)
        except BucketNotFoundError:
            wanted = subjects.bucket_config(subjects.RISK_AUDITOR_BUCKET, BUCKET_BYTES)
            await self._jetstream.add_stream(StreamConfig.from_response(wanted))
            return await self._jetstream.key_value(subjects.RISK_AUDITOR_BUCKET)

    async def _begin(self, name: Name) -> None:
        # Counters that begin at 0: an alert sees the first violation as a rise.
        for limit in (*KNOWN, *CONTROLS):
            metrics.RISK_AUDITOR_VIOLATIONS.labels(*name, limit)
            metrics.RISK_AUDITOR_NOT_JUDGED.labels(*name, limit)
        assert self._bucket is not None
        try:
            entry = await self._bucket.get(subjects.risk_auditor_key(*name))
            self._told[name] = int(entry.value or b"0")
        except (KeyNotFoundError, ValueError):
            self._told[name] = 0
        log.info("risk_auditor_begins", namespace=name[0], venue=name[1], told=self._told[name])

    async def _market_data(self, message: Msg) -> None:
        parts = message.subject.split(".")
        ledger = self._fleet.ledgers.get((parts[1], parts[2])) if len(parts) == 4 else None
        if ledger is None:
            return
        try:
            event = market_data_pb2.MarketData.FromString(message.data)
            ledger.marks.heard(event.sequence)
            if event.HasField("quote"):
                quote = event.quote
                bid, ask = decimal(quote.bid_price), decimal(quote.ask_price)
                ledger.marks.add(quote.instrument.symbol, Quote(event.published_unix_ns, bid, ask))
        except (DecodeError, ValueError) as error:
            # What was in force from now on is not known.
            ledger.marks.heard(0)
            log.warning("risk_auditor_market_data_unreadable", subject=message.subject, error=str(error))

    # --- What it says -----------------------------------------------------------------------------------------------

    async def _tell(self) -> None:
        """Tells each finding once, then remembers how far."""
        fleet = self._fleet
        metrics.RISK_AUDITOR_ORDERS.inc(fleet.orders - self._orders)
        self._orders = fleet.orders
        while fleet.unjudged:
            unjudged = fleet.unjudged.pop()
            metrics.RISK_AUDITOR_NOT_JUDGED.labels(*unjudged[:3]).inc()
            if unjudged not in self._explained:
                self._explained.add(unjudged)
                namespace, venue, limit, why = unjudged
                log.warning("risk_auditor_not_judged", namespace=namespace, venue=venue, limit=limit, why=why)
        told = bool(fleet.findings)
        while fleet.findings:
            await self._tell_one(fleet.findings[0])
            del fleet.findings[0]
        if told:
            await self._remember()

    async def _tell_one(self, finding: Finding) -> None:
        name = finding.namespace, finding.venue
        if finding.sequence <= self._told.get(name, 0) and finding.cl_ord_id:
            log.info("risk_auditor_violation_known", **finding.fields())
            return
        await self._client.publish(subjects.risk_finding(*name), finding.to_json())
        await self._client.flush()
        metrics.RISK_AUDITOR_VIOLATIONS.labels(*name, finding.limit).inc()
        log.error("risk_auditor_violation", **finding.fields())

    async def _remember(self) -> None:
        """Keeps how far each journal was told. What is told and not kept yet is told again after a restart."""
        for name in self._fleet.ledgers:
            judged = self._fleet.judged(name)
            if judged > self._told.get(name, 0) and self._bucket is not None:
                await self._bucket.put(subjects.risk_auditor_key(*name), str(judged).encode())
                self._told[name] = judged

    def _report(self, now_ns: int, problem: str) -> None:
        followers = self._auditor.followers
        late: list[str] = []
        for (namespace, venue), follower in followers.items():
            lag_ns = now_ns - follower.audited_ns if follower.audited_ns else now_ns
            metrics.RISK_AUDITOR_LAG.labels(namespace, venue).set(max(lag_ns - HOLD_NS, 0) / 1e9)
            if follower.problem:
                late.append(f"the journal of {namespace}/{venue}: {follower.problem}")
            elif lag_ns > BEHIND_NS:
                late.append(f"the journal of {namespace}/{venue} is {lag_ns / 1e9:.0f} s behind")
        why = problem or "; ".join(late)
        self._health.set_ready("journals", not why, why)
