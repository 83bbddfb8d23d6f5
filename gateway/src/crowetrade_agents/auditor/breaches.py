"""Limits on what has happened: losses, rejects and executions in a row, the order-to-trade ratio.

While one of them is passed and its breach is not latched, only orders that reduce may leave; from then on what onBreach
says holds (control.py). Where a baseline is needed, profit and loss of the beginning of the day and its peak, it is the
one that the gateway journaled (LossMarked): what came before is not to be had again. Whether it is the baseline of the
day that it should be, and everything since, is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade_agents.auditor import hours
from crowetrade_agents.auditor.case import Case
from crowetrade_agents.auditor.figures import ZERO, Range, decimal, less, optional, shown, times
from crowetrade_agents.auditor.findings import NotJudged, Over, Verdict
from crowetrade_agents.auditor.ledger import Ledger, Rule
from crowetrade_agents.auditor.messages import SECOND

RATIO_FROM = 100
"""Messages in a day below which the ratio is not judged."""
MINUTE_NS = 60 * SECOND

NO_MARK = NotJudged("no baseline of the day or the peak is journaled yet")
NO_PRICES = NotJudged("prices of what is held were not heard without a gap")
NO_CAPITAL = NotJudged("the capital that it is a share of is not known in the rule's currency")

Values = Mapping[str, str]


def _owners(case: Case, subject: str) -> frozenset[str]:
    return frozenset((subject,)) if subject else case.owners


def max_consecutive_rejects(values: Values, case: Case, subject: str) -> Verdict:
    """Refusals and rejections in a row; what is refused counts when that is journaled."""
    allowed, rejects = int(values["value"]) // _gateways(case), case.ledger.rejects
    found = sum(rejects[owner] for owner in _owners(case, subject) if owner in rejects)
    return _passed(Decimal(found), Decimal(allowed), "rejects in a row")


def repeated_execution(values: Values, case: Case, subject: str) -> Verdict:
    """Executions of the strategy in the order's instrument on one side in the window."""
    order, ledger = case.order, case.ledger
    allowed, window_ns = int(values["count"]), int(values["perSeconds"]) * SECOND
    since = max(order.at_ns - window_ns, ledger.cleared.get((case.rule.uid, "repeatedExecution", subject), 0))
    sides = (ledger.executions.get((order.strategy, order.symbol, buy)) for buy in (True, False))
    found = max((side.after(since) for side in sides if side is not None), default=0)
    return _passed(Decimal(found), Decimal(allowed), f"executions in {order.symbol} on one side")


def max_order_to_trade_ratio(values: Values, case: Case, subject: str) -> Verdict:
    """Messages for each execution since the day was marked; refused ones that may be of the day before are left out."""
    ledger, allowed = case.ledger, decimal(values["value"])
    began = ledger.days.get((case.rule.uid, subject))
    if began is None:
        return NO_MARK
    if (wrong := _of_another_day(case, ledger.loss_marks.get((case.rule.uid, subject)))) is not None:
        return wrong
    tallies = [ledger.tallies[owner] for owner in _owners(case, subject) if owner in ledger.tallies]
    messages = sum(tally.messages for tally in tallies) - began.messages
    executions = sum(tally.executions for tally in tallies) - began.executions
    gateways = _gateways(case)
    most = times(allowed, Decimal(max(executions * gateways, 1)))
    if messages * gateways < RATIO_FROM or messages * gateways <= most:
        return None
    return _passed(Decimal(messages), most / gateways, "order messages of the day")


def _gateways(case: Case) -> int:
    """Among how many gateways a row of rejects, and what is free of the ratio, is divided."""
    return len(case.rule.gateways) or 1 if case.rule.total else 1


Held = tuple[str, Decimal, Decimal]
"""Symbol, position, and cash that came in for it."""


def profit(case: Case, subject: str) -> Range | None:
    """Profit and loss since the journal began, in the rule's currency; None where prices are not known."""
    return worth(case, held_by(case.ledger, case.rule, _owners(case, subject)))


def held_by(ledger: Ledger, rule: Rule, owners: frozenset[str]) -> Iterable[Held]:
    """What they hold, or have made or lost, where the rule covers it."""
    return (
        (symbol, held.position, held.cash)
        for (owner, symbol), held in ledger.holdings.items()
        if owner in owners and rule.covers(symbol) and (held.position or held.cash)
    )


def worth(case: Case, holdings: Iterable[Held]) -> Range | None:
    """Profit and loss of holdings by the prices of the case; None where they are not known."""
    total = Range.exactly(ZERO)
    for symbol, position, cash in holdings:
        listed = case.ledger.listed.get(symbol)
        rate = case.exchange(listed.currency) if listed is not None else None
        if listed is None or rate is None:
            return None
        made = Range.exactly(cash)
        if position:
            mid = case.mid(symbol)
            if mid is None:
                return None
            made = made.add(mid.scaled(times(position, listed.multiplier)))
        total = total.add(made.by(rate))
    return total


LOSSES = ("maxDailyLoss", "maxDrawdown", "maxLossPerMinute")
"""Limits on losses, of which gateways that count together hold shares."""


def least_lost(name: str, case: Case, mark: pb.LossMarked | None, now: Range) -> Decimal:
    """What all that the rule counts together have certainly lost at the moment of the case, with a value of `now` and
    that baseline: nothing where a profit was made, or where it is not known since when to count."""
    start = _start(name, case, mark)
    return ZERO if start is None else max(ZERO, less(start, now.high))


def most_allowed(name: str, values: Values, case: Case) -> Decimal | None:
    """The whole limit in the rule's currency; None where the capital is not known."""
    value = decimal(values["value"])
    if name == "maxDailyLoss":
        return value
    capital = case.capital()
    return None if capital is None else times(capital.high, value)


def _start(name: str, case: Case, mark: pb.LossMarked | None) -> Decimal | None:
    at_ns, key = case.order.at_ns, (case.rule.uid, "")
    if name == "maxLossPerMinute":
        since = max(at_ns - MINUTE_NS, case.ledger.cleared.get((case.rule.uid, name, ""), 0))
        seen = case.ledger.minutes.get(key, ())
        return max((low for seen_ns, low in seen if since <= seen_ns <= at_ns), default=None)
    if mark is None or mark.currency not in ("", case.rule.currency):
        return None
    if name == "maxDrawdown":
        return optional(mark.peak)
    return optional(mark.day_start) if mark.day == _day(case, at_ns) else None


def max_daily_loss(values: Values, case: Case, subject: str) -> Verdict:
    """Loss since the day began."""
    allowed, mark = decimal(values["value"]), _mark(case, subject)
    if mark is None or not mark.day_start:
        return NO_MARK
    if (wrong := _of_another_day(case, mark)) is not None:
        return wrong
    return _lost(decimal(mark.day_start), case, subject, Range.exactly(allowed))


def max_drawdown(values: Values, case: Case, subject: str) -> Verdict:
    """Loss from the peak, as a share of capital."""
    share, mark, capital = decimal(values["value"]), _mark(case, subject), case.capital()
    if mark is None or not mark.peak:
        return NO_MARK
    if capital is None:
        return NO_CAPITAL
    return _lost(decimal(mark.peak), case, subject, capital.scaled(share))


def max_loss_per_minute(values: Values, case: Case, subject: str) -> Verdict:
    """Loss from the highest that was seen at an order of the last 60 seconds, as a share of capital."""
    share, capital, now = decimal(values["value"]), case.capital(), profit(case, subject)
    if capital is None:
        return NO_CAPITAL
    if now is None:
        return NO_PRICES
    ledger, at_ns = case.ledger, case.order.at_ns
    since = max(at_ns - MINUTE_NS, ledger.cleared.get((case.rule.uid, "maxLossPerMinute", subject), 0))
    seen = ledger.minutes[case.rule.uid, subject]
    while seen and seen[0][0] < since:
        seen.popleft()
    seen.append((at_ns, now.low))
    highest = max(low for _, low in seen)
    return _lost(highest, case, subject, capital.scaled(share))


def _mark(case: Case, subject: str) -> pb.LossMarked | None:
    mark = case.ledger.loss_marks.get((case.rule.uid, subject))
    return mark if mark is not None and mark.currency in ("", case.rule.currency) else None


def _of_another_day(case: Case, mark: pb.LossMarked | None) -> Over | None:
    """What is measured from the beginning of a day that is over, or has not come. The first order of a day is still
    judged by the day before, where nothing was journaled in between."""
    if mark is None or not mark.day:
        return None
    now, before = (_day(case, at_ns) for at_ns in (case.order.at_ns, case.ledger.at_ns))
    if mark.day in (now, before) or not now:
        return None
    return Over(mark.day, now, f"the gateway counts from the beginning of {mark.day}, and the trading day is {now}")


def _day(case: Case, at_ns: int) -> str:
    rule = case.rule
    if rule.day is not None:
        return hours.zoned_day(*rule.day, at_ns)
    return hours.calendar_day(rule.limits.get("tradingHours", {}).get("calendar", hours.ALWAYS), at_ns)


def _lost(start: Decimal, case: Case, subject: str, allowed: Range) -> Verdict:
    now = profit(case, subject)
    if now is None:
        return NO_PRICES
    least, most = less(start, now.high), less(start, now.low)
    if least > allowed.high:
        return _passed(least, allowed.high, "loss")
    return None if most <= allowed.low else NO_PRICES


def _passed(found: Decimal, allowed: Decimal, what: str) -> Verdict:
    if found <= allowed:
        return None
    text = f"{what} {shown(found)} is over {shown(allowed)}, no breach was latched, and the order does not reduce"
    return Over(shown(found), shown(allowed), text)


BREACH_LIMITS: Mapping[str, Callable[[Values, Case, str], Verdict]] = {
    "maxConsecutiveRejects": max_consecutive_rejects,
    "maxDailyLoss": max_daily_loss,
    "maxDrawdown": max_drawdown,
    "maxLossPerMinute": max_loss_per_minute,
    "maxOrderToTradeRatio": max_order_to_trade_ratio,
    "repeatedExecution": repeated_execution,
}
OF_EACH = frozenset(("repeatedExecution",))
"""Limits that count each strategy alone, whatever the rule says."""


_MILD = ("Alert", "Slow")
"""Actions that let orders through, the milder one first."""


def _goes_on(action: str, wanted: str) -> bool:
    """Whether a breach with that action is all that is done while the rule says what is wanted."""
    return action not in _MILD or wanted in _MILD[: _MILD.index(action) + 1]


def judge(name: str, values: Values, case: Case) -> Verdict:
    """The verdict of one such limit; none where its breach is latched, or the order only reduces."""
    subject = case.order.strategy if name in OF_EACH or not case.rule.total else ""
    latched = is_latched(name, case.ledger, case.rule, subject)
    verdict = None if latched else BREACH_LIMITS[name](values, case, subject)
    return None if case.reduces() else verdict


def is_latched(name: str, ledger: Ledger, rule: Rule, subject: str) -> bool:
    """Whether a breach of the limit is latched that goes on to be all that is done."""
    return any(
        breach.enforced
        and _goes_on(breach.action, rule.on_breach)
        and (breach.uid or breach.risk_limit, breach.limit, breach.subject) == (rule.uid, name, subject)
        for breach in ledger.breaches.values()
    )
