"""The bus: NATS with JetStream. Makes buckets and streams, puts GatewayConfigs, receives status messages.

The operator works without it: `connected` is false, what needs the bus raises BusUnavailable, and a new connection is
tried for ever: by us, not by the client, so that there is one loop and each failed try says why. After each connect
everything is ensured and put again, because the server may have been replaced by an empty one.

A replica that waits for the Lease is connected, too, and changes nothing: it keeps the last message of each gateway as
it came (inbox.py), and reads them when it leads. Who leads reads what has come a few milliseconds at a time, so that
ten thousand who report leave time for reconciles.

A GatewayConfig carries the epoch of the leader that wrote it and is written by compare-and-set: what a later leader
wrote is not replaced, whenever a write of an earlier one arrives. Each leader writes each configuration once, so that
its epoch is there; gateways see the revision that they have and do nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import nats
import nats.errors
import nats.js.errors
import structlog
from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2, kill_pb2
from crowetrade_operator import metrics
from crowetrade_operator.bus import allowances, audit, kills
from crowetrade_operator.bus.facts import gather
from crowetrade_operator.bus.inbox import Inbox, StatusClient, Unread
from crowetrade_operator.bus.news import GatewayNews, News
from crowetrade_operator.bus.reading import read_agent_status, read_gateway_status
from crowetrade_operator.bus.requirements import Fault, faults
from crowetrade_operator.bus.status_board import SUCCESSOR_SECONDS, StatusBoard
from crowetrade_operator.bus.stored import stored_entries
from crowetrade_operator.bus.streams import ensure_bucket, ensure_journal
from crowetrade_operator.errors import BusUnavailable, OperatorError
from crowetrade_operator.leadership import Alone, Leadership
from crowetrade_operator.settings import StreamSettings
from crowetrade_process.audit.chain import End
from crowetrade_process.identity.errors import IdentityUnavailable
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.nats import connect_options
from crowetrade_process.stopping import together

log = structlog.get_logger()

RETRY_SECONDS = 2.0
ENSURE_SECONDS = 60.0
CONNECT_SECONDS = 5.0
REQUEST_SECONDS = 5.0
CLOSE_SECONDS = 2.0
READ_SECONDS = 0.005
"""So long messages are read before others have their turn."""
_ERRORS = (nats.errors.Error, nats.js.errors.Error, TimeoutError, OSError, IdentityUnavailable)
_GATEWAY_SCHEMA = status_pb2.GatewayStatus.DESCRIPTOR.full_name
_AGENT_SCHEMA = status_pb2.AgentStatus.DESCRIPTOR.full_name
_KEPT_UNREAD = metrics.BUS_MESSAGES.labels(status_pb2.GatewayStatus.DESCRIPTOR.name, "unread")
_GATEWAYS_READ = metrics.BUS_MESSAGES.labels(status_pb2.GatewayStatus.DESCRIPTOR.name, "read")
_AGENTS_READ = metrics.BUS_MESSAGES.labels(status_pb2.AgentStatus.DESCRIPTOR.name, "read")
Stored = tuple[str, int, int]
"""What decides whether a GatewayConfig is put again: its revision, the fencing token on record, and its epoch."""
Place = tuple[str, str]
"""Namespace and name of a VenueConnection."""
GatewayListener = Callable[[str, str, GatewayNews], None]
AgentListener = Callable[[str, str, News], None]
"""Namespace and name of the venue (or strategy) whose state changed."""


DEFAULT_STREAMS = StreamSettings()


class Bus:
    """One connection for the life of the process."""

    def __init__(
        self,
        url: str,
        board: StatusBoard,
        identity: Identity | None = None,
        *,
        streams: StreamSettings = DEFAULT_STREAMS,
        leadership: Leadership | None = None,
        waits: bool = False,
    ) -> None:
        """With `waits` it is not used before `lead`."""
        self.url = url
        self._waits = waits
        self._receives_agents = False
        self._agents_since = 0.0
        self._inbox = Inbox(board.clock)
        self._leads = asyncio.Event()
        if not waits:
            self._leads.set()
        self._leadership: Leadership = leadership or Alone()
        self._identity = identity
        self._streams_wanted = streams
        self.board = board
        self.connected = False
        self.problem = "not connected yet"
        self.faults: tuple[Fault, ...] = ()
        """What this bus lacks, as of the last look."""
        self._client_error = ""
        self._client: StatusClient | None = None
        self._replaced: StatusClient | None = None
        """The connection before this one: answers to what was asked may still come by it."""
        self._shown: bytes | None = None
        """The certificate with which the connection was opened."""
        self._stream: JetStreamContext | None = None
        self._bucket: KeyValue | None = None
        self._kills: KeyValue | None = None
        self._allowances: KeyValue | None = None
        self._put: dict[str, Stored] = {}
        # None where there was nothing.
        self._configs: dict[str, config_pb2.GatewayConfig | None] = {}
        self._streams: set[str] = set()
        self._making = asyncio.Lock()
        self._gateway_listeners: list[GatewayListener] = []
        self._agent_listeners: list[AgentListener] = []
        self._connection_listeners: list[Callable[[], None]] = []
        self._fault_listeners: list[Callable[[], None]] = []
        self._wake = asyncio.Event()
        self._judging: asyncio.Task[None] | None = None

    def on_gateway(self, listener: GatewayListener) -> None:
        """Calls back when a gateway said something new."""
        self._gateway_listeners.append(listener)

    def on_agent(self, listener: AgentListener) -> None:
        """Calls back when an agent said something new."""
        self._agent_listeners.append(listener)

    def on_connection(self, listener: Callable[[], None]) -> None:
        """Calls back when the bus became usable or unusable."""
        self._connection_listeners.append(listener)

    def on_faults(self, listener: Callable[[], None]) -> None:
        """Calls back when the bus lacks something else than before."""
        self._fault_listeners.append(listener)

    async def run(self) -> None:
        """Connects, ensures, keeps both up, and reads what comes, until cancelled."""
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(self.close)
            if self._identity is not None:
                stack.callback(self._identity.on_change(self._wake.set))
                stack.callback(self._identity.on_revocation(self._judge_again))
            await together(self._stay_connected(), self._read_on())

    async def _stay_connected(self) -> None:
        while True:
            await self._once()
            is_up = self.connected or (self._waits and self._client is not None)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ENSURE_SECONDS if is_up else RETRY_SECONDS):
                    await self._wake.wait()
            self._wake.clear()

    def lead(self) -> None:
        """From now on it is used, and what gateways have just said is known."""
        self._waits = False
        self._forget_silent()
        while (unread := self._inbox.next()) is not None:
            self._take(unread)
        self._leads.set()
        self._wake.set()

    async def close(self) -> None:
        """Closes the connection."""
        await self._drop()
        self._mark(False, "closed")

    async def put_config(self, namespace: str, venue: str, config: config_pb2.GatewayConfig) -> bool:
        """Puts the config unless it is there already; returns whether it was written. Raises BusUnavailable, also when
        another one wrote at the same time or a later leader has written.

        The sequence on record rises with every order: it goes out with the next change, and at each new gateway.
        """
        key = subjects.gateway_config_key(namespace, venue)
        if self.connected and self._put.get(key) == _stored(config, self._leadership.epoch):
            return False
        bucket = self._usable()
        try:
            found, revision = await self._read(bucket, key)
            await self._lead_past(found)
            wanted = config_pb2.GatewayConfig()
            wanted.CopyFrom(config)
            wanted.epoch = self._leadership.epoch
            stored = _stored(wanted, wanted.epoch)
            if found is not None and _stored(found, found.epoch) == stored:
                self._put[key] = stored
                return False
            async with self._write():
                await bucket.update(key, wanted.SerializeToString(deterministic=True), last=revision)
        except _ERRORS as error:
            raise self._failed("put the gateway configuration", error) from error
        self._put[key] = stored
        self._configs[key] = wanted
        metrics.CONFIG_PUTS.inc()
        return True

    async def read_config(self, namespace: str, venue: str) -> None:
        """Looks once per connection what is on the bus for a gateway; see `config`."""
        key = subjects.gateway_config_key(namespace, venue)
        if key in self._configs or not self.connected:
            return
        try:
            await self._read(self._usable(), key)
        except _ERRORS as error:
            raise self._failed("read the gateway configuration", error) from error

    def config(self, namespace: str, venue: str) -> config_pb2.GatewayConfig | None:
        """What is on the bus for a gateway, as far as it was read or put."""
        return self._configs.get(subjects.gateway_config_key(namespace, venue))

    def config_is_known(self, namespace: str, venue: str) -> bool:
        """Whether it was looked at on this connection, and what is there can be read, or nothing is."""
        return subjects.gateway_config_key(namespace, venue) in self._configs

    async def ensure_journal(self, namespace: str, venue: str) -> None:
        """Makes the streams of a venue's journal. They outlive the VenueConnection, as the account does. Raises
        JournalRefused when there is no room, BusUnavailable."""
        name = subjects.journal_stream(namespace, venue)
        if name in self._streams:
            return
        try:
            # One after the other: each counts what those before it have reserved.
            async with self._making, self._write():
                self._usable()
                assert self._client is not None
                await ensure_journal(self._client, namespace, venue, self._streams_wanted)
        except _ERRORS as error:
            raise self._failed(f"make the journal stream of venue {venue}", error) from error
        self._streams.add(name)

    async def audit_ends(self) -> dict[str, End]:
        """Where the chain of each writer of the audit trail ends."""
        self._usable()
        assert self._stream is not None
        try:
            return await audit.ends(self._stream)
        except _ERRORS as error:
            raise self._failed("read the audit trail", error) from error

    async def audit_events_after(self, writer: str, place: int) -> AsyncIterator[audit_pb2.AuditEvent]:
        """What a writer of the audit trail has recorded after a place of its stream, oldest first."""
        self._usable()
        assert self._stream is not None
        try:
            async for event in audit.events_after(self._stream, writer, place):
                yield event
        except _ERRORS as error:
            raise self._failed("read the audit trail", error) from error

    async def has_audit_record(self, place: int, record_hash: bytes) -> bool:
        """Whether the record at a place of the audit trail's stream is the one with this hash."""
        self._usable()
        assert self._stream is not None
        try:
            return await audit.has_record(self._stream, place, record_hash)
        except _ERRORS as error:
            raise self._failed("read the audit trail", error) from error

    async def delete_config(self, namespace: str, venue: str) -> None:
        """Deletes the config: a gateway without one blocks every order."""
        key = subjects.gateway_config_key(namespace, venue)
        bucket = self._usable()
        try:
            found, revision = await self._read(bucket, key)
            await self._lead_past(found)
            if found is not None:
                async with self._write():
                    await bucket.delete(key, last=revision)
        except _ERRORS as error:
            raise self._failed("delete the gateway configuration", error) from error
        self._put.pop(key, None)
        self._configs.pop(key, None)

    async def configs(self, wanted: Callable[[Place], bool]) -> dict[Place, config_pb2.GatewayConfig | None]:
        """What is on the bus for gateways, by namespace and venue, of those that are wanted: each of these is read.
        None where it cannot be read."""
        bucket = self._usable()
        assert self._client is not None

        def is_wanted(key: str) -> bool:
            place = subjects.gateway_of_config_key(key)
            return place is not None and wanted(place)

        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                found = await stored_entries(self._client, bucket, subjects.CONFIG_BUCKET, ">", is_wanted)
        except _ERRORS as error:
            raise self._failed("list the gateway configurations", error) from error
        places = ((subjects.gateway_of_config_key(key), entry) for key, entry in found.items())
        return {place: _config(entry) for place, entry in places if place is not None}

    async def put_kill(self, order: kill_pb2.KillOrder, now_ns: int) -> bool:
        """Puts an engaged kill order unless it is there already; returns whether it was written."""
        bucket = self._usable_kills()
        try:
            async with self._write():
                return await kills.put(bucket, order, now_ns)
        except _ERRORS as error:
            raise self._failed(f"put the order of KillSwitch {order.name}", error) from error

    async def remove_kill(self, namespace: str, name: str, uid: str, generation: int) -> bool:
        """Takes away the order of a KillSwitch that is re-armed; returns whether there was one."""
        bucket = self._usable_kills()
        try:
            async with self._write():
                return await kills.remove(bucket, namespace, name, uid, generation)
        except _ERRORS as error:
            raise self._failed(f"take away the order of KillSwitch {name}", error) from error

    async def kill_orders(self) -> list[kill_pb2.KillOrder]:
        """All kill orders on the bus."""
        bucket = self._usable_kills()
        assert self._client is not None
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                return await kills.orders(self._client, bucket)
        except _ERRORS as error:
            raise self._failed("list the kill orders", error) from error

    async def release_shares(self, namespace: str, venue: str) -> int:
        """Takes away what the gateway of a venue that is gone holds of shared limits; returns of how many limits."""
        self._usable()
        assert self._client is not None
        assert self._allowances is not None
        try:
            async with self._write():
                return await allowances.release(self._client, self._allowances, namespace, venue)
        except _ERRORS as error:
            raise self._failed(f"take away the shares of venue {venue}", error) from error

    async def _once(self) -> None:
        replaced, self._replaced = self._replaced, None
        await self._close(replaced)
        try:
            if self._client is None or not self._client.is_connected:
                await self._drop()
                await self._open()
            elif self._certificate() != self._shown:
                await self._renew()
            assert self._client is not None
            if self._waits:
                self._forget_silent()
                return
            if not self._receives_agents:
                await self._subscribe_to_agents(self._client)
            await self._ensure()
        except _ERRORS as error:
            # "No servers" is what the client says when it gives up; why, it has said before.
            self._mark(False, self._client_error if isinstance(error, nats.errors.NoServersError) else _text(error))
            await self._drop()
        else:
            # First what it lacks: no resource is reported without it for a moment.
            self._found_faults(faults(await gather(self._client, self._identity is not None)))
            self._mark(True, "")

    async def _renew(self) -> None:
        """NATS ends the connection when the certificate ends that it was opened with, so another one takes its place
        before that. As long as none can be had, the present one is used."""
        before = self._client
        try:
            await self._open()
        except _ERRORS as error:
            log.warning("bus_connection_not_renewed", error=self._client_error or _text(error))
            return
        self._replaced = before
        log.info("bus_connection_renewed")

    async def _open(self) -> None:
        """From now on there is another connection."""
        certificate = self._certificate()
        client = await self._connect()
        self._client, self._shown = client, certificate
        self._stream = client.jetstream(timeout=REQUEST_SECONDS)
        # Its certificate may have been revoked after the handshake: `_judge_again` did not know this connection yet.
        await client.judge_server_again()

    async def _connect(self) -> StatusClient:
        """A connection that answers."""
        client = StatusClient(self._keep, self._identity)

        async def on_disconnect() -> None:
            self._on_disconnect(client)

        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.connect(
                    servers=[self.url],
                    name="crowetrade-operator",
                    connect_timeout=2,
                    # It counts the tries of the first connection, too, and ends them when there were more than this.
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    allow_reconnect=False,
                    ping_interval=10,
                    max_outstanding_pings=2,
                    error_cb=self._on_error,
                    disconnected_cb=on_disconnect,
                    **connect_options(self._identity),
                )
                await client.receive(subjects.GATEWAY_STATUS_SUBJECTS)
                self._receives_agents = False
                if not self._waits:
                    await self._subscribe_to_agents(client)
                await client.flush()
        except _ERRORS:
            await self._close(client)
            raise
        return client

    def _certificate(self) -> bytes | None:
        return self._identity.credentials.chain_pem if self._identity is not None else None

    async def _drop(self) -> None:
        """Closes what is left of connections."""
        left = (self._client, self._replaced)
        self._client = self._replaced = None
        for client in left:
            await self._close(client)

    async def _close(self, client: Client | None) -> None:
        """A server that does not answer does not hold us up."""
        if client is not None:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await client.close()

    async def _ensure(self) -> None:
        """The buckets as wanted, whatever is there now."""
        assert self._stream is not None
        # Somebody else may have changed them: the next call looks again.
        self._put.clear()
        self._streams.clear()
        self._bucket = await ensure_bucket(self._stream, subjects.CONFIG_BUCKET, self._streams_wanted)
        self._kills = await ensure_bucket(self._stream, subjects.KILL_BUCKET, self._streams_wanted)
        self._allowances = await ensure_bucket(self._stream, subjects.ALLOWANCE_BUCKET, self._streams_wanted)
        await audit.ensure_stream(self._stream, self._streams_wanted)

    async def _subscribe_to_agents(self, client: StatusClient) -> None:
        await client.receive(subjects.AGENT_STATUS_SUBJECTS)
        self._receives_agents, self._agents_since = True, self.board.clock()

    def received_agents_for(self, seconds: float) -> bool:
        """Whether every agent that works has had so long to say so."""
        return self.connected and self._receives_agents and self.board.clock() - self._agents_since >= seconds

    def _keep(self, subject: str, schema: str, data: bytes) -> None:
        replaced = self._inbox.keep(subject, schema, data)
        if self._waits:
            _KEPT_UNREAD.inc()  # agents are not heard yet
        elif replaced:
            metrics.BUS_MESSAGES.labels(_label(schema), "replaced").inc()

    async def _read_on(self) -> None:
        """Reads what is kept until cancelled, in turn with everybody else's work."""
        await self._leads.wait()
        while True:
            await self._inbox.wait()
            until = time.monotonic() + READ_SECONDS
            while time.monotonic() < until and (unread := self._inbox.next()) is not None:
                try:
                    self._take(unread)
                except Exception:  # the top of a loop, and whatever a listener raises: log, count, go on
                    metrics.BUS_MESSAGES.labels(_label(unread.schema), "broke").inc()
                    log.exception("status_message_broke", subject=unread.subject)
            await asyncio.sleep(0)

    def _forget_silent(self) -> None:
        """Of those who have ended, or are gone, nothing is kept."""
        self._inbox.forget(self.board.clock() - SUCCESSOR_SECONDS)

    def _take(self, unread: Unread) -> None:
        try:
            if unread.schema == _AGENT_SCHEMA:
                self._agent_reported(read_agent_status(unread.data), unread.at)
                _AGENTS_READ.inc()
            elif unread.schema == _GATEWAY_SCHEMA:
                self._gateway_reported(read_gateway_status(unread.data), unread.at)
                _GATEWAYS_READ.inc()
            else:
                raise DecodeError(f"the schema {unread.schema} is not one of a status")
        except DecodeError as error:
            metrics.BUS_MESSAGES.labels(_label(unread.schema), "unreadable").inc()
            log.warning("status_message_unreadable", subject=unread.subject, error=str(error))

    def _gateway_reported(self, status: status_pb2.GatewayStatus, at: float) -> None:
        news = self.board.record_gateway_status(status, at)
        if news:
            for listener in self._gateway_listeners:
                listener(status.namespace, status.venue, news)

    def _agent_reported(self, status: status_pb2.AgentStatus, at: float) -> None:
        news = self.board.record_agent_status(status, at)
        if news is not News.NOTHING:
            for listener in self._agent_listeners:
                listener(status.namespace, status.strategy, news)

    def _found_faults(self, found: tuple[Fault, ...]) -> None:
        if found == self.faults:
            return
        self.faults = found
        metrics.BUS_FAULTS.clear()
        for fault in found:
            metrics.BUS_FAULTS.labels(fault.reason.value).set(1)
            log.warning("bus_deficient", reason=fault.reason.value, text=fault.text)
        for listener in self._fault_listeners:
            listener()

    def _mark(self, connected: bool, problem: str) -> None:
        changed = connected != self.connected
        self.connected, self.problem = connected, problem
        metrics.BUS_CONNECTED.set(connected)
        if not changed:
            return
        self._put.clear()
        self._configs.clear()
        self._streams.clear()
        log.info("bus connected" if connected else "bus unavailable", url=self.url, problem=problem)
        for listener in self._connection_listeners:
            listener()

    def _usable(self) -> KeyValue:
        if not self.connected or self._bucket is None:
            raise BusUnavailable(f"NATS at {self.url} cannot be used: {self.problem}")
        return self._bucket

    def _usable_kills(self) -> KeyValue:
        self._usable()
        assert self._kills is not None
        return self._kills

    def _failed(self, what: str, error: Exception) -> BusUnavailable:
        self._wake.set()
        return BusUnavailable(f"could not {what} at NATS {self.url}: {_text(error)}")

    async def _read(self, bucket: KeyValue, key: str) -> tuple[config_pb2.GatewayConfig | None, int]:
        """What is under a key, and its revision: no configuration where there was none or it was deleted, an empty one
        where it cannot be read."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                entry = await bucket.get(key)
        except nats.js.errors.KeyNotFoundError as error:
            self._configs[key] = None
            return None, (error.entry.revision or 0) if error.entry is not None else 0
        found = _config(entry)
        if found is None:
            self._configs.pop(key, None)
            return config_pb2.GatewayConfig(), entry.revision or 0
        self._configs[key] = found
        return found, entry.revision or 0

    async def _lead_past(self, found: config_pb2.GatewayConfig | None) -> None:
        """Does nothing unless a later leader has written: then the Lease says who leads."""
        if found is None or found.epoch <= self._leadership.epoch:
            return
        try:
            await self._leadership.raise_epoch(found.epoch)
        except OperatorError as error:
            raise BusUnavailable(f"the leader of epoch {found.epoch} has written: {error}") from error

    @contextlib.asynccontextmanager
    async def _write(self) -> AsyncIterator[None]:
        """Around a write: it is over before another one may lead."""
        left = self._leadership.seconds_left()
        if left <= 0.0:
            raise BusUnavailable("not written: the Lease may be another's")
        async with asyncio.timeout(min(REQUEST_SECONDS, left)):
            yield

    async def _on_error(self, error: Exception) -> None:
        self._client_error = _text(error)
        log.debug("bus", error=self._client_error)

    def _judge_again(self) -> None:
        if self._client is not None:
            self._judging = asyncio.get_running_loop().create_task(self._client.judge_server_again())

    def _on_disconnect(self, client: Client) -> None:
        if self._client is client:  # and it was not us who closed it
            self._mark(False, "connection lost, connecting again")
            self._wake.set()


def _label(schema: str) -> str:
    """For metrics, which must not have as many values as senders can think of."""
    return schema.rpartition(".")[2] if schema in (_AGENT_SCHEMA, _GATEWAY_SCHEMA) else "unknown"


def _config(entry: KeyValue.Entry) -> config_pb2.GatewayConfig | None:
    try:
        return config_pb2.GatewayConfig.FromString(entry.value or b"")
    except DecodeError:
        return None


def _text(error: Exception) -> str:
    """Some errors of asyncio have no text."""
    return str(error) or type(error).__name__


def _stored(config: config_pb2.GatewayConfig, epoch: int) -> Stored:
    """Cleared halts are part of the revision."""
    return config.revision, config.on_record.fencing_token, epoch
