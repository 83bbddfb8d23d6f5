"""A proxy before a real API server that spoils a share of the requests, each in one of the ways in which an overloaded
or restarting API server, its etcd, a load balancer or the network does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from enum import StrEnum
from pathlib import Path

import aiohttp
from aiohttp import web

from crowetrade_operator_tests.servers import ApiServer


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


_WRITES = (Fault.CONFLICT, Fault.THROTTLED, Fault.ERROR, Fault.REQUEST_LOST, Fault.ANSWER_LOST, Fault.SLOW)
# Of a read, no 409; and nobody makes a name twice that is of random letters.
_READS = _CREATIONS = _WRITES[1:]
_WATCHES = (Fault.THROTTLED, Fault.ERROR, Fault.REQUEST_LOST, Fault.WATCH_DROPPED, Fault.WATCH_GONE)
_STATUS = {Fault.CONFLICT: (409, "Conflict"), Fault.THROTTLED: (429, "TooManyRequests"), Fault.ERROR: (500, "Internal")}
_HOP = {"host", "connection", "transfer-encoding", "accept-encoding", "content-length", "content-encoding"}


class FaultProxy:
    """Spoils `share` of the requests (0 to 1), which a test may change at any time."""

    def __init__(self, server: ApiServer, seed: int, slow_seconds: float) -> None:
        self.share = 0.0
        self.next: list[Fault] = []
        """What becomes of the next requests, whatever the share."""
        self.spoiled: Counter[Fault] = Counter()
        self.too_early = 0
        """Requests that came again before the time that a Retry-After had named."""
        self.lease_seconds = 0.0
        """How much longer each request for a Lease takes."""
        self.asked = False
        """Whether anybody has asked for a Lease."""
        self.writes: list[float] = []
        """When requests came that change something other than a Lease, on the clock of the loop."""
        self._server = server
        self._rng = random.Random(seed)
        self._slow_seconds = slow_seconds
        self._not_before: dict[tuple[str, str], float] = {}
        self._session: aiohttp.ClientSession | None = None
        self._port = 0

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

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        # Before anything is waited for: the body of a client that has gone cannot be read.
        await request.read()
        fault = self._choose(request)
        if fault is not None:
            self.spoiled[fault] += 1
        place, now = (request.method, request.path), asyncio.get_running_loop().time()
        if "/leases/" in request.path:
            self.asked = True
            await asyncio.sleep(self.lease_seconds)
        elif request.method != "GET":
            self.writes.append(now)
        # A little earlier counts as obeyed: the two clocks start at different ends of the line.
        if now < self._not_before.pop(place, 0.0) - 0.05:
            self.too_early += 1
        if fault is Fault.THROTTLED:
            self._not_before[place] = now + 1.0
        if fault in _STATUS:
            return _status(*_STATUS[fault], {"Retry-After": "1"} if fault is Fault.THROTTLED else {})
        if fault is Fault.REQUEST_LOST:
            return _abort(request)
        if fault is Fault.SLOW:
            await asyncio.sleep(self._slow_seconds)
        return await self._forward(request, fault)

    def _choose(self, request: web.Request) -> Fault | None:
        if self.next:
            return self.next.pop(0)
        if self._rng.random() >= self.share:
            return None
        if request.query.get("watch") == "true":
            return self._rng.choice(_WATCHES)
        return self._rng.choice({"GET": _READS, "POST": _CREATIONS}.get(request.method, _WRITES))

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
        patience = self._rng.uniform(0.0, 2.0) if fault is not None else None
        with contextlib.suppress(TimeoutError, ConnectionError):
            async with asyncio.timeout(patience):
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
            return response
        if fault is Fault.WATCH_GONE:
            gone = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
            await response.write(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
            return response
        return _abort(request)


def _abort(request: web.Request) -> web.Response:
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


def _status(code: int, reason: str, headers: dict[str, str]) -> web.Response:
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason}
    return web.json_response({**body, "message": f"a fault of the test: {reason}"}, status=code, headers=headers)
