"""How soon a NetworkPolicy is in force for a pod that runs: on the cluster of the demo, by packets between two pods.

From the moment in which the API server is asked for it until a pod's packets are dropped, or pass again. The pod tries
a connection every few milliseconds, and says by the host's clock, which pods share, when the first one was begun that
did not pass, and when the first one had passed. It is the cluster's network that is measured, not ours: Kubernetes
itself says nothing of when a policy is in force.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from tests.e2e.namespaces import PYTHON, Namespace, idle_pod, manifest
from tools.demo import install
from tools.demo.kubernetes import Kubectl

from benchmarks.figures import Figure, NotMeasurable, figure
from crowetrade_api.names import NAME_LABEL
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.resources import NETWORK_POLICIES

ROUNDS = 30
LIMIT_SECONDS = 30.0
CLOSED = "closed"
# A refusal is an answer: nobody listens, and the packet has passed.
_TRIES = """
import json, socket, sys, time
before = None
while True:
    began = time.time()
    try:
        socket.create_connection((sys.argv[1], 9), 0.05).close()
        passes = True
    except ConnectionRefusedError:
        passes = True
    except OSError:
        passes = False
    if passes != before:
        print(json.dumps([passes, time.time() if passes else began]), flush=True)
    before = passes
    time.sleep(0.002)
"""


def policies() -> Iterator[Figure]:
    """All measurements. Raises NotMeasurable without a kubeconfig of the demo's cluster."""
    cluster = install.install().cluster
    kubectl = cluster.kubectl()
    kubeconfig = kubectl.environment.get("KUBECONFIG") or os.environ.get("KUBECONFIG", "")
    if not kubeconfig:
        raise NotMeasurable("set KUBECONFIG to the file with the cluster's context")
    namespace = f"bench-{secrets.token_hex(4)}"
    kubectl.apply([manifest(namespace)])
    try:
        place = Namespace(namespace, cluster, kubectl)
        place.apply(*(idle_pod(place, name, {NAME_LABEL: name}) for name in ("asks", "target")))
        kubectl("wait", "--for=condition=Ready", "pod/asks", "pod/target", "-n", namespace, "--timeout=110s")
        yield from asyncio.run(_measure(kubectl, kubeconfig, namespace))
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


async def _measure(kubectl: Kubectl, kubeconfig: str, namespace: str) -> list[Figure]:
    target = (kubectl.get("pod", "target", namespace) or {})["status"]["podIP"]
    policy = {
        "apiVersion": NETWORK_POLICIES.api_version,
        "kind": NETWORK_POLICIES.kind,
        "metadata": {"name": CLOSED, "namespace": namespace},
        "spec": {
            "podSelector": {"matchLabels": {NAME_LABEL: "asks"}},
            "policyTypes": ["Egress"],
            "egress": [],
        },
    }
    closed, opened = [], []
    cluster: Cluster = await connect(kubeconfig)
    try:
        async with _tries(kubectl, namespace, target) as tries:
            await _until(tries, passes=True)
            for _ in range(ROUNDS):
                began = time.time()
                await cluster.create(NETWORK_POLICIES, namespace, policy)
                closed.append((await _until(tries, passes=False) - began) * 1000)
                began = time.time()
                await cluster.delete(NETWORK_POLICIES, namespace, CLOSED)
                opened.append((await _until(tries, passes=True) - began) * 1000)
    finally:
        await cluster.close()
    return [figure("network.policy_closed", "ms", closed), figure("network.policy_opened", "ms", opened)]


@asynccontextmanager
async def _tries(kubectl: Kubectl, namespace: str, target: str) -> AsyncIterator[asyncio.StreamReader]:
    """What the pod says: a line whenever that has changed whether packets pass."""
    command = (*kubectl.command, "exec", "-n", namespace, "asks", "--", PYTHON, "-c", _TRIES, target)
    environment = {**os.environ, **kubectl.environment}
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        process.terminate()
        await process.wait()


async def _until(tries: asyncio.StreamReader, *, passes: bool) -> float:
    """Unix time since when it is so."""
    async with asyncio.timeout(LIMIT_SECONDS):
        while line := await tries.readline():
            found, at = json.loads(line)
            if found is passes:
                return float(at)
    raise NotMeasurable("kubectl exec has ended: look at the pods of the cluster")
