"""`python -m benchmarks.operator.load URL STRATEGIES VENUES NAMESPACES`: what the gateways and agents of a fleet
report, until SIGTERM: a gateway once a second, an agent as often as one does that has nothing new but a signal.

A gateway acknowledges what is on the bus for it, as soon as it is there. What is published to MODE says what they
report: `moving` (every position, mark and counter changes with each message) or `same`. What is published to SESSION is
the namespace and name of a venue, separated by a slash: its session is lost, or comes back.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time

import nats
import nats.errors
import nats.js.errors
import uvloop
from nats.aio.client import Client
from nats.aio.msg import Msg

from benchmarks.operator.fleet import Fleet
from crowetrade import subjects
from crowetrade.bus.v1 import instrument_pb2, status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_agents.roles.status import REPORT_SECONDS
from crowetrade_api.gateway_config import rule_hash

MODE, SESSION = "bench.mode", "bench.session"
SLICES = 20
"""Of a second: so often a part of the fleet reports."""
AGENT_SLICES = round(SLICES * REPORT_SECONDS)
START_NS = 1_767_603_600_000_000_000


class Load:
    """The fleet's voice."""

    def __init__(self, client: Client, fleet: Fleet) -> None:
        self._client = client
        self._venues = fleet.venue_places()
        self._agents = [(namespace, name) for namespace, name, _ in fleet.strategy_places()]
        self._configs: dict[str, config_pb2.GatewayConfig] = {}
        self._down: set[tuple[str, str]] = set()
        self._round = 0
        self._moving = True

    async def run(self) -> None:
        """Reports until cancelled."""
        await self._client.subscribe(MODE, cb=self._mode)
        await self._client.subscribe(SESSION, cb=self._session)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow())
            group.create_task(self._report())

    async def _mode(self, message: Msg) -> None:
        self._moving = message.data == b"moving"

    async def _session(self, message: Msg) -> None:
        namespace, _, name = message.data.decode().partition("/")
        self._down ^= {(namespace, name)}
        await self._say_gateway(namespace, name)

    async def _follow(self) -> None:
        stream = self._client.jetstream()
        while True:
            try:
                bucket = await stream.key_value(subjects.CONFIG_BUCKET)
                watcher = await bucket.watchall()
                break
            except nats.js.errors.NotFoundError:
                await asyncio.sleep(0.1)
        while True:
            with contextlib.suppress(nats.errors.TimeoutError):
                entry = await watcher.updates(timeout=60)  # type: ignore[no-untyped-call]
                if entry is not None and entry.value:
                    self._configs[entry.key] = config_pb2.GatewayConfig.FromString(entry.value)
                    _, namespace, name = entry.key.split(".")
                    await self._say_gateway(namespace, name)

    async def _report(self) -> None:
        begin = time.monotonic()
        for tick in range(sys.maxsize):
            place = tick % SLICES
            self._round += self._moving and place == 0
            for namespace, name in self._venues[place::SLICES]:
                await self._say_gateway(namespace, name)
            for namespace, name in self._agents[tick % AGENT_SLICES :: AGENT_SLICES]:
                await self._say_agent(namespace, name)
            await asyncio.sleep(max(0.0, begin + (tick + 1) / SLICES - time.monotonic()))

    async def _say_gateway(self, namespace: str, name: str) -> None:
        config = self._configs.get(subjects.gateway_config_key(namespace, name))
        if config is None:
            return
        down = (namespace, name) in self._down
        message = gateway_status(namespace, name, config, self._round, down)
        await self._publish(subjects.gateway_status(namespace, name), message)

    async def _say_agent(self, namespace: str, name: str) -> None:
        message = status_pb2.AgentStatus(
            namespace=namespace,
            strategy=name,
            roles=["feature", "signal", "portfolio", "execution"],
            pod=f"{name}-0",
            sent_unix_ns=time.time_ns(),
            # With each bar of a minute.
            last_signal_unix_ns=START_NS + self._round // 60 * 60_000_000_000,
            config_hash="bench",
        )
        await self._publish(subjects.agent_status(namespace, name, "all"), message)

    async def _publish(self, subject: str, message: status_pb2.GatewayStatus | status_pb2.AgentStatus) -> None:
        headers = {subjects.SCHEMA_HEADER: message.DESCRIPTOR.full_name}
        await self._client.publish(subject, message.SerializeToString(), headers=headers)


def gateway_status(
    namespace: str, name: str, config: config_pb2.GatewayConfig, number: int, down: bool
) -> status_pb2.GatewayStatus:
    """What the gateway says in its so-manyeth second."""
    session = status_pb2.SESSION_STATE_DISCONNECTED if down else status_pb2.SESSION_STATE_LOGGED_ON
    status = status_pb2.GatewayStatus(
        namespace=namespace,
        venue=name,
        pod=f"venue-{name}-0",
        sent_unix_ns=time.time_ns(),
        session=session,
        session_since_unix_ns=START_NS,
        session_message="the line is cut" if down else "",
        fencing_token=1,
        journal_sequence=1_000 + number,
        config_revision=config.revision,
        watches_kill_switches=True,
        latency_p99_micros=500 + number % 10,
        market_data_sequence=number,
    )
    for rule in config.rules:
        status.risk_acknowledgements.add(risk_limit=rule.risk_limit, uid=rule.uid, hash=rule_hash(rule))
        for binding in config.strategies:
            status.utilisation.add(
                risk_limit=rule.risk_limit,
                limit="maxOrderQuantity",
                key=f"{binding.strategy}/{name}/EUR-USD",
                used=str(1_000 * (number % 100)),
                allowed="200000",
            )
    limits = [rule.risk_limit for rule in config.rules]
    for binding in config.strategies:
        account = status.accounts.add(
            strategy=binding.strategy, connected=True, risk_limits=limits, sent_total=number, filled_total=number
        )
        account.positions.add(
            instrument=instrument_pb2.InstrumentId(venue=name, symbol="EUR-USD"),
            quantity=str(1_000 * (1 + number % 100)),
            average_price="1.1",
            mark_price=f"1.1{number % 10_000:04d}",
            mark_unix_ns=START_NS + number,
            realized_pnl=str(number),
            unrealized_pnl=str(-number),
            fees=str(number),
        )
    return status


async def run(url: str, fleet: Fleet) -> None:
    """Reports until cancelled."""
    client = await nats.connect(url, pending_size=64 * 1024 * 1024)
    await Load(client, fleet).run()


if __name__ == "__main__":
    uvloop.run(run(sys.argv[1], Fleet(*map(int, sys.argv[2:]))))
