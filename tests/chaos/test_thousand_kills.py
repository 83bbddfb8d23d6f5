"""A thousand kill orders while strategies send without a pause: the venue's own log has no new order from the moment at
which the acknowledgement says that it blocks, until it is re-armed; and once it says that nothing is open, nothing is.

The gateway and the venue have one clock, and the venue answers an order after its line is in the log: an order with a
later time than the acknowledgement's has reached the venue after the gateway said that none can."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import grpc
import pytest
from nats.js.api import KeyValueConfig, StreamConfig

from crowetrade import subjects
from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.control.grpc_server import ControlServer
from crowetrade_agents.control.kills import Rearm
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.gateway_pod import GrpcEntry, gateway_on, obey_bus
from crowetrade_agents.runtime.kills import Kills
from crowetrade_agents.runtime.venue import instruments_of, venue_of
from crowetrade_agents.venues.adapters.simulated.spec import Fees, Recording, SimulatedSpec
from crowetrade_agents.venues.adapters.simulated.wire import ServerFile
from crowetrade_api.files import EnvName
from crowetrade_process.health import Health
from crowetrade_process.stopping import cancelled
from tests.chaos.desk import ACTIVE, NAMESPACE, STRATEGIES, SYMBOLS, VENUE, venue_file, write_quotes
from tests.chaos.processes import Lines, VenueServer, nats_server, until
from tests.chaos.records import VenueRecord
from tests.chaos.strategies import Strategy

pytestmark = [pytest.mark.integration, pytest.mark.no_cover]

KILLS = int(os.environ.get("KILLS", "1000"))
MODES = (kill_pb2.KILL_MODE_BLOCK, kill_pb2.KILL_MODE_CANCEL)
NAME = (NAMESPACE, "stop")


@dataclass
class Desk:
    """A gateway in this process, so that the test can re-arm as the API server would; everything else is real."""

    kills: Kills
    control: control_pb2_grpc.ControlServiceAsyncStub
    lines: Lines
    record: VenueRecord
    strategies: list[Strategy]

    def new_requests(self) -> dict[str, int]:
        """New orders and replacements that the venue has read since the last look, by ClOrdID, and when it had."""
        found = {}
        for line in self.lines.new():
            self.record.take(line)
            if line["message"]["_"] in ("NewOrder", "Replace"):
                found[line["message"]["terms"]["cl_ord_id"]] = line["wall"]
        return found

    def refused(self) -> int:
        """Requests that were refused because of a kill order."""
        return sum(
            reason == "KillSwitchEngaged" for strategy in self.strategies for reason in strategy.refused.values()
        )


@contextlib.asynccontextmanager
async def trading(folder: Path) -> AsyncIterator[Desk]:
    """Strategies send as fast as they are answered."""
    file, clock, stop, known = venue_file(), SystemClock(), asyncio.Event(), asyncio.Event()
    write_quotes(folder / "rec.csv", "kills")
    spec = SimulatedSpec(recordings=(Recording(folder / "rec.csv"),), loop=True, fees=Fees(Decimal(0), Decimal(0)))
    server = VenueServer(folder, ServerFile(tuple(instruments_of(file).values()), spec))
    await server.start()
    async with nats_server(folder) as nats, contextlib.AsyncExitStack() as stack:
        jetstream = nats.client.jetstream()
        for config in subjects.journal_stream_configs(NAMESPACE, VENUE):
            await jetstream.add_stream(StreamConfig.from_response(config))
        bucket = await jetstream.create_key_value(KeyValueConfig(bucket=subjects.CONFIG_BUCKET, history=1))
        await bucket.put(subjects.gateway_config_key(NAMESPACE, VENUE), ACTIVE.SerializeToString())
        kills, entry = Kills(NAMESPACE, VENUE, clock), GrpcEntry(0)
        control = ControlServer(kills, clock, 0)
        await control.start()
        venue = venue_of(file, {EnvName.SIMULATED_SERVER: f"127.0.0.1:{server.port}"}, clock)
        process = gateway_on(NatsBus(nats.client), "pod-0", file, venue, entry, kills, known, clock, Health(), stop)
        tasks = [
            asyncio.create_task(obey_bus(NatsBus(nats.client), kills, clock, known)),
            asyncio.create_task(process.run()),
        ]
        await process.serving.wait()
        strategies = [Strategy(name, NAMESPACE, VENUE, SYMBOLS, name) for name in STRATEGIES]
        for strategy in strategies:
            await strategy.log_on(entry.port)
        tasks += [asyncio.create_task(strategy.burst(10**9, lambda: None)) for strategy in strategies]
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{control.port}"))
        stub = control_pb2_grpc.ControlServiceStub(channel)
        try:
            yield Desk(kills, stub, Lines(server.log), VenueRecord(), strategies)
        finally:
            for task in reversed(tasks):
                await cancelled(task)
            for strategy in strategies:
                await strategy.log_off()
            await control.stop()
            await server.kill()


async def test_after_the_acknowledgement_no_order_reaches_the_venue(tmp_path: Path) -> None:
    async with trading(tmp_path) as desk:
        for number in range(1, KILLS + 1):
            await until(lambda: bool(desk.new_requests()), "orders to reach the venue")
            await _kill(desk, number)
            desk.kills.put(Rearm(*NAME, "u1", 2 * number + 1))


async def _kill(desk: Desk, number: int) -> None:
    mode = MODES[number % len(MODES)]
    scope = kill_pb2.KillScope(namespaces_from="Same")
    order = kill_pb2.KillOrder(
        namespace=NAME[0], name=NAME[1], uid="u1", generation=2 * number, mode=mode, scope=scope, reason="drill"
    )
    blocked_ns, before, requests = 0, 0, desk.new_requests()
    async for answer in desk.control.Kill(control_pb2.KillRequest(order=order)):
        said = answer.acknowledgement
        if said.blocked_unix_ns and not blocked_ns:
            blocked_ns, before = said.blocked_unix_ns, desk.refused()
    assert blocked_ns
    assert said.still_open_count == 0
    await until(lambda: desk.refused() > before, "an order to be refused")
    requests |= desk.new_requests()
    late = {name: (at_ns - blocked_ns) / 1e6 for name, at_ns in requests.items() if at_ns > blocked_ns}
    assert late == {}, f"ms after kill order {number} was said to block"
    if mode == kill_pb2.KILL_MODE_CANCEL:
        assert not desk.record.open, f"nothing is open by acknowledgement {number}"
