"""The promise of the two topologies: over the same recorded hour they give the same orders.

Real NATS, a real gateway with its journal, matching and risk gate, real gRPC; the replay is in lock step.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from nats.aio.client import Client

from crowetrade import subjects
from crowetrade.bus.v1 import orders_pb2
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.venues.adapters.simulated.recording import QuoteMaking, read
from crowetrade_api.names import Role

from ..conftest import make_bus_resources
from ..gateway.harness import (
    STRATEGY,
    configuration,
    configure,
    running,
    status_when,
    venue_config,
)
from ..messages import EUR_USD
from .config_files import strategy_config
from .topology import COMBINED, SPLIT, strategy

pytestmark = pytest.mark.integration

# 2014-05-01 12:00 to 13:00 UTC: London and New York are both open.
FROM_NS = 1_398_945_600_000_000_000
HOUR_NS = 3_600_000_000_000
Order = tuple[object, ...]


@pytest.fixture(scope="module")
def recorded_hour(shared_data: Path) -> list[TopOfBook]:
    """One hour of quotes of a dealer, as recorded."""
    quotes = read(shared_data / "quotes" / "EUR-USD.oanda.parquet", EUR_USD, QuoteMaking())
    return [quote for quote in quotes if FROM_NS <= quote.event_ns < FROM_NS + HOUR_NS]


async def replay(
    bus: Client, nats_url: str, quotes: list[TopOfBook], processes: Sequence[Sequence[Role]], execution: dict[str, str]
) -> tuple[list[Order], list[Order]]:
    """Orders and executions that the journal holds after the replay."""
    limits = configuration(rule=False)
    limits.rules.add(
        risk_limit="desk",
        strategies=[STRATEGY],
        max_order_quantity="5000000",
        max_position_quantity="1500000",
        enforce=True,
    )
    await configure(bus, limits)
    async with running(bus, quotes, config=venue_config(latency={"orderMillis": 5})) as gateway:
        config = strategy_config(f"127.0.0.1:{gateway.port}", policy={"execution": execution})
        async with strategy(config, nats_url, processes):
            status = await status_when(bus, "s.session == pb.SESSION_STATE_ENDED")
        assert status.market_data_sequence == len(quotes)
        reports = gateway.path.state.reports.values()
        positions = dict(gateway.path.state.positions)
    orders, executions = await journaled(bus)
    sold_and_bought = sum((Decimal(str(fill[-2])) * (1 if fill[1] == 1 else -1) for fill in executions), Decimal(0))
    assert positions[STRATEGY, EUR_USD.symbol].quantity == sold_and_bought
    assert all(report.ord_status != orders_pb2.ORD_STATUS_PENDING_NEW for report in reports)
    return orders, executions


async def journaled(bus: Client) -> tuple[list[Order], list[Order]]:
    """(origin, side, quantity, price, ...) of every order sent, and (number of the order, side, ...) of every fill."""
    jetstream = bus.jetstream()
    last = (await jetstream.stream_info(subjects.ORDER_STREAM)).state.last_seq
    orders: list[Order] = []
    executions: list[Order] = []
    for sequence in range(1, last + 1):
        message = await jetstream.get_msg(subjects.ORDER_STREAM, sequence)
        report = orders_pb2.JournalEvent.FromString(message.data or b"").execution_report
        number = report.cl_ord_id.rpartition("-")[2]
        if report.exec_type == orders_pb2.EXEC_TYPE_PENDING_NEW:
            order = report.order
            kind = (order.ord_type, order.time_in_force, order.symbol, order.strategy)
            origin = (order.origin.venue, order.origin.sequence, order.origin.event_unix_ns)
            orders.append((number, order.side, order.order_quantity, order.price, *kind, *origin))
        if report.exec_type == orders_pb2.EXEC_TYPE_TRADE:
            executions.append((number, report.side, report.fill.last_quantity, report.fill.last_price))
    return orders, executions


@pytest.mark.parametrize(
    "execution",
    [{"timeInForce": "IOC", "limitOffsetBps": "1"}, {"timeInForce": "GTC", "limitOffsetBps": "0"}],
    ids=["orders that trade at once", "orders that rest"],
)
async def test_combined_and_split_give_the_same_orders_over_the_same_recorded_hour(
    bus: Client, nats_url: str, recorded_hour: list[TopOfBook], execution: dict[str, str]
) -> None:
    combined = await replay(bus, nats_url, recorded_hour, COMBINED, execution)
    await bus.jetstream().delete_stream(subjects.ORDER_STREAM)
    await bus.jetstream().delete_key_value(subjects.CONFIG_BUCKET)
    await make_bus_resources(bus)
    split = await replay(bus, nats_url, recorded_hour, SPLIT, execution)
    assert combined == split
    orders, executions = combined
    assert len(orders) > 10
    assert len(executions) > 10
    assert {order[1] for order in orders} == {1, 2}
