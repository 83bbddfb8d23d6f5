"""The page's server over real sockets, without a browser."""

from __future__ import annotations

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from crowetrade_cli.errors import Failed
from crowetrade_cli.web.feed import FAREWELL_SECONDS, HEARTBEAT_SECONDS, Feed
from crowetrade_cli.web.server import LOOPBACK, PageServer
from crowetrade_process.http_server import EXCHANGE_SECONDS

PATIENCE_SECONDS = 20


@dataclass
class Served:
    """A feed and where it is served."""

    feed: Feed
    port: int

    def get(self, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        """The answer to one request."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=PATIENCE_SECONDS)
        connection.request(method, path, headers=headers)
        return connection.getresponse()

    def events(self) -> Iterator[tuple[str, Any]]:
        """Kind and data of each event that a browser is sent; a comment is the kind `comment`."""
        kind = ""
        with self.get("/events") as answer:
            assert answer.headers["Content-Type"] == "text/event-stream"
            for line in answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    kind = value
                elif name == "data":
                    yield kind, json.loads(value)
                elif line.startswith(b":"):
                    yield "comment", None


@contextmanager
def _serving() -> Iterator[Served]:
    feed = Feed()
    server = PageServer(feed, 0)
    server.start()
    yield Served(feed, int(server.address.rstrip("/").rpartition(":")[2]))
    feed.end()
    server.stop()


@pytest.fixture(scope="module")
def standing() -> Iterator[Served]:
    """For tests that put nothing into its feed."""
    with _serving() as served:
        yield served


@pytest.fixture
def served() -> Iterator[Served]:
    with _serving() as served:
        yield served


@pytest.mark.parametrize("path", ["/", "/page.js", "/chart.js", "/page.css", "/icon.svg"])
def test_the_page_and_what_it_loads_are_there_and_allow_nothing_from_elsewhere(standing: Served, path: str) -> None:
    with standing.get(path) as answer:
        content = answer.read()
    assert answer.status == 200
    assert content
    assert b"http://" not in content.replace(b"http://www.w3.org/2000/svg", b"")
    assert b"https://" not in content
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8420", 200),
        ("localhost:9000", 200),  # an SSH tunnel
        ("LOCALHOST", 200),
        ("evil.example.com:8420", 403),
        ("127.0.0.1.evil.example.com", 403),
        ("localhost.evil.example.com:8420", 403),
        ("", 403),
    ],
)
@pytest.mark.parametrize("path", ["/", "/events"])
def test_only_a_name_of_this_machine_is_answered(standing: Served, host: str, status: int, path: str) -> None:
    with standing.get(path, Host=host) as answer:
        assert answer.status == status
        assert "Content-Security-Policy" in answer.headers


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_it_can_only_be_read(standing: Served, method: str) -> None:
    with standing.get("/", method) as answer:
        assert answer.status == 501


@pytest.mark.parametrize("path", ["/page.html", "/../server.py", "/page/page.html", "/%2e%2e/server.py", "/etc/passwd"])
def test_nothing_else_is_there(standing: Served, path: str) -> None:
    with standing.get(path) as answer:
        assert answer.status == 404


def test_it_listens_on_loopback_alone(standing: Served) -> None:
    with socket.socket() as elsewhere:  # would be taken if it listened on all addresses
        elsewhere.bind(("127.0.0.2", standing.port))


def test_a_port_that_is_taken_is_refused_with_what_to_do(standing: Served) -> None:
    with pytest.raises(Failed, match=r"(?s)Address already in use.*--web-port"):
        PageServer(Feed(), standing.port)


def test_whoever_comes_gets_the_history_and_the_present_state_at_once(served: Served) -> None:
    served.feed.publish(1, {"number": 1}, {"USD": "1.00"})
    served.feed.publish(2, {"number": 2}, {"USD": "2.00"})
    for _ in range(2):
        events = served.events()
        assert next(events) == ("history", [[1, {"USD": "1.00"}], [2, {"USD": "2.00"}]])
        assert next(events) == ("state", {"number": 2})


def test_all_who_look_are_sent_what_is_new_and_the_end(served: Served) -> None:
    looking = [served.events(), served.events()]
    assert [next(events)[0] for events in looking] == ["history", "history"]
    served.feed.publish(1, {"number": 1}, {})
    assert [next(events) for events in looking] == [("state", {"number": 1})] * 2
    served.feed.end()
    assert [list(events) for events in looking] == [[("end", {})]] * 2


def test_without_news_there_is_a_sign_of_life(served: Served) -> None:
    events = served.events()
    begun = time.monotonic()
    assert [next(events)[0], next(events)[0]] == ["history", "comment"]
    assert time.monotonic() - begun >= HEARTBEAT_SECONDS * 0.9


def test_a_browser_that_reads_nothing_holds_nobody(served: Served) -> None:
    with socket.create_connection((LOOPBACK, served.port), PATIENCE_SECONDS) as frozen:
        frozen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        frozen.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert frozen.recv(12) == b"HTTP/1.0 200"
        events, large = served.events(), "x" * 1_000_000
        assert next(events)[0] == "history"
        begun = time.monotonic()
        for number in range(50):  # far more than the sockets' buffers hold
            served.feed.publish(number, {"number": number, "large": large}, {})
        assert time.monotonic() - begun < PATIENCE_SECONDS / 2
        assert any(kind == "state" and data["number"] == 49 for kind, data in events)


def test_the_end_does_not_wait_for_a_browser_that_reads_nothing(served: Served) -> None:
    with socket.create_connection((LOOPBACK, served.port), PATIENCE_SECONDS) as frozen:
        frozen.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert frozen.recv(12) == b"HTTP/1.0 200"
        served.feed.publish(1, {"large": "x" * 50_000_000}, {})
        begun = time.monotonic()
        served.feed.end()
        assert time.monotonic() - begun < (FAREWELL_SECONDS + EXCHANGE_SECONDS) / 2
