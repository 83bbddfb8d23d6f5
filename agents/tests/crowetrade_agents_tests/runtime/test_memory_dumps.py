"""A gateway that crashes leaves no core file with its keys."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from crowetrade_agents_tests.gateway.harness import venue_file

pytestmark = pytest.mark.integration


def with_core_files() -> None:
    """As on a machine that writes them: the soft limit is what the hard one admits."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def test_a_gateway_that_crashes_writes_no_core_file(tmp_path: Path) -> None:
    config, folder = tmp_path / "venue.json", tmp_path / "work"
    config.write_text(json.dumps(venue_file().content()))
    folder.mkdir()
    environment = {
        "POD_NAME": "pod",
        "CROWETRADE_CONFIG": str(config),
        "NATS_URL": "nats://127.0.0.1:1",
        "HTTP_PORT": "0",
        "GRPC_PORT": "0",
        "CONTROL_PORT": "0",
    }
    command = [sys.executable, "-m", "crowetrade_agents.runtime", "gateway"]
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=with_core_files,
    ) as gateway:
        assert gateway.stdout is not None
        assert any("control_listens" in line for line in gateway.stdout), "the gateway does not run"
        limits = Path(f"/proc/{gateway.pid}/limits").read_text()
        gateway.send_signal(signal.SIGABRT)
        _, status = os.waitpid(gateway.pid, 0)
    (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
    assert core.split()[4:6] == ["0", "0"]
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)
    assert list(folder.iterdir()) == []
