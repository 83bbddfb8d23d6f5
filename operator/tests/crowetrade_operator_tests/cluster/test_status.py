"""Statuses: the newest of each object, significant ones first, within a budget, and none for nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from crowetrade_api.names import Key, Kind
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import RISK_LIMITS, VENUES, ApiResource
from crowetrade_operator.cluster.status import (
    REPORT_SECONDS,
    RESTLESS_SECONDS,
    RESTLESS_WRITES,
    WRITERS,
    StatusWriter,
)
from crowetrade_operator.cluster.times import rfc3339, unix_of
from crowetrade_operator_tests.samples import limit_manifest, venue_manifest
from crowetrade_operator_tests.servers import Wire
from crowetrade_operator_tests.waiting import counted, end, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]


class Clock:
    """A clock that tests set, and that counts how often it was asked."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now

    async def asked_again(self, times: int = 5) -> None:
        """Waits until the writer has looked at the time so often: by then it would have done what it may do."""
        before = self.asked
        await until("the writer to look at the clock", lambda: self.asked >= before + times)


class Writer:
    """A writer for RiskLimits of one namespace."""

    def __init__(self, cluster: Cluster, namespace: str, per_second: float = 1000.0) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.clock = Clock()
        self.wall = Clock(1_795_000_000.0)
        self.status = StatusWriter(cluster, per_second, self.clock, self.wall)
        self.uids: dict[str, str] = {}

    async def object(self, name: str) -> None:
        manifest = limit_manifest(name, self.namespace)
        created = await self.cluster.create(RISK_LIMITS, self.namespace, manifest)
        self.uids[name] = created["metadata"]["uid"]

    def key(self, name: str) -> Key:
        return Key(Kind.RISK_LIMIT, self.namespace, name)

    def report(self, name: str, status: Object, live: Object | None = None) -> bool:
        return self.status.report(self.key(name), self.uids[name], live or {}, status)

    def known(self, name: str) -> Object | None:
        return self.status.known(self.key(name), self.uids[name])

    def now(self, status: Object) -> Object:
        """As it is stored when it is written now."""
        return {**status, "lastReportTime": rfc3339(self.wall.now)}

    async def said(self, name: str) -> Object:
        """What is stored, without the time."""
        status = (await self.live(name)).get("status") or {}
        return {field: value for field, value in status.items() if field != "lastReportTime"}

    async def live(self, name: str) -> Object:
        return await self.cluster.get(RISK_LIMITS, self.namespace, name)


@pytest.fixture
async def writer(cluster: Cluster, namespace: str) -> Writer:
    """A writer with a limit to write about."""
    found = Writer(cluster, namespace)
    await found.object("a")
    return found


@pytest.fixture
async def tasks() -> AsyncIterator[set[asyncio.Task[None]]]:
    """Writers that run, ended with the test."""
    started: set[asyncio.Task[None]] = set()
    yield started
    await end(started)


def said(summary: str, generation: int = 1) -> Object:
    """A status; the generation is significant, the summary is not."""
    return {"observedGeneration": generation, "summary": {"scope": summary}}


def written(result: str = "written") -> float:
    return counted("status_writes", kind="RiskLimit", result=result)


async def _until_written(count: float) -> None:
    await until(f"{count:g} statuses to be written", lambda: written() == count)


async def test_a_status_that_waits_is_replaced_by_a_newer_one(writer: Writer) -> None:
    before = written()
    assert writer.report("a", said("first"))
    assert writer.report("a", said("second"))
    assert writer.known("a") == said("second"), "the next report is compared with it"
    await writer.status.drain()
    assert await writer.said("a") == said("second")
    assert written() == before + 1


async def test_what_does_not_differ_is_not_written(writer: Writer) -> None:
    before = written()
    assert not writer.report("a", said("same"), live=writer.now(said("same"))), "it is so at the API server"
    assert writer.report("a", said("new"), live=writer.now(said("same")))
    assert not writer.report("a", said("new"), live=writer.now(said("same"))), "it waits already"
    await writer.status.drain()
    assert not writer.report("a", said("new"), live=writer.now(said("same"))), "it is written, and the watch is late"
    assert written() == before + 1


async def test_doubt_compares_with_the_api_server_again(writer: Writer) -> None:
    """Somebody may have written our status: from time to time it is looked at."""
    writer.report("a", said("ours"))
    await writer.status.drain()
    assert not writer.report("a", said("ours"), live=said("theirs"))
    writer.status.doubt(writer.key("a"))
    assert writer.report("a", said("ours"), live=said("theirs"))


async def test_a_status_that_has_grown_old_is_written_again_although_nothing_is_new(writer: Writer) -> None:
    async def reported() -> str:
        await writer.status.drain()
        return str((await writer.live("a"))["status"]["lastReportTime"])

    renewed = counted("status_writes", kind="RiskLimit", result="renewed")
    assert writer.report("a", said("same"))
    assert unix_of(await reported()) == writer.wall.now
    writer.wall.now += REPORT_SECONDS - 1
    assert not writer.report("a", said("same"))
    writer.status.doubt(writer.key("a"))
    assert not writer.report("a", said("same"), live=(await writer.live("a"))["status"]), (
        "nor after a look at what is stored"
    )
    writer.wall.now += 1
    assert writer.report("a", said("same"), live=(await writer.live("a"))["status"])
    assert not writer.report("a", said("same")), "it waits already"
    assert unix_of(await reported()) == writer.wall.now
    assert counted("status_writes", kind="RiskLimit", result="renewed") == renewed + 1
    writer.wall.now -= 2 * REPORT_SECONDS
    assert writer.report("a", said("same")), "the clock was put back: that time would not come for long"


async def test_what_is_forgotten_is_not_written(writer: Writer) -> None:
    before = written()
    writer.report("a", said("late"))
    writer.status.forget(writer.key("a"))
    await writer.status.drain()
    assert written() == before
    assert writer.known("a") is None


async def test_what_people_wait_for_is_written_first_then_what_is_significant_then_figures(
    cluster: Cluster, namespace: str
) -> None:
    """A condition does not wait behind a hundred positions, and a limit that comes into force waits behind neither."""
    writer = Writer(cluster, namespace)
    for name in ("calm", "late", "venue"):
        manifest = venue_manifest(name, namespace)
        writer.uids[name] = (await cluster.create(VENUES, namespace, manifest))["metadata"]["uid"]
    for name in ("figures", "limit"):
        await writer.object(name)

    def report(kind: Kind, name: str, status: Object) -> None:
        writer.clock.now += 0.1
        writer.status.report(Key(kind, namespace, name), writer.uids[name], said("before"), status)

    report(Kind.RISK_LIMIT, "figures", said("after"))
    report(Kind.VENUE, "calm", {"observedGeneration": 1, "orders": {}})
    report(Kind.VENUE, "venue", {"observedGeneration": 2})
    report(Kind.VENUE, "late", {"observedGeneration": 2})
    report(Kind.VENUE, "venue", {"observedGeneration": 2, "orders": {}})
    report(Kind.RISK_LIMIT, "limit", said("in force", generation=2))
    await writer.status.drain()

    async def version(resource: ApiResource, name: str) -> int:
        return int((await cluster.get(resource, namespace, name))["metadata"]["resourceVersion"])

    places = [(RISK_LIMITS, "figures"), (RISK_LIMITS, "limit")]
    places += [(VENUES, name) for name in ("calm", "late", "venue")]
    versions = {name: await version(resource, name) for resource, name in places}
    assert sorted(versions, key=versions.__getitem__) == ["limit", "venue", "late", "figures", "calm"]


async def test_one_object_is_written_at_most_once_a_second(writer: Writer, tasks: set[asyncio.Task[None]]) -> None:
    before = written()
    tasks.add(asyncio.create_task(writer.status.run()))
    writer.report("a", said("first"))
    await _until_written(before + 1)
    writer.report("a", said("second"))
    await writer.clock.asked_again()
    assert written() == before + 1
    writer.clock.now += 1.0
    await _until_written(before + 2)


async def test_a_limit_that_comes_into_force_is_not_held_up_for_a_second(
    writer: Writer, tasks: set[asyncio.Task[None]]
) -> None:
    before = written()
    tasks.add(asyncio.create_task(writer.status.run()))
    writer.report("a", said("waiting"))
    await _until_written(before + 1)
    writer.report("a", said("in force", generation=2))
    await writer.clock.asked_again()
    assert written() == before + 1
    writer.clock.now += 0.1
    await _until_written(before + 2)


async def test_all_objects_share_a_budget_and_what_is_significant_does_not_wait_for_it(
    cluster: Cluster, namespace: str, tasks: set[asyncio.Task[None]]
) -> None:
    writer, before = Writer(cluster, namespace, per_second=2.0), written()
    for name in "abcd":
        await writer.object(name)
    for name in "abc":
        writer.report(name, said("figures"), live=said("before"))
    tasks.add(asyncio.create_task(writer.status.run()))
    await _until_written(before + 1)
    await writer.clock.asked_again()
    assert written() == before + 1
    writer.report("d", said("state", generation=2), live=said("before"))
    await _until_written(before + 2)
    await writer.clock.asked_again()
    assert written() == before + 2
    for number in (3, 4):
        # A budget that was not used for a while is not caught up with.
        writer.clock.now += 0.5 if number == 3 else 60.0
        await _until_written(before + number)
    for name in "abc":
        writer.report(name, said("other figures"), live=said("before"))
    await writer.clock.asked_again()
    assert written() == before + 4


async def test_what_is_significant_is_written_side_by_side(
    writer: Writer, tasks: set[asyncio.Task[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when gateways are first heard and each Strategy says something new: one does not wait for the answer to
    another."""
    names = [f"s{number}" for number in range(WRITERS)]
    for name in names:
        await writer.object(name)
    asked, answers, apply = list[str](), asyncio.Event(), writer.cluster.apply

    async def waiting(body: Object, *arguments: str) -> Object:
        asked.append(body["metadata"]["name"])
        await answers.wait()
        return await apply(body, *arguments)

    monkeypatch.setattr(writer.cluster, "apply", waiting)
    tasks.add(asyncio.create_task(writer.status.run()))
    for name in names:
        writer.report(name, said("new", generation=2))
    await until("all of them to be asked for", lambda: sorted(asked) == sorted(names))
    answers.set()
    await until("all of them to be written", lambda: not writer.status._writing)
    assert [await writer.said(name) for name in names] == [said("new", generation=2)] * WRITERS


def flapping(number: int) -> Object:
    """Another one each time, without an edit."""
    return {**said("flapping"), "gateways": {"concerned": number, "acknowledged": 0}}


async def _flap(writer: Writer) -> None:
    """Until it is slowed down."""
    for number in range(RESTLESS_WRITES):
        before = written()
        writer.report("a", flapping(number))
        writer.clock.now += 0.1
        await _until_written(before + 1)


async def test_an_object_that_changes_without_end_is_slowed_down_and_takes_nothing_from_others(
    writer: Writer, tasks: set[asyncio.Task[None]]
) -> None:
    await writer.object("b")
    tasks.add(asyncio.create_task(writer.status.run()))
    await _flap(writer)
    before = written()
    # Three seconds have gone by, in which the next one was earned in part.
    writer.report("a", flapping(1000))
    writer.clock.now += 1.0
    await writer.clock.asked_again()
    assert written() == before
    writer.report("b", said("calm", generation=2))
    await _until_written(before + 1)
    writer.clock.now += RESTLESS_SECONDS
    await _until_written(before + 2)


async def test_an_edit_of_a_limit_that_was_slowed_down_is_told_at_once(
    writer: Writer, tasks: set[asyncio.Task[None]]
) -> None:
    tasks.add(asyncio.create_task(writer.status.run()))
    await _flap(writer)
    before = written()
    writer.report("a", said("edited", generation=2))
    writer.clock.now += 0.1
    await _until_written(before + 1)


async def test_an_object_that_is_gone_is_no_error(writer: Writer) -> None:
    await writer.cluster.delete(RISK_LIMITS, writer.namespace, "a")
    before = written("gone")
    writer.report("a", said("too late"))
    await writer.status.drain()
    assert written("gone") == before + 1


async def test_what_the_schema_refuses_does_not_count_as_written(writer: Writer) -> None:
    before = written("refused")
    writer.report("a", {"observedGeneration": -2})
    await writer.status.drain()
    assert written("refused") == before + 1
    assert writer.known("a") is None


async def test_without_the_api_server_it_is_tried_again_and_a_newer_one_wins(
    wired: Cluster, wire: Wire, cluster: Cluster, namespace: str, tasks: set[asyncio.Task[None]]
) -> None:
    writer = Writer(wired, namespace)
    await writer.object("a")
    await wire.cut()
    before = written("retried")
    tasks.add(asyncio.create_task(writer.status.run()))
    writer.report("a", said("first"))
    await until("a write that fails", lambda: written("retried") > before)
    assert writer.known("a") == said("first"), "it waits again"
    writer.report("a", said("second"))
    await wire.mend()
    writer.clock.now += 1.0

    async def there() -> bool:
        return await Writer(cluster, namespace).said("a") == said("second")

    await until("the newer status", there)


async def test_a_status_that_another_request_overwrote_is_noticed(writer: Writer) -> None:
    """As one of ours does that arrives after its answer was given up."""
    key = writer.key("a")
    writer.report("a", said("ours"))
    await writer.status.drain()
    ours = await writer.live("a")
    assert not writer.status.is_overwritten(key, ours)
    late = {**ours, "status": said("late")}
    applied = {"metadata": {"name": "a", "namespace": writer.namespace}, "status": said("late")}
    await writer.cluster.apply({"apiVersion": ours["apiVersion"], "kind": ours["kind"], **applied}, "status")
    found = await writer.live("a")
    assert writer.status.is_overwritten(key, found)
    assert not writer.status.is_overwritten(key, late), "an event of before our own write"
    other = {**found, "metadata": {**found["metadata"], "uid": "another"}}
    assert not writer.status.is_overwritten(key, other)
    writer.report("a", said("newer"))
    assert not writer.status.is_overwritten(key, found), "what waits to be written will be compared with it"


async def test_one_that_ends_writes_what_is_significant_and_nothing_after_that(
    cluster: Cluster, namespace: str, tasks: set[asyncio.Task[None]]
) -> None:
    writer = Writer(cluster, namespace, per_second=0.001)
    for name in ("a", "b", "c"):
        await writer.object(name)
    writer.report("a", said("figures"), live=said("before"))
    writer.report("b", said("conditions", generation=2), live=said("before"))
    await writer.status.finish()
    tasks.add(asyncio.create_task(writer.status.run()))
    assert "summary" not in await writer.said("a"), "figures are written by whoever leads next"
    assert await writer.said("b") == said("conditions", generation=2)
    writer.report("c", said("late", generation=2), live=said("before"))
    await writer.clock.asked_again(1)
    assert "summary" not in await writer.said("c")
