"""`python -m benchmarks.risk.gateways NUMBER`: so many gateways in one process, each as in a pod, until SIGTERM.

Each has its own connection to the bus, journal, simulated venue, order entry, and watch of KillSwitches at the API
server. What they have in common is the interpreter: one works at a time. The environment is a gateway's; a line on
standard output says that all serve.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterable, Mapping

import uvloop

from benchmarks.risk.venues import NAMESPACE, venue_file, venue_name
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.control.nats import wait_for_bucket
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.gateway import GatewayProcess
from crowetrade_agents.runtime.gateway_pod import GrpcEntry, gateway_on, obey_bus, watches_of
from crowetrade_agents.runtime.kills import Kills
from crowetrade_agents.runtime.venue import venue_of
from crowetrade_api.files import EnvName
from crowetrade_process.health import Health
from crowetrade_process.logs import configure_logging
from crowetrade_process.stopping import cancelled, stop_on_signals


async def run(number: int, environment: Mapping[str, str]) -> None:
    """Runs until SIGTERM."""
    stop, clock = stop_on_signals(), SystemClock()
    tasks, processes = list[asyncio.Task[None]](), list[GatewayProcess]()
    for place in range(number):
        process, beside = await _gateway(venue_name(place), environment, clock, stop)
        processes.append(process)
        tasks += [*beside, asyncio.create_task(process.run())]
    tasks.append(asyncio.create_task(_say_that_all_serve(processes)))
    stopped = asyncio.create_task(stop.wait())
    for ended in asyncio.as_completed([stopped, *tasks]):
        await ended  # raises what ended a gateway
        if stop.is_set():
            break
    await cancelled(stopped, *tasks)


async def _say_that_all_serve(processes: Iterable[GatewayProcess]) -> None:
    for process in processes:
        await process.serving.wait()
    sys.stdout.write("all serve\n")
    sys.stdout.flush()


async def _gateway(
    name: str, environment: Mapping[str, str], clock: Clock, stop: asyncio.Event
) -> tuple[GatewayProcess, list[asyncio.Task[None]]]:
    """One gateway and what works beside it."""
    file, known = venue_file(name), asyncio.Event()
    kills = Kills(NAMESPACE, name, clock)
    bus = await NatsBus.connect(environment[EnvName.NATS_URL], name=name, on_connection=lambda connected, why: None)
    await wait_for_bucket(bus.client.jetstream(), clock)
    venue = venue_of(file, environment, clock)
    process = gateway_on(bus, f"{name}-0", file, venue, GrpcEntry(0), kills, known, clock, Health(), stop)
    beside = [obey_bus(bus, kills, clock, known), *(watch.run() for watch in watches_of(environment, kills, clock))]
    return process, [asyncio.create_task(one) for one in beside]


if __name__ == "__main__":
    configure_logging()
    uvloop.run(run(int(sys.argv[1]), os.environ))
