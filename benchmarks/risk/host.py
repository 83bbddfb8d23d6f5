"""`python -m benchmarks.risk.host FILE`: as benchmarks.gateway.host; SIGUSR1 re-arms every kill order.

Nothing but the object at the API server re-arms a gateway, and a benchmark of a thousand kills has no API server.

It also writes `refusals` to FILE: of each kill order the wall clock at which it was seen, and how long the first order
that it stopped waited for its refusal, since then or since its arrival, whichever was later.
"""

from __future__ import annotations

import asyncio
import signal
import time
from typing import Any

from benchmarks.gateway import host
from crowetrade_agents.control.kills import Kill, KillCommand, Rearm
from crowetrade_agents.gateway.commands import Command, NewOrder
from crowetrade_agents.gateway.loop import Gateway
from crowetrade_agents.order_entry.hub import Sessions
from crowetrade_agents.order_entry.port import Response
from crowetrade_agents.runtime import gateway, gateway_pod
from crowetrade_agents.runtime.kills import Kills


class Refusals:
    """The first one after each kill order."""

    def __init__(self) -> None:
        self.waited: list[tuple[int, int]] = []
        self._seen_ns = 0
        # When orders came since then.
        self._arrived_ns: dict[str, int] = {}

    def killed(self, command: KillCommand) -> None:
        """A kill order is seen."""
        if isinstance(command, Kill):
            self._seen_ns = command.received_ns
            self._arrived_ns.clear()

    def arrived(self, command: Command) -> None:
        """A request has come."""
        if self._seen_ns and isinstance(command, NewOrder):
            self._arrived_ns[command.terms.cl_ord_id] = time.time_ns()

    def told(self, response: Response) -> None:
        """A strategy is told something."""
        report = response.execution_report
        if self._seen_ns and report.reason == "KillSwitchEngaged":
            since_ns = max(self._seen_ns, self._arrived_ns.get(report.cl_ord_id, 0))
            self.waited.append((self._seen_ns, report.transact_unix_ns - since_ns))
            self._seen_ns = 0


REFUSALS = Refusals()


class NotingGateway(Gateway):
    """Notes what comes."""

    async def put(self, command: Command) -> None:
        """See Gateway."""
        REFUSALS.arrived(command)
        await super().put(command)


class NotingHub(Sessions):
    """Notes what leaves."""

    def deliver(self, strategy: str, response: Response) -> None:
        """See SessionHub."""
        REFUSALS.told(response)
        super().deliver(strategy, response)


class RearmedBySignal(Kills):
    """Puts what the watch of the API server would put."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, self._rearm)

    def put(self, command: KillCommand) -> None:
        """See Kills."""
        REFUSALS.killed(command)
        super().put(command)

    def _rearm(self) -> None:
        for kill in [*self.in_force]:
            order = kill.order
            self.put(Rearm(order.namespace, order.name, order.uid, order.generation + 1))


if __name__ == "__main__":
    for module, name, made in (
        (gateway_pod, "Kills", RearmedBySignal),
        (gateway, "Gateway", NotingGateway),
        (gateway, "Sessions", NotingHub),
    ):
        setattr(module, name, made)
    host.main({"refusals": REFUSALS.waited})
