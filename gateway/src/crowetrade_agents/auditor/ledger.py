"""One gateway's journal folded a second time: orders, holdings, messages, the configuration and what stops trading.

What is remembered is bounded: of the orders that ended the last ENDED_KEPT, of the ClOrdIDs of one order the first and
the last ones, IDS_KEPT together, and of its executions the last EXECUTIONS_KEPT. All are more than the gateway keeps,
so that whatever it can still name is found.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_agents.auditor.figures import EXACT, ZERO, decimal, less, optional, plus, times
from crowetrade_agents.auditor.marks import Marks
from crowetrade_agents.auditor.messages import SECOND, Messages
from crowetrade_agents.auditor.orders import Holding, Order
from crowetrade_agents.errors import JournalCorrupt

ENDED_KEPT = 4096
IDS_KEPT = 64
RECENT_KEPT = 100_000
LONGEST_DUPLICATE_NS = 86_400 * SECOND
REFUSED_LATE_NS = 2 * SECOND
"""Refused requests are journaled once a second, so each may be so much older than the events before its own."""
SUSPENSE = ""
CANCEL_REQUESTED = "CancelRequested"

Key = tuple[str, str]
"""Owner and symbol."""


class Listed(NamedTuple):
    """An instrument of the venue."""

    currency: str
    multiplier: Decimal
    base_currency: str


class Rule(NamedTuple):
    """A RiskLimit as the configuration has it; `symbols` empty is all."""

    name: str
    uid: str
    strategies: frozenset[str]
    symbols: frozenset[str]
    total: bool
    enforced: bool
    limits: Mapping[str, Mapping[str, str]]
    currency: str
    gateways: tuple[str, ...]
    on_breach: str = ""
    # Time zone and HH:MM at which its day begins; None: as its calendar says.
    day: tuple[str, str] | None = None

    @classmethod
    def of(cls, rule: config_pb2.RiskRule) -> Rule:
        """As it came."""
        return cls(
            rule.risk_limit,
            rule.uid or rule.risk_limit,
            frozenset(rule.strategies),
            frozenset(rule.symbols),
            rule.aggregate_total,
            rule.enforce,
            {limit.name: dict(limit.values) for limit in rule.limits},
            rule.currency,
            tuple(rule.gateways),
            rule.on_breach,
            (rule.day.time_zone, rule.day.starts_at) if rule.HasField("day") else None,
        )

    def covers(self, symbol: str) -> bool:
        """Whether what happens in the symbol counts."""
        return not self.symbols or symbol in self.symbols


class Terms(NamedTuple):
    """What makes two orders the same but for their ClOrdID."""

    strategy: str
    symbol: str
    buy: bool
    quantity: Decimal
    ord_type: int
    price: Decimal | None


@dataclass(slots=True)
class Tally:
    """What a strategy has done since the journal began: messages and executions."""

    messages: int = 0
    executions: int = 0


class Ledger:
    """See the module. `apply` is the only way in."""

    def __init__(self, namespace: str, venue: str) -> None:
        self.namespace, self.venue = namespace, venue
        self.sequence = 0
        self.at_ns = 0
        # Time of the events before those of this moment.
        self.before_ns = 0
        self.orders: dict[str, Order] = {}
        self.holdings: defaultdict[Key, Holding] = defaultdict(Holding)
        self.messages: defaultdict[Key, Messages] = defaultdict(Messages)
        self.refused: defaultdict[Key, Messages] = defaultdict(Messages)
        self.executions: defaultdict[tuple[str, str, bool], Messages] = defaultdict(Messages)
        # Orders in a row that were refused or rejected, at least.
        self.rejects: defaultdict[str, int] = defaultdict(int)
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        # What had been done when the present day of a rule and its subject was marked.
        self.days: dict[tuple[str, str], Tally] = {}
        # Profit and loss of a rule and its subject at orders of the last minute, at least.
        self.minutes: defaultdict[tuple[str, str], deque[tuple[int, Decimal]]] = defaultdict(deque)
        self.recent: OrderedDict[Terms, int] = OrderedDict()
        self.slowed: dict[str, list[int]] = {}
        # None before the first one; `config` absent in it where it could not be read or was too large.
        self.configuration: pb.ConfigurationApplied | None = None
        self.listed: dict[str, Listed] = {}
        self.bindings: dict[str, config_pb2.StrategyBinding] = {}
        self.rules: tuple[Rule, ...] = ()
        self.members: dict[str, frozenset[str]] = {}
        self.halts: dict[str, str] = {}
        self.kills: dict[tuple[str, str], pb.KillChanged] = {}
        self.breaches: dict[str, pb.BreachChanged] = {}
        self.cleared: dict[tuple[str, str, str], int] = {}
        self.loss_marks: dict[tuple[str, str], pb.LossMarked] = {}
        self.marks = Marks()
        self._by_id: dict[str, Order] = {}
        self._ended: OrderedDict[int, Order] = OrderedDict()
        self._folds: dict[str, Callable[[Any], None]] = {
            "session_started": self._started,
            "venue_logged_on": lambda body: None,
            "order_unknown": lambda body: None,
            "order_submitted": self._submitted,
            "replace_submitted": self._replace_submitted,
            "cancel_submitted": self._cancel_submitted,
            "order_accepted": self._accepted,
            "order_executed": self._executed,
            "execution_busted": self._busted,
            "order_ended": self._order_ended,
            "order_replaced": self._replaced,
            "request_rejected": self._request_rejected,
            "requests_refused": self._refused,
            "position_charged": self._charged,
            "configuration_applied": self._configured,
            "halt_changed": self._halted,
            "kill_changed": self._killed,
            "breach_changed": self._breached,
            "loss_marked": self._marked,
            "forgotten": self._forgotten,
        }

    # --- Questions --------------------------------------------------------------------------------------------------

    @property
    def config(self) -> config_pb2.GatewayConfig | None:
        """The configuration in force; None where the journal does not say it."""
        applied = self.configuration
        return applied.config if applied is not None and applied.HasField("config") else None

    def find(self, cl_ord_id: str) -> Order | None:
        """The remembered order that has or had this ClOrdID."""
        return self._by_id.get(cl_ord_id)

    def owners(self) -> set[str]:
        """Whoever holds or works something."""
        return {owner for (owner, _), holding in self.holdings.items() if not holding.is_empty}

    def counted(self, rule: Rule, strategy: str) -> frozenset[str]:
        """Whom a rule counts together with the strategy."""
        alone = frozenset((strategy,))
        return self.members.get(rule.name, rule.strategies) | alone if rule.total else alone

    # --- The fold ---------------------------------------------------------------------------------------------------

    def apply(self, sequence: int, event: pb.JournalEvent) -> None:
        """Takes one event in; raises JournalCorrupt when it does not follow from those before."""
        self.sequence = sequence
        if event.at_unix_ns > self.at_ns:
            self.before_ns, self.at_ns = self.at_ns, event.at_unix_ns
        kind = event.WhichOneof("event") or ""
        fold = self._folds.get(kind)
        if fold is None:
            raise JournalCorrupt(f"event {sequence} is of kind {kind!r}, which this auditor cannot read: upgrade it")
        try:
            fold(getattr(event, kind))
        except (KeyError, ValueError) as error:
            raise JournalCorrupt(f"event {sequence} ({kind}) does not follow from those before: {error}") from error

    def _submitted(self, body: pb.OrderSubmitted) -> None:
        if body.cl_ord_id in self._by_id:
            raise ValueError(f"order {body.cl_ord_id} is submitted twice")
        buy = body.side == market_data_pb2.SIDE_BUY
        order = Order(
            body.cl_ord_id,
            body.strategy,
            body.symbol,
            buy,
            decimal(body.order_quantity),
            optional(body.price),
            body.closing,
            ids=[body.cl_ord_id],
        )
        self.orders[body.cl_ord_id] = self._by_id[body.cl_ord_id] = order
        self._count(order)
        if not body.closing:
            self._message(body.strategy, body.symbol)
            self._sent(Terms(order.strategy, order.symbol, buy, order.quantity, body.ord_type, order.price))

    def _sent(self, terms: Terms) -> None:
        self.recent.pop(terms, None)
        self.recent[terms] = self.at_ns
        while self.recent and (
            len(self.recent) > RECENT_KEPT or next(iter(self.recent.values())) < self.at_ns - LONGEST_DUPLICATE_NS
        ):
            self.recent.popitem(last=False)
        self.slowed[terms.strategy] = [*self.slowed.get(terms.strategy, ())[-1:], self.at_ns]

    def _message(self, strategy: str, symbol: str) -> None:
        self.messages[strategy, symbol].add(self.at_ns)
        self.tallies[strategy].messages += 1

    def _replace_submitted(self, body: pb.ReplaceSubmitted) -> None:
        order = self._known(body.orig_cl_ord_id)
        order.asked_id = body.cl_ord_id
        order.asked_quantity, order.asked_price = decimal(body.order_quantity), optional(body.price)
        self._by_id[body.cl_ord_id] = order
        order.ids.append(body.cl_ord_id)
        if len(order.ids) > IDS_KEPT:
            del self._by_id[order.ids.pop(1)]
        self._count(order)
        self._message(order.strategy, order.symbol)
        self.slowed[order.strategy] = [*self.slowed.get(order.strategy, ())[-1:], self.at_ns]

    def _cancel_submitted(self, body: pb.CancelSubmitted) -> None:
        order = self._known(body.orig_cl_ord_id)
        if body.reason == CANCEL_REQUESTED:
            self._message(order.strategy, order.symbol)

    def _accepted(self, body: pb.OrderAccepted) -> None:
        order = self._known(body.cl_ord_id)
        self.rejects[order.strategy] = 0

    def _executed(self, body: pb.OrderExecuted) -> None:
        order = self._stranger(body) if body.suspense else self._known(body.cl_ord_id)
        quantity = decimal(body.quantity)
        signed = quantity if body.side == market_data_pb2.SIDE_BUY else -quantity
        if body.exec_id in order.executions:
            raise ValueError(f"execution {body.exec_id} stands twice in the journal")
        order.remember(body.exec_id)
        order.executed = plus(order.executed, quantity)
        self._trade(order.strategy, body.symbol, signed, decimal(body.price), decimal(body.fee))
        self.executions[order.strategy, body.symbol, signed > 0].add(self.at_ns)
        self.tallies[order.strategy].executions += 1
        self.rejects[order.strategy] = 0
        self._count(order)

    def _busted(self, body: pb.ExecutionBusted) -> None:
        order = self._stranger(body) if body.suspense else self._known(body.cl_ord_id)
        quantity = decimal(body.quantity)
        signed = -quantity if body.side == market_data_pb2.SIDE_BUY else quantity
        # If it was never executed it did not work either, so nothing of the order is used up by it.
        if body.exec_ref_id not in order.executions:
            order.remember(body.exec_ref_id)
        self._trade(order.strategy, body.symbol, signed, decimal(body.price), -decimal(body.fee))

    def _order_ended(self, body: pb.OrderEnded) -> None:
        order = self._known(body.cl_ord_id)
        order.ended = True
        if body.ord_status == orders_pb2.ORD_STATUS_REJECTED:
            self.rejects[order.strategy] += 1
        self._count(order)

    def _replaced(self, body: pb.OrderReplaced) -> None:
        order = self._known(body.orig_cl_ord_id)
        if order.asked_id != body.cl_ord_id:
            raise ValueError(f"order {body.orig_cl_ord_id} is replaced by {body.cl_ord_id}, which nobody sent")
        order.cl_ord_id, order.quantity, order.price = body.cl_ord_id, order.asked_quantity, order.asked_price
        order.asked_id = ""
        self.rejects[order.strategy] = 0
        self._count(order)

    def _request_rejected(self, body: pb.RequestRejected) -> None:
        order = self._known(body.orig_cl_ord_id)
        if order.asked_id == body.cl_ord_id:
            order.asked_id = ""
            order.ids.remove(body.cl_ord_id)
            del self._by_id[body.cl_ord_id]
            self.rejects[order.strategy] += 1
            self._count(order)

    def _refused(self, body: pb.RequestsRefused) -> None:
        # When they were refused is not journaled: not long before the events before, when the gateway looked last.
        at_ns = self.before_ns - REFUSED_LATE_NS
        self.refused[body.strategy, body.symbol].add(at_ns, body.count - sum(item.count for item in body.symbols))
        for item in body.symbols:
            self.refused[body.strategy, item.symbol].add(at_ns, item.count)
        self.tallies[body.strategy].messages += body.count
        self.rejects[body.strategy] += body.rejects

    def _charged(self, body: pb.PositionCharged) -> None:
        holding = self.holdings[body.strategy, body.symbol]
        holding.cash = less(holding.cash, decimal(body.amount))

    def _configured(self, body: pb.ConfigurationApplied) -> None:
        self.configuration = body
        self.listed = {
            item.symbol: Listed(item.currency, decimal(item.multiplier), item.base_currency)
            for item in body.instruments
        } or self.listed
        config = self.config
        self.bindings = {item.strategy: item for item in config.strategies} if config is not None else {}
        self.rules = tuple(map(Rule.of, config.rules)) if config is not None else ()
        if config is None:
            return
        owners = self.owners()
        always = (owners - self.bindings.keys()) | {SUSPENSE}
        self.members = {
            rule.name: rule.strategies | (self.members.get(rule.name, frozenset()) & owners) | always
            for rule in self.rules
            if rule.total
        }

    def _started(self, body: pb.SessionStarted) -> None:
        """A process that starts knows no minute before it; until that is over only orders that reduce leave."""
        self.minutes.clear()

    def _halted(self, body: pb.HaltChanged) -> None:
        if body.cleared:
            self.halts.pop(body.halt, None)
        else:
            self.halts[body.halt] = body.text

    def _killed(self, body: pb.KillChanged) -> None:
        key = (body.order.namespace, body.order.name)
        if body.rearmed:
            self.kills.pop(key, None)
        else:
            self.kills[key] = body

    def _breached(self, body: pb.BreachChanged) -> None:
        if body.cleared:
            found = self.breaches.pop(body.breach, body)
            self.cleared[found.uid or found.risk_limit, found.limit, found.subject] = self.at_ns
            if found.limit == "maxConsecutiveRejects":
                for strategy in found.strategies:
                    self.rejects[strategy] = 0
        else:
            self.breaches[body.breach] = body
            # What was sent before it is not slowed by it.
            self.slowed.clear()

    def _marked(self, body: pb.LossMarked) -> None:
        key = body.uid or body.risk_limit, body.subject
        before = self.loss_marks.get(key)
        self.loss_marks[key] = body
        # Where its day is counted by another calendar, it goes on under another name.
        renamed = before is not None and before.calendar not in ("", body.calendar)
        if (
            before is None
            or (before.messages, before.executions) != (body.messages, body.executions)
            or (before.day != body.day and not renamed)
        ):
            rule = next((rule for rule in self.rules if rule.uid == key[0]), None)
            counted = self.members.get(rule.name, rule.strategies) if rule is not None else frozenset[str]()
            tallies = [self.tallies[owner] for owner in ([body.subject] if body.subject else sorted(counted))]
            self.days[key] = Tally(sum(one.messages for one in tallies), sum(one.executions for one in tallies))

    def _forgotten(self, body: pb.Forgotten) -> None:
        names = set(body.strategies)
        if odd := sorted(names & (self.owners() | self.bindings.keys())):
            raise ValueError(f"{odd[0]} is forgotten and is bound, or holds or works something")
        for name in names:
            self.rejects.pop(name, None)
            self.tallies.pop(name, None)
            self.slowed.pop(name, None)
        for table in (self.holdings, self.messages, self.refused, self.executions):
            _without(table, [key for key in table if key[0] in names])
        marks = {(mark.rule, mark.subject) for mark in body.marks}
        for by_rule in (self.days, self.loss_marks, self.minutes):
            _without(by_rule, [key for key in by_rule if key in marks or key[1] in names])
        _without(self.cleared, [key for key in self.cleared if key[2] in names])

    # --- Parts of it ------------------------------------------------------------------------------------------------

    def _known(self, cl_ord_id: str) -> Order:
        order = self._by_id.get(cl_ord_id)
        if order is None:
            raise ValueError(f"nobody sent order {cl_ord_id}")
        return order

    def _stranger(self, body: pb.OrderExecuted | pb.ExecutionBusted) -> Order:
        found = self._by_id.get(body.cl_ord_id)
        if found is None:
            buy = body.side == market_data_pb2.SIDE_BUY
            found = Order(body.cl_ord_id, SUSPENSE, body.symbol, buy, ZERO, None, False, ended=True)
            found.ids.append(body.cl_ord_id)
            self._by_id[body.cl_ord_id] = found
            self._remember(found)
        return found

    def _trade(self, owner: str, symbol: str, signed: Decimal, price: Decimal, fee: Decimal) -> None:
        listed = self.listed.get(symbol)
        multiplier = listed.multiplier if listed is not None else Decimal(1)
        self.holdings[owner, symbol].trade(signed, price, multiplier, fee)
        if self.config is not None and owner not in self.bindings:
            # An execution that came late: it counts for every rule that counts strategies together.
            self.members = {name: counted | {owner} for name, counted in self.members.items()}

    def _count(self, order: Order) -> None:
        """Brings the holdings to what the order works now."""
        working = order.working
        holding = self.holdings[order.strategy, order.symbol]
        change = less(working, order.counted)
        if order.buy:
            holding.buying = plus(holding.buying, change)
        else:
            holding.selling = plus(holding.selling, change)
        is_open = bool(working)
        holding.orders += is_open - order.is_counted
        was_counted = order.is_counted
        order.counted, order.is_counted = working, is_open
        if was_counted and not is_open:
            order.ended = True
            if order.asked_id:
                self._by_id.pop(order.asked_id, None)
                order.asked_id = ""
            self.orders.pop(order.ids[0], None)
            self._remember(order)

    def _remember(self, order: Order) -> None:
        self._ended[id(order)] = order
        if len(self._ended) > ENDED_KEPT:
            _, gone = self._ended.popitem(last=False)
            for cl_ord_id in gone.ids:
                self._by_id.pop(cl_ord_id, None)

    # --- A journal that was trimmed ---------------------------------------------------------------------------------

    @classmethod
    def from_snapshot(cls, namespace: str, venue: str, sequence: int, books: pb.Books) -> Ledger:
        """What the gateway itself kept at one place of its journal: all that is left of what came before."""
        ledger = cls(namespace, venue)
        ledger.sequence, ledger.at_ns = sequence, books.at_unix_ns
        ledger._configured(books.configuration)
        ledger.members = {item.risk_limit: frozenset(item.strategies) for item in books.configuration.members}
        ledger.halts = {item.halt: item.text for item in books.halts}
        ledger.kills = {(item.order.namespace, item.order.name): item for item in books.kills}
        ledger.breaches = {item.breach: item for item in books.breaches}
        ledger.loss_marks = {(item.uid or item.risk_limit, item.subject): item for item in books.loss_marks}
        for tally in books.tallies:
            ledger.tallies[tally.strategy] = Tally(tally.messages, tally.executions)
            ledger.rejects[tally.strategy] = tally.rejects
        ledger.days = {key: Tally(mark.messages, mark.executions) for key, mark in ledger.loss_marks.items()}
        for item in books.positions:
            ledger._restore_position(item)
        for booked in (*books.ended, *books.open):
            ledger._restore_order(booked)
        for bucket in books.messages:
            # A bucket of the gateway carries its newest time; only what is certain is counted.
            messages = ledger.messages[bucket.strategy, bucket.symbol]
            for at_ns, count in _earlier(bucket.unix_ns, bucket.counts, books.at_unix_ns):
                messages.add(at_ns, count)
        return ledger

    def differences(self, books: pb.Books) -> list[str]:
        """What the gateway's own books say otherwise: positions, and which orders are open."""
        theirs = {(item.strategy, item.symbol): decimal(item.quantity) for item in books.positions}
        ours = {key: holding.position for key, holding in self.holdings.items()}
        found = [
            f"{owner or 'the suspense account'} holds {theirs.get((owner, symbol), ZERO)} {symbol} by the gateway's "
            f"books, and {ours.get((owner, symbol), ZERO)} by its journal"
            for owner, symbol in sorted(theirs.keys() | ours.keys())
            if theirs.get((owner, symbol), ZERO) != ours.get((owner, symbol), ZERO)
        ]
        open_there = {booked.order.cl_ord_id for booked in books.open}
        open_here = {order.cl_ord_id for order in self.orders.values()}
        if odd := sorted(open_there ^ open_here):
            found.append(f"order {odd[0]} is open by {'its books' if odd[0] in open_there else 'the journal'} alone")
        return found

    def _restore_position(self, item: pb.BookedPosition) -> None:
        holding = self.holdings[item.strategy, item.symbol]
        listed = self.listed.get(item.symbol)
        multiplier = listed.multiplier if listed is not None else Decimal(1)
        holding.position = decimal(item.quantity)
        spent = EXACT.subtract(times(holding.position, decimal(item.average_price)), decimal(item.realized))
        holding.cash = less(-times(spent, multiplier), decimal(item.fees))

    def _restore_order(self, booked: pb.BookedOrder) -> None:
        body = booked.order
        order = Order(
            body.cl_ord_id,
            body.strategy,
            body.symbol,
            body.side == market_data_pb2.SIDE_BUY,
            decimal(body.order_quantity),
            optional(body.price),
            body.closing,
            executed=plus(decimal(booked.cum_quantity or "0"), decimal(booked.busted_quantity or "0")),
            ended=booked.ord_status in _FINAL,
            ids=[*booked.former_cl_ord_ids, body.cl_ord_id],
        )
        for fill in booked.fills:
            order.remember(fill.exec_id)
        if booked.HasField("replace") and not order.ended:
            order.asked_id = booked.replace.cl_ord_id
            order.asked_quantity = decimal(booked.replace.order_quantity)
            order.asked_price = optional(booked.replace.price)
            order.ids.append(order.asked_id)
        for cl_ord_id in order.ids:
            self._by_id[cl_ord_id] = order
        if order.ended:
            self._remember(order)
        else:
            self.orders[order.ids[0]] = order
            self._count(order)


_FINAL = (
    orders_pb2.ORD_STATUS_FILLED,
    orders_pb2.ORD_STATUS_CANCELED,
    orders_pb2.ORD_STATUS_REJECTED,
    orders_pb2.ORD_STATUS_EXPIRED,
)
_GATEWAY_TIERS = ((10, 10_000_000), (100, 100_000_000), (1_000, SECOND), (10_000, 10 * SECOND), (86_400, 60 * SECOND))
"""Widths of the buckets that a gateway's snapshot holds, nanoseconds, up to an age in seconds."""


def _without(table: MutableMapping[Any, Any], keys: Iterable[Any]) -> None:
    for key in keys:
        del table[key]


def _earlier(stamps: Iterable[int], counts: Iterable[int], now_ns: int) -> Iterable[tuple[int, int]]:
    """Buckets with the earliest time that their messages can have."""
    for stamp, count in zip(stamps, counts, strict=True):
        age = now_ns - stamp
        width = next((width for limit, width in _GATEWAY_TIERS if age <= limit * SECOND), 60 * SECOND)
        yield stamp - width, count
