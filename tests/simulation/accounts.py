"""Naive accounts of one venue, kept beside the gateway: a fold of the records that the journal has stored, by plain
sums and lists. Nothing of the engine, its books or the gate is used, so that an engine that is wrong differs from them.

Each rule that a record breaks raises Broken with the name of the invariant.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from crowetrade.bus.v1 import journal_pb2, market_data_pb2, orders_pb2
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway.refusals import by_symbol
from tests.simulation.broken import Broken, expect
from tests.simulation.judge import Asked, Judge
from tests.simulation.limits import DESKS, HARDNESS, SECOND, STOPPED, ConfigSpec, KillSpec, RuleSpec
from tests.simulation.losses import Losses
from tests.simulation.market import Market

ZERO = Decimal(0)
SUSPENSE = ""
DAY_NS = 86_400 * SECOND
Exposures = dict[tuple[str, str], tuple[Decimal, Decimal, Decimal, int]]


@dataclass(slots=True)
class Account:
    """One order by the records: quantities in units; `worked` is what was executed, taken back or not."""

    owner: str
    symbol: str
    sign: int
    quantity: Decimal
    price: str
    closing: bool
    cl_ord_id: str
    worked: Decimal = ZERO
    cum: Decimal = ZERO
    is_open: bool = True
    pending: tuple[str, Decimal, str] | None = None
    # Quantities that it was ever sent with.
    quantities: set[Decimal] = field(default_factory=set)

    @property
    def counted(self) -> Decimal:
        """What it may still execute at most."""
        if not self.is_open:
            return ZERO
        largest = max(self.quantity, self.pending[1]) if self.pending else self.quantity
        return max(largest - self.worked, ZERO)


@dataclass(frozen=True, slots=True)
class NotSent:
    """A request that its gateway did not send; `after` is how many events of its batch were recorded before it.

    `symbol` and `cl_ord_id` are those of a new order, `orig_cl_ord_id` that of a cancel or replacement; what could not
    be read has none of them.
    """

    after: int
    at_ns: int
    strategy: str
    symbol: str = ""
    cl_ord_id: str = ""
    orig_cl_ord_id: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was refused and is in no record yet."""

    strategy: str
    symbol: str
    at_ns: int


@dataclass(frozen=True, slots=True)
class KillInForce:
    """A kill order by the records."""

    uid: str
    generation: int
    spec: KillSpec
    # Whom it has stopped and goes on to stop, whatever it selects by now.
    kept: frozenset[str] = frozenset()

    def stops(self, strategy: str) -> bool:
        """Whether the strategy is stopped by it."""
        return strategy in self.kept or self.spec.stops(strategy)


@dataclass(frozen=True, slots=True)
class Breach:
    """A breach that nobody has cleared; `subject` is empty where the rule counts strategies together."""

    rule: str
    subject: str
    strategies: frozenset[str]
    action: str
    limit: str = ""
    enforced: bool = True

    def stops(self, strategy: str, spec: ConfigSpec) -> bool:
        """Whether it concerns the strategy: its own, that of a rule that counted it, or that binds it by now."""
        binds = any(rule.name == self.rule and strategy in rule.strategies for rule in spec.rules)
        return strategy in self.strategies or (not self.subject and binds)


Said = Mapping[tuple[str, int], KillSpec | None]


class Accounts:
    """See the module. `specs` are all configurations that the operator has made, by revision; `said` is what the API
    server has said of KillSwitches, by uid and generation, None when one is not engaged."""

    def __init__(
        self,
        specs: Mapping[str, ConfigSpec],
        said: Said | None = None,
        multipliers: Mapping[str, Decimal] | None = None,
    ) -> None:
        self.specs = specs
        self.market = Market(multipliers or {})
        self.judge = Judge(self)
        self.losses = Losses(self)
        self.said: Said = {} if said is None else said
        self.kills: dict[str, KillInForce] = {}
        # How often the API server has changed or ended a kill order, by its name.
        self.softened: dict[str, int] = {}
        self.breaches: dict[str, Breach] = {}
        # Limits of which one was latched at some time.
        self.breached: set[str] = set()
        # When a strategy that is slowed down by a breach sent last, in this session.
        self.slowed: dict[str, int] = {}
        self.orders: dict[str, Account] = {}
        self.open: dict[int, Account] = {}
        self.positions: dict[tuple[str, str], Decimal] = {}
        # Exec ids that were booked, and those that were taken back.
        self.booked: dict[str, tuple[str, Decimal]] = {}
        self.busted: set[str] = set()
        # Charges by the venue's identifier, to each owner what he pays.
        self.charged: dict[str, dict[str, Decimal]] = {}
        # Times of messages that count against rates, by strategy and symbol.
        self.messages: dict[tuple[str, str], list[int]] = {}
        self.refused: list[Refused] = []
        # What was not sent of the batch whose record is to come.
        self._not_sent: deque[NotSent] = deque()
        # ClOrdIDs of replacements that never took place.
        self.burned: set[str] = set()
        self.halts: set[str] = set()
        # Orders sent by owner; reason and RiskLimit of the last refusal, and how many requests were refused in all.
        self.sent_total: dict[str, int] = {}
        self.last_reject: dict[str, tuple[str, str, int]] = {}
        self.revision = ""
        self.members: dict[str, frozenset[str]] = {}
        self.tokens: list[int] = []
        self.events = 0
        self.kinds: dict[str, int] = {}
        # What `exposures_by_records` found, after how many events.
        self._known: tuple[int, Exposures] = (-1, {})

    # --- The fold ---------------------------------------------------------------------------------------------------

    def take(self, payload: bytes) -> list[journal_pb2.JournalEvent]:
        """One stored record; returns its events."""
        record = journal_pb2.JournalRecord.FromString(payload)
        expect(
            record.first_sequence == self.events + 1, "I7", f"record begins with {record.first_sequence}, not the next"
        )
        for place, event in enumerate(record.events):
            self._refuse(place)
            self.market.advance(place)
            kind = event.WhichOneof("event") or ""
            self.events += 1
            self.kinds[kind] = self.kinds.get(kind, 0) + 1
            fold = FOLDS.get(kind)
            if fold is not None:
                fold(self, getattr(event, kind), event.at_unix_ns)
        self._refuse(len(record.events))
        self.market.advance(len(record.events))
        return list(record.events)

    def handled(self, not_sent: Iterable[NotSent], events: int) -> None:
        """The gateway has handled a batch, whose record holds so many events. Each request that it did not send is
        looked at when the events before it are folded: they may be what it was refused for."""
        self._not_sent = deque(not_sent)
        if not events:
            self._refuse(0)

    def _refuse(self, place: int) -> None:
        """Counts what was refused before this event of the batch."""
        while self._not_sent and self._not_sent[0].after <= place:
            item = self._not_sent.popleft()
            if self.remembers(item.cl_ord_id):
                continue  # sent again: answered with what became of it
            known = self.orders.get(item.orig_cl_ord_id) if self.remembers(item.orig_cl_ord_id) else None
            symbol = item.symbol if known is None or known.owner != item.strategy else known.symbol
            self.refused.append(Refused(item.strategy, symbol, item.at_ns))

    def _started(self, body: journal_pb2.SessionStarted, at_ns: int) -> None:
        expect(not self.tokens or body.fencing_token == self.tokens[-1] + 1, "I2", "fencing tokens rise by one")
        self.tokens.append(body.fencing_token)
        self.refused.clear()
        self._not_sent.clear()
        self.slowed.clear()
        self.market.forget()
        self.losses.started()

    def _submitted(self, body: journal_pb2.OrderSubmitted, at_ns: int) -> None:
        expect(body.cl_ord_id not in self.orders, "I2", f"{body.cl_ord_id} is journaled over another order")
        sign = 1 if body.side == market_data_pb2.SIDE_BUY else -1
        order = Account(
            body.strategy,
            body.symbol,
            sign,
            Decimal(body.order_quantity),
            body.price,
            body.closing,
            body.cl_ord_id,
        )
        self._judge(order, order.quantity, order.quantity, order.price, ZERO, at_ns)
        self.orders[body.cl_ord_id] = order
        self.open[id(order)] = order
        self.sent_total[order.owner] = self.sent_total.get(order.owner, 0) + 1
        if not body.closing:
            self._count(order, at_ns)

    def _cancel(self, body: journal_pb2.CancelSubmitted, at_ns: int) -> None:
        expect(body.orig_cl_ord_id in self.orders, "I2", f"cancel of {body.orig_cl_ord_id}, which nobody sent")
        if body.reason == "CancelRequested":
            self._count(self.orders[body.orig_cl_ord_id], at_ns)

    def _replace(self, body: journal_pb2.ReplaceSubmitted, at_ns: int) -> None:
        order = self.orders[body.orig_cl_ord_id]
        expect(body.cl_ord_id not in self.orders, "I2", f"{body.cl_ord_id} is journaled over another order")
        quantity = Decimal(body.order_quantity)
        self._judge(order, quantity, max(quantity - order.worked, ZERO), body.price, order.counted, at_ns)
        order.pending = (body.cl_ord_id, quantity, body.price)
        order.quantities |= {quantity, order.quantity}
        self.orders[body.cl_ord_id] = order
        self._count(order, at_ns)

    def _executed(self, body: journal_pb2.OrderExecuted, at_ns: int) -> None:
        expect(body.exec_id not in self.booked, "I3", f"execution {body.exec_id} is booked twice")
        quantity = Decimal(body.quantity)
        signed = quantity if body.side == market_data_pb2.SIDE_BUY else -quantity
        order = self.orders.get(body.cl_ord_id.removeprefix("?"))
        expect(body.suspense == (order is None), "I3", f"execution {body.exec_id} is booked to the wrong owner")
        owner = SUSPENSE if order is None else order.owner
        self.booked[body.exec_id] = (owner, signed)
        self._move(owner, body.symbol, signed)
        self.losses.executed(owner)
        self.losses.booked(owner, body.symbol, signed, Decimal(body.price), Decimal(body.fee or 0), at_ns)
        if order is not None:
            order.cum += quantity
            order.worked += quantity
            self._close_when_done(order)

    def _busted(self, body: journal_pb2.ExecutionBusted, at_ns: int) -> None:
        ref = body.exec_ref_id
        expect(ref not in self.busted, "I3", f"execution {ref} is taken back twice")
        self.busted.add(ref)
        quantity = Decimal(body.quantity)
        signed = quantity if body.side == market_data_pb2.SIDE_BUY else -quantity
        expect(ref in self.booked, "I3", f"execution {ref} is taken back and was never booked")
        owner, booked = self.booked[ref]
        expect(signed == booked, "I3", f"execution {ref} is taken back with other numbers")
        self._move(owner, body.symbol, -signed)
        self.losses.booked(owner, body.symbol, -signed, Decimal(body.price), -Decimal(body.fee or 0), at_ns)
        order = self.orders.get(body.cl_ord_id.removeprefix("?"))
        if order is not None:
            order.cum -= quantity

    def _charge(self, body: journal_pb2.PositionCharged, at_ns: int) -> None:
        parts = self.charged.setdefault(body.charge_id, {})
        expect(body.strategy not in parts, "I3", f"charge {body.charge_id} is booked twice to {body.strategy!r}")
        held = self.positions.get((body.strategy, body.symbol), ZERO)
        expect(Decimal(body.quantity) == held, "I3", f"charge {body.charge_id} is for {body.quantity}, {held} are held")
        parts[body.strategy] = Decimal(body.amount)
        self.losses.charged(body.strategy, body.symbol, parts[body.strategy], at_ns)

    def _ended(self, body: journal_pb2.OrderEnded, at_ns: int) -> None:
        order = self.orders[body.cl_ord_id]
        self._close(order)
        if body.ord_status == orders_pb2.ORD_STATUS_REJECTED:
            self._rejects(order.owner, body.reason, "", 1)

    def _replaced(self, body: journal_pb2.OrderReplaced, at_ns: int) -> None:
        order = self.orders[body.orig_cl_ord_id]
        assert order.pending is not None
        order.cl_ord_id, order.quantity, order.price = order.pending
        order.pending = None
        self._close_when_done(order)

    def _rejected(self, body: journal_pb2.RequestRejected, at_ns: int) -> None:
        order = self.orders[body.orig_cl_ord_id]
        if order.pending is not None and order.pending[0] == body.cl_ord_id:
            self._burn(order)
            self._close_when_done(order)

    def _refusals(self, body: journal_pb2.RequestsRefused, at_ns: int) -> None:
        left = dict(by_symbol(body))
        self.losses.sent(body.strategy, body.count)
        self._rejects(body.strategy, body.reason, body.risk_limit, body.count)
        for item in list(self.refused):
            if item.strategy == body.strategy and left.get(item.symbol):
                self.refused.remove(item)
                self.messages.setdefault((item.strategy, item.symbol), []).append(item.at_ns)
                left[item.symbol] -= 1
        more = sum(left.values())
        expect(not more, "I4", f"{body.count} refusals of {body.strategy} are journaled, {more} more than there were")

    def _configured(self, body: journal_pb2.ConfigurationApplied, at_ns: int) -> None:
        self.revision = body.revision
        before, self.members = self.members, self._members_now()
        self.losses.configured(() if self.spec is None else self.spec.rules, before)

    def _halt(self, body: journal_pb2.HaltChanged, at_ns: int) -> None:
        expect(not body.halt.startswith("JournalBelowRecord"), "I7", "a halt for a loss that the journal never had")
        (self.halts.discard if body.cleared else self.halts.add)(body.halt)

    def _kill(self, body: journal_pb2.KillChanged, at_ns: int) -> None:
        """I13: a kill order ends and gets softer by the API server alone, and as the object there says; and whom it has
        stopped it releases only when it ends."""
        order, name = body.order, body.order.name
        current, by_api = self.kills.get(name), body.channel == "Api"
        if body.rearmed:
            expect(by_api, "I13", f"{name} is re-armed by {body.channel}")
            expect(current is not None and current.uid == order.uid, "I13", f"{name} is re-armed by another object")
            newer = (
                generation > order.generation and spec is None
                for (uid, generation), spec in self.said.items()
                if uid == order.uid
            )
            expect(any(newer), "I13", f"{name} is re-armed, which the API server never said")
            del self.kills[name]
        else:
            spec = KillSpec(_MODES[order.mode], order.scope.strategy_selector.match_labels.get("desk", ""))
            asked = self.said.get((order.uid, order.generation))
            replaces = current is not None and by_api and order.uid == current.uid
            for least in (asked, None if current is None or replaces else current.spec):
                if least is not None:
                    expect(
                        _is_as_hard(spec, least), "I13", f"{name} is {spec} by {body.channel}, and {least} was asked"
                    )
            before, kept = self.kills.get(name), frozenset(body.strategies)
            known = frozenset() if before is None else before.kept
            expect(known <= kept, "I13", f"{name} releases {known - kept} and is not re-armed")
            after = self.kills[name] = KillInForce(order.uid, order.generation, spec, kept)
            others = [one for one in kept - known if not spec.stops(one) and not (before and before.stops(one))]
            expect(not others, "I13", f"{name} keeps {others} stopped, whom it never stopped: {after}")
        if by_api:
            self.softened[name] = self.softened.get(name, 0) + 1

    def _breach(self, body: journal_pb2.BreachChanged, at_ns: int) -> None:
        """I14: a breach ends by the configuration alone."""
        if not body.cleared:
            self.breached.add(body.limit)
            action = body.action if body.enforced else "Alert"
            self.breaches[body.breach] = Breach(
                body.risk_limit, body.subject, frozenset(body.strategies), action, body.limit, body.enforced
            )
            return
        found = self.breaches.pop(body.breach, None)
        if found is None:
            raise Broken("I14", f"{body.breach} is cleared, and is no breach")
        cleared = (found.rule, body.breach) in self.spec.cleared_breaches if self.spec is not None else False
        expect(cleared, "I14", f"{body.breach} is cleared, which nobody asked for at RiskLimit {found.rule}")
        self.losses.cleared(body)

    def _forget(self, body: journal_pb2.Forgotten, at_ns: int) -> None:
        """I4, I13, I14: what is forgotten is counted by nothing any more."""
        spec, exposures = self.spec, self.exposures()
        for name in body.strategies:
            bound = spec is None or name in spec.bindings or any(name in rule.strategies for rule in spec.rules)
            counted = bound or any(name in members for members in self.members.values())
            expect(not counted, "I4", f"{name} is forgotten, and is bound or counted")
            expect(not any(owner == name for owner, _ in exposures), "I4", f"{name} is forgotten, and has something")
            times = (at for (owner, _), all_of_it in self.messages.items() if owner == name for at in all_of_it)
            expect(max(times, default=0) <= at_ns - DAY_NS, "I4", f"{name} is forgotten, and has just sent something")
            named = any(name == item.subject or name in item.strategies for item in self.breaches.values())
            expect(not named, "I14", f"{name} is forgotten, and a breach names it")
            kept = any(name in item.kept for item in self.kills.values())
            expect(not kept, "I13", f"{name} is forgotten, and stopped by a kill order")
            self.sent_total["*"] = self.sent_total.get("*", 0) + self.sent_total.pop(name, 0)
            self.last_reject.pop(name, None)
        self.losses.forgotten(body, at_ns)

    # --- Parts of it ------------------------------------------------------------------------------------------------

    def _count(self, order: Account, at_ns: int) -> None:
        self.losses.sent(order.owner)
        self.messages.setdefault((order.owner, order.symbol), []).append(at_ns)

    def _rejects(self, owner: str, reason: str, risk_limit: str, count: int) -> None:
        before = self.last_reject.get(owner, ("", "", 0))[2]
        self.last_reject[owner] = (reason, risk_limit, before + count)

    def _move(self, owner: str, symbol: str, signed: Decimal) -> None:
        key = (owner, symbol)
        self.positions[key] = self.positions.get(key, ZERO) + signed

    def _burn(self, order: Account) -> None:
        if order.pending is not None:
            self.burned.add(order.pending[0])
            order.pending = None

    def _close(self, order: Account) -> None:
        order.is_open = False
        self._burn(order)
        self.open.pop(id(order), None)

    def _close_when_done(self, order: Account) -> None:
        largest = max(order.quantity, order.pending[1]) if order.pending else order.quantity
        if order.is_open and order.worked >= largest:
            self._close(order)

    def remembers(self, cl_ord_id: str) -> bool:
        """Whether an order has or had this ClOrdID."""
        return cl_ord_id in self.orders and cl_ord_id not in self.burned

    def exposures_by_records(self) -> Exposures:
        """`exposures` after the last record; reckoned once for each."""
        if self._known[0] != self.events:
            self._known = (self.events, self.exposures())
        return self._known[1]

    def exposures(self) -> Exposures:
        """Position, open to buy, open to sell and open orders by owner and symbol; without those that have nothing."""
        found: dict[tuple[str, str], list[Decimal]] = {
            key: [position, ZERO, ZERO, ZERO] for key, position in self.positions.items()
        }
        for order in self.open.values():
            entry = found.setdefault((order.owner, order.symbol), [ZERO, ZERO, ZERO, ZERO])
            entry[1 if order.sign > 0 else 2] += order.counted
            entry[3] += 1
        return {key: (a, b, c, int(d)) for key, (a, b, c, d) in found.items() if a or b or c or d}

    # --- I4 and I5: no limit exceeded, nothing sent after a halt ----------------------------------------------------

    @property
    def spec(self) -> ConfigSpec | None:
        """What the last configuration in the journal says."""
        return self.specs.get(self.revision)

    def _judge(
        self, order: Account, quantity: Decimal, leaves: Decimal, price: str, counted: Decimal, at_ns: int
    ) -> None:
        spec = self.spec
        what = f"{order.cl_ord_id} {'buy' if order.sign > 0 else 'sell'} {quantity} {order.symbol}"
        if spec is None:
            raise Broken("I5", f"{what}: sent without a configuration")
        self._judge_state(order, leaves, counted, what)
        if not order.closing and "Slow" in self._breached(order.owner, spec):
            last_ns = self.slowed.get(order.owner, -SECOND)
            expect(at_ns - last_ns >= SECOND, "I14", f"{what}: sent {at_ns - last_ns} ns after the last, though slowed")
            self.slowed[order.owner] = at_ns
        binding = [rule for rule in spec.rules if rule.binds(order.owner, order.symbol)]
        if not order.closing:
            expect(any(rule.enforce for rule in binding), "I4", f"{what}: sent without a limit in force")
            expect(not any(rule.unknown for rule in binding), "I4", f"{what}: sent under an unreadable limit")
        for rule in binding:
            if rule.enforce:
                self._judge_rule(rule, order, quantity, leaves, counted, at_ns, what)
        is_new = order.cl_ord_id not in self.orders
        asked = Asked(order, quantity, leaves, Decimal(price) if price else None, counted, at_ns, is_new, what)
        self.judge.order(asked, binding)

    def capital_of(self, rule: RuleSpec, owner: str) -> Decimal | None:
        """Of all that the rule binds, or of the owner alone; None when that of one is not known."""
        spec = self.spec
        names = rule.strategies if rule.total else {owner}
        if spec is None or not spec.capital or not names <= spec.bindings.keys():
            return None
        return spec.capital * len(names)

    def state(self, owner: str) -> TradingState:
        """What the strategy may do. A stop that wants nothing sent keeps a deletion from closing, too."""
        spec = self.spec
        if self.halts or spec is None:
            return TradingState.HALTED
        bound = spec.state(owner)
        asked = [kill.spec.mode for kill in self.kills.values() if kill.stops(owner)]
        asked += [action for action in self._breached(owner, spec) if action in HARDNESS]
        hardest = max(asked, key=list(HARDNESS).index, default="")
        if hardest == "Block" and "CloseOnly" in asked:
            hardest = "Cancel"
        if hardest in ("Block", "Cancel"):
            return STOPPED[hardest] if bound is TradingState.ACTIVE else TradingState.HALTED
        if hardest == "Flatten" and not spec.unreadable and not spec.halted_reason and owner in spec.bindings:
            return TradingState.FLATTEN
        return TradingState.CLOSE_ONLY if hardest and bound is TradingState.ACTIVE else bound

    def _breached(self, owner: str, spec: ConfigSpec) -> list[str]:
        return [breach.action for breach in self.breaches.values() if breach.stops(owner, spec)]

    def _judge_state(self, order: Account, leaves: Decimal, counted: Decimal, what: str) -> None:
        state = self.state(order.owner)
        if order.closing:
            expect(state is TradingState.FLATTEN, "I5", f"{what}: closes in state {state}")
        else:
            expect(state in (TradingState.ACTIVE, TradingState.CLOSE_ONLY), "I5", f"{what}: sent in state {state}")
        left = self.spec is None or order.symbol not in self.spec.tradable.get(order.owner, ())
        if order.closing or left or state is TradingState.CLOSE_ONLY:
            held = self.positions.get((order.owner, order.symbol), ZERO) * order.sign
            working = self.working({order.owner}, order) - counted
            expect(held < 0 and working + leaves <= -held, "I5", f"{what}: does not reduce {held}, {working} working")

    def _judge_rule(
        self,
        rule: RuleSpec,
        order: Account,
        quantity: Decimal,
        leaves: Decimal,
        counted: Decimal,
        at_ns: int,
        what: str,
    ) -> None:
        if rule.order_quantity is not None:
            expect(quantity <= rule.order_quantity, "I4", f"{what}: above {rule.order_quantity} of {rule.name}")
        owners = self.owners_of(rule, order.owner)
        if rule.position is not None and not order.closing:
            held = sum((self.positions.get((owner, order.symbol), ZERO) for owner in owners), ZERO)
            before = held + order.sign * (self.working(owners, order) - counted)
            after = before + order.sign * leaves
            comes_down = 0 <= after < before or before < after <= 0
            text = f"{what}: {owners} go from {before} to {after}, beyond {rule.position} of {rule.name}"
            expect(abs(after) <= rule.position or comes_down, "I4", text)
        if rule.open_orders is not None and not order.closing:
            working = [one for one in self.open.values() if one.owner in owners and rule.covers(one.symbol)]
            orders = len(working) + (order not in working)
            expect(orders <= rule.open_orders, "I4", f"{what}: the {orders}th of {rule.open_orders} of {rule.name}")
        if rule.rate is not None and not order.closing:
            used = self.used(rule, owners, at_ns)
            expect(used < rule.rate[0], "I4", f"{what}: message {used + 1} of {rule.rate} of {rule.name}")

    def working(self, owners: Iterable[str], like: Account) -> Decimal:
        return sum(
            (
                order.counted
                for order in self.open.values()
                if order.owner in owners and order.symbol == like.symbol and order.sign == like.sign
            ),
            ZERO,
        )

    def used(self, rule: RuleSpec, owners: frozenset[str], at_ns: int) -> int:
        """Messages in the rule's window that ends now, by the list of all of them."""
        assert rule.rate is not None
        since = at_ns - rule.rate[1] * SECOND
        sent = sum(
            sum(1 for sent_ns in reversed(times) if sent_ns > since)
            for (owner, symbol), times in self.messages.items()
            if owner in owners and rule.covers(symbol)
        )
        refused = sum(
            1 for item in self.refused if item.strategy in owners and rule.covers(item.symbol) and item.at_ns > since
        )
        return sent + refused

    def owners_of(self, rule: RuleSpec, owner: str) -> frozenset[str]:
        """Whom the rule counts: alone, or all that it binds, those that it counted before and that still hold or work
        something, those whom nothing binds any more, and nobody's account."""
        if not rule.total:
            return frozenset({owner})
        spec = self.spec
        assert spec is not None
        strangers = {key[0] for key in self.exposures()} - set(spec.bindings)
        return rule.strategies | self.members.get(rule.name, frozenset()) | strangers | {owner, SUSPENSE}

    def _members_now(self) -> dict[str, frozenset[str]]:
        spec = self.spec
        if spec is None:
            return self.members
        holding = {key[0] for key in self.exposures()}
        strangers = holding - set(spec.bindings)
        return {
            rule.name: rule.strategies | (self.members.get(rule.name, frozenset()) & holding) | strangers
            for rule in spec.rules
            if rule.total
        }


_MODES = {mode: name for name, mode in HARDNESS.items()}


def _is_as_hard(spec: KillSpec, other: KillSpec) -> bool:
    hardness = list(HARDNESS).index
    wide = all(spec.desk in ("", desk) for desk in DESKS if other.desk in ("", desk))
    return hardness(spec.mode) >= hardness(other.mode) and wide


FOLDS: dict[str, Callable[[Accounts, Any, int], None]] = {
    "session_started": Accounts._started,
    "order_submitted": Accounts._submitted,
    "cancel_submitted": Accounts._cancel,
    "replace_submitted": Accounts._replace,
    "order_executed": Accounts._executed,
    "execution_busted": Accounts._busted,
    "position_charged": Accounts._charge,
    "order_ended": Accounts._ended,
    "order_replaced": Accounts._replaced,
    "request_rejected": Accounts._rejected,
    "requests_refused": Accounts._refusals,
    "configuration_applied": Accounts._configured,
    "halt_changed": Accounts._halt,
    "kill_changed": Accounts._kill,
    "breach_changed": Accounts._breach,
    "loss_marked": lambda accounts, body, at_ns: accounts.losses.marked(body, at_ns),
    "forgotten": Accounts._forget,
}
