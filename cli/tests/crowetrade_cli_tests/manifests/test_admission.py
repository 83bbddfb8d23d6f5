"""The verdict in a few words; that it is the API server's is shown where there is one (integration tests)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from crowetrade_api_tests.samples import UNSET, change, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_cli.manifests.admission import KINDS, Admitted, Refused, judge, schema_of
from crowetrade_cli.manifests.expressions import evaluated
from crowetrade_cli.manifests.structure import Schema

JUDGED_KEYWORDS = {
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "nullable",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
}


def schemas(schema: Schema) -> Iterator[Schema]:
    """The schema and all schemas in it."""
    yield schema
    for inner in schema.get("properties", {}).values():
        yield from schemas(inner)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from schemas(schema[name])


def rules_of(schema: Schema) -> list[dict[str, Any]]:
    """The CEL rules of a schema."""
    return list(schema.get("x-kubernetes-validations", ()))


@pytest.mark.parametrize("kind", KINDS)
def test_the_schemas_say_nothing_that_is_not_judged(kind: str) -> None:
    root = schema_of(kind)
    judged = [root, *schemas(root["properties"]["spec"])]
    assert {keyword for schema in judged for keyword in schema} <= JUDGED_KEYWORDS
    # Other formats than int64 are checked by the API server, and other rules look at the object as it was before.
    assert {schema["format"] for schema in judged if "format" in schema} <= {"int64"}
    rules = [rule for schema in judged for rule in rules_of(schema)]
    assert not [rule for rule in rules if "oldSelf" in rule["rule"]]
    assert not [schema for schema in judged if schema.get("type") in ("integer", "number") and rules_of(schema)]
    for rule in rules:
        evaluated(rule["rule"], {})  # raises where the library cannot read it


def refusal(manifest: dict[str, Any]) -> str:
    """Why the manifest is refused."""
    verdict = judge(manifest)
    assert isinstance(verdict, Refused)
    return verdict.message


def test_what_is_admitted_has_the_defaults_and_no_status_of_its_own() -> None:
    manifest = change(strategy_manifest(), "status", {"phase": "Trading"})
    verdict = judge(manifest)
    assert isinstance(verdict, Admitted)
    assert verdict.manifest["spec"]["deletionPolicy"] == "Cancel"
    assert verdict.manifest["status"] == {"observedGeneration": -1}
    assert "deletionPolicy" not in manifest["spec"]


def test_the_namespace_is_that_of_the_manifest_or_the_given_one() -> None:
    there = judge(limit_manifest(namespace="fx"), "other")
    nowhere = judge(change(limit_manifest(), "metadata.namespace", UNSET), "other")
    assert isinstance(there, Admitted)
    assert isinstance(nowhere, Admitted)
    assert there.manifest["metadata"]["namespace"] == "fx"
    assert nowhere.manifest["metadata"]["namespace"] == "other"


def test_one_mistake_is_named_without_brackets() -> None:
    assert refusal(change(strategy_manifest(), "spec.capital.amount", "-1")) == (
        'Strategy.trading.crowetrade.io "ema" is invalid: spec.capital.amount: Invalid value: "-1": must be a decimal '
        'number in quotes, greater than zero, such as "250000" (no exponent, no thousands separator)'
    )


@pytest.mark.parametrize(
    ("model", "execution", "words"),
    [
        ("market-maker", {"style": "Quote"}, "with style Quote set timeInForce to GTC or DAY"),
        ("market-maker", {"style": "Quote", "timeInForce": "GTC", "participationCap": "1"}, "leave it out with style"),
        ("market-maker", {}, "model market-maker quotes, so it needs style Quote"),
        ("ema-crossover", {"style": "Quote", "timeInForce": "DAY"}, "make forecasts, so they need style Limit"),
        ("market-maker", {"style": "Quote", "timeInForce": "GTC"}, ""),
        ("market-maker", {"style": "Quote", "timeInForce": "DAY", "requoteTicks": 100}, ""),
    ],
)
def test_a_model_that_quotes_and_style_quote_belong_together(model: str, execution: dict[str, Any], words: str) -> None:
    manifest = change(strategy_manifest(), "spec.model", {"name": model})
    verdict = judge(change(manifest, "spec.policy.execution", execution))
    if words:
        assert isinstance(verdict, Refused)
        assert words in verdict.message
    else:
        assert isinstance(verdict, Admitted)


def test_several_mistakes_are_named_in_the_order_of_the_schema() -> None:
    wrong = change(change(strategy_manifest(), "spec.deletionPolicy", "No"), "spec.mode", "Live")
    expected = (
        'Strategy.trading.crowetrade.io "ema" is invalid: [spec.mode: Unsupported value: "Live": supported values: '
        '"Paper", spec.deletionPolicy: Unsupported value: "No": supported values: "Cancel", "Flatten", <nil>: Invalid '
        "value: null: some validation rules were not checked because the object was invalid; correct the existing "
        "errors to complete validation]"
    )
    assert refusal(wrong) == expected
    assert refusal(dict(reversed(wrong.items()))) == expected


def test_a_field_that_is_not_known_ends_the_reading() -> None:
    wrong = change(change(venue_manifest(), "spec.instruments.0.tick", "1"), "spec.type", "FIX")
    assert refusal(wrong) == (
        'VenueConnection in version "v1alpha1" cannot be handled as a VenueConnection: strict decoding error: '
        'unknown field "spec.instruments[0].tick"'
    )


def test_a_name_that_the_server_would_make_up_is_refused_as_apply_does() -> None:
    nameless = change(change(limit_manifest(), "metadata.name", UNSET), "metadata.generateName", "fx-")
    assert refusal(nameless) == "cannot use generate name with apply"


def test_a_namespace_that_cannot_exist_is_refused() -> None:
    assert 'metadata.namespace: Invalid value: "a.b": must not contain dots' in refusal(limit_manifest(namespace="a.b"))
    assert "a lowercase RFC 1123 label must consist of" in refusal(limit_manifest(namespace="FX"))


@pytest.mark.parametrize("ending", ["\n", "\u0663"])
def test_patterns_are_those_of_re2(ending: str) -> None:
    assert "must be a currency code" in refusal(change(strategy_manifest(), "spec.capital.currency", f"USD{ending}"))
