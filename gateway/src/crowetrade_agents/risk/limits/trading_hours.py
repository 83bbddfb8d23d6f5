"""When orders may leave: in the sessions of an exchange calendar, early closes and breaks included (SEC Rule
15c3-5(c)(2)(i), requirements that must be satisfied before an order is entered).

An order that only reduces what its owner holds always may leave. What rests is not judged again: DAY and GTD say how
long it rests.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import ZERO
from crowetrade_agents.risk.calendars import Calendar, calendar_named
from crowetrade_agents.risk.case import Case, Counted
from crowetrade_agents.risk.limits.limit import Check, Limit, only
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.reducing import reduces

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "tradingHours"


def parse(values: Mapping[str, str]) -> Calendar:
    """The calendar of that name; raises InvalidLimit for a name that exchange_calendars does not know."""
    (name,) = only(values, "calendar")
    return calendar_named(name)


def compile(value: Calendar, counted: Counted) -> Check:
    """A session is open now, or the order only reduces. A time that the calendar does not cover is not open."""
    rule = counted.rule

    def check(case: Case) -> Refusal | None:
        if value.is_open(case.now_ns) or reduces(case.proposal, case.facts):
            return None
        text = f"{value.name} is closed ({NAME} of {rule.name}): until it opens, only orders that reduce may leave"
        return Refusal(Reason.OUTSIDE_TRADING_HOURS, text, rule.name)

    return check


def bound(value: Calendar) -> Decimal:
    """Every calendar decides."""
    return ZERO


def measure(value: Calendar, rule: Rule) -> Hashable:
    """The calendar itself."""
    return value.name


LIMIT: Limit[Calendar] = Limit(
    NAME,
    Reason.OUTSIDE_TRADING_HOURS,
    parse,
    compile,
    bound,
    measure=measure,
    judges_resting=False,
    judges_closing=False,
)
