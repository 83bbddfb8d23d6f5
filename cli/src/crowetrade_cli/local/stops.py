"""What stops strategies of a desk until a person has looked: KillSwitches that are engaged, and breaches. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_api.kill_order import MODES
from crowetrade_api.names import CLEAR_BREACH_ANNOTATION, CLEAR_HALT_ANNOTATION, Kind, strategy_of
from crowetrade_api.v1alpha1.killswitch import KillSwitch
from crowetrade_cli.local.wanted import Address

BREACH = "Breach"
IN_DOUBT = Address("manifests", "unreadable")
"""The KillSwitch that is engaged while a manifest of one cannot be read."""
PASSING = ("Alert", "Slow", "Observe")
"""What a breach may do without stopping anybody."""
Switches = Mapping[Address, KillSwitch]
Statuses = Mapping[Address, status_pb2.GatewayStatus]
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


def stops(switches: Switches, statuses: Statuses) -> list[StopRow]:
    """KillSwitches by name, then breaches by id. `switches` are those that have a manifest, `statuses` what each
    gateway has said last."""
    rows = sorted(_breaches(statuses), key=lambda row: (row.namespace, row.name))
    return [*_switches(switches, statuses), *rows]


def _switches(switches: Switches, statuses: Statuses) -> Iterator[StopRow]:
    said: dict[Address, list[tuple[Address, kill_pb2.KillAcknowledgement]]] = defaultdict(list)
    for venue, status in statuses.items():
        for kill in status.kills:
            said[Address(kill.namespace, kill.name)].append((venue, kill))
    engaged = {address: switch.spec for address, switch in switches.items() if switch.spec.engaged}
    for address in sorted({*said, *engaged}):
        kills, spec = said[address], engaged.get(address)
        modes = {_MODES.get(kill.mode, "Cancel") for _, kill in kills} or {spec.mode if spec is not None else ""}
        reason = spec.reason if spec is not None else kills[0][1].reason
        yield StopRow(
            namespace=address.namespace,
            kind=Kind.KILL_SWITCH,
            name=address.name,
            action=", ".join(sorted(modes)),
            stops=tuple(sorted({_strategy(venue, name) for venue, kill in kills for name in kill.strategies})),
            halted=f"{sum(bool(kill.halted_unix_ns) for _, kill in kills)}/{len(kills)}" if kills else "",
            why=f"KillSwitch {address.name} is engaged: {reason}",
            remedy=_how_to_rearm(switches, address),
        )


def _how_to_rearm(switches: Switches, address: Address) -> str:
    if address == IN_DOUBT:
        return "correct the manifest"
    switch = switches.get(address)
    if switch is None:
        return "its manifest is gone and it stays engaged: bring it back with spec.engaged: false"
    return "set spec.engaged to false in its manifest" if switch.spec.engaged else "it is being re-armed"


def _breaches(statuses: Statuses) -> Iterator[StopRow]:
    for venue, status in statuses.items():
        for breach in status.breaches:
            yield StopRow(
                namespace=venue.namespace,
                kind=BREACH,
                name=breach.breach,
                action=breach.action if breach.enforced else "Observe",
                stops=tuple(sorted(_strategy(venue, name) for name in _bound(status, breach))),
                halted="",
                why=breach.text,
                remedy=_how_to_clear(venue, status, breach),
            )


def _how_to_clear(venue: Address, status: status_pb2.GatewayStatus, breach: status_pb2.Breach) -> str:
    """At the RiskLimit, or, where the gateway has none of that name in force, at the VenueConnection: gateways take the
    second way for no limit that is there."""
    if any(item.risk_limit == breach.risk_limit for item in status.risk_acknowledgements):
        where, annotation = f"of RiskLimit {breach.risk_limit}", CLEAR_BREACH_ANNOTATION
    else:
        gone = f", because RiskLimit {breach.risk_limit} is in force here no more"
        where, annotation = f"of VenueConnection {venue.name}{gone}", CLEAR_HALT_ANNOTATION
    return f'add to metadata.annotations in the manifest {where}: {annotation}: "{breach.breach}: why"'


def _strategy(venue: Address, known_as: str) -> str:
    return "/".join(strategy_of(known_as, venue.namespace))


def _bound(status: status_pb2.GatewayStatus, breach: status_pb2.Breach) -> set[str]:
    if breach.subject:
        return {breach.subject}
    return {account.strategy for account in status.accounts if breach.risk_limit in account.risk_limits}
