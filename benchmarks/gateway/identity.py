"""The price of TLS, and of renewing certificates and replacing their authority while orders flow.

The gateway shows a certificate to its sessions and to the bus, and both show theirs; the sessions of this process have
one each. Beside it runs a gateway without, and orders go to the two in turn: both figures are of the same minutes.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import nats
import uvloop

from benchmarks.figures import Figure, durations, figure
from benchmarks.gateway.order_path import ORDERS, WARM_UP, one_order
from benchmarks.gateway.process import GatewayHost, Session, gateway_host, make_bus_resources, sessions, write_files
from benchmarks.gateway.workload import NAMESPACE, STRATEGIES, VENUE
from benchmarks.nats_server import PID_FILE, nats_server
from crowetrade_api.names import strategy_object, venue_object
from crowetrade_process.identity.files import FilesSource
from crowetrade_process.identity.holder import Identity
from crowetrade_process.identity.name import IdentityName
from crowetrade_process.identity.nats import connect_options
from crowetrade_process.identity.variables import IdentityVariable
from crowetrade_process_tests.identity.authority import (
    TRUST_DOMAIN,
    Authority,
    Issued,
    identity_name,
    write_identity,
)

SESSIONS = 10
ORDERS_PER_SECOND = 300
QUIET_SECONDS = 20
RENEWALS = 4
ANSWER_SECONDS = 10.0
GATEWAY = identity_name(venue_object(VENUE), NAMESPACE)
NATS = identity_name("nats", "crowetrade")


Issues = Mapping[IdentityName, Issued]
"""Certificates that wait until they are renewed."""


class Certificates:
    """Of the gateway, the bus and the strategies, by one authority at a time, and whom they trust."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.authority = Authority()
        self.trusted = [self.authority]

    def write(self, name: IdentityName, issued: Issued | None = None) -> Path:
        """Another certificate for the name; returns its directory."""
        issued = issued or self.authority.issue_to(name)
        return write_identity(self._folder / name.service_account, issued, *self.trusted)

    async def identity(self, name: IdentityName) -> Identity:
        """One that has its first certificate."""
        source = FilesSource(self.write(name), TRUST_DOMAIN, lambda: datetime.now(UTC))
        identity = Identity(source, TRUST_DOMAIN, nats_server_name=NATS.dns_name)
        await identity.start()
        return identity

    async def strategies(self) -> dict[str, Identity]:
        """Those that log on."""
        return {name: await self.identity(_of_strategy(name)) for name in STRATEGIES[:SESSIONS]}

    def environment(self) -> dict[str, str]:
        """Of the gateway's process."""
        return {
            IdentityVariable.SOURCE: "Files",
            IdentityVariable.DIRECTORY: str(self.write(GATEWAY)),
            IdentityVariable.NATS_SERVER_NAME: NATS.dns_name,
        }


def _of_strategy(name: str) -> IdentityName:
    return identity_name(strategy_object(name), NAMESPACE)


def identity(folder: Path) -> Iterator[Figure]:
    """All measurements, of a pair of gateways."""
    uvloop.install()
    places = {name: folder / name for name in ("tls", "plain")}
    for place in places.values():
        place.mkdir()
        write_files(place)
    certificates = Certificates(folder / "certificates")
    with ExitStack() as stack:
        tls_url = stack.enter_context(nats_server(places["tls"], tls=certificates.write(NATS)))
        plain_url = stack.enter_context(nats_server(places["plain"]))
        yield from asyncio.run(_measure(certificates, places, tls_url, plain_url))


async def _measure(certificates: Certificates, places: dict[str, Path], tls_url: str, plain_url: str) -> list[Figure]:
    administrator = await certificates.identity(identity_name("administrator", "people"))
    strategies = await certificates.strategies()
    for url, options in ((tls_url, connect_options(administrator)), (plain_url, {})):
        client = await nats.connect(url, **options)
        await make_bus_resources(client)
        await client.close()
    outside: dict[str, list[int]] = {"tls": [], "plain": []}
    with (
        gateway_host(places["tls"], tls_url, extra=certificates.environment()) as (tls_host, tls_noted),
        gateway_host(places["plain"], plain_url) as (plain_host, plain_noted),
    ):
        async with (
            sessions(tls_host, *strategies, identities=strategies, server_name=GATEWAY.dns_name) as tls,
            sessions(plain_host, *strategies) as plain,
        ):
            for number in range(WARM_UP + ORDERS):
                for way, opened in (("tls", tls), ("plain", plain)):
                    outside[way].append(await one_order(opened[number % SESSIONS]))
            renewal = await _renewals(certificates, strategies, tls)
            nats_pid = int((places["tls"] / PID_FILE).read_text())
            replacing = _replace_authority(certificates, strategies, tls_host, nats_pid)
            authority = await _authority_replaced(tls, replacing)
    inside = {
        way: [elapsed for _, elapsed in noted["orders"]][WARM_UP : WARM_UP + ORDERS]
        for way, noted in (("tls", tls_noted), ("plain", plain_noted))
    }
    return [
        durations("gateway.order_tls", "ms", inside["tls"]),
        durations("gateway.order_plain", "ms", inside["plain"]),
        durations("gateway.order_tls_outside", "ms", outside["tls"][WARM_UP:]),
        durations("gateway.order_plain_outside", "ms", outside["plain"][WARM_UP:]),
        *renewal,
        *authority,
    ]


async def _renewals(certificates: Certificates, strategies: dict[str, Identity], opened: list[Session]) -> list[Figure]:
    """gateway.renewal: from the client's write to the report PendingNew, at 300 orders a second, while the gateway and
    all strategies take over RENEWALS certificates each; gateway.renewal_quiet: the same without renewals, just before;
    gateway.renewal_lost: orders without an answer."""
    names = [GATEWAY, *(identity_.name for identity_ in strategies.values())]
    issued = [{name: certificates.authority.issue_to(name) for name in names} for _ in range(RENEWALS)]
    quiet, _ = await _orders(opened, asyncio.create_task(asyncio.sleep(QUIET_SECONDS)))
    taken, lost = await _orders(opened, asyncio.create_task(_renew(certificates, issued, strategies)))
    return [
        durations("gateway.renewal", "ms", taken, renewals=RENEWALS, orders_per_second=ORDERS_PER_SECOND),
        durations("gateway.renewal_quiet", "ms", quiet, orders_per_second=ORDERS_PER_SECOND),
        figure("gateway.renewal_lost", "orders", [len(lost)], of=len(taken), why=lost),
    ]


async def _renew(certificates: Certificates, issued: Sequence[Issues], strategies: dict[str, Identity]) -> None:
    """The gateway looks at its files by itself. The strategies of this process renew one after the other, as those of
    many processes do by chance."""
    for step in issued:
        certificates.write(GATEWAY, step[GATEWAY])
        for identity_ in strategies.values():
            certificates.write(identity_.name, step[identity_.name])
            await identity_.refresh()
            await asyncio.sleep((FilesSource.poll_seconds + 1) / SESSIONS)


async def _authority_replaced(opened: list[Session], replacing: Coroutine[None, None, None]) -> list[Figure]:
    """gateway.authority: as gateway.renewal, while the authority is replaced; gateway.authority_lost: orders without an
    answer."""
    taken, lost = await _orders(opened, asyncio.create_task(replacing))
    return [
        durations("gateway.authority", "ms", taken, orders_per_second=ORDERS_PER_SECOND),
        figure("gateway.authority_lost", "orders", [len(lost)], of=len(taken), why=lost),
    ]


async def _replace_authority(
    certificates: Certificates, strategies: dict[str, Identity], host: GatewayHost, nats_pid: int
) -> None:
    """As docs/identity.md says: both are trusted, then all certificates are of the new one, then it alone is trusted.
    Sessions that are open go on, and at each step somebody logs on that was not there."""
    old, new = certificates.authority, Authority()
    for number, (trusted, issuer) in enumerate((([old, new], old), ([old, new], new), ([new], new))):
        certificates.trusted, certificates.authority = trusted, issuer
        for name in (NATS, GATEWAY, *(identity_.name for identity_ in strategies.values())):
            certificates.write(name)
        os.kill(nats_pid, signal.SIGHUP)
        await asyncio.sleep(FilesSource.poll_seconds + 1)
        for identity_ in strategies.values():
            await identity_.refresh()
        newcomer = STRATEGIES[SESSIONS + number]
        itself = {newcomer: await certificates.identity(_of_strategy(newcomer))}
        async with sessions(host, newcomer, identities=itself, server_name=GATEWAY.dns_name) as (session,):
            await one_order(session)


async def _orders(opened: list[Session], until: asyncio.Task[None]) -> tuple[list[int], list[str]]:
    """What each order took, and why others have had no answer."""
    taken: list[int] = []
    lost: list[str] = []
    between = SESSIONS / ORDERS_PER_SECOND

    async def trade(session: Session, first: float) -> None:
        due = first
        while not until.done():
            await asyncio.sleep(max(due - time.monotonic(), 0))
            due += between
            try:
                taken.append(await asyncio.wait_for(one_order(session), ANSWER_SECONDS))
            except (TimeoutError, RuntimeError) as error:
                lost.append(str(error) or f"nothing within {ANSWER_SECONDS:g} s")
                return

    start = time.monotonic()
    await asyncio.gather(*(trade(session, start + place / ORDERS_PER_SECOND) for place, session in enumerate(opened)))
    await until
    return taken, lost
