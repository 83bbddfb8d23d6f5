"""How long an order may not be sent again that is the same as one before, in milliseconds (SEC Rule 15c3-5(c)(1)(ii),
duplicative orders).

The same are orders with the same instrument, side, quantity, type and price. A replacement is no second order. A
closing order is not judged: a position that is closed in slices needs the same one again and again.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.risk.case import Case, Counted
from crowetrade_agents.risk.limits.limit import Check, Limit, by_owners, only, parse_count
from crowetrade_agents.risk.reasons import Reason, Refusal

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "duplicateWindowMillis"
MAX_MILLIS = 86_400_000
_MILLISECOND_NS = 1_000_000


def parse(values: Mapping[str, str]) -> int:
    """A whole number from 1 to 86,400,000; raises InvalidLimit."""
    (text,) = only(values, "value")
    return parse_count("value", text, MAX_MILLIS)


def compile(value: int, counted: Counted) -> Check:
    """None of those whom the rule counts sent the same order in the window. A window that is longer than the gateway's
    memory of orders refuses: it cannot know."""
    rule, owners = counted.rule, counted.owners
    window_ns = value * _MILLISECOND_NS

    def check(case: Case) -> Refusal | None:
        if case.proposal.counted_leaves:
            return None
        recent, since_ns = case.facts.recent, case.now_ns - window_ns
        if recent.sent_since(case.fingerprint, owners, since_ns):
            text = (
                f"the same order was sent less than {value} ms ago ({NAME} of {rule.name}): if it is meant, wait, or "
                "change its quantity or price"
            )
            return Refusal(Reason.DUPLICATE_ORDER, text, rule.name)
        if recent.knows_since(since_ns):
            return None
        text = (
            f"{NAME} {value} of {rule.name} reaches further back than the orders that the gateway remembers: set a "
            "shorter window, or send fewer orders"
        )
        return Refusal(Reason.DUPLICATE_ORDER, text, rule.name)

    return check


def bound(value: int) -> Decimal:
    """The longer window is the tighter one."""
    return Decimal(-value)


def measure(value: int, rule: Rule) -> Hashable:
    """Orders of whom the rule counts."""
    return by_owners(rule)


LIMIT = Limit(
    NAME,
    Reason.DUPLICATE_ORDER,
    parse,
    compile,
    bound,
    measure=measure,
    judges_resting=False,
    judges_closing=False,
)
