"""Turns what the model expects into the position to hold. Every Signal gives exactly one TargetPosition.

The gate is for entries: while it is closed there is no target and what is held is kept. A forecast with mu 0 wants no
position, so it is no entry and passes.
"""

from __future__ import annotations

import math
from decimal import Decimal

from crowetrade_agents.domain.flow import Signal, TargetPosition
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.portfolio.policy import PortfolioPolicy
from crowetrade_agents.portfolio.sizing import kelly_leverage, target_quantities
from crowetrade_agents.portfolio.stand_down import GapDetector, SpikeDetector


class PortfolioStage:
    """The portfolio role of one strategy."""

    def __init__(self, policy: PortfolioPolicy) -> None:
        self._policy = policy
        self._gaps: dict[InstrumentId, GapDetector] = {}
        self._spikes: dict[InstrumentId, SpikeDetector] = {}

    def on_signal(self, signal: Signal) -> TargetPosition:
        """The target of one signal, or the first reason in the order below that forbids one."""
        reason = self._stand_down(signal) or self._gate(signal)
        if reason is not None:
            return TargetPosition(signal.origin, hold_reason=reason)
        return TargetPosition(signal.origin, self._targets(signal))

    def _stand_down(self, signal: Signal) -> str | None:
        """Feeds the detectors with every event, also while the model warms up; one instrument's gap or spike holds
        all, because the position is one."""
        name = signal.origin.instrument
        if self._policy.data_gap_ns is not None:
            self._gaps.setdefault(name, GapDetector(self._policy.data_gap_ns)).update(signal.origin.event_ns)
        if self._policy.spike_sigma is not None and signal.mid is not None:
            self._spikes.setdefault(name, SpikeDetector(self._policy.spike_sigma)).update(float(signal.mid))
        if any(detector.down for detector in self._gaps.values()):
            return HoldReason.DATA_GAP
        return HoldReason.VOLATILITY_SPIKE if any(detector.down for detector in self._spikes.values()) else None

    def _gate(self, signal: Signal) -> str | None:
        if signal.reason:
            return signal.reason
        numbers = (signal.mu, signal.sigma, signal.prob_edge_pos, *[weight.weight for weight in signal.weights])
        if not all(map(math.isfinite, numbers)) or signal.sigma <= 0 or not signal.weights:
            return HoldReason.INVALID_SIGNAL
        if any(weight.instrument not in self._policy.instruments for weight in signal.weights):
            return HoldReason.UNKNOWN_INSTRUMENT
        if any(weight.mid is None for weight in signal.weights):
            return HoldReason.NO_MID_PRICE
        if signal.mu == 0:
            return None
        # For a short position the edge is that of the other side: Phi(-mu / sigma) = 1 - Phi(mu / sigma).
        if max(signal.prob_edge_pos, 1.0 - signal.prob_edge_pos) < self._policy.min_prob_edge:
            return HoldReason.PROB_EDGE_BELOW_GATE
        if self._policy.max_sigma is not None and signal.sigma > self._policy.max_sigma:
            return HoldReason.SIGMA_ABOVE_GATE
        return None

    def _targets(self, signal: Signal) -> dict[InstrumentId, Decimal]:
        return target_quantities(
            leverage=kelly_leverage(signal.mu, signal.sigma, self._policy.kelly_fraction),
            weights={weight.instrument: weight.weight for weight in signal.weights},
            mids={weight.instrument: weight.mid for weight in signal.weights if weight.mid is not None},
            instruments=self._policy.instruments,
            capital=self._policy.capital,
            max_leverage=self._policy.max_leverage,
        )
