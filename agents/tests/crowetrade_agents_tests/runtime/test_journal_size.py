"""How full the journal is, as Prometheus reads it, against a real server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import nats
import pytest
from nats.js.api import StreamConfig
from prometheus_client import REGISTRY

from crowetrade import subjects
from crowetrade_agents.journal.jetstream_reader import JetStreamReader
from crowetrade_agents.runtime.journal_size import EVERY_NS, measure_journal

from ..clock import ManualClock

pytestmark = pytest.mark.integration
NAMESPACE, VENUE = "measured", "sim"


def _figures() -> Iterator[float | None]:
    for name in ("bytes", "max_bytes"):
        labels = {"namespace": NAMESPACE, "venue": VENUE}
        yield REGISTRY.get_sample_value(f"crowetrade_gateway_journal_{name}", labels)


async def _measured(clock: ManualClock, times: int) -> None:
    """Until it has been looked at so often."""
    while len(clock.asked_ns) < times:
        await asyncio.sleep(0.01)


async def test_it_is_measured_at_once_and_every_minute_and_a_bus_without_the_stream_is_asked_again(
    nats_url: str,
) -> None:
    client = await nats.connect(nats_url)
    clock = ManualClock()
    measuring = asyncio.create_task(measure_journal(JetStreamReader(client, NAMESPACE, VENUE), NAMESPACE, VENUE, clock))
    await _measured(clock, 1)
    assert list(_figures()) == [None, None]

    stream, _ = subjects.journal_stream_configs(NAMESPACE, VENUE, max_bytes=2**20)
    await client.jetstream().add_stream(StreamConfig.from_response(stream))
    await clock.advance(EVERY_NS)
    await _measured(clock, 2)
    assert list(_figures()) == [0, 2**20]

    await client.jetstream().publish(subjects.journal(NAMESPACE, VENUE), b"x" * 1000)
    await clock.advance(EVERY_NS)
    await _measured(clock, 3)
    held, _ = _figures()
    assert held is not None
    assert 1000 < held < 1200

    measuring.cancel()
    await client.close()
