"""Which limits are breached, from facts alone. What is done about it, gateway/breaches.py and control/breaches.py say.

A breach is latched for a rule, a limit and a subject; what is latched is not found again, unless the rule only observed
then and is enforced now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from crowetrade_agents.domain.numbers import CONTEXT, render_money
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.risk.facts import Facts
from crowetrade_agents.risk.limits import (
    KNOWN,
    max_daily_loss,
    max_drawdown,
    max_loss_per_minute,
    max_order_to_trade_ratio,
)
from crowetrade_agents.risk.limits.limit import Use
from crowetrade_agents.risk.limits.loss import Loss, allowed_of, measured
from crowetrade_agents.risk.pnl import NEVER
from crowetrade_agents.risk.reasons import Refusal
from crowetrade_agents.risk.rules import Rule, RuleLimit
from crowetrade_agents.risk.shares import is_split, share_of
from crowetrade_agents.risk.standing import Latch, Watch, identity, problem_of, stops_already, subjects

LOSSES = {item.KIND.name: item.KIND for item in (max_daily_loss, max_drawdown, max_loss_per_minute)}
"""Limits on losses."""
OF_THE_DAY = frozenset((*LOSSES, max_order_to_trade_ratio.NAME))
"""Limits that compare with a baseline, so that each subject of their rule has a watch."""


BY_MARKET = frozenset(limit.name for limit in KNOWN.values() if limit.moved_by_market)
"""Limits on exposures that quotes move."""


class Found(NamedTuple):
    """A breach: of which limit of which rule, by whom (empty for all that the rule counts together), and a sentence."""

    rule: Rule
    limit: str
    subject: str
    text: str

    @property
    def latch(self) -> Latch:
        """What it is latched for."""
        return identity(self.rule), self.limit, self.subject


def of_conduct(limits: Iterable[RuleLimit], strategy: str, facts: Facts) -> Iterator[Found]:
    """Breaches of these limits by the strategy, or by those with whom it is counted together."""
    for limit, value, rule in limits:
        subject = "" if rule.total and not limit.breach_of_each else strategy
        if limit.breach is not None and not is_latched(rule, limit.name, subject, facts.standing.latched):
            text = limit.breach(value, facts, rule, subject)
            if text is not None:
                yield Found(rule, limit.name, subject, text)


def of_losses(watch: Watch, facts: Facts) -> Iterator[Found]:
    """Breaches of the limits on losses of the watch's rule by its subject."""
    limits = [(limit, value, watch.rule) for limit, value in watch.rule.limits if limit.name in LOSSES]
    for limit, value, rule in limits:
        if limit.breach is not None and not is_latched(rule, limit.name, watch.subject, facts.standing.latched):
            text = limit.breach(value, facts, rule, watch.subject)
            if text is not None:
                yield Found(rule, limit.name, watch.subject, text)


def lacks_share(found: Found, facts: Facts) -> bool:
    """Whether a loss is above this gateway's share of the limit alone, and not above the whole: others may have more of
    theirs than they need."""
    rule, kind = found.rule, LOSSES.get(found.limit)
    if kind is None or not is_split(rule, found.limit):
        return False
    whole: Decimal = next(value for limit, value in rule.limits if limit.name == found.limit)
    loss = measured(kind, whole, facts, rule, found.subject)
    return isinstance(loss, Loss) and loss.lost <= CONTEXT.multiply(whole, loss.unit)


def of_exposures(limits: Iterable[RuleLimit], facts: Facts) -> Iterator[Found]:
    """Positions and values above the limit, latched or not."""
    sums = Sums(facts)
    for limit, value, rule in limits:
        if share_of(rule, limit.name, facts.shares) is None or limit.is_far(value, sums, rule):
            continue
        for use in limit.use(value, sums, rule):
            if use.used > use.allowed:
                subject = "" if rule.total else use.key.partition("/")[0]
                yield Found(rule, limit.name, subject, _above(use, rule))


def is_latched(rule: Rule, limit: str, subject: str, latched: Mapping[Latch, frozenset[str]]) -> bool:
    """Whether a breach is latched that does what this one would; `latched` as in Standing."""
    if not latched:
        return False
    known = (identity(rule), limit, subject) in latched
    return known and (not rule.enforce or stops_already(rule, limit, subject, latched))


class Floor(NamedTuple):
    """The value of a ledger below which some limit is breached, and how far below a new high (None: any)."""

    value: Decimal = NEVER
    drop: Decimal | None = None


def floor(watches: Iterable[Watch], facts: Facts) -> Floor:
    """The highest floor and the smallest drop of what is not latched yet; what cannot be told has none. The watches
    share one ledger."""
    value, drop, latched = NEVER, None, facts.standing.latched
    for watch in watches:
        if problem_of(watch, facts) is not None:
            continue
        for name, kind in LOSSES.items():
            given = watch.limits.get(name)
            if given is None or (latched and is_latched(watch.rule, name, watch.subject, latched)):
                continue
            start, most = kind.start(watch, facts.now_ns), allowed_of(kind, given, facts, watch)
            if start is None or isinstance(most, Refusal):
                continue
            value = max(value, CONTEXT.subtract(start, most.amount))
            if kind.trails:
                drop = most.amount if drop is None else min(drop, most.amount)
    return Floor(value, drop)


def subjects_of(rule: Rule) -> tuple[str, ...]:
    """Subjects of the rule that have a watch; none where no limit needs one."""
    return subjects(rule) if any(limit.name in OF_THE_DAY for limit, _ in rule.limits) else ()


def _above(use: Use, rule: Rule) -> str:
    what = f"{use.key}: " if use.key else ""
    return f"{what}{render_money(use.used)} is above {use.limit} {render_money(use.allowed)} of {rule.name}"
