"""The authorizer's process: `python -m crowetrade_operator.authorizer`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
from collections.abc import Mapping
from typing import Any

import nats.errors
import structlog
import uvloop
from nats.aio.client import Client
from nats.aio.subscription import Subscription

from crowetrade_api.files import TERMINATION_LOG, EnvName, ExitCode
from crowetrade_operator.authorizer import metrics
from crowetrade_operator.authorizer.connection_bound import ConnectionBound
from crowetrade_operator.authorizer.keys import pair
from crowetrade_operator.authorizer.known import Known
from crowetrade_operator.authorizer.open_connections import INBOX_PREFIX, OpenConnections
from crowetrade_operator.authorizer.service import QUEUE, Authorizer, Installation
from crowetrade_operator.authorizer.settings import AuthorizerSettings, read_settings
from crowetrade_operator.authorizer.strategies import readable_venues
from crowetrade_operator.cluster.client import connect
from crowetrade_operator.cluster.resources import STRATEGIES, VENUES
from crowetrade_operator.errors import SettingsError
from crowetrade_process.audit.refusals import Refusals
from crowetrade_process.audit.trail import Trail, connecting
from crowetrade_process.exit import failed
from crowetrade_process.health import Health
from crowetrade_process.identity.errors import IdentitySettingsError
from crowetrade_process.identity.holder import Identity, Report
from crowetrade_process.identity.nats import BusClient
from crowetrade_process.identity.running import running
from crowetrade_process.identity.server_authorizer import SUBJECT as READY_SUBJECT
from crowetrade_process.identity.settings import identity_from_environment
from crowetrade_process.identity.variables import IdentityVariable
from crowetrade_process.logs import configure_logging
from crowetrade_process.stopping import cancelled, stop_on_signals, unless_stopping

CLOSE_SECONDS = 2.0
LOOK_SECONDS = 5.0
"""Between two looks whether everything is still known."""

log = structlog.get_logger()


class AuthorizerProcess:
    """One replica, from start to stop."""

    def __init__(self, settings: AuthorizerSettings, environment: Mapping[str, str], stopping: asyncio.Event) -> None:
        self._settings = settings
        self._environment = environment
        self._stopping = stopping
        self.health = Health()

    async def run(self) -> None:
        """Runs until `stopping` is set. Raises IdentitySettingsError and SettingsError."""
        identity = identity_from_environment(self._environment)
        if identity is None:
            raise SettingsError(
                f"{IdentityVariable.SOURCE} is None: without identities there is nothing to authorize; set it to Vault "
                "or Files, or do not run the authorizer"
            )
        for part in ("bus", "strategies", "venues"):
            self.health.set_ready(part, False, "starting")
        await self.health.serve(self._settings.http_port)
        log.info("authorizer_starts", http_port=self.health.port)
        try:
            async with running(identity, self._ready("identity"), self._stopping):
                if not self._stopping.is_set():
                    await unless_stopping(self._stopping, self._serve(identity))
        finally:
            await self.health.stop()

    async def _serve(self, identity: Identity) -> None:
        cluster = await connect(self._settings.kubeconfig)
        namespaces = self._settings.namespaces
        strategies = Known(cluster, STRATEGIES, readable_venues, metrics.STRATEGIES, namespaces)
        venues = Known(cluster, VENUES, lambda venue: True, metrics.VENUES, namespaces)
        tasks = [
            asyncio.create_task(one)
            for part, known in (("strategies", strategies), ("venues", venues))
            for one in (known.run(), self._follow(part, known))
        ]
        try:
            client = await self._connect(identity)
            try:
                pod = self._environment.get(EnvName.POD_NAME) or socket.gethostname()
                trail = Trail(identity.name.namespace, identity.name.service_account, pod, identity=identity)
                trail.record_start("authorizer")
                installation = Installation(strategies, venues)
                refusals = Refusals(trail)
                bound = ConnectionBound(refusals)
                authorizer = Authorizer(pair(self._settings.seeds.issuer), identity, installation, bound, refusals)
                await authorizer.serve(client)
                connections = OpenConnections()
                identity.on_revocation(connections.revoked)
                tasks.append(asyncio.create_task(connections.run(client)))
                tasks.append(asyncio.create_task(bound.run(client)))
                tasks.append(
                    asyncio.create_task(self._know_everybody(client, identity, connections, strategies, venues))
                )
                self.health.set_ready("bus", True)
                log.info("authorizer_serves")
                async with (
                    trail.writing(connecting(self._settings.nats_url, f"{QUEUE}-audit", identity)),
                    refusals.telling(),
                ):
                    await asyncio.gather(*tasks)
            finally:
                await self._close(client)
        finally:
            await cancelled(*tasks)
            await cluster.close()

    async def _follow(self, part: str, known: Known[Any]) -> None:
        while True:
            self.health.set_ready(part, not known.problem, known.problem)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await known.changed.wait()
            known.changed.clear()

    async def _know_everybody(
        self, client: Client, identity: Identity, connections: OpenConnections, *known: Known[Any]
    ) -> None:
        """Whom it cannot judge the server closes. So while the resources are known it says that the server may ask, and
        has it ask where something was revoked while no authorizer worked, of which nobody was told."""
        for resources in known:
            await resources.listed.wait()
        ready: Subscription | None = None
        while True:
            knows = not any(resources.problem for resources in known)
            if knows and ready is None:
                ready = await client.subscribe(READY_SUBJECT)
                if identity.knows_revoked:
                    connections.revoked()
            elif not knows and ready is not None:
                await ready.unsubscribe()
                ready = None
            await asyncio.sleep(LOOK_SECONDS)

    async def _connect(self, identity: Identity) -> Client:
        seed = self._settings.seeds.user
        url, ready = self._settings.nats_url, self._ready("bus")
        return await BusClient.open(url, QUEUE, identity, ready, nkeys_seed_str=seed, inbox_prefix=INBOX_PREFIX)

    async def _close(self, client: Client) -> None:
        """What was asked is answered; a server that does not answer does not hold us up."""
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await client.drain()
        except (nats.errors.Error, OSError, TimeoutError, ssl.SSLError) as error:
            log.warning("nats_drain_failed", error=str(error) or type(error).__name__)

    def _ready(self, part: str) -> Report:
        return lambda ok, why: self.health.set_ready(part, ok, why)


async def serve(environment: Mapping[str, str]) -> None:
    """Runs until SIGTERM or SIGINT. Raises SettingsError, IdentitySettingsError."""
    settings = read_settings(environment)
    configure_logging(settings.log_level)
    await AuthorizerProcess(settings, environment, stop_on_signals()).run()


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Entry point; returns the exit code."""
    configure_logging()
    termination_log = environment.get(EnvName.TERMINATION_LOG, TERMINATION_LOG)
    try:
        uvloop.run(serve(environment))
    except (SettingsError, IdentitySettingsError) as error:
        return failed(ExitCode.CONFIGURATION_ERROR, "configuration_error", str(error), termination_log)
    return ExitCode.STOPPED
