"""How long a change at the API server takes until twenty gateways have acknowledged it, by the object's own status.

etcd and kube-apiserver, NATS (every write synced) and the operator are real processes with the settings that they come
with; the twenty gateways share one process (gateways.py), because twenty would not leave two processors to anything
else. Nobody starts pods, so the operator cannot reach a gateway directly: kill orders come by the gateways' own watches
and by the bus.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import uvloop

from benchmarks.figures import Figure, NotMeasurable, durations
from benchmarks.nats_server import nats_server
from benchmarks.risk.venues import (
    GATEWAYS,
    KILL_SWITCH,
    LIMIT,
    NAMESPACE,
    Object,
    kill_switch,
    risk_limit,
    strategy,
    venue,
    venue_name,
)
from crowetrade_api.files import EnvName
from crowetrade_cli.samples import INSTALLED_SAMPLES
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.resources import (
    KILL_SWITCHES,
    NAMESPACES,
    RISK_LIMITS,
    STRATEGIES,
    VENUES,
    ApiResource,
)
from crowetrade_operator_tests.conftest import install_crds
from crowetrade_operator_tests.servers import TOKEN, ApiServer, start_api_server

ROUNDS = 30
WARM_UP = 3
WAIT_SECONDS = 120.0
LOOK_SECONDS = 0.005
QUANTITIES = ("200000", "190000")
"""The limit becomes tighter and looser in turn."""


def fleet(folder: Path) -> Iterator[Figure]:
    """risk.inforce: a RiskLimit is changed until its status says that 20 of 20 gateways enforce that generation;
    kill.fleet: a KillSwitch is engaged until its status says that 20 of 20 have acknowledged that generation. Raises
    NotMeasurable."""
    enforced, acknowledged = list[int](), list[int]()
    with api_server(folder) as server, nats_server(folder) as url:
        uvloop.run(_measure(folder, server, url, enforced, acknowledged))
    yield durations("risk.inforce", "ms", enforced[WARM_UP:], gateways=GATEWAYS)
    yield durations("kill.fleet", "ms", acknowledged[WARM_UP:], gateways=GATEWAYS)


@contextmanager
def api_server(folder: Path) -> Iterator[ApiServer]:
    """Serves until the end of the block. Raises NotMeasurable."""
    try:
        server, processes = start_api_server(folder)
    except RuntimeError as error:
        raise NotMeasurable(str(error)) from error
    try:
        yield server
    finally:
        for process in processes:
            process.stop()


async def _measure(
    folder: Path, server: ApiServer, nats_url: str, enforced: list[int], acknowledged: list[int]
) -> None:
    cluster = await connect(str(server.kubeconfig))
    try:
        await _create(cluster)
        async with _processes(folder, server, nats_url):
            await _status(cluster, RISK_LIMITS, LIMIT, lambda status: _all(status["gateways"]))
            for number in range(WARM_UP + ROUNDS):
                limits = {"limits": {"maxOrderQuantity": QUANTITIES[number % 2 - 1]}}
                enforced.append(await _change(cluster, RISK_LIMITS, LIMIT, limits, "gateways"))
            for _ in range(WARM_UP + ROUNDS):
                engaged = {"engaged": True}
                acknowledged.append(await _change(cluster, KILL_SWITCHES, KILL_SWITCH, engaged, "acknowledgements"))
                await cluster.merge(KILL_SWITCHES, NAMESPACE, KILL_SWITCH, {"spec": {"engaged": False}})
                await _status(cluster, KILL_SWITCHES, KILL_SWITCH, lambda status: status["state"] == "Armed")
    finally:
        await cluster.close()


async def _create(cluster: Cluster) -> None:
    await install_crds(cluster)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    await cluster.create(NAMESPACES, "", namespace)
    for name in map(venue_name, range(GATEWAYS)):
        await cluster.create(VENUES, NAMESPACE, venue(name))
        await cluster.create(STRATEGIES, NAMESPACE, strategy(name))
    await cluster.create(RISK_LIMITS, NAMESPACE, risk_limit(QUANTITIES[0]))
    await cluster.create(KILL_SWITCHES, NAMESPACE, kill_switch())


async def _change(cluster: Cluster, resource: ApiResource, name: str, spec: Object, gateways: str) -> int:
    """From the write until the status says it of that generation and of all gateways, ns."""
    begin = time.perf_counter_ns()
    written = await cluster.merge(resource, NAMESPACE, name, {"spec": spec})
    generation = written["metadata"]["generation"]
    await _status(
        cluster,
        resource,
        name,
        lambda status: status["observedGeneration"] == generation and _all(status[gateways]),
    )
    return time.perf_counter_ns() - begin


def _all(gateways: Object) -> bool:
    return bool(gateways["concerned"] == gateways["acknowledged"] == GATEWAYS)


async def _status(cluster: Cluster, resource: ApiResource, name: str, wanted: Callable[[Object], bool]) -> None:
    """Returns when the status is as wanted."""
    status: Object = {}
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while not (status and wanted(status)):
                await asyncio.sleep(LOOK_SECONDS)
                status = (await cluster.get(resource, NAMESPACE, name)).get("status") or {}
    except TimeoutError as error:
        raise RuntimeError(f"{resource.kind} {name} did not become as wanted; it is {status}") from error


@asynccontextmanager
async def _processes(folder: Path, server: ApiServer, nats_url: str) -> AsyncIterator[None]:
    """The operator and the gateways."""
    account = folder / "account"
    account.mkdir()
    (account / "token").write_text(TOKEN)
    (account / "ca.crt").write_bytes((server.kubeconfig.parent / "certificates" / "apiserver.crt").read_bytes())
    operator: dict[str, str] = {
        "KUBECONFIG": str(server.kubeconfig),
        "NAMESPACES": NAMESPACE,
        "OPERATOR_NAMESPACE": NAMESPACE,
        "HTTP_PORT": "0",
        "NAMESPACE_MAX_BYTES": "0",
        EnvName.TERMINATION_LOG: str(folder / "operator-ended"),
    }
    gateways: dict[str, str] = {
        EnvName.KILL_NAMESPACES: NAMESPACE,
        EnvName.API_SERVER_HOST: "127.0.0.1",
        EnvName.API_SERVER_PORT: server.url.rpartition(":")[2],
        EnvName.SERVICE_ACCOUNT_DIRECTORY: str(account),
        EnvName.SAMPLE_DIRECTORY: str(INSTALLED_SAMPLES),
    }
    bus: dict[str, str] = {EnvName.NATS_URL: nats_url}
    with (
        _process(folder / "operator.log", ["crowetrade_operator.main"], operator | bus),
        _process(folder / "gateways.log", ["benchmarks.risk.gateways", str(GATEWAYS)], gateways | bus) as process,
    ):
        log = folder / "gateways.log"
        async with asyncio.timeout(WAIT_SECONDS):
            while "all serve" not in log.read_text():
                if process.poll() is not None:
                    raise RuntimeError(f"the gateways have ended: {log.read_text()[-2_000:]}")
                await asyncio.sleep(0.1)
        yield


@contextmanager
def _process(log: Path, module: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", *module], env={**os.environ, **environment}, stdout=out, stderr=out
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait()
