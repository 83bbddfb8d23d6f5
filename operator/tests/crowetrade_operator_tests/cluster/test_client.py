"""The errors of a real API server as the types that callers decide by: again, read first, gone, or never."""

from __future__ import annotations

import asyncio
import time
import weakref
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from crowetrade_operator.cluster import client
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.resources import CONFIG_MAPS, NAMESPACES, RISK_LIMITS
from crowetrade_operator.errors import (
    ClusterError,
    ClusterRefused,
    ClusterUnavailable,
    Conflict,
    NamespaceTerminating,
    NotFound,
)
from crowetrade_operator_tests.fault_proxy import Fault, FaultProxy
from crowetrade_operator_tests.samples import change, limit_manifest
from crowetrade_operator_tests.servers import ApiServer, Wire, free_port
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]


def config_map(name: str, **data: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {"mine": "yes"}},
        "data": data,
    }


@pytest.fixture
async def powerless(api_server: ApiServer) -> AsyncIterator[Cluster]:
    """A client without any right."""
    found = await connect(str(api_server.powerless))
    yield found
    await found.close()


async def test_what_is_not_there_is_not_found(cluster: Cluster, namespace: str) -> None:
    before = counted("api_requests", verb="get", resource="configmaps", code="404")
    with pytest.raises(NotFound, match="not found") as found:
        await cluster.get(CONFIG_MAPS, namespace, "nothing")
    assert found.value.code == 404
    assert counted("api_requests", verb="get", resource="configmaps", code="404") == before + 1


async def test_what_is_there_already_is_a_conflict(cluster: Cluster, namespace: str) -> None:
    await cluster.create(CONFIG_MAPS, namespace, config_map("a"))
    with pytest.raises(Conflict, match="already exists"):
        await cluster.create(CONFIG_MAPS, namespace, config_map("a"))


async def test_nothing_comes_into_a_namespace_that_is_being_deleted(cluster: Cluster, namespace: str) -> None:
    """Nobody finishes the deletion here: there is no namespace controller."""
    await cluster.create(CONFIG_MAPS, namespace, config_map("a"))
    await cluster.delete(NAMESPACES, "", namespace)
    with pytest.raises(NamespaceTerminating, match="is being terminated"):
        await cluster.create(CONFIG_MAPS, namespace, config_map("b"))
    await cluster.merge(CONFIG_MAPS, namespace, "a", {"data": {"x": "2"}})
    await cluster.delete(CONFIG_MAPS, namespace, "a")


async def test_what_was_changed_meanwhile_is_a_conflict(cluster: Cluster, namespace: str) -> None:
    first = await cluster.create(CONFIG_MAPS, namespace, config_map("a", x="1"))
    await cluster.merge(CONFIG_MAPS, namespace, "a", {"data": {"x": "2"}})
    stale = {"metadata": {"resourceVersion": first["metadata"]["resourceVersion"]}, "data": {"x": "3"}}
    with pytest.raises(Conflict):
        await cluster.merge(CONFIG_MAPS, namespace, "a", stale)
    with pytest.raises(Conflict):
        await cluster.replace(CONFIG_MAPS, namespace, "a", {**first, "data": {"x": "3"}})
    assert (await cluster.get(CONFIG_MAPS, namespace, "a"))["data"] == {"x": "2"}


async def test_what_breaks_a_rule_is_refused_in_the_words_of_the_rule(cluster: Cluster, namespace: str) -> None:
    wrong = change(limit_manifest(namespace=namespace), "spec.limits", {"maxOrderQuantity": "-1"})
    with pytest.raises(ClusterRefused, match="must be a decimal number in quotes") as found:
        await cluster.create(RISK_LIMITS, namespace, wrong)
    assert found.value.code == 422


async def test_what_is_not_allowed_is_refused(powerless: Cluster, namespace: str) -> None:
    with pytest.raises(ClusterRefused, match="powerless") as found:
        await powerless.list(CONFIG_MAPS, namespace)
    assert found.value.code == 403


async def test_nobody_who_answers_is_unavailable(api_server: ApiServer, tmp_path: Path) -> None:
    nowhere = await connect(str(api_server.at(free_port(), tmp_path)))
    before = counted("api_requests", code="0")
    with pytest.raises(ClusterUnavailable, match="no answer from the API server") as found:
        await nowhere.get(CONFIG_MAPS, "default", "a")
    assert found.value.code == 0
    assert counted("api_requests", code="0") == before + 1
    await nowhere.close()


async def test_a_line_that_breaks_is_unavailable_and_may_be_tried_again(
    wired: Cluster, wire: Wire, namespace: str
) -> None:
    await wired.create(CONFIG_MAPS, namespace, config_map("a"))
    await wire.cut()
    with pytest.raises(ClusterUnavailable):
        await wired.get(CONFIG_MAPS, namespace, "a")
    await wire.mend()
    assert (await wired.get(CONFIG_MAPS, namespace, "a"))["metadata"]["name"] == "a"


ANSWERS: dict[str, tuple[int, str, type[ClusterError], str]] = {
    "too many requests": (429, '{"message": "slow down"}', ClusterUnavailable, "slow down"),
    "an error of its own": (500, '{"message": "etcd is gone"}', ClusterUnavailable, "etcd is gone"),
    "a proxy that does not speak JSON": (503, "<html>upstream</html>", ClusterUnavailable, "<html>upstream</html>"),
    "gone": (410, '{"message": "too old resource version"}', ClusterRefused, "too old"),
}


@pytest.mark.parametrize("case", ANSWERS)
async def test_what_a_healthy_api_server_does_not_say(case: str, api_server: ApiServer, tmp_path: Path) -> None:
    """An overloaded one does, and so does a proxy before it. No real one can be brought to it in a test."""
    code, body, expected, words = ANSWERS[case]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=code, text=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    kubeconfig = api_server.at(runner.addresses[0][1], tmp_path)
    kubeconfig.write_text(kubeconfig.read_text().replace("https://", "http://"))
    overloaded = await connect(str(kubeconfig))
    with pytest.raises(expected, match=words) as found:
        await overloaded.get(CONFIG_MAPS, "default", "a")
    assert found.value.code == code
    await overloaded.close()
    await runner.cleanup()


async def test_long_lists_come_in_pages_and_whole(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "PAGE", 2)
    for number in range(5):
        await cluster.create(CONFIG_MAPS, namespace, config_map(f"c{number}"))
    await cluster.create(CONFIG_MAPS, namespace, {**config_map("other"), "metadata": {"name": "other"}})
    before = counted("api_requests", verb="list", resource="configmaps")
    items, version = await cluster.list(CONFIG_MAPS, namespace, "mine=yes")
    assert [item["metadata"]["name"] for item in items] == [f"c{number}" for number in range(5)]
    assert {(item["apiVersion"], item["kind"]) for item in items} == {("v1", "ConfigMap")}
    assert int(version) >= max(int(item["metadata"]["resourceVersion"]) for item in items)
    assert counted("api_requests", verb="list", resource="configmaps") == before + 3


async def test_of_a_long_list_one_page_is_in_memory_at_a_time(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Page(dict[str, Any]):
        """As a dictionary, which nobody can refer to weakly."""

    pages: list[weakref.ref[Page]] = []
    alive: list[int] = []

    async def payload(response: Any) -> Object:
        alive.append(sum(page() is not None for page in pages))
        page = Page(await payload_of(response))
        pages.append(weakref.ref(page))
        return page

    payload_of = client.payload_of
    for number in range(5):
        await cluster.create(CONFIG_MAPS, namespace, config_map(f"c{number}"))
    monkeypatch.setattr(client, "PAGE", 2)
    monkeypatch.setattr(client, "payload_of", payload)
    taken, _ = await cluster.list_as(lambda item: str(item["metadata"]["name"]), CONFIG_MAPS, namespace, "mine=yes")
    assert taken == [f"c{number}" for number in range(5)]
    assert alive == [0, 0, 0]


async def test_to_delete_what_is_gone_is_fine_and_what_has_the_name_now_is_spared(
    cluster: Cluster, namespace: str
) -> None:
    first = await cluster.create(CONFIG_MAPS, namespace, config_map("a"))
    await cluster.delete(CONFIG_MAPS, namespace, "a", first["metadata"]["uid"])
    await cluster.delete(CONFIG_MAPS, namespace, "a", first["metadata"]["uid"])
    await cluster.create(CONFIG_MAPS, namespace, config_map("a"))
    with pytest.raises(Conflict):
        await cluster.delete(CONFIG_MAPS, namespace, "a", first["metadata"]["uid"])
    assert (await cluster.get(CONFIG_MAPS, namespace, "a"))["metadata"]["uid"] != first["metadata"]["uid"]


async def test_apply_owns_its_fields_and_leaves_the_others_alone(cluster: Cluster, namespace: str) -> None:
    await cluster.create(CONFIG_MAPS, namespace, config_map("a", theirs="1", ours="1"))
    body = {**config_map("a", ours="2"), "metadata": {"name": "a", "namespace": namespace}}
    assert (await cluster.apply(body))["data"] == {"theirs": "1", "ours": "2"}


async def test_a_server_that_asks_to_wait_is_asked_again_after_that_time(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    """Not for ever: each caller has its own way to try again."""
    async with FaultProxy(api_server, seed=1, slow_seconds=0.0).running() as proxy:
        through = await connect(str(proxy.kubeconfig(tmp_path)))
        proxy.next.append(Fault.THROTTLED)
        started = time.monotonic()
        await through.create(CONFIG_MAPS, namespace, config_map("a"))
        assert time.monotonic() - started >= 1.0
        assert (await cluster.get(CONFIG_MAPS, namespace, "a"))["metadata"]["name"] == "a"
        assert (proxy.spoiled[Fault.THROTTLED], proxy.too_early) == (1, [])
        proxy.next.append(Fault.THROTTLED)
        started = time.monotonic()
        async for type_, item in through.watch(CONFIG_MAPS, "0", namespace):
            if item["metadata"]["name"] == "a":
                assert type_ == "ADDED"
                break
        assert time.monotonic() - started >= 1.0
        assert (proxy.spoiled[Fault.THROTTLED], proxy.too_early) == (2, [])
        proxy.next += [Fault.ERROR]
        with pytest.raises(ClusterUnavailable, match="a fault of the test"):
            await through.get(CONFIG_MAPS, namespace, "a")
        # Who asks for another object of the same collection has not been asked to wait.
        proxy.next.append(Fault.THROTTLED)
        waiting = asyncio.create_task(through.find(CONFIG_MAPS, namespace, "a"))
        await until("the first to be refused", lambda: not proxy.next)
        assert await through.find(CONFIG_MAPS, namespace, "b") is None
        assert await waiting is not None
        assert proxy.too_early == []
        await through.close()


async def test_a_leader_writes_only_while_it_leads_and_reads_always(cluster: Cluster, namespace: str) -> None:
    left = [10.0]
    leading = cluster.while_leading(lambda: left[0])
    await leading.create(CONFIG_MAPS, namespace, config_map("a", x="1"))
    left[0] = 0.0
    body = {**config_map("a", x="2"), "metadata": {"name": "a", "namespace": namespace}}
    for refused in (
        leading.create(CONFIG_MAPS, namespace, config_map("b")),
        leading.apply(body),
        leading.merge(CONFIG_MAPS, namespace, "a", {"data": {"x": "2"}}),
        leading.replace(CONFIG_MAPS, namespace, "a", body),
        leading.delete(CONFIG_MAPS, namespace, "a"),
    ):
        with pytest.raises(ClusterUnavailable, match="not sent: the Lease may be another's"):
            await refused
    assert (await leading.get(CONFIG_MAPS, namespace, "a"))["data"] == {"x": "1"}
    items, _ = await leading.list(CONFIG_MAPS, namespace, "mine=yes")
    assert [item["metadata"]["name"] for item in items] == ["a"]


async def test_a_write_is_given_up_before_the_lease_may_be_anothers(wired: Cluster, wire: Wire, namespace: str) -> None:
    leading = wired.while_leading(lambda: 0.2)
    wire.fall_silent()
    started = time.monotonic()
    with pytest.raises(ClusterUnavailable, match="no answer from the API server"):
        await leading.create(CONFIG_MAPS, namespace, config_map("a"))
    assert time.monotonic() - started < client.REQUEST_SECONDS / 2
