"""Keeps what is in memory, such as a venue's keys, out of files and out of other processes of the same user."""

from __future__ import annotations

import ctypes
import resource
import sys

PR_SET_DUMPABLE = 4


def forbid_memory_dumps() -> None:
    """No core file from now on, and /proc/PID/mem, environ and the like are root's alone.

    PR_SET_DUMPABLE does both on Linux, also where /proc/sys/kernel/core_pattern hands core dumps to a program, which
    the limit does not stop. See prctl(2), core(5) and proc(5).
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl PR_SET_DUMPABLE")
