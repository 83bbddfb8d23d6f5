"""Secrets that a hook of the chart makes once. The operator itself may read none, so they are not among its kinds."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import ApiResource
from crowetrade_operator.errors import ClusterError, Conflict

SECRETS = ApiResource("", "v1", "secrets", "Secret")


async def make_once(
    cluster: Cluster, namespace: str, name: str, data: Mapping[str, str], consequence: str
) -> tuple[dict[str, str], bool]:
    """What the Secret holds, and whether it was made now, with `data`. One that is there stays as it is.

    Raises ClusterError, also for a Secret of that name that lacks a key of `data`; `consequence` is what a new one
    means."""
    labels = {"app.kubernetes.io/part-of": "crowetrade", "app.kubernetes.io/name": name}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "type": "Opaque",
        "stringData": dict(data),
    }
    try:
        await cluster.create(SECRETS, namespace, secret)
        return dict(data), True
    except Conflict:
        found = (await cluster.get(SECRETS, namespace, name)).get("data") or {}
        if missing := sorted(set(data) - set(found)):
            why = f"it lacks {', '.join(missing)}; delete it and upgrade again: {consequence}"
            raise ClusterError("get", SECRETS.path(namespace, name), 0, why) from None
        return {key: base64.b64decode(text).decode() for key, text in found.items()}, False
