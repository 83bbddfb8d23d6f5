"""A bus as the chart makes it: a real nats-server with the chart's own configuration, TLS, and authorizer processes."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client
from prometheus_client.parser import text_string_to_metric_families

from crowetrade_operator.authorizer.keys import ISSUER_KEY, USER_KEY, Seeds
from crowetrade_operator_tests.servers import ROOT, Process, free_port, wait_for
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.nats import connect_options
from crowetrade_process.identity.settings import identity_from_environment
from crowetrade_process_tests.identity.authority import TRUST_DOMAIN, Authority, write_identity

CHART_FILES = ROOT / "charts/crowetrade/files/nats"
SYSTEM = "crowetrade-system"
"""Namespace of the operator."""
ADMINISTRATOR = IdentityName(TRUST_DOMAIN, "people", "alice")
OPERATOR, AUTHORIZER, AUDITOR, NATS = (
    IdentityName(TRUST_DOMAIN, SYSTEM, account)
    for account in ("crowetrade-operator", "crowetrade-authorizer", "crowetrade-risk-auditor", "nats")
)


def identity_of_gateway(namespace: str, venue: str) -> IdentityName:
    """As its service account is named."""
    return IdentityName(TRUST_DOMAIN, namespace, f"venue-{venue}")


def identity_of_strategy(namespace: str, strategy: str) -> IdentityName:
    """As its service account is named."""
    return IdentityName(TRUST_DOMAIN, namespace, f"strategy-{strategy}")


@dataclass
class SecuredBus:
    """The server, and what is needed to connect to it."""

    folder: Path
    max_connections: int = 1000
    authority: Authority = field(default_factory=Authority)
    seeds: dict[str, str] = field(default_factory=lambda: Seeds.make().secret())
    port: int = field(default_factory=free_port)
    monitor_port: int = field(default_factory=free_port)
    server: Process | None = None
    replicas: list[AuthorizerReplica] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its address."""
        return f"tls://127.0.0.1:{self.port}"

    def start(self, access: str = "access-identity.conf") -> None:
        """Starts the server and waits until it answers."""
        config = self.folder / "nats"
        shutil.copytree(CHART_FILES, config, dirs_exist_ok=True)
        shutil.copy(config / access, config / "access.conf")
        (config / "cluster.conf").touch()
        own = self.directory(NATS)
        binary = Path(sys.executable).parent / "nats-server"
        self.server = Process(
            "nats-server",
            [binary, "-c", config / "nats.conf", "-a", "127.0.0.1", "-p", str(self.port), "-m", str(self.monitor_port)],
            self.folder,
            {
                "POD_NAME": "nats-0",
                "STORE_DIRECTORY": str(self.folder / "jetstream"),
                "MAX_FILE_STORE": "8GB",
                "MAX_ACCOUNT_STORE": "8GB",
                "MAX_STREAMS": "200",
                "MAX_CONNECTIONS": str(self.max_connections),
                "MAX_SOCKETS": str(3 * self.max_connections),
                "TLS_CERT_FILE": str(own / "tls.crt"),
                "TLS_KEY_FILE": str(own / "tls.key"),
                "TLS_CA_FILE": str(own / "ca.crt"),
                "AUTHORIZER_USER": self.seeds[USER_KEY],
                "AUTHORIZER_ISSUER": self.seeds[ISSUER_KEY],
            },
        )
        wait_for(self.server, f"http://127.0.0.1:{self.monitor_port}/healthz?js-enabled-only=true")

    def stop(self) -> None:
        """Ends the server."""
        if self.server is not None:
            self.server.stop()
            self.server = None

    def directory(self, name: IdentityName, renewed: bool = False) -> Path:
        """The files of an identity; with another certificate when it is renewed."""
        directory = self.folder / "identities" / f"{name.trust_domain}.{name.namespace}.{name.service_account}"
        if renewed or not directory.exists():
            write_identity(directory, self.authority.issue_to(name), self.authority)
        return directory

    def environment(self, name: IdentityName) -> dict[str, str]:
        """Of a process with this identity."""
        return {
            "IDENTITY_SOURCE": "Files",
            "IDENTITY_TRUST_DOMAIN": name.trust_domain,
            "IDENTITY_DIRECTORY": str(self.directory(name)),
            "IDENTITY_OPERATOR_NAMESPACE": SYSTEM,
            "IDENTITY_ADMINISTRATORS": ADMINISTRATOR.uri,
            "NATS_TLS_SERVER_NAME": NATS.dns_name,
            "NATS_URL": self.url,
        }

    async def identity(self, name: IdentityName) -> Identity:
        """In this process."""
        identity = identity_from_environment(self.environment(name))
        assert identity is not None
        await identity.start()
        return identity

    @contextlib.asynccontextmanager
    async def connected(self, name: IdentityName, **options: Any) -> AsyncIterator[Client]:
        """A connection with this identity that is not tried twice; closed at the end."""
        settings = {"allow_reconnect": False, "max_reconnect_attempts": 1, "connect_timeout": 8}
        identity = await self.identity(name)
        client = await nats.connect(
            self.url, **{"error_cb": _silent, **settings, **connect_options(identity), **options}
        )
        try:
            yield client
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(5):
                    await client.close()

    def start_authorizer(self, kubeconfig: Path, number: int = 0, **environment: str) -> AuthorizerReplica:
        """A replica as its pod runs it; returns when it serves."""
        folder = self.folder / f"authorizer-{number}"
        keys = folder / "keys"
        keys.mkdir(parents=True, exist_ok=True)
        for key, text in self.seeds.items():
            (keys / key).write_text(text)
        port = free_port()
        process = Process(
            f"authorizer-{number}",
            [sys.executable, "-m", "crowetrade_operator.authorizer"],
            folder,
            {
                **self.environment(AUTHORIZER),
                "AUTHORIZER_KEYS_DIRECTORY": str(keys),
                "KUBECONFIG": str(kubeconfig),
                "HTTP_PORT": str(port),
                **environment,
            },
        )
        self.replicas.append(AuthorizerReplica(process, port))
        return self.replicas[-1]

    def server_log(self) -> str:
        """What the server has said."""
        return (self.folder / "nats-server.log").read_text(errors="replace")

    def judged(self, reason: str) -> int:
        """How many connections the authorizers have judged so (Allowed, or why not), as their metrics say."""
        return self.counted("decisions", reason=reason)

    def counted(self, metric: str, **labels: str) -> int:
        """A counter of the authorizers that run, of all labels that are not given."""
        return sum(replica.counted(metric, **labels) for replica in self.replicas if replica.process.running)


async def _silent(error: Exception) -> None:
    return


@dataclass(frozen=True)
class AuthorizerReplica:
    """A running replica."""

    process: Process
    http_port: int

    def wait_ready(self) -> None:
        """Returns when it is ready."""
        wait_for(self.process, f"http://127.0.0.1:{self.http_port}/readyz")

    def counted(self, metric: str, **labels: str) -> int:
        """A counter, of all labels that are not given."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http_port}/metrics", timeout=5) as answer:
            families = text_string_to_metric_families(answer.read().decode())
        return sum(
            int(sample.value)
            for family in families
            for sample in family.samples
            if sample.name == f"crowetrade_authorizer_{metric}_total" and labels.items() <= sample.labels.items()
        )


@contextlib.contextmanager
def secured_bus(folder: Path, max_connections: int = 1000) -> Iterator[SecuredBus]:
    """A server without an authorizer; everything that is started on it ends with it."""
    bus = SecuredBus(folder, max_connections)
    bus.start()
    try:
        yield bus
    finally:
        for replica in bus.replicas:
            replica.process.stop()
        bus.stop()
