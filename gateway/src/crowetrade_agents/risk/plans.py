"""What binds orders, compiled once for each configuration, strategy and instrument.

For each rule that binds a strategy's orders one check per limit is compiled (limits/limit.py), which holds what it
needs of the rule, of those whom it counts and of what they have done. Of these the plan of an order is a tuple: the
checks that decide whether all admit it.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.risk.case import Counted, valuation_of
from crowetrade_agents.risk.limits.limit import Check, Limit

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Facts
    from crowetrade_agents.risk.rules import Rule


class Purpose(NamedTuple):
    """Which limits judge: `closing` leaves out those that do not stop the gateway's own closing order, `resting` those
    on sending."""

    closing: bool = False
    resting: bool = False

    def judges(self, limit: Limit[Any]) -> bool:
        """Whether the limit is one of them."""
        return (limit.judges_closing or not self.closing) and (limit.judges_resting or not self.resting)


SENDING = Purpose()


class Plans:
    """The checks for facts of one configuration. They stay right as long as the facts look at the same rules, members,
    capital, sums and standing: another configuration brings others."""

    __slots__ = (
        "_capital",
        "_checks",
        "_members",
        "_opened",
        "_plans",
        "_rules",
        "_tightest",
        "_valuation",
        "_watches",
    )

    def __init__(self, facts: Facts) -> None:
        self._rules, self._members, self._capital = facts.rules, facts.members, facts.capital
        self._valuation, self._watches = valuation_of(facts), facts.standing.watches
        self._opened = self._valuation.opened
        self._plans: dict[tuple[str, InstrumentId, Purpose], tuple[Check, ...]] = {}
        # By id of the rule, and whom it counts for the order.
        self._checks: dict[tuple[int, frozenset[str]], tuple[Check, ...]] = {}
        # By ids of the rules. Most orders are bound by the same ones, so the first order of a strategy in an instrument
        # finds here what takes longest.
        self._tightest: dict[tuple[tuple[int, ...], Purpose], tuple[tuple[int, int], ...]] = {}

    def fit(self, facts: Facts) -> bool:
        """Whether they were compiled for what these facts look at."""
        return (
            facts.rules is self._rules
            and facts.members is self._members
            and facts.capital is self._capital
            and facts.standing.watches is self._watches
            and facts.valuation is self._valuation
            and facts.valuation.opened is self._opened
        )

    def deciding(self, facts: Facts, strategy: str, instrument: InstrumentId, purpose: Purpose) -> tuple[Check, ...]:
        """Of all checks that an order of the strategy in the instrument has to pass, those that decide whether it
        passes all of them."""
        key = (strategy, instrument, purpose)
        found = self._plans.get(key)
        if found is None:
            rules = facts.rules.binding(strategy, instrument)
            checks = [self.checks(rule, strategy, facts) for rule in rules]
            alike = (tuple(map(id, rules)), purpose)
            if alike not in self._tightest:
                self._tightest[alike] = tightest(rules, purpose)
            found = tuple(checks[which][place] for which, place in self._tightest[alike])
            if found:
                self._plans[key] = found
        return found

    def checks(self, rule: Rule, strategy: str, facts: Facts) -> tuple[Check, ...]:
        """The checks of a rule that binds the strategy, in the order of `Rule.limits`."""
        counted = Counted(rule, strategy, facts, self._valuation)
        key = (id(rule), counted.owners)
        found = self._checks.get(key)
        if found is None:
            found = self._checks[key] = tuple(limit.compile(value, counted) for limit, value in rule.limits)
        return found


def tightest(rules: Sequence[Rule], purpose: Purpose = SENDING) -> tuple[tuple[int, int], ...]:
    """Of all limits of these rules those that decide whether all of them admit an order, each as the place of its rule
    and its own place in `Rule.limits`: of limits with the same measure the one with the lowest bound."""
    found: dict[Hashable, tuple[Decimal, int, int]] = {}
    for which, rule in enumerate(rules):
        for place, (limit, value) in enumerate(rule.limits):
            if not purpose.judges(limit):
                continue
            measure, bound = (limit.name, limit.measure(value, rule)), limit.bound(value)
            if measure not in found or bound < found[measure][0]:
                found[measure] = bound, which, place
    return tuple((which, place) for _, which, place in found.values())


def plans_of(facts: Facts) -> Plans:
    """The plans of the facts' standing, or new ones where it has none for them."""
    plans = facts.standing.plans
    if plans is None or not plans.fit(facts):
        plans = facts.standing.plans = Plans(facts)
    return plans
