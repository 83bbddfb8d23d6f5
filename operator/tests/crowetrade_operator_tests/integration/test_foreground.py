"""Deletion in the foreground, as Argo CD deletes an Application's resources and `kubectl delete --cascade=foreground`
does: the garbage collector deletes the children at once, whatever other finalizers their owner has."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from crowetrade.config.v1 import config_pb2
from crowetrade_api.names import FINALIZER
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import CHILDREN, CONFIG_MAPS, DEPLOYMENTS, STRATEGIES, VENUES, ApiResource
from crowetrade_operator_tests.decide.scenes import position
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.samples import account, change, strategy_manifest
from crowetrade_operator_tests.servers import ApiServer, Process, program, start_api_server
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
GATEWAY = "venue-sim-fx"


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Of its own: other tests look at what a garbage collector would take."""
    server, processes = start_api_server(tmp_path_factory.mktemp("control-plane"))
    yield server
    for process in processes:
        process.stop()


@pytest.fixture
def garbage_collector(api_server: ApiServer, cluster: Cluster, tmp_path: Path) -> Iterator[None]:
    """It asks which kinds there are when it starts, and then every 30 seconds: the CRDs are there before."""
    flags = ["--controllers=garbage-collector-controller", "--leader-elect=false", "--secure-port=0"]
    command: list[str | Path] = [program("kube-controller-manager"), f"--kubeconfig={api_server.kubeconfig}", *flags]
    process = Process("kube-controller-manager", command, tmp_path)
    yield
    process.stop()


async def _delete_in_the_foreground(desk: Desk, resource: ApiResource, name: str) -> None:
    path = resource.path(desk.namespace, name)
    await desk.cluster._request("DELETE", "delete", resource, path, None, {"propagationPolicy": "Foreground"})


async def _garbage_is_collected(desk: Desk) -> None:
    """What was to be collected before this is."""
    nobody = {"apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "5d4f8c7b-0000-0000-0000-000000000000"}
    await desk.create(CONFIG_MAPS, {"metadata": {"name": "garbage", "ownerReferences": [nobody]}})
    await desk.gone(CONFIG_MAPS, "garbage")


async def test_a_venue_keeps_its_gateway_until_what_is_held_is_closed(garbage_collector: None, desk: Desk) -> None:
    async def whole() -> bool:
        return all([await desk.exists(resource, GATEWAY) for resource in CHILDREN])

    flattens = change(strategy_manifest(), "spec.deletionPolicy", "Flatten")
    async with trading(desk, flattens) as gateway:
        gateway.says(accounts=[account(positions=[position("-91000")])])
        await desk.holds("-91000 EUR-USD")
        await desk.patch(DEPLOYMENTS, GATEWAY, {"metadata": {"finalizers": ["example.com/its-pod-stops"]}})
        await _garbage_is_collected(desk)
        for resource, name in ((VENUES, "sim-fx"), (STRATEGIES, "ema")):
            await _delete_in_the_foreground(desk, resource, name)
        await desk.state(config_pb2.TRADING_STATE_FLATTEN)
        await _garbage_is_collected(desk)
        assert (await desk.get(VENUES, "sim-fx"))["metadata"]["finalizers"] == [FINALIZER]
        await desk.patch(DEPLOYMENTS, GATEWAY, {"metadata": {"finalizers": None}})
        await until("the gateway to be there", whole)
        await desk.idle()
        await desk.collect(GATEWAY)  # as where the garbage collector is faster
        await until("the gateway to be made again", whole)
        await desk.deployment_ready(GATEWAY)
        await _garbage_is_collected(desk)
        await desk.idle()
        assert await whole(), "the garbage collector leaves it"
        assert await desk.exists(VENUES, "sim-fx")
        assert await desk.exists(STRATEGIES, "ema")

        gateway.says(accounts=[account(stopped=True, positions=[position("0")])])
        await desk.gone(STRATEGIES, "ema")
        await desk.gone(VENUES, "sim-fx")
        for resource in CHILDREN:
            await desk.gone(resource, GATEWAY)
        for name, reason in (("ema", "Stopped"), ("sim-fx", "Halted")):
            assert (await desk.told(name, reason))["type"] == "Normal"
