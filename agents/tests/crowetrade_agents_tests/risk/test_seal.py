"""Only the gate approves: the makers need its key, and nothing else in the package can name it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import crowetrade_agents
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace
from crowetrade_agents_tests.risk.values import EUR, order

# Two packages have modules of this name.
FILES = {
    path.relative_to(folder).as_posix(): path
    for folder in map(Path, crowetrade_agents.__path__)
    for path in folder.rglob("*.py")
}
ALLOWED = {"risk/gate.py", "risk/approved.py"}


@pytest.mark.parametrize("key", [None, object(), True])
def test_nothing_is_approved_without_the_key(key: object) -> None:
    with pytest.raises(TypeError, match="ask it"):
        ApprovedOrder(order(), key=key)
    with pytest.raises(TypeError, match="ask it"):
        ApprovedReplace(order(), "ema-run-1", "", key=key)
    with pytest.raises(TypeError, match="ask it"):
        ApprovedCancel("ema-run-2", "ema-run-1", "", EUR, Side.BUY, "CancelRequested", key=key)


def _names(tree: ast.AST) -> Iterator[str]:
    """Every name, attribute, import and text by which a module could reach another."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            yield node.value


def test_nothing_else_in_the_package_names_the_seal() -> None:
    assert set(FILES) >= ALLOWED
    naming = {
        name
        for name, path in FILES.items()
        if any("_seal" in part.split(".") for part in _names(ast.parse(path.read_text())))
    }
    assert naming == ALLOWED


def test_the_key_itself_is_used_by_the_gate_alone() -> None:
    users = {
        name
        for name, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "KEY" and ast.unparse(node.value) == "_seal"
    }
    assert users == {"risk/gate.py"}
