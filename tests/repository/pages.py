"""Tables of the pages in docs/, and the tests that they name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.repository.environments import ROOT


class Row(NamedTuple):
    """Cells by the name of their column."""

    name: str
    cells: dict[str, str]


def rows(page: str) -> Iterator[Row]:
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


def quoted(cell: str) -> list[str]:
    """What is written as code in a cell."""
    return re.findall(r"`([^`]+)`", cell)


def file_at(path: str, below: Path) -> Path:
    """A file of the repository, or of a folder where the page leaves that out."""
    rooted = ROOT / path
    return rooted if rooted.exists() else ROOT / below / path


def missing_test(named: str, below: Path = Path()) -> str:
    """What is wrong with path::name; empty when it is a test that exists."""
    path, _, name = named.partition("::")
    file = file_at(path, below)
    if not file.is_file():
        return f"there is no file {path}"
    if not name:
        return f"{path} names no test"
    return "" if name.startswith("test_") and name in _functions(file) else f"{path} has no test {name}"


def _functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
