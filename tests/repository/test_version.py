"""The version stands in VERSION, and in every place that tools/version.py writes."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version as installed_version
from pathlib import Path

import pytest
from tools import version

from crowetrade_operator.settings import Settings

ROOT = Path(__file__).parent.parent.parent
VERSION = (ROOT / "VERSION").read_text().strip()
MEMBERS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]["members"]


def test_every_package_has_the_version_written() -> None:
    assert sorted(version.PACKAGES) == sorted(MEMBERS)


@pytest.mark.parametrize("package", MEMBERS)
def test_a_package_needs_the_others_in_the_same_version(package: str) -> None:
    project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
    assert project["version"] == VERSION
    needs = [
        *project["dependencies"],
        *(need for extra in project.get("optional-dependencies", {}).values() for need in extra),
    ]
    ours = [need for need in needs if need.startswith("crowetrade")]
    assert [need for need in ours if re.sub(r"\[.*\]", "", need).partition("==")[2] != VERSION] == []


def test_the_operator_starts_agents_and_gateways_of_its_own_version() -> None:
    settings, own = Settings(operator_namespace="n"), installed_version("crowetrade-operator")
    assert (settings.agents_image, settings.gateway_image) == (f"crowetrade/agents:{own}", f"crowetrade/gateway:{own}")


@pytest.mark.parametrize(
    ("file", "text", "changed"),
    [
        ("api/pyproject.toml", 'name = "a"\nversion = "0.1.0"\n', 'name = "a"\nversion = "1.2.0rc1"\n'),
        (
            "cli/pyproject.toml",
            'dependencies = ["crowetrade-api[crd]==0.1.0","crowetrade-agents==0.1.0","rich>=14"]',
            'dependencies = ["crowetrade-api[crd]==1.2.0rc1","crowetrade-agents==1.2.0rc1","rich>=14"]',
        ),
        (
            "charts/crowetrade/Chart.yaml",
            "apiVersion: v2\nversion: 0.1.0\nappVersion: 0.1.0\n",
            "apiVersion: v2\nversion: 1.2.0rc1\nappVersion: 1.2.0rc1\n",
        ),
        (
            "charts/crowetrade/values.yaml",
            "image: {repository: docker.io/crowetrade/agents, tag: 0.1.0}\nimage: hashicorp/vault:1.19.0\n",
            "image: {repository: docker.io/crowetrade/agents, tag: 1.2.0rc1}\nimage: hashicorp/vault:1.19.0\n",
        ),
    ],
)
def test_it_is_written_where_ours_is_stated_and_nowhere_else(file: str, text: str, changed: str) -> None:
    assert version.stated("1.2.0rc1", version.STATED[Path(file)], text) == changed


def test_a_file_that_states_none_is_an_error() -> None:
    with pytest.raises(ValueError, match="no version"):
        version.stated("1.0.0", version.STATED[Path("api/pyproject.toml")], "[project]\n")
