"""Several operators side by side, each with namespaces and a Lease of its own, over one API server and one bus; the
namespaces are chosen by name or by label."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nats.js.errors
import pytest

from crowetrade import subjects
from crowetrade.config.v1 import kill_pb2
from crowetrade_api.names import SHARD_LABEL
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import (
    CONFIG_MAPS,
    DEPLOYMENTS,
    KILL_SWITCHES,
    LEASES,
    NAMESPACES,
    RISK_LIMITS,
    SERVICES,
    VENUES,
)
from crowetrade_operator.cluster.shard import CLAIM_PREFIX, Shard
from crowetrade_operator.decide.changes import WHILE_AWAY
from crowetrade_operator.main import Operator
from crowetrade_operator.reconcile import audit_record
from crowetrade_operator.settings import Settings, from_environment
from crowetrade_operator_tests.fault_proxy import FaultProxy
from crowetrade_operator_tests.integration.desk import Desk, running, saying, started
from crowetrade_operator_tests.integration.trail import changes_told
from crowetrade_operator_tests.samples import change, kill_manifest, limit_manifest, venue_manifest
from crowetrade_operator_tests.servers import ApiServer, nats_client
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
            with contextlib.suppress(nats.js.errors.KeyNotFoundError):
                return bool((await bucket.get(subjects.gateway_config_key(place, "sim-fx"))).revision)
            return False

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


async def test_a_kill_switch_of_one_shard_counts_the_gateways_of_the_others(
    settings: Settings, cluster: Cluster, namespace: str, nats_url: str
) -> None:
    """They obey it, so it is not Halted before they say so; one whose scope does not reach
    them does not wait for them."""
    other = f"{namespace}-b"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    fx = replace(settings, lease_name="crowetrade-operator-fx", namespaces=(namespace,), pod_name="fx")
    rates = replace(settings, lease_name="crowetrade-operator-rates", namespaces=(other,), pod_name="rates")
    everywhere = change(kill_manifest("everywhere"), "spec.scope.namespaces", {"from": "All"})
    async with running(fx) as operator, running(rates) as beyond, nats_client(nats_url) as bus:
        desk, far = Desk(cluster, namespace, bus, operator), Desk(cluster, other, bus, beyond)
        await far.create(VENUES, venue_manifest())

        async def configured() -> bool:
            return bool((await far.config()).revision)

        await until("the other shard's gateway to be configured", configured)
        await desk.create(KILL_SWITCHES, kill_manifest("here"))
        await desk.create(KILL_SWITCHES, everywhere)

        async def pending(*names: str) -> bool:
            status = (await desk.get(KILL_SWITCHES, "everywhere")).get("status", {})
            return (status.get("state"), status.get("acknowledgements", {}).get("pending", [])) == (
                "Engaging" if names else "Halted",
                list(names),
            )

        await until("the other shard's gateway to be waited for", lambda: pending(f"{other}/sim-fx"))
        await desk.condition(KILL_SWITCHES, "here", "Acknowledged", "True", "NothingInScope")
        made = await desk.get(KILL_SWITCHES, "everywhere")
        said = kill_pb2.KillAcknowledgement(
            namespace=namespace,
            name="everywhere",
            uid=made["metadata"]["uid"],
            generation=made["metadata"]["generation"],
            mode=kill_pb2.KILL_MODE_CANCEL,
            seen_unix_ns=1_000_000,
            blocked_unix_ns=2_000_000,
            halted_unix_ns=3_000_000,
        )
        async with saying(far, kills=[said]):
            await until("it to be halted", pending)
        await until("a gateway that is silent to count no more", lambda: pending(f"{other}/sim-fx"))


async def label(cluster: Cluster, namespace: str, shard: str | None) -> None:
    """From now on the namespace is of that shard, or of none."""
    await cluster.merge(NAMESPACES, "", namespace, {"metadata": {"labels": {SHARD_LABEL: shard}}})


async def holder(cluster: Cluster, operator_namespace: str, namespace: str) -> str:
    """Which shard works there."""
    claim = await cluster.get(LEASES, operator_namespace, CLAIM_PREFIX + namespace)
    return str(claim["spec"]["holderIdentity"])


async def test_a_namespace_goes_from_one_shard_to_another_with_its_label(
    settings: Settings,
    cluster: Cluster,
    namespace: str,
    nats_url: str,
    api_server: ApiServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two operators: the one ends all work before the other begins, nothing is made again, and no gateway restarts."""
    monkeypatch.setattr(audit_record, "KEEP_SECONDS", 0.1)
    other, fx_name, rates_name = f"{namespace}-b", f"fx-{namespace}", f"rates-{namespace}"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    await cluster.create(VENUES, namespace, venue_manifest("sim-fx", namespace))
    await label(cluster, namespace, fx_name)
    await label(cluster, other, rates_name)
    async with (
        FaultProxy(api_server, 1, slow_seconds=0.0).running() as fx_line,
        FaultProxy(api_server, 1, slow_seconds=0.0).running() as rates_line,
    ):

        def shard(name: str, line: FaultProxy) -> Settings:
            named = from_environment({"OPERATOR_NAMESPACE": namespace, "SHARD": name})
            folder = tmp_path / name
            folder.mkdir()
            return replace(
                settings,
                lease_name=named.lease_name,
                shard_label=named.shard_label,
                namespaces=(),
                pod_name=name,
                kubeconfig=str(line.kubeconfig(folder)),
            )

        def works_in(operator: Operator, *namespaces: str) -> Callable[[], bool]:
            return lambda: (operator.parts.context.settings.namespaces if operator.parts else ()) == namespaces

        async with (
            started(shard(fx_name, fx_line)) as (fx, fx_task),
            started(shard(rates_name, rates_line)) as (rates, rates_task),
        ):

            async def made() -> bool:
                return bool(await cluster.get(DEPLOYMENTS, namespace, "venue-sim-fx"))

            await until("fx to have made everything", made)
            await until("fx to have one", works_in(fx, namespace))
            await until("rates to have one", works_in(rates, other))
            taken = len(rates_line.writes)

            await label(cluster, namespace, rates_name)
            await until("rates to have both", works_in(rates, *sorted((namespace, other))))
            assert fx.parts is None, "fx has nothing to do"
            assert await holder(cluster, namespace, namespace) == f"crowetrade-operator-{rates_name}"
            edit = {"spec": {"selector": {"edited": "yes"}}}
            await cluster.merge(SERVICES, namespace, "venue-sim-fx", edit)

            async def repaired() -> bool:
                found = await cluster.get(SERVICES, namespace, "venue-sim-fx")
                return "edited" not in found["spec"]["selector"]

            await until("rates to repair what is edited", repaired)
            assert fx_line.writes[-1] < rates_line.writes[taken]
            deployment = await cluster.get(DEPLOYMENTS, namespace, "venue-sim-fx")
            assert deployment["metadata"]["generation"] == 1, "the gateway is not restarted"

            await cluster.create(RISK_LIMITS, namespace, limit_manifest("after", namespace))
            created = ("CREATED", namespace, "after", "")

            async def is_told() -> bool:
                return created in await changes_told(nats_url, namespace)

            await until("the limit to be in the audit trail", is_told)
            first = ("CREATED", namespace, "sim-fx", WHILE_AWAY)
            assert await changes_told(nats_url, namespace) == [first, created], "the hand-over changes nothing"

            await label(cluster, namespace, None)
            await until("rates to have its own again", works_in(rates, other))
            assert not fx_task.done()
            assert not rates_task.done()


@dataclass
class Clock:
    """A clock that tests set."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def shard_of(cluster: Cluster, namespace: str, name: str, clock: Clock) -> Shard:
    """A leader of a shard that looks at the namespace of the test."""
    return Shard(cluster, namespace, f"{name}-{namespace}", f"lease-{name}", "lease-of-all", 15.0, clock)


async def lease_of(cluster: Cluster, namespace: str, name: str, leader: str) -> None:
    """The Lease of a shard's leader."""
    body = {
        "apiVersion": LEASES.api_version,
        "kind": LEASES.kind,
        "metadata": {"name": f"lease-{name}", "namespace": namespace},
        "spec": {"holderIdentity": leader, "leaseDurationSeconds": 15},
    }
    await cluster.apply(body)


async def test_a_claim_passes_when_it_is_given_up_and_not_before(cluster: Cluster, namespace: str) -> None:
    clock = Clock()
    fx, rates = (shard_of(cluster, namespace, name, clock) for name in ("fx", "rates"))
    await lease_of(cluster, namespace, "fx", "fx-0")
    await label(cluster, namespace, fx.name)
    assert await fx.look()
    assert await fx.settle() == (namespace,)
    assert not await fx.look(), "nothing has changed"

    await label(cluster, namespace, rates.name)
    assert not await rates.look(), "fx works there"
    assert await fx.look(), "fx has to end"
    assert not await rates.look(), "fx has not given it up"
    assert await fx.settle() == ()
    assert await rates.look()
    assert await rates.settle() == (namespace,)


async def test_a_claim_passes_when_nobody_leads_the_shard_that_holds_it(cluster: Cluster, namespace: str) -> None:
    clock = Clock()
    fx, rates = (shard_of(cluster, namespace, name, clock) for name in ("fx", "rates"))
    await lease_of(cluster, namespace, "fx", "fx-0")
    await label(cluster, namespace, fx.name)
    assert await fx.look()
    await label(cluster, namespace, rates.name)
    assert not await rates.look()
    clock.now = 15.0
    assert not await rates.look(), "it may be renewed in this moment"
    clock.now = 15.1
    assert await rates.look()

    # The other way: the Lease of rates was never there, or is given back.
    await label(cluster, namespace, fx.name)
    assert not await shard_of(cluster, namespace, "fx", clock).look()
    await lease_of(cluster, namespace, "rates", "")
    assert await shard_of(cluster, namespace, "fx", clock).look()


async def test_nothing_is_taken_while_an_operator_without_shards_works(cluster: Cluster, namespace: str) -> None:
    """As when the shards of a chart are set for the first time."""
    clock = Clock()
    fx = shard_of(cluster, namespace, "fx", clock)
    await label(cluster, namespace, fx.name)
    await lease_of(cluster, namespace, "of-all", "operator-0")
    assert not await fx.look()
    await lease_of(cluster, namespace, "of-all", "")
    assert await fx.look()


async def test_of_a_leader_that_begins_and_a_shard_that_takes_over_one_gets_the_claim(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next leader of fx begins after rates has seen that nobody leads fx."""
    clock = Clock()
    before, following = (shard_of(cluster, namespace, "fx", clock) for _ in range(2))
    rates = shard_of(cluster, namespace, "rates", clock)
    await label(cluster, namespace, before.name)
    assert await before.look()

    async def seen_before_it_begins(_: str) -> bool:
        assert await following._take(namespace), "it has read the label before"
        return True

    await label(cluster, namespace, rates.name)
    monkeypatch.setattr(Shard, "_nobody_leads", lambda _, lease_name: seen_before_it_begins(lease_name))
    assert not await rates.look(), "both would work there"
    assert await holder(cluster, namespace, namespace) == "lease-fx"
