"""What strategies ask for: new orders, cancels, cancel/replaces. Each ends as sent or refused, and each counts."""

from __future__ import annotations

from dataclasses import replace

from crowetrade.bus.v1 import journal_pb2, orders_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import CONTEXT, render
from crowetrade_agents.domain.orders import OrdStatus, OrdType
from crowetrade_agents.gateway import breaches, reports, shares, wire
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.commands import CancelOrder, Malformed, NewOrder, ReplaceOrder
from crowetrade_agents.gateway.effects import Report, SendCancel, SendOrder, SendReplace
from crowetrade_agents.gateway.order import Order
from crowetrade_agents.gateway.refusals import Refusals
from crowetrade_agents.gateway.state import Turn
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.approved import ApprovedOrder, ApprovedReplace
from crowetrade_agents.risk.facts import Proposal
from crowetrade_agents.risk.reasons import Reason, Refusal

REFUSALS_NS = SECOND_NS
"""Refused requests are journaled as counts at this interval, so that a strategy which is refused cannot fill the
journal."""
STOPPED = frozenset(
    {
        Reason.VENUE_HALTED,
        Reason.STRATEGY_SUSPENDED,
        Reason.CLOSE_ONLY,
        Reason.KILL_SWITCH_ENGAGED,
        Reason.LIMIT_BREACHED,
        Reason.GATEWAY_STOPPING,
        Reason.NO_CONFIGURATION,
        Reason.UNREADABLE_CONFIGURATION,
        Reason.SESSION_NOT_ESTABLISHED,
    }
)
"""Refusals that say that trading is stopped, and nothing about the order: they are no rejects in a row."""


def new_order(turn: Turn, command: NewOrder) -> None:
    """Judges an order, journals and sends it; or refuses it."""
    terms, books = command.terms, turn.books
    known = books.find(terms.cl_ord_id)
    if known is not None:
        # Sent again after a broken session (the decoder lets a strategy use none but its own): it leaves once.
        turn.report(terms.strategy, reports.changed(known, orders_pb2.EXEC_TYPE_ORDER_STATUS, turn.now_ns))
        return
    refusal = _unusable(turn, command)
    if refusal is None:
        proposal, facts = Proposal(terms, terms.quantity), turn.state.facts(terms.strategy, turn.now_ns)
        decision = gate.judge_order(proposal, facts)
        for observed in decision.observed:
            turn.count("LIMITS_OBSERVED", terms.strategy, observed.reason)
        outcome = decision.outcome
        shares.note(turn, proposal, facts, decision)
        refusal = outcome if isinstance(outcome, Refusal) else _over_rate(turn, terms.strategy)
        if refusal is None and isinstance(outcome, ApprovedOrder):
            submit(turn, outcome, command.origin_sequence, command.received_ns)
            return
    assert refusal is not None
    answer = reports.refused_order(terms, refusal, turn.now_ns)
    refuse(turn, terms.strategy, terms.instrument, refusal, answer, is_order=True)


def submit(turn: Turn, approved: ApprovedOrder, origin_sequence: int, received_ns: int) -> None:
    """Journals an approved order and sends it."""
    terms = approved.terms
    mark = turn.live.marks.get(terms.instrument)
    turn.record(journal_pb2.JournalEvent(order_submitted=wire.submitted(terms, origin_sequence, mark)))
    turn.add(SendOrder(approved, received_ns))
    turn.count("ORDERS_SENT", terms.strategy)
    turn.wake(turn.now_ns + turn.settings.answer_after_ns, "answer", terms.cl_ord_id)
    order = turn.books.open[terms.cl_ord_id]
    turn.report(terms.strategy, reports.changed(order, orders_pb2.EXEC_TYPE_PENDING_NEW, turn.now_ns))


def cancel_order(turn: Turn, command: CancelOrder) -> None:
    """Sends a strategy's cancel, or refuses it; the order then stays as it is."""
    order = _own(turn, command.strategy, command.orig_cl_ord_id)
    refusal = _not_cancellable(turn, order, command.cl_ord_id)
    if refusal is None and not turn.live.cancel_budget.take(turn.now_ns):
        turn.live.throttled += 1
        text = "spec.rateLimits.cancelsPerSecond of the venue is reached: the order is still open, try again"
        refusal = Refusal(Reason.VENUE_RATE_LIMIT, text)
    if refusal is not None or order is None:
        _refuse_request(turn, command, order, refusal or _unknown_order(), replace=False)
        return
    cancel(turn, order, command.cl_ord_id, Reason.CANCEL_REQUESTED, urgent=False)
    turn.report(command.strategy, reports.changed(order, orders_pb2.EXEC_TYPE_PENDING_CANCEL, turn.now_ns))


def cancel(turn: Turn, order: Order, cl_ord_id: str, reason: Reason, *, urgent: bool) -> None:
    """Journals a cancel and sends it."""
    approved = gate.approve_cancel(
        cl_ord_id, order.cl_ord_id, order.order_id, order.terms.instrument, order.terms.side, str(reason)
    )
    body = journal_pb2.CancelSubmitted(cl_ord_id=cl_ord_id, orig_cl_ord_id=order.cl_ord_id, reason=str(reason))
    turn.record(journal_pb2.JournalEvent(cancel_submitted=body))
    turn.add(SendCancel(approved, urgent))
    turn.wake(turn.now_ns + turn.settings.answer_after_ns, "answer", order.cl_ord_id)


def replace_order(turn: Turn, command: ReplaceOrder) -> None:
    """Judges a cancel/replace as the order that it would make, and sends it; or refuses it."""
    order = _own(turn, command.strategy, command.orig_cl_ord_id)
    refusal = _not_replaceable(turn, order, command)
    if order is None or refusal is not None:
        _refuse_request(turn, command, order, refusal or _unknown_order(), replace=True)
        return
    terms = replace(order.terms, cl_ord_id=command.cl_ord_id, quantity=command.quantity, price=command.price)
    proposal = Proposal(terms, CONTEXT.subtract(command.quantity, order.worked), order.counted_leaves)
    facts = turn.state.facts(command.strategy, turn.now_ns)
    decision = gate.judge_replace(proposal, order.cl_ord_id, order.order_id, facts)
    for observed in decision.observed:
        turn.count("LIMITS_OBSERVED", command.strategy, observed.reason)
    outcome = decision.outcome
    shares.note(turn, proposal, facts, decision)
    refused = outcome if isinstance(outcome, Refusal) else _over_rate(turn, command.strategy)
    if refused is not None:
        _refuse_request(turn, command, order, refused, replace=True)
        return
    assert isinstance(outcome, ApprovedReplace)
    body = wire.replace_submitted(command, order.cl_ord_id, turn.live.marks.get(terms.instrument))
    turn.record(journal_pb2.JournalEvent(replace_submitted=body))
    turn.add(SendReplace(outcome, command.received_ns))
    turn.count("ORDERS_SENT", command.strategy)
    turn.wake(turn.now_ns + turn.settings.answer_after_ns, "answer", order.cl_ord_id)
    turn.report(command.strategy, reports.changed(order, orders_pb2.EXEC_TYPE_PENDING_REPLACE, turn.now_ns))


def malformed(turn: Turn, command: Malformed) -> None:
    """Refuses what could not be read: the answer goes to whoever sent it, whatever name it claims."""
    if command.answers == "NewOrder":
        answer = reports.refused_message(command.strategy, command.cl_ord_id, command.refusal, turn.now_ns)
    else:
        order = _own(turn, command.strategy, command.orig_cl_ord_id)
        answer = reports.cancel_reject(
            command.strategy,
            command.cl_ord_id,
            command.orig_cl_ord_id,
            order,
            command.refusal,
            replace=command.answers == "CancelReplace",
        )
    is_order = command.answers in ("NewOrder", "CancelReplace")
    refuse(turn, command.strategy, InstrumentId(turn.settings.venue, ""), command.refusal, answer, is_order=is_order)


def refuse(
    turn: Turn, strategy: str, instrument: InstrumentId, refusal: Refusal, answer: Report, *, is_order: bool
) -> None:
    """Answers and counts. A refused request counts as a message: a runaway strategy must not probe at no cost.
    `is_order`: a new order or a replacement, which counts as rejected in a row."""
    turn.count("ORDERS_REFUSED", strategy, refusal.reason)
    # A symbol that is not listed is whatever the strategy has invented: neither memory nor the journal may grow by it.
    symbol = instrument.symbol if instrument in turn.settings.instruments else ""
    turn.books.messages.add(strategy, InstrumentId(turn.settings.venue, symbol), turn.now_ns)
    pending = turn.live.refused
    if not pending:
        turn.live.refused_due_ns = turn.now_ns + REFUSALS_NS
        turn.wake(turn.live.refused_due_ns, "refused", "")
    is_reject = is_order and refusal.reason not in STOPPED
    pending.setdefault(strategy, Refusals()).add(refusal, symbol, is_reject=is_reject)
    turn.report(strategy, answer)
    if is_reject and breaches.one_too_many(turn, strategy):
        _record_refusals(turn, strategy, pending.pop(strategy))


def refusals_due(turn: Turn) -> None:
    """Journals what was refused since the last time. A timer of refusals that were journaled before finds nothing, or
    those of another second."""
    if turn.now_ns >= turn.live.refused_due_ns:
        for strategy, refused in turn.live.refused.items():
            _record_refusals(turn, strategy, refused)
        turn.live.refused.clear()


def _record_refusals(turn: Turn, strategy: str, refused: Refusals) -> None:
    """Journals the counts, and logs one line for each."""
    for body in refused.events(strategy):
        turn.record(journal_pb2.JournalEvent(requests_refused=body))
        turn.tell(
            "warning",
            "requests_refused",
            strategy=strategy,
            reason=body.reason,
            risk_limit=body.risk_limit,
            count=body.count,
            text=body.text,
        )


def _unusable(turn: Turn, command: NewOrder) -> Refusal | None:
    terms = command.terms
    if turn.books.is_used(terms.cl_ord_id):
        return Refusal(Reason.DUPLICATE_CL_ORD_ID, f"ClOrdID {terms.cl_ord_id} was used before: use a new one")
    if turn.now_ns > command.valid_until_ns:
        return Refusal(Reason.ORDER_TOO_LATE, "the order arrived after its validUntil: decide again and send a new one")
    features = turn.settings.features
    if terms.time_in_force.value not in features.times_in_force:
        return Refusal(Reason.NOT_SUPPORTED, f"the venue has no time in force {terms.time_in_force.value}")
    if terms.post_only and not features.post_only:
        return Refusal(Reason.NOT_SUPPORTED, "the venue has no post-only orders")
    return None


def _own(turn: Turn, strategy: str, cl_ord_id: str) -> Order | None:
    """The strategy's order; somebody else's is none."""
    order = turn.books.find(cl_ord_id)
    return order if order is not None and order.terms.strategy == strategy else None


def _not_cancellable(turn: Turn, order: Order | None, cl_ord_id: str) -> Refusal | None:
    if order is None:
        return _unknown_order()
    if not order.is_open:
        return reports.late(order)
    if turn.books.is_used(cl_ord_id):
        return Refusal(Reason.DUPLICATE_CL_ORD_ID, f"ClOrdID {cl_ord_id} was used before: use a new one")
    if order.cancel is not None:
        return Refusal(Reason.ORDER_PENDING, "a cancel of the order is under way: wait for its answer")
    return _no_session(turn)


def _not_replaceable(turn: Turn, order: Order | None, command: ReplaceOrder) -> Refusal | None:
    refusal = _not_cancellable(turn, order, command.cl_ord_id)
    if refusal is not None or order is None:
        return refusal
    if order.status not in (OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED):
        return Refusal(Reason.ORDER_PENDING, f"the order is {order.status.value}: wait until that is answered")
    if not turn.settings.features.replace:
        return Refusal(Reason.NOT_SUPPORTED, "the venue cannot replace orders: cancel it and send a new one")
    if order.terms.ord_type is not OrdType.LIMIT:
        return Refusal(Reason.INVALID_ORDER, "only a limit order can be replaced")
    if command.quantity <= order.worked:
        text = f"the new quantity {render(command.quantity)} must be above what is executed, {render(order.worked)}"
        return Refusal(Reason.INVALID_QUANTITY, text)
    if turn.now_ns > command.valid_until_ns:
        return Refusal(Reason.ORDER_TOO_LATE, "the request arrived after its validUntil: decide again")
    return None


def _no_session(turn: Turn) -> Refusal | None:
    if turn.state.can_reduce:
        return None
    text = "the gateway is not logged on to its venue; it cancels the order itself if the session stays lost"
    return Refusal(Reason.SESSION_NOT_ESTABLISHED, text)


def _over_rate(turn: Turn, strategy: str) -> Refusal | None:
    """Of a strategy that a breach has slowed down, and of the venue."""
    if refusal := breaches.slowed(turn, strategy):
        return refusal
    if turn.live.order_budget.take(turn.now_ns):
        return None
    turn.live.throttled += 1
    return Refusal(Reason.VENUE_RATE_LIMIT, "spec.rateLimits.ordersPerSecond of the venue is reached")


def _unknown_order() -> Refusal:
    return Refusal(Reason.UNKNOWN_ORDER, "the gateway knows no such order of this strategy")


def _refuse_request(
    turn: Turn, command: CancelOrder | ReplaceOrder, order: Order | None, refusal: Refusal, *, replace: bool
) -> None:
    strategy = command.strategy
    if order is not None and not order.is_open:
        turn.report(strategy, reports.changed(order, orders_pb2.EXEC_TYPE_ORDER_STATUS, turn.now_ns))
    answer = reports.cancel_reject(strategy, command.cl_ord_id, command.orig_cl_ord_id, order, refusal, replace=replace)
    instrument = order.terms.instrument if order is not None else InstrumentId(turn.settings.venue, "")
    refuse(turn, strategy, instrument, refusal, answer, is_order=replace)
