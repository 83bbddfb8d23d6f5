"""Most order messages in a sliding window: new orders, cancels and replacements, refused ones too
(RTS 6 Article 15(1)(d) and 15(2)).

The message that is judged is added to the windows after the decision, whatever it was.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade_agents.risk.case import Case, Counted, Sums
from crowetrade_agents.risk.limits.limit import Allowed, Check, Limit, Use, by_owners, only, parse_count, use_of
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.shares import unknown_share

if TYPE_CHECKING:
    from crowetrade_agents.risk.rules import Rule

NAME = "maxOrderRate"
MAX_COUNT = 1_000_000
MAX_SECONDS = 86_400
NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` messages in any `per_seconds` seconds, which are `window_ns` nanoseconds."""

    count: int
    per_seconds: int
    window_ns: int


def parse(values: Mapping[str, str]) -> Rate:
    """`count` from 1 to 1,000,000 and `perSeconds` from 1 to 86,400; raises InvalidLimit."""
    count, seconds = only(values, "count", "perSeconds")
    per_seconds = parse_count("perSeconds", seconds, MAX_SECONDS)
    return Rate(parse_count("count", count, MAX_COUNT), per_seconds, per_seconds * NANOSECONDS)


def compile(value: Rate, counted: Counted) -> Check:
    """Fewer messages than `count`, or this gateway's share of it, are in the window, so that this one fits in.

    A closing order counts in no window and is not judged: a strategy that sends without end would keep its position
    open.
    """
    rule = counted.rule
    most, owners, symbols, window_ns = Decimal(value.count), counted.owners, rule.symbols or None, value.window_ns
    may = Allowed(rule, NAME, most)

    def check(case: Case) -> Refusal | None:
        room = may.by(case.facts.shares)
        if room is None:
            return unknown_share(rule, NAME)
        if case.facts.messages.has_room(owners, symbols, case.now_ns, window_ns, room):
            return None
        held = f", this gateway's share of {value.count}" if room != most else ""
        text = (
            f"{int(room)} order messages{held} in {value.per_seconds} s were sent already, the most that {NAME} of "
            f"{rule.name} admits: wait, and send fewer"
        )
        return Refusal(Reason.MAX_ORDER_RATE, text, rule.name)

    return check


def use(value: Rate, sums: Sums, rule: Rule) -> Iterator[Use]:
    """Messages in the window: of all together, or of each strategy."""
    facts = sums.facts
    for key, counted in sums.counted(rule).items():
        if used := facts.messages.count(counted, rule.symbols, facts.now_ns, value.window_ns):
            yield use_of(rule, NAME, key, Decimal(used), Decimal(value.count), facts)


def order_use(value: Rate, case: Case, counted: Counted) -> Decimal:
    """Messages in the window, with this one."""
    facts = case.facts
    return Decimal(facts.messages.count(counted.owners, counted.rule.symbols, facts.now_ns, value.window_ns) + 1)


def measure(value: Rate, rule: Rule) -> Hashable:
    """Messages of whom the rule counts, in the instruments that it covers, in a window of this length."""
    return by_owners(rule), rule.symbols, value.window_ns


def bound(value: Rate) -> Decimal:
    """The messages that the window may hold."""
    return Decimal(value.count)


LIMIT = Limit(
    NAME,
    Reason.MAX_ORDER_RATE,
    parse,
    compile,
    bound,
    use=use,
    measure=measure,
    judges_resting=False,
    judges_closing=False,
    order_use=order_use,
)
