"""What the schema of a Strategy calls built in is what the agents have."""

from __future__ import annotations

from crowetrade_agents.models.registry import BUILT_IN
from crowetrade_api.v1alpha1.strategy import BUILT_IN_MODELS


def test_the_schema_knows_the_models_of_the_agents() -> None:
    assert sorted(BUILT_IN) == sorted(BUILT_IN_MODELS)
