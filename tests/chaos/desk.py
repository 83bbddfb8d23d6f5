"""The desk that every run trades at: a venue with two instruments, three strategies, two configurations."""

from __future__ import annotations

import csv
import random
from decimal import Decimal
from pathlib import Path

from crowetrade.config.v1 import config_pb2
from crowetrade_api.files import VenueFile
from crowetrade_api.gateway_config import revision_of
from tests.chaos.strategies import Symbol

NAMESPACE, VENUE = "desk", "sim"
SYMBOLS = (
    Symbol("EUR-USD", Decimal("1.10000"), Decimal("0.00001"), 8),
    Symbol("GBP-USD", Decimal("1.30000"), Decimal("0.00001"), 8),
)
STRATEGIES = ("alpha", "beta", "gamma")
FIRST_NS = 1_400_000_000_000_000_000
QUOTES = 2_000
QUOTE_EVERY_NS = 20_000_000


def venue_file() -> VenueFile:
    """venue.json."""
    return VenueFile.model_validate(
        {
            "namespace": NAMESPACE,
            "name": VENUE,
            "spec": {
                "type": "Simulated",
                "simulated": {
                    "data": [{"configMap": {"name": "recording", "key": "rec.csv"}}],
                    "fees": {"takerBps": "0.2", "makerBps": "-0.05"},
                    "replay": {"speed": "1", "loop": True},
                },
                "rateLimits": {"ordersPerSecond": 1000, "burst": 1000, "cancelsPerSecond": 1000},
                "cancelOnDisconnect": {"afterSeconds": 60},
                "instruments": [
                    {
                        "symbol": symbol.name,
                        "currency": "USD",
                        "tickSize": str(symbol.tick),
                        "lotSize": "1000",
                        "minQuantity": "1000",
                    }
                    for symbol in SYMBOLS
                ],
            },
            "recordings": [{"origin": "Data", "path": "rec.csv"}],
        }
    )


def write_quotes(path: Path, seed: str) -> None:
    """Both symbols, QUOTE_EVERY_NS apart, within their swing; sizes from nothing to 9 lots."""
    chance = random.Random(seed)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ts_ns", "symbol", "bid_px", "bid_sz", "ask_px", "ask_sz"])
        for number in range(QUOTES):
            for symbol in SYMBOLS:
                bid = symbol.base + symbol.tick * chance.randint(-symbol.swing, symbol.swing)
                ask = bid + symbol.tick * chance.randint(1, 3)
                sizes = [chance.randint(0, 9) * 1000 for _ in range(2)]
                writer.writerow([FIRST_NS + number * QUOTE_EVERY_NS, symbol.name, bid, sizes[0], ask, sizes[1]])


def configuration(state: config_pb2.TradingState.ValueType) -> config_pb2.GatewayConfig:
    """All strategies in one state, with limits that bind seldom."""
    message = config_pb2.GatewayConfig()
    for strategy in STRATEGIES:
        message.strategies.add(strategy=strategy, state=state, symbols=[symbol.name for symbol in SYMBOLS])
    limits = [
        config_pb2.Limit(name="maxOrderQuantity", values={"value": "7000"}),
        config_pb2.Limit(name="maxPositionQuantity", values={"value": "200000"}),
    ]
    message.rules.add(risk_limit="desk", uid="u1", generation=1, strategies=STRATEGIES, limits=limits, enforce=True)
    message.revision = revision_of(message)
    return message


ACTIVE = configuration(config_pb2.TRADING_STATE_ACTIVE)
HALTED = configuration(config_pb2.TRADING_STATE_SUSPENDED)
