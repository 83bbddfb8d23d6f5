"""What one turn of the loop does with the commands that wait: handle them all, append once, carry out in order.

Group commit: whatever waits becomes one record of the journal, so a burst of orders costs one synced write. Everything
that the commands asked for follows the append, except for the gateway's own cancels: they reduce risk and leave first,
because they must not wait for the journal. A cancel that a strategy asks for follows the append, unless a kill order
that stops the strategy comes meanwhile. A cancel of an order that leaves with this very batch follows its order.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.control.kills import KillCommand
from crowetrade_agents.domain.orders import OrdStatus
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway.commands import Command, FromVenue, NewOrder, ReplaceOrder
from crowetrade_agents.gateway.effects import Append, Effect, SendCancel, SendOrder, SendReplace
from crowetrade_agents.gateway.engine import handle
from crowetrade_agents.gateway.state import GatewayState
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.venues.port import Ended, RequestRejected

Approved = ApprovedOrder | ApprovedReplace


class Stopped(NamedTuple):
    """What a kill order stops before it has left, and why."""

    approved: Approved
    why: Refusal


MAX_COMMANDS = 256
"""Commands of one batch; their events stay far below what one message of the bus may hold."""


@dataclass(slots=True)
class Batch:
    """`urgent` is carried out first, then `events` are appended as one record, then `after` is carried out in order.

    `leaving` are the orders and replacements in `after`, by ClOrdID, and `cancels` its cancels, by their own.
    """

    urgent: list[SendCancel] = field(default_factory=list)
    events: list[journal_pb2.JournalEvent] = field(default_factory=list)
    after: list[Effect] = field(default_factory=list)
    leaving: dict[str, Approved] = field(default_factory=dict)
    cancels: dict[str, ApprovedCancel] = field(default_factory=dict)


def take(state: GatewayState, commands: Iterable[Command], now_ns: int, leaving: Iterable[str] = ()) -> Batch:
    """Handles the commands in order. `leaving`: orders of an earlier batch that have not left yet."""
    batch = Batch()
    orders = set(leaving)
    for command in commands:
        for effect in handle(state, command, now_ns):
            if isinstance(effect, Append):
                batch.events.append(effect.event)
                continue
            if isinstance(effect, SendCancel):
                cancel = effect.cancel
                if effect.urgent and cancel.orig_cl_ord_id not in orders:
                    batch.urgent.append(effect)
                    continue
                batch.cancels[cancel.cl_ord_id] = cancel
            elif isinstance(effect, SendOrder):
                batch.leaving[effect.order.terms.cl_ord_id] = effect.order
                orders.add(effect.order.terms.cl_ord_id)
            elif isinstance(effect, SendReplace):
                batch.leaving[effect.replace.terms.cl_ord_id] = effect.replace
            batch.after.append(effect)
    return batch


def hurried(state: GatewayState, waiting: Iterable[ApprovedCancel], unsent: Container[str]) -> list[ApprovedCancel]:
    """Of the cancels that wait for the journal those that a stop makes urgent: the order is that of a strategy which
    may not trade freely any more, and it has left before (`unsent`: those that have not)."""
    return [
        cancel
        for cancel in waiting
        if cancel.orig_cl_ord_id not in unsent
        and (order := state.books.find(cancel.orig_cl_ord_id)) is not None
        and state.control(order.terms.strategy).state is not TradingState.ACTIVE
    ]


def take_kill(
    state: GatewayState, command: KillCommand, now_ns: int, leaving: Mapping[str, Approved]
) -> tuple[Batch, dict[str, Stopped]]:
    """Handles a kill order beside a batch whose orders in `leaving` wait for the journal. Returns which of those it
    stops, by ClOrdID: they must not leave, and `refuse_stopped` refuses them."""
    batch = take(state, (command,), now_ns, leaving)
    stopped = {
        name: Stopped(approved, refusal)
        for name, approved in leaving.items()
        if (refusal := _stops(state, approved)) is not None
    }
    return batch, stopped


def refuse_stopped(state: GatewayState, stopped: Iterable[Stopped], now_ns: int, leaving: Iterable[str]) -> Batch:
    """Books that they will not leave. The cancels of the kill order need not wait for it: a burst of orders takes
    milliseconds."""
    refused = [unsent(one.approved, str(one.why.reason), one.why.text, now_ns) for one in stopped]
    return take(state, refused, now_ns, leaving)


def refuses_at_once(state: GatewayState, command: Command) -> bool:
    """Whether a kill order stops the request, so that it need not wait for its turn to be refused."""
    if not state.live.kills:
        return False
    if isinstance(command, NewOrder):
        return state.control(command.terms.strategy).state in _STOPPED
    return isinstance(command, ReplaceOrder) and state.control(command.strategy).state in _STOPPED


def unsent(approved: Approved, reason: str, text: str, now_ns: int) -> FromVenue:
    """What became of an order or a replacement that was journaled and will not leave."""
    terms = approved.terms
    if isinstance(approved, ApprovedOrder):
        return FromVenue(Ended(terms.cl_ord_id, "", OrdStatus.REJECTED, reason, text, now_ns))
    return FromVenue(
        RequestRejected(terms.cl_ord_id, approved.orig_cl_ord_id, reason, text, unknown_order=False, at_ns=now_ns)
    )


_STOPPED = (TradingState.BLOCKED, TradingState.HALTED, TradingState.FLATTEN)


def _stops(state: GatewayState, approved: Approved) -> Refusal | None:
    terms, control = approved.terms, state.control(approved.terms.strategy)
    if terms.closing:
        may_leave = control.state is TradingState.FLATTEN
    elif control.state is TradingState.CLOSE_ONLY:
        # What does not reduce has just been cancelled; what its strategy cancels need not leave either.
        order = state.books.find(terms.cl_ord_id)
        may_leave = order is not None and order.cancel is None
    else:
        may_leave = control.state not in _STOPPED
    if may_leave:
        return None
    text = f"it was stopped before it had left: the strategy is {control.state.value}"
    return control.refusal or Refusal(Reason.NOT_SENT, text)


def emergency_cancels(state: GatewayState) -> Sequence[SendCancel]:
    """Cancels of every open order, for a gateway whose journal takes no more: they are recorded by its successor, which
    asks the venue what became of them."""
    found = []
    for order in state.books.open.values():
        cancel = gate.approve_cancel(
            state.own_id(order.terms.strategy),
            order.cl_ord_id,
            order.order_id,
            order.terms.instrument,
            order.terms.side,
            str(Reason.GATEWAY_STOPPING),
        )
        found.append(SendCancel(cancel, urgent=True))
    return found
