"""Turns what the model expects into the position to hold. Every Signal gives exactly one TargetPosition.

The gate is for entries: while it is closed there is no target and what is held is kept. A forecast with mu 0 wants no
position, so it is no entry and passes.
"""

from __future__ import annotations

import math
from decimal import Decimal

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents.domain.hold_reasons import HoldReason, not_ready_reason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import parse, render
from crowetrade_agents.domain.wire import instrument_id, instrument_to_wire
from crowetrade_agents.errors import InvalidNumber
from crowetrade_agents.portfolio.policy import PortfolioPolicy
from crowetrade_agents.portfolio.sizing import kelly_leverage, target_quantities
from crowetrade_agents.portfolio.stand_down import GapDetector, SpikeDetector


class PortfolioStage:
    """The portfolio role of one strategy."""

    def __init__(self, policy: PortfolioPolicy) -> None:
        self._policy = policy
        self._gaps: dict[InstrumentId, GapDetector] = {}
        self._spikes: dict[InstrumentId, SpikeDetector] = {}

    def on_signal(self, signal: pb.Signal) -> pb.TargetPosition:
        """The target of one signal, or the first reason in the order below that forbids one."""
        reason = self._stand_down(signal) or self._gate(signal)
        if reason is not None:
            return pb.TargetPosition(origin=signal.origin, hold_reason=reason)
        return pb.TargetPosition(origin=signal.origin, targets=self._targets(signal))

    def _stand_down(self, signal: pb.Signal) -> HoldReason | None:
        """Feeds the detectors with every event, also while the model warms up; one instrument's gap or spike holds
        all, because the position is one."""
        name = instrument_id(signal.origin.instrument)
        if self._policy.data_gap_ns is not None:
            self._gaps.setdefault(name, GapDetector(self._policy.data_gap_ns)).update(signal.origin.event_unix_ns)
        mid = _positive(signal.mid_price)
        if self._policy.spike_sigma is not None and mid is not None:
            self._spikes.setdefault(name, SpikeDetector(self._policy.spike_sigma)).update(float(mid))
        if any(detector.down for detector in self._gaps.values()):
            return HoldReason.DATA_GAP
        return HoldReason.VOLATILITY_SPIKE if any(detector.down for detector in self._spikes.values()) else None

    def _gate(self, signal: pb.Signal) -> HoldReason | None:
        if not signal.ready:
            return not_ready_reason(signal.reason)
        numbers = (signal.mu, signal.sigma, signal.prob_edge_pos, *(weight.weight for weight in signal.weights))
        if not all(math.isfinite(number) for number in numbers) or signal.sigma <= 0 or not signal.weights:
            return HoldReason.INVALID_SIGNAL
        if any(instrument_id(weight.instrument) not in self._policy.instruments for weight in signal.weights):
            return HoldReason.UNKNOWN_INSTRUMENT
        if any(_positive(weight.mid_price) is None for weight in signal.weights):
            return HoldReason.NO_MID_PRICE
        if signal.mu == 0:
            return None
        # For a short position the edge is that of the other side: Phi(-mu / sigma) = 1 - Phi(mu / sigma).
        if max(signal.prob_edge_pos, 1.0 - signal.prob_edge_pos) < self._policy.min_prob_edge:
            return HoldReason.PROB_EDGE_BELOW_GATE
        if self._policy.max_sigma is not None and signal.sigma > self._policy.max_sigma:
            return HoldReason.SIGMA_ABOVE_GATE
        return None

    def _targets(self, signal: pb.Signal) -> list[pb.Target]:
        quantities = target_quantities(
            leverage=kelly_leverage(signal.mu, signal.sigma, self._policy.kelly_fraction),
            weights={instrument_id(weight.instrument): weight.weight for weight in signal.weights},
            mids={instrument_id(weight.instrument): Decimal(weight.mid_price) for weight in signal.weights},
            instruments=self._policy.instruments,
            capital=self._policy.capital,
            max_leverage=self._policy.max_leverage,
        )
        return [
            pb.Target(instrument=instrument_to_wire(name), quantity=render(quantity))
            for name, quantity in quantities.items()
        ]


def _positive(text: str) -> Decimal | None:
    try:
        value = parse(text)
    except InvalidNumber:
        return None
    return value if value > 0 else None
