"""The process: what it does with wrong settings, and with the signals of Kubernetes."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from crowetrade_operator import main
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import LEASES, VENUES
from crowetrade_operator_tests.samples import venue_manifest
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import until

WRONG = {
    "no namespace": ({"OPERATOR_NAMESPACE": ""}, "OPERATOR_NAMESPACE is not set"),
    "workers that are no number": ({"WORKERS": "many"}, "WORKERS is 'many': write a number such as 16"),
    "lease times that contradict each other": ({"LEASE_RENEW_SECONDS": "20"}, "LEASE_DURATION_SECONDS must be longer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_ends_it_with_a_sentence_that_names_it(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """78 is EX_CONFIG: another start with the same settings would not help."""
    environment, words = WRONG[case]
    for name, value in {"OPERATOR_NAMESPACE": "system", **environment}.items():
        monkeypatch.setenv(name, value)
    assert main.main() == 78
    (line,) = capsys.readouterr().out.splitlines()
    assert words in json.loads(line)["error"]


@pytest.mark.integration
async def test_sigterm_ends_it_cleanly(
    api_server: ApiServer, cluster: Cluster, namespace: str, nats_url: str, tmp_path: Path
) -> None:
    """As Kubernetes runs it: a process of its own, that logs JSON lines and gives the Lease back."""

    async def holder() -> str:
        lease = await cluster.get(LEASES, namespace, "crowetrade-operator")
        return str(lease["spec"].get("holderIdentity"))

    async def leads() -> bool:
        return await holder() == "operator-0"

    log = tmp_path / "operator.log"
    environment = {
        **os.environ,
        "OPERATOR_NAMESPACE": namespace,
        "POD_NAME": "operator-0",
        "NAMESPACES": namespace,
        "NATS_URL": nats_url,
        "KUBECONFIG": str(api_server.kubeconfig),
        "HTTP_PORT": "0",
    }
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crowetrade_operator.main", env=environment, stdout=out, stderr=out
        )
        await until("the process to lead", leads)
        await cluster.create(VENUES, namespace, venue_manifest(namespace=namespace))
        await until("the process to work", lambda: '"event": "gateway_configured"' in log.read_text())
        process.terminate()
        async with asyncio.timeout(15):
            assert await process.wait() == 0, log.read_text()
    assert await holder() == ""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"event", "level"} <= event.keys() for event in events)
    assert [event["event"] for event in events if event["event"] in ("leading", "working", "lease_released")] == [
        "leading",
        "working",
        "lease_released",
    ]
