"""A keeper of shares looks from time to time, whatever it finds."""

from __future__ import annotations

import asyncio

import pytest

from crowetrade_agents.allowances.memory import MemoryLedgers
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.gateway.commands import SharesChanged
from crowetrade_agents.runtime.shares import ShareKeeper
from crowetrade_process.stopping import cancelled

from ..gateway.scenario import Scenario


class _StandingClock:
    """Never goes on; says when somebody waits for it."""

    def __init__(self) -> None:
        self.waited_for = asyncio.Event()

    def now_ns(self) -> int:
        return 1

    async def wait_until(self, at_ns: int) -> None:
        self.waited_for.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "known", [Configuration(), Configuration(bindings={}), Configuration(unreadable="it is not a GatewayConfig")]
)
async def test_it_waits_between_looks_when_there_is_nothing_to_share(known: Configuration) -> None:
    """A keeper that does not would hold the event loop: nothing else of the gateway would ever run."""
    state, clock = Scenario().state, _StandingClock()
    state.live.configuration = known
    state.live.demands_noted = 3

    async def tell(changed: SharesChanged) -> None:
        assert not changed.held

    running = asyncio.create_task(ShareKeeper("sim-fx", state, MemoryLedgers().port(), tell, clock).run())
    try:
        await asyncio.wait_for(clock.waited_for.wait(), 5)
    finally:
        await cancelled(running)
