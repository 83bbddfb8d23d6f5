"""Vault is sealed, cut off, denies or has revoked while orders go on: the VenueConnection says what to do, no order is
lost, nothing is started again, and it is over as soon as Vault is repaired."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from nats.aio.client import Client

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents_tests.gateway.harness import session, status_when
from crowetrade_api.conditions import Condition, ConditionType, find
from crowetrade_api.v1alpha1.venueconnection import VenueConnectionStatus
from crowetrade_operator.decide.observed import Children, ObservedVenue
from crowetrade_operator.decide.venueconnection import plan
from crowetrade_operator.decide.venueconnection_status import report
from crowetrade_operator_tests.decide.scenes import NOW, fresh, namespace_view
from crowetrade_operator_tests.servers import Wire
from crowetrade_operator_tests.vault_server import Vault
from tests.vault.conftest import Keyed
from tests.vault.gateway import Flow, flowing, gateway_file, takes_both, trading
from tests.vault.servers import until

pytestmark = pytest.mark.integration
Act = Callable[[Keyed, Wire], Awaitable[None]]
PATIENCE_SECONDS = 90.0
"""Vault Agent asks again after growing pauses, of up to a minute."""


async def seal(it: Keyed, wire: Wire) -> None:
    await asyncio.to_thread(it.vault.seal)


async def unseal(it: Keyed, wire: Wire) -> None:
    await asyncio.to_thread(it.vault.unseal)


async def cut(it: Keyed, wire: Wire) -> None:
    await wire.cut()


async def mend(it: Keyed, wire: Wire) -> None:
    await wire.mend()


async def deny(it: Keyed, wire: Wire) -> None:
    await asyncio.to_thread(it.vault.allow, it.role, "secret/data/other")


async def allow(it: Keyed, wire: Wire) -> None:
    await asyncio.to_thread(it.vault.allow, it.role, f"secret/data/{it.path}")


async def revoke(it: Keyed, wire: Wire) -> None:
    """The role, and every token that was given for it."""
    await asyncio.to_thread(it.vault.run, "delete", f"auth/kubernetes/role/{it.role}")
    await asyncio.to_thread(it.vault.run, "token", "revoke", "-mode=path", "auth/kubernetes/login")


async def bind(it: Keyed, wire: Wire) -> None:
    await asyncio.to_thread(it.vault.bind, it.role, it.namespace, f"venue-{it.venue.name}")


@dataclass(frozen=True)
class Outage:
    """What happens to Vault, what is done about it, and what is said meanwhile."""

    breaks: Act
    mends: Act
    reason: str
    remedy: str


OUTAGES = {
    "sealed": Outage(seal, unseal, "VaultSealed", "is sealed: unseal it"),
    "unreachable": Outage(
        cut, mend, "VaultUnreachable", "cannot be reached: check that it runs, vault.address, and what is between"
    ),
    "denied": Outage(deny, allow, "VaultAccessDenied", "give the role a policy with capability read on secret/data/"),
    "revoked": Outage(revoke, bind, "VaultLoginRefused", "bind the role to the gateway's service account"),
}


@pytest.fixture
async def line(vault: Vault) -> AsyncIterator[Wire]:
    """To Vault."""
    wire = Wire(vault.port)
    await wire.mend()
    yield wire
    await wire.cut()


def conditions(it: Keyed, status: status_pb2.GatewayStatus) -> list[Condition]:
    """Of the VenueConnection, as the operator decides them when its gateway says this."""
    view = namespace_view([], venues=[it.venue], limits=[], gateways={it.venue.name: fresh(status)})
    observed = ObservedVenue(it.venue, view, Children([]), NOW)
    return report(observed, plan(observed, it.settings), it.settings, None, VenueConnectionStatus()).conditions


async def some_more(flow: Flow) -> None:
    """Waits for orders that are sent from now on."""
    before = flow.filled
    await until(lambda: flow.filled >= before + 10, lambda: (before, flow.filled, flow.others))


@pytest.mark.parametrize("case", OUTAGES)
async def test_orders_go_on_while_vault_is_away_and_the_venue_says_what_to_do(
    keyed: Callable[..., Keyed], bus: Client, tmp_path: Path, line: Wire, case: str
) -> None:
    outage = OUTAGES[case]
    old, new = secrets.token_hex(16), secrets.token_hex(16)
    it = keyed({"vault_address": f"https://127.0.0.1:{line.port}"})
    it.vault.put(it.path, **{"api-key": old})

    async def says(reason: str, version: str = "1") -> status_pb2.GatewayStatus:
        return await status_when(
            bus,
            lambda status: (status.credentials.reason, status.credentials.version) == (reason, version),
            PATIENCE_SECONDS,
        )

    async with (
        trading(bus, tmp_path, it, gateway_file(it, **takes_both(old, new))) as gateway,
        session(gateway) as (trader, _),
    ):
        began = await says("")
        assert find(conditions(it, began), ConditionType.CREDENTIALS_STALE) is None
        async with flowing(trader) as flow:
            await some_more(flow)
            await outage.breaks(it, line)
            try:
                meanwhile = await says(outage.reason)
                await some_more(flow)
            finally:
                await outage.mends(it, line)
            after = await says("")
            await some_more(flow)
            await asyncio.to_thread(it.vault.put, it.path, **{"api-key": new})
            rotated = await says("", "2")
            await some_more(flow)

        told = conditions(it, meanwhile)
        stale, ready = find(told, ConditionType.CREDENTIALS_STALE), find(told, ConditionType.CREDENTIALS_READY)
        assert stale is not None
        assert ready is not None
        assert (stale.status, stale.reason) == ("True", outage.reason)
        assert outage.remedy in stale.message
        assert "Until then the gateway trades with the keys that it has" in stale.message
        assert ready.status == "True"
        for status in (after, rotated):
            assert find(conditions(it, status), ConditionType.CREDENTIALS_STALE) is None
        for status in (meanwhile, after, rotated):
            assert status.session == status_pb2.SESSION_STATE_LOGGED_ON
            assert status.session_since_unix_ns == began.session_since_unix_ns, "the session did not break"
            assert status.fencing_token == began.fencing_token, "no other gateway took over"
        assert it.agent.runs, "nothing crash-loops"
        assert not gateway.task.done()
