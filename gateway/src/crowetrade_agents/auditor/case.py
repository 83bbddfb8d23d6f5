"""One order that left, with what the limits ask of it, before the ledger takes it in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.bus.v1 import market_data_pb2
from crowetrade_agents.auditor.figures import ZERO, Range, decimal, less, optional, plus, times
from crowetrade_agents.auditor.ledger import Ledger, Rule
from crowetrade_agents.auditor.orders import Order

_HALF = Decimal("0.5")


@dataclass(frozen=True, slots=True)
class Attempt:
    """A new order, or the order that a replacement makes of `replaces`. `bid` and `ask` are those that the gate judged
    by, None where the journal does not say them."""

    at_ns: int
    cl_ord_id: str
    strategy: str
    symbol: str
    buy: bool
    quantity: Decimal
    price: Decimal | None
    ord_type: int
    closing: bool
    replaces: Order | None
    bid: Decimal | None
    ask: Decimal | None
    quote_ns: int

    @classmethod
    def of_order(cls, at_ns: int, body: pb.OrderSubmitted) -> Attempt:
        """A new order."""
        return cls(
            at_ns,
            body.cl_ord_id,
            body.strategy,
            body.symbol,
            body.side == market_data_pb2.SIDE_BUY,
            decimal(body.order_quantity),
            optional(body.price),
            body.ord_type,
            body.closing,
            None,
            optional(body.bid_price),
            optional(body.ask_price),
            body.quote_unix_ns,
        )

    @classmethod
    def of_replace(cls, at_ns: int, body: pb.ReplaceSubmitted, order: Order, ord_type: int) -> Attempt:
        """A replacement."""
        return cls(
            at_ns,
            body.cl_ord_id,
            order.strategy,
            order.symbol,
            order.buy,
            decimal(body.order_quantity),
            optional(body.price),
            ord_type,
            order.closing,
            order,
            optional(body.bid_price),
            optional(body.ask_price),
            body.quote_unix_ns,
        )

    @property
    def more(self) -> Decimal:
        """By how much it changes what is worked on its side."""
        if self.replaces is None:
            return self.quantity
        return less(less(self.quantity, self.replaces.executed), self.replaces.working)

    @property
    def touch(self) -> Decimal | None:
        """The offer for a buy, the bid for a sell."""
        return self.ask if self.buy else self.bid


@dataclass(frozen=True, slots=True)
class Case:
    """The order under one rule."""

    ledger: Ledger
    order: Attempt
    rule: Rule

    @property
    def owners(self) -> frozenset[str]:
        """Whom the rule counts."""
        return self.ledger.counted(self.rule, self.order.strategy)

    def symbols(self) -> Iterator[str]:
        """Symbols that the rule covers and in which somebody counted holds or works something, the order's included."""
        owners = self.owners
        found = {
            symbol for (owner, symbol), held in self.ledger.holdings.items() if owner in owners and not held.is_empty
        }
        return (symbol for symbol in found | {self.order.symbol} if self.rule.covers(symbol))

    def worst(self, symbol: str, buy: bool) -> Decimal:
        """Signed position of all counted if everything on one side filled, the order among it."""
        found = self._held(symbol, buy)
        if symbol == self.order.symbol and buy == self.order.buy:
            return plus(found, self.order.more if buy else -self.order.more)
        return found

    def _held(self, symbol: str, buy: bool) -> Decimal:
        holdings = self.ledger.holdings
        owned = (holdings[owner, symbol] for owner in self.owners if (owner, symbol) in holdings)
        return plus(*(holding.worst(buy) for holding in owned))

    def largest(self, symbol: str) -> Decimal:
        """The larger of both sides, without its sign."""
        return max(self.worst(symbol, buy).copy_abs() for buy in (True, False))

    def comes_nearer_to_zero(self) -> bool:
        """Whether the worst case on the order's side is nearer to zero with it than without it, and not past zero. A
        replacement is compared with neither order."""
        order = self.order
        replaced = order.replaces.working if order.replaces is not None else ZERO
        before = less(self._held(order.symbol, order.buy), replaced if order.buy else -replaced)
        after = self.worst(order.symbol, order.buy)
        return 0 <= after < before or before < after <= 0

    def reduces(self) -> bool:
        """Whether the owner's own position cannot flip or grow, whatever of its working orders on that side fills."""
        order = self.order
        holding = self.ledger.holdings.get((order.strategy, order.symbol))
        if holding is None:
            return False
        closable = -holding.position if order.buy else holding.position
        working = plus(holding.buying if order.buy else holding.selling, order.more)
        return closable > 0 and working <= closable

    def prices(self, symbol: str) -> tuple[Range, Range] | None:
        """Bid and offer at the moment of the order."""
        order = self.order
        if symbol == order.symbol and order.bid is not None and order.ask is not None:
            return Range.exactly(order.bid), Range.exactly(order.ask)
        return self.ledger.marks.around(symbol, order.at_ns)

    def unit_value(self, symbol: str) -> Range | None:
        """What one unit is worth in the rule's currency, at the mid."""
        listed, mid = self.ledger.listed.get(symbol), self.mid(symbol)
        rate = self.exchange(listed.currency) if listed is not None else None
        if listed is None or mid is None or rate is None:
            return None
        return mid.scaled(listed.multiplier).by(rate)

    def exchange(self, currency: str) -> Range | None:
        """One unit of a currency in the rule's: at the mid of any pair of the venue that trades one for the other."""
        wanted = self.rule.currency or currency
        if wanted == currency:
            return Range.exactly(Decimal(1))
        ranges: list[Range] = []
        for symbol, listed in self.ledger.listed.items():
            pair = listed.base_currency, listed.currency
            if pair not in ((currency, wanted), (wanted, currency)):
                continue
            mid = self.mid(symbol)
            if mid is None:
                return None
            ranges.append(mid if pair[0] == currency else mid.inverse())
        if not ranges:
            return None
        return Range(min(one.low for one in ranges), max(one.high for one in ranges))

    def mid(self, symbol: str) -> Range | None:
        """The middle of bid and offer."""
        prices = self.prices(symbol)
        return None if prices is None else prices[0].add(prices[1]).scaled(_HALF)

    def capital(self) -> Range | None:
        """Capital of the order's strategy, or of all that a rule binds that counts them together, in the rule's
        currency; None where it is not known or nothing."""
        total = Range.exactly(ZERO)
        for owner in self.rule.strategies if self.rule.total else (self.order.strategy,):
            binding = self.ledger.bindings.get(owner)
            if binding is None or not binding.capital or not binding.capital_currency:
                return None
            rate = self.exchange(binding.capital_currency)
            if rate is None:
                return None
            total = total.add(rate.scaled(decimal(binding.capital)))
        return total if total.low > 0 else None


def notional(quantity: Decimal, unit: Range) -> Range:
    """Value of a quantity that is not negative."""
    return Range(times(quantity, unit.low), times(quantity, unit.high))
