"""What the rules ask of the facts, computed once per decision however many rules ask."""

from __future__ import annotations

from collections.abc import Set
from decimal import ROUND_UP, Context, Decimal, localcontext
from typing import TYPE_CHECKING

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.domain.orders import OrderTerms, Side

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Exposure, Facts, Proposal
    from crowetrade_agents.risk.rules import Rule

_AWAY_FROM_ZERO = Context(prec=38, rounding=ROUND_UP)


class Sums:
    """What owners hold and work together, by owners and instrument; valid as long as the facts do not change."""

    __slots__ = ("_alone", "_largest", "_worst", "facts")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._alone: dict[str, frozenset[str]] = {}
        self._worst: dict[tuple[frozenset[str], InstrumentId, Side], Decimal] = {}
        self._largest: dict[tuple[frozenset[str], InstrumentId], Decimal] = {}

    def alone(self, owner: str) -> frozenset[str]:
        """The owner as a set."""
        found = self._alone.get(owner)
        if found is None:
            found = self._alone[owner] = frozenset((owner,))
        return found

    def members(self, rule: Rule) -> frozenset[str]:
        """Whom a rule with aggregate Total counts: who is bound, and who was and still holds or works something."""
        return frozenset(self.facts.members.get(rule.name, rule.strategies))

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
    # Operators take the thread's context; a method of CONTEXT takes three times as long, which fifty owners would feel.
    with localcontext(CONTEXT):
        if account is None:
            return _sum(owners, instrument, side, facts)
        # Whoever is not counted is mostly nobody.
        return _worst(account.total, side) - _sum(account.owners - owners, instrument, side, facts)


def _sum(owners: Set[str], instrument: InstrumentId, side: Side, facts: Facts) -> Decimal:
    found = (facts.exposures.get((owner, instrument)) for owner in owners)
    return sum((_worst(exposure, side) for exposure in found if exposure is not None), ZERO)


def _worst(exposure: Exposure, side: Side) -> Decimal:
    if side is Side.BUY:
        return exposure.position + exposure.open_buy
    return exposure.position - exposure.open_sell


_UNSET = Decimal("NaN")


class Case:
    """One proposal with what is known."""

    __slots__ = ("_moves", "_unit", "facts", "proposal", "sums", "terms")

    def __init__(self, proposal: Proposal, facts: Facts) -> None:
        self.proposal = proposal
        self.terms = proposal.terms
        self.facts = facts
        self.sums = Sums(facts)
        self._moves: dict[frozenset[str], tuple[Decimal, Decimal]] = {}
        self._unit: Decimal | None = _UNSET

    def counted(self, rule: Rule) -> frozenset[str]:
        """Whom the rule counts; the proposal's owner is always among them."""
        owner = self.terms.strategy
        if not rule.total:
            return self.sums.alone(owner)
        together = self.sums.members(rule)
        return together if owner in together else together | {owner}

    def move(self, owners: frozenset[str]) -> tuple[Decimal, Decimal]:
        """The owners' worst case on the proposal's side, signed, without the proposal and with it."""
        found = self._moves.get(owners)
        if found is None:
            found = self._moves[owners] = self._move(owners)
        return found

    def _move(self, owners: frozenset[str]) -> tuple[Decimal, Decimal]:
        worst = self.sums.worst_case(owners, self.terms.instrument, self.terms.side)
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
