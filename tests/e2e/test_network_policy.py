"""Who reaches whom: real packets, both ways, from inside strategies, gateways, our own processes and pods of others.
`operator/tests/crowetrade_operator_tests/test_packets.py` has every port, and IPv6."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import pytest
from tools.demo import install
from tools.demo.kubernetes import Kubectl, Object
from tools.demo.wait import wait_for

from crowetrade_api.names import AGENT_APP, CONTROL_LABEL, NAME_LABEL, NAMESPACE_NAME_LABEL, STRATEGY_LABEL
from crowetrade_operator_tests.charts import of_kind, rendered
from crowetrade_operator_tests.packets import policies_of
from crowetrade_operator_tests.samples import strategy, venue
from tests.e2e import manifests
from tests.e2e.namespaces import PYTHON, Namespace, idle_pod, manifest, of_strategy, of_venue, pod_name

# A refusal is an answer: the packet has passed, and something has sent one back. Policies drop without a
# word, a lookup of a name as well.
_ANSWERS = """
import json, socket, sys
from concurrent.futures import ThreadPoolExecutor

SECONDS = 8
IP_RECVERR = 11  # tells of unreachable hosts by UDP, too; Python has no name for it
NAME_SERVERS_OF_THE_ROOT = bytes.fromhex("0001 0100 0001 0000 0000 0000 00 0002 0001")

def by_udp(target):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(1)
        asking.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        asking.connect(target)
        for _ in range(SECONDS):
            asking.send(NAME_SERVERS_OF_THE_ROOT)
            try:
                return asking.recv(512)
            except TimeoutError:
                pass
    raise TimeoutError

def answers(target):
    host, port, protocol = target
    try:
        if protocol == "UDP":
            by_udp((host, port))
        else:
            socket.create_connection((host, port), timeout=SECONDS).close()
    except (TimeoutError, socket.gaierror):
        return False
    except OSError:
        pass
    return True

targets = json.loads(sys.argv[1])
with ThreadPoolExecutor(len(targets)) as pool:
    print(json.dumps(dict(zip(targets, pool.map(answers, targets.values())))))
"""
INTERNET = "203.0.113.5"
"""Kept for documentation: nobody is there, and the node says so of a packet that passes."""
CONTROLS = {"gateway's control", "other gateway's control"}
METRICS = {
    f"{name}'s metrics"
    for name in ("strategy", "other strategy", "guest", "gateway", "other gateway", "operator", "risk auditor")
}
EVERYBODY = {"bus", "DNS", "DNS by UDP"}
API_SERVER = {"API server", "API server's address", "internet by the API server's port"}
"""Until the values say where the API server is it may be anywhere but where clouds keep a machine's credentials."""
WEBHOOK = "operator's webhook"
"""The API server asks there: open to whatever no policy selects, until the values say where the API server is."""
OUTSIDE = {"metadata", "metadata by the API server's port", "node", "internet", "name server of the internet"}
IDENTIFIED: dict[str, set[str]] = {}
if install.identified():
    METRICS |= {"authorizer's metrics", "bus's metrics"}
    EVERYBODY |= {"Vault"}
    IDENTIFIED = {"authorizer": EVERYBODY | API_SERVER, "bus": EVERYBODY - {"bus"}}
# What no policy selects reaches all that is not closed by the other side.
OPEN = {"DNS", "DNS by UDP", "Vault", "bystander", WEBHOOK} | API_SERVER | OUTSIDE
REACHED = {
    "strategy": EVERYBODY | {"gateway"},
    "other strategy": EVERYBODY | {"other gateway"},
    "guest": EVERYBODY | {"gateway"},
    "gateway": EVERYBODY | API_SERVER,
    "other gateway": EVERYBODY | API_SERVER,
    "operator": EVERYBODY | API_SERVER | CONTROLS,
    "risk auditor": EVERYBODY,
    **IDENTIFIED,
    "bystander": OPEN - {"bystander"},
    "administrator": OPEN | CONTROLS,
    # To the bus it is a strategy, and what it may do there is up to its certificate.
    "uninvited strategy": OPEN | {"bus"},
    "pod beside the operator": OPEN | METRICS | CONTROLS,
    "monitoring": OPEN | METRICS,
}


class Target(NamedTuple):
    """Where packets are sent to."""

    host: str
    port: int
    protocol: str = "TCP"


@pytest.fixture
def beside(namespace: Namespace, kubectl: Kubectl, deleted: list[str]) -> Iterator[Callable[..., Namespace]]:
    """Makes further namespaces of the test, with labels of their own."""
    made: list[str] = []

    def make(name: str, labelled: Mapping[str, str] | None = None) -> Namespace:
        wanted = manifest(f"{namespace.name}-{name}")
        wanted["metadata"]["labels"].update(labelled or {})
        kubectl.apply([wanted])
        made.append(wanted["metadata"]["name"])
        return Namespace(made[-1], namespace.cluster, kubectl)

    yield make
    for name in made:
        kubectl("delete", "namespace", name, "--wait=false")
        deleted.append(name)


@dataclass(frozen=True)
class Places:
    """Namespaces of one test, and in them and beside the operator the pods of others."""

    desk: Namespace
    guests: Namespace
    others: Mapping[str, Object]


@pytest.fixture
def places(namespace: Namespace, kubectl: Kubectl, beside: Callable[..., Namespace]) -> Iterator[Places]:
    """Two strategies on a venue each, one of another namespace at the first of these, and others."""
    guests, monitoring = beside("guests"), beside("monitoring", install.MONITORING_LABELS)
    system = Namespace(install.NAMESPACE, namespace.cluster, kubectl)
    others = {
        "bystander": idle_pod(namespace, "bystander", {}),
        "administrator": idle_pod(guests, "administrator", {CONTROL_LABEL: "true"}),
        "uninvited strategy": idle_pod(guests, "uninvited", {NAME_LABEL: AGENT_APP, STRATEGY_LABEL: "uninvited"}),
        "pod beside the operator": idle_pod(system, f"idle-{namespace.name}", {}),
        "monitoring": idle_pod(monitoring, "prometheus", {}),
    }
    named = {"key": NAMESPACE_NAME_LABEL, "operator": "In", "values": [namespace.name, guests.name]}
    admitted = {"from": "Selector", "selector": {"matchExpressions": [named]}}
    guest = manifests.strategy("guest", "mine")
    guest["spec"]["instruments"][0]["venueRef"]["namespace"] = namespace.name
    try:
        kubectl.apply(others.values())
        namespace.apply(
            manifests.risk_limit(),
            manifests.venue("mine", allowedStrategies={"namespaces": admitted}),
            manifests.venue("theirs"),
            manifests.strategy("ema", "mine"),
            manifests.strategy("other", "theirs"),
        )
        guests.apply(guest)
        namespace.until_trading("ema", "other")
        guests.until_trading("guest")
        yield Places(namespace, guests, _running(kubectl, others))
    finally:
        system.delete("pod", pod_name(others["pod beside the operator"]), "--ignore-not-found")


def _running(kubectl: Kubectl, pods: Mapping[str, Object]) -> dict[str, Object]:
    """The pods, once they run."""

    def running(pod: Object) -> Object:
        name, namespace = pod_name(pod), pod["metadata"]["namespace"]
        kubectl("wait", "--for=condition=Ready", f"pod/{name}", "-n", namespace, "--timeout=110s")
        found = kubectl.get("pod", name, namespace)
        assert found is not None
        return found

    with ThreadPoolExecutor(4) as pool:
        return dict(zip(pods, pool.map(running, pods.values()), strict=True))


def _pods(places: Places) -> dict[str, Object]:
    """Each pod from which packets are sent."""
    desk = {
        "strategy": of_strategy("ema"),
        "other strategy": of_strategy("other"),
        "gateway": of_venue("mine"),
        "other gateway": of_venue("theirs"),
    }
    system = {"operator": "crowetrade-operator", "risk auditor": "crowetrade-risk-auditor"}
    if install.identified():
        system |= {"authorizer": "crowetrade-authorizer", "bus": "nats"}
    return {
        **{name: places.desk.pod(selector) for name, selector in desk.items()},
        "guest": places.guests.pod(of_strategy("guest")),
        **{
            name: places.desk.kubectl.list("pods", install.NAMESPACE, f"{NAME_LABEL}={app}")[0]
            for name, app in system.items()
        },
        **places.others,
    }


def _address(pod: Object) -> str:
    address: str = pod["status"]["podIP"]
    return address


def _node(kubectl: Kubectl) -> str:
    addresses = kubectl.list("nodes")[0]["status"]["addresses"]
    address: str = next(entry["address"] for entry in addresses if entry["type"] == "InternalIP")
    return address


def _name_server(kubectl: Kubectl) -> str:
    dns = kubectl.get("service", "kube-dns", "kube-system")
    assert dns is not None
    address: str = dns["spec"]["clusterIP"]
    return address


def _targets(places: Places, pods: Mapping[str, Object]) -> dict[str, Target]:
    """By name; pods by their addresses, because a Service has only the ports that it is for."""
    kubectl, desk, system = places.desk.kubectl, places.desk.name, install.NAMESPACE
    kubernetes = kubectl.get("service", "kubernetes", "default")
    (endpoints,) = kubectl.list("endpointslices", "default", "kubernetes.io/service-name=kubernetes")
    assert kubernetes is not None
    at = {name: _address(pod) for name, pod in pods.items()}
    (bus,) = {_address(pod) for pod in kubectl.list("pods", system, f"{NAME_LABEL}=nats")}
    return {
        "bus": Target(f"nats.{system}.svc", 4222),
        "bus's other servers": Target(bus, 6222),
        "bus's monitoring": Target(bus, 8222),
        "DNS": Target(_name_server(kubectl), 53),
        "DNS by UDP": Target(_name_server(kubectl), 53, "UDP"),
        "Vault": Target("vault.vault.svc", 8200),
        "API server": Target(kubernetes["spec"]["clusterIP"], 443),
        "API server's address": Target(endpoints["endpoints"][0]["addresses"][0], endpoints["ports"][0]["port"]),
        "metadata": Target("169.254.169.254", 80),
        "metadata by the API server's port": Target("169.254.169.254", 443),
        "node": Target(_node(kubectl), 10250),
        "internet": Target(INTERNET, 80),
        "internet by the API server's port": Target(INTERNET, 443),
        "name server of the internet": Target(INTERNET, 53, "UDP"),
        "gateway": Target(f"venue-mine.{desk}.svc", 50051),
        "other gateway": Target(f"venue-theirs.{desk}.svc", 50051),
        "bystander": Target(at["bystander"], 8000),
        WEBHOOK: Target(at["operator"], 8443),
        **{name: Target(at[name.removesuffix("'s control")], 50052) for name in CONTROLS},
        **{name: Target(at[name.removesuffix("'s metrics")], 8080) for name in METRICS},
    }


def _reached(kubectl: Kubectl, pods: Mapping[str, Object], targets: Mapping[str, Target]) -> dict[str, set[str]]:
    """By the name of a pod the names of the targets that answer it, except for its own."""
    with ThreadPoolExecutor(len(pods)) as pool:
        found = pool.map(lambda name: _answers_to(kubectl, name, pods[name], targets), pods)
        return dict(zip(pods, found, strict=True))


def _answers_to(kubectl: Kubectl, name: str, pod: Object, targets: Mapping[str, Target]) -> set[str]:
    others = {target: where for target, where in targets.items() if not f"{target}'s".startswith(f"{name}'s")}
    # What serves the bus is no Python.
    container = ("-c", "identity") if name == "bus" else ()
    place = ("exec", "-n", pod["metadata"]["namespace"], pod_name(pod), *container)
    answers: dict[str, bool] = json.loads(kubectl(*place, "--", PYTHON, "-c", _ANSWERS, json.dumps(others)))
    return {target for target, answered in answers.items() if answered}


def _wrong(found: Mapping[str, set[str]], expected: Mapping[str, set[str]]) -> list[str]:
    """Where a table is not as it should be."""
    assert found.keys() == expected.keys()
    return [
        f"{name} reaches {sorted(reached - expected[name])}, and not {sorted(expected[name] - reached)}"
        for name, reached in found.items()
        if reached != expected[name]
    ]


def test_everybody_reaches_what_the_table_says_and_nothing_else(places: Places) -> None:
    pods = _pods(places)
    targets = _targets(places, pods)
    assert not _wrong(_reached(places.desk.kubectl, pods, targets), REACHED)
    # What is left has been reached by nobody, as it should be.
    never = targets.keys() - set().union(*REACHED.values())
    assert never == {"bus's other servers", "bus's monitoring"}


def test_a_namespace_that_is_closed_lets_its_strategies_trade_and_a_bystander_nowhere(namespace: Namespace) -> None:
    kubectl = namespace.kubectl
    bystander = idle_pod(namespace, "bystander", {})
    namespace.apply(bystander, manifests.risk_limit(), manifests.venue(), manifests.strategy("ema"))
    namespace.until_trading("ema")
    pods = {"strategy": namespace.pod(of_strategy("ema")), **_running(kubectl, {"bystander": bystander})}
    targets = {
        "bus": Target(f"nats.{install.NAMESPACE}.svc", 4222),
        "gateway": Target(f"venue-{manifests.VENUE}.{namespace.name}.svc", 50051),
        "DNS": Target(_name_server(kubectl), 53),
        "DNS by UDP": Target(_name_server(kubectl), 53, "UDP"),
        "Vault": Target("vault.vault.svc", 8200),
        "node": Target(_node(kubectl), 10250),
        "metadata": Target("169.254.169.254", 80),
        "internet": Target(INTERNET, 443),
    }
    objects = rendered(f"operator.namespaces={{{namespace.name}}}")
    (closed,) = [one for one in of_kind(objects, "NetworkPolicy") if one["metadata"]["namespace"] == namespace.name]
    namespace.apply(closed)

    expected = {"strategy": EVERYBODY | {"gateway"}, "bystander": set[str]()}
    before = namespace.filled("ema")
    wait_for(lambda: "; ".join(_wrong(_reached(kubectl, pods, targets), expected)) or None, 120, "the policy to hold")
    namespace.until_filled("ema", more_than=before)


AWAY = {"bus", "Vault", "name server", "name server by UDP", "DNS", "DNS by UDP"}
JOBS = ("crowetrade-authorizer-keys", "crowetrade-admission", "crowetrade-uninstall")
BY_NETWORKS = {
    "strategy-ema": AWAY,
    "venue-sim-fx": AWAY | {"API server"},
    "crowetrade-operator": AWAY | {"API server"},
    "crowetrade-authorizer": AWAY | {"API server"},
    "crowetrade-risk-auditor": AWAY,
    **{name: {"API server"} for name in JOBS},
    # One of three servers, with a Vault in the cluster.
    "nats": {"other server of the bus", "DNS", "DNS by UDP", "Vault in the cluster"},
}
"""By NetworkPolicy what the pods that it selects reach, where the values name networks."""


def test_networks_open_what_is_outside_of_the_cluster_by_the_ports_of_its_url_alone(
    namespace: Namespace, kubectl: Kubectl, beside: Callable[..., Namespace]
) -> None:
    """With the policies of another release, which select pods that stand for its own."""
    outside = beside("outside")
    strangers = {name: idle_pod(outside, name, {}) for name in ("vault", "prometheus")}
    kubectl.apply(strangers.values())
    strangers = _running(kubectl, strangers)
    node, vault = _node(kubectl), _address(strangers["vault"])
    monitoring = f"monitoring.cidrs={{{_address(strangers['prometheus'])}/32}}"
    values = (
        "identity.source=Vault",
        "vault.address=https://vault.example.com:8300",
        f"vault.cidrs={{{vault}/32}}",
        "nats.enabled=false",
        "nats.url=nats://nats.example.com:4333",
        f"nats.cidrs={{{node}/32}}",
        f"dns.cidrs={{{vault}/32}}",
        f"operator.networkPolicy.apiServer.cidrs={{{node}/32}}",
        "operator.networkPolicy.apiServer.ports={6443}",
        monitoring,
    )
    bus_values = ("identity.source=Vault", "vault.address=https://vault.vault.svc:8200", "nats.replicas=3", monitoring)
    found = policies_of(values, [strategy()], [venue()])
    found += [policy for policy in policies_of(bus_values, [], []) if policy["metadata"]["name"] == "nats"]
    stand_ins = {}
    for policy in found:
        policy["metadata"] = {"name": policy["metadata"]["name"], "namespace": namespace.name}
        selected = policy["spec"]["podSelector"]["matchLabels"]
        stand_ins[policy["metadata"]["name"]] = idle_pod(namespace, policy["metadata"]["name"], selected)
    other_server = idle_pod(namespace, "nats-1", stand_ins["nats"]["metadata"]["labels"])
    # Policies first: they are in force when a pod gets its address.
    kubectl.apply([*found, *stand_ins.values(), other_server])
    pods = _running(kubectl, stand_ins | {"other server": other_server})
    other_server = pods.pop("other server")
    targets = {
        "bus": Target(node, 4333),
        "bus by the usual port": Target(node, 4222),
        "other server of the bus": Target(_address(other_server), 6222),
        "Vault": Target(vault, 8300),
        "Vault by the usual port": Target(vault, 8200),
        "Vault in the cluster": Target("vault.vault.svc", 8200),
        "name server": Target(vault, 53),
        "name server by UDP": Target(vault, 53, "UDP"),
        "DNS": Target(_name_server(kubectl), 53),
        "DNS by UDP": Target(_name_server(kubectl), 53, "UDP"),
        "API server": Target(node, 6443),
        "API server by another port": Target(node, 443),
        **{f"network of the other by port {port}": Target(host, port) for host, port in ((node, 8300), (vault, 4333))},
        **{f"internet by port {port}": Target(INTERNET, port) for port in (4333, 6443, 8300)},
        "name server of the internet": Target(INTERNET, 53, "UDP"),
    }
    metrics = {f"{name}'s metrics": Target(_address(pod), 8080) for name, pod in pods.items()}
    # Reached by nobody: none of these pods is in the API server's network.
    webhook = {"crowetrade-operator's webhook": Target(_address(pods["crowetrade-operator"]), 8443)}
    everything = targets.keys() - {"other server of the bus"}
    read = {f"{name}'s metrics" for name in BY_NETWORKS if name not in JOBS}
    expected = {**BY_NETWORKS, "vault": everything, "prometheus": everything | read}
    assert not _wrong(_reached(kubectl, pods | strangers, targets | metrics | webhook), expected)
