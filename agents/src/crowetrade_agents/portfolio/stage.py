"""Turns what the model expects into the position to hold. Every Signal gives exactly one TargetPosition.

The gate is for entries: while it is closed there is no target and what is held is kept.
"""

from __future__ import annotations

import math
from decimal import Decimal

from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents.domain.numbers import parse, render
from crowetrade_agents.errors import InvalidNumber
from crowetrade_agents.portfolio.policy import PortfolioPolicy
from crowetrade_agents.portfolio.reasons import HoldReason
from crowetrade_agents.portfolio.sizing import kelly_leverage, target_quantities
from crowetrade_agents.portfolio.stand_down import GapDetector, SpikeDetector


class PortfolioStage:
    """The portfolio role of one strategy."""

    def __init__(self, policy: PortfolioPolicy) -> None:
        self._policy = policy
        self._gaps: dict[str, GapDetector] = {}
        self._spikes: dict[str, SpikeDetector] = {}

    def on_signal(self, signal: pb.Signal) -> pb.TargetPosition:
        """The target of one signal, or the first reason in the order below that forbids one."""
        stand_down = self._stand_down(signal)
        reason = stand_down or self._gate(signal)
        if reason is not None:
            return pb.TargetPosition(origin=signal.origin, hold_reason=reason)
        return pb.TargetPosition(origin=signal.origin, targets=self._targets(signal))

    def _stand_down(self, signal: pb.Signal) -> HoldReason | None:
        """Feeds the detectors with every event, also while the model warms up."""
        symbol = signal.origin.symbol
        gap = spike = False
        if self._policy.data_gap_ns is not None:
            detector = self._gaps.setdefault(symbol, GapDetector(self._policy.data_gap_ns))
            gap = detector.update(signal.origin.event_unix_ns)
        mid = _positive(signal.mid_prices.get(symbol, ""))
        if self._policy.spike_sigma is not None and mid is not None:
            spikes = self._spikes.setdefault(symbol, SpikeDetector(self._policy.spike_sigma))
            spike = spikes.update(float(mid))
        if gap:
            return HoldReason.DATA_GAP
        return HoldReason.VOLATILITY_SPIKE if spike else None

    def _gate(self, signal: pb.Signal) -> HoldReason | None:
        if not signal.ready:
            return HoldReason.WARMING_UP
        numbers = (signal.mu, signal.sigma, signal.prob_edge_pos, *signal.weights.values())
        if not all(math.isfinite(number) for number in numbers) or signal.sigma <= 0 or not signal.weights:
            return HoldReason.INVALID_SIGNAL
        if any(symbol not in self._policy.instruments for symbol in signal.weights):
            return HoldReason.UNKNOWN_INSTRUMENT
        # For a short position the edge is that of the other side: Phi(-mu / sigma) = 1 - Phi(mu / sigma).
        if max(signal.prob_edge_pos, 1.0 - signal.prob_edge_pos) < self._policy.min_prob_edge:
            return HoldReason.PROB_EDGE_BELOW_GATE
        if self._policy.max_sigma is not None and signal.sigma > self._policy.max_sigma:
            return HoldReason.SIGMA_ABOVE_GATE
        if any(_positive(signal.mid_prices.get(symbol, "")) is None for symbol in signal.weights):
            return HoldReason.NO_MID_PRICE
        return None

    def _targets(self, signal: pb.Signal) -> list[pb.Target]:
        instruments = self._policy.instruments
        quantities = target_quantities(
            leverage=kelly_leverage(signal.mu, signal.sigma, self._policy.kelly_fraction),
            weights=dict(signal.weights),
            mids={symbol: Decimal(signal.mid_prices[symbol]) for symbol in signal.weights},
            lots={symbol: instruments[symbol].instrument.lot_size for symbol in signal.weights},
            capital=self._policy.capital,
            max_leverage=self._policy.max_leverage,
        )
        return [
            pb.Target(symbol=symbol, venue=instruments[symbol].venue, quantity=render(quantity))
            for symbol, quantity in quantities.items()
        ]


def _positive(text: str) -> Decimal | None:
    try:
        value = parse(text)
    except InvalidNumber:
        return None
    return value if value > 0 else None
