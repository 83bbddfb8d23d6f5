"""A change that restarts agents waits until the strategy is flat, unless its user wants it at once."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from crowetrade_api.names import CONFIG_HASH_ANNOTATION, PAUSED_ANNOTATION
from crowetrade_operator.cluster.objects import version_of
from crowetrade_operator.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, STRATEGIES, VENUES
from crowetrade_operator_tests.decide.scenes import position
from crowetrade_operator_tests.integration.desk import Desk, condition_of, trading
from crowetrade_operator_tests.integration.picture import generations
from crowetrade_operator_tests.kstatus import kstatus
from crowetrade_operator_tests.samples import account, change, strategy_manifest, venue_manifest
from crowetrade_operator_tests.waiting import end, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
FASTER: Object = {"spec": {"model": {"parameters": {"fast": 13}}}}


async def _runs(desk: Desk) -> tuple[str, str]:
    """What the agents run, and what they would read if they were started now."""
    deployment = await desk.get(DEPLOYMENTS, "strategy-ema")
    config_map = await desk.get(CONFIG_MAPS, "strategy-ema")
    hashed = deployment["spec"]["template"]["metadata"]["annotations"][CONFIG_HASH_ANNOTATION]
    return str(hashed), str(config_map["data"]["strategy.json"])


async def test_a_change_waits_for_flat_and_is_rolled_out_then(desk: Desk) -> None:
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(positions=[position("1000")])])
        await desk.holds("1000 EUR-USD")
        before = await _runs(desk)
        await desk.patch(STRATEGIES, "ema", FASTER)
        await desk.condition(STRATEGIES, "ema", "Reconciling", "True", "WaitingForFlat")
        await desk.idle()
        assert await _runs(desk) == before

        gateway.says(accounts=[account(positions=[position("0")])])

        async def rolled() -> bool:
            hashed, content = await _runs(desk)
            return hashed != before[0] and '"fast": 13' in content

        await until("the change to be rolled out", rolled)
        await desk.deployment_ready("strategy-ema")
        await desk.condition(STRATEGIES, "ema", "Reconciling", "False", "AsDesired")


async def test_another_instrument_of_its_venue_waits_for_flat(desk: Desk) -> None:
    venue = venue_manifest()["spec"]
    venue["instruments"].append({**venue["instruments"][0], "symbol": "GOOGL"})
    venue["simulated"]["data"].append({"symbol": "GOOGL", "sample": "googl-1d"})
    async with trading(desk) as gateway:
        await desk.noticed(await desk.patch(VENUES, "sim-fx", {"spec": venue}))
        gateway.says(accounts=[account(positions=[position("1000")])])
        await desk.holds("1000 EUR-USD")
        before = await _runs(desk)
        instruments = [{"symbol": "GOOGL", "venueRef": {"name": "sim-fx"}}]
        await desk.patch(STRATEGIES, "ema", {"spec": {"instruments": instruments}})
        await desk.condition(STRATEGIES, "ema", "Reconciling", "True", "WaitingForFlat")
        await desk.idle()
        assert await _runs(desk) == before
        assert [item.strategy for item in (await desk.config()).strategies] == ["ema"]
        gateway.says(accounts=[account(positions=[position("0")])])

        async def rolled() -> bool:
            hashed, content = await _runs(desk)
            return hashed != before[0] and "GOOGL" in content and "EUR-USD" not in content

        await until("the change to be rolled out", rolled)


async def test_immediate_does_not_wait(desk: Desk) -> None:
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(positions=[position("1000")], open_orders=1)])
        await desk.holds("1000 EUR-USD")
        before = await _runs(desk)
        immediate = {"spec": {**FASTER["spec"], "agents": {"updatePolicy": "Immediate"}}}
        await desk.patch(STRATEGIES, "ema", immediate)

        async def rolled() -> bool:
            return (await _runs(desk))[0] != before[0]

        await until("the change to be rolled out", rolled)


QUIET: dict[str, Object] = {
    "an annotation": {"metadata": {"annotations": {"note": "x"}}},
    "a label": {"metadata": {"labels": {"team": "rates"}}},
    "deletionPolicy": {"spec": {"deletionPolicy": "Flatten"}},
    # The last: with Immediate nothing waits.
    "updatePolicy": {"spec": {"agents": {"updatePolicy": "Immediate"}}},
}


@contextlib.asynccontextmanager
async def _statuses(desk: Desk) -> AsyncIterator[list[Object]]:
    """Every status of the strategy that is stored from now on, however briefly."""
    _, version = await desk.cluster.list(STRATEGIES, desk.namespace)
    found: list[Object] = []

    async def watch() -> None:
        async for event, item in desk.cluster.watch(STRATEGIES, version, desk.namespace):
            if event == "MODIFIED":
                found.append(item)

    watching = asyncio.create_task(watch())
    try:
        yield found
    finally:
        await end({watching})


async def test_what_the_agents_do_not_read_restarts_nothing_and_does_not_wait(desk: Desk) -> None:
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(positions=[position("1000")])])
        await desk.holds("1000 EUR-USD")
        await desk.idle()
        written, ran = await generations(desk.cluster, desk.namespace), await _runs(desk)
        async with _statuses(desk) as statuses:
            for what, patch in QUIET.items():
                edited = await desk.patch(STRATEGIES, "ema", patch)
                await desk.noticed(edited)

                async def observed(generation: int = edited["metadata"]["generation"]) -> bool:
                    return bool((await desk.get(STRATEGIES, "ema"))["status"]["observedGeneration"] == generation)

                await until(f"the edit of {what} to be observed", observed)
                await desk.idle()
                assert await generations(desk.cluster, desk.namespace) == written, what
                assert await _runs(desk) == ran, what
            last = version_of(await desk.get(STRATEGIES, "ema"))
            await until("the watch to bring the last", lambda: version_of(statuses[-1]) >= last)
        assert {(condition_of(item, "Reconciling")["status"], item["status"]["phase"]) for item in statuses} == {
            ("False", "Trading")
        }


async def test_while_paused_a_change_waits_and_nothing_claims_that_it_runs(desk: Desk) -> None:
    async with trading(desk):
        before, generation = await _runs(desk), (await desk.get(STRATEGIES, "ema"))["metadata"]["generation"]
        await desk.patch(STRATEGIES, "ema", {"metadata": {"annotations": {PAUSED_ANNOTATION: "yes"}}})
        await desk.condition(STRATEGIES, "ema", "Paused", "False", "PausedUnreadable")
        await desk.patch(STRATEGIES, "ema", {"metadata": {"annotations": {PAUSED_ANNOTATION: "true"}}})
        await desk.condition(STRATEGIES, "ema", "Paused", "True", "ReconcilingPaused")
        await desk.noticed(await desk.patch(STRATEGIES, "ema", FASTER))
        stored = await desk.get(STRATEGIES, "ema")
        assert stored["metadata"]["generation"] == generation + 1
        assert stored["status"]["observedGeneration"] == generation
        assert condition_of(stored, "Reconciling")["reason"] == "ReconcilingPaused"
        assert await _runs(desk) == before
        await desk.patch(STRATEGIES, "ema", {"metadata": {"annotations": {PAUSED_ANNOTATION: None}}})

        async def rolled() -> bool:
            return (await _runs(desk))[0] != before[0]

        await until("the change to be rolled out", rolled)


async def test_what_is_paused_from_the_beginning_is_not_taken_for_carried_out(desk: Desk) -> None:
    annotated = change(strategy_manifest(), "metadata.annotations", {PAUSED_ANNOTATION: "true"})
    await desk.create(STRATEGIES, annotated)
    await desk.condition(STRATEGIES, "ema", "Paused", "True", "ReconcilingPaused")
    stored = await desk.get(STRATEGIES, "ema")
    assert (stored["status"]["observedGeneration"], kstatus(stored)) == (0, "InProgress")


async def test_another_topology_replaces_the_deployments(desk: Desk) -> None:
    """When nothing is held any more: two kinds of agents at once would both trade it."""
    roles = [f"agent-{role}-ema" for role in ("feature", "signal", "portfolio", "execution")]
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(positions=[position("1000")])])
        await desk.holds("1000 EUR-USD")
        await desk.patch(STRATEGIES, "ema", {"spec": {"agents": {"topology": "Split"}}})
        await desk.condition(STRATEGIES, "ema", "Reconciling", "True", "WaitingForFlat")
        await desk.idle()
        assert await desk.exists(DEPLOYMENTS, "strategy-ema")
        assert not any([await desk.exists(DEPLOYMENTS, name) for name in roles])

        gateway.says(accounts=[account(positions=[position("0")])])
        for name in roles:
            await desk.deployment_ready(name)
        await desk.gone(DEPLOYMENTS, "strategy-ema")

        async def all_ready() -> bool:
            return bool((await desk.get(STRATEGIES, "ema"))["status"]["agents"]["summary"] == "4/4")

        await until("4/4 agents", all_ready)
        await desk.phase(STRATEGIES, "ema", "Trading")
