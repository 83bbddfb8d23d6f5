"""Instruments that may not be traded, by symbol (SEC Rule 15c3-5(c)(2)(ii), restricted securities; RTS 6
Article 15(4)).

What is held of one may be reduced.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.domain.numbers import ZERO
from crowetrade_agents.risk.case import Case, Counted
from crowetrade_agents.risk.limits.limit import Check, Limit, only
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.reducing import reduces

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "restrictedInstruments"


def parse(values: Mapping[str, str]) -> frozenset[str]:
    """Symbols with commas between them; none when empty. Raises InvalidLimit."""
    (text,) = only(values, "value")
    return frozenset(filter(None, text.split(",")))


def compile(value: frozenset[str], counted: Counted) -> Check:
    """The instrument is not among them, or the order only reduces what its owner holds."""
    rule = counted.rule

    def check(case: Case) -> Refusal | None:
        symbol = case.instrument.symbol
        if symbol not in value or reduces(case.proposal, case.facts):
            return None
        text = f"{symbol} stands in {NAME} of {rule.name}: only orders that reduce a position in it may leave"
        return Refusal(Reason.RESTRICTED_INSTRUMENT, text, rule.name)

    return check


def bound(value: frozenset[str]) -> Decimal:
    """Every list decides."""
    return ZERO


def measure(value: frozenset[str], rule: Rule) -> Hashable:
    """The list itself."""
    return value


LIMIT: Limit[frozenset[str]] = Limit(
    NAME, Reason.RESTRICTED_INSTRUMENT, parse, compile, bound, measure=measure, judges_closing=False
)
