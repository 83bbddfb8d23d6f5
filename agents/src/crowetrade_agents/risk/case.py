"""What the rules ask of the facts, computed once per decision however many rules ask."""

from __future__ import annotations

from collections.abc import Set
from decimal import ROUND_UP, Context, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.domain.orders import OrderTerms, Side

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Exposure, Facts, Proposal
    from crowetrade_agents.risk.rules import Rule

_AWAY_FROM_ZERO = Context(prec=38, rounding=ROUND_UP)


@lru_cache(maxsize=4096)
def alone(owner: str) -> frozenset[str]:
    """The owner as a set, always the same one: tables find it without comparing members."""
    return frozenset((owner,))


def members(rule: Rule, facts: Facts) -> frozenset[str]:
    """Whom a rule with aggregate Total counts: who is bound, and who was and still holds or works something."""
    return facts.members.get(rule.name, rule.strategies)


class Sums:
    """What owners hold and work together, by owners and instrument; valid as long as the facts do not change."""

    __slots__ = ("_largest", "_worst", "facts")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._worst: dict[tuple[frozenset[str], InstrumentId, Side], Decimal] = {}
        self._largest: dict[tuple[frozenset[str], InstrumentId], Decimal] = {}

    def members(self, rule: Rule) -> frozenset[str]:
        """As `members`, for the facts of these sums."""
        return members(rule, self.facts)

    def worst_case(self, owners: frozenset[str], instrument: InstrumentId, side: Side) -> Decimal:
        """Signed position of the owners in units if everything that they work on that side filled."""
        key = (owners, instrument, side)
        found = self._worst.get(key)
        if found is None:
            found = self._worst[key] = _worst_case(owners, instrument, side, self.facts)
        return found

    def largest(self, owners: frozenset[str], instrument: InstrumentId) -> Decimal:
        """The worst case of the side on which it is larger, in units without its sign."""
        key = (owners, instrument)
        found = self._largest.get(key)
        if found is None:
            buying = _worst_case(owners, instrument, Side.BUY, self.facts).copy_abs()
            selling = _worst_case(owners, instrument, Side.SELL, self.facts).copy_abs()
            found = self._largest[key] = max(buying, selling)
        return found


def _worst_case(owners: frozenset[str], instrument: InstrumentId, side: Side, facts: Facts) -> Decimal:
    account = facts.account.get(instrument) if len(owners) > 1 else None
    if account is None:
        return _sum(owners, instrument, side, facts)
    worst = _worst(account.total, side)
    others = _others(account.owners, owners)
    return CONTEXT.subtract(worst, _sum(others, instrument, side, facts)) if others else worst


@lru_cache(maxsize=4096)
def _others(present: frozenset[str], counted: frozenset[str]) -> frozenset[str]:
    """Who is there and not counted: mostly nobody. Both sets are the same ones from decision to decision."""
    return present - counted


def _sum(owners: Set[str], instrument: InstrumentId, side: Side, facts: Facts) -> Decimal:
    found = ZERO
    for owner in owners:
        exposure = facts.exposures.get((owner, instrument))
        if exposure is not None:
            found = CONTEXT.add(found, _worst(exposure, side))
    return found


def _worst(exposure: Exposure, side: Side) -> Decimal:
    if side is Side.BUY:
        return CONTEXT.add(exposure.position, exposure.open_buy)
    return CONTEXT.subtract(exposure.position, exposure.open_sell)


_UNSET = Decimal("NaN")


class Case:
    """One proposal with what is known."""

    __slots__ = ("_alone", "_moves", "_unit", "facts", "proposal", "terms")

    def __init__(self, proposal: Proposal, facts: Facts) -> None:
        self.proposal = proposal
        self.terms = proposal.terms
        self.facts = facts
        self._alone = alone(proposal.terms.strategy)
        self._moves: dict[frozenset[str], tuple[Decimal, Decimal]] = {}
        self._unit: Decimal | None = _UNSET

    def counted(self, rule: Rule) -> frozenset[str]:
        """Whom the rule counts; the proposal's owner is always among them."""
        if not rule.total:
            return self._alone
        together = members(rule, self.facts)
        return together if self.terms.strategy in together else together | self._alone

    def move(self, owners: frozenset[str]) -> tuple[Decimal, Decimal]:
        """The owners' worst case on the proposal's side, signed, without the proposal and with it."""
        found = self._moves.get(owners)
        if found is None:
            found = self._moves[owners] = self._move(owners)
        return found

    def _move(self, owners: frozenset[str]) -> tuple[Decimal, Decimal]:
        worst = _worst_case(owners, self.terms.instrument, self.terms.side, self.facts)
        counted, leaves = self.proposal.counted_leaves, self.proposal.leaves
        if self.terms.side is Side.BUY:
            before = CONTEXT.subtract(worst, counted)
            return before, CONTEXT.add(before, leaves)
        before = CONTEXT.add(worst, counted)
        return before, CONTEXT.subtract(before, leaves)

    @property
    def unit_value(self) -> Decimal | None:
        """Judged price x multiplier, quote currency per unit, rounded up; None without a price or an instrument."""
        if self._unit is _UNSET:
            self._unit = self._value_unit()
        return self._unit

    def _value_unit(self) -> Decimal | None:
        price = judged_price(self.terms, self.facts)
        instrument = self.facts.instruments.get(self.terms.instrument)
        if price is None or instrument is None:
            return None
        return _AWAY_FROM_ZERO.multiply(price, instrument.multiplier)

    @property
    def notional(self) -> Decimal | None:
        """Whole quantity x value of one unit, quote currency, rounded up so that nothing passes a limit by rounding."""
        unit = self.unit_value
        return None if unit is None else _AWAY_FROM_ZERO.multiply(self.terms.quantity, unit)


def usable_book(instrument: InstrumentId, facts: Facts) -> TopOfBook | None:
    """The last quote of the instrument, of any age; None unless it is finite, positive, uncrossed and its own."""
    mark = facts.marks.get(instrument)
    if mark is None or mark.book.instrument != instrument or not mark.book.is_usable:
        return None
    return mark.book


def judged_price(terms: OrderTerms, facts: Facts) -> Decimal | None:
    """The worse of limit price and touch, quote currency: the offer for a buy, the bid for a sell.

    A market order has the touch alone. An order that rests while there is no usable quote has its limit price alone.
    None when there is neither.
    """
    book = usable_book(terms.instrument, facts)
    if book is None:
        return terms.price
    touch = book.ask_price if terms.side is Side.BUY else book.bid_price
    return touch if terms.price is None else max(terms.price, touch)
