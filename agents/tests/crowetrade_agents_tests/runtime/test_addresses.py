"""Where a gateway listens: for order entry and for kill orders by IPv4 and by IPv6, whichever a cluster has."""

from __future__ import annotations

import asyncio
import socket

import grpc
import pytest

from crowetrade.gateway.v1.gateway_pb2_grpc import GatewayServiceStub
from crowetrade_agents.control.grpc_server import ControlServer
from crowetrade_agents.order_entry.port import Request, Response
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.gateway_pod import GrpcEntry
from crowetrade_agents.runtime.kills import Kills
from crowetrade_agents_tests.order_entry import requests
from crowetrade_agents_tests.order_entry.engine_side import PATIENCE_SECONDS, EngineSide, running

pytestmark = [
    pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"]),
    pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="this host has no IPv6"),
]


async def test_a_strategy_logs_on_by_both_families(host: str) -> None:
    entry = GrpcEntry(0)
    async with (
        running(EngineSide()) as engine,
        entry.serve(engine.sessions),
        asyncio.timeout(PATIENCE_SECONDS),
        grpc.aio.insecure_channel(f"{host}:{entry.port}") as channel,
    ):
        call = GatewayServiceStub(channel).OrderSession()
        await call.write(Request(logon=requests.logon("alpha")))
        message = await call.read()
        assert isinstance(message, Response)
        assert message.HasField("logon_accepted")


async def test_the_control_service_answers_by_both_families(host: str) -> None:
    clock = SystemClock()
    control = ControlServer(Kills("desk", "sim", clock), clock, 0)
    await control.start()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS), grpc.aio.insecure_channel(f"{host}:{control.port}") as channel:
            await channel.channel_ready()
    finally:
        await control.stop()
