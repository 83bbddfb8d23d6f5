"""The layout of samples/layout: a strategy of the researchers' namespace at the venue of the platform team's, with the
operator, a gateway and a strategy as processes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from crowetrade import subjects
from crowetrade_api.files import STRATEGY_FILE, VENUE_FILE, EnvName
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import (
    CONFIG_MAPS,
    CUSTOM,
    KILL_SWITCHES,
    NAMESPACES,
    NETWORK_POLICIES,
    RISK_LIMITS,
    STRATEGIES,
    VENUES,
    ApiResource,
)
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import Desk, running
from crowetrade_operator_tests.servers import ROOT, TOKEN, ApiServer, free_port, nats_client
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
LAYOUT = ROOT / "samples" / "layout"
RECORDINGS = ROOT / "cli/src/crowetrade_cli/samples/recordings"
QUOTAS = ApiResource("", "v1", "resourcequotas", "ResourceQuota")
ROLE_BINDINGS = ApiResource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
BY_KIND = {item.kind: item for item in (*CUSTOM, NAMESPACES, QUOTAS, ROLE_BINDINGS)}
_numbers = itertools.count(1)


class Layout:
    """The three namespaces, under names of the test's own."""

    def __init__(self, cluster: Cluster, prefix: str) -> None:
        self._cluster = cluster
        self._prefix = prefix
        self.venues, self.research, self.live = (f"{prefix}-{name}" for name in ("venues", "research", "live"))

    def manifests(self) -> list[Object]:
        texts = [path.read_text() for path in sorted(LAYOUT.glob("*.yaml"))]
        # "cl-" begins the names of the namespaces and nothing else.
        return [item for text in texts for item in yaml.safe_load_all(text.replace("cl-", f"{self._prefix}-"))]

    async def create(self, *kinds: str) -> None:
        for item in self.manifests():
            if item["kind"] in kinds:
                await self._cluster.create(BY_KIND[item["kind"]], item["metadata"].get("namespace", ""), item)


@pytest.fixture
async def layout(cluster: Cluster) -> Layout:
    found = Layout(cluster, f"cl{next(_numbers)}")
    await found.create("Namespace")
    return found


async def test_every_manifest_is_accepted(layout: Layout, api_server: ApiServer) -> None:
    from crowetrade_operator_tests.integration.test_rearm import Server

    server = Server(api_server)
    try:
        for item in layout.manifests():
            resource, metadata = BY_KIND[item["kind"]], item["metadata"]
            if item["kind"] == "Namespace":
                continue
            code, answer = server.send("POST", f"{resource.path(metadata['namespace'])}?dryRun=All", item)
            assert code == 201, answer
    finally:
        server.close()


@contextlib.asynccontextmanager
async def process(arguments: list[str], environment: dict[str, str], log: Path) -> AsyncIterator[None]:
    """A process of the agents."""
    with log.open("wb") as output:
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "crowetrade_agents.runtime",
            *arguments,
            env={**os.environ, **environment},
            stdout=output,
            stderr=output,
        )
        try:
            yield
        finally:
            child.kill()
            await child.wait()
            print(log.read_text()[-3000:])  # noqa: ASYNC240, T201 - shown when the test fails


@contextlib.asynccontextmanager
async def trading(
    layout: Layout, there: Desk, here: Desk, api_server: ApiServer, nats_url: str, folder: Path
) -> AsyncIterator[None]:
    """Gateway and strategy with what the operator has made for them."""
    await layout.create("VenueConnection", "RiskLimit", "KillSwitch", "Strategy")
    await there.deployment_ready("venue-sim-fx")
    await here.deployment_ready("strategy-eurusd-ema")
    account, port = folder / "account", free_port()
    account.mkdir()
    (account / "token").write_text(TOKEN)
    (account / "ca.crt").write_bytes((api_server.kubeconfig.parent / "certificates" / "apiserver.crt").read_bytes())
    (folder / VENUE_FILE).write_text((await there.get(CONFIG_MAPS, "venue-sim-fx"))["data"][VENUE_FILE])
    content = json.loads((await here.get(CONFIG_MAPS, "strategy-eurusd-ema"))["data"][STRATEGY_FILE])
    assert content["gateways"] == {"sim-fx": f"venue-sim-fx.{layout.venues}.svc:50051"}
    content["gateways"] = {"sim-fx": f"127.0.0.1:{port}"}
    (folder / STRATEGY_FILE).write_text(json.dumps(content))
    common = {EnvName.NATS_URL: nats_url, EnvName.HTTP_PORT: "0"}
    gateway = {
        **common,
        EnvName.POD_NAME: "venue-sim-fx-0",
        EnvName.CONFIG_FILE: str(folder / VENUE_FILE),
        EnvName.SAMPLE_DIRECTORY: str(RECORDINGS),
        EnvName.GRPC_PORT: str(port),
        EnvName.CONTROL_PORT: "0",
        EnvName.KILL_DIRECTORY: str(folder / "kills"),
        EnvName.KILL_NAMESPACES: f"{layout.venues},{layout.research}",
        EnvName.API_SERVER_HOST: "127.0.0.1",
        EnvName.API_SERVER_PORT: api_server.url.rpartition(":")[2],
        EnvName.SERVICE_ACCOUNT_DIRECTORY: str(account),
    }
    agent = {
        **common,
        EnvName.POD_NAME: "strategy-eurusd-ema-0",
        EnvName.CONFIG_FILE: str(folder / STRATEGY_FILE),
    }
    roles = ["strategy", "--roles", "feature,signal,portfolio,execution"]
    async with (
        process(["gateway"], {str(name): value for name, value in gateway.items()}, folder / "gateway.log"),
        process(roles, {str(name): value for name, value in agent.items()}, folder / "strategy.log"),
    ):
        # Processes take long to start on a busy machine: each has this time besides that of the condition.
        await until("the gateway's process", lambda: b"control_listens" in (folder / "gateway.log").read_bytes())
        await there.condition(VENUES, "sim-fx", "SessionEstablished", "True")
        await here.condition(STRATEGIES, "eurusd-ema", "Trading", "True")
        yield


async def test_a_researchers_strategy_trades_at_the_platform_teams_venue(
    layout: Layout, cluster: Cluster, settings: Settings, api_server: ApiServer, nats_url: str, tmp_path: Path
) -> None:
    namespaces = (layout.venues, layout.research, layout.live)
    async with (
        running(replace(settings, namespaces=namespaces)) as operator,
        nats_client(nats_url) as bus,
    ):
        there, here = Desk(cluster, layout.venues, bus, operator), Desk(cluster, layout.research, bus, operator)
        async with trading(layout, there, here, api_server, nats_url, tmp_path):
            guest = f"eurusd-ema.{layout.research}"
            config = await there.config()
            assert [item.strategy for item in config.strategies] == [guest]
            assert {rule.risk_limit: list(rule.strategies) for rule in config.rules} == {
                "everyone": [guest],
                "research": [guest],
            }
            for name in ("everyone", "research"):
                await there.condition(RISK_LIMITS, name, "Enforced", "True")

            async def executed() -> bool:
                return int((await here.get(STRATEGIES, "eurusd-ema"))["status"]["orders"].get("filledTotal", 0)) > 0

            await until("an execution", executed)
            status = (await here.get(STRATEGIES, "eurusd-ema"))["status"]
            assert status["riskLimits"] == ["everyone", "research"]
            journal = await bus.jetstream().get_last_msg(
                subjects.journal_stream(layout.venues, "sim-fx"), subjects.journal(layout.venues, "sim-fx")
            )
            assert journal.seq is not None
            assert journal.seq > 1
            ingress = (await there.get(NETWORK_POLICIES, "venue-sim-fx"))["spec"]["ingress"][0]["from"]
            assert ingress[1]["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": layout.research}
            await _a_kill_switch_of_their_own_stops_it(there, here, layout)
            await _without_admission_it_is_refused_on_both_sides(there, here)
            await here.delete(STRATEGIES, "eurusd-ema")
            await here.gone(STRATEGIES, "eurusd-ema")
            told = await here.told("eurusd-ema", "Stopped")
            assert "The gateway of sim-fx has confirmed that no order is open." in told["note"]


async def _a_kill_switch_of_their_own_stops_it(there: Desk, here: Desk, layout: Layout) -> None:
    engaged = {"spec": {"engaged": True, "reason": "test"}}
    await here.patch(KILL_SWITCHES, "ours", engaged)
    await here.condition(KILL_SWITCHES, "ours", "Acknowledged", "True", "Acknowledged")
    found = (await here.get(KILL_SWITCHES, "ours"))["status"]["acknowledgements"]
    assert found["summary"] == "1/1", "the gateway of the other namespace"
    await here.condition(STRATEGIES, "eurusd-ema", "Halted", "True", "KillSwitchEngaged")
    await here.patch(KILL_SWITCHES, "ours", {"spec": {"engaged": False}})
    await here.condition(STRATEGIES, "eurusd-ema", "Trading", "True")
    await there.patch(KILL_SWITCHES, "all", engaged)
    await here.condition(STRATEGIES, "eurusd-ema", "Halted", "True", "KillSwitchEngaged")
    await there.patch(KILL_SWITCHES, "all", {"spec": {"engaged": False}})
    await here.condition(STRATEGIES, "eurusd-ema", "Trading", "True")


async def _without_admission_it_is_refused_on_both_sides(there: Desk, here: Desk) -> None:
    venue = await there.get(VENUES, "sim-fx")
    allowed = venue["spec"]["allowedStrategies"]
    closed = {"namespaces": {"from": "Same", "selector": None}}
    await there.patch(VENUES, "sim-fx", {"spec": {"allowedStrategies": closed}})
    await here.condition(STRATEGIES, "eurusd-ema", "Trading", "False", "VenueNotAllowed")
    await there.condition(VENUES, "sim-fx", "StrategiesRefused", "True", "StrategyNotAllowed")

    async def unbound() -> bool:
        return not (await there.config()).strategies

    await until("the strategy to be unbound", unbound)
    await there.patch(VENUES, "sim-fx", {"spec": {"allowedStrategies": allowed}})
    await here.condition(STRATEGIES, "eurusd-ema", "Trading", "True")
