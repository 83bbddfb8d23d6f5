"""What the machine must have: root, Debian's packages, a Go compiler."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from tools.localcluster import versions
from tools.localcluster.errors import ClusterError
from tools.localcluster.progress import say, step

COMMANDS = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "ipset": "ipset",
    "conntrack": "conntrack",
    "mmdebstrap": "mmdebstrap",
    "buildah": "buildah",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "openssl": "openssl",
}
"""Command to the Debian package that brings it."""

CNI_PLUGINS = Path("/usr/lib/cni")
_SEARCH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def require_root() -> None:
    if os.geteuid() != 0:
        raise ClusterError("The local cluster needs root: run the same command with sudo -E, or in a root shell.")


def _found(command: str) -> bool:
    return shutil.which(command, path=_SEARCH) is not None


def missing_packages(found: Callable[[str], bool] = _found, plugins: Path = CNI_PLUGINS) -> list[str]:
    missing = {package for command, package in COMMANDS.items() if not found(command)}
    if not (plugins / "host-local").exists():
        missing.add("containernetworking-plugins")
    return sorted(missing)


def missing_sentence(packages: Iterable[str]) -> str:
    names = " ".join(packages)
    return f"Debian packages are missing; run: apt-get install --no-install-recommends {names}"


def ensure_packages() -> None:
    missing = missing_packages()
    if not missing:
        return
    install_packages(missing)
    if still := missing_packages():
        raise ClusterError(missing_sentence(still))


def can_install() -> bool:
    return os.geteuid() == 0 and _found("apt-get")


def install_packages(packages: Iterable[str]) -> None:
    """Raises ClusterError when this is not Debian and root, or apt-get fails."""
    names = list(packages)
    if not can_install():
        raise ClusterError(missing_sentence(names))
    say(f"installing the Debian packages {' '.join(names)}")
    with step("apt-get install"):
        for arguments in (["update"], ["install", "-y", "--no-install-recommends", *names]):
            result = subprocess.run(
                ["apt-get", "-q", *arguments],
                env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
    if result.returncode:
        raise ClusterError(f"{missing_sentence(names)}\n{result.stderr.strip()[-1500:]}")


def go_compiler() -> str:
    wanted = ".".join(map(str, versions.GO_MINIMUM))
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        raise ClusterError(f"The Go compiler is missing; install Go {wanted} or newer and put `go` on the PATH.")
    told = subprocess.run([go, "version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"go(\d+)\.(\d+)", told)
    if match is None or (int(match[1]), int(match[2])) < versions.GO_MINIMUM:
        raise ClusterError(f"{go} is {told.strip() or 'of no known version'}; install Go {wanted} or newer.")
    return go
