"""While a change waits, what others do to what runs is put back as it was, what they delete is made again, and each is
told once."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from crowetrade_api.names import APPLIED_ANNOTATION
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import CONFIG_MAPS, DEPLOYMENTS, RISK_LIMITS, STRATEGIES, VENUES, ApiResource
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.decide.scenes import position
from crowetrade_operator_tests.integration.desk import Desk, Gateway, condition_of, running, saying, trading
from crowetrade_operator_tests.integration.test_other_writers import GATEWAY, Other, content, put_back
from crowetrade_operator_tests.samples import account, change, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import nats_client
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
FASTER: Object = {"spec": {"model": {"parameters": {"fast": 13}}}}
LONG = [account(positions=[position("1000")])]
SPLIT = [f"agent-{role}-ema" for role in ("feature", "signal", "portfolio", "execution")]


@contextlib.asynccontextmanager
async def _split(desk: Desk) -> AsyncIterator[Gateway]:
    """A strategy of four agents that holds a position, and a change of it that waits."""
    await desk.create(VENUES, venue_manifest())
    await desk.create(RISK_LIMITS, limit_manifest())
    await desk.create(STRATEGIES, change(strategy_manifest(), "spec.agents", {"topology": "Split"}))
    for name in ("venue-sim-fx", *SPLIT):
        await desk.deployment_ready(name)
    async with saying(desk, accounts=LONG) as gateway:
        await desk.phase(STRATEGIES, "ema", "Trading")
        await _change_waits(desk)
        yield gateway


async def _change_waits(desk: Desk) -> None:
    await desk.holds("1000 EUR-USD")
    await desk.patch(STRATEGIES, "ema", FASTER)
    await desk.condition(STRATEGIES, "ema", "Reconciling", "True", "WaitingForFlat")
    await desk.idle()


async def _waits_still(desk: Desk) -> None:
    await desk.idle()
    assert condition_of(await desk.get(STRATEGIES, "ema"), "Reconciling")["reason"] == "WaitingForFlat"


async def _notes(desk: Desk, owner: str = "ema") -> list[str]:
    return [str(item["note"]) for item in await desk.events(owner, "ChildRepaired")]


async def _told_once(desk: Desk, words: str, owner: str = "ema") -> None:
    async def told() -> bool:
        return any(words in note for note in await _notes(desk, owner))

    await until(f"an event that says {words}", told)
    assert len([note for note in await _notes(desk, owner) if words in note]) == 1


def _pod(**spec: Any) -> Object:
    return {"spec": {"template": {"spec": spec}}}


EDITS: dict[str, tuple[ApiResource, Any, str]] = {
    "kubectl set image": (
        DEPLOYMENTS,
        _pod(containers=[{"name": "agent", "image": "other"}]),
        "spec.template.spec.containers[agent].image",
    ),
    "the node's network": (DEPLOYMENTS, _pod(hostNetwork=True), "spec.template.spec.hostNetwork"),
    "kubectl scale": (DEPLOYMENTS, {"spec": {"replicas": 3}}, "spec.replicas"),
    "the configuration": (CONFIG_MAPS, {"data": {"strategy.json": "{}"}}, "data"),
}


async def test_what_somebody_changed_while_a_change_waits_is_put_back(desk: Desk) -> None:
    async with trading(desk) as gateway:
        gateway.says(accounts=LONG)
        await _change_waits(desk)
        for what, (resource, patch, field) in EDITS.items():
            before = await desk.get(resource, "strategy-ema")
            changed = await Other(desk).patch(resource, "strategy-ema", patch)
            assert content(changed) != content(before), what
            await put_back(desk, resource, "strategy-ema", before)
            await _told_once(desk, f"{resource.kind} strategy-ema: {field} changed by kubectl-edit, and put back")
            if resource is DEPLOYMENTS:
                await desk.deployment_ready("strategy-ema")
            await _waits_still(desk)
        assert len(await _notes(desk)) == len(EDITS)


async def test_what_somebody_deleted_while_a_change_waits_is_made_again_as_it_was(desk: Desk) -> None:
    async with _split(desk) as gateway:
        for resource, name in ((DEPLOYMENTS, "agent-execution-ema"), (CONFIG_MAPS, "strategy-ema")):
            before = await desk.get(resource, name)
            await desk.delete(resource, name)

            async def back(
                resource: ApiResource = resource, name: str = name, uid: str = before["metadata"]["uid"]
            ) -> bool:
                return await desk.exists(resource, name) and (await desk.get(resource, name))["metadata"]["uid"] != uid

            await until(f"{resource.kind} {name} to be made again", back)
            assert content(await desk.get(resource, name)) == content(before)
            await _told_once(desk, f"{resource.kind} {name} was deleted, and was made again.")
            await _waits_still(desk)
        await desk.deployment_ready("agent-execution-ema")
        gateway.says(accounts=[account(positions=[position("0")])])

        async def rolled() -> bool:
            return '"fast": 13' in (await desk.get(CONFIG_MAPS, "strategy-ema"))["data"]["strategy.json"]

        await until("the change to be rolled out", rolled)


async def test_the_next_operator_knows_how_it_was(
    cluster: Cluster, namespace: str, nats_url: str, settings: Settings
) -> None:
    """It stands in the objects: what an operator has seen before does not count."""
    async with nats_client(nats_url) as bus, contextlib.AsyncExitStack() as stack:
        async with running(settings) as operator:
            desk = Desk(cluster, namespace, bus, operator)
            await stack.enter_async_context(_split(desk))
            execution = await desk.get(DEPLOYMENTS, "agent-execution-ema")
            feature, config_map = await desk.get(DEPLOYMENTS, SPLIT[0]), await desk.get(CONFIG_MAPS, "strategy-ema")
        await desk.delete(DEPLOYMENTS, "agent-execution-ema")
        await desk.delete(CONFIG_MAPS, "strategy-ema")
        await Other(desk).patch(DEPLOYMENTS, SPLIT[0], _pod(containers=[{"name": "agent", "image": "other"}]))
        async with running(settings) as operator:
            desk = Desk(cluster, namespace, bus, operator)
            for resource, item in ((DEPLOYMENTS, execution), (CONFIG_MAPS, config_map), (DEPLOYMENTS, feature)):
                name = item["metadata"]["name"]

                async def as_before(resource: ApiResource = resource, item: Object = item) -> bool:
                    name = item["metadata"]["name"]
                    return await desk.exists(resource, name) and content(await desk.get(resource, name)) == content(
                        item
                    )

                await until(f"{resource.kind} {name} to be as it was", as_before)
            await _told_once(desk, f"Deployment {SPLIT[0]}: spec.template.spec.containers[agent].image changed")
            await _waits_still(desk)


async def test_a_gateway_whose_change_waits_is_repaired_too(desk: Desk) -> None:
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(open_orders=1, positions=[position("1000")])])
        await desk.holds("1000 EUR-USD")
        await desk.patch(VENUES, "sim-fx", {"spec": {"simulated": {"replay": {"speed": "7"}}}})
        await desk.condition(VENUES, "sim-fx", "Reconciling", "True", "WaitingForQuiet")
        before = await desk.get(DEPLOYMENTS, GATEWAY)
        await Other(desk).patch(DEPLOYMENTS, GATEWAY, _pod(hostNetwork=True))
        await put_back(desk, DEPLOYMENTS, GATEWAY, before)
        await _told_once(desk, "spec.template.spec.hostNetwork changed by kubectl-edit, and put back", "sim-fx")
        config_map = await desk.get(CONFIG_MAPS, GATEWAY)
        await desk.delete(CONFIG_MAPS, GATEWAY)
        await until("the configuration to be made again", lambda: desk.exists(CONFIG_MAPS, GATEWAY))
        assert content(await desk.get(CONFIG_MAPS, GATEWAY)) == content(config_map)


async def test_a_record_that_somebody_takes_away_is_written_again(desk: Desk) -> None:
    async with trading(desk):
        before = await desk.get(DEPLOYMENTS, "strategy-ema")
        patch = {"metadata": {"annotations": {APPLIED_ANNOTATION: None}}}
        await Other(desk).patch(DEPLOYMENTS, "strategy-ema", patch)
        await put_back(desk, DEPLOYMENTS, "strategy-ema", before)
