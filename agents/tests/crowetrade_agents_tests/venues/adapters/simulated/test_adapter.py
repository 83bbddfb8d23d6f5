"""The venue inside the gateway's process: driven by a clock, woken by what is sent."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from pathlib import Path

import pytest

from crowetrade_agents.venues.adapters.simulated.adapter import SimulatedVenue, make
from crowetrade_agents.venues.adapters.simulated.spec import API_KEY, Recording, SimulatedSpec
from crowetrade_agents.venues.port import (
    Accepted,
    Executed,
    FeedAlive,
    LogonRefused,
    QuoteChanged,
    Resume,
    SessionChanged,
    VenueEvent,
)
from crowetrade_agents.venues.registry import AdapterContext

from ....clock import JumpingClock
from ...values import EUR_USD, SECOND_NS, START_NS, D, Quote, approved, terms, write_quotes

QUOTES = [Quote(0, "1.0998", "1.1000"), Quote(3, "1.0990", "1.0992"), Quote(6, "1.0990", "1.0992")]


def venue(folder: Path, clock: JumpingClock, **settings: object) -> SimulatedVenue:
    path = write_quotes(folder / "quotes.csv", QUOTES)
    spec = SimulatedSpec((Recording(path),), order_latency_millis=500, **settings)  # type: ignore[arg-type]
    return make(spec, AdapterContext("sim", (EUR_USD,), clock))


async def test_a_whole_recording_runs_on_virtual_time_without_waiting(tmp_path: Path) -> None:
    clock = JumpingClock(50 * SECOND_NS)
    port = venue(tmp_path, clock, speed=D("0.01"))
    await port.connect(Resume())
    seen: list[tuple[int, VenueEvent]] = []
    async with asyncio.timeout(30):
        async for event in port.events():
            seen.append((clock.now_ns(), event))
            if isinstance(event, QuoteChanged) and event.sequence == 1:
                port.submit(approved(terms("a", price="1.0995")))
            if isinstance(event, SessionChanged):
                await port.close()
    times = {type(event): when - 50 * SECOND_NS for when, event in seen}
    assert times[Accepted] == 50 * SECOND_NS
    assert times[Executed] == 300 * SECOND_NS
    assert times[SessionChanged] == 900 * SECOND_NS
    market = [when for when, event in seen if isinstance(event, QuoteChanged | FeedAlive)]
    assert max(later - earlier for earlier, later in itertools.pairwise(market)) <= SECOND_NS


async def test_what_is_sent_wakes_the_stream(tmp_path: Path) -> None:
    """In lock step, on a clock that never comes."""

    class Standing(JumpingClock):
        async def wait_until(self, at_ns: int) -> None:
            await asyncio.Event().wait()

    port = venue(tmp_path, Standing(START_NS), speed=None)
    await port.connect(Resume())
    port.release(0)
    events = port.events()
    assert isinstance(await anext(events), QuoteChanged)
    waiting = asyncio.ensure_future(anext(events))
    await asyncio.sleep(0)
    assert not waiting.done()
    port.submit(approved(terms("a", price="1.0900")))
    accepted = await asyncio.wait_for(waiting, 10)
    assert isinstance(accepted, Accepted)
    assert accepted.at_ns == START_NS + SECOND_NS // 2
    waiting = asyncio.ensure_future(anext(events))
    port.release(1)
    assert isinstance(await asyncio.wait_for(waiting, 10), QuoteChanged)


async def test_a_new_key_is_used_for_the_next_session(tmp_path: Path) -> None:
    """Finding S9, as far as the venue goes: a key is read at each logon."""
    path = write_quotes(tmp_path / "quotes.csv", QUOTES)
    keys = {API_KEY: "old"}
    spec = SimulatedSpec((Recording(path),), api_key_sha256=hashlib.sha256(b"new").hexdigest())
    port = make(spec, AdapterContext("sim", (EUR_USD,), JumpingClock(START_NS), lambda: keys))
    with pytest.raises(LogonRefused, match="refused the API key"):
        await port.connect(Resume())
    keys[API_KEY] = "new"
    await port.connect(Resume())
