"""A strategy reaches the bus, the gateways of its venues, and Vault for its certificate; nothing else."""

from __future__ import annotations

import json

from tools.demo import install
from tools.demo.kubernetes import Object

from tests.e2e import manifests
from tests.e2e.namespaces import Namespace, of_strategy, pod_name

_CONNECT = """
import json, socket, sys
reached = {}
for name, (host, port) in json.loads(sys.argv[1]).items():
    try:
        socket.create_connection((host, port), timeout=2).close()
        reached[name] = True
    except OSError:
        reached[name] = False
print(json.dumps(reached))
"""


def _bystander(image: str) -> Object:
    """A pod that no NetworkPolicy selects."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bystander"},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [
                {"name": "python", "image": image, "command": ["sleep", "infinity"], "securityContext": security}
            ],
        },
    }


def test_a_strategy_reaches_the_bus_and_its_gateway_only(namespace: Namespace) -> None:
    namespace.apply(
        manifests.risk_limit(),
        manifests.venue("mine"),
        manifests.venue("theirs"),
        manifests.strategy("ema", "mine"),
        manifests.strategy("other", "theirs"),
    )
    namespace.until_trading("ema", "other")
    other = namespace.pod(of_strategy("other"))["status"]["podIP"]
    kubernetes = namespace.kubectl.get("service", "kubernetes", "default")
    endpoints = namespace.kubectl.list("endpointslices", "default", "kubernetes.io/service-name=kubernetes")
    assert kubernetes is not None
    targets = {
        "bus": (f"nats.{install.NAMESPACE}.svc", 4222),
        "own gateway": (f"venue-mine.{namespace.name}.svc", 50051),
        "other gateway": (f"venue-theirs.{namespace.name}.svc", 50051),
        "other strategy": (other, 8080),
        "operator": (f"crowetrade-operator.{install.NAMESPACE}.svc", 8080),
        "vault": ("vault.vault.svc", 8200),
        "API server": (kubernetes["spec"]["clusterIP"], 443),
        "API server's address": (endpoints[0]["endpoints"][0]["addresses"][0], endpoints[0]["ports"][0]["port"]),
    }
    agent = namespace.pod(of_strategy("ema"))
    reached = namespace.python(pod_name(agent), _CONNECT, json.dumps(targets))
    certificates = {"vault"} if install.identified() else set()
    assert {name for name, answer in reached.items() if answer} == {"bus", "own gateway"} | certificates
    # What nobody's ingress rule keeps closed is open to a pod without a policy: the targets were there to be reached.
    namespace.apply(_bystander(agent["spec"]["containers"][0]["image"]))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/bystander", "-n", namespace.name, "--timeout=120s")
    reached = namespace.python("bystander", _CONNECT, json.dumps(targets))
    open_to_all = {"operator", "vault", "API server", "API server's address"}
    assert {name for name, answer in reached.items() if answer} == open_to_all
    # The other gateway does answer, to its own strategy.
    theirs = {"other gateway": targets["other gateway"]}
    reached = namespace.python(pod_name(namespace.pod(of_strategy("other"))), _CONNECT, json.dumps(theirs))
    assert reached == {"other gateway": True}
