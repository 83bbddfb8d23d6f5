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

from crowetrade_operator.cluster import client
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import (
    CONFIG_MAPS,
    NAMESPACES,
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
from crowetrade_operator_tests.integration.picture import generations, picture
from crowetrade_operator_tests.samples import limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer, nats_client
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
SECONDS = float(os.environ.get("CROWETRADE_FAULT_SECONDS", "8"))
SEED = int(os.environ.get("CROWETRADE_FAULT_SEED", "1"))
SHARE = 0.1
STRATEGIES_MADE = 6


async def _work(desk: Desk) -> None:
    """What users and others do, in any order; it ends with the same objects whatever the order was."""
    rng = random.Random(SEED)
    await desk.create(VENUES, venue_manifest("other"))
    for number in range(STRATEGIES_MADE):
        await desk.create(STRATEGIES, strategy_manifest(f"s{number}"))
    until_then = asyncio.get_running_loop().time() + SECONDS
    while asyncio.get_running_loop().time() < until_then:
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
                await desk.create(STRATEGIES, strategy_manifest(name))
        await asyncio.sleep(rng.uniform(0.0, 0.3))
    for number in range(STRATEGIES_MADE):
        wanted = strategy_manifest(f"s{number}")["spec"]
        await desk.patch(STRATEGIES, f"s{number}", {"spec": {**wanted, "suspend": number % 2 == 0}})


async def _namespace(cluster: Cluster, name: str) -> str:
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


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

        async def run(name: str, share: float) -> tuple[Object, dict[str, int]]:
            async with running(replace(through, operator_namespace=name, namespaces=(name,))) as operator:
                desk = Desk(cluster, name, bus, operator)
                async with trading(desk):
                    proxy.share = share
                    try:
                        await _work(desk)
                    finally:
                        proxy.share = 0.0
                    await desk.idle()
                    return await settled(desk), await generations(cluster, name)

        async def settled(desk: Desk) -> Object:
            seen: list[Object] = []

            async def check() -> bool:
                seen.append(await picture(cluster, desk.namespace))
                await asyncio.sleep(0.5)
                return len(seen) > 3 and seen[-1] == seen[-4] and (not wanted or seen[-1] == wanted)

            try:
                await until("everything to settle", check)
            except AssertionError:
                assert seen[-1] == wanted
                raise
            return seen[-1]

        wanted: Object = {}
        wanted, undisturbed = await run(namespace, 0.0)
        _, disturbed = await run(await _namespace(cluster, f"{namespace}-faults"), SHARE)
        told = ", ".join(f"{count} x {fault.value}" for fault, count in sorted(proxy.spoiled.items()))
        sys.stderr.write(f"spoiled in {SECONDS:g} s: {told}\n")
        assert proxy.spoiled.total() > 5
        assert proxy.too_early == 0, "a Retry-After was not obeyed"
        untouched = [f"Deployment {name}" for name in ("venue-sim-fx", "venue-other", "strategy-ema")]
        assert {name: disturbed[name] for name in untouched} == {name: undisturbed[name] for name in untouched}
