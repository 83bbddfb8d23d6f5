"""Twenty venues with a strategy each, as manifests and as their gateways' files."""

from __future__ import annotations

from typing import Any

from crowetrade_api.files import VenueFile

NAMESPACE, LIMIT, KILL_SWITCH = "bench", "desk", "stop"
GATEWAYS = 20
API_VERSION = "trading.crowetrade.io/v1alpha1"
Object = dict[str, Any]


def venue_name(place: int) -> str:
    """Of the VenueConnection."""
    return f"venue-{place:02d}"


def venue(name: str) -> Object:
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
    return _manifest("VenueConnection", name, spec)


def venue_file(name: str) -> VenueFile:
    """What its gateway reads."""
    recordings = [{"origin": "Sample", "path": "eurusd-1h.csv", "symbol": "EUR-USD"}]
    content = {"namespace": NAMESPACE, "name": name, "spec": venue(name)["spec"], "recordings": recordings}
    return VenueFile.model_validate(content)


def strategy(name: str) -> Object:
    """A Strategy that trades at the venue of that name."""
    spec = {
        "mode": "Paper",
        "capital": {"amount": "1000000", "currency": "USD"},
        "instruments": [{"symbol": "EUR-USD", "venueRef": {"name": name}}],
        "model": {"name": "ema-crossover", "parameters": {"fast": 12, "slow": 48}},
    }
    return _manifest("Strategy", name.replace("venue", "strategy"), spec)


def risk_limit(quantity: str) -> Object:
    """One that binds all strategies."""
    limits = {"maxOrderQuantity": quantity, "maxOrderRate": {"count": 20, "perSeconds": 1}}
    return _manifest("RiskLimit", LIMIT, {"limits": limits})


def kill_switch() -> Object:
    """One that stops all strategies, once it is engaged."""
    return _manifest("KillSwitch", KILL_SWITCH, {"engaged": False, "mode": "Cancel", "reason": "benchmark"})


def _manifest(kind: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": spec,
    }
