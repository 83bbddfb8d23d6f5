"""Reads market data messages into the values that models see."""

from __future__ import annotations

from decimal import Decimal

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import sdk
from crowetrade_agents.domain.numbers import parse, parse_optional

_SIDES = {pb.SIDE_BUY: sdk.Side.BUY, pb.SIDE_SELL: sdk.Side.SELL}


def read_event(message: pb.MarketData) -> sdk.Quote | sdk.Trade | sdk.Bar:
    """The event of a message; ValueError when it is unset or a number is missing, not finite or not positive."""
    match message.WhichOneof("event"):
        case "quote":
            return _quote(message.quote, message.event_unix_ns)
        case "trade":
            return _trade(message.trade, message.event_unix_ns)
        case "bar":
            return _bar(message.bar, message.event_unix_ns)
        case _:
            raise ValueError(f"market data {message.sequence} carries no event")


def event_symbol(message: pb.MarketData) -> tuple[str, str]:
    """(venue, symbol) of a message's event; empty strings when the event is unset."""
    match message.WhichOneof("event"):
        case "quote":
            return message.quote.venue, message.quote.symbol
        case "trade":
            return message.trade.venue, message.trade.symbol
        case "bar":
            return message.bar.venue, message.bar.symbol
        case _:
            return "", ""


def _quote(quote: pb.Quote, time_ns: int) -> sdk.Quote:
    return sdk.Quote(
        symbol=quote.symbol,
        venue=quote.venue,
        time_ns=time_ns,
        bid=_positive("bid_price", quote.bid_price),
        ask=_positive("ask_price", quote.ask_price),
        bid_quantity=parse_optional(quote.bid_quantity),
        ask_quantity=parse_optional(quote.ask_quantity),
    )


def _trade(trade: pb.Trade, time_ns: int) -> sdk.Trade:
    return sdk.Trade(
        symbol=trade.symbol,
        venue=trade.venue,
        time_ns=time_ns,
        price=_positive("price", trade.price),
        quantity=_positive("quantity", trade.quantity),
        aggressor=_SIDES.get(trade.aggressor_side),
    )


def _bar(bar: pb.Bar, time_ns: int) -> sdk.Bar:
    return sdk.Bar(
        symbol=bar.symbol,
        venue=bar.venue,
        time_ns=time_ns,
        open=_positive("open", bar.open),
        high=_positive("high", bar.high),
        low=_positive("low", bar.low),
        close=_positive("close", bar.close),
        volume=parse_optional(bar.volume),
        interval_ns=bar.interval_ns,
    )


def _positive(name: str, text: str) -> Decimal:
    value = parse(text)
    if value <= 0:
        raise ValueError(f"{name} is {text!r}, not a positive number")
    return value
