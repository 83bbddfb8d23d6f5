"""Real servers for tests: etcd, kube-apiserver and nats-server on loopback ports, each thrown away at the end; and the
line to a server, which can be cut."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from nats.aio.client import Client

from crowetrade_process.identity.nats import BusClient
from crowetrade_process.stopping import cancelled

ROOT = Path(__file__).parents[3]
START_SECONDS = 60.0
HINT = "run `make cluster-up` once: it builds etcd and kube-apiserver into the cache"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@functools.cache
def program(name: str) -> Path:
    """Path of a program that tools/localcluster has built."""
    asked = subprocess.run(
        [sys.executable, "-m", "tools.localcluster", "path", name],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    path = Path(asked.stdout.strip())
    if asked.returncode != 0 or not path.is_file():
        raise RuntimeError(f"{name} is not there: {HINT}. {asked.stderr.strip()}")
    return path


class Process:
    """A server process whose output goes to a file."""

    def __init__(
        self, name: str, command: list[str | Path], folder: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._command, self._folder = command, folder
        self._environment = None if environment is None else {**os.environ, **environment}
        self.start()

    def start(self) -> None:
        """Starts it; again after it has ended, with the same command."""
        self._out: IO[bytes] = self.log.open("ab")
        self._process = subprocess.Popen(
            self._command, cwd=self._folder, stdout=self._out, stderr=subprocess.STDOUT, env=self._environment
        )

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def stop(self) -> None:
        """Ends the process."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._out.close()

    def send(self, number: signal.Signals) -> None:
        """Sends it a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL; returns when it has ended."""
        self._process.kill()
        self._process.wait()

    def freeze(self) -> None:
        """Stops it where it is; waits until the system says that all its threads stand."""
        self._process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)

    def thaw(self) -> None:
        """Lets it go on."""
        self._process.send_signal(signal.SIGCONT)

    @contextlib.asynccontextmanager
    async def starved(self, share: float, period: float = 0.1) -> AsyncIterator[None]:
        """Meanwhile it runs for this share of each period, like a container that is held to a share of a core, or whose
        node has no time for it."""

        async def slices() -> None:
            while self.running:
                self.send(signal.SIGSTOP)
                await asyncio.sleep(period * (1.0 - share))
                self.send(signal.SIGCONT)
                await asyncio.sleep(period * share)

        slicing = asyncio.create_task(slices())
        try:
            yield
        finally:
            await cancelled(slicing)
            self.thaw()

    @property
    def cpu_seconds(self) -> float:
        """How long it has run on a processor."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def hang_up(self) -> None:
        """Sends SIGHUP."""
        self._process.send_signal(signal.SIGHUP)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raises with the end of the log when the process has ended."""
        if self._process.poll() is not None:
            raise RuntimeError(f"{self.name} ended:\n{self.tail()}")

    def tail(self) -> str:
        """The end of the log."""
        return self.log.read_text(errors="replace")[-3000:]


def _answers(url: str, context: ssl.SSLContext | None) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2, context=context) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def wait_for(process: Process, url: str, context: ssl.SSLContext | None = None) -> None:
    """Waits until the server answers 200."""
    deadline = time.monotonic() + START_SECONDS
    while not _answers(url, context):
        process.check()
        if time.monotonic() > deadline:
            raise RuntimeError(f"{process.name} did not answer {url} in {START_SECONDS:g} s:\n{process.tail()}")
        time.sleep(0.05)


@dataclass(frozen=True)
class ApiServer:
    """A running API server."""

    url: str
    # Of an administrator.
    kubeconfig: Path
    # Of a user who may do nothing until a role is bound to them.
    powerless: Path
    process: Process

    def at(self, port: int, folder: Path) -> Path:
        """The administrator's kubeconfig for another port, where a Wire leads here."""
        config = json.loads(self.kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{port}"
        path = folder / "kubeconfig"
        path.write_text(json.dumps(config))
        return path


class ControlPlane:
    """An API server and its etcd that a test may stop, start again, and restore from a backup."""

    def __init__(self, folder: Path) -> None:
        self.server, (self.api, self.etcd) = start_api_server(folder)
        self._folder = folder

    def start_again(self, *killed: Process) -> None:
        """Kills them and starts them again; returns when the API server is ready."""
        for process in killed:
            process.kill()
        for process in reversed(killed):
            process.start()
        self._wait()

    def back_up(self) -> None:
        """Keeps what etcd has stored now."""
        self._copy("etcd", "backup")

    def restore(self) -> None:
        """Takes etcd and the API server back to the backup."""
        self._copy("backup", "etcd")

    def stop(self) -> None:
        """Ends both."""
        self.api.stop()
        self.etcd.stop()

    def _copy(self, source: str, target: str) -> None:
        for process in (self.api, self.etcd):
            process.kill()
        shutil.rmtree(self._folder / target, ignore_errors=True)
        shutil.copytree(self._folder / source, self._folder / target)
        for process in (self.etcd, self.api):
            process.start()
        self._wait()

    def _wait(self) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        _wait_ready(self.api, self.server.url, context)


TOKEN = "test-admin-token"
POWERLESS_USER, POWERLESS_TOKEN = "powerless", "test-powerless-token"


def start_api_server(folder: Path, *flags: str) -> tuple[ApiServer, list[Process]]:
    """etcd and kube-apiserver with an administrator's token, and more flags of the latter; RBAC is on, certificates are
    its own."""
    etcd_port, peer_port, port = free_port(), free_port(), free_port()
    etcd_url, peer_url = f"http://127.0.0.1:{etcd_port}", f"http://127.0.0.1:{peer_port}"
    etcd = Process(
        "etcd",
        [
            program("etcd"),
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd_url}",
            f"--advertise-client-urls={etcd_url}",
            f"--listen-peer-urls={peer_url}",
            f"--initial-advertise-peer-urls={peer_url}",
            f"--initial-cluster=default={peer_url}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ],
        folder,
    )
    wait_for(etcd, f"{etcd_url}/health")
    key = _service_account_key(folder)
    (folder / "tokens.csv").write_text(
        f'{TOKEN},admin,admin,"system:masters"\n{POWERLESS_TOKEN},{POWERLESS_USER},{POWERLESS_USER}\n'
    )
    server = Process(
        "kube-apiserver",
        [
            program("kube-apiserver"),
            f"--etcd-servers={etcd_url}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--cert-dir={folder / 'certificates'}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--disable-admission-plugins=ServiceAccount",
            "--watch-cache-sizes=events#0",
            "--v=1",
            *flags,
        ],
        folder,
    )
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    url = f"https://127.0.0.1:{port}"
    try:
        wait_for(server, f"{url}/livez?exclude=etcd", context)
        _wait_ready(server, url, context)
    except RuntimeError:
        server.stop()
        etcd.stop()
        raise
    kubeconfig, powerless = _kubeconfig(folder, url, TOKEN), _kubeconfig(folder, url, POWERLESS_TOKEN)
    return ApiServer(url, kubeconfig, powerless, server), [server, etcd]


def _wait_ready(process: Process, url: str, context: ssl.SSLContext) -> None:
    request = urllib.request.Request(f"{url}/readyz", headers={"Authorization": f"Bearer {TOKEN}"})
    deadline = time.monotonic() + START_SECONDS
    while True:
        process.check()
        try:
            with urllib.request.urlopen(request, timeout=2, context=context):
                return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > deadline:
                raise RuntimeError(f"kube-apiserver did not become ready:\n{process.tail()}") from None
            time.sleep(0.1)


def _service_account_key(folder: Path) -> Path:
    key = folder / "service-account.key"
    subprocess.run(
        ["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True, env={**os.environ, "RANDFILE": ""}
    )
    return key


def _kubeconfig(folder: Path, url: str, token: str) -> Path:
    authority = base64.b64encode((folder / "certificates" / "apiserver.crt").read_bytes()).decode()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": "user", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
        "current-context": "test",
    }
    path = folder / f"kubeconfig-{token}"
    path.write_text(json.dumps(config))
    return path


def _tls_configuration(folder: Path, files: Path) -> Path:
    path = folder / "nats-tls.conf"
    path.write_text(
        f'tls {{ cert_file: "{files / "tls.crt"}", key_file: "{files / "tls.key"}", ca_file: "{files / "ca.crt"}", '
        'verify: true, min_version: "1.3", handshake_first: true }\n'
    )
    return path


class NatsServer:
    """A NATS server on one port for its life, which can be stopped and started again; with JetStream unless not, and
    with mutual TLS alone where it has a directory with tls.crt, tls.key and ca.crt. A configuration of its own says all
    but ports: then without `jetstream` and `tls`."""

    def __init__(
        self,
        folder: Path,
        jetstream: bool = True,
        tls: Path | None = None,
        address: str = "127.0.0.1",
        configuration: Path | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._listens = ["-a", address] if address else []
        self._folder = folder
        self._jetstream = jetstream
        self._tls = tls
        self._configuration = configuration
        self._process: Process | None = None

    def start(self) -> None:
        """Starts it and waits until it answers."""
        monitor, binary = free_port(), Path(sys.executable).parent / "nats-server"
        command: list[str | Path] = [binary, *self._listens, "-p", str(self.port), "-m", str(monitor)]
        if self._jetstream:
            command += ["-js", "-sd", self._folder / "jetstream"]
        if self._tls is not None:
            command += ["-c", _tls_configuration(self._folder, self._tls)]
        if self._configuration is not None:
            command += ["-c", self._configuration]
        self._process = Process("nats-server", command, self._folder)
        path = "healthz?js-enabled-only=true" if self._jetstream else "varz"
        wait_for(self._process, f"http://127.0.0.1:{monitor}/{path}")

    def stop(self) -> None:
        """Ends it; what it has stored stays."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def reload(self) -> None:
        """Lets it read its files again, and waits until it has."""
        assert self._process is not None
        said = self._process.log.read_text().count("Reloaded server configuration")
        self._process.hang_up()
        deadline = time.monotonic() + START_SECONDS
        while self._process.log.read_text().count("Reloaded server configuration") == said:
            self._process.check()
            if time.monotonic() > deadline:
                raise RuntimeError(f"nats-server did not read its files again:\n{self._process.tail()}")
            time.sleep(0.02)

    def freeze(self) -> None:
        """Stops it from answering: connections stay."""
        assert self._process is not None
        self._process.freeze()

    def thaw(self) -> None:
        """Lets it answer again."""
        assert self._process is not None
        self._process.thaw()

    def forget(self) -> None:
        """Throws away what it has stored, while it is stopped."""
        shutil.rmtree(self._folder / "jetstream")


@contextlib.asynccontextmanager
async def nats_client(url: str, **options: Any) -> AsyncIterator[Client]:
    """A client that is closed whatever happens: the tasks of one that is left open outlive the test's loop."""
    client = BusClient()
    quick: dict[str, Any] = {"reconnect_time_wait": 0.1, "max_reconnect_attempts": -1}
    await client.connect(url, **quick, **options)
    try:
        yield client
    finally:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await client.close()


@dataclass(slots=True)
class HeldBytes:
    """What somebody sends with a word in it: it waits in the line, and everything that comes after it by the same
    connection."""

    word: bytes
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)
    answers: bytes = b""
    """What the server has sent back by that connection since."""


class Wire:
    """A line to a server on this host: it can be cut (connections break, new ones are refused) or fall silent
    (connections stay and new ones are taken, but no byte arrives), and it can be mended."""

    def __init__(self, to_port: int, host: str = "127.0.0.1") -> None:
        self.port = free_port()
        self._host, self._to_port = host, to_port
        self._server: asyncio.Server | None = None
        self._open = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        self._awaited: HeldBytes | None = None

    async def mend(self) -> None:
        """Lets everything through."""
        self._open.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, self._host, self.port)

    async def cut(self) -> None:
        """Breaks every connection and refuses new ones."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self._open.set()
        for writer in self._writers:
            writer.transport.abort()

    def fall_silent(self) -> None:
        """Lets nothing through any more, without a word."""
        self._open.clear()

    def hold(self, word: bytes) -> HeldBytes:
        """Holds what is sent to the server next with this word in it, until `goes_on` is set. Other connections go
        on."""
        self._awaited = HeldBytes(word)
        return self._awaited

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to_port)
            if self._server is None:  # cut in the meantime
                writer.transport.abort()
                far_writer.transport.abort()
                return
            both = {writer, far_writer}
            self._writers |= both
            held: list[HeldBytes] = []
            await asyncio.gather(
                self._pump(reader, far_writer, held, is_answer=False),
                self._pump(far_reader, writer, held, is_answer=True),
            )
            self._writers -= both

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, held: list[HeldBytes], *, is_answer: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if is_answer:
                    for one in held:
                        one.answers += data
                elif self._awaited is not None and self._awaited.word in data:
                    held.append(self._awaited)
                    self._awaited = None
                    held[-1].arrived.set()
                for one in held:
                    await one.goes_on.wait()
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.transport.abort()
