"""`up` mends what died, also when two of them run at once, and pods trade and keep to their policies afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from tools.demo.clusters import ROOT, Cluster, LocalCluster
from tools.localcluster import controlplane, node, processes

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace

_TOOL = [sys.executable, "-m", "tools.localcluster"]
_UP_SECONDS = 120
_KILLED = (controlplane.FORWARDER, controlplane.API_SERVER, node.KUBELET, node.FELIX)


def _kill(name: str) -> None:
    found = processes.alive(name)
    assert found is not None, f"{name} does not run"
    assert processes.send(found, signal.SIGKILL)
    processes.wait_for(f"{name} to be dead", lambda: processes.alive(name) is None, seconds=10)


def _up() -> subprocess.Popen[str]:
    return subprocess.Popen([*_TOOL, "up"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


@pytest.mark.alone
def test_what_died_is_started_again_once(cluster: Cluster, namespace: Namespace) -> None:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("the cluster is not one of tools/localcluster")
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("before"))
    namespace.until_trading("before")
    for name in _KILLED:
        _kill(name)
    assert subprocess.run([*_TOOL, "status"], cwd=ROOT, capture_output=True, check=False).returncode == 1

    both = [_up(), _up()]
    for process in both:
        _, said = process.communicate(timeout=_UP_SECONDS)
        assert process.returncode == 0, said
    assert subprocess.run([*_TOOL, "status"], cwd=ROOT, capture_output=True, check=False).returncode == 0

    namespace.apply(manifests.strategy("after"))
    namespace.until_trading("before", "after")
    namespace.until_filled("after")
    namespace.until_filled("before", more_than=namespace.filled("before"))
