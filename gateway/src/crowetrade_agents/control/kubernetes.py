"""The gateway's own watch of KillSwitches at the API server: it needs neither the operator nor the bus.

A list, then a watch from there; when the watch ends, which the server does each WATCH_SECONDS, another list. So nothing
stays missed for longer, and a token that was renewed is used. A deleted object stays in force, and one that cannot be
read counts as engaged. It runs in a thread with the HTTP client of the standard library, which the process has loaded
anyway; an asynchronous client would cost more memory than all kill orders together.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import structlog
from pydantic import ValidationError

from crowetrade_agents.control.kills import Channel, Kill, KillCommand, Rearm, everything
from crowetrade_agents.domain.clock import Clock
from crowetrade_api.kill_order import kill_order
from crowetrade_api.names import GROUP, VERSION
from crowetrade_api.v1alpha1.killswitch import KillSwitch, UnreadableKillSwitch
from crowetrade_api.v1alpha1.meta import read

WATCH_SECONDS = 60
CONNECT_SECONDS = 5.0
SILENCE_SECONDS = WATCH_SECONDS + 15.0
"""The server ends a watch before; one that is silent for longer has lost its peer."""
KEEPALIVE_SECONDS, KEEPALIVE_PROBES = 5, 3
PAGE = 500
FIRST_WAIT_SECONDS, LAST_WAIT_SECONDS = 0.5, 15.0
STOP_SECONDS = 2.0
GONE = 410
"""HTTP status of a watch from a version that the server has no more."""

Object = dict[str, Any]

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ApiServer:
    """Address, and the directory with `token` and `ca.crt` of the service account."""

    host: str
    port: int
    account: Path


class _Refused(Exception):
    """The API server answered with an error."""


_EXPECTED = (OSError, http.client.HTTPException, ValueError, _Refused)


class KillSwitchWatch:
    """Of one namespace; of all without one. `put` and `watching` are called in the event loop of `run`; `watching` gets
    the problem, empty while it watches."""

    def __init__(
        self,
        server: ApiServer,
        namespace: str,
        put: Callable[[KillCommand], None],
        watching: Callable[[str], None],
        clock: Clock,
    ) -> None:
        within = f"/namespaces/{namespace}" if namespace else ""
        self._path = f"/apis/{GROUP}/{VERSION}{within}/killswitches"
        self._server = server
        self._put = put
        self.watching = watching
        self._clock = clock
        self._stopping = threading.Event()
        self._socket: socket.socket | None = None

    async def run(self) -> None:
        """Watches until it is cancelled."""
        loop, ended = asyncio.get_running_loop(), asyncio.Event()

        def tell(call: Callable[[], None]) -> None:
            # The loop is closed when the process ends before its thread has.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(call)

        def work() -> None:
            self._work(tell)
            tell(ended.set)

        threading.Thread(target=work, name="kill-switches", daemon=True).start()
        try:
            await asyncio.Event().wait()
        finally:
            self._stopping.set()
            self._interrupt()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), STOP_SECONDS)

    def _interrupt(self) -> None:
        """Ends a read that waits."""
        found = self._socket
        if found is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(found, socket.SHUT_RDWR)

    # In the thread

    def _work(self, tell: Callable[[Callable[[], None]], None]) -> None:
        wait = FIRST_WAIT_SECONDS
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                for command in self._list_and_watch():
                    if command is None:
                        wait = FIRST_WAIT_SECONDS
                        tell(lambda: self.watching(""))
                    else:
                        tell(partial(self._put, command))
                # A server that ends each watch at once is not asked without a pause.
                self._stopping.wait(max(0.0, began + FIRST_WAIT_SECONDS - time.monotonic()))
            except Exception as error:  # noqa: BLE001 (the top of the thread: an answer of any shape must not end it)
                if self._stopping.is_set():
                    return
                text = str(error) if isinstance(error, _EXPECTED) else f"the answer makes no sense: {error!r}"
                problem = text or type(error).__name__
                _log.warning("kill_switches_not_watched", error=problem)
                tell(partial(self.watching, problem))
                self._stopping.wait(wait)
                wait = min(2 * wait, LAST_WAIT_SECONDS)

    def _list_and_watch(self) -> Iterator[KillCommand | None]:
        """What each object asks for, then None, then each change until the server ends the watch."""
        connection = self._connect()
        try:
            items, version = self._list(connection)
            yield from (command_of(item, self._clock.now_ns()) for item in items)
            yield None
            for event in self._watch(connection, version):
                if event["type"] in ("ADDED", "MODIFIED"):
                    yield command_of(event["object"], self._clock.now_ns())
                elif event["type"] == "ERROR":
                    if event["object"].get("code") != GONE:
                        raise _Refused(event["object"].get("message", "the watch failed"))
                    return
        finally:
            self._socket = None
            connection.close()

    def _connect(self) -> http.client.HTTPSConnection:
        context = ssl.create_default_context(cafile=str(self._server.account / "ca.crt"))
        connection = http.client.HTTPSConnection(
            self._server.host, self._server.port, timeout=CONNECT_SECONDS, context=context
        )
        connection.connect()
        self._socket = connection.sock
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
            connection.sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), KEEPALIVE_SECONDS)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)
        return connection

    def _list(self, connection: http.client.HTTPSConnection) -> tuple[list[Object], str]:
        items: list[Object] = []
        page: Object = {}
        while True:
            following = page.get("metadata", {}).get("continue", "")
            asked = {"limit": str(PAGE), **({"continue": following} if following else {})}
            page = json.loads(self._get(connection, asked).read())
            items += page["items"]
            if not page["metadata"].get("continue"):
                return items, page["metadata"]["resourceVersion"]

    def _watch(self, connection: http.client.HTTPSConnection, version: str) -> Iterator[Object]:
        asked = {"watch": "1", "resourceVersion": version, "timeoutSeconds": str(WATCH_SECONDS)}
        answer = self._get(connection, asked)
        connection.sock.settimeout(SILENCE_SECONDS)
        while line := answer.readline():
            yield json.loads(line)

    def _get(self, connection: http.client.HTTPSConnection, asked: Mapping[str, str]) -> http.client.HTTPResponse:
        token = (self._server.account / "token").read_text(encoding="utf-8").strip()
        connection.request("GET", f"{self._path}?{urlencode(asked)}", headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            said = answer.read(4096).decode(errors="replace")
            raise _Refused(f"the API server answered {answer.status} to a list of killswitches: {said}")
        return answer


def command_of(item: Object, now_ns: int) -> KillCommand:
    """What a KillSwitch asks for."""
    try:
        switch = read(item, KillSwitch, UnreadableKillSwitch)
    except ValidationError as error:
        # Not even its metadata can be read.
        metadata = item.get("metadata")
        known = metadata if isinstance(metadata, dict) else {}
        namespace, name = str(known.get("namespace", "")), str(known.get("name", ""))
        text = f"KillSwitch {name} cannot be read ({error.errors()[0]['msg']}), which counts as engaged"
        return Kill(everything(namespace, name, text), Channel.API, now_ns)
    order = kill_order(switch)
    if order is not None:
        return Kill(order, Channel.API, now_ns)
    return Rearm(switch.namespace, switch.name, switch.metadata.uid, switch.metadata.generation)
