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
from crowetrade_agents.risk.standing import identity, subject_of
from crowetrade_agents.risk.valuation import EXACT, Group, Total, Unit, Valuation, usable
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
    """What owners hold and work together, by owners and instrument; valid as long as the facts do not change.

    What cannot be valued is left out of totals, so that those which are too high without it are found. `whole`: there
    is no total then, as for an order.
    """

    __slots__ = ("_ceilings", "_counted", "_largest", "_rule", "_totals", "_whole", "_worst", "facts", "valuation")

    def __init__(self, facts: Facts, *, whole: bool = False) -> None:
        self.facts, self._whole = facts, whole
        self.valuation = valuation_of(facts)
        # Whom the rule counts that was asked for last: its limits are looked at one after the other.
        self._rule: Rule | None = None
        self._counted: dict[str, frozenset[str]] = {}
        self._worst: dict[tuple[frozenset[str], InstrumentId, Side], Decimal] = {}
        self._largest: dict[tuple[frozenset[str], InstrumentId], Decimal] = {}
        self._totals: dict[tuple[frozenset[str], frozenset[str], str, int], Total | None] = {}
        self._ceilings: dict[tuple[frozenset[str], frozenset[str], str], Decimal | None] = {}

    def members(self, rule: Rule) -> frozenset[str]:
        """As `members`, for the facts of these sums."""
        return members(rule, self.facts)

    def counted(self, rule: Rule) -> dict[str, frozenset[str]]:
        """By key of a Use whom the rule counts together: all, under the empty key, or each strategy alone."""
        if rule is not self._rule:
            self._rule = rule
            self._counted = (
                {"": self.members(rule)} if rule.total else {one: alone(one) for one in sorted(rule.strategies)}
            )
        return self._counted

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
        """What the owners hold and work in the rule's symbols, in its currency; None without a rate, and where the sums
        are to be whole without a quote of something."""
        key = (owners, rule.symbols, rule.currency, rule.rate_age_ns)
        if key not in self._totals:
            self._totals[key] = self._add_up(rule, owners)
        return self._totals[key]

    def _add_up(self, rule: Rule, owners: frozenset[str]) -> Total | None:
        gross = up = down = ZERO
        group = self.valuation.group(owners, rule.symbols)
        if self._whole and group.unvalued:
            return None
        for currency, held in group.totals.items():
            rate = self.rate(currency, rule)
            if rate is None:
                return None
            gross = EXACT.fma(held.gross, rate, gross)
            up, down = EXACT.fma(held.up, rate, up), EXACT.fma(held.down, rate, down)
        return Total(*map(_AWAY_FROM_ZERO.plus, (gross, up, down)))

    def ceiling(self, rule: Rule, owners: frozenset[str]) -> Decimal | None:
        """What the gross sum of the owners in the rule's symbols is at most, in its currency, where that is known
        without adding anything up and without a rate."""
        key = (owners, rule.symbols, rule.currency)
        if key not in self._ceilings:
            ceilings = self.valuation.ceilings(self.valuation.counted(owners, rule.symbols))
            if ceilings is None or ceilings.keys() - {rule.currency}:
                self._ceilings[key] = None
            else:
                self._ceilings[key] = ceilings.get(rule.currency, ZERO)
        return self._ceilings[key]

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


class Counted:
    """Those whom a rule counts for an order of one strategy, and where to look up what they have done. It lives as long
    as the configuration: what is found here is not looked up again for each order.

    `subject` is what an order is counted for: its strategy, or the empty string for all that the rule counts together.
    """

    __slots__ = ("_case", "_ceiling", "_group", "capital", "owners", "rule", "subject", "valuation", "watch")

    def __init__(self, rule: Rule, strategy: str, facts: Facts, valuation: Valuation) -> None:
        owners = alone(strategy)
        if rule.total:
            together = members(rule, facts)
            # The order's owner is always counted.
            owners = together if strategy in together else together | owners
        self.rule, self.owners, self.valuation = rule, owners, valuation
        self.subject = subject_of(rule, strategy)
        self.watch = facts.standing.watches.get((identity(rule), self.subject))
        # In the rule's currency, where none of it is in another one.
        amounts = valuation.capital(rule.strategies if rule.total else owners, facts.capital) or ()
        own = [amount for amount, currency in amounts if currency == rule.currency]
        self.capital = own[0] if len(own) == len(amounts) == 1 else None
        self._group: Group | None = None
        self._case: Case | None = None
        self._ceiling: Decimal | None = None

    def held(self) -> Group:
        """The sums of what they hold, always the same ones: each case settles what has moved."""
        if self._group is None:
            self._group = self.valuation.counted(self.owners, self.rule.symbols)
        return self._group

    def ceiling(self, case: Case) -> Decimal | None:
        """What their gross notional with the proposal is at most, in the rule's currency, where that is known without
        adding anything up."""
        if self._case is not case:
            self._case, self._ceiling = case, self._find_ceiling(case)
        return self._ceiling

    def _find_ceiling(self, case: Case) -> Decimal | None:
        rule, ceilings = self.rule, self.valuation.ceilings(self.held())
        unit = case.unit_in(rule)
        if ceilings is None or unit.__class__ is Refusal:
            return None
        total = case.growth * unit  # type: ignore[operator]
        for currency, most in ceilings.items():
            if currency == rule.currency:
                total += most
                continue
            rate = case.rate(currency, rule)
            if isinstance(rate, Refusal):
                return None
            total += most * rate
        return total


class Case:
    """One proposal with what is known. Its numbers are reckoned by operators, which are exact where the thread's
    context is EXACT: the gate sees to that, and so does `exactly` for whoever asks a limit about a case elsewhere."""

    __slots__ = (
        "_fingerprint",
        "_unit",
        "alone",
        "buying",
        "facts",
        "growth",
        "instrument",
        "mark",
        "more",
        "now_ns",
        "proposal",
        "terms",
        "valuation",
    )

    def __init__(self, proposal: Proposal, facts: Facts) -> None:
        terms = proposal.terms
        self.proposal, self.terms, self.facts = proposal, terms, facts
        self.now_ns = facts.now_ns
        self.instrument = instrument = terms.instrument
        self.buying = terms.side is Side.BUY
        self.alone = alone(terms.strategy)
        # What the proposal adds to what is open; and that, where it is not less than nothing.
        counted = proposal.counted_leaves
        self.more = self.growth = proposal.leaves
        if counted:
            self.more = EXACT.subtract(proposal.leaves, counted)
            self.growth = max(self.more, ZERO)
        self.valuation = valuation = facts.valuation or valuation_of(facts)
        valuation.settle()
        # The last quote of the instrument with its time, of any age; None unless it is usable.
        mark = facts.marks.get(instrument)
        self.mark: Mark | None = mark if mark is not None and usable(instrument, facts.marks) is not None else None
        self._unit: Unit | bool | None = False
        self._fingerprint = -1

    def move(self, owners: frozenset[str]) -> tuple[Decimal, Decimal]:
        """The owners' worst case on the proposal's side, signed, without the proposal and with it."""
        terms, facts, counted = self.terms, self.facts, self.proposal.counted_leaves
        worst = worst_case(owners, self.instrument, terms.side, facts.exposures, facts.account)
        if self.buying:
            return worst - counted, worst + self.more
        return worst + counted, worst - self.more

    def approaches_zero(self, owners: frozenset[str]) -> bool:
        """Whether the proposal brings the owners' worst case in its instrument nearer to zero and not past it."""
        before, after = self.move(owners)
        return 0 <= after < before or before < after <= 0

    def gross(self, counted: Counted) -> Decimal | Refusal:
        """Gross notional of those whom the rule counts with the proposal, in the rule's currency; a refusal when
        something cannot be valued."""
        rule = counted.rule
        unit, group = self.unit_in(rule), self.valuation.group(counted.owners, rule.symbols)
        if isinstance(unit, Refusal) or group.unvalued:
            return _not_known(unit, group, rule)
        part = group.parts.get(self.instrument, EMPTY)
        total = (self.largest(part) - part.largest) * unit
        for currency, held in group.totals.items():
            rate = self.rate(currency, rule)
            if isinstance(rate, Refusal):
                return rate
            total += held.gross * rate
        return _AWAY_FROM_ZERO.plus(total)

    def net(self, counted: Counted, leaves: Decimal) -> Decimal | Refusal:
        """Signed net notional with every working order of the proposal's side filled, if the proposal had these leaves,
        in the rule's currency; a refusal when something cannot be valued."""
        rule = counted.rule
        unit, group = self.unit_in(rule), self.valuation.group(counted.owners, rule.symbols)
        if isinstance(unit, Refusal) or group.unvalued:
            return _not_known(unit, group, rule)
        more = leaves - self.proposal.counted_leaves
        total = (more if self.buying else -more) * unit
        for currency, held in group.totals.items():
            rate = self.rate(currency, rule)
            if isinstance(rate, Refusal):
                return rate
            total += (held.up if self.buying else held.down) * rate
        return _AWAY_FROM_ZERO.plus(total)

    def largest(self, part: Part) -> Decimal:
        """The larger side of what is held in the instrument with the proposal, in units."""
        if self.buying:
            return larger(part.buying + self.more, part.selling)
        return larger(part.buying, part.selling - self.more)

    def unit_in(self, rule: Rule) -> Decimal | Refusal:
        """What one unit of the instrument is worth by the mid, in the rule's currency, or why nobody can tell."""
        unit = self._unit
        if unit is False:
            unit = self._unit = self.valuation.unit(self.instrument)
        if unit.__class__ is not Unit:
            return _not_valued(self.instrument, rule)
        value, currency = unit
        if currency == rule.currency:
            return value
        rate = self.rate(currency, rule)
        return rate if isinstance(rate, Refusal) else value * rate

    def rate(self, currency: str, rule: Rule) -> Decimal | Refusal:
        """Units of the rule's currency for one unit of `currency`; a refusal without a quote of the rule's age. A
        closing order is converted by a quote of any age: a quiet market must not stop a Flatten."""
        if currency == rule.currency:
            return fx.ONE
        age_ns = _ANY_AGE_NS if self.terms.closing else rule.rate_age_ns
        found = self.valuation.rate(currency, rule.currency, self.now_ns, age_ns)
        return found if found is not None else _no_rate(currency, rule)

    def capital(self, rule: Rule) -> Decimal | Refusal:
        """Capital of those whom the rule counts, in its currency."""
        found = capital_of(rule, self.alone, self.facts, self.valuation)
        if found is not None:
            return found
        amounts = self.valuation.capital(rule.strategies if rule.total else self.alone, self.facts.capital)
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

    def unit_value_in(self, rule: Rule) -> Decimal | Refusal | None:
        """Judged price x multiplier in the rule's currency, per unit, rounded up; a refusal without a rate, None
        without a price or an instrument."""
        price, listed = judged_price(self.terms, self.mark), self.facts.instruments.get(self.instrument)
        if price is None or listed is None:
            return None
        unit = _AWAY_FROM_ZERO.multiply(price, listed.multiplier)
        if listed.currency == rule.currency:
            return unit
        rate = self.rate(listed.currency, rule)
        return rate if isinstance(rate, Refusal) else _AWAY_FROM_ZERO.multiply(unit, rate)

    def notional(self, rule: Rule) -> Decimal | Refusal | None:
        """Whole quantity x value of one unit in the rule's currency, rounded up so that nothing passes a limit by
        rounding; a refusal without a rate, None without a price."""
        unit = self.unit_value_in(rule)
        return _AWAY_FROM_ZERO.multiply(self.terms.quantity, unit) if isinstance(unit, Decimal) else unit


def _not_known(unit: Decimal | Refusal, group: Group, rule: Rule) -> Refusal:
    """Why something cannot be valued: the proposal's instrument, or another one that counts."""
    return unit if isinstance(unit, Refusal) else _not_valued(min(group.unvalued), rule)


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
    return touch if terms.price is None or touch > terms.price else terms.price
