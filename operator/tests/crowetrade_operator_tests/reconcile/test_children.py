"""What a reconcile writes, against a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_api.names import Key, Kind
from crowetrade_api.v1alpha1.meta import Metadata
from crowetrade_operator.cluster import compare
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.events import Recorder
from crowetrade_operator.cluster.resources import CONFIG_MAPS, STRATEGIES
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
        "labels": {"app.kubernetes.io/managed-by": "crowetrade-operator"},
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
