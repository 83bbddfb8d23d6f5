"""What a limit is: a name on the wire, how its values are read, and its use as pure functions of the facts.

Rules hold limits and facts hold rules, so limit modules import both for their types alone.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from crowetrade_agents.domain.numbers import ZERO, parse, render
from crowetrade_agents.errors import InvalidLimit, InvalidNumber
from crowetrade_agents.risk.case import Case, Counted, Sums
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.shares import Shares, allowed, is_split, share_of

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Facts
    from crowetrade_agents.risk.rules import Rule

V = TypeVar("V")
Check = Callable[[Case], Refusal | None]
"""Judges a case by one limit of one rule, under the context EXACT."""


class Use(NamedTuple):
    """How much of a limit is used. `key` is what it is counted for: strategy/venue/symbol, venue/symbol, strategy, or
    empty for all; `used` and `allowed` are in the limit's unit."""

    risk_limit: str
    limit: str
    key: str
    used: Decimal
    allowed: Decimal
    # The whole limit, and the share of it that this gateway holds; None where it is not split.
    total: Decimal | None = None
    share: Decimal | None = None


def use_of(rule: Rule, limit: str, key: str, used: Decimal, value: Decimal, facts: Facts) -> Use:
    """The use of a limit that may be split: what is allowed is this gateway's share, 0 while that is not known."""
    if not is_split(rule, limit):
        return Use(rule.name, limit, key, used, value)
    may = allowed(rule, limit, value, facts.shares)
    share = share_of(rule, limit, facts.shares)
    return Use(rule.name, limit, key, used, ZERO if may is None else may, value, ZERO if share is None else share)


class Allowed:
    """What this gateway may use of a rule's limit: all of it where it is not split, and otherwise its share, which is
    looked at again when shares have changed."""

    __slots__ = ("_may", "_shares", "limit", "rule", "value")

    def __init__(self, rule: Rule, limit: str, value: Decimal) -> None:
        self.rule, self.limit, self.value = rule, limit, value
        self._shares: Shares | None = None
        self._may: Decimal | None = value

    def by(self, shares: Shares) -> Decimal | None:
        """As shares.allowed; `shares` never change, another mapping takes their place."""
        if shares is not self._shares:
            self._shares, self._may = shares, allowed(self.rule, self.limit, self.value, shares)
        return self._may


def named(limit: str, value: Decimal, may: Decimal, rule: Rule) -> str:
    """The limit in a sentence, with what this gateway may use of it."""
    if may == value:
        return f"{limit} {render(value)} of {rule.name}"
    return f"{render(may)}, this gateway's share of {limit} {render(value)} of {rule.name}"


def no_bound(value: Any, case: Case, rule: Rule) -> Decimal | Refusal | None:
    """`admissible` of a limit that does not bound the size of one order."""
    return None


def no_use(value: Any, sums: Sums, rule: Rule) -> Iterable[Use]:
    """`use` of a limit that judges one order at a time and accumulates nothing."""
    return ()


def never_far(value: Any, sums: Sums, rule: Rule) -> bool:
    """`is_far` of a limit whose use is always reckoned."""
    return False


def is_gross_below(value: Decimal, sums: Sums, rule: Rule) -> bool:
    """`is_far` of a limit on gross notional, or on what never exceeds it."""
    if rule.gateways:
        return False
    for owners in sums.counted(rule).values():
        ceiling = sums.ceiling(rule, owners)
        if ceiling is None or ceiling >= value:
            return False
    return True


def by_order(value: Any, rule: Rule) -> Hashable:
    """`measure` of a limit that looks at one order alone."""
    return None


def by_owners(rule: Rule) -> Hashable:
    """Whose orders count together: the owner's alone, or those of whom this very rule counts."""
    return (rule.name, rule.strategies) if rule.total else None


def by_money(rule: Rule) -> Hashable:
    """Whose positions count together, in which instruments, and in which currency by quotes of which age."""
    return by_owners(rule), rule.symbols, rule.currency, rule.rate_age_ns


@dataclass(frozen=True, slots=True)
class Limit(Generic[V]):
    """One limit, and the reason of its refusals.

    `parse` reads the values of config.proto's Limit and raises InvalidLimit with a sentence. `compile` makes the check
    of a rule's value for orders of one strategy: what is the same for each of them is looked up there, once for each
    configuration. A check compares first; who is exempt, and what is said, is looked at only where that fails.
    `admissible` is the largest quantity that one closing order may have now, in units and not yet in whole lots (None:
    no bound; a refusal when it is not known). `use` yields what is used now, by the same formula as the check; keys
    without any use are left out.

    `measure` names what the check compares with the limit, and `bound` is the number that it is compared with. Of
    limits of one kind that bind an order and have the same measure, the one with the lowest bound admits what all
    admit.
    """

    name: str
    reason: Reason
    parse: Callable[[Mapping[str, str]], V]
    compile: Callable[[V, Counted], Check]
    bound: Callable[[V], Decimal]
    admissible: Callable[[V, Case, Rule], Decimal | Refusal | None] = no_bound
    use: Callable[[V, Sums, Rule], Iterable[Use]] = no_use
    measure: Callable[[V, Rule], Hashable] = by_order
    judges_resting: bool = True
    """False for limits on sending: an order that rests has been sent."""
    judges_closing: bool = True
    """False for limits that an order which only reduces a position cannot make worse."""
    order_use: Callable[[V, Case, Counted], Decimal | None] | None = None
    """What would be used with the order, in the limit's unit; None where that is not known. For limits that several
    gateways may share and whose use orders raise."""
    breach: Callable[[V, Facts, Rule, str], str | None] | None = None
    """Whether the rule's subject (a strategy, empty for all that the rule counts together) has broken the limit: the
    sentence that says so. None for a limit that only judges orders."""
    breaches: bool = False
    """True where `use` may rise above what is allowed without an order, by a late fill or by the market."""
    moved_by_market: bool = False
    """True where quotes change `use`."""
    is_far: Callable[[V, Sums, Rule], bool] = never_far
    """Whether all that `use` would yield is surely within the limit, so that it need not be reckoned."""
    breach_of_each: bool = False
    """True where `breach` judges each strategy on its own under a rule that counts strategies together, too."""


def only(values: Mapping[str, str], *names: str) -> list[str]:
    """The values of exactly these names; raises InvalidLimit for a missing one and for one that is not known."""
    if unknown := sorted(set(values) - set(names)):
        raise InvalidLimit(f"it has values that this gateway does not know: {', '.join(unknown)}")
    if missing := [name for name in names if name not in values]:
        raise InvalidLimit(f"it has no {', '.join(missing)}")
    return [values[name] for name in names]


def parse_amount(values: Mapping[str, str]) -> Decimal:
    """The decimal `value`, 0 or more; raises InvalidLimit."""
    (text,) = only(values, "value")
    try:
        amount = parse(text)
    except InvalidNumber as error:
        raise InvalidLimit(str(error)) from error
    if amount < 0:
        raise InvalidLimit(f"{text} is negative")
    return amount


def parse_positive(values: Mapping[str, str]) -> Decimal:
    """The decimal `value`, above 0; raises InvalidLimit."""
    amount = parse_amount(values)
    if not amount:
        raise InvalidLimit("it is 0")
    return amount


def amount(value: Decimal) -> Decimal:
    """`bound` of a limit whose value is the number itself."""
    return value


def parse_count(name: str, text: str, largest: int) -> int:
    """A whole number from 1 to `largest` in plain digits; raises InvalidLimit."""
    if text.isascii() and text.isdigit() and len(text) <= len(str(largest)) and 1 <= int(text) <= largest:
        return int(text)
    raise InvalidLimit(f"{name} must be a whole number from 1 to {largest}")
