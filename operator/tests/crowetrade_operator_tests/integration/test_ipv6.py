"""The operator and the bus in a cluster of IPv6: addresses are written in brackets, in a kubeconfig and in NATS_URL."""

from __future__ import annotations

import contextlib
import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.resources import NAMESPACES, STRATEGIES
from crowetrade_operator_tests.charts import CHART
from crowetrade_operator_tests.servers import ApiServer, NatsServer, Wire, nats_client

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this host has no IPv6"),
]


@contextlib.asynccontextmanager
async def _at_ipv6(port: int) -> AsyncIterator[int]:
    """The port of ::1 that leads to a server of 127.0.0.1."""
    line = Wire(port, "::1")
    await line.mend()
    try:
        yield line.port
    finally:
        await line.cut()


async def test_the_operators_client_reads(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    config = json.loads(api_server.kubeconfig.read_text())
    async with _at_ipv6(int(api_server.url.rpartition(":")[2])) as port:
        server = {"server": f"https://[::1]:{port}", "insecure-skip-tls-verify": True}
        config["clusters"][0]["cluster"] = server
        path = tmp_path / "kubeconfig"
        path.write_text(json.dumps(config))
        client = await connect(str(path))
        try:
            assert (await client.get(NAMESPACES, "", namespace))["metadata"]["name"] == namespace
            assert (await client.list(STRATEGIES, namespace))[0] == []
        finally:
            await client.close()


async def test_a_server_that_is_given_no_address_is_reached_by_ipv6(tmp_path: Path) -> None:
    """As the chart's, whose configuration names ports alone."""
    server = NatsServer(tmp_path, jetstream=False, address="")
    server.start()
    try:
        async with nats_client(f"nats://[::1]:{server.port}") as client:
            await client.flush()
    finally:
        server.stop()
    for file in (CHART / "files" / "nats").iterdir():
        assert not re.search(r"^\s*(host|listen|net)\s*[:=]", file.read_text(), re.MULTILINE), file.name


async def test_a_client_of_the_bus_is_answered(nats_server: NatsServer) -> None:
    async with _at_ipv6(nats_server.port) as port, nats_client(f"nats://[::1]:{port}") as client:
        heard = await client.subscribe("a")
        await client.publish("a", b"x")
        assert (await heard.next_msg(timeout=10)).data == b"x"
