"""A bare asyncio writer: the same children as the operator's, applied with the same client and nothing beside."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

from crowetrade_api.names import FIELD_MANAGER, MANAGED_SELECTOR
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import CHILDREN, NAMESPACES

WRITERS = 16
Object = dict[str, Any]


async def seconds(cluster: Cluster) -> float:
    """How long it takes to apply again, into other namespaces, every child that the operator has made."""
    bodies = [item async for item in _children(cluster)]
    for namespace in sorted({item["metadata"]["namespace"] for item in bodies}):
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}
        await cluster.create(NAMESPACES, "", body)
    waiting, began = iter(bodies), time.monotonic()
    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(_write(cluster, waiting))
    return time.monotonic() - began


async def _write(cluster: Cluster, bodies: Iterator[Object]) -> None:
    for body in bodies:
        await cluster.apply(body)


async def _children(cluster: Cluster) -> AsyncIterator[Object]:
    key, value = MANAGED_SELECTOR.split("=")
    for resource in CHILDREN:
        items, _ = await cluster.list(resource, "", MANAGED_SELECTOR)
        for item in items:
            namespace = f"raw-{item['metadata']['namespace']}"
            body = {"apiVersion": resource.api_version, "kind": resource.kind, **_as_applied(item)}
            # Under another label, so that the operator does not watch them.
            labels = {**body["metadata"]["labels"], key: f"not-{value}"}
            name = item["metadata"]["name"]
            yield {**body, "metadata": {**body["metadata"], "name": name, "namespace": namespace, "labels": labels}}


def _as_applied(live: Object) -> Object:
    entries = live["metadata"]["managedFields"]
    ours = next(item for item in entries if item["manager"] == FIELD_MANAGER and item["operation"] == "Apply")
    found = _owned(live, ours["fieldsV1"])
    assert isinstance(found, dict)
    return found


def _owned(live: Any, fields: Object) -> Any:
    """The part of an object that a manager's fieldsV1 name."""
    names = [name for name in fields if name != "."]
    if not names:
        return live
    if isinstance(live, list):
        return [_owned(_item(live, name), fields[name]) for name in names]
    # What was applied as false or empty may not be stored.
    stored = {name: live[name.removeprefix("f:")] for name in names if name.removeprefix("f:") in live}
    return {name.removeprefix("f:"): _owned(value, fields[name]) for name, value in stored.items()}


def _item(items: Sequence[Any], name: str) -> Any:
    """Of a list: `k:` has the item's keys, `v:` is the item."""
    kind, _, text = name.partition(":")
    wanted = json.loads(text)
    if kind == "v":
        return wanted
    return next(item for item in items if all(item.get(key) == value for key, value in wanted.items()))
