"""Uses of limits that have risen to warnAt, each told once until it has fallen again. Pure.

They are taken from the gateway's status, once a second, so that no order waits for them. A use is told again when it
has been below warnAt by RELEASE in between: one that hovers there is told once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.gateway.status import UTILISATION_KEPT
from crowetrade_agents.risk.rules import Rule

RELEASE = Decimal("0.05")
"""How far below warnAt the share has to fall, as a share of the limit."""
_INFINITY = Decimal("Infinity")

Key = tuple[str, str, str]
"""RiskLimit, limit, and what it is counted for."""


class Warnings:
    """Remembers what was told."""

    def __init__(self) -> None:
        self._told: set[Key] = set()

    def crossed(self, status: status_pb2.GatewayStatus, rules: Iterable[Rule]) -> list[status_pb2.Utilisation]:
        """What has risen to warnAt of its RiskLimit since the last status."""
        warn_at = {rule.name: rule.warn_at for rule in rules if rule.warn_at is not None}
        shares = {_key(item): share_of(item) for item in status.utilisation}
        self._forget(shares, warn_at)
        new = []
        for item in status.utilisation:
            key, limit = _key(item), warn_at.get(item.risk_limit)
            if limit is not None and shares[key] >= limit and key not in self._told:
                self._told.add(key)
                new.append(item)
        return new

    def _forget(self, shares: Mapping[Key, Decimal], warn_at: Mapping[str, Decimal]) -> None:
        """What is below warnAt by RELEASE, or not used any more. The status names the highest uses alone, so one that
        is not among as many as it names may be as high as before."""
        named = Counter(key[0] for key in shares)
        for key in list(self._told):
            limit = warn_at.get(key[0])
            share = shares.get(key)
            gone = share is None and named[key[0]] < UTILISATION_KEPT
            if limit is None or gone or (share is not None and share < limit - RELEASE):
                self._told.discard(key)


def share_of(item: status_pb2.Utilisation) -> Decimal:
    """Use as a share of what is allowed; nothing used is none of it."""
    used, allowed = Decimal(item.used), Decimal(item.allowed)
    if not allowed:
        return _INFINITY if used else ZERO
    return CONTEXT.divide(used, allowed)


def _key(item: status_pb2.Utilisation) -> Key:
    return item.risk_limit, item.limit, item.key
