"""The recorded order book (l2) of one instrument, with what was taken of it. Pure.

Prices and quantities are whole numbers here, counts of the Scale's smallest steps. A side is a Ladder, whose keys rise
from its best price to its worst: offers have their price as key, bids their price negated.

An order takes the levels from the best one to its limit, each at its own price. What the account took of a level, and
what others traded at it, is gone until the recording shows the level again. The account's orders change nothing that is
recorded: the next update of a level shows it as if they had not been there.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal

from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT
from crowetrade_agents.domain.orders import OrderTerms, Side
from crowetrade_agents.venues.adapters.simulated.tape import Tape


@dataclass(frozen=True, slots=True)
class Scale:
    """Decimal places of the whole numbers: enough for what is recorded and for each order on the instrument's grid."""

    price_places: int
    size_places: int

    def steps(self, quantity: Decimal) -> int:
        """A quantity in steps, rounded down."""
        return int(CONTEXT.scaleb(quantity, self.size_places))

    def quantity(self, steps: int) -> Decimal:
        """Steps as a quantity."""
        return CONTEXT.scaleb(Decimal(steps), -self.size_places)

    def key(self, side: Side, price: Decimal) -> int | Decimal:
        """The key of a price among the orders of a side; no whole number for a price off the grid."""
        scaled = CONTEXT.scaleb(CONTEXT.multiply(price, -side.sign), self.price_places)
        return int(scaled) if scaled == int(scaled) else scaled

    def price(self, key: int) -> Decimal:
        """The price of a key."""
        return CONTEXT.scaleb(Decimal(abs(key)), -self.price_places)


@dataclass(frozen=True, slots=True)
class DepthUpdate:
    """The new total sizes of some levels, 0 for a level that is gone; `resets`: of all levels there are."""

    scale: Scale
    resets: bool
    keys: array[int]
    sizes: array[int]


class Ladder:
    """One side of the book. `taken` and `traded` are what the account took of a level and what others traded at it
    since the level was shown last."""

    __slots__ = ("keys", "sizes", "taken", "traded")

    def __init__(self) -> None:
        self.keys: list[int] = []
        self.sizes: dict[int, int] = {}
        self.taken: dict[int, int] = {}
        self.traded: dict[int, int] = {}

    def show(self, key: int, size: int) -> None:
        """The recording shows a level."""
        known = key in self.sizes
        if size:
            self.sizes[key] = size
            if not known:
                insort(self.keys, key)
        elif known:
            del self.sizes[key]
            del self.keys[bisect_left(self.keys, key)]
        if self.taken:
            self.taken.pop(key, None)
        if self.traded:
            self.traded.pop(key, None)

    def standing(self, key: int) -> int:
        """What others still have at a level: what it showed without what was traded since."""
        return max(self.sizes.get(key, 0) - self.traded.get(key, 0), 0)

    def left(self, key: int) -> int:
        """What the account can still take of a level."""
        return max(self.standing(key) - self.taken.get(key, 0), 0)

    def within(self, limit: int | Decimal | None) -> Iterator[int]:
        """Levels up to a limit, best first; all of them without a limit."""
        for key in self.keys:
            if limit is not None and key > limit:
                return
            yield key

    def queue(self, key: int) -> int | None:
        """What an order that joins a level has ahead of it; None beyond the deepest level that is shown, where the
        recording may hide some."""
        return self.standing(key) if self.keys and key <= self.keys[-1] else None


class Depth:
    """The book. `book` is its top as it was recorded, and when."""

    def __init__(self, scale: Scale) -> None:
        self.scale = scale
        self.book: TopOfBook
        self._resting = {Side.BUY: Ladder(), Side.SELL: Ladder()}

    def show(self, book: TopOfBook, update: DepthUpdate) -> None:
        """The recording moves on to a new top of book."""
        self.book = book
        self.apply(update)

    def apply(self, update: DepthUpdate) -> None:
        """Takes in what the recording shows."""
        if update.resets:
            self._resting = {Side.BUY: Ladder(), Side.SELL: Ladder()}
        bids, offers = self._resting[Side.BUY], self._resting[Side.SELL]
        for key, size in zip(update.keys, update.sizes, strict=True):
            (bids if key < 0 else offers).show(key, size)

    def resting(self, side: Side) -> Ladder:
        """The ladder that orders of a side rest on."""
        return self._resting[side]

    def place(self, terms: OrderTerms) -> tuple[Ladder, int]:
        """The ladder and the key at which a limit order rests."""
        assert terms.price is not None, "a market order does not rest"
        key = self.scale.key(terms.side, terms.price)
        assert isinstance(key, int), "the scale has the places of the instrument's grid"
        return self._resting[terms.side], key

    def facing(self, side: Side) -> Ladder:
        """The ladder that orders of a side trade with."""
        return self._resting[side.opposite]

    def trade(self, aggressor: Side, price: Decimal, quantity: Decimal) -> None:
        """Others traded: so much of the level that the aggressor met is gone."""
        ladder, key = self.facing(aggressor), self.scale.key(aggressor.opposite, price)
        if isinstance(key, int) and key in ladder.sizes:
            ladder.traded[key] = ladder.traded.get(key, 0) + self.scale.steps(quantity)

    def aggressor(self, price: Decimal) -> Side:
        """Who probably began a trade, where the recording does not say: a buyer from the middle of the book upwards,
        else a seller (the quote rule of Lee and Ready, 1991; they decide the middle by earlier trades)."""
        return Side.BUY if price >= self.book.mid else Side.SELL

    def touch(self, side: Side) -> Decimal:
        """Best price at which an order of this side would trade."""
        return self.book.ask_price if side is Side.BUY else self.book.bid_price

    def would_trade(self, side: Side, limit: Decimal | None) -> bool:
        """Whether the book, as it was recorded, would trade with such an order at once."""
        return next(self.facing(side).within(self._limit(side, limit)), None) is not None

    def available(self, side: Side, limit: Decimal | None) -> Decimal:
        """Quantity that an order of this side and limit can take now, over all levels."""
        ladder = self.facing(side)
        return self.scale.quantity(sum(ladder.left(key) for key in ladder.within(self._limit(side, limit))))

    def take(self, side: Side, limit: Decimal | None, quantity: Decimal) -> list[tuple[Decimal, Decimal]]:
        """Takes up to a quantity, best price first; the price and the quantity of each level that gave something."""
        ladder, wanted = self.facing(side), self.scale.steps(quantity)
        taken: list[tuple[Decimal, Decimal]] = []
        for key in ladder.within(self._limit(side, limit)):
            if not wanted:
                break
            here = min(ladder.left(key), wanted)
            if here:
                ladder.taken[key] = ladder.taken.get(key, 0) + here
                wanted -= here
                taken.append((self.scale.price(key), self.scale.quantity(here)))
        return taken

    def _limit(self, side: Side, limit: Decimal | None) -> int | Decimal | None:
        return None if limit is None else self.scale.key(side.opposite, limit)


@dataclass(slots=True)
class DepthTape(Tape):
    """Quotes that are the top of a recorded book, with the levels that changed in each row."""

    scale: Scale = field(default=Scale(0, 0))
    _ends: array[int] = field(default_factory=lambda: array("q"))
    _resets: bytearray = field(default_factory=bytearray)
    _keys: array[int] = field(default_factory=lambda: array("q"))
    _sizes: array[int] = field(default_factory=lambda: array("q"))

    def append_levels(self, keys: array[int], sizes: array[int]) -> None:
        """Levels of the next row, or some of them."""
        self._keys.extend(keys)
        self._sizes.extend(sizes)

    def end_row(self, *, resets: bool) -> None:
        """The row has all its levels; its top of book is appended apart."""
        self._ends.append(len(self._keys))
        self._resets.append(resets)

    def update(self, row: int) -> DepthUpdate:
        """What changed in a row."""
        start, end = self._ends[row - 1] if row else 0, self._ends[row]
        return DepthUpdate(self.scale, bool(self._resets[row]), self._keys[start:end], self._sizes[start:end])

    def whole(self, row: int) -> DepthUpdate:
        """All levels as they stand after a row."""
        first = self._resets.rindex(True, 0, row + 1)
        start, end = self._ends[first - 1] if first else 0, self._ends[row]
        last = dict(zip(self._keys[start:end], self._sizes[start:end], strict=True))
        standing = {key: size for key, size in last.items() if size}
        return DepthUpdate(self.scale, True, array("q", standing), array("q", standing.values()))
