"""The manifests that the promises are tested with; each function gives a fresh one."""

from __future__ import annotations

from typing import Any

from tools.demo.kubernetes import Object

API_VERSION = "trading.crowetrade.io/v1alpha1"
SYMBOL = "EUR-USD"
VENUE = "sim"
INSTRUMENT = {"symbol": SYMBOL, "currency": "USD", "tickSize": "0.00001", "lotSize": "1000", "minQuantity": "1000"}

# Ten bars a second, for ever: a strategy trades within seconds.
LOOP = {"speed": "36000", "loop": True, "maxGapSeconds": "3600"}
# The whole recording once, in lock step: always the same orders.
LOCK_STEP = {"speed": "max", "loop": False}


def venue(name: str = VENUE, replay: dict[str, Any] | None = None, **spec: Any) -> Object:
    """A simulated venue."""
    simulated = {
        "data": [{"symbol": SYMBOL, "sample": "eurusd-1h", "spreadBps": "0.5"}],
        "replay": replay or LOOP,
        "fees": {"makerBps": "0.1", "takerBps": "0.2"},
    }
    return {
        "apiVersion": API_VERSION,
        "kind": "VenueConnection",
        "metadata": {"name": name},
        "spec": {
            "type": "Simulated",
            "simulated": simulated,
            "rateLimits": {"ordersPerSecond": 100000, "burst": 100000, "cancelsPerSecond": 100000},
            "instruments": [dict(INSTRUMENT)],
            **spec,
        },
    }


def strategy(name: str, venue_name: str = VENUE, topology: str = "Combined", **spec: Any) -> Object:
    """An EMA crossover that is in the market nearly all the time and turns often."""
    return {
        "apiVersion": API_VERSION,
        "kind": "Strategy",
        "metadata": {"name": name, "labels": {"desk": "fx"}},
        "spec": {
            "mode": "Paper",
            "capital": {"amount": "100000", "currency": "USD"},
            "instruments": [{"symbol": SYMBOL, "venueRef": {"name": venue_name}}],
            "model": {"name": "ema-crossover", "parameters": {"fast": 3, "slow": 8}},
            "policy": {
                "entryGate": {"minProbEdge": "0.5"},
                "sizing": {"method": "TemperedKelly", "fraction": "0.3", "maxLeverage": "2"},
                "execution": {"style": "Limit", "limitOffsetBps": "1", "participationCap": "0.1"},
            },
            "agents": {"topology": topology},
            **spec,
        },
    }


_WIDE = {
    "maxOrderQuantity": "500000",
    "maxPositionQuantity": "1000000",
    "maxOrderRate": {"count": 1000, "perSeconds": 1},
}


def risk_limit(name: str = "desk", **limits: Any) -> Object:
    """Limits wide enough for `strategy`, but for those that are given; each strategy counts alone."""
    return {
        "apiVersion": API_VERSION,
        "kind": "RiskLimit",
        "metadata": {"name": name},
        "spec": {
            "scope": {"strategySelector": {"matchLabels": {"desk": "fx"}}},
            "aggregate": "PerStrategy",
            "limits": {**_WIDE, **limits},
        },
    }


def kill_switch(name: str = "all", **spec: Any) -> Object:
    """An engaged KillSwitch for everything in the namespace."""
    return {
        "apiVersion": API_VERSION,
        "kind": "KillSwitch",
        "metadata": {"name": name},
        "spec": {"engaged": True, "mode": "Cancel", "reason": "a test stops everything", **spec},
    }
