"""The cluster's own network and mount namespaces.

Network: a namespace without a way out, whose only addresses sit on a pair of virtual cards that both end inside. What
is sent anywhere else is answered by the node: nobody is there.
Mounts: one process holds a private copy of the file system view in which /run, /var/lib and /var/log are ours. All
that containerd and kubelet mount, and all that they write to paths that no setting moves, stays in there and is gone
with the last process.
"""

from __future__ import annotations

import shlex
from pathlib import Path

from tools.localcluster import paths, processes, versions
from tools.localcluster.errors import ClusterError
from tools.localcluster.processes import Namespaces

HOLDER = "namespaces"
_READY = "namespaces.ready"
_CREATED_RUN_NETNS = "created-run-netns"


def is_mount_point(path: Path) -> bool:
    return str(path) in mount_points()


def mount_points(below: Path | None = None) -> list[str]:
    """Newest first, which is the order to undo them in."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    found = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    if below is not None:
        found = [path for path in found if path == str(below) or path.startswith(f"{below}/")]
    return found[::-1]


def network() -> Namespaces:
    return Namespaces(paths.NETNS)


def namespaces() -> Namespaces:
    """What to enter; the holder must be alive."""
    holder = processes.alive(HOLDER)
    if holder is None:
        raise ClusterError("The cluster is not running; start it with: python -m tools.localcluster up")
    return Namespaces(paths.NETNS, Path(f"/proc/{holder.pid}/ns/mnt"))


def is_up() -> bool:
    return processes.alive(HOLDER) is not None and is_mount_point(paths.NETNS) and (paths.state() / _READY).exists()


def create() -> None:
    _create_network()
    _create_mounts()


def _create_network() -> None:
    if is_mount_point(paths.NETNS):
        return
    if not is_mount_point(paths.NETNS.parent):
        paths.write(paths.state() / _CREATED_RUN_NETNS, "")
    processes.run(["ip", "netns", "add", paths.NETNS.name])
    script = f"""
        ip link set lo up
        ip link add node0 type veth peer name node0p
        ip address add {versions.NODE_ADDRESS}/{versions.NODE_PREFIX} dev node0
        ip link set node0 up
        ip link set node0p up
        ip route add default dev node0
        echo 1 > /proc/sys/net/ipv4/ip_forward
        echo 0 > /proc/sys/net/ipv4/icmp_ratelimit
    """
    processes.run(["sh", "-ec", script], within=network())


def _create_mounts() -> None:
    if processes.alive(HOLDER):
        return
    ready = paths.state() / _READY
    ready.unlink(missing_ok=True)
    hidden = paths.state() / "host"
    for name in ("var-lib", "var-log"):
        (hidden / name).mkdir(parents=True, exist_ok=True)
    own, cache = shlex.quote(str(hidden)), shlex.quote(str(paths.cache()))
    # The cache is opened before it might be covered, and put back on top afterwards.
    script = f"""
        exec 9<{cache}
        mount --bind {own}/var-log /var/log
        mount --bind {own}/var-lib /var/lib
        mount -t tmpfs -o mode=755 tmpfs /run
        [ -d {own} ] || {{ mkdir -p {cache} && mount --bind /proc/self/fd/9 {cache}; }}
        mkdir -p /run/lock
        mount --make-rshared /
        : > {shlex.quote(str(ready))}
        exec 9<&-
        exec sleep infinity
    """
    command = ["unshare", "--mount", "--propagation", "private", "--", "sh", "-ec", script]
    processes.start(HOLDER, command, within=network())
    processes.wait_for("the mount namespace", ready.exists, seconds=10, needs=[HOLDER])


def remove() -> None:
    """After the last process has ended."""
    if is_mount_point(paths.NETNS) or paths.NETNS.exists():
        processes.run(["ip", "netns", "delete", paths.NETNS.name])
    if (paths.state() / _CREATED_RUN_NETNS).exists() and not any(paths.NETNS.parent.iterdir()):
        while is_mount_point(paths.NETNS.parent):
            processes.run(["umount", paths.NETNS.parent])
        paths.NETNS.parent.rmdir()
    for path in mount_points(below=paths.cache()):
        processes.run(["umount", "--lazy", path])
