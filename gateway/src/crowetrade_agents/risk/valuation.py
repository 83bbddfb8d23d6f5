"""What groups of owners hold and work in money, kept current so that a decision adds little up.

A group is a set of owners in some symbols: those whom a rule counts, in the instruments that it covers. It keeps what
they hold in units, and the sums of that in money by currency, so that a rate of exchange moves nothing but the
conversion. An exposure that moves changes the sums by its difference, and so does a quote when the sums are asked for
next; after quotes of many instruments they are added up again.

A unit of an instrument is worth the mid of its last quote x multiplier, in its currency. Sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Context, Decimal
from typing import NamedTuple

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import Mark, TopOfBook
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.risk import fx
from crowetrade_agents.risk.worst_case import EMPTY, Accounts, Exposures, Part, part_of

Key = tuple[str, InstrumentId]
NEVER = -1
KEPT_QUOTES = 1_000
"""Changes of quotes that are remembered: sums that are older are added up again."""
EXACT = Context(prec=240)
"""Digits for sums of products of four numbers of 38 digits each."""


class Unit(NamedTuple):
    """What one unit of an instrument is worth."""

    value: Decimal
    currency: str


class Total:
    """Money in one currency. `gross` is without sign, of the worse side of each instrument; `up` is signed with every
    working buy filled, `down` with every working sell."""

    __slots__ = ("down", "gross", "up")

    def __init__(self, gross: Decimal = ZERO, up: Decimal = ZERO, down: Decimal = ZERO) -> None:
        self.gross, self.up, self.down = gross, up, down


class Group:
    """Sums of some owners in some symbols. `unvalued` holds instruments in which they hold or work something that
    cannot be valued: no usable quote is known, or the venue lists it no more."""

    __slots__ = ("moved", "orders", "owners", "parts", "quotes", "symbols", "totals", "units", "unvalued")

    def __init__(self, owners: frozenset[str], symbols: frozenset[str], moved: Iterable[InstrumentId]) -> None:
        self.owners, self.symbols = owners, symbols
        self.parts: dict[InstrumentId, Part] = {}
        self.totals: dict[str, Total] = {}
        self.orders = 0
        self.unvalued: set[InstrumentId] = set()
        # What the sums were made of.
        self.units: dict[InstrumentId, Unit] = {}
        # Instruments in which somebody traded since the sums were made, and how many quotes had changed by then.
        self.moved = {instrument for instrument in moved if self.covers(instrument)}
        self.quotes = NEVER

    def covers(self, instrument: InstrumentId) -> bool:
        """Whether the group counts what is held in the instrument."""
        return not self.symbols or instrument.symbol in self.symbols


class Valuation:
    """See the module. `exposures`, `accounts`, `marks` and `instruments` are looked at, never changed. `moved` and
    `quoted` tell which exposures and quotes have changed, by whoever changes them; they are emptied here."""

    def __init__(
        self,
        exposures: Exposures,
        accounts: Accounts,
        instruments: Mapping[InstrumentId, Instrument],
        marks: Mapping[InstrumentId, Mark],
        moved: set[Key] | None = None,
        quoted: set[InstrumentId] | None = None,
    ) -> None:
        self._exposures, self._accounts = exposures, accounts
        self._instruments, self._marks = instruments, marks
        self._moved: set[Key] = set() if moved is None else moved
        self._quoted: set[InstrumentId] = set() if quoted is None else quoted
        self._groups: dict[tuple[frozenset[str], frozenset[str]], Group] = {}
        self._groups_of: dict[str, list[Group]] = {}
        # How many quotes have changed, and of which instruments the last ones were.
        self._quotes = 0
        self._changed: list[InstrumentId] = []
        self._units: dict[InstrumentId, Unit | None] = {}
        self._pairs: dict[tuple[str, str], tuple[fx.Pair, ...]] = {}
        self._capital: dict[frozenset[str], tuple[Money, ...] | None] = {}

    def forget(self) -> None:
        """Other rules are in force: groups that nobody asks for any more go, and so do sums of capital."""
        for kept in (self._groups, self._groups_of, self._capital):
            kept.clear()

    def group(self, owners: frozenset[str], symbols: frozenset[str]) -> Group:
        """The sums of these owners in these symbols (all when empty), as they are now."""
        if self._moved or self._quoted:
            self._mark()
        found = self._groups.get((owners, symbols))
        if found is None:
            found = self._open(owners, symbols)
        if found.quotes != self._quotes:
            self._reprice(found)
        if found.moved:
            for instrument in found.moved:
                self._move(found, instrument)
            found.moved.clear()
        if found.quotes != self._quotes:
            self._add_up(found)
        return found

    def unit(self, instrument: InstrumentId) -> Unit | None:
        """What one unit is worth; None without a usable quote of the instrument or when the venue does not list it."""
        if self._quoted:
            self._mark()
        if instrument in self._units:
            return self._units[instrument]
        listed, book = self._instruments.get(instrument), usable(instrument, self._marks)
        unit = None
        if listed is not None and book is not None:
            unit = Unit(EXACT.multiply(book.mid, listed.multiplier), listed.currency)
        self._units[instrument] = unit
        return unit

    def rate(self, source: str, target: str, now_ns: int, max_age_ns: int) -> Decimal | None:
        """As `fx.rate`, with the pairs that the venue lists found once."""
        if source == target:
            return fx.ONE
        listed = self._pairs.get((source, target))
        if listed is None:
            listed = self._pairs[source, target] = fx.pairs(source, target, self._instruments)
        return fx.rate_of(listed, self._marks, now_ns, max_age_ns)

    def capital(self, strategies: frozenset[str], given: Mapping[str, Money]) -> tuple[Money, ...] | None:
        """Capital of the strategies together, one amount for each currency; None when that of one is not known."""
        if strategies not in self._capital:
            self._capital[strategies] = _together(strategies, given)
        return self._capital[strategies]

    def _open(self, owners: frozenset[str], symbols: frozenset[str]) -> Group:
        group = self._groups[owners, symbols] = Group(owners, symbols, {key[1] for key in self._exposures})
        for owner in owners:
            self._groups_of.setdefault(owner, []).append(group)
        return group

    def _mark(self) -> None:
        for owner, instrument in self._moved:
            for group in self._groups_of.get(owner, ()):
                if group.covers(instrument):
                    group.moved.add(instrument)
        self._moved.clear()
        if self._quoted:
            self._quotes += len(self._quoted)
            self._changed += self._quoted
            if len(self._changed) > 2 * KEPT_QUOTES:
                del self._changed[:-KEPT_QUOTES]
            for instrument in self._quoted:
                self._units.pop(instrument, None)
            self._quoted.clear()

    def _reprice(self, group: Group) -> None:
        """Changes the sums by what quotes have changed since they were made, where that is less work than to add them
        up again and takes or brings no currency."""
        since = self._quotes - group.quotes
        if group.quotes == NEVER or since > len(self._changed):
            return
        changed = {*self._changed[-since:]} & group.parts.keys()
        if 2 * len(changed) > len(group.parts):
            return
        for instrument in changed:
            buying, selling, largest, _ = group.parts[instrument]
            if not largest:
                continue
            old, new = group.units.get(instrument), self.unit(instrument)
            if old is None or new is None or old.currency != new.currency:
                group.quotes = NEVER
                return
            known, move = group.totals[new.currency], EXACT.subtract(new.value, old.value)
            known.gross = EXACT.fma(largest, move, known.gross)
            known.up = EXACT.fma(buying, move, known.up)
            known.down = EXACT.fma(selling, move, known.down)
            group.units[instrument] = new
        group.quotes = self._quotes

    def _move(self, group: Group, instrument: InstrumentId) -> None:
        old = group.parts.get(instrument, EMPTY)
        new = part_of(group.owners, instrument, self._exposures, self._accounts)
        group.orders += new.orders - old.orders
        if new.orders or new.buying or new.selling:
            group.parts[instrument] = new
        else:
            group.parts.pop(instrument, None)
        if group.quotes != self._quotes:
            return
        unit = self.unit(instrument)
        known = None if unit is None else group.totals.get(unit.currency)
        if unit is None or known is None or not (old.largest and new.largest.is_finite() and new.largest):
            # What came or went may bring or take a currency.
            group.quotes = NEVER
            return
        known.gross = EXACT.fma(EXACT.subtract(new.largest, old.largest), unit.value, known.gross)
        known.up = EXACT.fma(EXACT.subtract(new.buying, old.buying), unit.value, known.up)
        known.down = EXACT.fma(EXACT.subtract(new.selling, old.selling), unit.value, known.down)

    def _add_up(self, group: Group) -> None:
        group.totals, group.unvalued, group.quotes = {}, set(), self._quotes
        units = group.units = {}
        fma, known_units = EXACT.fma, self._units
        for instrument, (buying, selling, largest, _) in group.parts.items():
            if not largest:
                continue
            unit = known_units.get(instrument) or self.unit(instrument)
            if unit is None or not largest.is_finite():
                group.unvalued.add(instrument)
                continue
            value, currency = units[instrument] = unit
            known = group.totals.get(currency)
            if known is None:
                known = group.totals[currency] = Total()
            known.gross = fma(largest, value, known.gross)
            known.up = fma(buying, value, known.up)
            known.down = fma(selling, value, known.down)


def usable(instrument: InstrumentId, marks: Mapping[InstrumentId, Mark]) -> TopOfBook | None:
    """The last quote of the instrument, of any age; None unless it is finite, positive, uncrossed and its own."""
    mark = marks.get(instrument)
    if mark is None or mark.book.instrument != instrument or not mark.book.is_usable:
        return None
    return mark.book


def _together(strategies: frozenset[str], given: Mapping[str, Money]) -> tuple[Money, ...] | None:
    sums: dict[str, Decimal] = {}
    for strategy in strategies:
        money = given.get(strategy)
        if money is None or not money.amount.is_finite() or money.amount <= 0:
            return None
        sums[money.currency] = CONTEXT.add(sums.get(money.currency, ZERO), money.amount)
    return tuple(Money(amount, currency) for currency, amount in sorted(sums.items()))
