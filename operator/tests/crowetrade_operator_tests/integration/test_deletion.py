"""Deletion waits until the gateway has confirmed that no order is open, and cannot hang for ever."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from crowetrade import subjects
from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.names import FINALIZER, FORCE_DELETE_ANNOTATION, Kind
from crowetrade_operator.cluster.resources import (
    DEPLOYMENTS,
    KILL_SWITCHES,
    NAMESPACES,
    PODS,
    RISK_LIMITS,
    STRATEGIES,
    VENUES,
)
from crowetrade_operator.errors import NotFound
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.decide.scenes import position
from crowetrade_operator_tests.integration.desk import Desk, Gateway, trading
from crowetrade_operator_tests.samples import (
    account,
    change,
    gateway_status,
    kill_manifest,
    limit_manifest,
    strategy_manifest,
    venue_manifest,
)
from crowetrade_operator_tests.servers import ApiServer, program
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
BOTH = {"a strategy": (STRATEGIES, "ema"), "a venue": (VENUES, "sim-fx")}


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """With the deadline that a test asks for."""
    return replace(settings, stop_deadline_seconds=getattr(request, "param", 60.0))


async def test_a_strategy_goes_when_its_gateway_has_stopped_it(desk: Desk) -> None:
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(open_orders=1)])
        await desk.delete(STRATEGIES, "ema")
        await desk.state(config_pb2.TRADING_STATE_SUSPENDED)
        await desk.condition(STRATEGIES, "ema", "Trading", "False", "Stopping")
        await desk.phase(STRATEGIES, "ema", "Stopping")
        await desk.idle()
        assert await desk.exists(STRATEGIES, "ema"), "an order is open"

        gateway.says(accounts=[account(stopped=True)])
        await desk.gone(STRATEGIES, "ema")
        assert (await desk.told("ema", "Stopped"))["type"] == "Normal"

        async def forgotten() -> bool:
            return not (await desk.config()).strategies

        await until("the gateway to be told that the strategy is gone", forgotten)


async def test_a_strategy_that_flattens_says_so_to_its_gateway(desk: Desk) -> None:
    async with trading(desk, change(strategy_manifest(), "spec.deletionPolicy", "Flatten")) as gateway:
        await desk.delete(STRATEGIES, "ema")
        await desk.state(config_pb2.TRADING_STATE_FLATTEN)
        gateway.says(accounts=[account(stopped=True)])
        await desk.gone(STRATEGIES, "ema")


async def test_a_venue_goes_when_its_gateway_has_no_open_order(desk: Desk) -> None:
    async def halted() -> bool:
        return (await desk.config()).halted_reason == "VenueDeleted"

    async def no_config() -> bool:
        try:
            await desk.config()
        except NotFound:
            return True
        return False

    async with trading(desk) as gateway:
        gateway.says(accounts=[account(open_orders=1)])
        await desk.delete(VENUES, "sim-fx")
        await until("the halt to be on the bus", halted)
        await desk.phase(VENUES, "sim-fx", "Stopping")
        await desk.idle()
        assert await desk.exists(VENUES, "sim-fx"), "an order is open"

        gateway.says(accounts=[account()])
        await desk.gone(VENUES, "sim-fx")
        assert (await desk.told("sim-fx", "Halted"))["type"] == "Normal"
        await until("the configuration to be gone", no_config)
        await desk.condition(STRATEGIES, "ema", "VenueConnected", "False", "VenueNotFound")
        await desk.phase(STRATEGIES, "ema", "Degraded")


@pytest.mark.parametrize("settings", [1.0], indirect=True, ids=["a second"])
@pytest.mark.parametrize("case", BOTH)
async def test_without_a_confirmation_the_deadline_ends_it_with_a_warning(desk: Desk, case: str) -> None:
    resource, name = BOTH[case]
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(open_orders=1)])
        await desk.delete(resource, name)
        await desk.gone(resource, name)
    event = await desk.told(name, "StopDeadlineExceeded")
    assert event["type"] == "Warning"
    assert "within 1 s" in event["note"]


@pytest.mark.parametrize("case", BOTH)
async def test_the_annotation_ends_it_at_once_with_a_warning(desk: Desk, case: str) -> None:
    resource, name = BOTH[case]
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(open_orders=1)])
        await desk.delete(resource, name)
        await desk.phase(resource, name, "Stopping")
        await desk.patch(resource, name, {"metadata": {"annotations": {FORCE_DELETE_ANNOTATION: "true"}}})
        await desk.gone(resource, name)
    assert (await desk.told(name, "ForceDeleted"))["type"] == "Warning"


async def test_what_never_traded_goes_at_once(desk: Desk) -> None:
    await desk.create(STRATEGIES, strategy_manifest())
    await desk.create(VENUES, venue_manifest())
    await desk.condition(STRATEGIES, "ema", "VenueConnected", "False", "Starting")
    for resource, name in BOTH.values():
        await desk.delete(resource, name)
        await desk.gone(resource, name)


async def test_a_limit_that_is_deleted_is_taken_off_the_gateway(desk: Desk) -> None:
    async def unlimited() -> bool:
        return not (await desk.config()).rules

    async with trading(desk) as gateway:
        await desk.delete(RISK_LIMITS, "fx-desk")
        await until("the rule to be gone", unlimited)
        gateway.says(accounts=[account(risk_limits=[])])
        await desk.condition(STRATEGIES, "ema", "RiskBound", "False", "NoLimitInForce")
        await desk.phase(STRATEGIES, "ema", "Pending")


async def test_a_venue_that_is_deleted_first_stays_until_its_strategies_have_closed_their_positions(desk: Desk) -> None:
    """`kubectl delete -f`, a namespace, a cascade of Argo CD: the venue goes first, and the position must not stay."""
    async with trading(desk, change(strategy_manifest(), "spec.deletionPolicy", "Flatten")) as gateway:
        gateway.says(accounts=[account(positions=[position("-91000")])])
        await desk.holds("-91000 EUR-USD")
        await desk.delete(VENUES, "sim-fx")
        await desk.delete(RISK_LIMITS, "fx-desk")
        await desk.phase(VENUES, "sim-fx", "Stopping")
        await desk.idle()
        await desk.delete(STRATEGIES, "ema")
        await desk.state(config_pb2.TRADING_STATE_FLATTEN)
        config = await desk.config()
        assert (config.halted_reason, list(config.rules)) == ("VenueDeleted", [])
        await desk.idle()
        assert await desk.exists(VENUES, "sim-fx")
        assert await desk.exists(STRATEGIES, "ema")
        gateway.says(accounts=[account(stopped=True, positions=[position("0")])])
        await desk.gone(STRATEGIES, "ema")
        await desk.gone(VENUES, "sim-fx")
        assert (await desk.told("ema", "Stopped"))["type"] == "Normal"


async def test_kubectl_deletes_a_file_with_everything_and_what_is_held_is_closed_before(
    desk: Desk, api_server: ApiServer, tmp_path: Path
) -> None:
    """One object after the other, the venue first; kubectl waits until all have gone."""
    flattens = change(strategy_manifest(), "spec.deletionPolicy", "Flatten")
    file = tmp_path / "everything.yaml"
    items = [venue_manifest(), limit_manifest(), kill_manifest(engaged=False), flattens]
    file.write_text(yaml.safe_dump_all([change(item, "metadata.namespace", desk.namespace) for item in items]))
    async with trading(desk, flattens) as gateway:
        await desk.create(KILL_SWITCHES, kill_manifest(engaged=False))
        gateway.says(accounts=[account(positions=[position("-91000")])])
        await desk.holds("-91000 EUR-USD")
        command: list[str | Path] = [
            program("kubectl"),
            "--kubeconfig",
            api_server.kubeconfig,
            "delete",
            "-f",
            file,
            "--timeout=60s",
        ]
        kubectl = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        try:
            await desk.state(config_pb2.TRADING_STATE_FLATTEN)
            await desk.idle()
            assert kubectl.returncode is None, "it waits for what is held"
            assert await desk.exists(VENUES, "sim-fx")
            assert await desk.exists(STRATEGIES, "ema")
            gateway.says(accounts=[account(stopped=True, positions=[position("0")])])
            async with asyncio.timeout(60):
                out, _ = await kubectl.communicate()
        finally:
            if kubectl.returncode is None:
                kubectl.kill()
                await kubectl.wait()
        assert kubectl.returncode == 0, out.decode()
        for resource, name in (
            (STRATEGIES, "ema"),
            (VENUES, "sim-fx"),
            (RISK_LIMITS, "fx-desk"),
            (KILL_SWITCHES, "all"),
        ):
            assert not await desk.exists(resource, name), name
        for name, reason in (("ema", "Stopped"), ("sim-fx", "Halted")):
            assert (await desk.told(name, reason))["type"] == "Normal"


async def test_what_cannot_be_closed_is_named_when_the_strategy_goes(desk: Desk) -> None:
    async with trading(desk, change(strategy_manifest(), "spec.deletionPolicy", "Flatten")) as gateway:
        left = status_pb2.Remaining(quantity="900", reason="BelowMinQuantity", text="1000 at least", final=True)
        left.instrument.symbol = "EUR-USD"
        gateway.says(accounts=[account(stopped=True, positions=[position("900")], remaining=[left])])
        await desk.holds("900 EUR-USD")
        await desk.delete(STRATEGIES, "ema")
        await desk.gone(STRATEGIES, "ema")
        event = await desk.told("ema", "PositionLeft")
        assert event["type"] == "Warning"
        assert "900 EUR-USD at sim-fx (BelowMinQuantity: 1000 at least)" in event["note"]


REPLICA_SET = {
    "apiVersion": "apps/v1",
    "kind": "ReplicaSet",
    "name": "venue-sim-fx-5d4f8c7b9",
    "uid": "5d4f8c7b-0000-0000-0000-000000000000",
    "controller": True,
}


@contextlib.asynccontextmanager
async def _with_gateway_pod(desk: Desk) -> AsyncIterator[Gateway]:
    """A gateway that trades for a strategy with Flatten, and its pod, which takes its time when it is stopped."""
    async with trading(desk, change(strategy_manifest(), "spec.deletionPolicy", "Flatten")) as gateway:
        labels = (await desk.get(DEPLOYMENTS, "venue-sim-fx"))["spec"]["template"]["metadata"]["labels"]
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "venue-sim-fx-1",
                "labels": labels,
                "finalizers": ["example.com/still-stopping"],
                "ownerReferences": [REPLICA_SET],
            },
            "spec": {
                "serviceAccountName": "venue-sim-fx",
                "automountServiceAccountToken": False,
                "containers": [{"name": "gateway", "image": "gateway"}],
            },
        }
        await desk.noticed(await desk.create(PODS, body))
        yield gateway


async def _stop_gateway_pod(desk: Desk) -> None:
    await desk.delete(PODS, "venue-sim-fx-1")
    await desk.noticed(await desk.get(PODS, "venue-sim-fx-1"))


async def test_a_namespace_that_ends_flattens_as_soon_as_its_gateway_is_stopped(desk: Desk) -> None:
    """The strategy itself is marked only when all pods are gone."""
    async with _with_gateway_pod(desk):
        await desk.cluster.delete(NAMESPACES, "", desk.namespace)
        await desk.idle()
        await desk.state(config_pb2.TRADING_STATE_ACTIVE)
        await _stop_gateway_pod(desk)
        await desk.state(config_pb2.TRADING_STATE_FLATTEN)
        assert "deletionTimestamp" not in (await desk.get(STRATEGIES, "ema"))["metadata"]


async def test_a_strategy_and_its_venue_that_end_with_their_namespace_wait_for_each_other_and_go(desk: Desk) -> None:
    """The venue first, then the pod of its gateway, the strategy last; nothing can be made there any more."""
    async with _with_gateway_pod(desk) as gateway:
        gateway.says(accounts=[account(positions=[position("-91000")])])
        await desk.holds("-91000 EUR-USD")
        await desk.cluster.delete(NAMESPACES, "", desk.namespace)
        await desk.delete(VENUES, "sim-fx")
        await desk.phase(VENUES, "sim-fx", "Stopping")
        await _stop_gateway_pod(desk)
        await desk.state(config_pb2.TRADING_STATE_FLATTEN)
        await desk.delete(STRATEGIES, "ema")
        await desk.phase(STRATEGIES, "ema", "Stopping")
        await desk.collect("strategy-ema")
        await desk.idle()
        assert await desk.exists(VENUES, "sim-fx"), "its strategy has a position"
        assert await desk.exists(STRATEGIES, "ema"), "it has a position"
        gateway.says(accounts=[account(stopped=True, positions=[position("0")])])
        await desk.gone(STRATEGIES, "ema")
        await desk.gone(VENUES, "sim-fx")
        await desk.idle()
        for name in ("ema", "sim-fx"):
            assert not [item for item in await desk.events(name) if item["type"] == "Warning"]


async def test_a_gateway_that_is_only_restarted_goes_on_as_it_was(desk: Desk) -> None:
    async with _with_gateway_pod(desk):
        await _stop_gateway_pod(desk)
        await desk.state(config_pb2.TRADING_STATE_ACTIVE)


async def test_a_namespace_of_the_same_name_begins_anew(desk: Desk) -> None:
    context = desk.parts.context
    async with _with_gateway_pod(desk):
        await desk.cluster.delete(NAMESPACES, "", desk.namespace)
        await _stop_gateway_pod(desk)
        assert context.namespace_view(desk.namespace).terminating
    for kind in Kind:
        for item in list(context.cache.all(kind.value, desk.namespace)):
            context.cache.remove(item)
    assert not context.namespace_view(desk.namespace).terminating


async def test_a_venue_that_was_let_go_and_that_somebody_else_holds_is_not_begun_again(desk: Desk) -> None:
    """Its gateway has no configuration any more, and says so: that is no reason to give it one."""

    async def let_go() -> bool:
        finalizers: list[str] = (await desk.get(VENUES, "sim-fx"))["metadata"]["finalizers"]
        return finalizers == ["example.com/keep"]

    async with trading(desk):
        await desk.patch(VENUES, "sim-fx", {"metadata": {"finalizers": [FINALIZER, "example.com/keep"]}})
        await desk.delete(VENUES, "sim-fx")
        await until("the venue to be let go", let_go)
        await desk.idle()
    subject = subjects.gateway_status(desk.namespace, "sim-fx")
    await desk.publish(subject, gateway_status(config_pb2.GatewayConfig(), namespace=desk.namespace))
    await desk.collect("venue-sim-fx")
    desk.parts.controller.enqueue_all()
    await desk.idle()
    with pytest.raises(NotFound):
        await desk.config()
    assert not await desk.exists(DEPLOYMENTS, "venue-sim-fx")
    await desk.patch(VENUES, "sim-fx", {"metadata": {"finalizers": None}})
    await desk.gone(VENUES, "sim-fx")
