"""docs/security.md names a test that exists for every threat, and leaves out no letter of STRIDE and no flow."""

from __future__ import annotations

import re

import pytest

from tests.repository.environments import ROOT
from tests.repository.pages import Row, missing_test, quoted, rows

PAGE = "security.md"
TEXT = (ROOT / "docs" / PAGE).read_text()
THREATS = [row for row in rows(PAGE) if "STRIDE" in row.cells]


@pytest.mark.parametrize("row", [pytest.param(row, id=row.name) for row in THREATS])
def test_a_threat_names_what_stands_against_it_and_tests_that_exist(row: Row) -> None:
    assert row.cells["What stands against it"]
    tests = quoted(row.cells["Test"])
    assert tests
    for test in tests:
        assert not missing_test(test)


def test_a_threat_is_found_once() -> None:
    names = [row.name for row in THREATS]
    assert len(names) == len(set(names)) > 30


def test_every_letter_and_every_flow_has_a_threat() -> None:
    letters = {letter.strip() for row in THREATS for letter in row.cells["STRIDE"].split(",")}
    assert letters == set("STRIDE")
    drawn = {int(number) for number in re.findall(r'"(\d+): ', TEXT)}
    named: set[int] = set()
    for row in THREATS:
        for part in row.cells["Flow"].split(","):
            first, _, last = part.strip().partition("–")
            named |= set(range(int(first), int(last or first) + 1))
    assert named <= drawn
    # The venue's protocol is the one that nothing of ours protects.
    assert drawn - named == {8}


def test_the_table_of_permissions_has_its_place() -> None:
    assert TEXT.index("<!-- permissions:begin -->") < TEXT.index("<!-- permissions:end -->")
