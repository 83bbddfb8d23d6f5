"""What a venue must offer so that the suite can run against its adapter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.orders import OrderTerms
from crowetrade_agents.venues.adapters.simulated.faults import Fault
from crowetrade_agents.venues.port import QuoteChanged, Resume, VenueEvent, VenuePort, VenueSnapshot

from ..venues.values import Quote, approved, approved_cancel, approved_replace

Event = TypeVar("Event")
DEADLINE_SECONDS = 20
MAX_EVENTS = 200
"""A case that has seen so many events without the one that it waits for has failed."""


class Bench(Protocol):
    """One kind of venue. `abilities`: "market" (quotes can be scripted), "faults", "drop" (a session can be broken from
    outside), "key" (another API key can be given: "rightful" is accepted too)."""

    name: str
    abilities: frozenset[str]
    instrument: Instrument
    # What the venue is shown at the next logon.
    api_key: str

    async def start(self, quotes: Sequence[Quote], faults: tuple[Fault, ...], api_key: str) -> VenuePort:
        """A fresh venue with these quotes in lock step, not connected. The key that it wants is "right"."""
        ...

    async def drop(self) -> None:
        """Breaks the session."""
        ...

    async def stop(self) -> None:
        """Ends what start began."""
        ...


QUOTES = (Quote(0, "1.0998", "1.1000"), Quote(10, "1.0998", "1.1000"))


@dataclass
class Venue:
    """A venue under test with what it has sent so far."""

    bench: Bench
    port: VenuePort
    seen: list[VenueEvent] = field(default_factory=list)
    snapshot: VenueSnapshot = field(default_factory=VenueSnapshot)
    _events: AsyncIterator[VenueEvent] | None = None

    async def connect(self, resume: Resume | None = None) -> VenueSnapshot:
        """Logs on; in lock step the market may move once."""
        resume = resume or Resume(fencing_token=1)
        self.snapshot = await self.port.connect(resume)
        self.port.release(resume.market_data_sequence)
        return self.snapshot

    async def next(self, kind: type[Event], which: Callable[[Event], bool] = lambda _: True) -> Event:
        """The next event of a kind; those before it stay in `seen`."""
        if self._events is None:
            self._events = self.port.events()
        async with asyncio.timeout(DEADLINE_SECONDS):
            for _ in range(MAX_EVENTS):
                event = await anext(self._events)
                self.seen.append(event)
                if isinstance(event, kind) and which(event):
                    return event
        raise AssertionError(f"no {kind.__name__} among {self.seen[-MAX_EVENTS:]}")

    async def quote(self, sequence: int) -> QuoteChanged:
        """The market moves to this event."""
        self.port.release(sequence - 1)
        return await self.next(QuoteChanged, lambda event: event.sequence == sequence)

    def submit(self, order: OrderTerms) -> None:
        """Sends an order."""
        self.port.submit(approved(order))

    def cancel(self, cl_ord_id: str, orig: str) -> None:
        """Sends a cancel."""
        self.port.cancel(approved_cancel(cl_ord_id, orig))

    def replace(self, order: OrderTerms, orig: str) -> None:
        """Sends a cancel/replace."""
        self.port.replace(approved_replace(order, orig))

    def of(self, kind: type[Event], cl_ord_id: str = "") -> list[Event]:
        """Events of a kind so far, of one ClOrdID when it is named."""
        return [
            event
            for event in self.seen
            if isinstance(event, kind) and (not cl_ord_id or getattr(event, "cl_ord_id", "") == cl_ord_id)
        ]


Case = Callable[[Venue], Awaitable[None]]


@dataclass(frozen=True)
class Registered:
    """A case with what it needs. `features` are attributes of VenueFeatures."""

    number: str
    run: Case
    features: tuple[str, ...]
    abilities: tuple[str, ...]
    quotes: tuple[Quote, ...]
    faults: tuple[Fault, ...]
    api_key: str

    def unmet(self, bench: Bench, port: VenuePort) -> str:
        """Why the case is skipped; empty when it runs."""
        lacking = [name for name in self.features if not getattr(port.features, name)]
        missing = [name for name in self.abilities if name not in bench.abilities]
        if lacking:
            return f"{bench.name} has no {', '.join(lacking)}"
        return f"{bench.name} cannot script {', '.join(missing)}" if missing else ""


CASES: list[Registered] = []


def case(
    *features: str,
    quotes: Sequence[Quote] = QUOTES,
    faults: tuple[Fault, ...] = (),
    abilities: tuple[str, ...] = (),
    api_key: str = "right",
) -> Callable[[Case], Case]:
    """Registers a case; its number is the head of its name."""

    def register(run: Case) -> Case:
        needed = (*abilities, "market", *(["faults"] if faults else []))
        name: Any = run
        number = str(name.__name__).split("_")[0].upper()
        assert number not in {known.number for known in CASES}
        CASES.append(Registered(number, run, features, needed, tuple(quotes), faults, api_key))
        return run

    return register
