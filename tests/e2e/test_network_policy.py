"""Who reaches whom: real packets, both ways, from inside strategies, gateways, our own processes and a pod of somebody
else. `operator/tests/crowetrade_operator_tests/test_packets.py` has every port and what is outside of a cluster."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tools.demo import install
from tools.demo.kubernetes import Object
from tools.demo.wait import wait_for

from tests.e2e import manifests
from tests.e2e.namespaces import PYTHON, Namespace, of_strategy, of_venue, pod_name

LISTENS = 8000
# A refusal is an answer: the packet has passed, and something has sent one back. Policies drop without a
# word, a lookup of a name as well.
_ANSWERS = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

def answers(target):
    try:
        socket.create_connection(target, timeout=8).close()
    except (TimeoutError, socket.gaierror):
        return False
    except OSError:
        pass
    return True

targets = {name: tuple(target) for name, target in json.loads(sys.argv[1]).items()}
with ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(dict(zip(targets, pool.map(answers, targets.values())))))
"""
DEFAULT_DENY: Object = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "crowetrade-default-deny"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]},
}
"""As the chart makes it in the namespaces that it is given."""

EVERYBODY = {"bus", "DNS"} | ({"Vault"} if install.identified() else set())
API_SERVER = {"API server", "API server's address"}
REACHED = {
    "strategy": EVERYBODY | {"own gateway"},
    "gateway": EVERYBODY | API_SERVER,
    "operator": EVERYBODY | API_SERVER | {"own gateway's control", "other gateway's control"},
    "risk auditor": EVERYBODY,
    # No policy selects it, so what it does not reach is closed by the other side.
    "bystander": {"DNS", "Vault", "metadata", "node"} | API_SERVER,
}


def _bystander(image: str) -> Object:
    """A pod that no NetworkPolicy selects, and that listens."""
    security = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    listens = {"command": [PYTHON, "-m", "http.server", str(LISTENS)], "securityContext": security}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "bystander"},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "python", "image": image, **listens}],
        },
    }


def _address(pod: Object) -> str:
    address: str = pod["status"]["podIP"]
    return address


def _targets(namespace: Namespace) -> dict[str, tuple[str, int]]:
    """Host and port by name; pods by their addresses, because a Service has only the ports that it is for."""
    kubectl, system = namespace.kubectl, install.NAMESPACE
    kubernetes = kubectl.get("service", "kubernetes", "default")
    dns = kubectl.get("service", "kube-dns", "kube-system")
    (endpoints,) = kubectl.list("endpointslices", "default", "kubernetes.io/service-name=kubernetes")
    assert kubernetes is not None
    assert dns is not None
    node = next(
        entry["address"] for entry in kubectl.list("nodes")[0]["status"]["addresses"] if entry["type"] == "InternalIP"
    )
    mine, theirs = (_address(namespace.pod(of_venue(name))) for name in ("mine", "theirs"))
    ema, other = (_address(namespace.pod(of_strategy(name))) for name in ("ema", "other"))
    auditor, nats = (
        _address(kubectl.list("pods", system, f"app.kubernetes.io/name={name}")[0])
        for name in ("crowetrade-risk-auditor", "nats")
    )
    return {
        "bus": (f"nats.{system}.svc", 4222),
        "bus's monitoring": (nats, 8222),
        "bus's metrics": (nats, 8080),
        "DNS": (dns["spec"]["clusterIP"], 53),
        "Vault": ("vault.vault.svc", 8200),
        "API server": (kubernetes["spec"]["clusterIP"], 443),
        "API server's address": (endpoints["endpoints"][0]["addresses"][0], endpoints["ports"][0]["port"]),
        "metadata": ("169.254.169.254", 80),
        "node": (node, 10250),
        "own gateway": (f"venue-mine.{namespace.name}.svc", 50051),
        "own gateway's control": (mine, 50052),
        "own gateway's metrics": (mine, 8080),
        "other gateway": (f"venue-theirs.{namespace.name}.svc", 50051),
        "other gateway's control": (theirs, 50052),
        "other gateway's metrics": (theirs, 8080),
        "strategy's metrics": (ema, 8080),
        "other strategy's metrics": (other, 8080),
        "operator's metrics": (f"crowetrade-operator.{system}.svc", 8080),
        "risk auditor's metrics": (auditor, 8080),
        "bystander": (_address(namespace.get("pod", "bystander")), LISTENS),
    }


def _reached(namespace: Namespace, source: str, targets: dict[str, tuple[str, int]]) -> set[str]:
    """Names of the targets that answer."""
    own = {"strategy": of_strategy("ema"), "other strategy": of_strategy("other"), "gateway": of_venue("mine")}
    if source in own:
        place, name = namespace.name, pod_name(namespace.pod(own[source]))
    elif source == "bystander":
        place, name = namespace.name, source
    else:
        place, name = install.NAMESPACE, f"deploy/crowetrade-{source.replace(' ', '-')}"
    command = ("exec", "-n", place, name, "--", PYTHON, "-c", _ANSWERS, json.dumps(targets))
    answers: dict[str, Any] = json.loads(namespace.kubectl(*command))
    return {target for target, answered in answers.items() if answered}


@pytest.fixture
def trading(namespace: Namespace) -> Namespace:
    """Two strategies on a venue each, and a bystander."""
    namespace.apply(
        manifests.risk_limit(),
        manifests.venue("mine"),
        manifests.venue("theirs"),
        manifests.strategy("ema", "mine"),
        manifests.strategy("other", "theirs"),
    )
    namespace.until_trading("ema", "other")
    image = namespace.pod(of_strategy("ema"))["spec"]["containers"][0]["image"]
    namespace.apply(_bystander(image))
    namespace.kubectl("wait", "--for=condition=Ready", "pod/bystander", "-n", namespace.name, "--timeout=120s")
    return namespace


def test_everybody_reaches_what_the_table_says_and_nothing_else(trading: Namespace) -> None:
    targets = _targets(trading)
    itself = {"operator": {"operator's metrics"}, "risk auditor": {"risk auditor's metrics"}}
    itself |= {"strategy": {"strategy's metrics"}, "bystander": {"bystander"}}
    itself |= {"gateway": {name for name in targets if name.startswith("own gateway")}}
    for source, expected in REACHED.items():
        others = {name: target for name, target in targets.items() if name not in itself[source]}
        assert _reached(trading, source, others) == expected, source
    # What nobody has reached is there: each answers to somebody whom a policy lets in.
    assert _reached(trading, "other strategy", {"other gateway": targets["other gateway"]}) == {"other gateway"}
    assert _reached(trading, "bystander", {"bystander": targets["bystander"]}) == {"bystander"}


def test_a_namespace_that_is_closed_lets_its_strategies_trade_and_a_bystander_nowhere(trading: Namespace) -> None:
    targets = _targets(trading)
    trading.apply(DEFAULT_DENY)

    def probe() -> str | None:
        reached = _reached(trading, "bystander", {name: targets[name] for name in ("Vault", "API server", "metadata")})
        return f"the bystander reaches {sorted(reached)}" if reached else None

    wait_for(probe, 120, "the policy to be in force")
    others = {name: target for name, target in targets.items() if not name.startswith("strategy")}
    assert _reached(trading, "strategy", others) == REACHED["strategy"]
    before = trading.filled("ema")
    trading.until_filled("ema", more_than=before)
