"""All limits at once, none of which is reached: for each strategy alone, and for all together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.gateway.workload import INSTRUMENTS, SECOND_NS, STRATEGIES, VENUE
from crowetrade.config.v1 import config_pb2
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.gateway.commands import SharesChanged
from crowetrade_agents.risk.limits import KNOWN
from crowetrade_agents.risk.shares import SPLIT
from crowetrade_api.gateway_config import revision_of

OPEN_NS = 1_767_625_200 * SECOND_NS
"""15:00 UTC on Monday 5 January 2026, when the calendar is open."""
MUCH = {"value": str(10**12)}
ALL_OF_IT = {"value": "1"}
OFTEN = {"count": "1000000", "perSeconds": "60"}
LIMITS: Mapping[str, Mapping[str, str]] = {
    "maxOrderQuantity": MUCH,
    "maxOrderNotional": MUCH,
    "priceCollarBps": {"value": "500"},
    "maxOrderRate": OFTEN,
    "maxOpenOrders": {"value": "100000"},
    "maxPositionQuantity": MUCH,
    "maxGrossNotional": MUCH,
    "maxNetNotional": MUCH,
    "maxConcentration": ALL_OF_IT,
    "maxDailyLoss": MUCH,
    "maxDrawdown": ALL_OF_IT,
    "maxLossPerMinute": ALL_OF_IT,
    "maxConsecutiveRejects": {"value": "1000"},
    "maxDataAgeSeconds": {"value": "600"},
    "duplicateWindowMillis": {"value": "1"},
    "repeatedExecution": OFTEN,
    "maxOrderToTradeRatio": {"value": "10000"},
    "selfMatchPrevention": {"value": "true"},
    "restrictedInstruments": {"value": "NOT-USD"},
    "tradingHours": {"calendar": "XNYS"},
}
LOSSES = ("maxDailyLoss", "maxDrawdown", "maxLossPerMinute", "maxDataAgeSeconds")


def configured(strategies: Iterable[str] = STRATEGIES, limits: Iterable[str] = LIMITS) -> Configuration:
    """Two RiskLimits, one that counts each strategy alone and one that counts all together, here and at another
    gateway, each with these limits."""
    strategies, limits = list(strategies), list(limits)
    message = config_pb2.GatewayConfig()
    for strategy in strategies:
        message.strategies.add(
            strategy=strategy,
            state=config_pb2.TRADING_STATE_ACTIVE,
            capital=str(10**12),
            capital_currency="USD",
            symbols=[item.symbol for item in INSTRUMENTS],
        )
    for name, total in (("each", False), ("together", True)):
        message.rules.add(
            risk_limit=name,
            uid=f"uid-{name}",
            generation=1,
            strategies=strategies,
            enforce=True,
            aggregate_total=total,
            currency="USD",
            gateways=[VENUE, "other"] if total else [],
            limits=[config_pb2.Limit(name=limit, values=LIMITS[limit]) for limit in limits],
        )
    message.revision = revision_of(message)
    read = decode(message.SerializeToString())
    assert not read.unreadable, read.unreadable
    assert all(rule.refusal is None for rule in read.rules), [rule.problem for rule in read.rules]
    return read


def half() -> SharesChanged:
    """Half of every limit that is split."""
    held = {("uid-together", limit): 500_000 for limit in SPLIT}
    return SharesChanged(held, held)


assert set(LIMITS) == set(KNOWN), set(LIMITS) ^ set(KNOWN)
