"""The server by raw bytes: what it answers, and what a hostile peer cannot do to it."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import AsyncIterator

import pytest

from crowetrade_process import http_server
from crowetrade_process.http_server import BoundedHandler, HttpServer

pytestmark = pytest.mark.timeout(60)

# With the end of the headers not yet among these bytes.
TOO_LONG = http_server.REQUEST_BYTES + len(b"\r\n\r\n")
# More than the buffers of the kernel take in for a peer that does not read.
LARGE = b"x" * 64 * 1024 * 1024
FINE = b"GET /fine HTTP/1.1\r\n\r\n"


class Handler(BoundedHandler):
    def do_GET(self) -> None:
        if self.path == "/broken":
            raise ValueError("no")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(LARGE if self.path == "/large" else b"fine\n")

    def log_message(self, *_arguments: object) -> None:
        return


@pytest.fixture
async def server() -> AsyncIterator[HttpServer]:
    served = HttpServer(0, Handler)
    served.start()
    yield served
    await asyncio.to_thread(served.stop)


async def exchange(server: HttpServer, request: bytes) -> bytes:
    """Sends bytes and returns all until the server closes, or nothing when it resets the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        writer.write(request)
        return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


async def assert_answers(server: HttpServer) -> None:
    async with asyncio.timeout(10):
        assert (await exchange(server, FINE)).endswith(b"\r\n\r\nfine\n")


async def until_open(server: HttpServer) -> None:
    """Waits until the server has a connection."""
    async with asyncio.timeout(10):
        while not server._open:
            await asyncio.sleep(0.01)


async def until_none_is_open(server: HttpServer) -> None:
    """Waits until the server has no connection left."""
    async with asyncio.timeout(10):
        while server._open:
            await asyncio.sleep(0.01)


async def test_a_request_may_come_in_pieces(server: HttpServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    for piece in (b"GET /fi", b"ne HTTP/1.1\r", b"\n\r", b"\n"):
        writer.write(piece)
        await writer.drain()
    assert (await reader.read()).endswith(b"fine\n")
    writer.close()


REFUSED = {
    "a POST": (b"POST /fine HTTP/1.1\r\n\r\n", b"Error code: 501"),
    "a handler that raises": (b"GET /broken HTTP/1.1\r\n\r\n", b""),
    "no target": (b"GET\r\n\r\n", b"Error code: 400"),
    "another HTTP": (b"PRI * HTTP/2.0\r\n\r\n", b"Error code: 505"),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_refused_requests(server: HttpServer, case: str) -> None:
    request, expected = REFUSED[case]
    answer = await exchange(server, request)
    assert expected in answer
    assert b" 200 " not in answer
    await assert_answers(server)


@pytest.mark.parametrize("request_", [b"\x16\x03\x01\x00\xff\xfe\r\n\r\n", b"G" * TOO_LONG, LARGE])
async def test_what_is_no_request_is_cut_off(server: HttpServer, request_: bytes) -> None:
    """Either with an answer or with a reset, because the server does not read the rest."""
    assert b" 200 " not in await exchange(server, request_)
    await assert_answers(server)


async def test_headers_without_end_are_not_read_to_their_end(server: HttpServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write((FINE[:-2] + b"a: b\r\n" * TOO_LONG)[:TOO_LONG])
    async with asyncio.timeout(http_server.EXCHANGE_SECONDS / 2):
        assert await reader.readline()
    writer.close()


async def test_a_peer_that_leaves_early_leaves_nothing_behind(server: HttpServer) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(FINE[:9])
    writer.close()
    await writer.wait_closed()
    await assert_answers(server)
    await until_none_is_open(server)


async def test_a_peer_that_sends_no_request_is_dropped(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "EXCHANGE_SECONDS", 0.1)
    assert await exchange(server, FINE[:-2]) == b""


async def test_a_peer_that_sends_byte_by_byte_is_dropped(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is for the whole request, not for each byte."""
    monkeypatch.setattr(http_server, "EXCHANGE_SECONDS", 0.3)
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    ended = asyncio.create_task(reader.read())
    async with asyncio.timeout(10):
        while not ended.done():
            writer.write(b"G")
            await asyncio.wait({ended}, timeout=0.02)
    writer.close()


async def test_a_peer_that_does_not_read_is_dropped(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "EXCHANGE_SECONDS", 0.5)
    with socket.create_connection(("127.0.0.1", server.port)) as silent:
        silent.sendall(b"GET /large HTTP/1.1\r\n\r\n")
        await until_open(server)
        await until_none_is_open(server)
    monkeypatch.undo()
    await assert_answers(server)


async def test_the_oldest_connection_makes_room(server: HttpServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_server, "EXCHANGE_SECONDS", 3600.0)
    before = threading.active_count()
    idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2 * http_server.MAX_CONNECTIONS)]
    await assert_answers(server)
    assert threading.active_count() <= before + http_server.MAX_CONNECTIONS
    async with asyncio.timeout(10):
        assert await idle[0][0].read() == b""
    for _, writer in idle:
        writer.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_it_answers_by_both_families(server: HttpServer, address: str) -> None:
    if ":" in address and not socket.has_dualstack_ipv6():
        pytest.skip("this host has no IPv6")
    reader, writer = await asyncio.open_connection(address, server.port)
    writer.write(FINE)
    assert (await reader.read()).endswith(b"\r\n\r\nfine\n")
    writer.close()


async def test_one_address_is_that_address_alone() -> None:
    server = HttpServer(0, Handler, "127.0.0.1")
    assert server.address_family == socket.AF_INET
    assert server.server_address[0] == "127.0.0.1"
    server.server_close()


async def test_a_port_that_is_taken(server: HttpServer) -> None:
    with pytest.raises(OSError, match="in use"):
        HttpServer(server.port, Handler)


async def test_stop_drops_what_is_connected() -> None:
    server = HttpServer(0, Handler)
    server.start()
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    await assert_answers(server)
    await asyncio.to_thread(server.stop)
    async with asyncio.timeout(1):
        assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", server.port)
