"""crowetrade-agents, which strategies ship, is whole without crowetrade-gateway, which shares its import name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.repository.environments import ROOT

AGENTS, GATEWAY = ROOT / "agents" / "src", ROOT / "gateway" / "src"
# The entry point runs what is installed; an author's tests read recordings as the simulated venue does.
ALLOWED = {
    "crowetrade_agents/runtime/__main__.py": {
        "crowetrade_agents.runtime.auditor",
        "crowetrade_agents.runtime.gateway_pod",
    },
    "crowetrade_agents/sdk/testing.py": {
        "crowetrade_agents.venues.adapters.simulated",
        "crowetrade_agents.venues.adapters.simulated.recording",
        "crowetrade_agents.venues.adapters.simulated.spec",
        "crowetrade_agents.venues.adapters.simulated.tape",
    },
}


def _files(source: Path) -> list[str]:
    return sorted(str(file.relative_to(source)) for file in source.rglob("*.py"))


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


GATEWAY_MODULES = {_module(file) for file in _files(GATEWAY)}


def _imported(file: Path) -> Iterator[str]:
    """Every module that it may import, at the top or in a function."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("file", _files(AGENTS))
def test_no_module_of_the_agents_imports_the_gateways(file: str) -> None:
    assert GATEWAY_MODULES.intersection(_imported(AGENTS / file)) <= ALLOWED.get(file, set())


def test_no_file_is_in_both_packages() -> None:
    assert "crowetrade_agents.venues.adapters.simulated" in GATEWAY_MODULES
    assert not set(_files(AGENTS)) & set(_files(GATEWAY))


def test_the_shared_folders_are_namespaces() -> None:
    """With an __init__.py in one of them, the modules of the other package would not be found."""
    shared = {str(Path(file).parent) for file in _files(AGENTS)} & {str(Path(file).parent) for file in _files(GATEWAY)}
    shared.add("crowetrade_agents")
    files = (source / folder / "__init__.py" for folder in shared for source in (AGENTS, GATEWAY))
    assert not [file for file in files if file.exists()]
