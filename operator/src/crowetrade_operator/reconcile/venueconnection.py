"""VenueConnection: one gateway, its configuration on the bus, and a safe end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2
from crowetrade_api.conditions import Condition, ConditionType, all_of, condition, find, follow
from crowetrade_api.files import CREDENTIALS_KEY, VENUE_FILE
from crowetrade_api.names import venue_object
from crowetrade_api.reasons import EventReason, Reason
from crowetrade_api.v1alpha1.common import plain
from crowetrade_api.v1alpha1.venueconnection import (
    SessionStatus,
    VenueConnection,
    VenueConnectionStatus,
    VenueOrdersStatus,
    VenuePhase,
)
from crowetrade_operator.cluster.events import Note
from crowetrade_operator.desired.configmap import config_hash, venue_config_map, venue_content
from crowetrade_operator.desired.deployment import venue_deployment
from crowetrade_operator.desired.networkpolicy import venue_policy
from crowetrade_operator.desired.poddisruptionbudget import pod_disruption_budget
from crowetrade_operator.desired.service import service
from crowetrade_operator.desired.serviceaccount import service_account
from crowetrade_operator.reconcile.observed import Children, GatewayView, Moment, Surroundings
from crowetrade_operator.reconcile.plan import (
    SESSION_NAMES,
    Plan,
    cut,
    paused_condition,
    rfc3339,
    session_condition,
    unix_of,
)
from crowetrade_operator.reconcile.pods import Workload, container_started, sidecar_started, workload
from crowetrade_operator.settings import Settings

Object = dict[str, Any]
WATCHED = (ConditionType.READY, ConditionType.SESSION_ESTABLISHED)
_BROKEN = (Reason.CONFIGURATION_ERROR, Reason.CRASHING, Reason.UNAVAILABLE)


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is looked at for one VenueConnection."""

    venue: VenueConnection
    around: Surroundings
    children: Children
    now: Moment

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
    """What to write. Pausing leaves the children alone; limits and suspension still go out."""
    venue, config = observed.venue, observed.config
    if venue.deleting:
        return _plan_deletion(observed, config, settings)
    children = [] if venue.paused else _children(venue, settings)
    return Plan(apply=children, finalizer=True, config=config, again=settings.silent_after_seconds)


def _children(venue: VenueConnection, settings: Settings) -> list[Object]:
    content = venue_content(venue)
    children = [
        service_account(venue),
        venue_config_map(venue, content, settings),
        venue_policy(venue, settings),
        service(venue),
        pod_disruption_budget(venue),
    ]
    if not _vault_missing(venue, settings):
        # The generation is in the file but must not restart the gateway; Vault Agent's file must.
        data = {**children[1]["data"], VENUE_FILE: config_hash(content)}
        children.append(venue_deployment(venue, config_hash(data), settings))
    return children


def _plan_deletion(observed: Observed, config: config_pb2.GatewayConfig, settings: Settings) -> Plan:
    released, note = _released(observed, config, settings)
    if not released:
        return Plan(config=config, again=1.0)
    notes = [note] if note is not None else []
    return Plan(finalizer=False, delete_config=True, notes=notes)


def _released(observed: Observed, config: config_pb2.GatewayConfig, settings: Settings) -> tuple[bool, Note | None]:
    """Whether nothing is left to wait for, and what to tell about it."""
    venue, view = observed.venue, observed.gateway
    if venue.force_delete:
        text = "Deleted by force: the gateway was not asked whether its orders are cancelled. Check them at the venue."
        return True, Note("Warning", EventReason.FORCE_DELETED, "Delete", text)
    deployment = observed.children.get("Deployment", venue_object(venue.name))
    never_started = view.last is None and venue.status.session.fencing_token == 0 and observed.workload.ready == 0
    if never_started:
        return True, None
    if deployment is None and view.status is None and observed.around.bus_connected:
        return True, _last_words(observed)
    status = view.status
    if status is not None and status.config_revision == config.revision and _open_orders(status) == 0:
        return True, Note("Normal", EventReason.HALTED, "Delete", "The gateway has confirmed that no order is open.")
    waited = observed.now.unix - unix_of(venue.metadata.deletion_timestamp or observed.now.text)
    if waited >= settings.stop_deadline_seconds:
        text = (
            f"The gateway has not confirmed within {settings.stop_deadline_seconds:g} s that no order is open; "
            f"deleting it all the same. Check account {venue.spec.account} at the venue."
        )
        return True, Note("Warning", EventReason.STOP_DEADLINE_EXCEEDED, "Delete", text)
    return False, None


def _last_words(observed: Observed) -> Note:
    """What is known of the orders of a gateway that is gone, as when its whole namespace is deleted."""
    last = observed.gateway.last
    if last is not None and _open_orders(last) == 0:
        text = "The gateway is gone; the last that it said is that no order is open."
        return Note("Normal", EventReason.HALTED, "Delete", text)
    text = (
        "The gateway is gone and has not said that no order is open. "
        f"Check account {observed.venue.spec.account} at the venue."
    )
    return Note("Warning", EventReason.GATEWAY_GONE, "Delete", text)


def report(
    observed: Observed, settings: Settings, refusal: str, previous: VenueConnectionStatus
) -> VenueConnectionStatus:
    """The new status; `previous` is the one that was reported last."""
    venue, status = observed.venue, observed.gateway.status or observed.gateway.last
    conditions = _conditions(observed, settings, refusal)
    generation = venue.metadata.generation
    return VenueConnectionStatus(
        observed_generation=generation,
        phase=_phase(observed, conditions, previous),
        session=_session(observed) if status is not None else previous.session,
        orders=_orders(status) if status is not None else previous.orders,
        config_revision=status.config_revision if status is not None else previous.config_revision,
        conditions=follow(previous.conditions, conditions, generation, observed.now.text),
    )


def _conditions(observed: Observed, settings: Settings, refusal: str) -> list[Condition]:
    credentials = _credentials(observed, settings)
    session = _session_established(observed, refusal)
    parts = [credentials, session] if credentials.status != "True" else [session, credentials]
    ready = all_of(ConditionType.READY, parts, Reason(session.reason), session.message)
    found = [ready, session, credentials]
    return [*found, paused_condition()] if observed.venue.paused else found


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


def _credentials(observed: Observed, settings: Settings) -> Condition:
    type_, venue = ConditionType.CREDENTIALS_READY, observed.venue
    wanted = venue.spec.credentials
    if wanted is None:
        return condition(type_, True, Reason.NOT_REQUIRED, "The venue wants no key.")
    if _vault_missing(venue, settings):
        text = (
            "spec.credentials.vault is set but the operator knows no Vault: set VAULT_ADDR of the operator "
            "(chart value vault.address), or use credentials.secretRef for development."
        )
        return condition(type_, False, Reason.VAULT_NOT_CONFIGURED, text)
    pods = observed.children.of_kind("Pod")
    account = venue_object(venue.name)
    if wanted.vault is not None:
        if sidecar_started(pods, "vault-agent"):
            return condition(type_, True, Reason.DELIVERED, "Vault Agent has delivered the key.")
        text = (
            f"Vault Agent has not delivered the key yet. Check that Vault at {settings.vault_address} has role "
            f"{wanted.vault.role} at auth/{settings.vault_auth_path}, bound to service account {account} in namespace "
            f"{venue.namespace} with audience vault; that its policy may read {wanted.vault.path}; and that the secret "
            f"has field {wanted.vault.key}. See kubectl logs deploy/{account} -c vault-agent."
        )
        return condition(type_, False, Reason.WAITING_FOR_CREDENTIALS, text)
    if container_started(pods, "gateway"):
        return condition(type_, True, Reason.DELIVERED, "The Secret is mounted.")
    name = wanted.secret_ref.name if wanted.secret_ref is not None else ""
    text = f"Secret {name} with key {CREDENTIALS_KEY} is not mounted yet: create it in namespace {venue.namespace}."
    return condition(type_, False, Reason.WAITING_FOR_CREDENTIALS, text)


def _phase(observed: Observed, conditions: Sequence[Condition], previous: VenueConnectionStatus) -> VenuePhase:
    venue, status = observed.venue, observed.gateway.status
    ready, session = find(conditions, ConditionType.READY), find(conditions, ConditionType.SESSION_ESTABLISHED)
    credentials = find(conditions, ConditionType.CREDENTIALS_READY)
    assert ready is not None
    assert session is not None
    assert credentials is not None
    if venue.deleting:
        return VenuePhase.STOPPING
    if venue.spec.suspend:
        if status is None or _open_orders(status):
            return VenuePhase.STOPPING
        halted = previous.phase == VenuePhase.SUSPENDED or status.config_revision == observed.config.revision
        return VenuePhase.SUSPENDED if halted else VenuePhase.STOPPING
    if credentials.reason == Reason.VAULT_NOT_CONFIGURED or session.reason == Reason.REFUSED_BY_CLUSTER:
        return VenuePhase.PENDING
    if session.reason == Reason.LOGON_REJECTED:
        return VenuePhase.REFUSED
    if ready.status == "True":
        return VenuePhase.ENDED if session.reason == Reason.REPLAY_ENDED else VenuePhase.CONNECTED
    was_up = previous.phase in (VenuePhase.CONNECTED, VenuePhase.ENDED, VenuePhase.DEGRADED, VenuePhase.SUSPENDED)
    return VenuePhase.DEGRADED if was_up or session.reason in _BROKEN else VenuePhase.STARTING


def _session(observed: Observed) -> SessionStatus:
    status = observed.gateway.last
    assert status is not None
    state = SESSION_NAMES.get(status.session, "") if observed.gateway.status is not None else ""
    return SessionStatus(
        state=state,
        since=rfc3339(status.session_since_unix_ns / 1e9) if status.session_since_unix_ns else None,
        fencing_token=status.fencing_token,
        pod=cut(status.pod, 253),
        message=cut(status.session_message, 1024),
    )


def _open_orders(status: status_pb2.GatewayStatus) -> int:
    return sum(account.open_orders for account in status.accounts)


def _orders(status: status_pb2.GatewayStatus) -> VenueOrdersStatus:
    micros = status.latency_p99_micros
    return VenueOrdersStatus(
        open=_open_orders(status),
        sent_total=sum(account.sent_total for account in status.accounts),
        filled_total=sum(account.filled_total for account in status.accounts),
        rejected_total=sum(account.rejected_total for account in status.accounts),
        throttled_total=status.throttled_total,
        latencyP99Millis=_millis(micros) if micros else None,
    )


def _millis(micros: int) -> str:
    return plain((Decimal(micros) / 1000).quantize(Decimal("0.001")))
