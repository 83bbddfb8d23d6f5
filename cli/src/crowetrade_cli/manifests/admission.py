"""The API server's verdict on a manifest, without an API server.

The steps and their order are those of a create request with fieldValidation=Strict, as kubectl sends it
(k8s.io/apiextensions-apiserver v1.35): unknown fields, defaults, metadata and schema, lists, and last the CEL rules,
which wait until types and sizes are right. A test compares verdict, message and stored object with a real API server.

What is left:
- Where several things are wrong, the API server names them in another order each time; here it is the schema's.
- An object is taken for one that is new and comes by apply, so status and what a server writes into metadata is left
  out unread, as in a manifest that `kubectl get -o yaml` has written, and generateName is no name.
- The namespace is taken to exist. One that cannot is refused for its name; the API server does not find it.
- metadata.ownerReferences may name an Event or two controllers.
- A float that rounds to an integer passes as one and would break a rule on it; our kinds have no rule on numbers.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from crowetrade_api import crd
from crowetrade_api.names import GROUP, VERSION
from crowetrade_cli.manifests import field_errors, list_types, object_meta, openapi, rules, structure
from crowetrade_cli.manifests.field_errors import FieldError
from crowetrade_cli.manifests.go_text import decoded, quoted, whole_numbers
from crowetrade_cli.manifests.structure import Schema

Manifest = dict[str, Any]
KINDS = tuple(model.__name__ for model in crd.KINDS)
_BLOCKING = (
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
)
"""What the rules of a schema could stumble over: they are not looked at."""
_RULES_NOT_CHECKED = FieldError(
    field_errors.ROOT,
    "FieldValueInvalid",
    "Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing "
    "errors to complete validation",
)
_GENERATED_NAME = "cannot use generate name with apply"
"""kubectl's sentence: the API server would make up a name each time."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """The manifest as the API server would store it: with defaults, without what only a server writes."""

    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Refused:
    """The API server's message, and what is wrong field by field; none where the manifest could not be decoded."""

    message: str
    causes: tuple[FieldError, ...] = ()


@cache
def schema_of(kind: str) -> Schema:
    """The schema of one of our kinds, from the models: the one that crds/ is generated from."""
    return crd.schema_of(next(model for model in crd.KINDS if model.__name__ == kind))


def judge(manifest: Manifest, namespace: str = "default") -> Admitted | Refused:
    """The verdict on a manifest of one of our kinds, which lands in the namespace unless it names one."""
    return judge_by(schema_of(manifest["kind"]), manifest, namespace)


def judge_by(schema: Schema, manifest: Manifest, namespace: str) -> Admitted | Refused:
    """The verdict by this schema."""
    kind, api_version = manifest["kind"], manifest["apiVersion"]
    read = decoded({key: value for key, value in manifest.items() if key != "metadata"})
    try:
        metadata = object_meta.decoded(manifest.get("metadata"))
    except object_meta.Unreadable as error:
        return _undecodable(kind, str(error))
    unknown = [*object_meta.unknown_fields(manifest.get("metadata")), *structure.unknown_fields(read, schema)]
    if unknown:
        listed = ", ".join(f'unknown field "{path}"' for path in unknown)
        return _undecodable(kind, f"strict decoding error: {listed}")
    if "generateName" in metadata and "name" not in metadata:
        return Refused(_GENERATED_NAME)
    read.pop("status", None)  # of an object that is new, the API server drops it
    metadata.setdefault("namespace", namespace)
    spec = structure.with_defaults(structure.without_nulls(read, schema), schema)
    whole = {"apiVersion": api_version, "kind": kind, "metadata": object_meta.stored(metadata), **spec}
    errors = tuple(_errors(whole, metadata, schema))
    if errors:
        name = quoted(metadata.get("name", ""))
        return Refused(f"{kind}.{GROUP} {name} is invalid: {field_errors.sentence(errors)}", errors)
    return Admitted(whole_numbers(whole))


def _undecodable(kind: str, reason: str) -> Refused:
    return Refused(f'{kind} in version "{VERSION}" cannot be handled as a {kind}: {reason}')


def _errors(whole: Manifest, metadata: object_meta.Meta, schema: Schema) -> Iterator[FieldError]:
    before_rules = [
        *object_meta.errors_of(metadata),
        *openapi.errors_of(whole, schema),
        *list_types.errors_of(whole, schema),
    ]
    yield from before_rules
    if any(error.reason in _BLOCKING for error in before_rules):
        yield _RULES_NOT_CHECKED
    else:
        yield from rules.errors_of(whole, schema)
