"""Which stop is harder, as a table that the code does not know."""

from __future__ import annotations

import itertools

import pytest

from crowetrade_api.hardness import ACTIONS, at_least, joined

# What is as hard or harder, of each.
HARDER = {
    "Alert": {"Alert", "Slow", "Block", "CloseOnly", "Cancel", "Flatten"},
    "Slow": {"Slow", "Block", "Cancel", "Flatten"},
    "Block": {"Block", "Cancel", "Flatten"},
    "CloseOnly": {"CloseOnly", "Cancel", "Flatten"},
    "Cancel": {"Cancel", "Flatten"},
    "Flatten": {"Flatten"},
}
PAIRS = list(itertools.product(HARDER, repeat=2))


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_which_is_at_least_as_hard(one: str, other: str) -> None:
    assert at_least(one, other) is (one in HARDER[other])


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_two_together_become_the_mildest_that_is_as_hard_as_both(one: str, other: str) -> None:
    found = joined([one, other])
    both = HARDER[one] & HARDER[other]
    assert found in both
    assert both <= HARDER[found], "nothing that is as hard as both is milder"
    assert found == joined([other, one])


def test_block_and_close_only_together_cancel() -> None:
    assert joined(["Block", "CloseOnly"]) == "Cancel"
    assert not at_least("Block", "CloseOnly")
    assert not at_least("CloseOnly", "Block")


def test_what_nobody_knows_counts_as_cancel() -> None:
    for known in HARDER:
        assert at_least("Freeze", known) is at_least("Cancel", known)
        assert at_least(known, "Freeze") is at_least(known, "Cancel")
    assert joined(["Freeze", "Block"]) == "Cancel"


def test_nothing_takes_nothing_away() -> None:
    assert joined([]) == "Alert"
    assert set(ACTIONS) == set(HARDER)
