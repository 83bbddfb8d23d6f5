"""A Strategy that moves: which venues serve it, what it has left in instruments that its spec names no more, and what
keeps a change of its agents waiting.

What is known comes from what is stored and reported: status.venues, the ConfigMap that the agents were started with,
and the accounts of the gateways. An operator that has just started decides the same as the one before.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from decimal import Decimal

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.gateway_config import tradable
from crowetrade_api.names import INSTRUMENTS_ANNOTATION, InstrumentAddress, VenueAddress
from crowetrade_api.v1alpha1.strategy import BoundVenueStatus
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.decide.observed import StrategyVenues


def configured_for(config_map: Object | None) -> set[InstrumentAddress]:
    """The instruments that the agents were last configured for, as their ConfigMap says."""
    annotations = (config_map["metadata"].get("annotations") or {}) if config_map is not None else {}
    listed = (item.split("/", 2) for item in str(annotations.get(INSTRUMENTS_ANNOTATION, "")).split(","))
    return {InstrumentAddress(VenueAddress(item[0], item[1]), item[2]) for item in listed if len(item) == 3}


def bound(venues: StrategyVenues, running: Collection[InstrumentAddress], moves: bool) -> list[BoundVenueStatus]:
    """status.venues. `running` is what the agents are configured for; `moves` is False while the spec is not carried
    out, because it names what cannot be found or reconciling is paused: then all stays as it is."""
    named = venues.strategy.instruments
    found = _by_venue(running) | {item.address: set(item.symbols) for item in venues.strategy.status.venues}
    if moves:
        found = {address: set() for address in found} | _by_venue(named)
    runs_at = {item.venue for item in running}
    for name in venues.left:
        address = venues.addresses[name]
        if found.get(address) == set() and address not in runs_at and _is_done(venues, name):
            del found[address]
    return [
        BoundVenueStatus(namespace=item.namespace, name=item.name, symbols=sorted(found[item]))
        for item in sorted(found)
    ]


def _by_venue(instruments: Collection[InstrumentAddress]) -> dict[VenueAddress, set[str]]:
    venues = {item.venue for item in instruments}
    return {venue: {item.symbol for item in instruments if item.venue == venue} for venue in venues}


def _is_done(venues: StrategyVenues, venue: str) -> bool:
    """Whether it is certain that nothing is left at a venue, nor can be: its gateway reports so under a configuration
    that lets the strategy only reduce there. Of a venue that is gone, or has never worked, nothing is known."""
    if venue not in venues.present:
        return not last_known(venues, venue)
    view, around = venues.gateway(venue), venues.around(venue)
    if view.last is None and view.record_token == 0 and venues.addresses[venue].name not in around.gateway_deployments:
        return not last_known(venues, venue)
    return around.bus_connected and venues.configured(venue) and not _held(venues.account(venue))


@dataclass(frozen=True, slots=True)
class Left:
    """What is left at a venue in instruments that the spec names no more, in words."""

    venue: str
    text: str
    # Whether the agents still trade all of it.
    agents_close: bool

    def __str__(self) -> str:
        return f"{self.text} at {self.venue}"


def left_behind(venues: StrategyVenues, running: Collection[InstrumentAddress]) -> list[Left]:
    """By venue, in instruments in which nothing may be opened any more."""
    found = []
    for venue, address in venues.addresses.items():
        may_open = tradable(venues.strategy, address)
        text = _held_apart_from(may_open, venues, venue)
        if not text and not may_open and venue in venues.present and not _reports(venues, venue):
            text = "what its gateway, which has not reported, may hold"
        if text:
            traded = {item.symbol for item in running if item.venue == address}
            found.append(Left(venue, text, bool(traded) and not _held_apart_from(traded, venues, venue)))
    return found


def _held_apart_from(symbols: Collection[str], venues: StrategyVenues, venue: str) -> str:
    """As its gateway reports it, and where it does not, as the status says; empty when flat."""
    if _reports(venues, venue):
        return _held(venues.account(venue), symbols)
    return last_known(venues, venue, symbols)


def _reports(venues: StrategyVenues, venue: str) -> bool:
    return venue in venues.present and venues.gateway(venue).trusted is not None


def last_known(venues: StrategyVenues, venue: str, apart: Collection[str] = ()) -> str:
    """What the status says of positions at a venue whose gateway says nothing, those in some symbols apart; empty when
    flat."""
    at_venue = [item for item in venues.strategy.status.position if item.venue == venue and item.symbol not in apart]
    held = [item for item in at_venue if Decimal(item.quantity) != 0]
    return f"last known position {', '.join(f'{item.quantity} {item.symbol}' for item in held)}" if held else ""


def exposure(venues: StrategyVenues, running: Collection[InstrumentAddress]) -> str:
    """Why a restart of the agents waits, in words; empty when they may be restarted. What was reported last counts when
    a gateway is silent. Nobody can close what is at a venue that is gone, so a move away from there does not wait."""
    waits_at = [name for name in venues.addresses if name in venues.present or name in venues.strategy.venues]
    for name in waits_at:
        held = _held(venues.account(name))
        if held:
            return f"{held} at venue {name}"
    for name in waits_at:
        if _may_still_open(venues, name, running):
            return f"the gateway of venue {name} has not confirmed yet that orders there may only reduce positions"
    unknown = [name for name in waits_at if venues.gateway(name).trusted is None]
    return next((text for name in unknown if (text := last_known(venues, name))), "")


def _may_still_open(venues: StrategyVenues, venue: str, running: Collection[InstrumentAddress]) -> bool:
    """Whether a gateway that works has not confirmed yet that the strategy may only reduce in what its agents leave."""
    address, named = venues.addresses[venue], venues.strategy.instruments
    left = {item.symbol for item in running if item.venue == address and item not in named}
    reports = venues.around(venue).bus_connected and venues.gateway(venue).status is not None
    confirmed = left.isdisjoint(tradable(venues.strategy, address)) and venues.configured(venue)
    return bool(left) and reports and not confirmed


def _held(account: status_pb2.StrategyAccount | None, apart: Collection[str] = ()) -> str:
    """Open orders or positions in words; empty when there are none. Apart from some symbols only positions are named:
    accounts do not say in which instruments orders are open."""
    if account is None:
        return ""
    if account.open_orders and not apart:
        return f"{account.open_orders} open orders"
    held = [
        f"{item.quantity} {item.instrument.symbol}"
        for item in account.positions
        if Decimal(item.quantity) != 0 and item.instrument.symbol not in apart
    ]
    return f"position {', '.join(held)}" if held else ""
