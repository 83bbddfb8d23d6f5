"""Several operators side by side, each with namespaces and a Lease of its own, over one API server and one bus."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crowetrade import subjects
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import CONFIG_MAPS, LEASES, NAMESPACES, VENUES
from crowetrade_operator.settings import Settings, from_environment
from crowetrade_operator_tests.integration.desk import running
from crowetrade_operator_tests.samples import venue_manifest
from crowetrade_operator_tests.servers import nats_client
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration


async def test_two_shards_work_at_once_and_neither_touches_what_is_the_others(
    settings: Settings, cluster: Cluster, namespace: str, nats_url: str
) -> None:
    other = f"{namespace}-b"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})

    def shard(name: str, of: str) -> Settings:
        named = from_environment({"OPERATOR_NAMESPACE": namespace, "SHARD": name, "NAMESPACES": of})
        assert named.namespaces == (of,)
        # Everything is looked at again, and swept, each half a second.
        return replace(
            settings, lease_name=named.lease_name, namespaces=named.namespaces, pod_name=name, resync_seconds=0.5
        )

    async with (
        running(shard("fx", namespace)) as fx,
        running(shard("rates", other)) as rates,
        nats_client(nats_url) as bus,
    ):
        for place in (namespace, other):
            await cluster.create(VENUES, place, venue_manifest("sim-fx", place))

        async def configured(place: str) -> bool:
            await cluster.get(CONFIG_MAPS, place, "venue-sim-fx")
            bucket = await bus.jetstream().key_value(subjects.CONFIG_BUCKET)
            return subjects.gateway_config_key(place, "sim-fx") in await bucket.keys()

        async def both() -> bool:
            return await configured(namespace) and await configured(other)

        await until("both to be configured", both)
        for name in ("fx", "rates"):
            lease = await cluster.get(LEASES, namespace, f"crowetrade-operator-{name}")
            assert lease["spec"]["holderIdentity"] == name
        for operator in (fx, rates):
            assert operator.parts is not None
            await operator.parts.controller.sweep()
        assert await both(), "what the other has put was swept"
        for operator, place in ((fx, namespace), (rates, other)):
            assert operator.parts is not None
            assert operator.parts.context.cache.namespaces("VenueConnection") == [place]
