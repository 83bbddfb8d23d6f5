"""The control groups below which kubelet puts the pods: our own, so that they can be told from others' and removed."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from tools.localcluster import versions

ROOT = Path("/sys/fs/cgroup")
WEIGHT = 8
"""Of all pods together, in processes of the host. The scheduler takes a group for one process otherwise, however many
it holds: beside a test run or a build no pod would start in its time."""
_USUAL_WEIGHTS = {"cpu.weight": 100, "cpu.shares": 1024}
"""Of one process, in the terms of either version."""


def _hierarchies() -> list[Path]:
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    return [path for path in ROOT.iterdir() if path.is_dir() and (path / "cgroup.procs").exists()]


def create() -> None:
    for hierarchy in _hierarchies():
        own = hierarchy / versions.NAME
        with contextlib.suppress(PermissionError):
            own.mkdir(exist_ok=True)
        for name in ("cpuset.cpus", "cpuset.mems"):  # empty in a new group of version 1, which lets nothing run in it
            if (own / name).exists() and (hierarchy / name).exists() and not (own / name).read_text().strip():
                (own / name).write_text((hierarchy / name).read_text())
        if hierarchy == ROOT:
            controllers = (ROOT / "cgroup.controllers").read_text().split()
            for group in (ROOT, own):
                with contextlib.suppress(OSError):
                    (group / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in controllers))
        for name, usual in _USUAL_WEIGHTS.items():
            if (own / name).exists():
                (own / name).write_text(str(WEIGHT * usual))


def remove() -> None:
    """Deepest first: a group must be empty."""
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / versions.NAME, topdown=False):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(folder)
