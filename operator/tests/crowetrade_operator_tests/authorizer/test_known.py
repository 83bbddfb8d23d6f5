"""What is known of a kind is followed, at a bearable rate when the API server ends each watch at once, and also when it
comes back from a backup."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from crowetrade_operator.authorizer import known as known_module
from crowetrade_operator.authorizer import metrics
from crowetrade_operator.authorizer.known import Known
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.resources import NAMESPACES, VENUES
from crowetrade_operator_tests.conftest import install_crds
from crowetrade_operator_tests.fault_proxy import Fault, FaultProxy
from crowetrade_operator_tests.samples import venue_manifest
from crowetrade_operator_tests.servers import ApiServer, ControlPlane
from crowetrade_operator_tests.waiting import until
from crowetrade_process.stopping import cancelled

pytestmark = pytest.mark.integration
RETRY_SECONDS = 0.3


async def test_a_watch_that_ends_at_once_is_begun_again_after_a_pause(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_module, "RETRY_SECONDS", RETRY_SECONDS)
    async with FaultProxy(api_server, seed=1, slow_seconds=0.0).running() as proxy:
        proxy.empty_watches = frozenset({VENUES.plural})
        line = await connect(str(proxy.kubeconfig(tmp_path)))
        venues = Known(line, VENUES, lambda _: True, metrics.VENUES, (namespace,))
        began = time.monotonic()
        task = asyncio.create_task(venues.run())
        try:
            await until("four watches", lambda: proxy.spoiled[Fault.WATCH_EMPTY] >= 4)
            assert time.monotonic() - began >= 3 * RETRY_SECONDS
            assert venues.problem == ""
            await cluster.create(VENUES, namespace, venue_manifest("meanwhile", namespace))
            await until("the list", lambda: venues.get(namespace, "meanwhile") is True)
            proxy.empty_watches = frozenset()
            await until("a watch that lasts", lambda: VENUES.plural in proxy.watches())
            await cluster.create(VENUES, namespace, venue_manifest("later", namespace))
            await until("the watch to bring it", lambda: venues.get(namespace, "later") is True)
        finally:
            await cancelled(task)
            await line.close()


@contextlib.asynccontextmanager
async def following(line: Cluster, namespace: str) -> AsyncIterator[Known[bool]]:
    venues = Known(line, VENUES, lambda _: True, metrics.VENUES, (namespace,))
    task = asyncio.create_task(venues.run())
    try:
        yield venues
    finally:
        await cancelled(task)


async def test_what_etcd_has_lost_is_forgotten_also_when_the_watch_has_ended_without_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server stops in order, and comes back with a backup, whose versions are earlier than the last one."""
    monkeypatch.setattr(known_module, "RETRY_SECONDS", RETRY_SECONDS)
    plane = ControlPlane(tmp_path)
    try:
        cluster = await connect(str(plane.server.kubeconfig))
        await install_crds(cluster)
        await cluster.create(NAMESPACES, "", {"metadata": {"name": "desk"}})
        await cluster.create(VENUES, "desk", venue_manifest("before", "desk"))
        async with FaultProxy(plane.server, seed=1, slow_seconds=0.0).running() as proxy:
            folder = tmp_path / "proxy"
            folder.mkdir()
            line = await connect(str(proxy.kubeconfig(folder)))
            async with following(line, "desk") as venues:
                await until("the watch", lambda: VENUES.plural in proxy.watches())
                await asyncio.to_thread(plane.back_up)
                # The watch has broken, and begins again.
                await until("the list", lambda: venues.get("desk", "before") is True)
                for number in range(20):
                    await cluster.create(VENUES, "desk", venue_manifest(f"after-{number}", "desk"))
                await until("the last one", lambda: venues.get("desk", "after-19") is True)
                await until("the watch", lambda: VENUES.plural in proxy.watches())
                with proxy.held(VENUES.plural):
                    assert proxy.end_watches(VENUES.plural, Fault.WATCH_ENDED) == 1
                    await asyncio.to_thread(plane.restore)
                await until("what is lost to be forgotten", lambda: venues.get("desk", "after-19") is None)
                assert venues.get("desk", "before") is True
                await cluster.create(VENUES, "desk", venue_manifest("again", "desk"))
                await until("what comes", lambda: venues.get("desk", "again") is True)
            await line.close()
        await cluster.close()
    finally:
        plane.stop()


async def test_a_kind_that_may_be_listed_and_not_watched_is_told_by_a_metric(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_module, "RETRY_SECONDS", RETRY_SECONDS)
    unreadable = metrics.UNREADABLE.labels(VENUES.kind, namespace)._value
    async with FaultProxy(api_server, seed=1, slow_seconds=0.0).running() as proxy:
        proxy.forbidden_watches = frozenset({VENUES.plural})
        line = await connect(str(proxy.kubeconfig(tmp_path)))
        async with following(line, namespace) as venues:
            await until("it to be told", lambda: unreadable.get() == 1)
            assert venues.problem == "", "it was listed"
            proxy.forbidden_watches = frozenset()
            await until("it not to be told any more", lambda: unreadable.get() == 0)
            await cluster.create(VENUES, namespace, venue_manifest("later", namespace))
            await until("the watch to bring it", lambda: venues.get(namespace, "later") is True)
        await line.close()
