"""CEL rules of a schema (x-kubernetes-validations), with the API server's words for a rule that does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from crowetrade_cli.manifests import field_errors
from crowetrade_cli.manifests.expressions import evaluated
from crowetrade_cli.manifests.field_errors import FieldError
from crowetrade_cli.manifests.structure import Schema, property_schema

Rule = dict[str, Any]
_REASONS = {
    "FieldValueForbidden": field_errors.forbidden,
    "FieldValueRequired": field_errors.required,
}


def errors_of(value: Any, schema: Schema | None, path: str = "") -> Iterator[FieldError]:
    """Rules that do not hold: those of a value before those of its fields.

    The API server bounds what rules may cost. That is not counted here: the schema's sizes keep the cost within the
    bound, which a test with the largest admitted manifests shows.
    """
    if schema is None or value is None:
        return
    for rule in schema.get("x-kubernetes-validations", ()):
        yield from _broken(rule, value, schema, path)
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        for key, item in value.items():
            where = field_errors.child(path, key) if key in properties else f"{path}[{key}]"
            yield from errors_of(item, property_schema(schema, key), where)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from errors_of(item, schema.get("items"), f"{path}[{index}]")


def _broken(rule: Rule, value: Any, schema: Schema, path: str) -> Iterator[FieldError]:
    if "oldSelf" in rule["rule"]:  # it is about a change, and the object is new
        return
    type_ = schema.get("type", "")
    holds, trouble = _scalar_verdict(rule["rule"], value) if isinstance(value, str) else _verdict(rule["rule"], value)
    if trouble:
        yield field_errors.invalid(path, type_, f"{trouble} evaluating rule: {_text(rule)}")
    elif not holds:
        where = path + rule.get("fieldPath", "") if path else rule.get("fieldPath", "").removeprefix(".")
        yield _refusal(rule, value, type_, where)


def _refusal(rule: Rule, value: Any, type_: str, where: str) -> FieldError:
    detail, large = _message(rule, value), type_ in ("object", "array")
    reason = rule.get("reason", "FieldValueInvalid")
    if reason in _REASONS:
        return _REASONS[reason](where, detail)
    if reason == "FieldValueDuplicate":
        return field_errors.duplicate_unquoted(where) if large else field_errors.duplicate(where, value)
    return field_errors.invalid_unquoted(where, detail) if large else field_errors.invalid(where, value, detail)


def _message(rule: Rule, value: Any) -> str:
    if rule.get("messageExpression"):
        result, trouble = evaluated(rule["messageExpression"], value)
        text = result.strip() if isinstance(result, str) and not trouble else ""
        if text and "\n" not in text:
            return text
    return rule["message"].strip() if rule.get("message") else f"failed rule: {_text(rule)}"


def _text(rule: Rule) -> str:
    return str(rule.get("message") or rule["rule"]).strip()


@lru_cache(maxsize=4096)
def _scalar_verdict(rule: str, value: str) -> tuple[bool, str]:
    """Manifests repeat their words and numbers, and a pattern is compiled for each match."""
    return _verdict(rule, value)


def _verdict(rule: str, value: Any) -> tuple[bool, str]:
    result, trouble = evaluated(rule, _escaped(value) if "__" in rule else value)
    return result is True, trouble


def _escaped(value: Any) -> Any:
    """With the names of fields that are reserved words of CEL as rules have to write them."""
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {f"__{key}__" if key in _RESERVED else key: _escaped(item) for key, item in value.items()}


_RESERVED = frozenset(
    {
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
    }
)
"""As the API server's documentation of validation rules lists them."""
