"""Rates of exchange from the venue's own quotes. Pure.

A rate is the mid of a currency pair that the venue lists (`Instrument.base_currency`), or one divided by it. A quote is
as old as the time since it was received; one that is too old, or in the future, gives no rate. Whoever needs a rate that
is not there refuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import Mark
from crowetrade_agents.domain.numbers import CONTEXT

ONE = Decimal(1)
MAX_RATE_AGE_NS = 60_000_000_000
"""Oldest quote that gives a rate where a rule sets no maxDataAgeSeconds."""


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
    for instrument in instruments.values():
        pair = (instrument.base_currency, instrument.currency)
        if pair not in ((source, target), (target, source)):
            continue
        mark = marks.get(instrument.id)
        if mark is None or not mark.book.is_usable or not 0 <= now_ns - mark.received_ns <= max_age_ns:
            continue
        mid = mark.book.mid
        return mid if pair == (source, target) else CONTEXT.divide(ONE, mid)
    return None
