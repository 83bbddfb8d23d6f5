"""The table of docs/security.md, tried as each role against the chart's own nats-server with real authorizers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig
from nats.js.errors import APIError, BadRequestError
from tools.bus_operations import BY_NKEY, NAMESPACE, OPERATIONS, STRATEGY, VENUE, Does, Operation

from crowetrade import subjects
from crowetrade_operator.authorizer.keys import USER_SEED
from crowetrade_operator.bus.stored import stored_entries
from crowetrade_operator_tests.secured_bus import (
    ADMINISTRATOR,
    AUDITOR,
    AUTHORIZER,
    NATS,
    OPERATOR,
    SYSTEM,
    SecuredBus,
    identity_of_gateway,
    identity_of_strategy,
)
from crowetrade_process.identity.name import IdentityName
from crowetrade_process_tests.identity.authority import TRUST_DOMAIN

pytestmark = pytest.mark.integration
IDENTITIES = {
    "strategy": identity_of_strategy(NAMESPACE, STRATEGY),
    "gateway": identity_of_gateway(NAMESPACE, VENUE),
    "operator": OPERATOR,
    "risk auditor": AUDITOR,
    "administrator": ADMINISTRATOR,
    BY_NKEY: AUTHORIZER,
    "authorizer (audit)": AUTHORIZER,
    "nats": NATS,
}
JOURNAL = subjects.journal_stream(NAMESPACE, VENUE)


class Tried:
    """A connection that hears what the server refuses."""

    def __init__(self) -> None:
        self.refused: list[str] = []
        self.client: Client

    async def on_error(self, error: Exception) -> None:
        """What the server says."""
        if "permissions violation" in str(error).lower():
            self.refused.append(str(error))

    async def permits(self, operation: Operation) -> bool:
        """Tries it; the server has said what it has to say before it answers a flush."""
        self.refused.clear()
        if operation.does is Does.SUBSCRIBE:
            subscription = await self.client.subscribe(operation.subject)
            await self.settled()
            await subscription.unsubscribe()
        elif operation.header:
            return await self._is_stored(operation)
        else:
            await self.client.publish(operation.subject, b"{}", reply=self.client.new_inbox())
            await self.settled()
        return not self.refused

    async def _is_stored(self, operation: Operation) -> bool:
        """What is permitted reaches the stream, which answers whether it took the message with this header."""
        name, _, value = operation.header.partition(": ")
        answer = await self.client.request(operation.subject, b"{}", timeout=5, headers={name: value})
        return "error" not in json.loads(answer.data)

    async def settled(self) -> None:
        """Two round trips: nats-py writes the PING of a flush past what is still in its buffer."""
        await self.client.flush()
        await self.client.flush()


@contextlib.asynccontextmanager
async def trying(bus: SecuredBus, role: str) -> AsyncIterator[Tried]:
    tried = Tried()
    options = {"nkeys_seed_str": bus.seeds[USER_SEED]} if role == BY_NKEY else {}
    async with bus.connected(IDENTITIES[role], error_cb=tried.on_error, **options) as tried.client:
        yield tried


@pytest.mark.parametrize("role", IDENTITIES)
async def test_each_role_may_do_what_the_table_says_and_nothing_else(
    bus: SecuredBus, operator: Client, role: str
) -> None:
    rows = [operation for operation in OPERATIONS if operation.role == role]
    async with trying(bus, role) as tried:
        found = {row: await tried.permits(row) for row in rows}
    assert found == {row: row.allowed for row in rows}


def test_the_table_has_every_role_and_enough_rows() -> None:
    assert {operation.role for operation in OPERATIONS} == set(IDENTITIES)
    assert len(OPERATIONS) >= 60
    assert len({(row.role, row.does, row.subject, row.header) for row in OPERATIONS}) == len(OPERATIONS)


async def stored(operator: Client) -> int:
    return (await operator.jetstream().stream_info(JOURNAL)).state.messages


async def test_what_is_refused_has_no_effect(bus: SecuredBus, operator: Client) -> None:
    async with trying(bus, "gateway") as gateway:
        await gateway.client.jetstream().publish(subjects.journal(NAMESPACE, VENUE), b"a record")
    before = await operator.jetstream().stream_info(JOURNAL)
    for role in ("strategy", "gateway", "operator", "risk auditor"):
        async with trying(bus, role) as tried:
            for row in OPERATIONS:
                if row.role == role and not row.allowed:
                    assert not await tried.permits(row)
    after = await operator.jetstream().stream_info(JOURNAL)
    assert after.state == before.state
    assert after.config == before.config


@pytest.mark.parametrize("role", ["gateway", "operator", "administrator"])
async def test_nobody_empties_a_bucket_by_a_key_that_they_may_write(
    bus: SecuredBus, operator: Client, role: str
) -> None:
    """`Nats-Rollup: all` would delete every other message of the stream: the shares of every namespace."""
    rows = [row for row in OPERATIONS if row.role == role and row.header]
    assert rows
    for row in rows:
        bucket = await operator.jetstream().key_value(row.subject.split(".")[1])
        revision = await bucket.put("kept.elsewhere", b"of another namespace")
        async with trying(bus, role) as tried:
            assert not await tried.permits(row)
            assert await tried.permits(replace(row, header="Some: header"))
        assert (await bucket.get("kept.elsewhere")).revision == revision
        await bucket.delete("kept.elsewhere")


async def test_an_administrator_purges(bus: SecuredBus, operator: Client) -> None:
    async with trying(bus, "administrator") as administrator:
        jetstream = administrator.client.jetstream(prefix=subjects.ADMIN_API)
        assert await jetstream.purge_stream(JOURNAL)
    assert await stored(operator) == 0


async def test_a_watch_must_say_in_its_subject_what_it_says_in_its_request(bus: SecuredBus, operator: Client) -> None:
    """The permission is for a subject: a request whose body names other keys is refused by the server."""
    stream, config = subjects.bucket_stream(subjects.CONFIG_BUCKET), subjects.CONFIG_BUCKET
    own = subjects.key_subject(config, subjects.gateway_config_key(NAMESPACE, VENUE))
    others = subjects.key_subject(config, subjects.gateway_config_key(NAMESPACE, "other"))
    async with trying(bus, "gateway") as gateway:
        for filters in ({"filter_subject": others}, {"filter_subjects": [own, others]}, {}):
            name = uuid.uuid4().hex
            asked = ConsumerConfig(name=name, deliver_subject=gateway.client.new_inbox(), **filters).as_dict()
            subject = f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{own}"
            request = json.dumps({"stream_name": stream, "config": asked}).encode()
            answer = json.loads((await gateway.client.request(subject, request, timeout=5)).data)
            if "error" not in answer:
                assert answer["config"].get("filter_subject") == own
                assert not answer["config"].get("filter_subjects")
            assert not gateway.refused


async def test_the_operator_lists_what_it_has_put(operator: Client) -> None:
    """By the list of subjects: it may not make a consumer."""
    bucket = await operator.jetstream().key_value(subjects.KILL_BUCKET)
    await bucket.put(subjects.kill_key(NAMESPACE, "stop"), b"x")
    await bucket.put(subjects.kill_key(NAMESPACE, "rearmed"), b"x")
    await bucket.delete(subjects.kill_key(NAMESPACE, "rearmed"))
    found = await stored_entries(operator, bucket, subjects.KILL_BUCKET, ">")
    assert list(found) == [subjects.kill_key(NAMESPACE, "stop")]


async def test_a_connection_has_bounds(bus: SecuredBus, operator: Client) -> None:
    async with bus.connected(IDENTITIES["strategy"]) as client:
        assert client.max_payload == 1024 * 1024
        for number in range(1001):
            await client.subscribe(f"_INBOX.desk.strategy-trend.{number}")
        await gone_through(client)
        assert "maximum subscriptions exceeded" in str(client.last_error).lower()


async def gone_through(client: Client) -> None:
    """What was sent has been judged, also where the server then closes the connection."""
    with contextlib.suppress(NatsError, TimeoutError, OSError):
        for _ in range(2):
            await client.flush(timeout=5)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (IdentityName(TRUST_DOMAIN, NAMESPACE, "default"), "NotPermitted"),
        (IdentityName(TRUST_DOMAIN, NAMESPACE, "crowetrade-operator"), "NotPermitted"),
        (IdentityName(TRUST_DOMAIN, NAMESPACE, "venue-a.b"), "VenueConnectionNotFound"),
        (identity_of_strategy(NAMESPACE, "nobody"), "StrategyNotFound"),
        (identity_of_gateway(NAMESPACE, "nobody"), "VenueConnectionNotFound"),
        (identity_of_gateway("elsewhere", VENUE), "VenueConnectionNotFound"),
        (IdentityName(TRUST_DOMAIN, NAMESPACE, "nats"), "NotPermitted"),
        (IdentityName("elsewhere.example", SYSTEM, "crowetrade-operator"), "ForeignTrustDomain"),
    ],
)
async def test_a_stranger_is_not_let_in_and_is_counted(
    bus: SecuredBus, operator: Client, name: IdentityName, reason: str
) -> None:
    before = bus.judged(reason)
    with pytest.raises(NatsError, match="Authorization Violation"):
        async with bus.connected(name):
            pass
    assert bus.judged(reason) == before + 1


async def test_the_seed_of_the_authorizer_without_a_certificate_is_not_enough(bus: SecuredBus) -> None:
    with pytest.raises((NatsError, OSError, TimeoutError)):
        await nats.connect(
            bus.url.replace("tls://", "nats://"),
            nkeys_seed_str=bus.seeds[USER_SEED],
            allow_reconnect=False,
            max_reconnect_attempts=1,
            connect_timeout=3,
            error_cb=_silent,
        )


async def test_no_stream_is_deleted_by_its_makers(bus: SecuredBus, operator: Client) -> None:
    jetstream = operator.jetstream(timeout=1)
    with pytest.raises((APIError, BadRequestError, TimeoutError, NatsError)):
        await jetstream.delete_stream(JOURNAL)
    assert (await operator.jetstream().stream_info(JOURNAL)).config.name == JOURNAL


async def _silent(error: Exception) -> None:
    await asyncio.sleep(0)
