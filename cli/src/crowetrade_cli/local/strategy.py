"""One strategy on this machine: all roles in this process, its sessions with gateways in it too."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from crowetrade.bus.v1 import status_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.bus.local import LocalBus
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.errors import AgentError
from crowetrade_agents.order_entry.in_process import InProcessEntry, InProcessSession
from crowetrade_agents.order_entry.port import OrderSession, SessionListener
from crowetrade_agents.roles.stages import RunningStage
from crowetrade_agents.runtime.strategy import StrategyProcess
from crowetrade_api.files import StrategyFile
from crowetrade_api.names import ROLES
from crowetrade_cli.local.state import NAME
from crowetrade_process.health import Health

_log = structlog.get_logger(__name__)


class LocalStrategy:
    """Runs until it is stopped, or until it cannot go on; `problem` then says why."""

    def __init__(self, file: StrategyFile, entries: Mapping[str, InProcessEntry], bus: LocalBus, clock: Clock) -> None:
        self.file = file
        self.problem = ""
        self.status: status_pb2.AgentStatus | None = None
        self.running = RunningStage()
        self._entries = entries
        self._bus = bus
        self._clock = clock
        self._stop = asyncio.Event()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Working orders are canceled; returns when all is put away."""
        self._stop.set()
        await asyncio.wait({self._task})
        self._task.result()

    async def _run(self) -> None:
        try:
            process = StrategyProcess(
                config=self.file,
                roles=ROLES,
                name=NAME,
                config_hash="",
                clock=self._clock,
                health=Health(),
                stopping=self._stop,
                open_session=self._open_session,
                running=self.running,
            )
            await process.run(self._bus.connect())
        except AgentError as error:
            self.problem = str(error)
            _log.error("strategy_ended", strategy=self.file.name, error=str(error))
        except Exception as error:  # noqa: BLE001 - the other strategies and the gateways go on
            self.problem = f"{type(error).__name__}: {error}"
            _log.exception("strategy_failed", strategy=self.file.name)

    def _open_session(
        self, venue: str, address: str, logon: gateway_pb2.Logon, listener: SessionListener
    ) -> OrderSession:
        return InProcessSession(venue, self._entries[venue], logon, listener, self._clock)
