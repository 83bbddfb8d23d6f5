"""VenueConnection: one gateway, its configuration on the bus, and a safe end.

Its status is the record of the gateway's journal: the highest fencing token and sequence that were reported. They go
down only when a person has cleared the halt JournalBelowRecord and the gateway has confirmed that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.conditions import Condition, ConditionType, all_of, condition, find, follow
from crowetrade_api.files import VENUE_FILE
from crowetrade_api.gateway_config import AnyVenue, with_record
from crowetrade_api.names import venue_object
from crowetrade_api.reasons import EventReason, Reason
from crowetrade_api.v1alpha1.common import cut, fitting, plain
from crowetrade_api.v1alpha1.venueconnection import (
    MAX_INSTRUMENTS,
    Credentials,
    JournalStatus,
    SessionStatus,
    VenueConnection,
    VenueConnectionStatus,
    VenueOrdersStatus,
    VenuePhase,
    VenuePositionStatus,
)
from crowetrade_operator.cluster.events import Note
from crowetrade_operator.desired import identity
from crowetrade_operator.desired.configmap import config_hash, venue_config_map, venue_content
from crowetrade_operator.desired.deployment import venue_deployment
from crowetrade_operator.desired.networkpolicy import venue_policy
from crowetrade_operator.desired.poddisruptionbudget import pod_disruption_budget
from crowetrade_operator.desired.service import service
from crowetrade_operator.desired.serviceaccount import service_account
from crowetrade_operator.reconcile import strategy_deletion
from crowetrade_operator.reconcile.observed import Children, GatewayView, Moment, Surroundings
from crowetrade_operator.reconcile.plan import (
    SESSION_NAMES,
    STOPS_AS_WISHED,
    Plan,
    account_of,
    bounded,
    halted_condition,
    paused_condition,
    reason_word,
    rfc3339,
    session_condition,
    unix_of,
)
from crowetrade_operator.reconcile.pods import Workload, workload
from crowetrade_operator.settings import Settings

Object = dict[str, Any]
WATCHED = (
    ConditionType.HALTED,
    ConditionType.READY,
    ConditionType.SESSION_ESTABLISHED,
    ConditionType.CREDENTIALS_STALE,
)
CASCADE_SECONDS = 10.0
"""Whoever deletes a venue together with its strategies deletes them one after the other."""
_BROKEN = (Reason.CONFIGURATION_ERROR, Reason.CRASHING, Reason.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is looked at for one VenueConnection, readable or not."""

    venue: AnyVenue
    around: Surroundings
    children: Children
    now: Moment
    # Absent where nobody looks after Vault roles.
    vault_role: Condition | None = None

    @property
    def gateway(self) -> GatewayView:
        """Its gateway on the bus."""
        return self.around.gateway(self.venue.name)

    @property
    def config(self) -> config_pb2.GatewayConfig:
        """What the gateway has to enforce."""
        return self.around.config(self.venue)

    @property
    def workload(self) -> Workload:
        """Its Deployment and pods."""
        deployment = self.children.get("Deployment", venue_object(self.venue.name))
        return workload([deployment], self.children.of_kind("Pod"))


def plan(observed: Observed, settings: Settings) -> Plan:
    """What to write. Pausing leaves the children alone, and so does a spec that cannot be read; the configuration goes
    out all the same."""
    venue = observed.venue
    config = with_record(observed.config, venue.status)
    if venue.deleting:
        return _plan_deletion(observed, config, settings)
    children = _children(venue, settings) if isinstance(venue, VenueConnection) and not venue.paused else []
    return Plan(
        apply=children,
        finalizer=True,
        config=config,
        journal=True,
        halts_cleared=_halts_cleared(observed),
        notes=_cleared_notes(observed),
        again=settings.silent_after_seconds,
    )


def _halts_cleared(observed: Observed) -> bool:
    """Whether the gateway has carried out the annotation clear-halt, and the status has the record that holds now.

    The annotation is carried out once: left there, it would clear a later halt of the same name as soon as it came.
    """
    status, venue = observed.gateway.status, observed.venue
    if not venue.cleared_halts or status is None:
        return False
    stored = venue.status
    return (
        status.config_revision == observed.config.revision
        and status.fencing_token == stored.session.fencing_token
        and status.journal_sequence >= stored.journal.sequence
    )


def _cleared_notes(observed: Observed) -> list[Note]:
    if not _halts_cleared(observed):
        return []
    text = f"The gateway has confirmed that a person cleared {', '.join(observed.venue.cleared_halts)}."
    return [Note("Normal", EventReason.HALT_CLEARED, "Reconcile", cut(text, 900))]


def _children(venue: VenueConnection, settings: Settings) -> list[Object]:
    content = venue_content(venue)
    children = [
        service_account(venue),
        venue_config_map(venue, content, settings),
        venue_policy(venue, settings),
        service(venue),
        pod_disruption_budget(venue),
        *identity.certificates(venue, settings),
    ]
    if not _vault_missing(venue, settings):
        # The generation is in the file but must not restart the gateway; Vault Agent's file must.
        data = {**children[1]["data"], VENUE_FILE: config_hash(content)}
        children.append(venue_deployment(venue, config_hash(data), settings))
    return children


def _plan_deletion(observed: Observed, config: config_pb2.GatewayConfig, settings: Settings) -> Plan:
    released, note = _released(observed, config, settings)
    if not released:
        return Plan(config=config, journal=True, again=1.0)
    notes = [note] if note is not None else []
    return Plan(finalizer=False, delete_config=True, notes=notes)


def _released(observed: Observed, config: config_pb2.GatewayConfig, settings: Settings) -> tuple[bool, Note | None]:
    """Whether nothing is left to wait for, and what to tell about it."""
    venue, view = observed.venue, observed.gateway
    if venue.force_delete:
        text = "Deleted by force: the gateway was not asked whether its orders are cancelled. Check them at the venue."
        return True, _note("Warning", EventReason.FORCE_DELETED, text)
    deployment = observed.children.get("Deployment", venue_object(venue.name))
    if view.last is None and view.record_token == 0 and observed.workload.ready == 0:
        return True, None
    if deployment is None and view.status is None and observed.around.bus_connected:
        return True, _last_words(observed)
    waited = observed.now.unix - unix_of(venue.metadata.deletion_timestamp or observed.now.text)
    flattening = _flattening(observed, waited)
    status = view.status if view.trusted is not None else None
    confirmed = status is not None and status.config_revision == config.revision and _open_orders(status) == 0
    if confirmed and not flattening:
        return True, _confirmed(observed)
    if waited >= settings.stop_deadline_seconds:
        missing = f"that {', '.join(flattening)} has closed its positions" if flattening else "that no order is open"
        text = (
            f"The gateway has not confirmed within {settings.stop_deadline_seconds:g} s {missing}; deleting it all the "
            f"same.{_held(observed)} Check {_account(venue)} at the venue."
        )
        return True, _note("Warning", EventReason.STOP_DEADLINE_EXCEEDED, text)
    return False, None


def _flattening(observed: Observed, waited: float) -> list[str]:
    """Strategies that the venue stays open for: being deleted with Flatten and not stopped yet, or with a position and
    perhaps about to be deleted, because a cascade deletes one object after the other."""
    around, name, found = observed.around, observed.venue.name, []
    for strategy in strategy_deletion.flattening(name, around.strategies.values()):
        if strategy.deleting:
            ending = strategy_deletion.Observed(strategy, around, observed.now)
            waits = not strategy_deletion.stopped(ending, name)
        else:
            account = account_of(around.gateway(name), strategy.name)
            holds = account is not None and any(Decimal(item.quantity) != 0 for item in account.positions)
            waits = holds and waited < CASCADE_SECONDS
        if waits:
            found.append(strategy.name)
    return sorted(found)


def _confirmed(observed: Observed) -> Note:
    held = _held(observed)
    text = f"The gateway has confirmed that no order is open.{held}"
    if held:
        return _note("Warning", EventReason.POSITION_LEFT, f"{text} Nobody closes it: check it at the venue.")
    return _note("Normal", EventReason.HALTED, text)


def _last_words(observed: Observed) -> Note:
    """What is known of the orders of a gateway that is gone, as when its whole namespace is deleted."""
    last = observed.gateway.trusted
    if last is not None and _open_orders(last) == 0:
        held = _held(observed)
        text = f"The gateway is gone; the last that it reported is that no order is open.{held}"
        return _note("Warning", EventReason.POSITION_LEFT, text) if held else _note("Normal", EventReason.HALTED, text)
    text = (
        f"The gateway is gone and has not confirmed that no order is open.{_held(observed)} "
        f"Check {_account(observed.venue)} at the venue."
    )
    return _note("Warning", EventReason.GATEWAY_GONE, text)


def _held(observed: Observed) -> str:
    """A sentence about what the account holds; empty when it is flat."""
    held = [item for item in _positions(observed, observed.venue.status) if Decimal(item.quantity) != 0]
    return f" The account holds {', '.join(f'{item.quantity} {item.symbol}' for item in held)}." if held else ""


def _account(venue: AnyVenue) -> str:
    return f"account {venue.spec.account}" if isinstance(venue, VenueConnection) else "the account"


def _note(type_: Literal["Normal", "Warning"], reason: EventReason, text: str) -> Note:
    return Note(type_, reason, "Delete", cut(text, 900))


def report(
    observed: Observed, settings: Settings, refusal: str, previous: VenueConnectionStatus
) -> VenueConnectionStatus:
    """The new status; `previous` is the one that was reported last."""
    venue, status = observed.venue, observed.gateway.status or observed.gateway.last
    conditions = _conditions(observed, settings, refusal)
    generation = venue.metadata.generation
    believed = observed.gateway.trusted is not None
    return VenueConnectionStatus(
        observed_generation=generation,
        phase=_phase(observed, conditions, previous),
        session=_session(observed, previous) if status is not None else previous.session,
        journal=_journal(observed, previous),
        orders=_orders(status) if status is not None and believed else previous.orders,
        positions=_positions(observed, previous),
        config_revision=cut(status.config_revision, 80) if status is not None else previous.config_revision,
        conditions=follow(previous.conditions, conditions, generation, observed.now.text),
    )


def record_cleared(observed: Observed) -> bool:
    """Whether a person has said that a journal below the record is right, and the gateway goes on."""
    view, config = observed.gateway, observed.config
    cleared = any(name.partition("@")[0] == Reason.JOURNAL_BELOW_RECORD for name in config.cleared_halts)
    return (
        cleared
        and view.status is not None
        and view.below_record
        and view.status.config_revision == config.revision
        and view.status.blocked_reason != Reason.JOURNAL_BELOW_RECORD
    )


def _conditions(observed: Observed, settings: Settings, refusal: str) -> list[Condition]:
    session, halted = _session_established(observed, refusal), _halted(observed)
    found = [session] if halted is None else [session, halted]
    if isinstance(observed.venue, VenueConnection):
        credentials, *more = _credentials(observed, observed.venue, settings)
        parts = [credentials, session] if credentials.status != "True" else [session, credentials]
        found += [credentials, *more]
    else:
        parts = [session]
    if halted is not None and halted.reason not in STOPS_AS_WISHED:
        parts.insert(0, condition(ConditionType.READY, False, halted.reason, halted.message))
    ready = all_of(ConditionType.READY, parts, Reason(session.reason), session.message)
    return [ready, *found, paused_condition()] if observed.venue.paused else [ready, *found]


def _halted(observed: Observed) -> Condition | None:
    if record_cleared(observed):
        return None
    return halted_condition(observed.venue.name, observed.gateway, observed.config)


def _session_established(observed: Observed, refusal: str) -> Condition:
    type_ = ConditionType.SESSION_ESTABLISHED
    if refusal:
        return condition(type_, False, Reason.REFUSED_BY_CLUSTER, refusal)
    work = observed.workload
    if observed.gateway.status is None and work.reason in _BROKEN:
        return condition(type_, False, work.reason, work.message)
    return session_condition(type_, observed.venue.name, observed.gateway, observed.around)


def _vault_missing(venue: VenueConnection, settings: Settings) -> bool:
    credentials = venue.spec.credentials
    return credentials is not None and credentials.vault is not None and not settings.vault_address


def _credentials(observed: Observed, venue: VenueConnection, settings: Settings) -> list[Condition]:
    """CredentialsReady, then what is wrong beside it."""
    type_ = ConditionType.CREDENTIALS_READY
    wanted = venue.spec.credentials
    if wanted is None:
        return [condition(type_, True, Reason.NOT_REQUIRED, "The venue wants no key.")]
    if _vault_missing(venue, settings):
        text = (
            "spec.credentials.vault is set but the operator knows no Vault: set VAULT_ADDR of the operator "
            "(chart value vault.address), or use credentials.secretRef for development."
        )
        return [condition(type_, False, Reason.VAULT_NOT_CONFIGURED, text)]
    role = [observed.vault_role] if observed.vault_role is not None else []
    return [*_delivery(observed, venue, wanted, settings), *role, *_unencrypted(wanted, settings)]


def _delivery(observed: Observed, venue: VenueConnection, wanted: Credentials, settings: Settings) -> list[Condition]:
    type_, status = ConditionType.CREDENTIALS_READY, observed.gateway.status
    keys = status.credentials if status is not None and status.HasField("credentials") else None
    if keys is None:
        text = f"The gateway has not said yet that it has the keys. {_where(venue, wanted, settings)}"
        return [condition(type_, False, Reason.WAITING_FOR_CREDENTIALS, text)]
    problem = f"{_sentence(keys.message)} {_where(venue, wanted, settings)}"
    if not keys.in_use and keys.reason:
        return [condition(type_, False, reason_word(keys.reason), problem)]
    if not keys.in_use:
        text = "The gateway has the venue's keys; its session says whether the venue takes them."
        return [condition(type_, True, Reason.DELIVERED, text)]
    version = f" version {cut(keys.version, 64)} of" if keys.version else ""
    since = rfc3339(keys.since_unix_ns / 1e9)
    ready = condition(type_, True, Reason.DELIVERED, f"The gateway uses{version} the venue's keys since {since}.")
    if not keys.reason:
        return [ready]
    text = f"{problem} Until then the gateway trades with the keys that it has; when it starts again it needs new ones."
    return [ready, condition(ConditionType.CREDENTIALS_STALE, True, reason_word(keys.reason), text)]


def _sentence(text: str) -> str:
    """What a gateway says of its keys, as a sentence."""
    return f"{text[:1].upper()}{cut(text[1:], 500)}."


def _where(venue: VenueConnection, wanted: Credentials, settings: Settings) -> str:
    """Where the keys are to be, and who says more."""
    account = venue_object(venue.name)
    if wanted.vault is not None:
        return (
            f"They are in Vault at {settings.vault_address}, path {wanted.vault.path}, for role {wanted.vault.role} of "
            f"auth/{settings.vault_auth_path}, bound to service account {account} in namespace {venue.namespace} with "
            f"audience vault. See kubectl logs deploy/{account} -c vault-agent."
        )
    fields = ", ".join(wanted.secret_ref.keys.fields().values()) if wanted.secret_ref is not None else ""
    name = wanted.secret_ref.name if wanted.secret_ref is not None else ""
    return f"They are in Secret {name} of namespace {venue.namespace}, which needs: {fields}."


def _unencrypted(wanted: Credentials, settings: Settings) -> list[Condition]:
    plain = any(part.strip().startswith("http://") for part in settings.vault_address.split(","))
    if wanted.vault is None or not plain:
        return []
    text = (
        f"The keys come from Vault at {settings.vault_address} over plain http, and so does the token for them: write "
        "https:// in vault.address of the chart, with vault.caCertificate for an authority of your own."
    )
    return [condition(ConditionType.VAULT_UNENCRYPTED, True, Reason.PLAIN_HTTP, text)]


def _phase(observed: Observed, conditions: Sequence[Condition], previous: VenueConnectionStatus) -> VenuePhase:
    venue = observed.venue
    if venue.deleting:
        return VenuePhase.STOPPING
    halted = find(conditions, ConditionType.HALTED)
    if not isinstance(venue, VenueConnection) or (halted is not None and halted.reason not in STOPS_AS_WISHED):
        return VenuePhase.HALTED
    if venue.spec.suspend:
        return _suspending(observed, previous)
    ready, session = find(conditions, ConditionType.READY), find(conditions, ConditionType.SESSION_ESTABLISHED)
    credentials = find(conditions, ConditionType.CREDENTIALS_READY)
    assert ready is not None
    assert session is not None
    assert credentials is not None
    if credentials.reason == Reason.VAULT_NOT_CONFIGURED or session.reason == Reason.REFUSED_BY_CLUSTER:
        return VenuePhase.PENDING
    if session.reason == Reason.LOGON_REJECTED:
        return VenuePhase.REFUSED
    if ready.status == "True":
        return VenuePhase.ENDED if session.reason == Reason.REPLAY_ENDED else VenuePhase.CONNECTED
    was_up = previous.phase in _UP
    return VenuePhase.DEGRADED if was_up or session.reason in _BROKEN else VenuePhase.STARTING


_UP = (VenuePhase.CONNECTED, VenuePhase.ENDED, VenuePhase.DEGRADED, VenuePhase.SUSPENDED, VenuePhase.HALTED)


def _suspending(observed: Observed, previous: VenueConnectionStatus) -> VenuePhase:
    status = observed.gateway.status
    if status is None or _open_orders(status):
        return VenuePhase.STOPPING
    halted = previous.phase == VenuePhase.SUSPENDED or status.config_revision == observed.config.revision
    return VenuePhase.SUSPENDED if halted else VenuePhase.STOPPING


def _session(observed: Observed, previous: VenueConnectionStatus) -> SessionStatus:
    """As the gateway reports it; token and pod stay those on record while its journal is below the record."""
    status, record = observed.gateway.last, previous.session
    assert status is not None
    state = SESSION_NAMES.get(status.session, "") if observed.gateway.status is not None else ""
    current = observed.gateway.trusted is not None or record_cleared(observed)
    return SessionStatus(
        state=state,
        since=rfc3339(status.session_since_unix_ns / 1e9) if status.session_since_unix_ns else None,
        fencing_token=bounded(status.fencing_token) if current else record.fencing_token,
        pod=cut(status.pod, 253) if current else record.pod,
        message=cut(status.session_message, 1024),
    )


def _journal(observed: Observed, previous: VenueConnectionStatus) -> JournalStatus:
    """The highest sequence; of a journal below the record only once a person has said that this is right."""
    status = observed.gateway.trusted
    if status is not None:
        return JournalStatus(sequence=max(bounded(status.journal_sequence), previous.journal.sequence))
    if observed.gateway.last is not None and record_cleared(observed):
        return JournalStatus(sequence=bounded(observed.gateway.last.journal_sequence))
    return previous.journal


def _positions(observed: Observed, previous: VenueConnectionStatus) -> list[VenuePositionStatus]:
    """What the account holds; what was known last while the gateway cannot be believed."""
    status = observed.gateway.trusted
    if status is None:
        return previous.positions
    found = {
        cut(item.instrument.symbol, 64): VenuePositionStatus(
            symbol=cut(item.instrument.symbol, 64),
            quantity=fitting(item.quantity),
            unattributed=fitting(item.unattributed or "0"),
        )
        for item in status.positions
    }
    return [found[symbol] for symbol in sorted(found)][:MAX_INSTRUMENTS]


def _open_orders(status: status_pb2.GatewayStatus) -> int:
    return sum(account.open_orders for account in status.accounts)


def _orders(status: status_pb2.GatewayStatus) -> VenueOrdersStatus:
    micros = status.latency_p99_micros
    return VenueOrdersStatus(
        open=_open_orders(status),
        sent_total=bounded(sum(account.sent_total for account in status.accounts)),
        filled_total=bounded(sum(account.filled_total for account in status.accounts)),
        rejected_total=bounded(sum(account.rejected_total for account in status.accounts)),
        throttled_total=bounded(status.throttled_total),
        latencyP99Millis=_millis(micros) if micros else None,
    )


def _millis(micros: int) -> str:
    return plain((Decimal(micros) / 1000).quantize(Decimal("0.001")))
