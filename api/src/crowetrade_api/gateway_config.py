"""From VenueConnection, Strategies and RiskLimits to the GatewayConfig of one gateway. Pure.

The same inputs give the same revision, so the reconciler of a Strategy knows which revision and which rules the gateway
must acknowledge without asking the reconciler of the venue.

What cannot be read halts: a Strategy is bound as suspended, and a VenueConnection keeps a configuration that halts its
gateway. A limit that this operator does not know travels by its name: the gateway that does not know it either blocks.

Strategies of a namespace that the operator cannot read are bound as the configuration on the bus has them (KeptGuest):
that nobody sees them does not mean that they are gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from crowetrade.config.v1 import config_pb2 as pb
from crowetrade_api.names import VenueAddress, name_at, strategy_of
from crowetrade_api.reasons import Reason
from crowetrade_api.v1alpha1.common import Labels
from crowetrade_api.v1alpha1.risklimit import Limits, RiskLimit
from crowetrade_api.v1alpha1.strategy import Strategy, UnreadableStrategy
from crowetrade_api.v1alpha1.venueconnection import (
    LIMITS_OF_GROUP,
    UnreadableVenue,
    VenueConnection,
    VenueConnectionStatus,
)

MAX_CONFIG_BYTES = 512 * 1024
"""Half of the largest message that a NATS server takes by default."""

AnyStrategy = Strategy | UnreadableStrategy
AnyVenue = VenueConnection | UnreadableVenue


@dataclass(frozen=True, slots=True)
class Halt:
    """Why a gateway is halted whatever else holds: a reason in CamelCase and a sentence."""

    reason: str
    message: str


Namespaces = Mapping[str, Labels | None]
"""metadata.labels of namespaces by their names; None where they are not known."""


@dataclass(frozen=True, slots=True)
class KeptGuest:
    """A Strategy of another namespace, which cannot be read now, as a gateway's configuration on the bus has it."""

    namespace: str
    name: str
    binding: pb.StrategyBinding
    namespace_labels: Labels


Bound = AnyStrategy | KeptGuest


def kept_guests(config: pb.GatewayConfig, venue_namespace: str, unreadable: Collection[str]) -> list[KeptGuest]:
    """Those that a configuration binds and that are of namespaces which cannot be read."""
    found = []
    for binding in config.strategies:
        namespace, name = strategy_of(binding.strategy, venue_namespace)
        if namespace in unreadable and namespace != venue_namespace:
            labels = dict(config.strategy_namespaces[namespace].labels)
            found.append(KeptGuest(namespace, name, binding, labels))
    return found


def names_venue(strategy: AnyStrategy, venue: AnyVenue) -> bool:
    """Whether the spec of the Strategy names it."""
    return venue.name in strategy.venues and strategy.namespace_of(venue.name) == venue.namespace


def uses_venue(strategy: AnyStrategy, venue: AnyVenue) -> bool:
    """Whether the Strategy trades there, wants to, or may have left something there."""
    recorded = [item.address for item in strategy.status.venues]
    return names_venue(strategy, venue) or VenueAddress(venue.namespace, venue.name) in recorded


def tradable(strategy: AnyStrategy, venue: VenueAddress) -> set[str]:
    """Symbols in which the Strategy may open positions at a venue: those of its spec, and those of the one before until
    all that the spec names is found, because its agents run as before. In every other instrument it may only reduce."""
    recorded = (item.symbols for item in strategy.status.venues if item.address == venue)
    return {item.symbol for item in strategy.instruments if item.venue == venue}.union(*recorded)


def refusal(strategy: AnyStrategy, venue: AnyVenue, namespaces: Namespaces) -> str:
    """Why a Strategy that names the venue is not bound to it; empty when it is. A venue that cannot be read is halted
    whoever is bound."""
    if isinstance(venue, UnreadableVenue):
        return ""
    labels = namespaces.get(strategy.namespace)
    return venue.refusal(strategy.namespace, strategy.metadata.labels, labels)


def counts_over_gateways(limit: RiskLimit) -> bool:
    """Whether it is split among all gateways of its namespace where it binds a Strategy."""
    return limit.spec.aggregate == "Total"


def bound_strategies(
    venue: AnyVenue,
    strategies: Iterable[AnyStrategy],
    namespaces: Namespaces = MappingProxyType({}),
    kept: Iterable[KeptGuest] = (),
) -> list[Bound]:
    """Strategies that trade at the venue or have left it, and are admitted, by what its gateway calls them. Those that
    are `kept` stay for as long as the venue admits them."""
    found: list[Bound] = [
        item for item in strategies if uses_venue(item, venue) and not refusal(item, venue, namespaces)
    ]
    found += [item for item in kept if _admits_kept(venue, item)]
    return sorted(found, key=lambda item: _name(item, venue))


def _admits_kept(venue: AnyVenue, guest: KeptGuest) -> bool:
    """By the labels that it and its namespace had when they were seen last."""
    labels = dict(guest.binding.labels)
    return isinstance(venue, UnreadableVenue) or not venue.refusal(guest.namespace, labels, guest.namespace_labels)


def _name(strategy: Bound, venue: AnyVenue) -> str:
    return name_at(venue.namespace, strategy.namespace, strategy.name)


def _labels(strategy: Bound) -> Labels:
    return dict(strategy.binding.labels) if isinstance(strategy, KeptGuest) else strategy.metadata.labels


def compile_config(
    venue: AnyVenue,
    strategies: Iterable[AnyStrategy],
    limits: Iterable[RiskLimit],
    halt: Halt | None = None,
    terminating: Collection[str] = (),
    venues: Iterable[AnyVenue] = (),
    namespaces: Namespaces = MappingProxyType({}),
    kept: Mapping[str, Sequence[KeptGuest]] = MappingProxyType({}),
) -> pb.GatewayConfig:
    """Everything that the gateway enforces. `limits` and `venues` are all of the venue's namespace, among whose
    gateways limits that count over gateways are split; `strategies` are those of any namespace that name the venue, and
    with such a limit all that name one of `venues`; `kept` are guests by venue, in the same way. `halt` stops it
    whatever they say. Namespaces that are `terminating` are being deleted, and all that is in them.

    `on_record` is left out: it is not part of the revision (see `with_record`).
    """
    strategies, limits = list(strategies), sorted(limits, key=lambda item: item.name)
    present = {venue.name: venue} | {item.name: item for item in venues}
    namespaces = {item.namespace: item.namespace_labels for guests in kept.values() for item in guests} | dict(
        namespaces
    )

    def bound_to(item: AnyVenue) -> list[Bound]:
        return bound_strategies(item, strategies, namespaces, kept.get(item.name, ()))

    bound = bound_to(venue)
    bound_at = {venue.name: bound}
    if any(map(counts_over_gateways, limits)):
        bound_at |= {name: bound_to(item) for name, item in present.items()}
    rules = (
        _rule(limit, venue, bound, _concerned(limit, present.values(), bound_at, namespaces), namespaces)
        for limit in limits
    )
    why = halting(venue, halt)
    config = pb.GatewayConfig(
        strategies=[
            item.binding if isinstance(item, KeptGuest) else _binding(item, venue, limits, terminating, namespaces)
            for item in bound
        ],
        rules=[rule for rule in rules if rule is not None],
        halted_reason=why.reason if why is not None else "",
        halted_message=why.message if why is not None else "",
        cleared_halts=venue.cleared_halts,
        cleared_breaches=[
            pb.ClearedBreach(breach=breach, reason=reason, risk_limit=limit.name)
            for limit in limits
            for breach, reason in limit.cleared_breaches.items()
        ]
        + [
            pb.ClearedBreach(breach=breach, reason=reason, at_venue=True)
            for breach, reason in venue.breaches_cleared_as_halts.items()
        ],
        required_limits=[] if isinstance(venue, UnreadableVenue) else sorted(venue.spec.required_limits),
        venue_labels=venue.metadata.labels,
        namespace_labels=namespaces.get(venue.namespace) or {},
        strategy_namespaces={
            item.namespace: pb.NamespaceLabels(labels=namespaces.get(item.namespace) or {})
            for item in bound
            if item.namespace != venue.namespace
        },
    )
    if config.ByteSize() > MAX_CONFIG_BYTES:
        config = _too_large(config)
    config.revision = revision_of(config)
    return config


def _binding(
    strategy: AnyStrategy,
    venue: AnyVenue,
    limits: Iterable[RiskLimit],
    terminating: Collection[str],
    namespaces: Namespaces,
) -> pb.StrategyBinding:
    return pb.StrategyBinding(
        strategy=_name(strategy, venue),
        state=pb.TRADING_STATE_SUSPENDED
        if _is_in_doubt(strategy, limits, namespaces)
        else trading_state(strategy, strategy.namespace in terminating),
        flatten_when_deleted=strategy.flattens,
        labels=strategy.metadata.labels,
        symbols=sorted(tradable(strategy, VenueAddress(venue.namespace, venue.name))),
        **_capital(strategy),
    )


def halting(venue: AnyVenue, halt: Halt | None = None) -> Halt | None:
    """Why the venue is halted; None when it is not. What is given wins over what the resource says: it is worse."""
    if isinstance(venue, UnreadableVenue):
        text = f"VenueConnection {venue.name} does not match the operator's schema ({venue.problem})"
        return Halt(Reason.VENUE_UNREADABLE, text)
    if halt is not None:
        return halt
    if venue.deleting:
        return Halt(Reason.VENUE_DELETED, f"VenueConnection {venue.name} is being deleted")
    if venue.spec.suspend:
        return Halt(Reason.VENUE_SUSPENDED, f"spec.suspend of VenueConnection {venue.name} is true")
    return None


def _too_large(config: pb.GatewayConfig) -> pb.GatewayConfig:
    """What is put in its place: small, and nothing trades under it."""
    text = (
        f"what the gateway has to enforce takes {config.ByteSize()} bytes, more than {MAX_CONFIG_BYTES}: "
        f"{len(config.strategies)} strategies and {len(config.rules)} RiskLimits; spread them over several "
        "VenueConnections or namespaces"
    )
    return pb.GatewayConfig(halted_reason=Reason.CONFIGURATION_TOO_LARGE, halted_message=text)


def revision_of(config: pb.GatewayConfig) -> str:
    """SHA-256 over the message without `revision`, `on_record` and `epoch`, serialized deterministically, in hex."""
    hashed = pb.GatewayConfig()
    hashed.CopyFrom(config)
    hashed.ClearField("revision")
    hashed.ClearField("on_record")
    hashed.ClearField("epoch")
    return hashlib.sha256(hashed.SerializeToString(deterministic=True)).hexdigest()


def rule_hash(rule: pb.RiskRule) -> str:
    """SHA-256 over the serialized rule, in hex: what a gateway acknowledges."""
    return hashlib.sha256(rule.SerializeToString(deterministic=True)).hexdigest()


def with_record(config: pb.GatewayConfig, status: VenueConnectionStatus) -> pb.GatewayConfig:
    """The configuration with what the status has on record of the journal."""
    out = pb.GatewayConfig()
    out.CopyFrom(config)
    record = pb.JournalRecordOnFile(
        fencing_token=status.session.fencing_token, sequence=status.journal.sequence, pod=status.session.pod
    )
    out.on_record.CopyFrom(record)
    return out


def trading_state(strategy: AnyStrategy, terminating: bool = False) -> pb.TradingState.ValueType:
    """Deleting wins over suspending, and what stops wins over what trades. A `terminating` namespace deletes its
    strategies, too, but Kubernetes marks them only when their pods are gone."""
    if strategy.deleting or terminating:
        return pb.TRADING_STATE_FLATTEN if strategy.flattens else pb.TRADING_STATE_SUSPENDED
    suspended = isinstance(strategy, UnreadableStrategy) or strategy.spec.suspend
    return pb.TRADING_STATE_SUSPENDED if suspended else pb.TRADING_STATE_ACTIVE


def _capital(strategy: AnyStrategy) -> dict[str, str]:
    if isinstance(strategy, UnreadableStrategy):
        return {}
    capital = strategy.spec.capital
    return {"capital": capital.amount, "capital_currency": capital.currency}


def _is_in_doubt(strategy: AnyStrategy, limits: Iterable[RiskLimit], namespaces: Namespaces) -> bool:
    """Whether it is not known which limits bind it: one selects by labels of its namespace, which cannot be read."""
    return any(_selects_namespace(limit, strategy, namespaces) is None for limit in limits)


def _selects_namespace(limit: RiskLimit, strategy: Bound, namespaces: Namespaces) -> bool | None:
    choice = limit.spec.scope.strategy_namespaces
    return choice.selects(limit.namespace, strategy.namespace, namespaces.get(strategy.namespace))


def _selects(limit: RiskLimit, strategy: Bound, namespaces: Namespaces) -> bool:
    """Whether the limit binds a strategy that trades at a venue of its namespace; in doubt it does."""
    in_scope = _selects_namespace(limit, strategy, namespaces) is not False
    return in_scope and limit.spec.scope.strategy_selector.matches(_labels(strategy))


def _concerned(
    limit: RiskLimit,
    venues: Iterable[AnyVenue],
    bound: Mapping[str, Sequence[Bound]],
    namespaces: Namespaces,
) -> list[str]:
    """Gateways where a limit that counts strategies together binds one, by name."""
    if not counts_over_gateways(limit):
        return []
    return sorted(
        venue.name
        for venue in venues
        if _symbols(limit, venue) is not None and any(_selects(limit, item, namespaces) for item in bound[venue.name])
    )


def _symbols(limit: RiskLimit, venue: AnyVenue) -> list[str] | None:
    """Symbols of the venue that the scope names, empty for all; None when it selects nothing there."""
    scope = limit.spec.scope
    if not scope.venue_selector.matches(venue.metadata.labels):
        return None
    symbols = at_venue(scope.instruments, venue.name)
    return None if scope.instruments and not symbols else symbols


def at_venue(instruments: Iterable[str], venue: str) -> list[str]:
    """Of instruments by symbol or by venue/symbol, the symbols of those at the venue. A symbol begins with a capital or
    a digit and may hold a slash, a venue's name begins with a small letter."""
    prefix = f"{venue}/"
    found = {name.removeprefix(prefix) for name in instruments if name.startswith(prefix) or not name[0].islower()}
    return sorted(found)


def _rule(
    limit: RiskLimit,
    venue: AnyVenue,
    bound: Sequence[Bound],
    gateways: Sequence[str],
    namespaces: Namespaces,
) -> pb.RiskRule | None:
    """The rule at this gateway; none when the scope selects nothing here."""
    spec = limit.spec
    symbols = _symbols(limit, venue)
    strategies = [_name(item, venue) for item in bound if _selects(limit, item, namespaces)]
    if symbols is None or not strategies:
        return None
    return pb.RiskRule(
        risk_limit=limit.name,
        uid=limit.metadata.uid,
        generation=limit.metadata.generation,
        strategies=strategies,
        symbols=symbols,
        aggregate_total=counts_over_gateways(limit),
        enforce=spec.enforcement == "Enforce",
        limits=_limits(spec.limits, venue.name),
        currency=spec.currency,
        warn_at=spec.warn_at,
        on_breach=spec.on_breach,
        gateways=gateways,
        day=None if spec.day is None else pb.TradingDay(time_zone=spec.day.time_zone, starts_at=spec.day.starts_at),
    )


def _limits(limits: Limits, venue: str) -> list[pb.Limit]:
    """Every limit that is set, those included that these models do not know."""
    return [pb.Limit(name=name, values=_values(value, venue)) for name, value in sorted(limits.to_api().items())]


def _values(value: Any, venue: str) -> dict[str, str]:
    if isinstance(value, Mapping):
        return {str(name): _text(item) for name, item in value.items()}
    if isinstance(value, list):
        return {"value": ",".join(at_venue(map(str, value), venue))}
    return {"value": _text(value)}


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def unlimited_symbols(config: pb.GatewayConfig, strategy: str, symbols: Iterable[str]) -> list[str]:
    """Instruments of the strategy that no enforced rule covers: the gateway refuses their orders."""
    covering = [rule for rule in config.rules if rule.enforce and strategy in rule.strategies]
    return [symbol for symbol in symbols if not any(not rule.symbols or symbol in rule.symbols for rule in covering)]


def uncovered_groups(config: pb.GatewayConfig, strategy: str, symbols: Iterable[str]) -> dict[str, list[str]]:
    """Groups of spec.requiredLimits that no enforced rule covers, with the instruments of the strategy that lack them:
    the gateway refuses their orders."""
    enforced = [rule for rule in config.rules if rule.enforce and strategy in rule.strategies]
    found: dict[str, list[str]] = {}
    for symbol in symbols:
        names = {limit.name for rule in enforced if not rule.symbols or symbol in rule.symbols for limit in rule.limits}
        for group in config.required_limits:
            if names.isdisjoint(LIMITS_OF_GROUP.get(group, ())):
                found.setdefault(group, []).append(symbol)
    return found
