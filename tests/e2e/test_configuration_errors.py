"""What only the agents can know to be wrong becomes a condition in a sentence, and the corrected manifest trades."""

from __future__ import annotations

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace


def test_wrong_parameters_are_told_and_corrected(namespace: Namespace) -> None:
    wrong = {"name": "ema-crossover", "parameters": {"fast": 8, "slow": 3}}
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema", model=wrong))
    namespace.until_condition("strategy", "ema", "AgentsAvailable", "False", "ConfigurationError")
    status = namespace.status("strategy", "ema")
    available = next(entry for entry in status["conditions"] if entry["type"] == "AgentsAvailable")
    assert "fast (8) must be less than slow (3)" in available["message"]
    assert status["phase"] == "Degraded"

    namespace.patch("strategy", "ema", {"spec": {"model": {"parameters": {"fast": 3, "slow": 8}}}})
    namespace.until_trading("ema")
    namespace.until_filled("ema")
