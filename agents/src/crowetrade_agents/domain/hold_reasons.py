"""Why there is no target: every value of FeatureVector.reason, Signal.reason and TargetPosition.hold_reason."""

from __future__ import annotations

from enum import StrEnum


class HoldReason(StrEnum):
    """CamelCase, as it appears in messages, metrics and logs."""

    # from the feature stage on
    WARMING_UP = "WarmingUp"
    INVALID_MARKET_DATA = "InvalidMarketData"
    # The model has no hook for this kind of event, such as the trades of others: it changes nothing.
    EVENT_NOT_USED = "EventNotUsed"
    # The model failed at this event; MODEL_FAILING after so many in a row that trading stands down.
    MODEL_FAILED = "ModelFailed"
    MODEL_FAILING = "ModelFailing"
    # from the signal stage on
    NO_FORECAST = "NoForecast"
    # of the portfolio stage
    DATA_GAP = "DataGap"
    VOLATILITY_SPIKE = "VolatilitySpike"
    INVALID_SIGNAL = "InvalidSignal"
    UNKNOWN_INSTRUMENT = "UnknownInstrument"
    PROB_EDGE_BELOW_GATE = "ProbEdgeBelowGate"
    SIGMA_ABOVE_GATE = "SigmaAboveGate"
    NO_MID_PRICE = "NoMidPrice"
    STAGE_FAILED = "StageFailed"
    # of the execution role: a quantity of the target cannot be read
    INVALID_TARGET = "InvalidTarget"


STAND_DOWN = frozenset({HoldReason.DATA_GAP, HoldReason.VOLATILITY_SPIKE, HoldReason.MODEL_FAILING})
"""Neither the market nor the model is to be trusted: working orders are canceled, too."""

KEEPS_QUOTES = frozenset({HoldReason.WARMING_UP, HoldReason.EVENT_NOT_USED, HoldReason.NO_FORECAST})
"""The model has nothing new to say, so its quotes rest where they are. For any other reason nobody stands behind them,
and they are canceled."""

NOT_READY = frozenset(
    {
        HoldReason.WARMING_UP,
        HoldReason.INVALID_MARKET_DATA,
        HoldReason.EVENT_NOT_USED,
        HoldReason.MODEL_FAILED,
        HoldReason.MODEL_FAILING,
        HoldReason.NO_FORECAST,
    }
)
"""Reasons that a vector or a signal that is not ready may give."""


def not_ready_reason(text: str) -> HoldReason:
    """The reason of a vector or a signal that is not ready; one without a known reason counts as warming up."""
    try:
        reason = HoldReason(text)
    except ValueError:
        return HoldReason.WARMING_UP
    return reason if reason in NOT_READY else HoldReason.WARMING_UP
