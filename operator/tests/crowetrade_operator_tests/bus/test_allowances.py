"""Shares of a gateway that is gone, taken out of a real bucket while others write to it."""

from __future__ import annotations

import pytest
from nats.aio.client import Client
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade.config.v1.allowance_pb2 import Allowances, Share, Split
from crowetrade_operator.bus import allowances

pytestmark = pytest.mark.integration
KEY = subjects.allowance_key("desk", "u1")


@pytest.fixture
async def bucket(client: Client) -> KeyValue:
    return await client.jetstream().create_key_value(bucket=subjects.ALLOWANCE_BUCKET)


def ledger(**held: int) -> bytes:
    """One limit, held like this."""
    shares = [Share(venue=venue, held=share, fencing_token=1) for venue, share in held.items()]
    return Allowances(splits=[Split(limit="maxOrderRate", shares=shares)]).SerializeToString()


async def stored(bucket: KeyValue, key: str = KEY) -> bytes:
    return (await bucket.get(key)).value or b""


async def test_the_shares_of_a_gateway_that_is_gone_are_free_for_others(client: Client, bucket: KeyValue) -> None:
    elsewhere = subjects.allowance_key("other", "u2")
    for key in (KEY, elsewhere):
        await bucket.put(key, ledger(gone=600_000, here=400_000))
    await bucket.put(subjects.allowance_key("desk", "u3"), b"\xff")
    assert await allowances.release(client, bucket, "desk", "gone") == 1
    assert await stored(bucket) == ledger(here=400_000)
    assert await stored(bucket, elsewhere) == ledger(gone=600_000, here=400_000)
    assert await allowances.release(client, bucket, "desk", "gone") == 0


async def test_without_ledgers_there_is_nothing_to_take_away(client: Client, bucket: KeyValue) -> None:
    assert await allowances.release(client, bucket, "desk", "gone") == 0


async def test_what_others_write_meanwhile_is_kept(
    client: Client, bucket: KeyValue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await bucket.put(KEY, ledger(gone=600_000, here=100_000))
    read, others = bucket.get, [ledger(gone=600_000, here=400_000)]

    async def somebody_writes(key: str, **options: bool) -> KeyValue.Entry:
        entry = await read(key, **options)
        if others:
            await bucket.put(KEY, others.pop())
        return entry

    monkeypatch.setattr(bucket, "get", somebody_writes)
    assert await allowances.release(client, bucket, "desk", "gone") == 1
    monkeypatch.undo()
    assert await stored(bucket) == ledger(here=400_000)
