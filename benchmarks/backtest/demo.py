"""`make demo` in a fresh clone, until it shows its first execution."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.backtest.runs import ROOT
from benchmarks.figures import Figure, figure

WARM_STARTS = 3
LIMIT_SECONDS = 600
_FILL = re.compile(r": (Buy|Sell) .* at .* on .*, fee ")


def demo(folder: Path) -> Iterator[Figure]:
    """demo.first_fill_seconds: of a clone that has nothing, with empty caches of pip and uv, so that everything is
    downloaded; demo.first_fill_warm_seconds: there again."""
    clone = folder / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, clone], check=True)
    caches = {name: str(folder / name) for name in ("PIP_CACHE_DIR", "UV_CACHE_DIR")}
    yield figure("demo.first_fill_seconds", "s", [_first_fill(clone, caches)])
    yield figure("demo.first_fill_warm_seconds", "s", [_first_fill(clone, caches) for _ in range(WARM_STARTS)])


def _first_fill(clone: Path, caches: dict[str, str]) -> float:
    """Seconds until the first execution; stops it then, as Ctrl-C does. Raises RuntimeError when there is none."""
    begin = time.monotonic()
    process = subprocess.Popen(
        ["make", "demo"],
        cwd=clone,
        env={**os.environ, **caches, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    deadline = threading.Timer(LIMIT_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
    deadline.start()
    said, seconds = [], None
    assert process.stdout is not None
    try:
        for line in process.stdout:
            said.append(line)
            if seconds is None and _FILL.search(line):
                seconds = time.monotonic() - begin
                os.killpg(process.pid, signal.SIGINT)
        process.wait()
    finally:
        deadline.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    if seconds is None:
        raise RuntimeError(f"make demo ended without an execution:\n{''.join(said[-20:])}")
    return seconds
