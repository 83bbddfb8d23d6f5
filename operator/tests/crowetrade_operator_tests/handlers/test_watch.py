"""kopf in its thread, against a real API server: what it tells, and that its end is known whatever it does about it."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from kopf._core.reactor.inventory import ResourceMemories

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import CUSTOM, RISK_LIMITS, ApiResource
from crowetrade_operator.handlers import watch as handlers
from crowetrade_operator.handlers.watch import Watch
from crowetrade_operator_tests.samples import limit_manifest
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]


class Seen:
    """What kopf has brought; it calls from its own thread."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str]] = []
        self.lists: list[tuple[ApiResource, str]] = []
        self.heard_of: set[tuple[ApiResource, str]] = set()

    def take(self, type_: str, item: Object) -> None:
        self.events.append((type_, item["metadata"]["name"]))

    def listed(self, resource: ApiResource, namespace: str) -> None:
        self.lists.append((resource, namespace))

    def heard(self, resource: ApiResource, namespace: str) -> None:
        self.heard_of.add((resource, namespace))


@pytest.fixture
async def start() -> AsyncIterator[Callable[[Any, str], tuple[Watch, Seen]]]:
    """Starts kopf for a namespace."""
    watches: list[Watch] = []

    def started(configuration: Any, namespace: str) -> tuple[Watch, Seen]:
        seen = Seen()
        watches.append(Watch(configuration, (namespace,), seen.take, seen.listed, seen.heard))
        watches[-1].start()
        return watches[-1], seen

    yield started
    for watch in watches:
        watch.stop()
        await asyncio.to_thread(watch.join, 10.0)


async def test_each_list_is_told_with_its_kind_and_namespace(
    cluster: Cluster, namespace: str, start: Callable[[Any, str], tuple[Watch, Seen]]
) -> None:
    """What was there is brought by our own list, and by kopf not at all."""
    for name in ("listed", "as-well"):
        await cluster.create(RISK_LIMITS, namespace, limit_manifest(name, namespace=namespace))
    watch, seen = start(cluster.configuration, namespace)
    await until("all kinds to be listed", lambda: len(seen.lists) == len(CUSTOM))
    assert set(seen.lists) == {(resource, namespace) for resource in CUSTOM}
    await cluster.create(RISK_LIMITS, namespace, limit_manifest("added", namespace=namespace))
    await until("what came", lambda: seen.events == [("ADDED", "added")])
    assert watch.alive


async def test_kopf_remembers_no_objects(
    cluster: Cluster, namespace: str, start: Callable[[Any, str], tuple[Watch, Seen]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be 0.6 KiB of each, for handlers that there are not."""
    asked: list[Any] = []
    recall = ResourceMemories.recall

    async def noted(memories: ResourceMemories, *said: Any, **named: Any) -> Any:
        asked.append(memories)
        return await recall(memories, *said, **named)

    monkeypatch.setattr(ResourceMemories, "recall", noted)
    _, seen = start(cluster.configuration, namespace)
    await until("all kinds to be listed", lambda: len(seen.lists) == len(CUSTOM))
    await cluster.create(RISK_LIMITS, namespace, limit_manifest("added", namespace=namespace))
    await until("what came", lambda: seen.events == [("ADDED", "added")])
    assert [list(memories.iter_all_memories()) for memories in asked] == [[]]


async def test_a_bookmark_is_told_although_no_handler_sees_it(
    cluster: Cluster,
    namespace: str,
    start: Callable[[Any, str], tuple[Watch, Seen]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    streaming = handlers.settings()
    # The API server sends one about once a minute, and at once where a watch begins with what is there.
    streaming.watching.initial_streaming = True
    monkeypatch.setattr(handlers, "settings", lambda: streaming)
    _, seen = start(cluster.configuration, namespace)
    await until("all kinds to be heard of", lambda: seen.heard_of == {(resource, namespace) for resource in CUSTOM})
    assert seen.events == []


async def test_credentials_that_are_refused_end_it(
    cluster: Cluster, namespace: str, start: Callable[[Any, str], tuple[Watch, Seen]]
) -> None:
    """It does not log in with them again and again."""
    stranger = copy.copy(cluster.configuration)
    stranger.cert_file = stranger.key_file = None
    stranger.api_key = {"BearerToken": "Bearer nobody"}
    watch, seen = start(stranger, namespace)
    await until("it to end", lambda: not watch.alive)
    assert seen.lists == []
    assert "cannot be watched: 401 Unauthorized" in watch.cause()
