"""What is wrong with the installation is told by every resource, whatever its kind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from crowetrade_operator.cluster.resources import KILL_SWITCHES, RISK_LIMITS, STRATEGIES, VENUES, ApiResource
from crowetrade_operator.settings import Settings
from crowetrade_operator_tests.integration.desk import Desk
from crowetrade_operator_tests.samples import kill_manifest, limit_manifest, strategy_manifest, venue_manifest
from crowetrade_operator_tests.waiting import until

pytestmark = pytest.mark.integration
ADDRESS = "http://vault.vault.svc:8200"
MADE = (
    (VENUES, venue_manifest()),
    (STRATEGIES, strategy_manifest()),
    (RISK_LIMITS, limit_manifest()),
    (KILL_SWITCHES, kill_manifest()),
)


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Of an operator whose identities come from Vault over plain http."""
    return replace(settings, identity={"IDENTITY_SOURCE": "Vault", "VAULT_ADDR": ADDRESS})


async def test_identities_that_come_over_plain_http_are_told_by_every_resource(desk: Desk) -> None:
    for resource, manifest in MADE:
        await desk.create(resource, manifest)
        name = manifest["metadata"]["name"]

        async def told(resource: ApiResource = resource, name: str = name) -> bool:
            conditions = (await desk.get(resource, name)).get("status", {}).get("conditions", [])
            return any(
                (item["type"], item["reason"]) == ("IdentityUnencrypted", "PlainHttp") and ADDRESS in item["message"]
                for item in conditions
            )

        await until(f"{resource.kind} {name} to tell", told)
