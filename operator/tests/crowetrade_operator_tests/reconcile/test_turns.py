"""Who waits for a turn is looked at again when one becomes free, in the order in which they came."""

from __future__ import annotations

from crowetrade_api.conditions import Condition, ConditionType, condition
from crowetrade_api.names import Key, Kind
from crowetrade_api.reasons import Reason
from crowetrade_operator import metrics
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.decide.plan import Plan
from crowetrade_operator.reconcile.controller import Controller
from crowetrade_operator_tests.reconcile.test_indexes import operator

A, B, C = (Key(Kind.STRATEGY, "desk", name) for name in "abc")
WAITS = Plan(rollout_blocked_by="others restart", blocked_reason=Reason.WAITING_FOR_TURN)
WAITS_FOR_FLAT = Plan(rollout_blocked_by="it is not flat", blocked_reason=Reason.WAITING_FOR_FLAT)
RESTARTS = Plan(restarts=True)


class World:
    """An operator whose queue is empty, and strategies in line."""

    def __init__(self, *line: Key) -> None:
        self.controller: Controller = operator(Cache())
        for key in line:
            self.decided(key, WAITS)

    def decided(self, key: Key, planned: Plan) -> None:
        with self.controller._restarting(key, planned):
            pass

    def looked_at(self) -> set[Key]:
        found = set(self.controller.queue._dirty)
        self.controller.queue._dirty.clear()
        return found


def test_the_first_in_line_is_looked_at_when_a_turn_is_free() -> None:
    world = World(A, B)
    assert world.looked_at() == set()
    world.decided(C, RESTARTS)
    assert world.looked_at() == {A}, "its restart has changed nothing, and has ended"


def test_who_waits_on_keeps_their_place() -> None:
    world = World(A, B, A)
    world.decided(C, RESTARTS)
    assert world.looked_at() == {A}


def test_a_turn_that_is_not_taken_is_the_next_ones() -> None:
    world = World(A, B, C)
    world.decided(A, WAITS_FOR_FLAT)
    assert world.looked_at() == {B}
    world.controller._gone(B)
    assert world.looked_at() == {C}
    world.decided(C, Plan())
    assert world.looked_at() == set()


def test_gateways_and_other_namespaces_stand_in_other_lines() -> None:
    world = World(A)
    world.decided(Key(Kind.VENUE, "desk", "sim-fx"), RESTARTS)
    world.decided(Key(Kind.STRATEGY, "other", "a"), RESTARTS)
    assert world.looked_at() == set()


def test_while_it_is_carried_out_a_restart_has_its_turn() -> None:
    world = World()
    restarts = world.controller.context.restarts
    with world.controller._restarting(A, RESTARTS):
        assert set(restarts.of(Kind.STRATEGY, "desk")) == {"a"}
    assert not restarts.of(Kind.STRATEGY, "desk")


def _counted(kind: Kind, reason: Reason) -> float:
    return (
        metrics.REGISTRY.get_sample_value("crowetrade_operator_rollouts", {"kind": kind.value, "reason": reason.value})
        or 0.0
    )


def _moving(reason: Reason, status: bool = True) -> list[Condition]:
    return [condition(ConditionType.RECONCILING, status, reason, "why")]


def test_changes_under_way_are_counted_by_what_they_are_at() -> None:
    controller = World().controller
    for key in (A, B):
        controller._count_rollout(key, _moving(Reason.WAITING_FOR_TURN))
    controller._count_rollout(A, _moving(Reason.ROLLING_OUT))
    controller._count_rollout(A, _moving(Reason.ROLLING_OUT))
    assert _counted(Kind.STRATEGY, Reason.WAITING_FOR_TURN) == 1
    assert _counted(Kind.STRATEGY, Reason.ROLLING_OUT) == 1
    controller._count_rollout(A, _moving(Reason.AS_DESIRED, status=False))
    controller._count_rollout(C, _moving(Reason.STARTING))
    controller._gone(B)
    assert _counted(Kind.STRATEGY, Reason.WAITING_FOR_TURN) == 0
    assert _counted(Kind.STRATEGY, Reason.ROLLING_OUT) == 0


def test_who_works_after_others_counts_from_nothing() -> None:
    World().controller._count_rollout(A, _moving(Reason.ROLLING_OUT))
    World()
    assert _counted(Kind.STRATEGY, Reason.ROLLING_OUT) == 0
