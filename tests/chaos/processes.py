"""The real processes of a run: nats-server, the venue behind TCP, gateways."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import nats
from nats.aio.client import Client

from crowetrade_agents.venues.adapters.simulated.codec import encode
from crowetrade_agents.venues.adapters.simulated.wire import ServerFile
from crowetrade_api.files import EnvName

WAIT_SECONDS = 30.0
LOOK_SECONDS = 0.003
"""How often a condition is looked at that nothing else reports (the end of a file)."""


async def until(condition: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Returns when the condition holds; fails after a deadline."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {seconds:g} s for: {what}")
        await asyncio.sleep(LOOK_SECONDS)


def free_port() -> int:
    """A port that nobody has now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


class Lines:
    """The JSON lines that a file has got since the last look; an unfinished line waits for its end."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._file = path.open("rb")
        self._rest = b""

    def new(self) -> list[dict[str, Any]]:
        """Lines that are JSON objects; others (a traceback) are passed over."""
        *lines, self._rest = (self._rest + self._file.read()).split(b"\n")
        return [json.loads(line) for line in lines if line.startswith(b"{")]

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class Gateway:
    """One gateway process. Its output is a file that stays."""

    def __init__(self, pid: int, output: Path, process: asyncio.subprocess.Process | None) -> None:
        self.pid = pid
        self.output = output
        self.process = process
        self.port = 0
        self.control_port = 0
        self.token = 0
        self.logged_on = False
        self._descriptor = os.pidfd_open(pid)
        self._lines = Lines(output)

    async def serving(self) -> None:
        """Order entry is open and the venue has logged it on."""
        await until(lambda: self._look() or self.gone, f"the gateway to serve, see {self.output}")
        assert not self.gone, f"the gateway ended by itself, see {self.output}"

    async def controlled(self) -> None:
        """It takes kill orders, whatever else it does."""
        await until(lambda: bool(self._look() or self.control_port), f"the control service, see {self.output}")

    async def frozen(self) -> None:
        """SIGSTOP; returns when none of its threads runs."""
        self.send(signal.SIGSTOP)
        status = Path(f"/proc/{self.pid}/status")
        await until(lambda: "State:\tT" in status.read_text(), f"process {self.pid} to stand")

    def _look(self) -> bool:
        for line in self._lines.new():
            if line.get("event") == "order_entry_listens":
                self.port = line["port"]
            elif line.get("event") == "control_listens":
                self.control_port = line["port"]
            elif line.get("event") == "gateway_serves":
                self.token = line["fencing_token"]
            elif line.get("event") == "venue_session":
                self.logged_on = line["state"] == "LoggedOn"
        return bool(self.port and self.token) and self.logged_on

    @property
    def gone(self) -> bool:
        """Whether the process has ended."""
        if self._descriptor < 0:
            return True
        poll = select.poll()
        poll.register(self._descriptor)
        return bool(poll.poll(0))

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal, unless it is gone."""
        if self._descriptor < 0:
            return
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, number)

    async def ended(self) -> None:
        """The kernel has it no more."""
        if self._descriptor < 0:
            return
        await until(lambda: self.gone, f"process {self.pid} to end, see {self.output}")
        if self.process is not None:
            await self.process.wait()
        os.close(self._descriptor)
        self._descriptor = -1
        self._lines.close()


class Launcher:
    """Starts gateways: forked from a process that has imported everything, or by a plain `python -m`."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = dict(environment)
        self._process: asyncio.subprocess.Process | None = None
        self._started: list[Gateway] = []

    def tell(self, environment: Mapping[str, str]) -> None:
        """Adds to the environment of gateways that start from now on."""
        self._environment |= environment

    async def import_everything(self) -> None:
        """Starts the process that forks; returns when it has imported everything."""
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.chaos.launcher",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **self._environment},
        )
        assert self._process.stdout is not None
        await self._process.stdout.readline()

    async def close(self) -> None:
        """Ends it, and every gateway that has not ended."""
        for gateway in self._started:
            gateway.send(signal.SIGKILL)
            await gateway.ended()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()

    async def start(self, *, plain: bool = False) -> Gateway:
        """Starts a gateway; it does not serve yet."""
        name = f"gateway-{len(self._started) + 1}"
        output = self._folder / f"{name}.log"
        environment = {**self._environment, str(EnvName.POD_NAME): name}
        begin = self._start_plain if plain else self._fork
        self._started.append(await begin(output, environment))
        return self._started[-1]

    async def _fork(self, output: Path, environment: Mapping[str, str]) -> Gateway:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"environment": environment, "output": str(output)}
        self._process.stdin.write(json.dumps(request).encode() + b"\n")
        return Gateway(int(await self._process.stdout.readline()), output, None)

    async def _start_plain(self, output: Path, environment: Mapping[str, str]) -> Gateway:
        with output.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "crowetrade_agents.runtime",
                "gateway",
                stdout=file,
                stderr=file,
                env={**os.environ, **environment},
            )
        return Gateway(process.pid, output, process)


class VenueServer:
    """The simulated venue as a process; its log is its memory."""

    def __init__(self, folder: Path, file: ServerFile) -> None:
        self.log = folder / "venue.jsonl"
        self.port = free_port()
        self._errors = folder / "venue.log"
        self._file = folder / "server.json"
        self._file.write_text(json.dumps(encode(file)))
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it, and returns when it listens."""
        with self._errors.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "crowetrade_agents.venues.adapters.simulated.server",
                *("--file", str(self._file), "--log", str(self.log), "--port", str(self.port)),
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        assert self._process.stdout is not None
        line = await asyncio.wait_for(self._process.stdout.readline(), WAIT_SECONDS)
        assert line, f"the venue did not start, see {self._errors}"

    async def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()


class Nats:
    """A server with JetStream that syncs every write, as the operator asks for, and a client of it. What it has stored
    outlives it."""

    client: Client

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self._settings, self._log = folder / "nats.conf", folder / "nats.log"
        self._settings.write_text(f'jetstream {{ store_dir: "{folder / "jetstream"}", sync_interval: always }}\n')
        self.url = f"nats://127.0.0.1:{self.port}"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Starts it, and returns when it answers."""
        self._log.write_text("")
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                Path(sys.executable).parent / "nats-server",
                *("-c", self._settings, "-a", "127.0.0.1", "-p", str(self.port)),
                stdout=log,
                stderr=log,
            )
        await until(lambda: "Server is ready" in self._log.read_text(), "nats-server to be ready")

    async def stop(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()


@contextlib.asynccontextmanager
async def nats_server(folder: Path) -> AsyncIterator[Nats]:
    """One that is thrown away."""
    server = Nats(folder)
    await server.start()
    try:
        server.client = await nats.connect(server.url, max_reconnect_attempts=-1, reconnect_time_wait=1)
        try:
            yield server
        finally:
            await server.client.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            await server.stop()
