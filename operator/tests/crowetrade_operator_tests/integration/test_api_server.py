"""An API server that cannot be reached, or that refuses: the operator waits, says why, and goes on."""

from __future__ import annotations

import functools
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client

from crowetrade import subjects
from crowetrade.config.v1 import config_pb2
from crowetrade_operator import main, metrics
from crowetrade_operator.cluster import client
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.lease import Elector
from crowetrade_operator.cluster.resources import (
    CONFIG_MAPS,
    KILL_SWITCHES,
    LEASES,
    NAMESPACES,
    NETWORK_POLICIES,
    RISK_LIMITS,
    SERVICES,
    STRATEGIES,
    VENUES,
    ApiResource,
    watched,
)
from crowetrade_operator.decide.changes import WHILE_AWAY, WHILE_UNREADABLE
from crowetrade_operator.reconcile import audit_record
from crowetrade_operator.settings import LeaseTimes, Settings
from crowetrade_operator_tests.integration.desk import Desk, running, started, trading, working
from crowetrade_operator_tests.integration.trail import Row, changes_told
from crowetrade_operator_tests.samples import (
    change,
    kill_manifest,
    limit_manifest,
    strategy_manifest,
    venue_manifest,
)
from crowetrade_operator_tests.servers import POWERLESS_USER, ApiServer, Wire, nats_client
from crowetrade_operator_tests.waiting import counted, until

pytestmark = pytest.mark.integration
Object = dict[str, Any]
ROLES = ApiResource("rbac.authorization.k8s.io", "v1", "roles", "Role")
BINDINGS = ApiResource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")


async def test_an_api_server_that_comes_back_finds_an_operator_that_goes_on(
    api_server: ApiServer, wire: Wire, cluster: Cluster, namespace: str, settings: Settings, tmp_path: Path
) -> None:
    wired = replace(settings, kubeconfig=str(api_server.at(wire.port, tmp_path)))
    async with running(wired) as operator, nats_client(settings.nats_url) as bus:
        desk = Desk(cluster, namespace, bus, operator)
        async with trading(desk):
            await wire.cut()
            await desk.create(RISK_LIMITS, limit_manifest("second"))
            wanted = counted("api_requests", code="0") + 3
            await until("requests that are not answered", lambda: counted("api_requests", code="0") >= wanted)
            await wire.mend()
            await desk.rules("fx-desk", "second")
            await desk.condition(RISK_LIMITS, "second", "Enforced", "True")


def _may(verbs: list[str], groups: list[str], resources: list[str]) -> Object:
    return {"apiGroups": groups, "resources": resources, "verbs": verbs}


async def _allow(cluster: Cluster, namespace: str, name: str, rule: Object) -> None:
    role = {"apiVersion": ROLES.api_version, "kind": "Role", "metadata": {"name": name}, "rules": [rule]}
    await cluster.create(ROLES, namespace, role)
    await _bind(cluster, namespace, name)


async def _bind(cluster: Cluster, namespace: str, name: str) -> None:
    group = ROLES.group
    binding = {
        "apiVersion": ROLES.api_version,
        "kind": "RoleBinding",
        "metadata": {"name": name},
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"apiGroup": group, "kind": "User", "name": POWERLESS_USER}],
    }
    await cluster.create(BINDINGS, namespace, binding)


async def test_without_rights_it_waits_for_them_instead_of_working_with_half_of_the_objects(
    api_server: ApiServer, cluster: Cluster, namespace: str, settings: Settings
) -> None:
    await _allow(cluster, namespace, "election", _may(["get", "create", "update"], [LEASES.group], ["leases"]))
    async with started(replace(settings, kubeconfig=str(api_server.powerless))) as (operator, task):
        wanted = counted("api_requests", verb="list", resource="strategies", code="403") + 1
        await until(
            "a list that is refused",
            lambda: counted("api_requests", verb="list", resource="strategies", code="403") >= wanted,
        )
        assert operator.parts is None
        await _allow(cluster, namespace, "work", _may(["*"], ["*"], ["*"]))
        await working(operator, task)
        await cluster.create(VENUES, namespace, venue_manifest(namespace=namespace))

        async def finalizer() -> bool:
            return bool((await cluster.get(VENUES, namespace, "sim-fx"))["metadata"]["finalizers"])

        await until("it to work", finalizer)


async def test_a_namespace_that_is_forbidden_stops_nobody_and_is_picked_up_when_it_comes(
    api_server: ApiServer,
    cluster: Cluster,
    namespace: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One kind is enough: limits that nobody sees would not be in force. Nothing there is touched, not even what is on
    the bus for a gateway whose VenueConnection nobody sees."""
    monkeypatch.setattr(main, "ASK_AGAIN_SECONDS", 0.1)
    other = f"{namespace}-other"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    await _allow(cluster, namespace, "work", _may(["*"], ["*"], ["*"]))
    seen = [resource.plural for resource in watched() if resource is not RISK_LIMITS]
    await _allow(cluster, other, "some", _may(["*"], ["*"], seen))
    for place in (namespace, other):
        await cluster.create(VENUES, place, venue_manifest(namespace=place))
    both = replace(settings, kubeconfig=str(api_server.powerless), namespaces=(other, namespace))
    async with nats_client(settings.nats_url) as bus:
        left = config_pb2.GatewayConfig(revision="r1")
        await _on_the_bus(bus, other, left)
        async with running(both) as operator:
            assert operator.parts is not None

            async def works(place: str) -> bool:
                return bool((await cluster.get(VENUES, place, "sim-fx"))["metadata"]["finalizers"])

            await until("it to work where it can read", lambda: works(namespace))
            relist = operator.parts.relist
            assert relist.readable == (namespace,)
            assert "risklimits cannot be listed, so nothing is changed there" in relist.unreadable[other]
            assert "does a role of the operator allow it?" in relist.unreadable[other]
            assert _unreadable(other) == 1.0
            controller = operator.parts.controller
            controller.enqueue_all()
            await until("the bus to be connected", lambda: controller.context.bus.connected)
            await controller.sweep()
            venue = await cluster.get(VENUES, other, "sim-fx")
            assert ("finalizers" in venue["metadata"], venue["status"]) == (False, {"observedGeneration": -1})
            desk = Desk(cluster, other, bus, operator)
            assert await desk.config() == left

            await _allow(cluster, other, "rest", _may(["*"], ["*"], ["*"]))
            await until("it to work there, too", lambda: works(other))
            assert (relist.unreadable, _unreadable(other)) == ({}, None)
            await cluster.create(VENUES, other, venue_manifest("later", other))
            await until("the watch to bring what comes later", lambda: _has(cluster, other, "venue-later"))


async def test_a_right_that_is_withdrawn_while_it_works_stops_work_there_at_once_and_until_it_is_back(
    api_server: ApiServer,
    cluster: Cluster,
    namespace: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That is, when the watch ends that had begun with it: until then the watch brings everything. The next look at all
    is minutes away."""
    monkeypatch.setattr(main, "ASK_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(client, "WATCH_SECONDS", 2)
    other = f"{namespace}-other"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    await _allow(cluster, namespace, "work", _may(["*"], ["*"], ["*"]))
    seen = [resource.plural for resource in watched() if resource is not SERVICES]
    await _allow(cluster, other, "some", _may(["*"], ["*"], [*seen, "*/status", "*/finalizers"]))
    await _allow(cluster, other, "services", _may(["*"], ["*"], [SERVICES.plural]))
    both = replace(settings, kubeconfig=str(api_server.powerless), namespaces=(other, namespace))
    async with nats_client(settings.nats_url) as bus, running(both) as operator:
        desk, there = (Desk(cluster, place, bus, operator) for place in (namespace, other))
        for one in (desk, there):
            await one.create(VENUES, venue_manifest())
            await until("it to work", functools.partial(one.exists, SERVICES, "venue-sim-fx"))
        relist, controller = desk.parts.relist, desk.parts.controller
        assert relist.unreadable == {}

        await cluster.delete(BINDINGS, other, "services")
        await until("it not to be readable", lambda: relist.readable == (namespace,))
        assert "services cannot be listed, so nothing is changed there" in relist.unreadable[other]
        assert _unreadable(other) == 1.0
        later = await there.create(VENUES, venue_manifest("later"))
        await cluster.delete(SERVICES, other, "venue-sim-fx")
        await there.noticed(later)
        controller.enqueue_all()
        await there.idle()
        assert "finalizers" not in (await there.get(VENUES, "later"))["metadata"]
        assert not await there.exists(SERVICES, "venue-sim-fx")
        await desk.create(VENUES, venue_manifest("later"))
        await until("it to work elsewhere", lambda: desk.exists(SERVICES, "venue-later"))

        await _bind(cluster, other, "services")
        await until("it to work there again", lambda: there.exists(SERVICES, "venue-later"))
        await until("what went meanwhile to be back", lambda: there.exists(SERVICES, "venue-sim-fx"))
        assert (relist.unreadable, _unreadable(other)) == ({}, None)


async def test_who_waits_reports_no_namespace_that_can_be_read_again(
    api_server: ApiServer,
    cluster: Cluster,
    namespace: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its own series would keep the alert firing, and it would begin to work without a watch of the namespace."""
    monkeypatch.setattr(main, "ASK_AGAIN_SECONDS", 0.1)
    other = f"{namespace}-other"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    await _allow(cluster, namespace, "work", _may(["*"], ["*"], ["*"]))
    # Nobody renews it: it has to last.
    lasting = LeaseTimes(duration=90.0, renew=60.0, retry=0.2)
    leads = Elector(cluster, namespace, settings.lease_name, "another", lasting)
    assert await leads.take()
    both = replace(settings, kubeconfig=str(api_server.powerless), namespaces=(other, namespace))
    async with started(both) as (operator, task):
        await until("the namespace not to be readable", lambda: _unreadable(other) == 1.0)
        await _allow(cluster, other, "work", _may(["*"], ["*"], ["*"]))
        await until("the namespace to be readable", lambda: _unreadable(other) is None)
        assert operator.parts is None, "another one leads"
        await leads.release()
        await working(operator, task)
        assert operator.parts is not None
        assert operator.parts.relist.unreadable == {}
        await cluster.create(VENUES, other, venue_manifest("sim-fx", other))
        await until("the watch to bring it", lambda: _has(cluster, other, "venue-sim-fx"))


async def test_what_cannot_be_read_after_a_restart_was_neither_deleted_nor_created(
    api_server: ApiServer, cluster: Cluster, namespace: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the audit trail: it is compared with what was recorded last when it can be read again."""
    monkeypatch.setattr(main, "ASK_AGAIN_SECONDS", 0.1)
    monkeypatch.setattr(audit_record, "KEEP_SECONDS", 0.1)
    other = f"{namespace}-other"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    await _allow(cluster, namespace, "work", _may(["*"], ["*"], ["*"]))
    for name in ("a", "b"):
        await cluster.create(RISK_LIMITS, other, limit_manifest(name, other))
    both = replace(settings, namespaces=(other, namespace))
    first = {("CREATED", other, name, WHILE_AWAY) for name in ("a", "b")}

    async def changes() -> set[Row]:
        return set(await changes_told(settings.nats_url, other))

    async with running(both):

        async def is_told() -> bool:
            return await changes() == first

        await until("both to be recorded", is_told)
    await cluster.delete(RISK_LIMITS, other, "b")
    async with running(replace(both, kubeconfig=str(api_server.powerless))) as operator:
        assert operator.parts is not None
        assert list(operator.parts.relist.unreadable) == [other]
        audit = operator.parts.audit
        await until("what was there before to be looked at", lambda: audit.is_caught_up)
        assert await changes() == first
        await _allow(cluster, other, "all", _may(["*"], ["*"], ["*"]))
        gone = ("DELETED", other, "b", WHILE_UNREADABLE)

        async def gone_is_told() -> bool:
            return gone in await changes()

        await until("what is gone to be recorded", gone_is_told)
        assert await changes() == {*first, gone}


async def test_guests_of_a_namespace_that_is_forbidden_at_a_takeover_stay_bound(
    api_server: ApiServer,
    cluster: Cluster,
    namespace: str,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """That nobody sees them does not mean that they are gone: their orders would be cancelled. What can be seen is
    carried out all the same, and a KillSwitch counts the gateways that are not seen."""
    monkeypatch.setattr(main, "ASK_AGAIN_SECONDS", 0.1)
    other = f"{namespace}-other"
    await cluster.create(NAMESPACES, "", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}})
    await _allow(cluster, namespace, "work", _may(["*"], ["*"], ["*"]))
    venue = change(venue_manifest(), "spec.allowedStrategies", {"namespaces": {"from": "All"}})
    guest = change(
        strategy_manifest("guest"), "spec.instruments.0.venueRef", {"name": "sim-fx", "namespace": namespace}
    )
    local = change(strategy_manifest("local"), "spec.instruments.0.venueRef", {"name": "sim-fx", "namespace": other})
    both = replace(settings, namespaces=(other, namespace))
    async with nats_client(settings.nats_url) as bus:
        async with running(both) as operator:
            here, there = Desk(cluster, namespace, bus, operator), Desk(cluster, other, bus, operator)
            for desk in (here, there):
                await desk.create(VENUES, deepcopy(venue))
                await desk.create(RISK_LIMITS, change(limit_manifest(), "spec.scope", {}))
            await here.create(STRATEGIES, strategy_manifest())
            await here.create(STRATEGIES, local)
            await there.create(STRATEGIES, guest)

            async def bound() -> bool:
                return [item.strategy for item in (await here.config()).strategies] == ["ema", f"guest.{other}"]

            async def configured_there() -> bool:
                return [item.strategy for item in (await there.config()).strategies] == [f"local.{namespace}"]

            await until("the guest to be bound", bound)
            await until("the other venue to have its guest", configured_there)
            await here.idle()
            before = await here.config()
            policies = {
                name: (await here.get(NETWORK_POLICIES, name))["spec"] for name in ("venue-sim-fx", "strategy-local")
            }
            assert other in str(policies["venue-sim-fx"])
            assert other in str(policies["strategy-local"])

        async with running(replace(both, kubeconfig=str(api_server.powerless))) as operator:
            assert operator.parts is not None
            desk = Desk(cluster, namespace, bus, operator)
            assert operator.parts.relist.readable == (namespace,)
            await until("the bus to be connected", lambda: desk.parts.context.bus.connected)
            await desk.create(RISK_LIMITS, change(limit_manifest("second"), "spec.scope", {}))
            await desk.patch(STRATEGIES, "ema", {"spec": {"suspend": True}})
            await desk.rules("fx-desk", "second")
            await desk.state(config_pb2.TRADING_STATE_SUSPENDED)
            now = await desk.config()
            assert now.strategies[1] == before.strategies[1]
            assert dict(now.strategy_namespaces) == dict(before.strategy_namespaces)
            assert [list(rule.strategies) for rule in now.rules] == [["ema", f"guest.{other}"]] * 2
            switch = change(kill_manifest(), "spec.scope.namespaces", {"from": "All"})
            await desk.create(KILL_SWITCHES, switch)

            async def counted_both() -> bool:
                counts = (await desk.get(KILL_SWITCHES, "all")).get("status", {}).get("acknowledgements", {})
                return bool(counts.get("pending") == [f"{other}/sim-fx", f"{namespace}/sim-fx"])

            await until("gateways that are not seen to be waited for", counted_both)
            await desk.delete(STRATEGIES, "local")
            desk.parts.controller.enqueue_all()
            await desk.idle()
            for name, spec in policies.items():
                assert (await desk.get(NETWORK_POLICIES, name))["spec"] == spec
            assert await desk.exists(STRATEGIES, "local"), "its gateway was not asked whether it has stopped"

            await _allow(cluster, other, "work", _may(["*"], ["*"], ["*"]))
            await cluster.delete(STRATEGIES, other, "guest")

            async def only_ema() -> bool:
                return [item.strategy for item in (await desk.config()).strategies] == ["ema"]

            await until("what is seen again to be as it is now", only_ema)


async def _has(cluster: Cluster, namespace: str, name: str) -> bool:
    return bool(await cluster.get(CONFIG_MAPS, namespace, name))


def _unreadable(namespace: str) -> float | None:
    return metrics.REGISTRY.get_sample_value("crowetrade_operator_namespace_unreadable", {"namespace": namespace})


async def _on_the_bus(bus: Client, namespace: str, config: config_pb2.GatewayConfig) -> None:
    bucket = await bus.jetstream().create_key_value(bucket=subjects.CONFIG_BUCKET)
    await bucket.put(subjects.gateway_config_key(namespace, "sim-fx"), config.SerializeToString())
