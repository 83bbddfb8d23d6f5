from __future__ import annotations

from crowetrade_api.conditions import WHEN_TRUE_BAD, ConditionType, all_of, condition, find, follow
from crowetrade_api.reasons import Reason

READY = ConditionType.READY


def test_the_transition_time_moves_only_with_the_status() -> None:
    first = follow([], [condition(READY, False, Reason.STARTING, "a")], 1, "t1")
    same = follow(first, [condition(READY, False, Reason.CRASHING, "b")], 2, "t2")
    other = follow(same, [condition(READY, True, Reason.AVAILABLE, "c")], 3, "t3")
    assert [item.last_transition_time for item in (*first, *same, *other)] == ["t1", "t1", "t3"]
    assert [item.observed_generation for item in (*first, *same, *other)] == [1, 2, 3]
    assert same[0].reason == "Crashing"


def test_false_wins_over_unknown_and_unknown_over_true() -> None:
    true = condition(READY, True, Reason.AVAILABLE, "fine")
    unknown = condition(READY, "Unknown", Reason.BUS_UNAVAILABLE, "who knows")
    false = condition(READY, False, Reason.CRASHING, "broken")
    assert all_of(READY, [true, unknown, false], Reason.AVAILABLE, "all").reason == "Crashing"
    assert all_of(READY, [true, unknown], Reason.AVAILABLE, "all").status == "Unknown"
    assert all_of(READY, [true, true], Reason.AVAILABLE, "all").message == "all"


def test_long_messages_are_cut() -> None:
    assert len(condition(READY, True, Reason.AVAILABLE, "x" * 5000).message) == 1024


def test_find() -> None:
    item = condition(READY, True, Reason.AVAILABLE, "x")
    assert find([item], READY) == item
    assert find([item], ConditionType.TRADING) is None


def test_what_is_absent_where_all_is_well_is_bad_when_it_is_true() -> None:
    """Only VaultRoleRight is absent where there is nothing to tell."""
    comes_and_goes = {item for item in ConditionType if "; absent " in item.doc} - {ConditionType.VAULT_ROLE_RIGHT}
    always_there = {
        ConditionType.ORDERS_REFUSED,
        ConditionType.ENGAGED,
        ConditionType.RECONCILING,
        ConditionType.PAUSED,
    }
    assert set(WHEN_TRUE_BAD) == comes_and_goes | always_there
