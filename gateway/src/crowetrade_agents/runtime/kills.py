"""Kill orders of one gateway, from the start of its process to the end: every way puts them here, and whoever asks what
became of them asks here.

They are handed to the engine as long as it runs. Before, while bus or journal are missing, nothing can leave; they are
kept in the pod's file and acknowledged with what is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.file import KillFile
from crowetrade_agents.control.kills import (
    Channel,
    Kill,
    KillCommand,
    Name,
    Rearm,
    concerns,
    joined,
    name_of,
    rearms,
    selects,
    state_of,
)
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import kill_progress
from crowetrade_agents.gateway.loop import Gateway

log = structlog.get_logger()


STILL_OPEN_KEPT = 32


@dataclass(slots=True)
class AtVenue:
    """What was cancelled at the venue without a journal (without_journal.py): ClOrdIDs with their strategies.
    `looked_ns`: when nothing was open any more; 0 before."""

    cancelled: dict[str, str] = field(default_factory=dict)
    open: dict[str, str] = field(default_factory=dict)
    looked_ns: int = 0
    problem: str = ""


async def nothing() -> None:
    """Where nobody works without an engine."""


class Kills:
    """Of the gateway of the VenueConnection `venue`. Without a `file` the journal alone keeps what is in force."""

    def __init__(self, namespace: str, venue: str, clock: Clock, file: KillFile | None = None) -> None:
        self._namespace = namespace
        self._venue = venue
        self._clock = clock
        self._file = file
        self._gateway: Gateway | None = None
        # What has come by any way and is in force as far as that tells; the journal may know more.
        self._kills: dict[Name, Kill] = {}
        self._rearmed: dict[Name, Rearm] = {}
        self._changed = asyncio.Event()
        self._storing = asyncio.Lock()
        # Whether KillSwitches are watched at the API server.
        self.watches = False
        # Since when they are not although they should be, and why: as was found first.
        self.unwatched_since_ns = 0
        self.unwatched_problem = ""
        # Set once every KillSwitch that is to be watched was read; from the beginning where none is.
        self.listed = asyncio.Event()
        self.listed.set()
        # Why there is no engine yet, for people.
        self.problem = "the gateway is starting"
        self.at_venue = AtVenue()
        # Ends what works at the venue as long as there is no engine.
        self.stop_without_journal: Callable[[], Awaitable[None]] = nothing
        for order in file.read(namespace, venue) if file is not None else ():
            self._note(Kill(order, Channel.FILE, clock.now_ns()))

    @property
    def venue(self) -> str:
        """Name of the VenueConnection."""
        return self._venue

    @property
    def changed(self) -> asyncio.Event:
        """Is set at the next change; then there is another event."""
        return self._changed

    def watched(self, problem: str) -> None:
        """How the watch of KillSwitches stands: without a problem they are watched."""
        self.watches = not problem
        if self.watches:
            self.unwatched_since_ns, self.unwatched_problem = 0, ""
        elif not self.unwatched_since_ns:
            self.unwatched_since_ns, self.unwatched_problem = self._clock.now_ns(), problem

    def put(self, command: KillCommand) -> None:
        """From any way, at any time; before whatever else the gateway has to do."""
        self._note(command)
        if self._gateway is not None:
            self._gateway.put_kill(command)
            return
        self._write({})
        self.notify()

    def _write(self, journaled: Mapping[Name, kill_pb2.KillOrder]) -> None:
        """What has come, and what only the journal has, while no engine writes."""
        if self._file is None:
            return
        orders = {**journaled, **{name: kill.order for name, kill in self._kills.items()}}
        try:
            self._file.write([*orders.values()])
        except OSError as error:
            log.error("kill_orders_not_in_file", error=str(error))

    async def store(self, orders: Sequence[kill_pb2.KillOrder]) -> None:
        """Into the file; raises OSError, also where there is none. One after the other, so that the last one stays."""
        if self._file is None:
            raise OSError("there is no directory for them")
        async with self._storing:
            await asyncio.to_thread(self._file.write, orders)

    @property
    def stores(self) -> bool:
        """Whether there is a file."""
        return self._file is not None

    @property
    def in_force(self) -> Iterable[Kill]:
        """What has come by any way."""
        return self._kills.values()

    def cancels(self, kill: Kill) -> bool:
        """Whether it wants orders of this gateway cancelled."""
        return self._concerns(kill) and state_of(kill.order) in (TradingState.HALTED, TradingState.FLATTEN)

    def _concerns(self, kill: Kill) -> bool:
        return concerns(kill.order, Configuration(), self._namespace)

    async def attach(self, gateway: Gateway) -> None:
        """From now on the engine obeys: first what has come up to now. Returns once the account's session is free."""
        await self.stop_without_journal()
        self._write({name: item.order for name, item in gateway.state.books.kills.items()})
        self._gateway = gateway
        for rearm in self._rearmed.values():
            gateway.put_kill(rearm)
        for kill in self._kills.values():
            gateway.put_kill(kill)

    def detach(self, problem: str) -> None:
        """The engine has ended."""
        self._gateway, self.problem = None, problem
        self.notify()

    def notify(self) -> None:
        """An acknowledgement has become another."""
        self._changed.set()
        self._changed = asyncio.Event()

    def acknowledgements(self) -> list[kill_pb2.KillAcknowledgement]:
        """Of every order in force that concerns this gateway."""
        if self._gateway is not None:
            return [*kill_progress.acknowledgements(self._gateway.state)]
        return [self._without_engine(kill) for kill in self._kills.values() if self._concerns(kill)]

    def find(self, name: Name) -> kill_pb2.KillAcknowledgement | None:
        """Of one order, also one that stops nobody here; None before it is stored, and when it is not in force."""
        if self._gateway is None:
            kill = self._kills.get(name)
            return None if kill is None else self._without_engine(kill)
        progress = self._gateway.state.live.kills.get(name)
        stored = progress is not None and progress.stored
        return kill_progress.acknowledgement(self._gateway.state, name) if stored else None

    def _note(self, command: KillCommand) -> None:
        if isinstance(command, Rearm):
            name = command.namespace, command.name
            self._rearmed[name] = command
            if name in self._kills and rearms(self._kills[name].order, command):
                del self._kills[name]
            return
        name = name_of(command.order)
        known, rearm = self._kills.get(name), self._rearmed.get(name)
        rearmed = (rearm.uid, rearm.generation) if rearm is not None and rearm.uid else None
        order = joined(known.order if known is not None else None, command, rearmed)
        if order is not None:
            first = known or command
            self._kills[name] = Kill(order, command.channel, first.received_ns, command.caller)

    def _without_engine(self, kill: Kill) -> kill_pb2.KillAcknowledgement:
        """Nothing can leave; what is open at the venue is known where it was asked for."""
        order, at_venue = kill.order, self.at_venue
        cancels = self.cancels(kill)
        cancelled = self._selected(order, at_venue.cancelled) if cancels else {}
        still_open = sorted(self._selected(order, at_venue.open)) if cancels else []
        # What is held only the journal tells, so nothing is known to be flat.
        flattens = state_of(order) is TradingState.FLATTEN
        halted_ns = 0 if flattens else at_venue.looked_ns if cancels else kill.received_ns
        return kill_pb2.KillAcknowledgement(
            namespace=order.namespace,
            name=order.name,
            uid=order.uid,
            generation=order.generation,
            mode=order.mode,
            channel=kill.channel,
            seen_unix_ns=kill.received_ns,
            blocked_unix_ns=kill.received_ns,
            halted_unix_ns=max(halted_ns, kill.received_ns) if halted_ns and not still_open else 0,
            cancels_sent=len(cancelled),
            cancels_confirmed=len(cancelled.keys() - at_venue.open.keys()),
            still_open=still_open[:STILL_OPEN_KEPT],
            still_open_count=len(still_open),
            strategies=sorted(set(cancelled.values())),
            problem=self._problem(cancels, flattens),
            venue_namespace=self._namespace,
            venue=self._venue,
            engaged_by=order.engaged_by,
            reason=order.reason,
            scope=order.scope,
        )

    def _problem(self, cancels: bool, flattens: bool) -> str:
        if flattens:
            return f"{self._problem(cancels, flattens=False)}; positions are closed once the journal is open"
        if not cancels:
            return self.problem
        if self.at_venue.problem:
            return f"{self.problem}; and the venue cannot be reached: {self.at_venue.problem}"
        if self.at_venue.looked_ns or self.at_venue.cancelled:
            return f"{self.problem}; orders are cancelled at the venue without the journal"
        return f"{self.problem}; what is open at the venue is not known yet"

    def _selected(self, order: kill_pb2.KillOrder, orders: dict[str, str]) -> dict[str, str]:
        return {
            cl_ord_id: strategy
            for cl_ord_id, strategy in orders.items()
            if selects(order, Configuration(), self._namespace, strategy)
        }
