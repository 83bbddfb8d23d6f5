"""Work ends when the process is asked to stop, and tasks end although they lose a cancellation."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from crowetrade_process.stopping import cancelled, first_of, stop_on_signals, together, unless_stopping


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_asks_to_stop(number: signal.Signals) -> None:
    stopping = stop_on_signals()
    os.kill(os.getpid(), number)
    await asyncio.wait_for(stopping.wait(), 5)


async def test_work_that_is_done_returns_its_value() -> None:
    async def work() -> int:
        return 3

    assert await unless_stopping(asyncio.Event(), work()) == 3


async def test_work_is_cancelled_when_the_process_stops() -> None:
    stopping = asyncio.Event()
    stopping.set()
    assert await unless_stopping(stopping, asyncio.Event().wait()) is None


async def test_a_task_that_loses_a_cancellation_gets_another() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while lost < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
        raise ValueError("nobody asks for it")

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await asyncio.wait_for(cancelled(task, again_seconds=0.01), 5)
    assert lost == 2


async def test_what_runs_together_ends_together_although_one_loses_its_cancellation() -> None:
    lost = 0

    async def stubborn() -> None:
        nonlocal lost
        while lost < 1:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                lost += 1
        await asyncio.Event().wait()

    async def fails() -> None:
        raise ValueError("of one of them")

    with pytest.raises(ValueError, match="of one of them"):
        await asyncio.wait_for(together(stubborn(), fails()), 5)
    assert lost == 1
    lost = 0
    task = asyncio.create_task(together(stubborn(), asyncio.Event().wait()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    task.cancel()
    _, late = await asyncio.wait({task}, timeout=5)
    assert not late
    assert task.cancelled()
    assert lost == 1


async def test_the_first_to_end_ends_the_others() -> None:
    event, ended = asyncio.Event(), asyncio.Event()

    async def never() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    waiting = asyncio.create_task(first_of(event.wait(), never()))
    await asyncio.wait({waiting}, timeout=0.01)
    assert not waiting.done()
    event.set()
    await asyncio.wait_for(waiting, 5)
    await asyncio.wait_for(ended.wait(), 5)
