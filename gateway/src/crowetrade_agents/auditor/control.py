"""What may stop a strategy, judged from the journal: its binding, halts, kill orders and latched breaches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from crowetrade.bus.v1 import journal_pb2 as pb
from crowetrade.config.v1 import config_pb2, kill_pb2
from crowetrade_agents.auditor.ledger import Ledger

BLOCK, CLOSE_ONLY, CANCEL, FLATTEN = "Block", "CloseOnly", "Cancel", "Flatten"
_MODES = {
    kill_pb2.KILL_MODE_BLOCK: BLOCK,
    kill_pb2.KILL_MODE_CLOSE_ONLY: CLOSE_ONLY,
    kill_pb2.KILL_MODE_CANCEL: CANCEL,
    kill_pb2.KILL_MODE_FLATTEN: FLATTEN,
}
_MILD = ("Alert", "Slow")
_VENUE_DELETED = "VenueDeleted"


class Stop(NamedTuple):
    """One thing in force: `what` is the name that a finding carries."""

    what: str
    mode: str
    risk_limit: str
    text: str


def stops(ledger: Ledger, strategy: str) -> Iterator[Stop]:
    """Everything in force that concerns the strategy, in the order of what is named first."""
    config = ledger.config
    if ledger.configuration is None:
        yield Stop("configuration", CANCEL, "", "no configuration was in force")
    elif not ledger.configuration.revision:
        yield Stop("configuration", CANCEL, "", "the configuration was missing or could not be read")
    for halt, text in ledger.halts.items():
        yield Stop("halt", CANCEL, "", f"halt {halt} was not cleared: {text}")
    if config is not None and config.halted_reason:
        yield Stop("halt", CANCEL, "", f"the venue was halted: {config.halted_reason}")
    yield from _kills(ledger, config, strategy)
    yield from _breaches(ledger, strategy)
    if config is not None:
        yield from _binding(ledger, strategy)


def may_close(ledger: Ledger, strategy: str) -> bool:
    """Whether the gateway may send an order of its own that closes a position: somebody asked for it, and nothing in
    force wants that nothing is sent at all."""
    config, binding = ledger.config, ledger.bindings.get(strategy)
    deleted = binding is not None and binding.state == config_pb2.TRADING_STATE_FLATTEN
    found = list(stops(ledger, strategy))
    blocked = [stop for stop in found if stop.what in ("configuration", "halt")]
    if blocked:
        venue_deleted = config is not None and config.halted_reason == _VENUE_DELETED
        return venue_deleted and deleted and not ledger.halts
    ordered = [stop for stop in found if stop.what in ("killSwitch", "breach")]
    if any(stop.mode == FLATTEN for stop in ordered):
        # Flatten is Cancel and more, so it holds beside one; but of nobody whom no binding names.
        return config is None or binding is not None
    if any(stop.mode in (BLOCK, CANCEL) for stop in ordered):
        return False
    return deleted or config is None


def is_left(ledger: Ledger, strategy: str, symbol: str) -> bool:
    """Whether the strategy does not name the instrument any more."""
    binding = ledger.bindings.get(strategy)
    return binding is not None and symbol not in binding.symbols


def _binding(ledger: Ledger, strategy: str) -> Iterator[Stop]:
    binding = ledger.bindings.get(strategy)
    if binding is None:
        yield Stop("binding", CANCEL, "", "the strategy was not bound to the venue")
    elif binding.state != config_pb2.TRADING_STATE_ACTIVE:
        yield Stop("binding", CANCEL, "", "the strategy was suspended or being deleted")


def _kills(ledger: Ledger, config: config_pb2.GatewayConfig | None, strategy: str) -> Iterator[Stop]:
    for kill in ledger.kills.values():
        order = kill.order
        kept = strategy in kill.strategies
        if not kept and config is None and _selects_by_labels(order.scope):
            continue
        if kept or _concerns(ledger, config, order, strategy):
            text = f"KillSwitch {order.namespace}/{order.name} was engaged"
            yield Stop("killSwitch", _MODES.get(order.mode, CANCEL), "", text)


def has_undecided_kill(ledger: Ledger) -> bool:
    """Whether a kill order selects by labels that the journal does not say."""
    return ledger.config is None and any(_selects_by_labels(kill.order.scope) for kill in ledger.kills.values())


def _selects_by_labels(scope: kill_pb2.KillScope) -> bool:
    selectors = [scope.strategy_selector, scope.venue_selector]
    if scope.namespaces_from == "Selector":
        selectors.append(scope.namespace_selector)
    return any(selector.match_labels or selector.match_expressions for selector in selectors)


def _concerns(
    ledger: Ledger, config: config_pb2.GatewayConfig | None, order: kill_pb2.KillOrder, strategy: str
) -> bool:
    scope = order.scope
    # A strategy of another namespace is journaled as NAME.NAMESPACE.
    home = strategy.partition(".")[2] or ledger.namespace
    if scope.namespaces_from == "Same" and order.namespace not in (ledger.namespace, home):
        return False
    if config is None:
        return True
    binding = ledger.bindings.get(strategy)
    known = [config.namespace_labels, config.strategy_namespaces[home].labels if home != ledger.namespace else {}]
    namespace = scope.namespaces_from != "Selector" or any(selects(scope.namespace_selector, one) for one in known)
    return (
        namespace
        and selects(scope.venue_selector, config.venue_labels)
        and (binding is None or selects(scope.strategy_selector, binding.labels))
    )


def selects(selector: kill_pb2.LabelSelector, labels: Mapping[str, str]) -> bool:
    """A Kubernetes LabelSelector; an operator that is not known selects."""
    if any(item.operator not in _OPERATORS for item in selector.match_expressions):
        return True
    wanted = all(labels.get(key) == value for key, value in selector.match_labels.items())
    return wanted and all(_holds(item, labels) for item in selector.match_expressions)


_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def _holds(item: kill_pb2.LabelRequirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(item.key)
    match item.operator:
        case "In":
            return value is not None and value in item.values
        case "NotIn":
            return value is None or value not in item.values
        case "Exists":
            return value is not None
    return value is None


def _breaches(ledger: Ledger, strategy: str) -> Iterator[Stop]:
    for breach in ledger.breaches.values():
        if not breach.enforced or breach.action in _MILD:
            continue
        if _is_stopped(ledger, breach, strategy):
            mode = breach.action if breach.action in (BLOCK, CLOSE_ONLY, CANCEL, FLATTEN) else CANCEL
            yield Stop("breach", mode, breach.risk_limit, f"breach {breach.breach} was not cleared")


def _is_stopped(ledger: Ledger, breach: pb.BreachChanged, strategy: str) -> bool:
    """Whether a breach stops the strategy: it is its own, it names it, or its rule binds it now."""
    if breach.subject:
        return breach.subject == strategy
    if strategy in breach.strategies:
        return True
    return any(rule.uid == (breach.uid or breach.risk_limit) and strategy in rule.strategies for rule in ledger.rules)


def slows(ledger: Ledger, strategy: str) -> str:
    """The breach that slows the strategy down; empty when none does."""
    for breach in ledger.breaches.values():
        if breach.enforced and breach.action == "Slow" and _is_stopped(ledger, breach, strategy):
            return breach.breach
    return ""
