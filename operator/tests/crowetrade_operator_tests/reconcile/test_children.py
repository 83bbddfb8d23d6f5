"""What a reconcile writes, against a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_api.names import STRATEGY_LABEL, Key, Kind
from crowetrade_api.v1alpha1.meta import Metadata
from crowetrade_operator.cluster import compare
from crowetrade_operator.cluster.cache import Cache, address_of
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.events import Recorder
from crowetrade_operator.cluster.resources import CONFIG_MAPS, STRATEGIES, ApiResource
from crowetrade_operator.reconcile import children
from crowetrade_operator.reconcile.children import ChildWriter
from crowetrade_operator_tests.samples import strategy_manifest

pytestmark = pytest.mark.integration
Object = dict[str, Any]


def _config_map(owner: Metadata, text: str) -> Object:
    reference = {"apiVersion": STRATEGIES.api_version, "kind": STRATEGIES.kind, "name": owner.name, "uid": owner.uid}
    metadata = {
        "name": "strategy-ema",
        "namespace": owner.namespace,
        "labels": {"app.kubernetes.io/managed-by": "crowetrade-operator", STRATEGY_LABEL: owner.name},
        "ownerReferences": [{**reference, "controller": True}],
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"text": text}}


async def test_who_creates_a_child_goes_on_with_it(cluster: Cluster, namespace: str) -> None:
    stored = await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
    owner, key = Metadata.model_validate(stored["metadata"]), Key(Kind.STRATEGY, namespace, "ema")
    cache, told = Cache(), list[bool]()
    writer = ChildWriter(cluster, cache, Recorder(cluster, "test"))
    cache.listen(lambda _, after: told.append(after is not None and writer.creates(after)))
    await writer.apply(key, owner, [_config_map(owner, "first")])
    assert told == [True]
    # A change may lead to other decisions.
    await writer.apply(key, owner, [_config_map(owner, "second")])
    assert told == [True, False]


async def test_a_child_is_compared_again_when_it_has_changed(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
    owner, key = Metadata.model_validate(stored["metadata"]), Key(Kind.STRATEGY, namespace, "ema")
    cache, compared = Cache(), list[str]()
    writer = ChildWriter(cluster, cache, Recorder(cluster, "test"))

    def drifts(desired: Object, live: Object) -> list[compare.Drift]:
        compared.append(live["metadata"]["resourceVersion"])
        return compare.drifts(desired, live)

    monkeypatch.setattr(children, "drifts", drifts)
    for _ in range(3):
        await writer.apply(key, owner, [_config_map(owner, "first")])
    assert len(compared) == 1, "it is as it was"
    changed = await cluster.merge(CONFIG_MAPS, namespace, "strategy-ema", {"data": {"text": "theirs"}})
    cache.put({**changed, "apiVersion": "v1", "kind": "ConfigMap"})
    await writer.apply(key, owner, [_config_map(owner, "first")])
    assert compared[1:] == [changed["metadata"]["resourceVersion"]]
    found = await cluster.get(CONFIG_MAPS, namespace, "strategy-ema")
    assert found["data"] == {"text": "first"}, "and is put back"


async def test_what_goes_with_its_owner_is_no_repair_for_the_next_one(cluster: Cluster, namespace: str) -> None:
    """The watch of another kind may bring that the owner has gone after what the garbage collector did for that."""
    cache, key = Cache(), Key(Kind.STRATEGY, namespace, "ema")
    writer = ChildWriter(cluster, cache, Recorder(cluster, "test"))

    async def made() -> tuple[Object, Object]:
        """A Strategy and its child."""
        stored = await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
        cache.put({**stored, "apiVersion": STRATEGIES.api_version, "kind": STRATEGIES.kind})
        child = _config_map(Metadata.model_validate(stored["metadata"]), "first")
        await writer.apply(key, Metadata.model_validate(stored["metadata"]), [child])
        return stored, child

    async def deleted(resource: ApiResource, name: str) -> None:
        await cluster.delete(resource, namespace, name)
        known = cache.get(resource.kind, namespace, name)
        assert known is not None
        latest = await cluster.create(CONFIG_MAPS, namespace, {"metadata": {"generateName": "version-"}})
        version = latest["metadata"]["resourceVersion"]
        cache.remove({**known, "metadata": {**known["metadata"], "resourceVersion": version}})

    owner, child = await made()
    await deleted(CONFIG_MAPS, "strategy-ema")
    await writer.apply(key, Metadata.model_validate(owner["metadata"]), [child])
    assert writer.writes.repairs(address_of(child)) == 1
    await deleted(CONFIG_MAPS, "strategy-ema")
    await deleted(STRATEGIES, "ema")
    await made()
    assert writer.writes.repairs(address_of(child)) == 1
    assert not writer._deleted, "of those that are gone nothing is kept"
