"""What a backtest runs: the files that pods would be given, and what the gateways enforce, out of manifests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.runtime.backtest.gateway import History
from crowetrade_agents.runtime.strategy import create_strategy_model
from crowetrade_api.files import StrategyFile, VenueFile
from crowetrade_api.gateway_config import compile_config
from crowetrade_api.references import Problem, references
from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.local.gateway import file_of
from crowetrade_cli.local.wanted import wanted
from crowetrade_cli.manifests.admission import Manifest


@dataclass(frozen=True)
class Plan:
    """Everything of one run but its recordings. `manifests` are as the API server would store them."""

    namespace: str
    manifests: Sequence[Manifest]
    traded: Sequence[VenueFile]
    """The venues that a strategy trades at, in the order of their names: nobody looks at the others."""
    configurations: Mapping[str, Configuration]
    strategies: Sequence[StrategyFile]


def plan_of(manifests: Sequence[Manifest], namespace: str) -> Plan:
    """Raises WrongUse where there is nothing to run, Failed with a sentence for each strategy that cannot be run."""
    found = wanted(manifests, namespace)
    namespaces = sorted({address.namespace for address in (*found.strategies, *found.venues)})
    if len(namespaces) > 1:
        listed = ", ".join(namespaces)
        raise WrongUse(f"the manifests are of the namespaces {listed}, and a backtest runs one: give it those of one")
    if not found.strategies:
        raise WrongUse("no Strategy is among the manifests: name the files or folders that hold one")
    engaged = sorted(address.name for address, switch in found.switches.items() if switch.spec.engaged)
    if engaged:
        raise WrongUse(
            f"KillSwitch {', '.join(engaged)} is engaged, so nothing would trade: leave it out, or set spec.engaged to "
            "false"
        )
    venues = {item.name: item for item in found.venues.values()}
    strategies, problems = [], []
    for strategy in found.strategies.values():
        resolved = references(strategy, venues)
        if isinstance(resolved, Problem):
            problems.append(f"strategy {strategy.name}: {resolved.message}")
        else:
            strategies.append(StrategyFile.of(strategy, resolved, dict.fromkeys(strategy.venues, "in this process")))
    if problems:
        raise Failed("\n".join(problems))
    traded = {name: venues[name] for name in sorted({name for file in strategies for name in file.venues})}
    items, limits = list(found.strategies.values()), list(found.limits.values())
    return Plan(
        namespaces[0],
        manifests,
        [file_of(venue) for venue in traded.values()],
        {
            name: decode(compile_config(venue, items, limits, venues=traded.values()).SerializeToString())
            for name, venue in traded.items()
        },
        strategies,
    )


def check_models(plan: Plan) -> None:
    """Makes every model once, so that parameters which it refuses are known before anything runs. Raises
    ConfigurationError."""
    for file in plan.strategies:
        create_strategy_model(file)


class Recordings:
    """Histories by what they are made of, so that the runs of a sweep read each recording once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment` says where recordings are, as it does in a pod."""
        self._environment = environment
        self._read: dict[str, History] = {}

    def of(self, file: VenueFile) -> History:
        """Raises DataError and ConfigurationError."""
        content = json.dumps(file.content(), sort_keys=True)
        if content not in self._read:
            self._read[content] = History.of(file, self._environment)
        return self._read[content]

    def read(self, plans: Iterable[Plan]) -> None:
        """Reads what these plans need. Raises DataError and ConfigurationError."""
        for plan in plans:
            for file in plan.traded:
                self.of(file)
