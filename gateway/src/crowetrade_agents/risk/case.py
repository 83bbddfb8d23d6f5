"""What the rules ask of the facts, computed once per decision however many rules ask."""

from __future__ import annotations

from decimal import ROUND_UP, Context, Decimal
from functools import lru_cache
from typing import TYPE_CHECKING

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import Mark, TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.domain.orders import OrderTerms, Side
from crowetrade_agents.risk import fx
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.recent import fingerprint
from crowetrade_agents.risk.shares import allowed
from crowetrade_agents.risk.standing import Watch, subject_of, watched
from crowetrade_agents.risk.valuation import EXACT, Group, Total, Valuation, usable
from crowetrade_agents.risk.worst_case import EMPTY, Part, larger, worst_case

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Facts, Proposal
    from crowetrade_agents.risk.rules import Rule

_AWAY_FROM_ZERO = Context(prec=38, rounding=ROUND_UP)
_ANY_AGE_NS = 1 << 62


@lru_cache(maxsize=4096)
def alone(owner: str) -> frozenset[str]:
    """The owner as a set, always the same one: tables find it without comparing members."""
    return frozenset((owner,))


def members(rule: Rule, facts: Facts) -> frozenset[str]:
    """Whom a rule with aggregate Total counts: who is bound, and who was and still holds or works something."""
    return facts.members.get(rule.name, rule.strategies)


def valuation_of(facts: Facts) -> Valuation:
    """The valuation that somebody keeps current, or one made of these facts."""
    if facts.valuation is not None:
        return facts.valuation
    return Valuation(facts.exposures, facts.account, facts.instruments, facts.marks)


class Sums:
    """What owners hold and work together, by owners and instrument; valid as long as the facts do not change."""

    __slots__ = ("_largest", "_worst", "facts", "valuation")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.valuation = valuation_of(facts)
        self._worst: dict[tuple[frozenset[str], InstrumentId, Side], Decimal] = {}
        self._largest: dict[tuple[frozenset[str], InstrumentId], Decimal] = {}

    def members(self, rule: Rule) -> frozenset[str]:
        """As `members`, for the facts of these sums."""
        return members(rule, self.facts)

    def counted(self, rule: Rule) -> dict[str, frozenset[str]]:
        """By key of a Use whom the rule counts together: all, under the empty key, or each strategy alone."""
        return {"": self.members(rule)} if rule.total else {name: alone(name) for name in sorted(rule.strategies)}

    def worst_case(self, owners: frozenset[str], instrument: InstrumentId, side: Side) -> Decimal:
        """Signed position of the owners in units if everything that they work on that side filled."""
        key = (owners, instrument, side)
        found = self._worst.get(key)
        if found is None:
            found = self._worst[key] = worst_case(owners, instrument, side, self.facts.exposures, self.facts.account)
        return found

    def largest(self, owners: frozenset[str], instrument: InstrumentId) -> Decimal:
        """The worst case of the side on which it is larger, in units without its sign."""
        key = (owners, instrument)
        found = self._largest.get(key)
        if found is None:
            sides = (
                worst_case(owners, instrument, side, self.facts.exposures, self.facts.account).copy_abs()
                for side in Side
            )
            found = self._largest[key] = max(sides)
        return found

    def total(self, rule: Rule, owners: frozenset[str]) -> Total | None:
        """What the owners hold and work in the rule's symbols, in its currency; None without a rate."""
        gross = up = down = ZERO
        for currency, held in self.valuation.group(owners, rule.symbols).totals.items():
            rate = self.rate(currency, rule)
            if rate is None:
                return None
            gross = EXACT.fma(held.gross, rate, gross)
            up, down = EXACT.fma(held.up, rate, up), EXACT.fma(held.down, rate, down)
        return Total(*map(_AWAY_FROM_ZERO.plus, (gross, up, down)))

    def rate(self, currency: str, rule: Rule) -> Decimal | None:
        """Units of the rule's currency for one unit of `currency`; None without a quote of that age."""
        return self.valuation.rate(currency, rule.currency, self.facts.now_ns, rule.rate_age_ns)

    def capital(self, rule: Rule, owners: frozenset[str]) -> Decimal | None:
        """Capital of those whom the rule binds of the owners, in its currency; None when it is not known."""
        return capital_of(rule, owners, self.facts, self.valuation)


def capital_of(rule: Rule, owners: frozenset[str], facts: Facts, valuation: Valuation) -> Decimal | None:
    """Capital of the owners, or of all that a rule with aggregate Total binds, in the rule's currency; None when that
    of one is not known or there is no rate."""
    amounts = valuation.capital(rule.strategies if rule.total else owners, facts.capital)
    total = ZERO
    for amount, currency in amounts or ():
        if currency == rule.currency:
            total = CONTEXT.add(total, amount) if total else amount
            continue
        rate = valuation.rate(currency, rule.currency, facts.now_ns, rule.rate_age_ns)
        if rate is None:
            return None
        total = CONTEXT.add(total, CONTEXT.multiply(amount, rate))
    return total or None


_UNSET = Decimal("NaN")


class View:
    """What those whom a rule counts hold, with the proposal: `part` is what they hold in its instrument, `largest` the
    larger side of that with the proposal, in units, `unit` what one is worth by the mid in the rule's currency, or why
    nobody can tell, and `ceiling` what their gross notional with the proposal is at most, where that is known without
    adding anything up."""

    __slots__ = ("ceiling", "group", "largest", "part", "unit")

    def __init__(self, group: Group, part: Part, largest: Decimal, unit: Decimal | Refusal) -> None:
        self.group, self.part, self.largest, self.unit = group, part, largest, unit
        self.ceiling: Decimal | None = None


class Case:
    """One proposal with what is known."""

    __slots__ = (
        "_alone",
        "_counted",
        "_fingerprint",
        "_mark",
        "_moves",
        "_rule",
        "_unit",
        "_valuation",
        "_view",
        "_watch",
        "_watched",
        "facts",
        "proposal",
        "terms",
    )

    def __init__(self, proposal: Proposal, facts: Facts) -> None:
        self.proposal = proposal
        self.terms = proposal.terms
        self.facts = facts
        self._alone = alone(proposal.terms.strategy)
        # What was found for the last rule: limits of one rule are judged one after the other.
        self._rule: Rule | None = None
        self._counted = self._alone
        self._view: View | None = None
        self._moves: dict[frozenset[str], tuple[Decimal, Decimal]] = {}
        self._unit: Decimal | None = _UNSET
        self._valuation = facts.valuation
        self._fingerprint = -1
        self._mark: Mark | None = None
        # Of the last rule that asked.
        self._watched: Rule | None = None
        self._watch: Watch | Refusal | None = None

    def counted(self, rule: Rule) -> frozenset[str]:
        """Whom the rule counts; the proposal's owner is always among them."""
        if rule is not self._rule:
            self._rule, self._view, self._counted = rule, None, self._alone
            if rule.total:
                together = members(rule, self.facts)
                self._counted = together if self.terms.strategy in together else together | self._alone
        return self._counted

    def allowed(self, rule: Rule, limit: str, value: Decimal) -> Decimal | None:
        """What this gateway may use of a limit; None when it does not know its share (`unknown_share` refuses)."""
        return allowed(rule, limit, value, self.facts.shares) if rule.total else value

    def move(self, owners: frozenset[str]) -> tuple[Decimal, Decimal]:
        """The owners' worst case on the proposal's side, signed, without the proposal and with it."""
        found = self._moves.get(owners)
        if found is None:
            found = self._moves[owners] = self._move(owners)
        return found

    def _move(self, owners: frozenset[str]) -> tuple[Decimal, Decimal]:
        terms, facts = self.terms, self.facts
        worst = worst_case(owners, terms.instrument, terms.side, facts.exposures, facts.account)
        counted, leaves = self.proposal.counted_leaves, self.proposal.leaves
        if terms.side is Side.BUY:
            before = CONTEXT.subtract(worst, counted)
            return before, CONTEXT.add(before, leaves)
        before = CONTEXT.add(worst, counted)
        return before, CONTEXT.subtract(before, leaves)

    def approaches_zero(self, owners: frozenset[str]) -> bool:
        """Whether the proposal brings the owners' worst case in its instrument nearer to zero and not past it."""
        before, after = self.move(owners)
        return 0 <= after < before or before < after <= 0

    @property
    def valuation(self) -> Valuation:
        """Exposures in money."""
        if self._valuation is None:
            self._valuation = valuation_of(self.facts)
        return self._valuation

    def view(self, rule: Rule) -> View:
        """What those whom the rule counts hold, the same for every limit of the rule."""
        owners = self.counted(rule)
        if self._view is None:
            group = self.valuation.counted(owners, rule.symbols)
            part = group.parts.get(self.terms.instrument, EMPTY)
            self._view = view = View(group, part, self._largest(part), self._unit_in(rule))
            view.ceiling = self._ceiling(view, rule)
        return self._view

    def _ceiling(self, view: View, rule: Rule) -> Decimal | None:
        if view.group.ceilings is None or isinstance(view.unit, Refusal):
            return None
        total = EXACT.multiply(EXACT.subtract(view.largest, view.part.largest), view.unit)
        for currency, ceiling in view.group.ceilings.items():
            rate = self.rate(currency, rule)
            if isinstance(rate, Refusal):
                return None
            total = EXACT.add(ceiling, total) if rate is fx.ONE else EXACT.fma(ceiling, rate, total)
        return total

    def is_far_below(self, most: Decimal, rule: Rule) -> bool:
        """Whether gross and net notional of those whom the rule counts are surely at most so much with the proposal;
        False says nothing."""
        ceiling = self.view(rule).ceiling
        return ceiling is not None and ceiling <= most

    def _priced(self, rule: Rule) -> View:
        """The view with its sums as they are now."""
        view = self.view(rule)
        self.valuation.group(view.group.owners, rule.symbols)
        return view

    def watch(self, rule: Rule) -> Watch | Refusal:
        """Profit and loss of the rule's subject, the same for every limit of the rule; why it is not known."""
        if self._watched is not rule or self._watch is None:
            self._watched, self._watch = rule, watched(rule, subject_of(rule, self.terms.strategy), self.facts)
        return self._watch

    def gross(self, rule: Rule) -> Decimal | Refusal:
        """Gross notional of those whom the rule counts with the proposal, in the rule's currency; a refusal when
        something cannot be valued."""
        view = self._priced(rule)
        if isinstance(view.unit, Refusal) or view.group.unvalued:
            return self._not_known(view, rule)
        total = EXACT.multiply(EXACT.subtract(view.largest, view.part.largest), view.unit)
        for currency, held in view.group.totals.items():
            if currency == rule.currency:
                total = EXACT.add(held.gross, total)
                continue
            rate = self.rate(currency, rule)
            if isinstance(rate, Refusal):
                return rate
            total = EXACT.fma(held.gross, rate, total)
        return _AWAY_FROM_ZERO.plus(total)

    def net(self, rule: Rule, leaves: Decimal) -> Decimal | Refusal:
        """Signed net notional with every working order of the proposal's side filled, if the proposal had these leaves,
        in the rule's currency; a refusal when something cannot be valued."""
        view = self._priced(rule)
        if isinstance(view.unit, Refusal) or view.group.unvalued:
            return self._not_known(view, rule)
        buying = self.terms.side is Side.BUY
        more = EXACT.subtract(leaves, self.proposal.counted_leaves)
        total = EXACT.multiply(more if buying else more.copy_negate(), view.unit)
        for currency, held in view.group.totals.items():
            here = held.up if buying else held.down
            if currency == rule.currency:
                total = EXACT.add(here, total)
                continue
            rate = self.rate(currency, rule)
            if isinstance(rate, Refusal):
                return rate
            total = EXACT.fma(here, rate, total)
        return _AWAY_FROM_ZERO.plus(total)

    def value_here(self, rule: Rule) -> Decimal | Refusal:
        """Gross notional in the proposal's instrument alone."""
        view = self.view(rule)
        return view.unit if isinstance(view.unit, Refusal) else _AWAY_FROM_ZERO.multiply(view.largest, view.unit)

    def _largest(self, part: Part) -> Decimal:
        more = CONTEXT.subtract(self.proposal.leaves, self.proposal.counted_leaves)
        if self.terms.side is Side.BUY:
            return larger(CONTEXT.add(part.buying, more), part.selling)
        return larger(part.buying, CONTEXT.subtract(part.selling, more))

    def _not_known(self, view: View, rule: Rule) -> Refusal:
        """Why something cannot be valued: the proposal's instrument, or another one that counts."""
        return view.unit if isinstance(view.unit, Refusal) else _not_valued(min(view.group.unvalued), rule)

    def _unit_in(self, rule: Rule) -> Decimal | Refusal:
        unit = self.valuation.unit(self.terms.instrument)
        if unit is None:
            return _not_valued(self.terms.instrument, rule)
        rate = self.rate(unit.currency, rule)
        if rate is fx.ONE:
            return unit.value
        return rate if isinstance(rate, Refusal) else EXACT.multiply(unit.value, rate)

    def rate(self, currency: str, rule: Rule) -> Decimal | Refusal:
        """Units of the rule's currency for one unit of `currency`; a refusal without a quote of the rule's age. A
        closing order is converted by a quote of any age: a quiet market must not stop a Flatten."""
        if currency == rule.currency:
            return fx.ONE
        age_ns = _ANY_AGE_NS if self.terms.closing else rule.rate_age_ns
        found = self.valuation.rate(currency, rule.currency, self.facts.now_ns, age_ns)
        return found if found is not None else _no_rate(currency, rule)

    def capital(self, rule: Rule) -> Decimal | Refusal:
        """Capital of those whom the rule counts, in its currency."""
        found = capital_of(rule, self._alone, self.facts, self.valuation)
        if found is not None:
            return found
        amounts = self.valuation.capital(rule.strategies if rule.total else self._alone, self.facts.capital)
        for _, currency in amounts or ():
            rate = self.rate(currency, rule)
            if isinstance(rate, Refusal):
                return rate
        text = f"spec.capital of a strategy that {rule.name} binds is not known, so a share of it cannot be judged"
        return Refusal(Reason.MISSING_CAPITAL, text, rule.name)

    @property
    def fingerprint(self) -> int:
        """What makes the order the same as another."""
        if self._fingerprint < 0:
            self._fingerprint = fingerprint(self.terms)
        return self._fingerprint

    @property
    def mark(self) -> Mark | None:
        """The last quote of the proposal's instrument with its time, of any age; None unless it is usable."""
        if self._mark is None:
            instrument, marks = self.terms.instrument, self.facts.marks
            self._mark = marks[instrument] if usable(instrument, marks) is not None else None
        return self._mark

    @property
    def unit_value(self) -> Decimal | None:
        """Judged price x multiplier, quote currency per unit, rounded up; None without a price or an instrument."""
        if self._unit is _UNSET:
            self._unit = self._value_unit()
        return self._unit

    def _value_unit(self) -> Decimal | None:
        price = judged_price(self.terms, self.mark)
        instrument = self.facts.instruments.get(self.terms.instrument)
        if price is None or instrument is None:
            return None
        return _AWAY_FROM_ZERO.multiply(price, instrument.multiplier)

    def unit_value_in(self, rule: Rule) -> Decimal | Refusal | None:
        """The value of one unit in the rule's currency, rounded up; a refusal without a rate, None without a price."""
        unit, instrument = self.unit_value, self.facts.instruments.get(self.terms.instrument)
        if unit is None or instrument is None:
            return None
        rate = self.rate(instrument.currency, rule)
        if isinstance(rate, Refusal) or rate is fx.ONE:
            return rate if isinstance(rate, Refusal) else unit
        return _AWAY_FROM_ZERO.multiply(unit, rate)

    def notional(self, rule: Rule) -> Decimal | Refusal | None:
        """Whole quantity x value of one unit in the rule's currency, rounded up so that nothing passes a limit by
        rounding; a refusal without a rate, None without a price."""
        unit = self.unit_value_in(rule)
        return _AWAY_FROM_ZERO.multiply(self.terms.quantity, unit) if isinstance(unit, Decimal) else unit


def _not_valued(instrument: InstrumentId, rule: Rule) -> Refusal:
    text = (
        f"{instrument} has no usable quote, or is not listed any more, so what is held of it cannot be valued for "
        f"{rule.name}: wait for a quote, or reduce"
    )
    return Refusal(Reason.MISSING_MARK, text, rule.name)


def _no_rate(currency: str, rule: Rule) -> Refusal:
    seconds = rule.rate_age_ns / 1e9
    text = (
        f"{rule.name} is in {rule.currency or 'no currency'} and no quote of the last {seconds:g} s says what "
        f"{currency} is worth in it: list an instrument with baseCurrency {currency} and currency {rule.currency} at "
        "the venue, or the other way round; a quote may be as old as maxDataAgeSeconds of the RiskLimit says"
    )
    return Refusal(Reason.MISSING_EXCHANGE_RATE, text, rule.name)


def usable_book(instrument: InstrumentId, facts: Facts) -> TopOfBook | None:
    """The last quote of the instrument, of any age; None unless it is finite, positive, uncrossed and its own."""
    return usable(instrument, facts.marks)


def judged_price(terms: OrderTerms, mark: Mark | None) -> Decimal | None:
    """The worse of limit price and touch, quote currency: the offer for a buy, the bid for a sell.

    A market order has the touch alone. An order that rests while there is no usable quote (`mark` is None) has its
    limit price alone. None when there is neither.
    """
    if mark is None:
        return terms.price
    touch = mark.book.ask_price if terms.side is Side.BUY else mark.book.bid_price
    return touch if terms.price is None else max(terms.price, touch)
