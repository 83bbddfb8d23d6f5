"""What was applied last, as a record that each Deployment carries in an annotation.

While a change waits, what runs is kept as it was applied before it: what others change of it is put back, and what they
delete is made again. The API server keeps no value that somebody has overwritten, nothing of an object that is deleted,
and the spec that runs may have been compiled by an operator of another version. So each Deployment has the content of
its ConfigMap, of itself and of the Deployments beside it. As long as one of them is there, all are known.

A record counts while its annotation is still ours: whoever writes it takes it over (see managed_fields.py).
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence

from crowetrade_api.names import APPLIED_ANNOTATION
from crowetrade_operator.cluster.compare import controller_uid, drifts, with_hash, without_hash
from crowetrade_operator.cluster.managed_fields import lost, ours
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.decide.observed import Children

RECORDED = ("ConfigMap", "Deployment")
LONGEST = 128 * 1024
"""The API server takes 256 KiB of annotations. What is longer, compressed, is not recorded."""
_TOO_LONG = "too long"
_LARGEST = 4 * 1024 * 1024
"""Bytes of a record that are read: more than the ConfigMap and the Deployments of an owner can have."""


def with_record(desired: Object, children: Sequence[Object]) -> Object:
    """A Deployment with the record of all of these children that are recorded; of other kinds, the object itself."""
    if desired["kind"] != "Deployment":
        return desired
    recorded = sorted((without_hash(item) for item in children if item["kind"] in RECORDED), key=_key)
    text = json.dumps(recorded, sort_keys=True, separators=(",", ":"))
    record = base64.b64encode(zlib.compress(text.encode())).decode()
    metadata = desired["metadata"]
    annotations = {
        **metadata.get("annotations", {}),
        APPLIED_ANNOTATION: record if len(record) <= LONGEST else _TOO_LONG,
    }
    return {**desired, "metadata": {**metadata, "annotations": annotations}}


def has_record(live: Object) -> bool:
    """Whether the record that we have given a Deployment is there; other kinds need none."""
    return live["kind"] != "Deployment" or bool(_record(live))


def kept(children: Children) -> list[Object]:
    """The ConfigMap and the Deployments that run, as they were applied last, whatever others have done to them since;
    without those of which that is not known."""
    records = {item["metadata"]["name"]: _recorded(item) for item in _deployments(children)}
    found: dict[tuple[str, str], Object] = {}
    for name, record in records.items():
        for item in record:
            # Of a Deployment its own record is never older than its content.
            if _key(item) not in found or _key(item) == ("Deployment", name):
                found[_key(item)] = item
    return sorted(map(with_hash, found.values()), key=_key)


def lacks(children: Children, wanted: Sequence[Object]) -> bool:
    """Whether something of what runs is gone, or was changed by somebody, and nobody knows how it was applied last.
    `wanted` are the ConfigMap and the Deployments of the change that waits: they have nearly the same fields."""
    known = {_key(item) for item in kept(children)}
    live = {_key(item): item for kind in RECORDED for item in children.of_kind(kind)}
    alike = {_key(item): item for item in wanted}
    deployment = next(item for item in wanted if item["kind"] == "Deployment")
    unknown = (item for key, item in live.items() if key not in known)
    if any(drifts(with_hash(alike.get(_key(item), deployment)), item) for item in unknown):
        return True
    moves = any(_key(item) not in alike for item in children.of_kind("Deployment"))
    return any(kind == "ConfigMap" or not moves for kind, name in alike.keys() - live.keys() - known)


def _key(item: Object) -> tuple[str, str]:
    return item["kind"], item["metadata"]["name"]


def _deployments(children: Children) -> list[Object]:
    return sorted(children.of_kind("Deployment"), key=lambda item: str(item["metadata"]["name"]))


def _record(live: Object) -> str:
    """The text of the record; empty when there is none, or somebody else has written it."""
    text = (live["metadata"].get("annotations") or {}).get(APPLIED_ANNOTATION, "")
    changed = any(lost({"metadata": {"annotations": {APPLIED_ANNOTATION: text}}}, ours(live)))
    return "" if changed else str(text)


def _recorded(live: Object) -> list[Object]:
    """The children in a record. It decides what is written, so that nothing of another kind, place or owner is taken
    from it, whoever has come to write it under our name."""
    text = _record(live)
    if text in ("", _TOO_LONG):
        return []
    namespace, owner = live["metadata"].get("namespace"), controller_uid(live)
    try:
        items = json.loads(zlib.decompressobj().decompress(base64.b64decode(text, validate=True), _LARGEST))
        return [
            item
            for item in items
            if item["kind"] in RECORDED and item["metadata"]["namespace"] == namespace and controller_uid(item) == owner
        ]
    except (ValueError, TypeError, LookupError, AttributeError, zlib.error):
        return []
