"""Strategy: a trading strategy that the operator runs as agents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from crowetrade_api.conditions import Condition
from crowetrade_api.model import ApiModel, DocumentedEnum
from crowetrade_api.names import InstrumentAddress, VenueAddress
from crowetrade_api.v1alpha1.common import (
    QUANTITY_LENGTH,
    Currency,
    Fraction,
    PositiveDecimal,
    Probability,
    Resources,
    Symbol,
    UnsignedDecimal,
    VenueReference,
    name_rule,
    rule,
    rules,
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
    reported_column,
)

ENTRY_POINT = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*:[A-Za-z_][A-Za-z0-9_]*$"
BUILT_IN_MODELS = ("ema-crossover", "market-maker", "mean-reversion", "pair-reversion")
"""Those of the agents' registry: the API server is the first place that can refuse another name."""
QUOTING_MODEL = "market-maker"
"""The built-in model that quotes, instead of making forecasts."""
PARAMETER_NAME = r"^[A-Za-z][A-Za-z0-9_]{0,62}$"


class Capital(ApiModel):
    """Money that the strategy may size its positions with."""

    amount: PositiveDecimal = Field(description='Amount as a decimal string, such as "1000000".')
    currency: Currency = Field(
        description="Currency of the amount. The instruments must be quoted in it: see status condition VenueConnected."
    )


class TradedInstrument(ApiModel):
    """One instrument and the venue to trade it on."""

    symbol: Symbol = Field(description="Symbol as the VenueConnection declares it in spec.instruments.")
    venue_ref: VenueReference = Field(
        description="The VenueConnection, in this namespace or in another one that admits the Strategy. It may be "
        "created later: until then the condition VenueConnected names what is missing."
    )


ParameterValue = Annotated[
    int | str, Field(json_schema_extra={"x-kubernetes-int-or-string": True, "x-crowetrade-plain": True})
]


class Model(ApiModel):
    """Which model makes the signals, with its parameters."""

    name: Annotated[str, StringConstraints(max_length=63)] | None = Field(
        default=None,
        description=f"A built-in model: {' or '.join(BUILT_IN_MODELS)}. Leave it out when entryPoint is set.",
        json_schema_extra=rules(
            rule(
                f"self in {list(BUILT_IN_MODELS)}",
                f"must be a built-in model, {' or '.join(BUILT_IN_MODELS)}; for one of your own set entryPoint",
            )
        ),
    )
    entry_point: Annotated[str, StringConstraints(max_length=253)] | None = Field(
        default=None,
        description="A class in your own image as package.module:Class, made with crowetrade_agents.sdk. "
        "Set spec.agents.image to the image that holds it, and leave name out.",
        json_schema_extra=rules(
            rule(f"self.matches(r'{ENTRY_POINT}')", "must be package.module:Class, such as mypackage.alpha:MyModel")
        ),
    )
    parameters: dict[str, ParameterValue] = Field(
        default_factory=dict,
        description='Parameters of the model by name: whole numbers, or strings such as "0.25" for decimals. '
        "A parameter that the model does not know stops the agents with a message in the condition AgentsAvailable.",
        max_length=32,
        json_schema_extra=rules(
            rule(
                f"self.all(k, k.matches(r'{PARAMETER_NAME}'))",
                "parameters: names must be letters, digits and '_' and start with a letter, such as fast",
            )
        ),
    )


class EntryGate(ApiModel):
    """When a signal is good enough to be traded."""

    min_prob_edge: Probability = Field(
        default="0.5",
        description="Least probability that the edge is positive, Phi(|mu| / sigma), from 0 to less than 1. "
        "Below it the position is left as it is.",
    )
    max_sigma: PositiveDecimal | None = Field(
        default=None,
        description='Highest standard deviation of the expected return, a fraction: "0.03" is 3 %. Not set: no bound.',
    )


class Sizing(ApiModel):
    """How large a position a signal is worth."""

    method: Literal["TemperedKelly"] = Field(
        default="TemperedKelly",
        description="TemperedKelly: fraction times mu / sigma^2 of the capital, bounded by maxLeverage.",
    )
    fraction: Fraction = Field(
        default="0.25", description="Share of the full Kelly bet that is taken, above 0 and at most 1."
    )
    max_leverage: PositiveDecimal = Field(
        default="1", description="Highest sum of absolute notionals divided by the capital."
    )


class Execution(ApiModel):
    """How a wanted position becomes orders."""

    style: Literal["Limit", "Quote"] = Field(
        default="Limit",
        description="Limit: limit orders bring the position to what the model's forecast is worth. Quote: for a model "
        "that quotes, such as market-maker. Up to two post-only limit orders per instrument rest on either side of its "
        "price; entryGate and sizing.fraction do not apply, and sizing.maxLeverage, in equal shares for the "
        "instruments, bounds the positions.",
    )
    limit_offset_bps: UnsignedDecimal = Field(
        default="1",
        description="Style Limit: how far beyond the opposite best price the limit may go, in basis points of that "
        "price.",
    )
    participation_cap: Fraction | None = Field(
        default=None,
        description="Style Limit: share of the quantity quoted at the best price that one order may take, above 0 and "
        "at most 1. Not set: no cap.",
    )
    requote_ticks: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1,
        description="Style Quote: by how many ticks the price to quote must have moved for a resting quote to be "
        "replaced. A larger number keeps the place in the queue longer and sends fewer orders.",
    )
    time_in_force: Literal["IOC", "DAY", "GTC"] = Field(
        default="IOC",
        description="FIX TimeInForce: IOC trades at once what it can and cancels the rest; DAY rests until the venue's "
        "day ends (spec.calendar of the VenueConnection); GTC rests.",
    )
    slice_to_limits: bool = Field(
        default=False,
        description="True sends an order that a RiskLimit would refuse for its size in parts that the limit admits. "
        "False sends it whole: it is refused and tried again less and less often; see condition OrdersRefused.",
    )


class StandDown(ApiModel):
    """When the market data itself says that it is no time to trade. Working orders are cancelled, too."""

    on_data_gap_seconds: Annotated[int, Field(ge=1, le=86_400)] | None = Field(
        default=None,
        description="Silence beyond the usual interval of the feed that counts as a gap, in seconds. Not set: no rule.",
    )
    on_volatility_spike_sigma: PositiveDecimal | None = Field(
        default=None,
        description="Move of the mid price that counts as a spike, in standard deviations of its usual move. "
        "Not set: no rule.",
    )


class Policy(ApiModel):
    """When to trade, how much and how."""

    entry_gate: EntryGate = section(EntryGate, "When a signal is good enough to be traded.")
    sizing: Sizing = section(Sizing, "How large a position a signal is worth.")
    execution: Execution = section(
        Execution,
        "How a wanted position becomes orders.",
        # The API server judges the section's default, which is empty, before it fills that in.
        rule(
            "!has(self.style) || self.style != 'Quote' || self.timeInForce != 'IOC'",
            "execution: quotes rest, so with style Quote set timeInForce to GTC or DAY",
        ),
        rule(
            "!has(self.style) || self.style != 'Quote' || !has(self.participationCap)",
            "execution: participationCap is for style Limit; leave it out with style Quote",
        ),
    )
    stand_down: StandDown = section(
        StandDown, "When the market data itself says that it is no time to trade: working orders are cancelled, too."
    )


class Agents(ApiModel):
    """How the strategy runs in the cluster."""

    topology: Literal["Combined", "Split"] = Field(
        default="Combined",
        description="Combined: one pod runs all roles (feature, signal, portfolio, execution). "
        "Split: each role has a pod of its own and they talk over the bus. Both give the same orders.",
    )
    image: Annotated[str, StringConstraints(max_length=512)] = Field(
        default="",
        description="Container image of the agents. Empty: the image that the operator was installed with.",
        json_schema_extra=rules(
            rule(
                "self == '' || self.matches(r'^[a-z0-9][a-zA-Z0-9._:/@-]*$')",
                "must be an image reference such as registry.example.com/team/alpha:1.2.0, or empty for the default",
            )
        ),
    )
    resources: Resources = section(Resources, "Computing resources of each pod of the strategy.")
    update_policy: Literal["WhenFlat", "Immediate"] = Field(
        default="WhenFlat",
        description="When a change that restarts the agents is rolled out. WhenFlat: not before the strategy has no "
        "position and no open order, at venues that it leaves, too; the condition Reconciling says that it waits. At a "
        "venue that the spec names no more, orders may only reduce positions meanwhile. Immediate: at once. A strategy "
        "of style Quote nearly always has an open order, so set Immediate there: its orders are cancelled first. "
        "Either way, an upgrade of the operator, or another change that is not one of this spec, restarts at most so "
        "many Strategies of a namespace at once as agents.restartsAtOnce of the chart says.",
    )


class StrategySpec(ApiModel):
    """What to trade, where, with which model, and within which policy."""

    mode: Literal["Paper"] = Field(
        default="Paper",
        description="Paper: orders go to simulated venues only. It is the only mode that is accepted for now; "
        "Shadow and Live are refused until they exist.",
    )
    suspend: bool = Field(
        default=False,
        description="True stops trading without losing state: new orders are refused, open ones are cancelled, "
        "positions stay, and nothing is restarted. False trades again.",
    )
    capital: Capital = Field(description="Money that the strategy may size its positions with.")
    instruments: list[TradedInstrument] = Field(
        description="What to trade and where; each symbol once per venue. Models get them in this order.",
        min_length=1,
        max_length=16,
        json_schema_extra={
            "x-kubernetes-list-type": "atomic",
            **rules(
                rule(
                    "self.all(a, self.exists_one(b, b.symbol == a.symbol && b.venueRef.name == a.venueRef.name))",
                    "instruments: write each symbol once per venue; the same symbol at two venues is allowed",
                ),
                rule(
                    # `namespace` is a reserved word of CEL, which Kubernetes escapes so.
                    "self.all(a, self.all(b, a.venueRef.name != b.venueRef.name || "
                    "(has(a.venueRef.__namespace__) ? a.venueRef.__namespace__ : '') == "
                    "(has(b.venueRef.__namespace__) ? b.venueRef.__namespace__ : '')))",
                    "instruments: one strategy cannot trade at two venues of the same name in two namespaces; write "
                    "two strategies, and the same venueRef wherever the venue is the same",
                ),
            ),
        },
    )
    model: Model = Field(
        description="The model that makes the signals: a built-in one by name, or your own by entryPoint.",
        json_schema_extra=rules(
            rule(
                "has(self.name) != has(self.entryPoint)",
                "model: set exactly one of name (a built-in model such as ema-crossover) "
                "and entryPoint (package.module:Class in spec.agents.image)",
            )
        ),
    )
    policy: Policy = section(Policy, "When to trade, how much and how.")
    agents: Agents = section(Agents, "How the strategy runs in the cluster.")
    deletion_policy: Literal["Cancel", "Flatten"] = Field(
        default="Cancel",
        description="What happens when the Strategy is deleted. Cancel: open orders are cancelled and positions stay. "
        "Flatten: positions are closed by orders that pass the same risk checks, too.",
    )

    @property
    def venues(self) -> list[str]:
        """Names of the venues, each once, in order."""
        return list(dict.fromkeys(item.venue_ref.name for item in self.instruments))

    def namespace_of(self, venue: str, own: str) -> str:
        """Namespace of one of the venues; `own` is that of the Strategy."""
        refs = (item.venue_ref for item in self.instruments)
        return next((ref.namespace or own for ref in refs if ref.name == venue), own)


class AgentsStatus(ApiModel):
    """Agents that are ready."""

    ready: int = Field(default=0, description="Pods that are ready.", ge=0)
    desired: int = Field(default=0, description="Pods that there should be.", ge=0)
    summary: str = Field(default="", description="ready/desired, for people.", max_length=16)


class PositionStatus(ApiModel):
    """One position, as the gateway reports it: prices are rounded, the journal is exact."""

    symbol: str = Field(description="Instrument symbol.", max_length=32)
    venue: str = Field(
        description="Name of the VenueConnection; NAMESPACE/NAME where the name now means another venue.",
        max_length=127,
    )
    quantity: str = Field(description="Signed quantity in units of the base asset.", max_length=QUANTITY_LENGTH)
    average_price: str = Field(
        default="", description="Average entry price in the quote currency.", max_length=QUANTITY_LENGTH
    )
    mark_price: str = Field(
        default="",
        description="Mid price of the instrument that marks it; empty when unknown, and when the venue is gone.",
        max_length=QUANTITY_LENGTH,
    )
    mark_time: str | None = Field(
        default=None,
        description="When the gateway received that price.",
        json_schema_extra={"format": "date-time"},
    )
    last_known_time: str | None = Field(
        default=None,
        description="Set when nobody reports the position any more, because the venue is gone or its gateway is "
        "silent: until then it was known.",
        json_schema_extra={"format": "date-time"},
    )


class ProfitStatus(ApiModel):
    """Profit and loss since the gateway's journal began."""

    currency: str = Field(
        description="Currency of the amounts, that of spec.capital. What was made in instruments of another one is in "
        "none of them, and while one of those is held unrealized and net are unknown.",
        max_length=10,
    )
    realized: str = Field(default="", description="Realised, before fees.", max_length=QUANTITY_LENGTH)
    unrealized: str = Field(
        default="", description="Unrealised at the mark prices; empty when unknown.", max_length=QUANTITY_LENGTH
    )
    fees: str = Field(default="", description="Fees paid.", max_length=QUANTITY_LENGTH)
    net: str = Field(
        default="", description="realized + unrealized - fees; empty when unknown.", max_length=QUANTITY_LENGTH
    )
    last_known_time: str | None = Field(
        default=None,
        description="Set when a venue is gone or its gateway is silent: until then its part of the amounts was known.",
        json_schema_extra={"format": "date-time"},
    )


class LastRejectStatus(ApiModel):
    """The last refusal, and those before it in a row for the same reason and limit."""

    reason: str = Field(description="Why, in CamelCase.", max_length=64)
    limit: str = Field(default="", description="Name of the RiskLimit; empty when none refused it.", max_length=63)
    count: int = Field(default=0, description="How many in a row.", ge=0)
    since: str | None = Field(
        default=None, description="When the first of them was.", json_schema_extra={"format": "date-time"}
    )
    text: str = Field(default="", description="The last one's sentence.", max_length=1024)


class OrdersStatus(ApiModel):
    """Counts of orders since the gateway's journal began."""

    open: int = Field(default=0, description="Orders that work now.", ge=0)
    sent_total: int = Field(default=0, description="Orders sent to the venue.", ge=0)
    filled_total: int = Field(default=0, description="Orders filled completely.", ge=0)
    rejected_total: int = Field(default=0, description="Orders refused by the risk gate or the venue.", ge=0)
    last_reject: LastRejectStatus | None = Field(
        default=None, description="The last refusal; not set when nothing was refused."
    )


class StrategySummary(ApiModel):
    """Strings for the columns of kubectl get."""

    venues: str = Field(default="", description="Names of the venues.", max_length=512)
    position: str = Field(default="", description="Positions, for people.", max_length=512)


class StrategyPhase(DocumentedEnum):
    """One word for people about a Strategy."""

    PENDING = "Pending", "The user has something to do first: a venue, an instrument or a RiskLimit is missing."
    STARTING = "Starting", "Agents, sessions or limits are on the way."
    TRADING = "Trading", "The gateways accept its orders."
    SUSPENDED = "Suspended", "spec.suspend is true, and no order is open."
    ENDED = "Ended", "The recording of its venue has been played to its end."
    HALTED = "Halted", "A gateway of its venues refuses every new order until a person has looked."
    DEGRADED = "Degraded", "It has traded or tried to, and something is wrong."
    STOPPING = "Stopping", "Open orders are cancelled because of a suspension or a deletion."
    UNKNOWN = "", "The operator has not written it yet."


class BoundVenueStatus(ApiModel):
    """One venue whose gateway has the strategy among those that it serves."""

    namespace: str = Field(description="Namespace of the VenueConnection.", max_length=63)
    name: str = Field(description="Name of the VenueConnection.", max_length=63)
    symbols: list[Annotated[str, StringConstraints(max_length=32)]] = Field(
        default_factory=list,
        description="Symbols in which the strategy may open positions there: those of the spec once all that it names "
        "is found. In every other instrument orders may only reduce; at a venue without any symbol nothing is opened.",
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )

    @property
    def address(self) -> VenueAddress:
        """Namespace and name."""
        return VenueAddress(self.namespace, self.name)


class StrategyStatus(ApiModel):
    """How the strategy is doing; written by the operator."""

    observed_generation: ObservedGeneration = NOT_OBSERVED
    last_report_time: str | None = Field(default=None, description=REPORTED, json_schema_extra={"format": "date-time"})
    phase: StrategyPhase = Field(
        default=StrategyPhase.UNKNOWN,
        description="One word for people, derived from the conditions. Programs use the conditions.",
    )
    summary: StrategySummary = Field(default_factory=StrategySummary, description="Strings for columns.")
    agents: AgentsStatus = Field(default_factory=AgentsStatus, description="Agents that are ready.")
    config_hash: str = Field(default="", description="Hash of the configuration that the agents run.", max_length=80)
    venues: list[BoundVenueStatus] = Field(
        default_factory=list,
        description="Venues that serve the strategy: those of the spec once they are found, and those that it named "
        "before for as long as its agents trade there or something is left. A deletion asks all of them.",
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["namespace", "name"]},
    )
    position: list[PositionStatus] = Field(
        default_factory=list,
        description="Positions, as the gateways report them.",
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["symbol", "venue"]},
    )
    pnl: ProfitStatus | None = Field(default=None, description="Profit and loss.")
    orders: OrdersStatus = Field(default_factory=OrdersStatus, description="Counts of orders.")
    risk_limits: list[Annotated[str, StringConstraints(max_length=63)]] = Field(
        default_factory=list,
        description="RiskLimits in force for the strategy.",
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    admitted_venues: list[Annotated[str, StringConstraints(max_length=104)]] = Field(
        default_factory=list,
        description="Venues of other namespaces that admit it, as NAMESPACE/NAME: by this the bus lets it read their "
        "market data.",
        max_length=64,
        json_schema_extra={"x-kubernetes-list-type": "set"},
    )
    last_signal_time: str | None = Field(
        default=None, description="When the model last gave a signal.", json_schema_extra={"format": "date-time"}
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Ready, AgentsAvailable, VenueConnected, RiskBound, Trading, Reconciling; Stalled, Suspended, "
        "OrdersRefused, Halted, LeftBehind and Paused when they have something to say.",
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class Strategy(Resource):
    """A trading strategy. The operator runs it as agents in pods of their own that can reach nothing but the message
    bus, DNS and the gateways of their venues. Orders leave only through a gateway, within the RiskLimits that
    concern the strategy; without one every order is refused."""

    PLURAL: ClassVar[str] = "strategies"
    SINGULAR: ClassVar[str] = "strategy"
    SHORT_NAMES: ClassVar[list[str]] = ["strat"]
    RULES: ClassVar[list[dict[str, str]]] = [
        name_rule(),
        rule(
            f"!has(self.spec.model.name) || (self.spec.model.name == '{QUOTING_MODEL}') == "
            "(self.spec.policy.execution.style == 'Quote')",
            f"spec.policy.execution.style: model {QUOTING_MODEL} quotes, so it needs style Quote (with timeInForce GTC "
            "or DAY); the other built-in models make forecasts, so they need style Limit",
        ),
    ]
    COLUMNS: ClassVar[list[dict[str, Any]]] = [
        printer_column("Mode", ".spec.mode", description="Paper."),
        printer_column("Phase", ".status.phase", description="What it does, in one word."),
        printer_column("Venues", ".status.summary.venues", description="Venues that it trades on."),
        printer_column("Agents", ".status.agents.summary", description="Ready agents of those wanted."),
        printer_column("Position", ".status.summary.position", description="Positions."),
        printer_column("PnL", ".status.pnl.net", description="Realised and unrealised profit less fees."),
        printer_column("Last Signal", ".status.lastSignalTime", "date", description="Time since the last signal."),
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
    spec: StrategySpec = Field(description="What to trade, where, with which model, and within which policy.")
    status: Annotated[StrategyStatus, LENIENT] = Field(
        default_factory=StrategyStatus, description="How the strategy is doing; written by the operator."
    )

    @property
    def venues(self) -> list[str]:
        """Names of the venues, each once, in order."""
        return self.spec.venues

    def namespace_of(self, venue: str) -> str:
        """Namespace of one of its venues."""
        return self.spec.namespace_of(venue, self.namespace)

    @property
    def instruments(self) -> set[InstrumentAddress]:
        """What its spec names."""
        found = ((item.venue_ref, item.symbol) for item in self.spec.instruments)
        return {InstrumentAddress(VenueAddress(ref.namespace or self.namespace, ref.name), name) for ref, name in found}

    @property
    def flattens(self) -> bool:
        """Whether its deletion closes its positions."""
        return self.spec.deletion_policy == "Flatten"


class UnreadableStrategy(Unreadable):
    """A Strategy whose spec cannot be read: it is suspended at the venues that it names, as far as that can be seen."""

    status: Annotated[StrategyStatus, LENIENT] = Field(default_factory=StrategyStatus)

    @property
    def venues(self) -> list[str]:
        """Names of the venues, each once, in order."""
        return list(dict.fromkeys(str(ref["name"]) for ref in venue_refs(self.spec)))

    def namespace_of(self, venue: str) -> str:
        """Namespace of one of its venues."""
        found = (ref.get("namespace") for ref in venue_refs(self.spec) if str(ref["name"]) == venue)
        return str(next(found, None) or self.namespace)

    @property
    def instruments(self) -> set[InstrumentAddress]:
        """What its spec names, as far as that can be seen."""
        return _instruments(self.spec, self.namespace)

    @property
    def flattens(self) -> bool:
        """Whether its deletion closes its positions."""
        return isinstance(self.spec, dict) and self.spec.get("deletionPolicy") == "Flatten"


def venue_refs(spec: Any) -> list[dict[str, Any]]:
    """What a spec that may not match the schema names as venues, as far as that can be seen."""
    return [item["venueRef"] for item in _listed(spec)]


def _listed(spec: Any) -> list[dict[str, Any]]:
    """Instruments that name a venue."""
    listed = spec.get("instruments") if isinstance(spec, dict) else None
    items = [item for item in listed if isinstance(item, dict)] if isinstance(listed, list) else []
    return [item for item in items if isinstance(item.get("venueRef"), dict) and item["venueRef"].get("name")]


def _instruments(spec: Any, own: str) -> set[InstrumentAddress]:
    return {
        InstrumentAddress(
            VenueAddress(str(item["venueRef"].get("namespace") or own), str(item["venueRef"]["name"])),
            str(item.get("symbol")),
        )
        for item in _listed(spec)
    }


def named_instruments(item: Mapping[str, Any]) -> set[InstrumentAddress]:
    """What the spec of a stored Strategy names, which may not match the schema."""
    return _instruments(item.get("spec"), item["metadata"]["namespace"])


def recorded_venues(item: Mapping[str, Any]) -> dict[VenueAddress, set[str]]:
    """status.venues of a stored Strategy, as far as they can be seen: the symbols of each."""
    status = item.get("status")
    listed = status.get("venues") if isinstance(status, dict) else None
    found = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    return {
        VenueAddress(str(one["namespace"]), str(one["name"])): set(map(str, one.get("symbols") or ()))
        for one in found
        if one.get("namespace") and one.get("name")
    }


def venues_of(item: Mapping[str, Any]) -> set[VenueAddress]:
    """Venues that a stored Strategy names, and those that it may have left something at."""
    return {named.venue for named in named_instruments(item)} | recorded_venues(item).keys()
