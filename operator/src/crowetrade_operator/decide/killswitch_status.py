"""What the status of a KillSwitch says, in the words of the gateways.

A gateway that is silent, or that does not know what is open, has not acknowledged; one without a journal that has
looked at the venue has.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from math import ceil

from crowetrade.config.v1 import kill_pb2
from crowetrade_api.conditions import Condition, ConditionType, condition, follow
from crowetrade_api.hardness import at_least
from crowetrade_api.kill_order import MODE_NAMES, kill_order
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.common import cut
from crowetrade_api.v1alpha1.killswitch import (
    KillAcknowledgements,
    KillState,
    KillSwitch,
    KillSwitchStatus,
    OpenPosition,
    StillOpen,
    TimeToHalt,
    UnreadableKillSwitch,
)
from crowetrade_operator.cluster.times import rfc3339, unix_of
from crowetrade_operator.decide.health import health
from crowetrade_operator.decide.killswitch import (
    AnyKillSwitch,
    Gateway,
    Observed,
    concerned_gateways,
    selected_gateways,
)
from crowetrade_operator.decide.plan import bounded, bus_message

WATCHED = (ConditionType.ENGAGED, ConditionType.ACKNOWLEDGED)
SHOWN = 32
"""So many gateways and orders are named in a status."""
_ENGAGED = (KillState.ENGAGING, KillState.HALTED)


def report(observed: Observed, previous: KillSwitchStatus) -> KillSwitchStatus:
    """The new status; `previous` is the one that was reported last."""
    order = kill_order(observed.switch)
    if order is None:
        return _disengaged(observed, previous)
    switch, concerned = observed.switch, concerned_gateways(observed, order)
    waiting = {item.name: why for item in concerned if (why := _not_acknowledged(item, switch, order))}
    said = [(gateway, entry) for gateway in concerned if (entry := gateway.said(switch)) is not None]
    still_open = sum(entry.still_open_count for _, entry in said)
    positions = sum(entry.positions_count for _, entry in said)
    conditions = [_engaged(switch, order), _acknowledged(observed, concerned, waiting, still_open, positions)]
    state = KillState.HALTED if not waiting and observed.gateways_are_known else KillState.ENGAGING
    return _status(
        observed,
        previous,
        conditions,
        state=state,
        engaged_by=cut(order.engaged_by, 256),
        engaged_since=_since(observed, previous, [entry for _, entry in said]),
        acknowledgements=_counted(concerned, waiting),
        time_to_halt_millis=_time_to_halt(entry for _, entry in said),
        orders_cancelled=bounded(sum(entry.cancels_confirmed for _, entry in said)),
        still_open_count=bounded(still_open),
        still_open=_still_open(said),
        open_positions_count=bounded(positions),
        open_positions=_open_positions(said),
    )


def _disengaged(observed: Observed, previous: KillSwitchStatus) -> KillSwitchStatus:
    """Re-armed where no gateway has it in force any more. A gateway that is silent keeps what it had."""
    switch = observed.switch
    assert isinstance(switch, KillSwitch)
    holding = [gateway for gateway in observed.gateways if gateway.said(switch) is not None]
    if_engaged = kill_order(switch.model_copy(update={"spec": switch.spec.model_copy(update={"engaged": True})}))
    assert if_engaged is not None
    names = {gateway.name for gateway in holding}
    concerned = [
        *selected_gateways(if_engaged, (item for item in observed.gateways if item.name not in names)),
        *holding,
    ]
    waiting = {item.name for item in concerned if not item.heard} | names
    # With a bus that was never heard, it is not known who has it in force.
    unknown = not observed.bus_connected and previous.state in (*_ENGAGED, KillState.REARMING)
    rearming = bool(holding) or unknown
    type_ = ConditionType.ENGAGED
    engaged = condition(type_, False, Reason.NOT_ENGAGED, "spec.engaged is false: it stops nothing.")
    return _status(
        observed,
        previous,
        [engaged, _released(observed, holding, unknown)],
        state=KillState.REARMING if rearming else KillState.ARMED,
        acknowledgements=_counted(concerned, waiting),
        time_to_halt_millis=previous.time_to_halt_millis,
        orders_cancelled=previous.orders_cancelled,
    )


def _status(
    observed: Observed, previous: KillSwitchStatus, conditions: Sequence[Condition], **fields: object
) -> KillSwitchStatus:
    generation = observed.switch.metadata.generation
    acknowledged = next(item for item in conditions if item.type == ConditionType.ACKNOWLEDGED)
    ready = condition(ConditionType.READY, acknowledged.status, acknowledged.reason, acknowledged.message)
    known = [ready, *health(ready, previous, generation, observed.now)]
    followed = follow(previous.conditions, [*conditions, *known], generation, observed.now.text)
    return KillSwitchStatus.model_validate({"observed_generation": generation, "conditions": followed, **fields})


def before_the_first() -> list[Condition]:
    """Conditions that a new KillSwitch is compared with, so that one that is created engaged is recorded, too."""
    text = "The KillSwitch is new."
    return [
        condition(ConditionType.ENGAGED, False, Reason.NOT_ENGAGED, text),
        condition(ConditionType.ACKNOWLEDGED, True, Reason.NOT_ENGAGED, text),
    ]


def _not_acknowledged(gateway: Gateway, switch: AnyKillSwitch, order: kill_pb2.KillOrder) -> str:
    """Why the gateway does not count as having stopped what the order stops; empty when it does."""
    entry = gateway.says(switch)
    if not gateway.heard:
        return "silent"
    if entry is None:
        return "has not seen it"
    if (entry.uid, entry.generation) != (order.uid, order.generation) or not _is_as_hard(entry, order):
        return "has an earlier version in force"
    if entry.blocked_unix_ns and entry.halted_unix_ns and not entry.still_open_count and not entry.positions_count:
        return ""
    if entry.problem:
        return entry.problem
    if not entry.blocked_unix_ns:
        return "does not block yet"
    if entry.still_open_count:
        return f"{entry.still_open_count} orders are open"
    if entry.positions_count:
        return f"{entry.positions_count} positions are open, such as {_position_text(entry.positions[0])}"
    return "has not confirmed that no order is open"


def _position_text(position: kill_pb2.OpenPosition) -> str:
    why = f": {position.reason}, {position.text}" if position.reason else ""
    return f"{position.quantity} {position.symbol} of {position.strategy}{why}"


def _is_as_hard(entry: kill_pb2.KillAcknowledgement, order: kill_pb2.KillOrder) -> bool:
    """A gateway may have a harder mode in force, by an order of this name that came without the KillSwitch."""
    return at_least(MODE_NAMES.get(entry.mode, "Cancel"), MODE_NAMES.get(order.mode, "Cancel"))


def _held(gateway: Gateway, switch: KillSwitch) -> str:
    entry = gateway.said(switch)
    assert entry is not None
    if not gateway.heard:
        return "silent, had it in force"
    if not entry.uid:
        return "has it in force by an order that came without the KillSwitch"
    status = gateway.view.status
    if status is not None and not status.watches_kill_switches:
        return (
            "has it in force and cannot watch KillSwitches at the API server: check ClusterRole crowetrade-gateway, "
            "its bindings, and operator.networkPolicy.apiServer of the chart"
        )
    return "has it in force"


def _engaged(switch: AnyKillSwitch, order: kill_pb2.KillOrder) -> Condition:
    type_ = ConditionType.ENGAGED
    if isinstance(switch, UnreadableKillSwitch):
        text = (
            f"{order.reason}: all gateways are halted, mode Cancel. Upgrade the operator, or correct or delete the "
            "KillSwitch."
        )
        return condition(type_, True, Reason.KILL_SWITCH_UNREADABLE, text)
    rearm = "another person with the verb rearm on killswitches sets spec.engaged to false"
    if order.engaged_by:
        text = f"Engaged by {order.engaged_by}, mode {switch.spec.mode}: {order.reason}. To re-arm, {rearm}."
    else:
        text = (
            f"Engaged, mode {switch.spec.mode}: {order.reason}. spec.engagedBy is empty: whoever engaged it writes "
            f"their user name there; then {rearm}."
        )
    return condition(type_, True, Reason.KILL_SWITCH_ENGAGED, text)


def _acknowledged(
    observed: Observed, concerned: Sequence[Gateway], waiting: Mapping[str, str], still_open: int, positions: int
) -> Condition:
    type_ = ConditionType.ACKNOWLEDGED
    if not waiting and not observed.gateways_are_known:
        text = f"{_bus(observed)} Which gateways of other namespaces it concerns was never read there."
        return condition(type_, "Unknown", Reason.BUS_UNAVAILABLE, text)
    if not concerned:
        text = "The scope selects no gateway; one that comes obeys it from its start."
        return condition(type_, True, Reason.NOTHING_IN_SCOPE, text)
    if not waiting:
        text = f"In force at {', '.join(item.name for item in concerned)}; no order that it cancels is open."
        return condition(type_, True, Reason.ACKNOWLEDGED, text)
    listed = _listed(waiting)
    if not observed.bus_connected:
        text = f"{_bus(observed)} The order is sent to the gateways directly. Not confirmed by {listed}."
        return condition(type_, "Unknown", Reason.BUS_UNAVAILABLE, text)
    if still_open:
        text = f"{still_open} orders that it cancels are open; their end is not confirmed by {listed}."
        return condition(type_, False, Reason.ORDERS_OPEN, text)
    if positions:
        text = f"{positions} positions that it closes are open; their end is not confirmed by {listed}."
        return condition(type_, False, Reason.POSITIONS_OPEN, text)
    return condition(type_, False, Reason.WAITING_FOR_GATEWAY, f"Not confirmed by {listed}.")


def _released(observed: Observed, holding: Sequence[Gateway], unknown: bool) -> Condition:
    type_, switch = ConditionType.ACKNOWLEDGED, observed.switch
    assert isinstance(switch, KillSwitch)
    foreign = [item.name for item in holding if (entry := item.says(switch)) is not None and not entry.uid]
    if foreign:
        text = (
            f"Re-armed here, but {', '.join(foreign[:SHOWN])} has an order of this name in force that came without "
            "the KillSwitch: set spec.engaged to true, then re-arm it again."
        )
        return condition(type_, False, Reason.REARMING, text)
    if holding:
        listed = _listed({item.name: _held(item, switch) for item in holding})
        return condition(type_, False, Reason.REARMING, f"Not re-armed yet: {listed}.")
    if unknown:
        return condition(type_, "Unknown", Reason.BUS_UNAVAILABLE, _bus(observed))
    return condition(type_, True, Reason.NOT_ENGAGED, "No gateway has it in force.")


def _bus(observed: Observed) -> str:
    return bus_message(observed.bus_problem)


def _listed(waiting: Mapping[str, str]) -> str:
    return "; ".join(f"{name} ({why})" for name, why in sorted(waiting.items())[:SHOWN])


def _counted(concerned: Sequence[Gateway], waiting: Collection[str]) -> KillAcknowledgements:
    done = len(concerned) - len(waiting)
    return KillAcknowledgements(
        acknowledged=done,
        concerned=len(concerned),
        summary=f"{done}/{len(concerned)}",
        pending=[cut(name, 128) for name in sorted(waiting)[:SHOWN]],
    )


def _since(observed: Observed, previous: KillSwitchStatus, said: Sequence[kill_pb2.KillAcknowledgement]) -> str:
    """When it was seen first: by us, or by a gateway before us."""
    known = previous.engaged_since if previous.state in _ENGAGED else None
    ours = unix_of(known) if known is not None else observed.now.unix
    return rfc3339(min([ours, *(entry.seen_unix_ns / 1e9 for entry in said if entry.seen_unix_ns)]))


def _time_to_halt(said: Iterable[kill_pb2.KillAcknowledgement]) -> TimeToHalt | None:
    """Of the gateways that have halted; parts of a millisecond count as one."""
    took = sorted(
        ceil((entry.halted_unix_ns - entry.seen_unix_ns) / 1_000_000)
        for entry in said
        if 0 < entry.seen_unix_ns <= entry.halted_unix_ns
    )
    return TimeToHalt(p50=took[ceil(len(took) / 2) - 1], max=took[-1]) if took else None


def _still_open(said: Iterable[tuple[Gateway, kill_pb2.KillAcknowledgement]]) -> list[StillOpen]:
    found = sorted({(cut(gateway.name, 128), cut(order, 128)) for gateway, entry in said for order in entry.still_open})
    return [StillOpen(venue=venue, order=order) for venue, order in found[:SHOWN]]


def _open_positions(said: Iterable[tuple[Gateway, kill_pb2.KillAcknowledgement]]) -> list[OpenPosition]:
    found = {
        (gateway.name, position.strategy, position.symbol): position
        for gateway, entry in said
        for position in entry.positions
    }
    return [
        OpenPosition(
            venue=cut(venue, 128),
            strategy=cut(strategy, 128),
            symbol=cut(symbol, 64),
            quantity=cut(position.quantity, 64),
            reason=cut(position.reason, 64),
            message=cut(position.text, 512),
        )
        for (venue, strategy, symbol), position in sorted(found.items(), key=lambda item: item[0])[:SHOWN]
    ]
