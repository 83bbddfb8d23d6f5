"""The webhook, which every replica of the operator serves, also one that does not lead."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import itertools
import time
from pathlib import Path

import structlog
from aiohttp import web

from crowetrade.audit.v1 import audit_pb2
from crowetrade_operator import metrics
from crowetrade_operator.admission.keys import ServedKeys, path_of, read
from crowetrade_operator.admission.review import answer
from crowetrade_operator.errors import ReviewUnreadable
from crowetrade_process.audit.trail import Trail

log = structlog.get_logger()

REQUEST_BYTES = 4 * 1024 * 1024
"""More than what etcd takes by default of an object before and after a change (1.5 MiB each)."""
HANDSHAKE_SECONDS = 5.0
LOOK_SECONDS = 2.0
SAME_SECONDS = 5.0
"""The API server asks once more when the object changes under its hands; that is no other request."""
MAX_CONNECTIONS = 256
"""Beyond it the oldest that carries no question makes room: the API server opens another one when it needs it.

More than the changes that an API server has under way by default (200, --max-mutating-requests-inflight), each of which
may come on a connection of its own, because one that is open carries no question until its first line is read."""


class Webhook:
    """Records who asks the API server to change or delete one of our resources."""

    def __init__(self, directory: Path, port: int, trail: Trail) -> None:
        """`directory`: where the Secret is mounted. `port` 0 lets the system choose."""
        self._directory = directory
        self._trail = trail
        self._token = b""
        # What it was asked about each uid last and when, oldest first.
        self._recorded: dict[str, tuple[bytes, float]] = {}
        # Connections that carry a question of who knows the token.
        self._asking: set[asyncio.Protocol] = set()
        self.port = port

    async def run(self) -> None:
        """Serves until cancelled, from when the Secret is there: Kubernetes mounts it a while after it is made.

        Raises OSError when the port is taken."""
        metrics.ADMISSION_SERVED.set(0)
        keys = await self._keys()
        self._token = keys.token.encode()
        application = web.Application(client_max_size=REQUEST_BYTES)
        application.add_routes([web.post(path_of("{token}"), self._review)])
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        server = runner.server
        assert server is not None

        def connected() -> asyncio.Protocol:
            there = server.connections
            if len(there) >= MAX_CONNECTIONS:
                idle = (one for one in there if one not in self._asking)
                for oldest in itertools.islice(idle, len(there) - MAX_CONNECTIONS + 1):
                    oldest.force_close()
            return server()

        try:
            listening = await asyncio.get_running_loop().create_server(
                connected, None, self.port, ssl=keys.context, ssl_handshake_timeout=HANDSHAKE_SECONDS
            )
            self.port = listening.sockets[0].getsockname()[1]
            log.info("admission_served", port=self.port)
            metrics.ADMISSION_SERVED.set(1)
            async with listening:
                await listening.serve_forever()
        finally:
            metrics.ADMISSION_SERVED.set(0)
            await runner.cleanup()

    def _is_new(self, event: audit_pb2.AuditEvent) -> bool:
        """Whether the question before this one about the same resource was another one. Only that one counts: who
        changes something, back, and again, asks three times."""
        now = time.monotonic()
        while self._recorded and now - next(iter(self._recorded.values()))[1] >= SAME_SECONDS:
            del self._recorded[next(iter(self._recorded))]
        asked = hashlib.sha256(event.SerializeToString(deterministic=True)).digest()
        before, _ = self._recorded.pop(event.uid, (b"", 0.0))
        self._recorded[event.uid] = asked, now
        return asked != before

    async def _keys(self) -> ServedKeys:
        problem = ""
        while True:
            try:
                if (found := read(self._directory)) is not None:
                    return found
                why = f"there are no keys in {self._directory}: the chart's hook crowetrade-admission makes them"
            except (OSError, ValueError) as error:
                why = f"the keys in {self._directory} cannot be used: {error}"
            if why != problem:
                log.warning("admission_not_served", error=why)
            problem = why
            await asyncio.sleep(LOOK_SECONDS)

    async def _review(self, request: web.Request) -> web.Response:
        if not hmac.compare_digest(request.match_info["token"].encode(), self._token):
            metrics.ADMISSION_REVIEWS.labels(result="Stranger").inc()
            raise web.HTTPNotFound
        connection = request.protocol
        self._asking.add(connection)
        try:
            return await self._answered(request)
        finally:
            self._asking.discard(connection)

    async def _answered(self, request: web.Request) -> web.Response:
        try:
            reply, event = answer(await request.read())
        except ReviewUnreadable as error:
            metrics.ADMISSION_REVIEWS.labels(result="Unreadable").inc()
            raise web.HTTPBadRequest(text=str(error)) from None
        except web.HTTPRequestEntityTooLarge:
            metrics.ADMISSION_REVIEWS.labels(result="Unreadable").inc()
            raise
        is_new = event is not None and self._is_new(event)
        metrics.ADMISSION_REVIEWS.labels(result="Recorded" if is_new else "Nothing").inc()
        if event is not None and is_new:
            self._trail.record(event)
        return web.Response(body=reply, content_type="application/json")
