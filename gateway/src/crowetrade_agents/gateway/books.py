"""The books of one gateway: orders, positions and counters. They are the fold of the journal's events and nothing else.

What is remembered is bounded whatever the history. Open orders are kept whole. Of the orders that ended the last
ENDED_KEPT are kept, so that an execution that comes late finds its order and a strategy that asks again is answered.
An execution that comes twice is recognised by its order, which remembers its last EXECUTIONS_KEPT, and when it is
forgotten there by itself (executions.py). Used ClOrdIDs are one number per run of a strategy's process (see `ClOrdId`).
Of the ClOrdIDs that one order had FORMER_KEPT are kept, and of charges CHARGES_KEPT and those of the last moment.
Windows of messages hold a day in a bounded number of buckets (risk/windows.py), and of the last orders so many are
remembered that the same one is recognised (risk/recent.py).

What is kept by name (positions, exposures, counters, tallies, used ClOrdIDs, marks of losses) is of strategies that are
bound, have something, or went a short while ago (forgetting.py), and of the instruments that these have traded. Open
orders are bounded by the limits in force. Halts, kill orders with whom they stopped, and breaches stay until a person
ends them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import replace
from decimal import Decimal
from typing import Any

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import CONTEXT, parse
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.domain.position import Position
from crowetrade_agents.domain.wire import ORD_STATUS_FROM_WIRE, SIDE_FROM_WIRE
from crowetrade_agents.errors import JournalCorrupt
from crowetrade_agents.gateway import wire
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.executions import BookedExecutions
from crowetrade_agents.gateway.order import (
    FORMER_KEPT,
    OWN_RUN,
    ClOrdId,
    Counters,
    Execution,
    Key,
    LastReject,
    Order,
    PendingCancel,
    PendingReplace,
)
from crowetrade_agents.gateway.refusals import by_symbol
from crowetrade_agents.risk.facts import Account, Exposure
from crowetrade_agents.risk.limits import max_consecutive_rejects, repeated_execution
from crowetrade_agents.risk.recent import RecentOrders
from crowetrade_agents.risk.standing import Tallies, Tally
from crowetrade_agents.risk.windows import MessageWindows
from crowetrade_agents.risk.working import WorkingOrders

ENDED_KEPT = 1024
RUNS_KEPT = 64
CHARGES_KEPT = 1024
OVERLAP_NS = 300 * SECOND_NS
"""How much older than the last execution one may be that was lost and is asked for."""
SUSPENSE = ""
"""Owner of executions that belong to no order that the gateway knows."""
FORMER = "*"
"""Under this name the counters of strategies that are forgotten are added up; no Strategy has it."""


class Books:
    """See the module. `apply` is the only way in."""

    def __init__(self, venue: str) -> None:
        self.venue = venue
        self.fencing_token = 0
        self.venue_state = ""
        self.origin_sequence = 0
        self.at_ns = 0
        # Venue time of the last execution.
        self.venue_ns = 0
        # Open orders by the ClOrdID under which they were first sent, oldest first.
        self.open: dict[str, Order] = {}
        self.ended: OrderedDict[str, Order] = OrderedDict()
        self.positions: dict[Key, Position] = {}
        self.exposures: dict[Key, Exposure] = {}
        # The sums of the exposures.
        self.account: dict[InstrumentId, Account] = {}
        # Exposures that changed since somebody emptied this.
        self.moved: set[Key] = set()
        self.working = WorkingOrders()
        self.executions = BookedExecutions()
        self.recent = RecentOrders()
        self.messages = MessageWindows()
        self.counters: dict[str, Counters] = {}
        # What limits on rejects, executions and messages count.
        self.tallies = Tallies()
        self.buys = MessageWindows()
        self.sells = MessageWindows()
        self.used: dict[str, dict[str, int]] = {}
        self.halts: dict[str, str] = {}
        # Kill orders in force, by namespace and name of the KillSwitch.
        self.kills: dict[tuple[str, str], journal_pb2.KillChanged] = {}
        # KillChanged.strategies of each of them.
        self.kept_stopped: dict[tuple[str, str], frozenset[str]] = {}
        # Breaches that nobody has cleared, by BreachChanged.breach, with when they were found.
        self.breaches: dict[str, journal_pb2.BreachChanged] = {}
        # Days and peaks by uid of the RiskLimit and subject.
        self.loss_marks: dict[tuple[str, str], journal_pb2.LossMarked] = {}
        # Identifiers of the last charges with their venue times, oldest first, and of all those of the last moment.
        # Up to the other time all are booked, and some forgotten.
        self.charge_ids: dict[str, int] = {}
        self.charges_forgotten_ns = 0
        self.configuration = journal_pb2.ConfigurationApplied()
        self.members: dict[str, frozenset[str]] = {}
        # Every ClOrdID of every remembered order, those of pending replacements included.
        self._by_id: dict[str, Order] = {}
        # Remembered orders of so many replacements that some of their ClOrdIDs may be forgotten, as in `open`.
        self._renamed: dict[str, Order] = {}
        self._folds: dict[str, Callable[[int, Any], None]] = {
            "session_started": self._session_started,
            "order_submitted": self._order_submitted,
            "cancel_submitted": self._cancel_submitted,
            "replace_submitted": self._replace_submitted,
            "order_accepted": self._order_accepted,
            "order_executed": self._order_executed,
            "order_ended": self._order_ended,
            "order_replaced": self._order_replaced,
            "request_rejected": self._request_rejected,
            "execution_busted": self._execution_busted,
            "order_unknown": self._order_unknown,
            "requests_refused": self._requests_refused,
            "configuration_applied": self._configuration_applied,
            "halt_changed": self._halt_changed,
            "venue_logged_on": self._venue_logged_on,
            "position_charged": self._position_charged,
            "kill_changed": self._kill_changed,
            "breach_changed": self._breach_changed,
            "loss_marked": self._loss_marked,
            "forgotten": self._forgotten,
        }

    # --- Questions --------------------------------------------------------------------------------------------------

    def find(self, cl_ord_id: str) -> Order | None:
        """The remembered order that has or had this ClOrdID."""
        return self._by_id.get(cl_ord_id)

    def find_reported(self, cl_ord_id: str, order_id: str = "", exec_id: str = "") -> Order | None:
        """As `find`, for what the venue reports. When the ClOrdID may be one that was forgotten because its order was
        replaced so often since, or that of a replacement which the venue has refused and makes all the same, the order
        is found by the venue's identifiers: the order's, or that of an execution that was booked to it."""
        found = self._by_id.get(cl_ord_id)
        if found is not None or not (self.open or self._renamed) or not self.was_sent(cl_ord_id):
            return found
        strategy = ClOrdId.of(cl_ord_id).strategy
        for order in (*self.open.values(), *self._renamed.values()):
            if order.terms.strategy == strategy and (
                (order_id and order_id == order.order_id) or exec_id in order.executions
            ):
                return order
        return None

    def was_sent(self, cl_ord_id: str) -> bool:
        """Whether this gateway has sent something under a ClOrdID that the venue names, for a strategy or by itself."""
        try:
            parts = ClOrdId.of(cl_ord_id)
        except ValueError:
            return False
        if str(parts) != cl_ord_id:
            return False
        token = parts.run.removeprefix(OWN_RUN)
        is_own = token != parts.run and token.isdecimal() and len(token) < 20 and int(token) <= self.fencing_token
        return is_own or self.is_used(cl_ord_id)

    def open_of(self, strategy: str) -> list[Order]:
        """Open orders of a strategy, oldest first."""
        return [order for order in self.open.values() if order.terms.strategy == strategy]

    def is_used(self, cl_ord_id: str) -> bool:
        """Whether the ClOrdID was used before (FIX tag 11), or belongs to a run so old that nobody knows any more."""
        parts = ClOrdId.of(cl_ord_id)
        runs = self.used.get(parts.strategy, {})
        if parts.run in runs:
            return parts.number <= runs[parts.run]
        return len(runs) >= RUNS_KEPT and _age(parts.run) < min(map(_age, runs))

    @property
    def resume_ns(self) -> int:
        """Venue time since when the venue is asked for executions. Somewhat before the last one, because one that was
        lost may be older than one that was not; but not so long that a repetition would not be recognised."""
        return min(self.venue_ns, self.executions.since(self.venue_ns - OVERLAP_NS))

    def is_charged(self, charge_id: str, at_ns: int) -> bool:
        """Whether a charge is booked. A venue reports charges in the order of their times, and after a logon all since
        the last execution, which may be more than are remembered."""
        return charge_id in self.charge_ids or at_ns <= self.charges_forgotten_ns

    def exposure(self, key: Key) -> Exposure:
        """What an owner holds and works in an instrument; zero when nothing."""
        return self.exposures.get(key) or Exposure()

    def owners(self) -> set[str]:
        """Whoever holds or works something."""
        return {owner for (owner, _), exposure in self.exposures.items() if exposure.position or exposure.open_orders}

    # --- The fold ---------------------------------------------------------------------------------------------------

    def apply(self, event: journal_pb2.JournalEvent, *, replayed: bool = False) -> None:
        """Takes one event in; raises JournalCorrupt when it cannot follow.

        `replayed` says that it is read from the journal: refused requests are counted as messages then, which a running
        gateway has done when it refused them.
        """
        kind = event.WhichOneof("event")
        fold = self._folds.get(kind or "")
        if fold is None:
            raise JournalCorrupt(
                f"the journal has an event of kind {kind!r}, which this version cannot read: upgrade it"
            )
        if event.at_unix_ns > self.at_ns:
            self.at_ns = event.at_unix_ns
        body = getattr(event, kind or "")
        try:
            fold(event.at_unix_ns, body)
        except (KeyError, ValueError) as error:
            raise JournalCorrupt(f"the journal has an event {kind} that cannot be read: {error!r}") from error
        if replayed and kind == "requests_refused":
            for symbol, count in by_symbol(body):
                self.messages.add(body.strategy, wire.instrument_of(self.venue, symbol), event.at_unix_ns, count)

    def _session_started(self, at_ns: int, body: journal_pb2.SessionStarted) -> None:
        if body.fencing_token <= self.fencing_token:
            raise JournalCorrupt(f"session {body.fencing_token} follows session {self.fencing_token}")
        self.fencing_token = body.fencing_token

    def _venue_logged_on(self, at_ns: int, body: journal_pb2.VenueLoggedOn) -> None:
        self.venue_state = body.state

    def _order_submitted(self, at_ns: int, body: journal_pb2.OrderSubmitted) -> None:
        terms = wire.terms_of(self.venue, body)
        if terms.cl_ord_id in self._by_id:
            raise JournalCorrupt(f"order {terms.cl_ord_id} is submitted twice")
        order = Order(terms, changed_ns=at_ns)
        self.open[terms.cl_ord_id] = self._by_id[terms.cl_ord_id] = order
        self.origin_sequence = max(self.origin_sequence, body.origin_sequence)
        self.count_open(order, order.counted_leaves, 1)
        self._works(order)
        if not terms.closing:
            self.recent.add(terms, at_ns)
        self._counters(terms.strategy).sent += 1
        self._sent(terms.cl_ord_id, order, at_ns, counts=not terms.closing)

    def _cancel_submitted(self, at_ns: int, body: journal_pb2.CancelSubmitted) -> None:
        order = self._known(body.orig_cl_ord_id)
        order.cancel = PendingCancel(body.cl_ord_id, body.reason, at_ns)
        order.changed_ns = at_ns
        self._sent(body.cl_ord_id, order, at_ns, counts=body.reason == wire.CANCEL_REQUESTED)

    def _replace_submitted(self, at_ns: int, body: journal_pb2.ReplaceSubmitted) -> None:
        order = self._known(body.orig_cl_ord_id)
        counted = order.counted_leaves
        order.replace = PendingReplace(body.cl_ord_id, parse(body.order_quantity), parse(body.price), at_ns)
        order.changed_ns = at_ns
        self._by_id[body.cl_ord_id] = order
        self.count_open(order, CONTEXT.subtract(order.counted_leaves, counted))
        self._works(order)
        self.origin_sequence = max(self.origin_sequence, body.origin_sequence)
        self._sent(body.cl_ord_id, order, at_ns, counts=True)

    def _order_accepted(self, at_ns: int, body: journal_pb2.OrderAccepted) -> None:
        order = self._known(body.cl_ord_id)
        order.order_id = body.order_id or order.order_id
        order.unknown, order.reason = False, ""
        order.base = OrdStatus.PARTIALLY_FILLED if order.cum else OrdStatus.NEW
        order.changed_ns = at_ns
        self.tallies.took(order.terms.strategy)

    def _order_executed(self, at_ns: int, body: journal_pb2.OrderExecuted) -> None:
        order = self._suspense_order(body) if body.suspense else self._known(body.cl_ord_id)
        if body.exec_id in order.executions:
            raise JournalCorrupt(f"execution {body.exec_id} stands twice in the journal")
        self.venue_ns = max(self.venue_ns, body.transact_unix_ns)
        self.executions.add(body)
        execution = Execution(parse(body.quantity), parse(body.price), parse(body.fee))
        order.remember(body.exec_id, execution)
        order.order_id = body.order_id or order.order_id
        order.changed_ns = at_ns
        self._fill(order, execution.quantity)
        key = (order.terms.strategy, wire.instrument_of(self.venue, body.symbol))
        side = SIDE_FROM_WIRE[body.side]
        signed = CONTEXT.multiply(side.sign, execution.quantity)
        self._move(key, signed, execution.price, execution.fee)
        self.tallies.add(key[0], executions=1)
        self.tallies.took(key[0])
        (self.buys if side is Side.BUY else self.sells).add(*key, at_ns)

    def _fill(self, order: Order, quantity: Decimal) -> None:
        counted = order.counted_leaves
        order.cum = CONTEXT.add(order.cum, quantity)
        if not order.is_open:
            return
        order.base = OrdStatus.PARTIALLY_FILLED
        self._count_again(order, counted)

    def _order_ended(self, at_ns: int, body: journal_pb2.OrderEnded) -> None:
        order = self._known(body.cl_ord_id)
        if not order.is_open:
            raise JournalCorrupt(f"order {body.cl_ord_id} ends twice")
        order.order_id = body.order_id or order.order_id
        order.reason, order.text, order.changed_ns = body.reason, body.text, at_ns
        status = ORD_STATUS_FROM_WIRE[body.ord_status]
        if status is OrdStatus.REJECTED:
            self._reject(order.terms.strategy, at_ns, body.reason, "", body.text, 1)
            self.tallies.add(order.terms.strategy, rejects=1)
        self._end(order, status, order.counted_leaves)

    def _order_replaced(self, at_ns: int, body: journal_pb2.OrderReplaced) -> None:
        order = self._known(body.orig_cl_ord_id)
        pending = order.replace
        if pending is None or pending.cl_ord_id != body.cl_ord_id:
            raise JournalCorrupt(f"order {body.orig_cl_ord_id} is replaced by {body.cl_ord_id}, which nobody sent")
        counted = order.counted_leaves
        self._rename(order)
        order.terms = replace(order.terms, cl_ord_id=pending.cl_ord_id, quantity=pending.quantity, price=pending.price)
        order.replace, order.unknown, order.reason, order.changed_ns = None, False, "", at_ns
        order.order_id = body.order_id or order.order_id
        order.base = OrdStatus.PARTIALLY_FILLED if order.cum else OrdStatus.NEW
        self._works(order)
        self._count_again(order, counted)
        self.tallies.took(order.terms.strategy)

    def _request_rejected(self, at_ns: int, body: journal_pb2.RequestRejected) -> None:
        order = self._known(body.orig_cl_ord_id)
        counted = order.counted_leaves
        if order.cancel is not None and order.cancel.cl_ord_id == body.cl_ord_id:
            order.cancel = None
        if order.replace is not None and order.replace.cl_ord_id == body.cl_ord_id:
            order.replace = None
            self._by_id.pop(body.cl_ord_id, None)
            self.tallies.add(order.terms.strategy, rejects=1)
        order.changed_ns = at_ns
        if not order.is_open:
            return
        self._works(order)
        self._count_again(order, counted)

    def _execution_busted(self, at_ns: int, body: journal_pb2.ExecutionBusted) -> None:
        order = self._suspense_order(body) if body.suspense else self._known(body.cl_ord_id)
        quantity = parse(body.quantity)
        known = order.executions.get(body.exec_ref_id)
        if known is not None and known.busted:
            raise JournalCorrupt(f"execution {body.exec_ref_id} is taken back twice")
        order.remember(body.exec_ref_id, Execution(quantity, parse(body.price), parse(body.fee), busted=True))
        self.executions.add(body)
        order.cum = CONTEXT.subtract(order.cum, quantity)
        order.busted = CONTEXT.add(order.busted, quantity)
        order.changed_ns = at_ns
        key = (order.terms.strategy, wire.instrument_of(self.venue, body.symbol))
        taken_back = CONTEXT.multiply(-SIDE_FROM_WIRE[body.side].sign, quantity)
        self._move(key, taken_back, parse(body.price), CONTEXT.minus(parse(body.fee)))

    def _position_charged(self, at_ns: int, body: journal_pb2.PositionCharged) -> None:
        key = (body.strategy, wire.instrument_of(self.venue, body.symbol))
        self.positions[key] = self.positions.get(key, Position()).charged(parse(body.amount))
        self.charge_ids[body.charge_id] = body.transact_unix_ns
        while len(self.charge_ids) > CHARGES_KEPT:
            oldest, oldest_ns = next(iter(self.charge_ids.items()))
            if oldest_ns >= body.transact_unix_ns:
                break  # more of this moment may come
            del self.charge_ids[oldest]
            self.charges_forgotten_ns = max(self.charges_forgotten_ns, oldest_ns)

    def _order_unknown(self, at_ns: int, body: journal_pb2.OrderUnknown) -> None:
        order = self._known(body.cl_ord_id)
        order.unknown, order.reason, order.changed_ns = True, body.reason, at_ns

    def _requests_refused(self, at_ns: int, body: journal_pb2.RequestsRefused) -> None:
        self._reject(body.strategy, at_ns, body.reason, body.risk_limit, body.text, body.count)
        self.tallies.add(body.strategy, messages=body.count, rejects=body.rejects)

    def _configuration_applied(self, at_ns: int, body: journal_pb2.ConfigurationApplied) -> None:
        self.configuration = body
        # Rules that count the same strategies share one set, so that sums are found again without comparing members.
        known = {members: members for members in self.members.values()}
        counted = ((item.risk_limit, frozenset(item.strategies)) for item in body.members)
        self.members = {risk_limit: known.setdefault(members, members) for risk_limit, members in counted}

    def _halt_changed(self, at_ns: int, body: journal_pb2.HaltChanged) -> None:
        if body.cleared:
            self.halts.pop(body.halt, None)
        else:
            self.halts[body.halt] = body.text

    def _kill_changed(self, at_ns: int, body: journal_pb2.KillChanged) -> None:
        key = (body.order.namespace, body.order.name)
        if body.rearmed:
            self.kills.pop(key, None)
            self.kept_stopped.pop(key, None)
        else:
            self.kills[key] = body
            self.kept_stopped[key] = frozenset(body.strategies)

    def _breach_changed(self, at_ns: int, body: journal_pb2.BreachChanged) -> None:
        if body.cleared:
            self.breaches.pop(body.breach, None)
            self._start_again(body)
        else:
            self.breaches[body.breach] = body

    def _loss_marked(self, at_ns: int, body: journal_pb2.LossMarked) -> None:
        self.loss_marks[body.uid or body.risk_limit, body.subject] = body

    def _forgotten(self, at_ns: int, body: journal_pb2.Forgotten) -> None:
        names = set(body.strategies)
        former = self._counters(FORMER) if names & self.counters.keys() else Counters()
        for name in body.strategies:
            counters = self.counters.pop(name, Counters())
            former.sent += counters.sent
            former.filled += counters.filled
            former.rejected += counters.rejected
            self.tallies.pop(name, None)
            self.used.pop(name, None)
        # Whoever goes through the positions in pieces sees that they are others by now.
        self.positions = {key: position for key, position in self.positions.items() if key[0] not in names}
        for key in [key for key in self.exposures if key[0] in names]:
            del self.exposures[key]
            self.account[key[1]].owners -= {key[0]}
            self.moved.discard(key)
        for kept in (self.recent, self.messages, self.buys, self.sells):
            kept.forget(names)
        marks = {(mark.rule, mark.subject) for mark in body.marks}
        for mark in [key for key in self.loss_marks if key in marks or key[1] in names]:
            del self.loss_marks[mark]

    # --- Parts of it ------------------------------------------------------------------------------------------------

    def _start_again(self, cleared: journal_pb2.BreachChanged) -> None:
        """What has led to a breach that was cleared does not count any more. Losses and the day's messages are marked
        by an event of their own."""
        for strategy in cleared.strategies:
            if cleared.limit == max_consecutive_rejects.NAME:
                self.tallies.took(strategy)
            elif cleared.limit == repeated_execution.NAME:
                self.buys.forget({strategy})
                self.sells.forget({strategy})

    def _known(self, cl_ord_id: str) -> Order:
        order = self._by_id.get(cl_ord_id)
        if order is None:
            raise JournalCorrupt(f"the journal has something about order {cl_ord_id}, which nobody sent")
        return order

    def _counters(self, strategy: str) -> Counters:
        found = self.counters.get(strategy)
        if found is None:
            found = self.counters[strategy] = Counters()
        return found

    def _sent(self, cl_ord_id: str, order: Order, at_ns: int, *, counts: bool) -> None:
        """A message left: its ClOrdID is used, and a strategy's own counts against rates."""
        if not counts:
            return
        self.messages.add(order.terms.strategy, order.terms.instrument, at_ns)
        self.tallies.add(order.terms.strategy, messages=1)
        parts = ClOrdId.of(cl_ord_id)
        runs = self.used.setdefault(parts.strategy, {})
        runs[parts.run] = max(parts.number, runs.get(parts.run, 0))
        if len(runs) > RUNS_KEPT:
            del runs[min(runs, key=_age)]

    def _rename(self, order: Order) -> None:
        """The order is about to get another ClOrdID."""
        former = (*order.former, order.cl_ord_id)
        most = FORMER_KEPT - 1
        for cl_ord_id in former[1:-most]:
            self._by_id.pop(cl_ord_id, None)
        order.former = (former[0], *former[1:][-most:])
        if len(order.former) >= FORMER_KEPT:
            self._renamed[order.first_id] = order

    def _works(self, order: Order) -> None:
        """An open order has other prices than before."""
        self.working.put(order.first_id, order.largest_terms)

    def count_open(self, order: Order, quantity: Decimal, orders: int = 0) -> None:
        """Counts so much more of the order as open. From elsewhere only by who judges other orders as if this one were
        over, and takes it back at once."""
        for exposure in self._exposure(order.key):
            if order.terms.side is Side.BUY:
                exposure.open_buy = CONTEXT.add(exposure.open_buy, quantity)
            else:
                exposure.open_sell = CONTEXT.add(exposure.open_sell, quantity)
            exposure.open_orders += orders

    def _count_again(self, order: Order, counted: Decimal) -> None:
        """An open order has changed; `counted` is what it counted as open before. It is filled when nothing is left of
        it, and of a replacement that is under way neither: that one may be in force already."""
        left = order.counted_leaves
        if left:
            self.count_open(order, CONTEXT.subtract(left, counted))
            return
        self._end(order, OrdStatus.FILLED, counted)
        self._counters(order.terms.strategy).filled += 1

    def _exposure(self, key: Key) -> tuple[Exposure, Exposure]:
        """The exposure of an owner, and that of the account; both are about to change."""
        self.moved.add(key)
        exposure = self.exposures.get(key)
        if exposure is not None:
            return exposure, self.account[key[1]].total
        exposure = self.exposures[key] = Exposure()
        account = self.account.get(key[1])
        if account is None:
            account = self.account[key[1]] = Account(Exposure(), frozenset())
        account.owners |= {key[0]}
        return exposure, account.total

    def _hold(self, key: Key, quantity: Decimal) -> None:
        """The owner's position is this now."""
        exposure, total = self._exposure(key)
        total.position = CONTEXT.add(total.position, CONTEXT.subtract(quantity, exposure.position))
        exposure.position = quantity

    def _end(self, order: Order, status: OrdStatus, counted: Decimal) -> None:
        """The order is over; `counted` is what it counted as open."""
        self.count_open(order, CONTEXT.minus(counted), -1)
        order.base, order.unknown, order.cancel = status, False, None
        if status is OrdStatus.FILLED:
            order.reason = order.text = ""
        first = order.first_id
        self.open.pop(first, None)
        self.working.remove(first)
        if order.replace is not None:
            self._by_id.pop(order.replace.cl_ord_id, None)
            order.replace = None
        self._remember(first, order)

    def _remember(self, first: str, order: Order) -> None:
        self.ended[first] = order
        if len(self.ended) > ENDED_KEPT:
            name, gone = self.ended.popitem(last=False)
            self._renamed.pop(name, None)
            for cl_ord_id in (gone.cl_ord_id, *gone.former):
                self._by_id.pop(cl_ord_id, None)

    def _move(self, key: Key, signed: Decimal, price: Decimal, fee: Decimal) -> None:
        position = self.positions.get(key, Position()).filled(signed, price, fee)
        self.positions[key] = position
        self._hold(key, position.quantity)

    def _suspense_order(self, body: wire.SuspenseBody) -> Order:
        """Where an execution of an order that nobody knows is kept, so that it is recognised when it comes again."""
        found = self._by_id.get(body.cl_ord_id)
        if found is None:
            found = Order(wire.suspense_terms(self.venue, body), OrdStatus.CANCELED)
            self._by_id[body.cl_ord_id] = found
            self._remember(body.cl_ord_id, found)
        return found

    def _reject(self, strategy: str, at_ns: int, reason: str, risk_limit: str, text: str, count: int) -> None:
        counters = self._counters(strategy)
        counters.rejected += count
        last = counters.last_reject
        if (last.reason, last.risk_limit) != (reason, risk_limit):
            last = counters.last_reject = LastReject(reason, risk_limit, since_ns=at_ns)
        last.count += count
        last.text, last.last_ns = text, at_ns

    # --- Snapshots --------------------------------------------------------------------------------------------------

    def to_message(self) -> journal_pb2.Books:
        """The books as they travel in a snapshot."""
        message = journal_pb2.Books(
            fencing_token=self.fencing_token,
            venue_state=self.venue_state,
            origin_sequence=self.origin_sequence,
            open=[wire.booked_order(order) for order in self.open.values()],
            ended=[wire.booked_order(order) for order in self.ended.values()],
            positions=[wire.booked_position(key, position) for key, position in self.positions.items()],
            messages=self.messages.to_messages(),
            counters=[wire.booked_counters(name, counters) for name, counters in self.counters.items()],
            used_ids=[
                journal_pb2.UsedIds(prefix=f"{strategy}-{run}", highest=highest)
                for strategy, runs in self.used.items()
                for run, highest in runs.items()
            ],
            halts=[journal_pb2.HaltChanged(halt=halt, text=text) for halt, text in self.halts.items()],
            at_unix_ns=self.at_ns,
            venue_unix_ns=self.venue_ns,
            charge_ids=self.charge_ids,
            charge_unix_ns=self.charge_ids.values(),
            charges_forgotten_unix_ns=self.charges_forgotten_ns,
            kills=self.kills.values(),
            breaches=self.breaches.values(),
            loss_marks=self.loss_marks.values(),
            tallies=[
                journal_pb2.BookedTally(
                    strategy=name, messages=tally.messages, executions=tally.executions, rejects=tally.rejects
                )
                for name, tally in self.tallies.items()
            ],
            buys=self.buys.to_messages(),
            sells=self.sells.to_messages(),
        )
        message.configuration.CopyFrom(self.configuration)
        message.recent_orders.CopyFrom(self.recent.to_message())
        message.executions.CopyFrom(self.executions.to_message())
        return message

    @classmethod
    def from_message(cls, venue: str, message: journal_pb2.Books) -> Books:
        """The books of a snapshot, which journal/snapshots.py has verified to be as it was written."""
        books = cls(venue)
        books.fencing_token = message.fencing_token
        books.venue_state = message.venue_state
        books.origin_sequence = message.origin_sequence
        books.at_ns, books.venue_ns = message.at_unix_ns, message.venue_unix_ns
        for booked in message.open:
            books._restore(booked, books.open)
        for booked in message.ended:
            books._restore(booked, books.ended)
        for item in message.positions:
            books._restore_position(item)
        books.messages = MessageWindows.from_messages(venue, message.messages)
        books.counters = {item.strategy: wire.counters_of(item) for item in message.counters}
        for ids in message.used_ids:
            strategy, _, run = ids.prefix.rpartition("-")
            books.used.setdefault(strategy, {})[run] = ids.highest
        books.halts = {item.halt: item.text for item in message.halts}
        # Versions that kept no times wrote identifiers alone.
        times = message.charge_unix_ns or [0] * len(message.charge_ids)
        books.charge_ids = dict(zip(message.charge_ids, times, strict=True))
        books.charges_forgotten_ns = message.charges_forgotten_unix_ns
        for kill in message.kills:
            books._kill_changed(0, kill)
        for tally in message.tallies:
            books.tallies[tally.strategy] = Tally(tally.messages, tally.executions, tally.rejects)
        books.buys = MessageWindows.from_messages(venue, message.buys)
        books.sells = MessageWindows.from_messages(venue, message.sells)
        for breach in message.breaches:
            books._breach_changed(0, breach)
        for mark in message.loss_marks:
            books._loss_marked(0, mark)
        books.recent = RecentOrders.from_message(message.recent_orders)
        all_forgotten = journal_pb2.BookedExecutions(forgotten_unix_ns=message.venue_unix_ns)
        books.executions = BookedExecutions.from_message(
            message.executions if message.HasField("executions") else all_forgotten
        )
        books._configuration_applied(0, message.configuration)
        return books

    def _restore(self, booked: journal_pb2.BookedOrder, orders: dict[str, Order]) -> None:
        order = wire.order_of(self.venue, booked)
        orders[order.first_id] = order
        for cl_ord_id in (order.cl_ord_id, *order.former):
            self._by_id[cl_ord_id] = order
        if len(order.former) >= FORMER_KEPT:
            self._renamed[order.first_id] = order
        if order.replace is not None:
            self._by_id[order.replace.cl_ord_id] = order
        if order.is_open:
            self.count_open(order, order.counted_leaves, 1)
            self._works(order)

    def _restore_position(self, item: journal_pb2.BookedPosition) -> None:
        key = (item.strategy, wire.instrument_of(self.venue, item.symbol))
        position = self.positions[key] = wire.position_of(item)
        self._hold(key, position.quantity)


def recover(venue: str, books: journal_pb2.Books | None, events: Iterable[journal_pb2.JournalEvent]) -> Books:
    """The books as a start finds them: a snapshot and the events after it. Raises JournalCorrupt as `apply` does."""
    found = begin(venue, books)
    for event in events:
        found.apply(event, replayed=True)
    return found


def begin(venue: str, books: journal_pb2.Books | None) -> Books:
    """The books of a snapshot, empty ones without."""
    return Books(venue) if books is None else Books.from_message(venue, books)


def _age(run: str) -> tuple[int, str]:
    return len(run), run
