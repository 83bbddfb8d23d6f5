"""What stops strategies of a desk until a person has looked: KillSwitches that are engaged, and breaches. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_api.kill_order import MODES
from crowetrade_api.names import CLEAR_BREACH_ANNOTATION, Kind
from crowetrade_cli.local.desk import IN_DOUBT, Desk
from crowetrade_cli.local.wanted import Address

BREACH = "Breach"
PASSING = ("Alert", "Slow", "Observe")
"""What a breach may do without stopping anybody."""
_MODES = {number: name for name, number in MODES.items()}


@dataclass(frozen=True, slots=True)
class StopRow:
    """A KillSwitch that is engaged, or a breach that nobody has cleared. `stops` are strategies as namespace/name;
    `halted` is how many gateways have nothing open any more of what a KillSwitch cancels, as in 1/2; `remedy` says how
    it is re-armed or cleared."""

    namespace: str
    kind: str
    name: str
    action: str
    stops: tuple[str, ...]
    halted: str
    why: str
    remedy: str


def stops(desk: Desk) -> list[StopRow]:
    """KillSwitches by name, then breaches by id."""
    return [*_switches(desk), *sorted(_breaches(desk), key=lambda row: (row.namespace, row.name))]


def _switches(desk: Desk) -> Iterator[StopRow]:
    said: dict[Address, list[tuple[Address, kill_pb2.KillAcknowledgement]]] = defaultdict(list)
    for address, gateway in desk.gateways.items():
        for kill in gateway.status.kills if gateway.status is not None else ():
            said[Address(kill.namespace, kill.name)].append((address, kill))
    engaged = {address: switch.spec for address, switch in desk.switches.items() if switch.spec.engaged}
    for address in sorted({*said, *engaged}):
        kills, spec = said[address], engaged.get(address)
        modes = {_MODES.get(kill.mode, "Cancel") for _, kill in kills} or {spec.mode if spec is not None else ""}
        reason = spec.reason if spec is not None else kills[0][1].reason
        yield StopRow(
            namespace=address.namespace,
            kind=Kind.KILL_SWITCH,
            name=address.name,
            action=", ".join(sorted(modes)),
            stops=tuple(sorted({f"{venue.namespace}/{name}" for venue, kill in kills for name in kill.strategies})),
            halted=f"{sum(bool(kill.halted_unix_ns) for _, kill in kills)}/{len(kills)}" if kills else "",
            why=f"KillSwitch {address.name} is engaged: {reason}",
            remedy=_how_to_rearm(desk, address),
        )


def _how_to_rearm(desk: Desk, address: Address) -> str:
    switch = desk.switches.get(address)
    if address == IN_DOUBT:
        return "correct the manifest"
    if switch is None:
        return "its manifest is gone and it stays engaged: bring it back with spec.engaged: false"
    return "set spec.engaged to false in its manifest" if switch.spec.engaged else "it is being re-armed"


def _breaches(desk: Desk) -> Iterator[StopRow]:
    for venue, gateway in desk.gateways.items():
        for breach in gateway.status.breaches if gateway.status is not None else ():
            yield StopRow(
                namespace=venue.namespace,
                kind=BREACH,
                name=breach.breach,
                action=breach.action if breach.enforced else "Observe",
                stops=tuple(sorted(f"{venue.namespace}/{name}" for name in _bound(gateway.status, breach))),
                halted="",
                why=breach.text,
                remedy=f'annotate RiskLimit {breach.risk_limit}: {CLEAR_BREACH_ANNOTATION}: "{breach.breach}: why"',
            )


def _bound(status: status_pb2.GatewayStatus | None, breach: status_pb2.Breach) -> set[str]:
    if breach.subject or status is None:
        return {breach.subject}
    return {account.strategy for account in status.accounts if breach.risk_limit in account.risk_limits}
