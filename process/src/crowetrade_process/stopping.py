"""Ends what a process runs when it is asked to stop."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import TypeVar

T = TypeVar("T")

# Between two cancellations of a task that lost the first, when it has nothing to tidy up.
AGAIN_SECONDS = 0.2


def stop_on_signals() -> asyncio.Event:
    """Returns an event that SIGTERM and SIGINT set."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    return stopping


async def unless_stopping(
    stopping: asyncio.Event, work: Coroutine[object, object, T], again_seconds: float = AGAIN_SECONDS
) -> T | None:
    """Returns what `work` does, or None when the process is asked to stop first."""
    task = asyncio.create_task(work)
    asked = asyncio.create_task(stopping.wait())
    await asyncio.wait({task, asked}, return_when=asyncio.FIRST_COMPLETED)
    await cancelled(asked)
    if task.done():
        return task.result()
    await cancelled(task, again_seconds=again_seconds)
    return None


async def first_of(*waits: Coroutine[object, object, object]) -> None:
    """Returns when the first of them has ended; the others are cancelled and not waited for."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def together(*works: Coroutine[object, object, object]) -> None:
    """Runs all until the first of them raises, or until cancelled; then all have ended. Unlike a TaskGroup it cancels
    again what has lost a cancellation."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        await cancelled(*tasks)
    for task in done:
        task.result()


async def cancelled(*tasks: asyncio.Task[T], again_seconds: float = AGAIN_SECONDS) -> None:
    """Cancels until all have ended, whatever they raise; again after `again_seconds`, which leave time to tidy up.

    Once is not enough: until Python 3.12 `asyncio.wait_for` forgets a cancellation that comes together with an error
    of what it waits for, such as a refused connection, and the client tries again.
    """
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=again_seconds)
        for task in done:
            if not task.cancelled():
                task.exception()
