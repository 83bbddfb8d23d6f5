"""Secrets with which images are pulled: on the service accounts of those whose images they are for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import DEPLOYMENTS, SERVICE_ACCOUNTS
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import Desk, running, saying, trading
from crowetrade_operator_tests.samples import account
from crowetrade_operator_tests.servers import nats_client
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
GATEWAY, AGENTS = "venue-sim-fx", "strategy-ema"


async def test_secrets_of_images_are_written_changed_and_put_back_and_no_pod_restarts(
    cluster: Cluster, namespace: str, settings: Settings
) -> None:
    async def secrets(name: str) -> Any:
        account = await cluster.get(SERVICE_ACCOUNTS, namespace, name)
        return [item["name"] for item in account.get("imagePullSecrets") or ()]

    async def generations() -> list[int]:
        return [
            (await cluster.get(DEPLOYMENTS, namespace, name))["metadata"]["generation"] for name in (GATEWAY, AGENTS)
        ]

    async def becomes(name: str, *wanted: str) -> None:
        async def are() -> bool:
            return bool(await secrets(name) == list(wanted))

        await until(f"the Secrets of {name} to be {wanted}", are)

    async with nats_client(settings.nats_url) as bus:
        async with running(replace(settings, agent_pull_secrets=("models", "base"))) as operator:
            desk = Desk(cluster, namespace, bus, operator)
            async with trading(desk):
                assert await secrets(AGENTS) == ["models", "base"]
                assert await secrets(GATEWAY) == []
                before = await generations()
                patch = {"imagePullSecrets": [{"name": "other"}]}
                await cluster.merge(SERVICE_ACCOUNTS, namespace, AGENTS, patch)
                await becomes(AGENTS, "models", "base")
        async with (
            running(replace(settings, gateway_pull_secrets=("adapters",))) as operator,
            saying(Desk(cluster, namespace, bus, operator), accounts=[account()]),
        ):
            await becomes(GATEWAY, "adapters")
            await becomes(AGENTS)
            assert await generations() == before
