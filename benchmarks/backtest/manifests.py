"""The manifests of what is measured: one EMA crossover that is long or short by one lot, under every limit there is.

Its peers trade one fixed quantity, and so does this. As soon as the two averages differ, tempered Kelly sizing of so
much capital asks for far more than maxLeverage admits, and maxLeverage admits one lot: the target is one lot in the
direction of the difference, at prices above 1 and below 2. An order is a limit far beyond the touch, which fills as a
market order does: at the touch in force when it arrives.
"""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

from benchmarks.backtest.peers.task import LOT, Task
from crowetrade_agents.domain.numbers import render
from crowetrade_api.files import EnvName
from crowetrade_api.names import API_VERSION
from crowetrade_api.v1alpha1.risklimit import Limits
from crowetrade_cli.backtest.plan import Plan, Recordings, plan_of
from crowetrade_cli.local.sources import admitted
from crowetrade_cli.manifests.admission import Manifest
from crowetrade_cli.manifests.selection import Found

CAPITAL = 10**15
"""Money that the strategy may size its positions with; what more of it changes is no order."""
CLAIM = "recordings"
"""A claim is the folder of its name below the folder of data; there the recordings have to be."""
_NAMESPACE = "default"
_MUCH = str(CAPITAL)
_LIMITS = {
    "maxOrderQuantity": str(2 * LOT),
    "maxOrderNotional": str(5 * LOT),
    "priceCollarBps": "1000",
    "maxOrderRate": {"count": 1000, "perSeconds": 1},
    "maxOpenOrders": 1000,
    "maxPositionQuantity": str(LOT),
    "maxGrossNotional": _MUCH,
    "maxNetNotional": _MUCH,
    "maxConcentration": "1",
    "maxDailyLoss": _MUCH,
    "maxDrawdown": "1",
    "maxLossPerMinute": "1",
    "maxConsecutiveRejects": 1000,
    "maxDataAgeSeconds": str(7 * 24 * 3600),
    "duplicateWindowMillis": 1,
    "repeatedExecution": {"count": 1000, "perSeconds": 1},
    "maxOrderToTradeRatio": "1000",
    "selfMatchPrevention": True,
    "restrictedInstruments": ["NOT-USD"],
    "tradingHours": {"calendar": "24/7"},
}
"""Every limit there is, none of which is reached."""


def plan(task: Task, capital: int = CAPITAL) -> tuple[Plan, Recordings]:
    """The crossover over a recording of EUR-USD in a folder of the name CLAIM: quotes, or bars, of which the venue
    makes quotes without a spread.

    Raises RuntimeError when the RiskLimit here does not name every limit that there is.
    """
    if missing := {field.alias for field in Limits.model_fields.values()} - set(_LIMITS):
        raise RuntimeError(f"the benchmark's RiskLimit does not set {', '.join(map(str, missing))}: set it")
    manifests = [_venue(task), _limit(), _strategy(task, capital)]
    found = [Found(manifest, "the benchmark") for manifest in manifests]
    data = str(Path(task.rows).parent.parent)
    return plan_of(admitted(found, _NAMESPACE), _NAMESPACE), Recordings({EnvName.DATA_DIRECTORY: data})


def _venue(task: Task) -> Manifest:
    source = {"claimName": CLAIM, "path": Path(task.rows).name}
    spec = {
        "type": "Simulated",
        "simulated": {
            "data": [{"symbol": "EUR-USD", "persistentVolumeClaim": source, "spreadBps": "0"}],
            "replay": {"speed": "max"},
            "fees": {"takerBps": task.fee_bps},
            "latency": {"orderMillis": task.latency_millis},
        },
        "account": "benchmark",
        "rateLimits": {"ordersPerSecond": 1000, "burst": 1000, "cancelsPerSecond": 1000},
        "instruments": [
            {
                "symbol": "EUR-USD",
                "currency": "USD",
                "tickSize": "0.00001",
                "lotSize": str(LOT),
                "minQuantity": str(LOT),
            }
        ],
    }
    return _manifest("VenueConnection", "venue", spec)


def _limit() -> Manifest:
    return _manifest("RiskLimit", "limits", {"scope": {}, "currency": "USD", "limits": _LIMITS})


def _strategy(task: Task, capital: int) -> Manifest:
    spec = {
        "mode": "Paper",
        "capital": {"amount": str(capital), "currency": "USD"},
        "instruments": [{"symbol": "EUR-USD", "venueRef": {"name": "venue"}}],
        "model": {"name": "ema-crossover", "parameters": {"fast": task.fast, "slow": task.slow}},
        "policy": {
            "entryGate": {"minProbEdge": "0.5"},
            "sizing": {"fraction": "1", "maxLeverage": render(Decimal(2 * LOT) / CAPITAL)},
            "execution": {"limitOffsetBps": "500", "timeInForce": "IOC"},
        },
    }
    return _manifest("Strategy", "crossover", spec)


def _manifest(kind: str, name: str, spec: Manifest) -> Manifest:
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
