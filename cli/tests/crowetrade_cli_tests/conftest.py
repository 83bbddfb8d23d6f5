"""A real NATS server, and the command line run in this process."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from crowetrade_cli.main import main


@pytest.fixture
def nats_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with JetStream of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path_factory.mktemp("jetstream")
    process = subprocess.Popen(
        [Path(sys.executable).parent / "nats-server", "-js", "-a", "127.0.0.1", "-p", str(port), "-sd", folder],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    assert any("Server is ready" in line for line in process.stderr), "nats-server did not start"
    yield f"nats://127.0.0.1:{port}"
    process.terminate()
    process.communicate()


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit code and what it wrote."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs `crowetrade` with arguments."""

    def run_command(*arguments: object) -> Ended:
        with pytest.raises(SystemExit) as left:
            main([str(argument) for argument in arguments])
        written = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Ended(left.value.code, written.out, written.err)

    return run_command
