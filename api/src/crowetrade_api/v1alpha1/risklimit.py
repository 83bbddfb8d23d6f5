"""RiskLimit: limits that every gateway concerned enforces before an order leaves."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel

from crowetrade_api.conditions import Condition
from crowetrade_api.model import ApiModel
from crowetrade_api.names import CLEAR_BREACH_ANNOTATION
from crowetrade_api.v1alpha1.common import (
    QUANTITY_LENGTH,
    SELECTOR_WRITTEN,
    CalendarName,
    Currency,
    Fraction,
    LabelSelector,
    NamespaceChoice,
    PositiveDecimal,
    TimeOfDay,
    TimeZoneName,
    VenueSymbol,
    name_rule,
    section,
)
from crowetrade_api.v1alpha1.meta import (
    LENIENT,
    NOT_OBSERVED,
    REPORTED,
    Metadata,
    ObservedGeneration,
    Resource,
    Unreadable,
    printer_column,
    reasoned,
    reported_column,
)


class StrategyNamespaces(NamespaceChoice):
    """Whose strategies, of those that trade at the venues of this namespace."""

    from_: Literal["Same", "All", "Selector"] = Field(
        default="All",
        alias="from",
        description="All: whoever trades at a venue of this namespace. Same: strategies of this namespace alone. "
        "Selector: those of the namespaces that selector selects.",
    )


class Scope(ApiModel):
    """Whom the limits bind, of those who trade at the venues of this namespace, whatever namespace they are of. What is
    left out matches everything."""

    strategy_selector: LabelSelector = section(LabelSelector, "Strategies by their labels; empty selects all.")
    strategy_namespaces: StrategyNamespaces = section(
        StrategyNamespaces,
        "Whose strategies, of those that trade at the venues of this namespace.",
        SELECTOR_WRITTEN,
    )
    venue_selector: LabelSelector = section(LabelSelector, "VenueConnections by their labels; empty selects all.")
    instruments: list[VenueSymbol] = Field(
        default_factory=list,
        description="Instruments by symbol, or by venue/symbol for one venue alone; empty means all.",
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class Rate(ApiModel):
    """So many in a sliding window."""

    count: int = Field(description="How many in the window.", ge=1, le=1_000_000)
    per_seconds: int = Field(description="Length of the window in seconds.", ge=1, le=86_400)


class TradingHours(ApiModel):
    """When orders may leave."""

    calendar: CalendarName = Field(
        description="24x7, or the name of a calendar of exchange_calendars such as XNYS: orders leave in its sessions."
    )


class TradingDay(ApiModel):
    """When the trading day begins."""

    time_zone: TimeZoneName = Field(
        description="IANA name of the time zone of startsAt, such as Europe/Zurich or America/New_York."
    )
    starts_at: TimeOfDay = Field(
        default="00:00",
        description="When each day begins on the clock of timeZone, as HH:MM. A time that the clock leaves out in "
        "spring is the moment of the change, and of one that comes twice in autumn the first counts; those days have "
        "23 and 25 hours.",
    )


VALUES = "By the last quotes, whatever their age while the feed is alive."
MARKS = f"{VALUES[:-1]}, unless maxDataAgeSeconds is set beside it."


class Limits(ApiModel):
    """The limits; those left out are not set, and at least one is. Other limits are refused until they exist."""

    # A limit that a newer version added is kept: gateways that do not know it block, and say so.
    model_config = ConfigDict(extra="allow")

    max_order_quantity: PositiveDecimal | None = Field(
        default=None, description="Highest quantity of one order, in units of the base asset."
    )
    max_order_notional: PositiveDecimal | None = Field(
        default=None,
        description="Highest quantity times price times multiplier of one order, in spec.currency.",
    )
    price_collar_bps: PositiveDecimal | None = Field(
        default=None,
        description="How far the limit price of an order may be on the worse side of the touch, in basis points of it: "
        "above the offer for a buy, below the bid for a sell.",
    )
    max_order_rate: Rate | None = Field(
        default=None,
        description="Most order messages in a sliding window; new orders, cancels and replacements count, refused ones "
        "too.",
    )
    max_open_orders: int | None = Field(default=None, description="Most orders that work at once.", ge=1, le=1_000_000)
    max_position_quantity: PositiveDecimal | None = Field(
        default=None,
        description="Highest absolute position in one instrument, working orders counted as if filled, "
        "in units of the base asset.",
    )
    max_gross_notional: PositiveDecimal | None = Field(
        default=None,
        description="Highest sum of the absolute values of all positions, working orders counted as if filled on the "
        "worse side, in spec.currency. " + VALUES,
    )
    max_net_notional: PositiveDecimal | None = Field(
        default=None,
        description="Highest absolute value of the sum of all positions, long minus short, working orders of one side "
        "counted as if filled, in spec.currency. " + VALUES,
    )
    max_concentration: Fraction | None = Field(
        default=None,
        description="Highest value in one instrument, working orders counted as if filled, as a share of "
        "spec.capital of the strategies counted.",
    )
    max_daily_loss: PositiveDecimal | None = Field(
        default=None,
        description="Highest loss since the trading day began, realised and unrealised with fees, in spec.currency. "
        + MARKS,
    )
    max_drawdown: Fraction | None = Field(
        default=None,
        description="Highest loss from the peak of profit and loss, as a share of spec.capital of the strategies "
        "counted. " + MARKS,
    )
    max_loss_per_minute: Fraction | None = Field(
        default=None,
        description="Highest loss within any 60 seconds, as a share of spec.capital of the strategies counted. "
        + MARKS,
    )
    max_consecutive_rejects: int | None = Field(
        default=None,
        description="Most orders in a row that the gateway refuses or the venue rejects; one more is a breach.",
        ge=1,
        le=1_000_000,
    )
    max_data_age_seconds: PositiveDecimal | None = Field(
        default=None,
        description="Oldest quote, in seconds since it was received, by which an order of its instrument is judged, "
        "and by which profit and loss and rates of exchange are.",
    )
    duplicate_window_millis: int | None = Field(
        default=None,
        description="An order with the same instrument, side, quantity, type and price as one sent less than this "
        "long ago is refused, in milliseconds.",
        ge=1,
        le=86_400_000,
    )
    repeated_execution: Rate | None = Field(
        default=None,
        description="Most executions of one strategy in one instrument on one side in a sliding window; one more is a "
        "breach, and the strategy stays disabled until a person clears it.",
    )
    max_order_to_trade_ratio: PositiveDecimal | None = Field(
        default=None,
        description="Most order messages for each execution in the trading day; judged from 100 messages on.",
    )
    self_match_prevention: bool | None = Field(
        default=None,
        description="True refuses an order that could trade with a working order of the same account.",
    )
    restricted_instruments: list[VenueSymbol] | None = Field(
        default=None,
        description="Instruments that may not be traded, by symbol or by venue/symbol; a position in one can be "
        "reduced.",
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    trading_hours: TradingHours | None = Field(
        default=None, description="When orders may leave; one that only reduces a position always may."
    )


LIMIT_NAMES = tuple(to_camel(name) for name in Limits.model_fields)
"""Fields of spec.limits."""


class RiskLimitSpec(ApiModel):
    """Whom the limits bind, how they count, and the limits."""

    scope: Scope = section(
        Scope,
        "Whom the limits bind, of those who trade at this namespace's venues; what is left out matches all.",
    )
    aggregate: Literal["PerStrategy", "Total"] = Field(
        default="PerStrategy",
        description="PerStrategy: the limits hold for each strategy alone, at each gateway. Total: for all strategies "
        "that the scope selects together, over instruments, venues and gateways; over several gateways the limit is "
        "split into shares that follow demand. maxConsecutiveRejects is divided evenly, rounded down, and "
        "maxOrderToTradeRatio holds at each gateway; maxPositionQuantity counts for each symbol of each venue.",
    )
    enforcement: Literal["Enforce", "Observe"] = Field(
        default="Enforce",
        description="Enforce: an order that breaks a limit is refused. Observe: it is counted and logged and passes; "
        "an observed limit does not count as a limit in force, so it does not let a strategy trade.",
    )
    currency: Currency = Field(
        default="USD",
        description="Currency of amounts of money in the limits. Amounts in another currency are converted at the mid "
        "of an instrument of the venue with that baseCurrency and currency; without one the order is refused.",
    )
    day: TradingDay | None = Field(
        default=None,
        description="When the trading day of maxDailyLoss and maxOrderToTradeRatio begins. Default: at the end of "
        "each session of limits.tradingHours.calendar, and without tradingHours at midnight UTC. A change of it begins "
        "no new day: the present one goes on until the next begins.",
    )
    limits: Limits = Field(
        description="The limits; at least one. A strategy without any limit in force cannot trade.",
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": " || ".join(f"has(self.{name})" for name in LIMIT_NAMES),
                    "message": f"limits: set at least one of {', '.join(LIMIT_NAMES)}",
                }
            ]
        },
    )
    warn_at: Fraction = Field(
        default="0.7",
        description="Share of a limit from which its use is warned about: an event, a metric and condition Warning.",
    )
    on_breach: Literal["Alert", "Slow", "Block", "CloseOnly", "Cancel", "Flatten"] = Field(
        default="Block",
        description="What a breach does to the strategies bound until a person clears it (annotation "
        "trading.crowetrade.io/clear-breach). Alert: it is told. Slow: one order each second. Block: no new orders. "
        "CloseOnly: only orders that reduce a position. Cancel: no new orders, open ones are cancelled. Flatten: as "
        "Cancel, and positions are closed. An order that would break a limit is refused whatever stands here; "
        "breaches are losses, rejects and executions in a row, the order-to-trade ratio, and an exposure that the "
        "market has moved above its limit.",
    )


class GatewaysStatus(ApiModel):
    """Gateways that enforce this generation."""

    acknowledged: int = Field(default=0, description="Gateways that enforce it.", ge=0)
    concerned: int = Field(default=0, description="Gateways that it concerns.", ge=0)
    summary: str = Field(default="", description="acknowledged/concerned, for people.", max_length=16)


class UtilisationStatus(ApiModel):
    """Use of one limit, as a gateway counts it."""

    name: str = Field(description="Field of spec.limits.", max_length=64)
    venue: str = Field(description="Name of the VenueConnection whose gateway counts it.", max_length=63)
    key: str = Field(description="What it counts: strategy/venue/symbol, strategy, or - for all.", max_length=256)
    used: str = Field(description="Used, in the limit's unit.", max_length=QUANTITY_LENGTH)
    limit: str = Field(description="The limit, in its unit.", max_length=QUANTITY_LENGTH)
    ratio: str = Field(
        default="",
        description="used / limit with three decimals, at most 1000000; so much where the limit is 0 and some is used.",
        max_length=24,
    )
    share: str = Field(
        default="",
        description="Share of the whole limit that this gateway holds, from 0 to 1; empty where it is not split.",
        max_length=24,
    )


class BreachStatus(ApiModel):
    """A breach that nobody has cleared yet."""

    id: str = Field(description="What the annotation clear-breach has to name.", max_length=256)
    limit: str = Field(description="Field of spec.limits.", max_length=64)
    strategy: str = Field(
        default="", description="Strategy that it stops; empty for all that are bound.", max_length=104
    )
    venue: str = Field(description="VenueConnection whose gateway found it.", max_length=63)
    action: str = Field(description="What is done about it, as spec.onBreach said at that moment.", max_length=16)
    since: str = Field(description="When it was found.", json_schema_extra={"format": "date-time"})
    message: str = Field(default="", description="What was measured.", max_length=512)


class RiskSummary(ApiModel):
    """Strings for the columns of kubectl get."""

    scope: str = Field(default="", description="Whom it binds.", max_length=256)
    utilisation: str = Field(default="", description="The limit that is used most.", max_length=128)


SHOWN_USES, SHOWN_BREACHES = 10, 16
"""A status lists no more of them."""


class RiskLimitStatus(ApiModel):
    """Where the limits are in force and how much of them is used; written by the operator."""

    observed_generation: ObservedGeneration = NOT_OBSERVED
    last_report_time: str | None = Field(default=None, description=REPORTED, json_schema_extra={"format": "date-time"})
    summary: RiskSummary = Field(default_factory=RiskSummary, description="Strings for columns.")
    gateways: GatewaysStatus = Field(
        default_factory=GatewaysStatus, description="Gateways that enforce this generation."
    )
    pending: list[Annotated[str, Field(max_length=63)]] = Field(
        default_factory=list,
        description="Venues whose gateway has not acknowledged this generation yet; the first 16.",
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    utilisation: list[UtilisationStatus] = Field(
        default_factory=list,
        description="Use of the limits; the ten highest.",
        max_length=SHOWN_USES,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "venue", "key"]},
    )
    breached: list[BreachStatus] = Field(
        default_factory=list,
        description=f"Breaches that nobody has cleared; the first {SHOWN_BREACHES}.",
        max_length=SHOWN_BREACHES,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]},
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Ready, Enforced, Reconciling; Stalled, Breached, Warning and Paused when they have something to "
        "say.",
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class RiskLimit(Resource):
    """Limits on the orders of strategies. The operator compiles them for every gateway that they concern; each
    gateway checks them before an order leaves and acknowledges the version that it enforces. A strategy that no
    RiskLimit binds cannot trade at all."""

    PLURAL: ClassVar[str] = "risklimits"
    SINGULAR: ClassVar[str] = "risklimit"
    SHORT_NAMES: ClassVar[list[str]] = ["risk"]
    RULES: ClassVar[list[dict[str, str]]] = [name_rule()]
    COLUMNS: ClassVar[list[dict[str, Any]]] = [
        printer_column("Scope", ".status.summary.scope", description="Whom it binds."),
        printer_column(
            "Enforced", ".status.gateways.summary", description="Gateways that enforce it of those concerned."
        ),
        printer_column("Utilisation", ".status.summary.utilisation", description="The limit that is used most."),
        printer_column(
            "Breached", ".status.breached[*].limit", description="Limits that are breached and not cleared."
        ),
        reported_column(),
        printer_column("Age", ".metadata.creationTimestamp", "date", description="Time since it was created."),
        printer_column(
            "Ready", '.status.conditions[?(@.type=="Ready")].status', priority=1, description="Condition Ready."
        ),
        printer_column(
            "Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1, description="Why it is or is not."
        ),
    ]

    metadata: Metadata
    spec: RiskLimitSpec = Field(description="Whom the limits bind, how they count, and the limits.")
    status: Annotated[RiskLimitStatus, LENIENT] = Field(
        default_factory=RiskLimitStatus,
        description="Where the limits are in force and how much of them is used; written by the operator.",
    )

    @property
    def cleared_breaches(self) -> dict[str, str]:
        """Breaches that a person has cleared, with the reason; an entry without one clears nothing."""
        return reasoned(self.metadata.annotations.get(CLEAR_BREACH_ANNOTATION, ""))


class UnreadableLimit(Unreadable):
    """A RiskLimit whose spec cannot be read: the venues of its namespace are halted."""

    status: Annotated[RiskLimitStatus, LENIENT] = Field(default_factory=RiskLimitStatus)
