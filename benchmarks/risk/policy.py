"""How soon a changed permission is in force on the bus: the chart's own nats-server, an authorizer's process and an API
server, without a cluster.

From the API server's answer to a Strategy that is created, or deleted, until a connection with its certificate is let
in, or refused. It is tried again as soon as it has ended, so a figure holds the connection that showed it, of which
`bus.connection` says what one costs by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import uvloop
from nats.errors import Error as NatsError

from benchmarks.figures import Figure, durations
from benchmarks.risk.fleet import api_server
from crowetrade_operator.cluster.client import connect
from crowetrade_operator.cluster.resources import STRATEGIES
from crowetrade_operator_tests.authorizer.conftest import make_strategy
from crowetrade_operator_tests.conftest import install_crds
from crowetrade_operator_tests.secured_bus import SecuredBus, identity_of_strategy, secured_bus
from crowetrade_operator_tests.servers import ApiServer

NAMESPACE, VENUE = "desk", "sim"
CHANGES = 30
LIMIT_SECONDS = 30.0


def policy(folder: Path) -> Iterator[Figure]:
    """All measurements."""
    uvloop.install()
    for name in ("api-server", "bus"):
        (folder / name).mkdir()
    with api_server(folder / "api-server") as server, secured_bus(folder / "bus") as bus:
        yield from asyncio.run(_measure(server, bus))


async def _measure(server: ApiServer, bus: SecuredBus) -> list[Figure]:
    cluster = await connect(str(server.kubeconfig))
    try:
        await install_crds(cluster)
        replica = bus.start_authorizer(server.kubeconfig)
        await make_strategy(cluster, NAMESPACE, "warm-up", VENUE)
        await asyncio.to_thread(replica.wait_ready)
        await _until(bus, "warm-up", admitted=True)
        granted, withdrawn, connections = [], [], []
        for number in range(CHANGES):
            name = f"changing-{number}"
            # Its certificate is there before the clock runs.
            bus.directory(identity_of_strategy(NAMESPACE, name))
            await make_strategy(cluster, NAMESPACE, name, VENUE)
            granted.append(await _until(bus, name, admitted=True))
            began = time.monotonic_ns()
            await _admits(bus, name)
            connections.append(time.monotonic_ns() - began)
            await cluster.delete(STRATEGIES, NAMESPACE, name)
            withdrawn.append(await _until(bus, name, admitted=False))
    finally:
        await cluster.close()
    return [
        durations("bus.permission_granted", "ms", granted),
        durations("bus.permission_withdrawn", "ms", withdrawn),
        durations("bus.connection", "ms", connections),
    ]


async def _until(bus: SecuredBus, strategy: str, *, admitted: bool) -> int:
    """Nanoseconds until it is let in, or refused. Raises TimeoutError."""
    began = time.monotonic_ns()
    async with asyncio.timeout(LIMIT_SECONDS):
        while await _admits(bus, strategy) is not admitted:
            pass
    return time.monotonic_ns() - began


async def _admits(bus: SecuredBus, strategy: str) -> bool:
    try:
        async with bus.connected(identity_of_strategy(NAMESPACE, strategy)):
            return True
    except NatsError:
        return False
