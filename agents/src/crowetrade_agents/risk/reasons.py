"""Why an order is refused: the one list of reasons (ExecutionReport.reason)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """CamelCase reasons of refusals and cancellations."""

    NO_CONFIGURATION = "NoConfiguration"
    UNKNOWN_STRATEGY = "UnknownStrategy"
    DUPLICATE_CL_ORD_ID = "DuplicateClOrdID"
    UNKNOWN_INSTRUMENT = "UnknownInstrument"
    INVALID_ORDER = "InvalidOrder"
    INVALID_QUANTITY = "InvalidQuantity"
    INVALID_PRICE = "InvalidPrice"
    VENUE_HALTED = "VenueHalted"
    STRATEGY_SUSPENDED = "StrategySuspended"
    SESSION_NOT_ESTABLISHED = "SessionNotEstablished"
    MISSING_MARKET_DATA = "MissingMarketData"
    NO_LIMIT_IN_FORCE = "NoLimitInForce"
    UNREADABLE_LIMIT = "UnreadableLimit"
    MAX_ORDER_QUANTITY = "MaxOrderQuantity"
    MAX_ORDER_NOTIONAL = "MaxOrderNotional"
    MAX_POSITION_QUANTITY = "MaxPositionQuantity"
    MAX_ORDER_RATE = "MaxOrderRate"
    VENUE_RATE_LIMIT = "VenueRateLimit"
    UNKNOWN_ORDER = "UnknownOrder"
    CANCEL_REQUESTED = "CancelRequested"
    TRADING_STOPPED = "TradingStopped"
    LOST_AT_RESTART = "LostAtRestart"
    SESSION_LOST = "SessionLost"
    GATEWAY_STOPPING = "GatewayStopping"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason and a sentence that says what to do."""

    reason: Reason
    text: str
