"""What a Strategy says of VenueConnections: the instruments that they declare, or what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from crowetrade_api.files import ListedInstrument
from crowetrade_api.gateway_config import AnyStrategy, AnyVenue
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.common import Labels, cut
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_api.v1alpha1.venueconnection import VenueConnection


@dataclass(frozen=True, slots=True)
class Problem:
    """Why the agents of a Strategy cannot be configured."""

    reason: Reason
    message: str


def references(
    strategy: Strategy, venues: Mapping[str, AnyVenue], namespace_labels: Labels | None
) -> dict[tuple[str, str], ListedInstrument] | Problem:
    """The instruments as their venues declare them, or what is missing. `venues` are those that the strategy names, by
    name; `namespace_labels` those of its namespace, None when they are not known."""
    found: dict[tuple[str, str], ListedInstrument] = {}
    for item in strategy.spec.instruments:
        name = item.venue_ref.name
        venue = venues.get(name)
        if venue is None:
            namespace = strategy.namespace_of(name)
            text = f"VenueConnection {name} does not exist in namespace {namespace}: create it, or correct "
            text += f"spec.instruments[{item.symbol}].venueRef.name."
            if namespace != strategy.namespace:
                text += " An operator that is limited to namespaces sees none in others."
            return Problem(Reason.VENUE_NOT_FOUND, text + left_behind(strategy, name))
        if not isinstance(venue, VenueConnection):
            text = (
                f"VenueConnection {name} does not match the operator's schema ({venue.problem}): its gateway is halted."
            )
            return Problem(Reason.VENUE_UNREADABLE, text)
        refusal = venue.refusal(strategy.namespace, strategy.metadata.labels, namespace_labels)
        if refusal:
            return Problem(Reason.VENUE_NOT_ALLOWED, f"{refusal}. Until then it can send nothing there.")
        declared = next((one for one in venue.spec.instruments if one.symbol == item.symbol), None)
        if declared is None:
            known = cut(", ".join(one.symbol for one in venue.spec.instruments), 256)
            text = f"VenueConnection {name} declares no instrument {item.symbol}; it has {known}. Add it, or correct "
            return Problem(Reason.INSTRUMENT_UNKNOWN, text + "spec.instruments.")
        if declared.currency != strategy.spec.capital.currency:
            text = f"{item.symbol} at venue {name} is quoted in {declared.currency}, but spec.capital.currency is "
            return Problem(Reason.CURRENCY_MISMATCH, text + f"{strategy.spec.capital.currency}: they must be the same.")
        found[name, item.symbol] = ListedInstrument.of(venue, declared)
    return found


def left_behind(strategy: AnyStrategy, venue: str) -> str:
    """A sentence about what was known last of the strategy's positions at a venue that is gone; empty when flat."""
    held = [item for item in strategy.status.position if item.venue == venue and Decimal(item.quantity) != 0]
    if not held:
        return ""
    positions = ", ".join(f"{item.quantity} {item.symbol}" for item in held)
    return f" The last known position there is {positions}: check account and positions at the venue."
