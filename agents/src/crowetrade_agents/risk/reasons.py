"""Why a request is refused or an order ended by the gateway (ExecutionReport.reason). A venue adds its own words."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """CamelCase reasons of refusals and cancellations, and of questions to the venue."""

    # the message itself
    INVALID_ORDER = "InvalidOrder"
    INVALID_QUANTITY = "InvalidQuantity"
    INVALID_PRICE = "InvalidPrice"
    INVALID_CL_ORD_ID = "InvalidClOrdID"
    DUPLICATE_CL_ORD_ID = "DuplicateClOrdID"
    ORDER_TOO_LATE = "OrderTooLate"
    UNKNOWN_STRATEGY = "UnknownStrategy"
    UNKNOWN_INSTRUMENT = "UnknownInstrument"
    NOT_SUPPORTED = "NotSupportedByVenue"
    # what the gateway knows or does not know
    NO_CONFIGURATION = "NoConfiguration"
    UNREADABLE_CONFIGURATION = "UnreadableConfiguration"
    SESSION_NOT_ESTABLISHED = "SessionNotEstablished"
    MISSING_MARKET_DATA = "MissingMarketData"
    STALE_MARKET_DATA = "StaleMarketData"
    MISSING_EXCHANGE_RATE = "MissingExchangeRate"
    MISSING_MARK = "MissingMark"
    MISSING_CAPITAL = "MissingCapital"
    SHARE_UNKNOWN = "ShareUnknown"
    # control
    VENUE_HALTED = "VenueHalted"
    STRATEGY_SUSPENDED = "StrategySuspended"
    CLOSE_ONLY = "CloseOnly"
    KILL_SWITCH_ENGAGED = "KillSwitchEngaged"
    LIMIT_BREACHED = "LimitBreached"
    # limits
    NO_LIMIT_IN_FORCE = "NoLimitInForce"
    UNKNOWN_LIMIT = "UnknownLimit"
    UNREADABLE_LIMIT = "UnreadableLimit"
    REQUIRED_LIMIT_MISSING = "RequiredLimitMissing"
    MAX_ORDER_QUANTITY = "MaxOrderQuantity"
    MAX_ORDER_NOTIONAL = "MaxOrderNotional"
    MAX_POSITION_QUANTITY = "MaxPositionQuantity"
    MAX_ORDER_RATE = "MaxOrderRate"
    MAX_OPEN_ORDERS = "MaxOpenOrders"
    MAX_GROSS_NOTIONAL = "MaxGrossNotional"
    MAX_NET_NOTIONAL = "MaxNetNotional"
    MAX_CONCENTRATION = "MaxConcentration"
    PRICE_COLLAR = "PriceCollar"
    DUPLICATE_ORDER = "DuplicateOrder"
    SELF_MATCH = "SelfMatch"
    RESTRICTED_INSTRUMENT = "RestrictedInstrument"
    OUTSIDE_TRADING_HOURS = "OutsideTradingHours"
    MAX_DAILY_LOSS = "MaxDailyLoss"
    MAX_DRAWDOWN = "MaxDrawdown"
    MAX_LOSS_PER_MINUTE = "MaxLossPerMinute"
    MAX_CONSECUTIVE_REJECTS = "MaxConsecutiveRejects"
    REPEATED_EXECUTION = "RepeatedExecution"
    MAX_ORDER_TO_TRADE_RATIO = "MaxOrderToTradeRatio"
    VENUE_RATE_LIMIT = "VenueRateLimit"
    # requests on orders
    UNKNOWN_ORDER = "UnknownOrder"
    ORDER_PENDING = "OrderPending"
    TOO_LATE = "TooLate"
    # why the gateway canceled, or an order ended
    CANCEL_REQUESTED = "CancelRequested"
    TRADING_STOPPED = "TradingStopped"
    LIMIT_CHANGED = "LimitChanged"
    SESSION_LOST = "SessionLost"
    GATEWAY_STOPPING = "GatewayStopping"
    UNKNOWN_AT_VENUE = "UnknownAtVenue"
    ORPHAN = "OrderNotInJournal"
    # why the gateway does not know what became of an order (OrderUnknown.reason)
    NO_ANSWER = "NoAnswer"
    NOT_IN_SNAPSHOT = "NotInSnapshot"
    REQUEST_PENDING = "RequestPending"
    REQUEST_REJECTED = "RequestRejected"
    UNEXPECTED_REPLACE = "UnexpectedReplace"
    # what became of a request or an order
    NOT_SENT = "NotSent"
    NOT_PROCESSED = "NotProcessed"
    NOT_FILLED = "NotFilled"
    # what the journal counts together (RequestsRefused.reason)
    SEVERAL_REASONS = "SeveralReasons"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A reason, a sentence that says what to do, and the RiskLimit that refused (empty when none did)."""

    reason: Reason
    text: str
    risk_limit: str = ""
