"""When a gateway is restarted by a change of its Deployment: while no order is open there, and only so many of a
namespace at once. So neither a change of many manifests nor an upgrade of the operator stops all trading together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.conditions import Condition, ConditionType, condition
from crowetrade_api.names import venue_object
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_operator.cluster.compare import applied_hash
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.decide import last_applied
from crowetrade_operator.decide.observed import ObservedVenue
from crowetrade_operator.decide.plan import Plan, outdated
from crowetrade_operator.decide.pods import rolled_out, runs
from crowetrade_operator.settings import Settings

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Restart:
    """What a change of the Deployment means for a gateway that runs: that it is restarted now, or why it waits."""

    rollout_blocked_by: str = ""
    reason: Reason = Reason.ROLLING_OUT


def restart(
    observed: ObservedVenue, venue: VenueConnection, children: Sequence[Object], wanted: Object, settings: Settings
) -> Restart | None:
    """None when nobody is interrupted: the Deployment stays as it is, or no gateway is ready. `wanted` is the
    Deployment among the children of the change."""
    live = observed.children.get("Deployment", wanted["metadata"]["name"])
    if live is None or applied_hash(live) == applied_hash(wanted) or not runs([live]):
        return None
    recorded = [item for item in children if item["kind"] in last_applied.RECORDED]
    quiet = None if last_applied.lacks(observed.children, recorded) else _waits_for_quiet(observed, venue)
    return quiet or _waits_for_turn(observed, settings) or Restart()


def _waits_for_quiet(observed: ObservedVenue, venue: VenueConnection) -> Restart | None:
    """What was reported last counts when the gateway is silent."""
    if venue.spec.update_policy == "Immediate":
        return None
    status = observed.gateway.trusted
    if status is None:
        what = "no order is open: what is open is not known, because the gateway has not reported"
    elif opened := sum(account.open_orders for account in status.accounts):
        what = f"no order is open: {opened} {'order is' if opened == 1 else 'orders are'}"
    elif held := _taken_away(status, venue):
        what = f"nothing is held that spec.instruments lists no more, and that nobody could close then: {held}"
    else:
        return None
    return Restart(
        f"A change of the gateway waits until {what}. "
        "Set spec.updatePolicy to Immediate to roll it out at once; open orders are then cancelled.",
        Reason.WAITING_FOR_QUIET,
    )


def _taken_away(status: status_pb2.GatewayStatus, venue: VenueConnection) -> str:
    """Positions in instruments that the spec does not list, in words."""
    listed = {item.symbol for item in venue.spec.instruments}
    positions = [item for item in status.positions if item.instrument.symbol not in listed]
    return ", ".join(f"{item.quantity} {item.instrument.symbol}" for item in positions if Decimal(item.quantity) != 0)


def _waits_for_turn(observed: ObservedVenue, settings: Settings) -> Restart | None:
    """A gateway that does not come up keeps its turn until its Deployment gives up, so that a bad image stops few."""
    others = sorted({*observed.around.restarting} - {observed.venue.name})
    if len(others) < settings.gateway_restarts_at_once:
        return None
    return Restart(
        f"A change of the gateway waits for its turn: those of venue {', '.join(others[:SHOWN])} restart, and at most "
        f"{settings.gateway_restarts_at_once} of a namespace do so at once.",
        Reason.WAITING_FOR_TURN,
    )


def moving(observed: ObservedVenue, venue: VenueConnection, planned: Plan) -> Condition | None:
    """How far a change of the gateway is; None when it runs the present configuration."""
    type_ = ConditionType.RECONCILING
    if planned.rollout_blocked_by:
        return condition(type_, True, planned.blocked_reason, planned.rollout_blocked_by)
    if outdated(planned, observed.children) or not rolled_out(
        observed.children.get("Deployment", venue_object(venue.name))
    ):
        return condition(type_, True, Reason.ROLLING_OUT, "The gateway is being brought to the present configuration.")
    return None
