"""`nats.replicas: 3`: a server whose settings differ is found and named, whichever one the operator is connected to."""

from __future__ import annotations

from pathlib import Path

import pytest
from nats.errors import Error as NatsError

from crowetrade_api.reasons import Reason
from crowetrade_operator.bus.facts import gather
from crowetrade_operator.bus.requirements import Fault, faults
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator_tests.secured_bus import OPERATOR
from crowetrade_operator_tests.secured_cluster import SERVERS, SecuredCluster
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
WRONG = 2
PATIENCE_SECONDS = 90.0
"""JetStream works on each server when they have a leader among them."""


async def found_at(nats: SecuredCluster, number: int) -> tuple[Fault, ...]:
    nats.entry = number
    async with nats.connected(OPERATOR) as operator:
        return faults(await gather(operator, identified=True))


async def test_one_of_three_servers_that_does_not_sync_is_named(
    tmp_path: Path, api_server: ApiServer, cluster: Cluster
) -> None:
    nats = SecuredCluster(tmp_path)
    try:
        nats.prepare()
        text = (tmp_path / "nats.conf").read_text()
        assert "sync_interval: always" in text
        (tmp_path / "wrong.conf").write_text(text.replace("sync_interval: always", 'sync_interval: "2m"'))
        for number in range(SERVERS):
            nats.start_server(number, config="wrong.conf" if number == WRONG else "nats.conf")
        for number in range(SERVERS):
            nats.wait_ready(number)
        nats.start_authorizer(api_server.kubeconfig, NATS_URL=nats.url_of(0)).wait_ready()

        async def found(number: int, *starts: str) -> None:
            """Waits for what is found at a server: without a leader among them they do not answer everything."""

            async def check() -> bool:
                try:
                    said[:] = await found_at(nats, number)
                except (NatsError, OSError):
                    return False
                return len(said) == len(starts) and all(
                    fault.reason is Reason.BUS_WRITES_NOT_SYNCED and fault.text.startswith(start)
                    for fault, start in zip(said, starts, strict=True)
                )

            said: list[Fault] = []
            try:
                await until(f"what is found at server {number}", check, PATIENCE_SECONDS)
            except AssertionError as error:
                raise AssertionError(f"{error}; it is {said}") from None

        for number in range(SERVERS):
            await found(number, f"NATS server nats-{WRONG} acknowledges a write before it is on disk")
        nats.kill(WRONG)
        await found(0)  # of a server that is away nothing is known
        nats.start_server(WRONG)
        nats.wait_ready(WRONG)
        await found(WRONG)
    finally:
        for replica in nats.replicas:
            replica.process.stop()
        nats.stop()
