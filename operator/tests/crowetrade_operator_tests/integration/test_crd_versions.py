"""CRDs of an older and of a newer release than the operator's, a rollback, and the way to v1beta1: on a server of their
own, because CRDs are of the whole cluster."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import yaml

from crowetrade.config.v1 import config_pb2
from crowetrade_api import crd
from crowetrade_api.names import GROUP
from crowetrade_operator.cluster import undeclared
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.resources import CUSTOM, DEPLOYMENTS, NAMESPACES, STRATEGIES, VENUES, ApiResource
from crowetrade_operator.errors import Conflict, NotFound
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.conftest import CRDS, served
from crowetrade_operator_tests.integration.desk import (
    Desk,
    condition_of,
    quick_settings,
    running,
    saying,
    started,
    trading,
    working,
)
from crowetrade_operator_tests.samples import account, change, strategy_manifest
from crowetrade_operator_tests.servers import ApiServer, nats_client, start_api_server
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
Edit = Callable[[str, Object], None]
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """For the tests of this file, one after the other."""
    found, processes = start_api_server(tmp_path_factory.mktemp("apiserver"))
    yield found
    for process in processes:
        process.stop()


@pytest.fixture
async def client(server: ApiServer) -> AsyncIterator[Cluster]:
    """A client of this server."""
    found = await connect(str(server.kubeconfig))
    yield found
    await found.close()


@pytest.fixture
async def settings(server: ApiServer, client: Cluster, nats_url: str) -> Settings:
    """Of an operator for a namespace of the test's own; everything is looked at again each second."""
    name = f"desk-{next(_numbers)}"
    await client.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return replace(quick_settings(server, name, nats_url), resync_seconds=1.0)


def properties(schema: Object, *path: str) -> Object:
    """The properties of a part of a schema, through lists."""
    for name in path:
        schema = schema["properties"][name]
        schema = schema.get("items", schema)
    found: Object = schema["properties"]
    return found


def present(kind: str, body: Object) -> None:
    """The CRDs of this version."""


def older(kind: str, body: Object) -> None:
    """As they were before Strategies could move and gateways had an update policy (2f247e1^ of this repository)."""
    schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    if kind == "Strategy":
        status = properties(schema, "status")
        del status["venues"]
        status["conditions"]["maxItems"] = 16
        for part in ("position", "pnl"):
            del properties(schema, "status", part)["lastKnownTime"]
    if kind == "VenueConnection":
        del properties(schema, "spec")["updatePolicy"]


def newer(kind: str, body: Object) -> None:
    """A version to come: another field in spec and in status, and another mode."""
    schema = body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    if kind == "Strategy":
        properties(schema, "spec")["entanglement"] = {"type": "string"}
        properties(schema, "spec")["mode"]["enum"].append("Quantum")
        properties(schema, "status")["entangled"] = {"type": "string"}


def two_versions(kind: str, body: Object) -> None:
    """v1alpha1, which is stored, and v1beta1 of the same schema; both are served and nothing converts."""
    first = body["spec"]["versions"][0]
    body["spec"]["versions"].append({**first, "name": "v1beta1", "storage": False})


async def install(
    client: Cluster, edit: Edit, at: Callable[[ApiResource], ApiResource] = lambda resource: resource
) -> None:
    """Makes the CRDs with these changes, or changes those that are there; waits until the version is served."""
    for model in crd.KINDS:
        body = yaml.safe_load(crd.render(model))
        edit(model.__name__, body)
        try:
            stored = await client.get(CRDS, "", body["metadata"]["name"])
            await client.replace(CRDS, "", body["metadata"]["name"], {**stored, "spec": body["spec"]})
        except NotFound:
            await client.create(CRDS, "", body)
    for resource in CUSTOM:
        await served(client, at(resource))


async def test_with_older_crds_everything_works_and_what_they_do_not_declare_is_told(
    client: Cluster, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await install(client, older)
    async with running(settings) as operator, nats_client(settings.nats_url) as bus:
        desk = Desk(client, settings.operator_namespace, bus, operator)
        async with trading(desk):
            outdated = condition_of(await desk.get(STRATEGIES, "ema"), "SchemaOutdated")
            assert outdated["status"] == "True"
            assert "does not declare status.venues: they are left out" in outdated["message"]
            assert not condition_of(await desk.get(VENUES, "sim-fx"), "SchemaOutdated")
            version = (await desk.get(STRATEGIES, "ema"))["metadata"]["resourceVersion"]
            writes, looked = counted("status_writes", kind="Strategy"), counted("reconciles", kind="Strategy")
            await until("it to be looked at", lambda: counted("reconciles", kind="Strategy") >= looked + 3)
            await desk.idle()
            assert counted("status_writes", kind="Strategy") == writes, "it is written again and again"
            assert (await desk.get(STRATEGIES, "ema"))["metadata"]["resourceVersion"] == version

            monkeypatch.setattr(undeclared, "TRY_AGAIN_SECONDS", 0.5)
            refused = counted("status_writes", kind="Strategy", result="retried")
            await until(
                "the field to be tried again",
                lambda: counted("status_writes", kind="Strategy", result="retried") > refused,
            )
            assert condition_of(await desk.get(STRATEGIES, "ema"), "SchemaOutdated") == outdated, "it does not flap"

            await install(client, present)

            async def upgraded() -> bool:
                strategy = await desk.get(STRATEGIES, "ema")
                return "venues" in strategy["status"] and not condition_of(strategy, "SchemaOutdated")

            await until("the field to be there and the condition to be gone", upgraded)
            await desk.condition(STRATEGIES, "ema", "Ready", "True")


async def test_after_a_rollback_nothing_that_a_user_wrote_is_lost_and_what_is_not_understood_stands_still(
    client: Cluster, settings: Settings
) -> None:
    """The CRDs and objects are of a newer version, as when the operator alone is rolled back."""
    await install(client, newer)
    async with running(settings) as operator, nats_client(settings.nats_url) as bus:
        desk = Desk(client, settings.operator_namespace, bus, operator)
        async with trading(desk, change(strategy_manifest(), "spec.entanglement", "strong")):
            # What the operator of that version had reported.
            status = (await desk.get(STRATEGIES, "ema"))["status"]
            await client.apply(
                {
                    "apiVersion": STRATEGIES.api_version,
                    "kind": "Strategy",
                    "metadata": {"name": "ema", "namespace": desk.namespace},
                    "status": {**status, "entangled": "yes"},
                },
                "status",
            )

            async def rewritten() -> bool:
                return "entangled" not in (await desk.get(STRATEGIES, "ema"))["status"]

            await until("the status to be of this version", rewritten)
            await desk.condition(STRATEGIES, "ema", "Ready", "True")
            await desk.patch(STRATEGIES, "ema", {"spec": {"suspend": True}})
            await desk.state(config_pb2.TRADING_STATE_SUSPENDED)
            assert (await desk.get(STRATEGIES, "ema"))["spec"]["entanglement"] == "strong"

            unknown = change(strategy_manifest("unknown"), "spec.mode", "Quantum")
            await desk.create(STRATEGIES, unknown)
            await desk.condition(STRATEGIES, "unknown", "Ready", "False", "StrategyUnreadable")
            told = condition_of(await desk.get(STRATEGIES, "unknown"), "Ready")["message"]
            assert "spec.mode" in told
            assert "upgrade the operator" in told
            assert (await desk.get(STRATEGIES, "unknown"))["spec"]["mode"] == "Quantum"
            await desk.patch(STRATEGIES, "ema", {"spec": {"suspend": False}})
            await desk.state(config_pb2.TRADING_STATE_ACTIVE)


async def test_when_the_crds_go_back_too_what_they_do_not_declare_is_gone_with_the_next_write(
    client: Cluster, settings: Settings
) -> None:
    await install(client, newer)
    untouched = change(strategy_manifest("untouched"), "spec.entanglement", "strong")
    untouched["metadata"]["namespace"] = "default"
    await client.create(STRATEGIES, "default", untouched)

    async def entanglement(namespace: str, name: str) -> str | None:
        value: str | None = (await client.get(STRATEGIES, namespace, name))["spec"].get("entanglement")
        return value

    async with running(settings) as operator, nats_client(settings.nats_url) as bus:
        desk = Desk(client, settings.operator_namespace, bus, operator)
        async with trading(desk, change(strategy_manifest(), "spec.entanglement", "strong")):
            before = await desk.get(STRATEGIES, "ema")
            agents = await desk.get(DEPLOYMENTS, "strategy-ema")

            await install(client, present)

            async def back() -> bool:
                return await entanglement("default", "untouched") is None

            await until("the older CRDs to be served", back)
            after = await desk.get(STRATEGIES, "ema")
            assert after["spec"] == {name: part for name, part in before["spec"].items() if name != "entanglement"}
            await desk.patch(STRATEGIES, "ema", {"metadata": {"annotations": {"written": "again"}}})
            await desk.idle()
            await desk.condition(STRATEGIES, "ema", "Ready", "True")
            assert (await desk.get(STRATEGIES, "ema"))["metadata"]["generation"] == before["metadata"]["generation"]
            assert (await desk.get(DEPLOYMENTS, "strategy-ema"))["spec"] == agents["spec"]

            await install(client, newer)

            async def forward() -> bool:
                return await entanglement("default", "untouched") == "strong"

            await until("what nobody has written meanwhile to be as it was", forward)
            assert await entanglement(desk.namespace, "ema") is None
    await client.delete(STRATEGIES, "default", "untouched")


async def test_the_way_to_v1beta1(client: Cluster, settings: Settings) -> None:
    """The steps of docs/upgrade.md, with an operator that knows v1alpha1 alone."""
    await install(client, two_versions)
    async with nats_client(settings.nats_url) as bus, started(settings) as (operator, task):
        await working(operator, task)
        desk = Desk(client, settings.operator_namespace, bus, operator)
        async with trading(desk, {**strategy_manifest(), "apiVersion": f"{GROUP}/v1alpha1"}):
            for resource in CUSTOM:
                await served(client, at_v1beta1(resource))
            # Both are the same objects.
            beta = await desk.get(at_v1beta1(STRATEGIES), "ema")
            assert beta["apiVersion"] == f"{GROUP}/v1beta1"
            assert beta["status"] == (await desk.get(STRATEGIES, "ema"))["status"]
            second = {**strategy_manifest("second"), "apiVersion": f"{GROUP}/v1beta1"}
            await desk.create(at_v1beta1(STRATEGIES), second)
            await desk.condition(at_v1beta1(STRATEGIES), "second", "Reconciling", "True")
            assert await stored_versions(client) == [["v1alpha1"]] * 4

            # The other one is stored from now on.
            await install(client, beta_is_stored)
            assert await stored_versions(client) == [["v1alpha1", "v1beta1"]] * 4
            await desk.patch(at_v1beta1(STRATEGIES), "second", {"spec": {"suspend": True}})
            await desk.condition(STRATEGIES, "second", "Suspended", "True")

            await migrate(client)
            assert await stored_versions(client) == [["v1beta1"]] * 4
            await desk.condition(STRATEGIES, "ema", "Ready", "True")

            # Too early: this operator knows v1alpha1 alone. It ends and says why; what gateways were told is kept.
            before = await desk.config()
            await install(client, beta_alone_is_served, at_v1beta1)
            with pytest.raises(RuntimeError, match=r"cannot be watched: 404 .* does it serve v1alpha1\?; restarting"):
                async with asyncio.timeout(120):
                    await task
            assert await desk.config() == before
        async with started(settings) as (waiting, task):
            wanted = counted("api_requests", verb="list", code="404") + 2
            await until("it to ask", lambda: counted("api_requests", verb="list", code="404") >= wanted)
            assert waiting.parts is None
            assert not task.done()
            await install(client, beta_is_stored)
            await working(waiting, task)
            desk = Desk(client, settings.operator_namespace, bus, waiting)
            async with saying(desk, accounts=[account()]):
                await desk.condition(STRATEGIES, "ema", "Ready", "True")


def at_v1beta1(resource: ApiResource) -> ApiResource:
    """The same kind in the version to come."""
    return replace(resource, version="v1beta1")


def beta_is_stored(kind: str, body: Object) -> None:
    """Both are served."""
    two_versions(kind, body)
    for version in body["spec"]["versions"]:
        version["storage"] = version["name"] == "v1beta1"


def beta_alone_is_served(kind: str, body: Object) -> None:
    """The version of this operator is gone."""
    beta_is_stored(kind, body)
    body["spec"]["versions"][0]["served"] = False


async def stored_versions(client: Cluster) -> list[list[str]]:
    """Of each kind."""
    found = [await client.get(CRDS, "", f"{resource.plural}.{GROUP}") for resource in CUSTOM]
    return [item["status"]["storedVersions"] for item in found]


async def migrate(client: Cluster) -> None:
    """Writes what was stored before as it is, and takes the version that nothing is stored in off the list."""
    for resource in map(at_v1beta1, CUSTOM):
        for item in (await client.list(resource))[0]:
            await stored_again(client, resource, item["metadata"]["namespace"], item["metadata"]["name"])
        stored = await client.get(CRDS, "", f"{resource.plural}.{GROUP}")
        stored["status"]["storedVersions"] = ["v1beta1"]
        path = CRDS.path("", stored["metadata"]["name"], "status")
        await client._request("PUT", "update", CRDS, path, {"fieldManager": "kubectl"}, stored)


async def stored_again(client: Cluster, resource: ApiResource, namespace: str, name: str) -> None:
    """One object, read again as often as the operator's status of it came between."""
    async with asyncio.timeout(30):
        while True:
            try:
                found = await client.get(resource, namespace, name)
                again = await client.replace(resource, namespace, name, found)
                same = await client.replace(resource, namespace, name, again)
            except Conflict:
                continue
            assert same["metadata"]["resourceVersion"] == again["metadata"]["resourceVersion"], "stored twice"
            return
