from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.localcluster import processes
from tools.localcluster.errors import ClusterError
from tools.localcluster.processes import Identity


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def _identity(process: subprocess.Popen[bytes]) -> Identity:
    identity = processes.identify(process.pid)
    assert identity is not None
    return identity


def test_a_process_is_itself(sleeper: subprocess.Popen[bytes]) -> None:
    assert processes.is_alive(_identity(sleeper))


@pytest.mark.parametrize("changed", [{"started": 1}, {"boot": "another boot"}])
def test_a_reused_number_is_not_signalled(sleeper: subprocess.Popen[bytes], changed: dict[str, object]) -> None:
    stranger = dataclasses.replace(_identity(sleeper), **changed)  # type: ignore[arg-type]
    assert not processes.is_alive(stranger)
    assert not processes.send(stranger, signal.SIGKILL)
    processes.end([stranger])
    assert sleeper.poll() is None


def test_a_process_that_waits_to_be_reaped_is_dead(sleeper: subprocess.Popen[bytes]) -> None:
    identity = _identity(sleeper)
    processes.end([identity])
    assert processes.identify(sleeper.pid) is None
    assert not processes.is_alive(identity)


def test_one_that_ignores_the_polite_signal_is_killed() -> None:
    with subprocess.Popen(["sh", "-c", "trap '' TERM; echo set; while :; do sleep 0.1; done"], stdout=-1) as stubborn:
        assert stubborn.stdout
        stubborn.stdout.readline()
        processes.end([_identity(stubborn)], patience=0.2)
        assert stubborn.wait() == -signal.SIGKILL


def test_descendants_are_found_at_any_depth() -> None:
    with subprocess.Popen(["sh", "-c", "sh -c 'sleep 60; :' & echo set; wait"], stdout=-1) as root:
        assert root.stdout
        root.stdout.readline()
        processes_below = {os.getpgid(found.pid) for found in processes.descendants(root.pid)}
        assert processes_below == {os.getpgid(root.pid)}
        processes.kill([*processes.descendants(root.pid), _identity(root)])


def test_start_is_done_once_and_again_with_other_settings(cache: Path) -> None:
    assert processes.start("sleeper", ["sleep", "60"], settings="one")
    first = processes.alive("sleeper")
    assert not processes.start("sleeper", ["sleep", "60"], settings="one")
    assert processes.alive("sleeper") == first
    assert processes.start("sleeper", ["sleep", "60"], settings="two")
    assert processes.alive("sleeper") not in (None, first)
    processes.stop("sleeper")
    assert processes.recorded_names() == []


def test_waiting_ends_early_when_a_needed_process_dies(cache: Path) -> None:
    processes.start("mortal", ["sh", "-c", "echo no such flag; sleep 0.5; exit 3"])
    with pytest.raises(ClusterError, match="no such flag"):
        processes.wait_for("the impossible", lambda: False, seconds=30, needs=["mortal"])
