"""ServiceAccount: an identity; Vault roles are bound to it. The chart lets gateways read KillSwitches, and nothing
else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from crowetrade_operator.desired.metadata import Owner, metadata


def service_account(owner: Owner, pull_secrets: Sequence[str]) -> dict[str, Any]:
    """The ServiceAccount of a strategy's or gateway's pods, with the Secrets of its namespace with which images are
    pulled. They stand here and not in the pods, so that another one restarts nothing. Without any the field is not
    ours, and whoever patches it keeps what they write."""
    found: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata(owner),
        "automountServiceAccountToken": False,
    }
    if pull_secrets:
        found["imagePullSecrets"] = [{"name": name} for name in pull_secrets]
    return found
