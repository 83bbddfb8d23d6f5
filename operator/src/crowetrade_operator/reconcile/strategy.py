"""Strategy: its agents, and a safe end. What it may do travels by the gateways: see crowetrade_api.gateway_config;
what its status says: see reconcile/strategy_report.py."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.names import APPLIED_HASH_ANNOTATION
from crowetrade_api.reasons import EventReason, Reason
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import Instrument
from crowetrade_operator.cluster.compare import with_hash
from crowetrade_operator.cluster.events import Note
from crowetrade_operator.desired.configmap import config_hash, strategy_config_map, strategy_content
from crowetrade_operator.desired.deployment import roles_of, strategy_deployments
from crowetrade_operator.desired.metadata import object_name
from crowetrade_operator.desired.networkpolicy import strategy_policy
from crowetrade_operator.desired.poddisruptionbudget import pod_disruption_budget
from crowetrade_operator.desired.service import service
from crowetrade_operator.desired.serviceaccount import service_account
from crowetrade_operator.reconcile.observed import Children, Moment, Surroundings
from crowetrade_operator.reconcile.plan import Plan, account_of, unix_of
from crowetrade_operator.reconcile.pods import Workload, workload
from crowetrade_operator.settings import Settings

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """All that is looked at for one Strategy."""

    strategy: Strategy
    around: Surroundings
    children: Children
    agents: Sequence[status_pb2.AgentStatus]
    now: Moment

    def deployments(self) -> list[Object | None]:
        """Its Deployments as they should be by number and name; None for one that is not there yet."""
        names = (object_name(self.strategy, role) for role in roles_of(self.strategy))
        return [self.children.get("Deployment", name) for name in names]

    @property
    def workload(self) -> Workload:
        """Its Deployments and pods."""
        return workload(self.deployments(), self.children.of_kind("Pod"))


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the agents cannot be configured."""

    reason: Reason
    message: str


def references(strategy: Strategy, around: Surroundings) -> dict[tuple[str, str], Instrument] | Problem:
    """The instruments as their venues declare them, or what is missing."""
    found: dict[tuple[str, str], Instrument] = {}
    for item in strategy.spec.instruments:
        name = item.venue_ref.name
        venue = around.venues.get(name)
        if venue is None:
            text = f"VenueConnection {name} does not exist in namespace {strategy.namespace}: create it, or correct "
            return Problem(Reason.VENUE_NOT_FOUND, text + f"spec.instruments[{item.symbol}].venueRef.name.")
        declared = next((one for one in venue.spec.instruments if one.symbol == item.symbol), None)
        if declared is None:
            known = ", ".join(one.symbol for one in venue.spec.instruments)
            text = f"VenueConnection {name} declares no instrument {item.symbol}; it has {known}. Add it, or correct "
            return Problem(Reason.INSTRUMENT_UNKNOWN, text + "spec.instruments.")
        if declared.currency != strategy.spec.capital.currency:
            text = f"{item.symbol} at venue {name} is quoted in {declared.currency}, but spec.capital.currency is "
            return Problem(Reason.CURRENCY_MISMATCH, text + f"{strategy.spec.capital.currency}: they must be the same.")
        found[name, item.symbol] = declared
    return found


def plan(observed: Observed, settings: Settings) -> Plan:
    """What to write."""
    strategy = observed.strategy
    if strategy.deleting:
        return _plan_deletion(observed, settings)
    if strategy.paused:
        return Plan(finalizer=True, again=settings.silent_after_seconds)
    steady = [
        service_account(strategy),
        strategy_policy(strategy, settings),
        service(strategy),
        pod_disruption_budget(strategy),
    ]
    found = references(strategy, observed.around)
    if isinstance(found, Problem):
        return Plan(apply=steady, finalizer=True, again=settings.silent_after_seconds)
    content = strategy_content(strategy, found, settings)
    deployments = strategy_deployments(strategy, config_hash(content), settings)
    unwanted = _unwanted(observed, deployments)
    held = _held(observed, deployments, unwanted)
    if held:
        return Plan(apply=steady, finalizer=True, again=settings.silent_after_seconds, held=held)
    children = [*steady, strategy_config_map(strategy, content), *deployments]
    return Plan(apply=children, delete=unwanted, finalizer=True, again=settings.silent_after_seconds)


def _unwanted(observed: Observed, deployments: Iterable[Object]) -> list[Object]:
    """Deployments of another topology."""
    names = {item["metadata"]["name"] for item in deployments}
    return [item for item in observed.children.of_kind("Deployment") if item["metadata"]["name"] not in names]


def _held(observed: Observed, deployments: Sequence[Object], unwanted: Sequence[Object]) -> str:
    """Why a rollout waits; empty when nothing rolls, or nothing that runs would be restarted."""
    live = [observed.children.get("Deployment", item["metadata"]["name"]) for item in deployments]
    changed = any(
        found is not None and _applied_hash(with_hash(wanted)) != _applied_hash(found)
        for wanted, found in zip(deployments, live, strict=True)
    )
    running = workload(observed.children.of_kind("Deployment"), ()).ready > 0
    if not (changed or unwanted) or not running or observed.strategy.spec.agents.update_policy == "Immediate":
        return ""
    exposure = _exposure(observed)
    if not exposure:
        return ""
    return (
        f"A change waits until the strategy is flat: {exposure}. "
        "Set spec.agents.updatePolicy to Immediate to roll it out at once."
    )


def _applied_hash(item: Object) -> str:
    return str((item["metadata"].get("annotations") or {}).get(APPLIED_HASH_ANNOTATION, ""))


def _exposure(observed: Observed) -> str:
    """Positions and open orders in words; what was reported last counts when a gateway is silent. Empty when flat."""
    strategy = observed.strategy
    for name in strategy.spec.venues:
        account = account_of(observed.around.gateway(name), strategy.name)
        if account is not None:
            if account.open_orders:
                return f"{account.open_orders} open orders at venue {name}"
            positions = [item for item in account.positions if Decimal(item.quantity) != 0]
            if positions:
                return f"position {positions[0].quantity} {positions[0].symbol} at venue {name}"
    if all(observed.around.gateway(name).last is not None for name in strategy.spec.venues):
        return ""
    stale = [item for item in strategy.status.position if Decimal(item.quantity) != 0]
    return f"last known position {stale[0].quantity} {stale[0].symbol}" if stale else ""


def _plan_deletion(observed: Observed, settings: Settings) -> Plan:
    waiting = waiting_venues(observed)
    strategy = observed.strategy
    if strategy.force_delete and waiting:
        text = f"Deleted by force without confirmation of {', '.join(waiting)}. Check open orders at the venue."
        return Plan(finalizer=False, notes=[Note("Warning", EventReason.FORCE_DELETED, "Delete", text)])
    if not waiting:
        return Plan(finalizer=False, notes=[Note("Normal", EventReason.STOPPED, "Delete", _how_it_stopped(observed))])
    waited = observed.now.unix - unix_of(strategy.metadata.deletion_timestamp or observed.now.text)
    if waited >= settings.stop_deadline_seconds:
        text = (
            f"No confirmation of {', '.join(waiting)} within {settings.stop_deadline_seconds:g} s; deleting all the "
            "same. The gateway refuses orders of a strategy that is gone; check open orders and positions at the venue."
        )
        return Plan(finalizer=False, notes=[Note("Warning", EventReason.STOP_DEADLINE_EXCEEDED, "Delete", text)])
    return Plan(again=1.0)


def _how_it_stopped(observed: Observed) -> str:
    confirmed = [name for name in observed.strategy.spec.venues if _stopped(observed, name)]
    absent = [name for name in observed.strategy.spec.venues if name not in confirmed]
    text = []
    if confirmed:
        text.append(f"The gateway of {', '.join(confirmed)} has confirmed that no order is open.")
    if absent:
        text.append(f"There is no gateway to ask at {', '.join(absent)}: the venue is gone or has never worked.")
    return " ".join(text)


def waiting_venues(observed: Observed) -> list[str]:
    """Venues whose gateway has not yet confirmed that the strategy is stopped.

    Nothing is waited for at a venue that is gone, or that never had a gateway.
    """
    strategy, around = observed.strategy, observed.around
    waiting = []
    for name in strategy.spec.venues:
        venue, view = around.venues.get(name), around.gateway(name)
        if venue is None:
            continue
        never = view.last is None and venue.status.session.fencing_token == 0
        if never and (name not in around.gateway_deployments or around.bus_connected):
            continue
        if not _stopped(observed, name):
            waiting.append(name)
    return waiting


def _stopped(observed: Observed, venue: str) -> bool:
    """Whether the gateway has the configuration that stops the strategy, and says that it is stopped."""
    view, around = observed.around.gateway(venue), observed.around
    resource = around.venues.get(venue)
    if resource is None or view.status is None:
        return False
    expected = around.config(resource)
    if view.status.config_revision != expected.revision:
        return False
    account = account_of(view, observed.strategy.name)
    return account is None or account.stopped


def suspended(observed: Observed, venue: str) -> bool:
    """Whether the gateway says that the strategy is stopped, whatever else changed in its configuration since."""
    view = observed.around.gateway(venue)
    account = account_of(view, observed.strategy.name) if view.status is not None else None
    return account.stopped if account is not None else _stopped(observed, venue)
