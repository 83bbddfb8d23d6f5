"""Which tests may run beside each other in one cluster, which several processes of pytest share.

A test marked `alone` does something to what all share: the bus, the operator, the release or the API server. It runs
when no other test does, and others wait. The kernel drops the locks of a process that ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tools.localcluster import paths
from tools.localcluster.lock import exclusive

_RUN = "PYTEST_XDIST_TESTRUNUID"
"""Of pytest-xdist, the same in all processes of one run; without it there is one process."""


@contextmanager
def turn(alone: bool) -> Iterator[None]:
    """Holds the cluster while a test runs, for itself or with others. Whoever waits to be alone holds up those that
    come later."""
    with ExitStack() as running:
        with _locked("e2e-next.lock", fcntl.LOCK_EX):
            running.enter_context(_locked("e2e-running.lock", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        yield


@contextmanager
def first() -> Iterator[bool]:
    """Whether this process is the first of its run to come here; the others wait until that one is through. When it
    fails, the next one is the first."""
    run, last = os.environ.get(_RUN, ""), paths.cache() / "e2e-run"
    with exclusive(paths.cache() / "e2e-first.lock", "set up the cluster for the tests"):
        is_first = not run or not last.exists() or last.read_text() != run
        yield is_first
        paths.write(last, run)


@contextmanager
def _locked(name: str, how: int) -> Iterator[None]:
    descriptor = os.open(paths.cache() / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)
