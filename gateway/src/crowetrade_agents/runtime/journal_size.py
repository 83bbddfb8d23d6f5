"""Tells Prometheus how full the stream of a gateway's journal is, so that an alert comes before it is full."""

from __future__ import annotations

import structlog

from crowetrade_agents import metrics
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.errors import JournalUnavailable
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.journal.jetstream_reader import StreamReader

EVERY_NS = 60 * SECOND_NS

log = structlog.get_logger(__name__)


async def measure_journal(reader: StreamReader, namespace: str, venue: str, clock: Clock) -> None:
    """Measures until it is cancelled. While the bus does not answer, the figures stay what they were."""
    while True:
        try:
            held, most = await reader.size()
        except JournalUnavailable as error:
            log.info("journal_not_measured", error=str(error))
        else:
            metrics.JOURNAL_BYTES.labels(namespace, venue).set(held)
            metrics.JOURNAL_MAX_BYTES.labels(namespace, venue).set(most)
        await clock.wait_until(clock.now_ns() + EVERY_NS)
