"""From a KillSwitch to the order that gateways obey, and whom an order selects. Pure.

Whoever gives, relays or obeys an order decides with these functions. What cannot be decided is selected: a gateway that
does not know the labels of a strategy stops it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import ValidationError

from crowetrade.config.v1 import kill_pb2 as pb
from crowetrade_api.names import API_VERSION, Kind
from crowetrade_api.v1alpha1.common import Labels, LabelSelector, cut
from crowetrade_api.v1alpha1.killswitch import KillSwitch, UnreadableKillSwitch

MODES = {
    "Block": pb.KILL_MODE_BLOCK,
    "CloseOnly": pb.KILL_MODE_CLOSE_ONLY,
    "Cancel": pb.KILL_MODE_CANCEL,
    "Flatten": pb.KILL_MODE_FLATTEN,
}
"""By spec.mode."""
MODE_NAMES = {mode: name for name, mode in MODES.items()}
REASON_LENGTH = 512
"""Longest spec.reason."""


def kill_order(switch: KillSwitch | UnreadableKillSwitch) -> pb.KillOrder | None:
    """What gateways have to obey; None when it is not engaged. One that cannot be read is engaged, for everybody whom
    it may mean."""
    order = pb.KillOrder(
        namespace=switch.namespace,
        name=switch.name,
        uid=switch.metadata.uid,
        generation=switch.metadata.generation,
        mode=pb.KILL_MODE_CANCEL,
    )
    if isinstance(switch, UnreadableKillSwitch):
        order.reason = f"KillSwitch {switch.name} cannot be read ({switch.problem}), which counts as engaged"
        order.scope.namespaces_from = "All"
        return order
    spec = switch.spec
    if not spec.engaged:
        return None
    order.mode = MODES[spec.mode]
    order.reason, order.engaged_by = spec.reason, spec.engaged_by
    order.scope.strategy_selector.CopyFrom(_selector(spec.scope.strategy_selector))
    order.scope.venue_selector.CopyFrom(_selector(spec.scope.venue_selector))
    order.scope.namespaces_from = spec.scope.namespaces.from_
    order.scope.namespace_selector.CopyFrom(_selector(spec.scope.namespaces.selector))
    return order


def manifest(order: pb.KillOrder) -> dict[str, Any]:
    """The KillSwitch, engaged, of an order that came without one: by it the order can be seen and re-armed.

    It has no engagedBy: who gave the order is hearsay, and whoever takes it on writes their own name. What the model
    cannot hold becomes harder or wider, never the other way round.
    """
    said = f" (given by {cut(order.engaged_by, 200)} without the API server)" if order.engaged_by else ""
    reason = order.reason or "ordered without the API server, no reason given"
    scope = order.scope
    return {
        "apiVersion": API_VERSION,
        "kind": Kind.KILL_SWITCH.value,
        "metadata": {"namespace": order.namespace, "name": order.name},
        "spec": {
            "engaged": True,
            "mode": MODE_NAMES.get(order.mode, "Cancel"),
            "reason": cut(reason, REASON_LENGTH - len(said)) + said,
            "scope": {
                "strategySelector": _selector_manifest(scope.strategy_selector),
                "venueSelector": _selector_manifest(scope.venue_selector),
                "namespaces": {
                    "from": scope.namespaces_from if scope.namespaces_from in ("Same", "Selector") else "All",
                    "selector": _selector_manifest(scope.namespace_selector),
                },
            },
        },
    }


def _selector_manifest(selector: pb.LabelSelector) -> dict[str, Any]:
    """As a manifest has it; one that cannot be read selects all."""
    model = _model(selector)
    return model.to_api() if model is not None else {}


def selects_namespace(order: pb.KillOrder, namespace: str, labels: Labels | None) -> bool:
    """Whether the order stops gateways and strategies of the namespace; labels that are not known are None."""
    scope = order.scope
    if scope.namespaces_from == "Same":
        return namespace == order.namespace
    return scope.namespaces_from != "Selector" or _matches(scope.namespace_selector, labels)


def selects_gateway(
    order: pb.KillOrder,
    namespaces: Mapping[str, Labels | None],
    venue_labels: Labels | None,
) -> bool:
    """Whether the order concerns the gateway of a VenueConnection: by its namespace, or by that of a strategy that
    trades there. `namespaces` are all of these; labels that are not known are None."""
    found = any(selects_namespace(order, name, labels) for name, labels in namespaces.items())
    return found and _matches(order.scope.venue_selector, venue_labels)


def selects_strategy(order: pb.KillOrder, namespaces: Mapping[str, Labels | None], labels: Labels | None) -> bool:
    """Whether the order stops a strategy at a gateway that it concerns. `namespaces` are that of the gateway and that
    of the strategy; labels that are not known are None."""
    found = any(selects_namespace(order, name, known) for name, known in namespaces.items())
    return found and _matches(order.scope.strategy_selector, labels)


def selects_all_strategies(order: pb.KillOrder) -> bool:
    """Whether it stops whoever trades there, known or not."""
    selector = order.scope.strategy_selector
    return not selector.match_labels and not selector.match_expressions


def selects_by_labels(order: pb.KillOrder) -> bool:
    """Whether somebody could be taken out of it, or come into it, by other labels."""
    venues = order.scope.venue_selector
    by_venue = bool(venues.match_labels or venues.match_expressions)
    return by_venue or not selects_all_strategies(order) or order.scope.namespaces_from == "Selector"


def _selector(selector: LabelSelector) -> pb.LabelSelector:
    return pb.LabelSelector(
        match_labels=selector.match_labels,
        match_expressions=[
            pb.LabelRequirement(key=item.key, operator=item.operator, values=item.values)
            for item in selector.match_expressions
        ],
    )


def _matches(selector: pb.LabelSelector, labels: Labels | None) -> bool:
    model = _model(selector)
    return labels is None or model is None or model.matches(labels)


def _model(selector: pb.LabelSelector) -> LabelSelector | None:
    """None when it cannot be read, as with an operator that is not known."""
    return _read_selector(selector.SerializeToString(deterministic=True))


@lru_cache(maxsize=1024)
def _read_selector(written: bytes) -> LabelSelector | None:
    """A gateway asks about the selectors of what is in force again and again, for each of its strategies."""
    selector = pb.LabelSelector.FromString(written)
    expressions = [
        {"key": item.key, "operator": item.operator, "values": list(item.values)} for item in selector.match_expressions
    ]
    try:
        return LabelSelector.model_validate(
            {"matchLabels": dict(selector.match_labels), "matchExpressions": expressions}
        )
    except ValidationError:
        return None
