"""Runs other programs. Input never goes into arguments, so a secret is never in a process list."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence

from tools.demo.errors import CommandFailed, DemoError

DEFAULT_TIMEOUT_SECONDS = 120.0
_TAIL_CHARACTERS = 3000


def run(
    command: Sequence[str],
    *,
    environment: Mapping[str, str] | None = None,
    stdin: str | None = None,
    timeout: float = DEFAULT_TIMEOUT_SECONDS,
) -> str:
    """Standard output of a command; raises CommandFailed with the end of its output when it fails."""
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **(environment or {})},
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise DemoError(f"{command[0]} is not installed or not on PATH") from error
    except subprocess.TimeoutExpired as error:
        raise CommandFailed(f"{shlex.join(command)}: no end after {timeout:.0f} s") from error
    if done.returncode != 0:
        output = (done.stderr + done.stdout).strip()[-_TAIL_CHARACTERS:]
        raise CommandFailed(f"{shlex.join(command)}: exit code {done.returncode}\n{output}")
    return done.stdout


def stream(command: Sequence[str], *, environment: Mapping[str, str] | None = None) -> None:
    """Runs a command with its output on ours, for those that take minutes; raises CommandFailed."""
    try:
        code = subprocess.call(command, env={**os.environ, **(environment or {})}, stdin=subprocess.DEVNULL)
    except FileNotFoundError as error:
        raise DemoError(f"{command[0]} is not installed or not on PATH") from error
    if code != 0:
        raise CommandFailed(f"{shlex.join(command)}: exit code {code}, see its output above")


def succeeds(command: Sequence[str], timeout: float = 15.0) -> bool:
    """Whether a command exists and ends well."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
