"""An administrator's certificate stops a gateway directly, with the API server and the bus out of reach; without one
nobody does. Certificates of others are tried in agents/tests (runtime/test_gateway_identity.py)."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tools.demo import administrator, install

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace

pytestmark = pytest.mark.skipif(not install.identified(), reason="without identities anybody may stop a gateway")

CONTROL_PORT = 50052
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")
_NOBODY_THERE = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "away",
    "clusters": [{"name": "away", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [{"name": "away", "user": {"token": "none"}}],
    "contexts": [{"name": "away", "context": {"cluster": "away", "user": "away", "namespace": "default"}}],
}


@contextmanager
def _control(namespace: Namespace) -> Iterator[int]:
    """Port on this machine that leads to the gateway's control service."""
    kubectl = namespace.kubectl
    forward = ("port-forward", "-n", namespace.name, f"deployment/venue-{manifests.VENUE}", f":{CONTROL_PORT}")
    command = [*kubectl.command, *forward, "--address", "127.0.0.1"]
    environment = {**os.environ, **kubectl.environment}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = _FORWARDING.match(line)
            assert found is not None, f"kubectl port-forward to the gateway failed: {line!r}"
            yield int(found.group(1))
        finally:
            process.terminate()


def _kill(namespace: Namespace, port: int, away: Path, files: Path | None) -> subprocess.CompletedProcess[str]:
    certificate = ["--tls-directory", str(files)] if files is not None else []
    gateway = f"venue-{manifests.VENUE}.{namespace.name}.svc=127.0.0.1:{port}"
    order = ["kill", "--all", "-n", namespace.name, "--reason", "a drill", "--gateway", gateway, "--plain"]
    return subprocess.run(
        [
            str(Path(sys.executable).parent / "crowetrade"),
            *certificate,
            *order,
            "--kubeconfig",
            str(away),
            "--timeout",
            "20",
        ],
        env={**os.environ, "XDG_STATE_HOME": str(away.parent), "CROWETRADE_TLS_DIRECTORY": ""},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_an_administrator_stops_a_gateway_and_nobody_else_does(namespace: Namespace, tmp_path: Path) -> None:
    namespace.apply(manifests.risk_limit(), manifests.venue(), manifests.strategy("one"))
    namespace.until_trading("one")
    away = tmp_path / "kubeconfig"
    away.write_text(json.dumps(_NOBODY_THERE))
    with _control(namespace) as port:
        refused = _kill(namespace, port, away, None)
        assert refused.returncode != 0, refused.stdout
        namespace.until_trading("one")

        done = _kill(namespace, port, away, administrator.directory())
        assert done.returncode == 0, done.stdout + done.stderr
    namespace.until_condition("strategy", "one", "Trading", "False", "KillSwitchEngaged")
