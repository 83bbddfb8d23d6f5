"""The safe end of a VenueConnection: its gateway stays until what trades there has been closed.

Argo CD, and `kubectl delete --cascade=foreground`, delete in the foreground: the garbage collector then takes children
first, whatever finalizer of ours holds their owner. So such a deletion goes on in the background, and what the garbage
collector was faster with is made again.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from crowetrade.config.v1 import config_pb2
from crowetrade_api.gateway_config import AnyVenue
from crowetrade_api.names import FINALIZER, FOREGROUND_FINALIZER, name_at
from crowetrade_api.reasons import EventReason
from crowetrade_api.v1alpha1.common import cut
from crowetrade_api.v1alpha1.venueconnection import (
    VenueConnection,
)
from crowetrade_operator.cluster.objects import Note
from crowetrade_operator.decide import strategy_deletion
from crowetrade_operator.decide.observed import ObservedVenue
from crowetrade_operator.decide.plan import (
    Plan,
)
from crowetrade_operator.decide.venueconnection_status import open_orders, positions
from crowetrade_operator.settings import Settings

CASCADE_SECONDS = 10.0
"""Whoever deletes a venue together with its strategies deletes them one after the other."""


def plan(observed: ObservedVenue, config: config_pb2.GatewayConfig, settings: Settings) -> Plan:
    released, note = _released(observed, config, settings)
    if not released:
        background = FOREGROUND_FINALIZER in observed.venue.metadata.finalizers
        return Plan(config=config, journal=True, background=background, requeue_after_seconds=1.0)
    notes = [note] if note is not None else []
    return Plan(finalizer=False, delete_config=True, notes=notes)


def _released(
    observed: ObservedVenue, config: config_pb2.GatewayConfig, settings: Settings
) -> tuple[bool, Note | None]:
    """Whether nothing is left to wait for, and what to tell about it."""
    venue, view = observed.venue, observed.gateway
    if venue.force_delete:
        text = "Deleted by force: the gateway was not asked whether its orders are cancelled. Check them at the venue."
        return True, _note("Warning", EventReason.FORCE_DELETED, text)
    if view.last is None and view.record_token == 0 and observed.workload.ready == 0:
        return True, None
    if observed.around.gateway_is_gone(venue) and observed.around.bus_connected:
        return True, _last_words(observed)
    waited = observed.deleted_seconds
    flattening = _flattening(observed, waited)
    status = view.status if view.trusted is not None else None
    confirmed = status is not None and status.config_revision == config.revision and open_orders(status) == 0
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


def _flattening(observed: ObservedVenue, waited: float) -> list[str]:
    """Strategies that the venue stays open for: being deleted with Flatten and not gone yet, or with a position and
    perhaps about to be deleted, because a cascade deletes one object after the other. One that has stopped needs the
    venue until it has gone: its last event tells what the gateway has confirmed."""
    around, name, found = observed.around, observed.venue.name, []
    for strategy in strategy_deletion.flattening(observed.venue, around.traders_at(observed.venue)):
        known_as = name_at(observed.venue.namespace, strategy.namespace, strategy.name)
        if strategy.deleting:
            ending = strategy_deletion.Observed(strategy, around, observed.now, {observed.venue.namespace: around})
            stopped = strategy_deletion.stopped(ending, ending.venues.called(observed.venue))
            waits = not stopped or FINALIZER in strategy.metadata.finalizers
        else:
            waits = _holds(observed, known_as) and waited < CASCADE_SECONDS
        if waits:
            found.append(known_as)
    for guest in around.kept_guests(name):
        known_as = guest.binding.strategy
        closes = guest.binding.state == config_pb2.TRADING_STATE_FLATTEN
        if guest.binding.flatten_when_deleted and _holds(observed, known_as) and (closes or waited < CASCADE_SECONDS):
            found.append(known_as)
    return sorted(found)


def _holds(observed: ObservedVenue, known_as: str) -> bool:
    account = observed.gateway.account(known_as)
    return account is not None and any(Decimal(item.quantity) != 0 for item in account.positions)


def _confirmed(observed: ObservedVenue) -> Note:
    held = _held(observed)
    text = f"The gateway has confirmed that no order is open.{held}"
    if held:
        return _note("Warning", EventReason.POSITION_LEFT, f"{text} Nobody closes it: check it at the venue.")
    return _note("Normal", EventReason.HALTED, text)


def _last_words(observed: ObservedVenue) -> Note:
    """What is known of the orders of a gateway that is gone, as when its whole namespace is deleted."""
    last = observed.gateway.trusted
    if last is not None and open_orders(last) == 0:
        held = _held(observed)
        text = f"The gateway is gone; the last that it reported is that no order is open.{held}"
        return _note("Warning", EventReason.POSITION_LEFT, text) if held else _note("Normal", EventReason.HALTED, text)
    text = (
        f"The gateway is gone and has not confirmed that no order is open.{_held(observed)} "
        f"Check {_account(observed.venue)} at the venue."
    )
    return _note("Warning", EventReason.GATEWAY_GONE, text)


def _held(observed: ObservedVenue) -> str:
    """A sentence about what the account holds; empty when it is flat."""
    held = [item for item in positions(observed, observed.venue.status) if Decimal(item.quantity) != 0]
    return f" The account holds {', '.join(f'{item.quantity} {item.symbol}' for item in held)}." if held else ""


def _account(venue: AnyVenue) -> str:
    return f"account {venue.spec.account}" if isinstance(venue, VenueConnection) else "the account"


def _note(type_: Literal["Normal", "Warning"], reason: EventReason, text: str) -> Note:
    return Note(type_, reason, "Delete", cut(text, 900))
