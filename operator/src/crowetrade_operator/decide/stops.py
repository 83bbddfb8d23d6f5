"""What stops one strategy at a gateway and leaves others alone: a KillSwitch, or a breach that nobody has cleared."""

from __future__ import annotations

from collections.abc import Iterator

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2, kill_pb2
from crowetrade_api.conditions import Condition, ConditionType, condition
from crowetrade_api.kill_order import MODE_NAMES
from crowetrade_api.reasons import Reason
from crowetrade_operator.cluster.times import rfc3339
from crowetrade_operator.decide.observed import GatewayView

HARMLESS = ("Alert", "Slow")
"""Actions of a breach that refuse no order for good. What is not known counts as Cancel."""


def stops(venue: str, view: GatewayView, config: config_pb2.GatewayConfig, strategy: str) -> Iterator[Condition]:
    """Each as the gateway reports it."""
    status = view.status
    if status is None:
        return
    for kill in status.kills:
        if strategy in kill.strategies:
            yield condition(ConditionType.HALTED, True, Reason.KILL_SWITCH_ENGAGED, _killed(venue, kill))
    for breach in status.breaches:
        if breach.enforced and breach.action not in HARMLESS and _concerns(breach, config, strategy):
            yield condition(ConditionType.HALTED, True, Reason.LIMIT_BREACHED, _breached(venue, breach))


def clearing(name: str, breach: str) -> str:
    """What a person writes to clear a breach."""
    return f"kubectl annotate risklimit {name} 'trading.crowetrade.io/clear-breach={breach}: REASON'"


def _concerns(breach: status_pb2.Breach, config: config_pb2.GatewayConfig, strategy: str) -> bool:
    if breach.subject:
        return breach.subject == strategy
    return any(rule.risk_limit == breach.risk_limit and strategy in rule.strategies for rule in config.rules)


def _killed(venue: str, kill: kill_pb2.KillAcknowledgement) -> str:
    mode, reason = MODE_NAMES.get(kill.mode, "Cancel"), kill.reason or "no reason was given"
    return (
        f"KillSwitch {kill.namespace}/{kill.name} stops it at venue {venue}, mode {mode}: {reason}. How to re-arm says "
        f"kubectl describe killswitch {kill.name} -n {kill.namespace}."
    )


def _breached(venue: str, breach: status_pb2.Breach) -> str:
    since = f" since {rfc3339(breach.since_unix_ns / 1e9)}" if breach.since_unix_ns else ""
    return (
        f"RiskLimit {breach.risk_limit} is breached at venue {venue}{since} ({breach.limit}: {breach.text}), and does "
        f"{breach.action or 'Cancel'} until a person clears it: {clearing(breach.risk_limit, breach.breach)}"
    )
