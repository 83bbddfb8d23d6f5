"""The kinds behave in kubectl as people expect."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

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
    for column in ("MODE", "PHASE", "VENUES", "AGENTS", "POSITION", "PNL", "LAST SIGNAL", "REPORTED", "AGE"):
        assert column in strategies
    assert "1/1" in strategies
    venues = kubectl("get", "venue", "-n", name)
    for column in ("TYPE", "PHASE", "SESSION", "OPEN ORDERS", "LATENCY P99", "THROTTLED", "AGE"):
        assert column in venues
    risks = kubectl("get", "risk", "-n", name)
    for column in ("SCOPE", "ENFORCED", "UTILISATION", "AGE"):
        assert column in risks
    assert "1/1" in risks


def test_the_plugin_answers_shows_and_reads_logs(namespace: Namespace, kubectl: Kubectl, tmp_path: Path) -> None:
    """`kubectl crowetrade`, which kubectl finds as a plugin, against real pods."""
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("ema"))
    namespace.until_filled("ema")
    # A fill may be told before the pod counts as ready.
    namespace.until_trading("ema")
    name = namespace.name

    def plugin(*arguments: str) -> str:
        # kubectl takes no options before a plugin's name: the plugin reads the context itself.
        program, *options = kubectl.command
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        found = subprocess.run(
            [program, "crowetrade", *arguments, "-n", name, *options],
            env={**os.environ, **kubectl.environment, "PATH": path},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    (row,) = json.loads(plugin("top", "-o", "json"))
    assert (row["name"], row["phase"]) == ("ema", "Trading")
    assert row["filled"] > 0
    assert json.loads(plugin("describe", "ema", "-o", "json"))["trades"] is True
    events = [json.loads(line)["event"] for line in plugin("logs", "venue/sim", "--tail", "50").splitlines()]
    assert events
    assert plugin("logs", "ema", "--tail", "5").strip()
    plugin("suspend", "ema")
    kubectl("wait", "--for=jsonpath={.status.phase}=Suspended", "strategy/ema", "-n", name, "--timeout=60s", timeout=70)
    answer = json.loads(plugin("describe", "ema", "-o", "json"))
    assert [cause["next"] for cause in answer["causes"]] == [f"crowetrade resume strategy/ema -n {name}"]
    plugin("resume", "ema")
    file = tmp_path / "bundle.tar.gz"
    plugin("support-bundle", "--file", str(file))
    with tarfile.open(file) as archive:
        logs = [member for member in archive.getmembers() if member.name.endswith(".log") and member.size > 100]
    assert len(logs) >= 2, "of the gateway and the strategy"


def test_explain_tells_what_a_field_means(kubectl: Kubectl) -> None:
    for path in ("strategy.spec.policy.sizing", "venueconnection.spec.simulated.replay", "risklimit.spec.limits"):
        text = kubectl("explain", path)
        assert "DESCRIPTION" in text
        assert "<empty>" not in text
