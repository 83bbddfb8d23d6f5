"""Writes crds/*.yaml from the models: `python -m crowetrade_api.crd OUTDIR`.

Kubernetes wants a structural schema: no $ref, no anyOf with null, no title. Pydantic's JSON schema is rewritten to
that; what only Kubernetes knows (CEL rules, list types) is attached to the fields as x-kubernetes-* in the models.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from crowetrade_api.names import CATEGORY, GROUP, VERSION
from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_api.v1alpha1.meta import NOT_OBSERVED, Resource
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection

AnyKind = type[Strategy] | type[VenueConnection] | type[RiskLimit] | type[KillSwitch]
KINDS: tuple[AnyKind, ...] = (
    Strategy,
    VenueConnection,
    RiskLimit,
    KillSwitch,
)
HEADER = "# Generated from api/src/crowetrade_api/v1alpha1 by `make generate`. Do not edit.\n"
NOT_YET_WRITTEN = {"observedGeneration": NOT_OBSERVED}
"""The status of a resource that has none yet."""
_DROPPED = {"title", "pattern", "$defs", "additionalProperties"}
_KEPT_ORDER = ("description", "type", "format", "enum", "default")


def structural(schema: dict[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    """A Pydantic JSON schema as a structural schema of Kubernetes."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rsplit("/", 1)[1]]
        return structural({**target, **{key: value for key, value in schema.items() if key != "$ref"}}, definitions)
    if schema.get("x-crowetrade-plain"):
        return {"x-kubernetes-int-or-string": True}
    if "anyOf" in schema:
        options = [option for option in schema["anyOf"] if option.get("type") != "null"]
        if len(options) != 1:
            raise ValueError(f"Kubernetes has no unions, found {schema['anyOf']}")
        outer = {key: value for key, value in schema.items() if key != "anyOf"}
        return structural(_join(options[0], outer), definitions)
    out: dict[str, Any] = {key: value for key, value in schema.items() if key not in _DROPPED and value is not None}
    if "const" in out:
        out["enum"] = [out.pop("const")]
    if isinstance(schema.get("additionalProperties"), dict):
        out["additionalProperties"] = structural(schema["additionalProperties"], definitions)
    if "properties" in out:
        out["properties"] = {name: structural(value, definitions) for name, value in out["properties"].items()}
    if "items" in out:
        out["items"] = structural(out["items"], definitions)
    if out.get("type") == "integer":
        out["format"] = "int64"
    if "description" in out:
        out["description"] = " ".join(out["description"].split())
    return {key: out[key] for key in _KEPT_ORDER if key in out} | {
        key: value for key, value in sorted(out.items()) if key not in _KEPT_ORDER
    }


def _join(inner: dict[str, Any], outer: dict[str, Any]) -> dict[str, Any]:
    """The schema of `X | None`: what the field says wins, CEL rules of both are kept."""
    rules_ = [*inner.get("x-kubernetes-validations", []), *outer.get("x-kubernetes-validations", [])]
    joined = {**inner, **outer}
    return {**joined, "x-kubernetes-validations": rules_} if rules_ else joined


def _nullable_dropped(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if not (key == "default" and value is None)}


def _without_defaults(schema: Any) -> Any:
    """A status is written by the operator alone: the API server fills nothing into it."""
    if isinstance(schema, list):
        return [_without_defaults(item) for item in schema]
    if isinstance(schema, dict):
        return {key: _without_defaults(value) for key, value in schema.items() if key != "default"}
    return schema


def schema_of(model: type[Resource]) -> dict[str, Any]:
    """openAPIV3Schema of a kind: spec and status; metadata is the API server's."""
    full = model.model_json_schema(by_alias=True)
    definitions = {name: _nullable_dropped(value) for name, value in full.get("$defs", {}).items()}
    properties = {name: structural(full["properties"][name], definitions) for name in ("spec", "status")}
    properties["status"] = {**_without_defaults(properties["status"]), "default": NOT_YET_WRITTEN}
    return {
        "description": " ".join((model.__doc__ or "").split()),
        "type": "object",
        "required": ["spec"],
        "x-kubernetes-validations": model.RULES,  # type: ignore[attr-defined]
        "properties": {
            "apiVersion": {"description": f"{GROUP}/{VERSION}.", "type": "string"},
            "kind": {"description": f"{model.__name__}.", "type": "string"},
            "metadata": {"type": "object"},
            **properties,
        },
    }


def crd(model: AnyKind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{model.PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": model.__name__,
                "listKind": f"{model.__name__}List",
                "plural": model.PLURAL,
                "singular": model.SINGULAR,
                "shortNames": model.SHORT_NAMES,
                "categories": [CATEGORY],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": model.COLUMNS,
                    "schema": {"openAPIV3Schema": schema_of(model)},
                }
            ],
        },
    }


def file_name(model: AnyKind) -> str:
    """Name of the kind's file in crds/."""
    return f"{GROUP}_{model.PLURAL}.yaml"


def render(model: AnyKind) -> str:
    """Text of the kind's file in crds/."""
    return HEADER + yaml.dump(crd(model), sort_keys=False, width=118, allow_unicode=True, Dumper=_Dumper)


class _Dumper(yaml.SafeDumper):
    """No anchors: the same rule in two places is written twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def main(arguments: list[str]) -> int:
    """Writes one file a kind into the folder."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m crowetrade_api.crd OUTDIR\n")
        return 2
    folder = Path(arguments[0])
    folder.mkdir(parents=True, exist_ok=True)
    for model in KINDS:
        (folder / file_name(model)).write_text(render(model), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
