"""VenueConnection: one gateway to one venue."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StringConstraints

from crowetrade_api.conditions import Condition
from crowetrade_api.model import ApiModel, DocumentedEnum
from crowetrade_api.v1alpha1.common import (
    QUANTITY_LENGTH,
    SELECTOR_WRITTEN,
    CalendarName,
    Currency,
    Labels,
    LabelSelector,
    NamespaceChoice,
    PositiveDecimal,
    Resources,
    SignedDecimal,
    Symbol,
    TimeOfDay,
    TimeZoneName,
    UnsignedDecimal,
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

_SUBDOMAIN = r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$"
_FILE = r"^[A-Za-z0-9_][A-Za-z0-9_./-]*\.(parquet|csv)$"
_KEY = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*\.(parquet|csv)$"
MAX_INSTRUMENTS = 500
MAX_CHARGED = 100
"""Most instruments with funding, and with rollover."""
_SPEED = r"^(max|(0|[1-9][0-9]{0,19})(\.[0-9]{1,18})?)$"


def _name(description: str, what: str) -> Any:
    message = f"must be the name of {what} in the same namespace"
    return Field(description=description, json_schema_extra=rules(rule(f"self.matches(r'{_SUBDOMAIN}')", message)))


class ClaimData(ApiModel):
    """A file on a PersistentVolumeClaim."""

    claim_name: Annotated[str, StringConstraints(max_length=253, min_length=1)] = _name(
        "Name of the PersistentVolumeClaim in the same namespace; it is mounted read-only.", "a PersistentVolumeClaim"
    )
    path: Annotated[str, StringConstraints(max_length=512)] = Field(
        description="Path of the file inside the volume, ending in .parquet or .csv.",
        json_schema_extra=rules(
            rule(
                f"self.matches(r'{_FILE}') && !self.contains('..')",
                "must be a relative path inside the volume that ends in .parquet or .csv, without '..'",
            )
        ),
    )


class ConfigMapData(ApiModel):
    """A file in a ConfigMap (1 MiB at most)."""

    name: Annotated[str, StringConstraints(max_length=253, min_length=1)] = _name(
        "Name of the ConfigMap in the same namespace.", "a ConfigMap"
    )
    key: Annotated[str, StringConstraints(max_length=253)] = Field(
        description="Key in the ConfigMap that holds the file, ending in .parquet or .csv.",
        json_schema_extra=rules(rule(f"self.matches(r'{_KEY}')", "must be a key that ends in .parquet or .csv")),
    )


class SimulatedData(ApiModel):
    """One recording: exactly one of sample, persistentVolumeClaim and configMap."""

    symbol: Symbol | None = Field(
        default=None,
        description="Instrument that the recording is of. Leave it out when it is the only recording and has a symbol "
        "column that says which row is of which instrument.",
    )
    sample: Annotated[str, StringConstraints(max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] | None = (
        Field(
            default=None,
            description="A recording in the gateway image: eurusd-1h (EUR/USD, hourly ask bars of 2017) or "
            "googl-1d (Alphabet class A, daily bars of 2009 to 2018).",
            json_schema_extra=rules(
                rule(
                    "self.matches(r'^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
                    "must be the name of a sample in lower case, such as eurusd-1h",
                )
            ),
        )
    )
    persistent_volume_claim: ClaimData | None = Field(
        default=None, description="A file of your own on a volume: quotes, depth, trades or bars as Parquet or CSV."
    )
    config_map: ConfigMapData | None = Field(default=None, description="A small file of your own in a ConfigMap.")
    spread_bps: UnsignedDecimal = Field(
        default="1",
        description="Bid-ask spread that is put around bars, which have none, in basis points of the close. "
        "Quotes keep their own.",
    )
    quote_quantity: PositiveDecimal = Field(
        default="1000000",
        description="Quantity that is assumed at the best bid and offer where the recording has none, "
        "in units of the base asset.",
    )


class Replay(ApiModel):
    """How the recording is played."""

    speed: Annotated[str, StringConstraints(max_length=40, pattern=_SPEED)] = Field(
        default="1",
        description='Recorded seconds for each second of the clock: "1" as recorded, "60" sixty times as fast, '
        '"max" as fast as the strategies follow, one event after the other and always with the same result.',
        json_schema_extra=rules(
            rule(
                f"self.matches(r'{_SPEED}') && self.matches(r'[1-9m]')",
                'must be a decimal number above zero in quotes such as "60", or "max"',
            )
        ),
    )
    loop: bool = Field(default=False, description="True starts again at the end; false ends the session there.")
    max_gap_seconds: PositiveDecimal | None = Field(
        default=None,
        description="Longest pause in recorded seconds: longer ones are shortened to it. Not set: as recorded.",
    )


class FeeTier(ApiModel):
    """Fees of an account that has traded much."""

    from_notional: PositiveDecimal = Field(
        description="Notional that the account has traded in this currency in the last 30 days UTC, today included, "
        "from which on these fees hold."
    )
    maker_bps: SignedDecimal = Field(description="For orders that rested in the book.")
    taker_bps: SignedDecimal = Field(description="For orders that traded at once.")


class Fees(ApiModel):
    """Fees in basis points of the notional; negative is a rebate."""

    maker_bps: SignedDecimal = Field(default="0", description="For orders that rested in the book.")
    taker_bps: SignedDecimal = Field(default="0", description="For orders that traded at once.")
    tiers: list[FeeTier] = Field(
        default_factory=list,
        description="Other fees for an account that has traded more; the highest one reached holds.",
        max_length=20,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["fromNotional"]},
    )


class Funding(ApiModel):
    """What positions in a perpetual pay each other."""

    symbol: Symbol = Field(description="Instrument, one of spec.instruments.")
    rate_bps: SignedDecimal = Field(
        description="What a long position pays and a short one receives each time, in basis points of the notional at "
        "the middle of the last quote; negative is the other way round."
    )
    every_hours: Literal[1, 2, 3, 4, 6, 8, 12, 24] = Field(
        default=8,
        description="Hours between two payments, counted from midnight UTC.",
        json_schema_extra={"minimum": 1, "maximum": 24},
    )


class Rollover(ApiModel):
    """What a position that is held over the end of the day pays. On Wednesday three days are charged, because what is
    rolled over then settles after the weekend; on Saturday and Sunday nothing is."""

    symbol: Symbol = Field(description="Instrument, one of spec.instruments.")
    long_bps: SignedDecimal = Field(
        description="What a long position pays for a day, in basis points of the notional at the middle of the last "
        "quote; negative is received."
    )
    short_bps: SignedDecimal = Field(description="What a short position pays for a day; negative is received.")
    at: TimeOfDay = Field(default="17:00", description="End of the day, as HH:MM in timeZone.")
    time_zone: TimeZoneName = Field(default="America/New_York", description="IANA time zone of the end of the day.")


class ShortSelling(DocumentedEnum):
    """Whether an account may sell what it does not hold."""

    ALLOWED = "Allowed", "The account may sell more than it holds."
    FORBIDDEN = (
        "Forbidden",
        "An order to sell more than the account holds is rejected; what works already counts as sold.",
    )


class Latency(ApiModel):
    """Delays in the time of the recording."""

    order_millis: int = Field(
        default=0, description="From an order's leaving to its place in the market, in ms.", ge=0, le=60_000
    )
    market_data_millis: int = Field(
        default=0, description="From a quote in the market to its arrival at the gateway, in ms.", ge=0, le=60_000
    )


class QueueModel(DocumentedEnum):
    """How a resting order's place in the market's queue is modelled."""

    NONE = "None", "Not at all: a resting order fills when the other side of the market reaches its price."
    PROBABILISTIC = (
        "Probabilistic",
        "What a level loses without trades was cancelled ahead and behind, in likely shares.",
    )
    PRICE_TIME = "PriceTime", "What a level loses without trades was cancelled behind, as long as that can be."


def _hash_of_key(alias: str, description: str) -> Any:
    rule_ = rule("self.matches(r'^[0-9a-f]{64}$')", "must be 64 lower-case hex digits: printf %s KEY | sha256sum")
    return Field(default=None, alias=alias, max_length=64, description=description, json_schema_extra=rules(rule_))


class Simulated(ApiModel):
    """A venue that matches orders against recorded market data: the best bid and offer, or the recorded depth, which
    orders walk. The account's own orders do not move the market."""

    data: list[
        Annotated[
            SimulatedData,
            Field(
                json_schema_extra=rules(
                    rule(
                        "[has(self.sample), has(self.persistentVolumeClaim), has(self.configMap)]"
                        ".filter(x, x).size() == 1",
                        "data: set exactly one of sample, persistentVolumeClaim and configMap",
                    ),
                    rule(
                        "has(self.symbol) || !has(self.sample)",
                        "data: a sample has no symbol column: write the symbol of its instrument, such as EUR-USD",
                    ),
                )
            ),
        ]
    ] = Field(
        description="Recorded market data: one recording for each instrument, or a single one without symbol whose "
        "file has a symbol column. An instrument with quotes or depth may have a second one with its trades. "
        "Recordings are merged in the order of their times.",
        min_length=1,
        max_length=MAX_INSTRUMENTS,
        json_schema_extra={"x-kubernetes-list-type": "atomic"},
    )
    replay: Replay = section(Replay, "How the recording is played.")
    fees: Fees = section(Fees, "Fees in basis points of the notional; negative is a rebate.")
    latency: Latency = section(Latency, "Delays in the time of the recording.")
    queue_model: QueueModel = Field(
        default=QueueModel.NONE,
        description="How a resting order's place in the market's queue is modelled; what is not None needs recorded "
        "depth of each instrument, and should have its trades. "
        + " ".join(f"{word}: {word.doc}" for word in QueueModel),
    )
    funding: list[Funding] = Field(
        default_factory=list,
        description="What positions in perpetuals pay each other at fixed hours; booked with the fees.",
        max_length=MAX_CHARGED,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["symbol"]},
    )
    rollover: list[Rollover] = Field(
        default_factory=list,
        description="What positions pay for being held over the end of the day, as in FX; booked with the fees.",
        max_length=MAX_CHARGED,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["symbol"]},
    )
    short_selling: ShortSelling = Field(
        default=ShortSelling.ALLOWED,
        description="Whether the account may sell what it does not hold. "
        + " ".join(f"{word}: {word.doc}" for word in ShortSelling),
    )
    api_key_sha256: str | None = _hash_of_key(
        "apiKeySha256",
        "SHA-256 of the API key that this venue accepts, in hex: the simulation of a venue with keys. "
        "Set it together with spec.credentials.",
    )
    previous_api_key_sha256: str | None = _hash_of_key(
        "previousApiKeySha256",
        "SHA-256 of another API key that this venue accepts too, as venues do while a key is rotated.",
    )


_VAULT_PATH = r"^[A-Za-z0-9_][A-Za-z0-9_./-]*$"
_VAULT_NAME = r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$"


def _field_of_secret(purpose: str) -> Any:
    rule_ = rule(f"self.matches(r'{_VAULT_NAME}')", "must be a field name such as api-key")
    text = f"Field of the secret that holds {purpose}."
    return Field(default=None, description=text, max_length=128, json_schema_extra=rules(rule_))


class CredentialKeys(ApiModel):
    """Which field of the secret holds which key of the venue. What is not named is not read."""

    api_key: str | None = _field_of_secret("the API key")
    secret: str | None = _field_of_secret("the API secret, with which requests are signed")
    passphrase: str | None = _field_of_secret("the passphrase of the API key")
    fix_password: str | None = _field_of_secret("the password of the FIX logon (tag 554)")
    tls_key: str | None = _field_of_secret("the private key, PEM, of the TLS client certificate")

    def fields(self) -> dict[str, str]:
        """The fields of the secret by the names of the keys, as adapters ask for them."""
        return {key: str(value) for key, value in self.model_dump(by_alias=True, exclude_none=True).items()}


_SOME_KEY = rule(
    "has(self.apiKey) || has(self.secret) || has(self.passphrase) || has(self.fixPassword) || has(self.tlsKey)",
    "name one key at least, for example {apiKey: api-key}",
)


def _credential_keys() -> Any:
    return Field(
        default_factory=lambda: CredentialKeys(api_key="api-key"),
        description="Which field of the secret holds which key of the venue.",
        json_schema_extra={"default": {"apiKey": "api-key"}, **rules(_SOME_KEY)},
    )


class VaultCredentials(ApiModel):
    """The venue's keys in HashiCorp Vault."""

    path: Annotated[str, StringConstraints(max_length=253)] = Field(
        description="Path of the secret, for a KV version 2 engine with data in it: secret/data/venues/kraken.",
        json_schema_extra=rules(
            rule(f"self.matches(r'{_VAULT_PATH}')", "must be a Vault path such as secret/data/venues/kraken")
        ),
    )
    role: Annotated[str, StringConstraints(max_length=128)] = Field(
        description="Role of Vault's Kubernetes auth method. Bind it to service account venue-<name> in this "
        "namespace, with audience vault.",
        json_schema_extra=rules(rule(f"self.matches(r'{_VAULT_NAME}')", "must be a Vault role such as venue-kraken")),
    )
    keys: CredentialKeys = _credential_keys()
    engine: Literal["KeyValue", "Dynamic"] = Field(
        default="KeyValue",
        description="KeyValue: a KV version 2 engine, asked for a new version every refreshSeconds. Dynamic: an engine "
        "that makes credentials with a lease, which is renewed while it can be, and replaced before it ends.",
    )
    refresh_seconds: int = Field(
        default=60, description="How often Vault is asked for a new version, in seconds.", ge=5, le=86_400
    )


class SecretReference(ApiModel):
    """A Secret in the same namespace, with the venue's keys."""

    name: Annotated[str, StringConstraints(max_length=253, min_length=1)] = _name("Name of the Secret.", "a Secret")
    keys: CredentialKeys = _credential_keys()


class Credentials(ApiModel):
    """Where the gateway finds its venue keys. No other pod gets them."""

    vault: VaultCredentials | None = Field(default=None, description="HashiCorp Vault: for real venues.")
    secret_ref: SecretReference | None = Field(
        default=None, description="A Secret: for development only, anyone who may read it has the keys."
    )


class AllowedNamespaces(NamespaceChoice):
    """Namespaces whose strategies may trade."""

    from_: Literal["Same", "All", "Selector"] = Field(
        default="Same",
        alias="from",
        description="Same: the namespace of the VenueConnection. All: every namespace. Selector: those that selector "
        "selects.",
    )


class AllowedStrategies(ApiModel):
    """Who may trade at a venue."""

    namespaces: AllowedNamespaces = section(
        AllowedNamespaces, "Namespaces whose strategies may trade.", SELECTOR_WRITTEN
    )
    selector: LabelSelector = section(LabelSelector, "Strategies by their labels; empty admits all of them.")


class RateLimits(ApiModel):
    """Most messages that strategies may send to the venue; what is above is refused, not queued. The cancels that the
    gateway makes itself, at a halt or a lost session, always leave."""

    orders_per_second: int = Field(default=10, description="New orders each second, sustained.", ge=1, le=100_000)
    burst: int = Field(default=20, description="New orders at once after a pause.", ge=1, le=100_000)
    cancels_per_second: int = Field(
        default=20, description="Cancels each second, sustained; as many at once.", ge=1, le=100_000
    )


class CancelOnDisconnect(ApiModel):
    """What happens to a strategy's orders when its agent is gone."""

    after_seconds: int = Field(
        default=5,
        description="Its open orders are cancelled this long after the session with its agent was lost, in seconds.",
        ge=1,
        le=300,
    )


RECORDINGS_MESSAGE = (
    "spec.simulated.data: write an entry with its symbol for each of spec.instruments and no other (a second one of "
    "the same symbol may hold its trades), or a single entry without symbol: a file with a symbol column"
)


class Instrument(ApiModel):
    """An instrument of the venue, with the grid that its orders must fit."""

    symbol: Symbol = Field(description="Symbol, such as EUR-USD.")
    currency: Currency = Field(description="Currency that prices are quoted in.")
    base_currency: Currency | None = Field(
        default=None,
        description="Currency that one unit is an amount of, for a currency pair: EUR for EUR-USD. Its quotes then "
        "convert amounts for limits in another currency.",
    )
    multiplier: PositiveDecimal = Field(
        default="1",
        description="Value of one unit at a price of 1, in the currency (FIX tag 231, ContractMultiplier): the "
        "notional is quantity times price times multiplier.",
    )
    tick_size: PositiveDecimal = Field(description="Step of prices.")
    lot_size: PositiveDecimal = Field(description="Step of quantities, in units of the base asset.")
    min_quantity: PositiveDecimal = Field(description="Minimum quantity of an order, in units of the base asset.")


RequiredLimit = Literal["OrderSize", "Position", "OrderRate", "Loss"]
REQUIRED_LIMITS: tuple[RequiredLimit, ...] = ("OrderSize", "Position", "OrderRate")
LIMITS_OF_GROUP: dict[str, tuple[str, ...]] = {
    "OrderSize": ("maxOrderQuantity", "maxOrderNotional"),
    "Position": ("maxPositionQuantity", "maxGrossNotional", "maxNetNotional"),
    "OrderRate": ("maxOrderRate",),
    "Loss": ("maxDailyLoss", "maxDrawdown"),
}
"""Any one of these covers the group."""


class VenueConnectionSpec(ApiModel):
    """Which venue, with which account, key, limits and instruments."""

    type: Literal["Simulated"] = Field(
        description="Simulated: matches orders against recorded market data. The only type that is accepted for now; "
        "FIX and CCXT are refused until they exist."
    )
    simulated: Simulated | None = Field(default=None, description="Settings of type Simulated.")
    account: Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = Field(
        default="paper",
        description="Account at the venue, for the record.",
        json_schema_extra=rules(
            rule("self.matches(r'^[A-Za-z0-9][A-Za-z0-9_.-]*$')", "must be an account name such as paper-1")
        ),
    )
    credentials: Credentials | None = Field(
        default=None,
        description="Where the gateway finds its venue key. Not set: the venue wants none.",
        json_schema_extra=rules(
            rule(
                "has(self.vault) != has(self.secretRef)",
                "credentials: set exactly one of vault and secretRef",
            )
        ),
    )
    allowed_strategies: AllowedStrategies = section(
        AllowedStrategies,
        "Who may trade here, as listeners of the Gateway API say it. RiskLimits and KillSwitches of this namespace "
        "bind all of them.",
    )
    rate_limits: RateLimits = section(
        RateLimits, "Most messages that strategies may send to the venue; what is above is refused, not queued."
    )
    cancel_on_disconnect: CancelOnDisconnect = section(
        CancelOnDisconnect, "What happens to a strategy's orders when its agent is gone."
    )
    calendar: CalendarName = Field(
        default="24x7",
        description="The venue's trading days, which say when a DAY order ends: with the session in which it is "
        "entered, or between two sessions with the next one. 24x7: days end at midnight UTC. Or the name of a calendar "
        "of exchange_calendars such as XNYS, early closes included; a break ends no day. The gateway does not start "
        "with a name that is not known, and a DAY order at a time that the calendar does not cover is refused.",
    )
    instruments: list[Instrument] = Field(
        description="Instruments that may be traded there. Orders for others are refused.",
        min_length=1,
        max_length=MAX_INSTRUMENTS,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["symbol"]},
    )
    required_limits: list[RequiredLimit] = Field(
        default_factory=lambda: list(REQUIRED_LIMITS),
        description="What enforced RiskLimits must cover before anything trades here. OrderSize: maxOrderQuantity or "
        "maxOrderNotional. Position: maxPositionQuantity, maxGrossNotional or maxNetNotional. OrderRate: "
        "maxOrderRate. Loss: maxDailyLoss or maxDrawdown.",
        max_length=4,
        json_schema_extra={"default": list(REQUIRED_LIMITS), "x-kubernetes-list-type": "set"},
    )
    resources: Resources = section(Resources, "Computing resources of the gateway's pod.")
    update_policy: Literal["WhenQuiet", "Immediate"] = Field(
        default="WhenQuiet",
        description="When a change that restarts the gateway is rolled out, an upgrade of the operator included. "
        "WhenQuiet: only while no order is open there, and nothing is held that spec.instruments lists no more; the "
        "condition Reconciling says that it waits. Immediate: without that wait; open orders are cancelled first. "
        "Either way at most so many gateways of a namespace restart at once as gateway.restartsAtOnce of the chart "
        "says. A restart loses no position.",
    )
    suspend: bool = Field(
        default=False,
        description="True halts the gateway without restarting it: new orders of all strategies are refused and open "
        "ones are cancelled. False trades again.",
    )

    def uncovered(self) -> str:
        """What is wrong with the recordings of a simulated venue, in words; empty when each instrument has one."""
        if self.simulated is None:
            return ""
        recorded = [item.symbol for item in self.simulated.data]
        if recorded == [None] or set(recorded) == {item.symbol for item in self.instruments}:
            return ""
        return RECORDINGS_MESSAGE


class SessionStatus(ApiModel):
    """Session with the venue, as the gateway reports it."""

    state: str = Field(
        default="",
        description="Connecting, LoggedOn, LogonRejected, Disconnected or Ended; empty when unknown.",
        max_length=32,
    )
    since: str | None = Field(
        default=None, description="When the state last changed.", json_schema_extra={"format": "date-time"}
    )
    fencing_token: int = Field(
        default=0,
        description="Highest fencing token on record. It rises with each gateway that takes over; a gateway with a "
        "lower one has lost its journal and is halted.",
        ge=0,
    )
    pod: str = Field(default="", description="Pod that reported the token.", max_length=253)
    message: str = Field(default="", description="What the venue said.", max_length=1024)


class VenueOrdersStatus(ApiModel):
    """Counts of orders over all strategies since the journal began."""

    open: int = Field(default=0, description="Orders that work now.", ge=0)
    sent_total: int = Field(default=0, description="Orders sent to the venue.", ge=0)
    filled_total: int = Field(default=0, description="Orders filled completely.", ge=0)
    rejected_total: int = Field(default=0, description="Orders refused by the risk gate or the venue.", ge=0)
    throttled_total: int = Field(default=0, description="Orders and cancels refused by rateLimits.", ge=0)
    latency_p99_millis: str | None = Field(
        default=None,
        alias="latencyP99Millis",
        description="99th percentile of the time from order received to order sent, in ms; not set before the first.",
        max_length=24,
    )


class JournalStatus(ApiModel):
    """The gateway's journal."""

    sequence: int = Field(
        default=0, description="Highest sequence on record: a journal that ends before it is incomplete.", ge=0
    )


class VenuePositionStatus(ApiModel):
    """What the account holds in one instrument, whoever owns it."""

    symbol: str = Field(description="Instrument symbol.", max_length=64)
    quantity: str = Field(description="Signed quantity over all owners, in units.", max_length=QUANTITY_LENGTH)
    unattributed: str = Field(
        default="0",
        description="Of that, what belongs to no Strategy that trades here any more.",
        max_length=QUANTITY_LENGTH,
    )


class VenuePhase(DocumentedEnum):
    """One word for people about a VenueConnection."""

    PENDING = "Pending", "The user has something to do first: Vault is not configured, or the cluster refuses the pod."
    STARTING = "Starting", "The gateway or its session is on the way."
    CONNECTED = "Connected", "The gateway is logged on at its venue."
    ENDED = "Ended", "The recording has been played to its end."
    SUSPENDED = "Suspended", "spec.suspend is true, and no order is open."
    HALTED = "Halted", "The gateway refuses every new order until a person has looked."
    REFUSED = "Refused", "The venue rejected the logon."
    DEGRADED = "Degraded", "It was connected, or its gateway cannot run."
    STOPPING = "Stopping", "Open orders are cancelled because of a suspension or a deletion."
    UNKNOWN = "", "The operator has not written it yet."


class VenueConnectionStatus(ApiModel):
    """How the gateway is doing; written by the operator."""

    observed_generation: ObservedGeneration = NOT_OBSERVED
    last_report_time: str | None = Field(default=None, description=REPORTED, json_schema_extra={"format": "date-time"})
    phase: VenuePhase = Field(
        default=VenuePhase.UNKNOWN, description="One word for people, derived from the conditions."
    )
    session: SessionStatus = Field(default_factory=SessionStatus, description="Session with the venue.")
    journal: JournalStatus = Field(default_factory=JournalStatus, description="The gateway's journal.")
    orders: VenueOrdersStatus = Field(default_factory=VenueOrdersStatus, description="Counts of orders.")
    positions: list[VenuePositionStatus] = Field(
        default_factory=list,
        description="What the account holds by instrument; the first 500 by symbol.",
        max_length=MAX_INSTRUMENTS,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["symbol"]},
    )
    config_revision: str = Field(
        default="", description="Revision of the limits and bindings that the gateway enforces.", max_length=80
    )
    conditions: list[Condition] = Field(
        default_factory=list,
        description="Ready, SessionEstablished, CredentialsReady, Reconciling; Stalled, Suspended, Halted, "
        "StrategiesRefused, KillSwitchesNotWatched and Paused when they have something to say.",
        max_length=16,
        json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
    )


class VenueConnection(Resource):
    """A connection to one venue: a gateway in a pod of its own that alone holds the session, the venue's key and the
    way out. Every order of every strategy passes its risk gate and its journal before it is sent."""

    PLURAL: ClassVar[str] = "venueconnections"
    SINGULAR: ClassVar[str] = "venueconnection"
    SHORT_NAMES: ClassVar[list[str]] = ["venue"]
    RULES: ClassVar[list[dict[str, str]]] = [
        name_rule(),
        rule(
            "self.spec.type != 'Simulated' || has(self.spec.simulated)",
            "spec.simulated is required when spec.type is Simulated: write simulated: {data: [{symbol: EUR-USD, "
            "sample: eurusd-1h}]}",
        ),
        rule(
            "!has(self.spec.simulated) || (self.spec.simulated.data.size() == 1 "
            "&& !has(self.spec.simulated.data[0].symbol)) || "
            # A list of one list: CEL has no variables, and `exists` inside `all` costs too much for 500 of each.
            "([self.spec.simulated.data.map(d, has(d.symbol) ? d.symbol : '')].all(recorded, "
            "self.spec.instruments.all(i, i.symbol in recorded)) "
            "&& [self.spec.instruments.map(i, i.symbol)].all(listed, "
            "self.spec.simulated.data.all(d, has(d.symbol) && d.symbol in listed)))",
            RECORDINGS_MESSAGE,
        ),
        rule(
            "!has(self.spec.simulated) || self.spec.simulated.queueModel == 'None' "
            "|| !self.spec.simulated.data.exists(d, has(d.sample))",
            "spec.simulated.queueModel: a sample has no depth (l2), which PriceTime and Probabilistic need: write "
            "None, or name recordings of depth in data",
        ),
        rule(
            "!has(self.spec.simulated) || [self.spec.instruments.map(i, i.symbol)].all(listed, "
            "(!has(self.spec.simulated.funding) || self.spec.simulated.funding.all(f, f.symbol in listed)) "
            "&& (!has(self.spec.simulated.rollover) || self.spec.simulated.rollover.all(r, r.symbol in listed)))",
            "spec.simulated.funding and spec.simulated.rollover: each symbol must be one of spec.instruments",
        ),
        rule(
            "!has(self.spec.simulated) || !has(self.spec.simulated.previousApiKeySha256) || "
            "has(self.spec.simulated.apiKeySha256)",
            "spec.simulated.previousApiKeySha256 is of a second key: write spec.simulated.apiKeySha256, too",
        ),
        rule(
            "has(self.spec.credentials) == (has(self.spec.simulated) && has(self.spec.simulated.apiKeySha256))",
            "spec.credentials and spec.simulated.apiKeySha256 belong together: set both (a simulated venue that asks "
            "for a key) or none",
        ),
    ]
    COLUMNS: ClassVar[list[dict[str, Any]]] = [
        printer_column("Type", ".spec.type", description="Simulated."),
        printer_column("Phase", ".status.phase", description="What it does, in one word."),
        printer_column("Session", ".status.session.state", description="Session with the venue."),
        printer_column("Open Orders", ".status.orders.open", "integer", description="Orders that work now."),
        printer_column("Latency p99", ".status.orders.latencyP99Millis", description="Order received to sent, ms."),
        printer_column(
            "Throttled", ".status.orders.throttledTotal", "integer", description="Orders and cancels refused."
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
    spec: VenueConnectionSpec = Field(description="Which venue, with which account, key, limits and instruments.")
    status: Annotated[VenueConnectionStatus, LENIENT] = Field(
        default_factory=VenueConnectionStatus, description="How the gateway is doing; written by the operator."
    )

    def refusal(self, namespace: str, strategy_labels: Labels, namespace_labels: Labels | None) -> str:
        """Why a Strategy of this namespace with these labels may not trade here, with what to do; empty when it may.
        `namespace_labels` None: they are not known."""
        allowed, name = self.spec.allowed_strategies, f"VenueConnection {self.namespace}/{self.name}"
        admitted = allowed.namespaces.selects(self.namespace, namespace, namespace_labels)
        if admitted is None:
            return (
                f"{name} admits namespaces by their labels, and those of namespace {namespace} cannot be read: "
                "give the operator the right to get the namespace"
            )
        if not admitted:
            return (
                f"{name} does not admit strategies of namespace {namespace}: who owns it has to select the namespace "
                "in spec.allowedStrategies.namespaces"
            )
        if not allowed.selector.matches(strategy_labels):
            return f"{name} admits strategies by their labels: see spec.allowedStrategies.selector there"
        return ""


class UnreadableVenue(Unreadable):
    """A VenueConnection whose spec cannot be read: its gateway is halted."""

    status: Annotated[VenueConnectionStatus, LENIENT] = Field(default_factory=VenueConnectionStatus)
