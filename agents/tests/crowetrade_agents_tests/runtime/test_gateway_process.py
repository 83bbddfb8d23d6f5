"""The gateway's process: environment in, exit code out."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from pathlib import Path

import aiohttp
import pytest
from nats.aio.client import Client

from crowetrade_agents.errors import JournalError
from crowetrade_agents.runtime.__main__ import main
from crowetrade_agents.runtime.gateway import run_gateway

from ..gateway.harness import INSTRUMENT, NAMESPACE, VENUE, configuration, configure, status_when
from .test_recovery import free_port

BARS = "ts_ns,open,high,low,close,volume\n0,1,1,1,1.10000,5\n1000000000,1,1,1,1.10010,5\n"


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod's environment; returns venue.json."""
    path = tmp_path / "venue.json"
    spec = {"type": "Simulated", "simulated": {"data": {"sample": "bars"}}, "instruments": [INSTRUMENT]}
    path.write_text(json.dumps({"namespace": NAMESPACE, "name": VENUE, "spec": spec}))
    (tmp_path / "bars.csv").write_text(BARS)
    monkeypatch.setenv("CROWETRADE_CONFIG", str(path))
    monkeypatch.setenv("CROWETRADE_SAMPLE_DATA", str(tmp_path))
    monkeypatch.setenv("HTTP_PORT", str(free_port()))
    monkeypatch.setenv("GRPC_PORT", "0")
    monkeypatch.setenv("NATS_URL", "nats://127.0.0.1:1")
    return path


async def test_it_serves_says_how_it_is_and_leaves_at_sigterm(
    bus: Client, nats_url: str, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", nats_url)
    await configure(bus, configuration())
    running = asyncio.create_task(run_gateway(os.environ))
    await status_when(bus, "s.config_revision == 'r1'")
    async with aiohttp.ClientSession() as http:
        url = f"http://localhost:{os.environ['HTTP_PORT']}"
        for path, wanted in (
            ("/healthz", "ok"),
            ("/readyz", "ok"),
            ("/metrics", "crowetrade_gateway_orders_sent_total"),
        ):
            async with http.get(url + path) as response:
                assert response.status == 200
                assert wanted in await response.text()
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 20)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ('{"namespace": "n", "name": "v", "spec": {"type": "Simulated"}}', "spec.instruments: Field required"),
    ],
)
def test_a_manifest_that_cannot_run_ends_with_a_sentence(
    environment: Path, content: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.write_text(content)
    assert main(["gateway"]) == 78
    assert sentence in capsys.readouterr().out


async def test_a_journal_that_was_changed_stops_it(
    bus: Client, nats_url: str, environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NATS_URL", nats_url)
    await bus.jetstream().publish(f"order.{NAMESPACE}.{VENUE}", b"not an event")
    with pytest.raises(JournalError):
        await asyncio.wait_for(run_gateway(os.environ), 20)
