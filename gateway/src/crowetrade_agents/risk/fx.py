"""Rates of exchange from the venue's own quotes. Pure.

A rate is the mid of a currency pair that the venue lists (`Instrument.base_currency`), or one divided by it. A quote is
as old as the time since it was received; one that is too old, or in the future, gives no rate. Whoever needs a rate
that is not there refuses.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import Mark
from crowetrade_agents.domain.numbers import CONTEXT

ONE = Decimal(1)
MAX_RATE_AGE_NS = 60_000_000_000
"""Oldest quote that gives a rate where a rule sets no maxDataAgeSeconds."""

Pair = tuple[InstrumentId, bool]
"""An instrument that is a pair of two currencies, and whether its rate has to be turned over."""


def pairs(source: str, target: str, instruments: Mapping[InstrumentId, Instrument]) -> tuple[Pair, ...]:
    """The instruments whose quotes give a rate from `source` to `target`."""
    wanted = ((source, target), (target, source))
    return tuple(
        (instrument.id, instrument.base_currency == target)
        for instrument in instruments.values()
        if instrument.base_currency and (instrument.base_currency, instrument.currency) in wanted
    )


def rate(
    source: str,
    target: str,
    instruments: Mapping[InstrumentId, Instrument],
    marks: Mapping[InstrumentId, Mark],
    now_ns: int,
    max_age_ns: int = MAX_RATE_AGE_NS,
) -> Decimal | None:
    """Units of `target` for one unit of `source`; None when no pair of both has a usable quote of that age."""
    if source == target:
        return ONE
    return rate_of(pairs(source, target, instruments), marks, now_ns, max_age_ns)


def rate_of(
    listed: Iterable[Pair], marks: Mapping[InstrumentId, Mark], now_ns: int, max_age_ns: int = MAX_RATE_AGE_NS
) -> Decimal | None:
    """The rate of the first of these pairs that has a usable quote of that age; None when none has."""
    for instrument, inverse in listed:
        mark = marks.get(instrument)
        if mark is None or not mark.book.is_usable or not 0 <= now_ns - mark.received_ns <= max_age_ns:
            continue
        return CONTEXT.divide(ONE, mark.book.mid) if inverse else mark.book.mid
    return None
