"""How large the fleet is, and its resources as manifests."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

API_VERSION = "trading.crowetrade.io/v1alpha1"
MODEL = {"name": "ema-crossover", "parameters": {"fast": 12, "slow": 48}}
LIMIT = "desk"
Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Fleet:
    """So many Strategies, spread evenly over venues, and these over namespaces."""

    strategies: int = 300
    venues: int = 6
    namespaces: int = 3

    def namespace_names(self) -> list[str]:
        """One for each namespace."""
        return [f"bench-{number:03d}" for number in range(self.namespaces)]

    def venue_places(self) -> list[tuple[str, str]]:
        """Namespace and name of each venue."""
        names = self.namespace_names()
        return [(names[number % self.namespaces], f"venue-{number:03d}") for number in range(self.venues)]

    def strategy_places(self) -> list[tuple[str, str, str]]:
        """Namespace, name and venue of each Strategy."""
        venues = self.venue_places()
        found = ((number, *venues[number % self.venues]) for number in range(self.strategies))
        return [(namespace, f"strategy-{number:05d}", venue) for number, namespace, venue in found]

    def of_size(self, strategies: int) -> Fleet:
        """Another number of Strategies, with as many of them at a venue and in a namespace as here."""
        venues = -(-self.venues * strategies // self.strategies)
        return Fleet(strategies, venues, -(-self.namespaces * strategies // self.strategies))

    def manifests(self) -> Iterator[Object]:
        """All but the namespaces: limits, venues, Strategies."""
        for namespace in self.namespace_names():
            yield risk_limit(namespace)
        for namespace, name in self.venue_places():
            yield venue(namespace, name)
        for namespace, name, venue_name in self.strategy_places():
            yield strategy(namespace, name, venue_name)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured."""

    fleet: Fleet = Fleet()
    # Sizes of the fleets that are measured cold, each spread over namespaces as the fleet is, and in one.
    growth: tuple[int, ...] = (100, 300)
    # How long rates are counted.
    seconds: float = 10.0


def plan_from(environment: Mapping[str, str] = os.environ) -> Plan:
    """BENCH_STRATEGIES, BENCH_VENUES, BENCH_NAMESPACES, BENCH_GROWTH (sizes, separated by commas) and BENCH_SECONDS."""
    fleet, plan = Fleet(), Plan()
    growth = environment.get("BENCH_GROWTH")
    return Plan(
        Fleet(
            int(environment.get("BENCH_STRATEGIES", fleet.strategies)),
            int(environment.get("BENCH_VENUES", fleet.venues)),
            int(environment.get("BENCH_NAMESPACES", fleet.namespaces)),
        ),
        plan.growth if growth is None else tuple(int(part) for part in growth.split(",") if part),
        float(environment.get("BENCH_SECONDS", plan.seconds)),
    )


def venue(namespace: str, name: str) -> Object:
    """A VenueConnection that replays the sample."""
    instrument = {
        "symbol": "EUR-USD",
        "currency": "USD",
        "tickSize": "0.00001",
        "lotSize": "1000",
        "minQuantity": "1000",
    }
    simulated = {"data": [{"symbol": "EUR-USD", "sample": "eurusd-1h"}], "replay": {"speed": "60", "loop": True}}
    spec = {"type": "Simulated", "simulated": simulated, "account": "paper", "instruments": [instrument]}
    return _manifest("VenueConnection", namespace, name, spec)


def strategy(namespace: str, name: str, venue_name: str) -> Object:
    """A Strategy whose changes are rolled out at once, whatever it holds."""
    spec = {
        "mode": "Paper",
        "capital": {"amount": "1000000", "currency": "USD"},
        "instruments": [{"symbol": "EUR-USD", "venueRef": {"name": venue_name}}],
        "model": MODEL,
        "agents": {"updatePolicy": "Immediate"},
    }
    return _manifest("Strategy", namespace, name, spec)


def risk_limit(namespace: str) -> Object:
    """One that binds all Strategies of the namespace."""
    limits = {
        "maxOrderQuantity": "200000",
        "maxPositionQuantity": "1000000",
        "maxOrderRate": {"count": 20, "perSeconds": 1},
    }
    return _manifest("RiskLimit", namespace, LIMIT, {"limits": limits})


def _manifest(kind: str, namespace: str, name: str, spec: Object) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata, "spec": spec}
