"""Starts, recognises and ends processes.

A process is known by its number, its start time and the boot it belongs to: numbers are used again, the three
together are not. A signal goes through a pidfd that is opened before the identity is checked, so that even a number
reused in between can't be hit.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.localcluster import paths
from tools.localcluster.errors import ClusterError


@dataclass(frozen=True)
class Identity:
    pid: int
    started: int
    boot: str


Command = Sequence[str | Path]


def boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def _stat(pid: int) -> list[str] | None:
    """The fields after the command name, which may itself hold spaces and brackets."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def identify(pid: int) -> Identity | None:
    """None for a process that is gone or only waits to be reaped."""
    fields = _stat(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return Identity(pid, int(fields[19]), boot_id())


def is_alive(identity: Identity) -> bool:
    return identify(identity.pid) == identity


def send(identity: Identity, number: signal.Signals) -> bool:
    """Signals this very process, or nobody."""
    try:
        descriptor = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(identity):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)


def end(identities: Iterable[Identity], patience: float = 10.0) -> None:
    """Asks all of them, waits, then insists."""
    waiting = [identity for identity in identities if send(identity, signal.SIGTERM)]
    deadline = time.monotonic() + patience
    while waiting and time.monotonic() < deadline:
        time.sleep(0.05)
        waiting = [identity for identity in waiting if is_alive(identity)]
    kill(waiting)


def kill(identities: Iterable[Identity], patience: float = 10.0) -> None:
    waiting = [identity for identity in identities if send(identity, signal.SIGKILL)]
    deadline = time.monotonic() + patience
    while waiting:
        waiting = [identity for identity in waiting if is_alive(identity)]
        if waiting and time.monotonic() > deadline:
            numbers = ", ".join(str(identity.pid) for identity in waiting)
            raise ClusterError(f"Processes {numbers} do not end; look at them with ps, then run this command again.")
        time.sleep(0.02)


def descendants(root: int) -> list[Identity]:
    """Children, their children and so on; `root` itself is left out."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None:
            parents.setdefault(int(fields[1]), []).append(int(entry.name))
    found: list[Identity] = []
    todo = list(parents.get(root, []))
    while todo:
        pid = todo.pop()
        todo.extend(parents.get(pid, []))
        if identity := identify(pid):
            found.append(identity)
    return found


@dataclass(frozen=True)
class Namespaces:
    """Where a process runs: the files that nsenter opens."""

    network: Path
    mount: Path | None = None

    def command(self) -> list[str]:
        mount = [f"--mount={self.mount}"] if self.mount else []
        return ["nsenter", f"--net={self.network}", *mount, "--"]


def record_path(name: str) -> Path:
    return paths.records() / f"{name}.json"


def recorded(name: str) -> Identity | None:
    """The process that was started under this name, alive or not."""
    try:
        record = json.loads(record_path(name).read_text())
    except FileNotFoundError:
        return None
    return Identity(record["pid"], record["started"], record["boot"])


def _recorded_purpose(name: str) -> str:
    return str(json.loads(record_path(name).read_text()).get("purpose", ""))


def recorded_names() -> list[str]:
    return sorted(path.stem for path in paths.records().glob("*.json"))


def alive(name: str) -> Identity | None:
    identity = recorded(name)
    return identity if identity and is_alive(identity) else None


def log_path(name: str) -> Path:
    return paths.logs() / f"{name}.log"


def log_tail(name: str, lines: int = 8) -> str:
    try:
        text = log_path(name).read_text(errors="replace")
    except FileNotFoundError:
        return ""
    return "\n".join("    " + line[:400] for line in text.splitlines()[-lines:])


def start(
    name: str,
    command: Command,
    *,
    within: Namespaces | None = None,
    environment: Mapping[str, str] | None = None,
    settings: str = "",
    purpose: str = "",
) -> bool:
    """Starts it unless it runs with this command and these settings; True when it was started now.

    A `purpose` of its own takes the command's place in that comparison.
    """
    told = purpose or repr((list(map(str, command)), sorted((environment or {}).items()), settings))
    purpose = hashlib.sha256(told.encode()).hexdigest()
    if alive(name):
        if _recorded_purpose(name) == purpose:
            return False
        stop(name)
    paths.logs().mkdir(parents=True, exist_ok=True)
    enter = within.command() if within else []
    with log_path(name).open("ab") as log:
        process = subprocess.Popen(
            [*enter, *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
            env={**_environment(), **(environment or {})},
        )
    identity = identify(process.pid)
    if identity is None:
        raise ClusterError(f"{name} ended at once:\n{log_tail(name)}")
    paths.write(record_path(name), json.dumps({**asdict(identity), "purpose": purpose}))
    return True


def _environment() -> dict[str, str]:
    """Only what a server needs: a proxy setting of the user's shell must not send cluster traffic out."""
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    return {"PATH": path, "HOME": str(paths.state()), "LANG": "C.UTF-8"}


def stop(name: str, patience: float = 10.0) -> None:
    if identity := recorded(name):
        end([identity], patience)
        with contextlib.suppress(FileNotFoundError):
            record_path(name).unlink()


def run(command: Command, *, within: Namespaces | None = None, stdin: str | None = None) -> str:
    """Runs to the end and gives back its output; a failure carries what it said."""
    enter = within.command() if within else []
    result = subprocess.run(
        [*enter, *map(str, command)],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        capture_output=True,
        text=True,
        check=False,
        env=_environment(),
    )
    if result.returncode:
        words = " ".join(map(str, command))
        said = (result.stderr or result.stdout).strip()[-2000:]
        raise ClusterError(f"This command failed with status {result.returncode}: {words[:400]}\n{said}")
    return result.stdout


def wait_for(what: str, check: Callable[[], bool], *, seconds: float, needs: Sequence[str] = ()) -> None:
    """Polls until it is so; gives up early when one of the processes it `needs` has died, with its last words."""
    deadline = time.monotonic() + seconds
    while not check():
        for name in needs:
            if not alive(name):
                raise ClusterError(
                    f"{name} died while waiting for {what}; its last lines follow, the rest is in {log_path(name)}. "
                    f"Run the same command again to start it anew.\n{log_tail(name)}"
                )
        if time.monotonic() > deadline:
            hints = "\n".join(f"  {name}: {log_path(name)}\n{log_tail(name, 4)}" for name in needs)
            raise ClusterError(f"{what} did not come within {seconds:.0f} s; look at the logs:\n{hints}")
        time.sleep(0.2)
