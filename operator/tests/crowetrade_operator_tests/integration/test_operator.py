"""The whole operator in this process, against a real API server and a real NATS.

There is no kubelet: the tests say what the Deployment controller and the gateway would say."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import nats
import pytest
from nats.aio.client import Client

from crowetrade import subjects
from crowetrade.config.v1 import config_pb2
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import (
    DEPLOYMENTS,
    RISK_LIMITS,
    STRATEGIES,
    VENUES,
    ApiResource,
)
from crowetrade_operator.errors import NotFound
from crowetrade_operator.main import Operator
from crowetrade_operator.settings import LeaseTimes, Settings
from crowetrade_operator_tests.samples import (
    account,
    gateway_status,
    limit_manifest,
    strategy_manifest,
    venue_manifest,
)
from crowetrade_operator_tests.servers import ApiServer

pytestmark = pytest.mark.integration
Object = dict[str, Any]
WAIT_SECONDS = 30.0


async def until(what: str, check: Callable[[], Awaitable[bool]]) -> None:
    """Asks again and again until the check holds."""
    last: BaseException | None = None
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while True:
                try:
                    if await check():
                        return
                except (NotFound, KeyError, IndexError, StopIteration) as error:
                    last = error
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {WAIT_SECONDS:g} s: {what} ({last!r})") from None


def condition_of(item: Object, type_: str) -> Object:
    """One condition of a resource."""
    conditions = item.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == type_), {})


class Desk:
    """A namespace with an operator that works in it."""

    def __init__(self, cluster: Cluster, namespace: str, bus: Client, operator: Operator) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.bus = bus
        self.operator = operator

    async def create(self, resource: ApiResource, manifest: Object) -> Object:
        manifest["metadata"]["namespace"] = self.namespace
        return await self.cluster.create(resource, self.namespace, manifest)

    async def get(self, resource: ApiResource, name: str) -> Object:
        return await self.cluster.get(resource, self.namespace, name)

    async def exists(self, resource: ApiResource, name: str) -> bool:
        try:
            await self.get(resource, name)
        except NotFound:
            return False
        return True

    async def deployment_ready(self, name: str, ready: int = 1) -> None:
        """What the Deployment controller and kubelet would do."""
        await until(f"Deployment {name}", lambda: self.exists(DEPLOYMENTS, name))
        live = await self.get(DEPLOYMENTS, name)
        body = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": self.namespace},
            "status": {
                "observedGeneration": live["metadata"]["generation"],
                "replicas": 1,
                "updatedReplicas": 1,
                "readyReplicas": ready,
            },
        }
        await self.cluster.apply(body, "status")

    async def config(self) -> config_pb2.GatewayConfig:
        bucket = await self.bus.jetstream().key_value(subjects.CONFIG_BUCKET)
        try:
            entry = await bucket.get(subjects.gateway_config_key(self.namespace, "sim-fx"))
        except nats.js.errors.NotFoundError:
            raise NotFound("get", "config", 404, "no configuration") from None
        return config_pb2.GatewayConfig.FromString(entry.value or b"")

    async def gateway_says(self, **fields: Any) -> None:
        """A status of the gateway that has taken the present configuration."""
        config = await self.config()
        status = gateway_status(config, namespace=self.namespace, **fields)
        subject = subjects.gateway_status(self.namespace, "sim-fx")
        headers = {subjects.SCHEMA_HEADER: status.DESCRIPTOR.full_name}
        await self.bus.publish(subject, status.SerializeToString(), headers=headers)
        await self.bus.flush()

    async def keep_saying(self, **fields: Any) -> None:
        """Says it each 50 ms, with whatever configuration is there."""
        while True:
            with contextlib.suppress(NotFound):
                await self.gateway_says(**fields)
            await asyncio.sleep(0.05)

    async def condition(self, resource: ApiResource, name: str, type_: str, status: str, reason: str = "") -> None:
        """Waits for a condition."""
        found: list[Object] = [{}]

        async def check() -> bool:
            found[0] = condition_of(await self.get(resource, name), type_)
            return found[0].get("status") == status and (not reason or found[0]["reason"] == reason)

        try:
            await until(f"{name} {type_}={status} {reason}", check)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {found[0]}") from None

    async def phase(self, resource: ApiResource, name: str, phase: str) -> None:
        """Waits for a phase."""

        async def check() -> bool:
            return bool((await self.get(resource, name)).get("status", {}).get("phase") == phase)

        await until(f"{name} in phase {phase}", check)


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Operator]:
    """An operator that works; ended cleanly."""
    operator = Operator(settings)
    task = asyncio.create_task(operator.run())

    async def works() -> bool:
        if task.done():
            task.result()
        return operator.parts is not None

    await until("the operator to work", works)
    try:
        yield operator
    finally:
        operator.stop()
        await task


@contextlib.asynccontextmanager
async def saying(desk: Desk, **fields: Any) -> AsyncIterator[None]:
    """A gateway that keeps reporting."""
    task = asyncio.create_task(desk.keep_saying(**fields))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def settings(api_server: ApiServer, namespace: str, nats_url: str) -> Settings:
    return Settings(
        operator_namespace=namespace,
        pod_name="operator-0",
        namespaces=(namespace,),
        nats_url=nats_url,
        kubeconfig=str(api_server.kubeconfig),
        http_port=0,
        lease=LeaseTimes(duration=3.0, renew=2.0, retry=0.2),
        stop_deadline_seconds=3.0,
        silent_after_seconds=2.0,
        status_writes_per_second=1000.0,
    )


@pytest.fixture
async def desk(cluster: Cluster, namespace: str, nats_url: str, settings: Settings) -> AsyncIterator[Desk]:
    async with running(settings) as operator:
        bus = await nats.connect(nats_url)
        yield Desk(cluster, namespace, bus, operator)
        await bus.close()


async def test_from_manifests_to_trading(desk: Desk) -> None:
    await desk.create(STRATEGIES, strategy_manifest())
    await desk.condition(STRATEGIES, "ema", "VenueConnected", "False", "VenueNotFound")
    await desk.phase(STRATEGIES, "ema", "Pending")

    await desk.create(VENUES, venue_manifest())
    await desk.deployment_ready("venue-sim-fx")
    await desk.deployment_ready("strategy-ema")
    async with saying(desk, accounts=[account()]):
        await desk.condition(VENUES, "sim-fx", "Ready", "True")
        await desk.condition(STRATEGIES, "ema", "RiskBound", "False", "NoLimitInForce")
        await desk.phase(VENUES, "sim-fx", "Connected")

        await desk.create(RISK_LIMITS, limit_manifest())
        await desk.condition(RISK_LIMITS, "fx-desk", "Enforced", "True")
        await desk.condition(STRATEGIES, "ema", "Trading", "True")
        await desk.condition(STRATEGIES, "ema", "Ready", "True")
        await desk.phase(STRATEGIES, "ema", "Trading")
    config = await desk.config()
    assert [item.strategy for item in config.strategies] == ["ema"]
    assert [item.risk_limit for item in config.rules] == ["fx-desk"]
