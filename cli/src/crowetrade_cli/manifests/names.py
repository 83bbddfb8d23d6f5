"""Names and labels: what is wrong with one, in the API server's words."""

from __future__ import annotations

import re
from collections.abc import Iterator

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_KEY_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY_PART})?"


def _fits(pattern: str, value: str) -> bool:
    return re.fullmatch(pattern, value, re.ASCII) is not None


def _long(value: str, most: int, unit: str) -> Iterator[str]:
    if len(value.encode()) > most:
        yield f"must be no more than {most} {unit}"


def _pattern_fault(sentence: str, pattern: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{sentence} (e.g. {listed}regex used for validation is '{pattern}')"


def subdomain_faults(value: str, unit: str = "characters") -> Iterator[str]:
    """What is wrong with a name as RFC 1123 has them."""
    yield from _long(value, 253, unit)
    if not _fits(_SUBDOMAIN, value):
        yield _pattern_fault(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character",
            _SUBDOMAIN,
            "example.com",
        )


def label_faults(value: str) -> Iterator[str]:
    """What is wrong with a name that is a DNS label: one without dots."""
    yield from _long(value, 63, "characters")
    if _fits(_LABEL, value):
        return
    if _fits(_SUBDOMAIN, value):
        yield "must not contain dots"
        return
    yield _pattern_fault(
        "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
        "with an alphanumeric character",
        _LABEL,
        "my-name",
        "123-abc",
    )


def qualified_name_faults(value: str) -> Iterator[str]:
    """What is wrong with a key of labels or annotations."""
    fault = _pattern_fault(
        "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric "
        "character",
        _KEY_PART,
        "MyName",
        "my.name",
        "123-abc",
    )
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        yield f"a valid label key {fault} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return
    if slash and not prefix:
        yield "prefix part must be non-empty"
    elif slash:
        yield from (f"prefix part {text}" for text in subdomain_faults(prefix, "bytes"))
    if not name:
        yield "name part must be non-empty"
    else:
        yield from (f"name part {text}" for text in _long(name, 63, "bytes"))
    if not _fits(_KEY_PART, name):
        yield f"name part {fault}"


def label_value_faults(value: str) -> Iterator[str]:
    """What is wrong with the value of a label."""
    yield from _long(value, 63, "bytes")
    if not _fits(_VALUE, value):
        yield _pattern_fault(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must "
            "start and end with an alphanumeric character",
            _VALUE,
            "MyValue",
            "my_value",
            "12345",
        )
