"""Lists that are sets or maps: no entry twice (k8s.io/apiextensions-apiserver, schema/listtype)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from crowetrade_cli.manifests import field_errors
from crowetrade_cli.manifests.field_errors import FieldError
from crowetrade_cli.manifests.go_text import as_json
from crowetrade_cli.manifests.structure import Schema, property_schema


def errors_of(value: Any, schema: Schema | None, path: str = "") -> Iterator[FieldError]:
    """Entries that are there twice, at any depth."""
    if schema is None:
        return
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for key, item in value.items():
            where = field_errors.child(path, key) if key in properties else f"{path}[{key}]"
            yield from errors_of(item, property_schema(schema, key), where)
    elif isinstance(value, list):
        if schema.get("x-kubernetes-list-type") == "set":
            yield from (field_errors.duplicate(f"{path}[{index}]", value[index]) for index in _repeated(value))
        elif schema.get("x-kubernetes-list-type") == "map":
            yield from _map_errors(value, schema["x-kubernetes-list-map-keys"], path)
        for index, item in enumerate(value):
            yield from errors_of(item, schema.get("items"), f"{path}[{index}]")


def _map_errors(entries: list[Any], names: Sequence[str], path: str) -> Iterator[FieldError]:
    for index, entry in enumerate(entries):
        if entry is not None and not isinstance(entry, dict):
            detail = "must be an object for an array of list-type map"
            yield field_errors.invalid(f"{path}[{index}]", entry, detail)
            return
    keys = [{name: entry[name] for name in names if name in entry} if entry else {} for entry in entries]
    yield from (field_errors.duplicate(f"{path}[{index}]", keys[index]) for index in _repeated(keys))


def _repeated(values: Sequence[Any]) -> Iterator[int]:
    """Where a value is there for the second time; the third and later times are not counted again."""
    counts: dict[str, int] = {}
    for index, value in enumerate(values):
        text = as_json(value)
        counts[text] = counts.get(text, 0) + 1
        if counts[text] == 2:
            yield index
