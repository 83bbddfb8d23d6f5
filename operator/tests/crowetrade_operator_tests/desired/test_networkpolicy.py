from __future__ import annotations

from dataclasses import replace
from typing import Any

from crowetrade_operator.desired.networkpolicy import strategy_policy, venue_policy
from crowetrade_operator.settings import Peer
from crowetrade_operator_tests.samples import SETTINGS, change, strategy, strategy_manifest, venue, venue_manifest

Object = dict[str, Any]


def _ports(rules: list[Object]) -> set[tuple[int, str]]:
    return {(port["port"], port["protocol"]) for rule in rules for port in rule["ports"]}


def test_a_strategy_reaches_the_bus_dns_and_its_gateways_and_nothing_else() -> None:
    two = change(
        strategy_manifest(),
        "spec.instruments",
        [
            {"symbol": "EUR-USD", "venueRef": {"name": "b"}},
            {"symbol": "GBP-USD", "venueRef": {"name": "a"}},
            {"symbol": "CHF-USD", "venueRef": {"name": "a"}},
        ],
    )
    spec = strategy_policy(strategy(two), [venue(venue_manifest(name)) for name in "ba"], SETTINGS)["spec"]
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert _ports(spec["egress"]) == {(4222, "TCP"), (53, "UDP"), (53, "TCP"), (50051, "TCP")}
    assert all(rule["to"] for rule in spec["egress"])
    gateways = [peer["podSelector"]["matchLabels"]["trading.crowetrade.io/venue"] for peer in spec["egress"][2]["to"]]
    assert gateways == ["a", "b"]


def test_only_the_operators_namespace_reaches_a_strategy_for_metrics() -> None:
    ingress = strategy_policy(strategy(), [venue()], SETTINGS)["spec"]["ingress"]
    assert _ports(ingress) == {(8080, "TCP")}
    labels = ingress[0]["from"][0]["namespaceSelector"]["matchLabels"]
    assert labels == {"kubernetes.io/metadata.name": "crowetrade-system"}


def test_a_gateway_is_reached_by_strategies_of_its_namespace() -> None:
    spec = venue_policy(venue(), [], SETTINGS)["spec"]
    orders = spec["ingress"][0]
    assert orders["ports"] == [{"port": 50051, "protocol": "TCP"}]
    assert orders["from"] == [
        {"podSelector": {"matchExpressions": [{"key": "trading.crowetrade.io/strategy", "operator": "Exists"}]}}
    ]
    assert _ports(spec["egress"]) == {(4222, "TCP"), (53, "UDP"), (53, "TCP"), (443, "TCP"), (6443, "TCP")}


def test_a_gateway_watches_kill_switches_at_the_api_server_and_nowhere_else() -> None:
    settings = replace(SETTINGS, api_server=Peer(ports=(6443,), cidrs=("10.0.0.1/32",)))
    rules = [rule for rule in venue_policy(venue(), [], settings)["spec"]["egress"] if "ipBlock" in rule["to"][0]]
    assert rules == [{"to": [{"ipBlock": {"cidr": "10.0.0.1/32"}}], "ports": [{"port": 6443, "protocol": "TCP"}]}]
    assert "ipBlock" not in str(strategy_policy(strategy(), [venue()], settings))


def test_orders_to_stop_come_from_the_operators_namespace_and_from_labelled_pods() -> None:
    control = venue_policy(venue(), [], SETTINGS)["spec"]["ingress"][1]
    assert control["ports"] == [{"port": 50052, "protocol": "TCP"}]
    assert control["from"] == [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "crowetrade-system"}}},
        {
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {"trading.crowetrade.io/control": "true"}},
        },
    ]


def test_a_gateway_reaches_vault_only_when_its_key_is_there() -> None:
    settings = replace(SETTINGS, vault=Peer({"team": "security"}, {"app": "vault"}, (8200,)))
    keyed = venue(change(venue_manifest(), "spec.credentials", {"vault": {"path": "a", "role": "r"}}))
    last = venue_policy(keyed, [], settings)["spec"]["egress"][-1]
    assert last == {
        "to": [
            {
                "namespaceSelector": {"matchLabels": {"team": "security"}},
                "podSelector": {"matchLabels": {"app": "vault"}},
            }
        ],
        "ports": [{"port": 8200, "protocol": "TCP"}],
    }
    secret = venue(change(venue_manifest(), "spec.credentials", {"secretRef": {"name": "s"}}))
    assert "8200" not in str(venue_policy(secret, [], settings)["spec"]["egress"])


def test_both_ways_across_namespaces_are_open_for_who_is_admitted_alone() -> None:
    shared = venue(venue_manifest(namespace="venues"))
    named = change(strategy_manifest(), "spec.instruments.0.venueRef", {"name": "sim-fx", "namespace": "venues"})
    guest = strategy(named)
    out = strategy_policy(guest, [shared], SETTINGS)["spec"]["egress"][-1]
    assert out["to"] == [
        {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "venues"}},
            "podSelector": {
                "matchLabels": {
                    "app.kubernetes.io/name": "crowetrade-gateway",
                    "trading.crowetrade.io/venue": "sim-fx",
                }
            },
        }
    ]
    own, other = venue_policy(shared, [guest], SETTINGS)["spec"]["ingress"][0]["from"]
    assert "namespaceSelector" not in own
    assert other == {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "desk"}},
        "podSelector": {
            "matchLabels": {"app.kubernetes.io/name": "crowetrade-agent"},
            "matchExpressions": [{"key": "trading.crowetrade.io/strategy", "operator": "In", "values": ["ema"]}],
        },
    }


def test_a_strategy_that_no_venue_admits_has_no_way_to_a_gateway() -> None:
    egress = strategy_policy(strategy(), [], SETTINGS)["spec"]["egress"]
    assert _ports(egress) == {(4222, "TCP"), (53, "UDP"), (53, "TCP")}
    assert all(rule["to"] for rule in egress)


def test_what_has_no_port_is_not_reached_because_a_rule_without_ports_would_open_all() -> None:
    settings = replace(SETTINGS, api_server=Peer(cidrs=("10.0.0.1/32",)))
    assert "10.0.0.1" not in str(venue_policy(venue(), [], settings)["spec"]["egress"])
