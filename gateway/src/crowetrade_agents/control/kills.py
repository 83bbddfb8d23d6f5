"""Kill orders: how they are joined with what is in force, and what they stop at this gateway. Pure.

Any way engages. What is in force gets harder and wider by whatever comes, and less by two ways alone, Api and Manifest,
where somebody has checked who asks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from google.protobuf.message import DecodeError

from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.state import STATES, Configuration, Stop
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_api import hardness
from crowetrade_api.kill_order import MODE_NAMES, MODES, selects_gateway, selects_strategy
from crowetrade_api.names import strategy_of

Name = tuple[str, str]
"""Namespace and name of a KillSwitch."""


class Channel(StrEnum):
    """Ways by which a kill order comes."""

    API = "Api"
    BUS = "Bus"
    RPC = "Rpc"
    JOURNAL = "Journal"
    FILE = "File"
    MANIFEST = "Manifest"


DECISIVE = frozenset({Channel.API, Channel.MANIFEST})
"""What comes by these replaces what the same object has asked for before, and these alone re-arm."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who has called the control service, and by which certificate."""

    name: str
    certificate_sha256: str


@dataclass(frozen=True, slots=True)
class Kill:
    """An order to stop came in. `received_ns`: wall clock, ns; 0 stands for the moment at which it is handled.
    `caller`: None where no certificate proves one."""

    order: kill_pb2.KillOrder
    channel: Channel
    received_ns: int = 0
    caller: Caller | None = None


@dataclass(frozen=True, slots=True)
class Rearm:
    """The object of that uid is not engaged any more as of that generation. Without a uid (Manifest) it concerns what
    has none."""

    namespace: str
    name: str
    uid: str
    generation: int
    channel: Channel = Channel.API


KillCommand = Kill | Rearm


def name_of(order: kill_pb2.KillOrder) -> Name:
    """By what a kill order is known."""
    return order.namespace, order.name


def decode(payload: bytes, namespace: str, name: str) -> kill_pb2.KillOrder:
    """The order in these bytes; one that cannot be read stops everybody."""
    try:
        order = kill_pb2.KillOrder.FromString(payload)
    except DecodeError as error:
        return everything(namespace, name, f"KillSwitch {name} cannot be read ({error}), which counts as engaged")
    order.namespace, order.name = namespace, name
    return order


def everything(namespace: str, name: str, reason: str) -> kill_pb2.KillOrder:
    """An order that cancels for everybody."""
    scope = kill_pb2.KillScope(namespaces_from="All")
    return kill_pb2.KillOrder(
        namespace=namespace, name=name, mode=kill_pb2.KILL_MODE_CANCEL, scope=scope, reason=reason
    )


def joined(
    current: kill_pb2.KillOrder | None, kill: Kill, rearmed: tuple[str, int] | None
) -> kill_pb2.KillOrder | None:
    """What is in force once `kill` has come; None when nothing changes. `rearmed` is the last re-arming of this name,
    its uid and generation: an order of that object that is not newer was under way when it was re-armed."""
    order = kill.order
    if rearmed is not None and order.uid == rearmed[0] and order.generation <= rearmed[1]:
        return None
    if current is None:
        return order
    same_object = bool(order.uid) and order.uid == current.uid
    if same_object and order.generation < current.generation:
        return None
    found = order if same_object and kill.channel in DECISIVE else _harder(current, order)
    return None if _asked(found) == _asked(current) else found


def rearms(current: kill_pb2.KillOrder, rearm: Rearm) -> bool:
    """Whether the order in force ends: it must be of the same object, and older."""
    return current.uid == rearm.uid and (not rearm.uid or rearm.generation > current.generation)


def stop_of(order: kill_pb2.KillOrder) -> Stop:
    """What the order does to whom it stops; a mode that is not known cancels."""
    text = f"KillSwitch {order.namespace}/{order.name} is engaged: {order.reason or 'no reason was given'}"
    return Stop(state_of(order), Refusal(Reason.KILL_SWITCH_ENGAGED, text))


def state_of(order: kill_pb2.KillOrder) -> TradingState:
    """The state that the order asks for."""
    return STATES[_mode(order.mode)]


def concerns(order: kill_pb2.KillOrder, configuration: Configuration, namespace: str) -> bool:
    """Whether the order is for the gateway of a venue in this namespace. Before a configuration tells who trades there,
    strategies of the order's own namespace may."""
    if configuration.bindings is None:
        return selects_gateway(order, {namespace: None, order.namespace: None}, None)
    namespaces = {**configuration.strategy_namespaces, namespace: configuration.namespace_labels}
    return selects_gateway(order, namespaces, configuration.venue_labels)


def selects(order: kill_pb2.KillOrder, configuration: Configuration, namespace: str, strategy: str) -> bool:
    """Whether the order stops the strategy at the gateway of a venue in this namespace. What no configuration has told
    yet (labels) is selected."""
    if not concerns(order, configuration, namespace):
        return False
    around = None if configuration.bindings is None else configuration.namespace_labels
    home, _ = strategy_of(strategy, namespace)
    namespaces = {home: configuration.strategy_namespaces.get(home), namespace: around}
    return selects_strategy(order, namespaces, configuration.strategy_labels.get(strategy))


def _harder(current: kill_pb2.KillOrder, order: kill_pb2.KillOrder) -> kill_pb2.KillOrder:
    """Both: a mode that is as hard as each for whoever either of them selects. Named after the object, where there is
    one."""
    found = kill_pb2.KillOrder()
    found.CopyFrom(current if current.uid and not order.uid else order)
    mode = hardness.joined(map(_mode, (current.mode, order.mode)))
    found.mode = next((one for one in (current.mode, order.mode) if _mode(one) == mode), MODES[mode])
    found.scope.CopyFrom(_wider(current.scope, order.scope))
    return found


def _mode(mode: kill_pb2.KillMode.ValueType) -> str:
    return MODE_NAMES.get(mode, "Cancel")


def _wider(one: kill_pb2.KillScope, other: kill_pb2.KillScope) -> kill_pb2.KillScope:
    """Where they differ, everybody. An empty selector is left out, because that one says the same."""
    scope = kill_pb2.KillScope()
    same_namespaces = (one.namespaces_from, one.namespace_selector) == (other.namespaces_from, other.namespace_selector)
    scope.namespaces_from = one.namespaces_from if same_namespaces else "All"
    if one.strategy_selector == other.strategy_selector and one.strategy_selector.ByteSize():
        scope.strategy_selector.CopyFrom(one.strategy_selector)
    if one.venue_selector == other.venue_selector and one.venue_selector.ByteSize():
        scope.venue_selector.CopyFrom(one.venue_selector)
    if same_namespaces and one.namespace_selector.ByteSize():
        scope.namespace_selector.CopyFrom(one.namespace_selector)
    return scope


def _asked(order: kill_pb2.KillOrder) -> tuple[object, ...]:
    """What matters of an order: not when it was given, nor by whom and why."""
    scope = _wider(order.scope, order.scope).SerializeToString(deterministic=True)
    return order.uid, order.generation, order.mode, scope
