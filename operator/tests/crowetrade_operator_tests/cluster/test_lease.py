"""One leads and the others wait, by the rules of client-go, on a real Lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.lease import Elector
from crowetrade_operator.cluster.resources import LEASES
from crowetrade_operator.errors import NotFound
from crowetrade_operator.settings import LeaseTimes
from crowetrade_operator_tests.servers import Wire
from crowetrade_operator_tests.waiting import counted, end, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
NAME = "crowetrade-operator"
TIMES = LeaseTimes(duration=15.0, renew=10.0, retry=0.02)


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


Candidate = Callable[[str], Elector]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def candidate(cluster: Cluster, namespace: str, clock: Clock) -> Candidate:
    return lambda identity: Elector(cluster, namespace, NAME, identity, TIMES, clock)


@pytest.fixture
async def tasks() -> AsyncIterator[set[asyncio.Task[None]]]:
    """Candidates that wait, ended with the test."""
    started: set[asyncio.Task[None]] = set()
    yield started
    await end(started)


async def held(cluster: Cluster, namespace: str) -> Object:
    lease = await cluster.get(LEASES, namespace, NAME)
    spec: Object = lease["spec"]
    return spec


async def holds(cluster: Cluster, namespace: str, identity: str, seconds: int = 15) -> Object:
    """Somebody else writes the Lease, whoever had it."""
    spec = {"holderIdentity": identity, "leaseDurationSeconds": seconds, "renewTime": "2099-01-01T00:00:00.000000Z"}
    try:
        return await cluster.merge(LEASES, namespace, NAME, {"spec": spec})
    except NotFound:
        body = {"apiVersion": LEASES.api_version, "kind": "Lease", "metadata": {"name": NAME}, "spec": spec}
        return await cluster.create(LEASES, namespace, body)


async def tries(task: asyncio.Task[None], more: int = 3) -> None:
    """Waits until a candidate has asked so many times more in vain."""
    before = counted("api_requests", verb="get", resource="leases")
    await until("the candidate to try", lambda: counted("api_requests", verb="get", resource="leases") >= before + more)
    assert not task.done()


async def test_one_leads_and_the_next_follows_at_once_when_it_releases(
    cluster: Cluster, namespace: str, candidate: Candidate, tasks: set[asyncio.Task[None]]
) -> None:
    first, second = candidate("first"), candidate("second")
    await first.acquire()
    assert (await held(cluster, namespace))["holderIdentity"] == "first"
    waiting = asyncio.create_task(second.acquire())
    tasks.add(waiting)
    await tries(waiting)
    await first.release()
    async with asyncio.timeout(10):
        await waiting
    spec = await held(cluster, namespace)
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", 1)


async def test_of_two_that_start_together_one_leads(candidate: Candidate, tasks: set[asyncio.Task[None]]) -> None:
    both = {asyncio.create_task(candidate(name).acquire()) for name in ("a", "b")}
    tasks |= both
    done, waiting = await asyncio.wait(both, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    await tries(waiting.pop())


async def test_a_holder_that_vanished_is_followed_when_the_lease_has_not_changed_for_its_duration(
    cluster: Cluster, namespace: str, candidate: Candidate, clock: Clock, tasks: set[asyncio.Task[None]]
) -> None:
    """By our own clock: what the holder wrote into it is a time of another machine, here one of the year 2099."""
    await holds(cluster, namespace, "vanished", seconds=5)
    waiting = asyncio.create_task(candidate("next").acquire())
    tasks.add(waiting)
    await tries(waiting)
    clock.now = 4.0
    await tries(waiting)
    await holds(cluster, namespace, "vanished", seconds=6)
    await tries(waiting)
    clock.now = 9.0
    await tries(waiting)
    clock.now = 10.5
    async with asyncio.timeout(10):
        await waiting
    assert (await held(cluster, namespace))["holderIdentity"] == "next"


async def test_who_leads_already_goes_on_after_a_restart_under_the_same_name(
    cluster: Cluster, namespace: str, candidate: Candidate
) -> None:
    await candidate("same").acquire()
    async with asyncio.timeout(10):
        await candidate("same").acquire()
    assert (await held(cluster, namespace))["leaseTransitions"] == 0


async def test_the_lease_is_renewed_while_it_is_held(
    cluster: Cluster, namespace: str, candidate: Candidate, clock: Clock, tasks: set[asyncio.Task[None]]
) -> None:
    leader = candidate("leader")
    await leader.acquire()
    before = (await held(cluster, namespace))["renewTime"]
    holding = asyncio.create_task(leader.hold())
    tasks.add(holding)
    clock.now = 1000.0

    async def renewed() -> bool:
        return bool((await held(cluster, namespace))["renewTime"] != before)

    await until("the Lease to be renewed", renewed)
    assert not holding.done()
    assert metrics.REGISTRY.get_sample_value("crowetrade_operator_leader") == 1.0


async def test_who_has_lost_the_lease_is_told_and_does_not_release_it(
    cluster: Cluster, namespace: str, candidate: Candidate, clock: Clock, tasks: set[asyncio.Task[None]]
) -> None:
    leader = candidate("leader")
    await leader.acquire()
    holding = asyncio.create_task(leader.hold())
    tasks.add(holding)
    await holds(cluster, namespace, "thief")
    await tries(holding)
    clock.now = TIMES.renew + 1.0
    async with asyncio.timeout(10):
        await holding
    assert metrics.REGISTRY.get_sample_value("crowetrade_operator_leader") == 0.0
    await leader.release()
    assert (await held(cluster, namespace))["holderIdentity"] == "thief"


async def test_without_the_api_server_nobody_leads_and_nothing_breaks(
    wired: Cluster, wire: Wire, cluster: Cluster, namespace: str, clock: Clock, tasks: set[asyncio.Task[None]]
) -> None:
    elector = Elector(wired, namespace, NAME, "alone", TIMES, clock)
    await wire.cut()
    waiting = asyncio.create_task(elector.acquire())
    tasks.add(waiting)
    await tries(waiting)
    await wire.mend()
    async with asyncio.timeout(10):
        await waiting
    await wire.cut()
    await elector.release()
    assert (await held(cluster, namespace))["holderIdentity"] == "alone", "the next one waits until it expires"
