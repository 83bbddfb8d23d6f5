"""From a KillSwitch to the order that gateways obey, and whom an order selects. Pure.

Whoever gives, relays or obeys an order decides with these functions. What cannot be decided is selected: a gateway that
does not know the labels of a strategy stops it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crowetrade.config.v1 import kill_pb2 as pb
from crowetrade_api.v1alpha1.common import LabelSelector
from crowetrade_api.v1alpha1.killswitch import KillSwitch, UnreadableKillSwitch

MODES = {
    "Block": pb.KILL_MODE_BLOCK,
    "CloseOnly": pb.KILL_MODE_CLOSE_ONLY,
    "Cancel": pb.KILL_MODE_CANCEL,
    "Flatten": pb.KILL_MODE_FLATTEN,
}
"""By spec.mode."""
OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")

Labels = Mapping[str, str]


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


def selects_gateway(
    order: pb.KillOrder, namespace: str, namespace_labels: Labels | None, venue_labels: Labels | None
) -> bool:
    """Whether the order concerns the gateway of a VenueConnection; labels that are not known are None."""
    scope = order.scope
    if scope.namespaces_from == "Same" and namespace != order.namespace:
        return False
    if scope.namespaces_from == "Selector" and not _matches(scope.namespace_selector, namespace_labels):
        return False
    return _matches(scope.venue_selector, venue_labels)


def selects_strategy(order: pb.KillOrder, labels: Labels | None) -> bool:
    """Whether the order stops a strategy at a gateway that it concerns; labels that are not known are None."""
    return _matches(order.scope.strategy_selector, labels)


def selects_all_strategies(order: pb.KillOrder) -> bool:
    """Whether it stops whoever trades there, known or not."""
    selector = order.scope.strategy_selector
    return not selector.match_labels and not selector.match_expressions


def _selector(selector: LabelSelector) -> pb.LabelSelector:
    return pb.LabelSelector(
        match_labels=selector.match_labels,
        match_expressions=[
            pb.LabelRequirement(key=item.key, operator=item.operator, values=item.values)
            for item in selector.match_expressions
        ],
    )


def _matches(selector: pb.LabelSelector, labels: Labels | None) -> bool:
    """An operator that is not known selects."""
    if labels is None or any(item.operator not in OPERATORS for item in selector.match_expressions):
        return True
    expressions: list[dict[str, Any]] = [
        {"key": item.key, "operator": item.operator, "values": list(item.values)} for item in selector.match_expressions
    ]
    model = LabelSelector.model_validate({"matchLabels": dict(selector.match_labels), "matchExpressions": expressions})
    return model.matches(dict(labels))
