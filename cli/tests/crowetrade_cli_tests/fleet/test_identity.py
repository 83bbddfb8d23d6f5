"""The command line with an administrator's certificate, to a real control service and a real bus."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from crowetrade.config.v1.kill_pb2 import KillOrder
from crowetrade_agents.control.grpc_server import ControlServer
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.kills import Kills
from crowetrade_cli.bus import connect
from crowetrade_cli.errors import Failed
from crowetrade_cli.fleet import ways
from crowetrade_cli.identity import TLS_FILES
from crowetrade_cli.main import crowetrade
from crowetrade_operator_tests.servers import NatsServer
from crowetrade_process.identity.files import REVOCATIONS_FILE
from crowetrade_process_tests.identity.authority import Authority, identity_name, write_identity
from crowetrade_process_tests.identity.identities import ADMINISTRATOR, Files, identity_of

pytestmark = pytest.mark.integration
OURS = Authority()
GATEWAY, NATS = identity_name("venue-sim", "desk"), identity_name("nats", "crowetrade")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    TLS_FILES.directory = TLS_FILES.nats_server_name = ""


@pytest.fixture
async def target(tmp_path: Path) -> AsyncIterator[str]:
    """HOST:PORT of a gateway's control service."""
    clock = SystemClock()
    gateway = await identity_of(tmp_path / "gateway", GATEWAY, OURS)
    server = ControlServer(Kills("desk", "sim", clock), clock, 0, gateway.identity)
    await server.start()
    yield f"127.0.0.1:{server.port}"
    await server.stop()


def use(folder: Path, account: str, namespace: str, authority: Authority = OURS) -> None:
    """The certificate that is shown from now on."""
    issued = authority.issue_to(identity_name(account, namespace))
    TLS_FILES.directory = str(write_identity(folder / account, issued, OURS))


async def test_an_administrator_is_answered(target: str, tmp_path: Path) -> None:
    use(tmp_path, ADMINISTRATOR.service_account, ADMINISTRATOR.namespace)
    assert await ways.kills_at(target, GATEWAY.dns_name) == []
    assert await ways.kills_at(f"{GATEWAY.dns_name}={target}") == []


async def test_what_is_wrong_is_said_in_a_sentence(target: str, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="nobody answers at"):
        await ways.kills_at(target, GATEWAY.dns_name)
    use(tmp_path, "bob", "people")
    with pytest.raises(Failed, match=r"PERMISSION_DENIED: .*/sa/bob is neither the operator nor an administrator"):
        await ways.kills_at(target, GATEWAY.dns_name)
    use(tmp_path, ADMINISTRATOR.service_account, ADMINISTRATOR.namespace)
    with pytest.raises(Failed, match=r"is not to be trusted: .*Hostname mismatch.*\(OtherName\)"):
        await ways.kills_at(target, "venue-other.desk.svc")
    use(tmp_path, ADMINISTRATOR.service_account, ADMINISTRATOR.namespace, Authority())
    with pytest.raises(Failed, match=r"--tls-directory: .*the CA bundle does not confirm the certificate"):
        await ways.kills_at(target, GATEWAY.dns_name)
    TLS_FILES.directory = str(tmp_path / "nowhere")
    with pytest.raises(Failed, match=r"--tls-directory: cannot read .*ca\.crt"):
        await ways.kills_at(target, GATEWAY.dns_name)


async def test_no_order_is_given_to_a_gateway_whose_certificate_is_revoked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clock, issued = SystemClock(), OURS.issue_to(GATEWAY)
    kills = Kills("desk", "sim", clock)
    gateway = Files(tmp_path / "gateway", issued, OURS)
    await gateway.identity.start()
    server = ControlServer(kills, clock, 0, gateway.identity)
    await server.start()
    use(tmp_path, ADMINISTRATOR.service_account, ADMINISTRATOR.namespace)
    (Path(TLS_FILES.directory) / REVOCATIONS_FILE).write_bytes(OURS.revocations(issued))
    with pytest.raises(Failed, match=r"is not to be trusted: .* is revoked \(Revoked\)"):
        await ways.directly(
            f"127.0.0.1:{server.port}",
            KillOrder(name="stop", namespace="desk"),
            lambda said: None,
            lambda gateway: True,
            GATEWAY.dns_name,
        )
    assert not list(kills.in_force)
    assert "peer_refused" not in capsys.readouterr().out, "it would stand in what a command answers"
    await server.stop()


async def test_the_bus_is_spoken_to_with_the_certificate(tmp_path: Path) -> None:
    server = NatsServer(tmp_path, tls=write_identity(tmp_path / "nats", OURS.issue_to(NATS), OURS))
    server.start()
    try:
        use(tmp_path, ADMINISTRATOR.service_account, ADMINISTRATOR.namespace)
        TLS_FILES.nats_server_name = NATS.dns_name
        async with connect(server.url) as client:
            await client.flush()
        TLS_FILES.directory = ""
        with pytest.raises(Failed, match="cannot be reached"):
            async with connect(server.url):
                pass
    finally:
        server.stop()


def test_the_options_come_before_the_command_or_from_the_environment() -> None:
    app = typer.Typer()
    app.callback()(crowetrade)
    seen: list[tuple[str, str]] = []
    app.command("look")(lambda: seen.append((TLS_FILES.directory, TLS_FILES.nats_server_name)))
    runner = CliRunner()
    environment = {"CROWETRADE_TLS_DIRECTORY": "/b", "CROWETRADE_NATS_SERVER_NAME": "nats.b.svc"}
    for arguments, variables in (
        (["--tls-directory", "/a", "--nats-server-name", "nats.a.svc", "look"], {}),
        (["look"], environment),
        (["look"], {}),
    ):
        assert runner.invoke(app, arguments, env=variables).exit_code == 0
    assert seen == [("/a", "nats.a.svc"), ("/b", "nats.b.svc"), ("", "")]
