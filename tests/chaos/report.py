"""What a run has seen, for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass
class Report:
    """What a run has seen. `points`: rounds in which a kill left requests at that point; `requests`: how many."""

    rounds: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    points: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    totals: Counter[str] = field(default_factory=Counter)
    start_seconds: list[float] = field(default_factory=list)
    round_seconds: list[float] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"rounds {self.rounds}; kills after: {dict(self.kills)}"
        yield f"rounds by the point that the kill hit: {dict(self.points)}"
        yield f"requests left at that point: {dict(self.requests)}"
        yield f"totals: {dict(self.totals)}"
        for name, values in (("start", self.start_seconds), ("round", self.round_seconds)):
            if values:
                ordered = sorted(values)
                middle, last = ordered[len(ordered) // 2], ordered[-1]
                yield f"{name}: median {middle:.2f} s, 90 % {ordered[len(ordered) * 9 // 10]:.2f} s, max {last:.2f} s"
