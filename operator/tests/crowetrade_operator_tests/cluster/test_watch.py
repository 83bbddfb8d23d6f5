"""A watch begins where the list ended, asks for no more than is needed, and lists again when it is refused."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.relist import Relist
from crowetrade_operator.cluster.resources import CONFIG_MAPS, SERVICES, STRATEGIES, ApiResource
from crowetrade_operator.cluster.watch import FIRST_DELAY, Watches
from crowetrade_operator_tests.fault_proxy import Fault, FaultProxy
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import until
from crowetrade_process.stopping import cancelled

pytestmark = pytest.mark.integration
Object = dict[str, Any]
KINDS = (CONFIG_MAPS, SERVICES)


def _ours(resource: ApiResource, name: str, managed_by: str = "crowetrade-operator", **content: Any) -> Object:
    metadata = {"name": name, "labels": {"app.kubernetes.io/managed-by": managed_by}}
    return {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **content}


class Scene:
    """A cache that is filled from one namespace, and what its watches have brought."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cache = Cache()
        self.relist = Relist(cluster, self.cache, (namespace,), kinds=KINDS)
        self.brought: list[tuple[str, str]] = []
        self.sent: dict[str, Object] = {}
        self.watches = Watches(cluster, self.relist, self._take, KINDS)
        self._namespace = namespace

    def _take(self, type_: str, item: Object) -> None:
        self.brought.append((type_, item["metadata"]["name"]))
        self.sent[item["metadata"]["name"]] = item
        if type_ == "DELETED":
            self.cache.remove(item)
        else:
            self.cache.put(item)

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        self.watches.start((self._namespace,))
        task = asyncio.create_task(self.watches.run())
        try:
            yield
        finally:
            await cancelled(task)


@pytest.fixture
async def scene(cluster: Cluster, namespace: str) -> AsyncIterator[Scene]:
    """The namespace, which the test lists when it has made what is to be listed."""
    made = Scene(cluster, namespace)
    yield made
    made.relist.close()


@pytest.fixture
async def proxy(api_server: ApiServer) -> AsyncIterator[FaultProxy]:
    """Stands before the API server for `through_proxy`."""
    async with FaultProxy(api_server, seed=1, slow_seconds=0.0).running() as running:
        yield running


@pytest.fixture
async def through_proxy(proxy: FaultProxy, namespace: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """The namespace behind the proxy, listed while it was empty."""
    line = await connect(str(proxy.kubeconfig(tmp_path)))
    made = Scene(line, namespace)
    await made.relist.fill()
    yield made
    made.relist.close()
    await line.close()


async def test_what_came_between_the_list_and_the_watch_is_brought(
    cluster: Cluster, namespace: str, scene: Scene
) -> None:
    await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "listed", data={"a": "1"}))
    await scene.relist.fill()
    await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "between", data={"a": "1"}))
    await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "theirs", managed_by="Helm"))
    spec = {"selector": {"app": "x"}, "ports": [{"port": 80}]}
    await cluster.create(SERVICES, namespace, _ours(SERVICES, "service", spec=spec))
    async with scene.watching():
        await until("both", lambda: len(scene.brought) == 2)
        assert sorted(scene.brought) == [("ADDED", "between"), ("ADDED", "service")]
        assert "data" not in scene.sent["between"], "the API server sends no content"
        for name in ("listed", "between"):
            found = scene.cache.get("ConfigMap", namespace, name)
            assert found is not None
            assert sorted(found) == ["apiVersion", "kind", "metadata"], "of a ConfigMap the metadata is enough"
            assert found["metadata"]["managedFields"]
        service = scene.cache.get("Service", namespace, "service")
        assert service is not None
        assert service["spec"]["selector"] == {"app": "x"}, "what is compared is kept"
        assert "clusterIP" not in service["spec"]
        await cluster.delete(CONFIG_MAPS, namespace, "listed")
        await until("the deletion", lambda: scene.cache.get("ConfigMap", namespace, "listed") is None)


async def test_all_is_followed_when_each_watch_has_begun_and_what_kopf_has_listed_is_listed(
    cluster: Cluster, namespace: str, scene: Scene
) -> None:
    relist = scene.relist = Relist(cluster, scene.cache, (namespace,), kinds=(*KINDS, STRATEGIES))
    scene.watches = Watches(cluster, relist, scene._take, KINDS)
    await relist.fill()
    followed = asyncio.create_task(relist.followed())
    async with scene.watching():
        await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "a"))
        await cluster.create(SERVICES, namespace, _ours(SERVICES, "b", spec={"ports": [{"port": 80}]}))
        await until("both watches", lambda: len(scene.brought) == len(KINDS))
        assert not followed.done(), "kopf has not listed yet"
        scene.watches.list_again(STRATEGIES, namespace)
        await followed


async def test_a_watch_that_is_refused_leads_to_a_list(
    cluster: Cluster, namespace: str, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "gone"))
    await scene.relist.fill()
    await cluster.delete(CONFIG_MAPS, namespace, "gone")
    known, asked = scene.relist.version, set[str]()

    def none_at_first(resource: ApiResource, place: str) -> str:
        first = resource.kind not in asked
        asked.add(resource.kind)
        return "none" if first else known(resource, place)

    monkeypatch.setattr(scene.relist, "version", none_at_first)
    async with scene.watching():
        await until("the list", lambda: scene.cache.get("ConfigMap", namespace, "gone") is None)
        await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "after"))
        await until("the watch to go on", lambda: ("ADDED", "after") in scene.brought)
    assert ("DELETED", "gone") not in scene.brought


async def test_a_watch_that_brings_something_is_heard_of(cluster: Cluster, namespace: str, scene: Scene) -> None:
    await scene.relist.fill()
    async with scene.watching():
        await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "brought"))
        await until("the event", lambda: ("ADDED", "brought") in scene.brought)
    # Nobody watches any more: what is heard of is not listed either.
    await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "later"))
    await scene.relist.check(grace=0.0)
    assert scene.cache.get("ConfigMap", namespace, "later") is None


async def test_a_watch_that_ends_at_once_is_begun_again_more_and_more_slowly(
    proxy: FaultProxy, through_proxy: Scene, cluster: Cluster, namespace: str
) -> None:
    proxy.empty_watches = frozenset({CONFIG_MAPS.plural})
    began = time.monotonic()
    async with through_proxy.watching():
        await until("five watches", lambda: proxy.spoiled[Fault.WATCH_EMPTY] >= 5)
        # Each pause is at least half of its delay, and the delay doubles.
        assert time.monotonic() - began >= FIRST_DELAY / 2 * (1 + 2 + 4 + 8)
        await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "meanwhile"))
        await until("the list", lambda: through_proxy.cache.get("ConfigMap", namespace, "meanwhile") is not None)
        proxy.empty_watches = frozenset()
        await until("a watch that lasts", lambda: CONFIG_MAPS.plural in proxy.watches())
        await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "later"))
        await until("the watch to go on", lambda: ("ADDED", "later") in through_proxy.brought)


async def test_what_may_not_be_listed_after_a_watch_has_ended_makes_the_namespace_unreadable(
    proxy: FaultProxy, through_proxy: Scene, cluster: Cluster, namespace: str
) -> None:
    """Also to who lists for somebody else's watch; and one kind that can be listed again is not all of them."""
    async with through_proxy.watching():
        await until("both watches", lambda: proxy.watches().keys() == {"configmaps", "services"})
        proxy.refuse_list("configmaps", Fault.LIST_FORBIDDEN)
        assert proxy.end_watches("configmaps", Fault.WATCH_GONE) == 1
        await until("it not to be readable", lambda: through_proxy.relist.readable == ())
        assert "configmaps cannot be listed" in through_proxy.relist.unreadable[namespace]
        await until("the watch to begin again", lambda: "configmaps" in proxy.watches())
        assert through_proxy.relist.readable == (), "the other kinds have not been listed again"
        assert await through_proxy.relist.ask_again() == [namespace]
        proxy.refuse_list("services", Fault.LIST_FORBIDDEN)
        through_proxy.watches.list_again(SERVICES, namespace)
        await until("it not to be readable", lambda: through_proxy.relist.readable == ())
        assert await through_proxy.relist.ask_again() == [namespace]
        assert through_proxy.relist.unreadable == {}


async def test_what_may_be_listed_and_not_watched_makes_the_namespace_unreadable(
    proxy: FaultProxy, through_proxy: Scene, cluster: Cluster, namespace: str
) -> None:
    proxy.forbidden_watches = frozenset({CONFIG_MAPS.plural})
    async with through_proxy.watching():
        await until("it not to be readable", lambda: through_proxy.relist.readable == ())
        told = through_proxy.relist.unreadable[namespace]
        assert told.startswith("configmaps cannot be watched, so nothing is changed there: ")
        assert told.endswith("; does a role of the operator allow it?")
        assert await through_proxy.relist.ask_again() == [], "it can be listed, and that is not enough"
        proxy.forbidden_watches = frozenset()
        await until("the watch", lambda: CONFIG_MAPS.plural in proxy.watches())
        await until_readable(through_proxy)
        await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "later"))
        await until("the watch to go on", lambda: ("ADDED", "later") in through_proxy.brought)


async def until_readable(scene: Scene) -> None:
    async def check() -> bool:
        await scene.relist.ask_again()
        return scene.relist.readable != ()

    await until("it to be readable", check)


async def test_a_watch_that_ends_before_its_time_leads_to_a_list(
    proxy: FaultProxy, through_proxy: Scene, cluster: Cluster, namespace: str
) -> None:
    """Without an error: the server that comes back may count from an earlier version."""
    async with through_proxy.watching():
        await until("both watches", lambda: proxy.watches().keys() == {"configmaps", "services"})
        listed = through_proxy.relist.version(CONFIG_MAPS, namespace)
        await cluster.create(CONFIG_MAPS, namespace, _ours(CONFIG_MAPS, "brought"))
        await until("the event", lambda: ("ADDED", "brought") in through_proxy.brought)
        assert proxy.end_watches("configmaps", Fault.WATCH_ENDED) == 1
        await until("a list", lambda: through_proxy.relist.version(CONFIG_MAPS, namespace) != listed)
