"""One namespace makes more venues than its share of the bus's store holds: it is told, and others get theirs.

With the chart's own configuration of NATS and the sizes that are its defaults.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from crowetrade import subjects
from crowetrade_operator.bus.stored import reserved_bytes
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import DEPLOYMENTS, NAMESPACES, VENUES
from crowetrade_operator.errors import NotFound
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import Desk, condition_of, running
from crowetrade_operator_tests.samples import gateway_status, venue_manifest
from crowetrade_operator_tests.secured_bus import SecuredBus
from crowetrade_operator_tests.servers import nats_client
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
WANTED = 14
FITS = 7
"""Of 576 MiB each in 4 GiB; without a bound thirteen fill the store (8 GB)."""


@pytest.fixture
def bus_of_chart(tmp_path: Path) -> Iterator[SecuredBus]:
    bus = SecuredBus(tmp_path)
    try:
        bus.start("access-open.conf")
        yield bus
    finally:
        bus.stop()


@pytest.fixture
def nats_url(bus_of_chart: SecuredBus) -> str:
    return f"nats://127.0.0.1:{bus_of_chart.port}"


@pytest.fixture
async def desks(cluster: Cluster, namespace: str, settings: Settings) -> AsyncIterator[tuple[Desk, Desk]]:
    """Of two tenants, whom one operator works for."""
    other = f"{namespace}-other"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    both = replace(settings, namespaces=(namespace, other))
    async with running(both) as operator, nats_client(settings.nats_url) as bus:
        yield Desk(cluster, namespace, bus, operator), Desk(cluster, other, bus, operator)


async def reasons(desk: Desk) -> dict[str, str]:
    """Of Ready of each venue."""
    found, _ = await desk.cluster.list(VENUES, desk.namespace)
    return {item["metadata"]["name"]: str(condition_of(item, "Ready").get("reason", "")) for item in found}


async def test_a_namespace_that_has_its_share_is_told_and_another_one_gets_its_stream(desks: tuple[Desk, Desk]) -> None:
    greedy, modest = desks
    await until("the bus to be connected", lambda: greedy.parts.context.bus.connected)
    for number in range(WANTED):
        await greedy.create(VENUES, venue_manifest(f"v{number:02}"))

    async def told() -> bool:
        found = await reasons(greedy)
        return len(found) == WANTED and all(found.values())

    await until("each venue to be told", told)
    await greedy.idle()
    refused = sorted(name for name, reason in (await reasons(greedy)).items() if reason == "NamespaceStoreFull")
    assert len(refused) == WANTED - FITS

    name = refused[0]
    venue = await greedy.get(VENUES, name)
    ready = condition_of(venue, "Ready")
    assert (ready["status"], venue["status"]["phase"]) == ("False", "Pending")
    assert f"reserve {FITS * 576} MiB of the store of NATS in {FITS * 2} streams" in ready["message"]
    assert "a namespace may reserve 4096 MiB (nats.namespaceMaxBytes of the chart)" in ready["message"]
    assert condition_of(venue, "SessionEstablished")["reason"] == "NamespaceStoreFull"
    assert not await greedy.exists(DEPLOYMENTS, f"venue-{name}"), "a gateway without a journal only fails"
    with pytest.raises(NotFound):
        await greedy.config(name)  # nor does it take room of the bucket

    await modest.create(VENUES, venue_manifest("sim-fx"))
    await modest.deployment_ready("venue-sim-fx")
    assert await reserved_bytes(modest.bus, modest.namespace) == {
        subjects.journal_stream(modest.namespace, "sim-fx"): 512 * 2**20,
        subjects.snapshot_stream(modest.namespace, "sim-fx"): 64 * 2**20,
    }

    # Journals outlive their venues: a quota on the number of venues would let the next one in.
    kept = sorted((await reasons(greedy)).keys() - set(refused))
    await greedy.delete(VENUES, kept[0])
    await greedy.gone(VENUES, kept[0])
    greedy.parts.controller.enqueue_all()
    await greedy.idle()
    assert (await reasons(greedy))[name] == "NamespaceStoreFull"
    await greedy.delete(VENUES, refused[-1])
    await greedy.gone(VENUES, refused[-1])

    # What the message says to do.
    for stream in (subjects.journal_stream, subjects.snapshot_stream):
        await greedy.bus.jetstream().delete_stream(stream(greedy.namespace, kept[0]))
    greedy.parts.controller.enqueue_all()

    async def one_more() -> bool:
        found = [await greedy.exists(DEPLOYMENTS, f"venue-{item}") for item in refused[:-1]]
        return found.count(True) == 1

    await until("the next one to get its gateway", one_more)


async def test_a_gateway_that_was_made_while_the_bus_was_away_goes_when_it_gets_no_journal(
    desks: tuple[Desk, Desk], bus_of_chart: SecuredBus
) -> None:
    """And one that has journaled stays, whatever becomes of its stream: its account may hold something."""
    greedy, _ = desks
    await until("the bus to be connected", lambda: greedy.parts.context.bus.connected)
    for number in range(FITS):
        await greedy.create(VENUES, venue_manifest(f"v{number:02}"))
        await greedy.deployment_ready(f"venue-v{number:02}")
    await greedy.publish(
        subjects.gateway_status(greedy.namespace, "v00"),
        gateway_status(await greedy.config("v00"), namespace=greedy.namespace, name="v00"),
    )

    async def on_record() -> bool:
        return bool((await greedy.get(VENUES, "v00"))["status"].get("session", {}).get("fencingToken"))

    await until("its token to be on record", on_record)
    for stream in (subjects.journal_stream, subjects.snapshot_stream):
        await greedy.bus.jetstream().delete_stream(stream(greedy.namespace, "v00"))

    await asyncio.to_thread(bus_of_chart.stop)
    await greedy.condition(VENUES, "v01", "SessionEstablished", "Unknown", "BusUnavailable")
    await greedy.create(VENUES, venue_manifest("in-its-place"))
    await greedy.create(VENUES, venue_manifest("late"))
    for name in ("in-its-place", "late"):
        await until(f"the gateway of {name}", partial(greedy.exists, DEPLOYMENTS, f"venue-{name}"))
    await asyncio.to_thread(bus_of_chart.start, "access-open.conf")

    async def one_left() -> bool:
        names = ("v00", "in-its-place", "late")
        found = await reasons(greedy)
        return [found[name] for name in names].count("NamespaceStoreFull") == 2

    await until("two of three to be refused", one_left)
    await greedy.idle()
    for name, reason in (await reasons(greedy)).items():
        kept = name == "v00" or reason != "NamespaceStoreFull"
        assert await greedy.exists(DEPLOYMENTS, f"venue-{name}") == kept, name
