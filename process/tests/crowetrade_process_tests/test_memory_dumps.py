"""What is in memory stays there: no core file, and no other process of the same user reads it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

NOBODY = 65534
HOLDER = f"""
import ctypes, os, resource, sys, time
from crowetrade_process.memory_dumps import PR_SET_DUMPABLE, forbid_memory_dumps
if os.geteuid() == 0:
    os.setuid({NOBODY})
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)  # as one that was started by this user
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
if sys.argv[1] == "forbidden":
    forbid_memory_dumps()
print("ready", flush=True)
time.sleep(60)
"""
READER = f"""
import os, sys
if os.geteuid() == 0:
    os.setuid({NOBODY})
open(f"/proc/{{sys.argv[1]}}/mem", "rb").close()
"""
OPENED = {"forbidden": False, "as it comes": True}


@contextmanager
def holder(how: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A process with something in its memory; of a user without privileges."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, how], cwd=folder, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a core file would be."""
    path = tmp_path / "work"
    path.mkdir()
    path.chmod(0o777)
    return path


@pytest.mark.parametrize("how", OPENED)
def test_no_process_of_the_same_user_reads_the_memory(how: str, folder: Path) -> None:
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if OPENED[how] and scope.exists() and scope.read_text().strip() != "0":
        pytest.skip("Yama forbids it to everybody here")
    with holder(how, folder) as process:
        reader = subprocess.run(
            [sys.executable, "-c", READER, str(process.pid)], capture_output=True, text=True, check=False
        )
    assert (reader.returncode == 0) is OPENED[how]
    assert OPENED[how] or "Permission denied" in reader.stderr


def test_a_process_that_aborts_writes_no_core_file(folder: Path) -> None:
    with holder("forbidden", folder) as process:
        process.send_signal(signal.SIGABRT)
        _, status = os.waitpid(process.pid, 0)
    assert os.WTERMSIG(status) == signal.SIGABRT
    assert not os.WCOREDUMP(status)
    assert list(folder.iterdir()) == []
