"""What breaches of limits stop at this gateway, until a person clears them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.control.state import Configuration, Stop
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.reasons import Reason, Refusal

ALERT, SLOW = "Alert", "Slow"
"""Actions that stop nothing: the one only tells, the other lets one order leave each second."""
STATES = {
    "Block": TradingState.BLOCKED,
    "CloseOnly": TradingState.CLOSE_ONLY,
    "Cancel": TradingState.HALTED,
    "Flatten": TradingState.FLATTEN,
}


def concerning(
    breaches: Iterable[journal_pb2.BreachChanged], configuration: Configuration, strategy: str
) -> Iterator[journal_pb2.BreachChanged]:
    """Breaches of enforced rules that concern the strategy: its own, and those of rules that counted it together with
    others or bind it by now."""
    for breach in breaches:
        if breach.enforced and (strategy in breach.strategies or _binds(breach, configuration, strategy)):
            yield breach


def stops(breaches: Iterable[journal_pb2.BreachChanged], configuration: Configuration, strategy: str) -> Iterator[Stop]:
    """What the actions of these breaches mean; one that is not known cancels."""
    for breach in concerning(breaches, configuration, strategy):
        if breach.action not in (ALERT, SLOW):
            yield Stop(STATES.get(breach.action, TradingState.HALTED), refusal(breach))


def refusal(breach: journal_pb2.BreachChanged) -> Refusal:
    """What an order gets that the breach does not let through."""
    text = (
        f"breach {breach.breach} ({breach.action}): {breach.text}; a person clears it by annotating RiskLimit "
        f"{breach.risk_limit} with trading.crowetrade.io/clear-breach='{breach.breach}: REASON'"
    )
    return Refusal(Reason.LIMIT_BREACHED, text, breach.risk_limit)


def _binds(breach: journal_pb2.BreachChanged, configuration: Configuration, strategy: str) -> bool:
    return not breach.subject and any(
        rule.name == breach.risk_limit and rule.uid == breach.uid and strategy in rule.strategies
        for rule in configuration.rules
    )
