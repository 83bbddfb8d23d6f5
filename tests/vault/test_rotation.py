"""A key is rotated while orders go on: none is lost, the new one is used in time, and nobody sees it."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable
from pathlib import Path

import nats
import prometheus_client
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from crowetrade import subjects
from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.bus.nats import NatsBus
from crowetrade_agents.credentials.files import read_rendered
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents_tests.gateway.harness import (
    NAMESPACE,
    VENUE,
    configuration,
    configure,
    running,
    session,
    status_when,
    write_quotes,
)
from crowetrade_api.files import EnvName
from crowetrade_process.logs import configure_logging
from crowetrade_process_tests.identity.authority import Authority
from tests.vault.conftest import REFRESH_SECONDS, Keyed
from tests.vault.gateway import flowing, gateway_file, takes_both, trading

pytestmark = pytest.mark.integration

KEYS = {
    "apiKey": "api-key",
    "secret": "api-secret",
    "passphrase": "pass-phrase",
    "fixPassword": "password",
    "tlsKey": "client.pem",
}


async def test_a_rotated_key_is_used_within_the_refresh_time_and_no_order_is_lost(
    keyed: Callable[..., Keyed], bus: Client, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    old, new = secrets.token_hex(16), secrets.token_hex(16)
    it = keyed()
    it.vault.put(it.path, **{"api-key": old})
    async with (
        trading(bus, tmp_path, it, gateway_file(it, **takes_both(old, new))) as gateway,
        session(gateway) as (trader, _),
    ):
        began = await status_when(bus, lambda status: status.credentials.version == "1")
        async with flowing(trader) as flow:
            before = flow.filled
            it.vault.put(it.path, **{"api-key": new})
            put_ns = SystemClock().now_ns()
            now = await status_when(bus, lambda status: status.credentials.version == "2")
        seconds = (now.credentials.since_unix_ns - put_ns) / 1e9
        record_property("rotation_seconds", round(seconds, 2))
        record_property("orders_meanwhile", flow.filled - before)
        print(f"rotated within {seconds:.2f} s, {flow.filled - before} orders meanwhile, 0 lost")
        assert seconds <= REFRESH_SECONDS
        assert now.session_since_unix_ns == began.session_since_unix_ns, "the session did not break"
        assert now.credentials.reason == ""
        assert old not in "".join(path.read_text() for path in it.agent.credentials.iterdir())


async def test_a_new_key_that_the_venue_refuses_is_told_and_trading_goes_on(
    keyed: Callable[..., Keyed], bus: Client, tmp_path: Path
) -> None:
    old, new = secrets.token_hex(16), secrets.token_hex(16)
    it = keyed()
    it.vault.put(it.path, **{"api-key": old})
    file = gateway_file(it, **takes_both(old, new))
    async with trading(bus, tmp_path, it, file) as gateway, session(gateway) as (trader, _), flowing(trader):
        it.vault.put(it.path, **{"api-key": "wrong"})
        told = await status_when(bus, lambda status: status.credentials.reason == "CredentialsRefused")
        assert told.session == status_pb2.SESSION_STATE_LOGGED_ON
        assert told.credentials.version == "1"
        assert "the venue does not take version 2 of the keys: the venue refused" in told.credentials.message
        it.vault.put(it.path, **{"api-key": new})
        await status_when(bus, lambda status: (status.credentials.version, status.credentials.reason) == ("3", ""))


async def test_without_keys_the_gateway_runs_says_why_and_logs_on_when_they_come(
    keyed: Callable[..., Keyed], bus: Client, tmp_path: Path
) -> None:
    key = secrets.token_hex(16)
    it = keyed()
    await configure(bus, configuration())
    write_quotes(tmp_path, 1000)
    it.agent.start()
    environment = {EnvName.CREDENTIALS_DIRECTORY.value: str(it.agent.credentials)}
    async with running(bus, tmp_path, file=gateway_file(it, **takes_both(key, key)), **environment):
        told = await status_when(bus, lambda status: status.credentials.reason == "VaultSecretMissing")
        assert told.session == status_pb2.SESSION_STATE_CONNECTING
        assert "the venue's keys are not there" in told.session_message
        it.vault.put(it.path, **{"api-key": key})
        await status_when(bus, lambda status: status.session == status_pb2.SESSION_STATE_LOGGED_ON)


def seen_by_all(process: str) -> bytes:
    """Environment and arguments of a process."""
    return b"".join(Path(f"/proc/{process}/{name}").read_bytes() for name in ("environ", "cmdline"))


async def _never(message: status_pb2.AgentStatus) -> None:
    """For what is not of this type."""


async def test_the_keys_are_nowhere_but_in_their_file(
    keyed: Callable[..., Keyed], bus: Client, nats_url: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Environment and arguments, logs, everything on the bus (status, journal, dlq, market data), metrics. What only a
    cluster has is searched by tests/e2e/test_vault_key.py.

    Of what a gateway says, dlq has what strategies of another version cannot read: here its status.
    """
    configure_logging("DEBUG")
    old, new, secret, passphrase, password = (secrets.token_hex(16) for _ in range(5))
    tls_key = Authority().issue(dns_names=("venue",)).key_pem.decode()
    # Every line of the PEM that holds some of the key.
    canaries = [old, new, secret, passphrase, password, *tls_key.splitlines()[1:-1]]
    it = keyed(keys=KEYS)
    said: list[bytes] = []
    listener = await nats.connect(nats_url)

    async def hear(message: Msg) -> None:
        said.append(message.subject.encode() + message.data + str(message.headers).encode())

    await listener.subscribe(">", cb=hear)
    status_subject = subjects.gateway_status(NAMESPACE, VENUE)
    strategy = await NatsBus.connect(nats_url, "strategy")
    await strategy.subscribe(status_subject, status_pb2.AgentStatus, _never)
    rest = {
        "api-secret": f"{secret}\nsecond line",
        "pass-phrase": passphrase,
        "password": password,
        "client.pem": tls_key,
    }
    it.vault.put(it.path, **{"api-key": old}, **rest)
    async with (
        trading(bus, tmp_path, it, gateway_file(it, **takes_both(old, new))) as gateway,
        session(gateway) as (trader, _),
    ):
        async with flowing(trader):
            it.vault.put(it.path, **{"api-key": "wrong"}, **rest)
            await status_when(bus, lambda status: status.credentials.reason == "CredentialsRefused")
            it.vault.run("kv", "put", f"secret/{it.path}", "-", stdin=f'{{"api-key": "{new}"}}')
            await status_when(bus, lambda status: status.credentials.reason == "CredentialsIncomplete")
            it.vault.put(it.path, **{"api-key": new}, **rest)
            await status_when(bus, lambda status: status.credentials.version == "4")
        processes = {"gateway": seen_by_all("self"), "Vault Agent": seen_by_all(str(it.agent.pid))}
        rendered = read_rendered(it.agent.credentials, KEYS).keys
    await strategy.close()
    await listener.close()
    dead_letters = [one for one in said if one.startswith(subjects.dead_letter(status_subject).encode())]
    logs = "".join(capfd.readouterr()) + it.agent.output.read_text()
    logs += (it.agent.credentials / "vault-agent.log").read_text()
    searched = {
        **processes,
        "logs": logs.encode(),
        "bus": b"".join(said),
        "metrics": prometheus_client.generate_latest(),
    }
    there = {"apiKey": new, "secret": rest["api-secret"], "passphrase": passphrase, "fixPassword": password}
    assert rendered == {**there, "tlsKey": tls_key}, "they are where they belong"
    assert b"journal." in searched["bus"]
    for reason in (b"CredentialsRefused", b"CredentialsIncomplete"):
        assert any(reason in one for one in dead_letters), "what the gateway says of its keys is among what is searched"
    assert "venue_keys_renewed" in logs
    assert "receiving dependency" in logs
    for value in canaries:
        for form in (value, base64.b64encode(value.encode()).decode(), value.encode().hex()):
            found = [place for place, content in searched.items() if form.encode() in content]
            assert not found, f"a key is in {found}"
