"""Keys of a bucket on a real server: what is there, then every change, and an end where one was missed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade_agents.control import watch as watch_module
from crowetrade_agents.control.watch import Change, watch

from ..journal.conftest import Server, client, server

__all__ = ["client", "server"]
pytestmark = pytest.mark.integration
WAIT_SECONDS = 20
BUCKET = subjects.CONFIG_BUCKET


@pytest.fixture
async def bucket(client: Client) -> KeyValue:
    return await client.jetstream().create_key_value(bucket=BUCKET)


async def next_of(changes: AsyncIterator[Change | None]) -> Change | None:
    async with asyncio.timeout(WAIT_SECONDS):
        return await anext(changes)


async def test_what_is_there_then_every_change_of_these_keys(client: Client, bucket: KeyValue) -> None:
    for key, value in (("a.x", b"old"), ("a.x", b"1"), ("a.y", b"2"), ("b.x", b"another's")):
        await bucket.put(key, value)
    changes = watch(client, BUCKET, "a.*")
    assert [await next_of(changes) for _ in range(3)] == [Change("a.x", b"1"), Change("a.y", b"2"), None]
    await bucket.put("b.x", b"another's again")
    await bucket.put("a.x", b"3")
    await bucket.delete("a.y")
    assert [await next_of(changes) for _ in range(2)] == [Change("a.x", b"3"), Change("a.y", None)]


async def test_where_nothing_is_there_it_says_so_at_once(client: Client, bucket: KeyValue) -> None:
    changes = watch(client, BUCKET, "a.x")
    assert await next_of(changes) is None
    await bucket.put("a.x", b"1")
    assert await next_of(changes) == Change("a.x", b"1")


async def test_a_bucket_that_is_missing_is_said(client: Client) -> None:
    with pytest.raises(NotFoundError):
        await next_of(watch(client, BUCKET, "a.x"))


async def test_it_lives_on_heartbeats(client: Client, bucket: KeyValue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_module, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(watch_module, "SILENT_SECONDS", 0.5)
    changes = watch(client, BUCKET, "a.x")
    assert await next_of(changes) is None
    waiting = asyncio.create_task(next_of(changes))
    _, still = await asyncio.wait({waiting}, timeout=1.5)
    assert still == {waiting}
    await bucket.put("a.x", b"1")
    assert await waiting == Change("a.x", b"1")


async def test_a_server_that_is_silent_ends_it(
    server: Server, client: Client, bucket: KeyValue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_module, "SILENT_SECONDS", 0.5)
    changes = watch(client, BUCKET, "a.x")
    assert await next_of(changes) is None
    server.freeze()
    with pytest.raises(NatsError):
        await next_of(changes)
    server.thaw()


async def test_it_ends_where_a_change_was_missed(client: Client, bucket: KeyValue) -> None:
    changes = watch(client, BUCKET, "a.x")
    assert await next_of(changes) is None
    (subscription,) = [sub for sub in client._subs.values() if sub.subject.startswith("_INBOX") and sub._cb is None]
    await bucket.put("a.x", b"missed")
    await subscription.next_msg(timeout=WAIT_SECONDS)
    await bucket.put("a.x", b"seen")
    with pytest.raises(StopAsyncIteration):
        await next_of(changes)
