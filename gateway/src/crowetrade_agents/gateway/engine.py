"""The order path as one pure function: `handle(state, command, now_ns)` moves the books by journaled events and returns
what is to be done. No I/O, no clock, no waiting; the loop (gateway/loop.py) and the simulation drive it alike."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any

from crowetrade.bus.v1 import orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.numbers import render
from crowetrade_agents.gateway import (
    breaches,
    closing,
    commands,
    kill_progress,
    kills,
    orphans,
    recovery,
    reports,
    requests,
    supervision,
    venue_events,
)
from crowetrade_agents.gateway.effects import AcceptLogon, Effect
from crowetrade_agents.gateway.state import GatewayState, Turn
from crowetrade_agents.gateway.status import position_message


def handle(state: GatewayState, command: commands.Command, now_ns: int) -> list[Effect]:
    """Handles one command at `now_ns`, wall clock in ns since the Unix epoch; a clock that went back stands still.

    The effects are to be carried out in their order; see effects.py for what may go before the journal.
    """
    state.live.now_ns = max(now_ns, state.books.at_ns, state.live.now_ns)
    turn = Turn(state, state.live.now_ns)
    _HANDLERS[type(command)](turn, command)
    if state.live.judging.active and breaches.judge(turn):
        supervision.supervise(turn)
    if state.live.kills:
        kill_progress.follow(turn)
    recovery.watch(turn)
    return turn.effects


def next_timer_ns(state: GatewayState) -> int | None:
    """When a Timer command is due; None when nothing waits for time."""
    return state.live.timers[0][0] if state.live.timers else None


def _logon(turn: Turn, command: commands.Logon) -> None:
    live, books = turn.live, turn.books
    live.sessions[command.strategy] = command.session
    live.lost.pop(command.strategy, None)
    snapshot = gateway_pb2.LogonAccepted(
        positions=[position_message(turn.state, key) for key in sorted(books.positions) if key[0] == command.strategy],
        open_orders=[
            reports.execution_report(order, orders_pb2.EXEC_TYPE_ORDER_STATUS, turn.now_ns)
            for order in books.open_of(command.strategy)
            if not order.terms.closing
        ],
        lock_step=turn.settings.features.lock_step,
        market_data_sequence=live.published,
        replay_speed=render(turn.settings.features.replay_speed),
    )
    turn.add(AcceptLogon(command.strategy, command.session, snapshot))


def _timer(turn: Turn, command: commands.Timer) -> None:
    timers = turn.live.timers
    while timers and timers[0][0] <= turn.now_ns:
        _, kind, key = heapq.heappop(timers)
        _TIMERS[kind](turn, key)


_TIMERS: dict[str, Callable[[Turn, str], None]] = {
    "answer": venue_events.unanswered,
    "lost": supervision.still_lost,
    "orphan": orphans.due,
    "recall": lambda turn, key: recovery.recall(turn),
    "refused": lambda turn, key: requests.refusals_due(turn),
    "closing": closing.retry,
    "supervise": lambda turn, key: supervision.supervise(turn),
    "breaches": lambda turn, key: breaches.tick(turn),
    # Judged after it, as after each command.
    breaches.LACKING: lambda turn, key: None,
}
_HANDLERS: dict[type, Callable[[Turn, Any], None]] = {
    commands.Logon: _logon,
    commands.SessionLost: lambda turn, command: supervision.session_lost(turn, command.strategy, command.session),
    commands.NewOrder: requests.new_order,
    commands.CancelOrder: requests.cancel_order,
    commands.ReplaceOrder: requests.replace_order,
    commands.Malformed: requests.malformed,
    commands.Configure: lambda turn, command: supervision.configure(turn, command.configuration),
    commands.Kill: kills.engage,
    commands.Rearm: kills.rearm,
    commands.KillSwitchesListed: lambda turn, command: kills.listed(turn),
    commands.VenueConnected: lambda turn, command: recovery.connected(turn, command.snapshot),
    commands.FromVenue: venue_events.handle,
    commands.SharesChanged: supervision.change_shares,
    commands.Leave: lambda turn, command: supervision.leave(turn),
    commands.Timer: _timer,
}
