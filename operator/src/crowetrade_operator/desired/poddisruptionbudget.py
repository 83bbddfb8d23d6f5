"""PodDisruptionBudget: one pod at a time. A drain is not blocked: the state is in the journal."""

from __future__ import annotations

from typing import Any

from crowetrade_operator.desired.metadata import Owner, metadata, selector


def pod_disruption_budget(owner: Owner) -> dict[str, Any]:
    """The budget over all pods of the owner."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata(owner),
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": selector(owner)}},
    }
