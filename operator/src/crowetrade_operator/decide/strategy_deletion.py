"""The end of a Strategy, readable or not: its finalizer stays until the gateways confirm, or until a deadline.

The deadline is counted on a clock that nobody sets, from when this process first saw the deletion: a node's clock that
steps ahead must not leave positions behind. After a takeover it is counted again.

The event at the end says what is known: who confirmed, what is left and why, and who was not there to ask.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.gateway_config import AnyStrategy, AnyVenue, uses_venue
from crowetrade_api.reasons import EventReason
from crowetrade_api.v1alpha1.common import cut
from crowetrade_operator.cluster.objects import Note
from crowetrade_operator.decide.observed import Moment, NamespaceView, StrategyVenues
from crowetrade_operator.decide.plan import Plan
from crowetrade_operator.settings import Settings

MESSAGE_LENGTH = 900


@dataclass(frozen=True)
class Observed:
    """All that is looked at for the end of one Strategy."""

    strategy: AnyStrategy
    around: NamespaceView
    now: Moment
    # By namespace, of the venues that are of another one.
    beyond: Mapping[str, NamespaceView] = field(default_factory=dict)
    # For how long it has been seen being deleted; counted again by each process that begins to work.
    deleted_seconds: float = 0.0

    @cached_property
    def venues(self) -> StrategyVenues:
        """Its venues, those included that it has left."""
        return StrategyVenues(self.strategy, self.around, self.beyond)


def plan(observed: Observed, settings: Settings) -> Plan:
    """What to write about a Strategy that is being deleted."""
    waiting, strategy = waiting_venues(observed), observed.strategy
    if not waiting:
        return Plan(finalizer=False, notes=_ended(observed))
    if strategy.force_delete:
        text = f"Deleted by force without confirmation of {', '.join(waiting)}.{_left(observed)}"
        return _let_go(EventReason.FORCE_DELETED, f"{text} Check open orders at the venue.")
    if observed.deleted_seconds >= settings.stop_deadline_seconds:
        text = (
            f"No confirmation of {', '.join(waiting)} within {settings.stop_deadline_seconds:g} s; deleting all the "
            f"same.{_left(observed)} The gateway refuses orders of a strategy that is gone; check open orders and "
            "positions at the venue."
        )
        return _let_go(EventReason.STOP_DEADLINE_EXCEEDED, text)
    return Plan(requeue_after_seconds=1.0)


def _let_go(reason: EventReason, text: str) -> Plan:
    return Plan(finalizer=False, notes=[Note("Warning", reason, "Delete", cut(text, MESSAGE_LENGTH))])


def _ended(observed: Observed) -> list[Note]:
    """How it stopped; a position that is left although it should be closed, or that is not sure, is a warning."""
    confirmed = [name for name in observed.venues.addresses if stopped(observed, name)]
    absent = [name for name in observed.venues.addresses if name not in confirmed]
    text = []
    if confirmed:
        text.append(f"The gateway of {', '.join(confirmed)} has confirmed that no order is open.")
    if absent:
        text.append(f"There is no gateway to ask at {', '.join(absent)}: the venue is gone or has never worked.")
    left = _left(observed)
    if not left:
        return [Note("Normal", EventReason.STOPPED, "Delete", " ".join(text))]
    expected = not observed.strategy.flattens and not absent
    reason = EventReason.STOPPED if expected else EventReason.POSITION_LEFT
    message = cut(" ".join(text) + left, MESSAGE_LENGTH)
    return [Note("Normal" if expected else "Warning", reason, "Delete", message)]


def _left(observed: Observed) -> str:
    """A sentence that names the positions that stay and why; empty when there is none."""
    found = [item for name in observed.venues.addresses for item in left_at(observed, name)]
    return f" Left: {'; '.join(found)}." if found else ""


def left_at(observed: Observed, venue: str) -> list[str]:
    """What stays at one venue: as its gateway says, or as it was known last."""
    strategy, venues = observed.strategy, observed.venues
    account = venues.account(venue)
    if account is None or venue not in venues.present:
        known = [item for item in strategy.status.position if item.venue == venue and Decimal(item.quantity) != 0]
        return [f"{item.quantity} {item.symbol} at {venue} (last known)" for item in known]
    reasons = {item.instrument.symbol: item for item in account.remaining}
    held = [item for item in account.positions if Decimal(item.quantity) != 0]
    return [f"{_quantity(item)} at {venue}{_why(item, reasons)}" for item in held]


def _quantity(position: status_pb2.Position) -> str:
    return f"{position.quantity} {position.instrument.symbol}"


def _why(position: status_pb2.Position, reasons: dict[str, status_pb2.Remaining]) -> str:
    item = reasons.get(position.instrument.symbol)
    if item is None or not item.reason:
        return ""
    return f" ({item.reason}{': ' + item.text if item.text else ''})"


def waiting_venues(observed: Observed) -> list[str]:
    """Venues whose gateway has not yet confirmed that the strategy is stopped.

    Nothing is waited for at a venue that is gone, that never had a gateway, or whose gateway is gone and is not made
    again, as when its namespace is deleted and its pod has ended; nor at one that does not admit the strategy and has
    nothing of it.
    """
    return [
        name
        for name in observed.venues.present
        if not _nobody_to_ask(observed.venues, name) and not stopped(observed, name)
    ]


def _nobody_to_ask(venues: StrategyVenues, name: str) -> bool:
    venue, around, view = venues.present[name], venues.around(name), venues.gateway(name)
    deployed = venue.name in around.gateway_deployments
    if not venues.admitted(venue) and view.trusted is not None and venues.account(name) is None:
        return True
    if view.last is None and view.record_token == 0:
        return not deployed or around.bus_connected
    return around.gateway_is_gone(venue) and around.bus_connected


def stopped(observed: Observed, venue: str) -> bool:
    """Whether the gateway has the configuration that stops the strategy, and says that it is stopped."""
    venues = observed.venues
    if venue not in venues.present or not venues.configured(venue):
        return False
    account = venues.account(venue)
    return account is None or account.stopped


def suspended(observed: Observed, venue: str) -> bool:
    """Whether the gateway says that the strategy is stopped, whatever else changed in its configuration since."""
    view = observed.venues.gateway(venue)
    account = observed.venues.account(venue) if view.status is not None else None
    return account.stopped if account is not None else stopped(observed, venue)


def flattening(venue: AnyVenue, strategies: Iterable[AnyStrategy]) -> Sequence[AnyStrategy]:
    """Strategies whose deletion closes positions at the venue."""
    return [item for item in strategies if uses_venue(item, venue) and item.flattens]
