"""What is tightened is in force before anything is loosened. Pure.

When the change of a RiskLimit tightens at some gateways and loosens at others, as when its scope moves, those that it
loosens keep the rule that they have until the others have acknowledged theirs. So there is no moment at which neither
the old rule nor the new one holds.

What cannot be compared, and what tightens and loosens at once, counts as tightening: it goes out at once, and is waited
for. Shares of a limit are not looked at: they are moved by compare-and-set, given back before they are given out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from enum import Enum

from crowetrade.config.v1 import config_pb2
from crowetrade_api.gateway_config import revision_of, rule_hash
from crowetrade_api.hardness import ACTIONS, at_least

Rule = config_pb2.RiskRule
Config = config_pb2.GatewayConfig

_REVERSED = frozenset({"duplicateWindowMillis"})
"""Limits that are tighter with a greater number; the others are looser."""


class Change(Enum):
    """What a change of one rule does at one gateway."""

    NOTHING = 0
    LOOSENS = 1
    # Or cannot be compared.
    TIGHTENS = 2


def change(before: Rule | None, after: Rule | None) -> Change:
    """What it does to whom the rule binds, whatever its version."""
    if before is None or after is None:
        return _whole(before, after)
    changes = set(_changes(before, after)) - {Change.NOTHING}
    if not changes:
        return Change.NOTHING
    return Change.LOOSENS if changes == {Change.LOOSENS} else Change.TIGHTENS


def tightened(before: Config, after: Config) -> dict[str, str]:
    """By RiskLimit: the hash of each rule that `after` tightens."""
    old = _rules(before)
    return {
        name: rule_hash(rule) for name, rule in _rules(after).items() if change(old.get(name), rule) is Change.TIGHTENS
    }


def awaited(known: Mapping[str, str], before: Config, after: Config) -> dict[str, str]:
    """By RiskLimit: the hash that the gateway has to acknowledge before others are loosened, now that it is told
    `after`. Of what it has not acknowledged of an earlier change (`known`), the version of now is waited for: the one
    before is replaced and may never be acknowledged."""
    now = {name: rule_hash(rule) for name, rule in _rules(after).items()}
    return {name: now[name] for name in known if name in now} | tightened(before, after)


def held(
    venue: str,
    wanted: Mapping[str, Config],
    on_the_bus: Mapping[str, Config],
    unacknowledged: Mapping[str, Iterable[str]],
) -> dict[str, list[str]]:
    """RiskLimits whose rule is not loosened yet at the venue's gateway, with the venues that are waited for.

    All by venue: what each gateway is to enforce, what is on the bus for it, and the RiskLimits that it was told to
    tighten and has not acknowledged. A gateway of which nothing is on the bus enforces nothing and is not waited for.
    """
    if venue not in on_the_bus:
        return {}
    new, found = _rules(wanted[venue]), {}
    for name, rule in _rules(on_the_bus[venue]).items():
        if change(rule, new.get(name)) is not Change.LOOSENS:
            continue
        waiting = [
            other
            for other in sorted(wanted.keys() & on_the_bus.keys() - {venue})
            if name in unacknowledged.get(other, ()) or _is_tightened(name, wanted[other], on_the_bus[other])
        ]
        if waiting:
            found[name] = waiting
    return found


def holding(wanted: Config, on_the_bus: Config, names: Iterable[str]) -> Config:
    """The configuration with the rules of these RiskLimits as they are on the bus."""
    names = set(names)
    out = Config()
    out.CopyFrom(wanted)
    kept = [rule for rule in out.rules if rule.risk_limit not in names]
    kept += [rule for rule in on_the_bus.rules if rule.risk_limit in names]
    del out.rules[:]
    out.rules.extend(sorted(kept, key=lambda rule: rule.risk_limit))
    out.revision = revision_of(out)
    return out


def _rules(config: Config) -> dict[str, Rule]:
    return {rule.risk_limit: rule for rule in config.rules}


def _is_tightened(name: str, wanted: Config, on_the_bus: Config) -> bool:
    return change(_rules(on_the_bus).get(name), _rules(wanted).get(name)) is Change.TIGHTENS


def _whole(before: Rule | None, after: Rule | None) -> Change:
    if before is None and after is None:
        return Change.NOTHING
    if before is None:
        return Change.TIGHTENS
    return Change.LOOSENS if before.enforce else Change.NOTHING


def _changes(before: Rule, after: Rule) -> Iterator[Change]:
    yield _of_sets(set(before.strategies), set(after.strategies))
    yield _of_symbols(before.symbols, after.symbols)
    yield _by(int(before.enforce), int(after.enforce))
    if any(getattr(before, field) != getattr(after, field) for field in ("aggregate_total", "currency", "day")):
        yield Change.TIGHTENS
    if before.on_breach != after.on_breach:
        yield _of_actions(before.on_breach, after.on_breach)
    old, new = ({limit.name: dict(limit.values) for limit in rule.limits} for rule in (before, after))
    for name in old.keys() | new.keys():
        yield _of_limit(name, old.get(name), new.get(name))


def _of_actions(before: str, after: str) -> Change:
    known = before in ACTIONS and after in ACTIONS
    return Change.LOOSENS if known and at_least(before, after) else Change.TIGHTENS


def _of_limit(name: str, before: Mapping[str, str] | None, after: Mapping[str, str] | None) -> Change:
    if before == after:
        return Change.NOTHING
    if before is None or after is None:
        return Change.LOOSENS if after is None else Change.TIGHTENS
    if name == "restrictedInstruments":
        return _of_sets(set(before.get("value", "").split(",")), set(after.get("value", "").split(",")))
    if before.keys() == after.keys() == {"count", "perSeconds"} and before["perSeconds"] == after["perSeconds"]:
        return _of_numbers(before["count"], after["count"])
    if before.keys() == after.keys() == {"value"}:
        found = _of_numbers(before["value"], after["value"])
        return _OPPOSITE[found] if name in _REVERSED else found
    return Change.TIGHTENS


_OPPOSITE: Mapping[Change, Change] = {
    Change.NOTHING: Change.NOTHING,
    Change.LOOSENS: Change.TIGHTENS,
    Change.TIGHTENS: Change.LOOSENS,
}


def _of_numbers(before: str, after: str) -> Change:
    """Most of what is there is allowed: more is looser. What is no number cannot be compared."""
    if not all(map(_is_number, (before, after))):
        return Change.TIGHTENS
    return _by(-Decimal(before), -Decimal(after))


def _is_number(text: str) -> bool:
    return text.isascii() and text.replace(".", "", 1).isdigit()


def _of_sets(before: set[str], after: set[str]) -> Change:
    """Of whom or what is bound: fewer is looser."""
    if before == after:
        return Change.NOTHING
    return Change.LOOSENS if after < before else Change.TIGHTENS


def _of_symbols(before: Iterable[str], after: Iterable[str]) -> Change:
    """None stands for all."""
    old, new = set(before), set(after)
    if not old or not new:
        return _by(int(not old), int(not new))
    return _of_sets(old, new)


def _by(before: Decimal | int, after: Decimal | int) -> Change:
    """Of a rank: more is tighter."""
    if before == after:
        return Change.NOTHING
    return Change.TIGHTENS if after > before else Change.LOOSENS
