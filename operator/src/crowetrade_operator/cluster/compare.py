"""Would an apply change anything? Pure: desired object and live object in, yes or no out.

Server-side apply of an object that is already as wanted is a request that changes nothing; with thousands of objects
these requests are most of the load. An apply is skipped when the hash of what we applied last is the hash of what we
want, and each field that we own still has our value (otherwise somebody changed it, and it is repaired).
"""

from __future__ import annotations

import hashlib
import json
from decimal import Decimal, InvalidOperation
from typing import Any

from crowetrade_api.names import APPLIED_HASH_ANNOTATION

_LIST_KEYS = ("name", "mountPath", "containerPort", "type")
_SUFFIXES = {
    "m": Decimal("0.001"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
}
_QUANTITY_FIELDS = frozenset({"cpu", "memory", "sizeLimit", "ephemeral-storage"})


def content_hash(content: Any) -> str:
    """SHA-256 over the canonical JSON of the content."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def with_hash(desired: dict[str, Any]) -> dict[str, Any]:
    """The object with the hash of its own content in an annotation."""
    metadata = desired["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED_HASH_ANNOTATION: content_hash(desired)}
    return {**desired, "metadata": {**metadata, "annotations": annotations}}


def is_applied(desired: dict[str, Any], live: dict[str, Any] | None) -> bool:
    """Whether the live object carries our hash and every field of the desired one (which has its hash, too)."""
    if live is None:
        return False
    wanted = desired["metadata"]["annotations"][APPLIED_HASH_ANNOTATION]
    found = live["metadata"].get("annotations", {}).get(APPLIED_HASH_ANNOTATION)
    return bool(wanted == found) and _within(desired, live, "")


def _within(desired: Any, live: Any, field: str) -> bool:
    if isinstance(desired, dict):
        if not desired and live is None:
            return True
        return isinstance(live, dict) and all(_within(value, live.get(key), key) for key, value in desired.items())
    if isinstance(desired, list):
        if not desired:
            return not live
        return isinstance(live, list) and _list_within(desired, live)
    if field in _QUANTITY_FIELDS:
        return _quantity(desired) == _quantity(live)
    return bool(desired == live)


def _list_within(desired: list[Any], live: list[Any]) -> bool:
    if len(desired) != len(live):
        return False
    for key in _LIST_KEYS:
        if all(isinstance(item, dict) and key in item for item in (*desired, *live)):
            by_key = {item[key]: item for item in live}
            return all(item[key] in by_key and _within(item, by_key[item[key]], "") for item in desired)
    return all(_within(wanted, found, "") for wanted, found in zip(desired, live, strict=True))


def _quantity(text: Any) -> Decimal | None:
    """A resource quantity as a number; the API server writes 1024Mi as 1Gi."""
    digits = str(text).rstrip("mkMGTi")
    suffix = str(text)[len(digits) :]
    try:
        return Decimal(digits) * (_SUFFIXES[suffix] if suffix else 1)
    except (InvalidOperation, KeyError):
        return None
