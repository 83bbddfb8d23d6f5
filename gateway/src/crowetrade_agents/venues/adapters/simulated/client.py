"""The simulated venue of another process, as a VenuePort over TCP (server.py)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace
from crowetrade_agents.venues.adapters.simulated import requests
from crowetrade_agents.venues.adapters.simulated.codec import frame, read_frame
from crowetrade_agents.venues.adapters.simulated.requests import Query, Request
from crowetrade_agents.venues.adapters.simulated.sender import Sender
from crowetrade_agents.venues.adapters.simulated.spec import API_KEY, features
from crowetrade_agents.venues.adapters.simulated.wire import (
    LoggedOn,
    Logon,
    Recall,
    Refused,
    Release,
    Renew,
    Renewed,
    ToClient,
)
from crowetrade_agents.venues.port import (
    LogonRefused,
    Resume,
    SessionChanged,
    SessionState,
    VenueEvent,
    VenueFeatures,
    VenueSnapshot,
    VenueUnavailable,
)
from crowetrade_agents.venues.registry import AdapterContext

TYPE = "SimulatedServer"
CONNECT_SECONDS = 10
MAX_WAITING = 10_000
"""Events that wait for the gateway; then nothing more is read from the connection."""


@dataclass(frozen=True, slots=True)
class ServerSpec:
    """Where the server is, and how fast it replays its recording; `speed` as in SimulatedSpec."""

    port: int
    host: str = "127.0.0.1"
    speed: Decimal | None = Decimal(1)


def make(spec: ServerSpec, context: AdapterContext) -> SimulatedServerVenue:
    """The factory for the registry."""
    return SimulatedServerVenue(spec, context)


class SimulatedServerVenue:
    """Implements VenuePort."""

    def __init__(self, spec: ServerSpec, context: AdapterContext) -> None:
        self._spec = spec
        self._context = context
        self._writer: asyncio.StreamWriter | None = None
        self._sender: Sender | None = None
        self._reading: asyncio.Task[None] | None = None
        self._waiting: deque[VenueEvent] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._renewal: asyncio.Future[Renewed | Refused] | None = None
        self._closed = False

    @property
    def features(self) -> VenueFeatures:
        """What it can do."""
        return features(self._spec.speed, positions=True)

    async def connect(self, resume: Resume) -> VenueSnapshot:
        """Logs on over a new connection. Raises LogonRefused and VenueUnavailable."""
        await self._drop()
        self._waiting.clear()
        writer: asyncio.StreamWriter | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(self._spec.host, self._spec.port)
                writer.write(frame(Logon(resume, self._context.credentials().get(API_KEY))))
                answer: Any = await read_frame(reader, ToClient)
        except (OSError, ValueError, KeyError) as error:
            if writer is not None:
                writer.close()
            raise VenueUnavailable(
                f"the venue's server cannot be reached, or does not answer the logon: {error or 'no answer'}"
            ) from error
        if not isinstance(answer, LoggedOn):
            writer.close()
            if isinstance(answer, Refused):
                raise LogonRefused(answer.text)
            raise VenueUnavailable("the venue's server closed the connection instead of answering the logon")
        self._writer = writer
        self._sender = Sender(writer.get_extra_info("socket"), self._not_sent_in_time)
        self._reading = asyncio.create_task(self._read(reader, writer))
        return answer.snapshot

    async def renew(self) -> None:
        """Logs on again over the same connection, between what is sent before and after. Raises LogonRefused and
        VenueUnavailable."""
        if self._sender is None:
            raise VenueUnavailable("there is no connection to the venue's server")
        key = self._context.credentials().get(API_KEY)
        self._renewal = asyncio.get_running_loop().create_future()
        try:
            self._sender.send(Renew(key))
            async with asyncio.timeout(CONNECT_SECONDS):
                answer = await self._renewal
        except TimeoutError as error:
            raise VenueUnavailable("the venue's server does not answer the new logon") from error
        finally:
            self._renewal = None
        if isinstance(answer, Refused):
            raise LogonRefused(answer.text)

    async def events(self) -> AsyncIterator[VenueEvent]:
        """Everything that the server sends, over all connections."""
        while not self._closed:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            self._room.set()
            yield self._waiting.popleft()

    def submit(self, order: ApprovedOrder) -> None:
        """Hands an order over."""
        self._send(requests.of(order))

    def cancel(self, cancel: ApprovedCancel) -> None:
        """Hands a cancel over."""
        self._send(requests.of(cancel))

    def replace(self, replace: ApprovedReplace) -> None:
        """Hands a cancel/replace over."""
        self._send(requests.of(replace))

    def query(self, cl_ord_id: str, order_id: str, instrument: InstrumentId) -> None:
        """Asks what became of an order."""
        self._send(Query(cl_ord_id, order_id, instrument))

    def recall(self, since_ns: int) -> None:
        """Asks for the executions since then."""
        if self._sender is not None:
            self._sender.send(Recall(since_ns))

    def release(self, sequence: int) -> None:
        """In lock step: market data up to this sequence is handled."""
        if self._sender is not None:
            self._sender.send(Release(sequence))

    async def close(self) -> None:
        """Closes the connection and ends `events`."""
        self._closed = True
        self._arrived.set()
        await self._drop()

    def _send(self, request: Request) -> None:
        if self._sender is not None:
            self._sender.send(request)
        else:
            self._not_sent(request, "there is no connection to the venue")

    def _not_sent_in_time(self, request: Request) -> None:
        self._not_sent(request, "the gateway was frozen before it had left: decide again")

    def _not_sent(self, request: Request, text: str) -> None:
        unsent = requests.not_sent(request, text, self._context.clock.now_ns())
        if unsent is not None:
            self._put(unsent)

    def _put(self, event: VenueEvent) -> None:
        self._waiting.append(event)
        self._arrived.set()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = "the connection to the venue is over"
        try:
            while (message := await read_frame(reader, ToClient)) is not None:
                if isinstance(message, Renewed | Refused):
                    self._answer_renewal(message)
                    continue
                self._put(message)
                while len(self._waiting) > MAX_WAITING:
                    self._room.clear()
                    await self._room.wait()
        except (ValueError, KeyError, TypeError) as error:
            text = f"the venue sent what cannot be read: {error!r}"
        self._end(writer)
        if self._renewal is not None and not self._renewal.done():
            self._renewal.set_exception(VenueUnavailable(text))
        self._put(SessionChanged(SessionState.DISCONNECTED, text))

    def _answer_renewal(self, answer: Renewed | Refused) -> None:
        if self._renewal is not None and not self._renewal.done():
            self._renewal.set_result(answer)

    async def _drop(self) -> None:
        """The connection ends without a word about it."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])
        if self._writer is not None:
            self._end(self._writer)

    def _end(self, writer: asyncio.StreamWriter) -> None:
        if self._sender is not None:
            self._sender.close()
        self._writer = self._sender = None
        writer.close()
