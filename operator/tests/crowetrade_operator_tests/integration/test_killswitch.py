"""A KillSwitch from the API server to the gateways and back, over a real API server and a real bus."""

from __future__ import annotations

from typing import Any

import nats.js.errors
import pytest

from crowetrade import subjects
from crowetrade.config.v1 import kill_pb2 as pb
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import KILL_SWITCHES
from crowetrade_operator.reconcile import controller
from crowetrade_operator_tests.control.test_orders import serving
from crowetrade_operator_tests.integration.desk import Desk, trading
from crowetrade_operator_tests.integration.test_unreadable import misread_from_now
from crowetrade_operator_tests.samples import account, kill_manifest
from crowetrade_operator_tests.servers import NatsServer, free_port
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
Object = dict[str, Any]


async def on_the_bus(desk: Desk, name: str = "all") -> pb.KillOrder | None:
    try:
        bucket = await desk.bus.jetstream().key_value(subjects.KILL_BUCKET)
        entry = await bucket.get(subjects.kill_key(desk.namespace, name))
    except nats.js.errors.NotFoundError:
        return None
    return pb.KillOrder.FromString(entry.value or b"")


async def ordered(desk: Desk, name: str = "all") -> pb.KillOrder:
    """Waits until the order is on the bus."""
    found: list[pb.KillOrder | None] = [None]

    async def check() -> bool:
        found[0] = await on_the_bus(desk, name)
        return found[0] is not None

    await until("the order on the bus", check)
    assert found[0] is not None
    return found[0]


async def state(desk: Desk, expected: str, name: str = "all") -> Object:
    """Waits for a state; returns the status."""

    async def check() -> bool:
        return bool((await desk.get(KILL_SWITCHES, name)).get("status", {}).get("state") == expected)

    await until(f"KillSwitch {name} to be {expected}", check)
    status: Object = (await desk.get(KILL_SWITCHES, name))["status"]
    return status


def obeyed(order: pb.KillOrder, **fields: Any) -> pb.KillAcknowledgement:
    """What a gateway says that has halted."""
    return pb.KillAcknowledgement(
        namespace=order.namespace,
        name=order.name,
        uid=order.uid,
        generation=order.generation,
        mode=order.mode,
        scope=order.scope,
        reason=order.reason,
        seen_unix_ns=1_000_000,
        blocked_unix_ns=2_000_000,
        halted_unix_ns=42_000_000,
        cancels_confirmed=2,
        strategies=["ema"],
        **fields,
    )


async def test_engaged_relayed_acknowledged_and_rearmed(desk: Desk) -> None:
    async with trading(desk) as gateway:
        await desk.create(KILL_SWITCHES, kill_manifest())
        order = await ordered(desk)
        assert (order.mode, order.engaged_by, order.reason) == (pb.KILL_MODE_CANCEL, "alice", "bad market data")
        status = await state(desk, "Engaging")
        assert status["acknowledgements"] == {
            "acknowledged": 0,
            "concerned": 1,
            "summary": "0/1",
            "pending": [f"{desk.namespace}/sim-fx"],
        }
        gateway.says(accounts=[account(stopped=True)], kills=[obeyed(order)])
        status = await state(desk, "Halted")
        assert status["timeToHaltMillis"] == {"p50": 41, "max": 41}
        assert status["ordersCancelled"] == 2
        await desk.told("all", "KillSwitchEngaged")
        await desk.told("all", "Acknowledged")
        await desk.patch(KILL_SWITCHES, "all", {"spec": {"engaged": False}})
        await state(desk, "Rearming")
        gateway.says(accounts=[account()])
        status = await state(desk, "Armed")
        assert status["acknowledgements"]["summary"] == "1/1"
        assert await on_the_bus(desk) is None


async def test_a_namespace_of_its_own_stops_gateways_of_another(desk: Desk, cluster: Cluster) -> None:
    manifest = kill_manifest()
    manifest["spec"]["scope"] = {"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "none"}}}}
    async with trading(desk):
        await desk.create(KILL_SWITCHES, manifest)
        status = await state(desk, "Halted")
        assert status["acknowledgements"]["summary"] == "0/0"
        labels = {"matchLabels": {"kubernetes.io/metadata.name": desk.namespace}}
        await desk.patch(KILL_SWITCHES, "all", {"spec": {"scope": {"namespaces": {"selector": labels}}}})
        status = await state(desk, "Halted")  # the selector was merged: both labels are wanted
        await desk.patch(
            KILL_SWITCHES,
            "all",
            {"spec": {"scope": {"namespaces": {"selector": {"matchLabels": {"team": None}}}}}},
        )
        await state(desk, "Engaging")
        assert dict((await desk.config()).namespace_labels)["kubernetes.io/metadata.name"] == desk.namespace


async def test_one_that_cannot_be_read_halts_and_can_be_deleted(desk: Desk) -> None:
    async with trading(desk):
        await desk.create(KILL_SWITCHES, kill_manifest(engaged=False))
        await state(desk, "Armed")
        await misread_from_now(desk, KILL_SWITCHES, "all", "spec.mode", "Freeze")
        order = await ordered(desk)
        assert order.scope.namespaces_from == "All"
        await desk.condition(KILL_SWITCHES, "all", "Engaged", "True", "KillSwitchUnreadable")
        await desk.delete(KILL_SWITCHES, "all")
        await desk.gone(KILL_SWITCHES, "all")


async def test_an_order_that_gateways_report_without_an_object_gets_one(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "WITHOUT_OBJECT_SECONDS", 0.2)
    order = pb.KillOrder(
        namespace=desk.namespace,
        name="by-hand",
        mode=pb.KILL_MODE_FLATTEN,
        scope=pb.KillScope(namespaces_from="Same"),
        reason="smoke",
    )
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(stopped=True)], kills=[obeyed(order, engaged_by="bob")])
        await until("the object", lambda: desk.exists(KILL_SWITCHES, "by-hand"))
        made = (await desk.get(KILL_SWITCHES, "by-hand"))["spec"]
        assert (made["engaged"], made["mode"], made.get("engagedBy", "")) == (True, "Flatten", "")
        assert made["reason"] == "smoke (given by bob without the API server)"
        await desk.told("by-hand", "OrderWithoutObject")
        assert (await ordered(desk, "by-hand")).uid


async def test_an_order_on_the_bus_without_an_object_gets_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(controller, "WITHOUT_OBJECT_SECONDS", 0.2)
    await until("the bus", lambda: desk.parts.context.bus.connected)
    bucket = await desk.bus.jetstream().key_value(subjects.KILL_BUCKET)
    order = pb.KillOrder(namespace=desk.namespace, name="by-hand", mode=pb.KILL_MODE_BLOCK)
    await bucket.put(subjects.kill_key(desk.namespace, "by-hand"), order.SerializeToString())
    desk.parts.controller.look_for_orders()
    await until("the object", lambda: desk.exists(KILL_SWITCHES, "by-hand"))
    made = (await desk.get(KILL_SWITCHES, "by-hand"))["spec"]
    assert (made["mode"], made["scope"]["namespaces"]["from"]) == ("Block", "All")


async def test_one_that_is_deleted_while_engaged_comes_back_engaged_and_one_that_was_rearmed_does_not(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(controller, "WITHOUT_OBJECT_SECONDS", 0.2)
    async with trading(desk) as gateway:
        first = await desk.create(KILL_SWITCHES, kill_manifest())
        gateway.says(accounts=[account(stopped=True)], kills=[obeyed(await ordered(desk))])
        await state(desk, "Halted")
        await desk.delete(KILL_SWITCHES, "all")

        async def back() -> bool:
            return bool((await desk.get(KILL_SWITCHES, "all"))["metadata"]["uid"] != first["metadata"]["uid"])

        await until("it to come back", back)
        await desk.patch(KILL_SWITCHES, "all", {"spec": {"engaged": False}})
        gateway.says(accounts=[account()])
        await state(desk, "Armed")
        await desk.delete(KILL_SWITCHES, "all")
        await desk.gone(KILL_SWITCHES, "all")
        await desk.idle()
        assert await on_the_bus(desk) is None
        assert not await desk.exists(KILL_SWITCHES, "all")


async def test_with_the_bus_down_gateways_get_the_order_directly_and_their_answers_count(
    desk: Desk, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setattr(desk.parts.context.direct, "_address", lambda namespace, venue: f"127.0.0.1:{port}")
    async with trading(desk):
        nats_server.stop()
        await until("the bus to be lost", lambda: not desk.parts.context.bus.connected)
        made = await desk.create(KILL_SWITCHES, kill_manifest())
        await desk.condition(KILL_SWITCHES, "all", "Acknowledged", "Unknown", "BusUnavailable")
        async with serving(port) as service:
            service.answer = lambda order: obeyed(order)
            status = await state(desk, "Halted")
            assert status["acknowledgements"]["summary"] == "1/1"
            assert service.orders[0].uid == made["metadata"]["uid"]
        nats_server.start()
        await ordered(desk)
