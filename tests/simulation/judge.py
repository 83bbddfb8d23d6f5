"""Judges each order that leaves by the limits of RiskLimits, by plain sums over the accounts: I4.

What accounts.py itself judges (quantity, position, open orders, rate) is not here. Losses and the day's messages are in
losses.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from tests.simulation.broken import expect
from tests.simulation.hours import is_open
from tests.simulation.limits import SECOND, RuleSpec

if TYPE_CHECKING:
    from tests.simulation.accounts import Account, Accounts, Exposures

ZERO = Decimal(0)
RATE_AGE = 60
"""Seconds that a quote is good for where a rule does not say it."""


@dataclass(frozen=True, slots=True)
class Asked:
    """An order or a replacement that leaves: what would be open of it, and what is counted of it already."""

    order: Account
    quantity: Decimal
    leaves: Decimal
    price: Decimal | None
    counted: Decimal
    at_ns: int
    is_new: bool
    what: str


class Judge:
    """See the module."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        # New orders that left: what makes them the same as another, by whom, when.
        self._sent: list[tuple[tuple[object, ...], str, int]] = []
        # Before the order that is being judged.
        self._exposures: Exposures = {}

    def order(self, asked: Asked, binding: Iterable[RuleSpec]) -> None:
        """Raises Broken when it may not leave."""
        market, symbol = self.accounts.market, asked.order.symbol
        self.look(self.accounts.exposures())
        expect(market.usable(symbol), "I4", f"{asked.what}: sent without a usable quote")
        if not asked.order.closing:
            expect(not market.is_silent(asked.at_ns), "I4", f"{asked.what}: sent while the feed is silent")
        for rule in binding:
            if rule.enforce:
                self._notional(rule, asked)
                if not asked.order.closing:
                    self._by_rule(rule, asked)
        if asked.is_new and not asked.order.closing:
            self._sent.append((_same(asked), asked.order.owner, asked.at_ns))

    def look(self, exposures: Exposures) -> None:
        """What `sides` adds up."""
        self._exposures = exposures

    def reduces(self, asked: Asked) -> bool:
        """Whether its owner's position can neither grow nor flip by it."""
        order, accounts = asked.order, self.accounts
        held = accounts.positions.get((order.owner, order.symbol), ZERO) * order.sign
        working = accounts.working({order.owner}, order) - asked.counted
        return held < 0 and working + asked.leaves <= -held

    def sides(self, owners: Iterable[str], symbol: str, asked: Asked | None = None) -> tuple[Decimal, Decimal]:
        """What they hold with every buy filled, and with every sell; with the order, where one is given."""
        long = short = ZERO
        for owner in owners:
            position, buys, sells, _ = self._exposures.get((owner, symbol), (ZERO, ZERO, ZERO, 0))
            long, short = long + position + buys, short + position - sells
        if asked is not None and asked.order.symbol == symbol:
            more = asked.leaves - asked.counted
            if asked.order.sign > 0:
                long += more
            else:
                short -= more
        return long, short

    def _by_rule(self, rule: RuleSpec, asked: Asked) -> None:
        accounts, order, at_ns = self.accounts, asked.order, asked.at_ns
        market, what = accounts.market, f"{asked.what}: {rule.name}"
        if rule.data_age is not None:
            expect(market.is_fresh(order.symbol, at_ns, rule.data_age), "I4", f"{what}: sent by an old quote")
        if rule.collar is not None:
            self._collar(rule, asked)
        if rule.hours:
            expect(is_open(rule.hours, at_ns) or self.reduces(asked), "I4", f"{what}: {rule.hours} is closed")
        if order.symbol in rule.restricted:
            expect(self.reduces(asked), "I4", f"{what}: {order.symbol} is restricted")
        if rule.self_match:
            expect(not self._matches(asked), "I4", f"{what}: it may trade with another order of the account")
        owners = accounts.owners_of(rule, order.owner)
        if rule.duplicate_ms is not None and asked.is_new:
            since = at_ns - rule.duplicate_ms * SECOND // 1000
            same = (item for item in reversed(self._sent) if item[0] == _same(asked) and item[1] in owners)
            last = next(same, None)
            expect(last is None or last[2] <= since, "I4", f"{what}: the same order was sent before, {last}")
        self._values(rule, asked, owners)
        accounts.losses.order(rule, asked, self)

    def _notional(self, rule: RuleSpec, asked: Asked) -> None:
        if rule.order_notional is None:
            return
        quote, order = self.accounts.market.usable(asked.order.symbol), asked.order
        assert quote is not None
        touch = quote.ask if order.sign > 0 else quote.bid
        price = touch if asked.price is None else max(touch, asked.price)
        worth = asked.quantity * price * self.accounts.market.multiplier(order.symbol)
        expect(worth <= rule.order_notional, "I4", f"{asked.what}: {worth} above the notional of {rule.name}")

    def _collar(self, rule: RuleSpec, asked: Asked) -> None:
        market, order = self.accounts.market, asked.order
        age = RATE_AGE if rule.data_age is None else rule.data_age
        expect(market.is_fresh(order.symbol, asked.at_ns, age), "I4", f"{asked.what}: no young quote for {rule.name}")
        if asked.price is None or rule.collar is None:
            return
        quote = market.quotes[order.symbol]
        touch = quote.ask if order.sign > 0 else quote.bid
        worse = (asked.price - touch) * order.sign
        text = f"{asked.what} at {asked.price}: beyond {rule.collar} bps of {touch}, {rule.name}"
        expect(worse * 10_000 <= rule.collar * touch, "I4", text)

    def _matches(self, asked: Asked) -> bool:
        mine = asked.order
        others = (one for one in self.accounts.open.values() if one.symbol == mine.symbol and one.sign != mine.sign)
        return any(
            asked.price is None or price is None or (asked.price - price) * mine.sign >= 0
            for one in others
            for price in _prices(one)
        )

    def _values(self, rule: RuleSpec, asked: Asked, owners: frozenset[str]) -> None:
        if rule.gross is None and rule.net is None and rule.concentration is None:
            return
        accounts, order = self.accounts, asked.order
        before, after = self._before_and_after(asked, owners)
        comes_down = before < after <= 0
        worths: dict[str, Decimal] = {}
        unknown = False
        for symbol in {symbol for owner, symbol in self._exposures if owner in owners} | {order.symbol}:
            worth = accounts.market.worth(symbol)
            if worth is not None:
                worths[symbol] = worth
            elif rule.covers(symbol) and (rule.gross is not None or rule.net is not None):
                unknown = any(self.sides(owners, symbol, asked))
                text = f"{asked.what}: {symbol} has no price and counts for {rule.name}"
                expect(comes_down or not unknown, "I4", text)
        covered = [symbol for symbol in worths if rule.covers(symbol)]
        sides = {symbol: self.sides(owners, symbol, asked) for symbol in covered}
        if rule.gross is not None and not comes_down:
            gross = sum((max(long, -short) * worths[symbol] for symbol, (long, short) in sides.items()), ZERO)
            expect(gross <= rule.gross, "I4", f"{asked.what}: gross {gross} above {rule.gross} of {rule.name}")
        if rule.net is not None and not unknown:
            side = 0 if order.sign > 0 else 1
            net = sum((both[side] * worths[symbol] for symbol, both in sides.items()), ZERO)
            without = net - order.sign * asked.leaves * worths[order.symbol]
            nearer = 0 <= net < without or without < net <= 0
            text = f"{asked.what}: net {net} beyond {rule.net} of {rule.name}"
            expect(abs(net) <= rule.net or nearer, "I4", text)
        if rule.concentration is not None and not comes_down:
            capital = accounts.capital_of(rule, order.owner)
            expect(capital, "I4", f"{asked.what}: sent without a capital for {rule.name}")
            long, short = sides[order.symbol]
            held = max(long, -short) * worths[order.symbol]
            text = f"{asked.what}: {held} above {rule.concentration} of {capital}, {rule.name}"
            expect(capital is not None and held <= rule.concentration * capital, "I4", text)

    def _before_and_after(self, asked: Asked, owners: frozenset[str]) -> tuple[Decimal, Decimal]:
        """The worst case on the order's side, without the order and with it; positive where its own side is."""
        order = asked.order
        long, short = self.sides(owners, order.symbol)
        now = (long if order.sign > 0 else -short) - asked.counted
        return now, now + asked.leaves


def _same(asked: Asked) -> tuple[object, ...]:
    return asked.order.symbol, asked.order.sign, asked.quantity, asked.price


def _prices(order: Account) -> list[Decimal | None]:
    texts = [order.price] if order.pending is None else [order.price, order.pending[2]]
    return [Decimal(text) if text else None for text in texts]
