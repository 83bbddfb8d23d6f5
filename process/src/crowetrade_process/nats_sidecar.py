"""`python -m crowetrade_process.nats_sidecar`: keeps an identity as files, for a program that is not ours.

Runs beside nats-server: it gets the certificate as every process of ours does, writes it into memory that both share,
and tells nats-server to read it again. Files are written before the signal and replaced one by one, by rename: the
program never reads half of one, and reads them only when it starts or is told to. It also passes on what nats-server
writes to its log, and counts the handshakes that it refuses and records them in the audit trail, over the same server:
while that one is away they wait, and the log is read on.

When nats-server reads again it asks its authorizer about every open connection, and closes all where none answers. So a
certificate that was renewed waits for an authorizer, as long as the one before holds.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import structlog

from crowetrade_process.audit.refusals import Refusals
from crowetrade_process.audit.trail import Trail, connecting
from crowetrade_process.exit import failed
from crowetrade_process.health import Health
from crowetrade_process.identity import metrics
from crowetrade_process.identity.credentials import Credentials
from crowetrade_process.identity.errors import IdentitySettingsError
from crowetrade_process.identity.files import BUNDLE_FILE, CERTIFICATE_FILE, KEY_FILE
from crowetrade_process.identity.holder import Identity, utc_now
from crowetrade_process.identity.roles import NATS_ACCOUNT
from crowetrade_process.identity.running import running
from crowetrade_process.identity.server_authorizer import has_authorizer
from crowetrade_process.identity.server_log import follow
from crowetrade_process.identity.settings import identity_from_environment
from crowetrade_process.identity.variables import IdentityVariable
from crowetrade_process.logs import configure_logging
from crowetrade_process.stopping import cancelled, stop_on_signals, unless_stopping

CONFIGURATION_ERROR = 78
"""EX_CONFIG of sysexits.h."""
DEFAULT_TERMINATION_LOG = "/dev/termination-log"
NATS_URL = "NATS_URL"
"""Environment variable with the address of nats-server, for the audit trail."""
RETRY_SECONDS = 1.0
"""After a certificate could not be written, or nobody was there to judge connections."""
LAST_SECONDS = 60.0
"""Before a certificate ends the next one is read in any case: without one no authorizer could connect either."""

Served = Callable[[], Awaitable[bool]]
"""Whether somebody answers the questions of nats-server."""

log = structlog.get_logger(__name__)


def write(credentials: Credentials, directory: Path) -> None:
    """Writes key, authorities and certificate, readable by their owner alone; the certificate last. Where there is no
    room for all of them none is replaced. Raises OSError."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = {
        KEY_FILE: credentials.key_pem,
        BUNDLE_FILE: credentials.bundle_pem,
        CERTIFICATE_FILE: credentials.chain_pem,
    }
    for name, content in files.items():
        temporary = directory / f".{name}"
        temporary.unlink(missing_ok=True)
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
    for name in files:
        (directory / f".{name}").replace(directory / name)


def reload(pid_file: Path) -> None:
    """Sends SIGHUP to the process of the file; where none runs yet, it reads the files when it starts."""
    try:
        os.kill(int(pid_file.read_text()), signal.SIGHUP)
    except (FileNotFoundError, ProcessLookupError):
        log.info("nothing_to_reload", pid_file=str(pid_file))
    except (OSError, ValueError) as error:
        # The program goes on with the certificate of before, which holds for another third of its lifetime.
        log.error("reload_failed", pid_file=str(pid_file), error=str(error))


async def serve(options: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Runs until SIGTERM or SIGINT. Raises IdentitySettingsError."""
    identity = identity_from_environment(environment)
    if identity is None:
        raise IdentitySettingsError(f"{IdentityVariable.SOURCE} is None: there is no identity to write; set it")
    stopping, health = stop_on_signals(), Health()

    def report(ok: bool, why: str) -> None:
        health.set_ready("identity", ok, why)
        if not ok:
            log.warning("no_identity", why=why)

    # What is refused is counted while this process has no certificate, too, and recorded as soon as it has one.
    async with (
        _served(health, options.http_port),
        _followed(options.log_file, identity, environment),
        running(identity, report, stopping),
    ):
        if stopping.is_set():
            return

        changed = asyncio.Event()
        changed.set()
        identity.on_change(changed.set)
        served = partial(has_authorizer, options.monitor_url) if options.monitor_url else None
        files = options.directory, options.reload_pid_file
        await unless_stopping(stopping, keep_written(identity, changed, *files, served))


async def keep_written(
    identity: Identity, changed: asyncio.Event, directory: Path, pid_file: Path, served: Served | None = None
) -> None:
    """Writes what there is after each change, until it is cancelled; again soon where it cannot, because the program
    would go on with a certificate that ends."""
    read: Credentials | None = None
    while True:
        await changed.wait()
        changed.clear()
        credentials = identity.credentials
        try:
            write(credentials, directory)
        except OSError as error:
            metrics.FAILURES.labels(what="files").inc()
            log.error("identity_not_written", directory=str(directory), error=str(error))
            changed.set()
            await asyncio.sleep(RETRY_SECONDS)
        else:
            if served is None or await _may_read(read, credentials, changed, served):
                reload(pid_file)
                read = credentials


async def _may_read(read: Credentials | None, written: Credentials, changed: asyncio.Event, served: Served) -> bool:
    """Returns when nats-server may read what was written without closing connections, or has to; False when there is
    something newer to be written. What it has read before is None where that is not known."""
    # Whom to trust cannot wait: an authorizer whose certificate is of another authority could not connect.
    if read is None or read.bundle_pem != written.bundle_pem:
        return True
    told = False
    while not await served():
        if (read.not_after - utc_now()).total_seconds() <= LAST_SECONDS:
            log.error("reload_without_authorizer", certificate_ends=str(read.not_after))
            return True
        if changed.is_set():
            return False
        if not told:
            log.warning("reload_waits_for_authorizer", certificate_ends=str(read.not_after))
            told = True
        await asyncio.sleep(RETRY_SECONDS)
    return True


@asynccontextmanager
async def _served(health: Health, port: int | None) -> AsyncIterator[None]:
    if port is None:
        yield
        return
    await health.serve(port)
    try:
        yield
    finally:
        await health.stop()


@asynccontextmanager
async def _followed(log_file: Path | None, identity: Identity, environment: Mapping[str, str]) -> AsyncIterator[None]:
    if log_file is None:
        yield
        return
    url, namespace = (_required(environment, name) for name in (NATS_URL, IdentityVariable.OPERATOR_NAMESPACE))
    trail = Trail(namespace, NATS_ACCOUNT, socket.gethostname(), identity=identity)
    trail.record_start("nats")
    refusals = Refusals(trail)
    identity.on_refusal(refusals.refused)
    async with trail.writing(connecting(url, f"{NATS_ACCOUNT}-audit", identity)), refusals.telling():
        following = asyncio.create_task(follow(log_file, identity))
        try:
            yield
        finally:
            await cancelled(following)


def _required(environment: Mapping[str, str], name: str) -> str:
    if not (text := environment.get(name, "")):
        raise IdentitySettingsError(f"the environment variable {name} is not set: with --log-file it has to be")
    return text


def main(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> int:
    """Entry point; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m crowetrade_process.nats_sidecar", description=__doc__)
    parser.add_argument(
        "--directory", type=Path, required=True, help=f"gets {CERTIFICATE_FILE}, {KEY_FILE}, {BUNDLE_FILE}"
    )
    parser.add_argument("--reload-pid-file", type=Path, required=True, help="of the process that gets SIGHUP")
    parser.add_argument("--log-file", type=Path, help="of that process: is printed, and its refusals recorded")
    parser.add_argument("--monitor-url", help="of that process: it reads again when an authorizer is there to ask")
    parser.add_argument("--http-port", type=int, help="where metrics are")
    options = parser.parse_args(arguments)
    configure_logging()
    try:
        asyncio.run(serve(options, environment))
    except IdentitySettingsError as error:
        return failed(CONFIGURATION_ERROR, "configuration_error", str(error), DEFAULT_TERMINATION_LOG)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
