"""A Strategy that moves: which venues serve it, what it has left at those that its spec names no more, and what keeps
a change of its agents waiting.

What is known comes from what is stored and reported: status.venues, the ConfigMap that the agents were started with,
and the accounts of the gateways. An operator that has just started decides the same as the one before.
"""

from __future__ import annotations

from collections.abc import Collection
from decimal import Decimal

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.names import VENUES_ANNOTATION, VenueAddress
from crowetrade_api.v1alpha1.strategy import BoundVenueStatus, VenueUse
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.decide.observed import StrategyVenues


def configured_for(config_map: Object | None) -> set[VenueAddress]:
    """The venues that the agents were last configured for, as their ConfigMap says."""
    annotations = (config_map["metadata"].get("annotations") or {}) if config_map is not None else {}
    listed = (item.split("/", 1) for item in str(annotations.get(VENUES_ANNOTATION, "")).split(",") if "/" in item)
    return {VenueAddress(*item) for item in listed}


def bound(venues: StrategyVenues, runs_at: Collection[VenueAddress], moves: bool) -> list[BoundVenueStatus]:
    """status.venues. `runs_at` are the venues that the agents are configured for; `moves` is False while the spec is
    not carried out, because it names what cannot be found or reconciling is paused: then all stays as it is."""
    named = {venues.addresses[name] for name in venues.strategy.venues}
    found = {item.address: item.use for item in venues.strategy.status.venues}
    found = {**dict.fromkeys(runs_at, VenueUse.TRADING), **found}
    if moves:
        found = dict.fromkeys(found, VenueUse.CLOSE_ONLY) | dict.fromkeys(named, VenueUse.TRADING)
    for name in venues.left:
        address = venues.addresses[name]
        if found.get(address) == VenueUse.CLOSE_ONLY and address not in runs_at and _is_done(venues, name):
            del found[address]
    return [BoundVenueStatus(namespace=item.namespace, name=item.name, use=found[item]) for item in sorted(found)]


def _is_done(venues: StrategyVenues, venue: str) -> bool:
    """Whether it is certain that nothing is left at a venue, nor can be: its gateway reports so under a configuration
    that lets the strategy only reduce there. Of a venue that is gone, or has never worked, nothing is known."""
    if venue not in venues.present:
        return not last_known(venues, venue)
    view, around = venues.gateway(venue), venues.around(venue)
    if view.last is None and view.record_token == 0 and venues.addresses[venue].name not in around.gateway_deployments:
        return not last_known(venues, venue)
    return around.bus_connected and venues.configured(venue) and not _held(venues.account(venue))


def left_behind(venues: StrategyVenues) -> dict[str, str]:
    """By venue that the spec names no more: what is left there, in words."""
    found = {}
    for venue in venues.left:
        if venue in venues.present and venues.gateway(venue).trusted is not None:
            found[venue] = _held(venues.account(venue))
        else:
            found[venue] = last_known(venues, venue)
            if venue in venues.present and not found[venue]:
                found[venue] = "what its gateway, which has not reported, may hold"
    return {venue: text for venue, text in found.items() if text}


def last_known(venues: StrategyVenues, venue: str) -> str:
    """What the status says of positions at a venue whose gateway says nothing; empty when flat."""
    held = [item for item in venues.strategy.status.position if item.venue == venue and Decimal(item.quantity) != 0]
    return f"last known position {', '.join(f'{item.quantity} {item.symbol}' for item in held)}" if held else ""


def exposure(venues: StrategyVenues) -> str:
    """Why a restart of the agents waits, in words; empty when they may be restarted. What was reported last counts when
    a gateway is silent. Nobody can close what is at a venue that is gone, so a move away from there does not wait."""
    waits_at = [name for name in venues.addresses if name in venues.present or name in venues.strategy.venues]
    for name in waits_at:
        held = _held(venues.account(name))
        if held:
            return f"{held} at venue {name}"
    for name in waits_at:
        if name in venues.left and _may_still_open(venues, name):
            return f"the gateway of venue {name} has not confirmed yet that orders there may only reduce positions"
    unknown = [name for name in waits_at if venues.gateway(name).trusted is None]
    return next((text for name in unknown if (text := last_known(venues, name))), "")


def _may_still_open(venues: StrategyVenues, venue: str) -> bool:
    """Whether a gateway that works has not yet been told that the strategy may only reduce."""
    around = venues.around(venue)
    leaves = any(
        item.address == venues.addresses[venue] and item.use == VenueUse.CLOSE_ONLY
        for item in venues.strategy.status.venues
    )
    reports = around.bus_connected and venues.gateway(venue).status is not None
    return reports and not (leaves and venues.configured(venue))


def _held(account: status_pb2.StrategyAccount | None) -> str:
    """Open orders or positions in words; empty when there are none."""
    if account is None:
        return ""
    if account.open_orders:
        return f"{account.open_orders} open orders"
    held = [f"{item.quantity} {item.instrument.symbol}" for item in account.positions if Decimal(item.quantity) != 0]
    return f"position {', '.join(held)}" if held else ""
