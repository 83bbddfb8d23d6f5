"""Kill orders on the bus: one key per KillSwitch, each changed by compare-and-set.

Whoever gives an order without the API server puts it there as well: such an order has no uid, and it is never taken
away here, because nobody has re-armed it.
"""

from __future__ import annotations

import nats.js.errors
from google.protobuf.message import DecodeError
from nats.aio.client import Client
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade.config.v1.kill_pb2 import KillOrder
from crowetrade_operator.bus.stored import stored_entries

_NONE = (nats.js.errors.KeyNotFoundError, nats.js.errors.KeyDeletedError)


async def put(bucket: KeyValue, order: KillOrder, now_ns: int) -> bool:
    """Puts an engaged order unless it is there already, or a later one of the same KillSwitch; returns whether it was
    written. Raises KeyWrongLastSequenceError when another wrote at the same time."""
    key = subjects.kill_key(order.namespace, order.name)
    stored, revision = await _entry(bucket, key)
    if stored is not None and stored.uid == order.uid and stored.generation > order.generation:
        return False
    wanted = KillOrder()
    wanted.CopyFrom(order)
    wanted.issued_unix_ns = (stored.issued_unix_ns if stored is not None else 0) or now_ns
    if stored == wanted:
        return False
    if revision:
        await bucket.update(key, wanted.SerializeToString(), last=revision)
    else:
        await bucket.create(key, wanted.SerializeToString())
    return True


async def remove(bucket: KeyValue, namespace: str, name: str, uid: str, generation: int) -> bool:
    """Takes away the order of a KillSwitch that is re-armed; returns whether there was one. An order without an object,
    and one of a later generation, stay. Raises KeyWrongLastSequenceError when another wrote at the same time."""
    key = subjects.kill_key(namespace, name)
    stored, revision = await _entry(bucket, key)
    if not revision or (stored is not None and not stored.uid):
        return False
    if stored is not None and stored.uid == uid and stored.generation > generation:
        return False
    await bucket.delete(key, last=revision)
    return True


async def orders(client: Client, bucket: KeyValue) -> list[KillOrder]:
    """All orders that can be read."""
    entries = await stored_entries(client, bucket, subjects.KILL_BUCKET, ">")
    return [order for entry in entries.values() if (order := _order(entry)) is not None]


async def _entry(bucket: KeyValue, key: str) -> tuple[KillOrder | None, int]:
    """The order and its revision: 0 when nothing is there, and no order when what is there cannot be read."""
    try:
        entry = await bucket.get(key)
    except _NONE:
        return None, 0
    return _order(entry), entry.revision or 0


def _order(entry: KeyValue.Entry) -> KillOrder | None:
    try:
        return KillOrder.FromString(entry.value or b"")
    except DecodeError:
        return None
