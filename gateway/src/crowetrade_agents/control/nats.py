"""From the bus: the operator's configuration and kill orders, what is there now, then every change."""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig
from nats.js.errors import BucketNotFoundError
from nats.js.kv import KeyValue

from crowetrade import subjects
from crowetrade_agents.control import kills
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.kills import Channel, Kill
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.clock import Clock

RETRY_NS = 1_000_000_000

_log = structlog.get_logger(__name__)


async def wait_for_bucket(jetstream: JetStreamContext, clock: Clock) -> bool:
    """Returns True once the operator has made the bucket of the configurations."""
    while True:
        try:
            await jetstream.key_value(subjects.CONFIG_BUCKET)
        except BucketNotFoundError:
            _log.warning("configuration_bucket_missing")
            await clock.wait_until(clock.now_ns() + RETRY_NS)
        else:
            return True


async def configurations(jetstream: JetStreamContext, namespace: str, venue: str) -> AsyncIterator[Configuration]:
    """Configurations of one gateway, the present one first, also when there is none; a deleted one is none."""
    bucket = await jetstream.key_value(subjects.CONFIG_BUCKET)
    watcher = await bucket.watch(subjects.gateway_config_key(namespace, venue))
    present = False
    async for entry in watcher:
        if entry is not None:
            present = True
            yield decode(entry.value)
        elif not present:
            # The end of what was there at the start, and nothing was.
            yield Configuration()


async def kill_orders(jetstream: JetStreamContext, clock: Clock) -> AsyncIterator[Kill | None]:
    """Kill orders of everybody, those that are there first, then None, then each that is put. A deleted one stays in
    force, so it is passed over. Makes the bucket when it is missing; tries again when the bus fails."""
    while True:
        try:
            watcher = await (await _kill_bucket(jetstream)).watch("kill.>", ignore_deletes=True)
            async for entry in watcher:
                yield None if entry is None else _kill(entry.key, entry.value or b"", clock.now_ns())
        except (NatsError, TimeoutError, OSError) as error:
            _log.warning("kill_bucket_unusable", error=str(error) or type(error).__name__)
        await clock.wait_until(clock.now_ns() + RETRY_NS)


async def _kill_bucket(jetstream: JetStreamContext) -> KeyValue:
    try:
        return await jetstream.key_value(subjects.KILL_BUCKET)
    except BucketNotFoundError:
        return await jetstream.create_key_value(KeyValueConfig(bucket=subjects.KILL_BUCKET, history=1))


def _kill(key: str, payload: bytes, now_ns: int) -> Kill:
    _, _, name_in_namespace = key.partition(".")
    namespace, _, name = name_in_namespace.partition(".")
    return Kill(kills.decode(payload, namespace, name), Channel.BUS, now_ns)
