"""docs/results.md names every file, column and figure, and no other."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crowetrade_cli.results import store
from crowetrade_cli.results.metrics import Metrics
from crowetrade_cli.results.save import save_run

from .values import equity_run

GUIDE = Path(__file__).parents[4] / "docs" / "results.md"
ROWS = [
    [set(re.findall(r"`([\w.]+)`", cell)) for cell in line.split("|")[1:3]]
    for line in GUIDE.read_text().splitlines()
    if line.startswith("| `")
]


def test_every_file_is_in_the_guide() -> None:
    assert {name for first, _ in ROWS for name in first if "." in name} == store.NAMES


def test_every_figure_is_in_the_guide() -> None:
    named = {name for first, _ in ROWS for name in first if "." not in name}
    assert named == {field.name for field in fields(Metrics)} - {"strategy", "currency", "capital"}


@pytest.mark.parametrize("name", ["fills.parquet", "equity.parquet", "holdings.parquet"])
def test_every_column_is_in_the_guide(tmp_path: Path, name: str) -> None:
    save_run(equity_run(["1000", "1001"]), tmp_path)
    columns = next(second for first, second in ROWS if first == {name})
    assert columns == set(pq.read_schema(tmp_path / name).names)
