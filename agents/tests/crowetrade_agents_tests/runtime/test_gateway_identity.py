"""A gateway's process with an identity: its ports take TLS 1.3 alone, and kill orders come from few."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.request import urlopen

import pytest
from cryptography import x509
from nats.js.api import StreamConfig
from prometheus_client.parser import text_string_to_metric_families

from crowetrade import subjects
from crowetrade.audit.v1 import audit_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc
from crowetrade_agents.runtime.__main__ import main
from crowetrade_agents_tests.gateway.harness import NAMESPACE, VENUE, venue_file, write_quotes
from crowetrade_agents_tests.runtime.pods import SECONDS, Pod, pod_in
from crowetrade_api.files import EnvName
from crowetrade_api.names import venue_object
from crowetrade_operator_tests.servers import NatsServer, nats_client
from crowetrade_operator_tests.waiting import until
from crowetrade_process.audit.chain import decode
from crowetrade_process.identity.grpc import open_channel
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.nats import connect_options
from crowetrade_process.identity.peer import Reason
from crowetrade_process.identity.variables import IdentityVariable
from crowetrade_process_tests.identity.authority import HOUR, Authority, identity_name, write_identity
from crowetrade_process_tests.identity.identities import ADMINISTRATOR, OPERATOR_NAMESPACE, Files, identity_of

pytestmark = pytest.mark.integration
OURS = Authority()
GATEWAY = identity_name(venue_object(VENUE), NAMESPACE)
OPERATOR = identity_name("crowetrade-operator", OPERATOR_NAMESPACE)
REVOKED = OURS.issue_to(OPERATOR)
"""By the list that the gateway has from its start."""


@contextmanager
def gateway_in(folder: Path, **environment: str) -> Iterator[Pod]:
    """A gateway's process, without a bus."""
    path = folder / "venue.json"
    path.write_text(json.dumps(venue_file(replay={"speed": "1000"}).content()))
    write_quotes(folder, 10)
    with pod_in(folder, ["gateway"], path, environment) as started:
        yield started


@pytest.fixture(scope="module")
def pod(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pod]:
    folder = tmp_path_factory.mktemp("pod")
    write_identity(folder / "identity", OURS.issue_to(GATEWAY), OURS, revocations=OURS.revocations(REVOKED))
    with gateway_in(folder) as started:
        started.until_it_listens()
        yield started


def handshake(port: int, files: Path, version: ssl.TLSVersion) -> str | None:
    """The version of TLS, by a client that offers this one alone."""
    context = ssl.create_default_context(cafile=str(files / "ca.crt"))
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    context.load_cert_chain(files / "tls.crt", files / "tls.key")
    with (
        socket.create_connection(("127.0.0.1", port), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=GATEWAY.dns_name) as wrapped,
    ):
        # In TLS 1.3 a client learns only after its handshake whether its certificate was taken; were it gone by then,
        # the server might never look.
        with contextlib.suppress(OSError):
            wrapped.recv(1)
        return wrapped.version()


def test_its_ports_take_tls_1_3_alone(pod: Pod, tmp_path: Path) -> None:
    client = write_identity(tmp_path, OURS.issue_to(ADMINISTRATOR), OURS)
    assert handshake(pod.control_port, client, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match=r"HANDSHAKE_FAILURE|UNEXPECTED_EOF"):
        handshake(pod.control_port, client, ssl.TLSVersion.TLSv1_2)


@pytest.mark.parametrize(
    ("authority", "shift", "reason"),
    [
        (OURS, -2 * HOUR, Reason.EXPIRED),
        (OURS, HOUR, Reason.NOT_YET_VALID),
        (Authority(), 0 * HOUR, Reason.FOREIGN_AUTHORITY),
    ],
)
async def test_who_is_refused_by_the_tls_library_is_counted_with_the_reason(
    pod: Pod, authority: Authority, shift: timedelta, reason: Reason, tmp_path: Path
) -> None:
    before = refused_by(pod, reason)
    issued = authority.issue_to(OPERATOR, not_before=datetime.now(UTC) + shift)
    handshake(pod.control_port, write_identity(tmp_path, issued, OURS), ssl.TLSVersion.TLSv1_3)
    await until("the refusal to be counted", lambda: refused_by(pod, reason) == before + 1)


async def test_whom_it_refuses_is_recorded_by_when_it_ends(tmp_path: Path) -> None:
    nats = identity_name("nats", OPERATOR_NAMESPACE)
    server = NatsServer(tmp_path, tls=write_identity(tmp_path / "nats", OURS.issue_to(nats), OURS))
    server.start()
    operator = await identity_of(tmp_path / "operator", OPERATOR, OURS)
    operator.identity.nats_server_name = nats.dns_name
    expired = OURS.issue_to(OPERATOR, not_before=datetime.now(UTC) - 2 * HOUR)
    files = write_identity(tmp_path / "expired", expired, OURS)
    write_identity(tmp_path / "identity", OURS.issue_to(GATEWAY), OURS)
    bus = {EnvName.NATS_URL: server.url, IdentityVariable.NATS_SERVER_NAME: nats.dns_name}
    try:
        async with nats_client(server.url, **connect_options(operator.identity)) as client:
            jetstream = client.jetstream()
            await jetstream.add_stream(StreamConfig.from_response(subjects.audit_stream_config(3600)))

            async def counts() -> list[int]:
                last = (await jetstream.stream_info(subjects.AUDIT_STREAM)).state.last_seq
                records = [await jetstream.get_msg(subjects.AUDIT_STREAM, place) for place in range(1, last + 1)]
                events = [decode(record.data or b"", "").event for record in records]
                return [event.count for event in events if event.action == audit_pb2.ACTION_IDENTITY_REFUSED]

            async def is_told() -> bool:
                return await counts() == [1]

            with gateway_in(tmp_path, **{str(name): value for name, value in bus.items()}) as pod:
                pod.until_it_listens()
                for _ in range(3):
                    await asyncio.to_thread(handshake, pod.control_port, files, ssl.TLSVersion.TLSv1_3)
                await until("all to be counted", lambda: refused_by(pod, Reason.EXPIRED) == 3)
                await until("the first to be recorded", is_told)
            assert await counts() == [1, 2]
    finally:
        server.stop()


async def test_who_is_revoked_is_told_so_and_counted(pod: Pod, tmp_path: Path) -> None:
    before = refused_by(pod, Reason.REVOKED)
    files = Files(tmp_path, REVOKED, OURS)
    await files.identity.start()
    async with open_channel(f"127.0.0.1:{pod.control_port}", files.identity, GATEWAY.dns_name) as channel:
        call = control_pb2_grpc.ControlServiceStub(channel).ListKills(control_pb2.ListKillsRequest(), timeout=SECONDS)
        assert (await call.code()).name == "UNAUTHENTICATED"
        serial = x509.load_pem_x509_certificate(REVOKED.pem).serial_number
        assert await call.details() == f"the certificate with serial number {serial:x} is revoked"
    assert refused_by(pod, Reason.REVOKED) == before + 1


def metrics_of(pod: Pod) -> str:
    with urlopen(f"http://127.0.0.1:{pod.environment[EnvName.HTTP_PORT]}/metrics", timeout=SECONDS) as answer:
        return str(answer.read().decode())


def refused_by(pod: Pod, reason: Reason) -> float:
    """How often the process has refused peers for this reason."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(metrics_of(pod))
        for sample in family.samples
        if sample.name == "crowetrade_identity_refused_peers_total" and sample.labels["reason"] == reason
    )


COUNTED: dict[str, Reason] = {"PERMISSION_DENIED": Reason.NOT_PERMITTED, "UNAUTHENTICATED": Reason.FOREIGN_TRUST_DOMAIN}


@pytest.mark.parametrize(
    ("caller", "answer"),
    [
        (OPERATOR, "OK"),
        (ADMINISTRATOR, "OK"),
        (identity_name("strategy-fx", NAMESPACE), "PERMISSION_DENIED"),
        (GATEWAY, "PERMISSION_DENIED"),
        (identity_name("crowetrade-operator", NAMESPACE), "PERMISSION_DENIED"),
        (identity_name("crowetrade-authorizer", OPERATOR_NAMESPACE), "PERMISSION_DENIED"),
        (identity_name("crowetrade-operator", OPERATOR_NAMESPACE, "other.local"), "UNAUTHENTICATED"),
    ],
)
@pytest.mark.parametrize("method", ["Kill", "ListKills"])
async def test_the_operator_and_administrators_alone_are_in_control(
    pod: Pod, caller: IdentityName, answer: str, method: str, tmp_path: Path
) -> None:
    other = caller.trust_domain != GATEWAY.trust_domain
    before = {reason: refused_by(pod, reason) for reason in COUNTED.values()}
    files = await identity_of(tmp_path, GATEWAY if other else caller, OURS)
    if other:
        # Its own source would refuse it.
        issued = OURS.issue_to(caller)
        object.__setattr__(files.identity.credentials, "chain_pem", issued.pem)
        object.__setattr__(files.identity.credentials, "key_pem", issued.key_pem)
    async with open_channel(f"127.0.0.1:{pod.control_port}", files.identity, GATEWAY.dns_name) as channel:
        stub = control_pb2_grpc.ControlServiceStub(channel)
        call = (
            stub.Kill(control_pb2.KillRequest(), timeout=SECONDS)
            if method == "Kill"
            else stub.ListKills(control_pb2.ListKillsRequest(), timeout=SECONDS)
        )
        code, said = await call.code(), await call.details()
    # An order without a name is refused for that alone, where one may be given.
    expected = "INVALID_ARGUMENT" if (method, answer) == ("Kill", "OK") else answer
    assert code.name == expected, said
    for counted, reason in COUNTED.items():
        assert refused_by(pod, reason) == before[reason] + (counted == answer)
    if answer == "PERMISSION_DENIED":
        assert said == f"{caller} is neither the operator nor an administrator: it gives no kill orders"


def test_a_pod_without_certificate_says_so_waits_and_goes_on_when_it_has_one(tmp_path: Path) -> None:
    with gateway_in(tmp_path) as pod:
        said = pod.until_readiness(lambda said: "is the Secret mounted" in said)
        assert "identity: cannot read " in said
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", pod.control_port), 1)
        write_identity(tmp_path / "identity", OURS.issue_to(GATEWAY), OURS)
        pod.until_it_listens()
        assert "identity" not in pod.readiness()


def test_without_identity_and_keys_their_metrics_are_there_and_0_from_the_start(tmp_path: Path) -> None:
    with gateway_in(tmp_path, **{IdentityVariable.SOURCE: "None"}) as pod:
        pod.until_it_listens()
        lines = metrics_of(pod).splitlines()
    for series in (
        "crowetrade_identity_enabled",
        "crowetrade_identity_revocations_end_unix_seconds",
        'crowetrade_identity_failures_total{what="trust"}',
        'crowetrade_identity_failures_total{what="certificate"}',
        *(f'crowetrade_gateway_key_renewals_total{{result="{result}"}}' for result in ("renewed", "refused", "failed")),
    ):
        assert f"{series} 0.0" in lines


def test_an_identity_that_cannot_be_ends_the_process_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "venue.json"
    path.write_text(json.dumps(venue_file(replay={"speed": "1000"}).content()))
    write_quotes(tmp_path, 10)
    monkeypatch.setenv(EnvName.CONFIG_FILE, str(path))
    monkeypatch.setenv(EnvName.DATA_DIRECTORY, str(tmp_path))
    monkeypatch.setenv(EnvName.NATS_URL, "nats://127.0.0.1:1")
    monkeypatch.setenv(EnvName.HTTP_PORT, "0")
    monkeypatch.setenv(IdentityVariable.SOURCE, "Vault")
    monkeypatch.setenv(IdentityVariable.VAULT_ADDR, "http://vault:8200")
    assert main(["gateway"]) == 78
    assert "write https://, or set IDENTITY_VAULT_ALLOW_HTTP to true for development" in capsys.readouterr().out
