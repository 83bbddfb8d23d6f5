"""A list finds what the watch has lost, and a watch that brings nothing is told from a quiet cluster."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from crowetrade_api.names import STRATEGY_LABEL, VENUE_LABEL
from crowetrade_operator import metrics
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.relist import FOLLOWED_SECONDS, LIST_SECONDS, Relist
from crowetrade_operator.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    NAMESPACES,
    RISK_LIMITS,
    SERVICES,
    STRATEGIES,
)
from crowetrade_operator.errors import ClusterRefused
from crowetrade_operator_tests.fault_proxy import Fault, FaultProxy
from crowetrade_operator_tests.samples import limit_manifest, strategy_manifest
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]


def _config_map(name: str, managed_by: str) -> Object:
    metadata = {"name": name, "labels": {"app.kubernetes.io/managed-by": managed_by}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def _stalled(kind: str, namespace: str) -> float | None:
    labels = {"kind": kind, "namespace": namespace}
    return metrics.REGISTRY.get_sample_value("crowetrade_operator_watch_stalled", labels)


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
    assert relist.stalled == f"the watch of RiskLimit in {namespace} is stalled"
    assert _stalled("RiskLimit", namespace) == 1.0

    relist.saw({**lost, "kind": "RiskLimit"}, "ADDED")
    await relist.check(grace=0.0)
    assert relist.stalled == ""
    assert _stalled("RiskLimit", namespace) is None


async def test_events_of_another_namespace_hide_no_watch_that_is_stalled(cluster: Cluster, namespace: str) -> None:
    other = f"{namespace}-other"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    relist = Relist(cluster, Cache(), (namespace, other), kinds=(RISK_LIMITS,))
    await relist.fill()
    await cluster.create(RISK_LIMITS, namespace, limit_manifest(namespace=namespace))
    relist.saw(await cluster.create(RISK_LIMITS, other, limit_manifest(namespace=other)), "ADDED")
    await relist.check(grace=0.0)
    assert relist.stalled == f"the watch of RiskLimit in {namespace} is stalled"
    assert (_stalled("RiskLimit", namespace), _stalled("RiskLimit", other)) == (1.0, None)
    relist.close()
    assert _stalled("RiskLimit", namespace) is None


async def test_where_all_namespaces_are_watched_at_once_there_is_one_watch_of_a_kind(
    cluster: Cluster, namespace: str
) -> None:
    relist = Relist(cluster, Cache(), (), kinds=(RISK_LIMITS,))
    await relist.fill()
    lost = await cluster.create(RISK_LIMITS, namespace, limit_manifest(namespace=namespace))
    await relist.check(grace=0.0)
    assert relist.stalled == "the watch of RiskLimit is stalled"
    assert _stalled("RiskLimit", "") == 1.0
    await cluster.delete(RISK_LIMITS, namespace, lost["metadata"]["name"])
    relist.saw(await cluster.create(RISK_LIMITS, namespace, limit_manifest(namespace=namespace)), "ADDED")
    await relist.check(grace=0.0)
    assert relist.stalled == ""


async def test_what_is_refused_while_the_rest_is_read_again_leaves_the_namespace_unreadable(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """As when a watch ends meanwhile and its list is refused: its kind had been listed a moment before."""
    async with FaultProxy(api_server, seed=1, slow_seconds=0.0).running() as proxy:
        line = await connect(str(proxy.kubeconfig(tmp_path)))
        relist = Relist(line, Cache(), (namespace,), kinds=(CONFIG_MAPS, SERVICES, RISK_LIMITS))
        await relist.fill()
        proxy.refuse_list("risklimits", Fault.LIST_FORBIDDEN)
        with pytest.raises(ClusterRefused):
            await relist.list_again(RISK_LIMITS, namespace)
        assert relist.readable == ()
        listed = counted("api_requests", verb="list", resource="configmaps", code="200")
        with proxy.held("services"):
            asking = asyncio.create_task(relist.ask_again())
            await until(
                "the first kind",
                lambda: counted("api_requests", verb="list", resource="configmaps", code="200") > listed,
            )
            proxy.refuse_list("configmaps", Fault.LIST_FORBIDDEN)
            ended = asyncio.create_task(relist.list_again(CONFIG_MAPS, namespace))
        assert await asking == []
        with pytest.raises(ClusterRefused):
            await ended
        assert "configmaps cannot be listed" in relist.unreadable[namespace]
        assert await relist.ask_again() == [namespace]
        await line.close()


async def test_a_namespace_that_nobody_answers_for_keeps_no_other_from_being_picked_up(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    other = f"{namespace}-other"
    async with FaultProxy(api_server, seed=1, slow_seconds=0.0).running() as proxy:
        line = await connect(str(proxy.kubeconfig(tmp_path)))
        relist = Relist(line, Cache(), (namespace, other), kinds=(CONFIG_MAPS,))
        proxy.refuse_list("configmaps", *[Fault.LIST_FORBIDDEN] * 2)
        await relist.fill()
        assert relist.readable == ()
        proxy.refuse_list("configmaps", Fault.ERROR)
        assert await relist.ask_again() == [other]
        assert await relist.ask_again() == [namespace]
        await line.close()


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
    assert relist.stalled == f"the watch of ConfigMap in {namespace} is stalled"
    now[0] = 100.0 + FOLLOWED_SECONDS
    await relist.check(grace=0.0)
    assert cache.get("RiskLimit", namespace, "fx-desk") is not None
    assert relist.stalled == f"the watch of RiskLimit in {namespace} is stalled"


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
