"""Turns what the model expects into the position to hold. Every Signal gives exactly one TargetPosition.

The gate is for entries: while it is closed there is no target and what is held is kept. A forecast with mu 0 wants no
position, so it is no entry and passes. Quotes (policy.execution.style Quote) pass no gate but the stand-down rules.
"""

from __future__ import annotations

import math
from decimal import Decimal

from crowetrade_agents.domain.flow import Signal, TargetPosition, TargetQuotes
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.portfolio.policy import PortfolioPolicy
from crowetrade_agents.portfolio.quoting import share_of_leverage, target_quotes
from crowetrade_agents.portfolio.sizing import kelly_leverage, target_quantities
from crowetrade_agents.portfolio.stand_down import GapDetector, SpikeDetector


class PortfolioStage:
    """The portfolio role of one strategy."""

    def __init__(self, policy: PortfolioPolicy) -> None:
        self._policy = policy
        gap_ns, sigmas, names = policy.data_gap_ns, policy.spike_sigma, policy.instruments
        self._gaps = {} if gap_ns is None else {name: GapDetector(gap_ns) for name in names}
        self._spikes = {} if sigmas is None else {name: SpikeDetector(sigmas) for name in names}

    def on_signal(self, signal: Signal) -> TargetPosition:
        """The target of one signal, or the first reason in the order below that forbids one."""
        quoting = self._policy.quoting
        reason = self._stand_down(signal) or (self._quotes_gate(signal) if quoting else self._gate(signal))
        if reason is not None:
            return TargetPosition(signal.origin, hold_reason=reason)
        if quoting:
            return TargetPosition(signal.origin, quotes=self._quotes(signal))
        return TargetPosition(signal.origin, self._targets(signal))

    def _stand_down(self, signal: Signal) -> str | None:
        """Feeds the detectors with every event, also while the model warms up; one instrument's gap or spike holds
        all, because the position is one."""
        name = signal.origin.instrument
        if name in self._gaps:
            self._gaps[name].update(signal.origin.event_ns)
        if name in self._spikes and signal.mid is not None:
            self._spikes[name].update(float(signal.mid))
        for gap in self._gaps.values():
            if gap.down:
                return HoldReason.DATA_GAP
        for spike in self._spikes.values():
            if spike.down:
                return HoldReason.VOLATILITY_SPIKE
        return None

    def _gate(self, signal: Signal) -> str | None:
        if signal.reason:
            return signal.reason
        # A sum is finite when all of its terms are, or their like overflows: such a signal is none either.
        numbers = signal.mu + signal.sigma + signal.prob_edge_pos
        known = True
        for name, weight, mid in signal.weights:
            numbers += weight
            if name not in self._policy.instruments:
                return HoldReason.UNKNOWN_INSTRUMENT
            known = known and mid is not None
        if not math.isfinite(numbers) or signal.sigma <= 0 or not signal.weights:
            return HoldReason.INVALID_SIGNAL
        if not known:
            return HoldReason.NO_MID_PRICE
        if signal.mu == 0:
            return None
        # For a short position the edge is that of the other side: Phi(-mu / sigma) = 1 - Phi(mu / sigma).
        if max(signal.prob_edge_pos, 1.0 - signal.prob_edge_pos) < self._policy.min_prob_edge:
            return HoldReason.PROB_EDGE_BELOW_GATE
        if self._policy.max_sigma is not None and signal.sigma > self._policy.max_sigma:
            return HoldReason.SIGMA_ABOVE_GATE
        return None

    def _quotes_gate(self, signal: Signal) -> str | None:
        if signal.reason:
            return signal.reason
        if signal.weights:
            return HoldReason.INVALID_SIGNAL
        for quotes in signal.quotes:
            if quotes.instrument not in self._policy.instruments:
                return HoldReason.UNKNOWN_INSTRUMENT
            inside = 0 < quotes.half_spread < 1 and 0 <= quotes.skew <= 1 and 0 < quotes.size <= 1
            if not inside or not -1 < quotes.shift < 1:
                return HoldReason.INVALID_SIGNAL
            if quotes.mid is None:
                return HoldReason.NO_MID_PRICE
        return None

    def _quotes(self, signal: Signal) -> dict[InstrumentId, TargetQuotes]:
        policy = self._policy
        money = share_of_leverage(policy.capital, policy.max_leverage, len(policy.instruments))
        return {
            quotes.instrument: target_quotes(quotes, quotes.mid, policy.instruments[quotes.instrument], money)
            for quotes in signal.quotes
            if quotes.mid is not None
        }

    def _targets(self, signal: Signal) -> dict[InstrumentId, Decimal]:
        return target_quantities(
            leverage=kelly_leverage(signal.mu, signal.sigma, self._policy.kelly_fraction),
            weights={weight.instrument: weight.weight for weight in signal.weights},
            mids={weight.instrument: weight.mid for weight in signal.weights if weight.mid is not None},
            instruments=self._policy.instruments,
            capital=self._policy.capital,
            max_leverage=self._policy.max_leverage,
        )
