"""Pairs each target with the market data that caused it, by MarketData.sequence of one venue.

Market data and targets come by different ways and in any order between them. A target is acted upon when the market
data up to its own sequence is there, and then sees exactly that: so the decision is the same however the roles are
spread over processes. Market data of instruments that the strategy does not trade has no target and passes at once.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from crowetrade_agents.domain.flow import MarketEvent, TargetPosition

# Market data kept while no target comes, before the oldest is given up to the next target as past.
KEPT_EVENTS = 100_000


class Step(NamedTuple):
    """One event to handle: market data since the last step, and the target that belongs to the last of it."""

    sequence: int
    market_data: tuple[MarketEvent, ...]
    target: TargetPosition | None


class Alignment:
    """The pairing for one venue."""

    def __init__(self) -> None:
        self._events: deque[MarketEvent] = deque(maxlen=KEPT_EVENTS)
        self._targets: dict[int, TargetPosition] = {}
        self._latest = 0
        self._handled = 0

    @property
    def latest(self) -> int:
        """Highest sequence of market data seen."""
        return self._latest

    def restart(self, sequence: int) -> None:
        """Everything up to `sequence` is past, whatever came before: the venue's stream begins again after it."""
        self._events.clear()
        self._targets.clear()
        self._latest = self._handled = sequence

    def pass_over(self, sequence: int) -> None:
        """Everything up to `sequence` is past; what came of later events is kept."""
        while self._events and self._events[0].sequence <= sequence:
            self._events.popleft()
        self._targets = {number: target for number, target in self._targets.items() if number > sequence}
        self._latest = max(self._latest, sequence)
        self._handled = max(self._handled, sequence)

    def on_market_data(self, event: MarketEvent, traded: bool) -> list[Step]:
        """Takes one event, a later one than before; `traded` says whether a target will come for it."""
        self._latest = event.sequence
        if traded:
            self._events.append(event)
        elif not self._events and not self._targets:
            self._handled = event.sequence
            return [Step(event.sequence, (), None)]
        return self._due() if self._targets else []

    def on_both(self, event: MarketEvent, target: TargetPosition) -> list[Step]:
        """Takes one event with its target, as they come where all roles are in one process."""
        if self._events or self._targets:
            return [*self.on_market_data(event, traded=True), *self.on_target(target)]
        self._latest = self._handled = event.sequence
        return [Step(event.sequence, (event,), target)]

    def on_target(self, target: TargetPosition) -> list[Step]:
        """Takes one target; one that comes twice or late is dropped."""
        sequence = target.origin.sequence
        if sequence <= self._handled:
            return []
        if not self._targets and sequence == self._latest:
            return [self._step(sequence, target)]
        self._targets[sequence] = target
        return self._due()

    def _due(self) -> list[Step]:
        return [
            self._step(sequence, self._targets.pop(sequence))
            for sequence in sorted(sequence for sequence in self._targets if sequence <= self._latest)
        ]

    def _step(self, sequence: int, target: TargetPosition) -> Step:
        events = []
        while self._events and self._events[0].sequence <= sequence:
            events.append(self._events.popleft())
        self._handled = sequence
        return Step(sequence, tuple(events), target)
