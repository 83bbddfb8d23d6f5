"""How far kill orders are, from the orders that they stop, and the acknowledgement that says so. Pure.

Blocked is an order of which no new order can reach the venue any more: new ones are refused, and the venue has answered
those that had left. Halted is one of which nothing is open any more that it cancels, nor anything that nobody owns, and
with Flatten no position.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from crowetrade.bus.v1 import journal_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import Name, concerns, state_of
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.numbers import render
from crowetrade_agents.domain.orders import OrdStatus
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway.books import SUSPENSE
from crowetrade_agents.gateway.order import Key, Order
from crowetrade_agents.gateway.state import GatewayState, KillProgress, Turn
from crowetrade_agents.risk.reasons import Reason
from crowetrade_api.kill_order import selects_all_strategies, selects_by_labels

STILL_OPEN_KEPT = 32
POSITIONS_KEPT = 32
T = TypeVar("T")


def keep_stopped(turn: Turn) -> None:
    """Journals whom orders stop that select by labels, so that they stay stopped whatever labels they get: whoever may
    change labels is not thereby one who may re-arm."""
    configuration, books = turn.live.configuration, turn.books
    if configuration.bindings is None:
        return
    for name, kill in list(books.kills.items()):
        progress = turn.live.kills[name]
        if _was_looked_up(progress, kill, configuration):
            continue
        progress.looked_up = (kill, configuration)
        if not selects_by_labels(kill.order):
            continue
        kept = books.kept_stopped[name]
        found = kept | {one for one in configuration.bindings if turn.state.is_killed(name, one)}
        if found != kept:
            body = journal_pb2.KillChanged()
            body.CopyFrom(kill)
            body.strategies[:] = sorted(found)
            turn.record(journal_pb2.JournalEvent(kill_changed=body))


def _was_looked_up(progress: KillProgress, kill: journal_pb2.KillChanged, configuration: Configuration) -> bool:
    """Whether nothing has changed by which it stops others: neither of the two is changed once it is made."""
    last = progress.looked_up
    return last is not None and last[0] is kill and last[1] is configuration


def supervised(turn: Turn) -> None:
    """Notes what had left and what kill orders cancel, after the gateway has looked what may stay open."""
    for name, progress in turn.live.kills.items():
        if progress.halted_ns:
            continue
        if not progress.blocked_ns:
            progress.in_flight = [item for item in _stopped(turn.state, name) if _unanswered(item)]
        progress.open = [*_cancelled_by(turn.state, name)]
        progress.held = [*_held(turn.state, name)]
        progress.cancelled |= {item.first_id for item in progress.open if _is_own(item)}


def follow(turn: Turn) -> None:
    """Notes what is reached now. Each order is looked at until it is over, and no more."""
    for name, progress in turn.live.kills.items():
        if not progress.blocked_ns:
            _drop(progress.in_flight, _unanswered)
            if progress.in_flight:
                continue
            progress.blocked_ns = turn.now_ns
            turn.observe("KILL_BLOCK_SECONDS", turn.now_ns - progress.seen_ns)
        if not progress.halted_ns:
            _drop(progress.open, lambda order: order.is_open)
            _drop(progress.held, lambda key: bool(turn.books.exposure(key).position))
            if progress.open or progress.held or _orphans(turn.state, name):
                continue
            progress.halted_ns = turn.now_ns
            turn.observe("KILL_HALT_SECONDS", turn.now_ns - progress.seen_ns)
            turn.tell("warning", "kill_halted", kill_switch="/".join(name), cancelled=len(progress.cancelled))


def acknowledgements(state: GatewayState) -> Iterator[kill_pb2.KillAcknowledgement]:
    """Of every kill order in force that concerns this gateway and is stored."""
    for name, progress in state.live.kills.items():
        if progress.stored and _concerns(state, name):
            yield acknowledgement(state, name)


def acknowledgement(state: GatewayState, name: Name) -> kill_pb2.KillAcknowledgement:
    """Of one kill order in force."""
    order, progress = state.books.kills[name].order, state.live.kills[name]
    still_open = sorted([*(item.cl_ord_id for item in _cancelled_by(state, name)), *_orphans(state, name)])
    held = sorted(_held(state, name))
    return kill_pb2.KillAcknowledgement(
        namespace=order.namespace,
        name=order.name,
        uid=order.uid,
        generation=order.generation,
        mode=order.mode,
        channel=progress.channel,
        seen_unix_ns=progress.seen_ns,
        blocked_unix_ns=progress.blocked_ns,
        halted_unix_ns=0 if still_open or held else progress.halted_ns,
        cancels_sent=len(progress.cancelled),
        cancels_confirmed=len(progress.cancelled - state.books.open.keys()),
        still_open=still_open[:STILL_OPEN_KEPT],
        still_open_count=len(still_open),
        strategies=sorted(_strategies(state, name)),
        problem=_problem(state, progress, len(still_open)),
        venue_namespace=state.settings.namespace,
        venue=state.settings.venue,
        engaged_by=order.engaged_by,
        reason=order.reason,
        scope=order.scope,
        positions=[_position(state, key) for key in held[:POSITIONS_KEPT]],
        positions_count=len(held),
    )


def _problem(state: GatewayState, progress: KillProgress, still_open: int) -> str:
    if still_open and not state.can_reduce:
        why = state.live.session_text or state.live.session.value
        return f"there is no session with the venue ({why}): what is open is cancelled once there is one"
    # Of those in flight some that are answered stay in the list as long as a later one is not (`follow`).
    unanswered = [] if progress.blocked_ns else [item.cl_ord_id for item in progress.in_flight if _unanswered(item)]
    if unanswered:
        return f"the venue has not answered {len(unanswered)} orders that had left before, such as {unanswered[0]}"
    return ""


def _concerns(state: GatewayState, name: Name) -> bool:
    """Whether it is for this gateway, or has stopped somebody here."""
    order, namespace = state.books.kills[name].order, state.settings.namespace
    return bool(state.books.kept_stopped[name]) or concerns(order, state.live.configuration, namespace)


def _strategies(state: GatewayState, name: Name) -> set[str]:
    known = set(state.live.configuration.bindings or {}) | state.books.owners() - {SUSPENSE}
    return {strategy for strategy in known if state.is_killed(name, strategy)}


def _stopped(state: GatewayState, name: Name) -> Iterator[Order]:
    """Open orders of whom it stops."""
    strategies = _strategies(state, name)
    return (item for item in state.books.open.values() if item.terms.strategy in strategies and not item.terms.closing)


def _cancelled_by(state: GatewayState, name: Name) -> Iterable[Order]:
    """Open orders that it cancels."""
    match state_of(state.books.kills[name].order):
        case TradingState.BLOCKED:
            return ()
        case TradingState.CLOSE_ONLY:
            return (item for item in _stopped(state, name) if _is_own(item))
        case _:
            return _stopped(state, name)


def _orphans(state: GatewayState, name: Name) -> Iterable[str]:
    """Orders at the venue that nobody owns: any of them may be of somebody whose orders it cancels."""
    cancels = state_of(state.books.kills[name].order) in (TradingState.HALTED, TradingState.FLATTEN)
    return state.live.orphans if cancels and _concerns(state, name) else ()


def _held(state: GatewayState, name: Name) -> Iterable[Key]:
    """Positions that it wants closed, those included that the gateway does not close because nobody who is bound owns
    them."""
    order = state.books.kills[name].order
    if state_of(order) is not TradingState.FLATTEN:
        return ()
    owners = _strategies(state, name)
    if owners and selects_all_strategies(order):
        owners = owners | {SUSPENSE}
    return (key for key, position in state.books.positions.items() if position.quantity and key[0] in owners)


def _position(state: GatewayState, key: Key) -> kill_pb2.OpenPosition:
    owner, instrument = key
    closing, refusal = state.live.closing.get(key), state.control(owner).refusal
    found = kill_pb2.OpenPosition(
        strategy=owner, symbol=instrument.symbol, quantity=render(state.books.positions[key].quantity)
    )
    if closing is not None and closing.reason:
        found.reason, found.text = closing.reason, closing.text
    elif refusal is not None:
        found.reason, found.text = str(refusal.reason), refusal.text
    return found


def _is_own(order: Order) -> bool:
    """Whether the gateway itself cancels it."""
    return order.cancel is not None and order.cancel.reason != Reason.CANCEL_REQUESTED


def _unanswered(order: Order) -> bool:
    return order.is_open and (order.base is OrdStatus.PENDING_NEW or order.replace is not None)


def _drop(items: list[T], stays: Callable[[T], bool]) -> None:
    while items and not stays(items[-1]):
        items.pop()
