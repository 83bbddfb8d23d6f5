"""The gateway as a process runs it: real NATS, real gRPC, real journal, the simulated venue."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import nats
import pytest
from nats.aio.client import Client
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from crowetrade import subjects
from crowetrade.bus.v1 import orders_pb2, status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.errors import JournalError, Overtaken
from crowetrade_agents.venues.adapters.simulated.adapter import SimulatedVenue
from crowetrade_agents.venues.port import Resume, VenueSnapshot
from crowetrade_agents_tests.conftest import NatsServer, make_bus_resources
from crowetrade_agents_tests.gateway.harness import (
    NAMESPACE,
    STRATEGY,
    VENUE,
    account,
    configuration,
    configure,
    limit,
    running,
    session,
    start,
    status_when,
    venue_file,
    write_quotes,
)
from crowetrade_api.gateway_config import revision_of

pytestmark = pytest.mark.integration

PACED = venue_file(replay={"speed": "1000"})


@pytest.fixture
async def bus(nats_url: str) -> Client:
    client = await nats.connect(nats_url)
    await make_bus_resources(client, (NAMESPACE, VENUE))
    return client


async def test_an_order_is_filled_and_its_reports_say_how(bus: Client, tmp_path: Path) -> None:
    write_quotes(tmp_path, 1000)
    await configure(bus, configuration())
    async with running(bus, tmp_path) as gateway, session(gateway) as (trader, accepted):
        assert accepted.lock_step
        await status_when(bus, lambda status: status.market_data_sequence > 0)

        reports = await trader.order("3000")

        assert [orders_pb2.ExecType.Name(report.exec_type) for report in reports] == [
            "EXEC_TYPE_PENDING_NEW",
            "EXEC_TYPE_NEW",
            "EXEC_TYPE_TRADE",
        ]
        assert reports[-1].cum_quantity == "3000"
        status = await status_when(bus, lambda status: account(status).filled_total == 1)
        (position,) = account(status).positions
        assert (position.quantity, position.average_price) == ("3000", "1.1001")


async def test_a_successor_goes_on_where_the_journal_ends(bus: Client, tmp_path: Path) -> None:
    write_quotes(tmp_path, 1000)
    await configure(bus, configuration())
    async with running(bus, tmp_path) as gateway, session(gateway) as (trader, _):
        await status_when(bus, lambda status: status.market_data_sequence > 0)
        await trader.order("3000")
    async with running(bus, tmp_path, pod="pod-1") as gateway, session(gateway) as (_, accepted):
        assert [(item.instrument.symbol, item.quantity) for item in accepted.positions] == [("EUR-USD", "3000")]
        status = await status_when(bus, lambda status: status.pod == "pod-1")
        assert status.fencing_token == 2


async def test_an_overtaken_gateway_stops_although_nobody_sends_it_an_order(bus: Client, tmp_path: Path) -> None:
    """Finding G15."""
    write_quotes(tmp_path, 1000)
    await configure(bus, configuration())
    first = await start(bus, tmp_path)
    async with running(bus, tmp_path, pod="pod-1"):
        with pytest.raises(Overtaken):
            await asyncio.wait_for(first.task, 20)


async def test_flatten_closes_and_says_so(bus: Client, tmp_path: Path) -> None:
    write_quotes(tmp_path, 100_000)
    await configure(bus, configuration())
    async with running(bus, tmp_path, file=PACED) as gateway:
        async with session(gateway) as (trader, _):
            await status_when(bus, lambda status: status.market_data_sequence > 0)
            await trader.order("3000")
        await configure(bus, configuration(state=config_pb2.TRADING_STATE_FLATTEN))

        status = await status_when(bus, lambda status: account(status).stopped)

    assert [position.quantity for position in account(status).positions] == ["0"]


async def test_without_a_bus_the_gateway_stops(nats_server: NatsServer, bus: Client, tmp_path: Path) -> None:
    write_quotes(tmp_path, 1000)
    await configure(bus, configuration())
    gateway = await start(bus, tmp_path)
    nats_server.process.kill()

    with pytest.raises(JournalError):
        await asyncio.wait_for(gateway.task, 30)


async def test_what_the_bus_does_not_take_ends_nothing_and_without_a_journal_orders_are_cancelled(
    nats_server: NatsServer, bus: Client, tmp_path: Path
) -> None:
    """The buffer of a client without a server fills with quotes and statuses before the journal is known to be gone."""

    def unpublished() -> float:
        kinds = ("status", "market_data")
        labels = [{"message": kind, "reason": "BufferFull"} for kind in kinds]
        return sum(REGISTRY.get_sample_value("crowetrade_gateway_unpublished_total", item) or 0.0 for item in labels)

    write_quotes(tmp_path, 100_000)
    await configure(bus, configuration())
    small = await nats.connect(nats_server.url, pending_size=2000)
    gateway = await start(small, tmp_path, file=PACED)
    before = unpublished()
    async with session(gateway) as (trader, _):
        await status_when(bus, lambda status: status.market_data_sequence > 0)
        await trader.order("1000", price="1.0", time_in_force=orders_pb2.TIME_IN_FORCE_GTC)
        with capture_logs() as logs:
            nats_server.process.kill()
            with pytest.raises(JournalError):
                await asyncio.wait_for(gateway.task, 30)

    assert [line["orders"] for line in logs if line["event"] == "orders_cancelled_without_journal"] == [1]
    assert unpublished() > before


async def test_a_helper_that_fails_cancels_what_is_open(
    bus: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_quotes(tmp_path, 100_000)
    fails = asyncio.Event()

    async def configurations(*_: object) -> AsyncIterator[Configuration]:
        yield decode(configuration().SerializeToString())
        await fails.wait()
        raise RuntimeError("nobody expects this")

    monkeypatch.setattr("crowetrade_agents.runtime.gateway_pod.configurations", configurations)
    gateway = await start(bus, tmp_path, file=PACED)
    async with session(gateway) as (trader, _):
        await status_when(bus, lambda status: status.market_data_sequence > 0)
        await trader.order("1000", price="1.0", time_in_force=orders_pb2.TIME_IN_FORCE_GTC)
        with capture_logs() as logs:
            fails.set()
            with pytest.raises(RuntimeError, match="nobody expects this"):
                await asyncio.wait_for(gateway.task, 30)

    assert [line["orders"] for line in logs if line["event"] == "orders_cancelled_without_journal"] == [1]


async def test_an_unbound_strategy_is_not_served(bus: Client, tmp_path: Path) -> None:
    write_quotes(tmp_path, 10)
    await configure(bus, configuration())
    async with running(bus, tmp_path) as gateway:
        with pytest.raises((grpc.aio.AioRpcError, AssertionError)):
            async with session(gateway, "stranger"):
                pass
        async with session(gateway, STRATEGY) as (_, accepted):
            assert accepted.lock_step


async def test_the_venue_is_not_asked_before_it_is_known_who_may_trade(
    bus: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the venue first, nothing may trade yet, and every restart would cancel whatever rests at the venue."""
    write_quotes(tmp_path, 10)
    arrived, order = asyncio.Event(), []

    async def configurations(*_: object) -> AsyncIterator[Configuration]:
        await arrived.wait()
        order.append("configuration")
        yield decode(configuration().SerializeToString())
        await asyncio.Event().wait()

    async def connect(venue: SimulatedVenue, resume: Resume) -> VenueSnapshot:
        order.append("venue")
        return await log_on(venue, resume)

    log_on = SimulatedVenue.connect
    monkeypatch.setattr(SimulatedVenue, "connect", connect)
    monkeypatch.setattr("crowetrade_agents.runtime.gateway_pod.configurations", configurations)
    starting = asyncio.create_task(start(bus, tmp_path))
    # The second status comes as soon as the venue is logged on, or a second after the first.
    statuses = itertools.count(1)
    await status_when(bus, lambda status: next(statuses) == 2)
    arrived.set()
    gateway = await starting
    await status_when(bus, lambda status: status.session == status_pb2.SESSION_STATE_LOGGED_ON)
    await gateway.leave()

    assert order == ["configuration", "venue"]


def shared(*gateways: str) -> config_pb2.GatewayConfig:
    """A configuration whose one rule counts the open orders of these gateways together: four."""
    message = configuration()
    del message.rules[:]
    message.rules.add(
        risk_limit="fleet",
        uid="u2",
        strategies=[STRATEGY],
        aggregate_total=True,
        enforce=True,
        gateways=gateways,
        limits=[limit("maxOrderQuantity", "10000"), limit("maxOpenOrders", "4")],
    )
    message.revision = revision_of(message)
    return message


def _share(status: status_pb2.GatewayStatus) -> list[tuple[str, str, str]]:
    return [(use.share, use.total, use.allowed) for use in status.utilisation if use.limit == "maxOpenOrders"]


async def test_a_gateway_has_its_share_before_it_serves_and_reports_it(bus: Client, tmp_path: Path) -> None:
    write_quotes(tmp_path, 1000)
    await configure(bus, shared(VENUE, "other"))
    async with running(bus, tmp_path) as gateway, session(gateway) as (trader, _):
        assert [report.reason for report in await trader.order("3000")][-1] == ""
        await status_when(bus, lambda status: _share(status) == [("0.5", "4", "2")])
        # The other one is gone, and what it would have had is there for this one.
        await configure(bus, shared(VENUE))
        await status_when(bus, lambda status: _share(status) == [("1", "4", "4")])


async def test_without_the_ledger_a_gateway_serves_and_says_that_it_has_no_share(bus: Client, tmp_path: Path) -> None:
    write_quotes(tmp_path, 1000)
    await bus.jetstream().delete_key_value(subjects.ALLOWANCE_BUCKET)
    await configure(bus, shared(VENUE, "other"))
    async with running(bus, tmp_path) as gateway, session(gateway) as (trader, _):
        (refused,) = await trader.order("3000")
        assert (refused.reason, refused.risk_limit) == ("ShareUnknown", "fleet")
        assert "split over 2 gateways: wait until it has one" in refused.text
        await bus.jetstream().create_key_value(bucket=subjects.ALLOWANCE_BUCKET)
        await status_when(bus, lambda status: _share(status) == [("0.5", "4", "2")])
        assert [report.reason for report in await trader.order("3000")][-1] == ""
