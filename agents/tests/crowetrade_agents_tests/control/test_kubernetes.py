"""What a KillSwitch at the API server asks a gateway for, and answers that no API server gives. The watch itself is
tested against a real one, in operator/tests."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import Channel, Kill, KillCommand, Rearm
from crowetrade_agents.control.kubernetes import FIRST_WAIT_SECONDS, ApiServer, KillSwitchWatch, command_of
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_process_tests.identity.authority import Authority

WAIT_SECONDS = 20
LIST = b'{"items": [], "metadata": {"resourceVersion": "7"}}'


def kill_switch(**spec: object) -> dict[str, Any]:
    metadata = {"namespace": "desk", "name": "stop", "uid": "u1", "generation": 3}
    return {"metadata": metadata, "spec": {"engaged": True, "reason": "drill", **spec}}


def test_an_engaged_one_stops() -> None:
    command = command_of(kill_switch(mode="Flatten"), 7)
    assert isinstance(command, Kill)
    assert (command.channel, command.received_ns) == (Channel.API, 7)
    order = command.order
    assert (order.namespace, order.name, order.uid, order.generation) == ("desk", "stop", "u1", 3)
    assert order.mode == kill_pb2.KILL_MODE_FLATTEN


def test_one_that_is_not_engaged_re_arms() -> None:
    assert command_of(kill_switch(engaged=False), 7) == Rearm("desk", "stop", "u1", 3, Channel.API)


@pytest.mark.parametrize(
    "item",
    [
        kill_switch(engaged=False, mode="of a newer version"),
        kill_switch(engaged="perhaps"),
        kill_switch() | {"spec": None},
        {"metadata": {"name": "stop", "namespace": "desk", "generation": "x"}, "spec": {}},
        {"metadata": "nonsense"},
        {},
    ],
)
def test_one_that_cannot_be_read_stops_everybody(item: dict[str, Any]) -> None:
    command = command_of(item, 7)
    assert isinstance(command, Kill)
    assert (command.order.mode, command.order.scope.namespaces_from) == (kill_pb2.KILL_MODE_CANCEL, "All")
    assert "cannot be read" in command.order.reason


class Answers(ThreadingHTTPServer):
    """Answers 200 with these bodies to a list and to a watch, over TLS; a watch without a body stays open."""

    daemon_threads = True
    list_body, watch_body = LIST, b""

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.closing = threading.Event()
        self.lists: list[float] = []


class _Handler(BaseHTTPRequestHandler):
    server: Answers

    def do_GET(self) -> None:
        watches = "watch=1" in self.path
        body = self.server.watch_body if watches else self.server.list_body
        if not watches:
            self.server.lists.append(time.monotonic())
        self.send_response(200)
        if not watches:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()
        if watches and not body:
            self.server.closing.wait()

    def log_message(self, format: str, *arguments: object) -> None:
        """Not to the output of the tests."""


@pytest.fixture
def account(tmp_path: Path) -> Path:
    """As Kubernetes mounts it for a service account, with the server's own certificate beside it."""
    authority = Authority()
    issued = authority.issue(dns_names=("localhost",))
    (tmp_path / "server.pem").write_bytes(issued.pem + issued.key_pem)
    (tmp_path / "ca.crt").write_bytes(authority.pem)
    (tmp_path / "token").write_text("a token")
    return tmp_path


@pytest.fixture
def server(account: Path) -> Iterator[Answers]:
    with Answers(account / "server.pem") as answers:
        thread = threading.Thread(target=answers.serve_forever)
        thread.start()
        yield answers
        answers.closing.set()
        answers.shutdown()
        thread.join()


async def _until(condition: Callable[[], bool], changed: asyncio.Event) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while not condition():
            changed.clear()
            await changed.wait()


@pytest.mark.parametrize(
    ("list_body", "watch_body", "told"),
    [
        (b"{}", b"", [False]),
        (b"[]", b"", [False]),
        (b"null", b"", [False]),
        (b'{"items": null, "metadata": {"resourceVersion": "7"}}', b"", [False]),
        (b'{"items": ["x"], "metadata": {"resourceVersion": "7"}}', b"", [False]),
        (b"not even JSON", b"", [False]),
        (LIST, b'{"type": "ADDED"}\n', [True, False]),
        (LIST, b'"x"\n', [True, False]),
        (LIST, b'{"type": "ERROR", "object": null}\n', [True, False]),
    ],
)
async def test_an_answer_that_makes_no_sense_is_told_and_the_watch_goes_on(
    server: Answers,
    account: Path,
    monkeypatch: pytest.MonkeyPatch,
    list_body: bytes,
    watch_body: bytes,
    told: list[bool],
) -> None:
    monkeypatch.setattr("crowetrade_agents.control.kubernetes.FIRST_WAIT_SECONDS", 0.05)
    server.list_body, server.watch_body = list_body, watch_body
    commands: list[KillCommand] = []
    watching: list[bool] = []
    changed = asyncio.Event()

    def note(problem: str) -> None:
        watching.append(not problem)
        changed.set()

    def put(command: KillCommand) -> None:
        commands.append(command)
        changed.set()

    address = ApiServer("localhost", server.server_port, account)
    with capture_logs() as logs:
        task = asyncio.create_task(KillSwitchWatch(address, "desk", put, note, SystemClock()).run())
        await _until(lambda: len(watching) >= len(told), changed)
        assert watching[: len(told)] == told
        server.list_body = b'{"items": [{"metadata": "nonsense"}], "metadata": {"resourceVersion": "8"}}'
        server.watch_body = b""
        await _until(lambda: bool(commands) and watching[-1], changed)
        task.cancel()
        await asyncio.wait({task})
    assert isinstance(commands[0], Kill)
    assert logs[0]["event"] == "kill_switches_not_watched"
    assert logs[0]["error"]


async def test_a_server_that_ends_each_watch_at_once_is_not_asked_without_a_pause(
    server: Answers, account: Path
) -> None:
    server.closing.set()
    changed = asyncio.Event()
    address = ApiServer("localhost", server.server_port, account)
    watch = KillSwitchWatch(address, "desk", lambda command: None, lambda problem: changed.set(), SystemClock())
    task = asyncio.create_task(watch.run())
    await _until(lambda: len(server.lists) >= 4, changed)
    task.cancel()
    await asyncio.wait({task})
    assert min(later - earlier for earlier, later in pairwise(server.lists)) >= 0.9 * FIRST_WAIT_SECONDS
