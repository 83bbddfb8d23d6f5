"""With several addresses Vault Agent runs for one that answers, and moves on when that one does not any more.
Where there is a namespace, it asks in it."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from crowetrade_operator_tests.servers import Wire
from crowetrade_operator_tests.vault_server import Vault
from crowetrade_process_tests.identity.in_place_of_vault import listening
from tests.vault.conftest import Keyed
from tests.vault.keeping import keeping, log_on, says
from tests.vault.servers import until

pytestmark = pytest.mark.integration


async def test_a_vault_that_falls_away_is_left_for_another(keyed: Callable[..., Keyed], vault: Vault) -> None:
    first, second = Wire(vault.port), Wire(vault.port)
    for wire in (first, second):
        await wire.mend()
    it = keyed({"vault_address": ", ".join(f"https://127.0.0.1:{wire.port}" for wire in (first, second))})
    it.vault.put(it.path, **{"api-key": "one"})
    try:
        async with keeping(it, VAULT_CHECK_SECONDS="1") as keeper:
            await log_on(keeper)
            await first.cut()
            it.vault.put(it.path, **{"api-key": "two"})
            await until(lambda: keeper.status().version == "2", keeper.status)
            await first.mend()
            await second.cut()
            it.vault.put(it.path, **{"api-key": "three"})
            await until(lambda: keeper.status().version == "3", keeper.status)
            await first.cut()
            await says(keeper, "VaultUnreachable")
            assert keeper.status().in_use
    finally:
        for wire in (first, second):
            await wire.cut()


async def test_a_first_address_where_nobody_listens_is_passed_over(keyed: Callable[..., Keyed], vault: Vault) -> None:
    it = keyed({"vault_address": f"https://127.0.0.1:1,{vault.address}"})
    it.vault.put(it.path, **{"api-key": "one"})
    async with keeping(it) as keeper:
        await log_on(keeper)
        await says(keeper, "")


async def test_vault_agent_logs_in_and_reads_in_the_namespace(keyed: Callable[..., Keyed]) -> None:
    """Vault Enterprise alone has namespaces, so what is sent is looked at."""
    login, token = "/v1/auth/kubernetes/login", {"client_token": "t", "lease_duration": 600, "renewable": True}
    with listening() as said:
        said.at[login] = 200, json.dumps({"auth": token}).encode()
        it = keyed({"vault_address": f"http://127.0.0.1:{said.server_port}", "vault_ca": "", "vault_namespace": "team"})
        it.agent.start()

        def namespaces() -> dict[str, str | None]:
            return {path: headers.get("X-Vault-Namespace") for path, headers in said.asked}

        secret = f"/v1/secret/data/{it.path}"
        await until(lambda: namespaces().keys() >= {login, secret}, namespaces)
        it.agent.stop()
    assert (namespaces()[login], namespaces()[secret]) == ("team", "team")
