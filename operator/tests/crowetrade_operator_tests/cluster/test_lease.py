"""One leads and the others wait, by the rules of client-go, on a real Lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.lease import Elector
from crowetrade_operator.cluster.objects import version_of
from crowetrade_operator.cluster.resources import LEASES, ApiResource
from crowetrade_operator.errors import ClusterRefused, LeaseLost, NotFound
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
async def tasks() -> AsyncIterator[set[asyncio.Task[Any]]]:
    """Candidates that wait, ended with the test."""
    started: set[asyncio.Task[Any]] = set()
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


async def tries(task: asyncio.Task[Any], more: int = 3) -> None:
    """Waits until a candidate has asked so many times more in vain."""
    before = counted("api_requests", verb="get", resource="leases")
    await until("the candidate to try", lambda: counted("api_requests", verb="get", resource="leases") >= before + more)
    assert not task.done()


async def test_one_leads_and_the_next_follows_at_once_when_it_releases(
    cluster: Cluster, namespace: str, candidate: Candidate, tasks: set[asyncio.Task[Any]]
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
    assert (spec["holderIdentity"], spec["leaseTransitions"]) == ("second", 2)
    assert (first.seconds_left(), second.epoch) == (0.0, 2)


async def test_who_waits_is_told_by_a_watch_that_the_lease_is_free(
    cluster: Cluster, namespace: str, clock: Clock, tasks: set[asyncio.Task[Any]]
) -> None:
    """It would ask by itself in an hour."""
    times = LeaseTimes(duration=36_000.0, renew=7_200.0, retry=3_600.0)
    first, second = (Elector(cluster, namespace, NAME, identity, times, clock) for identity in ("first", "second"))
    await first.acquire()
    asked = counted("api_requests", verb="get", resource="leases")
    waiting = asyncio.create_task(second.acquire())
    tasks.add(waiting)
    await until("it to ask once", lambda: counted("api_requests", verb="get", resource="leases") > asked)
    await first.release()
    async with asyncio.timeout(10):
        await waiting
    assert counted("api_requests", verb="get", resource="leases") - asked <= 3, "its own two, and that of the first"


async def test_a_lease_that_expires_is_asked_for_at_that_time(
    cluster: Cluster, namespace: str, tasks: set[asyncio.Task[Any]]
) -> None:
    await holds(cluster, namespace, "vanished", seconds=1)
    times = LeaseTimes(duration=36_000.0, renew=7_200.0, retry=3_600.0)
    async with asyncio.timeout(10):
        await Elector(cluster, namespace, NAME, "next", times).acquire()
    assert (await held(cluster, namespace))["holderIdentity"] == "next"


async def test_a_lease_that_may_not_be_watched_is_asked_for_from_time_to_time(
    cluster: Cluster,
    namespace: str,
    candidate: Candidate,
    tasks: set[asyncio.Task[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a role of an earlier release."""
    asked: list[str] = []

    async def refused(*_: object, fields: str) -> AsyncIterator[tuple[str, Object]]:
        asked.append(fields)
        raise ClusterRefused("watch", "leases", 403, "leases is forbidden")
        yield "", {}

    monkeypatch.setattr(cluster, "watch", refused)
    first = candidate("first")
    await first.acquire()
    waiting = asyncio.create_task(candidate("second").acquire())
    tasks.add(waiting)
    await tries(waiting)
    await first.release()
    async with asyncio.timeout(10):
        await waiting
    assert asked.count(f"metadata.name={NAME}") <= 2, "once by each"


async def test_a_watch_that_the_server_ends_at_once_is_begun_again_as_often_as_the_lease_is_read(
    cluster: Cluster,
    namespace: str,
    candidate: Candidate,
    tasks: set[asyncio.Task[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It answers 200, tells what is there, and closes."""
    leader, began = candidate("leader"), 0
    await leader.acquire()
    lease = await cluster.get(LEASES, namespace, NAME)

    async def ended(*_: object, **__: object) -> AsyncIterator[tuple[str, Object]]:
        nonlocal began
        began += 1
        await asyncio.sleep(0)
        yield "ADDED", lease

    monkeypatch.setattr(cluster, "watch", ended)
    waiting, now = asyncio.create_task(candidate("next").acquire()), asyncio.get_running_loop().time
    tasks.add(waiting)
    since = now()
    await tries(waiting, 10)
    assert 2 <= began <= (now() - since) / TIMES.retry + 1


async def test_a_lease_that_is_given_back_is_not_renewed_any_more(
    cluster: Cluster, namespace: str, candidate: Candidate, tasks: set[asyncio.Task[Any]]
) -> None:
    """Whoever holds it goes on until the last is closed, and has not lost it."""
    leader = candidate("leader")
    await leader.acquire()
    holding = asyncio.create_task(leader.hold())
    tasks.add(holding)
    await leader.release()
    version = (await cluster.get(LEASES, namespace, NAME))["metadata"]["resourceVersion"]
    _, late = await asyncio.wait({holding}, timeout=10 * TIMES.retry)
    assert late
    assert (await cluster.get(LEASES, namespace, NAME))["metadata"]["resourceVersion"] == version
    assert leader.seconds_left() == 0.0


async def test_of_two_that_start_together_one_leads(candidate: Candidate, tasks: set[asyncio.Task[Any]]) -> None:
    both = {asyncio.create_task(candidate(name).acquire()) for name in ("a", "b")}
    tasks |= both
    done, waiting = await asyncio.wait(both, timeout=10, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 1
    await tries(waiting.pop())


async def test_a_holder_that_vanished_is_followed_when_the_lease_has_not_changed_for_its_duration(
    cluster: Cluster, namespace: str, candidate: Candidate, clock: Clock, tasks: set[asyncio.Task[Any]]
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


async def test_a_restart_under_the_same_name_leads_at_once_under_an_epoch_of_its_own(candidate: Candidate) -> None:
    """So what runs under the name already, if anything does, leads no more."""
    before, after = candidate("same"), candidate("same")
    await before.acquire()
    async with asyncio.timeout(10):
        await after.acquire()
    assert (before.epoch, after.epoch) == (1, 2)
    with pytest.raises(LeaseLost, match="same holds the Lease"):
        async with asyncio.timeout(10):
            await before.hold()


async def test_a_lease_that_was_not_renewed_in_time_is_lost_and_the_error_says_why(
    wired: Cluster, wire: Wire, namespace: str, clock: Clock, tasks: set[asyncio.Task[Any]]
) -> None:
    """From the deadline on nothing is written, some time before another one may lead."""
    leader = Elector(wired, namespace, NAME, "leader", TIMES, clock)
    await leader.acquire()
    assert leader.seconds_left() == 15.0
    clock.now = 9.0
    assert leader.seconds_left() == 6.0, "a write must be over before the Lease may be another's"
    clock.now = 10.0
    assert leader.seconds_left() == 0.0
    clock.now = 0.0
    await wire.cut()
    holding = asyncio.create_task(leader.hold())
    tasks.add(holding)
    await tries(holding)
    clock.now = 10.0
    with pytest.raises(LeaseLost, match=r"not renewed for 10.0 s; the last try failed: .*no answer from the API serv"):
        async with asyncio.timeout(10):
            await holding


async def test_a_process_that_stood_still_is_told_as_the_cause(
    candidate: Candidate, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = candidate("leader")
    await leader.acquire()

    async def frozen(_seconds: float) -> None:
        clock.now = 40.0

    monkeypatch.setattr(asyncio, "sleep", frozen)
    with pytest.raises(LeaseLost, match=r"stood still for 40.0 s: the node is overloaded, or its CPU limit is too low"):
        await leader.hold()


async def test_a_lease_that_was_deleted_is_lost(cluster: Cluster, namespace: str, candidate: Candidate) -> None:
    """Another one may have made it again."""
    leader = candidate("leader")
    await leader.acquire()
    await cluster.delete(LEASES, namespace, NAME)
    with pytest.raises(LeaseLost, match="was deleted"):
        async with asyncio.timeout(10):
            await leader.hold()


async def test_a_lease_older_than_what_was_written_tells_that_etcd_was_restored(
    cluster: Cluster, namespace: str, candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The leader starts again, because what it knows of all other objects is of another history, too."""
    leader = candidate("leader")
    await leader.acquire()
    restored = await cluster.get(LEASES, namespace, NAME)
    async with asyncio.timeout(10):
        await leader.raise_epoch(above=leader.epoch)
    restored["spec"]["leaseTransitions"] = leader.epoch

    async def get(*_: object) -> Object:
        return restored

    monkeypatch.setattr(cluster, "get", get)
    with pytest.raises(LeaseLost, match="etcd was restored from a backup"):
        async with asyncio.timeout(10):
            await leader.hold()


async def test_a_lease_older_than_what_was_seen_ends_who_waits(
    cluster: Cluster,
    namespace: str,
    candidate: Candidate,
    tasks: set[asyncio.Task[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also when it is free: what it knows of all other objects is of another history."""
    restored = await holds(cluster, namespace, "")
    await holds(cluster, namespace, "leader")
    waiting = asyncio.create_task(candidate("next").acquire())
    tasks.add(waiting)
    await tries(waiting)

    async def get(*_: object) -> Object:
        return restored

    monkeypatch.setattr(cluster, "get", get)
    with pytest.raises(LeaseLost, match="etcd was restored from a backup"):
        async with asyncio.timeout(10):
            await waiting


async def test_a_lease_that_is_gone_ends_who_has_seen_it(
    cluster: Cluster, namespace: str, candidate: Candidate, tasks: set[asyncio.Task[Any]]
) -> None:
    """It may have been deleted, or etcd was restored from a backup that is older than it. Who starts makes it."""
    await holds(cluster, namespace, "leader")
    waiting = asyncio.create_task(candidate("next").acquire())
    tasks.add(waiting)
    await tries(waiting)
    await cluster.delete(LEASES, namespace, NAME)
    with pytest.raises(LeaseLost, match="was deleted, or etcd was restored from a backup without it"):
        async with asyncio.timeout(10):
            await waiting
    with pytest.raises(NotFound):
        await held(cluster, namespace)
    async with asyncio.timeout(10):
        await candidate("next").acquire()


async def test_an_older_lease_that_a_watch_begins_with_and_a_bookmark_end_nobody(
    cluster: Cluster,
    namespace: str,
    candidate: Candidate,
    tasks: set[asyncio.Task[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An API server may begin it with what it has in its cache, and the version of a bookmark is not the Lease's."""
    cached = await holds(cluster, namespace, "before")
    await holds(cluster, namespace, "leader")
    brought = asyncio.Event()

    async def watch(*_: object, **__: object) -> AsyncIterator[tuple[str, Object]]:
        await tries(waiting)
        yield "ADDED", cached
        yield "BOOKMARK", {"metadata": {"resourceVersion": str(2**62)}}
        brought.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(cluster, "watch", watch)
    waiting = asyncio.create_task(candidate("next").acquire())
    tasks.add(waiting)
    await until("the watch to bring both", brought.is_set)
    await tries(waiting)


async def test_an_answer_that_the_watch_has_overtaken_ends_nobody(
    cluster: Cluster,
    namespace: str,
    candidate: Candidate,
    tasks: set[asyncio.Task[Any]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The Lease is renewed while the answer is under way."""
    await holds(cluster, namespace, "leader")
    get, follower, overtaken = cluster.get, candidate("next"), 0

    async def slowly(resource: ApiResource, place: str, name: str) -> Object:
        nonlocal overtaken
        lease = await get(resource, place, name)
        newer = version_of(await holds(cluster, namespace, "leader", seconds=20 + overtaken))
        await until("the watch to bring a newer one", lambda: follower._version >= newer)
        overtaken += 1
        return lease

    monkeypatch.setattr(cluster, "get", slowly)
    waiting = asyncio.create_task(follower.acquire())
    tasks.add(waiting)
    await until("answers to be overtaken", lambda: overtaken >= 3)
    await tries(waiting)


async def test_the_leader_alone_can_raise_the_epoch(cluster: Cluster, namespace: str, candidate: Candidate) -> None:
    """A bus that knows a later one, because the Lease is of a backup, is led past; a leader of the past is told so."""
    leader = candidate("leader")
    await leader.acquire()
    await leader.raise_epoch(above=7)
    assert (leader.epoch, (await held(cluster, namespace))["leaseTransitions"]) == (8, 8)
    await holds(cluster, namespace, "another")
    with pytest.raises(LeaseLost, match="another holds the Lease"):
        await leader.raise_epoch(above=9)
    assert (leader.epoch, leader.seconds_left()) == (8, 0.0)


def leads(namespace: str) -> float | None:
    """What the metric tells of this Lease."""
    labels = {"namespace": namespace, "lease": NAME}
    return metrics.REGISTRY.get_sample_value("crowetrade_operator_leader", labels)


async def test_a_candidate_tells_that_it_does_not_lead(namespace: str, candidate: Candidate) -> None:
    """Otherwise a Lease that nobody ever held would have no series."""
    assert leads(namespace) is None
    candidate("waits")
    assert leads(namespace) == 0.0


async def test_the_lease_is_renewed_while_it_is_held(
    cluster: Cluster, namespace: str, candidate: Candidate, tasks: set[asyncio.Task[Any]]
) -> None:
    leader = candidate("leader")
    await leader.acquire()
    before = (await held(cluster, namespace))["renewTime"]
    holding = asyncio.create_task(leader.hold())
    tasks.add(holding)

    async def renewed() -> bool:
        return bool((await held(cluster, namespace))["renewTime"] != before)

    await until("the Lease to be renewed", renewed)
    assert not holding.done()
    assert leads(namespace) == 1.0


async def test_who_has_lost_the_lease_is_told_and_does_not_release_it(
    cluster: Cluster, namespace: str, candidate: Candidate
) -> None:
    leader = candidate("leader")
    await leader.acquire()
    await holds(cluster, namespace, "thief")
    with pytest.raises(LeaseLost, match="thief holds the Lease"):
        async with asyncio.timeout(10):
            await leader.hold()
    assert leader.seconds_left() == 0.0
    assert leads(namespace) == 0.0
    await leader.release()
    assert (await held(cluster, namespace))["holderIdentity"] == "thief"


async def test_without_the_api_server_nobody_leads_and_nothing_breaks(
    wired: Cluster, wire: Wire, cluster: Cluster, namespace: str, clock: Clock, tasks: set[asyncio.Task[Any]]
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
