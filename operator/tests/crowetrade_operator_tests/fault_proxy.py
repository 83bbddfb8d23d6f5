"""A proxy before a real API server that spoils a share of the requests, each in one of the ways in which an overloaded
or restarting API server, its etcd, a load balancer or the network does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import ssl
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from crowetrade_operator_tests.servers import ApiServer
from crowetrade_process.stopping import cancelled


class Fault(StrEnum):
    """What becomes of one request."""

    CONFLICT = "409"
    THROTTLED = "429 with Retry-After"
    ERROR = "500"
    REQUEST_LOST = "connection closed before the request was carried out"
    ANSWER_LOST = "connection closed after the request was carried out"
    SLOW = "answered later than the client waits"
    WATCH_DROPPED = "a watch whose connection is closed"
    WATCH_GONE = "a watch that ends with 410 Gone"
    WATCH_REFUSED = "410 Gone instead of a watch"
    WATCH_EMPTY = "a watch that ends at once, without an event and without an error"
    WATCH_ENDED = "a watch that ends before its time, without an error"
    WATCH_FORBIDDEN = "403 instead of a watch"
    LIST_FORBIDDEN = "403 instead of a list"
    PAGE_GONE = "410 Gone instead of the next page of a list"


_WRITES = (Fault.CONFLICT, Fault.THROTTLED, Fault.ERROR, Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.SLOW)
# Of a read, no 409; and nobody makes a name twice that is of random letters.
_READS = _CREATIONS = _WRITES[1:]
_WATCHES = (Fault.THROTTLED, Fault.ERROR, Fault.REQUEST_LOST)
# How watches end, and how often. Each refusal makes kopf begin again with all that it watches.
_ENDS = {Fault.WATCH_DROPPED: 4, Fault.WATCH_GONE: 4, Fault.WATCH_REFUSED: 1}
BY_REQUEST = frozenset(
    {Fault.LIST_FORBIDDEN, Fault.PAGE_GONE, Fault.WATCH_EMPTY, Fault.WATCH_ENDED, Fault.WATCH_FORBIDDEN}
)
"""What happens only where a test asks for it: see refuse_list, end_watches, empty_watches and forbidden_watches."""
_STATUS = {
    Fault.CONFLICT: (409, "Conflict"),
    Fault.THROTTLED: (429, "TooManyRequests"),
    Fault.ERROR: (500, "Internal"),
    Fault.WATCH_REFUSED: (410, "Expired"),
    Fault.WATCH_FORBIDDEN: (403, "Forbidden"),
    Fault.LIST_FORBIDDEN: (403, "Forbidden"),
    Fault.PAGE_GONE: (410, "Expired"),
}
# What is kept of the audit trail is made without a name in the path; children are applied.
_KEPT = re.compile(r"/configmaps(/crowetrade-audit[^/]*)?$")
_HOP = {"host", "connection", "transfer-encoding", "accept-encoding", "content-length", "content-encoding"}


@dataclass(slots=True)
class HeldWrite:
    """A request that has reached the proxy and is not carried out before the test says so."""

    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _carry_out: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    _status: asyncio.Future[int] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def lose(self) -> None:
        """It never reaches the API server."""
        self._carry_out.set_result(False)

    async def carry_out(self) -> int:
        """It reaches the API server, whether who sent it still lives or not; returns the status of the answer."""
        self._carry_out.set_result(True)
        return await self._status

    async def is_carried_out(self) -> bool:
        """What the test says."""
        self.arrived.set()
        return await self._carry_out

    def answered(self, status: int) -> None:
        """What the API server says."""
        self._status.set_result(status)


class FaultProxy:
    """Spoils `share` of the requests (0 to 1), and all watches, which a test may change at any time."""

    def __init__(self, server: ApiServer, seed: int, slow_seconds: float) -> None:
        self.share = 0.0
        self.next: list[Fault] = []
        """What becomes of the next requests, whatever the share."""
        self.watch_seconds = 0.0
        """How long a watch lasts at most that begins from now on, until it ends in one of the ways above; 0: as long as
        the server and the client want."""
        self.empty_watches: frozenset[str] = frozenset()
        """The plurals of kinds whose watches end at once."""
        self.forbidden_watches: frozenset[str] = frozenset()
        """The plurals of kinds that nobody may watch, although they may be listed."""
        self.spoiled: Counter[Fault] = Counter()
        self.requests: Counter[str] = Counter()
        """How many came, watches under `watch`, and all others by their method."""
        self.too_early: list[str] = []
        """Requests that came again before the time that a Retry-After had named."""
        self.lease_seconds = 0.0
        """How much longer each request for a Lease takes."""
        self.asked = False
        """Whether anybody has asked for a Lease."""
        self.writes: list[float] = []
        """When requests came that change something that is worked on, on the clock of the loop: no Lease, and nothing
        that is kept of the audit trail."""
        self._server = server
        self._rng = random.Random(seed)
        self._slow_seconds = slow_seconds
        self._not_before: dict[tuple[str, ...], float] = {}
        self._session: aiohttp.ClientSession | None = None
        self._port = 0
        # By the plural of a kind.
        self._watches = defaultdict[str, set[asyncio.Future[Fault]]](set)
        self._held: dict[str, asyncio.Event] = {}
        # By the end of the path.
        self._held_writes: dict[str, HeldWrite] = {}
        self._refused = set[str]()
        # By the plural of a kind: what its next lists, or pages of lists, meet.
        self._lists = defaultdict[str, list[Fault]](list)

    def kubeconfig(self, folder: Path) -> Path:
        """Of the administrator, through this proxy."""
        path = self._server.at(self._port, folder)
        path.write_text(path.read_text().replace("https://", "http://"))
        return path

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[FaultProxy]:
        """Serves on a port of its own."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        app = web.Application(client_max_size=2**24)
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        connector = aiohttp.TCPConnector(ssl=context, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as self._session:
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            self._port = runner.addresses[0][1]
            try:
                yield self
            finally:
                await runner.cleanup()

    def end_watches(self, plural: str, fault: Fault) -> int:
        """Ends all watches of a kind now; a refusal is what the next one meets then. Returns how many there were."""
        ends = [end for end in self._watches[plural] if not end.done()]
        for end in ends:
            end.set_result(Fault.WATCH_DROPPED if fault is Fault.WATCH_REFUSED else fault)
        if fault is Fault.WATCH_REFUSED:
            self._refused.add(plural)
        return len(ends)

    def watches(self) -> dict[str, int]:
        """How many there are of each kind."""
        return {plural: len(ends) for plural, ends in self._watches.items() if ends}

    def refuse_list(self, plural: str, *faults: Fault) -> None:
        """What the next lists of a kind meet, and for PAGE_GONE the next that ask for another page."""
        self._lists[plural] += faults

    @contextlib.contextmanager
    def held(self, plural: str) -> Iterator[None]:
        """Meanwhile nobody who reads the kind gets an answer."""
        self._held[plural] = asyncio.Event()
        try:
            yield
        finally:
            self._held.pop(plural).set()

    def hold_write(self, path_end: str) -> HeldWrite:
        """Holds the next PATCH of what has such a path."""
        self._held_writes[path_end] = held = HeldWrite()
        return held

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        # Before anything is waited for: the body of a client that has gone cannot be read.
        body = await request.read()
        self.requests["watch" if request.query.get("watch") == "true" else request.method] += 1
        if request.method == "GET" and (held := self._held.get(_plural(request))) is not None:
            await held.wait()
        fault = self._choose(request)
        if fault is not None and fault not in (Fault.WATCH_DROPPED, Fault.WATCH_GONE):
            self.spoiled[fault] += 1
        now = asyncio.get_running_loop().time()
        # kopf and the operator itself may ask for the same; and of one collection for other objects (Cluster.find), or
        # make several in it at once.
        made = str(json.loads(body)["metadata"].get("name", "")) if request.method == "POST" else ""
        told = (made, *(request.query.get(name, "") for name in ("watch", "fieldSelector")))
        place = (request.method, request.path, *told, request.headers.get("User-Agent", ""))
        if "/leases/" in request.path:
            self.asked = True
            await asyncio.sleep(self.lease_seconds)
        elif request.method != "GET" and not _KEPT.search(request.path):
            self.writes.append(now)
            if request.method == "PATCH" and (write := self._taken(request.path)) is not None:
                return await self._hold(request, write)
        # A little earlier counts as obeyed: the two clocks start at different ends of the line.
        if now < self._not_before.pop(place, 0.0) - 0.05:
            self.too_early.append(" ".join(place))
        if fault is Fault.THROTTLED:
            self._not_before[place] = now + 1.0
        if fault in _STATUS:
            return _status(*_STATUS[fault], {"Retry-After": "1"} if fault is Fault.THROTTLED else {})
        if fault is Fault.REQUEST_LOST:
            return _abort(request)
        if fault is Fault.WATCH_EMPTY:
            return web.Response(content_type="application/json")
        if fault is Fault.SLOW:
            await asyncio.sleep(self._slow_seconds)
        return await self._forward(request, fault)

    def _taken(self, path: str) -> HeldWrite | None:
        end = next((end for end in self._held_writes if path.endswith(end)), None)
        return self._held_writes.pop(end) if end is not None else None

    async def _hold(self, request: web.Request, held: HeldWrite) -> web.StreamResponse:
        if not await held.is_carried_out():
            return _abort(request)
        answer = await self._forward(request, None)
        held.answered(answer.status)
        return answer

    def _choose(self, request: web.Request) -> Fault | None:
        if self.next:
            return self.next.pop(0)
        watch = request.query.get("watch") == "true"
        if watch and _plural(request) in self.empty_watches:
            return Fault.WATCH_EMPTY
        if watch and _plural(request) in self.forbidden_watches:
            return Fault.WATCH_FORBIDDEN
        if watch and _plural(request) in self._refused:
            self._refused.discard(_plural(request))
            return Fault.WATCH_REFUSED
        waits = self._lists.get(_plural(request))
        is_list = request.method == "GET" and not watch
        if is_list and waits and (waits[0] is not Fault.PAGE_GONE or "continue" in request.query):
            return waits.pop(0)
        if self._rng.random() < self.share:
            kinds = _WATCHES if watch else {"GET": _READS, "POST": _CREATIONS}.get(request.method, _WRITES)
            # What there was least often: a short run has some of each.
            return min(kinds, key=lambda fault: (self.spoiled[fault], self._rng.random()))
        if watch and self.watch_seconds:
            # What begins with all that there is, is never too old.
            ends = {fault: often for fault, often in _ENDS.items() if fault not in _STATUS or _version(request)}
            # A short run, too, has one that happens seldom.
            missing = [fault for fault in ends if not self.spoiled[fault] and fault in _STATUS]
            return missing[0] if missing else self._rng.choices(list(ends), list(ends.values()))[0]
        return None

    async def _forward(self, request: web.Request, fault: Fault | None) -> web.StreamResponse:
        assert self._session is not None
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP}
        timeout = aiohttp.ClientTimeout(total=None)
        async with self._session.request(
            request.method,
            self._server.url + request.path_qs,
            headers=headers,
            data=await request.read() or None,
            skip_auto_headers=("Content-Type", "User-Agent"),
            timeout=timeout,
        ) as answer:
            kept = {name: value for name, value in answer.headers.items() if name.lower() not in _HOP}
            if request.query.get("watch") == "true" and answer.status == 200:
                return await self._stream(request, answer, kept, fault)
            body = await answer.read()
            if fault is Fault.ANSWER_LOST:
                return _abort(request)
            return web.Response(status=answer.status, body=body, headers=kept)

    async def _stream(
        self, request: web.Request, answer: aiohttp.ClientResponse, headers: dict[str, str], fault: Fault | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=200, headers=headers)
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        end: asyncio.Future[Fault] = loop.create_future()
        if fault is not None:
            loop.call_later(self._rng.uniform(0.0, self.watch_seconds), _end, end, fault)
        copying = asyncio.create_task(_copy_lines(answer, response))
        watches = self._watches[_plural(request)]
        watches.add(end)
        try:
            await asyncio.wait(list[asyncio.Future[Any]]((copying, end)), return_when=asyncio.FIRST_COMPLETED)
        finally:
            watches.discard(end)
            await cancelled(copying)
        if not end.done():
            return response
        self.spoiled[end.result()] += 1
        if end.result() is Fault.WATCH_ENDED:
            return response
        if end.result() is Fault.WATCH_GONE:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            with contextlib.suppress(ConnectionError):
                await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return response
        return _abort(request)


def _plural(request: web.Request) -> str:
    """Of a request for a collection."""
    return request.path.rpartition("/")[2]


def _version(request: web.Request) -> str:
    return request.query.get("resourceVersion", "")


def _end(end: asyncio.Future[Fault], fault: Fault) -> None:
    if not end.done():
        end.set_result(fault)


async def _copy_lines(answer: aiohttp.ClientResponse, response: web.StreamResponse) -> None:
    """Whole lines, so that another one can follow at any time; until one of the two has gone."""
    rest = b""
    with contextlib.suppress(ConnectionError, aiohttp.ClientError):
        async for chunk in answer.content.iter_any():
            lines, newline, rest = (rest + chunk).rpartition(b"\n")
            if newline:
                await response.write(lines + newline)


def _abort(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _status(code: int, reason: str, headers: dict[str, str]) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return web.json_response({**body, "message": f"a fault of the test: {reason}"}, status=code, headers=headers)
