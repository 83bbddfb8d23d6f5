"""`python -m benchmarks.risk.host FILE`: as benchmarks.gateway.host; SIGUSR1 re-arms every kill order.

Nothing but the object at the API server re-arms a gateway, and a benchmark of a thousand kills has no API server.
"""

from __future__ import annotations

import asyncio
import signal
from typing import Any

from benchmarks.gateway import host
from crowetrade_agents.control.kills import Rearm
from crowetrade_agents.runtime import gateway_pod
from crowetrade_agents.runtime.kills import Kills


class RearmedBySignal(Kills):
    """Puts what the watch of the API server would put."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._rearm)

    def _rearm(self) -> None:
        for kill in [*self.in_force]:
            order = kill.order
            self.put(Rearm(order.namespace, order.name, order.uid, order.generation + 1))


if __name__ == "__main__":
    setattr(gateway_pod, "Kills", RearmedBySignal)  # noqa: B010 - a module has no such slot for mypy
    host.main()
