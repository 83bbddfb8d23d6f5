"""Which keys an event concerns: exactly these are looked at again, however many others there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_api.names import CLEAR_HALT_ANNOTATION, FINALIZER, Key, Kind
from crowetrade_api.v1alpha1.strategy import StrategyStatus
from crowetrade_api_tests.samples import kill_manifest
from crowetrade_operator.bus.news import GatewayNews, News
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.reconcile.controller import Controller
from crowetrade_operator_tests.reconcile.test_indexes import operator
from crowetrade_operator_tests.samples import (
    account,
    change,
    gateway_status,
    limit_manifest,
    strategy_manifest,
    venue_manifest,
)

Object = dict[str, Any]
STRATEGIES = [f"Strategy desk/s{number}" for number in range(5)]
AT_A, AT_B = STRATEGIES[:3], STRATEGIES[3:]
"""Who trades at venue a, and at venue b."""


class World:
    """A namespace with two venues, whose queue is empty, and another one that nothing concerns."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.version = 0
        self.controller: Controller = operator(self.cache)
        for name in ("a", "b"):
            self.put(venue_manifest(name))
        for number in range(5):
            self.put(self.strategy(f"s{number}", "a" if number < 3 else "b"))
        self.put(change(limit_manifest("limit"), "spec.aggregate", "PerStrategy"))
        self.put(venue_manifest("a", "other"))
        self.put(change(strategy_manifest("s0", "other"), "spec.instruments.0.venueRef.name", "a"))
        self.put(limit_manifest("limit", "other"))
        self.taken()

    @staticmethod
    def strategy(name: str, venue: str) -> Object:
        return change(strategy_manifest(name), "spec.instruments.0.venueRef.name", venue)

    def put(self, manifest: Object, status: Object | None = None, **metadata: Any) -> None:
        self.version += 1
        known = self.cache.get(manifest["kind"], manifest["metadata"]["namespace"], manifest["metadata"]["name"])
        uid = known["metadata"]["uid"] if known is not None else f"uid-{self.version}"
        own = {"uid": uid, "resourceVersion": str(self.version), "generation": 1}
        self.cache.put({**manifest, "metadata": {**manifest["metadata"], **own, **metadata}, "status": status or {}})

    def taken(self) -> list[str]:
        """What waits now, and what waits for its turn; taken away."""
        queue = self.controller.queue
        keys = {*queue._dirty, *queue._timers}
        queue._dirty.clear()
        queue._since.clear()
        for timer in queue._timers.values():
            timer.cancel()
        queue._timers.clear()
        return sorted(_text(key) for key in keys)


async def _all(controller: Controller) -> list[str]:
    """What waits, in the order in which it is taken."""
    taken = []
    while len(controller.queue):
        taken.append(await controller.queue.get())
        controller.queue.done(taken[-1])
    return [_text(key) for key in taken]


def _text(key: Key) -> str:
    return f"{key.kind.value} {key.namespace}/{key.name}"


VENUE_A, VENUE_B, LIMIT = "VenueConnection desk/a", "VenueConnection desk/b", "RiskLimit desk/limit"
EVENTS: dict[str, tuple[Callable[[World], None], list[str]]] = {
    "a model is edited": (
        lambda world: world.put(change(world.strategy("s0", "a"), "spec.model.parameters", {"fast": 5}), generation=2),
        ["Strategy desk/s0"],
    ),
    "a strategy is suspended": (
        lambda world: world.put(change(world.strategy("s0", "a"), "spec.suspend", True), generation=2),
        [LIMIT, "Strategy desk/s0", VENUE_A],
    ),
    "a strategy moves": (
        lambda world: world.put(world.strategy("s0", "b"), generation=2),
        [LIMIT, "Strategy desk/s0", VENUE_A, VENUE_B],
    ),
    "a strategy gets its finalizer": (lambda world: world.put(world.strategy("s0", "a"), finalizers=[FINALIZER]), []),
    "a strategy's status is written": (lambda world: world.put(world.strategy("s0", "a"), {"phase": "Trading"}), []),
    "what a strategy has left is recorded": (
        lambda world: world.put(
            world.strategy("s0", "a"), {"venues": [{"namespace": "desk", "name": "b", "symbols": []}]}
        ),
        [LIMIT, "Strategy desk/s0", VENUE_A, VENUE_B],
    ),
    "a venue is edited": (
        lambda world: world.put(change(venue_manifest("a"), "spec.suspend", True), generation=2),
        [LIMIT, *AT_A, VENUE_A],
    ),
    "a venue's figures are written": (lambda world: world.put(venue_manifest("a"), {"journal": {"sequence": 7}}), []),
    "a venue's token is on record": (
        lambda world: world.put(venue_manifest("a"), {"session": {"fencingToken": 7}}),
        [VENUE_A],
    ),
    "a limit is edited": (
        lambda world: world.put(change(limit_manifest("limit"), "spec.aggregate", "PerStrategy"), generation=2),
        [LIMIT, VENUE_A, VENUE_B],
    ),
}


@pytest.mark.parametrize("case", EVENTS)
async def test_of_an_event_at_the_api_server(case: str) -> None:
    world, (event, expected) = World(), EVENTS[case][:]
    event(world)
    assert world.taken() == sorted(expected)


async def test_what_stops_and_gateways_come_before_all_who_trade() -> None:
    """As a venue of a large fleet would wait for minutes until its turn, and nobody could trade there."""
    world = World()
    world.put(kill_manifest())
    controller = operator(world.cache)
    controller.begin()
    kinds = [text.partition(" ")[0] for text in await _all(controller)]
    assert [*dict.fromkeys(kinds)] == ["KillSwitch", "RiskLimit", "VenueConnection", "Strategy"]


@pytest.mark.parametrize(("strategies", "seconds"), [(6, 10.0), (1_000, 10.0), (10_000, 100.0)])
def test_a_fleet_that_is_on_its_way_is_not_looked_at_all_the_time(strategies: int, seconds: float) -> None:
    """A hundred a second, and one alone each time that its gateway may have fallen silent."""
    cache = Cache()
    for number in range(strategies):
        item = strategy_manifest(f"s{number}")
        cache.put({**item, "metadata": {**item["metadata"], "uid": f"uid-{number}", "resourceVersion": "1"}})
    controller = operator(cache)
    assert controller.context.settings.silent_after_seconds == 10.0
    assert controller._requeue_after_seconds([], changes=True) == seconds
    assert controller._requeue_after_seconds([]) is None


async def test_the_record_that_a_person_has_cleared_is_looked_at_when_it_is_stored() -> None:
    world = World()
    cleared = {CLEAR_HALT_ANNOTATION: "JournalBelowRecord"}
    world.put(venue_manifest("a"), {"journal": {"sequence": 7}}, annotations=cleared)
    world.taken()
    world.put(venue_manifest("a"), {"journal": {"sequence": 3}}, annotations=cleared)
    assert world.taken() == [VENUE_A]


async def test_a_limit_that_counts_over_gateways_makes_all_venues_one() -> None:
    world = World()
    world.put(change(limit_manifest("limit"), "spec.aggregate", "Total"), generation=2)
    world.taken()
    world.put(change(world.strategy("s0", "a"), "spec.suspend", True), generation=2)
    assert world.taken() == [LIMIT, "Strategy desk/s0", VENUE_A, VENUE_B]


async def test_of_what_a_gateway_says() -> None:
    world = World()
    spoke = world.controller.gateway_reported
    spoke("desk", "a", GatewayNews(News.STATE))
    assert world.taken() == [LIMIT, *AT_A, VENUE_A]
    spoke("desk", "a", GatewayNews(News.NOTHING, {"s0": News.STATE, "s1": News.FIGURES}))
    assert world.taken() == [LIMIT, "Strategy desk/s0"], "figures wait for their turn"
    spoke("desk", "a", GatewayNews(News.FIGURES, {"s0.other": News.STATE}))
    assert world.taken() == [LIMIT, "Strategy other/s0"]


async def test_of_who_reports_where_another_operator_works() -> None:
    """Nothing of it is in the cache, so a key of it would count as gone and what was reported be forgotten."""
    world = World()
    context = world.controller.context
    context.settings = replace(context.settings, namespaces=("desk",))
    world.put(kill_manifest("stop", "desk"))
    world.taken()
    now = [0.0]
    board = context.bus.board
    board.clock = lambda: now[0]
    kills = [kill_pb2.KillAcknowledgement(namespace="desk", name="stop", generation=1)]
    news = board.record_gateway_status(gateway_status(namespace="far", name="a", kills=kills))
    world.controller.gateway_reported("far", "a", news)
    assert world.taken() == ["KillSwitch desk/stop"]
    world.controller.gateway_reported("far", "a", GatewayNews(News.FIGURES, {"s0": News.STATE}))
    world.controller.agent_reported("far", "s0", News.STATE)
    assert world.taken() == []
    assert board.gateways() == [("far", "a")]
    now[0] = 10.1
    world.controller.notice_silence()
    assert world.taken() == []
    assert board.gateways() == [], "who is silent and has no configuration counts no more"
    news = board.record_gateway_status(gateway_status(namespace="far", name="a", kills=kills))
    world.controller.gateway_reported("far", "a", news)
    assert world.taken() == ["KillSwitch desk/stop"]


async def test_of_what_an_agent_says() -> None:
    world = World()
    world.controller.agent_reported("desk", "s0", News.FIGURES)
    assert world.taken() == []
    world.controller.agent_reported("desk", "s0", News.STATE)
    assert world.taken() == ["Strategy desk/s0"]


@pytest.mark.parametrize("news", [News.FIRST, News.STATE])
async def test_first_reports_do_not_go_before_what_was_changed(news: News) -> None:
    """As when a new leader hears ten thousand for the first time."""
    world = World()
    for item in [item for kind in Kind for item in world.cache.of_kind(kind.value)]:
        world.put(item, {"observedGeneration": 1})
    controller = operator(world.cache)
    controller.enqueue_all()
    controller.gateway_reported("desk", "a", GatewayNews(news))
    controller.agent_reported("desk", "s3", news)
    world.put(change(limit_manifest("limit"), "spec.aggregate", "Total"), generation=2)
    taken = await _all(controller)
    told = [LIMIT, VENUE_A, *AT_A, "Strategy desk/s3"]
    first = [LIMIT, VENUE_A, VENUE_B] if news is News.FIRST else [*told, VENUE_B]
    assert sorted(taken[: len(first)]) == sorted(first)
    controller.agent_reported("desk", "s3", news)
    assert await _all(controller) == ["Strategy desk/s3"]


async def test_of_silence() -> None:
    world = World()
    board = world.controller.context.bus.board
    now = [0.0]
    board.clock = lambda: now[0]
    board.record_gateway_status(gateway_status(accounts=[account("s3")], name="b"))
    board.record_agent_status(status_pb2.AgentStatus(namespace="desk", strategy="s0", pod="p"))
    world.controller.notice_silence()
    assert world.taken() == []
    now[0] = 10.1
    world.controller.notice_silence()
    assert world.taken() == [LIMIT, "Strategy desk/s0", *AT_B, VENUE_B]


async def test_of_a_namespace_whose_labels_have_changed() -> None:
    world = World()
    world.controller.namespace_changed("desk")
    assert world.taken() == [LIMIT, *STRATEGIES, VENUE_A, VENUE_B]


def namespace(version: int, team: str, uid: str = "uid-desk", **metadata: Any) -> Object:
    own = {"name": "desk", "uid": uid, "resourceVersion": str(version), "labels": {"team": team}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {**own, **metadata}}


async def test_of_a_namespace_that_the_watch_brings() -> None:
    world, everything = World(), [LIMIT, *STRATEGIES, VENUE_A, VENUE_B]
    context = world.controller.context
    world.cache.put(namespace(100, "fx"))
    assert world.taken() == everything
    assert context.namespace_view("desk").namespace_labels == {"team": "fx"}
    await context.know_namespace("desk")  # it is not read, for nobody is there to ask
    world.cache.put(namespace(101, "fx", annotations={"seen": "yes"}))
    assert world.taken() == []
    world.cache.put(namespace(102, "rates"))
    assert world.taken() == everything
    assert context.namespace_view("desk").namespace_labels == {"team": "rates"}

    ending = namespace(103, "rates", deletionTimestamp="2026-01-05T09:00:00Z")
    world.cache.put(ending)
    assert world.taken() == everything
    assert context.namespace_view("desk").terminating == {"desk"}
    world.cache.remove(ending)
    world.cache.put(namespace(105, "rates", uid="uid-of-its-successor"))
    assert context.namespace_view("desk").terminating == frozenset()


async def test_who_begins_to_lead_looks_first_at_what_was_changed_while_nobody_worked() -> None:
    world = World()
    for number in range(5):
        world.put(world.strategy(f"s{number}", "a"), {"observedGeneration": 1})
    world.put(world.strategy("s3", "a"), {"observedGeneration": 1}, generation=2)
    world.taken()
    world.controller.begin()
    lines = {_text(key): first for key, first in world.controller.queue._dirty.items()}
    assert {key for key, first in lines.items() if key in STRATEGIES and first} == {"Strategy desk/s3"}
    assert set(STRATEGIES) <= lines.keys(), "everything is looked at"


async def test_what_an_operator_before_this_one_reported_is_known_with_its_conditions() -> None:
    """Of what is read from a resource they are no part: they take more memory than the rest."""
    world, key = World(), Key(Kind.STRATEGY, "desk", "s0")
    ready = {"type": "Ready", "status": "True", "reason": "Available", "message": "", "observedGeneration": 1}
    ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    unreadable = {"phase": "A word of another version", "configHash": "abc"}
    world.put(world.strategy("s0", "a"), status={**unreadable, "conditions": [ready]})
    resource = world.controller.context.strategy(key)
    assert resource is not None
    assert (resource.status.conditions, resource.status.config_hash) == ([], "abc")
    previous = world.controller._previous(key, resource, StrategyStatus)
    assert [item.to_api() for item in previous.conditions] == [ready]
    assert previous.config_hash == "abc"
    world.put(world.strategy("s0", "a"), status={"conditions": [ready]}, uid="another")
    assert world.controller._previous(key, resource, StrategyStatus).conditions == [], "another has the name now"
