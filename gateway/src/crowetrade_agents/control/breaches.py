"""What breaches of limits stop at this gateway, until a person clears them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.control.state import STATES, Configuration, Stop
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.reasons import Reason, Refusal

ALERT, SLOW = "Alert", "Slow"
"""Actions that stop nothing: the one only tells, the other lets one order leave each second."""


class Held(NamedTuple):
    """What breaches do to one strategy: `slow` is the refusal of what it sends too soon, None when it is not slowed."""

    stops: tuple[Stop, ...] = ()
    slow: Refusal | None = None


NOT_HELD = Held()


def held(breaches: Iterable[journal_pb2.BreachChanged], configuration: Configuration, strategy: str) -> Held:
    """What is done about these breaches; an action that is not known cancels. Those concern the strategy that are its
    own, and those of rules that counted it together with others or bind it by now; what was only observed does
    nothing."""
    stops: list[Stop] = []
    slow: Refusal | None = None
    for breach in breaches:
        if not breach.enforced or not (strategy in breach.strategies or _binds(breach, configuration, strategy)):
            continue
        if breach.action == SLOW:
            slow = _refusal(breach)
        elif breach.action != ALERT:
            stops.append(Stop(STATES.get(breach.action, TradingState.HALTED), _refusal(breach)))
    return Held(tuple(stops), slow)


def _refusal(breach: journal_pb2.BreachChanged) -> Refusal:
    text = (
        f"breach {breach.breach} ({breach.action}): {breach.text}; a person clears it by annotating RiskLimit "
        f"{breach.risk_limit} with trading.crowetrade.io/clear-breach='{breach.breach}: REASON' or, when that is gone, "
        f"the VenueConnection with trading.crowetrade.io/clear-halt='{breach.breach}: REASON'"
    )
    return Refusal(Reason.LIMIT_BREACHED, text, breach.risk_limit)


def _binds(breach: journal_pb2.BreachChanged, configuration: Configuration, strategy: str) -> bool:
    return not breach.subject and any(
        rule.name == breach.risk_limit and rule.uid == breach.uid and strategy in rule.strategies
        for rule in configuration.rules
    )
