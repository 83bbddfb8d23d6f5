"""A Strategy or RiskLimit whose spec cannot be read, as after a downgrade: its end, and its status.

What it halts is halted by the configuration of the gateways (see crowetrade_api.gateway_config). The rest of the status
stays as it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from crowetrade_api.conditions import Condition, ConditionType, condition, follow
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.risklimit import RiskLimitStatus, UnreadableLimit
from crowetrade_api.v1alpha1.strategy import StrategyPhase, StrategyStatus, UnreadableStrategy
from crowetrade_operator.decide import strategy_deletion
from crowetrade_operator.decide.health import Reported, health
from crowetrade_operator.decide.observed import Moment
from crowetrade_operator.decide.plan import Plan
from crowetrade_operator.settings import Settings

STRATEGY_WATCHED = (ConditionType.READY,)
LIMIT_WATCHED = (ConditionType.ENFORCED,)


def plan_strategy(observed: strategy_deletion.Observed, settings: Settings) -> Plan:
    """Its children stay as they are."""
    if observed.strategy.deleting:
        return strategy_deletion.plan(observed, settings)
    return Plan(finalizer=True)


def report_strategy(strategy: UnreadableStrategy, previous: StrategyStatus, now: Moment) -> StrategyStatus:
    """The new status; `previous` is the one that was reported last."""
    text = (
        f"The Strategy does not match the operator's schema ({strategy.problem}), so its orders are refused: upgrade "
        "the operator, or correct or delete the Strategy."
    )
    phase = StrategyPhase.STOPPING if strategy.deleting else StrategyPhase.HALTED
    types = (ConditionType.READY, ConditionType.TRADING)
    return previous.model_copy(
        update={
            "observed_generation": strategy.metadata.generation,
            "phase": phase,
            "conditions": _conditions(types, Reason.STRATEGY_UNREADABLE, text, previous, strategy, now),
        }
    )


def report_limit(limit: UnreadableLimit, previous: RiskLimitStatus, now: Moment) -> RiskLimitStatus:
    """The new status; `previous` is the one that was reported last."""
    text = (
        f"The RiskLimit does not match the operator's schema ({limit.problem}), so all venues of the namespace are "
        "halted: upgrade the operator, or correct or delete the RiskLimit."
    )
    types = (ConditionType.READY, ConditionType.ENFORCED)
    return previous.model_copy(
        update={
            "observed_generation": limit.metadata.generation,
            "conditions": _conditions(types, Reason.LIMIT_UNREADABLE, text, previous, limit, now),
        }
    )


def _conditions(
    types: Sequence[ConditionType],
    reason: Reason,
    text: str,
    previous: Reported,
    resource: UnreadableStrategy | UnreadableLimit,
    now: Moment,
) -> list[Condition]:
    generation = resource.metadata.generation
    current = [condition(type_, False, reason, text) for type_ in types]
    current += health(current[0], previous, generation, now)
    return follow(previous.conditions, current, generation, now.text)
