"""Credentials that Vault makes with a lease: renewed while they can be, replaced before they end, and after a
revocation. The engine is Vault's for databases, the database a Redis."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from nats.aio.client import Client

from crowetrade_agents_tests.gateway.harness import session, status_when
from crowetrade_operator_tests.servers import program
from crowetrade_operator_tests.vault_server import DATABASE_PLUGIN, Vault
from tests.vault.conftest import Keyed
from tests.vault.gateway import flowing, gateway_file, trading
from tests.vault.keeping import keeping, log_on, says
from tests.vault.redis import DatabaseRole, Redis, enable
from tests.vault.servers import until

pytestmark = pytest.mark.integration
KEYS = {"apiKey": "username", "secret": "password"}
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def redis(vault: Vault, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """With Vault as the one that makes its users."""
    try:
        program("redis-server")
        program(DATABASE_PLUGIN)
    except RuntimeError as error:
        pytest.skip(f"a Redis and Vault's plugin for it are needed: {error}")
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    enable(vault, server)
    yield server
    server.stop()


@pytest.fixture
def role(vault: Vault, redis: Redis) -> DatabaseRole:
    """Leases that end soon, and may be renewed twice or so."""
    made = DatabaseRole(vault, f"venue-{next(_numbers)}", lease_seconds=4, maximum_seconds=12)
    made.write()
    return made


def leased(keyed: Callable[..., Keyed], role: DatabaseRole) -> Keyed:
    """A venue with credentials of that role."""
    return keyed(path=role.path, engine="Dynamic", keys=KEYS)


def hold(redis: Redis, keys: Mapping[str, str]) -> bool:
    """Whether the venue, here Redis, takes them."""
    return redis.lets_in(keys["apiKey"], keys["secret"])


async def test_credentials_are_renewed_and_then_replaced_before_they_end(
    keyed: Callable[..., Keyed], role: DatabaseRole, redis: Redis
) -> None:
    async with keeping(leased(keyed, role)) as keeper:
        await log_on(keeper)
        first = keeper.read()
        assert hold(redis, first)
        await until(lambda: any(lease["last_renewal"] for lease in role.leases()), role.leases)
        assert keeper.read() == first, "a lease that is renewed is of the same credentials"
        await until(lambda: keeper.read() != first, keeper.status)
        second = keeper.read()
        assert hold(redis, first), "the old ones are replaced before they end"
        assert hold(redis, second)
        await until(lambda: not hold(redis, first), role.leases)
        assert keeper.status().reason == ""


async def test_no_order_is_lost_when_leased_credentials_are_replaced(
    keyed: Callable[..., Keyed], role: DatabaseRole, bus: Client, tmp_path: Path
) -> None:
    it = leased(keyed, role)
    async with trading(bus, tmp_path, it, gateway_file(it)) as gateway, session(gateway) as (trader, _):
        began = await status_when(bus, lambda status: status.credentials.in_use)
        async with flowing(trader):
            now = await status_when(
                bus, lambda status: status.credentials.since_unix_ns > began.credentials.since_unix_ns
            )
        assert now.session_since_unix_ns == began.session_since_unix_ns, "the session did not break"
        assert now.credentials.reason == ""


async def test_after_a_revocation_other_credentials_come_at_the_next_renewal(
    keyed: Callable[..., Keyed], role: DatabaseRole, redis: Redis
) -> None:
    async with keeping(leased(keyed, role)) as keeper:
        await log_on(keeper)
        first = keeper.read()
        role.revoke()
        assert not hold(redis, first), "the venue does not take them any more"
        await until(lambda: keeper.read() != first, keeper.status, seconds=role.lease_seconds + 6)
        assert hold(redis, keeper.read())


NO_MORE: dict[
    str, tuple[Callable[[Keyed, DatabaseRole], object], Callable[[Keyed, DatabaseRole], object], str, tuple[str, ...]]
] = {
    "its policy is taken away": (
        lambda it, role: it.vault.allow(it.role, "secret/data/other"),
        lambda it, role: it.vault.allow(it.role, role.path),
        "VaultAccessDenied",
        ("permission denied", "policy with capability read on database/creds/venue-"),
    ),
    "the engine's role is deleted": (
        lambda it, role: role.delete(),
        lambda it, role: role.write(),
        "VaultSecretMissing",
        (
            "makes no credentials at database/creds/venue-",
            "unknown role",
            "correct the path, or make the engine's role",
        ),
    ),
}


@pytest.mark.parametrize("case", NO_MORE)
async def test_revoked_and_no_others_is_said_with_what_to_do(
    keyed: Callable[..., Keyed], role: DatabaseRole, redis: Redis, case: str
) -> None:
    breaks, mends, reason, words = NO_MORE[case]
    it = leased(keyed, role)
    async with keeping(it) as keeper:
        await log_on(keeper)
        first = keeper.read()
        breaks(it, role)
        role.revoke()
        try:
            await says(keeper, reason, *words)
            assert keeper.status().in_use, "the session that there is goes on for as long as the venue keeps it"
        finally:
            mends(it, role)
        await until(lambda: keeper.read() != first, keeper.status)
        await says(keeper, "")
        assert hold(redis, keeper.read())
