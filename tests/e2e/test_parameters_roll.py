"""New parameters roll the agents: at once with Immediate, not before the strategy is flat with WhenFlat."""

from __future__ import annotations

import pytest

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace, of_strategy, pod_name

_SLOWER = {"spec": {"model": {"parameters": {"fast": 4, "slow": 9}}}}


def _agents(update_policy: str) -> dict[str, str]:
    return {"topology": "Combined", "updatePolicy": update_policy}


def _until_rolled(namespace: Namespace, old_pod: str, old_hash: str) -> None:
    def probe() -> str | None:
        names = [pod_name(pod) for pod in namespace.pods(of_strategy("ema"))]
        if old_pod in names or not names:
            return f"pods: {names}"
        seen = namespace.status("strategy", "ema").get("configHash", "")
        return None if seen not in ("", old_hash) else f"configHash is still {seen!r}"

    namespace.until(probe, "the new parameters to run")


def test_immediate_rolls_with_an_open_position(namespace: Namespace) -> None:
    strategy = manifests.strategy("ema", agents=_agents("Immediate"))
    namespace.apply(manifests.risk_limit(), manifests.venue(), strategy)
    namespace.until_trading("ema")
    namespace.until_filled("ema")
    old_pod, old_hash = pod_name(namespace.pod(of_strategy("ema"))), namespace.status("strategy", "ema")["configHash"]
    namespace.patch("strategy", "ema", _SLOWER)
    _until_rolled(namespace, old_pod, old_hash)
    namespace.until_trading("ema")
    namespace.until_filled("ema", more_than=namespace.filled("ema"))


@pytest.mark.parametrize("until", ["it is flat", "it is Immediate"])
def test_when_flat_waits_for_the_position(namespace: Namespace, until: str) -> None:
    strategy = manifests.strategy("ema", agents=_agents("WhenFlat"))
    namespace.apply(manifests.risk_limit(), manifests.venue(), strategy)
    namespace.until_trading("ema")
    namespace.until_filled("ema")
    old_pod, old_hash = pod_name(namespace.pod(of_strategy("ema"))), namespace.status("strategy", "ema")["configHash"]
    # Suspended: the position stays as it is, so it is certainly not flat.
    namespace.patch("strategy", "ema", {"spec": {"suspend": True}})
    namespace.until_condition("strategy", "ema", "Trading", "False", "Suspended")
    assert namespace.status("strategy", "ema")["position"][0]["quantity"] != "0"
    namespace.patch("strategy", "ema", _SLOWER)

    def waiting() -> str | None:
        conditions = namespace.status("strategy", "ema").get("conditions", [])
        reason = next((c["reason"] for c in conditions if c["type"] == "Reconciling"), None)
        return None if reason == "WaitingForFlat" else f"Reconciling: {reason}"

    namespace.until(waiting, "the strategy to say that it waits to be flat")
    assert pod_name(namespace.pod(of_strategy("ema"))) == old_pod
    if until == "it is flat":
        namespace.apply(manifests.kill_switch(mode="Flatten"))
    else:
        namespace.patch("strategy", "ema", {"spec": {"agents": {"updatePolicy": "Immediate"}}})
    _until_rolled(namespace, old_pod, old_hash)
    held = [entry["quantity"] for entry in namespace.status("strategy", "ema").get("position", [])]
    assert (set(held) <= {"0"}) is (until == "it is flat")
