"""The keys of a real bucket: all of them, those that were deleted left out, whatever the machine does meanwhile."""

from __future__ import annotations

import nats.js.errors
import pytest
from nats.aio.client import Client
from nats.js.api import StorageType
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade_operator.bus.stored import stored_entries, stored_subjects
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
NAME = "keys"
STREAM = subjects.bucket_stream(NAME)
PAGE = 100_000
"""Subjects that nats-server tells at a time."""


@pytest.fixture
async def bucket(client: Client) -> KeyValue:
    return await client.jetstream().create_key_value(bucket=NAME, storage=StorageType.MEMORY)


async def test_an_empty_bucket_has_no_keys(client: Client, bucket: KeyValue) -> None:
    assert await stored_entries(client, bucket, NAME, ">") == {}


async def test_keys_that_match_are_listed_with_what_they_hold(client: Client, bucket: KeyValue) -> None:
    for key in ("a.x", "a.y", "b.x", "a.y"):
        await bucket.put(key, key.encode())
    found = await stored_entries(client, bucket, NAME, "a.*")
    assert {key: entry.value for key, entry in found.items()} == {"a.x": b"a.x", "a.y": b"a.y"}
    assert found["a.y"].revision == 4
    assert list(await stored_entries(client, bucket, NAME, ">", lambda key: key.endswith("x"))) == ["a.x", "b.x"]


async def test_a_key_that_was_deleted_is_not_listed_although_its_mark_is_stored(
    client: Client, bucket: KeyValue
) -> None:
    for key in ("deleted", "purged", "there", "there-again"):
        await bucket.put(key, b"x")
    await bucket.delete("deleted")
    await bucket.purge("purged")
    await bucket.delete("there-again")
    await bucket.put("there-again", b"y")
    assert len(await stored_subjects(client, STREAM, "$KV.keys.>")) == 4
    assert list(await stored_entries(client, bucket, NAME, ">")) == ["there", "there-again"]


async def test_a_key_that_only_another_client_would_write_is_listed(client: Client, bucket: KeyValue) -> None:
    """nats-py refuses to write and to read it; an operator that stumbles over it would see no kill order at all."""
    await client.jetstream().publish("$KV.keys.a~b", b"x")
    await bucket.put("c", b"x")
    assert list(await stored_entries(client, bucket, NAME, ">")) == ["a~b", "c"]


async def test_more_subjects_than_the_server_tells_at_a_time_are_all_listed(client: Client, bucket: KeyValue) -> None:
    jetstream = client.jetstream()
    for number in range(PAGE + 2):
        await client.publish(f"$KV.keys.{number}", b"x")

    async def all_stored() -> bool:
        return (await jetstream.stream_info(STREAM)).state.messages == PAGE + 2

    await until("all keys to be stored", all_stored)
    first = (await jetstream.stream_info(STREAM, subjects_filter="$KV.keys.>")).state.subjects
    assert first is not None
    assert len(first) == PAGE, "the server pages otherwise: is it another version?"
    assert len(await stored_subjects(client, STREAM, "$KV.keys.>")) == PAGE + 2


async def test_a_bucket_that_is_gone_is_an_error_and_not_an_empty_one(client: Client, bucket: KeyValue) -> None:
    await client.jetstream().delete_key_value(NAME)
    with pytest.raises(nats.js.errors.NotFoundError):
        await stored_entries(client, bucket, NAME, ">")
