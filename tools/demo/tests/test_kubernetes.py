"""A condition counts only when it speaks of the current generation."""

from __future__ import annotations

import pytest

from tools.demo.kubernetes import Object, missing_condition
from tools.demo.strategies import with_key
from tools.demo.venue_key import VenueKey


def _object(status: str, observed: int) -> Object:
    entry = {"type": "Ready", "status": status, "reason": "R", "message": "M.", "observedGeneration": observed}
    return {"metadata": {"generation": 2}, "status": {"conditions": [entry]}}


@pytest.mark.parametrize(
    ("found", "missing"),
    [
        (None, "it is not there"),
        ({"metadata": {"generation": 1}}, "no condition Ready yet"),
        (_object("True", 1), "condition Ready is of generation 1, not 2"),
        (_object("False", 2), "Ready is False: R: M."),
        (_object("True", 2), None),
    ],
)
def test_what_is_missing(found: Object | None, missing: str | None) -> None:
    assert missing_condition(found, "Ready") == missing


def test_a_venue_gets_its_key_by_reference_and_nothing_else_changes() -> None:
    venue = {"kind": "VenueConnection", "spec": {"simulated": {"data": [{"sample": "eurusd-1h"}]}}}
    changed = with_key(venue, VenueKey("secret/data/venues/sim-fx", "venue-sim-fx", "ab" * 32))["spec"]
    assert changed["simulated"] == {"data": [{"sample": "eurusd-1h"}], "apiKeySha256": "ab" * 32}
    assert changed["credentials"]["vault"]["path"] == "secret/data/venues/sim-fx"
    assert "credentials" not in venue["spec"]
    limit = {"kind": "RiskLimit", "spec": {}}
    assert with_key(limit, VenueKey("p", "r", "s")) is limit
