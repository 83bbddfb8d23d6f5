"""The only thing a venue accepts: an order that the gate approved."""

from __future__ import annotations

from dataclasses import dataclass

from crowetrade_agents.risk.request import OrderRequest

_KEY = object()


@dataclass(frozen=True, slots=True, init=False)
class ApprovedOrder:
    """An order that passed every check. Only risk.gate makes one: calling the class raises TypeError."""

    request: OrderRequest

    def __init__(self, request: OrderRequest, key: object = None) -> None:
        if key is not _KEY:
            raise TypeError("only the risk gate approves orders: call crowetrade_agents.risk.gate.decide")
        object.__setattr__(self, "request", request)


def approve(request: OrderRequest) -> ApprovedOrder:
    """For risk.gate alone (import-linter guards it)."""
    return ApprovedOrder(request, _KEY)
