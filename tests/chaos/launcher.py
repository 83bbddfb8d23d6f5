"""Starts gateways without importing everything each time: imports once, then forks for each line of standard input.

A line is {"environment": {...}, "output": PATH}; the answer is the process id. The child runs the same `main` as
`python -m crowetrade_agents.runtime gateway`. Nothing but imports has happened before the fork: no thread, no loop, no
connection. A parent that goes away ends the launcher, and with it every gateway that it started.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
from typing import Any

import crowetrade_agents.runtime.gateway as gateway
from crowetrade_agents.runtime.__main__ import main

PR_SET_PDEATHSIG = 1
assert gateway


def run(request: dict[str, Any]) -> None:
    """The child: its own process group, environment and output."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    os.setsid()
    output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request["environment"])
    code = main(["gateway"])
    sys.stdout.flush()
    os._exit(code)


def serve() -> None:
    """Forks until standard input ends."""
    # Children are reaped by the kernel; whoever wants to know of their end holds a pidfd.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    print("ready", flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            try:
                run(request)
            finally:
                os._exit(70)
        print(child, flush=True)


if __name__ == "__main__":
    serve()
