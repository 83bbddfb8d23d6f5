"""How strategies stand: what limits on losses, rejects, executions and messages compare with.

Each subject of such a rule (one strategy, or all that the rule counts together) has a watch: its ledger of profit and
loss, and the baseline that the journal keeps for it. Losses are measured from three places: the profit and loss when
the trading day began, the highest ever, and the highest of the last 60 seconds. That last one is not journaled, because
it may change each second: for a minute after a start it is not known, and only orders that reduce leave.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from crowetrade_agents.risk.calendars import ALWAYS_OPEN, calendar_named
from crowetrade_agents.risk.pnl import Ledger, Ledgers
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.trading_days import Days
from crowetrade_agents.risk.windows import MessageWindows
from crowetrade_api.hardness import outlasts

if TYPE_CHECKING:
    from crowetrade_agents.risk.facts import Facts
    from crowetrade_agents.risk.plans import Plans
    from crowetrade_agents.risk.rules import Rule

MINUTE_NS = 60_000_000_000


@dataclass(slots=True)
class Tally:
    """What one strategy has done since the journal began: order messages (refused ones too), executions, and orders in
    a row up to now that were refused or rejected."""

    messages: int = 0
    executions: int = 0
    rejects: int = 0


class Tallies(dict[str, Tally]):
    """By strategy. What several have done together is kept current for whoever has asked for it once."""

    def __init__(self, tallies: Mapping[str, Tally] | None = None) -> None:
        super().__init__(tallies or {})
        self._sums: dict[frozenset[str], Tally] = {}
        self._sums_of: dict[str, list[Tally]] = {}

    def add(self, strategy: str, messages: int = 0, executions: int = 0, rejects: int = 0) -> None:
        """The strategy has done so much more."""
        own = self.get(strategy)
        if own is None:
            own = self[strategy] = Tally()
        for tally in (own, *self._sums_of.get(strategy, ())):
            tally.messages += messages
            tally.executions += executions
            tally.rejects += rejects

    def took(self, strategy: str) -> None:
        """An order of the strategy was taken: its row of rejects is over."""
        own = self.get(strategy)
        if own is not None and own.rejects:
            self.add(strategy, rejects=-own.rejects)

    def of(self, owners: frozenset[str]) -> Tally:
        """What the owners have done together; not to be changed by whoever asks."""
        found = self._sums.get(owners)
        if found is None:
            counted = [tally for owner, tally in self.items() if owner in owners]
            found = self._sums[owners] = Tally(
                sum(tally.messages for tally in counted),
                sum(tally.executions for tally in counted),
                sum(tally.rejects for tally in counted),
            )
            for owner in owners:
                self._sums_of.setdefault(owner, []).append(found)
        return found

    def forget_sums(self) -> None:
        """Other rules are in force: nobody may ask for some of them any more."""
        self._sums.clear()
        self._sums_of.clear()


class Baseline(NamedTuple):
    """What a subject is measured from: LossMarked in journal.proto. None is what is not known."""

    day: str = ""
    day_start: Decimal | None = None
    peak: Decimal | None = None
    messages: int = 0
    executions: int = 0
    currency: str = ""
    # By what the day was counted; empty where an older gateway did not say it.
    calendar: str = ""
    # Profit and loss when it was marked last.
    last: Decimal | None = None


class Allowance(NamedTuple):
    """The most that may be lost, in the rule's currency, and what one unit of the limit is worth; as long as the
    gateway holds these shares."""

    amount: Decimal
    unit: Decimal
    shares: Mapping[tuple[str, str], Decimal]


Minute = deque[tuple[int, Decimal]]
"""(time, highest value up to it since the entry before), the values falling."""


class Pending(NamedTuple):
    """Whom a baseline and a minute are of, while it is not known what those brought who came, or took along who went:
    until then nothing is known."""

    owners: frozenset[str]
    baseline: Baseline
    minute: Minute


class Watch:
    """One subject of one rule."""

    __slots__ = (
        "allowances",
        "baseline",
        "calendar",
        "capital",
        "identity",
        "last_ns",
        "ledger",
        "limits",
        "mark_age_ns",
        "marked",
        "minute",
        "owners",
        "pending",
        "rule",
        "subject",
        "unseen_until_ns",
    )

    def __init__(self, rule: Rule, subject: str, owners: frozenset[str], ledger: Ledger, baseline: Baseline) -> None:
        self.rule, self.subject, self.owners, self.ledger, self.baseline = rule, subject, owners, ledger, baseline
        self.identity, self.calendar, self.mark_age_ns = identity(rule), calendar_of(rule), mark_age_ns(rule)
        # The rule's limits by name.
        self.limits: Mapping[str, Any] = {limit.name: value for limit, value in rule.limits}
        # The baseline that the journal has of it, as far as this process has seen to that.
        self.marked: Baseline | None = None
        self.pending: Pending | None = None
        # When `baseline.last` was marked by this process.
        self.last_ns = 0
        # In the rule's currency, where none of it is in another one; None: it is to be reckoned each time.
        self.capital: Decimal | None = None
        # By the limit.
        self.allowances: dict[str, Allowance] = {}
        self.minute: Minute = deque()
        # Until then the last 60 seconds may have been higher, before this process.
        self.unseen_until_ns = 0

    def rose(self, now_ns: int) -> None:
        """Takes in the ledger's `high`, which was reached since the last time."""
        high, known = self.ledger.high, self.baseline.peak
        if known is None or high > known:
            self.baseline = self.baseline._replace(peak=high)
        self.take_into_minute(now_ns, high)

    def take_into_minute(self, now_ns: int, high: Decimal) -> None:
        """The value was as high as that since the last entry."""
        minute = self.minute
        while minute and minute[-1][1] <= high:
            minute.pop()
        minute.append((now_ns, high))
        while minute[0][0] < now_ns - MINUTE_NS:
            minute.popleft()

    @property
    def highest(self) -> Decimal | None:
        """The highest profit and loss ever; None while none was known."""
        peak, high = self.baseline.peak, self.ledger.high
        return None if peak is None else max(peak, high)

    def highest_of_minute(self, now_ns: int) -> Decimal:
        """The highest profit and loss of the last 60 seconds."""
        high = self.ledger.high
        for at_ns, value in self.minute:
            if at_ns >= now_ns - MINUTE_NS:
                return max(value, high)
        return high


Latch = tuple[str, str, str]
"""Identity of a rule, limit, subject."""


@dataclass(slots=True)
class Standing:
    """What the gateway keeps of all subjects. `latched` has each breach that nobody has cleared, with its actions where
    it is enforced; `buys` and `sells` are the executions of each strategy."""

    watches: Mapping[tuple[str, str], Watch] = field(default_factory=dict)
    ledgers: Ledgers | None = None
    latched: Mapping[Latch, frozenset[str]] = field(default_factory=dict)
    tallies: Tallies = field(default_factory=Tallies)
    buys: MessageWindows = field(default_factory=MessageWindows)
    sells: MessageWindows = field(default_factory=MessageWindows)
    # What binds orders, as compiled for the last facts.
    plans: Plans | None = None


def identity(rule: Rule) -> str:
    """What stays when the rule changes; a manifest that no API server has seen has its name alone."""
    return rule.uid or rule.name


def stops_already(rule: Rule, limit: str, subject: str, latched: Mapping[Latch, frozenset[str]]) -> bool:
    """Whether an enforced breach is latched that goes on to be all that is done; `latched` as in Standing."""
    return any(outlasts(action, rule.on_breach) for action in latched.get((identity(rule), limit, subject), ()))


def subject_of(rule: Rule, strategy: str) -> str:
    """What an order of the strategy is counted for: itself, or all that the rule counts together."""
    return "" if rule.total else strategy


def subjects(rule: Rule) -> tuple[str, ...]:
    """Everything that the rule counts on its own."""
    return ("",) if rule.total else tuple(sorted(rule.strategies))


def calendar_of(rule: Rule) -> Days:
    """By what the rule's days are counted: its own, or the calendar of its tradingHours, or the days of UTC."""
    if rule.days is not None:
        return rule.days
    found: Days | None = next((value for limit, value in rule.limits if limit.name == "tradingHours"), None)
    return calendar_named(ALWAYS_OPEN) if found is None else found


def mark_age_ns(rule: Rule) -> int | None:
    """Oldest quote by which the rule judges; None while the feed is alive any."""
    found: int | None = next((value for limit, value in rule.limits if limit.name == "maxDataAgeSeconds"), None)
    return found


def watched(rule: Rule, subject: str, facts: Facts) -> Watch | Refusal:
    """The watch of the subject, when its profit and loss is known; otherwise why it is not."""
    watch = facts.standing.watches.get((identity(rule), subject))
    return not_watched(rule) if watch is None else problem_of(watch, facts) or watch


def not_watched(rule: Rule) -> Refusal:
    """What is said of a subject that has no watch."""
    return Refusal(Reason.MISSING_MARK, "profit and loss is not known yet", rule.name)


def problem_of(watch: Watch, facts: Facts) -> Refusal | None:
    """Why the subject's profit and loss is not known; None when it is."""
    rule = watch.rule
    problem = watch.ledger.problem(facts.marks, facts.now_ns, facts.feed_alive_ns, watch.mark_age_ns, rule.rate_age_ns)
    if problem is None:
        return None
    return Refusal(problem.reason, f"profit and loss is not known: {problem.text}", rule.name)
