"""Manifests and models that tests start from."""

from __future__ import annotations

import copy
from typing import Any

from crowetrade_api.names import API_VERSION
from crowetrade_api.v1alpha1.killswitch import KillSwitch, UnreadableKillSwitch
from crowetrade_api.v1alpha1.meta import read
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy, UnreadableStrategy
from crowetrade_api.v1alpha1.venueconnection import UnreadableVenue, VenueConnection

Object = dict[str, Any]
UNSET = object()


def change(manifest: Object, path: str, value: Any) -> Object:
    """A copy with one field set, or taken away when the value is UNSET; path as spec.instruments.0.symbol."""
    out = copy.deepcopy(manifest)
    *parents, last = path.split(".")
    where: Any = out
    for part in parents:
        where = where[int(part)] if isinstance(where, list) else where.setdefault(part, {})
    if value is UNSET:
        del where[last]
    elif isinstance(where, list):
        where[int(last)] = value
    else:
        where[last] = value
    return out


def _metadata(name: str, namespace: str, labels: dict[str, str] | None) -> Object:
    return {"name": name, "namespace": namespace, "labels": labels or {}}


def venue_manifest(name: str = "sim-fx", namespace: str = "desk", labels: dict[str, str] | None = None) -> Object:
    """A venue that replays the sample."""
    return {
        "apiVersion": API_VERSION,
        "kind": "VenueConnection",
        "metadata": _metadata(name, namespace, labels),
        "spec": {
            "type": "Simulated",
            "simulated": {
                "data": [{"symbol": "EUR-USD", "sample": "eurusd-1h"}],
                "replay": {"speed": "60", "loop": True},
                "fees": {"makerBps": "0.1", "takerBps": "0.2"},
                "latency": {"orderMillis": 5},
            },
            "account": "paper-1",
            "instruments": [
                {
                    "symbol": "EUR-USD",
                    "currency": "USD",
                    "tickSize": "0.00001",
                    "lotSize": "1000",
                    "minQuantity": "1000",
                }
            ],
        },
    }


def strategy_manifest(name: str = "ema", namespace: str = "desk", labels: dict[str, str] | None = None) -> Object:
    """A strategy on that venue."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Strategy",
        "metadata": _metadata(name, namespace, {"desk": "fx"} if labels is None else labels),
        "spec": {
            "mode": "Paper",
            "capital": {"amount": "1000000", "currency": "USD"},
            "instruments": [{"symbol": "EUR-USD", "venueRef": {"name": "sim-fx"}}],
            "model": {"name": "ema-crossover", "parameters": {"fast": 12, "slow": 48}},
            "policy": {
                "entryGate": {"minProbEdge": "0.55", "maxSigma": "0.03"},
                "sizing": {"method": "TemperedKelly", "fraction": "0.3", "maxLeverage": "2"},
                "execution": {
                    "style": "Limit",
                    "limitOffsetBps": "1",
                    "participationCap": "0.1",
                    "timeInForce": "IOC",
                },
            },
        },
    }


def limit_manifest(name: str = "fx-desk", namespace: str = "desk") -> Object:
    """Limits on that strategy."""
    return {
        "apiVersion": API_VERSION,
        "kind": "RiskLimit",
        "metadata": _metadata(name, namespace, None),
        "spec": {
            "scope": {"strategySelector": {"matchLabels": {"desk": "fx"}}},
            "aggregate": "Total",
            "limits": {
                "maxOrderQuantity": "200000",
                "maxOrderNotional": "250000",
                "maxPositionQuantity": "500000",
                "maxOrderRate": {"count": 20, "perSeconds": 1},
            },
        },
    }


def kill_manifest(name: str = "all", namespace: str = "desk", engaged: bool = True) -> Object:
    """A KillSwitch that stops everything in the namespace."""
    return {
        "apiVersion": API_VERSION,
        "kind": "KillSwitch",
        "metadata": _metadata(name, namespace, None),
        "spec": {"engaged": engaged, "mode": "Cancel", "reason": "bad market data", "engagedBy": "alice"},
    }


def stored(manifest: Object, **metadata: Any) -> Object:
    """As the API server would hand it out."""
    out = copy.deepcopy(manifest)
    out["metadata"] |= {
        "uid": f"uid-{out['metadata']['name']}",
        "generation": 1,
        "resourceVersion": "1",
        "creationTimestamp": "2026-01-05T09:00:00Z",
        **metadata,
    }
    return out


def venue(manifest: Object | None = None, **metadata: Any) -> VenueConnection:
    """The model of a stored venue."""
    return VenueConnection.model_validate(stored(manifest or venue_manifest(), **metadata))


def strategy(manifest: Object | None = None, **metadata: Any) -> Strategy:
    """The model of a stored strategy."""
    return Strategy.model_validate(stored(manifest or strategy_manifest(), **metadata))


def limit(manifest: Object | None = None, **metadata: Any) -> RiskLimit:
    """The model of a stored limit."""
    return RiskLimit.model_validate(stored(manifest or limit_manifest(), **metadata))


def unreadable_strategy(path: str = "spec.mode", value: Any = "Quantum", **metadata: Any) -> UnreadableStrategy:
    """A strategy of a version that these models do not know."""
    found = read(stored(change(strategy_manifest(), path, value), **metadata), Strategy, UnreadableStrategy)
    assert isinstance(found, UnreadableStrategy)
    return found


def unreadable_venue(path: str = "spec.type", value: Any = "Quantum", **metadata: Any) -> UnreadableVenue:
    """A venue of a version that these models do not know."""
    found = read(stored(change(venue_manifest(), path, value), **metadata), VenueConnection, UnreadableVenue)
    assert isinstance(found, UnreadableVenue)
    return found


def kill_switch(manifest: Object | None = None, **metadata: Any) -> KillSwitch:
    """The model of a stored KillSwitch."""
    return KillSwitch.model_validate(stored(manifest or kill_manifest(), **metadata))


def unreadable_kill_switch(**metadata: Any) -> UnreadableKillSwitch:
    """A KillSwitch of a version that these models do not know."""
    found = read(stored(change(kill_manifest(), "spec.mode", "Freeze"), **metadata), KillSwitch, UnreadableKillSwitch)
    assert isinstance(found, UnreadableKillSwitch)
    return found
