"""Reads market data messages into the values that models see."""

from __future__ import annotations

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import sdk
from crowetrade_agents.domain.numbers import parse_optional
from crowetrade_agents.domain.wire import SIDE_FROM_WIRE, instrument_id, positive, top_of_book


def read_event(message: pb.MarketData) -> sdk.Quote | sdk.Trade | sdk.Bar:
    """The event of a message; ValueError when it is unset or a number is missing, malformed or not positive."""
    match message.WhichOneof("event"):
        case "quote":
            return _quote(message)
        case "trade":
            return _trade(message.trade, message.event_unix_ns)
        case "bar":
            return _bar(message.bar, message.event_unix_ns)
        case _:
            raise ValueError(f"market data {message.sequence} carries no event")


def _quote(message: pb.MarketData) -> sdk.Quote:
    top = top_of_book(message)
    return sdk.Quote(
        instrument=top.instrument,
        time_ns=top.event_ns,
        bid=top.bid_price,
        ask=top.ask_price,
        bid_quantity=top.bid_quantity,
        ask_quantity=top.ask_quantity,
    )


def _trade(trade: pb.Trade, time_ns: int) -> sdk.Trade:
    return sdk.Trade(
        instrument=instrument_id(trade.instrument),
        time_ns=time_ns,
        price=positive("price", trade.price),
        quantity=positive("quantity", trade.quantity),
        aggressor=SIDE_FROM_WIRE.get(trade.aggressor_side),
    )


def _bar(bar: pb.Bar, time_ns: int) -> sdk.Bar:
    return sdk.Bar(
        instrument=instrument_id(bar.instrument),
        time_ns=time_ns,
        open=positive("open", bar.open),
        high=positive("high", bar.high),
        low=positive("low", bar.low),
        close=positive("close", bar.close),
        volume=parse_optional(bar.volume),
        interval_ns=bar.interval_ns,
    )
