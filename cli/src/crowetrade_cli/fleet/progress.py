"""How far a kill order has come: a row per gateway, from whatever way word of it arrives. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from crowetrade.config.v1 import kill_pb2
from crowetrade_api.v1alpha1.killswitch import KillState, KillSwitch
from crowetrade_cli.fleet.gateways import Address

NS_PER_MILLI = 1_000_000
PENDING_SHOWN = 32
"""A status that names so many may leave others out."""


class Stage(StrEnum):
    """Of one gateway; each follows the one before."""

    WAITING = "Waiting"
    BLOCKED = "Blocked"
    HALTED = "Halted"


class Channel(StrEnum):
    """Whose word it is."""

    API = "API server"
    BUS = "bus"
    DIRECT = "direct"


_ORDER = tuple(Stage)


@dataclass(frozen=True, slots=True)
class Row:
    """One gateway, or the address of one that has not answered yet. `milliseconds` is from seeing the order until
    nothing was open any more; None before, and where only the API server has told."""

    gateway: str
    stage: Stage = Stage.WAITING
    told_by: tuple[Channel, ...] = ()
    cancels_sent: int = 0
    cancels_confirmed: int = 0
    still_open: tuple[str, ...] = ()
    still_open_count: int = 0
    positions: tuple[str, ...] = ()
    positions_count: int = 0
    milliseconds: int | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


class Progress:
    """The rows of one order. Gateways are expected by name, or by address until they say their name."""

    def __init__(self) -> None:
        self._rows: dict[str, Row] = {}
        self._namespace = self._name = ""
        self._generation = 0

    @property
    def rows(self) -> list[Row]:
        """By name."""
        return [self._rows[name] for name in sorted(self._rows)]

    @property
    def halted(self) -> bool:
        """Whether all have halted, and there is one."""
        return bool(self._rows) and all(row.stage is Stage.HALTED for row in self._rows.values())

    def follow(self, order: kill_pb2.KillOrder) -> None:
        """This is the order."""
        self._namespace, self._name, self._generation = order.namespace, order.name, order.generation

    def expect(self, gateways: Iterable[Address | str]) -> None:
        """These have to halt."""
        for gateway in gateways:
            self._rows.setdefault(str(gateway), Row(str(gateway)))

    def only(self, gateways: Iterable[Address]) -> None:
        """Of those that are known by name, no others have to halt, unless they have said something."""
        wanted = {str(one) for one in gateways}
        for name, row in list(self._rows.items()):
            if "/" in name and name not in wanted and not row.told_by:
                del self._rows[name]
        self.expect(wanted)

    def acknowledged(self, said: kill_pb2.KillAcknowledgement, channel: Channel, target: str = "") -> None:
        """A gateway's own word, which answered at the address `target` if it is named."""
        if (said.namespace, said.name) != (self._namespace, self._name) or said.generation < self._generation:
            return
        name = str(Address(said.venue_namespace, said.venue))
        self._rows.pop(target, None)
        row = self._rows.get(name, Row(name))
        stage = stage_of(said)
        if _ORDER.index(stage) < _ORDER.index(row.stage):
            return
        took = (said.halted_unix_ns - said.seen_unix_ns) // NS_PER_MILLI if said.halted_unix_ns else None
        self._rows[name] = replace(
            _told(row, stage, channel),
            cancels_sent=said.cancels_sent,
            cancels_confirmed=said.cancels_confirmed,
            still_open=tuple(said.still_open),
            still_open_count=said.still_open_count,
            positions=tuple(map(_position, said.positions)),
            positions_count=said.positions_count,
            milliseconds=took,
            problem=said.problem,
        )

    def reported(self, switch: KillSwitch, gateways: Iterable[Address]) -> None:
        """The operator's word, by the status of the KillSwitch; `gateways` are those that it concerns. One that is not
        pending has nothing open any more."""
        status = switch.status
        if status.observed_generation < max(self._generation, 1) or status.state in (
            KillState.UNKNOWN,
            KillState.ARMED,
        ):
            return
        pending = status.acknowledgements.pending
        if status.state != KillState.HALTED and len(pending) >= PENDING_SHOWN:
            return
        for name in map(str, gateways):
            if name not in pending:
                self._rows[name] = _told(self._rows.get(name, Row(name)), Stage.HALTED, Channel.API)

    def failed(self, gateway: Address | str, problem: str) -> None:
        """A direct way to it does not work; that matters until it says something by another one."""
        row = self._rows.get(str(gateway))
        if row is not None and row.stage is Stage.WAITING:
            self._rows[row.gateway] = replace(row, problem=problem)


def stage_of(said: kill_pb2.KillAcknowledgement) -> Stage:
    """By a gateway's own word."""
    if said.halted_unix_ns:
        return Stage.HALTED
    return Stage.BLOCKED if said.blocked_unix_ns else Stage.WAITING


def _position(position: kill_pb2.OpenPosition) -> str:
    why = f" ({position.reason})" if position.reason else ""
    return f"{position.quantity} {position.symbol} of {position.strategy}{why}"


def _told(row: Row, stage: Stage, channel: Channel) -> Row:
    told_by = row.told_by if channel in row.told_by else (*row.told_by, channel)
    return replace(row, stage=stage, told_by=told_by, problem="")
