"""A NATS of the user's own, as it comes, is reported at its VenueConnections until it is set up as the chart sets up
its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import VENUES
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import condition_of, quick_settings, running
from crowetrade_operator_tests.samples import venue_manifest
from crowetrade_operator_tests.secured_bus import NATS, OPERATOR, SecuredBus
from crowetrade_operator_tests.servers import ApiServer, NatsServer
from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity.holder import Identity

pytestmark = pytest.mark.integration

NOT_READ = (
    "whether NATS syncs every write to disk cannot be read: set jetstream.sync_interval to always, and export "
    "$SYS.REQ.SERVER.PING.VARZ of the system account to the operator's"
)
UNBOUNDED = "the account on NATS may fill the whole store: set max_file of its jetstream"
TOO_WIDE = (
    "the operator may publish to $JS.API.STREAM.PURGE.X, $JS.API.STREAM.DELETE.X, $JS.API.STREAM.UPDATE.X, "
    "journal.x.x, so the bus does not hold identities to their permissions: let NATS ask crowetrade-authorizer "
    "(auth_callout)"
)
NOT_SYNCED = (
    "NATS acknowledges a write before it is on disk, so a crash may lose orders: set jetstream.sync_interval to always"
)
MISSING = "the operator may not publish to $JS.API.STREAM.LIST: is crowetrade-authorizer of this version?"


@dataclass(frozen=True)
class Lacking:
    """What the first server lacks; without `configuration` it is the program as it comes."""

    reason: str
    messages: tuple[str, ...]
    identified: bool = False
    configuration: str = ""


_DATA = """
    jetstream: { max_file: 8GB, max_streams: 200 }
    imports: [ { service: { account: SYS, subject: "$SYS.REQ.SERVER.PING.VARZ" } } ]
"""
_SYS = """
  SYS { exports: [ { service: "$SYS.REQ.SERVER.PING.VARZ", response: stream, accounts: [DATA] } ] }
"""
SYNCS_LATER = f"""
jetstream {{ store_dir: "@FOLDER@/jetstream", max_file_store: 8GB }}
accounts {{
  {_SYS}
  DATA {{ users: [ {{ user: anybody, password: anybody }} ] {_DATA} }}
}}
system_account: SYS
no_auth_user: anybody
"""
USERS_OF_ITS_OWN = f"""
jetstream {{ store_dir: "@FOLDER@/jetstream", max_file_store: 8GB, sync_interval: always }}
tls {{
  cert_file: "@TLS@/tls.crt", key_file: "@TLS@/tls.key", ca_file: "@TLS@/ca.crt"
  verify_and_map: true, min_version: "1.3", handshake_first: true
}}
accounts {{
  {_SYS}
  DATA {{
    users: [ {{ user: "{OPERATOR.uri}", permissions: {{
      publish: [
        "$JS.API.INFO", "$JS.API.STREAM.CREATE.*", "$JS.API.STREAM.INFO.*", "$JS.API.STREAM.MSG.GET.*"
        "$JS.API.DIRECT.GET.>", "$KV.>", "audit.>", "$SYS.REQ.USER.INFO", "$SYS.REQ.SERVER.PING.VARZ"
      ]
      subscribe: ">"
    }} }} ]
    {_DATA}
  }}
}}
system_account: SYS
"""
"""All that the operator needs but the list of streams."""
LACKING = {
    "without identities": Lacking("BusSettingsUnreadable", (NOT_READ, UNBOUNDED)),
    "with certificates that it asks nobody about": Lacking(
        "BusSettingsUnreadable", (NOT_READ, TOO_WIDE, UNBOUNDED), identified=True
    ),
    "that syncs writes later": Lacking("BusWritesNotSynced", (NOT_SYNCED,), configuration=SYNCS_LATER),
    "with users of its own": Lacking(
        "BusPermissionMissing", (MISSING,), identified=True, configuration=USERS_OF_ITS_OWN
    ),
}


@dataclass(frozen=True)
class OwnNats:
    """A server on one port, first as it comes, then as the chart sets up its own."""

    as_it_comes: NatsServer
    set_up: SecuredBus
    settings: Settings
    identity: Identity | None
    lacking: Lacking
    kubeconfig: Path

    def mend(self) -> None:
        """Starts it again, with what the messages ask for."""
        self.as_it_comes.stop()
        self.as_it_comes.forget()  # accounts have streams of their own
        if self.identity is None:
            self.set_up.start("access-open.conf")
        else:
            self.set_up.start()
            self.set_up.start_authorizer(self.kubeconfig).wait_ready()


@pytest.fixture(params=LACKING)
async def own(
    request: pytest.FixtureRequest, api_server: ApiServer, namespace: str, tmp_path: Path
) -> AsyncIterator[OwnNats]:
    bus, lacking, path = SecuredBus(tmp_path), LACKING[request.param], None
    settings, identity, tls = quick_settings(api_server, namespace, f"nats://127.0.0.1:{bus.port}"), None, None
    if lacking.identified:
        identity, tls = await bus.identity(OPERATOR), bus.directory(NATS)
        variables = {name: value for name, value in bus.environment(OPERATOR).items() if name != "NATS_URL"}
        settings = replace(settings, nats_url=bus.url, identity=variables)
    if lacking.configuration:
        path = tmp_path / "own.conf"
        path.write_text(lacking.configuration.replace("@FOLDER@", str(tmp_path)).replace("@TLS@", str(tls)))
    server = NatsServer(tmp_path, path is None, tls if path is None else None, configuration=path)
    server.port = bus.port
    server.start()
    yield OwnNats(server, bus, settings, identity, lacking, api_server.kubeconfig)
    server.stop()
    for replica in bus.replicas:
        replica.process.stop()
    bus.stop()


def faults_of_metrics() -> set[str]:
    return {sample.labels["reason"] for family in metrics.BUS_FAULTS.collect() for sample in family.samples}


async def test_what_it_lacks_is_told_with_what_to_do_until_it_is_set_up(
    own: OwnNats, cluster: Cluster, namespace: str
) -> None:
    manifest = venue_manifest()
    manifest["metadata"]["namespace"] = namespace
    async with running(own.settings, identity=own.identity) as operator:
        await cluster.create(VENUES, namespace, manifest)
        bus = operator.parts.context.bus if operator.parts else None
        assert bus is not None

        async def says() -> tuple[str, ...]:
            found = condition_of(await cluster.get(VENUES, namespace, "sim-fx"), "BusDeficient")
            return tuple(found[name] for name in ("status", "reason", "message") if found)

        async def told() -> bool:
            return await says() == ("True", own.lacking.reason, "; ".join(own.lacking.messages))

        async def nothing_told() -> bool:
            return bus.connected and await says() == ()

        await until("BusDeficient", told)
        assert own.lacking.reason in faults_of_metrics()
        await asyncio.to_thread(own.mend)
        await until("nothing to be lacking", nothing_told)
        assert not faults_of_metrics()
