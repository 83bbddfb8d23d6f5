"""Every process of the agents on a bus that takes mutual TLS alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from crowetrade_agents_tests.gateway.harness import venue_file, write_quotes
from crowetrade_agents_tests.runtime.config_files import strategy_json
from crowetrade_agents_tests.runtime.pods import pod_in
from crowetrade_api.files import EnvName
from crowetrade_operator_tests.servers import NatsServer
from crowetrade_process.identity.variables import IdentityVariable
from crowetrade_process_tests.identity.authority import Authority, identity_name, write_identity

pytestmark = pytest.mark.integration
OURS = Authority()
NATS = identity_name("nats", "crowetrade")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    started = NatsServer(tmp_path, tls=write_identity(tmp_path / "nats", OURS.issue_to(NATS), OURS))
    started.start()
    yield started
    started.stop()


@pytest.mark.parametrize("command", ["gateway", "risk-auditor", "strategy"])
def test_it_connects_once_it_has_its_certificate(command: str, server: NatsServer, tmp_path: Path) -> None:
    configuration = tmp_path / "configuration.json"
    content = strategy_json() if command == "strategy" else venue_file(replay={"speed": "1000"}).content()
    configuration.write_text(json.dumps(content))
    write_quotes(tmp_path, 10)
    bus = {EnvName.NATS_URL: server.url, IdentityVariable.NATS_SERVER_NAME: NATS.dns_name}
    with pod_in(tmp_path, [command], configuration, {str(name): value for name, value in bus.items()}) as pod:
        pod.until_readiness(lambda said: "is the Secret mounted" in said)
        write_identity(tmp_path / "identity", OURS.issue_to(identity_name("a-pod")), OURS)
        pod.until_readiness(_has_both)


def _has_both(said: str) -> bool:
    return not said.startswith("starting") and not any(f"{part}:" in said for part in ("identity", "bus"))
