"""Why no target is given: every value of TargetPosition.hold_reason."""

from __future__ import annotations

from enum import StrEnum


class HoldReason(StrEnum):
    """CamelCase, as it appears in messages, metrics and logs."""

    WARMING_UP = "WarmingUp"
    DATA_GAP = "DataGap"
    VOLATILITY_SPIKE = "VolatilitySpike"
    INVALID_SIGNAL = "InvalidSignal"
    UNKNOWN_INSTRUMENT = "UnknownInstrument"
    PROB_EDGE_BELOW_GATE = "ProbEdgeBelowGate"
    SIGMA_ABOVE_GATE = "SigmaAboveGate"
    NO_MID_PRICE = "NoMidPrice"
    STAGE_FAILED = "StageFailed"


# The market itself is not to be trusted: working orders are cancelled, too.
STAND_DOWN = frozenset({HoldReason.DATA_GAP, HoldReason.VOLATILITY_SPIKE})
