"""Everything that is in a namespace and on its bus, without what differs between two runs that did the same."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections import Counter
from typing import Any

from google.protobuf.json_format import MessageToDict
from nats.aio.client import Client

from crowetrade import subjects
from crowetrade.config.v1 import config_pb2
from crowetrade_api.names import APPLIED_ANNOTATION, APPLIED_HASH_ANNOTATION, MANAGED_SELECTOR
from crowetrade_operator.bus.stored import stored_entries
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import CHILDREN, CUSTOM, EVENTS
from crowetrade_operator_tests.waiting import WAIT_SECONDS, until

Object = dict[str, Any]
_OF_THE_RUN = {
    "uid",
    "resourceVersion",
    "managedFields",
    "creationTimestamp",
    "lastTransitionTime",
    "lastReportTime",
    "generation",
    "observedGeneration",
    "clusterIP",
    "clusterIPs",
    # Hashes over what holds uids.
    APPLIED_ANNOTATION,
    APPLIED_HASH_ANNOTATION,
    "configRevision",
    "revision",
    "hash",
    # Each leader has its own.
    "epoch",
}


async def picture(cluster: Cluster, namespace: str, bus: Client | None = None) -> dict[str, Any]:
    """Our resources with their statuses and all children, by kind and name; with a client of the bus, what it has for
    the gateways of the namespace and all its streams, too."""
    found: dict[str, Any] = {}
    for resource in (*CUSTOM, *CHILDREN):
        items, _ = await cluster.list(resource, namespace, "" if resource in CUSTOM else MANAGED_SELECTOR)
        for item in items:
            found[f"{resource.kind} {item['metadata']['name']}"] = _without(item)
    return found if bus is None else found | await _on_bus(bus, namespace)


async def _on_bus(bus: Client, namespace: str) -> dict[str, Any]:
    """Buckets are streams, too."""
    jetstream = bus.jetstream()
    found = {f"Stream {info.config.name}": dataclasses.asdict(info.config) for info in await jetstream.streams_info()}
    bucket = await jetstream.key_value(subjects.CONFIG_BUCKET)
    wanted = subjects.gateway_config_key(namespace, "*")
    for key, entry in (await stored_entries(bus, bucket, subjects.CONFIG_BUCKET, wanted)).items():
        found[f"GatewayConfig {key}"] = _without(MessageToDict(config_pb2.GatewayConfig.FromString(entry.value or b"")))
    return found


async def settled(
    cluster: Cluster,
    namespace: str,
    wanted: dict[str, Any] | None = None,
    bus: Client | None = None,
    seconds: float = WAIT_SECONDS,
) -> dict[str, Any]:
    """Waits until nothing has changed for a while, and until that is what is wanted; returns it."""
    seen: list[dict[str, Any]] = []

    async def check() -> bool:
        seen.append(await picture(cluster, namespace, bus))
        await asyncio.sleep(0.5)
        return len(seen) > 3 and seen[-1] == seen[-4] and wanted in (None, seen[-1])

    try:
        await until("everything to settle", check, seconds)
    except AssertionError as error:
        raise AssertionError("\n".join(differences(seen[-1], wanted or seen[-4]))) from error
    return seen[-1]


async def generations(cluster: Cluster, namespace: str) -> dict[str, int]:
    """How often each child's spec was written so that something changed."""
    found = {}
    for resource in CHILDREN:
        items, _ = await cluster.list(resource, namespace, MANAGED_SELECTOR)
        for item in items:
            found[f"{resource.kind} {item['metadata']['name']}"] = int(item["metadata"].get("generation") or 0)
    return found


async def told(cluster: Cluster, namespace: str) -> Counter[str]:
    """How many events there are, by kind, name and reason."""
    items, _ = await cluster.list(EVENTS, namespace)
    return Counter(f"{item['regarding']['kind']} {item['regarding']['name']} {item['reason']}" for item in items)


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get("kind") == "ConfigMap":
            value = {**value, "data": {name: json.loads(text) for name, text in value.get("data", {}).items()}}
        # An apply that takes the last item away leaves no list, and one that never had any leaves an empty one.
        return {name: _without(item) for name, item in value.items() if name not in _OF_THE_RUN and item != []}
    if isinstance(value, list):
        return [_without(item) for item in value]
    return value


def differences(one: Any, other: Any, place: str = "") -> list[str]:
    """Where two pictures differ, and how."""
    if isinstance(one, dict) and isinstance(other, dict):
        names = sorted(one.keys() | other.keys())
        return [line for name in names for line in differences(one.get(name), other.get(name), f"{place}/{name}")]
    return [] if one == other else [f"{place}: {one!r} and {other!r}"]
