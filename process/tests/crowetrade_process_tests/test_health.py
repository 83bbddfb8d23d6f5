"""/healthz, /readyz and /metrics over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Gauge

from crowetrade_process.health import Health


@pytest.fixture
async def health() -> AsyncIterator[Health]:
    served = Health()
    await served.serve(0)
    yield served
    await served.stop()


async def get(health: Health, path: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{health.port}{path}") as response,
    ):
        return response.status, await response.text()


async def test_readiness_needs_every_part(health: Health) -> None:
    assert await get(health, "/readyz") == (503, "starting\n")
    health.set_ready("bus", True)
    health.set_ready("gateway sim", False, "no session yet")
    assert not health.ready
    assert await get(health, "/readyz") == (503, "gateway sim: no session yet\n")
    assert health.waiting == {"gateway sim": "no session yet"}
    health.set_ready("gateway sim", True)
    assert await get(health, "/readyz") == (200, "ok\n")
    health.set_ready("bus", False)
    assert await get(health, "/readyz") == (503, "bus: not ready\n")


async def test_the_process_is_alive_and_has_metrics(health: Health) -> None:
    assert await get(health, "/healthz") == (200, "ok\n")
    status, text = await get(health, "/metrics")
    assert status == 200
    assert "python_info" in text


async def test_stalled_work_is_named_and_metrics_are_brought_up_to_date() -> None:
    registry = CollectorRegistry()
    depth = Gauge("depth", "Keys that wait.", registry=registry)
    stalled = {"queue": "", "watch": ""}
    health = Health(
        live={name: lambda name=name: stalled[name] for name in stalled},  # type: ignore[misc]
        registry=registry,
        refresh=lambda: depth.set(3),
    )
    await health.serve(0)
    try:
        assert await get(health, "/healthz") == (200, "ok\n")
        stalled["watch"] = "nothing has come for 120 s"
        assert await get(health, "/healthz") == (503, "watch: nothing has come for 120 s\n")
        assert "depth 3.0" in (await get(health, "/metrics"))[1]
    finally:
        await health.stop()
