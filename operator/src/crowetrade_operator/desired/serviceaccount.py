"""ServiceAccount: an identity; Vault roles are bound to it. The chart lets gateways read KillSwitches, and nothing
else."""

from __future__ import annotations

from typing import Any

from crowetrade_operator.desired.metadata import Owner, metadata


def service_account(owner: Owner) -> dict[str, Any]:
    """The ServiceAccount of a strategy's or gateway's pods."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(owner),
        "automountServiceAccountToken": False,
    }
