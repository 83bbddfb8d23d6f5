"""/metrics, /healthz and /readyz of the operator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from crowetrade_operator import main
from crowetrade_operator.cluster.resources import RISK_LIMITS
from crowetrade_operator.main import Operator
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.fault_proxy import FaultProxy
from crowetrade_operator_tests.integration.desk import Desk, running, trading
from crowetrade_operator_tests.samples import limit_manifest
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration


async def _get(operator: Operator, path: str) -> tuple[int, str]:
    url = f"http://127.0.0.1:{operator.http_port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, await answer.text()


async def _ready(operator: Operator) -> None:
    async def answers() -> bool:
        return await _get(operator, "/readyz") == (200, "ok\n")

    await until("it to be ready", answers)


@pytest.fixture
async def busy(desk: Desk) -> Desk:
    """A desk whose operator is ready, and has had something to do."""
    await _ready(desk.operator)
    await desk.create(RISK_LIMITS, limit_manifest())
    await desk.condition(RISK_LIMITS, "fx-desk", "Ready", "True", "NothingInScope")
    return desk


async def test_a_working_operator_is_well_and_ready(busy: Desk) -> None:
    assert await _get(busy.operator, "/healthz") == (200, "ok\n")
    assert await _get(busy.operator, "/readyz") == (200, "ok\n")


async def test_one_that_does_not_watch_all_that_it_reads_is_not_ready(
    settings: Settings, api_server: ApiServer, tmp_path: Path
) -> None:
    """Until then it cannot take the place of another one, which ends when it is ready."""
    proxy = FaultProxy(api_server, seed=1, slow_seconds=0.0)
    async with proxy.running():
        proxy.forbidden_watches = frozenset({"services"})
        async with running(replace(settings, kubeconfig=str(proxy.kubeconfig(tmp_path)))) as operator:
            unreadable = f'namespace_unreadable{{namespace="{settings.namespaces[0]}"}} 1.0'

            async def refused() -> bool:
                return unreadable in (await _get(operator, "/metrics"))[1]

            await until("the refusal to be known", refused)
            assert await _get(operator, "/readyz") == (503, "cluster: reading the cluster\n")
            assert (await _get(operator, "/healthz"))[0] == 200, "a restart would not help"
            proxy.forbidden_watches = frozenset()
            await _ready(operator)


async def test_metrics_speak_of_work_queue_api_and_bus(desk: Desk) -> None:
    async with trading(desk):
        status, text = await _get(desk.operator, "/metrics")
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
    status, text = await _get(busy.operator, "/healthz")
    assert status == 503
    assert words in text
    assert (await _get(busy.operator, "/readyz"))[0] == 200, "a restart helps, no other pod does"


async def test_a_stalled_watch_makes_it_unwell(busy: Desk) -> None:
    busy.parts.relist.stalled = "the watch of Pod is stalled"
    assert await _get(busy.operator, "/healthz") == (503, "watch: the watch of Pod is stalled\n")
