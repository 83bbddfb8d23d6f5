"""The writes of a plan against a real API server, when it has changed since we looked."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_api.names import FINALIZER, Key, Kind
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.bus.status_board import StatusBoard
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.events import Recorder
from crowetrade_operator.cluster.objects import Note
from crowetrade_operator.cluster.resources import CONFIG_MAPS, EVENTS, NAMESPACES, STRATEGIES
from crowetrade_operator.cluster.status import StatusWriter
from crowetrade_operator.control.orders import DirectOrders
from crowetrade_operator.decide.plan import Plan
from crowetrade_operator.errors import ClusterRefused, ClusterUnavailable, Conflict, NotFound
from crowetrade_operator.reconcile.children import REFUSED_SECONDS, Applied
from crowetrade_operator.reconcile.context import Context
from crowetrade_operator.reconcile.indexes import Indexes
from crowetrade_operator_tests.samples import SETTINGS, change, stored, strategy_manifest, venue_manifest

pytestmark = pytest.mark.integration
Object = dict[str, Any]


@pytest.fixture
def context(cluster: Cluster) -> Context:
    """What reconcilers work with, without a watch: the cache knows what a test puts into it."""
    cache = Cache()
    return Context(
        settings=SETTINGS,
        cluster=cluster,
        cache=cache,
        bus=Bus("nats://127.0.0.1:9", StatusBoard()),
        direct=DirectOrders(),
        status=StatusWriter(cluster, 1000.0),
        recorder=Recorder(cluster, "operator-0"),
        indexes=Indexes.of(cache),
    )


@pytest.fixture
def key(namespace: str) -> Key:
    return Key(Kind.STRATEGY, namespace, "ema")


async def create(cluster: Cluster, namespace: str) -> Strategy:
    return Strategy.model_validate(await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace)))


async def finalizers(cluster: Cluster, key: Key) -> list[str]:
    found = await cluster.get(STRATEGIES, key.namespace, key.name)
    return list(found["metadata"].get("finalizers", []))


async def test_the_finalizer_comes_once_and_leaves_those_of_others(
    context: Context, cluster: Cluster, key: Key
) -> None:
    resource = await create(cluster, key.namespace)
    theirs = {"metadata": {"finalizers": ["example.com/theirs"]}}
    resource = Strategy.model_validate(await cluster.merge(STRATEGIES, key.namespace, key.name, theirs))
    await context.carry_out(key, resource, Plan(finalizer=True))
    assert await finalizers(cluster, key) == ["example.com/theirs", FINALIZER]
    known = context.strategy(key)
    assert known is not None, "the answer is known without waiting for the watch"
    version = known.metadata.resource_version
    await context.carry_out(key, known, Plan(finalizer=True))
    assert (await cluster.get(STRATEGIES, key.namespace, key.name))["metadata"]["resourceVersion"] == version
    await context.carry_out(key, known, Plan(finalizer=False))
    assert await finalizers(cluster, key) == ["example.com/theirs"]


async def test_what_was_changed_since_we_looked_is_decided_again(context: Context, cluster: Cluster, key: Key) -> None:
    resource = await create(cluster, key.namespace)
    await cluster.merge(STRATEGIES, key.namespace, key.name, {"metadata": {"finalizers": ["example.com/new"]}})
    with pytest.raises(Conflict):
        await context.carry_out(key, resource, Plan(finalizer=True))
    assert await finalizers(cluster, key) == ["example.com/new"]


async def test_to_let_go_of_what_is_gone_already_is_fine_but_it_gets_no_finalizer(
    context: Context, cluster: Cluster, key: Key
) -> None:
    resource = await create(cluster, key.namespace)
    held = resource.model_copy(update={"metadata": resource.metadata.model_copy(update={"finalizers": [FINALIZER]})})
    await cluster.delete(STRATEGIES, key.namespace, key.name)
    await context.carry_out(key, held, Plan(finalizer=False))
    with pytest.raises(NotFound):
        await context.carry_out(key, resource, Plan(finalizer=True))


async def test_how_it_ended_is_told_once(context: Context, cluster: Cluster, key: Key) -> None:
    """The watch may bring the end late: what is decided meanwhile is decided about what is gone."""
    resource = await create(cluster, key.namespace)
    await context.carry_out(key, resource, Plan(finalizer=True))
    await cluster.delete(STRATEGIES, key.namespace, key.name)
    held = Strategy.model_validate(await cluster.get(STRATEGIES, key.namespace, key.name))
    for _ in range(2):
        plan = Plan(finalizer=False, notes=[Note("Normal", "Stopped", "Delete", "it has stopped")])
        await context.carry_out(key, held, plan)
    await context.recorder.drain()
    told, _ = await cluster.list(EVENTS, key.namespace)
    assert [event["reason"] for event in told] == ["Stopped"]


async def test_without_the_bus_children_are_written_all_the_same(context: Context, cluster: Cluster, key: Key) -> None:
    resource = await create(cluster, key.namespace)
    child = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": key.namespace}}
    assert await context.carry_out(key, resource, Plan(apply=[child], delete_config=True)) == Applied()
    assert (await cluster.get(CONFIG_MAPS, key.namespace, "c"))["metadata"]["name"] == "c"


async def test_a_child_that_is_refused_is_named_and_later_ones_wait(
    context: Context, cluster: Cluster, key: Key
) -> None:
    """The order of children is one in which each needs those before it."""
    resource = await create(cluster, key.namespace)

    def child(name: str) -> Object:
        return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": key.namespace}}

    applied = await context.carry_out(key, resource, Plan(apply=[child("a"), child("NOT A NAME"), child("b")]))
    assert applied.refusal is not None
    assert applied.refusal.text.startswith("The API server refused ConfigMap NOT A NAME: ")
    assert applied.requeue_after_seconds == REFUSED_SECONDS
    assert (await cluster.get(CONFIG_MAPS, key.namespace, "a"))["metadata"]["name"] == "a"
    with pytest.raises(NotFound):
        await cluster.get(CONFIG_MAPS, key.namespace, "b")


async def test_labels_of_a_namespace_are_read_when_they_are_old_and_kept_when_they_cannot_be_read(
    context: Context, cluster: Cluster, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    context.clock = lambda: now[0]
    assert context.namespace_view(key.namespace).namespace_labels is None
    await context.know_namespace(key.namespace)
    known = context.namespace_view(key.namespace).namespace_labels
    assert known == {"kubernetes.io/metadata.name": key.namespace}

    await cluster.merge(NAMESPACES, "", key.namespace, {"metadata": {"labels": {"team": "fx"}}})
    await context.know_namespace(key.namespace)
    assert context.namespace_view(key.namespace).namespace_labels == known, "they are not old"
    now[0] = 61.0
    await context.know_namespace(key.namespace)
    changed = context.namespace_view(key.namespace).namespace_labels
    assert changed == {**known, "team": "fx"}

    async def refused(*_: object) -> Object:
        raise ClusterUnavailable("get", "/", 0, "no answer")

    monkeypatch.setattr(cluster, "get", refused)
    now[0] = 122.0
    await context.know_namespace(key.namespace)
    assert context.namespace_view(key.namespace).namespace_labels == changed


async def test_labels_that_were_never_read_are_waited_for_unless_they_may_not_be_read(
    context: Context, cluster: Cluster, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new leader whose first request for them fails would take venues away from strategies of other namespaces."""
    get, errors = cluster.get, [ClusterUnavailable("get", "/", 500, "etcd is gone")]

    async def fails_once(*where: Any) -> Object:
        if errors:
            raise errors.pop()
        return await get(*where)

    monkeypatch.setattr(cluster, "get", fails_once)
    with pytest.raises(ClusterUnavailable, match="the labels of the namespace are not known"):
        await context.know_around(key)
    await context.know_around(key)
    assert context.namespace_view(key.namespace).namespace_labels == {"kubernetes.io/metadata.name": key.namespace}

    async def forbidden(*_: object) -> Object:
        raise ClusterRefused("get", "/", 403, "forbidden")

    monkeypatch.setattr(cluster, "get", forbidden)
    await context.know_around(Key(Kind.STRATEGY, "another", "ema"))
    assert context.namespace_view("another").namespace_labels is None


async def test_nothing_is_kept_of_namespaces_and_venues_that_are_gone(context: Context, cluster: Cluster) -> None:
    """All by the cache: home has a Strategy that trades in desk and, for a while, in named. The API server has none of
    them, whatever other tests have made there."""
    home, desk, named = "unused-home", "unused-desk", "unused-named"
    venue = stored(venue_manifest("sim-fx", desk), uid="v")
    context.cache.put(venue)

    def trades_in(*namespaces: str, version: str) -> Object:
        manifest = strategy_manifest("ema", home)
        refs = [{"venueRef": {"name": "sim-fx", "namespace": namespace}} for namespace in namespaces]
        return stored(change(manifest, "spec.instruments", refs), uid="s", resourceVersion=version)

    context.cache.put(trades_in(desk, named, version="10"))
    for namespace in (home, desk, named):
        await context.know_namespace(namespace)
        context.namespace_view(namespace)
        await context.pod_events.warnings(namespace)
    place = Key(Kind.VENUE, desk, "sim-fx")
    context._tightened[desk, "sim-fx"] = {"limit": "hash"}

    context.forget_unused()
    assert set(context._namespaces) == {home, desk, named}, "who is named by somebody stays"
    assert set(context.pod_events.namespaces()) == set(context._compiled) == {home, desk}

    context.cache.put(trades_in(desk, version="11"))
    context.forget_unused()
    assert set(context._namespaces) == {home, desk}

    context.cache.remove(venue)
    context.forget(place)
    context.forget_namespace(desk)
    assert context._tightened == {}
    assert context.pod_events.namespaces() == [home]
    context.forget_unused()
    assert set(context._namespaces) == {home, desk}
    context.cache.remove(trades_in(desk, version="12"))
    context.forget_namespace(home)
    context.forget_unused()
    assert (context._namespaces, context._readable, context._compiled) == ({}, {}, {})
    assert context.pod_events.namespaces() == []
