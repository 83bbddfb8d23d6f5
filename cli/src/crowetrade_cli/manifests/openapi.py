"""Types, bounds and required fields of a schema, with the API server's words (k8s.io/kube-openapi, pkg/validation).

A format is not looked at: int64 is none that the API server knows in a CustomResourceDefinition.
Errors come in the order of the schema's fields. The API server's order is that of a Go map: another one each time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from crowetrade_cli.manifests import expressions, field_errors
from crowetrade_cli.manifests.field_errors import FieldError
from crowetrade_cli.manifests.go_text import as_json
from crowetrade_cli.manifests.structure import Schema


def errors_of(value: Any, schema: Schema, path: str = "") -> Iterator[FieldError]:
    """Everything in a value that its schema does not admit."""
    seen: set[str] = set()
    for error in _errors(value, schema, path):
        if str(error) not in seen:
            seen.add(str(error))
            yield error


def _errors(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    yield from _type_errors(value, schema, path)
    if isinstance(value, str):
        yield from _string_errors(value, schema, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_errors(value, schema, path)
    elif isinstance(value, list):
        yield from _list_errors(value, schema, path)
    yield from _enum_errors(value, schema, path)
    if isinstance(value, dict):
        yield from _object_errors(value, schema, path)


def _name(path: str) -> str:
    return path.removeprefix(".")


def _admitted_types(schema: Schema) -> tuple[str, ...]:
    if schema.get("x-kubernetes-int-or-string"):
        return ("integer", "string")
    return (schema["type"],) if schema.get("type") else ()


def _type_errors(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    admitted = _admitted_types(schema)
    if not admitted or (value is None and schema.get("nullable")):
        return
    found = _type_of(value)
    fits = (
        found in admitted
        or ("integer" in admitted and found == "number" and _is_json_integer(value))
        or ("number" in admitted and found == "integer")
    )
    if not fits:
        yield _wrong_type(path, ",".join(admitted), found)


def _is_json_integer(value: float) -> bool:
    """Whether the API server takes a float for an integer: above zero it has a little tolerance."""
    if not abs(value) < 2**53:
        return False
    whole = int(value)
    return whole == value or (whole > 0 and (value - whole) / (value + whole) < 1e-9)


def _type_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "integer"
    if isinstance(value, float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _wrong_type(path: str, wanted: str, found: str) -> FieldError:
    detail = f'{path} in body must be of type {wanted}: "{found}"'
    return field_errors.type_invalid(_name(path), found, detail)


def _string_errors(value: str, schema: Schema, path: str) -> Iterator[FieldError]:
    longest, shortest, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern")
    if longest is not None and len(value) > longest:
        yield field_errors.too_long(_name(path), longest)
    elif shortest is not None and len(value) < shortest:
        detail = f"{path} in body should be at least {shortest} chars long"
        yield field_errors.invalid(_name(path), value, detail)
    elif pattern and not expressions.matches(pattern, value):
        yield field_errors.invalid(_name(path), value, f"{path} in body should match '{pattern}'")


def _number_errors(value: int | float, schema: Schema, path: str) -> Iterator[FieldError]:
    lowest, highest = schema.get("minimum"), schema.get("maximum")
    if lowest is not None and value < lowest:
        detail = f"{path} in body should be greater than or equal to {lowest}"
        yield field_errors.invalid(_name(path), value, detail)
    if highest is not None and value > highest:
        yield field_errors.invalid(_name(path), value, f"{path} in body should be less than or equal to {highest}")


def _list_errors(value: list[Any], schema: Schema, path: str) -> Iterator[FieldError]:
    if "items" in schema:
        for index, item in enumerate(value):
            yield from _errors(item, schema["items"], f"{path}[{index}]")
    fewest, most = schema.get("minItems"), schema.get("maxItems")
    if fewest is not None and len(value) < fewest:
        detail = f"{path} in body should have at least {fewest} items"
        yield field_errors.invalid(_name(path), len(value), detail)
    if most is not None and len(value) > most:
        yield field_errors.too_many(_name(path), len(value), most)


def _enum_errors(value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    words = schema.get("enum")
    if words and not any(word == value and isinstance(word, bool) == isinstance(value, bool) for word in words):
        listed = [word if isinstance(word, str) else as_json(word) for word in words]
        yield field_errors.not_supported(_name(path), value, listed)


def _object_errors(value: dict[str, Any], schema: Schema, path: str) -> Iterator[FieldError]:
    fewest, most = schema.get("minProperties"), schema.get("maxProperties")
    if fewest is not None and len(value) < fewest:
        detail = f"{path} in body should have at least {fewest} properties"
        yield field_errors.invalid(_name(path), len(value), detail)
    if most is not None and len(value) > most:
        yield field_errors.too_many(_name(path), len(value), most)
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    if isinstance(others, dict):
        for key, item in value.items():
            if key not in properties:
                yield from _errors(item, others, f"{path}.{key}")
    for name, inner in properties.items():
        if name in value:
            yield from _errors(value[name], inner, f"{path}.{name}" if path else name)
    for name in schema.get("required", ()):
        if name not in value:
            yield field_errors.required(_name(f"{path}.{name}"))
