"""`crowetrade describe`, `top`, `suspend`, `resume`, `logs`, `support-bundle` and `completion` against a real API
server; logs of real pods are read by tests/e2e/test_kubectl.py."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from crowetrade_api_tests.samples import strategy_manifest, venue_manifest
from crowetrade_cli_tests.cluster import Cluster
from crowetrade_cli_tests.conftest import Run

pytestmark = pytest.mark.integration
CANARY = "c4n4ry-0f-7h3-k3y"
BIN = Path(sys.executable).parent


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def test_suspend_and_resume(cluster: Cluster, run: Run) -> None:
    cluster.apply(strategy_manifest("ema", cluster.namespace), venue_manifest("sim-fx", cluster.namespace))
    where = ("-n", cluster.namespace)
    done = run("suspend", "ema", "venue/sim-fx", *where)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        f"Strategy {cluster.namespace}/ema is suspended.",
        f"VenueConnection {cluster.namespace}/sim-fx is suspended.",
    ]
    assert cluster.get("strategy", "ema")["spec"]["suspend"] is True
    assert cluster.get("venueconnection", "sim-fx")["spec"]["suspend"] is True
    assert run("suspend", "ema", *where).out == f"Strategy {cluster.namespace}/ema is suspended already.\n"
    run("resume", "strategy/ema", *where)
    assert cluster.get("strategy", "ema")["spec"]["suspend"] is False


def test_nothing_is_written_when_a_name_is_wrong(cluster: Cluster, run: Run) -> None:
    cluster.apply(strategy_manifest("ema", cluster.namespace))
    refused = run("suspend", "ema", "risk/desk", "-n", cluster.namespace)
    assert (refused.code, "write strategy/NAME or venueconnection/NAME" in refused.err) == (2, True)
    assert cluster.get("strategy", "ema")["spec"]["suspend"] is False
    missing = run("suspend", "nobody", "-n", cluster.namespace)
    assert (missing.code, '"nobody" not found' in missing.err) == (1, True)


def test_describe(cluster: Cluster, run: Run) -> None:
    cluster.apply(strategy_manifest("ema", cluster.namespace), venue_manifest("sim-fx", cluster.namespace))
    why = {
        "type": "Trading",
        "status": "False",
        "reason": "VenueNotConnected",
        "message": "sim-fx is not connected",
        "lastTransitionTime": "2026-11-26T06:00:00Z",
    }
    told = {"observedGeneration": 1, "lastReportTime": _now()}
    cluster.write_status("strategy", "ema", {"phase": "Pending", "conditions": [why], **told})
    cluster.write_status("venueconnection", "sim-fx", {"phase": "Starting", **told})
    found = json.loads(run("describe", "ema", "-n", cluster.namespace, "-o", "json").out)
    assert (found["trades"], found["reason"]) == (False, "VenueNotConnected")
    assert [cause["what"] for cause in found["causes"]] == [f"VenueConnection {cluster.namespace}/sim-fx"]
    assert found["conditions"] == [why]
    text = run("describe", "ema", "-n", cluster.namespace).out
    assert "does not trade (Pending). VenueNotConnected: sim-fx is not connected" in " ".join(text.split())


def test_what_nobody_has_reported_lately_is_not_called_well(cluster: Cluster, run: Run) -> None:
    """No operator works here, and the status is of another day."""
    old, new = "2026-01-05T09:00:00Z", _now()
    cluster.apply(strategy_manifest("ema", cluster.namespace), venue_manifest("sim-fx", cluster.namespace))
    for reported, well in ((old, False), (new, True)):
        told = {"observedGeneration": 1, "lastReportTime": reported}
        cluster.write_status("strategy", "ema", {"phase": "Trading", **told})
        cluster.write_status("venueconnection", "sim-fx", {"phase": "Connected", **told})
        text = " ".join(run("describe", "ema", "-n", cluster.namespace).out.split())
        assert ("ema is well: Trading." in text) is well
        assert (f"ema may trade or not. NotReported: nobody has reported since {old}" in text) is not well
        fleet = run("status", "-n", cluster.namespace).out
        assert f"Strategies: {int(well)} of 1 trading." in fleet
        assert f"Venues: {int(well)} of 1 connected." in fleet
        shown = " ".join(run("top", "-n", cluster.namespace).out.split())
        assert ("Unknown" in shown) is not well


def test_status_shows_how_far_an_upgrade_is(cluster: Cluster, run: Run) -> None:
    cluster.apply(strategy_manifest("ema", cluster.namespace), venue_manifest("sim-fx", cluster.namespace))
    waits = {
        "type": "Reconciling",
        "status": "True",
        "reason": "WaitingForTurn",
        "message": "others restart",
        "lastTransitionTime": "2026-11-26T06:00:00Z",
    }
    told = {"phase": "Trading", "observedGeneration": 1, "lastReportTime": _now(), "conditions": [waits]}
    cluster.write_status("strategy", "ema", told)
    text = run("status", "-n", cluster.namespace).out
    assert "Gateways: 0 of 1 up to date, 1 not known." in text
    assert "Agents: 0 of 1 up to date, 1 waiting for a turn." in text
    found = json.loads(run("status", "-n", cluster.namespace, "-o", "json").out)
    assert (found["agents_update"]["waiting_for_turn"], found["gateways_update"]["unknown"]) == (1, 1)


def test_status_says_that_nobody_has_an_identity(cluster: Cluster, run: Run) -> None:
    cluster.apply(venue_manifest("sim-fx", cluster.namespace))
    disabled = {
        "type": "IdentityDisabled",
        "status": "True",
        "reason": "NoIdentitySource",
        "message": "identity.source is None",
        "lastTransitionTime": "2026-11-26T06:00:00Z",
    }
    for conditions, banner in (([disabled], True), ([{**disabled, "status": "False"}], False), ([], False)):
        told = {"phase": "Connected", "observedGeneration": 1, "lastReportTime": _now(), "conditions": conditions}
        cluster.write_status("venueconnection", "sim-fx", told)
        text = run("status", "-n", cluster.namespace).out
        assert text.startswith("NOT PROTECTED: identity.source is None") == banner, text


def test_top(cluster: Cluster, run: Run) -> None:
    for name, net in (("ema", "12.5"), ("pair", "-3")):
        cluster.apply(strategy_manifest(name, cluster.namespace))
        cluster.write_status("strategy", name, {"phase": "Trading", "pnl": {"currency": "USD", "net": net}})
    found = json.loads(run("top", "-n", cluster.namespace, "--sort", "pnl", "-o", "json").out)
    assert [(row["name"], row["net"]) for row in found] == [("pair", "-3"), ("ema", "12.5")]
    assert "12.5 USD" in run("top", "-n", cluster.namespace).out


def test_logs_of_nobody(cluster: Cluster, run: Run) -> None:
    cluster.apply(strategy_manifest("ema", cluster.namespace))
    ended = run("logs", "ema", "-n", cluster.namespace)
    assert (ended.code, "has no pod" in ended.err, "crowetrade describe strategy/ema" in ended.err) == (1, True, True)
    assert run("logs", "ema", "--role", "boss", "-n", cluster.namespace).code == 2


def test_a_support_bundle_has_what_helps_and_no_key(cluster: Cluster, run: Run, tmp_path: Path) -> None:
    labels = {"app.kubernetes.io/managed-by": "crowetrade-operator"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "venue-sim-fx", "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "serviceAccountName": "gateway",
            "nodeName": "nowhere",
            "initContainers": [{"name": "vault-agent", "image": "x", "restartPolicy": "Always"}],
            "containers": [{"name": "gateway", "image": "x", "env": [{"name": "API_KEY", "value": CANARY}]}],
        },
    }
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "k", "labels": labels},
        "stringData": {"k": CANARY},
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "gateway", "labels": labels}}
    annotated = venue_manifest("sim-fx", cluster.namespace)
    annotated["metadata"]["annotations"] = {"note": f"password={CANARY}"}
    cluster.apply(account, secret, pod, annotated, strategy_manifest("ema", cluster.namespace))
    # As a kubelet writes it: the agent has been restarted, the gateway has not.
    for key, name, restarts in (("initContainerStatuses", "vault-agent", 2), ("containerStatuses", "gateway", 0)):
        told = {"name": name, "image": "x", "imageID": "x", "ready": False, "restartCount": restarts}
        cluster.write_status("pod", "venue-sim-fx", {key: [told]})
    file = tmp_path / "bundle.tar.gz"
    done = run("support-bundle", "--file", file, "-n", cluster.namespace)
    assert done.code == 0
    with tarfile.open(file) as archive:
        texts = {
            member.name.removeprefix("crowetrade-support/"): content.read().decode()
            for member in archive.getmembers()
            if (content := archive.extractfile(member)) is not None
        }
    assert not [name for name, text in texts.items() if CANARY in text or CANARY.encode().hex() in text]
    assert "eurusd" in texts[f"resources/venueconnections/{cluster.namespace}/sim-fx.yaml"]
    assert "REDACTED" in texts[f"children/pod/{cluster.namespace}/venue-sim-fx.yaml"]
    assert "version.txt" in texts
    assert not [name for name in texts if "secret" in name]
    # No kubelet runs here: what could not be read is named, and the rest is there.
    pod_name = f"{cluster.namespace}/venue-sim-fx"
    asked = [line.partition(":")[0] for line in texts["missing.txt"].splitlines() if line.startswith("log of ")]
    assert asked == [
        f"log of {pod_name}/vault-agent",
        f"log of {pod_name}/vault-agent before its restart",
        f"log of {pod_name}/gateway",
    ]
    assert "not in it: log of" in done.err
    again = run("support-bundle", "--file", file, "-n", cluster.namespace)
    assert (again.code, "is there already" in again.err) == (2, True)


def test_a_support_bundle_of_somebody_without_rights_says_what_is_missing(
    cluster: Cluster, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "bundle.tar.gz"
    done = run("support-bundle", "--file", file, "-n", cluster.namespace, "--kubeconfig", cluster.server.powerless)
    assert done.code == 0
    assert 'not in it: strategies: strategies.trading.crowetrade.io is forbidden: User "powerless"' in done.err


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_for_a_shell(shell: str) -> None:
    script = subprocess.run(
        [BIN / "crowetrade", "completion", shell], capture_output=True, text=True, check=True
    ).stdout
    assert "_CROWETRADE_COMPLETE=complete_" + shell in script


def test_bash_completes_commands() -> None:
    asked = f"""PATH={BIN}:$PATH; source <(crowetrade completion bash)
COMP_WORDS=(crowetrade susp); COMP_CWORD=1; _crowetrade_completion crowetrade; echo "${{COMPREPLY[@]}}" """
    found = subprocess.run(["bash", "-c", asked], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["suspend"]


def test_kubectl_completes_commands() -> None:
    command = [str(BIN / "kubectl_complete-crowetrade"), "re"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert (sorted(found[:-1]), found[-1]) == (["rearm", "resume"], ":4")
