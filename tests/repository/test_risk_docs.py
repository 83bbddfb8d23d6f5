"""docs/risk.md and docs/failure-modes.md name modules and tests that exist, and leave out no limit and no mode."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest

from crowetrade_api.hardness import ACTIONS
from crowetrade_api.v1alpha1.killswitch import KillSwitchSpec
from crowetrade_api.v1alpha1.risklimit import LIMIT_NAMES, RiskLimitSpec
from tests.repository.pages import Row, file_at, missing_test, quoted, rows

SOURCES, TESTS = Path("gateway/src/crowetrade_agents"), Path("agents/tests/crowetrade_agents_tests")
NO_TEST = "No test"


CONTROLS = [row for row in rows("risk.md") if "Enforced" in row.cells]
FAILURES = list(rows("failure-modes.md"))


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in CONTROLS])
def test_a_control_names_its_modules_and_a_test(row: Row) -> None:
    for column, what in (("Enforced", "not enforced"), ("Audited", "not judged")):
        modules = quoted(row.cells[column])
        assert modules or row.cells[column].startswith(f"{what}: "), column
        for module in modules:
            assert file_at(module, SOURCES).is_file(), module
    (test,) = quoted(row.cells["Test"])
    assert not missing_test(test, TESTS)
    assert row.cells["What it does"]
    assert row.cells["Source"]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in FAILURES])
def test_a_failure_names_a_test_or_says_that_there_is_none(row: Row) -> None:
    cell = row.cells["Test"]
    tests = quoted(cell)
    assert tests or cell.startswith(NO_TEST)
    for test in tests:
        assert not missing_test(test, TESTS)
    assert row.cells["Open orders"]
    assert row.cells["Positions"]


def test_every_limit_every_action_and_every_mode_has_a_row() -> None:
    names = {row.name.strip("`") for row in CONTROLS}
    modes = [f"KillSwitch {mode}" for mode in get_args(KillSwitchSpec.model_fields["mode"].annotation)]
    assert len(modes) == 4
    actions = get_args(RiskLimitSpec.model_fields["on_breach"].annotation)
    assert set(actions) == set(ACTIONS)
    assert not {*LIMIT_NAMES, *actions, *modes} - names


def test_a_row_is_found_once() -> None:
    for table in (CONTROLS, FAILURES):
        names = [row.name for row in table]
        assert len(names) == len(set(names)) > 10


@pytest.mark.parametrize(
    "named",
    ["risk/limits/test_max_order_rate.py::test_nothing", "risk/test_nobody.py::test_values", "risk/test_gate.py"],
)
def test_a_test_that_does_not_exist_is_missed(named: str) -> None:
    assert missing_test(named, TESTS)
