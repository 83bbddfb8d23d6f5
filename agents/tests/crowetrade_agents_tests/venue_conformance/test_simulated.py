"""The simulated venue passes the suite: inside the process on a virtual clock, and as a server process over TCP."""

from __future__ import annotations

import asyncio
import hashlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from crowetrade_agents.venues.adapters.simulated import adapter, client, recording
from crowetrade_agents.venues.adapters.simulated.codec import encode
from crowetrade_agents.venues.adapters.simulated.faults import Fault
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_agents.venues.adapters.simulated.spec import API_KEY, Recording, SimulatedSpec
from crowetrade_agents.venues.adapters.simulated.wire import ServerFile
from crowetrade_agents.venues.port import VenuePort
from crowetrade_agents.venues.registry import AdapterContext

from ..clock import JumpingClock
from ..venues.values import EUR_USD, START_NS, Quote, write_quotes
from . import cases
from .bench import CASES, Bench, Registered, Venue

ABILITIES = frozenset({"market", "faults", "drop", "key"})
assert cases


def spec_of(folder: Path, quotes: Sequence[Quote], faults: tuple[Fault, ...]) -> SimulatedSpec:
    path = write_quotes(folder / "quotes.csv", quotes)
    key = hashlib.sha256(b"right").hexdigest()
    return SimulatedSpec(
        (Recording(path),),
        speed=None,
        api_key_sha256=key,
        previous_api_key_sha256=hashlib.sha256(b"rightful").hexdigest(),
        faults=faults,
    )


def context_of(bench: Bench) -> AdapterContext:
    return AdapterContext("sim", (EUR_USD,), JumpingClock(START_NS), lambda: {API_KEY: bench.api_key})


class InProcess:
    """adapter.py on a virtual clock."""

    name = "Simulated"
    abilities = ABILITIES
    instrument = EUR_USD
    api_key = ""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._venue: adapter.SimulatedVenue | None = None

    async def start(self, quotes: Sequence[Quote], faults: tuple[Fault, ...], api_key: str) -> VenuePort:
        self.api_key = api_key
        spec, context = spec_of(self._folder, quotes, faults), context_of(self)
        # As adapter.make does, without a process for each recording.
        self._venue = adapter.on_replay(spec, Replay(recording.read(spec.recordings, [EUR_USD])), context)
        return self._venue

    async def drop(self) -> None:
        assert self._venue is not None
        self._venue.simulation.disconnect(0)

    async def stop(self) -> None:
        assert self._venue is not None
        await self._venue.close()


class OverTcp:
    """client.py with a real server process."""

    name = "SimulatedServer"
    abilities = ABILITIES
    instrument = EUR_USD
    api_key = ""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._venue: client.SimulatedServerVenue | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, quotes: Sequence[Quote], faults: tuple[Fault, ...], api_key: str) -> VenuePort:
        file = self._folder / "venue.json"
        file.write_text(json.dumps(encode(ServerFile((EUR_USD,), spec_of(self._folder, quotes, faults)))))
        module = "crowetrade_agents.venues.adapters.simulated.server"
        command = [sys.executable, "-m", module, "--file", str(file), "--log", str(self._folder / "venue.jsonl")]
        self._process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        port = json.loads(await self._process.stdout.readline())["port"]
        self.api_key = api_key
        self._venue = client.make(client.ServerSpec(port, speed=None), context_of(self))
        return self._venue

    async def drop(self) -> None:
        assert self._venue is not None
        assert self._venue._writer is not None
        self._venue._writer.transport.abort()

    async def stop(self) -> None:
        assert self._venue is not None
        assert self._process is not None
        await self._venue.close()
        self._process.terminate()
        await self._process.communicate()


@pytest.fixture(params=[InProcess, OverTcp], ids=["in-process", "over-tcp"])
async def bench(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bench]:
    made: Bench = request.param(tmp_path)
    yield made
    await made.stop()


@pytest.mark.parametrize("registered", CASES, ids=lambda registered: registered.run.__name__)
async def test_conformance(registered: Registered, bench: Bench) -> None:
    port = await bench.start(registered.quotes, registered.faults, registered.api_key)
    if reason := registered.unmet(bench, port):
        pytest.skip(reason)
    await registered.run(Venue(bench, port))
