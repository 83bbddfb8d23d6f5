"""Compares what a new session with the venue reports with the books.

Executions that were missed are booked, orders that are open at the venue are confirmed, orders that are not are asked
for, and orders that the books do not have are cancelled (orphans.py).

Within a session the venue is asked for executions too, Settings.recall_after_ns after an order was open: an execution
whose report was lost would be missing in positions and limits for as long as the session lasts.
"""

from __future__ import annotations

from decimal import Decimal

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import ZERO, total
from crowetrade_agents.gateway import orphans, supervision, venue_events
from crowetrade_agents.gateway.effects import SendRecall
from crowetrade_agents.gateway.order import Order
from crowetrade_agents.gateway.state import Turn
from crowetrade_agents.risk.reasons import Reason
from crowetrade_agents.venues.port import OpenOrder, Replaced, SessionState, VenueSnapshot
from crowetrade_api.reasons import Reason as ConditionReason


def watch(turn: Turn) -> None:
    """While something may be executed, and once more after that, the venue is asked for executions. Not in lock step:
    there the venue knows already what its market has not come to."""
    live = turn.live
    if turn.books.open and not live.recalls and not turn.settings.features.lock_step:
        live.recalls = True
        turn.wake(turn.now_ns + turn.settings.recall_after_ns, "recall", "")


def recall(turn: Turn) -> None:
    """Asks for executions, if there is a session: the next one asks by itself."""
    turn.live.recalls = False
    if turn.state.can_reduce:
        turn.add(SendRecall(turn.books.resume_ns))


def connected(turn: Turn, snapshot: VenueSnapshot) -> None:
    """The venue logged the gateway on."""
    venue_events.become(turn, SessionState.LOGGED_ON, "")
    turn.live.asked_since_ns = turn.books.resume_ns
    if snapshot.state != turn.books.venue_state:
        body = journal_pb2.VenueLoggedOn(state=snapshot.state)
        turn.record(journal_pb2.JournalEvent(venue_logged_on=body))
    for execution in snapshot.executions:
        venue_events.executed(turn, execution)
    for bust in snapshot.busts:
        venue_events.busted(turn, bust, executions_known=True)
    for charge in snapshot.charges:
        venue_events.charged(turn, charge)
    at_venue: set[int] = set()
    turn.live.orphans.clear()
    for found in snapshot.open_orders:
        order = turn.books.find(found.cl_ord_id)
        if order is None or not order.is_open:
            orphans.found(turn, found)
        else:
            at_venue.add(id(order))
            _confirm(turn, order, found)
    for order in list(turn.books.open.values()):
        if id(order) not in at_venue:
            venue_events.ask(turn, order, Reason.NOT_IN_SNAPSHOT)
    _compare_positions(turn, snapshot)
    for strategy in {order.terms.strategy for order in turn.books.open.values()}:
        if strategy not in turn.live.sessions and strategy not in turn.live.lost:
            supervision.without_session(turn, strategy)
    supervision.supervise(turn)


def _confirm(turn: Turn, order: Order, found: OpenOrder) -> None:
    if found.cum_quantity != order.cum:
        said = f"the venue says that order {order.cl_ord_id} is executed for {found.cum_quantity}"
        text = f"{said}, the journal has {order.cum}"
        supervision.halt(turn, ConditionReason.POSITION_DIFFERENCE, text)
        return
    if order.replace is not None and order.replace.cl_ord_id == found.cl_ord_id:
        venue_events.replaced(turn, Replaced(found.cl_ord_id, order.cl_ord_id, found.order_id, turn.now_ns))
    if order.cancel is not None or order.replace is not None:
        # The snapshot may be older than the request, which may even leave with this session: only a question that
        # follows it tells what became of it.
        venue_events.ask(turn, order, Reason.REQUEST_PENDING)
    else:
        venue_events.confirm(turn, order, found.order_id, turn.now_ns)


def _compare_positions(turn: Turn, snapshot: VenueSnapshot) -> None:
    """Where the venue reports positions, the account must hold what the books say."""
    if snapshot.positions is None:
        return
    reported = snapshot.positions
    instruments = sorted({key[1] for key in turn.books.positions} | set(reported))
    booked = {instrument: _held(turn, instrument) for instrument in instruments}
    different = [
        f"{instrument}: venue {reported.get(instrument, ZERO)}, journal {held}"
        for instrument, held in booked.items()
        if reported.get(instrument, ZERO) != held
    ]
    if different:
        text = f"the account holds something else than the journal says: {'; '.join(different)}"
        supervision.halt(turn, ConditionReason.POSITION_DIFFERENCE, text)


def _held(turn: Turn, instrument: InstrumentId) -> Decimal:
    return total(position.quantity for key, position in turn.books.positions.items() if key[1] == instrument)
