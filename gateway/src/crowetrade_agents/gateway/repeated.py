"""Executions and busts that no order of the gateway remembers: which of them were booked before.

A venue may report an execution again after its order was forgotten, or after so many others of its order that it was
forgotten there, as one that sends a whole day's executions at each logon. It is a repetition when it is remembered by
itself (executions.py), or when it happened before the last logon asked for executions, so that it was booked, and so
long ago that it may be forgotten. Only of one that is as old and happened since that logon neither is known: it is
booked to the suspense account and halts, whether its order is known or not.
"""

from __future__ import annotations

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.gateway import wire
from crowetrade_agents.gateway.books import ENDED_KEPT
from crowetrade_agents.gateway.executions import execution_id
from crowetrade_agents.gateway.order import Order
from crowetrade_agents.gateway.state import Turn
from crowetrade_agents.venues import port


def is_repeated(turn: Turn, owner: Order | None, cl_ord_id: str, body: wire.SuspenseBody) -> bool:
    """Whether it was booked before; `body` is what would be booked of what the venue reports under the ClOrdID, to the
    owner or, where there is none, to the suspense account."""
    return (
        _is_in_suspense(turn, body)
        or turn.books.executions.has(body)
        or _is_long_booked(turn, owner, cl_ord_id, body.transact_unix_ns)
    )


def why_unknown(turn: Turn, event: port.Executed, *, in_doubt: bool) -> str:
    """What is to be found out about an execution that is booked to the suspense account. `in_doubt`: of an order that
    may have had it."""
    if in_doubt:
        return (
            "an order that was executed many times since: whether it was booked before is not known any more. Compare "
            "the account with the venue"
        )
    if turn.books.find(event.cl_ord_id) is not None or not turn.books.was_sent(event.cl_ord_id):
        return "which no order of this gateway has: find out who sent it"
    if turn.books.executions.knows_since(event.at_ns):
        return (
            f"whose order ended {ENDED_KEPT} orders ago or earlier: it is booked for the first time, and to nobody. "
            "Find out why the venue reports it so late"
        )
    return (
        "whose order ended long ago: whether it was booked before is not known any more. Compare the account with the "
        "venue"
    )


def _is_in_suspense(turn: Turn, body: wire.SuspenseBody) -> bool:
    order = turn.books.find(body.cl_ord_id)
    known = order.executions.get(execution_id(body)) if order is not None else None
    return known is not None and (known.busted or isinstance(body, journal_pb2.OrderExecuted))


def _is_long_booked(turn: Turn, owner: Order | None, cl_ord_id: str, at_ns: int) -> bool:
    """Only of what the gateway has sent itself: somebody else's may have been there before its first logon."""
    if turn.books.executions.knows_since(at_ns) or at_ns >= turn.live.asked_since_ns:
        return False
    return owner is not None or (turn.books.find(cl_ord_id) is None and turn.books.was_sent(cl_ord_id))
