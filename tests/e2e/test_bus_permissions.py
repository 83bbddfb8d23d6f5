"""Who may do what on the bus, tried inside the pods themselves with the identity that each has: the table of
docs/security.md, row by row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from tools.bus_operations import BY_NKEY, NAMESPACE, OPERATIONS, STRATEGY, VENUE, Operation
from tools.demo import install
from tools.demo.kubernetes import Object

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace, of_strategy, of_venue, pod_name

pytestmark = pytest.mark.skipif(not install.identified(), reason="without identities anybody may do anything")

# In the pod: connects as the process of the pod does, tries each row and prints whether the server let it. A write that
# is allowed changes nothing: it expects a sequence that no stream has.
_TRY = """
import asyncio, contextlib, json, os, pathlib, sys
import nats
from crowetrade_process.identity.nats import connect_options
from crowetrade_process.identity.settings import identity_from_environment

HEADERS = {"Nats-Expected-Last-Subject-Sequence": "999999999"}
LAST = "nobody.may.publish.here"
KEYS = pathlib.Path("/var/run/crowetrade/authorizer/user.seed")

def is_refused(does, subject, texts):
    verb = "publish" if does == "publish" else "subscription"
    return any(f'permissions violation for {verb} to "{subject}"'.lower() in text.lower() for text in texts)

async def main(rows):
    identity = identity_from_environment(os.environ)
    await identity.start()
    refused = []

    async def failed(error):
        refused.append(str(error))

    options = {**connect_options(identity), "error_cb": failed, "allow_reconnect": False, "connect_timeout": 8}
    if "by nkey" in sys.argv:
        options["nkeys_seed_str"] = KEYS.read_text().strip()
    try:
        client = await nats.connect(os.environ["NATS_URL"], **options)
    except Exception as error:
        print(json.dumps({"name": identity.name.uri, "refused": str(error) or type(error).__name__}))
        return
    for does, subject in [*rows, ("publish", LAST)]:
        if does == "subscribe":
            await client.subscribe(subject)
        else:
            await client.publish(subject, b"", headers=HEADERS)
        await client.flush()
    # The server refuses in order: after this one there are no more.
    async with asyncio.timeout(20):
        while not is_refused("publish", LAST, refused):
            await asyncio.sleep(0.02)
    allowed = [not is_refused(does, subject, refused) for does, subject in rows]
    await client.close()
    print(json.dumps({"name": identity.name.uri, "allowed": allowed}))

asyncio.run(main(json.loads(sys.argv[1])))
"""


def _rows(role: str, namespace: str) -> list[Operation]:
    """Those of the role, about the namespace of the test."""
    # What a header makes is refused by a stream that this does not write to; test_operations.py tries it.
    mine = [row for row in OPERATIONS if row.role == role and not row.header]
    assert len(mine) >= 4, f"the table has {len(mine)} rows of {role}"
    return [replace(row, subject=row.subject.replace(NAMESPACE, namespace)) for row in mine]


def _tried(namespace: Namespace, pod: Object, rows: Sequence[Operation], container: str, *more: str) -> dict[str, Any]:
    wanted = json.dumps([(row.does.value, row.subject) for row in rows])
    metadata = pod["metadata"]
    command = ("exec", "-n", metadata["namespace"], metadata["name"], "-c", container, "--")
    output = namespace.kubectl(*command, "/opt/venv/bin/python", "-c", _TRY, wanted, *more)
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found


def _stranger(image: str, environment: Sequence[Object], volume: Object, mount: Object) -> Object:
    """A pod with the labels of an agent, so that the network lets it through, and an account that nobody knows."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    user = {"runAsNonRoot": True, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532}
    container = {
        "name": "python",
        "image": image,
        "command": ["sleep", "infinity"],
        "env": list(environment),
        "securityContext": security,
        "volumeMounts": [mount],
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "stranger", "labels": {"app.kubernetes.io/name": "crowetrade-agent"}},
        "spec": {
            "serviceAccountName": "default",
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {**user, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
            "volumes": [volume],
        },
    }


def test_every_pod_may_do_what_the_table_says(namespace: Namespace) -> None:
    namespace.apply(
        manifests.risk_limit(), manifests.venue(VENUE), manifests.venue("other"), manifests.strategy(STRATEGY, VENUE)
    )
    namespace.until_trading(STRATEGY)
    system = Namespace(install.NAMESPACE, namespace.cluster, namespace.kubectl)
    authorizer = (system.pods("app.kubernetes.io/name=crowetrade-authorizer")[0], "authorizer")
    pods = {
        "strategy": (namespace.pod(of_strategy(STRATEGY)), "agent"),
        "gateway": (namespace.pod(of_venue(VENUE)), "gateway"),
        "operator": (system.pods("app.kubernetes.io/name=crowetrade-operator")[0], "operator"),
        BY_NKEY: authorizer,
        "authorizer (audit)": authorizer,
        "risk auditor": (system.pod("app.kubernetes.io/name=crowetrade-risk-auditor"), "risk-auditor"),
        "nats": (system.pods("app.kubernetes.io/name=nats")[0], "identity"),
    }
    wrong = []
    for role, (pod, container) in pods.items():
        rows = _rows(role, namespace.name)
        tried = _tried(namespace, pod, rows, container, *(["by nkey"] if role == BY_NKEY else []))
        assert "allowed" in tried, f"{role} {pod_name(pod)}: {tried}"
        for row, allowed in zip(rows, tried["allowed"], strict=True):
            if allowed != row.allowed:
                wrong.append(f"{role} may{'' if allowed else ' not'} {row.what}: {row.does} {row.subject}")
    assert wrong == []

    agent = pods["strategy"][0]["spec"]
    container = agent["containers"][0]
    volume = next(item for item in agent["volumes"] if item["name"] == "identity")
    mount = next(item for item in container["volumeMounts"] if item["name"] == "identity")
    environment = [item for item in container["env"] if "value" in item]
    namespace.apply(_stranger(container["image"], environment, volume, mount))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/stranger", "-n", namespace.name, "--timeout=120s")
    tried = _tried(namespace, namespace.get("pod", "stranger"), _rows("strategy", namespace.name), "python")
    assert tried["name"] == f"spiffe://crowetrade.local/ns/{namespace.name}/sa/default"
    assert "authorization violation" in tried["refused"].lower(), tried
