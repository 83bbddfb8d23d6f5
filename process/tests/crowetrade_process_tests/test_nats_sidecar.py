"""nats-server gets its certificate, and the next one, from the process beside it; no connection is lost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nats
import pytest
from cryptography import x509

from crowetrade_process import nats_sidecar
from crowetrade_process.identity import metrics
from crowetrade_process.nats_sidecar import main
from crowetrade_process.stopping import cancelled
from crowetrade_process_tests.identity.authority import Authority, identity_name, write_identity
from crowetrade_process_tests.identity.identities import Files, identity_of

SECONDS = 30.0
NATS = identity_name("nats", "crowetrade-system")
CONFIG = """
listen: "127.0.0.1:-1"
ports_file_dir: "{folder}"
pid_file: "{folder}/nats.pid"
tls {{ cert_file: "{tls}/tls.crt", key_file: "{tls}/tls.key", ca_file: "{tls}/ca.crt", verify: true, min_version: "1.3",
  handshake_first: true }}
"""


async def until(what: str, check: Callable[[], bool]) -> None:
    try:
        async with asyncio.timeout(SECONDS):
            while not check():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"{what}: not after {SECONDS:.0f} s") from None


@contextlib.contextmanager
def running(*command: str | Path, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(list(map(str, command)), env={**os.environ, **(environment or {})})
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def listening(folder: Path) -> int:
    """The port that nats-server says it has, 0 before."""
    for file in folder.glob("*.ports"):
        _, _, rest = file.read_text().partition("127.0.0.1:")
        return int(rest.partition('"')[0] or 0)
    return 0


def client_context(authority: Authority, folder: Path) -> ssl.SSLContext:
    files = write_identity(folder, authority.issue_to(identity_name("client")), authority)
    context = ssl.create_default_context(cafile=str(files / "ca.crt"))
    context.load_cert_chain(files / "tls.crt", files / "tls.key")
    return context


async def serial_shown(port: int, context: ssl.SSLContext) -> int:
    """Of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=NATS.dns_name)
    shown = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    return x509.load_der_x509_certificate(shown).serial_number


@pytest.mark.integration
async def test_a_renewed_certificate_is_shown_and_open_connections_stay(tmp_path: Path) -> None:
    authority, tls = Authority(), tmp_path / "tls"
    first, second = authority.issue_to(NATS), authority.issue_to(NATS)
    source = write_identity(tmp_path / "source", first, authority)
    keeper = (sys.executable, "-m", "crowetrade_process.nats_sidecar")
    arguments = (f"--directory={tls}", f"--reload-pid-file={tmp_path / 'nats.pid'}")
    settings = {"IDENTITY_SOURCE": "Files", "IDENTITY_DIRECTORY": str(source)}
    (tmp_path / "nats.conf").write_text(CONFIG.format(folder=tmp_path, tls=tls))
    context = client_context(authority, tmp_path / "client")
    with running(*keeper, *arguments, environment=settings):
        await until("the certificate to be written", (tls / "tls.crt").exists)
        assert {stat.S_IMODE(file.stat().st_mode) for file in tls.iterdir()} == {0o600}
        with running(Path(sys.executable).parent / "nats-server", "-c", tmp_path / "nats.conf"):
            await until("nats-server to listen", lambda: listening(tmp_path) > 0)
            port = listening(tmp_path)
            client = await nats.connect(
                f"tls://127.0.0.1:{port}",
                tls=context,
                tls_hostname=NATS.dns_name,
                tls_handshake_first=True,
                allow_reconnect=False,
            )
            assert await serial_shown(port, context) == first.certificate.serial_number

            write_identity(source, second, authority)
            async with asyncio.timeout(SECONDS):
                while await serial_shown(port, context) != second.certificate.serial_number:
                    await asyncio.sleep(0.1)
            await client.flush()
            assert client.is_connected
            await client.close()


async def test_what_cannot_be_written_is_written_as_soon_as_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nats-server would go on with a certificate that ends, until the next one is due."""
    monkeypatch.setattr(nats_sidecar, "RETRY_SECONDS", 0.02)
    files = await identity_of(tmp_path / "source", NATS, Authority())
    tls, pid_file, changed = tmp_path / "tls", tmp_path / "pid", asyncio.Event()
    changed.set()
    tls.write_text("in the way")
    before = failures()
    with running("sleep", "60") as program:
        pid_file.write_text(str(program.pid))
        keeping = asyncio.create_task(nats_sidecar.keep_written(files.identity, changed, tls, pid_file))
        await until("two tries to fail", lambda: failures() >= before + 2)
        assert program.poll() is None
        tls.unlink()
        await until("the program to be told", lambda: program.poll() == -signal.SIGHUP)
        assert (tls / "tls.crt").read_bytes() == files.identity.credentials.chain_pem
        await cancelled(keeping)


WAITS = {
    "the certificate is renewed": (timedelta(hours=1), False, True),
    "the certificate before is about to end": (timedelta(seconds=50), False, False),
    "somebody else is trusted": (timedelta(hours=1), True, False),
}
"""How long the first certificate holds, whether another authority comes with the second, and whether it waits."""


@pytest.mark.parametrize("case", WAITS)
async def test_what_is_renewed_waits_for_an_authorizer_as_long_as_it_may(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    holds, another, waits = WAITS[case]
    monkeypatch.setattr(nats_sidecar, "RETRY_SECONDS", 0.02)
    authority, asked, is_there = Authority(), list[bool](), False
    issued = authority.issue_to(NATS, not_before=datetime.now(UTC), lifetime=holds)
    files = Files(tmp_path / "source", issued, authority)
    await files.identity.start()
    tls, pid_file, changed = tmp_path / "tls", tmp_path / "pid", asyncio.Event()

    async def served() -> bool:
        asked.append(is_there)
        return is_there

    changed.set()
    files.identity.on_change(changed.set)
    keeping = asyncio.create_task(nats_sidecar.keep_written(files.identity, changed, tls, pid_file, served))
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(cancelled, keeping)
        await until("the first to be written", (tls / "tls.crt").exists)
        assert not asked, "the program has not started yet, so nobody is connected"
        program = stack.enter_context(running("sleep", "60"))
        pid_file.write_text(str(program.pid))
        await files.renew(authority.issue_to(NATS), authority, *[Authority()] * another)
        if waits:
            await until("it to ask again and again", lambda: len(asked) >= 3)
            third = authority.issue_to(NATS)
            await files.renew(third, authority)
            await until("the newest to be written", lambda: (tls / "tls.crt").read_bytes() == third.pem)
            assert program.poll() is None
            is_there = True
        await until("the program to be told", lambda: program.poll() == -signal.SIGHUP)


def failures() -> float:
    """Tries to write the files."""
    return float(metrics.FAILURES.labels(what="files")._value.get())


async def test_a_volume_without_room_for_all_keeps_the_files_of_before(tmp_path: Path) -> None:
    authority, tls = Authority(), tmp_path / "tls"
    files = await identity_of(tmp_path / "source", NATS, authority)
    nats_sidecar.write(before := files.identity.credentials, tls)
    await files.renew(authority.issue_to(NATS), authority)
    (tls / ".tls.crt").mkdir()  # in the way of the last file
    with pytest.raises(OSError, match=r"tls\.crt"):
        nats_sidecar.write(files.identity.credentials, tls)
    assert (tls / "tls.key").read_bytes() == before.key_pem
    assert (tls / "tls.crt").read_bytes() == before.chain_pem


def test_without_a_source_it_says_what_to_set(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = [f"--directory={tmp_path}", f"--reload-pid-file={tmp_path / 'pid'}"]
    assert main(arguments, {"IDENTITY_SOURCE": "None"}) == 78
    assert "IDENTITY_SOURCE is None: there is no identity to write; set it" in "".join(capfd.readouterr())
