"""Shares of limits that count over gateways, on the bus. Gateways move them among themselves; here those of a gateway
that is gone for good are taken away, so that others can have them."""

from __future__ import annotations

import nats.js.errors
from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade.config.v1.allowance_pb2 import Allowances
from crowetrade_api.allowances import without
from crowetrade_operator.bus.stored import stored_entries

ATTEMPTS = 20
"""Of gateways that write at the same time one is faster each time."""


async def release(client: Client, bucket: KeyValue, namespace: str, venue: str) -> int:
    """Takes the venue out of every ledger of its namespace; returns of how many. A ledger that cannot be read stays as
    it is. Raises KeyWrongLastSequenceError when others were faster each time."""
    entries = await stored_entries(client, bucket, subjects.ALLOWANCE_BUCKET, subjects.allowance_key(namespace, "*"))
    return sum([await _release(bucket, key, venue, entry) for key, entry in entries.items()])


async def _release(bucket: KeyValue, key: str, venue: str, entry: KeyValue.Entry) -> bool:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            left = without(Allowances.FromString(entry.value or b""), venue)
        except DecodeError:
            return False
        if left is None:
            return False
        try:
            await bucket.update(key, left.SerializeToString(deterministic=True), last=entry.revision)
        except nats.js.errors.KeyWrongLastSequenceError:
            if attempt == ATTEMPTS:
                raise
        else:
            return True
        try:
            entry = await bucket.get(key)
        except nats.js.errors.KeyNotFoundError:
            return False
    return False
