"""Whatever is changed in whatever order: what is kept from one reconcile to the next is what a new operator would see.

An event that is narrower than what it concerns would leave a gateway with a configuration that is not the one wanted.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, cast

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crowetrade_api.names import Key, Kind, control_address
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.bus.status_board import StatusBoard
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.events import Recorder
from crowetrade_operator.cluster.status import StatusWriter
from crowetrade_operator.control.orders import DirectOrders
from crowetrade_operator.reconcile.context import Context
from crowetrade_operator.reconcile.controller import Controller
from crowetrade_operator.reconcile.indexes import Indexes, Unobserved
from crowetrade_operator_tests.samples import SETTINGS, limit_manifest, strategy_manifest, venue_manifest

Object = dict[str, Any]
NAMESPACES, NAMES, VENUES, DESKS = ("desk", "venues"), ("a", "b"), ("sim-fx", "sim-us"), ("fx", "rates")
PLACES = st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(NAMES))


def operator(cache: Cache) -> Controller:
    """One that has no cluster and no bus: what it would write is not looked at."""
    nowhere = cast(Cluster, None)
    context = Context(
        settings=SETTINGS,
        cluster=nowhere,
        cache=cache,
        bus=Bus("nats://127.0.0.1:9", StatusBoard()),
        direct=DirectOrders(control_address),
        status=StatusWriter(nowhere, 1.0),
        recorder=Recorder(nowhere, "operator-0"),
        indexes=Indexes.of(cache),
    )
    return Controller(context)


class Edits(RuleBasedStateMachine):
    """Edits of everything that a configuration is made of, while an operator works."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = Cache()
        self.controller = operator(self.cache)
        self.loop = asyncio.new_event_loop()
        self.versions = itertools.count(1)
        self.revisions: dict[Key, str] = {}

    def put(self, manifest: Object, namespace: str, **spec: Any) -> None:
        """A new object, or a newer version of it."""
        known = self.cache.get(manifest["kind"], namespace, manifest["metadata"]["name"])
        version = next(self.versions)
        uid = known["metadata"]["uid"] if known is not None else f"uid-{version}"
        metadata = {"namespace": namespace, "uid": uid, "generation": version, "resourceVersion": str(version)}
        item = {**manifest, "metadata": {**manifest["metadata"], **metadata}, "spec": {**manifest["spec"], **spec}}
        self.loop.run_until_complete(self.event(lambda: self.cache.put(item)))

    @staticmethod
    async def event(change: Callable[[], object]) -> None:
        """Timers need a loop; none of them comes due."""
        change()

    def teardown(self) -> None:
        self.controller.queue.close()
        self.loop.close()

    @initialize(aggregate=st.sampled_from(["PerStrategy", "Total"]))
    def two_venues_and_a_limit(self, aggregate: str) -> None:
        for name in VENUES:
            self.venue("desk", name, suspend=False, open_to_all=True)
        self.put(limit_manifest("a", "desk"), "desk", aggregate=aggregate, scope={})
        self.strategy(("desk", "a"), [("desk", VENUES[0])], DESKS[0], suspend=False)
        self.the_queue_is_worked_off()

    @rule(
        place=PLACES,
        venues=st.lists(st.tuples(st.sampled_from(NAMESPACES), st.sampled_from(VENUES)), min_size=1, max_size=2),
        desk=st.sampled_from(DESKS),
        suspend=st.booleans(),
    )
    def strategy(self, place: tuple[str, str], venues: list[tuple[str, str]], desk: str, suspend: bool) -> None:
        manifest = strategy_manifest(place[1], place[0])
        manifest["metadata"]["labels"] = {"desk": desk}
        refs = [
            {"name": name, "namespace": namespace} for namespace, name in {item[1]: item for item in venues}.values()
        ]
        instruments = [{**manifest["spec"]["instruments"][0], "venueRef": ref} for ref in refs]
        self.put(manifest, place[0], instruments=instruments, suspend=suspend)

    @rule(place=PLACES)
    def strategy_that_cannot_be_read(self, place: tuple[str, str]) -> None:
        self.put(strategy_manifest(place[1], place[0]), place[0], mode="Telepathy")

    @rule(
        namespace=st.sampled_from(NAMESPACES),
        name=st.sampled_from(VENUES),
        suspend=st.booleans(),
        open_to_all=st.booleans(),
    )
    def venue(self, namespace: str, name: str, suspend: bool, open_to_all: bool) -> None:
        allowed = {"allowedStrategies": {"namespaces": {"from": "All"}}} if open_to_all else {}
        self.put(venue_manifest(name, namespace), namespace, suspend=suspend, **allowed)

    @rule(
        namespace=st.sampled_from(NAMESPACES),
        name=st.sampled_from(NAMES),
        aggregate=st.sampled_from(["PerStrategy", "Total"]),
        desk=st.sampled_from(DESKS),
    )
    def limit(self, namespace: str, name: str, aggregate: str, desk: str) -> None:
        scope = {"strategySelector": {"matchLabels": {"desk": desk}}}
        self.put(limit_manifest(name, namespace), namespace, aggregate=aggregate, scope=scope)

    @rule(namespace=st.sampled_from(NAMESPACES), name=st.sampled_from(NAMES))
    def limit_that_cannot_be_read(self, namespace: str, name: str) -> None:
        self.put(limit_manifest(name, namespace), namespace, enforcement="Perhaps")

    @rule(
        kind=st.sampled_from(["Strategy", "VenueConnection", "RiskLimit"]),
        namespace=st.sampled_from(NAMESPACES),
        name=st.sampled_from((*NAMES, *VENUES)),
    )
    def deletion(self, kind: str, namespace: str, name: str) -> None:
        known = self.cache.get(kind, namespace, name)
        if known is not None:
            self.loop.run_until_complete(self.event(lambda: self.cache.remove(known)))

    @rule(namespace=st.sampled_from(NAMESPACES), name=st.sampled_from(VENUES))
    def a_venue_is_looked_at(self, namespace: str, name: str) -> None:
        """What is compiled then is kept."""
        self.revisions[Key(Kind.VENUE, namespace, name)] = self.revision(self.controller, namespace, name)

    @rule()
    def the_queue_is_worked_off(self) -> None:
        queue = self.controller.queue
        while len(queue):
            key = queue._next()
            assert key is not None
            del queue._dirty[key]
            if key.kind is Kind.VENUE:
                self.a_venue_is_looked_at(key.namespace, key.name)

    @invariant()
    def a_new_operator_would_see_the_same(self) -> None:
        cache = Cache()
        for kind in Kind:
            for item in self.cache.of_kind(kind.value):
                cache.put(item)
        fresh = operator(cache)
        for namespace, name in itertools.product(NAMESPACES, VENUES):
            key = Key(Kind.VENUE, namespace, name)
            assert set(self.controller.context.traders.at(namespace, name)) == set(
                fresh.context.traders.at(namespace, name)
            )
            wanted = self.revision(fresh, namespace, name)
            assert self.revision(self.controller, namespace, name) == wanted
            if self.revisions.get(key, wanted) != wanted:
                assert key in self.controller.queue._dirty, f"{key} is not looked at again"
        for namespace in NAMESPACES:
            assert self.controller.context.traders.guests(namespace) == fresh.context.traders.guests(namespace)
            assert self.controller.context.traders.homes(namespace) == fresh.context.traders.homes(namespace)

    @staticmethod
    def revision(controller: Controller, namespace: str, name: str) -> str:
        around = controller.context.namespace_view(namespace)
        venue = around.venues.get(name)
        return around.config(venue).revision if venue is not None else ""


Edits.TestCase.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
TestEdits = Edits.TestCase


@given(st.lists(st.tuples(PLACES, st.sampled_from(("observed", "changed", "deleted", "gone"))), max_size=20))
def test_who_waits_for_a_look_is_known_however_it_came_about(steps: list[tuple[tuple[str, str], str]]) -> None:
    """Whether the cache was followed from the beginning, or read in the end."""
    cache = Cache()
    followed, waits = Unobserved(cache), dict[Key, bool]()
    for version, ((namespace, name), what) in enumerate(steps, 1):
        item = strategy_manifest(name, namespace=namespace)
        item["metadata"] |= {"uid": f"{namespace}-{name}", "resourceVersion": str(version), "generation": 2}
        item["status"] = {"observedGeneration": 1 if what == "changed" else 2}
        if what == "deleted":
            item["metadata"]["deletionTimestamp"] = "2026-03-01T09:00:00Z"
        key = Key(Kind.STRATEGY, namespace, name)
        if what == "gone":
            cache.remove(item)
            waits.pop(key, None)
        else:
            cache.put(item)
            waits[key] = what != "observed"
    everywhere = [Key(Kind.STRATEGY, *place) for place in itertools.product(NAMESPACES, NAMES)]
    read = Unobserved(cache)
    for key in everywhere:
        assert (key in followed) is (key in read) is waits.get(key, False)
