"""Strategy processes in this process: each with its own connections, models and bus, as in pods of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from crowetrade_agents.domain.clock import SystemClock
from crowetrade_agents.runtime.config import Pod
from crowetrade_agents.runtime.execution import Patience
from crowetrade_agents.runtime.strategy import StrategyProcess
from crowetrade_api.files import StrategyFile
from crowetrade_api.names import ROLES, Role
from crowetrade_process.health import Health

COMBINED: Sequence[Sequence[Role]] = (ROLES,)
SPLIT: Sequence[Sequence[Role]] = tuple((role,) for role in ROLES)
STOP_SECONDS = 20


class Running:
    """One started process."""

    def __init__(self, config: StrategyFile, roles: Sequence[Role], nats_url: str, patience: Patience | None) -> None:
        self.health = Health()
        self.stopping = asyncio.Event()
        pod = Pod("-".join(roles), nats_url, "sha256:test", Path("unused"), 0)
        process = StrategyProcess(config, roles, pod, SystemClock(), self.health, self.stopping, patience)
        self.task = asyncio.create_task(process.run())

    async def stop(self) -> None:
        """As on SIGTERM; raises what the process raised."""
        self.stopping.set()
        await asyncio.wait_for(self.task, STOP_SECONDS)

    async def kill(self) -> None:
        """As on SIGKILL, as far as one can within a process."""
        self.task.cancel()
        await asyncio.wait({self.task})


@asynccontextmanager
async def strategy(
    config: StrategyFile, nats_url: str, processes: Sequence[Sequence[Role]], patience: Patience | None = None
) -> AsyncIterator[list[Running]]:
    """All processes of a strategy."""
    running = [Running(config, roles, nats_url, patience) for roles in processes]
    try:
        yield running
    finally:
        for one in running:
            if not one.task.done():
                await one.stop()
