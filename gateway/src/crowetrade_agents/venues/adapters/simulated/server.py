"""The simulated venue as a process of its own, behind TCP, with a log of its own.

    python -m crowetrade_agents.venues.adapters.simulated.server --file venue.json --log venue.jsonl [--port 0]

The file holds a ServerFile (wire.py) as JSON. The first line on standard output is {"port": PORT}. The log gets one
JSON line per request that arrived and per event of the exchange, and is flushed before anything of it is sent: what a
client has seen stands in the log. `at` is venue time, `wall` the wall clock when the line was written, ns. The log is
also the venue's memory: a server that finds one goes on with the orders, executions and positions in it (memory.py).

There is one session. A logon ends the session before it: what an older connection has sent and the venue has not read
is never read, so nothing of it can happen after the snapshot.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from crowetrade_agents.venues.adapters.simulated import recording
from crowetrade_agents.venues.adapters.simulated.codec import decode, encode, frame, read_frame
from crowetrade_agents.venues.adapters.simulated.memory import Memory
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_agents.venues.adapters.simulated.simulation import Simulation
from crowetrade_agents.venues.adapters.simulated.wire import (
    LoggedOn,
    Logon,
    Recall,
    Refused,
    Release,
    Renew,
    Renewed,
    ServerFile,
    ToServer,
)
from crowetrade_agents.venues.port import LogonRefused, SessionChanged, SessionState, VenueEvent

MAX_UNREAD_BYTES = 16 * 1024 * 1024
"""A client that leaves more than this unread loses its session."""


class VenueServer:
    """One simulation, one session at a time."""

    def __init__(
        self,
        simulation: Simulation,
        now_ns: Callable[[], int],
        log: TextIO,
        entries: Iterable[Mapping[str, Any]] = (),
    ) -> None:
        """`entries` are the lines that the log has already."""
        self._simulation = simulation
        self._now_ns = now_ns
        self._log = log
        self._wake = asyncio.Event()
        self._writer: asyncio.StreamWriter | None = None
        simulation.exchange.listener = self._record
        memory = Memory(simulation.exchange.ledger)
        memory.read(entries)
        simulation.exchange.remember(memory)

    async def run(self, port: int, announce: TextIO) -> None:
        """Serves until it is cancelled."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", port)
        async with server:
            announce.write(json.dumps({"port": server.sockets[0].getsockname()[1]}) + "\n")
            announce.flush()
            while True:
                await self._pump()

    def _record(self, at_ns: int, message: Any) -> None:
        self._log.write(json.dumps({"at": at_ns, "wall": self._now_ns(), "message": encode(message)}) + "\n")
        self._log.flush()

    # From the client

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            message = await read_frame(reader, ToServer)
            if isinstance(message, Logon) and self._log_on(message, writer):
                await self._session(reader, writer)
        except (ValueError, KeyError, TypeError) as error:
            sys.stderr.write(f"a message cannot be read: {error!r}\n")
        finally:
            if self._writer is writer:
                self._writer = None
                self._simulation.disconnect(self._now_ns(), "the connection is over")
            writer.close()

    def _log_on(self, message: Logon, writer: asyncio.StreamWriter) -> bool:
        try:
            snapshot = self._simulation.connect(message.resume, self._now_ns(), message.api_key)
        except LogonRefused as error:
            writer.write(frame(Refused(str(error))))
            return False
        if self._writer is not None:
            self._writer.transport.abort()
        self._writer = writer
        self._record(self._simulation.exchange.now_ns, replace(message, api_key=None))
        writer.write(frame(LoggedOn(snapshot)))
        self._wake.set()
        return True

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            message = await read_frame(reader, ToServer)
            if message is None or self._writer is not writer:
                return
            if isinstance(message, Release):
                self._simulation.release(message.sequence)
            elif isinstance(message, Recall):
                self._simulation.recall(message.since_ns, self._now_ns())
            elif isinstance(message, Renew):
                writer.write(frame(self._renewed(message)))
            elif not isinstance(message, Logon):
                self._simulation.request(message, self._now_ns())
            self._wake.set()

    def _renewed(self, message: Renew) -> Renewed | Refused:
        try:
            self._simulation.renew(message.api_key)
        except LogonRefused as error:
            return Refused(str(error))
        return Renewed()

    # To the client

    async def _pump(self) -> None:
        self._wake.clear()
        arrived = self._simulation.poll(self._now_ns())
        for event in arrived:
            self._send(event)
        if arrived:
            # Lets connections be served between two polls.
            await asyncio.sleep(0)
            return
        at_ns = self._simulation.next_wall_ns(self._now_ns())
        if at_ns is None:
            await self._wake.wait()
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(at_ns - self._now_ns(), 0) / 1e9):
                await self._wake.wait()

    def _send(self, event: VenueEvent) -> None:
        writer = self._writer
        if writer is None:
            return
        if isinstance(event, SessionChanged) and event.state is SessionState.DISCONNECTED:
            self._writer = None
            writer.close()
        elif writer.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            writer.transport.abort()
        else:
            writer.write(frame(event))


def entries_of(path: Path) -> Iterator[Mapping[str, Any]]:
    """The complete lines of a log; one that was cut off when its writer died is removed from the file."""
    complete = 0
    with path.open("rb") as log:
        for line in log:
            if not line.endswith(b"\n"):
                break
            complete += len(line)
            yield json.loads(line)
    os.truncate(path, complete)


async def serve(file: ServerFile, port: int, log: TextIO, entries: Iterable[Mapping[str, Any]]) -> None:
    """Runs the venue of a file until SIGTERM or SIGINT."""
    replay = Replay(recording.read(file.spec.recordings, file.instruments), loop=file.spec.loop)
    simulation = Simulation(file.spec, replay, file.instruments, keeps_books=True, retain=None)
    server = asyncio.create_task(VenueServer(simulation, time.time_ns, log, entries).run(port, sys.stdout))
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, server.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await server


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="The simulated venue behind TCP.")
    parser.add_argument("--file", type=Path, required=True, help="ServerFile as JSON")
    parser.add_argument("--log", type=Path, required=True, help="JSON lines: read at the start, then appended")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    arguments = parser.parse_args()
    file: ServerFile = decode(ServerFile, json.loads(arguments.file.read_text()))
    with arguments.log.open("a", encoding="utf-8") as log:
        asyncio.run(serve(file, arguments.port, log, entries_of(arguments.log)))


if __name__ == "__main__":
    main()
