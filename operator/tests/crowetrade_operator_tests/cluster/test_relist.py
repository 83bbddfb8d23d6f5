"""A list finds what the watch has lost, and a watch that brings nothing is told from a quiet cluster."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_api.names import STRATEGY_LABEL, VENUE_LABEL
from crowetrade_operator import metrics
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.relist import FOLLOWED_SECONDS, LIST_SECONDS, Relist
from crowetrade_operator.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, RISK_LIMITS, STRATEGIES
from crowetrade_operator_tests.samples import limit_manifest, strategy_manifest

pytestmark = pytest.mark.integration
Object = dict[str, Any]


def _config_map(name: str, managed_by: str) -> Object:
    metadata = {"name": name, "labels": {"app.kubernetes.io/managed-by": managed_by}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def _stalled() -> float | None:
    return metrics.REGISTRY.get_sample_value("crowetrade_operator_watch_stalled")


async def test_everything_is_known_before_the_start(cluster: Cluster, namespace: str) -> None:
    await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
    await cluster.create(CONFIG_MAPS, namespace, _config_map("ours", "crowetrade-operator"))
    await cluster.create(CONFIG_MAPS, namespace, _config_map("theirs", "Helm"))
    cache = Cache()
    await Relist(cluster, cache, (namespace,)).fill()
    assert [item["metadata"]["name"] for item in cache.all("Strategy", namespace)] == ["ema"]
    assert [item["metadata"]["name"] for item in cache.all("ConfigMap", namespace)] == ["ours"]


async def test_without_namespaces_all_are_listed(cluster: Cluster, namespace: str) -> None:
    await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
    cache = Cache()
    await Relist(cluster, cache, ()).fill()
    assert cache.get("Strategy", namespace, "ema") is not None


async def test_what_the_watch_has_lost_is_found_and_told(cluster: Cluster, namespace: str) -> None:
    cache = Cache()
    relist = Relist(cluster, cache, (namespace,))
    await relist.fill()
    await relist.check(grace=0.0)
    assert relist.stalled == ""

    lost = await cluster.create(RISK_LIMITS, namespace, limit_manifest(namespace=namespace))
    await relist.check(grace=0.0)
    assert cache.get("RiskLimit", namespace, "fx-desk") is not None, "work goes on without the watch"
    assert relist.stalled == "the watch of RiskLimit is stalled"
    assert _stalled() == 1.0

    relist.saw({**lost, "kind": "RiskLimit"}, "ADDED")
    await relist.check(grace=0.0)
    assert relist.stalled == ""
    assert _stalled() == 0.0


async def test_a_watch_that_is_only_a_little_late_is_not_stalled(cluster: Cluster, namespace: str) -> None:
    cache = Cache()
    relist = Relist(cluster, cache, (namespace,))
    await relist.fill()
    lost = await cluster.create(RISK_LIMITS, namespace, limit_manifest(namespace=namespace))
    # The event comes while the list is read: the listener is called by it.
    cache.listen(lambda _, item: relist.saw(item, "ADDED") if item is not None else None)
    await relist.check(grace=0.0)
    assert cache.get("RiskLimit", namespace, "fx-desk") is not None
    assert relist.stalled == ""
    assert lost["metadata"]["name"] == "fx-desk"


async def test_what_a_watch_still_brings_is_not_listed_again(cluster: Cluster, namespace: str) -> None:
    now, cache = [0.0], Cache()
    relist = Relist(cluster, cache, (namespace,), clock=lambda: now[0], kinds=(RISK_LIMITS, CONFIG_MAPS))
    await relist.fill()
    await cluster.create(RISK_LIMITS, namespace, limit_manifest(namespace=namespace))
    await cluster.create(CONFIG_MAPS, namespace, _config_map("ours", "crowetrade-operator"))
    now[0] = 100.0
    relist.heard(RISK_LIMITS, namespace)
    await relist.check(grace=0.0)
    assert cache.get("RiskLimit", namespace, "fx-desk") is None, "the watch brings it"
    assert cache.get("ConfigMap", namespace, "ours") is not None, "whose watch has brought nothing"
    assert relist.stalled == "the watch of ConfigMap is stalled"
    now[0] = 100.0 + FOLLOWED_SECONDS
    await relist.check(grace=0.0)
    assert cache.get("RiskLimit", namespace, "fx-desk") is not None
    assert relist.stalled == "the watch of RiskLimit is stalled"


async def test_everything_is_listed_again_from_time_to_time(cluster: Cluster, namespace: str) -> None:
    now, cache = [0.0], Cache()
    relist = Relist(cluster, cache, (namespace,), clock=lambda: now[0])
    await relist.fill()
    await cluster.create(RISK_LIMITS, namespace, limit_manifest(namespace=namespace))
    now[0] = LIST_SECONDS
    relist.heard(RISK_LIMITS, namespace)
    await relist.check(grace=0.0)
    assert cache.get("RiskLimit", namespace, "fx-desk") is not None


async def test_a_deletion_that_the_watch_has_lost_is_found(cluster: Cluster, namespace: str) -> None:
    await cluster.create(RISK_LIMITS, namespace, limit_manifest(namespace=namespace))
    cache = Cache()
    relist = Relist(cluster, cache, (namespace,))
    await relist.fill()
    await cluster.delete(RISK_LIMITS, namespace, "fx-desk")
    gone: list[Object] = []
    cache.listen(lambda before, after: gone.append(before) if after is None and before is not None else None)
    await relist.check(grace=0.0)
    assert [item["metadata"]["name"] for item in gone] == ["fx-desk"]
    assert cache.get("RiskLimit", namespace, "fx-desk") is None


async def test_one_that_begins_to_lead_reads_again_what_it_decides_from(cluster: Cluster, namespace: str) -> None:
    cache = Cache()
    relist = Relist(cluster, cache, (namespace,))
    await relist.fill()
    await cluster.create(STRATEGIES, namespace, strategy_manifest(namespace=namespace))
    for name, label in (("venue-sim", VENUE_LABEL), ("strategy-ema", STRATEGY_LABEL)):
        labels = {"app.kubernetes.io/managed-by": "crowetrade-operator", label: "a"}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "image:1"}]}}
        deployment = {
            "apiVersion": DEPLOYMENTS.api_version,
            "kind": DEPLOYMENTS.kind,
            "metadata": {"name": name, "labels": labels},
            "spec": {"selector": {"matchLabels": labels}, "template": template},
        }
        await cluster.create(DEPLOYMENTS, namespace, deployment)
    await cluster.create(CONFIG_MAPS, namespace, _config_map("ours", "crowetrade-operator"))
    await relist.catch_up()
    assert cache.get("Strategy", namespace, "ema") is not None
    assert cache.get("Deployment", namespace, "venue-sim") is not None
    for kind, name in (("Deployment", "strategy-ema"), ("ConfigMap", "ours")):
        assert cache.get(kind, namespace, name) is None, "the watch brings it"


async def test_how_long_the_watch_is_silent(cluster: Cluster) -> None:
    now = [10.0]
    relist = Relist(cluster, Cache(), (), clock=lambda: now[0])
    now[0] = 15.0
    assert relist.seconds_since_event() == 5.0
    relist.saw({"kind": "Pod", "metadata": {"name": "p", "resourceVersion": "1"}}, "ADDED")
    assert relist.seconds_since_event() == 0.0
