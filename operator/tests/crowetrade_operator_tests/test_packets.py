"""Which packets pass, both ways, by the NetworkPolicies of the chart and of the operator that it installs.

`tests/e2e/test_network_policy.py` sends real ones in a real cluster.
"""

from __future__ import annotations

import subprocess
from functools import cache
from typing import Any

import pytest

from crowetrade_operator.desired.metadata import labels
from crowetrade_operator.desired.networkpolicy import METADATA_NETWORKS
from crowetrade_operator_tests.charts import SYSTEM_NAMESPACE, of_kind, rendered
from crowetrade_operator_tests.packets import Peer, Pod, passes, policies_of
from crowetrade_operator_tests.samples import change, strategy, strategy_manifest, venue, venue_manifest

pytestmark = pytest.mark.integration
Object = dict[str, Any]


def _system(name: str) -> Pod:
    app = {"app.kubernetes.io/name": name, "app.kubernetes.io/instance": "crowetrade"}
    return Pod(SYSTEM_NAMESPACE, app)


VENUES = [venue(), venue(venue_manifest("theirs")), venue(venue_manifest(namespace="elsewhere"))]
STRATEGIES = [
    strategy(),
    strategy(change(strategy_manifest("other"), "spec.instruments.0.venueRef", {"name": "theirs"})),
    strategy(strategy_manifest(namespace="elsewhere")),
]
PEERS: dict[str, Peer] = {
    "strategy": Pod("desk", labels(STRATEGIES[0])),
    "other strategy": Pod("desk", labels(STRATEGIES[1])),
    "strategy elsewhere": Pod("elsewhere", labels(STRATEGIES[2])),
    "gateway": Pod("desk", labels(VENUES[0])),
    "other gateway": Pod("desk", labels(VENUES[1])),
    "gateway elsewhere": Pod("elsewhere", labels(VENUES[2])),
    "operator": _system("crowetrade-operator"),
    "authorizer": _system("crowetrade-authorizer"),
    "risk auditor": _system("crowetrade-risk-auditor"),
    "NATS": _system("nats"),
    "DNS": Pod("kube-system", {"k8s-app": "kube-dns"}),
    "Vault": Pod("vault", {"app.kubernetes.io/name": "vault"}),
    "Prometheus": Pod("monitoring", {"app": "prometheus"}),
    "grafana": Pod("monitoring", {"app": "grafana"}),
    "administrator": Pod("desk", {"trading.crowetrade.io/control": "true"}),
    "bystander": Pod("desk"),
    "stranger": Pod("elsewhere"),
    "API server": "10.0.0.1",
    "API server by IPv6": "fd00::1",
    "metadata": "169.254.169.254",
    "metadata of EC2 by IPv6": "fd00:ec2::254",
    "metadata of GCE by IPv6": "fd20:ce::254",
    "internet": "203.0.113.5",
    "internet by IPv6": "2001:db8::5",
    "name cache": "169.254.20.10",
    "external NATS": "10.7.0.4",
    "external Vault": "10.8.0.4",
    "external Vault by IPv6": "fd08::4",
}
WITH_VAULT = ("identity.source=Vault", "vault.address=https://vault.vault.svc:8200")


@cache
def _policies(*values: str) -> list[Object]:
    return policies_of(values, STRATEGIES, VENUES)


def _arrives(values: tuple[str, ...], source: str, target: str, port: int, protocol: str = "TCP") -> bool:
    return passes(_policies(*values), PEERS[source], PEERS[target], port, protocol)


PORTS = (22, 53, 80, 443, 4222, 6222, 6443, 8080, 8200, 8222, 8443, 50051, 50052)
PROTOCOLS = {53: "UDP"}
BY_API_SERVER = {
    name: {443, 6443}
    for name, peer in PEERS.items()
    if isinstance(peer, str) and "metadata" not in name and name != "name cache"
}
"""Until the chart is told where the API server is it may be anywhere but where clouds keep a machine's credentials."""
EVERYBODY = {"NATS": {4222}, "DNS": {53}, "Vault": {8200}}
CONTROL = {"gateway": {50052}, "other gateway": {50052}, "gateway elsewhere": {50052}}
OURS = {
    "strategy": {**EVERYBODY, "gateway": {50051}},
    "other strategy": {**EVERYBODY, "other gateway": {50051}},
    "gateway": {**EVERYBODY, **BY_API_SERVER},
    "operator": {
        **EVERYBODY,
        **BY_API_SERVER,
        **CONTROL,
    },
    "authorizer": {**EVERYBODY, **BY_API_SERVER},
    "risk auditor": EVERYBODY,
    "NATS": {"DNS": {53}, "Vault": {8200}},
}
"""What each reaches; whom and what is not here, it does not."""
OTHERS: dict[str, dict[str, set[int]]] = {
    "administrator": CONTROL,
    **{name: {} for name in ("bystander", "stranger", "Prometheus", "DNS", "Vault", "metadata")},
    **{name: {"operator": {8443}} for name in ("API server", "API server by IPv6", "internet")},
}
"""What of ours others reach. The API server asks the operator, and may be anywhere until the chart's values name it."""
OUR_PODS = [*OURS, "gateway elsewhere", "other gateway", "strategy elsewhere"]


def _reached(values: tuple[str, ...], source: str, targets: list[str]) -> dict[str, set[int]]:
    """Ports by target, of those that are reached at all."""
    found = {
        target: {port for port in PORTS if _arrives(values, source, target, port, PROTOCOLS.get(port, "TCP"))}
        for target in targets
        if target != source
    }
    return {target: ports for target, ports in found.items() if ports}


@pytest.mark.parametrize("source", OURS)
def test_our_pods_reach_what_they_need_and_no_more(source: str) -> None:
    assert _reached(WITH_VAULT, source, list(PEERS)) == OURS[source]


@pytest.mark.parametrize("source", OTHERS)
def test_others_reach_nothing_of_ours_but_what_is_meant_for_them(source: str) -> None:
    assert _reached(WITH_VAULT, source, OUR_PODS) == OTHERS[source]


def test_the_operators_namespace_reads_metrics() -> None:
    """Kubernetes lets probes of the node in by itself."""
    reader = Pod(SYSTEM_NAMESPACE, {"app": "metrics"})
    for target in ("strategy", "gateway", "operator", "authorizer", "risk auditor", "NATS"):
        reached = {port for port in PORTS if passes(_policies(*WITH_VAULT), reader, PEERS[target], port)}
        assert reached == {8080, 50052} if target == "gateway" else {8080}


@pytest.mark.parametrize(
    ("values", "reached"),
    [
        ((), {"Prometheus": False, "grafana": False, "stranger": False, "internet": False}),
        (
            ("monitoring.namespaceLabels.kubernetes\\.io/metadata\\.name=monitoring",),
            {"Prometheus": True, "grafana": True, "stranger": False, "internet": False},
        ),
        (
            (
                "monitoring.namespaceLabels.kubernetes\\.io/metadata\\.name=monitoring",
                "monitoring.podLabels.app=prometheus",
            ),
            {"Prometheus": True, "grafana": False, "stranger": False, "internet": False},
        ),
        (
            ("monitoring.cidrs={203.0.113.0/24}",),
            {"Prometheus": False, "grafana": False, "stranger": False, "internet": True},
        ),
    ],
)
def test_monitoring_reads_metrics_where_it_is_named(values: tuple[str, ...], reached: dict[str, bool]) -> None:
    for target in ("strategy", "gateway", "operator", "authorizer", "risk auditor", "NATS"):
        found = {source: _arrives((*WITH_VAULT, *values), source, target, 8080) for source in reached}
        assert found == reached, target
        assert not any(_arrives((*WITH_VAULT, *values), source, target, 50051) for source in reached)


OUTSIDE = (
    "identity.source=Vault",
    "vault.address=https://vault.example.com:8300\\,https://10.8.0.4",
    "vault.cidrs={10.8.0.0/24,fd08::/64}",
    "nats.enabled=false",
    "nats.url=nats://nats.example.com:4333",
    "nats.cidrs={10.7.0.0/24}",
    "dns.cidrs={169.254.20.10/32}",
    "operator.networkPolicy.apiServer.cidrs={10.0.0.1/32,fd00::1/128}",
    "operator.networkPolicy.apiServer.ports={6443}",
)
OUTSIDE_PORTS = (53, 80, 443, 4222, 4333, 6443, 8200, 8300)
NETWORKS = {
    "external NATS": {4333},
    "external Vault": {443, 8300},
    "external Vault by IPv6": {443, 8300},
    "name cache": {53},
    "DNS": {53},
}
API_SERVER = {"API server": {6443}, "API server by IPv6": {6443}}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("strategy", NETWORKS),
        ("gateway", NETWORKS | API_SERVER),
        ("operator", NETWORKS | API_SERVER),
        ("authorizer", NETWORKS | API_SERVER),
        ("risk auditor", NETWORKS),
    ],
)
def test_what_is_outside_of_the_cluster_is_reached_by_its_networks_and_the_ports_of_its_url(
    source: str, expected: dict[str, set[int]]
) -> None:
    found = {
        target: {port for port in OUTSIDE_PORTS if _arrives(OUTSIDE, source, target, port, PROTOCOLS.get(port, "TCP"))}
        for target in PEERS
        if target != source
    }
    assert {target: ports for target, ports in found.items() if ports} == expected


def test_the_api_server_alone_asks_the_operator_where_its_networks_are_named() -> None:
    asks = {source for source in PEERS if source != "operator" and _arrives(OUTSIDE, source, "operator", 8443)}
    assert asks == API_SERVER.keys()
    unasked = (*OUTSIDE, "audit.recordRequests=false")
    assert not any(_arrives(unasked, source, "operator", 8443) for source in PEERS if source != "operator")


def test_every_pod_of_a_namespace_that_is_named_is_closed_both_ways() -> None:
    values = (*WITH_VAULT, "operator.namespaces={desk}")
    for target in ("internet", "Vault", "stranger", "metadata", "API server"):
        assert not _arrives(values, "bystander", target, 443)
        assert _arrives((*values, "operator.networkPolicy.defaultDeny=false"), "bystander", target, 443)
    assert not _arrives(values, "stranger", "bystander", 443)
    assert _arrives(values, "strategy", "gateway", 50051)


def test_labels_open_the_bus_to_pods_of_namespaces_that_are_named_alone() -> None:
    values = (*WITH_VAULT, "operator.namespaces={desk}")
    reached = {source for source in OUR_PODS if source != "NATS" and _arrives(values, source, "NATS", 4222)}
    assert reached == {*OURS, "other gateway"} - {"NATS"}
    assert _arrives(WITH_VAULT, "strategy elsewhere", "NATS", 4222)


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("128.0.0.0/1", "169.254.169.254"),
        ("169.254.0.0/16", "169.254.169.254"),
        ("169.254.169.254/32", "169.254.169.254"),
        ("fd00::/8", "fd00:ec2::254"),
        ("fd20:ce::/64", "fd20:ce::254"),
        ("fe00::/7", "fe80::a9fe:a9fe"),
    ],
)
def test_a_network_that_holds_metadata_is_refused(network: str, address: str) -> None:
    with pytest.raises(subprocess.CalledProcessError) as refused:
        rendered(f"operator.networkPolicy.apiServer.cidrs={{{network}}}")
    assert f"network {network} holds {address}, where clouds tell a machine its credentials" in refused.value.stderr


def test_networks_beside_metadata_are_taken() -> None:
    networks = ["10.0.0.0/8", "169.254.20.10/32", "169.254.0.0/17", "2000::/3", "fd00:10:96::/112", "fd08::/64"]
    taken = {
        peer["ipBlock"]["cidr"]
        for policy in of_kind(rendered(f"dns.cidrs={{{','.join(networks)}}}"), "NetworkPolicy")
        for rule in policy["spec"].get("egress") or ()
        for peer in rule["to"]
        if "ipBlock" in peer
    }
    assert taken >= {*networks}


def test_chart_and_operator_leave_out_the_same_networks() -> None:
    left_out: dict[str, set[str]] = {}
    for policy in _policies(*WITH_VAULT):
        for rule in policy["spec"]["egress"]:
            for block in (peer["ipBlock"] for peer in rule["to"] if "ipBlock" in peer):
                left_out.setdefault(policy["metadata"]["name"], set()).update(block.get("except", ()))
    jobs = {"crowetrade-authorizer-keys", "crowetrade-admission", "crowetrade-uninstall"}
    ours = {"crowetrade-operator", "crowetrade-authorizer", *jobs}
    assert left_out.keys() == {*ours, "venue-sim-fx", "venue-theirs"}
    assert all(networks == set(METADATA_NETWORKS) for networks in left_out.values())


def test_no_rule_has_an_empty_list_which_would_open_everything() -> None:
    for values in (WITH_VAULT, OUTSIDE, ()):
        for policy in _policies(*values):
            assert {"Ingress", "Egress"} == set(policy["spec"]["policyTypes"])
            for way, side in (("egress", "to"), ("ingress", "from")):
                for rule in policy["spec"].get(way) or ():
                    assert rule[side], policy["metadata"]["name"]
                    assert rule["ports"], policy["metadata"]["name"]
