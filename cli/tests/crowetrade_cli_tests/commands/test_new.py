"""`crowetrade new`: what is written, and what is refused."""

from __future__ import annotations

import ast
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from crowetrade_cli.manifests.admission import Admitted, judge
from crowetrade_cli.manifests.reading import read
from crowetrade_cli.projects.writing import TEMPLATE_NAMES
from crowetrade_cli_tests.conftest import Run


def _texts(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_project_has_its_name_wherever_the_template_has_its_own(tmp_path: Path, run: Run) -> None:
    ended = run("new", "strategy", "slow-river", "--out", tmp_path)
    assert (ended.code, ended.err) == (0, "")
    texts = _texts(tmp_path / "slow-river")
    assert {"pyproject.toml", "src/slow_river/model.py", "tests/test_model.py", ".gitignore", "Dockerfile"} <= set(
        texts
    )
    for own in (TEMPLATE_NAMES.project, TEMPLATE_NAMES.module, TEMPLATE_NAMES.model, "CROWETRADE_VERSION"):
        assert [path for path, text in texts.items() if own in path + text] == []
    assert tomllib.loads(texts["pyproject.toml"])["project"]["name"] == "slow-river"
    assert f"agents:{version('crowetrade-cli')}\n" in texts["Dockerfile"]


def test_the_entry_point_of_the_manifest_is_the_class_of_the_project(tmp_path: Path, run: Run) -> None:
    run("new", "strategy", "slow-river", "--out", tmp_path)
    texts = _texts(tmp_path / "slow-river")
    module, _, model = yaml.safe_load(texts["manifests/strategy.yaml"])["spec"]["model"]["entryPoint"].partition(":")
    source = ast.parse(texts[f"src/{module.replace('.', '/')}.py"])
    assert model in [node.name for node in source.body if isinstance(node, ast.ClassDef)]


def test_the_manifests_of_the_longest_name_are_admitted(tmp_path: Path, run: Run) -> None:
    name = "a" * 36
    run("new", "strategy", name, "--out", tmp_path)
    found = read([str(tmp_path / name / "manifests")], "default").manifests
    verdicts = [judge(manifest.manifest, "default") for manifest in found]
    assert [verdict for verdict in verdicts if not isinstance(verdict, Admitted)] == []
    assert len(verdicts) == 3


def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path, run: Run) -> None:
    (tmp_path / "my-alpha").mkdir()
    (tmp_path / "my-alpha" / "notes").write_text("mine")
    ended = run("new", "strategy", "my-alpha", "--out", tmp_path)
    assert ended.code == 1
    assert "is there already" in ended.err
    assert _texts(tmp_path) == {"my-alpha/notes": "mine"}


@pytest.mark.parametrize("name", ["My_Alpha", "../alpha", "json"])
def test_a_name_that_cannot_be_used_writes_nothing(name: str, tmp_path: Path, run: Run) -> None:
    ended = run("new", "strategy", name, "--out", tmp_path)
    assert ended.code == 2
    assert ended.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_samples_are_those_of_the_repository(tmp_path: Path, run: Run) -> None:
    ended = run("new", "samples", "--out", tmp_path / "samples")
    assert (ended.code, ended.err) == (0, "")
    # layout/ is for a cluster: namespaces, quotas and people's rights are nothing that a laptop runs.
    wanted = _texts(Path(__file__).parents[4] / "samples")
    assert _texts(tmp_path / "samples") == {name: text for name, text in wanted.items() if "/" not in name}
    again = run("new", "samples", "--out", tmp_path / "samples")
    assert again.code == 1
    assert "is there already" in again.err
