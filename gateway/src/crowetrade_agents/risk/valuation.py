"""What groups of owners hold and work in money, kept current so that a decision adds little up.

A group is a set of owners in some symbols: those whom a rule counts, in the instruments that it covers. It keeps what
they hold in units, and the sums of that in money by currency, so that a rate of exchange moves nothing but the
conversion. An exposure that moves changes the sums by its difference; after a quote they are added up again when they
are asked for next.

Most decisions need no sum, because a limit is far away: for them there is a ceiling, which the gross sum does not
exceed as long as each mid stays below what it was once and a quarter more. A quote within its band changes no ceiling.

A unit of an instrument is worth the mid of its last quote x multiplier, in its currency. Sums are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from decimal import Context, Decimal, localcontext
from typing import NamedTuple

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import Mark, TopOfBook
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.risk import fx
from crowetrade_agents.risk.worst_case import EMPTY, Accounts, Exposures, Part, part_of

Key = tuple[str, InstrumentId]
NEVER = -1
BAND = Decimal("1.25")
"""How far a mid may rise, and fall, before ceilings are made again."""
EXACT = Context(prec=240)
"""Digits for sums of products of four numbers of 38 digits each."""


def exactly() -> AbstractContextManager[Context]:
    """Operators on decimals lose nothing in here."""
    return localcontext(EXACT)


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


class Band:
    """Mids of an instrument between which its unit is worth at most `ceiling`, in its currency."""

    __slots__ = ("ceiling", "currency", "high", "low")

    def __init__(self, mid: Decimal, listed: Instrument) -> None:
        self.low, self.high = CONTEXT.divide(mid, BAND), EXACT.multiply(mid, BAND)
        self.ceiling, self.currency = EXACT.multiply(self.high, listed.multiplier), listed.currency


class Group:
    """Sums of some owners in some symbols. `unvalued` holds instruments in which they hold or work something that
    cannot be valued: no usable quote is known, or the venue lists it no more. `ceilings` are at least the gross sums by
    currency; None while something cannot be valued."""

    __slots__ = ("bands", "ceilings", "moved", "orders", "owners", "parts", "quotes", "symbols", "totals", "unvalued")

    def __init__(self, owners: frozenset[str], symbols: frozenset[str], moved: Iterable[InstrumentId]) -> None:
        self.owners, self.symbols = owners, symbols
        self.parts: dict[InstrumentId, Part] = {}
        self.totals: dict[str, Total] = {}
        self.orders = 0
        self.unvalued: set[InstrumentId] = set()
        self.ceilings: dict[str, Decimal] | None = None
        # Instruments in which somebody traded since it was looked at; how many quotes had changed when the sums were
        # made, and how many bands when the ceilings were.
        self.moved = {instrument for instrument in moved if self.covers(instrument)}
        self.quotes = self.bands = NEVER

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
        # Another one as soon as groups that were given out are kept current no more.
        self.opened = object()
        self._groups: dict[tuple[frozenset[str], frozenset[str]], Group] = {}
        self._groups_of: dict[str, list[Group]] = {}
        # Those in which something may have moved.
        self._touched: set[Group] = set()
        # How many quotes have changed, and how many of them left a band.
        self._quotes = self._bands = 0
        self._band_of: dict[InstrumentId, Band | None] = {}
        self._units: dict[InstrumentId, Unit | None] = {}
        self._pairs: dict[tuple[str, str], tuple[fx.Pair, ...]] = {}
        self._capital: dict[frozenset[str], tuple[Money, ...] | None] = {}

    def forget(self) -> None:
        """Other rules are in force: groups that nobody asks for any more go, and so do sums of capital."""
        for kept in (self._groups, self._groups_of, self._touched, self._capital):
            kept.clear()
        self.opened = object()

    def group(self, owners: frozenset[str], symbols: frozenset[str]) -> Group:
        """The sums of these owners in these symbols (all when empty), as they are now."""
        found = self.counted(owners, symbols)
        if found.quotes != self._quotes:
            self._add_up(found)
        return found

    def counted(self, owners: frozenset[str], symbols: frozenset[str]) -> Group:
        """The same, of which parts and orders are as they are now."""
        if self._moved or self._quoted:
            self._mark()
        found = self._groups.get((owners, symbols))
        if found is None:
            found = self._open(owners, symbols)
        if found.moved:
            for instrument in found.moved:
                self._move(found, instrument)
            found.moved.clear()
        return found

    def ceilings(self, group: Group) -> dict[str, Decimal] | None:
        """What the group's gross sums are at most, by currency; None while something cannot be valued."""
        if group.bands != self._bands:
            self._make_ceilings(group)
        return group.ceilings

    def settle(self) -> None:
        """Takes in what has moved, so that the next decision need not; nothing as long as nobody has asked for sums."""
        if not self._groups:
            return
        if self._moved or self._quoted:
            self._mark()
        while self._touched:
            group = self._touched.pop()
            for instrument in group.moved:
                self._move(group, instrument)
            group.moved.clear()

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
                    self._touched.add(group)
        self._moved.clear()
        if self._quoted:
            self._quotes += len(self._quoted)
            for instrument in self._quoted:
                self._units.pop(instrument, None)
                if instrument in self._band_of:
                    self._look_at_band(instrument)
            self._quoted.clear()

    def _look_at_band(self, instrument: InstrumentId) -> None:
        band, book = self._band_of[instrument], usable(instrument, self._marks)
        if band is None and book is None:
            return
        if band is None or book is None or not band.low <= book.mid <= band.high:
            self._bands += 1
            del self._band_of[instrument]

    def _band(self, instrument: InstrumentId) -> Band | None:
        """The band of an instrument, around the mid at which it was first asked for; None when it has no value."""
        if instrument not in self._band_of:
            listed, book = self._instruments.get(instrument), usable(instrument, self._marks)
            self._band_of[instrument] = None if listed is None or book is None else Band(book.mid, listed)
        return self._band_of[instrument]

    def _make_ceilings(self, group: Group) -> None:
        group.bands, group.ceilings = self._bands, None
        ceilings: dict[str, Decimal] = {}
        for instrument, part in group.parts.items():
            if not part.largest:
                continue
            band = self._band(instrument)
            if band is None or not part.largest.is_finite():
                return
            ceilings[band.currency] = EXACT.fma(part.largest, band.ceiling, ceilings.get(band.currency, ZERO))
        group.ceilings = ceilings

    def _move(self, group: Group, instrument: InstrumentId) -> None:
        old = group.parts.get(instrument, EMPTY)
        new = part_of(group.owners, instrument, self._exposures, self._accounts)
        group.orders += new.orders - old.orders
        if new.orders or new.buying or new.selling:
            group.parts[instrument] = new
        else:
            group.parts.pop(instrument, None)
        self._move_ceiling(group, instrument, old, new)
        unit = self.unit(instrument) if group.quotes == self._quotes else None
        known = None if unit is None else group.totals.get(unit.currency)
        if unit is None or known is None or not (old.largest and new.largest.is_finite() and new.largest):
            # What came or went may bring or take a currency.
            group.quotes = NEVER
            return
        known.gross = EXACT.fma(EXACT.subtract(new.largest, old.largest), unit.value, known.gross)
        known.up = EXACT.fma(EXACT.subtract(new.buying, old.buying), unit.value, known.up)
        known.down = EXACT.fma(EXACT.subtract(new.selling, old.selling), unit.value, known.down)

    def _move_ceiling(self, group: Group, instrument: InstrumentId, old: Part, new: Part) -> None:
        if group.bands != self._bands:
            return
        band = self._band(instrument)
        if group.ceilings is None or band is None or not new.largest.is_finite():
            group.bands = NEVER
            return
        more = EXACT.subtract(new.largest, old.largest)
        group.ceilings[band.currency] = EXACT.fma(more, band.ceiling, group.ceilings.get(band.currency, ZERO))

    def _add_up(self, group: Group) -> None:
        group.totals, group.unvalued, group.quotes = {}, set(), self._quotes
        fma, known_units = EXACT.fma, self._units
        for instrument, (buying, selling, largest, _) in group.parts.items():
            if not largest:
                continue
            unit = known_units.get(instrument) or self.unit(instrument)
            if unit is None or not largest.is_finite():
                group.unvalued.add(instrument)
                continue
            value, currency = unit
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
