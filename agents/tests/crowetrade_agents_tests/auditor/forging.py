"""Journals of the real engine, and orders that never went through its gate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.bus.v1 import market_data_pb2, orders_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_agents.auditor.fleet import Fleet
from crowetrade_agents.auditor.ledger import Ledger
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.gateway import commands
from crowetrade_agents_tests.gateway.scenario import SECOND, VENUE, Scenario
from crowetrade_api.gateway_config import revision_of

NAMESPACE = "cl-research"
NAME = (NAMESPACE, VENUE)
BASE: Mapping[str, Mapping[str, str]] = {"maxOrderQuantity": {"value": "1000000"}}
ACTIVE = config_pb2.TRADING_STATE_ACTIVE


def rule(
    limits: Mapping[str, Mapping[str, str]],
    name: str = "tested",
    *,
    total: bool = False,
    enforce: bool = True,
    symbols: Sequence[str] = (),
    gateways: Sequence[str] = (),
    day: tuple[str, str] | None = None,
) -> config_pb2.RiskRule:
    """A RiskLimit of both strategies, in USD."""
    return config_pb2.RiskRule(
        risk_limit=name,
        uid=f"uid-{name}",
        strategies=("alpha", "beta"),
        symbols=symbols,
        aggregate_total=total,
        enforce=enforce,
        currency="USD",
        limits=[config_pb2.Limit(name=limit, values=values) for limit, values in limits.items()],
        gateways=gateways,
        day=None if day is None else config_pb2.TradingDay(time_zone=day[0], starts_at=day[1]),
    )


def configuration(*rules: config_pb2.RiskRule, **more: object) -> config_pb2.GatewayConfig:
    """Both strategies bound and active, each with a capital of 100,000 USD."""
    message = config_pb2.GatewayConfig(rules=rules, **more)  # type: ignore[arg-type]
    if not message.strategies:
        for name in ("alpha", "beta"):
            message.strategies.add(
                strategy=name,
                state=ACTIVE,
                capital="100000",
                capital_currency="USD",
                labels={"desk": "fx"},
                symbols=("EUR-USD", "GBP-USD", "GILT"),
            )
    message.revision = revision_of(message)
    return message


def configure(message: config_pb2.GatewayConfig) -> commands.Configure:
    """As the gateway gets it from the bus."""
    return commands.Configure(decode(message.SerializeToString()))


def traded() -> Scenario:
    """An engine under a generous limit, whose alpha bought 10,000 EUR-USD at 1.1, of which 4,000 are executed."""
    scenario = Scenario()
    scenario.do(configure(configuration(rule(BASE, "base"))))
    scenario.order(1)
    scenario.accepted(1)
    scenario.executed(1, "4000")
    return scenario


@dataclass
class Journal:
    """Events of an engine, to which more are added by hand. Times in seconds after the last one."""

    events: list[pb.JournalEvent] = field(default_factory=list)

    @property
    def now_ns(self) -> int:
        """Time of the last event."""
        return self.events[-1].at_unix_ns

    def add(self, after: float = 0, **event: object) -> Journal:
        """One event."""
        at_ns = self.now_ns + int(after * SECOND)
        self.events.append(pb.JournalEvent(at_unix_ns=at_ns, **event))  # type: ignore[arg-type]
        return self

    def order(self, number: int = 50, after: float = 0, quote_age: float = 0, **fields: object) -> Journal:
        """An order that nobody judged: alpha buys 10,000 EUR-USD at 1.1, quoted 1.1 to 1.1001."""
        at_ns = self.now_ns + int(after * SECOND)
        values: dict[str, object] = {
            "strategy": "alpha",
            "symbol": "EUR-USD",
            "side": market_data_pb2.SIDE_BUY,
            "order_quantity": "10000",
            "ord_type": orders_pb2.ORD_TYPE_LIMIT,
            "price": "1.1",
            "time_in_force": orders_pb2.TIME_IN_FORCE_GTC,
            "bid_price": "1.1",
            "ask_price": "1.1001",
            "quote_unix_ns": at_ns - int(quote_age * SECOND),
        }
        values |= fields
        body = pb.OrderSubmitted(cl_ord_id=f"{values['strategy']}-forged-{number}", **values)  # type: ignore[arg-type]
        return self.add(after, order_submitted=body)


def audit(journal: Journal) -> Fleet:
    """What the auditor makes of it."""
    fleet = Fleet()
    fleet.follow(Ledger(*NAME))
    for sequence, event in enumerate(journal.events, start=1):
        fleet.take(NAME, sequence, event)
    fleet.settle(journal.now_ns)
    return fleet


def found(fleet: Fleet) -> list[tuple[str, str]]:
    """Limit and ClOrdID of each finding."""
    return [(finding.limit, finding.cl_ord_id) for finding in fleet.findings]


def pips(count: int, base: str = "1.1") -> str:
    """A price so many ticks away."""
    return str(Decimal(base) + Decimal(count) / 100_000)
