"""An operator of another version takes over: gateways get their image one after the other, and none loses orders."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import DEPLOYMENTS, VENUES
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import Desk, condition_of, running, saying
from crowetrade_operator_tests.samples import account, change, venue_manifest
from crowetrade_operator_tests.servers import nats_client
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
NEXT = "crowetrade/gateway:next"
AT_ONCE = ("sim-a", "sim-b", "sim-c")
"""Venues that do not wait for quiet; sim-fx does."""


async def _upgraded(desk: Desk) -> set[str]:
    found = {}
    for name in (*AT_ONCE, "sim-fx"):
        deployment = await desk.get(DEPLOYMENTS, f"venue-{name}")
        found[name] = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return {name for name, image in found.items() if image == NEXT}


async def test_an_upgrade_restarts_gateways_in_turn_and_while_they_are_quiet(
    cluster: Cluster, namespace: str, nats_url: str, settings: Settings
) -> None:
    async with nats_client(nats_url) as bus, contextlib.AsyncExitStack() as gateways:
        async with running(settings) as operator:
            desk = Desk(cluster, namespace, bus, operator)
            await desk.create(VENUES, venue_manifest())
            for name in AT_ONCE:
                await desk.create(VENUES, change(venue_manifest(name), "spec.updatePolicy", "Immediate"))
            for name in (*AT_ONCE, "sim-fx"):
                await desk.deployment_ready(f"venue-{name}")
            gateway = await gateways.enter_async_context(saying(desk, accounts=[account(open_orders=1)]))
            await desk.phase(VENUES, "sim-fx", "Connected")
            await desk.idle()
        async with running(replace(settings, gateway_image=NEXT)) as operator:
            desk = Desk(cluster, namespace, bus, operator)
            await desk.condition(VENUES, "sim-fx", "Reconciling", "True", "WaitingForQuiet")
            for number in range(1, len(AT_ONCE) + 1):

                async def restarted(expected: int = number) -> bool:
                    return len(await _upgraded(desk)) == expected

                await until(f"{number} gateways of the next version", restarted)
                await desk.idle()
                done = await _upgraded(desk)
                assert len(done) == number, "one at once"
                waiting = [condition_of(await desk.get(VENUES, name), "Reconciling") for name in set(AT_ONCE) - done]
                assert {item["reason"] for item in waiting} <= {"WaitingForTurn"}
                for name in done:
                    await desk.deployment_ready(f"venue-{name}")
            await desk.condition(VENUES, "sim-fx", "Reconciling", "True", "WaitingForQuiet")
            assert "sim-fx" not in await _upgraded(desk)

            gateway.says(accounts=[account()])

            async def all_restarted() -> bool:
                return len(await _upgraded(desk)) == len(AT_ONCE) + 1

            await until("the last gateway of the next version", all_restarted)
            await desk.deployment_ready("venue-sim-fx")
            await desk.condition(VENUES, "sim-fx", "Reconciling", "False", "AsDesired")
