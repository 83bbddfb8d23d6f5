"""A name that a person chooses, and those that follow from it."""

from __future__ import annotations

import keyword

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_cli.errors import WrongUse
from crowetrade_cli.projects.names import ProjectNames


@pytest.mark.parametrize(
    ("project", "module", "model"),
    [
        ("my-alpha", "my_alpha", "MyAlpha"),
        ("carry", "carry", "Carry"),
        ("fx-carry-2", "fx_carry_2", "FxCarry2"),
        ("a" * 36, "a" * 36, "A" + "a" * 35),
        ("my--alpha", "my__alpha", "MyAlpha"),
    ],
)
def test_names_follow_from_the_project(project: str, module: str, model: str) -> None:
    assert ProjectNames.of(project) == ProjectNames(project, module, model)


@pytest.mark.parametrize(
    "project",
    ["", "My-alpha", "my_alpha", "-alpha", "alpha-", "2fast", "a" * 37, "my alpha", "../alpha", "alpha.v2", "älpha"],
)
def test_a_name_that_no_manifest_or_module_can_have_is_refused(project: str) -> None:
    with pytest.raises(WrongUse, match="such as my-alpha"):
        ProjectNames.of(project)


@pytest.mark.parametrize("project", ["json", "class", "crowetrade", "crowetrade-agents", "import"])
def test_a_name_that_hides_a_module_is_refused(project: str) -> None:
    with pytest.raises(WrongUse, match="would hide"):
        ProjectNames.of(project)


@given(st.text("abz09-", max_size=40))
def test_what_is_taken_names_a_module_and_a_class(project: str) -> None:
    try:
        names = ProjectNames.of(project)
    except WrongUse:
        return
    assert names.module.isidentifier()
    assert not keyword.iskeyword(names.module)
    assert names.model.isidentifier()
