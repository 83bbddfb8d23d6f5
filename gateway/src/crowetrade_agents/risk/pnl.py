"""Profit and loss of owners, kept current with every quote and every fill.

What one owner makes in one instrument is a line over its mid, in quote currency:

    base + slope x mid
    base = multiplier x (realised - average price x quantity) - fees
    slope = multiplier x quantity

A ledger adds such lines up for the owners and symbols of its scope, keeps one sum per quote currency, and converts the
sums to its own currency. So a quote costs one multiplication and one addition for each ledger that holds something in
its instrument, however many owners and instruments there are.

`Ledger.value` is reckoned with the last usable quotes, whatever their age; `Ledger.problem` says whether it may be
believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import MAX_FEED_SILENCE_NS, Mark, TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.domain.position import Position
from crowetrade_agents.risk.fx import MAX_RATE_AGE_NS, ONE, Pair, pairs, rate_of
from crowetrade_agents.risk.reasons import Reason, Refusal

NEVER = Decimal("-Infinity")
_ANY_AGE_NS = 1 << 62

Key = tuple[str, InstrumentId]
"""Owner and instrument."""


class Scope(NamedTuple):
    """Whose profit and loss, in which symbols (empty means all), in which currency."""

    owners: frozenset[str]
    symbols: frozenset[str]
    currency: str

    def covers(self, key: Key) -> bool:
        """Whether the owner's position in the instrument counts."""
        return key[0] in self.owners and (not self.symbols or key[1].symbol in self.symbols)


class Line(NamedTuple):
    """What a position makes at a mid, quote currency: `base + slope x mid`."""

    base: Decimal
    slope: Decimal

    def at(self, mid: Decimal) -> Decimal:
        """Profit and loss at this mid."""
        return CONTEXT.add(self.base, CONTEXT.multiply(self.slope, mid))


NOTHING = Line(ZERO, ZERO)


def line_of(position: Position, instrument: Instrument | None) -> Line:
    """The line of a position; the multiplier is 1 where the instrument is listed no more."""
    multiplier = instrument.multiplier if instrument is not None else ONE
    paid = CONTEXT.multiply(position.average_price, position.quantity)
    earned = CONTEXT.multiply(multiplier, CONTEXT.subtract(position.realized, paid))
    return Line(CONTEXT.subtract(earned, position.fees), CONTEXT.multiply(multiplier, position.quantity))


class _Leg:
    """What a ledger has made in one quote currency, and what one unit of that is worth in the ledger's."""

    __slots__ = ("currency", "ledger", "pairs", "rate", "total")

    def __init__(self, ledger: Ledger, currency: str, listed: tuple[Pair, ...]) -> None:
        self.ledger = ledger
        self.currency = currency
        self.pairs = listed
        self.rate: Decimal | None = ONE if currency == ledger.scope.currency else None
        self.total = ZERO


class _Holding:
    """What a ledger has in one instrument."""

    __slots__ = ("base", "instrument", "ledger", "leg", "slope")

    def __init__(self, leg: _Leg, instrument: InstrumentId) -> None:
        self.ledger, self.leg, self.instrument = leg.ledger, leg, instrument
        self.base = self.slope = ZERO


class Ledger:
    """Profit and loss of one scope. `floor` is the value below which somebody wants to look (`Ledgers.quoted`), and
    `drop` how far below its `high` the value may fall before; `high` is the highest value since it was last set."""

    __slots__ = ("drop", "floor", "fresh_until", "high", "holdings", "legs", "plain", "scope", "value")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.legs: dict[str, _Leg] = {}
        self.holdings: dict[InstrumentId, _Holding] = {}
        # True while everything is in its own currency: the total of that leg is the value then.
        self.plain = True
        self.value = self.high = ZERO
        self.floor = NEVER
        self.drop: Decimal | None = None
        # By the age that is asked for: until when every quote that counts is known to be young enough.
        self.fresh_until: dict[int | None, int] = {}

    def revalue(self) -> Decimal:
        """Adds the legs up again."""
        value = ZERO
        for leg in self.legs.values():
            if leg.rate is not None:
                value = CONTEXT.add(value, CONTEXT.multiply(leg.total, leg.rate))
        self.value = value
        return value

    def moved(self) -> bool:
        """Whether the value has fallen below the floor; the floor follows a value that rises."""
        value = self.value
        if value > self.high:
            self.high = value
            if self.drop is not None:
                floor = CONTEXT.subtract(value, self.drop)
                if floor > self.floor:
                    self.floor = floor
        return value < self.floor

    @property
    def is_marked(self) -> bool:
        """Whether its value depends on a quote."""
        return any(holding.slope for holding in self.holdings.values())

    def problem(
        self,
        marks: Mapping[InstrumentId, Mark],
        now_ns: int,
        feed_alive_ns: int,
        max_age_ns: int | None = None,
        rate_age_ns: int = MAX_RATE_AGE_NS,
    ) -> Refusal | None:
        """Why the value may not be believed; None when it may. Every quote that counts must be usable and, where a
        `max_age_ns` is given, not older; without one the feed must be alive. Rates are not older than `rate_age_ns`."""
        if max_age_ns is None and abs(now_ns - feed_alive_ns) > MAX_FEED_SILENCE_NS and self.is_marked:
            text = f"the venue's market data has been silent for {abs(now_ns - feed_alive_ns) / 1e9:.1f} s"
            return Refusal(Reason.STALE_MARKET_DATA, text)
        until = self.fresh_until.get(max_age_ns)
        if until is not None and now_ns <= until:
            return None
        until = _ANY_AGE_NS
        for name, holding in self.holdings.items():
            if not holding.slope:
                continue
            mark = marks.get(name)
            if mark is None or not mark.book.is_usable:
                return Refusal(Reason.MISSING_MARK, f"no usable quote of {name} is known, in which something is held")
            if max_age_ns is None:
                continue
            age_ns = now_ns - mark.received_ns
            if not 0 <= age_ns <= max_age_ns:
                text = f"the quote of {name}, in which something is held, is {age_ns / 1e9:.1f} s old"
                return Refusal(Reason.STALE_MARKET_DATA, text)
            until = min(until, mark.received_ns + max_age_ns)
        if self.plain:
            self.fresh_until[max_age_ns] = until
            return None
        return self._convert(marks, now_ns, rate_age_ns)

    def was_known(self, marks: Mapping[InstrumentId, Mark]) -> bool:
        """Whether the value may be believed but for the age of quotes and rates."""
        return self.problem(marks, _ANY_AGE_NS, _ANY_AGE_NS, rate_age_ns=_ANY_AGE_NS) is None

    def _convert(self, marks: Mapping[InstrumentId, Mark], now_ns: int, max_age_ns: int) -> Refusal | None:
        """Takes the rates of that age; why one is missing."""
        changed, was_known = False, True
        held = {holding.leg.currency for holding in self.holdings.values() if holding.slope}
        for leg in self.legs.values():
            if leg.currency == self.scope.currency or not (leg.total or leg.currency in held):
                continue
            found = rate_of(leg.pairs, marks, now_ns, max_age_ns)
            if found is None:
                pair = f"{leg.currency or 'an unknown currency'} to {self.scope.currency}"
                return Refusal(
                    Reason.MISSING_EXCHANGE_RATE, f"no rate from {pair} of the last {max_age_ns / 1e9:g} s is known"
                )
            changed, was_known = changed or found != leg.rate, was_known and leg.rate is not None
            leg.rate = found
        if changed:
            self.revalue()
        if not was_known:
            self.high = self.value
        return None


class Ledgers:
    """All ledgers of one gateway."""

    def __init__(
        self,
        scopes: Iterable[Scope],
        positions: Mapping[Key, Position],
        instruments: Mapping[InstrumentId, Instrument],
        marks: Mapping[InstrumentId, Mark],
    ) -> None:
        self._instruments = instruments
        self._mids = {name: mark.book.mid for name, mark in marks.items() if mark.book.is_usable}
        self._lines: dict[Key, Line] = {}
        self._ledgers = {scope: Ledger(scope) for scope in scopes}
        self._of_owner: dict[str, list[Ledger]] = {}
        for ledger in self._ledgers.values():
            for owner in ledger.scope.owners:
                self._of_owner.setdefault(owner, []).append(ledger)
        # Holdings that a quote of the instrument revalues, and legs whose rate it may change.
        self._quoted: dict[InstrumentId, list[_Holding]] = {}
        self._rated: dict[InstrumentId, list[_Leg]] = {}
        for key, position in positions.items():
            self.booked(key, position, marks)
        for ledger in self._ledgers.values():
            ledger.high = ledger.value

    def __getitem__(self, scope: Scope) -> Ledger:
        return self._ledgers[scope]

    def __iter__(self) -> Iterator[Ledger]:
        return iter(self._ledgers.values())

    def __len__(self) -> int:
        return len(self._ledgers)

    def was_known(self, ledger: Ledger, marks: Mapping[InstrumentId, Mark]) -> bool:
        """As Ledger.was_known, while a quote is among the marks that the values do not count yet."""
        valued = all(name in self._mids for name, holding in ledger.holdings.items() if holding.slope)
        return valued and ledger.was_known(marks)

    def is_new(self, book: TopOfBook) -> bool:
        """Whether it is the first usable quote of its instrument."""
        return book.instrument not in self._mids and book.is_usable

    def quoted(self, book: TopOfBook, marks: Mapping[InstrumentId, Mark]) -> list[Ledger]:
        """Takes a new quote; returns the ledgers that fell below their floor."""
        name = book.instrument
        below: list[Ledger] = []
        if not book.is_usable:
            for holding in self._quoted.get(name, ()):
                holding.ledger.fresh_until.clear()
            return below
        mid, before = book.mid, self._mids.get(name)
        self._mids[name] = mid
        if mid != before:
            self._revalue(name, mid if before is None else CONTEXT.subtract(mid, before), below)
            if before is None:
                # Before, the value left out what a position is worth: a short one seemed to be a gain.
                for holding in self._quoted.get(name, ()):
                    holding.ledger.high = holding.ledger.value
            if name in self._rated:
                self._rate(name, marks, below)
        return below

    def booked(self, key: Key, position: Position, marks: Mapping[InstrumentId, Mark]) -> list[Ledger]:
        """An owner's position has changed; returns the ledgers that fell below their floor."""
        name = key[1]
        listed = self._instruments.get(name)
        if listed is None and not position.quantity:
            # Nobody knows in which currency that was made.
            return []
        line, before = line_of(position, listed), self._lines.get(key, NOTHING)
        self._lines[key] = line
        base, slope = CONTEXT.subtract(line.base, before.base), CONTEXT.subtract(line.slope, before.slope)
        made = Line(base, slope).at(self._mids.get(name, ZERO))
        below = []
        for ledger in self._of_owner.get(key[0], ()):
            if not ledger.scope.covers(key):
                continue
            holding = ledger.holdings.get(name) or self._hold(ledger, name, marks)
            held = bool(holding.slope)
            holding.base, holding.slope = CONTEXT.add(holding.base, base), CONTEXT.add(holding.slope, slope)
            if held is not bool(holding.slope):
                quoted = self._quoted.setdefault(name, [])
                quoted.remove(holding) if held else quoted.append(holding)
            if not (held and holding.slope):
                # Another quote counts, or another currency.
                ledger.fresh_until.clear()
            if ledger.plain:
                ledger.value = CONTEXT.add(ledger.value, made)
            else:
                holding.leg.total = CONTEXT.add(holding.leg.total, made)
                ledger.revalue()
            if ledger.moved():
                below.append(ledger)
        return below

    def _revalue(self, name: InstrumentId, move: Decimal, below: list[Ledger]) -> None:
        fma, subtract = CONTEXT.fma, CONTEXT.subtract
        for holding in self._quoted.get(name, ()):
            ledger = holding.ledger
            if ledger.plain:
                ledger.value = value = fma(holding.slope, move, ledger.value)
            else:
                leg = holding.leg
                leg.total = fma(holding.slope, move, leg.total)
                value = ledger.revalue()
            # As Ledger.moved, which takes too long to call 200 times.
            if value > ledger.high:
                ledger.high = value
                if ledger.drop is not None:
                    ledger.floor = max(ledger.floor, subtract(value, ledger.drop))
            elif value < ledger.floor:
                below.append(ledger)

    def _rate(self, name: InstrumentId, marks: Mapping[InstrumentId, Mark], below: list[Ledger]) -> None:
        for leg in self._rated[name]:
            found = rate_of(leg.pairs, marks, _ANY_AGE_NS, _ANY_AGE_NS)
            if found != leg.rate:
                was_known = leg.rate is not None
                leg.rate = found
                leg.ledger.revalue()
                if not was_known:
                    leg.ledger.high = leg.ledger.value
                if leg.ledger.moved() and leg.ledger not in below:
                    below.append(leg.ledger)

    def _hold(self, ledger: Ledger, name: InstrumentId, marks: Mapping[InstrumentId, Mark]) -> _Holding:
        listed = self._instruments.get(name)
        currency = listed.currency if listed is not None else ""
        leg = ledger.legs.get(currency)
        if leg is None:
            leg = ledger.legs[currency] = _Leg(
                ledger, currency, pairs(currency, ledger.scope.currency, self._instruments)
            )
            if leg.rate is None:
                if ledger.plain and ledger.legs.get(ledger.scope.currency) is not None:
                    ledger.legs[ledger.scope.currency].total = ledger.value
                ledger.plain = False
                leg.rate = rate_of(leg.pairs, marks, _ANY_AGE_NS, _ANY_AGE_NS)
                for pair, _ in leg.pairs:
                    self._rated.setdefault(pair, []).append(leg)
        holding = ledger.holdings[name] = _Holding(leg, name)
        return holding
