"""What kill orders in force stop at this gateway. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.state import Configuration, Stop
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_api.kill_order import selects_gateway, selects_strategy

STATES = {
    kill_pb2.KILL_MODE_BLOCK: TradingState.BLOCKED,
    kill_pb2.KILL_MODE_CLOSE_ONLY: TradingState.CLOSE_ONLY,
    kill_pb2.KILL_MODE_CANCEL: TradingState.HALTED,
    kill_pb2.KILL_MODE_FLATTEN: TradingState.FLATTEN,
}


def stops(
    orders: Iterable[kill_pb2.KillOrder], configuration: Configuration, namespace: str, strategy: str
) -> Iterator[Stop]:
    """Each order that stops the strategy. What no configuration has told yet (labels) is selected, and a mode that is
    not known cancels."""
    known = configuration.bindings is not None
    for order in orders:
        around = configuration.namespace_labels if known else None
        here = configuration.venue_labels if known else None
        if selects_gateway(order, namespace, around, here) and selects_strategy(
            order, configuration.strategy_labels.get(strategy)
        ):
            text = f"KillSwitch {order.namespace}/{order.name} is engaged: {order.reason or 'no reason was given'}"
            yield Stop(STATES.get(order.mode, TradingState.HALTED), Refusal(Reason.KILL_SWITCH_ENGAGED, text))
