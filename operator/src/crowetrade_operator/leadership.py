"""What whoever writes must know of the leadership under which it writes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Leadership(Protocol):
    """The right to write, which lasts for as long as nobody else can have it."""

    @property
    def epoch(self) -> int:
        """Rises with each leader. What is written to the bus carries it, and what has a higher one is not replaced."""
        ...

    def seconds_left(self) -> float:
        """Within which a write that begins now must be over; 0 when none may begin."""
        ...

    async def raise_epoch(self, above: int) -> None:
        """Makes the epoch higher than `above`, which only the leader can. Raises OperatorError when that fails."""
        ...


@dataclass(slots=True)
class Alone:
    """Of a process that no other one competes with."""

    epoch: int = 1

    def seconds_left(self) -> float:
        """For ever."""
        return float("inf")

    async def raise_epoch(self, above: int) -> None:
        """Nobody else has a say."""
        self.epoch = above + 1
