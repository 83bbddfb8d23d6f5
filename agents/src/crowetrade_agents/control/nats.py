"""The operator's configuration from the bus: what is there now, then every change."""

from __future__ import annotations

from collections.abc import AsyncIterator

from nats.js import JetStreamContext

from crowetrade import subjects
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.state import Configuration


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
