"""Between the messages of the bus and what the roles hand on (flow.py)."""

from __future__ import annotations

from decimal import Decimal

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents.domain.flow import (
    FeatureVector,
    InstrumentQuotes,
    MarketEvent,
    Origin,
    Signal,
    TargetPosition,
    TargetQuotes,
    Weight,
)
from crowetrade_agents.domain.hold_reasons import HoldReason, not_ready_reason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import Bar, TopOfBook, Trade
from crowetrade_agents.domain.numbers import parse, parse_optional, render
from crowetrade_agents.domain.wire import SIDE_FROM_WIRE, SIDE_TO_WIRE, instrument_id, instrument_to_wire
from crowetrade_agents.errors import InvalidNumber


def market_event_to_wire(event: MarketEvent, published_ns: int) -> pb.MarketData:
    """The message of a quote or trade; `published_ns` is the wall clock."""
    message = pb.MarketData(sequence=event.sequence, event_unix_ns=event.event_ns, published_unix_ns=published_ns)
    match event.event:
        case TopOfBook() as book:
            message.quote.CopyFrom(
                pb.Quote(
                    instrument=instrument_to_wire(book.instrument),
                    bid_price=render(book.bid_price),
                    bid_quantity=_text(book.bid_quantity),
                    ask_price=render(book.ask_price),
                    ask_quantity=_text(book.ask_quantity),
                )
            )
        case Trade() as trade:
            message.trade.CopyFrom(
                pb.Trade(
                    instrument=instrument_to_wire(trade.instrument),
                    price=render(trade.price),
                    quantity=render(trade.quantity),
                    aggressor_side=pb.SIDE_UNSPECIFIED if trade.aggressor is None else SIDE_TO_WIRE[trade.aggressor],
                )
            )
        case Bar() | None:
            raise ValueError("a venue publishes quotes and trades")
    return message


def market_event(message: pb.MarketData) -> MarketEvent:
    """The event of a message; one that is unset, or that lacks a positive number where one belongs, is None."""
    kind = message.WhichOneof("event")
    body = getattr(message, kind) if kind else None
    instrument = InstrumentId("", "") if body is None else instrument_id(body.instrument)
    at_ns = message.event_unix_ns
    event: TopOfBook | Trade | Bar | None = None
    try:
        match body:
            case pb.Quote():
                event = TopOfBook(
                    instrument=instrument,
                    bid_price=_positive(body.bid_price),
                    bid_quantity=parse_optional(body.bid_quantity),
                    ask_price=_positive(body.ask_price),
                    ask_quantity=parse_optional(body.ask_quantity),
                    event_ns=at_ns,
                )
            case pb.Trade():
                event = Trade(
                    instrument=instrument,
                    time_ns=at_ns,
                    price=_positive(body.price),
                    quantity=_positive(body.quantity),
                    aggressor=SIDE_FROM_WIRE.get(body.aggressor_side),
                )
            case pb.Bar():
                event = Bar(
                    instrument=instrument,
                    time_ns=at_ns,
                    open=_positive(body.open),
                    high=_positive(body.high),
                    low=_positive(body.low),
                    close=_positive(body.close),
                    volume=parse_optional(body.volume),
                    interval_ns=body.interval_ns,
                )
    except InvalidNumber:
        event = None
    return MarketEvent(message.sequence, at_ns, instrument, event)


def origin(message: pb.Origin) -> Origin:
    """The event that caused a message."""
    return Origin(instrument_id(message.instrument), message.sequence, message.event_unix_ns)


def origin_to_wire(value: Origin) -> pb.Origin:
    """The message of an origin."""
    return pb.Origin(
        instrument=instrument_to_wire(value.instrument), sequence=value.sequence, event_unix_ns=value.event_ns
    )


def feature_vector_to_wire(vector: FeatureVector) -> pb.FeatureVector:
    """The message of a vector."""
    return pb.FeatureVector(
        origin=origin_to_wire(vector.origin),
        ready=vector.ready,
        values=vector.values,
        mid_price=_text(vector.mid),
        reason=vector.reason,
    )


def feature_vector(message: pb.FeatureVector) -> FeatureVector:
    """The vector of a message; one that is not ready has a reason."""
    reason = "" if message.ready else str(not_ready_reason(message.reason))
    return FeatureVector(origin(message.origin), _price(message.mid_price), reason, dict(message.values))


def signal_to_wire(signal: Signal) -> pb.Signal:
    """The message of a signal."""
    return pb.Signal(
        origin=origin_to_wire(signal.origin),
        ready=signal.ready,
        mu=signal.mu,
        sigma=signal.sigma,
        prob_edge_pos=signal.prob_edge_pos,
        weights=[
            pb.Weight(instrument=instrument_to_wire(one.instrument), weight=one.weight, mid_price=_text(one.mid))
            for one in signal.weights
        ],
        reason=signal.reason,
        mid_price=_text(signal.mid),
        quotes=[
            pb.InstrumentQuotes(
                instrument=instrument_to_wire(one.instrument),
                half_spread=one.half_spread,
                skew=one.skew,
                size=one.size,
                shift=one.shift,
                mid_price=_text(one.mid),
            )
            for one in signal.quotes
        ],
    )


def signal(message: pb.Signal) -> Signal:
    """The signal of a message; one that is not ready has a reason."""
    return Signal(
        origin=origin(message.origin),
        mid=_price(message.mid_price),
        reason="" if message.ready else str(not_ready_reason(message.reason)),
        mu=message.mu,
        sigma=message.sigma,
        prob_edge_pos=message.prob_edge_pos,
        weights=tuple(
            Weight(instrument_id(one.instrument), one.weight, _price(one.mid_price)) for one in message.weights
        ),
        quotes=tuple(
            InstrumentQuotes(
                instrument_id(one.instrument), one.half_spread, one.skew, one.size, one.shift, _price(one.mid_price)
            )
            for one in message.quotes
        ),
    )


def target_to_wire(target: TargetPosition) -> pb.TargetPosition:
    """The message of a target."""
    return pb.TargetPosition(
        origin=origin_to_wire(target.origin),
        targets=[
            pb.Target(instrument=instrument_to_wire(name), quantity=render(quantity))
            for name, quantity in target.targets.items()
        ],
        hold_reason=target.hold_reason,
        quotes=[
            pb.TargetQuotes(
                instrument=instrument_to_wire(name),
                fair_price=render(one.fair),
                half_spread=render(one.half_spread),
                skew=render(one.skew),
                quantity=render(one.quantity),
                max_position=render(one.max_position),
            )
            for name, one in target.quotes.items()
        ],
    )


def target(message: pb.TargetPosition) -> TargetPosition:
    """The target of a message. When one number cannot be read there is no target at all: a pair's other leg is not to
    be taken alone."""
    caused_by = origin(message.origin)
    try:
        targets = {instrument_id(one.instrument): parse(one.quantity) for one in message.targets}
        quotes = {instrument_id(one.instrument): _target_quotes(one) for one in message.quotes}
    except InvalidNumber:
        return TargetPosition(caused_by, hold_reason=HoldReason.INVALID_TARGET)
    return TargetPosition(caused_by, targets, message.hold_reason, quotes)


def _target_quotes(message: pb.TargetQuotes) -> TargetQuotes:
    return TargetQuotes(
        fair=_positive(message.fair_price),
        half_spread=_positive(message.half_spread),
        skew=_unsigned(message.skew),
        quantity=_unsigned(message.quantity),
        max_position=_unsigned(message.max_position),
    )


def _text(value: Decimal | None) -> str:
    return "" if value is None else render(value)


def _positive(text: str) -> Decimal:
    value = parse(text)
    if value <= 0:
        raise InvalidNumber(f"{text!r} is not a positive number")
    return value


def _unsigned(text: str) -> Decimal:
    value = parse(text)
    if value < 0:
        raise InvalidNumber(f"{text!r} is below zero")
    return value


def _price(text: str) -> Decimal | None:
    """A positive price; None for anything else."""
    try:
        return _positive(text)
    except InvalidNumber:
        return None
