"""What one turn of the loop does with the commands that wait: handle them all, append once, carry out in order.

Group commit: whatever waits becomes one record of the journal, so a burst of orders costs one synced write. Everything
that the commands asked for follows the append, except for cancels that reduce risk: they leave first, because they must
not wait for the journal. A cancel of an order that leaves with this very batch follows its order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.gateway.commands import Command
from crowetrade_agents.gateway.effects import Append, Effect, SendCancel, SendOrder
from crowetrade_agents.gateway.engine import handle
from crowetrade_agents.gateway.state import GatewayState
from crowetrade_agents.risk import gate
from crowetrade_agents.risk.reasons import Reason

MAX_COMMANDS = 256
"""Commands of one batch; their events stay far below what one message of the bus may hold."""


@dataclass(slots=True)
class Batch:
    """`urgent` is carried out first, then `events` are appended as one record, then `after` is carried out in order."""

    urgent: list[SendCancel] = field(default_factory=list)
    events: list[journal_pb2.JournalEvent] = field(default_factory=list)
    after: list[Effect] = field(default_factory=list)


def take(state: GatewayState, commands: Iterable[Command], now_ns: int, leaving: Iterable[str] = ()) -> Batch:
    """Handles the commands in order. `leaving`: orders of an earlier batch that have not left yet."""
    batch = Batch()
    leaving = set(leaving)
    for command in commands:
        for effect in handle(state, command, now_ns):
            if isinstance(effect, Append):
                batch.events.append(effect.event)
            elif isinstance(effect, SendCancel) and effect.urgent and effect.cancel.orig_cl_ord_id not in leaving:
                batch.urgent.append(effect)
            else:
                if isinstance(effect, SendOrder):
                    leaving.add(effect.order.terms.cl_ord_id)
                batch.after.append(effect)
    return batch


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
