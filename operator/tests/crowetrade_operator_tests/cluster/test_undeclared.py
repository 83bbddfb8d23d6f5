"""What a CRD does not declare is left out, and tried again."""

from __future__ import annotations

import pytest

from crowetrade_api.names import Kind
from crowetrade_operator.cluster.undeclared import TRY_AGAIN_SECONDS, UndeclaredFields, undeclared_fields, without

HEAD = "failed to create typed patch object (desk/ema; trading.crowetrade.io/v1alpha1, Kind=Strategy): "
ITEM = '.status.position[currency="USD",symbol="EUR-USD"].lastKnownTime: field not declared in schema'


@pytest.mark.parametrize(
    ("message", "fields"),
    [
        (f"{HEAD}.status.venues: field not declared in schema", {("venues",)}),
        (
            f"{HEAD}errors:\n  .status.a.b: field not declared in schema\n  {ITEM}",
            {("a", "b"), ("position", "lastKnownTime")},
        ),
        (f"{HEAD}.spec.mode: field not declared in schema", set()),
        ("etcdserver: request timed out", set()),
    ],
)
def test_the_fields_are_read_from_the_answer(message: str, fields: set[tuple[str, ...]]) -> None:
    assert undeclared_fields(message) == fields


def test_they_are_taken_out_also_of_the_items_of_lists() -> None:
    status = {"venues": [], "position": [{"symbol": "a", "lastKnownTime": "t"}, {"symbol": "b"}], "phase": "Trading"}
    assert without(status, frozenset({("venues",), ("position", "lastKnownTime"), ("orders", "open")})) == {
        "position": [{"symbol": "a"}, {"symbol": "b"}],
        "phase": "Trading",
    }


def test_a_field_is_left_out_until_a_status_with_it_is_taken() -> None:
    now = 0.0
    found, status = UndeclaredFields(lambda: now), {"phase": "Trading", "venues": [], "hash": ""}
    assert found.declared(Kind.STRATEGY, status) == status
    assert found.refused(Kind.STRATEGY, status, frozenset({("venues",), ("hash",)}))
    assert not found.refused(Kind.STRATEGY, status, frozenset({("venues",), ("hash",)})), "no news"
    assert found.of(Kind.STRATEGY) == ("status.hash", "status.venues")
    assert found.declared(Kind.STRATEGY, status) == {"phase": "Trading"}
    assert found.declared(Kind.VENUE, status) == status
    assert not found.taken(Kind.STRATEGY, {"phase": "Trading"}), "nothing is learnt from what was left out"

    now = TRY_AGAIN_SECONDS
    assert found.declared(Kind.STRATEGY, status) == status
    assert found.refused(Kind.STRATEGY, status, frozenset({("hash",)})), "venues is known now"
    assert found.of(Kind.STRATEGY) == ("status.hash",)
    assert found.taken(Kind.STRATEGY, status)
    assert found.of(Kind.STRATEGY) == ()
