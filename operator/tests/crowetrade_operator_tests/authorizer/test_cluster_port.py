"""`nats.replicas: 3`: who is taken as a server of the cluster, at the port where servers meet.

A server is past the authorizer and in every account, so a certificate of the installation is not enough.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from crowetrade_operator_tests.secured_bus import OPERATOR, identity_of_gateway, identity_of_strategy
from crowetrade_operator_tests.secured_cluster import SERVERS, SecuredCluster
from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity.name import IdentityName
from crowetrade_process_tests.identity.authority import TRUST_DOMAIN

pytestmark = pytest.mark.integration
FALSE_SERVER = SERVERS
"""Its number: no name leads to its address, so it alone opens connections."""


@pytest.mark.parametrize(
    "name",
    [
        identity_of_strategy("desk", "trend"),
        identity_of_gateway("desk", "sim"),
        OPERATOR,
        IdentityName(TRUST_DOMAIN, "desk", "nats"),
    ],
    ids=lambda name: f"{name.service_account} of {name.namespace}",
)
async def test_whose_certificate_is_not_that_of_nats_is_no_server_of_the_cluster(
    name: IdentityName, tmp_path: Path
) -> None:
    cluster = SecuredCluster(tmp_path)
    try:
        cluster.prepare()
        cluster.start_server(0)
        await until("the port of servers to open", lambda: "Listening for route connections" in cluster.log_of(0), 60)
        cluster.start_server(FALSE_SERVER, name)
        # What the real one says: the other may lose the answer when it writes to a connection that is closed.
        await until("it to be refused", lambda: "Authentication Failure" in cluster.log_of(0), 60)
        cluster.start_server(1)
        await until("a real one to be taken", lambda: cluster.routes_of(0) == {"nats-1"}, 60)
    finally:
        cluster.stop()
