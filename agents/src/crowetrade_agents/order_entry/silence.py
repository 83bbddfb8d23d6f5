"""Notices that a peer has become silent: a frozen process, a cut network. Both ends of a session use it."""

from __future__ import annotations

from collections.abc import Callable

from crowetrade_agents.domain.clock import Clock


async def until_silent(clock: Clock, deadline_ns: int, last_heard_ns: Callable[[], int]) -> None:
    """Returns when nothing was heard for `deadline_ns`.

    Waking up much later than asked means that this process stood still, not the peer: what the peer sent meanwhile is
    still to be read, so the silence counts from now on.
    """
    due_ns = last_heard_ns() + deadline_ns
    while True:
        await clock.wait_until(due_ns)
        now_ns = clock.now_ns()
        stood_still = now_ns - due_ns > deadline_ns // 4
        due_ns = deadline_ns + (now_ns if stood_still else last_heard_ns())
        if due_ns <= now_ns:
            return
