"""KillSwitch: the order to stop trading, by independent ways to every gateway."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from crowetrade_api.conditions import Condition
from crowetrade_api.model import ApiModel, DocumentedEnum
from crowetrade_api.v1alpha1.common import LabelSelector, NamespaceChoice, name_rule, rule, section
from crowetrade_api.v1alpha1.meta import (
    LENIENT,
    NOT_OBSERVED,
    REPORTED,
    Metadata,
    ObservedGeneration,
    Resource,
    Unreadable,
    printer_column,
    reported_column,
)


class KillNamespaces(NamespaceChoice):
    """Namespaces whose gateways, and whose strategies wherever they trade, are stopped."""

    from_: Literal["Same", "All", "Selector"] = Field(
        default="Same",
        alias="from",
        description="Same: the namespace of the KillSwitch. All: every namespace. Selector: those that selector "
        "selects. Whoever trades at a gateway of such a namespace is stopped, and so is every strategy of such a "
        "namespace, at gateways of other namespaces, too. All and Selector need the right to create KillSwitches in "
        "every namespace.",
    )


class KillScope(ApiModel):
    """Whom it stops. What is left out matches everything in the namespaces."""

    strategy_selector: LabelSelector = section(LabelSelector, "Strategies by their labels; empty selects all.")
    venue_selector: LabelSelector = section(LabelSelector, "VenueConnections by their labels; empty selects all.")
    namespaces: KillNamespaces = section(KillNamespaces, "Namespaces whose gateways and strategies are stopped.")


UserName = Annotated[str, StringConstraints(max_length=256)]


class KillSwitchSpec(ApiModel):
    """Whom to stop and how, and whether it is engaged."""

    scope: KillScope = section(KillScope, "Whom it stops. What is left out matches everything in the namespaces.")
    mode: Literal["Block", "CloseOnly", "Cancel", "Flatten"] = Field(
        default="Cancel",
        description="Block: no new orders; open ones stay. CloseOnly: only orders that reduce a position. Cancel: no "
        "new orders, and open ones are cancelled. Flatten: as Cancel, and positions are closed. While it is engaged it "
        "only gets harder: Block or CloseOnly, which are not comparable, then Cancel, then Flatten.",
    )
    engaged: bool = Field(
        default=False,
        description="True stops trading. Setting it back to false re-arms: another person than the one in engagedBy "
        "has to do it, who may rearm (verb rearm on killswitches).",
    )
    reason: str = Field(
        default="",
        description="Why it is engaged, or why it was re-armed.",
        max_length=512,
    )
    engaged_by: UserName = Field(
        default="",
        description="User name of who engaged it. May be left out in a hurry; it has to be given before it can be "
        "re-armed, and can only be the name of who writes it.",
    )


class KillState(DocumentedEnum):
    """One word for people about a KillSwitch."""

    ARMED = "Armed", "It is not engaged: nothing is stopped."
    ENGAGING = "Engaging", "It is engaged, and not every gateway has acknowledged that nothing is left open."
    HALTED = (
        "Halted",
        "Every gateway concerned has stopped what it stops, the venues have confirmed every cancel, and with Flatten "
        "no position is open.",
    )
    REARMING = "Rearming", "It is no longer engaged, and a gateway still has it in force."
    UNKNOWN = "", "The operator has not written it yet."


class KillAcknowledgements(ApiModel):
    """Gateways that have stopped what it stops."""

    acknowledged: int = Field(default=0, description="Gateways that have it in force.", ge=0)
    concerned: int = Field(default=0, description="Gateways that it concerns.", ge=0)
    summary: str = Field(default="", description="acknowledged/concerned, for people.", max_length=24)
    pending: list[Annotated[str, StringConstraints(max_length=128)]] = Field(
        default_factory=list,
        description="namespace/venue of gateways that have not acknowledged; the first 32.",
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )


class TimeToHalt(ApiModel):
    """How long gateways took from seeing the order until nothing was open any more, in ms."""

    p50: int = Field(default=0, description="Median over the gateways (nearest rank).", ge=0)
    max: int = Field(default=0, description="The slowest gateway.", ge=0)


class StillOpen(ApiModel):
    """An order that is cancelled and whose end the venue has not confirmed."""

    venue: str = Field(description="namespace/venue of the gateway.", max_length=128)
    order: str = Field(description="ClOrdID of the order.", max_length=128)


class OpenPosition(ApiModel):
    """A position that Flatten has not closed."""

    venue: str = Field(description="namespace/venue of the gateway.", max_length=128)
    strategy: str = Field(description="Who holds it, as the gateway calls it.", max_length=128)
    symbol: str = Field(description="Symbol of the instrument.", max_length=64)
    quantity: str = Field(description="Signed quantity.", max_length=64)
    reason: str = Field(default="", description="Why it is not closed, in CamelCase.", max_length=64)
    message: str = Field(default="", description="The same for people.", max_length=512)


class KillSwitchStatus(ApiModel):
    """What the gateways say; written by the operator."""

    observed_generation: ObservedGeneration = NOT_OBSERVED
    last_report_time: str | None = Field(default=None, description=REPORTED, json_schema_extra={"format": "date-time"})
    state: KillState = Field(default=KillState.UNKNOWN, description="Armed, Engaging, Halted or Rearming.")
    engaged_by: str = Field(default="", description="spec.engagedBy while it is engaged.", max_length=256)
    engaged_since: str | None = Field(
        default=None,
        description="When the operator or the first gateway saw it engaged.",
        json_schema_extra={"format": "date-time"},
    )
    acknowledgements: KillAcknowledgements = Field(
        default_factory=KillAcknowledgements, description="Gateways that have stopped what it stops."
    )
    time_to_halt_millis: TimeToHalt | None = Field(
        default=None, description="How long the gateways took, in ms; not set before the first has halted."
    )
    orders_cancelled: int = Field(default=0, description="Orders whose cancel the venue has confirmed.", ge=0)
    still_open_count: int = Field(default=0, description="Orders that are still open.", ge=0)
    still_open: list[StillOpen] = Field(
        default_factory=list,
        description="Orders that are still open; the first 32.",
        max_length=32,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["venue", "order"]},
    )
    open_positions_count: int = Field(default=0, description="Positions that Flatten has not closed.", ge=0)
    open_positions: list[OpenPosition] = Field(
        default_factory=list,
        description="Positions that Flatten has not closed; the first 32.",
        max_length=32,
        json_schema_extra={
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["venue", "strategy", "symbol"],
        },
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Ready, Engaged, Acknowledged, Reconciling; Stalled when a person has to look.",
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class KillSwitch(Resource):
    """The order to stop trading: it reaches every gateway by the gateway's own watch of the API server, by the bus and
    directly, and any one of these is enough. Nothing is deleted; what is stopped stays stopped, whatever restarts,
    until another person re-arms it."""

    PLURAL: ClassVar[str] = "killswitches"
    SINGULAR: ClassVar[str] = "killswitch"
    SHORT_NAMES: ClassVar[list[str]] = ["kill"]
    RULES: ClassVar[list[dict[str, str]]] = [
        name_rule(),
        rule(
            "!self.spec.engaged || (has(self.spec.reason) && self.spec.reason.size() > 0)",
            "spec.reason: say why it is engaged, in a few words",
        ),
    ]
    COLUMNS: ClassVar[list[dict[str, Any]]] = [
        printer_column("Engaged", ".spec.engaged", "boolean", description="Whether it stops trading."),
        printer_column("Mode", ".spec.mode", description="What it does."),
        printer_column("State", ".status.state", description="Armed, Engaging, Halted or Rearming."),
        printer_column(
            "Acked",
            ".status.acknowledgements.summary",
            description="Gateways that have it in force of those concerned.",
        ),
        printer_column("Still Open", ".status.stillOpenCount", "integer", description="Orders that are still open."),
        printer_column(
            "Positions",
            ".status.openPositionsCount",
            "integer",
            description="Positions that Flatten has not closed.",
        ),
        printer_column("Reason", ".spec.reason", description="Why it is engaged."),
        printer_column("By", ".spec.engagedBy", priority=1, description="Who engaged it."),
        reported_column(),
        printer_column("Age", ".metadata.creationTimestamp", "date", description="Time since it was created."),
    ]

    metadata: Metadata
    spec: KillSwitchSpec = Field(description="Whom to stop and how, and whether it is engaged.")
    status: Annotated[KillSwitchStatus, LENIENT] = Field(
        default_factory=KillSwitchStatus, description="What the gateways say; written by the operator."
    )


class UnreadableKillSwitch(Unreadable):
    """A KillSwitch whose spec cannot be read: it counts as engaged with mode Cancel, for every namespace that it may
    mean."""

    status: Annotated[KillSwitchStatus, LENIENT] = Field(default_factory=KillSwitchStatus)
