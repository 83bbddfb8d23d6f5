from __future__ import annotations

import io
from pathlib import Path

import pytest

from crowetrade_api.names import API_VERSION
from crowetrade_cli.errors import Failed
from crowetrade_cli.manifests import reading, yaml_text
from crowetrade_cli.manifests.admission import Admitted, judge
from crowetrade_cli.manifests.reading import read
from crowetrade_cli.manifests.selection import Reading

SAMPLES = Path(__file__).parents[4] / "samples"


def manifest(name: str = "a", kind: str = "Strategy", **fields: str) -> str:
    """The text of a manifest."""
    rest = "".join(f"{key}: {value}\n" for key, value in fields.items())
    return f"apiVersion: {API_VERSION}\nkind: {kind}\nmetadata: {{name: {name}}}\n{rest}"


def write(folder: Path, **files: str) -> str:
    """Writes NAME.yaml for each file; returns the folder."""
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return str(folder)


def names(found: Reading) -> list[str]:
    """The names of the manifests."""
    return [item.manifest["metadata"]["name"] for item in found.manifests]


def test_the_samples_are_read_and_admitted() -> None:
    found = read([str(SAMPLES)])
    assert len(found.manifests) == len(list(SAMPLES.glob("*.yaml")))
    assert not found.notes
    assert all(isinstance(judge(item.manifest), Admitted) for item in found.manifests)


def test_a_folder_is_read_in_the_order_of_names_and_not_into_its_depth(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep", d=manifest("deep"))
    (tmp_path / "notes.txt").write_text("no manifest")
    (tmp_path / "a.json").write_text(
        f'{{"apiVersion": "{API_VERSION}", "kind": "RiskLimit", "metadata": {{"name": "json"}}}}'
    )
    (tmp_path / "b.yml").write_text(manifest("yml"))
    write(tmp_path, c=manifest("yaml"))
    assert names(read([str(tmp_path)])) == ["json", "yml", "yaml"]
    assert names(read([str(tmp_path)], recursive=True)) == ["json", "yml", "yaml", "deep"]


def test_standard_input_is_read_once_with_all_its_documents() -> None:
    text = f"{manifest('a')}---\n{manifest('b')}"
    found = read(["-"], standard_input=io.BytesIO(text.encode()))
    assert names(found) == ["a", "b"]
    assert [item.place for item in found.manifests] == [
        "standard input, document 1 (line 1)",
        "standard input, document 2 (line 4)",
    ]


def test_a_named_file_may_have_any_name(tmp_path: Path) -> None:
    (tmp_path / "manifest").write_text(manifest())
    assert names(read([str(tmp_path / "manifest")])) == ["a"]


def test_what_is_not_ours_is_left_out_with_a_note(tmp_path: Path) -> None:
    config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: ticks}\n"
    folder = write(tmp_path, desk=f"{config}---\n{manifest()}", kustomization="resources: [desk.yaml]\n")
    found = read([folder])
    assert names(found) == ["a"]
    assert found.notes == (
        f"{folder}/kustomization.yaml: skipped: what it builds is read from "
        f"kubectl kustomize {folder} | crowetrade ... -",
        f"{folder}/desk.yaml, document 1 (line 1): ConfigMap ticks (v1) is skipped: only Strategy, VenueConnection, "
        f"RiskLimit and KillSwitch of {API_VERSION} matter here",
    )


def test_a_later_manifest_of_the_same_name_replaces_the_earlier_one(tmp_path: Path) -> None:
    folder = write(tmp_path, a=manifest("x", spec="{mode: Paper}"), b=manifest("x", spec="{mode: Live}"))
    found = read([folder])
    assert [item.manifest["spec"]["mode"] for item in found.manifests] == ["Live"]
    assert found.notes == (f"{folder}/b.yaml, line 1: Strategy x replaces the one of {folder}/a.yaml, line 1",)


def test_other_kinds_and_namespaces_are_other_objects(tmp_path: Path) -> None:
    elsewhere = manifest("x").replace("name: x", "name: x, namespace: other")
    same = manifest("x").replace("name: x", "name: x, namespace: default")
    folder = write(tmp_path, a=manifest("x"), b=manifest("x", kind="RiskLimit"), c=elsewhere, d=same)
    assert len(read([folder]).manifests) == 3
    assert len(read([folder], namespace="fx").manifests) == 4


@pytest.mark.parametrize("namespace", ["null", "''"])
def test_an_empty_namespace_is_the_default_one(tmp_path: Path, namespace: str) -> None:
    empty = manifest("x").replace("name: x", f"name: x, namespace: {namespace}")
    assert len(read([write(tmp_path, a=manifest("x"), b=empty)]).manifests) == 1


def test_a_list_is_read_item_by_item(tmp_path: Path) -> None:
    item = f"{{apiVersion: {API_VERSION}, kind: RiskLimit, metadata: {{name: b}}}}"
    text = f"apiVersion: v1\nkind: List\nitems:\n- {item}\n- {item.replace('name: b', 'name: c')}\n"
    typed = f"apiVersion: {API_VERSION}\nkind: StrategyList\nitems:\n- metadata: {{name: d}}\n"
    found = read([write(tmp_path, a=text, b=typed)])
    assert names(found) == ["b", "c", "d"]
    assert found.manifests[1].place == f"{tmp_path}/a.yaml, line 1, item 2"
    assert found.manifests[2].manifest["kind"] == "Strategy"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (manifest(kind="Strateggy"), f'line 1: no matches for kind "Strateggy" in version "{API_VERSION}"'),
        (manifest().replace("v1alpha1", "v2"), "the kinds are Strategy, VenueConnection, RiskLimit and KillSwitch of"),
        (manifest().replace(API_VERSION, "trading.io/v1"), 'no matches for kind "Strategy" in version "trading.io/v1"'),
        ("kind: Strategy\n", "apiVersion is not set"),
        (f"{manifest()}---\napiVersion: v1\n", "document 2 (line 4): kind is not set"),
        ("- a\n", "a manifest is an object with apiVersion and kind, not a list"),
        ("text\n", "not a single value"),
        (manifest(spec="{mode: Paper, mode: Live}"), 'line 4: the key "mode" is there twice, first on line 4'),
        (
            f"{manifest()}---\n{manifest()}spec:\n  a: 1\n  'a': 2\n",
            'line 10: the key "a" is there twice, first on line 9',
        ),
        ('{"a": 1, "a": 2}', 'the key "a" is there twice'),
        ('{"a": NaN}', "nan is no number that JSON can carry"),
        (f'{{"a": 1{"0" * 400}}}', "more than 300 digits"),
        ('{"a": "\\ud800"}', "half of a surrogate pair"),
        ("{'a': 1}{'b': 2}", "not YAML"),
        ('{"a": 1} x', "after line 1"),
        (f"{manifest()}...\nmore: 1\n", "line 5: not YAML: did not find expected <document start>"),
        (manifest(spec="!Ref x"), "the tag !Ref has no meaning here"),
        (manifest(spec="{<<: 5}"), "<< takes a mapping"),
        (manifest(spec="!!binary '***'"), "!!binary must be text in base64"),
    ],
)
def test_what_is_no_manifest_is_refused_with_its_place(tmp_path: Path, text: str, complaint: str) -> None:
    folder = write(tmp_path, a=text)
    with pytest.raises(Failed) as refused:
        read([folder])
    assert str(refused.value).startswith(f"{folder}/a.yaml, ")
    assert complaint in str(refused.value)


def test_a_path_that_is_not_there_and_an_empty_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(Failed, match=r'the path ".*missing" does not exist'):
        read([str(tmp_path / "missing")])
    with pytest.raises(Failed, match=r"no manifest in this folder; recognized file extensions are .json .yaml .yml"):
        read([str(tmp_path)])


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_bytes(b"a: \xff\n")
    with pytest.raises(Failed, match="not text in UTF-8 at byte 3"):
        read([str(tmp_path)])


def test_a_file_that_is_too_large_is_refused_without_reading_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 2 * 1024 * 1024)
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(2 * 1024 * 1024 + 1)
    with pytest.raises(Failed, match="larger than 2 MiB"):
        read([str(tmp_path)])


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(Failed, match="line 6: more than 200000 values in one document, with aliases written out"):
        yaml_text.documents("\n".join(lines), "bomb.yaml")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 100_000, "- " * 100_000, '{"a": ' + "[" * 99_000 + "]" * 99_000 + "}"]
)
def test_values_in_values_without_end_are_refused(text: str) -> None:
    with pytest.raises(Failed, match="nested more than 100 deep"):
        yaml_text.documents(text, "deep.yaml")


@pytest.mark.parametrize("text", ["a\n---\n" * 10_001, "{}" * 10_001], ids=["YAML", "JSON"])
def test_documents_without_end_are_refused(text: str) -> None:
    with pytest.raises(Failed, match="more than 10000 documents in one file"):
        yaml_text.documents(text, "many.yaml")


@pytest.mark.parametrize("text", ["---\n" * 1_000_000, "\n" * 4_000_000], ids=["separators", "lines"])
def test_much_of_nothing_is_nothing(text: str) -> None:
    assert yaml_text.documents(text, "empty.yaml") == []


def test_the_largest_manifests_are_within_the_bounds() -> None:
    entry = "{symbol: S, currency: USD, tickSize: '1', lotSize: '1', minQuantity: '1', multiplier: '1'}"
    text = f"instruments:\n{f'- {entry}{chr(10)}' * 500}data:\n{f'- {entry}{chr(10)}' * 500}"
    (document,) = yaml_text.documents(text, "large.yaml")
    assert len(document.value["data"]) == 500
