"""Strategy: its agents, and a safe end. What it may do travels by the gateways: see crowetrade_api.gateway_config;
what its status says: see decide/strategy_status.py."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from crowetrade.bus.v1 import status_pb2
from crowetrade_api.names import SPEC_HASH_ANNOTATION, InstrumentAddress
from crowetrade_api.reasons import Reason
from crowetrade_api.references import Problem, references
from crowetrade_api.v1alpha1.strategy import Strategy
from crowetrade_operator.cluster.compare import applied_hash, with_hash
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.decide import last_applied, strategy_deletion, strategy_moves
from crowetrade_operator.decide.observed import Children, Moment, NamespaceView, StrategyVenues
from crowetrade_operator.decide.plan import Plan
from crowetrade_operator.decide.pod_failures import Circumstances, PodWarnings
from crowetrade_operator.decide.pods import Workload, runs, workload
from crowetrade_operator.desired import identity
from crowetrade_operator.desired.configmap import config_hash, strategy_config_map, strategy_content
from crowetrade_operator.desired.deployment import roles_of, strategy_deployments
from crowetrade_operator.desired.metadata import object_name
from crowetrade_operator.desired.networkpolicy import strategy_policy
from crowetrade_operator.desired.poddisruptionbudget import pod_disruption_budget
from crowetrade_operator.desired.service import service
from crowetrade_operator.desired.serviceaccount import service_account
from crowetrade_operator.settings import Settings

STATUS_SECONDS = 0.5
"""How soon to look again whether the status is written."""


@dataclass(frozen=True)
class Observed:
    """All that is looked at for one Strategy."""

    strategy: Strategy
    around: NamespaceView
    children: Children
    agents: Sequence[status_pb2.AgentStatus]
    now: Moment
    # By namespace, of the venues that are of another one.
    beyond: Mapping[str, NamespaceView] = field(default_factory=dict)
    warnings: PodWarnings = field(default_factory=PodWarnings)
    # Whether one that is not among `agents` does not work: not when we have just begun to listen.
    agents_are_known: bool = True
    # For how long it has been seen being deleted; counted again by each process that begins to work.
    deleted_seconds: float = 0.0

    def deployments(self) -> list[Object | None]:
        """Its Deployments as they should be by number and name; None for one that is not there yet."""
        names = (object_name(self.strategy, role) for role in roles_of(self.strategy))
        return [self.children.get("Deployment", name) for name in names]

    @property
    def ending(self) -> strategy_deletion.Observed:
        """What is looked at for its end."""
        return strategy_deletion.Observed(self.strategy, self.around, self.now, self.beyond, self.deleted_seconds)

    @cached_property
    def venues(self) -> StrategyVenues:
        """Its venues."""
        return StrategyVenues(self.strategy, self.around, self.beyond)

    @cached_property
    def running(self) -> set[InstrumentAddress]:
        """The instruments that its agents are configured for."""
        return strategy_moves.configured_for(self.children.get("ConfigMap", object_name(self.strategy)))

    @property
    def workload(self) -> Workload:
        """Its Deployments and pods."""
        around = Circumstances(self.now.unix, "spec.agents.resources", self.warnings)
        return workload(self.deployments(), self.children.of_kind("Pod"), around)


def plan(observed: Observed, settings: Settings) -> Plan:
    """What to write."""
    strategy = observed.strategy
    if strategy.deleting:
        return strategy_deletion.plan(observed.ending, settings)
    if strategy.paused:
        return Plan(finalizer=True)
    venues = observed.venues
    steady = [
        service_account(strategy, settings.agent_pull_secrets),
        strategy_policy(strategy, [venue for venue in venues.present.values() if venues.admitted(venue)], settings),
        service(strategy),
        pod_disruption_budget(strategy),
        *identity.certificates(strategy, settings),
    ]
    found = references(strategy, venues.present, observed.around.namespace_labels)
    if isinstance(found, Problem):
        return Plan(apply=[*steady, *last_applied.kept(observed.children)], finalizer=True)
    remembered = {item.venue for item in strategy.instruments} | {item.address for item in strategy.status.venues}
    forgets = any(item.venue not in remembered for item in observed.running)
    if not set(venues.admitted_beyond) <= set(strategy.status.admitted_venues) or forgets:
        # The bus lets pods read what the status says when they connect; and what is left must not be forgotten.
        return Plan(apply=steady, finalizer=True, requeue_after_seconds=STATUS_SECONDS)
    content = strategy_content(strategy, found, settings)
    config_map = with_hash(strategy_config_map(strategy, content, settings))
    deployments = list(map(with_hash, strategy_deployments(strategy, config_hash(content), settings)))
    wanted = [config_map, *deployments]
    unwanted = _unwanted(observed, deployments)
    restart = _restart(observed, wanted, unwanted, settings)
    if restart is not None and restart.blocked_by:
        return Plan(
            apply=[*steady, *last_applied.kept(observed.children)],
            finalizer=True,
            rollout_blocked_by=restart.blocked_by,
            blocked_reason=restart.reason,
        )
    return Plan(apply=[*steady, *wanted], delete=unwanted, finalizer=True, restarts=restart is not None)


def _unwanted(observed: Observed, deployments: Iterable[Object]) -> list[Object]:
    """Deployments of another topology."""
    names = {item["metadata"]["name"] for item in deployments}
    return [item for item in observed.children.of_kind("Deployment") if item["metadata"]["name"] not in names]


@dataclass(frozen=True, slots=True)
class _Restart:
    """What a change means for agents that run: that they are restarted now, or why it waits."""

    blocked_by: str = ""
    reason: Reason = Reason.ROLLING_OUT


def _restart(
    observed: Observed, wanted: Sequence[Object], unwanted: Sequence[Object], settings: Settings
) -> _Restart | None:
    """None when nothing rolls, or nothing that runs would be restarted. `wanted` are ConfigMap and Deployments."""
    deployments = [item for item in wanted if item["kind"] == "Deployment"]
    live = [observed.children.get("Deployment", item["metadata"]["name"]) for item in deployments]
    changed = any(
        found is not None and applied_hash(item) != applied_hash(found)
        for item, found in zip(deployments, live, strict=True)
    )
    # Once all of another topology are there, those of the one before only have to go.
    moves = unwanted and None in live
    if not (changed or moves) or not _run(observed):
        return None
    flat = None if last_applied.lacks(observed.children, wanted) else _waits_for_flat(observed)
    return flat or _waits_for_turn(observed, deployments, settings) or _Restart()


def _waits_for_flat(observed: Observed) -> _Restart | None:
    if observed.strategy.spec.agents.update_policy == "Immediate":
        return None
    exposure = strategy_moves.exposure(observed.venues, observed.running)
    if not exposure:
        return None
    return _Restart(
        f"A change waits until the strategy is flat: {exposure}. "
        "Set spec.agents.updatePolicy to Immediate to roll it out at once.",
        Reason.WAITING_FOR_FLAT,
    )


def _waits_for_turn(observed: Observed, deployments: Sequence[Object], settings: Settings) -> _Restart | None:
    """Agents that do not come up keep their turn until their Deployment gives up, so that a bad image stops few. Who
    has changed a spec waits for nobody. The text names no others: it would have to be written again for each that
    waits whenever one of them has restarted."""
    restarting, at_once = observed.around.restarting_strategies, settings.agent_restarts_at_once
    others = len(restarting) - (observed.strategy.name in restarting)
    if others < at_once or _is_of_its_user(observed, deployments):
        return None
    return _Restart(
        f"A change of the agents that is not one of spec waits for its turn: {at_once} of the namespace restart, and "
        "no more do so at once.",
        Reason.WAITING_FOR_TURN,
    )


def _is_of_its_user(observed: Observed, deployments: Sequence[Object]) -> bool:
    """Whether the agents that run were made for another spec. Of those that an older version has made that is not
    known."""
    wanted = {"", *map(_made_for, deployments)}
    return any(_made_for(item) not in wanted for item in observed.children.of_kind("Deployment"))


def _made_for(deployment: Object) -> str:
    return str((deployment["metadata"].get("annotations") or {}).get(SPEC_HASH_ANNOTATION, ""))


def _run(observed: Observed) -> bool:
    """Whether agents do their work, so that a restart would take something away. Those whose gateway restarts are not
    ready meanwhile, and still work: an upgrade would otherwise restart all of them with the gateways. Whoever has just
    begun to lead has not heard them yet."""
    if runs(observed.children.of_kind("Deployment")) or not observed.agents_are_known:
        return True
    return any(not agent.problems for agent in observed.agents)
