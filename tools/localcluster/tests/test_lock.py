from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tools.localcluster.lock import exclusive

_HOLD = """
import sys
from pathlib import Path
from tools.localcluster.lock import exclusive
with exclusive(Path(sys.argv[1]), "hold it"):
    print("held", flush=True)
    sys.stdin.read()
"""


def _holder(path: Path) -> subprocess.Popen[str]:
    root = Path(__file__).parents[3]
    return subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(path)], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_waits_for_the_holder_and_names_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "new folder" / "lock"
    with _holder(path) as holder:
        assert holder.stdout
        assert holder.stdin
        assert holder.stdout.readline() == "held\n"
        with _holder(path) as second:
            assert second.stdin
            assert second.stdout
            holder.stdin.close()
            assert second.stdout.readline() == "held\n"
            second.stdin.close()
    with exclusive(path, "look at it"):
        assert "look at it" in path.read_text()


def test_is_free_after_its_holder_was_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with _holder(path) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == "held\n"
        holder.kill()
        holder.wait()
        with exclusive(path, "go on"):
            assert "go on" in path.read_text()
