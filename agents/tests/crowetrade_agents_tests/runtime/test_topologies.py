"""The promise of the two topologies: over the same recorded hour they give the same orders.

Real NATS, real role processes but for the process itself; the gateway is the one of the tests, in lock step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_api.names import Role

from ..messages import EUR, VENUE, wire
from ..roles.fake_gateway import FakeGateway
from .config_files import strategy_config
from .topology import COMBINED, SPLIT, market, sessions, strategy

pytestmark = [pytest.mark.integration, pytest.mark.no_cover]

# 2014-05-01 12:00 to 13:00 UTC: London and New York are both open.
FROM_NS = 1_398_945_600_000_000_000
HOUR_NS = 3_600_000_000_000
MAX_EVENTS = 2500
# Every fourth order is refused, so what is done then is part of the promise.
REFUSED_EVERY = 4
# Below what is wanted (1.4 million), where orders are sliced.
SLICED_TO = 1_200_000
WAIT_SECONDS = 120
NZD = InstrumentId(VENUE, "NZD-USD")
FILES = {EUR: "EUR-USD.oanda.parquet", NZD: "NZD-USD.fxcm.parquet"}
Order = tuple[object, ...]


def recorded_hour(file: Path, name: InstrumentId) -> list[market_data_pb2.MarketData]:
    """One hour of quotes of a dealer, as recorded; the sequence is still to be given."""
    columns = pyarrow.parquet.read_table(
        file, filters=[("ts_ns", ">=", FROM_NS), ("ts_ns", "<", FROM_NS + HOUR_NS)]
    ).to_pylist()
    return [
        market_data_pb2.MarketData(
            event_unix_ns=row["ts_ns"],
            quote=market_data_pb2.Quote(
                instrument=wire(name),
                bid_price=row["bid_px"],
                bid_quantity=row["bid_sz"] or "",
                ask_price=row["ask_px"],
                ask_quantity=row["ask_sz"] or "",
            ),
        )
        for row in columns
    ]


def in_time_order(*recordings: list[market_data_pb2.MarketData]) -> list[market_data_pb2.MarketData]:
    """One stream of a venue."""
    events = sorted((event for recording in recordings for event in recording), key=lambda event: event.event_unix_ns)
    for sequence, event in enumerate(events, 1):
        event.sequence = sequence
    return events


def refuse_some(order: orders_pb2.NewOrder) -> tuple[str, str, str] | None:
    return None if int(number(order.cl_ord_id)) % REFUSED_EVERY else ("NoLimitInForce", "", "no RiskLimit binds it")


def refuse_large(order: orders_pb2.NewOrder) -> tuple[str, str, str] | None:
    too_large = Decimal(order.order_quantity) > SLICED_TO
    return ("MaxOrderQuantity", "desk", f"more than {SLICED_TO}") if too_large else None


async def replay(
    nats_url: str,
    quotes: Sequence[market_data_pb2.MarketData],
    processes: Sequence[Sequence[Role]],
    spec: dict[str, Any],
    instruments: tuple[InstrumentId, ...],
) -> tuple[list[Order], list[Order]]:
    """(number, side, quantity, price, origin, ...) of each order; (number, status, executed, ...) of each report."""
    gateway = FakeGateway(VENUE)
    sliced = "sliceToLimits" in spec["policy"]["execution"]
    gateway.refuse = refuse_large if sliced else refuse_some
    config = strategy_config(instruments=instruments, **spec)
    async with (
        market(nats_url, [gateway], {VENUE: quotes}) as playing,
        strategy(config, nats_url, processes, sessions(gateway)),
    ):
        await asyncio.wait_for(playing, WAIT_SECONDS)
    assert gateway.published == len(quotes)
    orders: list[Order] = [
        (
            number(order.cl_ord_id), order.instrument.symbol, order.side, order.order_quantity, order.price,
            order.ord_type, order.time_in_force, order.post_only, order.origin.sequence, order.origin.event_unix_ns,
        )
        for order in gateway.orders.values()
    ]  # fmt: skip
    reports: list[Order] = [
        (number(report.cl_ord_id), report.ord_status, report.cum_quantity, report.fill.last_price, report.reason)
        for report in gateway.history
    ]
    return orders, reports


def number(cl_ord_id: str) -> str:
    return cl_ord_id.rpartition("-")[2]


EMA = {"model": {"name": "ema-crossover", "parameters": {"fast": 3, "slow": 8}}}
PAIR = {
    "model": {"name": "pair-reversion", "parameters": {"window": 60, "entryZ": "1.5"}},
    "policy": {"execution": {"timeInForce": "IOC", "limitOffsetBps": "1"}},
}
# So near to the mid price that a market which jumps trades with it.
MAKER = {
    "model": {
        "name": "market-maker",
        "parameters": {"riskAversion": 100, "fillDecayBps": "0.05", "volatilityWindow": 20, "size": "0.2"},
    },
    "policy": {"execution": {"style": "Quote", "timeInForce": "GTC", "requoteTicks": 2}},
}


def executed_as(execution: dict[str, Any]) -> dict[str, Any]:
    return {**EMA, "policy": {"execution": execution}}


@pytest.mark.parametrize(
    ("spec", "instruments"),
    [
        (executed_as({"timeInForce": "IOC", "limitOffsetBps": "1"}), (EUR,)),
        (executed_as({"timeInForce": "GTC", "limitOffsetBps": "0"}), (EUR,)),
        (executed_as({"timeInForce": "IOC", "limitOffsetBps": "1", "sliceToLimits": True}), (EUR,)),
        (PAIR, (EUR, NZD)),
        (MAKER, (NZD,)),
    ],
    ids=["orders that trade at once", "orders that rest", "sliced orders", "a pair", "quotes"],
)
async def test_combined_and_split_give_the_same_orders_over_the_same_recorded_hour(
    nats_url: str, shared_data: Path, spec: dict[str, Any], instruments: tuple[InstrumentId, ...]
) -> None:
    folder = shared_data / "quotes"
    quotes = in_time_order(*(recorded_hour(folder / FILES[name], name) for name in instruments))[:MAX_EVENTS]
    combined = await replay(nats_url, quotes, COMBINED, spec, instruments)
    split = await replay(nats_url, quotes, SPLIT, spec, instruments)
    assert combined == split
    orders, reports = combined
    assert len(orders) > 10
    assert any(report[4] in ("NoLimitInForce", "MaxOrderQuantity") for report in reports)
    assert sum(bool(report[3]) for report in reports) > 10
    assert {order[2] for order in orders} == {1, 2}
    assert {order[1] for order in orders} == {name.symbol for name in instruments}
