"""What the venue's log and the journal say, each folded by itself, and held against each other.

Nothing of the gateway's own bookkeeping is used: the two folds are of the venue's words and of the journal's events.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import pairwise
from typing import Any

from crowetrade.bus.v1 import journal_pb2, market_data_pb2

DUPLICATE = "DuplicateClOrdID"
OWN_REQUEST = re.compile(r"-g(\d+)-\d+$")
"""ClOrdID of the gateway's own requests, with its session."""
WITHOUT_JOURNAL = re.compile(r"-k\d+-\d+$")
"""ClOrdID of cancels that a gateway sends while it has no journal; its session has the number 0."""


@dataclass(frozen=True)
class Execution:
    """One execution, with decimals as numbers."""

    cl_ord_id: str
    symbol: str
    buy: bool
    quantity: Decimal
    price: Decimal
    fee: Decimal


@dataclass
class Order:
    """An order with the ClOrdID, quantity and price that it has now. `sent`: by which gateway session."""

    cl_ord_id: str
    symbol: str
    buy: bool
    quantity: Decimal
    price: Decimal | None
    cum: Decimal = Decimal(0)
    open: bool = True
    acknowledged: bool = False
    pending: set[str] = field(default_factory=set)
    unknown: bool = False

    @property
    def summary(self) -> tuple[str, Decimal, Decimal | None, Decimal]:
        """What both sides must agree on."""
        return self.symbol, self.quantity, self.price, self.cum


def side(symbol_buy: bool, quantity: Decimal) -> Decimal:
    """Signed quantity."""
    return quantity if symbol_buy else -quantity


class VenueRecord:
    """The fold of the venue's log."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.executions: dict[str, Execution] = {}
        self.positions: Counter[str] = Counter()
        self.sent: Counter[str] = Counter()
        # ClOrdIDs of new orders and replacements, in the order in which the venue read them, with the session then.
        self.requests: dict[str, int] = {}
        self.cancels: dict[str, int] = {}
        self.logons: list[int] = []
        self.faults: list[str] = []
        self._terms: dict[str, Mapping[str, Any]] = {}

    def take(self, entry: Mapping[str, Any]) -> None:
        """One line."""
        message = entry["message"]
        handler = getattr(self, f"_{message['_']}", None)
        if handler is not None:
            handler(message)

    def _Logon(self, message: Mapping[str, Any]) -> None:
        self.logons.append(message["resume"]["fencing_token"])

    def _NewOrder(self, message: Mapping[str, Any]) -> None:
        terms = message["terms"]
        self.sent[terms["cl_ord_id"]] += 1
        self.requests.setdefault(terms["cl_ord_id"], self.logons[-1])
        self._terms.setdefault(terms["cl_ord_id"], terms)

    _Replace = _NewOrder

    def _Cancel(self, message: Mapping[str, Any]) -> None:
        self.sent[message["cl_ord_id"]] += 1
        self.cancels.setdefault(message["cl_ord_id"], self.logons[-1])

    def _Accepted(self, message: Mapping[str, Any]) -> None:
        terms = self._terms[message["cl_ord_id"]]
        self.orders[message["cl_ord_id"]] = Order(
            message["cl_ord_id"],
            terms["instrument"][1],
            terms["side"] == "Buy",
            Decimal(terms["quantity"]),
            None if terms["price"] is None else Decimal(terms["price"]),
            acknowledged=True,
        )

    def _Executed(self, message: Mapping[str, Any]) -> None:
        execution = Execution(
            message["cl_ord_id"],
            message["instrument"][1],
            message["side"] == "Buy",
            Decimal(message["quantity"]),
            Decimal(message["price"]),
            Decimal(message["fee"]),
        )
        if message["exec_id"] in self.executions:
            self.faults.append(f"the venue gave out execution {message['exec_id']} twice")
        self.executions[message["exec_id"]] = execution
        self.positions[execution.symbol] += side(execution.buy, execution.quantity)  # type: ignore[assignment]
        order = self.orders[message["cl_ord_id"]]
        order.cum += execution.quantity
        order.open = order.open and order.cum < order.quantity

    def _Ended(self, message: Mapping[str, Any]) -> None:
        if message["reason"] == DUPLICATE:
            self.faults.append(f"ClOrdID {message['cl_ord_id']} reached the venue twice")
        elif message["cl_ord_id"] in self.orders:
            self.orders[message["cl_ord_id"]].open = False

    def _Replaced(self, message: Mapping[str, Any]) -> None:
        order = self.orders[message["cl_ord_id"]] = self.orders.pop(message["orig_cl_ord_id"])
        terms = self._terms[message["cl_ord_id"]]
        order.cl_ord_id = message["cl_ord_id"]
        order.quantity, order.price = Decimal(terms["quantity"]), Decimal(terms["price"])
        if order.quantity <= order.cum:
            order.open = False

    @property
    def open(self) -> dict[str, Order]:
        """Open orders."""
        return {name: order for name, order in self.orders.items() if order.open}


class JournalRecord:
    """The fold of the journal, which it also checks: each record carries the hash of the one before."""

    def __init__(self) -> None:
        self.orders: dict[str, Order] = {}
        self.executions: dict[str, Execution] = {}
        self.positions: Counter[str] = Counter()
        self.positions_by_strategy: Counter[tuple[str, str]] = Counter()
        # ClOrdIDs of new orders and replacements, with the session that sent them; and those of cancels.
        self.submitted: dict[str, int] = {}
        self.cancels: dict[str, int] = {}
        # Cancels by reason and the revision of the configuration in force.
        self.cancelled_because: Counter[tuple[str, str]] = Counter()
        # What the journal heard of a request: the session in which it did.
        self.answered: dict[str, int] = {}
        self.faults: list[str] = []
        self.halts: dict[str, str] = {}
        self.token = 0
        self.sequence = 0
        self.stored = 0
        self.revision = ""
        self.under_revision: dict[str, str] = {}
        self._hash = b""
        self._wanted: dict[str, tuple[Decimal, Decimal]] = {}

    def take(self, payload: bytes, place: int) -> None:
        """One record, stored at a sequence of the stream."""
        record = journal_pb2.JournalRecord.FromString(payload)
        if record.previous_hash != self._hash or record.first_sequence != self.sequence + 1:
            self.faults.append(f"record {place} does not follow the one before")
        if record.fencing_token < self.token:
            self.faults.append(f"session {record.fencing_token} wrote after session {self.token}")
        self._hash = hashlib.sha256(payload).digest()
        self.stored, self.token = place, record.fencing_token
        for event in record.events:
            self.sequence += 1
            kind = event.WhichOneof("event") or ""
            handler = getattr(self, f"_{kind}", None)
            if handler is not None:
                handler(getattr(event, kind))

    def _order_submitted(self, body: journal_pb2.OrderSubmitted) -> None:
        if body.cl_ord_id in self.submitted:
            self.faults.append(f"ClOrdID {body.cl_ord_id} is submitted twice")
        self._submit(body.cl_ord_id)
        self.orders[body.cl_ord_id] = Order(
            body.cl_ord_id,
            body.symbol,
            body.side == market_data_pb2.SIDE_BUY,
            Decimal(body.order_quantity),
            Decimal(body.price) if body.price else None,
        )

    def _submit(self, cl_ord_id: str) -> None:
        self.submitted[cl_ord_id] = self.token
        self.under_revision[cl_ord_id] = self.revision

    def _cancel_submitted(self, body: journal_pb2.CancelSubmitted) -> None:
        self.cancels[body.cl_ord_id] = self.token
        self.cancelled_because[body.reason, self.revision] += 1
        self.orders[body.orig_cl_ord_id].pending.add(body.cl_ord_id)

    def _replace_submitted(self, body: journal_pb2.ReplaceSubmitted) -> None:
        if body.cl_ord_id in self.submitted:
            self.faults.append(f"ClOrdID {body.cl_ord_id} is submitted twice")
        self._submit(body.cl_ord_id)
        self._wanted[body.cl_ord_id] = Decimal(body.order_quantity), Decimal(body.price)
        self.orders[body.orig_cl_ord_id].pending.add(body.cl_ord_id)

    def _answer(self, cl_ord_id: str) -> Order:
        order = self.orders[cl_ord_id]
        for name in (cl_ord_id, *order.pending):
            self.answered.setdefault(name, self.token)
        return order

    def _order_accepted(self, body: journal_pb2.OrderAccepted) -> None:
        self.answered.setdefault(body.cl_ord_id, self.token)
        order = self.orders[body.cl_ord_id]
        order.unknown, order.acknowledged = False, True

    def _order_executed(self, body: journal_pb2.OrderExecuted) -> None:
        if body.exec_id in self.executions:
            self.faults.append(f"execution {body.exec_id} is booked twice")
        if body.suspense:
            self.faults.append(f"execution {body.exec_id} is booked to suspense")
            return
        execution = Execution(
            body.cl_ord_id,
            body.symbol,
            body.side == market_data_pb2.SIDE_BUY,
            Decimal(body.quantity),
            Decimal(body.price),
            Decimal(body.fee),
        )
        self.executions[body.exec_id] = execution
        signed = side(execution.buy, execution.quantity)
        self.positions[body.symbol] += signed  # type: ignore[assignment]
        strategy = body.cl_ord_id.split("-", 1)[0]
        self.positions_by_strategy[strategy, body.symbol] += signed  # type: ignore[assignment]
        self.answered.setdefault(body.cl_ord_id, self.token)
        order = self._named(body.cl_ord_id)
        order.cum += execution.quantity
        order.acknowledged = True
        wanted = [self._wanted[name][0] for name in order.pending if name in self._wanted]
        if order.cum >= max([order.quantity, *wanted]):
            self._end(order)

    def _named(self, cl_ord_id: str) -> Order:
        found = self.orders.get(cl_ord_id)
        return found or next(order for order in self.orders.values() if cl_ord_id in order.pending)

    def _end(self, order: Order) -> None:
        for name in order.pending:
            self.answered.setdefault(name, self.token)
        order.open, order.unknown = False, False
        order.pending.clear()

    def _order_ended(self, body: journal_pb2.OrderEnded) -> None:
        order = self._answer(body.cl_ord_id)
        if not order.open:
            self.faults.append(f"order {body.cl_ord_id} ends twice")
        self._end(order)

    def _order_replaced(self, body: journal_pb2.OrderReplaced) -> None:
        self.answered.setdefault(body.cl_ord_id, self.token)
        order = self.orders[body.cl_ord_id] = self.orders.pop(body.orig_cl_ord_id)
        order.quantity, order.price = self._wanted[body.cl_ord_id]
        order.cl_ord_id, order.unknown = body.cl_ord_id, False
        order.pending.discard(body.cl_ord_id)
        if order.cum >= order.quantity:
            self._end(order)

    def _request_rejected(self, body: journal_pb2.RequestRejected) -> None:
        self.answered.setdefault(body.cl_ord_id, self.token)
        order = self.orders[body.orig_cl_ord_id]
        order.pending.discard(body.cl_ord_id)
        if order.open and order.cum >= order.quantity:
            self._end(order)

    def _order_unknown(self, body: journal_pb2.OrderUnknown) -> None:
        self.orders[body.cl_ord_id].unknown = True

    def _configuration_applied(self, body: journal_pb2.ConfigurationApplied) -> None:
        self.revision = body.revision

    def _halt_changed(self, body: journal_pb2.HaltChanged) -> None:
        self.halts[body.halt] = body.text
        self.faults.append(f"halted: {body.text}")

    @property
    def open(self) -> dict[str, Order]:
        """Open orders."""
        return {name: order for name, order in self.orders.items() if order.open}


def broken(venue: VenueRecord, journal: JournalRecord) -> Iterator[str]:
    """What must never be, at any time; the journal was read after the venue's log."""
    yield from venue.faults
    yield from journal.faults
    for earlier, later in pairwise(filter(None, venue.logons)):
        if later < earlier:
            yield f"gateway session {later} logged on at the venue after session {earlier}, which had taken over"
    for cl_ord_id, session in venue.requests.items():
        sender = journal.submitted.get(cl_ord_id)
        if sender is None:
            yield f"order {cl_ord_id} is at the venue and not in the journal"
        elif sender != session:
            yield f"order {cl_ord_id} of gateway session {sender} reached the venue in session {session}"
    for cl_ord_id, session in venue.cancels.items():
        own = OWN_REQUEST.search(cl_ord_id)
        if own and int(own[1]) != session:
            yield f"cancel {cl_ord_id} reached the venue in gateway session {session}"
        # The gateway's own cancels need not wait for the journal.
        if cl_ord_id not in journal.cancels and not own and not WITHOUT_JOURNAL.search(cl_ord_id):
            yield f"cancel {cl_ord_id} is at the venue and not in the journal"
    for cl_ord_id, times in venue.sent.items():
        if times > 1:
            yield f"ClOrdID {cl_ord_id} was sent {times} times"
    for exec_id, booked in journal.executions.items():
        if exec_id in venue.executions and venue.executions[exec_id] != booked:
            yield f"execution {exec_id}: the venue has {venue.executions[exec_id]}, the journal {booked}"


def different(venue: VenueRecord, journal: JournalRecord) -> Iterator[str]:
    """What may differ while something is on its way and must not once it is quiet."""
    for exec_id in venue.executions.keys() ^ journal.executions.keys():
        yield f"execution {exec_id} is in {'the journal' if exec_id in journal.executions else 'the venue'} alone"
    for cl_ord_id, order in journal.open.items():
        if order.unknown or order.pending or not order.acknowledged:
            yield f"order {cl_ord_id} is unknown, pending or not acknowledged"
    at_venue = {name: order.summary for name, order in venue.open.items()}
    in_books = {name: order.summary for name, order in journal.open.items()}
    yield from differences("open order", at_venue, in_books)
    yield from differences("position", dict(+venue.positions), dict(+journal.positions))
    yield from differences("short position", dict(-venue.positions), dict(-journal.positions))


def differences(what: str, at_venue: Mapping[str, Any], in_books: Mapping[str, Any]) -> Iterator[str]:
    """One sentence for each key whose value differs."""
    for name in sorted(at_venue.keys() | in_books.keys()):
        if at_venue.get(name) != in_books.get(name):
            yield f"{what} {name}: the venue has {at_venue.get(name)}, the books {in_books.get(name)}"
