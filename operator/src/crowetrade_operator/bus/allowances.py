"""Shares of limits that count over gateways, on the bus. Gateways move them among themselves; here those of a gateway
that is gone for good are taken away, so that others can have them."""

from __future__ import annotations

import nats.js.errors
from google.protobuf.message import DecodeError
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade.config.v1.allowance_pb2 import Allowances
from crowetrade_api.allowances import without

_NONE = (nats.js.errors.KeyNotFoundError, nats.js.errors.KeyDeletedError)
ATTEMPTS = 20
"""Of gateways that write at the same time one is faster each time."""


async def release(bucket: KeyValue, namespace: str, venue: str) -> int:
    """Takes the venue out of every ledger of its namespace; returns of how many. A ledger that cannot be read stays as
    it is. Raises KeyWrongLastSequenceError when others were faster each time."""
    prefix = subjects.allowance_key(namespace, "")
    try:
        keys = [key for key in await bucket.keys() if key.startswith(prefix)]
    except nats.js.errors.NoKeysError:
        return 0
    return sum([await _release(bucket, key, venue) for key in keys])


async def _release(bucket: KeyValue, key: str, venue: str) -> bool:
    for attempt in range(1, ATTEMPTS + 1):
        try:
            entry = await bucket.get(key)
            left = without(Allowances.FromString(entry.value or b""), venue)
        except (*_NONE, DecodeError):
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
    return False
