"""Conditions: their types, and how a new list follows an old one (KEP-1623)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from crowetrade_api.model import ApiModel, DocumentedEnum
from crowetrade_api.reasons import Reason

Truth = Literal["True", "False", "Unknown"]


class ConditionType(DocumentedEnum):
    """What a condition is about."""

    READY = "Ready", "All that the resource needs is there."
    AGENTS_AVAILABLE = "AgentsAvailable", "All pods of the strategy are ready."
    VENUE_CONNECTED = "VenueConnected", "The venues exist, declare the instruments, and their gateways are logged on."
    RISK_BOUND = "RiskBound", "Enforced RiskLimits bind every instrument, and the gateways have confirmed them."
    TRADING = "Trading", "The gateways accept orders of the strategy, and its agents can send them."
    RECONCILING = "Reconciling", "It moves towards what its spec says; kstatus, Flux and Argo CD wait for it."
    STALLED = "Stalled", "It will not become Ready without a person; absent otherwise."
    SUSPENDED = "Suspended", "Somebody has stopped it on purpose; absent otherwise."
    LEFT_BEHIND = (
        "LeftBehind",
        "The strategy may hold something at a venue that its spec names no more; absent when nothing is left.",
    )
    ORDERS_REFUSED = "OrdersRefused", "Orders of the strategy are refused again and again for the same reason."
    HALTED = (
        "Halted",
        "A gateway refuses every new order, or a KillSwitch or a breach stops the strategy; absent when nothing does.",
    )
    SESSION_ESTABLISHED = "SessionEstablished", "The gateway is logged on at its venue."
    CREDENTIALS_READY = "CredentialsReady", "The gateway has the venue's keys, or none are wanted."
    CREDENTIALS_STALE = (
        "CredentialsStale",
        "The gateway trades with a key that it has, and newer ones do not come or are not taken; absent otherwise.",
    )
    KILL_SWITCHES_NOT_WATCHED = (
        "KillSwitchesNotWatched",
        "The gateway cannot watch KillSwitches at the API server, and gets them by the bus and directly alone; absent "
        "otherwise.",
    )
    VAULT_ROLE_RIGHT = (
        "VaultRoleRight",
        "The venue's Vault role is for its gateway alone; absent where vault.roles of the chart is None.",
    )
    VAULT_UNENCRYPTED = (
        "VaultUnencrypted",
        "The venue's keys come from Vault over plain http: for development; absent where they do not.",
    )
    STRATEGIES_REFUSED = (
        "StrategiesRefused",
        "Strategies name the venue that spec.allowedStrategies does not admit; absent when there are none.",
    )
    ENFORCED = "Enforced", "All gateways concerned enforce this version of the RiskLimit."
    BREACHED = "Breached", "A limit was breached, and nobody has cleared it; absent when none is."
    WARNING = "Warning", "The use of a limit is above spec.warnAt; absent when none is."
    ENGAGED = "Engaged", "The KillSwitch is engaged."
    ACKNOWLEDGED = (
        "Acknowledged",
        "Every gateway concerned has confirmed the KillSwitch: in force with nothing left open, or re-armed.",
    )
    IDENTITY_DISABLED = (
        "IdentityDisabled",
        "Nobody proves who they are and nothing is encrypted: for development; absent where identities are on.",
    )
    IDENTITY_UNENCRYPTED = (
        "IdentityUnencrypted",
        "Certificates come from Vault over plain http: for development; absent where they do not.",
    )
    BUS_DEFICIENT = (
        "BusDeficient",
        "The message bus lacks something that is relied upon, or it cannot be read; absent when nothing is missing.",
    )
    SCHEMA_OUTDATED = (
        "SchemaOutdated",
        "The CRD in the cluster is older than the operator, so a part of the status is left out; absent otherwise.",
    )
    NAME_TAKEN = (
        "NameTaken",
        "An object that somebody else made has the name of a child; absent when none has.",
    )
    PAUSED = "Paused", "Reconciling is paused by an annotation: children are neither updated nor repaired."


WHEN_TRUE_BAD = (
    ConditionType.STALLED,
    ConditionType.ORDERS_REFUSED,
    ConditionType.HALTED,
    ConditionType.LEFT_BEHIND,
    ConditionType.STRATEGIES_REFUSED,
    ConditionType.SCHEMA_OUTDATED,
    ConditionType.NAME_TAKEN,
    ConditionType.BREACHED,
    ConditionType.WARNING,
    ConditionType.ENGAGED,
    ConditionType.CREDENTIALS_STALE,
    ConditionType.KILL_SWITCHES_NOT_WATCHED,
    ConditionType.VAULT_UNENCRYPTED,
    ConditionType.IDENTITY_UNENCRYPTED,
    ConditionType.IDENTITY_DISABLED,
    ConditionType.BUS_DEFICIENT,
    ConditionType.RECONCILING,
    ConditionType.SUSPENDED,
    ConditionType.PAUSED,
)
"""Conditions whose good status is False."""


class Condition(ApiModel):
    """One condition as in the Kubernetes API conventions."""

    type: str = Field(description="What the condition is about.", max_length=64)
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
