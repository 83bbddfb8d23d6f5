"""metadata of an object: what the API server reads of it and what it refuses (k8s.io/apimachinery, ObjectMeta).

Fields that only the API server writes (uid, creationTimestamp, managedFields and others) are known and left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from crowetrade_cli.manifests import field_errors
from crowetrade_cli.manifests.field_errors import FieldError

Meta = dict[str, Any]
_OWNER_FIELDS = {
    "apiVersion": "string",
    "kind": "string",
    "name": "string",
    "uid": "types.UID",
    "controller": "bool",
    "blockOwnerDeletion": "bool",
}
_FIELDS = {
    "name": "string",
    "generateName": "string",
    "namespace": "string",
    "selfLink": "string",
    "uid": "types.UID",
    "resourceVersion": "string",
    "generation": "int64",
    "deletionGracePeriodSeconds": "int64",
    "labels": "map[string]string",
    "annotations": "map[string]string",
    "finalizers": "[]string",
    "ownerReferences": "[]v1.OwnerReference",
}
_WRITTEN_BY_THE_SERVER = ("creationTimestamp", "deletionTimestamp", "managedFields")
_KEPT = ("name", "generateName", "namespace", "labels", "annotations", "finalizers", "ownerReferences")
_PYTHON_TYPES = {"string": str, "types.UID": str, "int64": int, "bool": bool}

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_KEY_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
_VALUE = f"({_KEY_PART})?"
_MAX_ANNOTATION_BYTES = 256 * 1024


class Unreadable(Exception):
    """The metadata cannot be decoded; the message is Go's."""


def unknown_fields(metadata: Any) -> list[str]:
    """Paths that ObjectMeta does not know, in the order in which the API server meets them."""
    found: list[str] = []
    if isinstance(metadata, dict):
        for key in sorted(metadata):
            if key not in _FIELDS and key not in _WRITTEN_BY_THE_SERVER:
                found.append(f"metadata.{key}")
            elif key == "ownerReferences" and isinstance(metadata[key], list):
                for index, owner in enumerate(metadata[key]):
                    names = sorted(set(owner) - set(_OWNER_FIELDS)) if isinstance(owner, dict) else []
                    found += [f"metadata.ownerReferences[{index}].{name}" for name in names]
    return found


def decoded(metadata: Any) -> Meta:
    """What is stored of it: fields that a person may write, without those that are empty."""
    if metadata is None:
        return {}
    if not isinstance(metadata, dict):
        raise Unreadable(f"json: cannot unmarshal {_json_type(metadata)} into Go value of type v1.ObjectMeta")
    read = {key: _field(metadata[key], _FIELDS[key], f"ObjectMeta.{key}") for key in sorted(metadata) if key in _FIELDS}
    return {key: read[key] for key in _FIELDS if read.get(key)}


def stored(metadata: Meta) -> Meta:
    """The part of decoded metadata that the API server keeps of an object that is new."""
    return {key: metadata[key] for key in _KEPT if key in metadata}


def _field(value: Any, type_: str, where: str) -> Any:
    if value is None:
        return None
    if type_ == "map[string]string" and isinstance(value, dict):
        return {key: _field(value[key], "string", where) or "" for key in sorted(value)}
    if type_ == "[]string" and isinstance(value, list):
        return [_field(item, "string", where) or "" for item in value]
    if type_ == "[]v1.OwnerReference" and isinstance(value, list):
        return [_owner(item) for item in value]
    wanted = _PYTHON_TYPES.get(type_)
    if wanted is None or not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
        found = _json_type(value)
        if type_ == "int64" and found == "number":
            found = f"number {value}"
        raise Unreadable(f"json: cannot unmarshal {found} into Go struct field {where} of type {type_}")
    return value


def _owner(value: Any) -> Any:
    if not isinstance(value, dict):
        found = _json_type(value)
        raise Unreadable(
            f"json: cannot unmarshal {found} into Go struct field ObjectMeta.ownerReferences of type v1.OwnerReference"
        )
    read = {
        key: _field(value[key], _OWNER_FIELDS[key], f"OwnerReference.ownerReferences.{key}")
        for key in sorted(value)
        if key in _OWNER_FIELDS
    }
    named = {key: read.get(key) or "" for key in ("apiVersion", "kind", "name", "uid")}
    return named | {key: read[key] for key in ("controller", "blockOwnerDeletion") if read.get(key) is not None}


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def errors_of(metadata: Meta) -> Iterator[FieldError]:
    """What is wrong in decoded metadata of a namespaced object."""
    if "generateName" in metadata:
        yield from _each("metadata.generateName", metadata["generateName"], _subdomain_faults, masked=True)
    if "name" not in metadata:
        yield field_errors.required("metadata.name", "name or generateName is required")
    else:
        yield from _each("metadata.name", metadata["name"], _subdomain_faults)
    yield from _each("metadata.namespace", metadata.get("namespace", "default"), _label_faults)
    for key, value in metadata.get("labels", {}).items():
        yield from _each("metadata.labels", key, _qualified_name_faults)
        yield from _each("metadata.labels", value, _label_value_faults)
    yield from _annotation_errors(metadata.get("annotations", {}))
    for owner in metadata.get("ownerReferences", ()):
        yield from _owner_errors(owner)
    for finalizer in metadata.get("finalizers", ()):
        yield from _each("metadata.finalizers", finalizer, _qualified_name_faults)


def _each(field: str, value: str, faults: Callable[[str], Iterator[str]], masked: bool = False) -> Iterator[FieldError]:
    judged = value[:-2] + "a" if masked and len(value) > 1 and value.endswith("-") else value
    yield from (field_errors.invalid(field, value, fault) for fault in faults(judged))


def _annotation_errors(annotations: dict[str, str]) -> Iterator[FieldError]:
    for key in annotations:
        for fault in _qualified_name_faults(key.lower()):
            yield field_errors.invalid("metadata.annotations", key, fault)
    if sum(len(key.encode()) + len(value.encode()) for key, value in annotations.items()) > _MAX_ANNOTATION_BYTES:
        yield field_errors.too_long("metadata.annotations", _MAX_ANNOTATION_BYTES)


def _owner_errors(owner: Meta) -> Iterator[FieldError]:
    if not owner["apiVersion"].rpartition("/")[2]:
        yield field_errors.invalid(
            "metadata.ownerReferences.apiVersion", owner["apiVersion"], "version must not be empty"
        )
    for name in ("kind", "name", "uid"):
        if not owner[name]:
            yield field_errors.invalid(f"metadata.ownerReferences.{name}", owner[name], "must not be empty")


def _fits(pattern: str, value: str) -> bool:
    return re.fullmatch(pattern, value, re.ASCII) is not None


def _long(value: str, most: int, unit: str) -> Iterator[str]:
    if len(value.encode()) > most:
        yield f"must be no more than {most} {unit}"


def _pattern_fault(sentence: str, pattern: str, *examples: str) -> str:
    listed = " or ".join(f"'{example}', " for example in examples)
    return f"{sentence} (e.g. {listed}regex used for validation is '{pattern}')"


def _subdomain_faults(value: str, unit: str = "characters") -> Iterator[str]:
    yield from _long(value, 253, unit)
    if not _fits(_SUBDOMAIN, value):
        yield _pattern_fault(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must "
            "start and end with an alphanumeric character",
            _SUBDOMAIN,
            "example.com",
        )


def _label_faults(value: str) -> Iterator[str]:
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


def _qualified_name_faults(value: str) -> Iterator[str]:
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
        yield from (f"prefix part {text}" for text in _subdomain_faults(prefix, "bytes"))
    if not name:
        yield "name part must be non-empty"
    else:
        yield from (f"name part {text}" for text in _long(name, 63, "bytes"))
    if not _fits(_KEY_PART, name):
        yield f"name part {fault}"


def _label_value_faults(value: str) -> Iterator[str]:
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
