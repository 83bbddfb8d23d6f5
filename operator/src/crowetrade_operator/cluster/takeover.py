"""How a replica that begins to lead knows all that the one before it has seen and written.

Its own watches bring that, but they may be a moment late. One that ends in order writes down in the Lease how far it
has seen and written, and the next one has only to wait until its watches are as far. Of one that has ended without a
word nobody knows that. So what it may have written is listed again: at the latest when it leads no more, and already
when it may begin no more write, so that the list is read by the time its Lease expires. What was on its way to the API
server by then comes by the watch.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import orjson
import structlog

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.lease import Elector
from crowetrade_operator.cluster.relist import Relist, Versions
from crowetrade_operator.errors import ClusterError

log = structlog.get_logger()

REACH_SECONDS = 1.0
"""So long a replica waits for its watches. A list of a large fleet takes longer."""
LOOK_SECONDS = 1.0
"""Between two looks whether the leader is silent."""
UNANSWERED_SECONDS = 60.0
"""A write that nobody has answered for so long has been carried out, or never will be."""
LONGEST = 200_000
"""Bytes that the annotations of an object hold beside others: 256 KiB in all."""


def left_behind(relist: Relist, cluster: Cluster, clock: Callable[[], float] = time.monotonic) -> str:
    """What a leader that ends writes down: the newest version of each kind, by namespace. Nothing, when a write of its
    own has had no answer: its version is not known."""
    if clock() - cluster.unanswered_at < UNANSWERED_SECONDS:
        return ""
    text = orjson.dumps(relist.newest(cluster.written)).decode()
    return text if len(text) <= LONGEST else ""


class Takeover:
    """Of one replica that waits."""

    def __init__(self, relist: Relist, elector: Elector) -> None:
        self._relist = relist
        self._elector = elector
        self._listing = asyncio.Lock()
        # The Lease whose holder could begin no more write when the last list was begun.
        self._listed_after = ""

    async def read_ahead(self) -> None:
        """Lists when the leader has fallen silent, until cancelled."""
        while True:
            if (silent := self._elector.silent) and silent != self._listed_after:
                async with self._listing:
                    await self._list(silent)
            await asyncio.sleep(LOOK_SECONDS)

    async def finish(self) -> None:
        """Returns when what the leader before this one has seen and written is known. Raises ClusterError."""
        if await self._relist.reach(_read(self._elector.left_behind), REACH_SECONDS):
            return
        async with self._listing:
            if self._elector.taken_from != self._listed_after:
                await self._relist.catch_up()

    async def _list(self, silent: str) -> None:
        try:
            await self._relist.catch_up()
        except ClusterError as error:
            log.warning("not_listed_ahead", error=str(error))
        else:
            self._listed_after = silent


def _read(text: str) -> Versions | None:
    """The Lease is written by other releases and by hand, too: what cannot be read is as if it were not there."""
    try:
        found = orjson.loads(text)
        return {
            str(namespace): {str(kind): int(version) for kind, version in kinds.items()}
            for namespace, kinds in found.items()
        }
    except (ValueError, TypeError, AttributeError):
        return None
