"""What operators of several shards, and of large fleets, keep of the audit trail: a real API server and a real bus."""

from __future__ import annotations

import asyncio
import itertools
import random
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from crowetrade.audit.v1 import audit_pb2
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.bus.status_board import StatusBoard
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import CONFIG_MAPS
from crowetrade_operator.decide.changes import (
    NOT_KNOWN,
    WHILE_AWAY,
    WHILE_UNREADABLE,
    Recorded,
    events_while_away,
    recorded,
)
from crowetrade_operator.decide.kept_resources import NOT_KEPT, decode, encode
from crowetrade_operator.errors import Conflict, NotFound
from crowetrade_operator.reconcile import audit_kept, audit_record
from crowetrade_operator.reconcile.audit_kept import MAX_BYTES, Kept, Place
from crowetrade_operator.reconcile.audit_record import AuditRecord
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.trail import told
from crowetrade_operator_tests.samples import change, kill_manifest, limit_manifest
from crowetrade_operator_tests.servers import NatsServer
from crowetrade_operator_tests.waiting import counted, end, until
from crowetrade_process.audit import trail as trail_module
from crowetrade_process.audit.chain import End, Head
from crowetrade_process.audit.trail import CAPACITY, Trail, connecting
from crowetrade_process.audit.verification import KEPT_CONFIG_MAPS, end_text, place_of

pytestmark = pytest.mark.integration
FLEET = 20_000


@pytest.fixture(autouse=True)
def _kept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_record, "KEEP_SECONDS", 0.1)


@dataclass(slots=True)
class Shard:
    """The audit record of one operator that leads, without the rest of the operator."""

    audit: AuditRecord
    cache: Cache
    trail: Trail
    unreadable: dict[str, str] = field(default_factory=dict)


def limits(namespace: str, *names: str, count: int = 0) -> list[Object]:
    """RiskLimits as the API server has them: each has a uid of its own."""
    limit = limit_manifest()
    uids = random.Random(namespace)
    return [
        {
            **limit,
            "metadata": {
                **limit["metadata"],
                "namespace": namespace,
                "name": name,
                "uid": str(uuid.UUID(int=uids.getrandbits(128))),
                "resourceVersion": "1",
            },
            # Of each another content, so that no hash is like another.
            "spec": {**limit["spec"], "limits": {"maxOrderQuantity": str(number + 1)}},
        }
        for number, name in enumerate(names or [f"momentum-{number:05}" for number in range(count)])
    ]


def engaged(namespace: str) -> Object:
    switch = kill_manifest("all", namespace)
    metadata = {**switch["metadata"], "namespace": namespace, "uid": str(uuid.uuid4()), "resourceVersion": "1"}
    return {**switch, "metadata": metadata, "spec": {"engaged": True, "engagedBy": "bob", "reason": "test"}}


def edited(item: Object) -> Object:
    version = int(item["metadata"]["resourceVersion"]) + 1
    found = change(item, "spec.limits.maxOrderQuantity", str(1_000_000 + version))
    found["metadata"]["resourceVersion"] = str(version)
    return found


@pytest.fixture
async def bus(nats_url: str, settings: Settings) -> AsyncIterator[Bus]:
    """A bus that operators use."""
    found = Bus(nats_url, StatusBoard(), streams=settings.streams)
    task = asyncio.create_task(found.run())
    await until("the bus to be connected", lambda: found.connected)
    yield found
    await end({task})


@asynccontextmanager
async def leading(
    cluster: Cluster,
    bus: Bus,
    settings: Settings,
    *items: Object,
    unreadable: Collection[str] = (),
    capacity: int = CAPACITY,
    killed: bool = False,
) -> AsyncIterator[Shard]:
    """An operator that finds these resources, and ends as one does, or keeps nothing more."""
    cache = Cache()
    trail = Trail(settings.operator_namespace, "crowetrade-operator", settings.pod_name, capacity=capacity)
    for item in items:
        cache.put(item)
    reasons = dict.fromkeys(unreadable, "forbidden")
    shard = Shard(AuditRecord(cluster, cache, bus, trail, settings, reasons), cache, trail, reasons)
    async with trail.writing(connecting(bus.url, "test")):
        task = asyncio.create_task(shard.audit.run())
        await until("it to catch up", lambda: shard.audit.is_caught_up)
        yield shard
        await until("all to be on the bus", lambda: trail.settled)
        await end({task})
    if not killed:
        await shard.audit.finish()


def of(settings: Settings, *namespaces: str) -> Settings:
    """An operator of these namespaces."""
    return replace(settings, namespaces=namespaces)


async def stored(cluster: Cluster, settings: Settings) -> Kept:
    """What is kept."""
    found = Kept(cluster, settings.operator_namespace)
    await found.read()
    return found


async def names_kept(cluster: Cluster, settings: Settings) -> dict[str, list[str]]:
    """Names of the resources that are kept, by namespace."""
    found = dict[str, list[str]]()
    for (_, namespace), text in (await stored(cluster, settings)).resources():
        found.setdefault(namespace, []).extend(item.name for item in decode(namespace, text).values())
    return {namespace: sorted(names) for namespace, names in found.items()}


async def test_a_large_namespace_is_compared_a_little_in_each_turn_of_the_loop(
    cluster: Cluster, bus: Bus, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Lease is renewed in the same loop: with 10,000 Strategies in one namespace it was lost."""
    turn, compared = 0, Counter[int]()

    async def count_turns() -> None:
        nonlocal turn
        while True:
            turn += 1
            await asyncio.sleep(0)

    def compare(kept: Mapping[str, Recorded], found: Mapping[str, Object], reason: str) -> list[audit_pb2.AuditEvent]:
        compared[turn] += len(found)
        return events_while_away(kept, found, reason)

    monkeypatch.setattr(audit_record, "events_while_away", compare)
    counting = asyncio.create_task(count_turns())
    async with leading(cluster, bus, of(settings, "desk"), *limits("desk", count=300)):
        pass
    await end({counting})
    assert compared.total() == 300
    assert max(compared.values()) <= 50


async def test_shards_keep_what_is_theirs_and_a_namespace_is_handed_over(
    cluster: Cluster, bus: Bus, settings: Settings
) -> None:
    names = ["a", "b", "c", "d"]
    desk, rates = limits("desk", *names), limits("rates", *names)
    async with (
        leading(cluster, bus, of(settings, "desk"), *desk) as first,
        leading(cluster, bus, of(settings, "rates"), *rates) as second,
    ):

        async def both() -> bool:
            return await names_kept(cluster, settings) == {"desk": names, "rates": names}

        await until("both to keep what is theirs", both)
        desk, rates = [edited(item) for item in desk], [edited(item) for item in rates]
        for shard, items in ((first, desk), (second, rates)):
            for item in items:
                shard.cache.put(item)
    before = await told(bus.url)
    assert len(before) == 16

    for namespace, items in (("desk", desk), ("rates", rates)):
        async with leading(cluster, bus, of(settings, namespace), *items):
            pass
    assert await told(bus.url) == before, "a restart of either finds nothing"

    # The one gives its namespace away; in between one is edited there and one deleted.
    desk = [edited(desk[0]), *desk[1:3]]
    async with leading(cluster, bus, of(settings, "desk", "rates"), *desk, *rates):
        pass
    expected = [("CHANGED", "desk", "a", WHILE_AWAY), ("DELETED", "desk", "d", WHILE_AWAY)]
    assert (await told(bus.url))[len(before) :] == expected
    for namespace, items in (("rates", rates), ("desk", desk)):
        async with leading(cluster, bus, of(settings, namespace), *items):
            pass
    assert (await told(bus.url))[len(before) :] == expected
    assert await names_kept(cluster, settings) == {"desk": names[:3], "rates": names}


async def test_what_was_told_right_before_the_end_is_not_told_again(
    cluster: Cluster, bus: Bus, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_record, "KEEP_SECONDS", 3600.0)
    (limit,) = limits("desk", "a")
    async with leading(cluster, bus, of(settings, "desk"), limit) as shard:
        shard.cache.put(edited(limit))
    async with leading(cluster, bus, of(settings, "desk"), edited(limit)):
        pass
    assert [row[0] for row in await told(bus.url)] == ["CREATED", "CHANGED"]


@pytest.mark.parametrize("is_first", [True, False], ids=["the first one", "a later one"])
async def test_what_an_operator_had_told_when_it_was_killed_is_not_told_again(
    cluster: Cluster, bus: Bus, settings: Settings, monkeypatch: pytest.MonkeyPatch, is_first: bool
) -> None:
    monkeypatch.setattr(audit_record, "KEEP_SECONDS", 3600.0)
    gone, limit, switch = *limits("desk", "gone", "limit"), engaged("desk")
    expected = ["CREATED", "CREATED", "CREATED", "KILL"]
    if not is_first:
        async with leading(cluster, bus, of(settings, "desk"), gone, limit, switch):
            pass
    async with leading(cluster, bus, of(settings, "desk"), gone, limit, switch, killed=True) as shard:
        shard.cache.put(edited(limit))
        shard.cache.remove(edited(gone))
        shard.cache.put(armed := change(switch, "spec.engaged", False) | {"metadata": edited(switch)["metadata"]})
    expected += ["CHANGED", "DELETED", "CHANGED", "REARM"]
    assert sorted(row[0] for row in await told(bus.url)) == sorted(expected)
    async with leading(cluster, bus, of(settings, "desk"), edited(limit), armed):
        pass
    assert sorted(row[0] for row in await told(bus.url)) == sorted(expected)
    async with leading(cluster, bus, of(settings, "desk"), edited(edited(limit)), armed):
        pass
    assert (await told(bus.url))[len(expected) :] == [("CHANGED", "desk", "limit", WHILE_AWAY)]


BESIDE: dict[str, audit_pb2.AuditEvent] = {
    "more requests than are followed": audit_pb2.AuditEvent(action=audit_pb2.ACTION_CHANGE_REQUESTED),
    "by a clock that is ahead": audit_pb2.AuditEvent(action=audit_pb2.ACTION_SUMMED_UP, at_unix_ns=2**62),
}


@pytest.mark.parametrize("case", BESIDE)
async def test_what_a_replica_wrote_that_was_asked_meanwhile_hides_nothing_that_was_told(
    cluster: Cluster, bus: Bus, settings: Settings, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr(audit_record, "KEEP_SECONDS", 3600.0)
    (limit,) = limits("desk", "a")
    async with leading(cluster, bus, of(settings, "desk"), limit):
        pass
    monkeypatch.setattr(audit_record, "FOLLOWED", 2)
    stands_by = Trail(settings.operator_namespace, "crowetrade-operator", "operator-1")
    async with leading(cluster, bus, of(settings, "desk"), limit, killed=True) as shard:
        async with stands_by.writing(connecting(bus.url, "test")):
            for _ in range(2):
                stands_by.record(BESIDE[case])
            await until("it to be on the bus", lambda: stands_by.settled)
        shard.cache.put(edited(limit))
    async with leading(cluster, bus, of(settings, "desk"), edited(limit)):
        pass
    beside = audit_pb2.Action.Name(BESIDE[case].action).removeprefix("ACTION_")
    assert [row[0] for row in await told(bus.url)] == ["CREATED", beside, beside, "CHANGED"]


async def test_what_was_stored_and_not_confirmed_when_the_operator_was_killed_is_not_told_again(
    cluster: Cluster, bus: Bus, settings: Settings, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trail_module, "FINISH_SECONDS", 0.1)
    limit, unsent = limits("desk", "limit", "unsent")
    async with leading(cluster, bus, of(settings, "desk"), limit, unsent):
        pass
    cache, trail = Cache(), Trail(settings.operator_namespace, "crowetrade-operator", settings.pod_name)
    for item in (limit, unsent):
        cache.put(item)
    audit = AuditRecord(cluster, cache, bus, trail, of(settings, "desk"), {})
    async with trail.writing(connecting(bus.url, "test")):
        task = asyncio.create_task(audit.run())
        await until("it to catch up", lambda: audit.is_caught_up)
        trail.record_start("it leads")
        await until("its first record and a checkpoint", lambda: trail._has_vouched)
        nats_server.freeze()
        cache.put(edited(limit))
        await until("the first record to be sent", lambda: bool(trail._sent))
        cache.put(edited(unsent))
        await end({task})
    nats_server.thaw()
    await until("the bus to be back", lambda: bus.connected)
    async with leading(cluster, bus, of(settings, "desk"), edited(limit), edited(unsent)):
        pass
    found = [(name, reason) for action, _, name, reason in await told(bus.url) if action == "CHANGED"]
    assert found == [("limit", ""), ("unsent", WHILE_AWAY)]


async def test_what_is_not_on_the_bus_is_not_kept(
    cluster: Cluster, bus: Bus, settings: Settings, nats_server: NatsServer
) -> None:
    (limit,) = limits("desk", "a")
    async with leading(cluster, bus, of(settings, "desk"), limit):
        pass
    cache, trail = Cache(), Trail(settings.operator_namespace, "crowetrade-operator", settings.pod_name)
    cache.put(limit)
    audit = AuditRecord(cluster, cache, bus, trail, of(settings, "desk"), {})
    task = asyncio.create_task(audit.run())
    await until("it to catch up", lambda: audit.is_caught_up)
    cache.put(edited(limit))  # nobody writes this trail
    await end({task})
    await audit.finish()
    async with leading(cluster, bus, of(settings, "desk"), edited(limit)):
        pass
    assert [(row[0], row[3]) for row in await told(bus.url)] == [("CREATED", WHILE_AWAY), ("CHANGED", WHILE_AWAY)]


async def keep_fleet(cluster: Cluster, settings: Settings, fleet: list[Object]) -> None:
    """As an operator before has kept it."""
    said = dict[Place, dict[str, Recorded]]()
    for item in fleet:
        uid = item["metadata"]["uid"]
        said.setdefault((place_of(uid), item["metadata"]["namespace"]), {})[uid] = recorded(item)
    store = await stored(cluster, settings)
    await store.write(store.ends, {place: encode(found) for place, found in said.items()})


async def test_a_fleet_is_kept_and_a_restart_tells_what_changed_alone(
    cluster: Cluster, bus: Bus, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many resources as 10,000 Strategies have, in one namespace."""
    fleet = limits("desk", count=FLEET)
    await keep_fleet(cluster, settings, fleet)
    for name in KEPT_CONFIG_MAPS:
        item = await cluster.get(CONFIG_MAPS, settings.operator_namespace, name)
        size = sum(len(text) * 3 // 4 for text in item["binaryData"].values())
        assert 0 < size < MAX_BYTES / 3, "there is room for three times as many"
    first, *same, last = fleet
    found = [*same, edited(last)]
    async with leading(cluster, bus, of(settings, "desk"), *found):
        pass
    rows = [row[::2] for row in await told(bus.url)]
    assert rows == [("CHANGED", last["metadata"]["name"]), ("DELETED", first["metadata"]["name"])]
    assert len((await names_kept(cluster, settings))["desk"]) == FLEET - 1
    # By itself: the second look keeps where the chain of the operator before has ended.
    monkeypatch.setattr(audit_record, "KEEP_SECONDS", 3600.0)
    before = counted("api_requests", resource="configmaps", verb="patch")
    async with leading(cluster, bus, of(settings, "desk"), *found):
        pass
    assert counted("api_requests", resource="configmaps", verb="patch") == before, "nothing has changed"
    assert len(await told(bus.url)) == 2


async def test_the_first_operator_waits_for_the_queue_of_the_trail(
    cluster: Cluster, bus: Bus, settings: Settings
) -> None:
    async with leading(cluster, bus, of(settings, "desk"), *limits("desk", count=100), capacity=10):
        pass
    assert [row[0] for row in await told(bus.url)] == ["CREATED"] * 100


async def test_what_there_is_no_room_for_is_not_taken_for_new(
    cluster: Cluster, bus: Bus, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = limits("small", "a"), limits("large", count=200)
    monkeypatch.setattr(audit_kept, "MAX_BYTES", 1500)
    async with leading(cluster, bus, of(settings, "small", "large"), *small, *large):
        pass
    before = await told(bus.url)
    assert len(before) == 201
    found = dict((await stored(cluster, settings)).resources())
    assert {text for (_, namespace), text in found.items() if namespace == "large"} == {NOT_KEPT}
    assert NOT_KEPT not in {text for (_, namespace), text in found.items() if namespace == "small"}
    for limit in (1500, MAX_BYTES):
        monkeypatch.setattr(audit_kept, "MAX_BYTES", limit)
        async with leading(cluster, bus, of(settings, "small", "large"), edited(small[0]), *large[1:]):
            pass
    since = (await told(bus.url))[len(before) :]
    not_known = ("RECORDS_LOST", "large", "", NOT_KNOWN)
    assert since == [not_known, ("CHANGED", "small", "a", WHILE_AWAY), not_known]
    # Now there is room.
    async with leading(cluster, bus, of(settings, "small", "large"), edited(small[0]), *large[2:]):
        pass
    assert (await told(bus.url))[-1] == ("DELETED", "large", large[1]["metadata"]["name"], WHILE_AWAY)


async def test_what_cannot_be_read_is_not_taken_for_new(cluster: Cluster, bus: Bus, settings: Settings) -> None:
    (limit,) = limits("desk", "a")
    store = await stored(cluster, settings)
    await store.write({}, {(place_of(limit["metadata"]["uid"]), "desk"): "AAAA"})
    async with leading(cluster, bus, of(settings, "desk"), limit):
        pass
    assert await told(bus.url) == [("RECORDS_LOST", "desk", "", NOT_KNOWN)]
    assert await names_kept(cluster, settings) == {"desk": ["a"]}


async def test_what_the_operator_before_this_one_kept_goes_and_its_ends_stay(
    cluster: Cluster, bus: Bus, settings: Settings
) -> None:
    """All of it in one ConfigMap, resources under one key of data."""
    (limit,) = limits("desk", "a")
    text = end_text(End(Head(1, bytes(32), 1), 1))
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": KEPT_CONFIG_MAPS[0]},
        "data": {"resources": '{"u1": ["RiskLimit", "desk", "a"]}', "desk.venue-a": text},
    }
    await cluster.create(CONFIG_MAPS, settings.operator_namespace, body)
    async with leading(cluster, bus, of(settings, "desk"), limit):
        pass
    assert (await stored(cluster, settings)).ends["desk.venue-a"] == text
    assert await names_kept(cluster, settings) == {"desk": ["a"]}
    for name in KEPT_CONFIG_MAPS:
        with suppress(NotFound):
            assert "resources" not in (await cluster.get(CONFIG_MAPS, settings.operator_namespace, name)).get(
                "data", {}
            )


async def test_an_operator_that_is_killed_between_two_config_maps_loses_no_end(
    cluster: Cluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it moves what earlier operators kept in one ConfigMap."""
    text = end_text(End(Head(1, bytes(32), 1), 1))
    ends = {f"desk.venue-{number}": text for number in range(20)}
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": KEPT_CONFIG_MAPS[0]}, "data": ends}
    await cluster.create(CONFIG_MAPS, settings.operator_namespace, body)
    writes = itertools.count()
    create, merge = cluster.create, cluster.merge

    def until_killed(write: Callable[..., Awaitable[Object]]) -> Callable[..., Awaitable[Object]]:
        async def one(*arguments: Any) -> Object:
            if next(writes) == 1:
                raise RuntimeError("killed")
            return await write(*arguments)

        return one

    monkeypatch.setattr(cluster, "create", until_killed(create))
    monkeypatch.setattr(cluster, "merge", until_killed(merge))
    store = await stored(cluster, settings)
    with pytest.raises(RuntimeError, match="killed"):
        await store.write(ends, {})
    assert (await stored(cluster, settings)).ends == ends


async def test_ends_come_before_resources_and_those_that_are_kept_before_new_ones(
    cluster: Cluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit_kept, "MAX_BYTES", 3000)
    text = end_text(End(Head(1, bytes(32), 1), 1))
    writers = [name for number in range(200) if place_of(name := f"desk.venue-{number}") == 0]
    old, new = {max(writers): text}, dict.fromkeys(writers, text)
    resources = {(0, "desk"): "A" * 3000}
    store = await stored(cluster, settings)
    await store.write(old, resources)
    assert dict((await stored(cluster, settings)).resources()) == resources
    await store.write(new, resources)
    found = await stored(cluster, settings)
    assert found.ends.keys() < new.keys()
    assert old.keys() < found.ends.keys(), "all that is left is used"
    assert dict(found.resources()) == {(0, "desk"): NOT_KEPT}


async def test_ten_thousand_writers_are_kept(cluster: Cluster, settings: Settings) -> None:
    text = end_text(End(Head(2**40, bytes(range(32)), 2**60), 2**40))
    ends = {f"namespace-of-a-desk-{number:04}.venue-with-a-name-{number:04}": text for number in range(10_000)}
    await (await stored(cluster, settings)).write(ends, {})
    assert (await stored(cluster, settings)).ends == ends


async def test_what_another_has_kept_is_not_taken_back(cluster: Cluster, settings: Settings) -> None:
    ours, theirs = await stored(cluster, settings), await stored(cluster, settings)
    for name, store in (("there", ours), ("not there", theirs)):
        with pytest.raises(Conflict) if store is theirs else nullcontext():
            await store.write({"desk.a": name}, {})
    await theirs.read()
    await theirs.write({"desk.a": "later"}, {})
    with pytest.raises(Conflict):
        await ours.write({"desk.a": "earlier"}, {})
    assert (await stored(cluster, settings)).ends == {"desk.a": "later"}


@pytest.mark.parametrize("names", [("desk",), ("",)], ids=["one", "all"])
async def test_a_namespace_that_cannot_be_read_was_neither_deleted_nor_created(
    cluster: Cluster, bus: Bus, settings: Settings, names: tuple[str, ...]
) -> None:
    """At the start, and from some time on."""
    everywhere = of(settings) if "" in names else of(settings, "desk")
    limit, other, gone = limits("desk", "a", "b", "c")
    async with leading(cluster, bus, everywhere, limit, other, gone):
        pass
    before = await told(bus.url)
    async with leading(cluster, bus, everywhere, limit, unreadable=names) as shard:
        shard.cache.remove(limit)  # what was read of it is forgotten
    assert await told(bus.url) == before
    async with leading(cluster, bus, everywhere, unreadable=names) as shard:
        for item in (limit, edited(other)):
            shard.cache.put(item)
        shard.unreadable.clear()

        async def is_told() -> bool:
            return len(await told(bus.url)) == len(before) + 2

        await until("what has changed to be told", is_told)
        # From here on as everywhere.
        shard.cache.put(edited(limit))
        shard.unreadable |= dict.fromkeys(names, "forbidden")
        shard.cache.remove(edited(limit))
    expected = [("CHANGED", "desk", "b", WHILE_UNREADABLE), ("DELETED", "desk", "c", WHILE_UNREADABLE)]
    assert (await told(bus.url))[len(before) :] == [*expected, ("CHANGED", "desk", "a", "")]
    assert await names_kept(cluster, settings) == {"desk": ["a", "b"]}
