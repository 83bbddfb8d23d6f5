"""Readiness of a strategy's roles among themselves.

In lock step the gateway publishes the first event as soon as the execution role is logged on, and what nobody listens
to is lost. So each role answers pings once its subscriptions are in force, and execution logs on when all upstream
roles have answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from crowetrade import subjects
from crowetrade_agents.bus.port import Bus
from crowetrade_agents.domain.clock import Clock

PING_TIMEOUT_SECONDS = 0.5
# Between two rounds, so that an absent role is not asked in a tight loop.
ROUND_PAUSE_NS = 100_000_000


async def await_roles(
    bus: Bus, clock: Clock, namespace: str, strategy: str, roles: Iterable[str], on_waiting: Callable[[str], None]
) -> None:
    """Returns when each of the roles has answered; `on_waiting` is called with each that has not yet."""
    for role in roles:
        subject = subjects.handshake(namespace, strategy, role)
        while not await bus.ping(subject, PING_TIMEOUT_SECONDS):
            on_waiting(role)
            await clock.wait_until(clock.now_ns() + ROUND_PAUSE_NS)
