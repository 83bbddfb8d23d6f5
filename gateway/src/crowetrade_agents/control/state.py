"""Everything that may stop trading, joined: the most restrictive wins. Pure.

The configuration (a strategy's binding, the venue's suspension or deletion), halts that are latched until a person
clears them, stops (kill orders, breaches of limits), and the gateway's own leaving.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.risk.rules import RuleSet
from crowetrade_api.hardness import joined

VENUE_DELETED = "VenueDeleted"
"""GatewayConfig.halted_reason under which strategies in state FLATTEN still close."""


@dataclass(frozen=True, slots=True)
class OnRecord:
    """What the operator has on record of the journal: see JournalRecordOnFile in config.proto."""

    fencing_token: int = 0
    sequence: int = 0
    pod: str = ""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is in force. `bindings` None: nothing was received, so nothing may leave. `unreadable` is the sentence that
    says why the configuration could not be read; `halted_reason` is empty when the venue is not halted."""

    revision: str = ""
    bindings: Mapping[str, TradingState] | None = None
    rules: RuleSet = field(default_factory=RuleSet)
    halted_reason: str = ""
    halted_message: str = ""
    unreadable: str = ""
    on_record: OnRecord = OnRecord()
    cleared_halts: frozenset[str] = frozenset()
    # Strategy -> symbols in which it may open positions; in every other instrument its orders may only reduce.
    tradable: Mapping[str, frozenset[str]] = field(default_factory=dict)
    # Strategies whose positions are closed when they are deleted.
    flattened_when_deleted: frozenset[str] = frozenset()
    # RiskLimit and breach -> the reason of the person who cleared it there; and breach -> that at the VenueConnection.
    cleared_breaches: Mapping[tuple[str, str], str] = field(default_factory=dict)
    cleared_at_venue: Mapping[str, str] = field(default_factory=dict)
    # Groups of limits (requiredLimits of the venue) without which nothing trades.
    required_limits: frozenset[str] = frozenset()
    # Strategy -> metadata.labels; and those of the venue and the namespace.
    strategy_labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    venue_labels: Mapping[str, str] = field(default_factory=dict)
    namespace_labels: Mapping[str, str] = field(default_factory=dict)
    # metadata.labels of the other namespaces whose strategies are bound, by name.
    strategy_namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    # Strategy -> capital; none for one that cannot be read.
    capital: Mapping[str, Money] = field(default_factory=dict)
    # The message that it was read from, without `on_record`: it is journaled, so that the journal can be judged again.
    source: config_pb2.GatewayConfig | None = None


@dataclass(frozen=True, slots=True)
class Control:
    """The joined state of one strategy, and the refusal that new orders get (None when it is ACTIVE)."""

    state: TradingState
    refusal: Refusal | None


ACTIVE = Control(TradingState.ACTIVE, None)
STATES = {
    "Block": TradingState.BLOCKED,
    "CloseOnly": TradingState.CLOSE_ONLY,
    "Cancel": TradingState.HALTED,
    "Flatten": TradingState.FLATTEN,
}
"""What stops a strategy, by KillSwitch.spec.mode and RiskLimit.spec.onBreach."""
_ACTIONS = {state: action for action, state in STATES.items()}
_SENDS_NOTHING = (TradingState.BLOCKED, TradingState.HALTED)


class Stop(NamedTuple):
    """One thing that restricts a strategy, a kill order or a breach: the state that it asks for, and the refusal that
    new orders get."""

    state: TradingState
    refusal: Refusal


def join(
    configuration: Configuration,
    halts: Mapping[str, str],
    leaving: bool,
    strategy: str,
    stops: Sequence[Stop] = (),
) -> Control:
    """The most restrictive wins. `halts` holds the sentence of each latched halt by its name, REASON@EVENT.

    Nothing is closed at a gateway that is blocked (its own books may be wrong), except while the venue is deleted. Of
    stops the hardest holds, FLATTEN being CANCEL and more, and of two that are not comparable what is as hard as both;
    but what a deletion would close waits while a stop wants nothing sent.
    """
    blocked = blocking(configuration, halts)
    hardest = _hardest(stops)
    bindings = configuration.bindings or {}
    bound = bindings.get(strategy)
    if blocked is not None:
        closes = configuration.halted_reason == VENUE_DELETED and not halts and not configuration.unreadable
        closes = closes and (hardest is None or hardest.state not in _SENDS_NOTHING)
        if closes and bound is TradingState.FLATTEN:
            return Control(TradingState.FLATTEN, blocked)
        return Control(TradingState.HALTED, blocked)
    if bound is None:
        text = f"strategy {strategy!r} does not name this venue in its spec.instruments"
        return Control(TradingState.HALTED, Refusal(Reason.UNKNOWN_STRATEGY, text))
    if hardest is not None and hardest.state in _SENDS_NOTHING:
        halted = hardest.state if bound is TradingState.ACTIVE and not leaving else TradingState.HALTED
        return Control(halted, hardest.refusal)
    if hardest is not None and hardest.state is TradingState.FLATTEN:
        return Control(TradingState.FLATTEN, hardest.refusal)
    if bound in (TradingState.HALTED, TradingState.FLATTEN):
        text = f"strategy {strategy!r} is suspended or being deleted"
        return Control(bound, Refusal(Reason.STRATEGY_SUSPENDED, text))
    if leaving:
        return Control(TradingState.HALTED, Refusal(Reason.GATEWAY_STOPPING, "the gateway is leaving: log on again"))
    if hardest is not None:
        return Control(hardest.state, hardest.refusal)
    return ACTIVE


def _hardest(stops: Sequence[Stop]) -> Stop | None:
    """All together, with the refusal of the first that asks for so much by itself, or else of the first."""
    if len(stops) < 2:
        return next(iter(stops), None)
    state = STATES[joined(_ACTIONS[stop.state] for stop in stops)]
    return Stop(state, next((stop for stop in stops if stop.state is state), stops[0]).refusal)


def blocking(configuration: Configuration, halts: Mapping[str, str]) -> Refusal | None:
    """Why the gateway blocks every new order of everybody; None when it does not."""
    if halts:
        halt, text = next(iter(sorted(halts.items())))
        return Refusal(Reason.VENUE_HALTED, f"{halt}: {text}")
    if configuration.unreadable:
        text = f"the gateway's configuration cannot be read: {configuration.unreadable}"
        return Refusal(Reason.UNREADABLE_CONFIGURATION, text)
    if configuration.bindings is None:
        return Refusal(Reason.NO_CONFIGURATION, "the operator has sent no configuration yet: look at its log")
    if configuration.halted_reason:
        text = configuration.halted_message or "the venue is suspended or being deleted"
        return Refusal(Reason.VENUE_HALTED, f"{configuration.halted_reason}: {text}")
    return None
