"""Who does not trade, and why: rows from stored objects. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from crowetrade.config.v1 import kill_pb2
from crowetrade_api.conditions import Condition, ConditionType, find
from crowetrade_api.kill_order import kill_order
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.killswitch import KillState, KillSwitch, UnreadableKillSwitch
from crowetrade_api.v1alpha1.meta import UNREPORTED_MINUTES, read
from crowetrade_api.v1alpha1.risklimit import RiskLimit, UnreadableLimit
from crowetrade_api.v1alpha1.strategy import Strategy, StrategyPhase, UnreadableStrategy
from crowetrade_api.v1alpha1.venueconnection import UnreadableVenue, VenueConnection, VenuePhase

NOT_YET = "the operator has not written its status yet"
NOT_REPORTED = "NotReported"
"""The reason of a row whose status is too old to say that it trades."""

_UNDER_WAY = (Reason.ROLLING_OUT, Reason.WAITING_FOR_QUIET, Reason.WAITING_FOR_FLAT, Reason.WAITING_FOR_TURN)
_NOT_SURE = (ConditionType.STALLED, ConditionType.PAUSED)

Stored = Mapping[str, Any]
_MODES = {
    number: name.removeprefix("KILL_MODE_").title().replace("_", "") for name, number in kill_pb2.KillMode.items()
}


@dataclass(frozen=True, slots=True)
class KillRow:
    """A KillSwitch that is engaged, or that a gateway still has in force. `acknowledged` is as in 2/3."""

    namespace: str
    name: str
    state: str
    mode: str
    acknowledged: str
    pending: tuple[str, ...]
    still_open: int
    open_positions: int
    engaged_by: str
    since: str
    reason: str


@dataclass(frozen=True, slots=True)
class BreachRow:
    """A breach that nobody has cleared. `strategy` is empty where it stops all that are bound."""

    namespace: str
    risk_limit: str
    id: str
    limit: str
    strategy: str
    venue: str
    action: str
    since: str
    message: str


@dataclass(frozen=True, slots=True)
class StoppedRow:
    """A Strategy that does not trade, or a VenueConnection that is not connected."""

    namespace: str
    name: str
    state: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Update:
    """How many run their present configuration, as after an upgrade, and what the others wait for. `unknown` are those
    whose status does not say: it is old, or of another spec, or reconciling is paused or stalled."""

    up_to_date: int
    rolling_out: int
    waiting_for_quiet: int
    waiting_for_flat: int
    waiting_for_turn: int
    unknown: int


@dataclass(frozen=True, slots=True)
class Status:
    """By namespace and name. `strategies_total` and `venues_total` count those that trade, too."""

    kills: Sequence[KillRow]
    breaches: Sequence[BreachRow]
    strategies: Sequence[StoppedRow]
    strategies_total: int
    venues: Sequence[StoppedRow]
    venues_total: int
    gateways_update: Update
    agents_update: Update
    without_identity: str
    """Why anybody may do anything; empty where everybody proves who they are."""

    def to_json(self) -> dict[str, Any]:
        """For `--output json`."""
        return asdict(self)


R = TypeVar("R", KillRow, BreachRow, StoppedRow)


def status(
    strategies: Sequence[Stored],
    venues: Sequence[Stored],
    limits: Sequence[Stored],
    switches: Sequence[Stored],
    now: datetime,
) -> Status:
    """The rows of these stored objects."""
    return Status(
        kills=_sorted(kill for item in switches if (kill := kill_of(item)) is not None),
        breaches=_sorted(row for item in limits for row in breaches_of(item)),
        strategies=_sorted(stopped for item in strategies if (stopped := stopped_strategy(item, now)) is not None),
        strategies_total=len(strategies),
        venues=_sorted(stopped for item in venues if (stopped := stopped_venue(item, now)) is not None),
        venues_total=len(venues),
        gateways_update=update(venues, now),
        agents_update=update(strategies, now),
        without_identity=_without_identity([*strategies, *venues, *limits, *switches]),
    )


def kill_said(gateway: str, said: kill_pb2.KillAcknowledgement) -> dict[str, Any]:
    """What a gateway says itself about a kill order that it has in force."""
    return {
        "gateway": gateway,
        "killSwitch": f"{said.namespace}/{said.name}",
        "mode": _MODES.get(said.mode, str(said.mode)),
        "stillOpen": said.still_open_count,
        "openPositions": said.positions_count,
        "engagedBy": said.engaged_by,
        "reason": said.reason,
    }


def kill_of(item: Stored) -> KillRow | None:
    """None where it is not engaged, and no gateway has it in force."""
    switch = read(dict(item), KillSwitch, UnreadableKillSwitch)
    order, told = kill_order(switch), switch.status
    if order is None and told.state in (KillState.ARMED, KillState.UNKNOWN):
        return None
    current = told.observed_generation == switch.metadata.generation
    return KillRow(
        namespace=switch.namespace,
        name=switch.name,
        state=str((told.state if current else "") or (KillState.ENGAGING if order is not None else KillState.REARMING)),
        mode=_MODES[order.mode] if order is not None else "",
        acknowledged=told.acknowledgements.summary if current else "",
        pending=tuple(told.acknowledgements.pending) if current else (),
        still_open=told.still_open_count if current else 0,
        open_positions=told.open_positions_count if current else 0,
        engaged_by=order.engaged_by if order is not None else "",
        since=told.engaged_since or "",
        reason=order.reason if order is not None else "it is re-armed, and a gateway still has it in force",
    )


def breaches_of(item: Stored) -> Iterable[BreachRow]:
    """Of one RiskLimit."""
    limit = read(dict(item), RiskLimit, UnreadableLimit)
    for breach in limit.status.breached:
        yield BreachRow(
            namespace=limit.namespace,
            risk_limit=limit.name,
            id=breach.id,
            limit=breach.limit,
            strategy=breach.strategy,
            venue=breach.venue,
            action=breach.action,
            since=breach.since,
            message=breach.message,
        )


def update(items: Sequence[Stored], now: datetime) -> Update:
    """Of Strategies or VenueConnections."""
    counted = Counter(_progress(item, now) for item in items)
    return Update(
        up_to_date=counted[Reason.AS_DESIRED],
        rolling_out=counted[Reason.ROLLING_OUT],
        waiting_for_quiet=counted[Reason.WAITING_FOR_QUIET],
        waiting_for_flat=counted[Reason.WAITING_FOR_FLAT],
        waiting_for_turn=counted[Reason.WAITING_FOR_TURN],
        unknown=counted[None],
    )


def _progress(item: Stored, now: datetime) -> Reason | None:
    """AsDesired for whoever runs the present configuration, whether it trades or not; None where nobody knows."""
    told = item.get("status") or {}
    by_type = {one.get("type"): one for one in told.get("conditions") or ()}
    moving = by_type.get(ConditionType.RECONCILING.value)
    current = told.get("observedGeneration") == item["metadata"].get("generation")
    not_sure = any((by_type.get(type_.value) or {}).get("status") == "True" for type_ in _NOT_SURE)
    if moving is None or not current or not_sure or unreported(item, now):
        return None
    found = next((reason for reason in _UNDER_WAY if reason.value == moving.get("reason")), None)
    return found if found is not None and moving.get("status") == "True" else Reason.AS_DESIRED


def unreported(item: Stored, now: datetime) -> str:
    """Why its status does not say how it is now; empty where it does, and where nobody has written one yet."""
    told = item.get("status") or {}
    if not told.get("phase"):
        return ""
    reported = told.get("lastReportTime")
    try:
        at = datetime.fromisoformat(str(reported))
    except ValueError:
        return "nobody knows when its status was reported"
    # One without a zone is not of the operator; taken as UTC it can be compared.
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return f"nobody has reported since {reported}" if now - at > timedelta(minutes=UNREPORTED_MINUTES) else ""


def stopped_strategy(item: Stored, now: datetime) -> StoppedRow | None:
    """None where it trades, as somebody has reported lately."""
    strategy = read(dict(item), Strategy, UnreadableStrategy)
    if isinstance(strategy, UnreadableStrategy):
        return StoppedRow(strategy.namespace, strategy.name, "Halted", "Unreadable", strategy.problem)
    phase, conditions = strategy.status.phase, strategy.status.conditions
    why = _worst(conditions, ConditionType.TRADING)
    return _stopped(item, now, phase, phase == StrategyPhase.TRADING, why)


def stopped_venue(item: Stored, now: datetime) -> StoppedRow | None:
    """None where it is connected, as somebody has reported lately."""
    venue = read(dict(item), VenueConnection, UnreadableVenue)
    if isinstance(venue, UnreadableVenue):
        return StoppedRow(venue.namespace, venue.name, "Halted", "Unreadable", venue.problem)
    phase, conditions = venue.status.phase, venue.status.conditions
    why = _worst(conditions, ConditionType.SESSION_ESTABLISHED)
    return _stopped(item, now, phase, phase == VenuePhase.CONNECTED, why)


def _stopped(item: Stored, now: datetime, phase: str, well: bool, why: tuple[str, str]) -> StoppedRow | None:
    """What stops it, if something does. With an old status nobody knows whether it goes on."""
    silence, (reason, message) = unreported(item, now), why
    if well and not silence:
        return None
    state = str(phase) or "Unknown"
    if well:
        state, reason, message = "Unknown", NOT_REPORTED, f"{silence}; it was {phase} then"
    elif silence:
        message = f"{message} ({silence})".strip()
    return StoppedRow(item["metadata"]["namespace"], item["metadata"]["name"], state, reason, message)


def _without_identity(items: Iterable[Stored]) -> str:
    for item in items:
        for told in (item.get("status") or {}).get("conditions") or []:
            if told.get("type") == ConditionType.IDENTITY_DISABLED.value and told.get("status") == "True":
                return str(told.get("message", ""))
    return ""


def _worst(conditions: Sequence[Condition], wanted: ConditionType) -> tuple[str, str]:
    """Reason and sentence of the halt, if there is one; else of the first condition of these that is not True."""
    halted = find(conditions, ConditionType.HALTED)
    if halted is not None and halted.status != "False":
        return halted.reason, halted.message
    for type_ in (wanted, ConditionType.READY):
        found = find(conditions, type_)
        if found is not None and found.status != "True":
            return found.reason, found.message
    return "", "" if conditions else NOT_YET


def _sorted(rows: Iterable[R]) -> list[R]:
    return sorted(rows, key=lambda row: astuple(row)[:3])
