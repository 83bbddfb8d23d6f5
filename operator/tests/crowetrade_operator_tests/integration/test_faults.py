"""An API server that fails one request of ten: what is there afterwards is what an undisturbed run leaves.

`make chaos` runs it for two minutes (CROWETRADE_FAULT_SECONDS).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from crowetrade_api.names import MANAGED_SELECTOR, Kind
from crowetrade_operator import main
from crowetrade_operator.cluster import client
from crowetrade_operator.cluster.cache import Cache
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.relist import Relist
from crowetrade_operator.cluster.resources import (
    CHILDREN,
    CONFIG_MAPS,
    CUSTOM,
    DEPLOYMENTS,
    LEASES,
    NETWORK_POLICIES,
    RISK_LIMITS,
    SERVICES,
    STRATEGIES,
    VENUES,
    watched,
)
from crowetrade_operator.errors import ClusterUnavailable, NotFound
from crowetrade_operator.settings import LeaseTimes, Settings
from crowetrade_operator_tests.fault_proxy import BY_REQUEST, Fault, FaultProxy
from crowetrade_operator_tests.integration.desk import Desk, running, trading
from crowetrade_operator_tests.integration.picture import generations, settled, told
from crowetrade_operator_tests.integration.replicas import OutsideDesk, Replica, replicas
from crowetrade_operator_tests.samples import limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer, nats_client
from crowetrade_operator_tests.waiting import WAIT_SECONDS, end, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
SECONDS = float(os.environ.get("CROWETRADE_FAULT_SECONDS", "8"))
SEED = int(os.environ.get("CROWETRADE_FAULT_SEED", "1"))
SHARE = 0.1
WATCH_SECONDS = 4.0
PAUSE_SECONDS = 0.2
STRATEGIES_MADE = 6
# As long as it takes a second operator to follow, and to work for a moment.
PAIR_SECONDS = max(SECONDS, 20.0)
# Later than half a renew deadline: two slow renewals in a row end a leader.
SLOW_FOR_A_LEASE_SECONDS = 12.0
# The Lease expires, and requests of whoever follows are spoiled as well, its lists too.
FOLLOWED_SECONDS = 90.0


async def _work(desk: Desk) -> None:
    """What users and others do: the same each time."""
    rng = random.Random(SEED)
    await _begin(desk)
    for _ in range(round(SECONDS / PAUSE_SECONDS)):
        await _edit(desk, rng)
    await _end(desk)


async def _begin(desk: Desk) -> None:
    await desk.create(VENUES, venue_manifest("other"))
    for number in range(STRATEGIES_MADE):
        await desk.create(STRATEGIES, strategy_manifest(f"s{number}"))


async def _edit(desk: Desk, rng: random.Random, gone_seconds: float = WAIT_SECONDS) -> None:
    name = f"s{rng.randrange(STRATEGIES_MADE)}"
    match rng.randrange(5):
        case 0:
            amount = str(rng.randrange(1, 9) * 1000)
            await desk.patch(STRATEGIES, name, {"spec": {"capital": {"amount": amount}}})
        case 1:
            await desk.patch(STRATEGIES, name, {"spec": {"suspend": rng.random() < 0.5}})
        case 2:
            child = rng.choice((SERVICES, CONFIG_MAPS, NETWORK_POLICIES))
            with contextlib.suppress(NotFound):
                await desk.delete(child, f"strategy-{name}")
        case 3:
            await desk.create(RISK_LIMITS, limit_manifest("passing"))
            await desk.delete(RISK_LIMITS, "passing")
        case 4:
            await desk.delete(STRATEGIES, name)
            await desk.gone(STRATEGIES, name, gone_seconds)
            await desk.collect(f"strategy-{name}")
            await desk.create(STRATEGIES, strategy_manifest(name))
    await asyncio.sleep(rng.uniform(0.0, 2 * PAUSE_SECONDS))


async def _end(desk: Desk) -> None:
    """All as its manifest says, and every other one suspended."""
    for number in range(STRATEGIES_MADE):
        wanted = strategy_manifest(f"s{number}")["spec"]
        await desk.patch(STRATEGIES, f"s{number}", {"spec": {**wanted, "suspend": number % 2 == 0}})


@contextlib.asynccontextmanager
async def _garbage_collector(desk: Desk) -> AsyncIterator[None]:
    """What comes late for an object that is gone, as a request that was given up, is deleted as well: for as long as it
    is there the name is taken."""

    async def collect() -> None:
        while True:
            for resource in CHILDREN:
                for item in (await desk.cluster.list(resource, desk.namespace, MANAGED_SELECTOR))[0]:
                    (owner,) = item["metadata"]["ownerReferences"]
                    if owner["kind"] == Kind.STRATEGY and owner["uid"] not in await uids():
                        with contextlib.suppress(NotFound):
                            await desk.delete(resource, item["metadata"]["name"])
            await asyncio.sleep(PAUSE_SECONDS)

    async def uids() -> set[str]:
        return {item["metadata"]["uid"] for item in (await desk.cluster.list(STRATEGIES, desk.namespace))[0]}

    collecting = asyncio.create_task(collect())
    try:
        yield
    finally:
        await end({collecting})


async def _clean(cluster: Cluster, namespace: str) -> None:
    """As it was before. No operator works and there is no garbage collector here."""
    for resource in (*CUSTOM, *CHILDREN):
        for item in (await cluster.list(resource, namespace, "" if resource in CUSTOM else MANAGED_SELECTOR))[0]:
            await cluster.merge(resource, namespace, item["metadata"]["name"], {"metadata": {"finalizers": None}})
            await cluster.delete(resource, namespace, item["metadata"]["name"])


@pytest.mark.no_cover
async def test_afterwards_everything_is_as_if_nothing_had_been(
    api_server: ApiServer,
    cluster: Cluster,
    namespace: str,
    settings: Settings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """409, 429, 500, lost requests, lost answers, silence; and no watch lasts longer than a few seconds: it is dropped,
    or ends with 410 Gone, or the next one is refused with it. No Deployment that nobody edited is written twice,
    nothing is doubled, and a server that asks to wait is obeyed."""
    monkeypatch.setattr(client, "REQUEST_SECONDS", 4.0)
    async with (
        FaultProxy(api_server, SEED, slow_seconds=5.0).running() as proxy,
        nats_client(settings.nats_url) as bus,
    ):
        # Nobody starts the operator again that has lost its Lease, as a kubelet would: two renewals that nobody answers
        # are that already.
        lease = LeaseTimes(duration=90.0, renew=60.0, retry=0.2)
        through = replace(settings, kubeconfig=str(proxy.kubeconfig(tmp_path)), lease=lease)

        async def run(share: float, wanted: Object | None) -> tuple[Object, dict[str, int], Counter[str]]:
            async with running(through) as operator:
                desk = Desk(cluster, namespace, bus, operator)
                # Who deletes a child often waits for it: how long would be part of the result.
                desk.parts.context.child_writer.writes.at_once = sys.maxsize
                async with trading(desk), _garbage_collector(desk):
                    before = await told(cluster, namespace)
                    proxy.share, proxy.watch_seconds = share, WATCH_SECONDS if share else 0.0
                    # Those that last already.
                    for resource in watched() if share else ():
                        proxy.end_watches(resource.plural, Fault.WATCH_DROPPED)
                    try:
                        await _work(desk)
                    finally:
                        proxy.share = proxy.watch_seconds = 0.0
                    found = await settled(cluster, namespace, wanted, bus)
                    return found, await generations(cluster, namespace), await told(cluster, namespace) - before

        wanted, undisturbed, events = await run(0.0, None)
        await _clean(cluster, namespace)
        _, disturbed, events_of_faults = await run(SHARE, wanted)
        spoiled = ", ".join(f"{count} x {fault.value}" for fault, count in sorted(proxy.spoiled.items()))
        sys.stderr.write(f"spoiled in {SECONDS:g} s: {spoiled}\n")
        assert [fault.name for fault in Fault if fault not in BY_REQUEST and not proxy.spoiled[fault]] == []
        assert proxy.too_early == [], "a Retry-After was not obeyed"
        untouched = [f"Deployment {name}" for name in ("venue-sim-fx", "venue-other", "strategy-ema")]
        assert {name: disturbed[name] for name in untouched} == {name: undisturbed[name] for name in untouched}
        assert _exact(events_of_faults) <= _exact(events), "something was told twice"


@dataclass(slots=True)
class _Terms:
    """Starts operators again that have ended, as a kubelet does, and knows how long each start has worked."""

    replicas: Mapping[str, Replica]
    # By replica: how many writes there were at each of its ends.
    ends: dict[str, list[int]]

    async def run(self) -> None:
        while True:
            for name, replica in self.replicas.items():
                if not replica.process.running:
                    self.ends[name].append(len(replica.proxy.writes))
                    replica.process.start()
            await asyncio.sleep(PAUSE_SECONDS)

    def worked(self) -> list[tuple[float, float, str]]:
        """The first and the last write of each start that wrote something, in order, and whose they are."""
        found = []
        for name, replica in self.replicas.items():
            writes = replica.proxy.writes
            for first, last in itertools.pairwise([0, *self.ends[name], len(writes)]):
                if last > first:
                    found.append((writes[first], writes[last - 1], name))
        return sorted(found)


@contextlib.asynccontextmanager
async def _kubelet(replicas: Mapping[str, Replica]) -> AsyncIterator[_Terms]:
    terms = _Terms(replicas, {name: [] for name in replicas})
    running = asyncio.create_task(terms.run())
    try:
        yield terms
    finally:
        await end({running})


@pytest.mark.no_cover
async def test_two_operators_with_the_lease_of_the_chart_leave_the_same_and_never_work_at_once(
    api_server: ApiServer, cluster: Cluster, namespace: str, settings: Settings, tmp_path: Path
) -> None:
    """The same faults, also for their Lease, while the first leader is killed and whoever ends is started again."""
    now, lease = asyncio.get_running_loop().time, LeaseTimes()
    assert (lease.duration, lease.renew, lease.retry) == (15.0, 10.0, 2.0)
    async with (
        nats_client(settings.nats_url) as bus,
        replicas(api_server, namespace, settings.nats_url, tmp_path, lease, SLOW_FOR_A_LEASE_SECONDS) as both,
        _kubelet(both) as terms,
    ):
        desk = OutsideDesk(cluster, namespace, bus)
        async with trading(desk), _garbage_collector(desk):
            await _begin(desk)
            await _end(desk)
            wanted = await settled(cluster, namespace, bus=bus)
            before = await generations(cluster, namespace)
            proxies = [replica.proxy for replica in both.values()]
            for proxy in proxies:
                proxy.share, proxy.watch_seconds = SHARE, WATCH_SECONDS
                for resource in watched():
                    proxy.end_watches(resource.plural, Fault.WATCH_DROPPED)
            try:
                rng, until_then = random.Random(SEED), now() + PAIR_SECONDS
                holder = (await cluster.get(LEASES, namespace, "crowetrade-operator"))["spec"]["holderIdentity"]
                both[holder].process.kill()
                while now() < until_then:
                    await _edit(desk, rng, FOLLOWED_SECONDS)
                await _end(desk)
            finally:
                for proxy in proxies:
                    proxy.share = proxy.watch_seconds = 0.0
            await settled(cluster, namespace, wanted, bus, FOLLOWED_SECONDS)
            after = await generations(cluster, namespace)
        worked = terms.worked()
        spoiled = sum((proxy.spoiled for proxy in proxies), Counter[Fault]())
        restarts = sum(map(len, terms.ends.values()))
        sys.stderr.write(f"spoiled {spoiled.total()} requests in {PAIR_SECONDS:g} s, {restarts} restarts, {worked}\n")
        assert len(worked) > 1, "nobody has followed the one that was killed"
        assert [(one, other) for one, other in itertools.pairwise(worked) if one[1] >= other[0]] == [], "both write"
        untouched = [f"Deployment {name}" for name in ("venue-sim-fx", "venue-other", "strategy-ema")]
        assert {name: after[name] for name in untouched} == {name: before[name] for name in untouched}
        for replica in both.values():
            assert "Traceback" not in replica.process.log.read_text()


def _exact(events: Counter[str]) -> Counter[str]:
    """Those that do not depend on who was faster: of what nobody touches nothing is reported, and an end at most once.
    The answer that a finalizer is gone may be lost, and the event with it."""
    return Counter(
        {
            event: count
            for event, count in events.items()
            if event.endswith(" Stopped") or event.startswith("VenueConnection ")
        }
    )


@pytest.mark.parametrize("fault", [Fault.WATCH_GONE, Fault.WATCH_REFUSED])
async def test_what_was_deleted_while_a_watch_was_too_old_is_noticed(
    api_server: ApiServer, cluster: Cluster, namespace: str, settings: Settings, tmp_path: Path, fault: Fault
) -> None:
    """410 Gone in the stream, and at the opening of the next watch: kopf lists again, and a list brings no deletion. It
    goes on in the same process, and the next look at everything is minutes away."""
    async with (
        FaultProxy(api_server, SEED, slow_seconds=0.0).running() as proxy,
        nats_client(settings.nats_url) as bus,
        running(replace(settings, kubeconfig=str(proxy.kubeconfig(tmp_path)))) as operator,
    ):
        desk = Desk(cluster, namespace, bus, operator)
        async with trading(desk):
            await desk.create(RISK_LIMITS, limit_manifest("second"))
            await desk.rules("fx-desk", "second")
            for name in ("second", "fx-desk"):
                with proxy.held(RISK_LIMITS.plural):
                    assert proxy.end_watches(RISK_LIMITS.plural, fault) == 1
                    await desk.delete(RISK_LIMITS, name)
                await desk.rules(*(["fx-desk"] if name == "second" else []))
            await desk.create(RISK_LIMITS, limit_manifest("third"))
            await desk.rules("third")
            assert proxy.spoiled[fault] == 2


async def test_a_namespace_that_cannot_be_read_for_a_moment_is_not_watched_twice(
    api_server: ApiServer, cluster: Cluster, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each flap left another thread of kopf, and other watches of everything."""
    monkeypatch.setattr(main, "ASK_AGAIN_SECONDS", 0.1)
    async with (
        FaultProxy(api_server, SEED, slow_seconds=0.0).running() as proxy,
        running(replace(settings, kubeconfig=str(proxy.kubeconfig(tmp_path)))) as operator,
        nats_client(settings.nats_url) as bus,
    ):
        desk = Desk(cluster, settings.namespaces[0], bus, operator)
        relist, kinds = desk.parts.relist, {resource.plural for resource in watched()}
        await until("all to be watched", lambda: kinds <= proxy.watches().keys())
        before = proxy.watches()

        async def is_forbidden() -> bool:
            # A watch that has just begun may list at the same time and meet the refusal instead.
            proxy.refuse_list("risklimits", Fault.LIST_FORBIDDEN)
            await relist.check(grace=0.0)
            return relist.readable == ()

        for _ in range(3):
            await until("it not to be readable", is_forbidden)
            await until("it to be read again", lambda: relist.readable == settings.namespaces)
        await desk.create(VENUES, venue_manifest())
        await until("the watch to bring it", lambda: desk.exists(DEPLOYMENTS, "venue-sim-fx"))
        await desk.idle()
        assert len(desk.parts.kopf) == 1
        assert proxy.watches() == before


async def test_a_list_whose_next_page_is_gone_is_begun_again(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when etcd is compacted meanwhile: that is no sign of a right that is missing."""
    monkeypatch.setattr(client, "PAGE", 1)
    for name in ("a", "b", "c"):
        await cluster.create(RISK_LIMITS, namespace, limit_manifest(name, namespace))
    async with FaultProxy(api_server, SEED, slow_seconds=0.0).running() as proxy:
        line = await client.connect(str(proxy.kubeconfig(tmp_path)))
        try:
            cache = Cache()
            relist = Relist(line, cache, (namespace,))
            proxy.refuse_list("risklimits", Fault.PAGE_GONE, Fault.PAGE_GONE)
            await relist.fill()
            assert proxy.spoiled[Fault.PAGE_GONE] == 2
            assert relist.readable == (namespace,)
            assert [item["metadata"]["name"] for item in cache.all("RiskLimit", namespace)] == ["a", "b", "c"]
            proxy.refuse_list("risklimits", *[Fault.PAGE_GONE] * 3)
            with pytest.raises(ClusterUnavailable):
                await relist.check(grace=0.0)
            assert relist.readable == (namespace,)
        finally:
            await line.close()
