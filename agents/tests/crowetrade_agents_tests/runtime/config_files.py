"""strategy.json as the operator writes it."""

from __future__ import annotations

from typing import Any

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_api.files import StrategyFile

from ..messages import EUR, NAMESPACE, STRATEGY, VENUE

INSTRUMENT = {"currency": "USD", "tickSize": "0.00001", "lotSize": "1000", "minQuantity": "1000"}


def strategy_json(
    gateway: str = "127.0.0.1:1", instruments: tuple[InstrumentId, ...] = (EUR,), **spec: object
) -> dict[str, Any]:
    """The whole file; keyword arguments replace fields of spec."""
    return {
        "namespace": NAMESPACE,
        "name": STRATEGY,
        "spec": {
            "mode": "Paper",
            "capital": {"amount": "1000000", "currency": "USD"},
            "instruments": [{"symbol": name.symbol, "venueRef": {"name": name.venue}} for name in instruments],
            "model": {"name": "ema-crossover", "parameters": {"fast": 3, "slow": 8}},
            "policy": {
                "entryGate": {"minProbEdge": "0.55", "maxSigma": "0.03"},
                "sizing": {"method": "TemperedKelly", "fraction": "0.3", "maxLeverage": "2"},
                "execution": {"style": "Limit", "limitOffsetBps": "1", "timeInForce": "IOC"},
                "standDown": {"onDataGapSeconds": 30, "onVolatilitySpikeSigma": "4"},
            },
            "agents": {"topology": "Combined", "image": "", "updatePolicy": "WhenFlat"},
            "deletionPolicy": "Cancel",
            **spec,
        },
        "gateways": {name.venue: gateway for name in instruments} | {VENUE: gateway},
        "instruments": [{**INSTRUMENT, "symbol": name.symbol, "venue": name.venue} for name in instruments],
    }


def strategy_config(
    gateway: str = "127.0.0.1:1", instruments: tuple[InstrumentId, ...] = (EUR,), **spec: object
) -> StrategyFile:
    """The same, read."""
    return StrategyFile.model_validate(strategy_json(gateway, instruments, **spec))
