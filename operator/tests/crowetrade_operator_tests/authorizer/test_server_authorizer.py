"""What a server of NATS says of whether an authorizer is there, which the process beside it goes by: also where the
authorizer is connected to another server."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from crowetrade_operator.authorizer.keys import USER_SEED
from crowetrade_operator.authorizer.open_connections import INBOX_PREFIX
from crowetrade_operator.authorizer.service import QUEUE
from crowetrade_operator_tests.secured_bus import AUTHORIZER
from crowetrade_operator_tests.secured_cluster import SERVERS, SecuredCluster
from crowetrade_operator_tests.waiting import until
from crowetrade_process.identity.server_authorizer import SUBJECT, has_authorizer

pytestmark = pytest.mark.integration


async def none_has(cluster: SecuredCluster) -> bool:
    return not any([await has_authorizer(cluster.monitor_of(number)) for number in range(SERVERS)])


async def test_each_server_knows_of_an_authorizer_at_whichever_one(tmp_path: Path) -> None:
    cluster = SecuredCluster(tmp_path)
    try:
        cluster.start()
        assert await none_has(cluster)
        seed = cluster.seeds[USER_SEED]
        async with cluster.connected(AUTHORIZER, nkeys_seed_str=seed, inbox_prefix=INBOX_PREFIX) as authorizer:
            await authorizer.subscribe(SUBJECT, queue=QUEUE)
            for number in range(SERVERS):
                await until(f"server {number} to know", partial(has_authorizer, cluster.monitor_of(number)))
        await until("all to know that it is gone", partial(none_has, cluster))
    finally:
        cluster.stop()
    assert not await has_authorizer(cluster.monitor_of(0)), "a server that says nothing"
