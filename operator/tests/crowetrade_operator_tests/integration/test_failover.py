"""Two operators as processes on one API server and one bus: the leader is killed, frozen, or cannot renew in time.
Never do both write, the other one is soon at work, and what is there afterwards is what an undisturbed leader leaves.

`make chaos` runs it with the times of the chart (CROWETRADE_LEASE_SECONDS=15,10,2).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import DEPLOYMENTS, LEASES, RISK_LIMITS, STRATEGIES, VENUES
from crowetrade_operator.settings import LeaseTimes
from crowetrade_operator_tests.decide.scenes import position
from crowetrade_operator_tests.integration.desk import saying
from crowetrade_operator_tests.integration.picture import generations, settled, told
from crowetrade_operator_tests.integration.replicas import OutsideDesk, Replica, replicas
from crowetrade_operator_tests.samples import account, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer, NatsServer, Wire, nats_client
from crowetrade_operator_tests.waiting import end, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
DURATION, RENEW, RETRY = (float(part) for part in os.environ.get("CROWETRADE_LEASE_SECONDS", "6,4,0.5").split(","))
# Beyond the duration: the next try of the one that waits, its first list, and a busy machine.
FAILOVER_SECONDS = DURATION + RETRY + 10.0
STARVED_SECONDS = 3 * DURATION
STARVED_SHARE = 0.07
CHANGE_TOLD = "Strategy ema Stopping"
PUT_CONFIG = f"HPUB {subjects.key_subject(subjects.CONFIG_BUCKET, '')}".encode()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a change leaves: what is there, how often each child was written for it, and what was told of it."""

    picture: Object
    writes: dict[str, int]
    events: Counter[str]


@dataclass(slots=True)
class Pair:
    """Two operators that compete, and somebody who always gives them something to do."""

    cluster: Cluster
    namespace: str
    bus: Client
    # Of both operators.
    bus_line: Wire
    replicas: dict[str, Replica]
    editing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def lease(self) -> Object:
        spec: Object = (await self.cluster.get(LEASES, self.namespace, "crowetrade-operator"))["spec"]
        return spec

    async def leads(self) -> Replica:
        """Waits until one has made everything; returns it."""

        async def made() -> bool:
            return bool(await self.cluster.get(DEPLOYMENTS, self.namespace, "strategy-ema"))

        await until("one of them to work", made)
        return self.replicas[str((await self.lease())["holderIdentity"])]

    def other(self, one: Replica) -> Replica:
        return next(replica for replica in self.replicas.values() if replica is not one)

    async def led_by(self, one: Replica) -> None:
        """Waits until this one holds the Lease. It may have nothing to write."""

        async def holds() -> bool:
            return bool((await self.lease())["holderIdentity"] == one.name)

        await until(f"{one.name} to lead", holds)

    async def taken_over(self, before: Replica) -> float:
        """Waits until the other one writes; returns when it did so first."""
        after = self.other(before)
        assert not after.proxy.writes, "both write"
        await until(f"{after.name} to write", lambda: bool(after.proxy.writes))
        return after.proxy.writes[0]

    async def edits(self) -> None:
        """Makes a limit again and again: whoever leads says in its status where it is in force. A child that is taken
        away as often would be made again later and later."""
        while True:
            async with self.editing:
                with contextlib.suppress(Exception):
                    await self.cluster.delete(RISK_LIMITS, self.namespace, "passing")
                    manifest = limit_manifest("passing", namespace=self.namespace)
                    await self.cluster.create(RISK_LIMITS, self.namespace, manifest)
            await asyncio.sleep(0.1)

    @contextlib.asynccontextmanager
    async def quiet(self) -> AsyncIterator[None]:
        """Meanwhile nobody makes that limit."""
        async with self.editing:
            await self.cluster.delete(RISK_LIMITS, self.namespace, "passing")
            yield

    async def suspend(self, is_suspended: bool = True) -> None:
        """A change of the Strategy, its status, its ConfigMap and Deployment, and the configuration of its gateway; it
        is told by an event."""
        spec = {"suspend": is_suspended, "model": {"parameters": {"fast": 13 if is_suspended else 12}}}
        await self.cluster.merge(STRATEGIES, self.namespace, "ema", {"spec": spec})

    async def rehearsed(self) -> Outcome:
        """What it leaves to suspend the Strategy when nothing happens to the leader. Afterwards all is as before."""
        before = await self.told_and_written()
        await self.suspend()
        outcome = await self.outcome(before)
        assert outcome.events == {CHANGE_TOLD: 1}
        assert outcome.writes["Deployment strategy-ema"] == 1
        await self.suspend(False)
        await self.outcome(before)
        return outcome

    async def told_and_written(self) -> tuple[Counter[str], dict[str, int]]:
        """Up to now."""
        async with self.quiet():
            await settled(self.cluster, self.namespace, bus=self.bus)
            return await self._told(), await generations(self.cluster, self.namespace)

    async def outcome(self, before: tuple[Counter[str], dict[str, int]], wanted: Outcome | None = None) -> Outcome:
        """What is there when nobody edits anything, and what it took since then. Waits until what is there is what is
        wanted."""
        events, written = before
        async with self.quiet():
            found = await settled(self.cluster, self.namespace, wanted.picture if wanted else None, self.bus)
            after = await generations(self.cluster, self.namespace)
            writes = {name: after[name] - number for name, number in written.items()}
            return Outcome(found, writes, await self._told() - events)

    async def _told(self) -> Counter[str]:
        """But of the limit that is made again and again."""
        found = await told(self.cluster, self.namespace)
        return Counter({event: count for event, count in found.items() if not event.startswith("RiskLimit ")})

    async def configured(self) -> KeyValue.Entry:
        """What is on the bus for the gateway."""
        bucket = await self.bus.jetstream().key_value(subjects.CONFIG_BUCKET)
        return await bucket.get(subjects.gateway_config_key(self.namespace, "sim-fx"))


@pytest.fixture
async def pair(
    api_server: ApiServer, cluster: Cluster, namespace: str, nats_server: NatsServer, tmp_path: Path
) -> AsyncIterator[Pair]:
    await cluster.create(VENUES, namespace, venue_manifest(namespace=namespace))
    await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
    async with nats_client(nats_server.url) as bus, contextlib.AsyncExitStack() as stack:
        line = Wire(nats_server.port)
        await line.mend()
        stack.push_async_callback(line.cut)
        lease, url = LeaseTimes(DURATION, RENEW, RETRY), f"nats://127.0.0.1:{line.port}"
        both = await stack.enter_async_context(replicas(api_server, namespace, url, tmp_path, lease))
        found = Pair(cluster, namespace, bus, line, both)
        editing = asyncio.create_task(found.edits())
        try:
            yield found
        finally:
            await end({editing})


def _tell(figure: str, seconds: float) -> None:
    sys.stderr.write(f"{figure} {seconds:.1f} s with a Lease of {DURATION:g}/{RENEW:g}/{RETRY:g}\n")


@pytest.mark.parametrize("is_lost", [False, True], ids=["its last write is carried out", "its last write is lost"])
async def test_a_leader_that_is_killed_while_it_writes_is_followed_when_its_lease_expires(
    pair: Pair, is_lost: bool
) -> None:
    """It has sent a Deployment, and nobody lives whom the answer could reach."""
    leader, now = await pair.leads(), asyncio.get_running_loop().time
    wanted, before = await pair.rehearsed(), await pair.told_and_written()
    epoch = (await pair.lease())["leaseTransitions"]
    held = leader.proxy.hold_write("/deployments/strategy-ema")
    await pair.suspend()
    await until("the leader to send the Deployment", held.arrived.is_set)
    leader.process.kill()
    killed = now()
    if is_lost:
        held.lose()
    else:
        assert await held.carry_out() == HTTPStatus.OK
    seconds = await pair.taken_over(leader) - killed
    _tell("operator.failover.kill_seconds", seconds)
    assert seconds < FAILOVER_SECONDS
    assert (await pair.lease())["leaseTransitions"] == epoch + 1
    assert await pair.outcome(before, wanted) == wanted


async def test_what_a_leader_has_told_and_not_written_is_not_told_again_by_the_next(pair: Pair) -> None:
    """It tells a transition at once; the status that goes with it waits for its turn, and is lost with it."""
    leader = await pair.leads()
    wanted, before = await pair.rehearsed(), await pair.told_and_written()
    async with pair.quiet():
        held = leader.proxy.hold_write("/strategies/ema/status")
        await pair.suspend()
        await until("the leader to send the status", held.arrived.is_set)

        async def is_told() -> bool:
            return await pair._told() - before[0] == wanted.events

        await until("the leader to tell it", is_told)
        leader.process.kill()
        held.lose()
        await pair.taken_over(leader)
    assert await pair.outcome(before, wanted) == wanted


async def test_a_leader_that_is_killed_when_it_has_let_a_strategy_go_leaves_it_to_nobody(pair: Pair) -> None:
    """The finalizer is gone, and what would have been told with it. What is left of a position stands at its venue."""
    leader = await pair.leads()
    desk = OutsideDesk(pair.cluster, pair.namespace, pair.bus)
    held = leader.proxy.hold_write("/strategies/ema")
    left = status_pb2.AccountPosition(quantity="900", unattributed="900")
    left.instrument.symbol = "EUR-USD"
    async with saying(desk, accounts=[account(stopped=True, positions=[position("900")])]) as gateway:
        await desk.holds("900 EUR-USD")
        await desk.delete(STRATEGIES, "ema")
        await until("the leader to let it go", held.arrived.is_set)
        leader.process.kill()
        assert await held.carry_out() == HTTPStatus.OK
        await desk.gone(STRATEGIES, "ema")
        gateway.says(positions=[left])
        await pair.taken_over(leader)

        async def forgotten() -> bool:
            return not (await desk.config()).strategies

        await until("its gateway to serve it no more", forgotten)

        async def shown() -> bool:
            positions = (await desk.get(VENUES, "sim-fx"))["status"]["positions"]
            return bool(positions[0]["unattributed"] == "900")

        await until("the position to be its account's", shown)
        assert [item["reason"] for item in await desk.events("ema") if item["action"] == "Delete"] == []


async def test_a_leader_that_is_stopped_is_followed_at_once(pair: Pair) -> None:
    leader, now = await pair.leads(), asyncio.get_running_loop().time
    leader.process.send(signal.SIGTERM)
    asked = now()

    async def holder() -> str:
        return str((await pair.lease())["holderIdentity"])

    async def given_back() -> bool:
        return await holder() != leader.name

    await until("the Lease to be given back", given_back)
    free = now()
    await pair.led_by(pair.other(leader))
    assert now() - free < DURATION / 2, "it does not wait for the Lease to expire"
    _tell("operator.failover.graceful_seconds", await pair.taken_over(leader) - asked)
    await until("it to end", lambda: not leader.process.running)
    assert "lease_released" in leader.process.log.read_text()
    assert leader.last_write < pair.other(leader).proxy.writes[0]


async def test_a_leader_that_was_frozen_writes_nothing_when_it_thaws(pair: Pair) -> None:
    """It has work to do and does not know that another one leads."""
    leader = await pair.leads()
    wanted, before = await pair.rehearsed(), await pair.told_and_written()
    leader.process.freeze()
    await pair.suspend()
    taken = await pair.taken_over(leader)
    leader.process.thaw()
    await until("it to notice and end", lambda: not leader.process.running)
    assert leader.last_write < taken
    assert "lease has ended" in leader.process.log.read_text()
    message = (leader.process.log.parent / "termination").read_text()
    assert "lease has ended" in message
    assert "stood still for" in message
    assert await pair.outcome(before, wanted) == wanted


async def test_what_a_frozen_leader_had_sent_to_the_bus_is_refused_when_another_one_leads(pair: Pair) -> None:
    """It waits somewhere on the network, and arrives before the leader thaws and ends."""
    leader = await pair.leads()
    wanted, before = await pair.rehearsed(), await pair.told_and_written()
    epoch = (await pair.lease())["leaseTransitions"]
    async with pair.quiet():
        sent = pair.bus_line.hold(PUT_CONFIG)
        await pair.suspend()
        await until("the leader to put the configuration", sent.arrived.is_set)
        leader.process.freeze()
        # All but this may have been done: each resource is reconciled by itself.
        await pair.led_by(pair.other(leader))

        async def configured() -> bool:
            config = config_pb2.GatewayConfig.FromString((await pair.configured()).value or b"")
            state = config.strategies[0].state
            return (config.epoch, state) == (epoch + 1, config_pb2.TRADING_STATE_SUSPENDED)

        await until("the other one to put the configuration", configured)
        put = await pair.configured()
        sent.goes_on.set()
        await until("the bus to refuse the first one's", lambda: b"wrong last sequence" in sent.answers)
        leader.process.thaw()
        await until("it to notice and end", lambda: not leader.process.running)
        assert await pair.configured() == put
    assert await pair.outcome(before, wanted) == wanted


async def test_a_leader_that_cannot_renew_in_time_stops_before_another_one_begins(pair: Pair) -> None:
    """Each of its requests for the Lease takes longer than the deadline; all others are as fast as ever."""
    leader = await pair.leads()
    wanted, before = await pair.rehearsed(), await pair.told_and_written()
    leader.proxy.lease_seconds = DURATION
    await pair.suspend()
    taken = await pair.taken_over(leader)
    assert leader.last_write < taken
    assert taken - leader.last_write > (DURATION - RENEW) / 2
    leader.proxy.lease_seconds = 0.0
    await until("it to end", lambda: not leader.process.running)
    assert "was not renewed for" in leader.process.log.read_text()
    assert await pair.outcome(before, wanted) == wanted


async def test_a_leader_that_gets_little_of_a_core_leads_or_is_followed_and_what_is_there_is_the_same(
    pair: Pair,
) -> None:
    """Its node is overloaded: it runs for a few milliseconds of each tenth of a second."""
    leader, now = await pair.leads(), asyncio.get_running_loop().time
    other = pair.other(leader)
    before = await pair.told_and_written()
    wanted = await pair.outcome(before)
    began, used, writes = now(), leader.process.cpu_seconds, len(leader.proxy.writes)
    async with leader.process.starved(STARVED_SHARE):
        while now() - began < STARVED_SECONDS and leader.process.running:
            used_at, ran = now(), leader.process.cpu_seconds - used
            await asyncio.sleep(RETRY)
        followed = not leader.process.running
        if followed:
            await until(f"{other.name} to write", lambda: bool(other.proxy.writes))
    share = ran / (used_at - began)
    _tell(
        f"starved to {share:.1%} of a core, {len(leader.proxy.writes) - writes} writes, followed: {followed};",
        now() - began,
    )
    assert share < 0.15, "it was not starved"
    assert await pair.outcome(before, wanted) == wanted
    if other.proxy.writes:
        assert leader.last_write < other.proxy.writes[0], "both write"
