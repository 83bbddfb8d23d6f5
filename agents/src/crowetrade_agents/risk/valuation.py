"""What groups of owners hold and work in money, kept current so that a decision adds nothing up.

A group is a set of owners in some symbols: those whom a rule counts, in the instruments that it covers. Its sums are
made when it is first asked for. From then on an exposure that moves and a quote that changes only mark an instrument of
the group; what is marked is valued again when the group is asked for next.

A unit of an instrument is worth the mid of its last quote x multiplier, in its currency. Sums are kept by currency, so
that a rate of exchange moves nothing but the conversion. Values are rounded to MONEY_PLACES away from the better side
and added exactly: what was added is taken out again to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal
from typing import NamedTuple

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import Mark, TopOfBook
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.numbers import CONTEXT, MONEY_PLACES, ZERO
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk import fx
from crowetrade_agents.risk.worst_case import Accounts, Exposures, open_orders, worst_case

Key = tuple[str, InstrumentId]
_CENT = Decimal(1).scaleb(-MONEY_PLACES)
_EXACT = Context(prec=200)
"""Digits for the product of three numbers of 38 digits each."""


class Value(NamedTuple):
    """Money in one currency. `gross` is without sign, on the worse side; `up` is signed with every working buy filled,
    `down` with every working sell."""

    gross: Decimal = ZERO
    up: Decimal = ZERO
    down: Decimal = ZERO

    def plus(self, other: Value) -> Value:
        """The sum, exact."""
        add = _EXACT.add
        return Value(add(self.gross, other.gross), add(self.up, other.up), add(self.down, other.down))

    def less(self, other: Value) -> Value:
        """The difference, exact."""
        subtract = _EXACT.subtract
        return Value(subtract(self.gross, other.gross), subtract(self.up, other.up), subtract(self.down, other.down))

    def times(self, rate: Decimal) -> Value:
        """In another currency."""
        if rate is fx.ONE:
            return self
        return Value(
            _EXACT.multiply(self.gross, rate), _EXACT.multiply(self.up, rate), _EXACT.multiply(self.down, rate)
        )


NOTHING = Value()


class Unit(NamedTuple):
    """What one unit of an instrument is worth."""

    value: Decimal
    currency: str

    def of(self, buying: Decimal, selling: Decimal) -> Value:
        """The value of a worst case in units: `buying` with every working buy filled, `selling` with every sell."""
        up = _EXACT.multiply(buying, self.value).quantize(_CENT, ROUND_CEILING, _EXACT)
        down = _EXACT.multiply(selling, self.value).quantize(_CENT, ROUND_FLOOR, _EXACT)
        return Value(max(up, down.copy_negate()), up, down)


class Part(NamedTuple):
    """What a group holds and works in one instrument, in units and in money; `unit` None when it cannot be valued."""

    buying: Decimal
    selling: Decimal
    orders: int
    unit: Unit | None
    value: Value


EMPTY = Part(ZERO, ZERO, 0, None, NOTHING)


class Group:
    """Sums of some owners in some symbols. `unvalued` holds instruments in which they hold or work something that
    cannot be valued: no usable quote is known, or the venue lists it no more."""

    __slots__ = ("orders", "owners", "parts", "stale", "sums", "symbols", "unvalued")

    def __init__(self, owners: frozenset[str], symbols: frozenset[str], stale: Iterable[InstrumentId]) -> None:
        self.owners, self.symbols = owners, symbols
        self.parts: dict[InstrumentId, Part] = {}
        self.sums: dict[str, Value] = {}
        self.orders = 0
        self.unvalued: set[InstrumentId] = set()
        self.stale = {instrument for instrument in stale if self.covers(instrument)}

    def covers(self, instrument: InstrumentId) -> bool:
        """Whether the group counts what is held in the instrument."""
        return not self.symbols or instrument.symbol in self.symbols

    def put(self, instrument: InstrumentId, part: Part) -> None:
        """The instrument's part is this from now on."""
        old = self.parts.pop(instrument, EMPTY)
        self.orders += part.orders - old.orders
        if old.unit is not None:
            self.sums[old.unit.currency] = self.sums[old.unit.currency].less(old.value)
        self.unvalued.discard(instrument)
        if not part.buying and not part.selling and not part.orders:
            return
        self.parts[instrument] = part
        if part.unit is not None:
            self.sums[part.unit.currency] = self.sums.get(part.unit.currency, NOTHING).plus(part.value)
        elif part.buying or part.selling:
            self.unvalued.add(instrument)


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
        self._holders: dict[InstrumentId, set[Group]] = {}
        self._units: dict[InstrumentId, Unit | None] = {}
        self._pairs: dict[tuple[str, str], tuple[fx.Pair, ...]] = {}
        self._capital: dict[frozenset[str], tuple[Money, ...] | None] = {}

    def forget(self) -> None:
        """Other rules are in force: groups that nobody asks for any more go, and so do sums of capital."""
        for kept in (self._groups, self._groups_of, self._holders, self._capital):
            kept.clear()

    def group(self, owners: frozenset[str], symbols: frozenset[str]) -> Group:
        """The sums of these owners in these symbols (all when empty), as they are now."""
        if self._moved or self._quoted:
            self._mark()
        found = self._groups.get((owners, symbols))
        if found is None:
            found = self._open(owners, symbols)
        if found.stale:
            for instrument in found.stale:
                self._value(found, instrument)
            found.stale.clear()
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
            unit = Unit(_EXACT.multiply(book.mid, listed.multiplier), listed.currency)
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
                    group.stale.add(instrument)
        self._moved.clear()
        for instrument in self._quoted:
            self._units.pop(instrument, None)
            for group in self._holders.get(instrument, ()):
                group.stale.add(instrument)
        self._quoted.clear()

    def _value(self, group: Group, instrument: InstrumentId) -> None:
        buying = worst_case(group.owners, instrument, Side.BUY, self._exposures, self._accounts)
        selling = worst_case(group.owners, instrument, Side.SELL, self._exposures, self._accounts)
        orders = open_orders(group.owners, instrument, self._exposures, self._accounts)
        unit = self.unit(instrument) if buying.is_finite() and selling.is_finite() else None
        group.put(instrument, Part(buying, selling, orders, unit, unit.of(buying, selling) if unit else NOTHING))
        holders = self._holders.setdefault(instrument, set())
        if instrument in group.parts:
            holders.add(group)
        else:
            holders.discard(group)


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
