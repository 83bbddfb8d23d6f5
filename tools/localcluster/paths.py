"""Where things are: all of it below the user's cache folder, and `state` is all that `down` has to remove."""

from __future__ import annotations

import os
from pathlib import Path

from tools.localcluster import versions

SOURCE = Path(__file__).resolve().parent
NETNS = Path("/run/netns") / versions.NAME
MAX_SOCKET_PATH = 107


def cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "crowetrade"


def binaries() -> Path:
    return cache() / "bin"


def images() -> Path:
    return cache() / "images"


def cluster() -> Path:
    return cache() / "localcluster"


def state() -> Path:
    return cluster() / "state"


def lock() -> Path:
    """Outside of the state, which `down` removes while it holds the lock."""
    return cache() / "cluster.lock"


def logs() -> Path:
    return state() / "log"


def records() -> Path:
    return state() / "process"


def pki() -> Path:
    return state() / "pki"


def kubeconfigs() -> Path:
    return state() / "kubeconfig"


def admin_kubeconfig() -> Path:
    """For use outside the namespace, through the forwarder."""
    return state() / "admin.kubeconfig"


def containerd_socket() -> Path:
    return state() / "containerd.sock"


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Whole or not at all: a reader, or the next run, never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(path)
