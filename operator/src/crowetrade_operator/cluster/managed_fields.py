"""metadata.managedFields: who wrote which field last, as the API server keeps it.

Whoever changes the value of a field takes it over, and whoever removes a field takes it from everybody. So a field that
our own entry still has is as we applied it, whatever the API server made of its value (0.0625 of a core is stored as
63m), and what our entry lacks is of no concern to us.

Whole managedFields would be most of what the cache holds. Children of one kind have the same fields, so what is kept of
them is shared between all.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import orjson

from crowetrade_api.names import FIELD_MANAGER
from crowetrade_operator.cluster.objects import Object

Fields = dict[str, Any]
"""A set of fields as in fieldsV1: `f:NAME` of a field, `k:{...}` of an item by its keys, nothing below a leaf."""
Step = str | Object
"""On the way to a field: the name of a field, or an item of a list."""
_OWN_UID = "f:ownerReferences"
"""The one field of ours whose name differs from object to object; it is compared by value."""


def kept(entries: Iterable[Object]) -> list[Object]:
    """Entries in the order in which they were written, without times, and without those of a status."""
    of_others_too = [entry for entry in entries if entry.get("subresource") != "status"]
    of_others_too.sort(key=lambda entry: str(entry.get("time", "")))
    return _all_shared(
        tuple(
            (entry.get("manager", ""), entry.get("operation", ""), entry.get("subresource", ""), _text(entry))
            for entry in of_others_too
        )
    )


def _text(entry: Object) -> bytes:
    fields = entry.get("fieldsV1") or {}
    of_metadata = {key: value for key, value in (fields.get("f:metadata") or {}).items() if key != _OWN_UID}
    without = {key: value for key, value in fields.items() if key != "f:metadata"}
    return orjson.dumps(without | ({"f:metadata": of_metadata} if of_metadata else {}), option=orjson.OPT_SORT_KEYS)


@functools.lru_cache(maxsize=4096)
def _all_shared(entries: tuple[tuple[str, str, str, bytes], ...]) -> list[Object]:
    return [_shared(*entry) for entry in entries]


@functools.lru_cache(maxsize=4096)
def _shared(manager: str, operation: str, subresource: str, fields: bytes) -> Object:
    found = {"manager": manager, "operation": operation, "fieldsV1": orjson.loads(fields)}
    return found | ({"subresource": subresource} if subresource else {})


def ours(item: Object) -> Fields:
    """The fields that we have applied and nobody has changed since."""
    entries = item["metadata"].get("managedFields") or ()
    return next((cast(Fields, entry["fieldsV1"]) for entry in entries if _is_ours(entry)), {})


def writer(item: Object, path: Sequence[Step]) -> str:
    """Who else wrote the field, or something in it, last; empty when nobody says so, as after a removal."""
    entries = [entry for entry in item["metadata"].get("managedFields") or () if not _is_ours(entry)]
    for entry in reversed(entries):
        if _holds(entry["fieldsV1"], path):
            subresource = entry.get("subresource", "")
            return f"{entry['manager']} ({subresource})" if subresource else str(entry["manager"])
    return ""


def _is_ours(entry: Object) -> bool:
    return entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply" and "subresource" not in entry


def _holds(fields: Fields, path: Sequence[Step]) -> bool:
    for step in path:
        if not fields:
            return True  # what is below belongs to it as a whole
        found = below(fields, step)
        if found is None:
            return False
        fields = found
    return True


def below(fields: Fields, step: Step) -> Fields | None:
    """The fields of a field or of an item; None when they are not in the set."""
    if isinstance(step, str):
        return fields.get(f"f:{step}")
    for keys, found in _items(fields):
        if all(step.get(name, value) == value for name, value in keys.items()):
            return found
    return None


def _items(fields: Fields) -> Iterator[tuple[Object, Fields]]:
    for key, found in fields.items():
        if key.startswith("k:"):
            yield _keys(key), found


@functools.lru_cache(maxsize=4096)
def _keys(key: str) -> Object:
    return cast(Object, orjson.loads(key.removeprefix("k:")))


def lost(wanted: Any, fields: Fields, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    """Paths to what we want and the set of fields lacks."""
    for step, value in _parts(wanted):
        found = below(fields, step)
        if found is None:
            if value not in ({}, []):  # which the API server leaves out
                yield (*path, step)
        elif found:  # otherwise a leaf, ours as a whole
            yield from lost(value, found, (*path, step))


def _parts(wanted: Any) -> Iterable[tuple[Step, Any]]:
    if isinstance(wanted, dict):
        return wanted.items()
    return [(item, item) for item in wanted if isinstance(item, dict)] if isinstance(wanted, list) else ()


def dotted(path: Sequence[Step]) -> str:
    """As people write it: spec.template.spec.containers[agent].image."""
    text = ""
    for step in path:
        if isinstance(step, str):
            text += f".{step}" if step.replace("-", "").isalnum() and "." not in step else f"[{step}]"
        else:
            name = step.get("name") or step.get("mountPath") or step.get("port") or step.get("containerPort") or "?"
            text += f"[{name}]"
    return text.removeprefix(".")
