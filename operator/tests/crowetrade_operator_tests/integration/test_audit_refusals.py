"""Whom the operator itself refuses, in its audit trail: a real API server, a real bus with TLS, the whole operator."""

from __future__ import annotations

from pathlib import Path

import pytest

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator_tests.integration.desk import quick_settings, running
from crowetrade_operator_tests.integration.trail import told
from crowetrade_operator_tests.servers import ApiServer, NatsServer
from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity.nats import connect_options
from crowetrade_process.identity.peer import Reason
from crowetrade_process.identity.roles import OPERATOR_ACCOUNT
from crowetrade_process_tests.identity.authority import Authority, identity_name, write_identity
from crowetrade_process_tests.identity.identities import Files, refused

pytestmark = pytest.mark.integration
OURS = Authority()
NATS = identity_name("nats", "crowetrade")


async def test_a_bus_that_the_leader_refuses_is_told_as_soon_as_there_is_another_one(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    stolen, own = OURS.issue_to(NATS), OURS.issue_to(identity_name(OPERATOR_ACCOUNT, namespace))
    server = NatsServer(tmp_path, tls=write_identity(tmp_path / "server", stolen, OURS))
    server.start()
    files = Files(tmp_path / "operator", own, OURS, revocations=OURS.revocations())
    files.identity.nats_server_name = NATS.dns_name

    async def refusals() -> list[str]:
        rows = await told(server.url, **connect_options(files.identity))
        return [reason for action, _, _, reason in rows if action == "IDENTITY_REFUSED"]

    try:
        async with running(quick_settings(api_server, namespace, server.url), identity=files.identity) as operator:

            def works() -> bool:
                return operator.parts is not None and operator.parts.context.bus.connected

            await until("the operator to work", works)
            assert not await refusals()
            before = refused(Reason.REVOKED)
            await files.renew(own, OURS, revocations=OURS.revocations(stolen))
            await until("the bus to be refused", lambda: refused(Reason.REVOKED) > before)
            write_identity(tmp_path / "server", OURS.issue_to(NATS), OURS)
            server.reload()

            async def is_told() -> bool:
                return any(reason.startswith("Revoked: ") for reason in await refusals())

            await until("the refusal to be told", is_told)
            await until("it to be refused again", lambda: refused(Reason.REVOKED) > before + 1)
        assert len(await refusals()) == 2, "one that ceases to lead records what it has counted since"
        assert not files.identity._refusal_listeners, "one that has ceased to lead has no trail any more"
    finally:
        server.stop()
