"""The keys of a gateway without its venue, and what it says of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.keys import KeyKeeper
from crowetrade_agents.venues.port import VenueUnavailable
from crowetrade_process.stopping import cancelled
from tests.vault.conftest import Keyed
from tests.vault.servers import until


@asynccontextmanager
async def keeping(keyed: Keyed, **environment: str) -> AsyncIterator[KeyKeeper]:
    """The keys of a gateway that has no venue: whatever it shows is accepted. `environment` is Vault Agent's."""
    assert keyed.venue.spec.credentials is not None
    keeper = KeyKeeper(keyed.agent.credentials, keyed.venue.spec.credentials, SystemClock())

    async def renew() -> None:
        keeper.read()
        keeper.logged_on()

    keyed.agent.start(**environment)
    running = asyncio.create_task(keeper.run(renew))
    try:
        yield keeper
    finally:
        assert keyed.agent.runs, "nothing crash-loops"
        await cancelled(running)


async def log_on(keeper: KeyKeeper) -> None:
    """As a session does, again and again."""

    def tried() -> bool:
        try:
            keeper.read()
        except VenueUnavailable:
            return False
        keeper.logged_on()
        return True

    await until(tried, keeper.status)


async def says(keeper: KeyKeeper, reason: str, *words: str) -> None:
    """Waits for what the gateway reports."""
    await until(lambda: keeper.status().reason == reason, keeper.status)
    for word in words:
        assert word in keeper.status().message
