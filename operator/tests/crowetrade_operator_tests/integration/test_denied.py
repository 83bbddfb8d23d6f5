"""Admission webhooks that stand in the operator's own way: what is told, and that it goes on without them."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crowetrade_api.names import CLEAR_BREACH_ANNOTATION
from crowetrade_operator.cluster.resources import DEPLOYMENTS, RISK_LIMITS, STRATEGIES, VENUES
from crowetrade_operator.reconcile import children
from crowetrade_operator_tests.integration.desk import Desk, condition_of, trading
from crowetrade_operator_tests.integration.webhook import NOBODY, VALIDATING, Denial, denying, registered
from crowetrade_operator_tests.samples import change, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.waiting import until
from crowetrade_process_tests.identity.authority import Authority

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _looks_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "REFUSED_SECONDS", 0.2)
    monkeypatch.setattr(children, "SILENT_SECONDS", 0.2)


@contextlib.asynccontextmanager
async def silent(desk: Desk) -> AsyncIterator[None]:
    """A webhook for Deployments that nobody serves."""
    async with registered(desk.cluster, desk.namespace, "apps", "deployments", NOBODY, Authority(), VALIDATING):
        yield


async def _says(desk: Desk, words: str) -> None:
    """Waits for the words in the Strategy's condition."""
    found: list[str] = []

    async def check() -> bool:
        said = condition_of(await desk.get(STRATEGIES, "ema"), "AgentsAvailable")
        found[:] = [said.get("reason", ""), said.get("message", "")]
        return found[0] == "RefusedByCluster" and words in found[1]

    try:
        await until(words, check)
    except AssertionError as error:
        raise AssertionError(f"{error}; it says {found}") from None


@pytest.mark.parametrize("code", [None, 404, 409, 429, 500])
async def test_a_webhook_that_admits_no_deployment_is_named_whatever_its_code(
    desk: Desk, tmp_path: Path, code: int | None
) -> None:
    denial = Denial("only images of ours", code)
    async with denying(desk.cluster, desk.namespace, "apps", "deployments", denial, tmp_path) as webhook:
        await desk.create(VENUES, venue_manifest())
        await desk.create(STRATEGIES, strategy_manifest())
        name = f"deployments.{desk.namespace}.example.com"
        await _says(
            desk,
            f'The API server refused Deployment strategy-ema: admission webhook "{name}" denied the request: only '
            f"images of ours. Ask who runs the webhook {name}, or exempt namespace {desk.namespace} from it.",
        )
        assert webhook.asked > 0
        assert condition_of(await desk.get(STRATEGIES, "ema"), "Ready")["reason"] == "RefusedByCluster"
    await until("the Deployment", lambda: desk.exists(DEPLOYMENTS, "strategy-ema"))
    await desk.condition(STRATEGIES, "ema", "AgentsAvailable", "False", "Starting")


async def test_a_webhook_that_does_not_answer_is_named(desk: Desk) -> None:
    async with silent(desk):
        await desk.create(VENUES, venue_manifest())
        await desk.create(STRATEGIES, strategy_manifest())
        name = f"deployments.{desk.namespace}.example.com"
        await _says(desk, f"The webhook {name} does not answer: mend it, or exempt namespace {desk.namespace} from it.")
    await until("the Deployment", lambda: desk.exists(DEPLOYMENTS, "strategy-ema"))
    await desk.condition(STRATEGIES, "ema", "AgentsAvailable", "False", "Starting")


async def test_a_webhook_that_lets_nobody_change_a_strategy_is_named(desk: Desk, tmp_path: Path) -> None:
    """Without the finalizer nothing is made: nobody would stop it in order."""
    await desk.create(VENUES, venue_manifest())
    await desk.idle()
    frozen, place = Denial("the desk is frozen"), (desk.cluster, desk.namespace, "trading.crowetrade.io", "strategies")
    async with denying(*place, frozen, tmp_path, ("UPDATE",)):
        await desk.create(STRATEGIES, strategy_manifest())
        await _says(desk, "The API server refused the finalizer of Strategy ema: admission webhook")
        assert not await desk.exists(DEPLOYMENTS, "strategy-ema")
    await until("the Deployment", lambda: desk.exists(DEPLOYMENTS, "strategy-ema"))


async def test_a_webhook_that_lets_nobody_delete_is_named(desk: Desk, tmp_path: Path) -> None:
    """Another topology needs other Deployments, and the one before is not wanted any more."""
    place = desk.cluster, desk.namespace, "apps", "deployments"
    async with trading(desk), contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(denying(*place, Denial("ask first"), tmp_path, ("DELETE",)))
        split = {"spec": {"agents": {"topology": "Split", "updatePolicy": "Immediate"}}}
        await desk.patch(STRATEGIES, "ema", split)
        await _says(desk, "The API server refused the deletion of Deployment strategy-ema: admission webhook")
        assert await desk.exists(DEPLOYMENTS, "strategy-ema")
        await stack.aclose()
        await desk.gone(DEPLOYMENTS, "strategy-ema")
        await desk.condition(STRATEGIES, "ema", "AgentsAvailable", "False", "Starting")


async def test_a_webhook_that_lets_no_strategy_go_is_named(desk: Desk, tmp_path: Path) -> None:
    """Whoever deletes it would wait and not know for what."""
    await desk.create(VENUES, venue_manifest())
    await desk.create(STRATEGIES, strategy_manifest())
    await until("the Deployment", lambda: desk.exists(DEPLOYMENTS, "strategy-ema"))
    await desk.idle()
    frozen, place = Denial("the desk is frozen"), (desk.cluster, desk.namespace, "trading.crowetrade.io", "strategies")
    async with denying(*place, frozen, tmp_path, ("UPDATE",)):
        await desk.delete(STRATEGIES, "ema")
        await _says(desk, "The API server refused the removal of the finalizer of Strategy ema: admission webhook")
    await desk.gone(STRATEGIES, "ema")


async def test_a_webhook_that_lets_no_venue_go_is_named(desk: Desk, tmp_path: Path) -> None:
    await desk.create(VENUES, venue_manifest())
    await until("the Deployment", lambda: desk.exists(DEPLOYMENTS, "venue-sim-fx"))
    await desk.idle()
    place = desk.cluster, desk.namespace, "trading.crowetrade.io", "venueconnections"
    async with denying(*place, Denial("the desk is frozen"), tmp_path, ("UPDATE",)):
        await desk.delete(VENUES, "sim-fx")
        await desk.condition(VENUES, "sim-fx", "SessionEstablished", "False", "RefusedByCluster")
        said = condition_of(await desk.get(VENUES, "sim-fx"), "SessionEstablished")
        assert "refused the removal of the finalizer of VenueConnection sim-fx: admission webhook" in said["message"]
    await desk.gone(VENUES, "sim-fx")


async def test_a_limit_is_reported_whose_annotation_a_webhook_keeps(desk: Desk, tmp_path: Path) -> None:
    frozen, place = Denial("the desk is frozen"), (desk.cluster, desk.namespace, "trading.crowetrade.io", "risklimits")
    clearing = {CLEAR_BREACH_ANNOTATION: "maxDailyLoss/ema@gone-7: nobody is left"}
    async with denying(*place, frozen, tmp_path, ("UPDATE",)):
        await desk.create(RISK_LIMITS, change(limit_manifest(), "metadata", {"name": "other", "annotations": clearing}))
        await desk.condition(RISK_LIMITS, "other", "Ready", "True", "NothingInScope")
        assert CLEAR_BREACH_ANNOTATION in (await desk.get(RISK_LIMITS, "other"))["metadata"]["annotations"]

    async def is_gone() -> bool:
        metadata = (await desk.get(RISK_LIMITS, "other"))["metadata"]
        return CLEAR_BREACH_ANNOTATION not in metadata.get("annotations", {})

    await until("the annotation to go", is_gone)
