"""Kill orders in a real bucket: compare-and-set, and what is never taken away."""

from __future__ import annotations

import nats.js.errors
import pytest
from nats.aio.client import Client
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade.config.v1.kill_pb2 import KILL_MODE_CANCEL, KILL_MODE_FLATTEN, KillOrder
from crowetrade_operator.bus import kills

pytestmark = pytest.mark.integration
KEY = subjects.kill_key("desk", "all")


@pytest.fixture
async def bucket(client: Client) -> KeyValue:
    return await client.jetstream().create_key_value(bucket=subjects.KILL_BUCKET)


def order(uid: str = "uid-all", generation: int = 1, issued_unix_ns: int = 0) -> KillOrder:
    return KillOrder(
        namespace="desk",
        name="all",
        uid=uid,
        generation=generation,
        mode=KILL_MODE_CANCEL,
        issued_unix_ns=issued_unix_ns,
    )


async def stored(bucket: KeyValue) -> KillOrder:
    entry = await bucket.get(KEY)
    return KillOrder.FromString(entry.value or b"")


async def test_an_order_is_written_once_and_keeps_the_time_at_which_it_was_given(bucket: KeyValue) -> None:
    assert await kills.put(bucket, order(), 7)
    assert not await kills.put(bucket, order(), 8)
    assert await stored(bucket) == order(issued_unix_ns=7)
    assert await kills.put(bucket, order(generation=2), 9)
    assert await stored(bucket) == order(generation=2, issued_unix_ns=7)


async def test_an_order_without_an_object_is_replaced_by_the_one_of_its_object(bucket: KeyValue) -> None:
    await bucket.put(KEY, order("", 0, issued_unix_ns=3).SerializeToString())
    assert await kills.put(bucket, order(), 9)
    assert await stored(bucket) == order(issued_unix_ns=3)


async def test_a_later_generation_is_not_overwritten_by_a_leader_that_is_behind(bucket: KeyValue) -> None:
    await kills.put(bucket, order(generation=3), 1)
    assert not await kills.put(bucket, order(generation=2), 2)
    assert not await kills.remove(bucket, "desk", "all", "uid-all", 2)
    assert (await stored(bucket)).generation == 3


async def test_a_rearmed_order_is_taken_away_and_may_come_again(client: Client, bucket: KeyValue) -> None:
    await kills.put(bucket, order(), 1)
    assert await kills.remove(bucket, "desk", "all", "uid-all", 2)
    assert not await kills.remove(bucket, "desk", "all", "uid-all", 2)
    assert await kills.orders(client, bucket) == []
    assert await kills.put(bucket, order(generation=3), 5)
    assert await stored(bucket) == order(generation=3, issued_unix_ns=5)


async def test_the_order_of_an_object_that_was_replaced_is_taken_away(bucket: KeyValue) -> None:
    await kills.put(bucket, order("uid-before", 9), 1)
    assert await kills.remove(bucket, "desk", "all", "uid-all", 1)


async def test_an_order_without_an_object_is_never_taken_away(client: Client, bucket: KeyValue) -> None:
    await bucket.put(KEY, order("", 0).SerializeToString())
    assert not await kills.remove(bucket, "desk", "all", "uid-all", 5)
    assert await kills.orders(client, bucket) == [order("", 0)]


async def test_what_cannot_be_read_is_replaced(client: Client, bucket: KeyValue) -> None:
    await bucket.put(KEY, b"\xff\xff")
    assert await kills.orders(client, bucket) == []
    assert await kills.put(bucket, order(), 1)
    assert await stored(bucket) == order(issued_unix_ns=1)


async def test_of_two_writers_at_once_one_is_refused(bucket: KeyValue, monkeypatch: pytest.MonkeyPatch) -> None:
    await kills.put(bucket, order(), 1)
    harder = KillOrder(namespace="desk", name="all", uid="uid-all", generation=2, mode=KILL_MODE_FLATTEN)
    read = bucket.get

    async def meanwhile(key: str) -> KeyValue.Entry:
        entry = await read(key)
        await bucket.put(KEY, harder.SerializeToString())
        return entry

    monkeypatch.setattr(bucket, "get", meanwhile)
    with pytest.raises(nats.js.errors.KeyWrongLastSequenceError):
        await kills.put(bucket, order(generation=2), 2)
    with pytest.raises(nats.js.errors.APIError):
        await kills.remove(bucket, "desk", "all", "uid-all", 2)
    monkeypatch.undo()
    assert await stored(bucket) == harder
