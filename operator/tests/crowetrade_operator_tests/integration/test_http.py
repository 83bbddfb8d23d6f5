"""/metrics, /healthz and /readyz of the operator."""

from __future__ import annotations

import aiohttp
import pytest

from crowetrade_operator import main
from crowetrade_operator.cluster.resources import RISK_LIMITS
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.samples import limit_manifest

pytestmark = pytest.mark.integration


async def _get(desk: Desk, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{desk.operator.http_port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


@pytest.fixture
async def busy(desk: Desk) -> Desk:
    """A desk whose operator has had something to do."""
    await desk.create(RISK_LIMITS, limit_manifest())
    await desk.condition(RISK_LIMITS, "fx-desk", "Ready", "True", "NothingInScope")
    return desk


async def test_a_working_operator_is_well_and_ready(busy: Desk) -> None:
    assert await _get(busy, "/healthz") == (200, "ok\n")
    assert await _get(busy, "/readyz") == (200, "ok\n")


async def test_metrics_speak_of_work_queue_api_and_bus(desk: Desk) -> None:
    async with trading(desk):
        status, text = await _get(desk, "/metrics")
    assert status == 200
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    settings = desk.operator.settings
    lease = f'lease="{settings.lease_name}",namespace="{settings.operator_namespace}"'
    assert samples[f"crowetrade_operator_leader{{{lease}}}"] == "1.0"
    assert samples["crowetrade_operator_bus_connected"] == "1.0"
    assert float(samples['crowetrade_operator_reconciles_total{kind="Strategy",result="done"}']) > 0
    assert float(samples['crowetrade_operator_bus_messages_total{result="read",schema="GatewayStatus"}']) > 0
    assert float(samples['crowetrade_operator_watch_events_total{kind="Deployment",type="ADDED"}']) > 0
    assert samples["crowetrade_operator_queue_depth"] == "0.0"
    assert 0.0 <= float(samples["crowetrade_operator_seconds_since_event"]) < 60.0


STALLS = {
    "a reconcile that never ends": ("STALLED_RECONCILE_SECONDS", "reconcile: a reconcile has run for 0 s"),
    "a key that nobody takes": ("STALLED_QUEUE_SECONDS", "queue: keys have waited for 0 s, and none was taken"),
}


@pytest.mark.parametrize("case", STALLS)
async def test_stalled_work_makes_it_unwell(busy: Desk, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit below nothing instead of two minutes of waiting."""
    constant, words = STALLS[case]
    monkeypatch.setattr(main, constant, -1.0)
    status, text = await _get(busy, "/healthz")
    assert status == 503
    assert words in text
    assert (await _get(busy, "/readyz"))[0] == 200, "a restart helps, no other pod does"


async def test_a_stalled_watch_makes_it_unwell(busy: Desk) -> None:
    busy.parts.relist.stalled = "the watch of Pod is stalled"
    assert await _get(busy, "/healthz") == (503, "watch: the watch of Pod is stalled\n")
