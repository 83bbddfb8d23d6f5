from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from crowetrade_api import crd

ROOT = Path(__file__).parents[3]
MODELS = {model.__name__: model for model in crd.KINDS}


def _walk(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, schema
    for name, value in schema.get("properties", {}).items():
        yield from _walk(value, f"{path}.{name}" if path else name)
    for name in ("items", "additionalProperties"):
        if isinstance(schema.get(name), dict):
            yield from _walk(schema[name], f"{path}[]")


def _schemas(kind: str) -> dict[str, dict[str, Any]]:
    return dict(_walk(crd.schema_of(MODELS[kind])))


@pytest.mark.parametrize("kind", MODELS)
def test_the_file_in_the_repository_is_what_the_models_say(kind: str) -> None:
    stored = ROOT / "crds" / crd.file_name(MODELS[kind])
    assert stored.read_text() == crd.render(MODELS[kind]), "run `make generate` and commit crds/"


@pytest.mark.parametrize("kind", MODELS)
def test_a_schema_is_structural(kind: str) -> None:
    for path, schema in _schemas(kind).items():
        assert not {"$ref", "anyOf", "oneOf", "title", "$defs", "const"} & schema.keys(), path
        assert "type" in schema or schema.get("x-kubernetes-int-or-string"), path
        assert not ("properties" in schema and "additionalProperties" in schema), path


@pytest.mark.parametrize("kind", MODELS)
def test_everything_is_bounded(kind: str) -> None:
    for path, schema in _schemas(kind).items():
        if not path.startswith(("spec", "status")):
            continue
        match schema.get("type"):
            case "string":
                assert {"maxLength", "enum", "format"} & schema.keys(), path
            case "array":
                assert "maxItems" in schema, path
                assert "x-kubernetes-list-type" in schema, path
            case "integer":
                assert "minimum" in schema, path


@pytest.mark.parametrize("kind", MODELS)
def test_every_field_is_described_and_every_list_key_is_required(kind: str) -> None:
    for path, schema in _schemas(kind).items():
        if path.startswith(("spec", "status")) and not path.endswith("[]"):
            assert len(schema.get("description", "")) > 5, path
        keys = schema.get("x-kubernetes-list-map-keys", [])
        assert set(keys) <= set(schema.get("items", {}).get("required", [])), path


@pytest.mark.parametrize("kind", MODELS)
def test_rules_have_words(kind: str) -> None:
    for path, schema in _schemas(kind).items():
        for rule in schema.get("x-kubernetes-validations", []):
            assert len(rule["message"].split()) > 5, path


@pytest.mark.parametrize("kind", MODELS)
def test_a_status_has_one_default_that_says_that_nobody_wrote_it(kind: str) -> None:
    schemas = {path: schema for path, schema in _schemas(kind).items() if path.startswith("status")}
    defaults = {path: schema["default"] for path, schema in schemas.items() if "default" in schema}
    assert defaults == {"status": {"observedGeneration": -1}}


def test_the_descriptions_can_be_read_by_people() -> None:
    words = sum(len(schema.get("description", "").split()) for schema in _schemas("Strategy").values())
    assert words >= 400


def test_names_and_columns() -> None:
    names = {kind: crd.crd(model)["spec"]["names"] for kind, model in MODELS.items()}
    assert {kind: value["shortNames"] for kind, value in names.items()} == {
        "Strategy": ["strat"],
        "VenueConnection": ["venue"],
        "RiskLimit": ["risk"],
        "KillSwitch": ["kill"],
    }
    assert all(value["categories"] == ["crowetrade"] for value in names.values())
    columns = [item["name"] for item in MODELS["Strategy"].COLUMNS if "priority" not in item]
    assert columns == ["Mode", "Phase", "Venues", "Agents", "Position", "PnL", "Last Signal", "Reported", "Age"]
    for model in MODELS.values():
        assert {"name": "Reported", "type": "date", "jsonPath": ".status.lastReportTime"}.items() <= dict(
            next(item for item in model.COLUMNS if item["name"] == "Reported")
        ).items()


def test_columns_point_to_fields_that_exist() -> None:
    for kind, model in MODELS.items():
        known = _schemas(kind)
        for column in model.COLUMNS:
            path = column["jsonPath"].removeprefix(".").split("[")[0]
            assert path.startswith("metadata") or path in known, (kind, path)


def test_the_command_writes_the_files(tmp_path: Path) -> None:
    assert crd.main([str(tmp_path / "out")]) == 0
    written = {path.name: yaml.safe_load(path.read_text()) for path in (tmp_path / "out").iterdir()}
    assert sorted(written) == sorted(crd.file_name(model) for model in crd.KINDS)
    assert all(item["kind"] == "CustomResourceDefinition" for item in written.values())


def test_the_command_says_how_it_is_used(capsys: pytest.CaptureFixture[str]) -> None:
    assert crd.main([]) == 2
    assert "OUTDIR" in capsys.readouterr().err


def test_unions_are_not_silently_dropped() -> None:
    with pytest.raises(ValueError, match="no unions"):
        crd.structural({"anyOf": [{"type": "string"}, {"type": "integer"}]}, {})
