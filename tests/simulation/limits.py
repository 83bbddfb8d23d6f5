"""What the operator asks for, as plain values: a configuration that the accounts can judge by without the gate.

`compiled` makes of it what the gateway gets. Quantities in units, money in quote currency, times in nanoseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from crowetrade.config.v1 import config_pb2, kill_pb2
from crowetrade_agents.control.state import Configuration, OnRecord
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.rule_reading import compile_rule
from crowetrade_agents.risk.rules import RuleSet

SECOND = 1_000_000_000
DESKS = ("macro", "carry")
HARDNESS = {
    "CloseOnly": kill_pb2.KILL_MODE_CLOSE_ONLY,
    "Block": kill_pb2.KILL_MODE_BLOCK,
    "Cancel": kill_pb2.KILL_MODE_CANCEL,
    "Flatten": kill_pb2.KILL_MODE_FLATTEN,
}
"""What a kill order or a breach may ask for, the hardest last; the first two are not comparable."""
STOPPED = {
    "CloseOnly": TradingState.CLOSE_ONLY,
    "Block": TradingState.BLOCKED,
    "Cancel": TradingState.HALTED,
    "Flatten": TradingState.FLATTEN,
}


def desk_of(strategy: str) -> str:
    """The label by which kill orders select."""
    return DESKS[len(strategy) % 2]


@dataclass(frozen=True)
class KillSpec:
    """What a KillSwitch asks for: a mode, of everybody or of one desk."""

    mode: str
    desk: str = ""

    @property
    def cancels(self) -> bool:
        """Whether nothing may stay open."""
        return self.mode in ("Cancel", "Flatten")

    def stops(self, strategy: str) -> bool:
        """Whether the strategy is one of those."""
        return self.desk in ("", desk_of(strategy))


@dataclass(frozen=True)
class RuleSpec:
    """A RiskLimit; a limit is None where it is not set. `rate`: messages and seconds; `repeated`: executions and
    seconds. `unknown`: it also sets a limit
    that no gateway knows. Shares of capital: `drawdown`, `loss_per_minute`, `concentration`. `data_age` in seconds,
    `duplicate_ms` in milliseconds, `collar` in basis points; `hours` names a calendar, `day` a time zone and a time."""

    name: str
    strategies: frozenset[str]
    symbols: frozenset[str] = frozenset()
    total: bool = False
    enforce: bool = True
    order_quantity: Decimal | None = None
    order_notional: Decimal | None = None
    position: Decimal | None = None
    rate: tuple[int, int] | None = None
    open_orders: int | None = None
    unknown: bool = False
    daily_loss: Decimal | None = None
    drawdown: Decimal | None = None
    on_breach: str = "Block"
    collar: Decimal | None = None
    data_age: Decimal | None = None
    gross: Decimal | None = None
    net: Decimal | None = None
    concentration: Decimal | None = None
    loss_per_minute: Decimal | None = None
    duplicate_ms: int | None = None
    order_to_trade: Decimal | None = None
    rejects: int | None = None
    repeated: tuple[int, int] | None = None
    self_match: bool = False
    restricted: frozenset[str] = frozenset()
    hours: str = ""
    day: tuple[str, str] | None = None

    def binds(self, strategy: str, symbol: str) -> bool:
        """Whether it says anything about such an order."""
        return strategy in self.strategies and self.covers(symbol)

    def covers(self, symbol: str) -> bool:
        """Whether what happens in the symbol counts."""
        return not self.symbols or symbol in self.symbols

    @property
    def of_losses(self) -> tuple[str, ...]:
        """Its limits on losses."""
        limits = {
            "maxDailyLoss": self.daily_loss,
            "maxDrawdown": self.drawdown,
            "maxLossPerMinute": self.loss_per_minute,
        }
        return tuple(name for name, value in limits.items() if value is not None)

    @property
    def has_day(self) -> bool:
        """Whether it measures something from the beginning of a day."""
        return bool(self.of_losses) or self.order_to_trade is not None


@dataclass(frozen=True)
class ConfigSpec:
    """Everything that is in force under one revision."""

    revision: str
    bindings: Mapping[str, TradingState]
    rules: tuple[RuleSpec, ...]
    halted_reason: str = ""
    unreadable: str = ""
    cleared_halts: frozenset[str] = field(default=frozenset())
    # RiskLimit and breach.
    cleared_breaches: frozenset[tuple[str, str]] = field(default=frozenset())
    capital: Decimal = Decimal(0)
    # Strategy -> symbols in which it may open positions.
    tradable: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def state(self, strategy: str) -> TradingState:
        """What the strategy may do as far as the operator is concerned."""
        if self.unreadable:
            return TradingState.HALTED
        bound = self.bindings.get(strategy, TradingState.HALTED)
        if self.halted_reason:
            closes = self.halted_reason == "VenueDeleted" and bound is TradingState.FLATTEN
            return bound if closes else TradingState.HALTED
        return bound


def compiled(spec: ConfigSpec, on_record: OnRecord) -> Configuration:
    """As the gateway gets it."""
    if spec.unreadable:
        return Configuration(unreadable=spec.unreadable, bindings={})
    return Configuration(
        spec.revision,
        dict(spec.bindings),
        RuleSet(tuple(compile_rule(_message(rule)) for rule in spec.rules)),
        halted_reason=spec.halted_reason,
        on_record=on_record,
        cleared_halts=spec.cleared_halts,
        cleared_breaches=dict.fromkeys(spec.cleared_breaches, "looked into"),
        tradable=spec.tradable,
        strategy_labels={name: {"desk": desk_of(name)} for name in spec.bindings},
        capital={name: Money(spec.capital, "USD") for name in spec.bindings if spec.capital},
        source=_source(spec),
    )


_STATES = {
    TradingState.ACTIVE: config_pb2.TRADING_STATE_ACTIVE,
    TradingState.HALTED: config_pb2.TRADING_STATE_SUSPENDED,
    TradingState.FLATTEN: config_pb2.TRADING_STATE_FLATTEN,
}


def _source(spec: ConfigSpec) -> config_pb2.GatewayConfig:
    """The message that the operator would have sent: it is journaled, and the auditor judges by it."""
    bound = [
        config_pb2.StrategyBinding(
            strategy=name,
            state=_STATES[state],
            labels={"desk": desk_of(name)},
            symbols=sorted(spec.tradable.get(name, ())),
            capital=format(spec.capital, "f") if spec.capital else "",
            capital_currency="USD" if spec.capital else "",
        )
        for name, state in spec.bindings.items()
    ]
    return config_pb2.GatewayConfig(
        revision=spec.revision,
        strategies=bound,
        rules=[_message(rule) for rule in spec.rules],
        halted_reason=spec.halted_reason,
        cleared_halts=sorted(spec.cleared_halts),
        cleared_breaches=[
            config_pb2.ClearedBreach(breach=name, reason="looked into", risk_limit=risk_limit)
            for risk_limit, name in sorted(spec.cleared_breaches)
        ],
    )


def _message(spec: RuleSpec) -> config_pb2.RiskRule:
    amounts = {
        "maxOrderQuantity": spec.order_quantity,
        "maxOrderNotional": spec.order_notional,
        "maxPositionQuantity": spec.position,
        "maxDailyLoss": spec.daily_loss,
        "maxDrawdown": spec.drawdown,
        "maxLossPerMinute": spec.loss_per_minute,
        "priceCollarBps": spec.collar,
        "maxDataAgeSeconds": spec.data_age,
        "maxGrossNotional": spec.gross,
        "maxNetNotional": spec.net,
        "maxConcentration": spec.concentration,
        "duplicateWindowMillis": None if spec.duplicate_ms is None else Decimal(spec.duplicate_ms),
        "maxOrderToTradeRatio": spec.order_to_trade,
        "maxOrderVolatility": Decimal(1) if spec.unknown else None,
    }
    limits = [
        config_pb2.Limit(name=name, values={"value": format(value, "f")})
        for name, value in amounts.items()
        if value is not None
    ]
    if spec.open_orders is not None:
        limits.append(config_pb2.Limit(name="maxOpenOrders", values={"value": str(spec.open_orders)}))
    if spec.rejects is not None:
        limits.append(config_pb2.Limit(name="maxConsecutiveRejects", values={"value": str(spec.rejects)}))
    for name, rate in (("maxOrderRate", spec.rate), ("repeatedExecution", spec.repeated)):
        if rate is not None:
            values = {"count": str(rate[0]), "perSeconds": str(rate[1])}
            limits.append(config_pb2.Limit(name=name, values=values))
    if spec.self_match:
        limits.append(config_pb2.Limit(name="selfMatchPrevention", values={"value": "true"}))
    if spec.restricted:
        limits.append(
            config_pb2.Limit(name="restrictedInstruments", values={"value": ",".join(sorted(spec.restricted))})
        )
    if spec.hours:
        limits.append(config_pb2.Limit(name="tradingHours", values={"calendar": spec.hours}))
    day = None if spec.day is None else config_pb2.TradingDay(time_zone=spec.day[0], starts_at=spec.day[1])
    return config_pb2.RiskRule(
        risk_limit=spec.name,
        uid=f"uid-{spec.name}",
        strategies=sorted(spec.strategies),
        symbols=sorted(spec.symbols),
        aggregate_total=spec.total,
        enforce=spec.enforce,
        limits=limits,
        currency="USD",
        on_breach=spec.on_breach,
        day=day,
    )
