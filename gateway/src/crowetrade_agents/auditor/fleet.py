"""All journals together: events in the order of their times, and limits that count over several gateways.

Clocks of pods differ. What another gateway sent or worked counts against an order only where it did so whatever the
clocks say within CLOCK_TOLERANCE_NS: a sum is judged by the least that the others can have had at the moment of the
order. A limit that is passed for less than twice that time may be missed, and no order is accused because of a clock.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade_agents.auditor import breaches, limits
from crowetrade_agents.auditor.case import Attempt, Case
from crowetrade_agents.auditor.figures import ZERO, Range, decimal, plus, scaled_down, shown
from crowetrade_agents.auditor.findings import Finding, Over, Unjudged
from crowetrade_agents.auditor.judge import attempt_of, binding_rules, finding_of, judge
from crowetrade_agents.auditor.ledger import Ledger, Rule
from crowetrade_agents.auditor.messages import SECOND

CLOCK_TOLERANCE_NS = SECOND
SHARED = ("maxOrderRate", "maxOpenOrders", "maxGrossNotional", "maxNetNotional", *breaches.LOSSES)
"""Limits of which gateways hold shares, and that are judged by their sum."""

Name = tuple[str, str]
"""Namespace and venue."""


class State(NamedTuple):
    """What one gateway worked under one rule from a time on: open orders, and by symbol the signed worst cases of both
    sides. Where losses are limited also what it held, from where its losses count, and which of these limits are
    latched."""

    at_ns: int
    orders: int
    worst: Mapping[str, tuple[Decimal, Decimal]]
    held: tuple[breaches.Held, ...]
    mark: pb.LossMarked | None
    latched: frozenset[str]


@dataclass(slots=True)
class Pending:
    """An order whose sum is judged when every journal was read past it."""

    ledger: Ledger
    sequence: int
    order: Attempt
    rule: Rule
    limit: str
    own_orders: int
    own: Range | None


class Fleet:
    """The ledgers of all gateways. Events are given in the order of their times, as far as clocks agree."""

    def __init__(self) -> None:
        self.ledgers: dict[Name, Ledger] = {}
        self.findings: list[Finding] = []
        self.unjudged: list[Unjudged] = []
        self.orders = 0
        # Journals that cannot be read now: sums that they are part of are not judged.
        self.lagging: set[Name] = set()
        self._states: defaultdict[tuple[Name, str], deque[State]] = defaultdict(deque)
        self._pending: deque[Pending] = deque()

    def follow(self, ledger: Ledger) -> None:
        """A journal that is read from now on, also one that begins again."""
        self.ledgers[ledger.namespace, ledger.venue] = ledger

    def forget(self, name: Name) -> None:
        """A journal that is gone."""
        self.ledgers.pop(name, None)
        self._states = defaultdict(deque, {key: value for key, value in self._states.items() if key[0] != name})

    def take(self, name: Name, sequence: int, event: pb.JournalEvent) -> None:
        """One event: an order is judged, then the event is folded. Raises JournalCorrupt as Ledger.apply."""
        ledger = self.ledgers[name]
        self.settle(event.at_unix_ns - CLOCK_TOLERANCE_NS)
        order = attempt_of(ledger, event)
        if order is not None:
            self.orders += 1
            findings, unjudged = judge(ledger, sequence, order)
            self.findings += findings
            self.unjudged += unjudged
            self._judge_sums(ledger, sequence, order)
        ledger.apply(sequence, event)
        if event.WhichOneof("event") not in ("requests_refused", "kill_changed"):
            self._note(name, ledger)

    def judged(self, name: Name) -> int:
        """Sequence up to which everything about orders of a journal was judged, sums included."""
        open_ends = [item.sequence - 1 for item in self._pending if item.ledger is self.ledgers[name]]
        return min(open_ends, default=self.ledgers[name].sequence)

    def settle(self, until_ns: int) -> None:
        """Judges sums of orders up to a time; every journal was read CLOCK_TOLERANCE_NS past it."""
        while self._pending and self._pending[0].order.at_ns <= until_ns:
            self._judge_pending(self._pending.popleft())

    # --- Sums -------------------------------------------------------------------------------------------------------

    def _judge_sums(self, ledger: Ledger, sequence: int, order: Attempt) -> None:
        for rule in binding_rules(ledger, order):
            if not (rule.total and rule.enforced and len(rule.gateways) > 1):
                continue
            case = Case(ledger, order, rule)
            for limit in SHARED:
                if limit not in rule.limits or order.closing:
                    continue
                pending = Pending(ledger, sequence, order, rule, limit, 0, None)
                if limit == "maxOrderRate":
                    self._judge_rate(pending)
                    continue
                if limit == "maxOpenOrders":
                    if order.replaces is not None:
                        continue
                    pending.own_orders = 1 + _open_orders(ledger, rule, case.owners)
                elif limit in breaches.LOSSES:
                    pending.own = _own_loss(limit, case)
                    if pending.own is None:
                        continue
                elif case.comes_nearer_to_zero():
                    continue
                else:
                    pending.own = limits.gross(case) if limit == "maxGrossNotional" else limits.net(case)
                self._pending.append(pending)

    def _incomplete(self, pending: Pending) -> bool:
        """Whether the journal of another gateway is missing in the sum, which is then not judged."""
        if not any((pending.ledger.namespace, venue) in self.lagging for venue in pending.rule.gateways):
            return False
        why = "the journal of another gateway cannot be read"
        self.unjudged.append(Unjudged(pending.ledger.namespace, pending.ledger.venue, pending.limit, why))
        return True

    def _others(self, pending: Pending) -> Iterable[tuple[Name, Ledger, Rule]]:
        """The other gateways that enforce the same RiskLimit."""
        for venue in pending.rule.gateways:
            name = pending.ledger.namespace, venue
            ledger = self.ledgers.get(name)
            if venue == pending.ledger.venue or ledger is None:
                continue
            for rule in ledger.rules:
                if rule.uid == pending.rule.uid:
                    yield name, ledger, rule

    def _judge_rate(self, pending: Pending) -> None:
        order, values = pending.order, pending.rule.limits["maxOrderRate"]
        try:
            allowed, window_ns = int(values["count"]), int(values["perSeconds"]) * SECOND
        except (KeyError, ValueError):
            return
        found = 1 + _sent(pending.ledger, pending.rule, order.at_ns - window_ns, order.at_ns)
        for _, ledger, rule in self._others(pending):
            found += _sent(ledger, rule, order.at_ns - window_ns + CLOCK_TOLERANCE_NS, order.at_ns - CLOCK_TOLERANCE_NS)
        if found > allowed:
            self._find(pending, str(found), str(allowed))
        else:
            self._incomplete(pending)

    def _judge_pending(self, pending: Pending) -> None:
        try:
            allowed = decimal(pending.rule.limits[pending.limit]["value"])
            if pending.limit in breaches.LOSSES:
                self._judge_loss(pending)
                return
        except (KeyError, ValueError):
            return
        if pending.limit == "maxOpenOrders":
            found = pending.own_orders
            for name, _, rule in self._others(pending):
                found += min((state.orders for state in self._around(name, rule, pending.order.at_ns)), default=0)
            if found > allowed:
                self._find(pending, str(found), shown(allowed))
            else:
                self._incomplete(pending)
            return
        total = self._least_value(pending)
        if total is None:
            why = "prices at several gateways at that moment were not heard without a gap"
            self.unjudged.append(Unjudged(pending.ledger.namespace, pending.ledger.venue, pending.limit, why))
        elif total > allowed:
            self._find(pending, shown(total), shown(allowed))
        else:
            self._incomplete(pending)

    def _least_value(self, pending: Pending) -> Decimal | None:
        """The least gross or net notional of all gateways together, towards the order's side."""
        if pending.own is None:
            return None
        towards = pending.own if pending.order.buy else pending.own.scaled(Decimal(-1))
        total = pending.own.low if pending.limit == "maxGrossNotional" else towards.low
        for name, ledger, rule in self._others(pending):
            values = [_value(ledger, rule, state, pending) for state in self._around(name, rule, pending.order.at_ns)]
            known = [value for value in values if value is not None]
            if len(known) < len(values):
                return None
            total += min(known, default=ZERO)
        return total

    def _judge_loss(self, pending: Pending) -> None:
        """By what each gateway has lost at least, in parts of what its own configuration allows: one may have a new
        limit, or other capital, before another. Where a breach is latched what onBreach says holds there, and the
        others may go on to lose their shares."""
        own = Case(pending.ledger, pending.order, pending.rule)
        allowed = breaches.most_allowed(pending.limit, pending.rule.limits[pending.limit], own)
        total = pending.own.low if pending.own is not None else ZERO
        for name, ledger, rule in self._others(pending):
            states = self._around(name, rule, pending.order.at_ns)
            if pending.limit not in rule.limits or not states:
                continue
            if any(pending.limit in state.latched for state in states):
                return
            case = Case(ledger, _nobody(pending.order), rule)
            losses = [_lost(pending.limit, case, state) for state in states]
            known = [loss for loss in losses if loss is not None]
            theirs = breaches.most_allowed(pending.limit, rule.limits[pending.limit], case)
            if len(known) < len(losses) or theirs is None or allowed is None:
                why = "losses of several gateways at that moment are not known"
                self.unjudged.append(Unjudged(pending.ledger.namespace, pending.ledger.venue, pending.limit, why))
                return
            lost = min(known)
            total = plus(total, lost if theirs == allowed else scaled_down(lost, allowed, theirs))
        if allowed is not None and total > allowed:
            self._find(pending, shown(total), shown(allowed))
        else:
            self._incomplete(pending)

    def _find(self, pending: Pending, computed: str, allowed: str) -> None:
        text = f"{pending.limit} over all gateways of the RiskLimit: {computed} is over {allowed}"
        over = Over(computed, allowed, text)
        found = finding_of(pending.ledger, pending.sequence, pending.order, pending.limit, pending.rule.name, over)
        if (found.sequence, found.limit) not in [(item.sequence, item.limit) for item in self.findings]:
            self.findings.append(found)

    # --- What each gateway worked at which time ---------------------------------------------------------------------

    def _note(self, name: Name, ledger: Ledger) -> None:
        for rule in ledger.rules:
            if not rule.total or len(rule.gateways) < 2:
                continue
            owners = ledger.members.get(rule.name, rule.strategies)
            worst: defaultdict[str, list[Decimal]] = defaultdict(lambda: [ZERO, ZERO])
            for (owner, symbol), held in ledger.holdings.items():
                if owner in owners and rule.covers(symbol) and not held.is_empty:
                    worst[symbol][0] += held.worst(True)
                    worst[symbol][1] += held.worst(False)
            states = self._states[name, rule.name]
            orders = _open_orders(ledger, rule, owners)
            losses = [limit for limit in breaches.LOSSES if limit in rule.limits]
            has = tuple(breaches.held_by(ledger, rule, owners)) if losses else ()
            mark = ledger.loss_marks.get((rule.uid, ""))
            latched = frozenset(limit for limit in losses if breaches.is_latched(limit, ledger, rule, ""))
            sides = {key: (item[0], item[1]) for key, item in worst.items()}
            states.append(State(ledger.at_ns, orders, sides, has, mark, latched))
            while len(states) > 1 and states[1].at_ns < ledger.at_ns - 4 * CLOCK_TOLERANCE_NS:
                states.popleft()

    def _around(self, name: Name, rule: Rule, at_ns: int) -> list[State]:
        """States in force within the tolerance of a moment."""
        found: list[State] = []
        for state in self._states.get((name, rule.name), ()):
            if state.at_ns <= at_ns - CLOCK_TOLERANCE_NS:
                found = [state]
            elif state.at_ns <= at_ns + CLOCK_TOLERANCE_NS:
                found.append(state)
        return found


def _open_orders(ledger: Ledger, rule: Rule, owners: frozenset[str]) -> int:
    return sum(
        held.orders for (owner, symbol), held in ledger.holdings.items() if owner in owners and rule.covers(symbol)
    )


def _sent(ledger: Ledger, rule: Rule, since_ns: int, until_ns: int) -> int:
    owners = ledger.members.get(rule.name, rule.strategies)
    counted = [item for (owner, symbol), item in ledger.messages.items() if owner in owners and rule.covers(symbol)]
    return sum(max(item.after(since_ns) - item.after(until_ns), 0) for item in counted)


def _value(ledger: Ledger, rule: Rule, state: State, pending: Pending) -> Decimal | None:
    """The least value of a state, gross or towards the order's side, by prices about the moment of the order."""
    order, total = pending.order, ZERO
    case = Case(ledger, _nobody(order), rule)
    for symbol, (long, short) in state.worst.items():
        unit = case.unit_value(symbol)
        if unit is None:
            return None
        if pending.limit == "maxGrossNotional":
            total += unit.low * max(long.copy_abs(), short.copy_abs())
        else:
            total += unit.scaled(long if order.buy else -short).low
    return total


def _nobody(order: Attempt) -> Attempt:
    """An order of nobody at that moment: prices come from the market data alone."""
    return Attempt(order.at_ns, "", "", "", order.buy, ZERO, None, 0, False, None, None, None, 0)


def _own_loss(limit: str, case: Case) -> Range | None:
    """What the order's own gateway has lost at least; None where the sum says nothing about the order: it reduces, the
    breach is latched, or judge() has said already that the loss is not known."""
    if case.reduces() or breaches.is_latched(limit, case.ledger, case.rule, ""):
        return None
    now = breaches.profit(case, "")
    if now is None:
        return None
    mark = case.ledger.loss_marks.get((case.rule.uid, ""))
    try:
        return Range.exactly(breaches.least_lost(limit, case, mark, now))
    except ValueError:
        return None


def _lost(limit: str, case: Case, state: State) -> Decimal | None:
    """The least that was lost in a state; None where that is not known."""
    if not state.held:
        return ZERO
    now = breaches.worth(case, state.held)
    if now is None or (state.mark is None and limit != "maxLossPerMinute"):
        return None
    return breaches.least_lost(limit, case, state.mark, now)
