"""Limits on losses and on the day's messages, by plain sums over all executions: I4 and I14.

Profit and loss of owners is what executions brought, less what they cost, fees and charges, plus what is held at the
mid of the last quote. What a rule measures from is taken from the journal where it is new, and held against these sums;
the highest value of a minute is one that was known for so long that the gateway must have seen it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from crowetrade.bus.v1 import journal_pb2
from tests.simulation.broken import expect
from tests.simulation.hours import trading_day
from tests.simulation.limits import SECOND, RuleSpec
from tests.simulation.market import Seen

if TYPE_CHECKING:
    from tests.simulation.accounts import Accounts
    from tests.simulation.judge import Asked, Judge

ZERO = Decimal(0)
EXACT = Decimal("1E-9")
"""Average prices have 38 digits."""
DAILY, DRAWDOWN, MINUTE, RATIO = "maxDailyLoss", "maxDrawdown", "maxLossPerMinute", "maxOrderToTradeRatio"
JUDGED_FROM = 100
SURE_NS = 6 * SECOND
"""The gateway looks at highs and floors each second or two, later when its journal is slow."""
GAP_NS = 2 * SECOND
"""The feed says each second that it is alive: a longer time is a silence, or a clock that was set."""
STOPPING = ("Block", "CloseOnly", "Cancel", "Flatten")
"""Actions after which nothing else is done whatever the rule says later; Alert and Slow give way to harder ones."""


@dataclass(slots=True)
class Watch:
    """One strategy, or all that a rule counts together (`subject` is empty then)."""

    rule: RuleSpec
    subject: str
    owners: frozenset[str]
    messages: int = 0
    executions: int = 0
    # What its executions brought, and what it holds by symbol.
    cash: Decimal = ZERO
    held: dict[str, Decimal] = field(default_factory=dict)
    # Values of the last minute that the gateway must have seen; and the last ones at all, by the last usable quotes.
    sure: deque[tuple[int, Decimal]] = field(default_factory=deque)
    recent: deque[Decimal] = field(default_factory=lambda: deque(maxlen=16))
    # Of the last minute, what gateways must have seen that are gone: orders are judged by it, and no breach is latched.
    before: deque[tuple[int, Decimal]] = field(default_factory=deque)
    # Since when a limit is exceeded.
    over: dict[str, int] = field(default_factory=dict)
    # Whether somebody has sent something since the last check.
    sent: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Of its marks."""
        return self.rule.name, self.subject

    def forget(self, since_ns: int) -> None:
        """What came later may not have been seen."""
        while self.sure and self.sure[-1][0] > since_ns:
            self.sure.pop()
        self.over.clear()


class Losses:
    """See the module."""

    def __init__(self, accounts: Accounts) -> None:
        self.accounts = accounts
        # What executions, fees and charges brought, by owner and symbol.
        self.cash: dict[tuple[str, str], Decimal] = {}
        self.messages: dict[str, int] = {}
        self.executions: dict[str, int] = {}
        self.watches: dict[tuple[str, str], Watch] = {}
        self.marks: dict[tuple[str, str], journal_pb2.LossMarked] = {}
        self._seen_ns = 0
        # Whose profit and loss the gateway that serves has known.
        self._known: set[tuple[str, str]] = set()
        # What one unit was worth by the last usable quote, by symbol.
        self._worth: dict[str, Decimal] = {}
        accounts.market.changes, accounts.market.changed = self._look_before, self._seen

    # --- What happens -----------------------------------------------------------------------------------------------

    def booked(self, owner: str, symbol: str, signed: Decimal, price: Decimal, fee: Decimal, at_ns: int) -> None:
        """An execution, or one that is taken back."""
        paid = signed * price * self.accounts.market.multiplier(symbol) + fee
        self.cash[owner, symbol] = self.cash.get((owner, symbol), ZERO) - paid
        self._moved(owner, symbol, at_ns)

    def charged(self, owner: str, symbol: str, amount: Decimal, at_ns: int) -> None:
        """A charge for what is held."""
        self.cash[owner, symbol] = self.cash.get((owner, symbol), ZERO) - amount
        self._moved(owner, symbol, at_ns)

    def executed(self, owner: str) -> None:
        """One execution more."""
        self.executions[owner] = self.executions.get(owner, 0) + 1
        for watch in self.watches.values():
            watch.executions += owner in watch.owners

    def sent(self, strategy: str, count: int = 1) -> None:
        """Messages that left, or that were refused."""
        self.messages[strategy] = self.messages.get(strategy, 0) + count
        for watch in self.watches.values():
            if strategy in watch.owners:
                watch.messages += count
                watch.sent = True

    def started(self) -> None:
        """Another process serves: what those before it have seen of the last minute stops orders all the same."""
        self._seen_ns = 0
        self._known.clear()
        self._worth.clear()
        for watch in self.watches.values():
            watch.before = deque([*watch.before, *watch.sure], maxlen=1000)
            watch.sure.clear()
            watch.over.clear()

    def configured(self, rules: tuple[RuleSpec, ...], members: Mapping[str, frozenset[str]]) -> None:
        """Other rules, or other members; `members` are those that were counted together before. Where nobody is
        selected there is nobody to stop."""
        before, self.watches = self.watches, {}
        for rule in rules:
            if not rule.has_day or not rule.strategies:
                continue
            for subject in ("",) if rule.total else sorted(rule.strategies):
                owners = frozenset({subject})
                if rule.total:
                    owners = self.accounts.members[rule.name] | {""}
                watch = Watch(rule, subject, owners)
                old, mark = before.get(watch.key), self.marks.get(watch.key)
                if old is not None:
                    watch.messages, watch.executions = old.messages, old.executions
                    if (old.owners, old.rule.symbols) == (owners, rule.symbols):
                        watch.sure, watch.before = old.sure, old.before
                elif mark is not None:
                    # Whoever comes brings nothing.
                    counted = members[rule.name] | {""} if rule.total and rule.name in members else owners
                    watch.messages = sum(self.messages.get(owner, 0) for owner in counted) - mark.messages
                    watch.executions = sum(self.executions.get(owner, 0) for owner in counted) - mark.executions
                self._add_up(watch)
                self._remember(watch)
                self.watches[watch.key] = watch

    def cleared(self, body: journal_pb2.BreachChanged) -> None:
        """Somebody has cleared a breach: its limit counts from now on."""
        watch = self.watches.get((body.risk_limit, body.subject))
        if watch is None:
            return
        watch.over.clear()
        if body.limit == RATIO:
            watch.messages = watch.executions = 0
        elif body.limit == MINUTE:
            watch.sure.clear()
            watch.before.clear()

    def marked(self, body: journal_pb2.LossMarked, at_ns: int) -> None:
        """I14: a day begins when the rule's calendar says so, with what was made and sent until then."""
        key = (body.risk_limit, body.subject)
        before, watch = self.marks.get(key), self.watches.get(key)
        self.marks[key] = body
        if watch is None or (before is not None and before.day == body.day):
            return
        rule, name = watch.rule, f"{body.risk_limit} of {body.subject or 'all'}"
        day = trading_day(rule.hours, rule.day, at_ns)
        expect(body.day == day, "I14", f"{name} begins {body.day}, and it is {day}")
        if before is not None and before.calendar != body.calendar:
            return
        watch.messages = watch.executions = 0
        watch.over.clear()
        sent = sum(self.messages.get(owner, 0) for owner in watch.owners)
        expect(body.messages == sent, "I14", f"{name}: {body.messages} messages before {day}, not {sent}")
        executed = sum(self.executions.get(owner, 0) for owner in watch.owners)
        expect(body.executions == executed, "I14", f"{name}: {body.executions} executions before {day}, not {executed}")
        if not rule.of_losses:
            expect(not body.day_start, "I14", f"{name} begins {day} with {body.day_start}, which nobody has reckoned")
            return
        value = self.value(watch)
        made = {*watch.recent} if value is None else {value, *watch.recent}
        if before is not None and before.last and (value is None or key not in self._known):
            made.add(Decimal(before.last))  # what is on record
        start = Decimal(body.day_start) if body.day_start else None
        known = start is None if value is None else start is not None
        text = f"{name} begins the day {day} with {body.day_start or 'nothing known'}, and {value} was made"
        expect(known or watch.recent or (start is not None and made), "I14", text)
        expect(start is None or any(abs(start - one) <= EXACT for one in made), "I14", text)

    def forgotten(self, body: journal_pb2.Forgotten, at_ns: int) -> None:
        """I14: what is forgotten is measured by nothing, and its day is over. Whoever comes back has nothing."""
        names, marks = {*body.strategies}, {(mark.rule.removeprefix("uid-"), mark.subject) for mark in body.marks}
        gone = [key for key in self.marks if key in marks or key[1] in names]
        yesterday = datetime.fromtimestamp(at_ns // SECOND, UTC).date() - timedelta(days=1)
        for key in gone:
            mark = self.marks.pop(key)
            over = key not in self.watches and bool(mark.day) and date.fromisoformat(mark.day) < yesterday
            expect(over, "I14", f"{key} is forgotten, and is measured from {mark.day}")
        for owner, symbol in [key for key in self.cash if key[0] in names]:
            del self.cash[owner, symbol]
        for name in names:
            self.messages.pop(name, None)
            self.executions.pop(name, None)

    # --- What is judged ---------------------------------------------------------------------------------------------

    def order(self, rule: RuleSpec, asked: Asked, judge: Judge) -> None:
        """I4: while a loss is above its limit or not known, nothing leaves but what reduces, and what goes on leaving
        under a breach that has other consequences."""
        if not rule.has_day or judge.reduces(asked):
            return
        watch = self.watches.get((rule.name, "" if rule.total else asked.order.owner))
        what = f"{asked.what}: {rule.name}"
        if watch is None:
            expect(False, "I4", f"{what}: nothing was counted yet")
            return
        for limit in rule.of_losses:
            expect(self.is_known(watch, asked.at_ns), "I4", f"{what}: profit and loss is not known")
            lost = self._lost(watch, limit, asked.at_ns, self.value(watch))
            allowed = self._allowed(watch, limit)
            expect(lost is not None and allowed is not None, "I4", f"{what}: {limit} cannot be told")
            assert lost is not None
            assert allowed is not None
            if limit == MINUTE and (value := self.value(watch)) is not None:
                highs = (one for then, one in watch.before if then > asked.at_ns - 60 * SECOND)
                lost = max([lost, *(high - value for high in highs)])
            text = f"{what}: {lost} lost of {allowed}, {limit}"
            expect(lost <= allowed + EXACT or self._is_latched(watch, limit), "I4", text)
        if rule.order_to_trade is not None:
            expect(watch.key in self.marks, "I4", f"{what}: no day was marked")
            text = f"{what}: {watch.messages} messages for {watch.executions} executions"
            expect(not self._too_many(watch) or self._is_latched(watch, RATIO), "I4", text)

    def check(self, at_ns: int) -> None:
        """I14: after a batch, what is broken is latched: messages at once, losses within the time in which the gateway
        must have seen them; and the day is today's."""
        for watch in self.watches.values():
            if watch.sent and watch.rule.order_to_trade is not None and watch.key in self.marks:
                latched = self._is_latched(watch, RATIO, by_any=True)
                text = f"{watch.key}: {watch.messages} messages for {watch.executions} executions, and no breach"
                expect(latched or not self._too_many(watch), "I14", text)
            watch.sent = False
            if not watch.rule.of_losses:
                continue
            value = self.value(watch) if self.is_known(watch, at_ns) else None
            if value is not None:
                self._known.add(watch.key)
            for limit in watch.rule.of_losses:
                lost, allowed = self._lost(watch, limit, at_ns, value), self._allowed(watch, limit)
                if lost is None or allowed is None or lost <= allowed + EXACT:
                    watch.over.pop(limit, None)
                    continue
                since = watch.over.setdefault(limit, at_ns)
                text = (
                    f"{watch.key}: {lost} lost of {allowed}, {limit}, for {(at_ns - since) / SECOND} s, and no breach"
                )
                expect(at_ns - since <= SURE_NS or self._is_latched(watch, limit, by_any=True), "I14", text)

    def day_is_marked(self, at_ns: int, pending: Collection[tuple[str, str]]) -> None:
        """I14: whoever is watched is measured from the day that it is, except for those (`pending`) of whom the gateway
        does not know yet what others brought who count with them from now on."""
        for watch in self.watches.values():
            if watch.key in pending:
                continue
            mark, day = self.marks.get(watch.key), trading_day(watch.rule.hours, watch.rule.day, at_ns)
            expect(mark is not None and mark.day == day, "I14", f"{watch.key} is not of {day}: {mark}")

    # --- Sums -------------------------------------------------------------------------------------------------------

    def value(self, watch: Watch) -> Decimal | None:
        """Profit and loss by the last quotes; None when one is missing."""
        total = watch.cash
        for symbol, held in watch.held.items():
            worth = self.accounts.market.worth(symbol)
            if worth is None:
                return None
            total += held * worth
        return total

    def is_known(self, watch: Watch, at_ns: int) -> bool:
        """Whether profit and loss may be believed."""
        held, market, age = watch.held, self.accounts.market, watch.rule.data_age
        if age is not None:
            return all(market.is_fresh(symbol, at_ns, age) for symbol in held)
        return not held or (not market.is_silent(at_ns) and all(market.usable(symbol) for symbol in held))

    def _add_up(self, watch: Watch) -> None:
        watch.cash, found = ZERO, dict[str, Decimal]()
        for (owner, symbol), cash in self.cash.items():
            if owner in watch.owners and watch.rule.covers(symbol):
                watch.cash += cash
                found[symbol] = found.get(symbol, ZERO) + self.accounts.positions.get((owner, symbol), ZERO)
        watch.held = {symbol: held for symbol, held in found.items() if held}

    def _lost(self, watch: Watch, limit: str, at_ns: int, value: Decimal | None) -> Decimal | None:
        mark = self.marks.get(watch.key)
        if value is None or mark is None:
            return None
        if limit == MINUTE:
            return max([value, *(one for then, one in watch.sure if then > at_ns - 60 * SECOND)]) - value
        start = mark.day_start if limit == DAILY else mark.peak
        return Decimal(start) - value if start else None

    def _allowed(self, watch: Watch, limit: str) -> Decimal | None:
        rule = watch.rule
        if limit == DAILY:
            return rule.daily_loss
        share = rule.drawdown if limit == DRAWDOWN else rule.loss_per_minute
        capital = self.accounts.capital_of(rule, watch.subject)
        return None if share is None or capital is None else share * capital

    def _too_many(self, watch: Watch) -> bool:
        most = watch.rule.order_to_trade
        return most is not None and watch.messages >= JUDGED_FROM and watch.messages > most * max(watch.executions, 1)

    def _is_latched(self, watch: Watch, limit: str, *, by_any: bool = False) -> bool:
        """Whether a breach goes on to be all that is done; `by_any`: whether one is latched at all."""
        rule = watch.rule
        found = [
            breach
            for breach in self.accounts.breaches.values()
            if (breach.rule, breach.limit, breach.subject) == (rule.name, limit, watch.subject)
        ]
        if by_any:
            return bool(found)
        wanted = rule.on_breach
        return any(
            item.enforced and (item.action in STOPPING or wanted == "Alert" or item.action == wanted) for item in found
        )

    # --- What is seen -----------------------------------------------------------------------------------------------

    def _look_before(self, at_ns: int) -> None:
        """Something comes: has something grown old before?"""
        if at_ns - self._seen_ns > GAP_NS:
            for watch in self.watches.values():
                watch.forget(self._seen_ns - SURE_NS)
        self._seen_ns = at_ns
        for watch in self.watches.values():
            if watch.rule.data_age is not None and not self.is_known(watch, at_ns):
                watch.forget(at_ns - SURE_NS)

    def _seen(self, seen: Seen) -> None:
        if seen.symbol:
            if (worth := self.accounts.market.worth(seen.symbol)) is not None:
                self._worth[seen.symbol] = worth
            for watch in self.watches.values():
                if seen.symbol in watch.held:
                    self._take(watch, seen.at_ns)

    def _moved(self, owner: str, symbol: str, at_ns: int) -> None:
        for watch in self.watches.values():
            if owner in watch.owners and watch.rule.covers(symbol):
                self._add_up(watch)
                self._take(watch, at_ns)

    def _remember(self, watch: Watch) -> None:
        if watch.held.keys() <= self._worth.keys():
            watch.recent.append(watch.cash + sum(held * self._worth[symbol] for symbol, held in watch.held.items()))

    def _take(self, watch: Watch, at_ns: int) -> None:
        value = self.value(watch)
        self._remember(watch)
        if value is None or not self.is_known(watch, at_ns):
            watch.forget(at_ns - SURE_NS)
        elif watch.rule.loss_per_minute is not None:
            while watch.sure and watch.sure[-1][1] <= value:
                watch.sure.pop()
            watch.sure.append((at_ns, value))
            while watch.sure[0][0] < at_ns - 60 * SECOND:
                watch.sure.popleft()
