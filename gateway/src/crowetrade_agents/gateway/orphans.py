"""Orders at the venue that the journal does not have, or has as ended: nobody owns them, so they must not work.

A logon finds them. Each is cancelled until the venue says that it is over: a cancel that is rejected is sent again
soon, one that is lost when its answer is overdue. The next logon begins again with what is open then.
"""

from __future__ import annotations

from crowetrade_agents.gateway.effects import SendCancel, SendQuery
from crowetrade_agents.gateway.state import Orphan, Turn
from crowetrade_agents.gateway.supervision import RETRY_NS
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.venues import port


def found(turn: Turn, order: port.OpenOrder) -> None:
    """A logon has shown one: it is counted and cancelled."""
    turn.count("ORPHANS")
    turn.tell("error", "order_not_in_journal", cl_ord_id=order.cl_ord_id, order_id=order.order_id)
    orphan = turn.live.orphans[order.cl_ord_id] = Orphan(order)
    _cancel(turn, orphan)


def due(turn: Turn, cl_ord_id: str) -> None:
    """Time has come to look whether it is over."""
    orphan = turn.live.orphans.get(cl_ord_id)
    if orphan is not None and turn.now_ns >= orphan.due_ns and turn.state.can_reduce:
        _cancel(turn, orphan)


def rejected(turn: Turn, event: port.RequestRejected) -> None:
    """The venue has refused a cancel; where it says that it has no such order, it is asked whether that is so."""
    orphan = turn.live.orphans.get(event.orig_cl_ord_id)
    if orphan is None or event.cl_ord_id != orphan.cancel_id:
        return
    order = orphan.order
    turn.tell("error", "orphan_not_cancelled", cl_ord_id=order.cl_ord_id, reason=event.reason, text=event.text)
    _look(turn, orphan, RETRY_NS)
    if event.unknown_order:
        turn.add(SendQuery(order.cl_ord_id, order.order_id, order.instrument))


def answered(turn: Turn, event: port.OrderState) -> None:
    """The venue has said what it is."""
    if event.status is None or event.status.is_final:
        over(turn, event.cl_ord_id)


def over(turn: Turn, cl_ord_id: str) -> bool:
    """It works no more; whether it was one."""
    if turn.live.orphans.pop(cl_ord_id, None) is None:
        return False
    turn.tell("info", "orphan_over", cl_ord_id=cl_ord_id)
    return True


def _cancel(turn: Turn, orphan: Orphan) -> None:
    order = orphan.order
    cancel = gate.approve_cancel(
        turn.state.own_id("orphan"), order.cl_ord_id, order.order_id, order.instrument, order.side, str(Reason.ORPHAN)
    )
    orphan.cancel_id = cancel.cl_ord_id
    turn.add(SendCancel(cancel, urgent=True))
    _look(turn, orphan, turn.settings.answer_after_ns)


def _look(turn: Turn, orphan: Orphan, after_ns: int) -> None:
    orphan.due_ns = turn.now_ns + after_ns
    turn.wake(orphan.due_ns, "orphan", orphan.order.cl_ord_id)
