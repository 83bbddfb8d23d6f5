from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_operator.reconcile.queue import SECOND_LINE_EVERY, TURN_SECONDS, WorkQueue, work
from crowetrade_operator_tests.waiting import end


async def _until_idle(queue: WorkQueue[str], running: Counter[str]) -> None:
    while len(queue) or any(running.values()) or queue.longest_running():
        await asyncio.sleep(0)


@settings(max_examples=60, deadline=None)
@given(
    events=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 4)), max_size=40),
    workers=st.integers(1, 4),
    length=st.integers(0, 5),
)
def test_never_two_workers_on_a_key_and_no_event_is_lost(
    events: list[tuple[str, int]], workers: int, length: int
) -> None:
    """Each event raises a key's wanted state; a worker brings the key to the state that it read at its start."""

    async def scenario() -> None:
        queue: WorkQueue[str] = WorkQueue()
        wanted: Counter[str] = Counter()
        done: Counter[str] = Counter()
        running: Counter[str] = Counter()

        async def handle(key: str) -> None:
            running[key] += 1
            assert running[key] == 1, "two workers on one key"
            read = wanted[key]
            for _ in range(length):
                await asyncio.sleep(0)
            done[key] = read
            running[key] -= 1

        tasks = [asyncio.create_task(work(queue, handle)) for _ in range(workers)]
        for key, pause in events:
            wanted[key] += 1
            queue.add(key)
            for _ in range(pause):
                await asyncio.sleep(0)
        await _until_idle(queue, running)
        assert done == wanted
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)

    asyncio.run(scenario())


async def test_many_events_become_one_reconcile() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for _ in range(10):
        queue.add("a")
    assert len(queue) == 1
    assert await queue.get() == "a"
    queue.add("a")
    queue.add("a")
    assert len(queue) == 0, "not while a worker has it"
    queue.done("a")
    assert len(queue) == 1


async def test_what_somebody_waits_for_goes_before_what_is_only_looked_at_again() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in ("old-1", "old-2", "old-3"):
        queue.add(key, first=False)
    queue.add("edited")
    queue.add("old-3")
    queue.add("old-3", first=False)
    assert [await queue.get() for _ in range(4)] == ["edited", "old-3", "old-1", "old-2"]
    assert len(queue) == 0


async def test_a_key_that_became_urgent_while_a_worker_had_it_comes_once_more() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a", first=False)
    assert await queue.get() == "a"
    queue.add("b", first=False)
    queue.add("a", first=False)
    queue.add("a")
    queue.done("a")
    assert [await queue.get() for _ in range(2)] == ["a", "b"]
    assert len(queue) == 0


async def test_the_second_line_moves_on_under_any_load() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("resync", first=False)
    for number in range(100):
        queue.add(f"edit-{number}")
    taken = [await queue.get() for _ in range(SECOND_LINE_EVERY)]
    assert "resync" in taken


async def test_failures_come_back_later_each_time_with_jitter() -> None:
    delays = []
    for chance in (0.0, 1.0):
        queue: WorkQueue[str] = WorkQueue(rng=lambda chance=chance: chance)  # type: ignore[misc]
        delays.append([queue.failed("a") for _ in range(12)])
        queue.close()
    low, high = delays
    assert low[:3] == [0.1, 0.2, 0.4]
    assert high[:3] == [pytest.approx(0.3), pytest.approx(0.6), pytest.approx(1.2)]
    assert low[-1] == 30.0
    assert high[-1] == 90.0


async def test_success_starts_the_delays_anew() -> None:
    queue: WorkQueue[str] = WorkQueue(rng=lambda: 0.5)
    queue.failed("a")
    queue.failed("a")
    queue.succeeded("a")
    assert queue.failed("a") == pytest.approx(0.2)
    queue.close()


async def test_the_earlier_of_two_timers_wins() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", 30.0)
    queue.add_after("a", 0.0)
    queue.add_after("a", 60.0)
    assert await queue.get() == "a"
    queue.close()
    queue.add("b")
    queue.add_after("b", 0.0)
    assert len(queue) == 0, "closed"


async def test_ages() -> None:
    now = [0.0]
    queue: WorkQueue[str] = WorkQueue(clock=lambda: now[0])
    assert queue.oldest_waiting() == 0.0
    queue.add("a")
    now[0] = 3.0
    assert queue.oldest_waiting() == 3.0
    await queue.get()
    now[0] = 7.0
    assert queue.oldest_waiting() == 0.0
    assert queue.longest_running() == 4.0


async def test_one_that_ends_hands_out_nothing_more_and_waits_for_what_is_being_done() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("b")
    assert await queue.get() == "a"
    finishing = asyncio.create_task(queue.finish())
    _, late = await asyncio.wait({finishing}, timeout=0.05)
    assert late, "a is being done"
    waiting = asyncio.create_task(queue.get())
    queue.done("a")
    async with asyncio.timeout(10):
        await finishing
    assert not waiting.done(), "b is left to whoever leads next"
    waiting.cancel()


@pytest.mark.parametrize(
    ("seconds", "at_most"),
    [(TURN_SECONDS * 2, 1), (TURN_SECONDS / 0.9, 1), (TURN_SECONDS / 1.9, 2), (TURN_SECONDS / 4.9, 5)],
)
async def test_keys_that_have_nothing_to_wait_for_leave_the_event_loop_to_others(seconds: float, at_most: int) -> None:
    now, between, seen = 0.0, 0, Counter[int]()

    async def handle(key: int) -> None:
        nonlocal now
        now += seconds
        seen[between] += 1

    queue: WorkQueue[int] = WorkQueue(clock=lambda: now)
    for number in range(40):
        queue.add(number)
    workers = {asyncio.create_task(work(queue, handle)) for _ in range(8)}
    while len(queue):
        between += 1
        await asyncio.sleep(0)
    await end(workers)
    assert seen.total() == 40
    assert max(seen.values()) == at_most, "then the loop goes around"
