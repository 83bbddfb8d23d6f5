"""Finds breaches of limits after each command, and latches them: what a breach stops stays stopped until a person
clears it.

Losses are looked at when a quote or a fill takes a ledger below its floor, the value at which some limit is broken.
Within a second after something moved, highs are taken into peaks and minutes, floors are set again, and what the market
has done to exposures is looked at. Nothing here costs anything while no rule has such a limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence, Set
from decimal import Decimal

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.domain.market import MAX_FEED_SILENCE_NS, TopOfBook
from crowetrade_agents.domain.numbers import CONTEXT, render
from crowetrade_agents.domain.orders import OrdStatus
from crowetrade_agents.gateway import wire
from crowetrade_agents.gateway.books import SUSPENSE, Books
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.order import Key, Order
from crowetrade_agents.gateway.state import Judging, Turn
from crowetrade_agents.risk import breaches
from crowetrade_agents.risk.breaches import Found
from crowetrade_agents.risk.case import alone
from crowetrade_agents.risk.facts import Facts
from crowetrade_agents.risk.limits import (
    max_consecutive_rejects,
    max_daily_loss,
    max_drawdown,
    max_loss_per_minute,
    max_order_to_trade_ratio,
    repeated_execution,
)
from crowetrade_agents.risk.limits.loss import own_capital
from crowetrade_agents.risk.pnl import Ledger, Ledgers, Scope
from crowetrade_agents.risk.reasons import Refusal
from crowetrade_agents.risk.rules import Rule, RuleSet
from crowetrade_agents.risk.standing import (
    MINUTE_NS,
    Baseline,
    Latch,
    Pending,
    Standing,
    Watch,
    identity,
    problem_of,
    subject_of,
)

SLOW_NS = SECOND_NS
"""What Slow lets a strategy send: one new order or replacement in so long."""
TICK_NS = SECOND_NS
LAST_NS = 60 * SECOND_NS
"""How often the value is marked with which a day begins that finds no gateway."""
LACKING, LACKING_NS = "lacking", SECOND_NS
"""How long a loss above this gateway's share and within the whole limit is no breach: the gateway asks for more, which
others give within a few exchanges with the ledger, and meanwhile refuses what does not reduce."""
LEDGERS_AT_ONCE = 10
REJECTED, EXECUTED, SENT = "rejected", "executed", "sent"
TRIGGERS = {
    max_consecutive_rejects.NAME: REJECTED,
    repeated_execution.NAME: EXECUTED,
    max_order_to_trade_ratio.NAME: SENT,
}
"""Limits on the conduct of a strategy, and what it has done when one is judged."""

REQUESTS = {
    "cancel_submitted": SENT,
    "replace_submitted": SENT,
    "order_ended": REJECTED,
    "request_rejected": REJECTED,
    "order_accepted": EXECUTED,
    "order_replaced": EXECUTED,
}
"""Events of one order, and what its strategy has done then; to look once too often costs little."""

Members = Mapping[str, frozenset[str]]
_NOTHING: Set[tuple[str, str]] = frozenset()


# --- What happened ---------------------------------------------------------------------------------------------------


def before_configuration(turn: Turn) -> None:
    """Another configuration is about to be in force: what the market has done to exposures since the last tick is
    judged by the rules under which it happened."""
    judging = turn.live.judging
    if judging.exposures and judging.ticking:
        _latch_all(turn, _newly_above(turn, turn.state.facts("", turn.now_ns), by_market=True))


def configured(turn: Turn, members: Members, *, by_person: bool = True) -> None:
    """Another configuration is in force, or other strategies are counted; `members` are those that were before. Not
    `by_person`: because somebody has traded, of which exposures are judged as of any execution."""
    live, books = turn.live, turn.books
    rules = live.configuration.rules
    old = live.standing
    if live.judging.losses:
        facts = turn.state.facts("", turn.now_ns)
        for ledger, watches in live.judging.watches_of.items():
            _take_high(ledger, watches, facts)
            for watch in watches:
                _mark_peak(turn, watch)
    live.standing = Standing(latched=_latched(books), tallies=books.tallies, buys=books.buys, sells=books.sells)
    judging = live.judging = _judging(turn, rules, live.judging)
    if judging.losses:
        _watch(turn, rules, old, members)
    _clear(turn)
    if judging.active and by_person:
        # What is above a limit because a person has lowered it can only come down: it is no breach. After a start
        # nobody knows why something is above its limit, so that is one.
        above = _newly_above(turn, turn.state.facts("", turn.now_ns))
        if not live.has_judged:
            _latch_all(turn, above)
    live.has_judged = live.has_judged or live.configuration.bindings is not None
    _schedule(turn)


def quoted(turn: Turn, book: TopOfBook) -> None:
    """A quote has come."""
    judging, ledgers = turn.live.judging, turn.live.standing.ledgers
    if ledgers is not None:
        if _day_changed(turn):
            # The day begins with what was: what the market has done since the last quote counts from now on.
            _look_at_all(turn)
        judging.settle = judging.settle or ledgers.is_new(book)
        judging.below += ledgers.quoted(book, turn.live.marks)
    _schedule(turn)


def tick(turn: Turn) -> None:
    """Something has moved: within a second each ledger gets its turn, a few at a time, so that no order waits for all
    of them."""
    judging = turn.live.judging
    facts = turn.state.facts("", turn.now_ns)
    ledgers = tuple(judging.watches_of)
    parts = _parts(judging)
    now = ledgers[judging.part * LEDGERS_AT_ONCE : (judging.part + 1) * LEDGERS_AT_ONCE]
    for ledger in now:
        _take_high(ledger, judging.watches_of[ledger], facts)
        for watch in judging.watches_of[ledger]:
            _mark_peak(turn, watch)
            if turn.now_ns - watch.last_ns >= LAST_NS:
                _mark_last(turn, watch, facts)
    _settle(turn, now, facts)
    judging.part += 1
    if judging.part < parts:
        turn.wake(turn.now_ns + TICK_NS // parts, "breaches", "")
        return
    judging.part, judging.ticking = 0, False
    if judging.exposures:
        _latch_all(turn, _newly_above(turn, facts, by_market=True))
    if judging.moved:
        judging.moved = False
        _schedule(turn)


def leaving(turn: Turn) -> None:
    """The gateway leaves: a day that begins while none runs begins with the values of now."""
    facts = turn.state.facts("", turn.now_ns)
    for watch in turn.live.standing.watches.values():
        _mark_last(turn, watch, facts)


def shares_changed(turn: Turn) -> None:
    """The gateway may lose more, or less, than before."""
    facts = turn.state.facts("", turn.now_ns)
    for ledger, watches in turn.live.judging.watches_of.items():
        _take_high(ledger, watches, facts)
        _set_floor(turn, ledger, watches, facts)


def judge(turn: Turn) -> bool:
    """After each command: whether a breach was found, and latched."""
    judging = turn.live.judging
    if _day_changed(turn):
        _look_at_all(turn)
    silent = turn.now_ns - turn.live.feed_alive_ns > MAX_FEED_SILENCE_NS
    if silent is not judging.silent:
        judging.settle, judging.silent = judging.settle or not silent, silent
    done, late = _look(turn) if turn.recorded else (_NOTHING, False)
    if judging.settle:
        _look_at_all(turn)
    if done or late or judging.below or judging.lacking:
        facts = turn.state.facts("", turn.now_ns)
        found: list[Found] = []
        for strategy, what in sorted(done):
            found += breaches.of_conduct(judging.conduct[strategy, what], strategy, facts)
        if late:
            found += _newly_above(turn, facts)
        lost: list[Found] = []
        below, judging.below = judging.below, []
        for ledger in below:
            _take_high(ledger, judging.watches_of[ledger], facts)
            for watch in judging.watches_of[ledger]:
                lost += breaches.of_losses(watch, facts)
        found += _without_lacking(turn, lost, facts)
        _latch_all(turn, found)
        if below:
            facts = turn.state.facts("", turn.now_ns)
            for ledger in below:
                _set_floor(turn, ledger, judging.watches_of[ledger], facts)
    return any(event.HasField("breach_changed") for event in turn.recorded)


def _without_lacking(turn: Turn, found: Sequence[Found], facts: Facts) -> list[Found]:
    """Losses that are breaches now. The others are found again after each command, as long as they are there."""
    judging, before = turn.live.judging, turn.live.judging.lacking
    if not (found or before):
        return []
    judging.lacking = {
        item.latch: before.get(item.latch, turn.now_ns) for item in found if breaches.lacks_share(item, facts)
    }
    if judging.lacking.keys() - before.keys():
        # Whoever keeps the shares looks at once.
        turn.live.demands_noted += 1
        turn.wake(turn.now_ns + LACKING_NS, LACKING, "")
    return [item for item in found if turn.now_ns - judging.lacking.get(item.latch, 0) >= LACKING_NS]


def one_too_many(turn: Turn, strategy: str) -> bool:
    """Whether the strategy has passed a limit on rejects in a row with those that are not journaled yet. One whose
    breach is latched is passed as often as the strategy likes: that is no news."""
    known = turn.live.judging.rejects
    if strategy not in known:
        known[strategy] = _least_rejects(turn, strategy)
    admitted = known[strategy]
    if admitted is None:
        return False
    tally = turn.books.tallies.get(strategy)
    journaled = tally.rejects if tally is not None else 0
    return journaled <= admitted < journaled + turn.live.refused[strategy].rejects


def _least_rejects(turn: Turn, strategy: str) -> int | None:
    latched = turn.live.standing.latched
    return min(
        (
            max_consecutive_rejects.admitted(value, rule)
            for limit, value, rule in turn.live.judging.conduct.get((strategy, REJECTED), ())
            if not breaches.is_latched(rule, limit.name, subject_of(rule, strategy), latched)
        ),
        default=None,
    )


def slowed(turn: Turn, strategy: str) -> Refusal | None:
    """Refuses what a strategy that is slowed down by a breach sends within a second of the last; otherwise counts it
    as sent."""
    slow = turn.state.held(strategy).slow
    if slow is None:
        return None
    last_ns = turn.live.judging.slowed_ns.get(strategy)
    if last_ns is not None and turn.now_ns - last_ns < SLOW_NS:
        return slow
    turn.live.judging.slowed_ns[strategy] = turn.now_ns
    return None


# --- Breaches --------------------------------------------------------------------------------------------------------


def _latch_all(turn: Turn, found: Iterable[Found]) -> None:
    for item in found:
        if not breaches.is_latched(item.rule, item.limit, item.subject, turn.live.standing.latched):
            _latch(turn, item)


def _latch(turn: Turn, found: Found) -> None:
    rule = found.rule
    counted = (*rule.strategies, *turn.books.members.get(rule.name, ())) if not found.subject else (found.subject,)
    name = f"{found.limit}/{found.subject or '-'}@{turn.settings.venue}-{turn.live.sequence + 1}"
    body = journal_pb2.BreachChanged(
        breach=name,
        risk_limit=rule.name,
        uid=rule.uid,
        limit=found.limit,
        subject=found.subject,
        action=rule.on_breach,
        text=found.text,
        enforced=rule.enforce,
        strategies=sorted(set(counted) - {SUSPENSE}),
        since_unix_ns=turn.now_ns,
    )
    _change(turn, body)
    turn.count("BREACHES", rule.name, found.limit, rule.on_breach if rule.enforce else "Observe")
    turn.tell(
        "error" if rule.enforce else "warning",
        "limit_breached",
        breach=name,
        risk_limit=rule.name,
        action=rule.on_breach,
        enforced=rule.enforce,
        text=found.text,
    )


def _change(turn: Turn, body: journal_pb2.BreachChanged) -> None:
    turn.record(journal_pb2.JournalEvent(breach_changed=body))
    turn.live.standing.latched = _latched(turn.books)
    turn.live.judging.held.clear()
    turn.live.judging.rejects.clear()


def _clear(turn: Turn) -> None:
    """Breaches that a person has cleared, with a reason: at the RiskLimit or, where that is gone, at the
    VenueConnection. Whoever may change a VenueConnection, or another RiskLimit, is not thereby one who may lift this
    limit. A RiskLimit counts by its name, so that one that was deleted and created again clears what is older."""
    reasons = _reasons(turn)
    for name in sorted(reasons):
        body = journal_pb2.BreachChanged()
        body.CopyFrom(turn.books.breaches[name])
        body.cleared, body.text = True, reasons[name]
        _change(turn, body)
        turn.tell("warning", "breach_cleared", breach=name, risk_limit=body.risk_limit, reason=reasons[name])
        watch = turn.live.standing.watches.get((body.uid or body.risk_limit, body.subject))
        if watch is not None:
            _start_again(turn, watch, body.limit)


def _reasons(turn: Turn) -> dict[str, str]:
    """By breach, why it is cleared; what is asked for where it does not count is logged."""
    configuration, latched = turn.live.configuration, turn.books.breaches
    reasons: dict[str, str] = {}
    refused: dict[str, str] = {}
    for (risk_limit, name), reason in configuration.cleared_breaches.items():
        if name not in latched:
            continue
        if not risk_limit:
            refused[name] = "the configuration does not say at which RiskLimit: bring the operator to this version"
        elif risk_limit == latched[name].risk_limit:
            reasons[name] = reason
        else:
            refused[name] = f"this was asked for at RiskLimit {risk_limit}"
    present = {rule.name for rule in configuration.rules}
    for name in configuration.cleared_at_venue.keys() & latched.keys():
        if latched[name].risk_limit in present:
            refused[name] = "the RiskLimit is here"
        else:
            reasons.setdefault(name, configuration.cleared_at_venue[name])
    for name in sorted(refused.keys() - reasons.keys()):
        risk_limit = latched[name].risk_limit
        turn.tell("warning", "breach_not_cleared", breach=name, risk_limit=risk_limit, why=refused[name])
    return reasons


def _start_again(turn: Turn, watch: Watch, limit: str) -> None:
    """What was cleared is not found again: a limit that measures from some time on does so from the present on, or from
    when that is known."""
    if limit not in breaches.OF_THE_DAY:
        return
    known = problem_of(watch, turn.state.facts("", turn.now_ns)) is None
    value = watch.ledger.value if known else None
    baseline = watch.baseline
    if limit == max_daily_loss.NAME:
        baseline = baseline._replace(day_start=value)
    elif limit == max_drawdown.NAME:
        baseline = baseline._replace(peak=value)
    elif limit == max_loss_per_minute.NAME:
        watch.minute.clear()
        watch.unseen_until_ns = 0
    elif limit == max_order_to_trade_ratio.NAME:
        done = turn.books.tallies.of(watch.owners)
        baseline = baseline._replace(messages=done.messages, executions=done.executions)
    if baseline.calendar:
        _mark(turn, watch, baseline)
    else:
        # The rule has just come into force, under the name of one that is gone: the first look marks its day.
        watch.baseline = baseline
    turn.live.judging.settle = True


def _newly_above(turn: Turn, facts: Facts, *, by_market: bool = False) -> list[Found]:
    """Exposures above their limit that were not so the last time."""
    judging = turn.live.judging
    found = {item.latch: item for item in breaches.of_exposures(facts.rules.exposures(by_market=by_market), facts)}
    new = [item for latch, item in found.items() if latch not in judging.above]
    passed_over = {latch for latch in judging.above if by_market and latch[1] not in breaches.BY_MARKET}
    judging.above = found.keys() | passed_over
    return new


def _latched(books: Books) -> dict[Latch, frozenset[str]]:
    found: dict[Latch, frozenset[str]] = {}
    for body in books.breaches.values():
        latch = (body.uid or body.risk_limit, body.limit, body.subject)
        found[latch] = found.get(latch, frozenset()) | ({body.action} if body.enforced else set())
    return found


# --- What is looked at -----------------------------------------------------------------------------------------------


def _judging(turn: Turn, rules: RuleSet, before: Judging) -> Judging:
    """What these rules need. Of strategies that are counted together those that only still hold something count, too:
    what they do may pass a limit of the others."""
    judging = Judging(
        below=[], lacking=before.lacking, above=before.above, ticking=before.ticking, slowed_ns=before.slowed_ns
    )
    for rule in rules:
        for limit, value in rule.limits:
            judging.active = judging.active or limit.breaches or limit.breach is not None
            judging.losses = judging.losses or limit.name in breaches.OF_THE_DAY
            judging.exposures = judging.exposures or (limit.breaches and limit.moved_by_market)
            if limit.name in TRIGGERS:
                together = rule.total and not limit.breach_of_each
                for strategy in _owners(turn, rule, "") if together else rule.strategies:
                    judging.conduct.setdefault((strategy, TRIGGERS[limit.name]), []).append((limit, value, rule))
    return judging


def _watch(turn: Turn, rules: RuleSet, old: Standing, members: Members) -> None:
    """Opens the watch of every subject, with its baseline as it was, in memory or in the journal."""
    live, books = turn.live, turn.books
    wanted = [(rule, subject, _owners(turn, rule, subject)) for rule in rules for subject in breaches.subjects_of(rule)]
    scopes = [Scope(owners, rule.symbols, rule.currency) for rule, _, owners in wanted if _counts_losses(rule)]
    ledgers = Ledgers(scopes, books.positions, turn.settings.instruments, live.marks)
    watches = {}
    for rule, subject, owners in wanted:
        scope = Scope(owners, rule.symbols, rule.currency)
        ledger = ledgers[scope] if _counts_losses(rule) else Ledger(scope)
        key = (identity(rule), subject)
        known = old.watches.get(key)
        before = known.baseline if known is not None else _baseline_of(books.loss_marks.get(key))
        watch = watches[key] = Watch(rule, subject, owners, ledger, before)
        _go_on(turn, watch)
        watch.capital = own_capital(live.configuration.capital, rule, subject)
        previous = known.owners if known is not None else members.get(rule.name, owners) if rule.total else owners
        if known is None and key in books.loss_marks:
            watch.unseen_until_ns = live.started_ns + MINUTE_NS
        if known is not None:
            watch.minute, watch.unseen_until_ns = known.minute, known.unseen_until_ns
            if known.pending is not None:
                previous, watch.baseline, watch.minute = known.pending
                before = watch.baseline
        symbols = known.rule.symbols if known is not None else rule.symbols
        _carry(turn, watch, previous, same=symbols == rule.symbols and before.currency in ("", rule.currency))
        live.judging.watches_of.setdefault(ledger, []).append(watch)
        live.judging.days[watch.calendar] = ""
    live.standing.watches, live.standing.ledgers = watches, ledgers
    live.judging.settle = True


def _go_on(turn: Turn, watch: Watch) -> None:
    """Where days are counted in another way from now on, the one that has begun goes on until the next begins: nobody
    loses sight of a loss because somebody has moved the boundary."""
    baseline, days = watch.baseline, watch.calendar
    if baseline.day and baseline.calendar and baseline.calendar != days.name and (day := days.day(turn.now_ns)):
        _mark(turn, watch, baseline._replace(day=day, calendar=days.name))


def _carry(turn: Turn, watch: Watch, previous: frozenset[str], *, same: bool) -> None:
    """Whoever is counted from now on brings what it has made before: that is no profit of the day and no new peak. By
    the last quotes and rates, whatever their age. Where there are none yet, as after a start, the losses of the day and
    the minute and the peak are not known until they come: to begin with the present would forget what was lost. In
    another currency or other symbols losses count from the present on."""
    baseline, owners, books = watch.baseline, watch.owners, turn.books
    if not same:
        watch.minute = deque()
    if not baseline.day or (same and owners == previous):
        watch.baseline = baseline._replace(currency=watch.rule.currency)
        return
    came, went = books.tallies.of(owners - previous), books.tallies.of(previous - owners)
    shift = None
    if same:
        scopes = [watch.ledger.scope._replace(owners=some) for some in (owners - previous, previous - owners)]
        parts = Ledgers(scopes, books.positions, turn.settings.instruments, turn.live.marks)
        if not all(part.was_known(turn.live.marks) for part in parts):
            watch.pending = Pending(previous, baseline, watch.minute)
            watch.minute = deque()
            watch.baseline = baseline._replace(day_start=None, peak=None, currency=watch.rule.currency)
            return
        shift = CONTEXT.subtract(parts[scopes[0]].value, parts[scopes[1]].value)
        watch.minute = deque((at_ns, CONTEXT.add(value, shift)) for at_ns, value in watch.minute)
    start, peak = baseline.day_start, baseline.peak
    moved = baseline._replace(
        day_start=None if shift is None or start is None else CONTEXT.add(start, shift),
        peak=None if shift is None or peak is None else CONTEXT.add(peak, shift),
        last=None if shift is None or baseline.last is None else CONTEXT.add(baseline.last, shift),
        messages=baseline.messages + came.messages - went.messages,
        executions=baseline.executions + came.executions - went.executions,
        currency=watch.rule.currency,
    )
    _mark(turn, watch, moved)


def _look(turn: Turn) -> tuple[Set[tuple[str, str]], bool]:
    """What the command has recorded: takes moved positions into the ledgers; returns which strategies have done what,
    as far as some limit judges it, and whether an execution has come that no open order explains."""
    live, books = turn.live, turn.books
    done: set[tuple[str, str]] = set()
    late = False
    for event in turn.recorded:
        kind = event.WhichOneof("event")
        if kind == "order_submitted":
            done.add((event.order_submitted.strategy, SENT))
        elif kind == "order_executed" or kind == "execution_busted":
            body = event.order_executed if kind == "order_executed" else event.execution_busted
            order = books.find(body.cl_ord_id)
            owner = SUSPENSE if order is None else order.terms.strategy
            _moved(turn, (owner, wire.instrument_of(books.venue, body.symbol)))
            late = late or kind == "execution_busted" or order is None or _is_late(order)
            _accepted(turn, owner)
            done.add((owner, EXECUTED))
        elif kind == "position_charged":
            charged = event.position_charged
            _moved(turn, (charged.strategy, wire.instrument_of(books.venue, charged.symbol)))
        elif kind == "requests_refused":
            strategy = event.requests_refused.strategy
            done |= {(strategy, SENT), (strategy, REJECTED)}
        elif kind in REQUESTS:
            request = getattr(event, kind)
            order = books.find(getattr(request, "orig_cl_ord_id", "") or request.cl_ord_id)
            if order is None:
                continue
            done.add((order.terms.strategy, REQUESTS[kind]))
            if kind in ("order_accepted", "order_replaced"):
                _accepted(turn, order.terms.strategy)
    return done & live.judging.conduct.keys(), late


def _moved(turn: Turn, key: Key) -> None:
    live = turn.live
    if live.standing.ledgers is not None:
        live.judging.below += live.standing.ledgers.booked(key, turn.books.positions[key], live.marks)
        _schedule(turn)


def _accepted(turn: Turn, strategy: str) -> None:
    """The venue took an order of the strategy: what was refused before is in no row any more."""
    if (refused := turn.live.refused.get(strategy)) is not None:
        refused.end_row()


def _is_late(order: Order) -> bool:
    """Whether it was executed after its end, or for more than its quantity."""
    return order.worked > order.terms.quantity or (order.base.is_final and order.base is not OrdStatus.FILLED)


# --- Baselines -------------------------------------------------------------------------------------------------------


def _look_at_all(turn: Turn) -> None:
    judging = turn.live.judging
    judging.settle = False
    for calendar in judging.days:
        judging.days[calendar] = calendar.day(turn.now_ns)
    _settle(turn, judging.watches_of, turn.state.facts("", turn.now_ns))


def _settle(turn: Turn, ledgers: Iterable[Ledger], facts: Facts) -> None:
    """Marks the trading day of every subject, and what was not known before and is now; sets the floors."""
    for ledger in ledgers:
        watches = turn.live.judging.watches_of[ledger]
        for watch in watches:
            _settle_one(turn, watch, facts)
        _set_floor(turn, ledger, watches, facts)


def _day_changed(turn: Turn) -> bool:
    judging = turn.live.judging
    second = turn.now_ns // SECOND_NS
    if second == judging.second:
        return False
    judging.second = second
    return any(calendar.day(turn.now_ns) != day for calendar, day in judging.days.items())


def _settle_one(turn: Turn, watch: Watch, facts: Facts) -> None:
    if watch.pending is not None:
        since = watch.minute
        (previous, watch.baseline, watch.minute), watch.pending = watch.pending, None
        _carry(turn, watch, previous, same=True)
        for at_ns, high in since if watch.pending is None else ():
            watch.take_into_minute(at_ns, high)
    baseline, day = watch.baseline, turn.live.judging.days[watch.calendar]
    if watch.pending is not None:
        # Not journaled: what is there is of those who were counted before.
        if baseline.day != day:
            watch.baseline = _next_day(turn, watch, baseline, watch.owners, day)._replace(day_start=None)
            kept = watch.pending.baseline
            start = _next_day(turn, watch, kept, watch.pending.owners, day)._replace(day_start=kept.last)
            watch.pending = watch.pending._replace(baseline=start)
        return
    if baseline.day == day and baseline.day_start is not None and baseline.peak is not None:
        return
    counts = bool(day) and _watches_losses(watch)
    # Where nobody adds up what is made, the ledger says nothing: a limit on losses that comes later begins with what is
    # then.
    value = watch.ledger.value if counts and problem_of(watch, facts) is None else None
    if baseline.day != day:
        baseline = _next_day(turn, watch, baseline, watch.owners, day)
    elif baseline.day_start is None:
        baseline = baseline._replace(day_start=value)
    if baseline.peak is None:
        baseline = baseline._replace(peak=value)
    _mark(turn, watch, baseline)


def _next_day(turn: Turn, watch: Watch, baseline: Baseline, owners: frozenset[str], day: str) -> Baseline:
    """By the last quotes, whatever their age: markets rest while days end. A gateway that has started since has none,
    and begins with what was marked last, so that no loss falls between two days."""
    done, ledgers = turn.books.tallies.of(owners), turn.live.standing.ledgers
    known = ledgers is not None and ledgers.was_known(watch.ledger, turn.live.marks)
    last = watch.ledger.value if known else baseline.last
    return baseline._replace(
        day=day,
        day_start=last if day and _watches_losses(watch) else None,
        messages=done.messages,
        executions=done.executions,
        calendar=watch.calendar.name,
    )


def _mark_last(turn: Turn, watch: Watch, facts: Facts) -> None:
    if watch.pending is None and max_daily_loss.NAME in watch.limits and problem_of(watch, facts) is None:
        watch.last_ns = turn.now_ns
        if watch.baseline.last != watch.ledger.value:
            _mark(turn, watch, watch.baseline._replace(last=watch.ledger.value))


def _mark(turn: Turn, watch: Watch, baseline: Baseline) -> None:
    """The subject is measured from here on, and the journal says so."""
    watch.baseline = baseline
    if baseline == watch.marked:
        return
    watch.marked = baseline
    start, peak, last = baseline.day_start, baseline.peak, baseline.last
    body = journal_pb2.LossMarked(
        risk_limit=watch.rule.name,
        uid=watch.rule.uid,
        subject=watch.subject,
        day=baseline.day,
        day_start="" if start is None else render(start),
        peak="" if peak is None else render(peak),
        messages=baseline.messages,
        executions=baseline.executions,
        currency=baseline.currency,
        calendar=baseline.calendar,
        last="" if last is None else render(last),
    )
    if body != turn.books.loss_marks.get((watch.identity, watch.subject)):
        turn.record(journal_pb2.JournalEvent(loss_marked=body))


def _baseline_of(body: journal_pb2.LossMarked | None) -> Baseline:
    if body is None:
        return Baseline()
    # Exact, so it may have more digits than a person may write.
    start, peak, last = (Decimal(text) if text else None for text in (body.day_start, body.peak, body.last))
    return Baseline(body.day, start, peak, body.messages, body.executions, body.currency, body.calendar, last)


def _mark_peak(turn: Turn, watch: Watch) -> None:
    if max_drawdown.NAME in watch.limits and watch.baseline.peak is not None:
        _mark(turn, watch, watch.baseline)


# --- Ledgers ---------------------------------------------------------------------------------------------------------


def _take_high(ledger: Ledger, watches: Iterable[Watch], facts: Facts) -> None:
    """Takes the highest value since the last time into peaks and minutes; one that cannot be believed is no peak."""
    for watch in watches:
        if _watches_losses(watch) and problem_of(watch, facts) is None:
            watch.rose(facts.now_ns)
    ledger.high = ledger.value


def _set_floor(turn: Turn, ledger: Ledger, watches: Iterable[Watch], facts: Facts) -> None:
    ledger.floor, ledger.drop = breaches.floor(watches, facts)
    if ledger.value < ledger.floor:
        turn.live.judging.below.append(ledger)


def _schedule(turn: Turn) -> None:
    judging = turn.live.judging
    if judging.ticking:
        judging.moved = True
    elif judging.losses or judging.exposures:
        judging.ticking = True
        turn.wake(turn.now_ns + TICK_NS // _parts(judging), "breaches", "")


def _parts(judging: Judging) -> int:
    return max(-(-len(judging.watches_of) // LEDGERS_AT_ONCE), 1)


def _owners(turn: Turn, rule: Rule, subject: str) -> frozenset[str]:
    return turn.books.members.get(rule.name, rule.strategies) if rule.total else alone(subject)


def _watches_losses(watch: Watch) -> bool:
    return not breaches.LOSSES.keys().isdisjoint(watch.limits)


def _counts_losses(rule: Rule) -> bool:
    return any(limit.name in breaches.LOSSES for limit, _ in rule.limits)
