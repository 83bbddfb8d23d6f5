"""What is wrong with one field, in the words of the API server (k8s.io/apimachinery, util/validation/field)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from crowetrade_cli.manifests.go_text import bad_value, quoted

ROOT = "<nil>"
"""How a message names the object itself."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """`reason` is the machine-readable cause of a Status, `message` the sentence without the field."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def child(path: str, name: str) -> str:
    """Path of a property."""
    return name if path in ("", ROOT) else f"{path}.{name}"


def _error(field: str, reason: str, word: str, *details: str) -> FieldError:
    return FieldError(field or ROOT, reason, ": ".join([word, *(detail for detail in details if detail)]))


def invalid(field: str, value: Any, detail: str) -> FieldError:
    """The value is malformed."""
    return _error(field, "FieldValueInvalid", "Invalid value", bad_value(value), detail)


def invalid_unquoted(field: str, detail: str) -> FieldError:
    """The value is malformed and too large to be quoted."""
    return _error(field, "FieldValueInvalid", "Invalid value", detail)


def type_invalid(field: str, value: Any, detail: str) -> FieldError:
    """The value is of another type."""
    return _error(field, "FieldValueTypeInvalid", "Invalid value", bad_value(value), detail)


def required(field: str, detail: str = "") -> FieldError:
    """The value is missing."""
    return _error(field, "FieldValueRequired", "Required value", detail)


def forbidden(field: str, detail: str) -> FieldError:
    """The value must not be there."""
    return _error(field, "FieldValueForbidden", "Forbidden", detail)


def duplicate(field: str, value: Any) -> FieldError:
    """The value is there twice."""
    return _error(field, "FieldValueDuplicate", "Duplicate value", bad_value(value))


def duplicate_unquoted(field: str) -> FieldError:
    """The value is there twice, and too large to be quoted."""
    return _error(field, "FieldValueDuplicate", "Duplicate value")


def not_supported(field: str, value: Any, supported: Iterable[str]) -> FieldError:
    """The value is none of those that are listed."""
    listed = ", ".join(quoted(word) for word in supported)
    return _error(field, "FieldValueNotSupported", "Unsupported value", bad_value(value), f"supported values: {listed}")


def too_long(field: str, most: int) -> FieldError:
    """The string has too many characters; the API server says bytes."""
    return _error(field, "FieldValueTooLong", "Too long", f"may not be more than {most} byte{'' if most == 1 else 's'}")


def too_many(field: str, found: int, most: int) -> FieldError:
    """The list or map has too many entries."""
    detail = f"must have at most {most} item{'' if most == 1 else 's'}"
    return _error(field, "FieldValueTooMany", "Too many", str(found), detail)


def sentence(errors: Iterable[FieldError]) -> str:
    """All errors in one sentence: each text once, in brackets when there are several."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
