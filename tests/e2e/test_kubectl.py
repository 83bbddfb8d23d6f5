"""The kinds behave in kubectl as people expect."""

from __future__ import annotations

from tools.demo.kubernetes import Kubectl

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace


def test_get_and_wait(namespace: Namespace) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema"))
    kubectl, name = namespace.kubectl, namespace.name
    for resource in ("strategy/ema", "venueconnection/sim", "risklimit/desk"):
        kubectl("wait", "--for=condition=Ready", resource, "-n", name, "--timeout=180s", timeout=200)
    listed = kubectl("get", "crowetrade", "-n", name, "-o", "name").split()
    assert sorted(listed) == [
        "risklimit.trading.crowetrade.io/desk",
        "strategy.trading.crowetrade.io/ema",
        "venueconnection.trading.crowetrade.io/sim",
    ]
    namespace.until_filled("ema")
    strategies = kubectl("get", "strat", "-n", name)
    for column in ("MODE", "PHASE", "VENUES", "AGENTS", "POSITION", "PNL", "LAST SIGNAL", "AGE"):
        assert column in strategies
    assert "1/1" in strategies
    venues = kubectl("get", "venue", "-n", name)
    for column in ("TYPE", "PHASE", "SESSION", "OPEN ORDERS", "LATENCY P99", "THROTTLED", "AGE"):
        assert column in venues
    risks = kubectl("get", "risk", "-n", name)
    for column in ("SCOPE", "ENFORCED", "UTILISATION", "AGE"):
        assert column in risks
    assert "1/1" in risks


def test_explain_tells_what_a_field_means(kubectl: Kubectl) -> None:
    for path in ("strategy.spec.policy.sizing", "venueconnection.spec.simulated.replay", "risklimit.spec.limits"):
        text = kubectl("explain", path)
        assert "DESCRIPTION" in text
        assert "<empty>" not in text
