from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import Callable
from typing import Any

from crowetrade_api.names import Key, Kind
from crowetrade_operator.cluster.cache import Address, Cache
from crowetrade_operator.cluster.resources import DEPLOYMENTS, STRATEGIES, ApiResource
from crowetrade_operator_tests.samples import stored, strategy_manifest

Object = dict[str, Any]


def strategy(name: str = "ema", version: int = 1, uid: str = "") -> Object:
    return stored(strategy_manifest(name), resourceVersion=str(version), uid=uid or f"uid-{name}")


def child(name: str, owner: str = "ema", version: int = 1, **content: Object) -> Object:
    labels = {"trading.crowetrade.io/strategy": owner}
    metadata = {"name": name, "namespace": "desk", "uid": name, "resourceVersion": str(version), "labels": labels}
    reference: Object = {"f:metadata": {"f:ownerReferences": {f'k:{{"uid":"{name}"}}': {}}}, "f:spec": {}}
    managed = [{"manager": "m", "operation": "Apply", "time": f"at-{name}", "fieldsV1": reference}]
    return {"kind": "Deployment", "metadata": {**metadata, "managedFields": managed}, **content}


def replace(
    cache: Cache, resource: ApiResource, namespace: str, items: list[Object], version: str
) -> dict[Address, int]:
    return cache.replace(resource, namespace, map(cache.listed, items), version)


def test_the_newer_version_wins() -> None:
    cache = Cache()
    assert cache.put(strategy(version=5))
    assert not cache.put(strategy(version=4))
    assert not cache.put(strategy(version=5))
    assert cache.put(strategy(version=6))
    found = cache.get("Strategy", "desk", "ema")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "6"


def test_a_deleted_object_does_not_come_back_but_its_successor_does() -> None:
    cache = Cache()
    cache.put(strategy(version=5))
    assert cache.remove(strategy(version=6))
    assert not cache.put(strategy(version=6))
    assert cache.put(strategy(version=8, uid="other"))
    assert not cache.remove(strategy(version=7)), "the deletion of the one before"
    assert cache.get("Strategy", "desk", "ema") is not None


def test_what_a_watch_selects_again_comes_back() -> None:
    """Somebody takes the label away that the watch selects, and the operator puts it back: the same object."""
    cache = Cache()
    cache.put(child("a", version=5))
    assert cache.remove(child("a", version=6))
    assert not cache.put(child("a", version=6))
    assert cache.put(child("a", version=7))
    assert len(cache.owned(Key(Kind.STRATEGY, "desk", "ema"))) == 1


def test_a_deletion_that_comes_late_takes_nothing_away() -> None:
    """A label was taken away and put back, and a list, or the answer to our own write, has brought the object before
    the watch says that it went."""
    listed, written = Cache(), Cache()
    for cache in (listed, written):
        cache.put(child("a", version=5))
    listed.begin_list()
    replace(listed, DEPLOYMENTS, "", [child("a", version=7)], "8")
    written.put(child("a", version=7))
    for cache in (listed, written):
        assert not cache.remove(child("a", version=6))
        assert not cache.put(child("a", version=7))
        assert len(cache.owned(Key(Kind.STRATEGY, "desk", "ema"))) == 1
        assert cache.remove(child("a", version=9))


def test_what_a_list_has_not_is_not_brought_back_by_what_came_before_the_list() -> None:
    cache = Cache()
    cache.put(strategy(version=5))
    cache.begin_list()
    assert len(replace(cache, STRATEGIES, "", [], "20")) == 1
    assert not cache.put(strategy(version=20))
    assert cache.put(strategy(version=21))


def test_children_are_found_by_their_owner() -> None:
    cache = Cache()
    cache.put(child("a"))
    cache.put(child("b", owner="other"))
    assert [item["metadata"]["name"] for item in cache.owned(Key(Kind.STRATEGY, "desk", "ema"))] == ["a"]
    cache.put(child("a", owner="other", version=2))
    assert cache.owned(Key(Kind.STRATEGY, "desk", "ema")) == []
    assert len(cache.owned(Key(Kind.STRATEGY, "desk", "other"))) == 2
    cache.remove(child("a", owner="other", version=3))
    assert len(cache.owned(Key(Kind.STRATEGY, "desk", "other"))) == 1


def test_a_list_finds_what_a_watch_lost() -> None:
    cache = Cache()
    for name in ("kept", "gone"):
        cache.put(strategy(name, version=5))
    cache.begin_list()
    cache.put(strategy("young", version=50))
    missed = replace(cache, STRATEGIES, "", [strategy("kept", 5), strategy("new", 7)], "20")
    assert missed == {("Strategy", "desk", "gone"): 5, ("Strategy", "desk", "new"): 7}
    assert sorted(item["metadata"]["name"] for item in cache.all("Strategy", "desk")) == ["kept", "new", "young"]


def test_a_list_is_the_truth_also_when_versions_have_gone_back() -> None:
    """etcd was restored from a backup: what is known is newer by number, and is not there any more."""
    cache = Cache()
    for name in ("older", "same", "lost"):
        cache.put(strategy(name, version=500))
    cache.begin_list()
    missed = replace(cache, STRATEGIES, "", [strategy("older", 3), strategy("same", 500)], "20")
    assert missed == {("Strategy", "desk", "lost"): 500, ("Strategy", "desk", "older"): 3}
    assert cache.put(strategy("older", version=21)), "the watch goes on from the list"


def test_what_came_while_a_list_was_read_is_newer_than_the_list() -> None:
    cache = Cache()
    cache.put(strategy(version=5))
    cache.begin_list()
    cache.put(strategy(version=9))
    assert replace(cache, STRATEGIES, "", [strategy(version=7)], "8") == {}
    found = cache.get("Strategy", "desk", "ema")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "9"


def test_what_happens_while_a_list_is_read_counts_also_when_versions_have_gone_back() -> None:
    cache = Cache()
    cache.put(strategy("deleted", version=500))
    cache.begin_list()
    replace(cache, STRATEGIES, "", [strategy("deleted", 500)], "600")
    cache.begin_list()
    cache.remove(strategy("deleted", version=22))
    cache.put(strategy("created", version=23))
    replace(cache, STRATEGIES, "", [strategy("deleted", 3)], "20")
    assert cache.names("Strategy", "desk") == ["created"]


def test_a_list_does_not_bring_back_what_was_deleted_while_it_was_read() -> None:
    cache = Cache()
    cache.put(strategy(version=5))
    cache.begin_list()
    cache.remove(strategy(version=6))
    assert replace(cache, STRATEGIES, "", [strategy(version=5)], "5") == {}
    assert cache.get("Strategy", "desk", "ema") is None


def test_what_was_deleted_while_a_list_was_read_does_not_come_back_by_what_came_before_the_deletion() -> None:
    """kopf keeps the order of one uid alone: the end of the second one may come before the news of the first."""
    cache = Cache()
    cache.begin_list()
    cache.remove(strategy(version=11, uid="second"))
    replace(cache, STRATEGIES, "", [strategy(version=7, uid="first")], "8")
    assert not cache.put(strategy(version=9, uid="first"))
    assert cache.names("Strategy", "desk") == []


def test_a_list_of_one_namespace_or_kind_leaves_the_others_alone() -> None:
    cache = Cache()
    cache.put(strategy(version=1))
    cache.put(child("a"))
    assert replace(cache, STRATEGIES, "elsewhere", [], "99") == {}
    assert [kind for kind, _, _ in replace(cache, DEPLOYMENTS, "desk", [], "99")] == ["Deployment"]
    assert len(list(cache.of_kind("Strategy"))) == 1


def test_namespaces_of_a_kind_are_those_that_hold_one() -> None:
    cache = Cache()
    cache.put(strategy())
    cache.put(child("a"))
    there = stored(strategy_manifest(namespace="another"), uid="uid-there")
    cache.put(there)
    assert cache.namespaces("Strategy") == ["another", "desk"]
    assert (cache.count("Strategy"), cache.count("KillSwitch")) == (2, 0)
    assert sorted(item["metadata"]["namespace"] for item in cache.of_kind("Strategy")) == ["another", "desk"]
    cache.remove(there)
    cache.put(strategy(version=2))
    assert cache.namespaces("Strategy") == ["desk"]
    assert cache.count("Strategy") == 1
    assert cache.namespaces("KillSwitch") == []


def test_listeners_hear_before_and_after() -> None:
    heard: list[tuple[bool, bool]] = []
    cache = Cache()
    cache.listen(lambda before, after: heard.append((before is not None, after is not None)))
    cache.put(child("a"))
    cache.put(child("a", version=2, status={"replicas": 1}))
    cache.remove(child("a", version=3))
    assert heard == [(False, True), (True, True), (True, False)]


def test_of_a_child_the_content_that_matters_is_kept_and_a_change_of_the_rest_wakes_nobody() -> None:
    heard: list[Object | None] = []
    cache = Cache()
    cache.listen(lambda _, after: heard.append(after))
    pod_spec = {"hostNetwork": True, "containers": [{"name": "agent"}]}
    spec = {"progressDeadlineSeconds": 600, "replicas": 1, "template": {"spec": pod_spec}}
    cache.put(child("a", spec=spec, status={"replicas": 1}))
    found = cache.get("Deployment", "desk", "a")
    assert found is not None
    assert found["spec"] == {"progressDeadlineSeconds": 600, "template": {"spec": {"hostNetwork": True}}}
    assert found["status"] == {"replicas": 1}

    cache.put(child("a", version=2, spec={**spec, "replicas": 2}, status={"replicas": 1}))
    assert len(heard) == 1
    found = cache.get("Deployment", "desk", "a")
    assert found is not None
    assert found["metadata"]["resourceVersion"] == "2", "the version is known all the same"
    cache.put(child("a", version=3, spec=spec, status={"replicas": 2}))
    assert len(heard) == 2


def test_managed_fields_are_kept_of_children_alone_and_shared_between_them() -> None:
    cache = Cache()
    for name in ("a", "b"):
        cache.put(child(name))
    one, other = (item["metadata"]["managedFields"] for item in cache.of_kind("Deployment"))
    assert one == [{"manager": "m", "operation": "Apply", "fieldsV1": {"f:spec": {}}}]
    assert one[0] is other[0]
    cache.put({**strategy(), "metadata": {**strategy()["metadata"], "managedFields": [{"big": "x"}]}})
    assert "managedFields" not in next(cache.of_kind("Strategy"))["metadata"]


def test_what_the_children_of_an_owner_have_in_common_is_kept_once() -> None:
    """Three times 10,000 strings would be 2 MiB for each thing that is not."""
    item = json.dumps(child("strategy-ema"))
    cache = filled([{**json.loads(item), "kind": kind} for kind in ("Deployment", "Service")])
    (of_one, one), (of_other, other) = (next(cache.all_packed(kind)) for kind in ("Deployment", "Service"))
    assert one.owner is other.owner
    assert (of_one[1], of_one[2]) == ("desk", "strategy-ema")
    assert of_one[1] is of_other[1]
    assert of_one[2] is of_other[2]
    managed = [item["metadata"]["managedFields"] for kind in ("Deployment", "Service") for item in cache.of_kind(kind)]
    assert managed[0] is managed[1]


def test_what_is_kept_takes_a_fifth_of_its_dictionaries() -> None:
    items = [json.loads(json.dumps(strategy(f"s{number}"))) for number in range(200)]
    assert _bytes_of(lambda: [json.loads(json.dumps(item)) for item in items]) > 5 * _bytes_of(lambda: filled(items))


def test_objects_that_are_not_alike_read_as_they_were_put() -> None:
    """Each is packed with the help of the first one of its kind, and of the kind of its owner."""
    of_a_venue = {"metadata": {**child("v")["metadata"], "labels": {"trading.crowetrade.io/venue": "sim-fx"}}}
    items = [
        child("a", spec={"replicas": 1}),
        child("b", spec={"template": {"metadata": {"labels": {"name": "Zürich \u0000 \U0001f600"}}}}),
        child("c", status={"conditions": [{"type": str(number)} for number in range(5_000)]}),
        {**child("v", status={"replicas": 3}), **of_a_venue},
        strategy(),
    ]
    cache = filled(items)
    for item in items:
        metadata, found = item["metadata"], cache.get(item["kind"], "desk", item["metadata"]["name"])
        assert found is not None
        assert found["metadata"].get("labels") == metadata.get("labels")
        assert [found.get(name) for name in ("status", "kind")] == [item.get(name) for name in ("status", "kind")]


def test_what_is_the_same_in_another_cache_is_the_same() -> None:
    """There another object was the first one."""
    first, second = filled([strategy("a"), strategy("b")]), filled([strategy("b", version=2), strategy("a")])
    packed = [cache.packed("Strategy", "desk", "b") for cache in (first, second)]
    assert packed[0] is not None
    assert packed[1] is not None
    assert packed[0].is_same(packed[1])
    other = filled([strategy("b", uid="other")]).packed("Strategy", "desk", "b")
    assert other is not None
    assert not packed[0].is_same(other)


def filled(items: list[Object]) -> Cache:
    cache = Cache()
    for item in items:
        cache.put(item)
    return cache


def _bytes_of(make: Callable[[], object]) -> int:
    """What is in memory for it afterwards."""
    gc.collect()
    tracemalloc.start()
    try:
        made = make()
        gc.collect()
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del made
    return size


def test_what_is_kept_is_another_thing_after_each_change_and_reads_the_same() -> None:
    cache = Cache()
    assert cache.packed("Strategy", "desk", "ema") is None
    cache.put(strategy(version=1))
    first = cache.packed("Strategy", "desk", "ema")
    assert first is not None
    assert (first.uid, first.version, first.open()) == ("uid-ema", 1, strategy(version=1))
    assert cache.packed("Strategy", "desk", "ema") is first
    assert cache.get("Strategy", "desk", "ema") is cache.get("Strategy", "desk", "ema"), "read once"
    cache.put(strategy(version=2))
    assert cache.packed("Strategy", "desk", "ema") is not first
    assert cache.get("Strategy", "desk", "ema") == strategy(version=2)
    assert list(cache.all_packed("Strategy")) == [
        (("Strategy", "desk", "ema"), cache.packed("Strategy", "desk", "ema")),
    ]


def test_the_order_of_fields_is_no_change() -> None:
    """A watch brings apiVersion and kind first, a list brings none and they come last."""
    heard: list[object] = []
    cache = Cache()
    cache.put(strategy(version=1))
    cache.listen(lambda before, after: heard.append(after))
    cache.put(dict(reversed(strategy(version=2).items())))
    assert heard == []
    packed = cache.packed("Strategy", "desk", "ema")
    assert packed is not None
    assert packed.version == 2
