"""What a recorded market allows, kept in plain dicts: the other side of property tests of the exchange.

It uses nothing of the exchange's books. Each execution must be one that the market showed or traded: a taker's at a
level, up to what was shown; a maker's at its own limit, when the other side reaches it (up to what that shows) or, with
a queue model, when others trade there or through it (up to what they traded).
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import OrderTerms, Side
from crowetrade_agents.domain.position import Position
from crowetrade_agents.venues.adapters.simulated.depth import DepthUpdate
from crowetrade_agents.venues.port import Executed, TradePrinted

from ...values import D

MAKER_BPS, TAKER_BPS = D(1), D(3)
PENNY = D("1e-15")


class PlainAccount:
    """An account's money by plain sums, beside the position that a gateway keeps."""

    def __init__(self) -> None:
        self.cash = self.held = D(0)
        self.position = Position()

    def executed(self, event: Executed, bps: Decimal) -> None:
        """An execution, whose fee is this share of what was traded."""
        assert event.fee == (event.quantity * event.price * bps / 10_000).quantize(D("1e-8"))
        signed = event.quantity * event.side.sign
        self.held += signed
        self.cash -= signed * event.price + event.fee
        self.position = self.position.filled(signed, event.price, event.fee)

    def check(self, mark: Decimal) -> None:
        """Equity by cash and position is equity by realised and unrealised profit less fees."""
        profit = self.position.realized + self.position.unrealized(mark) - self.position.fees
        assert abs(self.cash + self.held * mark - profit) < PENNY
        assert self.position.quantity == self.held


class PlainMarket:
    """Shown levels by side and price, what the account took of each since, and the account."""

    def __init__(self) -> None:
        self.shown: dict[Side, dict[Decimal, Decimal]] = {Side.BUY: {}, Side.SELL: {}}
        self.taken: dict[tuple[Side, Decimal], Decimal] = {}
        self.account = PlainAccount()
        self.book: TopOfBook
        self.makers = self.takers = self.by_trades = 0

    def show(self, book: TopOfBook, update: DepthUpdate) -> None:
        """The recording shows levels; the tops of recorded books are checked in test_l2.py."""
        self.book = book
        if update.resets:
            self.shown = {Side.BUY: {}, Side.SELL: {}}
            self.taken.clear()
        for key, size in zip(update.keys, update.sizes, strict=True):
            side = Side.BUY if key < 0 else Side.SELL
            price = D(abs(key)).scaleb(-update.scale.price_places)
            self.shown[side][price] = D(size).scaleb(-update.scale.size_places)
            self.taken.pop((side, price), None)

    def takes(self, event: Executed) -> None:
        """An order took a level."""
        other = event.side.opposite
        self._take(other, event.price, event.quantity)
        self.takers += 1
        self.account.executed(event, TAKER_BPS)

    def makes(self, event: Executed) -> None:
        """The other side has reached a resting order."""
        other, left = event.side.opposite, event.quantity
        reached = (price for price, size in self.shown[other].items() if size and is_within(price, event))
        for price in sorted(reached, reverse=event.side is Side.SELL):
            here = min(self.shown[other][price] - self.taken.get((other, price), D(0)), left)
            if here > 0:
                self._take(other, price, here)
                left -= here
        assert left <= 0, f"{event} is more than was shown"
        self.makers += 1
        self.account.executed(event, MAKER_BPS)

    def trades_with(self, trade: TradePrinted, events: Iterable[Executed]) -> None:
        """Others traded, and resting orders with them."""
        total = D(0)
        for event in events:
            aggressor = trade.aggressor
            assert aggressor is None or event.side is aggressor.opposite
            assert is_within(trade.price, event), f"{trade} does not reach {event}"
            total += event.quantity
            self.by_trades += 1
            self.account.executed(event, MAKER_BPS)
        assert total <= trade.quantity

    def _take(self, side: Side, price: Decimal, quantity: Decimal) -> None:
        key = side, price
        self.taken[key] = self.taken.get(key, D(0)) + quantity
        assert self.taken[key] <= self.shown[side].get(price, D(0)), f"{quantity} at {price} is more than was shown"


def is_within(price: Decimal, event: Executed) -> bool:
    """Whether a price is at the execution's or better for it."""
    return price <= event.price if event.side is Side.BUY else price >= event.price


def respects(limit: OrderTerms, event: Executed) -> bool:
    """Whether an execution is no worse than its order's limit."""
    return limit.price is None or (event.price <= limit.price if event.side is Side.BUY else event.price >= limit.price)
