"""What a reconcile sees: a strategy that trades at one venue under one limit, and whatever a test says is different."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from crowetrade.bus.v1 import instrument_pb2, status_pb2
from crowetrade_api.conditions import Condition, ConditionType, find
from crowetrade_api.gateway_config import AnyStrategy, AnyVenue, Halt, compile_config, uses_venue
from crowetrade_api.names import FIELD_MANAGER, FINALIZER
from crowetrade_api.v1alpha1.risklimit import RiskLimit
from crowetrade_operator.cluster.compare import with_hash
from crowetrade_operator.cluster.times import rfc3339, unix_of
from crowetrade_operator.decide.last_applied import RECORDED, with_record
from crowetrade_operator.decide.observed import GatewayView, Moment, NamespaceView
from crowetrade_operator.decide.plan import Plan
from crowetrade_operator_tests.samples import account, change, gateway_status, limit, strategy_manifest, venue

Object = dict[str, Any]
UNIX = 1_767_607_200.0
NOW = Moment(rfc3339(UNIX), UNIX)
NEVER = GatewayView()
"""A gateway that has said nothing since the operator started."""


def deleting(seconds: float = 1.0) -> Object:
    """metadata of a resource that somebody deleted so many seconds ago."""
    return {"deletion_timestamp": rfc3339(UNIX - seconds), "finalizers": [FINALIZER]}


def deleted_seconds(resource: AnyStrategy | AnyVenue) -> float:
    """For how long an operator that has seen the deletion from the start has waited."""
    return UNIX - unix_of(resource.metadata.deletion_timestamp) if resource.metadata.deletion_timestamp else 0.0


def two_venues() -> Object:
    """A strategy that trades at a second venue, too."""
    instruments = [
        {"symbol": "EUR-USD", "venueRef": {"name": "sim-fx"}},
        {"symbol": "GBP-USD", "venueRef": {"name": "sim-b"}},
    ]
    return change(strategy_manifest(), "spec.instruments", instruments)


def fresh(status: status_pb2.GatewayStatus) -> GatewayView:
    """A gateway that has just said this."""
    return GatewayView(status=status, last=status, age=0.5)


def silent(status: status_pb2.GatewayStatus) -> GatewayView:
    """A gateway that said this long ago."""
    return GatewayView(status=None, last=status, age=60.0)


def position(quantity: str, symbol: str = "EUR-USD", **fields: Any) -> status_pb2.Position:
    """A position that is marked and has cost nothing yet."""
    defaults = {"average_price": "1.05", "mark_price": "1.06", "realized_pnl": "0", "unrealized_pnl": "0", "fees": "0"}
    instrument = instrument_pb2.InstrumentId(venue="sim-fx", symbol=symbol)
    return status_pb2.Position(instrument=instrument, quantity=quantity, **(defaults | fields))


def enforcing(
    to: AnyVenue,
    strategies: Sequence[AnyStrategy],
    limits: Sequence[RiskLimit],
    accounts: Sequence[status_pb2.StrategyAccount] | None = None,
    halt: Halt | None = None,
    beside: Sequence[AnyVenue] = (),
    **fields: Any,
) -> status_pb2.GatewayStatus:
    """What a gateway says that enforces all of this; a connected account for each strategy, unless others are given.
    `beside` are the other venues of the namespace."""
    found = [account(item.name) for item in strategies] if accounts is None else list(accounts)
    config = compile_config(to, strategies, limits, halt, venues=beside)
    return gateway_status(config, found, name=to.name, **fields)


def namespace_view(
    strategies: Sequence[AnyStrategy],
    venues: Sequence[AnyVenue] | None = None,
    limits: Sequence[RiskLimit] | None = None,
    gateways: Mapping[str, GatewayView] | None = None,
    **fields: Any,
) -> NamespaceView:
    """A namespace in which every gateway enforces what it should, unless other gateways are given; the record of each
    is that of its venue's status."""
    at = [venue()] if venues is None else list(venues)
    under = [limit()] if limits is None else list(limits)
    views = gateways
    if views is None:
        views = {item.name: fresh(enforcing(item, strategies, under, beside=at)) for item in at}
    for item in at:
        token, sequence = item.status.session.fencing_token, item.status.journal.sequence
        seen = replace(views.get(item.name, NEVER), record_token=token, record_sequence=sequence)
        views = {**views, item.name: seen}
    defaults: Object = {"gateway_deployments": frozenset(item.name for item in at)}
    return NamespaceView(
        traders={one.name: [item for item in strategies if uses_venue(item, one)] for one in at},
        venues={item.name: item for item in at},
        limits={item.name: item for item in under},
        gateways=views,
        **(defaults | fields),
    )


def all_ours(item: Object) -> Object:
    """The entry in managedFields that says that we have applied all of it."""
    fields: Object = {f"f:{name}": {} for name in item if name not in ("apiVersion", "kind")}
    return {"manager": FIELD_MANAGER, "operation": "Apply", "fieldsV1": fields}


def live(item: Object, ready: int = 1, **status: Any) -> Object:
    """A child as the API server holds it after our apply; a Deployment with so many ready pods."""
    stored = with_hash(item)
    of_server = {"uid": f"uid-{item['metadata']['name']}", "generation": 1, "managedFields": [all_ours(stored)]}
    stored = {**stored, "metadata": {**stored["metadata"], **of_server}}
    if item["kind"] != "Deployment":
        return stored
    return {**stored, "status": {"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": ready, **status}}


def applied(plan: Plan, ready: int = 1) -> list[Object]:
    """The children after a plan was carried out and the pods came up."""
    return [with_record(live(item, ready), plan.apply) for item in plan.apply]


def pod(name: str = "p", container: Object | None = None, **status: Any) -> Object:
    """A pod with one container."""
    return {
        "kind": "Pod",
        "metadata": {"name": name},
        "status": {"containerStatuses": [container] if container is not None else [], **status},
    }


def names(items: Sequence[Object], kind: str = "Deployment") -> list[str]:
    """Names of the objects of a kind."""
    return [item["metadata"]["name"] for item in items if item["kind"] == kind]


def recorded(items: Sequence[Object]) -> list[Object]:
    """The ConfigMap and the Deployments."""
    return [item for item in items if item["kind"] in RECORDED]


def told(conditions: Sequence[Condition], type_: ConditionType) -> Condition:
    """The condition of that type, which must be there."""
    found = find(conditions, type_)
    assert found is not None, f"no condition {type_}"
    return found
