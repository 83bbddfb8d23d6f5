"""Who restarts: from a change of a Deployment that runs until it is ready again, or gives up."""

from __future__ import annotations

from typing import Any

from crowetrade_api.names import (
    MANAGED_BY,
    MANAGED_BY_LABEL,
    STRATEGY_LABEL,
    VENUE_LABEL,
    Key,
    Kind,
)
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.reconcile.restarts import LONGEST_SECONDS, Restarts

Object = dict[str, Any]
TOO_LATE = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}


class World:
    """Deployments of a namespace, and what is told of free turns."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.seconds = 0.0
        self.version = 0
        self.freed: list[tuple[Kind, str]] = []
        self.restarts = self.follow()

    def follow(self) -> Restarts:
        """As an operator that has just come to lead."""
        restarts = Restarts(self.cache, lambda: self.seconds)
        restarts.on_free = lambda kind, namespace: self.freed.append((kind, namespace))
        return restarts

    def put(
        self, owner: str, generation: int = 1, label: str = STRATEGY_LABEL, name: str = "", **status: Any
    ) -> Object:
        """A Deployment whose pod is ready, unless the status says otherwise."""
        self.version += 1
        ready = {"observedGeneration": generation, "updatedReplicas": 1, "readyReplicas": 1}
        item = {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {
                "name": name or f"agents-{owner}",
                "namespace": "desk",
                "uid": f"uid-{name or owner}",
                "generation": generation,
                "resourceVersion": str(self.version),
                "labels": {MANAGED_BY_LABEL: MANAGED_BY, label: owner},
            },
            "spec": {"progressDeadlineSeconds": 120},
            "status": {**ready, **status},
        }
        self.cache.put(item)
        return item

    def now(self, kind: Kind = Kind.STRATEGY) -> set[str]:
        return set(self.restarts.of(kind, "desk"))


def test_a_restart_lasts_from_the_change_until_the_pod_is_ready() -> None:
    world = World()
    world.put("a")
    assert world.now() == set()
    world.put("a", 2, observedGeneration=1)
    assert world.now() == {"a"}
    world.put("a", 2, updatedReplicas=0)
    world.put("a", 2, readyReplicas=0)
    assert (world.now(), world.freed) == ({"a"}, [])
    world.put("a", 2)
    assert (world.now(), world.freed) == (set(), [(Kind.STRATEGY, "desk")])


def test_one_that_gives_up_leaves_its_turn() -> None:
    world = World()
    world.put("a")
    world.put("a", 2, observedGeneration=1)
    world.put("a", 2, readyReplicas=0, conditions=[TOO_LATE])
    assert (world.now(), len(world.freed)) == (set(), 1)


def test_one_that_is_gone_leaves_its_turn() -> None:
    world = World()
    world.put("a")
    world.cache.remove(world.put("a", 2, observedGeneration=1))
    assert (world.now(), len(world.freed)) == (set(), 1)


def test_one_of_which_nothing_is_told_leaves_its_turn_in_the_end() -> None:
    world = World()
    world.put("a")
    world.put("b")
    world.put("a", 2, observedGeneration=1)
    world.seconds = LONGEST_SECONDS
    world.put("b", 2, observedGeneration=1)
    assert world.now() == {"a", "b"}
    world.seconds += 1.0
    assert world.now() == {"b"}


def test_a_pod_that_crashes_or_starts_for_the_first_time_takes_no_turn() -> None:
    world = World()
    world.put("crashes")
    world.put("crashes", readyReplicas=0)
    world.put("crashes", 2, readyReplicas=0)
    world.put("starts", readyReplicas=0, updatedReplicas=0, observedGeneration=0)
    world.put("starts", readyReplicas=0)
    assert world.now() == set()


def test_a_strategy_of_four_deployments_takes_one_turn_until_all_are_ready() -> None:
    world = World()
    names = [f"agent-{role}-a" for role in ("feature", "signal", "portfolio", "execution")]
    for name in names:
        world.put("a", name=name)
    for name in names:
        world.put("a", 2, name=name, observedGeneration=1)
    for name in names:
        assert world.now() == {"a"}
        world.put("a", 2, name=name)
    assert (world.now(), len(world.freed)) == (set(), 1)


def test_it_begins_with_the_decision_and_ends_with_it_when_nothing_was_changed() -> None:
    world, key = World(), Key(Kind.STRATEGY, "desk", "a")
    world.put("a", readyReplicas=0)
    world.restarts.begin(key)
    assert world.now() == {"a"}
    world.restarts.carried_out(key)
    assert (world.now(), len(world.freed)) == (set(), 1)
    world.restarts.begin(key)
    world.put("a", 2, readyReplicas=0, observedGeneration=1)
    world.restarts.carried_out(key)
    assert world.now() == {"a"}, "its agents worked, although they were not ready"


def test_gateways_and_strategies_do_not_wait_for_each_other() -> None:
    world = World()
    world.put("a", label=VENUE_LABEL)
    world.put("a", 2, label=VENUE_LABEL, observedGeneration=1)
    assert (world.now(Kind.VENUE), world.now()) == ({"a"}, set())
    assert set(world.restarts.of(Kind.VENUE, "other")) == set()


def test_who_comes_to_lead_knows_who_restarts() -> None:
    world = World()
    world.put("ready")
    world.put("restarts", 2, observedGeneration=1)
    world.put("gave-up", 2, readyReplicas=0, conditions=[TOO_LATE])
    world.restarts = world.follow()
    assert world.now() == {"restarts"}
