"""An API server that fails one request of ten: what is there afterwards is what an undisturbed run leaves.

`make chaos` runs it for two minutes (CROWETRADE_FAULT_SECONDS).
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from crowetrade_api.names import MANAGED_SELECTOR
from crowetrade_operator.cluster import client
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import (
    CHILDREN,
    CONFIG_MAPS,
    CUSTOM,
    NETWORK_POLICIES,
    RISK_LIMITS,
    SERVICES,
    STRATEGIES,
    VENUES,
)
from crowetrade_operator.errors import NotFound
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.fault_proxy import FaultProxy
from crowetrade_operator_tests.integration.desk import Desk, running, trading
from crowetrade_operator_tests.integration.picture import differences, generations, picture
from crowetrade_operator_tests.samples import limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer, nats_client
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
SECONDS = float(os.environ.get("CROWETRADE_FAULT_SECONDS", "8"))
SEED = int(os.environ.get("CROWETRADE_FAULT_SEED", "1"))
SHARE = 0.1
PAUSE_SECONDS = 0.2
STRATEGIES_MADE = 6


async def _work(desk: Desk) -> None:
    """What users and others do: the same each time."""
    rng = random.Random(SEED)
    await desk.create(VENUES, venue_manifest("other"))
    for number in range(STRATEGIES_MADE):
        await desk.create(STRATEGIES, strategy_manifest(f"s{number}"))
    for _ in range(round(SECONDS / PAUSE_SECONDS)):
        name = f"s{rng.randrange(STRATEGIES_MADE)}"
        match rng.randrange(5):
            case 0:
                amount = str(rng.randrange(1, 9) * 1000)
                await desk.patch(STRATEGIES, name, {"spec": {"capital": {"amount": amount}}})
            case 1:
                await desk.patch(STRATEGIES, name, {"spec": {"suspend": rng.random() < 0.5}})
            case 2:
                child = rng.choice((SERVICES, CONFIG_MAPS, NETWORK_POLICIES))
                with contextlib.suppress(NotFound):
                    await desk.delete(child, f"strategy-{name}")
            case 3:
                await desk.create(RISK_LIMITS, limit_manifest("passing"))
                await desk.delete(RISK_LIMITS, "passing")
            case 4:
                await desk.delete(STRATEGIES, name)
                await desk.gone(STRATEGIES, name)
                await _collect(desk, name)
                await desk.create(STRATEGIES, strategy_manifest(name))
        await asyncio.sleep(rng.uniform(0.0, 2 * PAUSE_SECONDS))
    for number in range(STRATEGIES_MADE):
        wanted = strategy_manifest(f"s{number}")["spec"]
        await desk.patch(STRATEGIES, f"s{number}", {"spec": {**wanted, "suspend": number % 2 == 0}})


async def _collect(desk: Desk, name: str) -> None:
    """What the garbage collector, which does not run here, does with the children of a Strategy that is gone: as long
    as one of them is there, its name is taken."""
    for resource in CHILDREN:
        with contextlib.suppress(NotFound):
            await desk.delete(resource, f"strategy-{name}")


async def _clean(cluster: Cluster, namespace: str) -> None:
    """As it was before. No operator works and there is no garbage collector here."""
    for resource in (*CUSTOM, *CHILDREN):
        for item in (await cluster.list(resource, namespace, "" if resource in CUSTOM else MANAGED_SELECTOR))[0]:
            await cluster.merge(resource, namespace, item["metadata"]["name"], {"metadata": {"finalizers": None}})
            await cluster.delete(resource, namespace, item["metadata"]["name"])


async def test_afterwards_everything_is_as_if_nothing_had_been(
    api_server: ApiServer,
    cluster: Cluster,
    namespace: str,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """409, 429, 500, lost requests, lost answers, silence, dropped watches, 410 Gone. No Deployment that nobody edited
    is written twice, nothing is doubled, and a server that asks to wait is obeyed."""
    monkeypatch.setattr(client, "REQUEST_SECONDS", 4.0)
    async with (
        FaultProxy(api_server, SEED, slow_seconds=5.0).running() as proxy,
        nats_client(settings.nats_url) as bus,
    ):
        through = replace(settings, kubeconfig=str(proxy.kubeconfig(tmp_path)))

        async def run(share: float) -> tuple[Object, dict[str, int]]:
            async with running(through) as operator:
                desk = Desk(cluster, namespace, bus, operator)
                async with trading(desk):
                    proxy.share = share
                    try:
                        await _work(desk)
                    finally:
                        proxy.share = 0.0
                    return await settled(), await generations(cluster, namespace)

        async def settled() -> Object:
            seen: list[Object] = []

            async def check() -> bool:
                seen.append(await picture(cluster, namespace))
                await asyncio.sleep(0.5)
                return len(seen) > 3 and seen[-1] == seen[-4] and (not wanted or seen[-1] == wanted)

            try:
                await until("everything to settle", check)
            except AssertionError as error:
                raise AssertionError("\n".join(differences(seen[-1], wanted or seen[-4]))) from error
            return seen[-1]

        wanted: Object = {}
        wanted, undisturbed = await run(0.0)
        await _clean(cluster, namespace)
        _, disturbed = await run(SHARE)
        told = ", ".join(f"{count} x {fault.value}" for fault, count in sorted(proxy.spoiled.items()))
        sys.stderr.write(f"spoiled in {SECONDS:g} s: {told}\n")
        assert proxy.spoiled.total() > 5
        assert proxy.too_early == 0, "a Retry-After was not obeyed"
        untouched = [f"Deployment {name}" for name in ("venue-sim-fx", "venue-other", "strategy-ema")]
        assert {name: disturbed[name] for name in untouched} == {name: undisturbed[name] for name in untouched}
