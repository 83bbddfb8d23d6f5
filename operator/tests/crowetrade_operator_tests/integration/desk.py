"""A desk: a namespace of a real API server, a real NATS, and the whole operator that works for it in this process.

There is no kubelet: the tests say what the Deployment controller and the gateway would say.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import nats
import structlog
from google.protobuf.message import Message
from nats.aio.client import Client

from crowetrade import subjects
from crowetrade.config.v1 import config_pb2
from crowetrade_api.names import Key, Kind
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import version_of
from crowetrade_operator.cluster.resources import (
    CHILDREN,
    DEPLOYMENTS,
    EVENTS,
    RISK_LIMITS,
    STRATEGIES,
    VENUES,
    ApiResource,
)
from crowetrade_operator.errors import NotFound
from crowetrade_operator.main import Operator, Parts
from crowetrade_operator.settings import LeaseTimes, Settings
from crowetrade_operator_tests.samples import (
    account,
    gateway_status,
    limit_manifest,
    strategy_manifest,
    venue_manifest,
)
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import WAIT_SECONDS, end, until
from crowetrade_process.identity.holder import Identity

Object = dict[str, Any]
log = structlog.get_logger()


def quick_settings(server: ApiServer, namespace: str, nats_url: str) -> Settings:
    """Of an operator for one namespace, in times that suit tests. The Lease is long: it is given back at the end."""
    return Settings(
        operator_namespace=namespace,
        pod_name="operator-0",
        namespaces=(namespace,),
        nats_url=nats_url,
        kubeconfig=str(server.kubeconfig),
        http_port=0,
        lease=LeaseTimes(duration=15.0, renew=10.0, retry=0.2),
        silent_after_seconds=2.0,
        status_writes_per_second=1000.0,
    )


def condition_of(item: Object, type_: str) -> Object:
    """One condition of a resource."""
    conditions = item.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == type_), {})


def _without_empty_lists(status: Object) -> Object:
    """A list whose last item we take away is absent at the API server, not empty."""
    return {name: value for name, value in status.items() if value != []}


class Desk:
    """A namespace with an operator that works in it."""

    def __init__(self, cluster: Cluster, namespace: str, bus: Client, operator: Operator) -> None:
        self.cluster = cluster
        self.namespace = namespace
        self.bus = bus
        self.operator = operator

    @property
    def parts(self) -> Parts:
        """What the operator runs as long as it leads."""
        assert self.operator.parts is not None, "the operator does not work"
        return self.operator.parts

    # --- the API server

    async def create(self, resource: ApiResource, manifest: Object) -> Object:
        manifest["metadata"]["namespace"] = self.namespace
        return await self.cluster.create(resource, self.namespace, manifest)

    async def get(self, resource: ApiResource, name: str) -> Object:
        return await self.cluster.get(resource, self.namespace, name)

    async def patch(self, resource: ApiResource, name: str, patch: Object) -> Object:
        return await self.cluster.merge(resource, self.namespace, name, patch)

    async def delete(self, resource: ApiResource, name: str) -> None:
        await self.cluster.delete(resource, self.namespace, name)

    async def exists(self, resource: ApiResource, name: str) -> bool:
        try:
            await self.get(resource, name)
        except NotFound:
            return False
        return True

    async def gone(self, resource: ApiResource, name: str, seconds: float = WAIT_SECONDS) -> None:
        """Waits until the object is not there any more."""

        async def check() -> bool:
            return not await self.exists(resource, name)

        await until(f"{resource.kind} {name} to be gone", check, seconds)

    async def events(self, name: str, reason: str = "") -> list[Object]:
        """What was told about the resources of that name, oldest first."""
        found, _ = await self.cluster.list(EVENTS, self.namespace)
        told = [item for item in found if item["regarding"]["name"] == name and reason in ("", item["reason"])]
        return sorted(told, key=lambda item: str(item["eventTime"]))

    async def told(self, name: str, reason: str) -> Object:
        """Waits for the first event for that reason."""

        async def check() -> bool:
            return bool(await self.events(name, reason))

        await until(f"an event {reason} of {name}", check)
        return (await self.events(name, reason))[0]

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
        found: list[Object] = [{}]

        async def check() -> bool:
            found[0] = (await self.get(resource, name)).get("status", {})
            return bool(found[0].get("phase") == phase)

        try:
            await until(f"{name} in phase {phase}", check)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {found[0].get('phase')}: {found[0].get('conditions')}") from None

    async def deployment_ready(self, name: str, ready: int = 1) -> Object:
        """What the Deployment controller and kubelet would do; returns the Deployment."""
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
        return await self.cluster.apply(body, "status")

    async def collect(self, name: str) -> None:
        """What the garbage collector, which does not run here, does with children whose owner is gone: as long as one
        of them is there, the name is taken."""
        for resource in CHILDREN:
            await self.delete(resource, name)

    # --- the operator

    async def idle(self) -> None:
        """Waits until the operator has nothing to do: no key waits, no worker runs, and each status that it has
        reported was written and has come back by the watch."""
        queue, context = self.parts.controller.queue, self.parts.context

        def written(kind: Kind, item: Object) -> bool:
            reported = context.status.known(
                Key(kind, self.namespace, item["metadata"]["name"]), item["metadata"]["uid"]
            )
            if reported is None:
                return True
            declared = context.status.undeclared.declared(kind, reported)
            return _without_empty_lists(declared) == _without_empty_lists(item.get("status", {}))

        waits_for: list[str] = []

        async def check() -> bool:
            works = len(queue) > 0 or queue.longest_running() > 0.0
            waits_for[:] = ["the queue"] if works else []
            waits_for.extend(
                f"the status of {kind} {item['metadata']['name']}"
                for kind in Kind
                for item in context.cache.all(kind.value, self.namespace)
                if not written(kind, item)
            )
            return not waits_for

        try:
            await until("the operator to be idle", check)
        except AssertionError as error:
            raise AssertionError(f"{error}: {', '.join(waits_for)}") from None

    async def noticed(self, item: Object) -> None:
        """Waits until the operator has seen this version of an object and done what it does about it."""
        metadata = item["metadata"]

        async def check() -> bool:
            known = self.parts.context.cache.get(item["kind"], metadata["namespace"], metadata["name"])
            return known is not None and version_of(known) >= version_of(item)

        await until(f"the operator to see {item['kind']} {metadata['name']}", check)
        await self.idle()

    # --- the bus

    async def config(self, venue: str = "sim-fx") -> config_pb2.GatewayConfig:
        """What the gateway has to enforce; NotFound when there is nothing on the bus."""
        try:
            bucket = await self.bus.jetstream().key_value(subjects.CONFIG_BUCKET)
            entry = await bucket.get(subjects.gateway_config_key(self.namespace, venue))
        except nats.js.errors.NotFoundError:
            raise NotFound("get", "config", 404, "no configuration") from None
        return config_pb2.GatewayConfig.FromString(entry.value or b"")

    async def rules(self, *names: str, venue: str = "sim-fx") -> None:
        """Waits until the gateway has to enforce these limits and no others."""

        async def bound() -> bool:
            return [rule.risk_limit for rule in (await self.config(venue)).rules] == list(names)

        await until(f"the limits {names} to be what the gateway gets", bound)

    async def state(self, state: config_pb2.TradingState.ValueType) -> None:
        """Waits until the gateway is told this about the first strategy."""

        async def check() -> bool:
            return (await self.config()).strategies[0].state == state

        await until(f"the trading state {config_pb2.TradingState.Name(state)}", check)

    async def publish(self, subject: str, message: Message) -> None:
        """What a gateway or an agent says."""
        headers = {subjects.SCHEMA_HEADER: message.DESCRIPTOR.full_name}
        await self.bus.publish(subject, message.SerializeToString(), headers=headers)
        await self.bus.flush()

    async def holds(self, position: str) -> None:
        """Waits until the status of the strategy shows the position."""

        async def check() -> bool:
            return bool((await self.get(STRATEGIES, "ema"))["status"]["summary"]["position"] == position)

        await until(f"the position {position}", check)


class Gateway:
    """Says its status each 50 ms, with whatever configuration is there; what it says may change at any time."""

    def __init__(self, desk: Desk, fields: Object) -> None:
        self._desk = desk
        self._fields = fields

    def says(self, **fields: Any) -> None:
        """From now on it says this."""
        self._fields = fields

    async def run(self) -> None:
        """Speaks until cancelled; without a configuration or a bus it tries again."""
        subject = subjects.gateway_status(self._desk.namespace, "sim-fx")
        while True:
            with contextlib.suppress(NotFound, nats.errors.Error, nats.js.errors.Error):
                config = await self._desk.config()
                await self._desk.publish(
                    subject, gateway_status(config, namespace=self._desk.namespace, **self._fields)
                )
            await asyncio.sleep(0.05)


@contextlib.asynccontextmanager
async def saying(desk: Desk, **fields: Any) -> AsyncIterator[Gateway]:
    """A gateway that keeps reporting."""
    gateway = Gateway(desk, fields)
    task = asyncio.create_task(gateway.run())
    try:
        yield gateway
    finally:
        await end({task})


@contextlib.asynccontextmanager
async def trading(desk: Desk, strategy: Object | None = None) -> AsyncIterator[Gateway]:
    """A strategy that trades: manifests, pods, and a gateway that speaks."""
    await desk.create(VENUES, venue_manifest())
    await desk.create(RISK_LIMITS, limit_manifest())
    await desk.create(STRATEGIES, strategy or strategy_manifest())
    await desk.deployment_ready("venue-sim-fx")
    await desk.deployment_ready("strategy-ema")
    async with saying(desk, accounts=[account()]) as gateway:
        await desk.phase(STRATEGIES, "ema", "Trading")
        await desk.phase(VENUES, "sim-fx", "Connected")
        await desk.condition(RISK_LIMITS, "fx-desk", "Enforced", "True")
        await desk.idle()
        yield gateway


def _tell_end(task: asyncio.Task[None]) -> None:
    """A test that waits for what the operator does shall show that it had ended."""
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("operator ended", error=str(error), cause=repr(error.__cause__))


@contextlib.asynccontextmanager
async def started(
    settings: Settings, wall_clock: Callable[[], float] = time.time, identity: Identity | None = None
) -> AsyncIterator[tuple[Operator, asyncio.Task[None]]]:
    """An operator that may have to wait, or that will end by itself; its task says how."""
    operator = Operator(settings, asyncio.Event(), identity, wall_clock=wall_clock)
    task = asyncio.create_task(operator.run())
    task.add_done_callback(_tell_end)
    try:
        yield operator, task
    finally:
        operator.stopping.set()
        _, late = await asyncio.wait({task}, timeout=WAIT_SECONDS)
        assert not late, f"the operator did not end: {list(asyncio.all_tasks())}"


@contextlib.asynccontextmanager
async def running(
    settings: Settings, wall_clock: Callable[[], float] = time.time, identity: Identity | None = None
) -> AsyncIterator[Operator]:
    """An operator that works; it must end cleanly."""
    async with started(settings, wall_clock, identity) as (operator, task):
        await working(operator, task)
        yield operator
    task.result()


async def working(operator: Operator, task: asyncio.Task[None]) -> None:
    """Waits until the operator leads and works."""

    async def check() -> bool:
        if task.done():
            task.result()
        return operator.parts is not None

    await until("the operator to work", check)
