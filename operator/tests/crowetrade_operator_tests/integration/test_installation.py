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


IDENTITIES = {
    "plain http": ({"IDENTITY_SOURCE": "Vault", "VAULT_ADDR": ADDRESS}, ("IdentityUnencrypted", "PlainHttp"), ADDRESS),
    "none": ({}, ("IdentityDisabled", "NoIdentitySource"), "whoever reaches the bus may write limits"),
}


@pytest.fixture(params=IDENTITIES)
def case(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def settings(settings: Settings, case: str) -> Settings:
    return replace(settings, identity=IDENTITIES[case][0])


async def test_identities_that_protect_nobody_are_told_by_every_resource(desk: Desk, case: str) -> None:
    _, wanted, words = IDENTITIES[case]
    for resource, manifest in MADE:
        await desk.create(resource, manifest)
        name = manifest["metadata"]["name"]

        async def told(resource: ApiResource = resource, name: str = name) -> bool:
            conditions = (await desk.get(resource, name)).get("status", {}).get("conditions", [])
            return any(
                (item["type"], item["reason"]) == wanted and item["status"] == "True" and words in item["message"]
                for item in conditions
            )

        await until(f"{resource.kind} {name} to tell", told)
