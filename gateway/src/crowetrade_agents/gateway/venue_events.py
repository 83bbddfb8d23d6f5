"""What the venue reports, booked exactly once.

Executions are distinguished by the venue's own ids before they are journaled, and none is dropped: one that belongs to
no order that the gateway knows is booked to the suspense account and halts. An order whose fate is in doubt is asked
for.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from crowetrade.bus.v1 import journal_pb2, orders_pb2
from crowetrade_agents.domain.market import Mark
from crowetrade_agents.domain.numbers import ZERO, can_travel, render
from crowetrade_agents.domain.orders import OrdStatus
from crowetrade_agents.domain.wire import ORD_STATUS_TO_WIRE, SIDE_TO_WIRE
from crowetrade_agents.gateway import breaches, closing, orphans, repeated, reports, supervision, wire
from crowetrade_agents.gateway.books import SUSPENSE
from crowetrade_agents.gateway.charges import shares
from crowetrade_agents.gateway.commands import FromVenue
from crowetrade_agents.gateway.effects import Publish, SendQuery, SendRecall
from crowetrade_agents.gateway.order import Execution, Order
from crowetrade_agents.gateway.state import Turn
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.venues import port
from crowetrade_api.reasons import Reason as ConditionReason

EXEC_TYPES = {
    OrdStatus.CANCELED: orders_pb2.EXEC_TYPE_CANCELED,
    OrdStatus.REJECTED: orders_pb2.EXEC_TYPE_REJECTED,
    OrdStatus.EXPIRED: orders_pb2.EXEC_TYPE_EXPIRED,
}


def handle(turn: Turn, command: FromVenue) -> None:
    """Books one event of the venue."""
    _HANDLERS[type(command.event)](turn, command.event)


def accepted(turn: Turn, event: port.Accepted) -> None:
    """The venue has the order. Said again, or after its first execution, that changes nothing: of an order that is in
    doubt since, it is no news."""
    order = turn.books.find_reported(event.cl_ord_id, event.order_id)
    if order is None:
        _orphan(turn, event.cl_ord_id, "accepted")
        return
    if not order.is_open or order.base is not OrdStatus.PENDING_NEW:
        return
    body = journal_pb2.OrderAccepted(cl_ord_id=order.cl_ord_id, order_id=event.order_id, transact_unix_ns=event.at_ns)
    turn.record(journal_pb2.JournalEvent(order_accepted=body))
    turn.report(order.terms.strategy, reports.changed(order, orders_pb2.EXEC_TYPE_NEW, event.at_ns))


def executed(turn: Turn, event: port.Executed, *, recalled: bool = False) -> None:
    """Books an execution that is new. `recalled`: the gateway has asked for it, so that it is no repetition when it was
    booked, and was lost when it was not."""
    if _cannot_be_booked(turn, f"execution {event.exec_id}", event.quantity, event.price, event.fee):
        return
    order = turn.books.find_reported(event.cl_ord_id, event.order_id, event.exec_id)
    if order is not None and event.exec_id in order.executions:
        _repeated(turn, recalled)
        return
    _took_place(turn, order, event.cl_ord_id, event.at_ns)
    owner = order if order is not None and _fits(order, event) else None
    body = journal_pb2.OrderExecuted(
        cl_ord_id=_suspense_id(event) if owner is None else _known_id(turn, owner, event),
        order_id=event.order_id,
        exec_id=event.exec_id,
        symbol=event.instrument.symbol,
        side=SIDE_TO_WIRE[event.side],
        quantity=render(event.quantity),
        price=render(event.price),
        fee=render(event.fee),
        transact_unix_ns=event.at_ns,
        suspense=owner is None,
    )
    forgets = owner is None or owner.forgets_executions
    if forgets and repeated.is_repeated(turn, owner, event.cl_ord_id, body):
        _repeated(turn, recalled)
        return
    in_doubt = owner is not None and forgets and not turn.books.executions.knows_since(event.at_ns)
    if in_doubt:
        owner, body.cl_ord_id, body.suspense = None, _suspense_id(event), True
    if recalled:
        turn.tell("error", "execution_was_lost", cl_ord_id=event.cl_ord_id, exec_id=event.exec_id)
    turn.record(journal_pb2.JournalEvent(order_executed=body))
    turn.count("FILLS", "" if owner is None else owner.terms.strategy)
    if owner is None:
        text = (
            f"the venue reports execution {event.exec_id} of {render(event.quantity)} {event.instrument} under ClOrdID "
            f"{event.cl_ord_id!r}, {repeated.why_unknown(turn, event, in_doubt=in_doubt)}"
        )
        supervision.halt(turn, ConditionReason.UNKNOWN_EXECUTION, text)
        return
    supervision.count_stranger(turn, owner.terms.strategy)
    execution = Execution(event.quantity, event.price, event.fee)
    turn.report(
        owner.terms.strategy,
        reports.traded(owner, orders_pb2.EXEC_TYPE_TRADE, event.exec_id, execution, event.at_ns),
    )
    if owner.worked > owner.terms.quantity:
        text = f"order {owner.cl_ord_id} of {render(owner.terms.quantity)} is executed for {render(owner.worked)}"
        supervision.halt(turn, ConditionReason.POSITION_DIFFERENCE, text)
    if not owner.is_open:
        closing.ended(turn, owner)


def ended(turn: Turn, event: port.Ended) -> None:
    """The order is over."""
    was_orphan = orphans.over(turn, event.cl_ord_id)
    order = turn.books.find_reported(event.cl_ord_id, event.order_id)
    if order is None and not was_orphan:
        _tell_unknown(turn, event.cl_ord_id, "ended")
    # A ClOrdID that the venue refuses because it has it already is that of an order which goes on.
    if order is None or not order.is_open or event.reason == port.DUPLICATE_CL_ORD_ID:
        return
    _took_place(turn, order, event.cl_ord_id, event.at_ns)
    if order.is_open:
        end(turn, order, event.status, event.reason, event.text, event.at_ns, event.order_id)


def end(turn: Turn, order: Order, status: OrdStatus, reason: str, text: str, at_ns: int, order_id: str = "") -> None:
    """Books the end of an open order. A cancel that the gateway knows the reason of keeps that reason."""
    asked = order.cancel
    if asked is not None and status is OrdStatus.CANCELED:
        reason = asked.reason
    body = journal_pb2.OrderEnded(
        cl_ord_id=order.cl_ord_id,
        order_id=order_id,
        ord_status=ORD_STATUS_TO_WIRE[status],
        reason=reason,
        text=text,
        transact_unix_ns=at_ns,
    )
    turn.record(journal_pb2.JournalEvent(order_ended=body))
    turn.report(order.terms.strategy, reports.changed(order, EXEC_TYPES[status], at_ns))
    closing.ended(turn, order)


def replaced(turn: Turn, event: port.Replaced) -> None:
    """The order goes on with new terms."""
    order = turn.books.find_reported(event.orig_cl_ord_id, event.order_id)
    if order is None:
        _tell_unknown(turn, event.orig_cl_ord_id, "replaced")
    if order is None or not order.is_open:
        return
    if order.replace is None or order.replace.cl_ord_id != event.cl_ord_id:
        ask(turn, order, Reason.UNEXPECTED_REPLACE)
        return
    body = journal_pb2.OrderReplaced(
        cl_ord_id=event.cl_ord_id,
        orig_cl_ord_id=order.cl_ord_id,
        order_id=event.order_id,
        transact_unix_ns=event.at_ns,
    )
    turn.record(journal_pb2.JournalEvent(order_replaced=body))
    turn.report(order.terms.strategy, reports.changed(order, orders_pb2.EXEC_TYPE_REPLACED, event.at_ns))


def request_rejected(turn: Turn, event: port.RequestRejected) -> None:
    """A cancel or cancel/replace was refused; where the venue says that it has no such order, its fate is asked for."""
    orphans.rejected(turn, event)
    order = turn.books.find(event.orig_cl_ord_id)
    # A ClOrdID that the venue refuses because it has it already is that of a request whose own answer is to come.
    if order is None or not order.is_open or event.reason == port.DUPLICATE_CL_ORD_ID:
        return
    reject_request(turn, order, event.cl_ord_id, event.reason, event.text, event.at_ns)
    if event.unknown_order and order.is_open:
        ask(turn, order, Reason.REQUEST_REJECTED)


def reject_request(turn: Turn, order: Order, cl_ord_id: str, reason: str, text: str, at_ns: int) -> None:
    """Books that a pending cancel or cancel/replace had no effect."""
    cancel = order.cancel if order.cancel is not None and order.cancel.cl_ord_id == cl_ord_id else None
    is_replace = order.replace is not None and order.replace.cl_ord_id == cl_ord_id
    if cancel is None and not is_replace:
        return
    body = journal_pb2.RequestRejected(
        cl_ord_id=cl_ord_id,
        orig_cl_ord_id=order.cl_ord_id,
        reason=reason,
        text=text,
        transact_unix_ns=at_ns,
    )
    turn.record(journal_pb2.JournalEvent(request_rejected=body))
    strategy = order.terms.strategy
    if is_replace or (cancel is not None and cancel.reason == wire.CANCEL_REQUESTED):
        refusal = Refusal(Reason.TOO_LATE, text or reason)
        turn.report(
            strategy, reports.cancel_reject(strategy, cl_ord_id, order.cl_ord_id, order, refusal, replace=is_replace)
        )
    if not order.is_open:
        turn.report(strategy, reports.changed(order, orders_pb2.EXEC_TYPE_ORDER_STATUS, at_ns))
        closing.ended(turn, order)
    elif cancel is not None:
        # Whoever asked for it, the gateway may want it cancelled too.
        turn.wake(turn.now_ns + supervision.RETRY_NS, "supervise", "")


def busted(turn: Turn, event: port.Busted, *, recalled: bool = False, executions_known: bool = False) -> None:
    """Takes an execution back. One whose own report was lost is booked first, if its order is remembered with all that
    was booked of it. Of an order that forgets its executions nobody knows whether it had this one: the venue is asked
    first, unless the bust came after what the venue says that it has executed (`executions_known`)."""
    if _cannot_be_booked(turn, f"bust {event.exec_id}", event.quantity, event.price, event.fee):
        return
    order = turn.books.find_reported(event.cl_ord_id, exec_id=event.exec_ref_id)
    known = order.executions.get(event.exec_ref_id) if order is not None else None
    owner = order if order is not None and (known is not None or _fits(order, event)) else None
    if owner is not None and known is None and not owner.forgets_executions:
        executed(turn, _taken_back(owner, event))
        known = owner.executions.get(event.exec_ref_id)
    if known is not None and known.busted:
        _repeated(turn, recalled)
        return
    body = journal_pb2.ExecutionBusted(
        cl_ord_id=_suspense_id(event) if owner is None else _known_id(turn, owner, event),
        exec_id=event.exec_id,
        exec_ref_id=event.exec_ref_id,
        symbol=event.instrument.symbol,
        side=SIDE_TO_WIRE[event.side],
        quantity=render(event.quantity),
        price=render(event.price),
        fee=render(event.fee),
        transact_unix_ns=event.at_ns,
        suspense=owner is None,
    )
    if turn.books.executions.has(body) or (known is None and repeated.is_repeated(turn, owner, event.cl_ord_id, body)):
        _repeated(turn, recalled)
        return
    if known is None and not turn.books.executions.has_taken_back(body):
        if owner is not None and not executions_known:
            turn.add(SendRecall(turn.books.resume_ns))
            return
        owner, body.cl_ord_id, body.suspense = None, _suspense_id(event), True
    turn.record(journal_pb2.JournalEvent(execution_busted=body))
    if owner is None:
        text = f"the venue takes execution {event.exec_ref_id} back, which this gateway does not remember: find out why"
        supervision.halt(turn, ConditionReason.UNKNOWN_EXECUTION, text)
        return
    execution = Execution(event.quantity, event.price, event.fee)
    turn.report(
        owner.terms.strategy,
        reports.traded(owner, orders_pb2.EXEC_TYPE_TRADE_CANCEL, event.exec_ref_id, execution, event.at_ns),
    )
    supervision.supervise(turn)


def recalled(turn: Turn, event: port.Recalled) -> None:
    """What the venue has executed lately. Whatever was reported is booked by now, because it was reported before."""
    for execution in event.executions:
        executed(turn, execution, recalled=True)
    for bust in event.busts:
        busted(turn, bust, recalled=True, executions_known=True)


def _repeated(turn: Turn, recalled: bool) -> None:
    if not recalled:
        turn.count("EXECUTIONS_REPEATED")


def order_state(turn: Turn, event: port.OrderState) -> None:
    """The answer to a question: the order is what the venue says, and a request that had no effect is over."""
    orphans.answered(turn, event)
    order = turn.books.find_reported(event.cl_ord_id, event.order_id)
    if order is None or not order.is_open:
        return
    if event.status is None:
        end(turn, order, OrdStatus.CANCELED, Reason.UNKNOWN_AT_VENUE, "the venue knows no such order", event.at_ns)
        return
    agrees = event.cum_quantity == order.cum
    if not agrees:
        text = (
            f"the venue says that order {order.cl_ord_id} is executed for {render(event.cum_quantity)}, the journal "
            f"has {render(order.cum)}"
        )
        supervision.halt(turn, ConditionReason.POSITION_DIFFERENCE, text)
    if event.status.is_final:
        # Whatever was executed of it, it does not work any more; an execution that comes later is still booked.
        _took_place(turn, order, event.current, event.at_ns)
        if order.is_open:
            status = OrdStatus.CANCELED if event.status is OrdStatus.FILLED else event.status
            end(turn, order, status, "", "", event.at_ns, event.order_id)
        return
    if not agrees:
        return
    if order.replace is None and event.current not in (order.cl_ord_id, *order.former):
        # The venue has made a replacement that it had refused. Its terms are not in the books, so it may not work; it
        # stays unknown until it is over.
        supervision.cancel(turn, order, Reason.UNEXPECTED_REPLACE)
        return
    settle_requests(turn, order, event.current, event.at_ns)
    if order.is_open:
        confirm(turn, order, event.order_id, event.at_ns)


def settle_requests(turn: Turn, order: Order, current: str, at_ns: int) -> None:
    """Requests that are still pending when the venue says what the order is: the replacement took place when the order
    has its ClOrdID, and what did not take place was lost on its way, if it had left before the venue was asked. What
    left later may still arrive: the next answer tells."""
    if order.replace is not None:
        if current == order.replace.cl_ord_id:
            replaced(turn, port.Replaced(current, order.cl_ord_id, order.order_id, at_ns))
        elif order.replace.since_ns < order.asked_ns:
            lost = "the venue has not processed the request"
            reject_request(turn, order, order.replace.cl_ord_id, Reason.NOT_PROCESSED, lost, at_ns)
    if order.is_open and order.cancel is not None and order.cancel.since_ns < order.asked_ns:
        lost = "the venue has not processed the request: the order is still open"
        reject_request(turn, order, order.cancel.cl_ord_id, Reason.NOT_PROCESSED, lost, at_ns)


def confirm(turn: Turn, order: Order, order_id: str, at_ns: int) -> None:
    """The order is open at the venue as the books have it."""
    if order.unknown or order.base is OrdStatus.PENDING_NEW:
        body = journal_pb2.OrderAccepted(cl_ord_id=order.cl_ord_id, order_id=order_id, transact_unix_ns=at_ns)
        turn.record(journal_pb2.JournalEvent(order_accepted=body))
        turn.report(order.terms.strategy, reports.changed(order, orders_pb2.EXEC_TYPE_ORDER_STATUS, at_ns))


def ask(turn: Turn, order: Order, reason: Reason) -> None:
    """Marks the order as unknown and asks the venue; asked again until there is an answer."""
    if not order.unknown:
        body = journal_pb2.OrderUnknown(cl_ord_id=order.cl_ord_id, reason=reason)
        turn.record(journal_pb2.JournalEvent(order_unknown=body))
        turn.count("ORDERS_UNKNOWN", order.terms.strategy)
        turn.report(order.terms.strategy, reports.changed(order, orders_pb2.EXEC_TYPE_ORDER_STATUS, turn.now_ns))
    order.asked_ns = turn.now_ns
    if turn.state.can_reduce:
        turn.add(SendQuery(order.cl_ord_id, order.order_id, order.terms.instrument))
    turn.wake(turn.now_ns + turn.settings.answer_after_ns, "answer", order.cl_ord_id)


def unanswered(turn: Turn, cl_ord_id: str) -> None:
    """Time has come to look whether the venue has answered."""
    order = turn.books.find(cl_ord_id)
    if order is None or not order.is_open:
        return
    waits_since = [item.since_ns for item in (order.cancel, order.replace) if item is not None]
    if order.base is OrdStatus.PENDING_NEW or order.unknown:
        waits_since.append(order.changed_ns)
    if not waits_since:
        return
    due = max(min(waits_since), order.asked_ns) + turn.settings.answer_after_ns
    if due > turn.now_ns:
        turn.wake(due, "answer", order.cl_ord_id)
        return
    ask(turn, order, Reason.NO_ANSWER)


def charged(turn: Turn, event: port.Charged) -> None:
    """Books a charge that is new, to each owner its part."""
    if _cannot_be_booked(turn, f"charge {event.charge_id}", event.quantity, event.price, event.amount):
        return
    if turn.books.is_charged(event.charge_id, event.at_ns):
        return
    positions = turn.books.positions
    held = {owner: item.quantity for (owner, name), item in positions.items() if name == event.instrument}
    for owner, amount in shares(event.amount, event.quantity, held, SUSPENSE).items():
        body = journal_pb2.PositionCharged(
            kind=event.kind.value,
            strategy=owner,
            symbol=event.instrument.symbol,
            quantity=render(held.get(owner, ZERO)),
            price=render(event.price),
            amount=render(amount),
            transact_unix_ns=event.at_ns,
            charge_id=event.charge_id,
        )
        turn.record(journal_pb2.JournalEvent(position_charged=body))


def _cannot_be_booked(turn: Turn, what: str, *numbers: Decimal) -> bool:
    """A number that the journal cannot hold. It is not rounded, because then the books would differ from the account
    and nobody would know."""
    if can_travel(*numbers):
        return False
    text = (
        f"the venue reports {what} with {' and '.join(map(str, numbers))}, and a number has at most 20 digits before "
        "the point and 18 after it: it is not booked, so the account holds something else than the journal says"
    )
    supervision.halt(turn, ConditionReason.POSITION_DIFFERENCE, text)
    return True


def quote_changed(turn: Turn, event: port.QuoteChanged) -> None:
    """A new best bid and offer."""
    live, instrument = turn.live, event.book.instrument
    is_first = instrument not in live.marks
    live.marks[instrument] = Mark(event.book, turn.now_ns)
    live.quoted.add(instrument)
    live.feed_alive_ns = turn.now_ns
    if is_first and turn.books.open:
        # What could not be valued or converted since the start can be now: what rests is judged by it.
        supervision.supervise(turn)
    if live.judging.active:
        breaches.quoted(turn, event.book)
    if live.closing:
        closing.quoted(turn, instrument)
    _publish(turn, event)


def trade_printed(turn: Turn, event: port.TradePrinted) -> None:
    """A trade of others."""
    turn.live.feed_alive_ns = turn.now_ns
    _publish(turn, event)


def _publish(turn: Turn, event: port.QuoteChanged | port.TradePrinted) -> None:
    """What a new session repeats, the quotes in force, the strategies have had."""
    if event.sequence > turn.live.published:
        turn.live.published = event.sequence
        turn.add(Publish(event))


def feed_alive(turn: Turn, event: port.FeedAlive) -> None:
    """The feed is alive though nothing changed."""
    turn.live.feed_alive_ns = turn.now_ns


def session_changed(turn: Turn, event: port.SessionChanged) -> None:
    """The session with the venue was lost, or nothing more comes. Orders stay as they are: the snapshot of the next
    session says what became of them."""
    become(turn, event.state, event.text)


def become(turn: Turn, state: port.SessionState, text: str) -> None:
    """Moves to a state of the session; `since` moves on change alone."""
    live = turn.live
    if state is not live.session or not live.session_since_ns:
        live.session_since_ns = turn.now_ns
        turn.tell("info", "venue_session", state=state.value, text=text)
    live.session, live.session_text = state, text


def _took_place(turn: Turn, order: Order | None, cl_ord_id: str, at_ns: int) -> None:
    """What the venue reports under the ClOrdID of a replacement says that the replacement took place, though its own
    report is lost or still to come: the order is known under that ClOrdID from now on."""
    if order is not None and order.replace is not None and order.replace.cl_ord_id == cl_ord_id:
        replaced(turn, port.Replaced(cl_ord_id, order.cl_ord_id, order.order_id, at_ns))


def _taken_back(order: Order, event: port.Busted) -> port.Executed:
    """The execution that a bust takes back."""
    return port.Executed(
        event.cl_ord_id,
        order.order_id,
        event.exec_ref_id,
        event.instrument,
        event.side,
        event.quantity,
        event.price,
        event.fee,
        event.at_ns,
    )


def _fits(order: Order, event: port.Executed | port.Busted) -> bool:
    return order.terms.instrument == event.instrument and order.terms.side is event.side and order.terms.strategy != ""


def _suspense_id(event: port.Executed | port.Busted) -> str:
    """Under which an execution of nobody's order is remembered: never the ClOrdID of an order that we know."""
    return f"?{event.cl_ord_id}"


def _known_id(turn: Turn, order: Order, event: port.Executed | port.Busted) -> str:
    """The ClOrdID under which the journal has the order: the venue's, or its present one when that is forgotten."""
    return event.cl_ord_id if turn.books.find(event.cl_ord_id) is not None else order.cl_ord_id


def _orphan(turn: Turn, cl_ord_id: str, what: str) -> None:
    turn.count("ORPHANS")
    _tell_unknown(turn, cl_ord_id, what)


def _tell_unknown(turn: Turn, cl_ord_id: str, what: str) -> None:
    turn.tell("error", "venue_reports_unknown_order", cl_ord_id=cl_ord_id, what=what)


_HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    port.Accepted: accepted,
    port.Executed: executed,
    port.Ended: ended,
    port.Replaced: replaced,
    port.RequestRejected: request_rejected,
    port.Busted: busted,
    port.OrderState: order_state,
    port.Charged: charged,
    port.Recalled: recalled,
    port.QuoteChanged: quote_changed,
    port.TradePrinted: trade_printed,
    port.FeedAlive: feed_alive,
    port.SessionChanged: session_changed,
}
