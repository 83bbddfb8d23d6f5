"""A NATS server that a test can freeze, and the journal's stream as the operator makes it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from crowetrade import subjects

NAMESPACE, VENUE = "desk", "sim"


@dataclass(frozen=True)
class Server:
    """A running server."""

    url: str
    process: subprocess.Popen[str]

    def freeze(self) -> None:
        """Stops it where it is: connections stay, nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """Lets it go on."""
        self.process.send_signal(signal.SIGCONT)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of its own, without streams."""
    with serving(tmp_path) as found:
        yield found


@contextmanager
def serving(tmp_path: Path, *arguments: str | Path) -> Iterator[Server]:
    """A server with these arguments, until the end."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binary = Path(sys.executable).parent / "nats-server"
    process = subprocess.Popen(
        [binary, "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", tmp_path / "jetstream", *arguments],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any("Server is ready" in line for line in process.stderr), "nats-server did not start"
    yield Server(f"nats://127.0.0.1:{port}", process)
    process.send_signal(signal.SIGCONT)
    process.terminate()
    process.communicate()


async def with_streams(server: Server) -> Client:
    """A connection to the server, which has the stream of the journal now."""
    connected = await nats.connect(server.url)
    for config in subjects.journal_stream_configs(NAMESPACE, VENUE):
        await connected.jetstream().add_stream(StreamConfig.from_response(config))
    return connected


@pytest.fixture
async def client(server: Server) -> AsyncIterator[Client]:
    """A connection to a server that has the stream of the journal."""
    connected = await with_streams(server)
    yield connected
    await connected.close()
