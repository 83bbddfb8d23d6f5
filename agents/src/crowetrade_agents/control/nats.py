"""The operator's configuration from the bus: what is there now, then every change."""

from __future__ import annotations

from collections.abc import AsyncIterator

from nats.js import JetStreamContext

from crowetrade import subjects
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.state import Configuration


async def configurations(jetstream: JetStreamContext, namespace: str, venue: str) -> AsyncIterator[Configuration]:
    """Configurations of one gateway, the present one first when there is one. A deleted one is none: it blocks."""
    bucket = await jetstream.key_value(subjects.CONFIG_BUCKET)
    watcher = await bucket.watch(subjects.gateway_config_key(namespace, venue))
    async for entry in watcher:
        # None marks the end of what was there at the start.
        if entry is not None:
            yield decode(entry.value)
