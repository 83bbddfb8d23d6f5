"""API server and etcd restarted, etcd restored from a backup, a CRD replaced or taken away: on servers of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crowetrade.config.v1 import config_pb2
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.objects import version_of
from crowetrade_operator.cluster.resources import CONFIG_MAPS, LEASES, NAMESPACES, RISK_LIMITS, STRATEGIES
from crowetrade_operator.main import Operator
from crowetrade_operator.settings import LeaseTimes, Settings
from crowetrade_operator_tests.conftest import CRDS, install_crds
from crowetrade_operator_tests.integration.desk import Desk, running, started, trading, working
from crowetrade_operator_tests.integration.picture import differences, generations, picture, settled
from crowetrade_operator_tests.samples import limit_manifest, strategy_manifest
from crowetrade_operator_tests.servers import ControlPlane, nats_client
from crowetrade_operator_tests.waiting import WAIT_SECONDS, counted, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
LIMITS_CRD = "risklimits.trading.crowetrade.io"
STRATEGIES_CRD = "strategies.trading.crowetrade.io"
GONE = r"kopf has ended: {} of desk cannot be watched: 404 .*; is its CRD installed, and does it serve v1alpha1\?"
RESTORED = "lease has ended: .*etcd was restored from a backup"
SLOW = pytest.mark.skipif("CROWETRADE_CHAOS" not in os.environ, reason="the API server takes half a minute: make chaos")


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    found = ControlPlane(tmp_path)
    yield found
    found.stop()


@pytest.fixture
async def client(plane: ControlPlane) -> AsyncIterator[Cluster]:
    """A client of these servers, which have our CRDs and a namespace."""
    found = await connect(str(plane.server.kubeconfig))
    await install_crds(found)
    await found.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "desk"}})
    yield found
    await found.close()


@pytest.fixture
def settings(plane: ControlPlane, nats_url: str) -> Settings:
    """A Lease that outlasts a restart of the API server on a busy machine."""
    return Settings(
        operator_namespace="desk",
        pod_name="operator-0",
        namespaces=("desk",),
        nats_url=nats_url,
        kubeconfig=str(plane.server.kubeconfig),
        http_port=0,
        lease=LeaseTimes(duration=90.0, renew=60.0, retry=0.2),
        silent_after_seconds=2.0,
        status_writes_per_second=1000.0,
    )


async def test_restarts_of_the_api_server_and_of_etcd_change_nothing(
    plane: ControlPlane, client: Cluster, settings: Settings
) -> None:
    async with running(settings) as operator, nats_client(settings.nats_url) as bus:
        desk = Desk(client, "desk", bus, operator)
        async with trading(desk):
            before, written = await settled(client, "desk", bus=bus), await generations(client, "desk")
            await asyncio.to_thread(plane.start_again, plane.api)
            await asyncio.to_thread(plane.start_again, plane.api, plane.etcd)
            await desk.create(RISK_LIMITS, limit_manifest("second"))
            await desk.rules("fx-desk", "second")
            await desk.delete(RISK_LIMITS, "second")
            await desk.rules("fx-desk")
            assert await settled(client, "desk", before, bus) == before
            assert await generations(client, "desk") == written


async def test_etcd_restored_from_a_backup_is_noticed_and_what_it_holds_is_in_force_again(
    plane: ControlPlane, client: Cluster, settings: Settings
) -> None:
    """Versions go back, so a watch brings nothing and what is known is newer by number; so does the epoch of the Lease,
    and the bus has a later one. The leader ends, and Kubernetes starts it again."""
    async with nats_client(settings.nats_url) as bus:
        async with started(settings) as (operator, task):
            await working(operator, task)
            desk = Desk(client, "desk", bus, operator)
            async with trading(desk):
                await asyncio.to_thread(plane.back_up)
                backup = await picture(client, "desk")
                written = await generations(client, "desk")
        # Another leader, so that the bus has an epoch that the backup does not know.
        async with started(settings) as (operator, task):
            await working(operator, task)
            desk = Desk(client, "desk", bus, operator)
            await desk.create(RISK_LIMITS, limit_manifest("after"))
            await desk.create(STRATEGIES, strategy_manifest("after"))
            await desk.rules("after", "fx-desk")
            epoch = (await desk.config()).epoch
            await asyncio.to_thread(plane.restore)
            with pytest.raises(RuntimeError, match=RESTORED):
                async with asyncio.timeout(30):
                    await task
        async with running(settings) as operator:
            desk = Desk(client, "desk", bus, operator)
            await desk.rules("fx-desk")
            assert [item.strategy for item in (await desk.config()).strategies] == ["ema"]
            assert (await desk.config()).epoch >= epoch
            lease = await client.get(LEASES, "desk", settings.lease_name)
            assert lease["spec"]["leaseTransitions"] == (await desk.config()).epoch
            await desk.idle()
            specs = {name: item.get("spec") for name, item in (await picture(client, "desk")).items()}
            assert differences(specs, {name: item.get("spec") for name, item in backup.items()}) == []
            assert await generations(client, "desk") == written


@pytest.mark.parametrize("has_lease", [True, False], ids=["the backup has the Lease", "the backup is older than it"])
async def test_etcd_restored_from_a_backup_is_noticed_by_a_replica_that_waits(
    plane: ControlPlane, client: Cluster, settings: Settings, has_lease: bool
) -> None:
    """It follows a leader that does not come back. Its watches would go on from versions that the API server reaches in
    a long time, and bring nothing until then: so it ends as the leader does, and knows nothing when it starts again."""
    settings = replace(settings, lease=replace(settings.lease, retry=1.0))
    async with nats_client(settings.nats_url) as bus:
        async with running(settings) as operator:
            desk = Desk(client, "desk", bus, operator)
            async with trading(desk):
                pass
        if not has_lease:
            await client.delete(LEASES, "desk", settings.lease_name)
        await asyncio.to_thread(plane.back_up)
        async with started(settings) as (leader, leading):
            await working(leader, leading)
            desk = Desk(client, "desk", bus, leader)
            await asyncio.gather(*(client.create(CONFIG_MAPS, "desk", _nothing(number)) for number in range(500)))
            await desk.create(STRATEGIES, strategy_manifest("after"))
            future = version_of(await desk.create(RISK_LIMITS, limit_manifest("after")))
            await desk.rules("after", "fx-desk")
            async with kept_running(replace(settings, pod_name="operator-1")) as replica:
                await _both_watch(desk, "after")
                await asyncio.to_thread(plane.restore)
                with pytest.raises(RuntimeError, match=RESTORED):
                    async with asyncio.timeout(30):
                        await leading

                await desk.rules("fx-desk")
                assert [item.strategy for item in (await desk.config()).strategies] == ["ema"]
                second = await desk.create(RISK_LIMITS, limit_manifest("second"))
                await desk.rules("fx-desk", "second")
                await desk.patch(STRATEGIES, "ema", {"spec": {"suspend": True}})
                await desk.state(config_pb2.TRADING_STATE_SUSPENDED)
                await desk.delete(CONFIG_MAPS, "venue-sim-fx")
                await until("what was deleted to be there again", lambda: desk.exists(CONFIG_MAPS, "venue-sim-fx"))
                assert version_of(second) < future, "the API server has caught up: nothing was tried"
                assert len(replica.ended) == 1
                assert re.search(RESTORED, replica.ended[0])


class Replica:
    """An operator that is started again when it has ended, as Kubernetes does it."""

    def __init__(self, settings: Settings) -> None:
        self.operator = Operator(settings, asyncio.Event())
        self.ended: list[str] = []

    async def run(self) -> None:
        """Runs until it is stopped."""
        while True:
            try:
                return await self.operator.run()
            except RuntimeError as error:
                self.ended.append(str(error))
                self.operator = Operator(self.operator.settings, asyncio.Event())


@contextlib.asynccontextmanager
async def kept_running(settings: Settings) -> AsyncIterator[Replica]:
    """A replica that is stopped at the end."""
    replica = Replica(settings)
    task = asyncio.create_task(replica.run())
    try:
        yield replica
    finally:
        replica.operator.stopping.set()
        async with asyncio.timeout(WAIT_SECONDS):
            await task


async def _both_watch(desk: Desk, limit: str) -> None:
    """Waits until a limit that is touched is brought to more than the leader, which sees each touch once."""
    await desk.idle()
    before, touches = counted("watch_events", kind="RiskLimit"), 0

    async def brought() -> bool:
        nonlocal touches
        touches += 1
        await desk.noticed(await desk.patch(RISK_LIMITS, limit, {"metadata": {"annotations": {"touch": str(touches)}}}))
        return counted("watch_events", kind="RiskLimit") > before + touches

    await until("both to watch", brought)


def _nothing(number: int) -> Object:
    return {"apiVersion": CONFIG_MAPS.api_version, "kind": CONFIG_MAPS.kind, "metadata": {"name": f"nothing-{number}"}}


@SLOW
async def test_a_crd_that_is_replaced_is_followed_and_one_that_is_taken_away_is_waited_for(
    plane: ControlPlane, client: Cluster, settings: Settings
) -> None:
    """With their CRD the limits are deleted, so all orders are refused; without it nothing is worked on."""
    async with nats_client(settings.nats_url) as bus, started(settings) as (operator, task):
        await working(operator, task)
        desk = Desk(client, "desk", bus, operator)
        async with trading(desk):
            stored = await client.get(CRDS, "", LIMITS_CRD)
            column = {"name": "Extra", "type": "string", "jsonPath": ".metadata.name"}
            stored["spec"]["versions"][0].setdefault("additionalPrinterColumns", []).append(column)
            await client.replace(CRDS, "", LIMITS_CRD, stored)
            await desk.create(RISK_LIMITS, limit_manifest("second"))
            await desk.rules("fx-desk", "second")

            await client.delete(CRDS, "", LIMITS_CRD)
            await desk.rules()
            await desk.condition(STRATEGIES, "ema", "Ready", "False", "NoLimitInForce")
            with pytest.raises(RuntimeError, match=GONE.format("risklimits")):
                async with asyncio.timeout(120):
                    await task
            async with started(settings) as (waiting, task):
                await _waits_for(waiting, "risklimits")
                await install_crds(client)
                await working(waiting, task)
                await desk.create(RISK_LIMITS, limit_manifest("third"))
                await desk.rules("third")


@SLOW
async def test_the_crd_of_strategies_is_taken_away_with_them_and_made_again(
    plane: ControlPlane, client: Cluster, settings: Settings
) -> None:
    """Each Strategy is closed before it goes, and the CRD goes after the last. What is made afterwards trades."""
    settings = replace(settings, stop_deadline_seconds=3.0)
    async with nats_client(settings.nats_url) as bus, started(settings) as (operator, task):
        await working(operator, task)
        desk = Desk(client, "desk", bus, operator)
        async with trading(desk):
            wanted = await settled(client, "desk", bus=bus)
            await client.delete(CRDS, "", STRATEGIES_CRD)

            async def closed() -> bool:
                return not (await desk.config()).strategies

            await until("the gateway to know no strategy any more", closed)
            with pytest.raises(RuntimeError, match=GONE.format("strategies")):
                async with asyncio.timeout(120):
                    await task
            await desk.collect("strategy-ema")
            async with started(settings) as (waiting, task):
                await _waits_for(waiting, "strategies")
                await install_crds(client)
                await working(waiting, task)
                again = Desk(client, "desk", bus, waiting)
                await again.create(STRATEGIES, strategy_manifest())
                await again.deployment_ready("strategy-ema")
                await again.phase(STRATEGIES, "ema", "Trading")
                assert await settled(client, "desk", wanted, bus) == wanted


async def _waits_for(operator: Operator, plural: str) -> None:
    """Waits until it has asked for a kind that is missing, and again."""
    wanted = counted("api_requests", verb="list", resource=plural, code="404") + 2
    await until(
        "it to ask for the kind that is missing",
        lambda: counted("api_requests", verb="list", resource=plural, code="404") >= wanted,
    )
    assert operator.parts is None
