"""What a VenueConnection's status says."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.conditions import Condition, ConditionType, all_of, condition, find, follow
from crowetrade_api.gateway_config import refusal
from crowetrade_api.names import reason_of_halt, venue_object
from crowetrade_api.reasons import Reason
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
from crowetrade_operator.cluster.times import rfc3339
from crowetrade_operator.decide import venueconnection_rollout
from crowetrade_operator.decide.health import health
from crowetrade_operator.decide.observed import ObservedVenue
from crowetrade_operator.decide.plan import (
    SESSION_NAMES,
    STOPS_AS_WISHED,
    Plan,
    Refusal,
    bounded,
    halted_condition,
    name_taken,
    observed_generation,
    paused,
    paused_rollout,
    plain_http,
    reason_word,
    session_condition,
)
from crowetrade_operator.decide.pods import BROKEN
from crowetrade_operator.settings import Settings

WATCHED = (
    ConditionType.HALTED,
    ConditionType.READY,
    ConditionType.SESSION_ESTABLISHED,
    ConditionType.STRATEGIES_REFUSED,
    ConditionType.CREDENTIALS_STALE,
)
SHOWN_REFUSED = 10
_REFUSED = (Reason.REFUSED_BY_CLUSTER, Reason.NAME_TAKEN, Reason.NAMESPACE_STORE_FULL, Reason.BUS_STORE_FULL)


def report(
    observed: ObservedVenue,
    planned: Plan,
    settings: Settings,
    refusal: Refusal | None,
    previous: VenueConnectionStatus,
) -> VenueConnectionStatus:
    """The new status; `previous` is the one that was reported last."""
    venue, status = observed.venue, observed.gateway.status or observed.gateway.last
    conditions = _conditions(observed, planned, settings, refusal, previous)
    generation = observed_generation(venue, previous.observed_generation)
    believed = observed.gateway.trusted is not None
    return VenueConnectionStatus(
        observed_generation=generation,
        phase=_phase(observed, conditions, previous),
        session=_session(observed, previous) if status is not None else previous.session,
        journal=_journal(observed, previous),
        orders=_orders(status) if status is not None and believed else previous.orders,
        positions=positions(observed, previous),
        config_revision=cut(status.config_revision, 80) if status is not None else previous.config_revision,
        conditions=follow(previous.conditions, conditions, generation, observed.now.text),
    )


def record_cleared(observed: ObservedVenue) -> bool:
    """Whether a person has said that a journal below the record is right, and the gateway goes on."""
    view, config = observed.gateway, observed.config
    cleared = any(reason_of_halt(name) == Reason.JOURNAL_BELOW_RECORD for name in config.cleared_halts)
    return (
        cleared
        and view.status is not None
        and view.below_record
        and view.status.config_revision == config.revision
        and view.status.blocked_reason != Reason.JOURNAL_BELOW_RECORD
    )


def _conditions(
    observed: ObservedVenue,
    planned: Plan,
    settings: Settings,
    refusal: Refusal | None,
    previous: VenueConnectionStatus,
) -> list[Condition]:
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
    refused = _strategies_refused(observed)
    found += _kill_switches_not_watched(observed)
    found += [*([refused] if refused is not None else []), *name_taken(refusal)]
    ready = all_of(ConditionType.READY, parts, Reason(session.reason), session.message)
    venue = observed.venue
    if venue.paused:
        found.append(paused_rollout(previous.observed_generation))
    else:
        stopped = halted if _is_stopped(observed, halted) else None
        moving = _moving(observed, planned, halted)
        found += health(ready, previous, venue.metadata.generation, observed.now, moving, stopped)
    return [ready, *found, *paused(venue, previous.observed_generation)]


def _moving(observed: ObservedVenue, planned: Plan, halted: Condition | None) -> Condition | None:
    """What is still to be done although the venue may be Ready; None when it is as its spec says."""
    type_, venue = ConditionType.RECONCILING, observed.venue
    if not isinstance(venue, VenueConnection):
        return None
    if not venue.deleting and (rolling := venueconnection_rollout.moving(observed, venue, planned)) is not None:
        return rolling
    suspended = halted is not None and halted.reason == Reason.VENUE_SUSPENDED
    if venue.spec.suspend and not _is_stopped(observed, halted):
        text = "The gateway has not confirmed yet that no order is open."
        return condition(type_, True, Reason.STOPPING, text)
    if suspended and not venue.spec.suspend:
        return condition(type_, True, Reason.WAITING_FOR_GATEWAY, "The gateway has not resumed yet.")
    return None


def _is_stopped(observed: ObservedVenue, halted: Condition | None) -> bool:
    """Whether the gateway has confirmed that it is suspended and that no order is open."""
    venue, status = observed.venue, observed.gateway.status
    return (
        isinstance(venue, VenueConnection)
        and venue.spec.suspend
        and halted is not None
        and halted.reason == Reason.VENUE_SUSPENDED
        and status is not None
        and status.config_revision == observed.config.revision
        and not open_orders(status)
    )


def _strategies_refused(observed: ObservedVenue) -> Condition | None:
    """Who names this venue and is not admitted; both sides report it, and it stops nobody else."""
    venue, around = observed.venue, observed.around
    if not isinstance(venue, VenueConnection):
        return None
    refused = sorted(
        f"{item.namespace}/{item.name}" for item in around.traders_at(venue) if refusal(item, venue, around.namespaces)
    )
    if not refused:
        return None
    more = f" and {len(refused) - SHOWN_REFUSED} more" if len(refused) > SHOWN_REFUSED else ""
    text = (
        f"{', '.join(refused[:SHOWN_REFUSED])}{more} name this venue, or have left something there, and "
        "spec.allowedStrategies does not admit them: "
        "they can send nothing. To let them trade here, select their namespaces and labels there."
    )
    return condition(ConditionType.STRATEGIES_REFUSED, True, Reason.STRATEGY_NOT_ALLOWED, text)


def _kill_switches_not_watched(observed: ObservedVenue) -> list[Condition]:
    """It halts nothing and is no reason not to be Ready: the two other ways are there."""
    status = observed.gateway.status
    if status is None or status.watches_kill_switches or not status.kill_switches_unwatched_since_unix_ns:
        return []
    text = (
        f"The gateway cannot watch KillSwitches at the API server since "
        f"{rfc3339(status.kill_switches_unwatched_since_unix_ns / 1e9)}: {cut(status.kill_switches_problem, 300)}. A "
        "KillSwitch reaches it by the bus and directly alone, and re-arming waits; a gateway that starts meanwhile "
        "cancels what is open and trades only once it has read them. Check ClusterRole "
        "crowetrade-gateway, its bindings, and operator.networkPolicy.apiServer of the chart."
    )
    return [condition(ConditionType.KILL_SWITCHES_NOT_WATCHED, True, Reason.WATCH_BROKEN, text)]


def _halted(observed: ObservedVenue) -> Condition | None:
    if record_cleared(observed):
        return None
    return halted_condition(observed.venue.name, observed.gateway, observed.config)


def _session_established(observed: ObservedVenue, refusal: Refusal | None) -> Condition:
    type_ = ConditionType.SESSION_ESTABLISHED
    if refusal is not None:
        return condition(type_, False, refusal.reason, refusal.text)
    work = observed.workload
    if observed.gateway.status is None and work.reason in BROKEN:
        return condition(type_, False, work.reason, work.message)
    return session_condition(type_, observed.venue.name, observed.gateway, observed.around)


def vault_missing(venue: VenueConnection, settings: Settings) -> bool:
    credentials = venue.spec.credentials
    return credentials is not None and credentials.vault is not None and not settings.vault_address


def _credentials(observed: ObservedVenue, venue: VenueConnection, settings: Settings) -> list[Condition]:
    """CredentialsReady, then what is wrong beside it."""
    type_ = ConditionType.CREDENTIALS_READY
    wanted = venue.spec.credentials
    if wanted is None:
        return [condition(type_, True, Reason.NOT_REQUIRED, "The venue wants no key.")]
    if vault_missing(venue, settings):
        text = (
            "spec.credentials.vault is set but the operator knows no Vault: set VAULT_ADDR of the operator "
            "(chart value vault.address), or use credentials.secretRef for development."
        )
        return [condition(type_, False, Reason.VAULT_NOT_CONFIGURED, text)]
    role = [observed.vault_role] if observed.vault_role is not None else []
    return [*_delivery(observed, venue, wanted, settings), *role, *_unencrypted(wanted, settings)]


def _delivery(
    observed: ObservedVenue, venue: VenueConnection, wanted: Credentials, settings: Settings
) -> list[Condition]:
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
    if wanted.vault is None or not plain_http(settings.vault_address):
        return []
    text = (
        f"The keys come from Vault at {settings.vault_address} over plain http, and so does the token for them: write "
        "https:// in vault.address of the chart, with vault.caCertificate for an authority of your own."
    )
    return [condition(ConditionType.VAULT_UNENCRYPTED, True, Reason.PLAIN_HTTP, text)]


def _phase(observed: ObservedVenue, conditions: Sequence[Condition], previous: VenueConnectionStatus) -> VenuePhase:
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
    if credentials.reason == Reason.VAULT_NOT_CONFIGURED or session.reason in _REFUSED:
        return VenuePhase.PENDING
    if session.reason == Reason.LOGON_REJECTED:
        return VenuePhase.REFUSED
    if ready.status == "True":
        return VenuePhase.ENDED if session.reason == Reason.REPLAY_ENDED else VenuePhase.CONNECTED
    was_up = previous.phase in _UP
    return VenuePhase.DEGRADED if was_up or session.reason in BROKEN else VenuePhase.STARTING


_UP = (VenuePhase.CONNECTED, VenuePhase.ENDED, VenuePhase.DEGRADED, VenuePhase.SUSPENDED, VenuePhase.HALTED)


def _suspending(observed: ObservedVenue, previous: VenueConnectionStatus) -> VenuePhase:
    status = observed.gateway.status
    if status is None or open_orders(status):
        return VenuePhase.STOPPING
    halted = previous.phase == VenuePhase.SUSPENDED or status.config_revision == observed.config.revision
    return VenuePhase.SUSPENDED if halted else VenuePhase.STOPPING


def _session(observed: ObservedVenue, previous: VenueConnectionStatus) -> SessionStatus:
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


def _journal(observed: ObservedVenue, previous: VenueConnectionStatus) -> JournalStatus:
    """The highest sequence; of a journal below the record only once a person has said that this is right."""
    status = observed.gateway.trusted
    if status is not None:
        return JournalStatus(sequence=max(bounded(status.journal_sequence), previous.journal.sequence))
    if observed.gateway.last is not None and record_cleared(observed):
        return JournalStatus(sequence=bounded(observed.gateway.last.journal_sequence))
    return previous.journal


def positions(observed: ObservedVenue, previous: VenueConnectionStatus) -> list[VenuePositionStatus]:
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


def open_orders(status: status_pb2.GatewayStatus) -> int:
    return sum(account.open_orders for account in status.accounts)


def _orders(status: status_pb2.GatewayStatus) -> VenueOrdersStatus:
    micros = status.latency_p99_micros
    return VenueOrdersStatus(
        open=open_orders(status),
        sent_total=bounded(sum(account.sent_total for account in status.accounts)),
        filled_total=bounded(sum(account.filled_total for account in status.accounts)),
        rejected_total=bounded(sum(account.rejected_total for account in status.accounts)),
        throttled_total=bounded(status.throttled_total),
        latencyP99Millis=_millis(micros) if micros else None,
    )


def _millis(micros: int) -> str:
    return plain((Decimal(micros) / 1000).quantize(Decimal("0.001")))
