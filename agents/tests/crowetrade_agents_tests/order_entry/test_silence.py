"""When a peer counts as silent."""

from __future__ import annotations

import asyncio

from crowetrade_agents.order_entry.silence import until_silent
from crowetrade_agents_tests.clock import START_NS, ManualClock, settle


async def test_a_peer_is_silent_one_deadline_after_it_was_last_heard() -> None:
    clock, heard = ManualClock(), [START_NS]
    watch = asyncio.create_task(until_silent(clock, 100, lambda: heard[0]))
    await settle()
    await clock.advance(99)
    heard[0] = clock.now_ns()
    await clock.advance(99)
    assert not watch.done()
    await clock.advance(1)
    assert watch.done()


async def test_a_process_that_stood_still_itself_gives_the_peer_another_deadline() -> None:
    clock = ManualClock()
    watch = asyncio.create_task(until_silent(clock, 100, lambda: START_NS))
    await settle()
    clock.jump(10_000)
    await settle()
    assert not watch.done()
    await clock.advance(100)
    assert watch.done()
