"""Operators as processes of their own that compete for one Lease, each with its own line to the API server."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from nats.aio.client import Client

from crowetrade_api.files import EnvName
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.main import Operator
from crowetrade_operator.settings import LeaseTimes, Settings
from crowetrade_operator_tests.fault_proxy import FaultProxy
from crowetrade_operator_tests.integration.desk import Desk
from crowetrade_operator_tests.integration.picture import settled
from crowetrade_operator_tests.servers import START_SECONDS, ApiServer, Process, free_port
from crowetrade_operator_tests.waiting import until


class OutsideDesk(Desk):
    """A desk whose operators are processes: nobody can look into their queues."""

    def __init__(self, cluster: Cluster, namespace: str, bus: Client) -> None:
        super().__init__(cluster, namespace, bus, Operator(Settings(operator_namespace=namespace), asyncio.Event()))

    async def idle(self) -> None:
        """Waits until nothing changes any more."""
        await settled(self.cluster, self.namespace, bus=self.bus)


@dataclass(slots=True)
class Replica:
    """One operator and its line to the API server."""

    name: str
    process: Process
    proxy: FaultProxy

    async def started(self) -> None:
        """Waits until it has asked for the Lease."""
        await until(f"{self.name} to ask for the Lease", lambda: self.proxy.asked, START_SECONDS)

    @property
    def last_write(self) -> float:
        return self.proxy.writes[-1] if self.proxy.writes else float("-inf")


@contextlib.asynccontextmanager
async def replicas(
    api_server: ApiServer, namespace: str, nats_url: str, folder: Path, lease: LeaseTimes, slow_seconds: float = 0.0
) -> AsyncIterator[dict[str, Replica]]:
    """Two of them, by name."""
    async with contextlib.AsyncExitStack() as stack:
        found = {}
        for seed, name in enumerate(("operator-0", "operator-1"), start=1):
            home = folder / name
            home.mkdir()
            proxy = await stack.enter_async_context(FaultProxy(api_server, seed, slow_seconds).running())
            environment: dict[str, str] = {
                "OPERATOR_NAMESPACE": namespace,
                "NAMESPACES": namespace,
                "POD_NAME": name,
                "NATS_URL": nats_url,
                "KUBECONFIG": str(proxy.kubeconfig(home)),
                "HTTP_PORT": str(free_port()),
                EnvName.TERMINATION_LOG: str(home / "termination"),
                "LEASE_DURATION_SECONDS": str(lease.duration),
                "LEASE_RENEW_SECONDS": str(lease.renew),
                "LEASE_RETRY_SECONDS": str(lease.retry),
            }
            (home / "termination").touch()  # as a kubelet does
            command: list[str | Path] = [sys.executable, "-m", "crowetrade_operator.main"]
            found[name] = Replica(name, Process(name, command, home, environment), proxy)
            stack.callback(found[name].process.kill)
            # One after the other: to start takes most of a busy machine.
            await found[name].started()
        yield found
