"""Fixtures that several packages of tests share."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import nats
import pytest
from nats.aio.client import Client
from nats.js.api import KeyValueConfig, StreamConfig

from crowetrade import subjects

ROOT = Path(__file__).parents[3]
START_SECONDS = 20


async def make_bus_resources(client: Client) -> None:
    """The stream and the bucket that the operator makes in a cluster."""
    jetstream = client.jetstream()
    await jetstream.add_stream(StreamConfig(name=subjects.ORDER_STREAM, subjects=[subjects.ORDER_SUBJECTS]))
    await jetstream.create_key_value(KeyValueConfig(bucket=subjects.CONFIG_BUCKET, history=1))


@pytest.fixture
def nats_url(tmp_path: Path) -> Iterator[str]:
    """A real NATS server with JetStream of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    binary = Path(sys.executable).parent / "nats-server"
    process = subprocess.Popen(
        [binary, "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", tmp_path / "jetstream"],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    deadline = time.monotonic() + START_SECONDS
    for line in process.stderr:
        if "Server is ready" in line:
            break
        assert time.monotonic() < deadline, "nats-server did not start"
    yield f"nats://127.0.0.1:{port}"
    process.terminate()
    process.communicate()


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[Client]:
    """A client of a server that has the stream and the bucket."""
    client = await nats.connect(nats_url)
    await make_bus_resources(client)
    yield client
    await client.close()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Recorded market data that stays outside the repository."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("recorded data is not beside the repository (../shared/data): nothing to replay")
    return folder
