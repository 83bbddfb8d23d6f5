"""Execution waits until every upstream role answers."""

from __future__ import annotations

import asyncio

from crowetrade import subjects
from crowetrade_agents.bus.local import LocalBus
from crowetrade_agents.roles.handshake import await_roles

from ..clock import ManualClock, settle
from ..messages import NAMESPACE, START_NS, STRATEGY


async def test_it_returns_when_the_last_role_answers_and_names_those_that_do_not() -> None:
    bus, clock = LocalBus().connect(), ManualClock(START_NS)
    missing: list[str] = []
    roles = ("feature", "signal")
    waiting = asyncio.create_task(await_roles(bus, clock, NAMESPACE, STRATEGY, roles, missing.append))
    await settle()
    for role in roles:
        assert not waiting.done()
        assert missing[-1] == role
        await bus.answer_pings(subjects.handshake(NAMESPACE, STRATEGY, role))
        await clock.advance_seconds(0.1)
    await waiting
