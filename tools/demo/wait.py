"""The one way to wait: poll a condition until it holds or its deadline passes, saying what is waited for."""

from __future__ import annotations

import time
from collections.abc import Callable

from tools.demo.errors import DemoError, TimedOut

POLL_SECONDS = 0.5
REPORT_SECONDS = 10.0


def wait_for(
    probe: Callable[[], str | None],
    deadline_seconds: float,
    description: str,
    *,
    report: Callable[[str], None] = print,
) -> None:
    """Returns once `probe` gives None; otherwise the probe says what is still missing.

    A DemoError in the probe counts as "not yet": an API server or a pod may be on its way up. Raises TimedOut with
    what was last missing.
    """
    started = time.monotonic()
    told = ""
    next_report = started + REPORT_SECONDS
    while True:
        try:
            missing = probe()
        except DemoError as error:
            missing = str(error)
        if missing is None:
            return
        now = time.monotonic()
        if now - started > deadline_seconds:
            raise TimedOut(f"{description}: not after {deadline_seconds:.0f} s. Last seen: {missing}")
        if now >= next_report:
            news = "" if missing == told else f": {missing}"
            report(f"  waiting for {description} ({now - started:.0f} s){news}")
            told = missing
            next_report = now + REPORT_SECONDS
        time.sleep(POLL_SECONDS)
