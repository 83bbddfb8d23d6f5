"""A strategy reaches the bus and the gateways of its venues, and nothing else."""

from __future__ import annotations

import json

from tools.demo import install

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
    reached = namespace.python(pod_name(namespace.pod(of_strategy("ema"))), _CONNECT, json.dumps(targets))
    assert {name for name, answer in reached.items() if answer} == {"bus", "own gateway"}
    # The other gateway does answer, to its own strategy.
    theirs = {"other gateway": targets["other gateway"]}
    reached = namespace.python(pod_name(namespace.pod(of_strategy("other"))), _CONNECT, json.dumps(theirs))
    assert reached == {"other gateway": True}
