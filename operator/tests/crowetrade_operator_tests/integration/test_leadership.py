"""Of several operators one works; the next takes over; and who has lost the Lease ends."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from crowetrade_api.names import Key, Kind
from crowetrade_operator.bus.nats import Bus
from crowetrade_operator.cluster import status as status_module
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import CONFIG_MAPS, LEASES, STRATEGIES, VENUES
from crowetrade_operator.main import Operator
from crowetrade_operator.settings import LeaseTimes, Settings
from crowetrade_operator_tests.integration.desk import Desk, running, started, trading, working
from crowetrade_operator_tests.samples import strategy_manifest, venue_manifest
from crowetrade_operator_tests.servers import nats_client
from crowetrade_operator_tests.waiting import counted, end, until

pytestmark = pytest.mark.integration


async def _holder(cluster: Cluster, namespace: str) -> str:
    lease = await cluster.get(LEASES, namespace, "crowetrade-operator")
    return str(lease["spec"].get("holderIdentity"))


async def _steal(cluster: Cluster, namespace: str) -> None:
    spec = {"holderIdentity": "thief", "leaseDurationSeconds": 60}
    await cluster.merge(LEASES, namespace, "crowetrade-operator", {"spec": spec})


async def _tries(more: int) -> None:
    before = counted("api_requests", verb="get", resource="leases")
    await until(
        "the candidates to try", lambda: counted("api_requests", verb="get", resource="leases") >= before + more
    )


async def _something_is_done(cluster: Cluster, namespace: str, name: str = "a") -> None:
    """A new venue gets its children."""
    await cluster.create(VENUES, namespace, venue_manifest(name, namespace))

    async def made() -> bool:
        return bool(await cluster.get(CONFIG_MAPS, namespace, f"venue-{name}"))

    await until("a venue to get its children", made)


async def _never_both(first: Operator, second: Operator) -> None:
    while True:
        assert first.parts is None or second.parts is None, "two operators work at the same time"
        await asyncio.sleep(0.002)


async def test_the_second_takes_over_when_the_first_stops_and_only_one_works_at_a_time(
    settings: Settings, cluster: Cluster, namespace: str
) -> None:
    """At once: the Lease would last for an hour, but it is given back."""
    settings = replace(settings, lease=LeaseTimes(duration=3600.0, renew=10.0, retry=0.1))
    async with (
        started(replace(settings, pod_name="operator-1")) as (first, task),
        started(replace(settings, pod_name="operator-2")) as (second, waiting),
    ):
        never_both = asyncio.create_task(_never_both(first, second))
        await until("one to work", lambda: first.parts is not None or second.parts is not None)
        if first.parts is None:
            first, task, second, waiting = second, waiting, first, task
        await _something_is_done(cluster, namespace, "a")
        await _tries(10)
        assert second.parts is None
        assert await _holder(cluster, namespace) == first.settings.pod_name

        first.stopping.set()
        await task
        await working(second, waiting)
        assert await _holder(cluster, namespace) == second.settings.pod_name
        await _something_is_done(cluster, namespace, "b")
        assert not never_both.done(), never_both.exception()
        await end({never_both})


async def test_who_waits_knows_the_cluster_and_begins_as_soon_as_the_lease_is_free(
    settings: Settings, cluster: Cluster, namespace: str
) -> None:
    """It would ask for the Lease in five minutes by itself, and it lists nothing but what decisions are made from."""
    settings = replace(settings, lease=LeaseTimes(duration=3600.0, renew=600.0, retry=300.0))
    async with started(settings) as (first, task):
        await working(first, task)
        await _something_is_done(cluster, namespace, "a")
        listed = counted("api_requests", verb="list", resource="pods")
        async with started(replace(settings, pod_name="operator-1")) as (second, waiting):
            # The last kind of all.
            await until("it to have listed", lambda: counted("api_requests", verb="list", resource="pods") > listed)
            listed = counted("api_requests", verb="list", resource="configmaps")
            first.stopping.set()
            await task
            await working(second, waiting)
            await _something_is_done(cluster, namespace, "b")
            assert counted("api_requests", verb="list", resource="configmaps") == listed


async def test_the_last_statuses_are_written_before_the_lease_is_given_back(
    settings: Settings, cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(settings) as (operator, task):
        await working(operator, task)
        await _something_is_done(cluster, namespace)
        parts = operator.parts
        assert parts is not None

        async def status() -> dict[str, object]:
            found = await cluster.get(VENUES, namespace, "a")
            return {"generation": found["metadata"]["generation"], **found.get("status", {})}

        async def is_told() -> bool:
            return "observedGeneration" in await status()

        await until("its status", is_told)
        # From here on a status has to wait.
        monkeypatch.setattr(status_module, "PER_OBJECT_SECONDS", 3600.0)
        await cluster.merge(VENUES, namespace, "a", {"spec": {"suspend": True}})
        key = Key(Kind.VENUE, namespace, "a")
        pending = parts.context.status._pending
        await until(
            "its next status to wait", lambda: key in pending and pending[key].status["observedGeneration"] == 2
        )
        operator.stopping.set()
        await task
        found = await status()
        assert found["observedGeneration"] == found["generation"]
        assert await _holder(cluster, namespace) == ""


async def test_the_next_leader_tells_nobody_that_it_knows_nothing_yet(
    settings: Settings, cluster: Cluster, namespace: str, nats_url: str
) -> None:
    """Conditions and events stay as they are: it waits for the first words of the gateways that worked."""
    async with started(settings) as (first, task), nats_client(nats_url) as bus:
        await working(first, task)
        desk = Desk(cluster, namespace, bus, first)
        async with trading(desk):
            first.stopping.set()
            await task
            await _takes_over_in_silence(desk, settings)


async def test_the_next_leader_tells_nobody_that_it_does_not_know_the_bus_yet(
    settings: Settings, cluster: Cluster, namespace: str, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No gateway works, so that there is none whose words it could wait for; and the bus answers late."""
    late, run = asyncio.Event(), Bus.run

    async def run_late(self: Bus) -> None:
        await late.wait()
        await run(self)

    async with started(settings) as (first, task), nats_client(nats_url) as bus:
        await working(first, task)
        desk = Desk(cluster, namespace, bus, first)
        await desk.create(VENUES, venue_manifest())
        await desk.create(STRATEGIES, strategy_manifest())
        await desk.condition(VENUES, "sim-fx", "Ready", "False", "Starting")
        await desk.phase(STRATEGIES, "ema", "Pending")
        await desk.idle()
        first.stopping.set()
        await task
        monkeypatch.setattr(Bus, "run", run_late)
        asyncio.get_running_loop().call_later(1.0, late.set)
        await _takes_over_in_silence(desk, settings)


async def _takes_over_in_silence(desk: Desk, settings: Settings) -> None:
    """Nobody works in the namespace of the desk any more."""

    async def told() -> list[object]:
        seen: list[object] = []
        for kind, name in ((STRATEGIES, "ema"), (VENUES, "sim-fx")):
            seen.append((await desk.get(kind, name))["status"]["conditions"])
            seen += [event["metadata"]["name"] for event in await desk.events(name)]
        return seen

    before = await told()
    reconciles = counted("reconciles", kind="Strategy")
    async with running(replace(settings, pod_name="operator-1")) as desk.operator:
        await until("it to reconcile", lambda: counted("reconciles", kind="Strategy") > reconciles)
        await desk.idle()
    assert await told() == before


async def test_who_waits_can_be_stopped(settings: Settings, cluster: Cluster, namespace: str) -> None:
    async with running(settings), started(replace(settings, pod_name="operator-2")) as (second, waiting):
        await _something_is_done(cluster, namespace)
        await _tries(5)
        second.stopping.set()
        async with asyncio.timeout(10):
            await waiting
        assert await _holder(cluster, namespace) == settings.pod_name


async def test_a_leader_that_vanished_is_followed_when_its_lease_expires(
    settings: Settings, cluster: Cluster, namespace: str
) -> None:
    lease = {"metadata": {"name": "crowetrade-operator"}, "spec": {"holderIdentity": "gone", "leaseDurationSeconds": 1}}
    await cluster.create(LEASES, namespace, {"apiVersion": LEASES.api_version, "kind": "Lease", **lease})
    async with running(settings):
        assert await _holder(cluster, namespace) == settings.pod_name
        await _something_is_done(cluster, namespace)


async def test_a_lost_lease_ends_the_process_and_is_left_to_its_new_holder(
    settings: Settings, cluster: Cluster, namespace: str
) -> None:
    """Kubernetes starts it anew, with nothing left over from the time in which another one worked."""
    times = replace(settings, lease=LeaseTimes(duration=3.0, renew=2.0, retry=0.1))
    async with started(times) as (operator, task):
        await working(operator, task)
        await _steal(cluster, namespace)
        with pytest.raises(RuntimeError, match="lease has ended"):
            async with asyncio.timeout(15):
                await task
        assert operator.parts is None
        assert await _holder(cluster, namespace) == "thief"


async def test_a_watch_that_ends_ends_the_process(settings: Settings, cluster: Cluster, namespace: str) -> None:
    async with started(settings) as (operator, task):
        await working(operator, task)
        await _something_is_done(cluster, namespace)
        assert operator.parts is not None
        operator.parts.kopf[0].stop()
        with pytest.raises(RuntimeError, match="work has ended") as found:
            async with asyncio.timeout(15):
                await task
        assert "kopf has ended" in str(found.value.__cause__)
        assert await _holder(cluster, namespace) == ""
