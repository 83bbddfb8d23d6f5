"""The simulated venue inside the gateway's process, as a VenuePort on a clock.

Its books die with the process: after a restart the snapshot has no open orders and no executions, and a query is
answered with "unknown", as at a venue that lost its memory. Positions it takes from the gateway (Resume), and what the
account has traded for its fee tier begins at zero. Its place in the recording is found again (replay.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace
from crowetrade_agents.venues.adapters.simulated import apart, requests
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_agents.venues.adapters.simulated.requests import Query, Request
from crowetrade_agents.venues.adapters.simulated.simulation import Simulation
from crowetrade_agents.venues.adapters.simulated.spec import API_KEY, SimulatedSpec
from crowetrade_agents.venues.port import Resume, VenueEvent, VenueFeatures, VenueSnapshot
from crowetrade_agents.venues.registry import AdapterContext


def make(spec: SimulatedSpec, context: AdapterContext) -> SimulatedVenue:
    """The factory for the registry; reads the recordings. Raises DataError and ConfigurationError."""
    return on_replay(spec, Replay(apart.read(spec.recordings, context.instruments), loop=spec.loop), context)


def on_replay(spec: SimulatedSpec, replay: Replay, context: AdapterContext) -> SimulatedVenue:
    """A venue whose recordings are read. Raises ConfigurationError."""
    return SimulatedVenue(Simulation(spec, replay, context.instruments, keeps_books=False), context)


class SimulatedVenue:
    """Implements VenuePort. `simulation` is the venue behind it, which tests look into."""

    def __init__(self, simulation: Simulation, context: AdapterContext) -> None:
        self.simulation = simulation
        self._clock = context.clock
        self._credentials = context.credentials
        self._wake = asyncio.Event()
        self._closed = False

    @property
    def features(self) -> VenueFeatures:
        """What it can do."""
        return self.simulation.features

    async def connect(self, resume: Resume) -> VenueSnapshot:
        """Logs on with the key that the credentials have now. Raises LogonRefused."""
        snapshot = self.simulation.connect(resume, self._clock.now_ns(), self._credentials().get(API_KEY))
        self._wake.set()
        return snapshot

    async def renew(self) -> None:
        """Shows the venue the key that the credentials have now. Raises LogonRefused."""
        self.simulation.renew(self._credentials().get(API_KEY))

    async def events(self) -> AsyncIterator[VenueEvent]:
        """Everything that happens, when the clock says so."""
        while not self._closed:
            self._wake.clear()
            arrived = self.simulation.poll(self._clock.now_ns())
            for event in arrived:
                yield event
                if self._closed:
                    return
            if not arrived:
                await self._next()

    def submit(self, order: ApprovedOrder) -> None:
        """Hands an order over."""
        self._send(requests.of(order))

    def cancel(self, cancel: ApprovedCancel) -> None:
        """Hands a cancel over."""
        self._send(requests.of(cancel))

    def replace(self, replace: ApprovedReplace) -> None:
        """Hands a cancel/replace over."""
        self._send(requests.of(replace))

    def query(self, cl_ord_id: str, order_id: str, instrument: InstrumentId) -> None:
        """Asks what became of an order."""
        self._send(Query(cl_ord_id, order_id, instrument))

    def recall(self, since_ns: int) -> None:
        """Asks for the executions since then."""
        self.simulation.recall(since_ns, self._clock.now_ns())
        self._wake.set()

    def release(self, sequence: int) -> None:
        """In lock step: market data up to this sequence is handled."""
        self.simulation.release(sequence)
        self._wake.set()

    async def close(self) -> None:
        """Ends `events`; what is on its way is lost."""
        self._closed = True
        self._wake.set()

    def _send(self, request: Request) -> None:
        self.simulation.request(request, self._clock.now_ns())
        self._wake.set()

    async def _next(self) -> None:
        """Until the simulation has something, or somebody woke it up."""
        at_ns = self.simulation.next_wall_ns(self._clock.now_ns())
        waiting: list[asyncio.Future[object]] = [asyncio.ensure_future(self._wake.wait())]
        if at_ns is not None:
            waiting.append(asyncio.ensure_future(self._clock.wait_until(at_ns)))
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in waiting:
                task.cancel()
