"""The cache beside a server that remembers its history: whatever comes in whatever order, the cache has each place as
it was at the newest version that anything has said of it, and after the last list as it is.

Now and then the server is restored from a backup. Then nothing is expected before the next list, and what was on its
way is lost when that list begins, as it is with the connections of a server that starts again. Versions go back, and no
object gets one for the second time: before it comes to that, the operator has ended (cluster/lease.py).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from crowetrade_api.names import STRATEGY_LABEL, Key, Kind
from crowetrade_operator.cluster.cache import Cache, Listed
from crowetrade_operator.cluster.objects import version_of
from crowetrade_operator.cluster.resources import DEPLOYMENTS

Object = dict[str, Any]
Event = tuple[str, Object]
STEP = 100
"""Between two versions, with the number of restores added."""
NAMES = st.sampled_from(["a", "b"])
OWNERS = st.sampled_from(["ema", "rsi"])


def deployment(name: str, uid: str, version: int, owner: str) -> Object:
    labels = {STRATEGY_LABEL: owner} if owner else {}
    metadata = {"name": name, "namespace": "desk", "uid": uid, "resourceVersion": str(version), "labels": labels}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "status": {"replicas": version}}


@dataclass
class Server:
    """What is stored, also without the label that lists and watches select."""

    version: int = STEP
    stored: dict[str, Object] = field(default_factory=dict)
    # Version, name, and what is selected since then.
    history: list[tuple[int, str, Object | None]] = field(default_factory=list)

    def selected(self, name: str) -> Object | None:
        item = self.stored.get(name)
        return item if item is not None and item["metadata"]["labels"] else None

    def listed(self) -> list[Object]:
        return [item for name in self.stored if (item := self.selected(name)) is not None]

    def at(self, name: str, version: int) -> Object | None:
        found = [item for since, of, item in self.history if of == name and since <= version]
        return found[-1] if found else None

    def write(self, name: str, uid: str, owner: str) -> list[Event]:
        """Creates or changes an object, or deletes it when no uid is given; returns what a watch brings of that."""
        before = self.selected(name)
        self.version += STEP
        self.stored.pop(name, None)
        if uid:
            self.stored[name] = deployment(name, uid, self.version, owner)
        after = self.selected(name)
        self.history.append((self.version, name, after))
        if after is not None:
            return [("ADDED" if before is None else "MODIFIED", after)]
        if before is None:
            return []
        return [("DELETED", {**before, "metadata": {**before["metadata"], "resourceVersion": str(self.version)}})]


class Sequences(RuleBasedStateMachine):
    """One kind, one namespace, two names."""

    def __init__(self) -> None:
        super().__init__()
        self.server, self.backup, self.cache = Server(), Server(), Cache()
        self.uids = self.restores = 0
        self.on_the_way: list[Event] = []
        # The newest version that anything has said of a name, and since the list under way began.
        self.said, self.said_meanwhile = {"a": 0, "b": 0}, {"a": 0, "b": 0}
        self.is_reading = False
        self.answer: tuple[list[Listed], int] | None = None
        # The server was restored, and not listed since.
        self.is_restored = False
        self.told: dict[str, Object] = {}
        self.cache.listen(self.hear)

    def hear(self, before: Object | None, after: Object | None) -> None:
        item = after or before
        assert item is not None
        name = item["metadata"]["name"]
        assert (before or {}).get("metadata") == self.told.pop(name, {}).get("metadata")
        if after is not None:
            self.told[name] = after

    @initialize()
    def list_at_the_start(self) -> None:
        self.list_all()

    @rule(name=NAMES, owner=OWNERS, is_ours=st.booleans())
    def create_or_change(self, name: str, owner: str, is_ours: bool) -> None:
        """Where `is_ours`, the answer goes into the cache, as of each write of the operator."""
        known = self.server.stored.get(name)
        self.uids += known is None
        self.on_the_way += self.server.write(name, known["metadata"]["uid"] if known else str(self.uids), owner)
        if is_ours:
            self.take("MODIFIED", self.server.stored[name])

    @rule(name=NAMES)
    def take_the_label_away(self, name: str) -> None:
        if name in self.server.stored:
            self.on_the_way += self.server.write(name, self.server.stored[name]["metadata"]["uid"], owner="")

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        if name in self.server.stored:
            self.on_the_way += self.server.write(name, uid="", owner="")

    @precondition(lambda self: self.on_the_way)
    @rule(data=st.data(), is_last=st.booleans())
    def bring(self, data: st.DataObject, is_last: bool) -> None:
        """kopf keeps the order of the events of one uid alone, and of several that wait it may bring the last alone."""
        uid = data.draw(st.sampled_from(sorted({item["metadata"]["uid"] for _, item in self.on_the_way})))
        waiting = [event for event in self.on_the_way if event[1]["metadata"]["uid"] == uid]
        self.on_the_way = [event for event in self.on_the_way if event not in waiting]
        if not is_last:
            self.on_the_way = waiting[1:] + self.on_the_way
        self.take(*waiting[-1 if is_last else 0])

    @precondition(lambda self: not self.is_reading)
    @rule()
    def watch_again(self) -> None:
        """What was on its way is lost. A watch that begins without a version brings all that is there."""
        self.on_the_way = [("ADDED", item) for item in self.server.listed()]

    @precondition(lambda self: not self.is_reading)
    @rule()
    def begin_list(self) -> None:
        if self.is_restored:
            self.on_the_way = []
        self.cache.begin_list()
        self.is_reading, self.said_meanwhile = True, {"a": 0, "b": 0}

    @precondition(lambda self: self.is_reading and self.answer is None)
    @rule()
    def read_list(self) -> None:
        self.answer = list(map(self.cache.listed, self.server.listed())), self.server.version

    @precondition(lambda self: self.is_reading and self.answer is None)
    @rule()
    def lose_list(self) -> None:
        self.cache.end_list()
        self.is_reading = False

    @precondition(lambda self: self.answer is not None)
    @rule()
    def end_list(self) -> None:
        assert self.answer is not None
        items, version = self.answer
        before = {} if self.is_restored else self.said
        self.is_reading, self.answer, self.is_restored = False, None, False
        self.said = {
            name: max(version, before.get(name, 0), meanwhile) for name, meanwhile in self.said_meanwhile.items()
        }
        self.cache.replace(DEPLOYMENTS, "", items, str(version))
        self.cache.end_list()
        self.agrees()

    @precondition(lambda self: not self.is_reading)
    @rule()
    def back_up(self) -> None:
        self.backup = copy.deepcopy(self.server)

    @precondition(lambda self: not self.is_reading)
    @rule()
    def restore(self) -> None:
        self.server, self.is_restored = copy.deepcopy(self.backup), True
        self.restores += 1
        self.server.version += self.restores - self.server.version % STEP

    def take(self, type_: str, item: Object) -> None:
        name, version = item["metadata"]["name"], version_of(item)
        self.said[name] = max(self.said[name], version)
        self.said_meanwhile[name] = max(self.said_meanwhile[name], version)
        if type_ == "DELETED":
            self.cache.remove(item)
        else:
            self.cache.put(item)
        self.agrees()

    def agrees(self) -> None:
        if not self.is_restored:
            self.holds([item for name in ("a", "b") if (item := self.server.at(name, self.said[name])) is not None])

    def holds(self, expected: list[Object]) -> None:
        found = [item["metadata"] for item in self.cache.all("Deployment", "desk")]
        assert found == [{**item["metadata"], "managedFields": []} for item in expected]
        assert self.cache.count("Deployment") == len(expected)
        assert sorted(self.told) == [item["name"] for item in found]
        for owner in ("ema", "rsi"):
            owned = self.cache.owned(Key(Kind.STRATEGY, "desk", owner))
            labels = {
                item["metadata"]["name"] for item in expected if item["metadata"]["labels"][STRATEGY_LABEL] == owner
            }
            assert {item["metadata"]["name"] for item in owned} == labels

    def list_all(self) -> None:
        if not self.is_reading:
            self.begin_list()
        if self.answer is None:
            self.read_list()
        self.end_list()

    def teardown(self) -> None:
        self.list_all()
        if self.is_restored:
            self.list_all()
        for event in self.on_the_way:
            self.take(*event)
        self.holds([item for name in ("a", "b") if (item := self.server.selected(name)) is not None])


TestSequences = Sequences.TestCase
TestSequences.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
