"""The operator's configuration from the bus: what is there now, then every change."""

from __future__ import annotations

from collections.abc import AsyncIterator

import structlog
from nats.js import JetStreamContext
from nats.js.errors import BucketNotFoundError

from crowetrade import subjects
from crowetrade_agents.control.gateway_config import decode
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
