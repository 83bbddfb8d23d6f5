"""The audit trail on a secured bus: written, kept and read with the permissions that each role really has."""

from __future__ import annotations

import asyncio
import time

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from tools.bus_operations import NAMESPACE, VENUE

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade_agents.journal.jetstream_reader import Stored, StreamReader
from crowetrade_operator.bus import audit
from crowetrade_operator_tests.secured_bus import ADMINISTRATOR, AUTHORIZER, OPERATOR, SecuredBus, identity_of_gateway
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import until
from crowetrade_process.audit.chain import decode
from crowetrade_process.audit.checkpoints import Authorities
from crowetrade_process.audit.trail import Trail, connecting
from crowetrade_process.audit.verification import Verification
from crowetrade_process.identity.name import IdentityName
from crowetrade_process_tests.identity.authority import TRUST_DOMAIN

pytestmark = pytest.mark.integration
EVENTS = 3
TRIES = 4


async def write(bus: SecuredBus, name: IdentityName, operator: Client) -> None:
    """A process with this identity records some events, and ends."""
    identity = await bus.identity(name)
    trail = Trail(name.namespace, name.service_account, "pod-1", identity=identity)
    writer = f"{name.namespace}.{name.service_account}"

    async def is_written() -> bool:
        found = await audit.ends(operator.jetstream())
        return writer in found and found[writer].head.sequence > EVENTS

    async with trail.writing(connecting(bus.url, "test-audit", identity)):
        for number in range(EVENTS):
            trail.record(audit_pb2.AuditEvent(action=audit_pb2.ACTION_STARTED, reason=str(number)))
        await until(f"{name} to have written", is_written)


async def test_who_has_an_identity_writes_the_operator_keeps_and_an_administrator_verifies(
    bus: SecuredBus, operator: Client
) -> None:
    for name in (identity_of_gateway(NAMESPACE, VENUE), OPERATOR):
        await write(bus, name, operator)
    ends = await audit.ends(operator.jetstream())
    assert set(ends) >= {f"{NAMESPACE}.venue-{VENUE}", f"{OPERATOR.namespace}.{OPERATOR.service_account}"}
    for end in ends.values():
        assert await audit.has_record(operator.jetstream(), end.place, end.head.record_hash)
        assert not await audit.has_record(operator.jetstream(), end.place, b"x" * 32)
    verification = Verification(time.time_ns(), 86_400, Authorities(bus.authority.pem), ends)
    for record in await read(bus):
        verification.follow(record.subject, record.payload)
    found = verification.finish()
    assert {one.problem for one in found} == {""}
    assert all(one.signed >= 1 and one.unsigned == 0 for one in found)


async def read(bus: SecuredBus) -> list[Stored]:
    """The audit trail, as an administrator reads it."""
    async with bus.connected(ADMINISTRATOR) as administrator:
        reader = StreamReader(administrator, subjects.AUDIT_STREAM, "the audit trail", subjects.ADMIN_API)
        await reader.check_stream()
        last = await reader.last_of("audit.>")
        return [record async for record in reader.messages("audit.>", 1, last.place)] if last is not None else []


async def test_a_stranger_on_the_bus_is_recorded_by_the_authorizer_each_time(
    bus: SecuredBus, operator: Client, api_server: ApiServer
) -> None:
    stranger = IdentityName(TRUST_DOMAIN, NAMESPACE, "default")
    for _ in range(TRIES):
        with pytest.raises(NatsError, match="Authorization Violation"):
            async with bus.connected(stranger):
                pass

    async def counts() -> list[int]:
        own = subjects.audit(AUTHORIZER.namespace, AUTHORIZER.service_account)
        events = [decode(record.payload, "").event for record in await read(bus) if record.subject == own]
        refused = [event for event in events if event.action == audit_pb2.ACTION_IDENTITY_REFUSED]
        return [event.count for event in refused if event.actor == stranger.uri and "NotPermitted" in event.reason]

    async def is_recorded() -> bool:
        return bool(await counts())

    await until("the first refusal to be recorded", is_recorded)
    # Another one answers, while those that have refused record at their end what they have counted since.
    ending = [*bus.replicas]
    bus.start_authorizer(api_server.kubeconfig, len(ending)).wait_ready()
    for replica in ending:
        bus.replicas.remove(replica)
        await asyncio.to_thread(replica.process.stop)
    assert sum(await counts()) == TRIES
