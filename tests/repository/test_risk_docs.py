"""docs/risk.md and docs/failure-modes.md name modules and tests that exist, and leave out no limit and no mode."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import pytest

from crowetrade_api.v1alpha1.killswitch import KillSwitchSpec
from crowetrade_api.v1alpha1.risklimit import LIMIT_NAMES, ON_BREACH
from tests.repository.environments import ROOT

SOURCES, TESTS = Path("gateway/src/crowetrade_agents"), Path("agents/tests/crowetrade_agents_tests")
NO_TEST = "No test"


class Row(NamedTuple):
    """Cells by the name of their column."""

    name: str
    cells: dict[str, str]


def _rows(page: str) -> Iterator[Row]:
    """Rows of every table of a page."""
    columns: list[str] = []
    for line in (ROOT / "docs" / page).read_text().splitlines():
        if not line.startswith("|"):
            columns = []
            continue
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if not columns:
            columns = cells
        elif not all(set(cell) <= set("-") for cell in cells):
            assert len(cells) == len(columns), line
            yield Row(cells[0], dict(zip(columns, cells, strict=True)))


CONTROLS = [row for row in _rows("risk.md") if "Enforced" in row.cells]
FAILURES = list(_rows("failure-modes.md"))


def _quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def _file(path: str, below: Path) -> Path:
    """As the pages write paths: below the agents, unless they begin with another folder of the repository."""
    rooted = ROOT / path
    return rooted if rooted.exists() else ROOT / below / path


def _functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def _missing_test(named: str) -> str:
    """What is wrong with path::name; empty when it is a test that exists."""
    path, _, name = named.partition("::")
    file = _file(path, TESTS)
    if not file.is_file():
        return f"there is no file {path}"
    if not name:
        return f"{path} names no test"
    return "" if name.startswith("test_") and name in _functions(file) else f"{path} has no test {name}"


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in CONTROLS])
def test_a_control_names_its_modules_and_a_test(row: Row) -> None:
    for column, what in (("Enforced", "not enforced"), ("Audited", "not judged")):
        modules = _quoted(row.cells[column])
        assert modules or row.cells[column].startswith(f"{what}: "), column
        for module in modules:
            assert _file(module, SOURCES).is_file(), module
    (test,) = _quoted(row.cells["Test"])
    assert not _missing_test(test)
    assert row.cells["What it does"]
    assert row.cells["Source"]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in FAILURES])
def test_a_failure_names_a_test_or_says_that_there_is_none(row: Row) -> None:
    cell = row.cells["Test"]
    tests = _quoted(cell)
    assert tests or cell.startswith(NO_TEST)
    for test in tests:
        assert not _missing_test(test)
    assert row.cells["Open orders"]
    assert row.cells["Positions"]


def test_every_limit_every_action_and_every_mode_has_a_row() -> None:
    names = {row.name.strip("`") for row in CONTROLS}
    modes = [f"KillSwitch {mode}" for mode in get_args(KillSwitchSpec.model_fields["mode"].annotation)]
    assert len(modes) == 4
    assert not {*LIMIT_NAMES, *ON_BREACH, *modes} - names


def test_a_row_is_found_once() -> None:
    for rows in (CONTROLS, FAILURES):
        names = [row.name for row in rows]
        assert len(names) == len(set(names)) > 10


@pytest.mark.parametrize(
    "named",
    ["risk/limits/test_max_order_rate.py::test_nothing", "risk/test_nobody.py::test_values", "risk/test_gate.py"],
)
def test_a_test_that_does_not_exist_is_missed(named: str) -> None:
    assert _missing_test(named)
