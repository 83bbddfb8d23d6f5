"""From the bus: the operator's configuration and kill orders, what is there now, then every change."""

from __future__ import annotations

from collections.abc import AsyncIterator
from types import EllipsisType

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.js import JetStreamContext
from nats.js.api import StreamConfig
from nats.js.errors import BucketNotFoundError, NotFoundError

from crowetrade import subjects
from crowetrade_agents.control import kills
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.kills import Channel, Kill
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.control.watch import watch
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


async def configurations(client: Client, clock: Clock, namespace: str, venue: str) -> AsyncIterator[Configuration]:
    """Configurations of one gateway, the present one first, also when there is none; a deleted one is none. Tries again
    when the bus fails."""
    said: bytes | EllipsisType | None = ...
    while True:
        present = False
        try:
            async for change in watch(client, subjects.CONFIG_BUCKET, subjects.gateway_config_key(namespace, venue)):
                present = present or change is not None
                # At the end of what was there at the start: nothing was.
                found = None if change is None else change.value
                if (change is not None or not present) and found != said:
                    said = found
                    yield decode(found)
        except (NatsError, TimeoutError, OSError) as error:
            _log.warning("configuration_bucket_unusable", error=str(error) or type(error).__name__)
        await clock.wait_until(clock.now_ns() + RETRY_NS)


async def kill_orders(client: Client, clock: Clock) -> AsyncIterator[Kill | None]:
    """Kill orders of everybody, those that are there first, then None, then each that is put. A deleted one stays in
    force, so it is passed over. Makes the bucket when it is missing; tries again when the bus fails."""
    while True:
        try:
            async for change in watch(client, subjects.KILL_BUCKET, "kill.>"):
                if change is None:
                    yield None
                elif change.value is not None:
                    yield _kill(change.key, change.value, clock.now_ns())
        except NotFoundError:
            if await _make_kill_bucket(client):
                continue
        except (NatsError, TimeoutError, OSError) as error:
            _log.warning("kill_bucket_unusable", error=str(error) or type(error).__name__)
        await clock.wait_until(clock.now_ns() + RETRY_NS)


async def _make_kill_bucket(client: Client) -> bool:
    """Where gateways may: on a bus with identities the operator alone may, and it does when it starts."""
    try:
        await client.jetstream().add_stream(StreamConfig.from_response(subjects.bucket_config(subjects.KILL_BUCKET)))
    except (NatsError, TimeoutError, OSError) as error:
        _log.warning("kill_bucket_missing", error=str(error) or type(error).__name__)
        return False
    return True


def _kill(key: str, payload: bytes, now_ns: int) -> Kill:
    _, _, name_in_namespace = key.partition(".")
    namespace, _, name = name_in_namespace.partition(".")
    return Kill(kills.decode(payload, namespace, name), Channel.BUS, now_ns)
