"""RiskLimit: limits that every gateway concerned enforces before an order leaves."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field

from crowetrade_api.conditions import Condition
from crowetrade_api.model import ApiModel
from crowetrade_api.v1alpha1.common import (
    QUANTITY_LENGTH,
    LabelSelector,
    PositiveDecimal,
    Symbol,
    name_rule,
    section,
)
from crowetrade_api.v1alpha1.meta import LENIENT, Metadata, Resource, Unreadable, printer_column


class Scope(ApiModel):
    """Whom the limits bind. What is left out matches everything in the namespace."""

    strategy_selector: LabelSelector = section(LabelSelector, "Strategies by their labels; empty selects all.")
    venue_selector: LabelSelector = section(LabelSelector, "VenueConnections by their labels; empty selects all.")
    instruments: list[Symbol] = Field(
        default_factory=list,
        description="Instruments by symbol; empty means all.",
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class OrderRate(ApiModel):
    """Most order messages in a sliding window."""

    count: int = Field(description="Messages in the window: new orders and cancels.", ge=1, le=1_000_000)
    per_seconds: int = Field(description="Length of the window in seconds.", ge=1, le=86_400)


class Limits(ApiModel):
    """The limits; those left out are not set, and at least one is. Other limits are refused until they exist."""

    # A limit that a newer version added is kept: gateways that do not know it block, and say so.
    model_config = ConfigDict(extra="allow")

    max_order_quantity: PositiveDecimal | None = Field(
        default=None, description="Highest quantity of one order, in units of the base asset."
    )
    max_order_notional: PositiveDecimal | None = Field(
        default=None,
        description="Highest quantity times price times multiplier of one order, in the quote currency.",
    )
    max_position_quantity: PositiveDecimal | None = Field(
        default=None,
        description="Highest absolute position in one instrument, working orders counted as if filled, "
        "in units of the base asset.",
    )
    max_order_rate: OrderRate | None = Field(
        default=None, description="Most order messages in a sliding window; new orders and cancels count."
    )


class RiskLimitSpec(ApiModel):
    """Whom the limits bind, how they count, and the limits."""

    scope: Scope = section(Scope, "Whom the limits bind. What is left out matches everything in the namespace.")
    aggregate: Literal["PerStrategy", "Total"] = Field(
        default="PerStrategy",
        description="PerStrategy: the limits hold for each strategy alone. Total: for all strategies that the scope "
        "selects together, at each gateway.",
    )
    enforcement: Literal["Enforce", "Observe"] = Field(
        default="Enforce",
        description="Enforce: an order that breaks a limit is refused. Observe: it is counted and logged and passes; "
        "an observed limit does not count as a limit in force, so it does not let a strategy trade.",
    )
    limits: Limits = Field(
        description="The limits; at least one. A strategy without any limit in force cannot trade.",
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": "has(self.maxOrderQuantity) || has(self.maxOrderNotional) || "
                    "has(self.maxPositionQuantity) || has(self.maxOrderRate)",
                    "message": "limits: set at least one of maxOrderQuantity, maxOrderNotional, maxPositionQuantity "
                    "and maxOrderRate",
                }
            ]
        },
    )
    on_breach: Literal["Block"] = Field(
        default="Block",
        description="Block: the order that would break a limit is refused. The only answer that is accepted for now.",
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
    key: str = Field(description="What it counts: strategy/venue/symbol, strategy, or - for all.", max_length=192)
    used: str = Field(description="Used, in the limit's unit.", max_length=QUANTITY_LENGTH)
    limit: str = Field(description="The limit, in its unit.", max_length=QUANTITY_LENGTH)
    ratio: str = Field(default="", description="used / limit with three decimals.", max_length=24)


class RiskSummary(ApiModel):
    """Strings for the columns of kubectl get."""

    scope: str = Field(default="", description="Whom it binds.", max_length=256)
    utilisation: str = Field(default="", description="The limit that is used most.", max_length=128)


class RiskLimitStatus(ApiModel):
    """Where the limits are in force and how much of them is used; written by the operator."""

    observed_generation: int = Field(default=0, description="metadata.generation that this status was made for.", ge=0)
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
        description="Use of the limits; the 16 highest.",
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name", "venue", "key"]},
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Ready, Enforced; Paused when reconciling is.",
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


class UnreadableLimit(Unreadable):
    """A RiskLimit whose spec cannot be read: the venues of its namespace are halted."""

    status: Annotated[RiskLimitStatus, LENIENT] = Field(default_factory=RiskLimitStatus)
