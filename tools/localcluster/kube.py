"""kubectl, as the administrator, through the forwarder."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from typing import Any

from tools.localcluster import paths, processes, wheels
from tools.localcluster.errors import ClusterError


def command(*arguments: str) -> list[str]:
    return [str(wheels.kubectl()), f"--kubeconfig={paths.admin_kubeconfig()}", *arguments]


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    return processes.run(command(*arguments), stdin=stdin)


def succeeds(*arguments: str) -> bool:
    try:
        kubectl(*arguments)
    except ClusterError:
        return False
    return True


def apply(*objects: Mapping[str, Any] | str) -> None:
    """Server-side: applying the same again changes nothing. A string is YAML as it is."""
    documents = [item if isinstance(item, str) else json.dumps(item) for item in objects]
    arguments = ("apply", "--server-side", "--force-conflicts", "--field-manager=localcluster", "-f", "-")
    kubectl(*arguments, stdin="\n---\n".join(documents))


def is_condition(kind: str, name: str, condition: str, namespace: str = "default") -> bool:
    path = f"{{.status.conditions[?(@.type=='{condition}')].status}}"
    try:
        return kubectl("get", kind, name, "-n", namespace, "-o", f"jsonpath={path}") == "True"
    except ClusterError:
        return False


def run_in_pod(namespace: str, pod: str, *arguments: str) -> int:
    """With the caller's standard input and output."""
    return subprocess.run(
        command("exec", "-i", "-n", namespace, pod, "--", *arguments), env=dict(os.environ), check=False
    ).returncode


def is_rolled_out(namespace: str, deployment: str) -> bool:
    """Every wanted pod is of the newest template and available."""
    try:
        found = json.loads(kubectl("get", "deployment", deployment, "-n", namespace, "-o", "json"))
    except ClusterError:
        return False
    wanted, status = found["spec"]["replicas"], found.get("status", {})
    seen = status.get("observedGeneration") == found["metadata"]["generation"]
    counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    return bool(seen and counts == {wanted})
