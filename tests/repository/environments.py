"""Environments of their own that wheels are installed into."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
UV = Path(sys.executable).parent / "uv"
PATIENCE_SECONDS = 120
AGENTS = ("contracts", "api", "process", "agents")
GATEWAY = (*AGENTS, "gateway")
COMMAND = (*GATEWAY, "cli")
OPERATOR = ("contracts", "api", "process", "operator")


def run(*command: str | Path, cwd: Path = ROOT, path: Path | None = None) -> str:
    """What it wrote; fails with that when the command does. Python finds nothing but what its environment holds.
    `path` is a folder where commands are looked for first."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MAKE"))}
    if path is not None:
        environment["PATH"] = f"{path}{os.pathsep}{environment['PATH']}"
    ended = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert ended.returncode == 0, ended.stdout
    return ended.stdout


def install(environment: Path, *what: str | Path) -> None:
    """With the versions that the tests have, and the dependencies that the wheels state."""
    pins = ROOT / "requirements" / "dev.txt"
    run(UV, "pip", "install", "--python", environment / "bin" / "python", "--constraint", pins, *what)


def environment_of(packages: Sequence[str], wheels: Path, folder: Path) -> Path:
    """A new environment in that folder with pip, these packages of ours, and what they need."""
    run(UV, "venv", "--seed", "--python", sys.executable, folder)
    install(folder, *(wheel for package in packages for wheel in wheels.glob(f"crowetrade_{package}-*.whl")))
    return folder
