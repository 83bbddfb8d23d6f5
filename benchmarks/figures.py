"""What a figure looks like: one JSON line, with the machine that it was measured on and how busy that was."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

Figure = dict[str, object]
Measure = Callable[[], Iterator[Figure]]
"""Measures, and yields each figure as soon as it is known."""
UNITS_NS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


class NotMeasurable(Exception):
    """Something is missing on this machine; the message says what, and how to get it."""


def figure(name: str, unit: str, values: Iterable[float], **notes: object) -> Figure:
    """Nearest-rank p50 and p99, maximum and number of the values. A figure that is measured once has one value."""
    ordered = sorted(values)
    ranks = {"p50": -(-len(ordered) * 50 // 100), "p99": -(-len(ordered) * 99 // 100), "max": len(ordered)}
    return {
        "name": name,
        "unit": unit,
        **{label: _rounded(ordered[rank - 1]) for label, rank in ranks.items()},
        "n": len(ordered),
        **notes,
        "load_average": round(os.getloadavg()[0], 1),
        **machine(),
    }


def durations(name: str, unit: str, values_ns: Iterable[int], **notes: object) -> Figure:
    """A figure of durations that are given in nanoseconds."""
    return figure(name, unit, (value / UNITS_NS[unit] for value in values_ns), **notes)


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")


@cache
def machine() -> dict[str, object]:
    """Where and of what these figures are."""
    describe = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "revision": describe.stdout.strip(),
        "measured": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()


def rss_mib(pid: int | str = "self") -> float:
    """Resident memory of a process, MiB."""
    return _status_kib(pid, "VmRSS:") / 1024


def anonymous_mib(pid: int | str = "self") -> float:
    """Resident memory of a process that is no page of a file, MiB."""
    return _status_kib(pid, "RssAnon:") / 1024


def peak_rss_mib(pid: int | str = "self") -> float:
    """The most resident memory that a process has had, MiB."""
    return _status_kib(pid, "VmHWM:") / 1024


def _status_kib(pid: int | str, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1])
    raise RuntimeError(f"process {pid} has no {field[:-1]}: it has ended")


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def synced_write(folder: Path, runs: int = 200) -> Iterator[Figure]:
    """What the disk takes for 500 bytes and a sync: below that no order that is journaled first can leave."""
    taken = []
    with (folder / "synced").open("wb") as out:
        for _ in range(runs):
            begin = time.perf_counter_ns()
            out.write(bytes(500))
            out.flush()
            os.fdatasync(out.fileno())
            taken.append(time.perf_counter_ns() - begin)
    yield durations("machine.synced_write", "ms", taken)


def python_loop(runs: int = 200) -> Iterator[Figure]:
    """What the interpreter takes for 10,000 additions: twice as much as in another run says that this one had half of
    the processor, whatever the clock."""
    taken = []
    for _ in range(runs):
        total, begin = 0, time.perf_counter_ns()
        for number in range(10_000):
            total += number
        taken.append(time.perf_counter_ns() - begin)
    yield durations("machine.python_loop", "us", taken)


def line(item: Figure) -> str:
    """A figure as it is printed and kept."""
    return json.dumps(item)
