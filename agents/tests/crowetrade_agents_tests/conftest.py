"""Fixtures that several packages of tests share."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

import nats
import pytest
from hypothesis import Phase, settings
from nats.aio.client import Client
from nats.js.api import KeyValueConfig, StreamConfig

from crowetrade import subjects

# A busy machine is slow: an example that takes long has not failed.
settings.register_profile("busy", deadline=None)
# For mutants: the same few examples each time, and a failure need not be small.
settings.register_profile(
    "mutation", deadline=None, derandomize=True, max_examples=20, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "busy"))

ROOT = Path(__file__).parents[3]
START_SECONDS = 20


async def make_bus_resources(client: Client, *venues: tuple[str, str]) -> None:
    """The bucket and the streams of venues (namespace, name) that the operator makes in a cluster."""
    jetstream = client.jetstream()
    for namespace, venue in venues:
        for config in subjects.journal_stream_configs(namespace, venue):
            await jetstream.add_stream(StreamConfig.from_response(config))
    for bucket in (subjects.CONFIG_BUCKET, subjects.ALLOWANCE_BUCKET):
        await jetstream.create_key_value(KeyValueConfig(bucket=bucket, history=1))


class NatsServer(NamedTuple):
    """A real server that a test may stop."""

    url: str
    process: subprocess.Popen[str]


@pytest.fixture
def nats_server(tmp_path: Path) -> Iterator[NatsServer]:
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
    yield NatsServer(f"nats://127.0.0.1:{port}", process)
    process.terminate()
    process.communicate()


@pytest.fixture
def nats_url(nats_server: NatsServer) -> str:
    """Its address."""
    return nats_server.url


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
