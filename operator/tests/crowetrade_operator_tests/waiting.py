"""Waiting for what real servers and processes do, always with a deadline; and counting it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import nats.errors

from crowetrade_operator import metrics
from crowetrade_operator.errors import NotFound

WAIT_SECONDS = 30.0


async def until(what: str, check: Callable[[], Awaitable[bool] | bool], seconds: float = WAIT_SECONDS) -> None:
    """Asks again and again until the check holds."""
    last: BaseException | None = None
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    try:
        async with asyncio.timeout_at(deadline):
            # Looked at as well: a library that swallows the cancellation does not make us wait for ever.
            while loop.time() < deadline:
                try:
                    holds = check()
                    if holds if isinstance(holds, bool) else await holds:
                        return
                except (NotFound, KeyError, IndexError, StopIteration, nats.errors.TimeoutError) as error:
                    last = error
                await asyncio.sleep(0.02)
    except TimeoutError:
        pass
    raise AssertionError(f"not within {seconds:g} s: {what} ({last!r})")


async def end(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancels until all have ended: `wait_for` of Python 3.11, which nats-py uses, may swallow a cancellation."""
    pending: set[asyncio.Task[Any]] = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=1.0)


def counted(name: str, **labels: str) -> float:
    """A counter of the operator, over all labels that are not given."""
    return sum(
        sample.value
        for family in metrics.REGISTRY.collect()
        for sample in family.samples
        if sample.name == f"crowetrade_operator_{name}_total" and labels.items() <= sample.labels.items()
    )
