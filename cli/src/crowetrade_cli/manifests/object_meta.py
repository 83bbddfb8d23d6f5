"""metadata of an object: what the API server reads of it and what it refuses (k8s.io/apimachinery, ObjectMeta).

Fields that only the API server writes (uid, creationTimestamp, managedFields and others) are known and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from crowetrade_cli.manifests import field_errors
from crowetrade_cli.manifests.field_errors import FieldError
from crowetrade_cli.manifests.names import label_faults, label_value_faults, qualified_name_faults, subdomain_faults

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
        yield from _each("metadata.generateName", metadata["generateName"], subdomain_faults, masked=True)
    if "name" not in metadata:
        yield field_errors.required("metadata.name", "name or generateName is required")
    else:
        yield from _each("metadata.name", metadata["name"], subdomain_faults)
    yield from _each("metadata.namespace", metadata.get("namespace", "default"), label_faults)
    for key, value in metadata.get("labels", {}).items():
        yield from _each("metadata.labels", key, qualified_name_faults)
        yield from _each("metadata.labels", value, label_value_faults)
    yield from _annotation_errors(metadata.get("annotations", {}))
    for owner in metadata.get("ownerReferences", ()):
        yield from _owner_errors(owner)
    for finalizer in metadata.get("finalizers", ()):
        yield from _each("metadata.finalizers", finalizer, qualified_name_faults)


def _each(field: str, value: str, faults: Callable[[str], Iterator[str]], masked: bool = False) -> Iterator[FieldError]:
    judged = value[:-2] + "a" if masked and len(value) > 1 and value.endswith("-") else value
    yield from (field_errors.invalid(field, value, fault) for fault in faults(judged))


def _annotation_errors(annotations: dict[str, str]) -> Iterator[FieldError]:
    for key in annotations:
        for fault in qualified_name_faults(key.lower()):
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
