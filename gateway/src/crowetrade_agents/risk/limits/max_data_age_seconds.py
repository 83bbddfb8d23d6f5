"""Oldest quote by which an order is judged, in seconds since the gateway received it (FIA 2015, 1.3: stale market data
blocks orders).

Rates of exchange of the same RiskLimit may be as old (`Rule.rate_age_ns`). It does not stop closing orders: a quiet
market must not stop a Flatten.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import render
from crowetrade_agents.risk.case import Case, Counted
from crowetrade_agents.risk.limits.limit import Check, Limit, parse_positive
from crowetrade_agents.risk.reasons import Reason, Refusal

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "maxDataAgeSeconds"
_SECOND_NS = Decimal(1_000_000_000)


def parse(values: Mapping[str, str]) -> int:
    """Nanoseconds, from a decimal of seconds above 0; raises InvalidLimit."""
    return int(parse_positive(values) * _SECOND_NS)


def compile(value: int, counted: Counted) -> Check:
    """The last quote of the instrument is usable and not older."""
    rule = counted.rule

    def check(case: Case) -> Refusal | None:
        mark = case.mark
        if mark is not None and 0 <= case.now_ns - mark.received_ns <= value:
            return None
        return old_quote(value, NAME, case, rule)

    return check


def old_quote(most_ns: int, limit: str, case: Case, rule: Rule) -> Refusal:
    """What is said to an order whose instrument has no usable quote of at most that age. A quote out of the future (the
    clock stepped back) is as bad as an old one."""
    mark, instrument = case.mark, case.instrument
    if mark is None:
        text = f"no usable quote of {instrument} is known, so {limit} of {rule.name} cannot be judged: wait for one"
        return Refusal(Reason.MISSING_MARKET_DATA, text, rule.name)
    age_ns = case.now_ns - mark.received_ns
    text = (
        f"the last quote of {instrument} is {render(Decimal(abs(age_ns)) / _SECOND_NS)} s "
        f"{'old' if age_ns > 0 else 'ahead of the clock'}, and {limit} of {rule.name} takes one of at most "
        f"{render(Decimal(most_ns) / _SECOND_NS)} s: wait for the next one"
    )
    return Refusal(Reason.STALE_MARKET_DATA, text, rule.name)


LIMIT: Limit[int] = Limit(
    NAME, Reason.STALE_MARKET_DATA, parse, compile, bound=Decimal, judges_resting=False, judges_closing=False
)
