"""Gateways and agents as processes of their own, with what the operator has made for them: there is no kubelet."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from crowetrade_api.files import STRATEGY_FILE, VENUE_FILE, EnvName
from crowetrade_api.names import strategy_object, venue_object
from crowetrade_operator.cluster.resources import CONFIG_MAPS
from crowetrade_operator_tests.integration.desk import Desk
from crowetrade_operator_tests.servers import ROOT, TOKEN, ApiServer, free_port
from crowetrade_operator_tests.waiting import until

SAMPLES = ROOT / "cli/src/crowetrade_cli/samples/recordings"


def _show(log: Path) -> None:
    print(log.read_text()[-3000:])  # noqa: T201 - shown when the test fails


def _folder(path: Path) -> Path:
    path.mkdir(exist_ok=True)
    return path


@contextlib.asynccontextmanager
async def _process(command: str, environment: Mapping[EnvName, str], log: Path) -> AsyncIterator[None]:
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "crowetrade_agents.runtime",
            command,
            env={**os.environ, **{str(name): value for name, value in environment.items()}},
            stdout=file,
            stderr=file,
        )
        try:
            yield
        finally:
            process.kill()
            await process.wait()
            _show(log)


@contextlib.asynccontextmanager
async def gateway(
    desk: Desk,
    api_server: ApiServer,
    nats_url: str,
    folder: Path,
    venue: str = "sim-fx",
    watches: bool = False,
    samples: Path = SAMPLES,
) -> AsyncIterator[tuple[int, int]]:
    """The gateway of a venue, which watches KillSwitches if it is to; yields the ports of its order entry and of its
    control service."""
    account, order_entry, control = _folder(_folder(folder) / "account"), free_port(), free_port()
    (account / "token").write_text(TOKEN)
    (account / "ca.crt").write_bytes((api_server.kubeconfig.parent / "certificates" / "apiserver.crt").read_bytes())
    (folder / VENUE_FILE).write_text((await desk.get(CONFIG_MAPS, venue_object(venue)))["data"][VENUE_FILE])
    environment = {
        EnvName.POD_NAME: f"{venue_object(venue)}-0",
        EnvName.NATS_URL: nats_url,
        EnvName.CONFIG_FILE: str(folder / VENUE_FILE),
        EnvName.SAMPLE_DIRECTORY: str(samples),
        EnvName.HTTP_PORT: "0",
        EnvName.GRPC_PORT: str(order_entry),
        EnvName.CONTROL_PORT: str(control),
        EnvName.KILL_DIRECTORY: str(folder / "kills"),
        EnvName.API_SERVER_HOST: "127.0.0.1",
        EnvName.API_SERVER_PORT: api_server.url.rpartition(":")[2],
        EnvName.SERVICE_ACCOUNT_DIRECTORY: str(account),
    }
    if watches:
        environment[EnvName.KILL_NAMESPACES] = desk.namespace
    log = folder / "gateway.log"
    async with _process("gateway", environment, log):
        # A process takes long to start on a busy machine: it has this time besides that of the condition.
        await until("the gateway's process", lambda: b"control_listens" in log.read_bytes())
        yield order_entry, control


@contextlib.asynccontextmanager
async def agents(
    desk: Desk, nats_url: str, folder: Path, ports: Mapping[str, int], strategy: str = "ema"
) -> AsyncIterator[None]:
    """The agents of a strategy in one process. `ports` are those of the order entry of its venues' gateways."""
    content = json.loads((await desk.get(CONFIG_MAPS, strategy_object(strategy)))["data"][STRATEGY_FILE])
    content["gateways"] = {venue: f"127.0.0.1:{ports[venue]}" for venue in content["gateways"]}
    (_folder(folder) / STRATEGY_FILE).write_text(json.dumps(content))
    environment = {
        EnvName.POD_NAME: f"{strategy_object(strategy)}-0",
        EnvName.NATS_URL: nats_url,
        EnvName.CONFIG_FILE: str(folder / STRATEGY_FILE),
        EnvName.HTTP_PORT: "0",
    }
    async with _process("strategy", environment, folder / "agents.log"):
        yield
