"""What a reconcile has decided to do, and the words that kinds share when they decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.conditions import WHEN_TRUE_BAD, Condition, ConditionType, condition
from crowetrade_api.names import PAUSED_ANNOTATION
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.common import cut
from crowetrade_api.v1alpha1.meta import Resource
from crowetrade_operator.bus.requirements import Fault
from crowetrade_operator.cluster.compare import is_applied, with_hash
from crowetrade_operator.cluster.objects import Note, Object
from crowetrade_operator.decide.observed import Children, GatewayView, NamespaceView
from crowetrade_operator.settings import Settings
from crowetrade_process.identity.variables import IdentitySource, IdentityVariable

MAX_COUNT = 2**63 - 1

SESSION_NAMES = {
    status_pb2.SESSION_STATE_CONNECTING: "Connecting",
    status_pb2.SESSION_STATE_LOGGED_ON: "LoggedOn",
    status_pb2.SESSION_STATE_LOGON_REJECTED: "LogonRejected",
    status_pb2.SESSION_STATE_DISCONNECTED: "Disconnected",
    status_pb2.SESSION_STATE_ENDED: "Ended",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be written, before the status."""

    # Children to apply, in this order.
    apply: Sequence[Object] = ()
    # Children to delete.
    delete: Sequence[Object] = ()
    # True: make sure that the finalizer is there. False: take it away. None: leave it.
    finalizer: bool | None = None
    # Whether a deletion in the foreground goes on in the background: the garbage collector leaves the children then.
    background: bool = False
    # GatewayConfig to put on the bus.
    config: config_pb2.GatewayConfig | None = None
    # Whether to take the GatewayConfig away.
    delete_config: bool = False
    # Whether the venue needs the stream of its journal.
    journal: bool = False
    # Whether to take the annotation clear-halt away: the gateway has confirmed it.
    halts_cleared: bool = False
    # Whether to take the annotation clear-breach away: the gateways have confirmed it.
    breaches_cleared: bool = False
    notes: Sequence[Note] = ()
    # Seconds after which to look again even if nothing happens.
    requeue_after_seconds: float | None = None
    # Why a change of the agents, or of the gateway, is held back; empty when it is not.
    rollout_blocked_by: str = ""
    blocked_reason: Reason = Reason.WAITING_FOR_FLAT
    # Whether a gateway that runs, or agents that do, are restarted.
    restarts: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a child could not be written."""

    reason: Reason
    text: str


def name_taken(refusal: Refusal | None) -> list[Condition]:
    """Says that an object of somebody else has the name of a child; empty when none has."""
    if refusal is None or refusal.reason != Reason.NAME_TAKEN:
        return []
    return [condition(ConditionType.NAME_TAKEN, True, refusal.reason, refusal.text)]


def outdated(plan: Plan, children: Children) -> bool:
    """Whether a Deployment is not yet as the plan wants it."""
    deployments = [item for item in plan.apply if item["kind"] == "Deployment"]
    live = [children.get("Deployment", item["metadata"]["name"]) for item in deployments]
    return any(not is_applied(with_hash(item), found) for item, found in zip(deployments, live, strict=True))


def bounded(count: int) -> int:
    """A count that the status can hold: its integers have a sign."""
    return min(count, MAX_COUNT)


def halted_condition(venue: str, view: GatewayView, config: config_pb2.GatewayConfig) -> Condition | None:
    """Why the gateway refuses every new order: in its own words, or in those of its configuration before it has it."""
    status, type_ = view.status, ConditionType.HALTED
    if view.below_record:
        return _below_record(venue, view)
    if status is not None and status.blocked_reason and status.blocked_reason != Reason.NO_CONFIGURATION:
        said = status.blocked_message or "it gives no reason"
        text = f"The gateway of venue {venue} refuses every new order: {said}"
        return condition(type_, True, reason_word(status.blocked_reason), text)
    if config.halted_reason:
        text = f"The gateway of venue {venue} is halted: {config.halted_message}"
        return condition(type_, True, config.halted_reason, text)
    return None


def _below_record(venue: str, view: GatewayView) -> Condition:
    assert view.last is not None
    said = view.last.blocked_message if view.last.blocked_reason == Reason.JOURNAL_BELOW_RECORD else ""
    text = said or (
        f"its journal is at event {view.last.journal_sequence} of session {view.last.fencing_token}, but event "
        f"{view.record_sequence} of session {view.record_token} is on record: what happened since is not known. "
        "Restore the stream of its journal, or compare the account with the venue; when the gateway has halted, its "
        "message names the annotation that clears it"
    )
    text = f"The gateway of venue {venue} has lost its journal: {text}"
    return condition(ConditionType.HALTED, True, Reason.JOURNAL_BELOW_RECORD, text)


def reason_word(said: str) -> str:
    """A reason that a gateway gives, if it is a word that a condition may have."""
    return said if said.isascii() and said.isalnum() and len(said) <= 64 else str(Reason.GATEWAY_BLOCKED)


STOPS_AS_WISHED = (Reason.VENUE_SUSPENDED, Reason.VENUE_DELETED)
"""Halts that users have asked for: the venue is in order."""


def session_condition(type_: ConditionType, venue: str, view: GatewayView, around: NamespaceView) -> Condition:
    """What the session of a venue means: Unknown when we cannot know, and a replay that ended is no failure."""
    if not around.bus_connected:
        return condition(type_, "Unknown", Reason.BUS_UNAVAILABLE, bus_message(around.bus_problem))
    if view.status is None:
        return _no_status(type_, venue, view)
    said = view.status.session_message
    match view.status.session:
        case status_pb2.SESSION_STATE_LOGGED_ON:
            absent = ", ".join(_without_session(view.status))
            if absent:
                text = f"Venue {venue} is logged on and replays in lock step: its market waits for {absent}, which has"
                return condition(type_, True, Reason.WAITING_FOR_STRATEGIES, f"{text} no session with the gateway.")
            return condition(type_, True, Reason.LOGGED_ON, f"Venue {venue} is logged on.")
        case status_pb2.SESSION_STATE_ENDED:
            return condition(type_, True, Reason.REPLAY_ENDED, said or f"The recording of venue {venue} has ended.")
        case status_pb2.SESSION_STATE_LOGON_REJECTED:
            text = (
                f"Venue {venue} rejected the logon: {said or 'it gave no reason'}. Check spec.credentials of the venue."
            )
            return condition(type_, False, Reason.LOGON_REJECTED, text)
        case status_pb2.SESSION_STATE_DISCONNECTED:
            text = f"Venue {venue} is disconnected: {said or 'no reason given'}. The gateway tries again."
            return condition(type_, False, Reason.DISCONNECTED, text)
        case _:
            text = f"The gateway of venue {venue} connects. {said}".strip()
            return condition(type_, False, Reason.CONNECTING, text)


def _without_session(status: status_pb2.GatewayStatus) -> list[str]:
    """Strategies that a market in lock step waits for because they are not there; one that thinks is not named."""
    connected = {account.strategy for account in status.accounts if account.connected}
    return [name for name in status.waiting_for if name not in connected]


def _no_status(type_: ConditionType, venue: str, view: GatewayView) -> Condition:
    if view.age is None:
        text = f"The gateway of venue {venue} has not reported yet."
        return condition(type_, False, Reason.STARTING, text)
    text = f"The gateway of venue {venue} has stopped reporting: see kubectl describe venue {venue}."
    return condition(type_, "Unknown", Reason.GATEWAY_SILENT, text)


def bus_message(problem: str) -> str:
    """Why nothing is known."""
    return (
        f"The message bus cannot be used ({problem or 'not connected'}), so the state is not known. "
        "Check the NATS pods and the operator's NATS_URL."
    )


def transition_notes(
    before: Sequence[Condition], after: Sequence[Condition], watched: Sequence[ConditionType]
) -> list[Note]:
    """An event for each watched condition whose status or reason changed from one that was known before; one that is
    only there when it is bad (Halted) was False before it came.

    Conditions that change for the same reason give one event: the first of them.
    """
    old = {item.type: item for item in before}
    latest = max((item.last_transition_time for item in before), default="")
    notes: list[Note] = []
    told: set[str] = set()
    for item in after:
        previous = old.get(item.type)
        if item.type not in watched or not before:
            continue
        known = (previous.status, previous.reason) if previous is not None else ("False", "")
        unchanged = known == (item.status, item.reason) or (previous is None and item.type not in WHEN_TRUE_BAD)
        if unchanged or item.message in told:
            continue
        told.add(item.message)
        text = f"{item.type} is {item.status}: {item.message}"
        good = item.status == ("False" if item.type in WHEN_TRUE_BAD else "True")
        normal = good or item.reason in _EXPECTED
        since = previous.last_transition_time if previous is not None else latest
        occasion = f"{item.type} is no longer {known[0]} since {since} for {known[1]}"
        notes.append(Note("Normal" if normal else "Warning", item.reason, "Reconcile", text, occasion))
    return notes


_EXPECTED = frozenset(
    {
        Reason.STARTING,
        Reason.CONNECTING,
        Reason.SUSPENDED,
        Reason.STOPPING,
        Reason.REPLAY_ENDED,
        Reason.WAITING_FOR_GATEWAY,
        Reason.AGENT_NOT_CONNECTED,
        Reason.OBSERVE_ONLY,
        Reason.VENUE_SUSPENDED,
        Reason.VENUE_DELETED,
        Reason.NOTHING_IN_SCOPE,
        Reason.ORDERS_OPEN,
        Reason.REARMING,
    }
)


def without_identity() -> Condition:
    """Says that anybody who reaches the bus may do everything."""
    text = (
        "identity.source is None: whoever reaches the bus may write limits, journals and market data. For development "
        "only; set identity.source of the chart to Vault, CertManager or Files."
    )
    return condition(ConditionType.IDENTITY_DISABLED, True, Reason.NO_IDENTITY_SOURCE, text)


def identity_unencrypted(settings: Settings) -> list[Condition]:
    """Says that certificates, and the tokens for them, come from Vault over plain http."""
    address = settings.identity.get(IdentityVariable.VAULT_ADDR, "")
    if settings.identity.get(IdentityVariable.SOURCE) != IdentitySource.VAULT or not plain_http(address):
        return []
    text = (
        f"Identities come from Vault at {address} over plain http: who reads along has the tokens by which it makes "
        "certificates in any of our names. Write https:// in vault.address of the chart, with vault.caCertificate for "
        "an authority of your own."
    )
    return [condition(ConditionType.IDENTITY_UNENCRYPTED, True, Reason.PLAIN_HTTP, text)]


def plain_http(addresses: str) -> bool:
    """Whether one of the addresses of Vault, separated by commas, is without TLS."""
    return any(part.strip().startswith("http://") for part in addresses.split(","))


def bus_deficient(faults: Sequence[Fault]) -> Condition:
    """Says what the bus lacks, the worst first."""
    return condition(ConditionType.BUS_DEFICIENT, True, faults[0].reason, "; ".join(fault.text for fault in faults))


def schema_outdated(fields: Sequence[str]) -> Condition:
    """Says that the CRD of the kind is older than the operator, and what is left out for that."""
    text = (
        f"The CRD of this kind is older than the operator and does not declare {', '.join(fields)}: they are left out, "
        "and forgotten when the operator restarts. Upgrade the CRDs."
    )
    return condition(ConditionType.SCHEMA_OUTDATED, True, Reason.CRD_OLDER_THAN_OPERATOR, text)


def paused(resource: Resource, carried_out: int) -> list[Condition]:
    """Says that the children are left alone, or that the annotation which asks for it cannot be read. `carried_out` is
    the generation of the spec that the children are of, less than 1 when there is none yet."""
    type_, generation = ConditionType.PAUSED, resource.metadata.generation
    if resource.paused:
        text = f"The annotation {PAUSED_ANNOTATION} is true: children are neither updated nor repaired."
        if carried_out != generation:
            text += f" {_behind(carried_out)}; the spec is of generation {generation} and waits."
        return [condition(type_, True, Reason.RECONCILING_PAUSED, text)]
    if resource.unreadable_pause:
        text = (
            f"The annotation {PAUSED_ANNOTATION} is {cut(resource.unreadable_pause, 64)!r}, so nothing is paused: "
            "write true, or take it away."
        )
        return [condition(type_, False, Reason.PAUSED_UNREADABLE, text)]
    return []


def observed_generation(resource: Resource, previous: int) -> int:
    """The generation that a status is about: while reconciling is paused, a change of the spec is not observed."""
    return max(previous, 0) if resource.paused else resource.metadata.generation


def paused_rollout(carried_out: int) -> Condition:
    """Reconciling while reconciling is paused."""
    text = f"Nothing is rolled out while the annotation {PAUSED_ANNOTATION} is true. {_behind(carried_out)}."
    return condition(ConditionType.RECONCILING, False, Reason.RECONCILING_PAUSED, text)


def _behind(carried_out: int) -> str:
    return f"What runs is the spec of generation {carried_out}" if carried_out > 0 else "Nothing runs yet"
