"""What the gateway that serves knows of the market: the quotes and signs of life that it was given, with its own time.

They come with the batch in which it handled them, and are taken in between the events of that batch as they were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from tests.simulation.limits import SECOND

SILENCE_NS = 5 * SECOND
"""A feed that is silent for longer says nothing any more."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A quote, or without a symbol a sign of life; `after` is how many events of the batch were recorded before it."""

    after: int
    at_ns: int
    symbol: str = ""
    bid: Decimal = Decimal(0)
    ask: Decimal = Decimal(0)

    @property
    def is_usable(self) -> bool:
        """Positive and not crossed."""
        return 0 < self.bid <= self.ask

    @property
    def mid(self) -> Decimal:
        """Between bid and offer."""
        return (self.bid + self.ask) / 2


class Market:
    """Last quotes by symbol. `changes` and `changed` are called before and after something is taken in."""

    def __init__(self, multipliers: Mapping[str, Decimal]) -> None:
        self.multipliers = multipliers
        self.quotes: dict[str, Seen] = {}
        self.alive_ns = 0
        self.changes: Callable[[int], None] = lambda at_ns: None
        self.changed: Callable[[Seen], None] = lambda seen: None
        self._coming: deque[Seen] = deque()

    def handled(self, seen: Iterable[Seen], events: int) -> None:
        """The gateway has handled a batch, whose record holds so many events."""
        self._coming = deque(seen)
        if not events:
            self.advance(0)

    def advance(self, place: int) -> None:
        """Takes in what came before this event of the batch."""
        while self._coming and self._coming[0].after <= place:
            seen = self._coming.popleft()
            self.changes(seen.at_ns)
            self.alive_ns = seen.at_ns
            if seen.symbol:
                self.quotes[seen.symbol] = seen
            self.changed(seen)

    def forget(self) -> None:
        """Another process serves: it has seen nothing yet."""
        self.quotes.clear()
        self._coming.clear()
        self.alive_ns = 0

    def usable(self, symbol: str) -> Seen | None:
        """The last quote of the symbol, of whatever age."""
        seen = self.quotes.get(symbol)
        return seen if seen is not None and seen.is_usable else None

    def multiplier(self, symbol: str) -> Decimal:
        """Of the contract."""
        return self.multipliers.get(symbol, Decimal(1))

    def worth(self, symbol: str) -> Decimal | None:
        """One unit by the mid; None when nobody knows."""
        seen = self.usable(symbol)
        return None if seen is None else seen.mid * self.multiplier(symbol)

    def is_silent(self, at_ns: int) -> bool:
        """Whether the feed is."""
        return abs(at_ns - self.alive_ns) > SILENCE_NS

    def is_fresh(self, symbol: str, at_ns: int, most: Decimal | int) -> bool:
        """Whether there is a usable quote of at most so many seconds, and none of the future."""
        seen = self.usable(symbol)
        return seen is not None and 0 <= at_ns - seen.at_ns <= most * SECOND
