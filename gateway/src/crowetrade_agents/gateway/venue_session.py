"""Keeps the session with the venue up, and puts what it reports into the gateway's queue: first the snapshot of a
session, then what happens after it.

A venue ends the session before when an account logs on again. So a gateway that was overtaken while it could not notice
(it was frozen, or cut off) must not log on: it would end the session of the gateway that took over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.commands import Command, FromVenue, VenueConnected
from crowetrade_agents.venues.port import (
    LogonRefused,
    Resume,
    SessionChanged,
    SessionState,
    VenuePort,
    VenueUnavailable,
)

RETRY_NS = SECOND_NS


class VenueSession:
    """`run` returns never; cancel it."""

    def __init__(
        self,
        venue: VenuePort,
        put: Callable[[Command], Awaitable[None]],
        resume: Callable[[], Resume],
        prove: Callable[[], Awaitable[None]],
        clock: Clock,
    ) -> None:
        """`prove` returns when it is certain that no other gateway has taken over, and does not return when one has."""
        self._venue = venue
        self._put = put
        self._resume = resume
        self._prove = prove
        self._clock = clock
        # Called whenever the venue has accepted a logon.
        self.logged_on: Callable[[], None] = lambda: None
        # One logon at a time.
        self._logon = asyncio.Lock()
        # Set from a snapshot in the queue to the next loss of the session.
        self._up = asyncio.Event()
        self._lost = asyncio.Event()

    async def run(self) -> None:
        """Connects whenever there is no session."""
        await self._connect()
        pump = asyncio.create_task(self._pump())
        try:
            while True:
                lost = asyncio.create_task(self._lost.wait())
                try:
                    await asyncio.wait({lost, pump}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    lost.cancel()
                if pump.done():
                    pump.result()
                    return
                self._lost.clear()
                await self._connect()
        finally:
            pump.cancel()

    async def renew(self) -> None:
        """Logs the session on again with the credentials as they are now, while orders go on. Without a session nothing
        is to be done: the next logon reads them. Raises LogonRefused and VenueUnavailable; the session is what it was.
        """
        async with self._logon:
            if self._up.is_set():
                await self._venue.renew()
                self.logged_on()

    async def _connect(self) -> None:
        """Logs on, again and again; a refused logon is tried again too, because the key may be replaced meanwhile."""
        while True:
            await self._prove()
            try:
                async with self._logon:
                    snapshot = await self._venue.connect(self._resume())
            except LogonRefused as error:
                await self._say(SessionState.LOGON_REJECTED, str(error))
            except VenueUnavailable as error:
                await self._say(SessionState.CONNECTING, str(error))
            else:
                self.logged_on()
                await self._put(VenueConnected(snapshot))
                self._up.set()
                return
            await self._clock.wait_until(self._clock.now_ns() + RETRY_NS)

    async def _pump(self) -> None:
        async for event in self._venue.events():
            await self._up.wait()
            if isinstance(event, SessionChanged) and event.state is SessionState.DISCONNECTED:
                self._up.clear()
                self._lost.set()
            await self._put(FromVenue(event))

    async def _say(self, state: SessionState, text: str) -> None:
        await self._put(FromVenue(SessionChanged(state, text)))
