"""Conditions: their types, their reasons, and how a new list follows an old one (KEP-1623)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Literal

from pydantic import Field

from crowetrade_api.model import ApiModel

Truth = Literal["True", "False", "Unknown"]


class ConditionType(StrEnum):
    """What a condition speaks of."""

    READY = "Ready"
    AGENTS_AVAILABLE = "AgentsAvailable"
    VENUE_CONNECTED = "VenueConnected"
    RISK_BOUND = "RiskBound"
    TRADING = "Trading"
    PROGRESSING = "Progressing"
    SESSION_ESTABLISHED = "SessionEstablished"
    CREDENTIALS_READY = "CredentialsReady"
    ENFORCED = "Enforced"
    PAUSED = "Paused"


class Reason(StrEnum):
    """Why a condition has its status; the only reasons that the operator gives."""

    # good
    AS_DESIRED = "AsDesired"
    AVAILABLE = "Available"
    LOGGED_ON = "LoggedOn"
    REPLAY_ENDED = "ReplayEnded"
    LIMITS_IN_FORCE = "LimitsInForce"
    ORDERS_ACCEPTED = "OrdersAccepted"
    NOT_REQUIRED = "NotRequired"
    DELIVERED = "Delivered"
    ACKNOWLEDGED = "Acknowledged"
    NOTHING_IN_SCOPE = "NothingInScope"
    # on the way
    STARTING = "Starting"
    ROLLING_OUT = "RollingOut"
    WAITING_FOR_FLAT = "WaitingForFlat"
    CONNECTING = "Connecting"
    WAITING_FOR_GATEWAY = "WaitingForGateway"
    WAITING_FOR_CREDENTIALS = "WaitingForCredentials"
    WARMING_UP = "WarmingUp"
    STOPPING = "Stopping"
    # wanted by the user
    SUSPENDED = "Suspended"
    OBSERVE_ONLY = "ObserveOnly"
    RECONCILING_PAUSED = "ReconcilingPaused"
    # the user has to do something
    VENUE_NOT_FOUND = "VenueNotFound"
    INSTRUMENT_UNKNOWN = "InstrumentUnknown"
    CURRENCY_MISMATCH = "CurrencyMismatch"
    NO_LIMIT_IN_FORCE = "NoLimitInForce"
    LIMIT_UNREADABLE = "LimitUnreadable"
    CONFIGURATION_ERROR = "ConfigurationError"
    VAULT_NOT_CONFIGURED = "VaultNotConfigured"
    LOGON_REJECTED = "LogonRejected"
    # something is wrong
    CRASHING = "Crashing"
    UNAVAILABLE = "Unavailable"
    DISCONNECTED = "Disconnected"
    VENUE_NOT_CONNECTED = "VenueNotConnected"
    AGENT_NOT_CONNECTED = "AgentNotConnected"
    GATEWAY_BLOCKED = "GatewayBlocked"
    GATEWAY_SILENT = "GatewaySilent"
    BUS_UNAVAILABLE = "BusUnavailable"
    REFUSED_BY_CLUSTER = "RefusedByCluster"


class Condition(ApiModel):
    """One condition as in the Kubernetes API conventions."""

    type: str = Field(description="What the condition speaks of.", max_length=64)
    status: Truth = Field(description="True, False or Unknown.")
    reason: str = Field(description="Why, in CamelCase; for programs.", max_length=64)
    message: str = Field(description="Why, in a sentence that says what to do; for people.", max_length=2048)
    last_transition_time: str = Field(
        default="",
        description="When the status last changed from one of True, False and Unknown to another.",
        json_schema_extra={"format": "date-time"},
    )
    observed_generation: int = Field(
        default=0, description="metadata.generation that the condition was decided for.", ge=0
    )


def condition(type_: ConditionType, status: Truth | bool, reason: Reason | str, message: str) -> Condition:
    """A condition without its times; `follow` adds them. Messages that are too long are cut."""
    truth: Truth = status if isinstance(status, str) else ("True" if status else "False")
    text = message if len(message) <= 1024 else message[:1021] + "..."
    return Condition(type=type_, status=truth, reason=str(reason), message=text)


def all_of(type_: ConditionType, parts: Sequence[Condition], reason: Reason, message: str) -> Condition:
    """The conjunction: False when a part is False, else Unknown when one is Unknown; says why in the part's words."""
    for status in ("False", "Unknown"):
        for part in parts:
            if part.status == status:
                return condition(type_, part.status, part.reason, part.message)
    return condition(type_, True, reason, message)


def follow(previous: Iterable[Condition], current: Iterable[Condition], generation: int, now: str) -> list[Condition]:
    """Gives the current conditions their times: lastTransitionTime moves only when the status changed."""
    before = {item.type: item for item in previous}
    followed = []
    for item in current:
        old = before.get(item.type)
        since = old.last_transition_time if old and old.status == item.status and old.last_transition_time else now
        followed.append(item.model_copy(update={"last_transition_time": since, "observed_generation": generation}))
    return followed


def find(conditions: Iterable[Condition], type_: ConditionType) -> Condition | None:
    """The condition of that type, if there is one."""
    return next((item for item in conditions if item.type == type_), None)
