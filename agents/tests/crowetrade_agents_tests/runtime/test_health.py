"""/healthz, /readyz, /metrics over real HTTP, and the logs as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator

import aiohttp
import pytest
import structlog

from crowetrade_agents.runtime.health import Health
from crowetrade_agents.runtime.logs import configure_logging


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
    assert "crowetrade_agent_stage_seconds" in text


def test_logs_are_json_with_what_was_bound(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(strategy="ema")
    structlog.get_logger("x").info("child_order", venue="sim", md_sequence=7)
    logging.getLogger("library").warning("it said %s", "so")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in lines] == ["child_order", "it said so"]
    assert {key: lines[0][key] for key in ("strategy", "venue", "md_sequence", "level")} == {
        "strategy": "ema",
        "venue": "sim",
        "md_sequence": 7,
        "level": "info",
    }
    assert lines[1]["logger"] == "library"
    logging.getLogger().handlers.clear()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
