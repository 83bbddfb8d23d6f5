"""A real NATS server, the command line run in this process or as a user starts it, and a real browser."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, sync_playwright
from tools.browser import MISSING, chromium

from crowetrade_cli.main import main
from crowetrade_cli_tests.desk import Desk, desk_of_waves


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


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    """As desk_of_waves; what runs there is ended."""
    made = desk_of_waves(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium; skips where there is none. Its driver keeps an event loop running in this thread, so a
    module that uses it has no asynchronous tests."""
    program = chromium()
    if program is None:
        pytest.skip(MISSING)
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=program)
        yield started
        started.close()
