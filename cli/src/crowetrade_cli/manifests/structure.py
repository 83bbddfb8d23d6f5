"""What the API server makes of an object before it judges it: unknown fields, nulls and defaults.

A schema here is the openAPIV3Schema of a CustomResourceDefinition (or a part of it) as plain values. None stands for
no schema at all: the value is unknown.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]
TYPE_META = ("apiVersion", "kind", "metadata")
"""Fields of the object itself that no schema describes."""


def property_schema(schema: Schema | None, name: str) -> Schema | None:
    """Schema of a field, or of any field where the schema describes a map."""
    if schema is None:
        return None
    found = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
    return found if isinstance(found, dict) else None


def unknown_fields(manifest: dict[str, Any], schema: Schema) -> list[str]:
    """Paths that the schema does not know, in order; metadata is not looked at."""
    return sorted(_unknown({key: value for key, value in manifest.items() if key not in TYPE_META}, schema, ""))


def _unknown(value: Any, schema: Schema | None, path: str) -> Iterator[str]:
    if schema is not None and schema.get("x-kubernetes-preserve-unknown-fields"):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            where = f"{path}.{key}" if path else key
            inner = property_schema(schema, key)
            if inner is None:
                yield where
            else:
                yield from _unknown(item, inner, where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _unknown(item, (schema or {}).get("items"), f"{path}[{index}]")


def without_nulls(value: Any, schema: Schema | None) -> Any:
    """A copy without fields that are null where neither null nor a default is foreseen."""
    if isinstance(value, dict):
        schemas = {key: property_schema(schema, key) for key in value}
        return {
            key: without_nulls(item, schemas[key])
            for key, item in value.items()
            if not (_null_is_unset(item, schemas[key]) and "default" not in (schemas[key] or {}))
        }
    if isinstance(value, list):
        return [without_nulls(item, (schema or {}).get("items")) for item in value]
    return value


def with_defaults(value: Any, schema: Schema | None) -> Any:
    """A copy with the schema's defaults where a field is missing, or null where null is not foreseen."""
    if schema is None:
        return value
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        filled = dict(value)
        for name, inner in properties.items():
            if "default" in inner and (name not in filled or _null_is_unset(filled[name], inner)):
                filled[name] = copy.deepcopy(inner["default"])
        return {key: with_defaults(item, property_schema(schema, key)) for key, item in filled.items()}
    if isinstance(value, list):
        return [with_defaults(item, schema.get("items")) for item in value]
    return value


def _null_is_unset(value: Any, schema: Schema | None) -> bool:
    return value is None and schema is not None and not schema.get("nullable")
