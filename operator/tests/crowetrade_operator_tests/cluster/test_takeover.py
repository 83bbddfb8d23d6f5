"""What one leader leaves to the next: on a real Lease, with real lists, and watches that the test plays."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import orjson
import pytest

from crowetrade_operator.cluster import takeover
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.lease import Elector
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.relist import Relist
from crowetrade_operator.cluster.resources import LEASES, STRATEGIES, VENUES, ApiResource
from crowetrade_operator.cluster.takeover import Takeover, left_behind
from crowetrade_operator.errors import ClusterError
from crowetrade_operator_tests.cluster.test_lease import NAME, TIMES, Clock
from crowetrade_operator_tests.fault_proxy import Fault, FaultProxy
from crowetrade_operator_tests.samples import strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration


class Replica:
    """One that has listed a namespace, and sees what the test lets it see."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, clock: Clock) -> None:
        self.cache = Cache()
        self.relist = Relist(cluster, self.cache, (namespace,))
        self.elector = Elector(cluster, namespace, NAME, name, TIMES, clock)
        self.cluster = cluster.while_leading(self.elector.seconds_left)
        self.takeover = Takeover(self.relist, self.elector)

    def sees(self, resource: ApiResource, item: Object) -> None:
        """As main._take does."""
        item = {**item, "kind": resource.kind, "apiVersion": resource.api_version}
        self.relist.saw(item, "MODIFIED")
        self.cache.put(item)

    @property
    def left_behind(self) -> str:
        return left_behind(self.relist, self.cluster)


Start = Callable[[str], Awaitable[Replica]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def start(cluster: Cluster, namespace: str, clock: Clock) -> Start:
    """Another replica, which has listed the namespace."""

    async def started(name: str) -> Replica:
        replica = Replica(cluster, namespace, name, clock)
        await replica.relist.fill()
        return replica

    return started


def lists() -> int:
    """Of Strategies, so far."""
    return round(counted("api_requests", verb="list", resource=STRATEGIES.plural))


async def test_who_follows_waits_for_its_watches_and_lists_nothing(
    cluster: Cluster, namespace: str, start: Start
) -> None:
    leader, follower = await start("leader"), await start("follower")
    await leader.elector.acquire()
    edited = await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
    leader.sees(STRATEGIES, edited)
    written = await leader.cluster.create(VENUES, namespace, venue_manifest(namespace=namespace))
    await leader.elector.release(leader.left_behind)

    await follower.elector.acquire()
    asked, task = lists(), asyncio.create_task(follower.takeover.finish())
    follower.sees(STRATEGIES, edited)
    assert not await follower.relist.reach(takeover._read(follower.elector.left_behind), 0.02)
    assert not task.done(), "what the leader has written has not come"
    follower.sees(VENUES, written)
    await task
    assert lists() == asked
    lease = await cluster.get(LEASES, namespace, NAME)
    assert not lease["metadata"].get("annotations"), "it holds for the leader before alone"


@pytest.mark.parametrize("seen", ["one that it edited", "one that it wrote"])
async def test_what_a_watch_does_not_bring_in_time_is_listed(
    cluster: Cluster, namespace: str, start: Start, monkeypatch: pytest.MonkeyPatch, seen: str
) -> None:
    monkeypatch.setattr(takeover, "REACH_SECONDS", 0.05)
    leader, follower = await start("leader"), await start("follower")
    await leader.elector.acquire()
    if seen == "one that it wrote":
        await leader.cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
    else:
        leader.sees(STRATEGIES, await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace)))
    await leader.elector.release(leader.left_behind)

    await follower.elector.acquire()
    asked = lists()
    await follower.takeover.finish()
    assert lists() == asked + 1
    assert follower.cache.get("Strategy", namespace, "ema") is not None


@pytest.mark.parametrize("fault", [Fault.ANSWER_LOST, Fault.ERROR])
async def test_a_write_without_an_answer_leaves_no_word(
    api_server: ApiServer, namespace: str, start: Start, tmp_path: Path, fault: Fault
) -> None:
    """Nobody knows which version it has got, or whether it is still to come."""
    leader = await start("leader")
    assert orjson.loads(leader.left_behind)[namespace].keys() == {
        "Strategy",
        "VenueConnection",
        "RiskLimit",
        "KillSwitch",
        "Deployment",
    }
    async with FaultProxy(api_server, seed=1, slow_seconds=1.0).running() as proxy:
        through = await connect(str(proxy.kubeconfig(tmp_path)))
        proxy.next.append(fault)
        with pytest.raises(ClusterError):
            await through.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
        await through.close()
    assert left_behind(leader.relist, through) == ""
    later = through.unanswered_at + takeover.UNANSWERED_SECONDS
    assert left_behind(leader.relist, through, clock=lambda: later) == leader.left_behind


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "7", '{"desk":[]}', '{"desk":{"Strategy":"x"}}', '{"desk":{}}', "{}", '{"desk":{"Strategy":1}}'],
)
async def test_a_word_that_says_not_all_is_none(namespace: str, start: Start, text: str) -> None:
    leader, follower = await start("leader"), await start("follower")
    await leader.elector.acquire()
    await leader.elector.release(text.replace("desk", namespace))
    await follower.elector.acquire()
    asked = lists()
    await follower.takeover.finish()
    assert lists() == asked + 1


async def test_what_a_silent_leader_may_have_written_is_listed_before_its_lease_expires(
    cluster: Cluster, namespace: str, start: Start, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(takeover, "LOOK_SECONDS", 0.01)
    leader, follower = await start("leader"), await start("follower")
    await leader.elector.acquire()
    assert not await follower.elector.take()
    assert follower.elector.silent == ""
    asked, ahead = lists(), asyncio.create_task(follower.takeover.read_ahead())
    try:
        clock.now = TIMES.renew
        await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
        assert follower.elector.silent == "", "the leader may still write"
        clock.now = TIMES.renew + 0.1
        await until("it to know", lambda: follower.cache.get("Strategy", namespace, "ema") is not None)
        clock.now = TIMES.duration + 0.1
        assert await follower.elector.take()
        await follower.takeover.finish()
        assert lists() == asked + 1, "once for all"
    finally:
        ahead.cancel()


async def test_a_list_counts_for_the_silence_in_which_it_was_read(
    namespace: str, start: Start, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader came back after it, and may have written since."""
    monkeypatch.setattr(takeover, "LOOK_SECONDS", 0.01)
    leader, follower = await start("leader"), await start("follower")
    await leader.elector.acquire()
    assert not await follower.elector.take()
    asked, ahead = lists(), asyncio.create_task(follower.takeover.read_ahead())
    try:
        clock.now = TIMES.renew + 0.1
        await until("it to have listed", lambda: follower.takeover._listed_after != "")
    finally:
        ahead.cancel()
    await leader.elector._renew(leader.elector.epoch)
    assert not await follower.elector.take()
    assert follower.elector.silent == ""
    clock.now += TIMES.duration + 0.1
    assert await follower.elector.take()
    await follower.takeover.finish()
    assert lists() == asked + 2
