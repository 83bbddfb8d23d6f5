"""With several addresses Vault Agent runs for one that answers, and moves on when that one does not any more."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from crowetrade_operator_tests.servers import Wire
from crowetrade_operator_tests.vault_server import Vault
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
