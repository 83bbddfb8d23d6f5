"""Which venues' market data the bus lets a strategy read."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_operator.authorizer.strategies import readable_venues
from crowetrade_operator_tests.samples import strategy_manifest

Object = dict[str, Any]
LEFT: Object = {"namespace": "desk", "name": "sim-old", "symbols": []}
LEFT_BEYOND: Object = {"namespace": "venues", "name": "sim-old", "symbols": []}
READ: dict[str, tuple[Object | None, set[tuple[str, str]]]] = {
    "what it names": (None, {("desk", "sim-fx")}),
    "what it has left: its agents may still run there": ({"venues": [LEFT]}, {("desk", "sim-fx"), ("desk", "sim-old")}),
    "what it has left in another namespace, which admits it": (
        {"venues": [LEFT_BEYOND], "admittedVenues": ["venues/sim-old"]},
        {("desk", "sim-fx"), ("venues", "sim-old")},
    ),
    "what it has left in another namespace, which admits it no more": (
        {"venues": [LEFT_BEYOND], "admittedVenues": []},
        {("desk", "sim-fx")},
    ),
    "a venue that admits it, and that it has never named": (
        {"admittedVenues": ["venues/sim-fx"]},
        {("desk", "sim-fx")},
    ),
    "a status of another version": ({"venues": "sim-old", "admittedVenues": 3}, {("desk", "sim-fx")}),
    "items of another version": ({"venues": [3, {"name": "sim-old"}]}, {("desk", "sim-fx")}),
}


@pytest.mark.parametrize("case", READ)
def test_the_venues_of_a_strategy(case: str) -> None:
    status, venues = READ[case]
    stored = strategy_manifest() | ({} if status is None else {"status": status})
    assert readable_venues(stored) == venues
