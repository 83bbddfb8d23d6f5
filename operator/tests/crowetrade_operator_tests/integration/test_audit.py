"""The operator's audit trail: a real API server, a real bus, and the whole operator."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from nats.js.api import StreamConfig
from nats.js.errors import NotFoundError

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_api.names import CHANGED_BY_ANNOTATION, CLEAR_HALT_ANNOTATION, FORCE_DELETE_ANNOTATION
from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import KILL_SWITCHES, RISK_LIMITS, STRATEGIES, VENUES
from crowetrade_operator.decide.changes import WHILE_AWAY
from crowetrade_operator.decide.kept_resources import decode
from crowetrade_operator.reconcile import audit_record
from crowetrade_operator.reconcile.audit_kept import Kept
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.charts import operator_settings
from crowetrade_operator_tests.integration.desk import Desk, running, trading
from crowetrade_operator_tests.samples import account, kill_manifest, limit_manifest, venue_manifest
from crowetrade_operator_tests.servers import nats_client
from crowetrade_operator_tests.waiting import counted, until
from crowetrade_process.audit.chain import End, Head, seal
from crowetrade_process.audit.chain import decode as decode_record
from crowetrade_process.audit.verification import Verification, read_ends

pytestmark = pytest.mark.integration
Object = dict[str, Any]
Row = tuple[str, str, str]
GATEWAY = ("desk", "venue-sim")
WRITER = "desk.venue-sim"


@pytest.fixture(autouse=True)
def _kept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_record, "KEEP_SECONDS", 0.1)


async def stored(desk: Desk) -> list[tuple[str, bytes]]:
    """Subject and bytes of every record, oldest first."""
    jetstream = desk.bus.jetstream()
    try:
        state = (await jetstream.stream_info(subjects.AUDIT_STREAM)).state
    except NotFoundError:  # the operator has not made it yet
        return []
    found = [
        await jetstream.get_msg(subjects.AUDIT_STREAM, place)
        for place in range(max(state.first_seq, 1), state.last_seq + 1)
    ]
    return [(message.subject or "", message.data or b"") for message in found]


async def events(desk: Desk) -> list[audit_pb2.AuditEvent]:
    """What the operator has recorded."""
    own = subjects.audit(desk.namespace, "crowetrade-operator")
    records = [decode_record(payload, "") for subject, payload in await stored(desk) if subject == own]
    return [record.event for record in records if record.HasField("event")]


async def told(desk: Desk, *expected: Row) -> None:
    """Waits until these actions, actors and names are recorded, in this order, whatever is between them."""

    async def check() -> bool:
        left = iter([(audit_pb2.Action.Name(one.action)[7:], one.actor, one.name) for one in await events(desk)])
        return all(row in left for row in expected)

    await until(f"the audit trail to say {expected}", check)


async def read_kept(cluster: Cluster, namespace: str) -> Kept:
    """What the operator of this namespace keeps."""
    found = Kept(cluster, namespace)
    await found.read()
    return found


async def kept(desk: Desk) -> dict[str, End]:
    return read_ends((await read_kept(desk.cluster, desk.namespace)).ends)


async def names_kept(cluster: Cluster, namespace: str) -> list[str]:
    """Resources that are kept of the operator's own namespace."""
    found = (await read_kept(cluster, namespace)).resources()
    return [item.name for place, text in found if place[1] == namespace for item in decode(namespace, text).values()]


async def test_what_people_change_is_recorded_with_before_and_after(desk: Desk) -> None:
    limit = limit_manifest()
    name = limit["metadata"]["name"]
    limit["metadata"]["annotations"] = {CHANGED_BY_ANNOTATION: "alice"}
    await desk.create(RISK_LIMITS, limit)
    await told(desk, ("STARTED", f"{desk.namespace}.crowetrade-operator", ""), ("CREATED", "alice", name))
    bob = {"annotations": {CHANGED_BY_ANNOTATION: "bob"}}
    await desk.patch(RISK_LIMITS, name, {"metadata": bob, "spec": {"limits": {"maxOrderQuantity": "7"}}})
    await told(desk, ("CHANGED", "bob", name))
    (changed,) = [one for one in await events(desk) if one.action == audit_pb2.ACTION_CHANGED]
    assert '"maxOrderQuantity":"7"' not in changed.before
    assert '"maxOrderQuantity":"7"' in changed.after
    await desk.delete(RISK_LIMITS, name)
    await told(desk, ("CHANGED", "bob", name), ("DELETED", "", name))
    verification = Verification(time.time_ns(), subjects.AUDIT_RETENTION_SECONDS)
    for subject, payload in await stored(desk):
        verification.follow(subject, payload)
    assert [found.problem for found in verification.finish()] == [""]


async def test_the_stream_that_the_chart_asks_for_keeps_the_longest_seven_years(
    cluster: Cluster, settings: Settings, nats_url: str
) -> None:
    longest = max(date(year + 7, 3, 1) - date(year, 3, 1) for year in range(2026, 2056))
    async with running(replace(settings, streams=operator_settings().streams)), nats_client(nats_url) as bus:

        async def kept() -> float | None:
            try:
                return (await bus.jetstream().stream_info(subjects.AUDIT_STREAM)).config.max_age
            except NotFoundError:  # the operator has not made it yet
                return None

        async def made() -> bool:
            return await kept() is not None

        await until("the stream of the audit trail", made)
        assert await kept() == longest.total_seconds() == subjects.AUDIT_RETENTION_SECONDS


async def test_kills_and_overrides_are_recorded_as_such(desk: Desk) -> None:
    switch = kill_manifest("all", desk.namespace)
    switch["spec"] = {"engaged": True, "engagedBy": "bob", "reason": "test"}
    await desk.create(KILL_SWITCHES, switch)
    await told(desk, ("KILL", "bob", "all"))
    await desk.create(VENUES, venue_manifest("sim"))
    await told(desk, ("CREATED", "", "sim"))
    halt = {CLEAR_HALT_ANNOTATION: "UnknownExecution@1", CHANGED_BY_ANNOTATION: "alice"}
    await desk.patch(VENUES, "sim", {"metadata": {"annotations": halt}})
    await told(desk, ("OVERRIDE", "alice", "sim"))


async def test_a_deletion_that_is_forced_is_recorded_with_who_forced_it(desk: Desk) -> None:
    async with trading(desk) as gateway:
        gateway.says(accounts=[account(open_orders=1)])
        await desk.delete(STRATEGIES, "ema")
        await desk.phase(STRATEGIES, "ema", "Stopping")
        forced = {FORCE_DELETE_ANNOTATION: "true", CHANGED_BY_ANNOTATION: "alice"}
        await desk.patch(STRATEGIES, "ema", {"metadata": {"annotations": forced}})
        await desk.gone(STRATEGIES, "ema")
        await told(desk, ("DELETED", "", "ema"), ("FORCE_DELETE", "alice", "ema"), ("DELETED", "", "ema"))
    (found,) = [one for one in await events(desk) if one.action == audit_pb2.ACTION_FORCE_DELETE]
    assert found.reason == "force-delete: true"


async def test_what_changed_while_no_operator_worked_is_found(
    cluster: Cluster, namespace: str, nats_url: str, settings: Settings
) -> None:
    limit = limit_manifest()
    name = limit["metadata"]["name"]
    async with running(settings) as operator, nats_client(nats_url) as bus:
        desk = Desk(cluster, namespace, bus, operator)
        await desk.create(RISK_LIMITS, limit)
        await told(desk, ("CREATED", "", name))

        async def resource_is_kept() -> bool:
            return name in await names_kept(cluster, namespace)

        await until("the resource to be kept", resource_is_kept)
    await cluster.merge(RISK_LIMITS, namespace, name, {"spec": {"limits": {"maxOrderQuantity": "9"}}})
    async with running(settings) as operator, nats_client(nats_url) as bus:
        desk = Desk(cluster, namespace, bus, operator)
        await told(desk, ("CREATED", "", name), ("CHANGED", "", name))
        (changed,) = [one for one in await events(desk) if one.action == audit_pb2.ACTION_CHANGED]
        assert (changed.reason, changed.before) == (WHILE_AWAY, "")
        assert '"maxOrderQuantity":"9"' in changed.after


async def test_at_rest_the_api_server_is_asked_for_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bus is: a chain may have been cut off, or written again."""
    await desk.create(RISK_LIMITS, limit_manifest())

    async def all_is_kept() -> bool:
        names = await names_kept(desk.cluster, desk.namespace)
        return "fx-desk" in names and await kept(desk) == await desk.parts.context.bus.audit_ends()

    await until("the trail to be at rest", all_is_kept)
    await desk.idle()
    looks, ends = 0, desk.parts.context.bus.audit_ends

    async def counting() -> dict[str, End]:
        nonlocal looks
        looks += 1
        return await ends()

    monkeypatch.setattr(desk.parts.context.bus, "audit_ends", counting)
    before = counted("api_requests", resource="configmaps")
    await until("it to look again", lambda: looks >= 3)
    assert counted("api_requests", resource="configmaps") == before


def chain(first: str) -> list[bytes]:
    """Three records of a gateway."""
    records, head = [], Head()
    for name in (first, "b", "c"):
        event = audit_pb2.AuditEvent(action=audit_pb2.ACTION_LIMIT_IN_FORCE, name=name)
        payload, head = seal(head, WRITER, "pod-1", time.time_ns(), event)
        records.append(payload)
    return records


TAMPERED: dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]] = {
    "an end that was cut off": (lambda records: records[:-1], "its end was cut off"),
    "a chain that was written again": (lambda records: chain("x"), "it was written again"),
    "a chain that is gone": (lambda records: [], "ends with record 0"),
}


@pytest.mark.parametrize("case", TAMPERED)
async def test_tampering_is_told_and_what_is_kept_stays(desk: Desk, case: str) -> None:
    tamper, words = TAMPERED[case]
    jetstream, records = desk.bus.jetstream(), chain("a")
    await until("the operator to have its stream", lambda: desk.parts.context.bus.connected)
    for payload in records:
        await jetstream.publish(subjects.audit(*GATEWAY), payload)

    async def is_kept() -> bool:
        return (await kept(desk))[WRITER].head.sequence == 3

    await until("the end of the chain to be kept", is_kept)
    before = (await kept(desk))[WRITER]
    await jetstream.delete_stream(subjects.AUDIT_STREAM)
    await jetstream.add_stream(StreamConfig.from_response(subjects.audit_stream_config(86_400)))
    for payload in tamper(records):
        await jetstream.publish(subjects.audit(*GATEWAY), payload)

    async def is_told() -> bool:
        reasons = [one.reason for one in await events(desk) if one.action == audit_pb2.ACTION_CHAIN_BELOW_RECORD]
        return any(reason.startswith(f"the chain of {WRITER}") for reason in reasons)

    await until("the operator to tell it", is_told)
    # It may have looked first when not all of the other chain was there.
    await until("the operator to know what was done", lambda: words in desk.parts.audit.broken.get(WRITER, ""))
    assert metrics.AUDIT_CHAINS_BROKEN._value.get() >= 1
    assert (await kept(desk))[WRITER] == before
