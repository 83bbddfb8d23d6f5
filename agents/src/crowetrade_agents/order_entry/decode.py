"""What a strategy sent becomes a command, or a refusal that hurts nobody else. Pure; raises for no message.

Everything on the wire is hostile: its size, each text, each number and each enum value is bounded here, so that nothing
behind this module meets a value that it cannot hold, journal or answer.

A ClOrdID is STRATEGY-RUN-NUMBER. RUN is the start of the strategy's process in nanoseconds, base 36, 10 to 13
characters; the gateway's own requests have a shorter one, so no strategy can use theirs. Nor can it use another
strategy's: RUN and NUMBER hold no dash, so the name before them is unambiguous.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeVar

from crowetrade.bus.v1 import instrument_pb2, market_data_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain import numbers
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrderTerms, OrdType, TimeInForce
from crowetrade_agents.domain.wire import ORD_TYPE_FROM_WIRE, SIDE_FROM_WIRE, TIME_IN_FORCE_FROM_WIRE
from crowetrade_agents.errors import InvalidNumber
from crowetrade_agents.order_entry.commands import (
    CancelOrder,
    Malformed,
    NewOrder,
    ReplaceOrder,
    StrategyCommand,
)
from crowetrade_agents.risk.reasons import Reason, Refusal

MAX_REQUEST_BYTES = 4096
"""Of one serialized request; an order with the longest legal values takes about 500."""
MAX_VALIDITY_NS = 24 * 3600 * 1_000_000_000
"""How far ahead of now an order's deadline (valid_until_unix_ns) may lie."""
MAX_EXPIRE_NS = 7_258_118_400_000_000_000
"""Start of the year 2200: the latest expiry of a GTD order, venue time."""

_RUN_AND_NUMBER = re.compile(r"-[0-9a-z]{10,13}-[1-9][0-9]{0,11}", re.ASCII)
_SYMBOL = re.compile(r"[A-Z0-9][A-Z0-9._/-]{0,31}", re.ASCII)
_SHOWN_CHARACTERS = 40

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Progress:
    """The strategy has handled this market data event."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The session is alive."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A message that is no request and so has no answer: the session cannot go on. `text` is a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a message is held against: the session's strategy, the name of this VenueConnection, MarketData.sequence
    last published, and the wall clock in nanoseconds."""

    strategy: str
    venue: str
    published: int
    now_ns: int


class _Refused(Exception):
    """Carries a refusal from where it is found to the message that it answers; never leaves this module."""

    def __init__(self, reason: Reason, text: str) -> None:
        self.refusal = Refusal(reason, text)


def decode(
    request: gateway_pb2.OrderSessionRequest, bounds: Bounds
) -> StrategyCommand | Progress | Heartbeat | Violation:
    """The command or session message that a request is; Malformed names the reason and a sentence. Never raises."""
    match request.WhichOneof("message"):
        case "new_order":
            return _new_order(request, bounds)
        case "cancel":
            return _cancel(request, bounds)
        case "replace":
            return _replace(request, bounds)
        case "progress":
            return _progress(request.progress.sequence, bounds)
        case "heartbeat":
            return Heartbeat()
        case "logon":
            return Violation("Logon is sent once, first; open a new stream to log on again")
        case _:
            return Violation("the message is of no kind that this gateway knows")


def owns(strategy: str, cl_ord_id: str) -> bool:
    """Whether the text is a ClOrdID that this strategy may use."""
    return cl_ord_id.startswith(strategy) and _RUN_AND_NUMBER.fullmatch(cl_ord_id, len(strategy)) is not None


def _new_order(request: gateway_pb2.OrderSessionRequest, bounds: Bounds) -> NewOrder | Malformed:
    message = request.new_order
    try:
        _check_envelope(request, message.strategy, message.cl_ord_id, bounds)
        ord_type = _enum(ORD_TYPE_FROM_WIRE, message.ord_type, "ord_type")
        time_in_force = _enum(TIME_IN_FORCE_FROM_WIRE, message.time_in_force, "time_in_force")
        if message.post_only and (ord_type is OrdType.MARKET or time_in_force.is_immediate):
            raise _Refused(
                Reason.INVALID_ORDER, "post_only is for LIMIT orders that may rest: not with MARKET, IOC or FOK"
            )
        return NewOrder(
            OrderTerms(
                cl_ord_id=message.cl_ord_id,
                strategy=bounds.strategy,
                instrument=_instrument(message.instrument, bounds.venue),
                side=_enum(SIDE_FROM_WIRE, message.side, "side"),
                quantity=_quantity(message.order_quantity),
                ord_type=ord_type,
                price=_price_of(ord_type, message.price),
                time_in_force=time_in_force,
                expire_ns=_expire(message.expire_unix_ns, time_in_force),
                post_only=message.post_only,
            ),
            valid_until_ns=_valid_until(message.valid_until_unix_ns, bounds.now_ns),
            origin_sequence=_origin(message.origin, bounds),
            received_ns=bounds.now_ns,
        )
    except _Refused as refused:
        return _malformed("NewOrder", message.cl_ord_id, "", bounds.strategy, refused)


def _cancel(request: gateway_pb2.OrderSessionRequest, bounds: Bounds) -> CancelOrder | Malformed:
    message = request.cancel
    try:
        _check_envelope(request, message.strategy, message.cl_ord_id, bounds)
        _check_own(message.orig_cl_ord_id, bounds.strategy, "orig_cl_ord_id")
        return CancelOrder(bounds.strategy, message.cl_ord_id, message.orig_cl_ord_id)
    except _Refused as refused:
        return _malformed("Cancel", message.cl_ord_id, message.orig_cl_ord_id, bounds.strategy, refused)


def _replace(request: gateway_pb2.OrderSessionRequest, bounds: Bounds) -> ReplaceOrder | Malformed:
    message = request.replace
    try:
        _check_envelope(request, message.strategy, message.cl_ord_id, bounds)
        _check_own(message.orig_cl_ord_id, bounds.strategy, "orig_cl_ord_id")
        return ReplaceOrder(
            strategy=bounds.strategy,
            cl_ord_id=message.cl_ord_id,
            orig_cl_ord_id=message.orig_cl_ord_id,
            quantity=_quantity(message.order_quantity),
            price=_price(message.price),
            valid_until_ns=_valid_until(message.valid_until_unix_ns, bounds.now_ns),
            origin_sequence=_origin(message.origin, bounds),
            received_ns=bounds.now_ns,
        )
    except _Refused as refused:
        return _malformed("CancelReplace", message.cl_ord_id, message.orig_cl_ord_id, bounds.strategy, refused)


def _progress(sequence: int, bounds: Bounds) -> Progress | Violation:
    if sequence > bounds.published:
        return Violation(f"progress {sequence} is beyond the last published event, {bounds.published}")
    return Progress(sequence)


def _malformed(answers: str, cl_ord_id: str, orig_cl_ord_id: str, strategy: str, refused: _Refused) -> Malformed:
    return Malformed(
        strategy,
        answers,
        cl_ord_id if owns(strategy, cl_ord_id) else "",
        orig_cl_ord_id if owns(strategy, orig_cl_ord_id) else "",
        refused.refusal,
    )


def _check_envelope(request: gateway_pb2.OrderSessionRequest, strategy: str, cl_ord_id: str, bounds: Bounds) -> None:
    _check_own(cl_ord_id, bounds.strategy, "cl_ord_id")
    if (size := request.ByteSize()) > MAX_REQUEST_BYTES:
        raise _Refused(Reason.INVALID_ORDER, f"a request of {size} bytes is larger than {MAX_REQUEST_BYTES}")
    if strategy != bounds.strategy:
        text = f"strategy {_shown(strategy)} is not the session's, {bounds.strategy!r}"
        raise _Refused(Reason.UNKNOWN_STRATEGY, text)


def _check_own(cl_ord_id: str, strategy: str, name: str) -> None:
    if not owns(strategy, cl_ord_id):
        form = f"{strategy}-RUN-NUMBER with RUN of 10 to 13 characters 0-9a-z and NUMBER from 1 to 999999999999"
        raise _Refused(Reason.INVALID_CL_ORD_ID, f"{name} {_shown(cl_ord_id)} must have the form {form}")


def _instrument(instrument: instrument_pb2.InstrumentId, venue: str) -> InstrumentId:
    if instrument.venue != venue:
        text = f"instrument.venue {_shown(instrument.venue)} is not this venue, {venue!r}"
        raise _Refused(Reason.UNKNOWN_INSTRUMENT, text)
    if not _SYMBOL.fullmatch(instrument.symbol):
        rule = "capitals, digits and . _ / - only, at most 32 characters"
        raise _Refused(
            Reason.UNKNOWN_INSTRUMENT, f"{_shown(instrument.symbol)} is not a symbol such as EUR-USD: {rule}"
        )
    return InstrumentId(venue, instrument.symbol)


def _enum(known: Mapping[Any, T], value: int, name: str) -> T:
    if (member := known.get(value)) is None:
        raise _Refused(Reason.INVALID_ORDER, f"{name} {value} is not a value that this gateway knows")
    return member


def _quantity(text: str) -> Decimal:
    quantity = _decimal(text, Reason.INVALID_QUANTITY, "order_quantity")
    if quantity <= 0:
        raise _Refused(Reason.INVALID_QUANTITY, f"order_quantity {text} must be above 0")
    return quantity


def _price(text: str) -> Decimal:
    price = _decimal(text, Reason.INVALID_PRICE, "price")
    if price <= 0:
        raise _Refused(Reason.INVALID_PRICE, f"price {text} must be above 0")
    return price


def _price_of(ord_type: OrdType, text: str) -> Decimal | None:
    if ord_type is OrdType.LIMIT:
        return _price(text)
    if text:
        raise _Refused(Reason.INVALID_PRICE, "a MARKET order has no price: leave it empty")
    return None


def _decimal(text: str, reason: Reason, name: str) -> Decimal:
    try:
        return numbers.parse(text)
    except InvalidNumber:
        rule = "a decimal number of at most 20 digits before the point and 18 after it"
        raise _Refused(reason, f"{name} {_shown(text)} is not {rule}") from None


def _expire(expire_ns: int, time_in_force: TimeInForce) -> int | None:
    if time_in_force is not TimeInForce.GTD:
        if expire_ns:
            raise _Refused(Reason.INVALID_ORDER, "expire_unix_ns is for time in force GTD alone: leave it 0")
        return None
    if not 0 < expire_ns <= MAX_EXPIRE_NS:
        raise _Refused(
            Reason.INVALID_ORDER, f"expire_unix_ns {expire_ns} must lie between 1970 and 2200 for a GTD order"
        )
    return expire_ns


def _valid_until(valid_until_ns: int, now_ns: int) -> int:
    if valid_until_ns <= 0:
        raise _Refused(Reason.INVALID_ORDER, "valid_until_unix_ns is required: nanoseconds since the Unix epoch")
    if valid_until_ns > now_ns + MAX_VALIDITY_NS:
        raise _Refused(Reason.INVALID_ORDER, "valid_until_unix_ns lies more than 24 hours ahead of the gateway's clock")
    return valid_until_ns


def _origin(origin: market_data_pb2.Origin, bounds: Bounds) -> int:
    """An event of another venue says nothing about this venue's stream."""
    if origin.instrument.venue not in ("", bounds.venue):
        return 0
    if origin.sequence > bounds.published:
        text = f"origin.sequence {origin.sequence} is beyond the last published event, {bounds.published}"
        raise _Refused(Reason.INVALID_ORDER, text)
    return origin.sequence


def _shown(text: str) -> str:
    """Quoted, ASCII, and short, whatever was sent."""
    return ascii(text) if len(text) <= _SHOWN_CHARACTERS else ascii(text[:_SHOWN_CHARACTERS]) + "..."
