"""What a backtest runs: the files that pods would be given, and what the gateways enforce, out of manifests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.runtime.backtest.gateway import History, Replays
from crowetrade_agents.runtime.strategy import create_strategy_model
from crowetrade_api.files import StrategyFile, VenueFile
from crowetrade_api.gateway_config import compile_config
from crowetrade_api.references import Problem, references
from crowetrade_api.v1alpha1.venueconnection import VenueConnection
from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.local.gateway import file_of
from crowetrade_cli.local.wanted import Wanted, venues_of, wanted
from crowetrade_cli.manifests.admission import Manifest


@dataclass(frozen=True)
class Plan:
    """Everything of one run but its recordings. `manifests` are as the API server would store them; those that name no
    namespace are of `namespace`."""

    namespace: str
    manifests: Sequence[Manifest]
    traded: Sequence[VenueFile]
    """The venues that a strategy trades at, in the order of their names: nobody looks at the others."""
    configurations: Mapping[str, Configuration]
    strategies: Sequence[StrategyFile]


def plan_of(
    manifests: Sequence[Manifest], namespace: str, labels: Mapping[str, Mapping[str, str]] = MappingProxyType({})
) -> Plan:
    """`labels` are those of namespaces. Raises WrongUse where there is nothing to run, Failed with a sentence for each
    strategy that cannot be run."""
    found = wanted(manifests, namespace, labels)
    if not found.strategies:
        raise WrongUse("no Strategy is among the manifests: name the files or folders that hold one")
    engaged = sorted(address.name for address, switch in found.switches.items() if switch.spec.engaged)
    if engaged:
        raise WrongUse(
            f"KillSwitch {', '.join(engaged)} is engaged, so nothing would trade: leave it out, or set spec.engaged to "
            "false"
        )
    strategies, problems = [], []
    traded: dict[str, VenueConnection] = {}
    for strategy in found.strategies.values():
        venues = venues_of(strategy, found.venues)
        resolved = references(strategy, venues, found.namespaces.get(strategy.namespace))
        if isinstance(resolved, Problem):
            problems.append(f"strategy {strategy.name}: {resolved.message}")
            continue
        for name, venue in venues.items():
            if traded.setdefault(name, venue) is not venue:
                raise WrongUse(
                    f"VenueConnections {traded[name].namespace}/{name} and {venue.namespace}/{name} are both traded "
                    "at, and a backtest runs one venue of a name: give it the strategies of one of them"
                )
        strategies.append(StrategyFile.of(strategy, resolved, dict.fromkeys(strategy.venues, "in this process")))
    if problems:
        raise Failed("\n".join(problems))
    ordered = [traded[name] for name in sorted(traded)]
    return Plan(
        namespace,
        manifests,
        [file_of(venue) for venue in ordered],
        {venue.name: _configuration(venue, ordered, found) for venue in ordered},
        strategies,
    )


def _configuration(venue: VenueConnection, traded: Iterable[VenueConnection], found: Wanted) -> Configuration:
    config = compile_config(
        venue,
        found.strategies.values(),
        [limit for limit in found.limits.values() if limit.namespace == venue.namespace],
        venues=[item for item in traded if item.namespace == venue.namespace],
        namespaces=found.namespaces,
    )
    return decode(config.SerializeToString())


def currencies_of(plan: Plan) -> list[str]:
    """Those of the strategies' capital, in the order of their names."""
    return sorted({file.spec.capital.currency for file in plan.strategies})


def check_models(plan: Plan) -> None:
    """Makes every model once, so that parameters which it refuses are known before anything runs. Raises
    ConfigurationError."""
    for file in plan.strategies:
        create_strategy_model(file)


class Recordings:
    """Histories by what they are made of, so that the runs of a sweep read each recording once, whatever they set of
    its venue."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment` says where recordings are, as it does in a pod."""
        self._environment = environment
        self._histories: dict[str, History] = {}
        self._replays = Replays()

    def of(self, file: VenueFile) -> History:
        """Raises DataError and ConfigurationError."""
        content = json.dumps(file.content(), sort_keys=True)
        if content not in self._histories:
            self._histories[content] = History.of(file, self._environment, self._replays)
        return self._histories[content]

    def read(self, plans: Iterable[Plan]) -> None:
        """Reads what these plans need. Raises DataError and ConfigurationError."""
        for plan in plans:
            for file in plan.traded:
                self.of(file)
