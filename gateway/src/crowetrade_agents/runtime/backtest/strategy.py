"""One strategy in a backtest: all its roles, called with one event after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.flow import MarketEvent
from crowetrade_agents.order_entry.commands import StrategyCommand
from crowetrade_agents.order_entry.decode import Bounds, Violation, decode
from crowetrade_agents.order_entry.port import Request
from crowetrade_agents.roles.execution import Decided, ExecutionRole
from crowetrade_agents.roles.problems import Problem
from crowetrade_agents.roles.stages import StageContext
from crowetrade_agents.roles.status import AgentState
from crowetrade_agents.runtime.backtest.gateway import BacktestGateway
from crowetrade_agents.runtime.backtest.time import at_once
from crowetrade_agents.runtime.config import execution_policy, listings, shadow
from crowetrade_agents.runtime.strategy import create_strategy_model, whole_chain
from crowetrade_api.files import StrategyFile
from crowetrade_api.names import Role


@dataclass(frozen=True, slots=True)
class Noted:
    """What went wrong, as the condition of the Strategy would say it; `message` is the first one's. Event time, ns."""

    reason: str
    message: str
    count: int
    first_ns: int


class _State(AgentState):
    """The status of a live strategy forgets a problem that is over; a backtest reports all of them at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.noted: dict[Problem, Noted] = {}

    def report_problem(self, problem: Problem, message: str, now_ns: int, *, standing: bool = False) -> None:
        """See AgentState."""
        known = self.noted.get(problem) or Noted(problem, message, 0, now_ns)
        self.noted[problem] = replace(known, count=known.count + 1)
        super().report_problem(problem, message, now_ns, standing=standing)


class BacktestStrategy:
    """`log_on` once, then `handle` each event of its instruments. Raises ConfigurationError when its model or file is
    wrong."""

    def __init__(self, file: StrategyFile, gateways: Mapping[str, BacktestGateway], clock: Clock) -> None:
        self.file = file
        self.instruments = frozenset(listings(file))
        self._state = _State()
        self._gateways = gateways
        self._clock = clock
        # As in topology Split, so that a model cannot carry anything from its hooks to its signal by the side.
        models = {role: create_strategy_model(file) for role in (Role.FEATURE, Role.SIGNAL)}
        self._target_of = whole_chain(file, models, StageContext(file.namespace, file.name, self._state, clock))
        self._execution = ExecutionRole(
            names={venue: file.name_at(venue) for venue in file.venues},
            instruments=listings(file),
            policy=execution_policy(file),
            state=self._state,
            clock=clock,
            upstream_ready=_always,
            shadow=shadow(file),
        )

    @property
    def problems(self) -> tuple[Noted, ...]:
        """What went wrong, in the order in which each came first."""
        return tuple(self._state.noted.values())

    def log_on(self) -> None:
        """Opens a session with the gateway of each of its venues."""
        for venue in self.file.venues:
            self._execution.streams[venue].session = _Session(
                self.file.name_at(venue), self._gateways[venue], self._clock
            )
        for venue in self.file.venues:
            self._gateways[venue].log_on(self.file.name_at(venue), self._execution)

    def handle(self, event: MarketEvent) -> None:
        """Handles one event of its instruments; everything that it sends is answered when this returns."""
        at_once(self._execution.handle((Decided(event, self._target_of(event)),)))


class _Session:
    """Implements OrderSession on a gateway that handles each request at once."""

    def __init__(self, strategy: str, gateway: BacktestGateway, clock: Clock) -> None:
        self._strategy = strategy
        self._gateway = gateway
        self._clock = clock

    @property
    def venue(self) -> str:
        """See OrderSession."""
        return self._gateway.name

    @property
    def up(self) -> bool:
        """From the beginning to the end."""
        return True

    async def run(self) -> None:
        """There is nothing to keep up."""

    async def send(self, request: Request) -> bool:
        """See OrderSession."""
        published = self._gateway.gateway.state.live.published
        message = decode(request, Bounds(self._strategy, self.venue, published, self._clock.now_ns()))
        if isinstance(message, Violation):
            raise RuntimeError(f"the execution role sent what is no request: {message.text}")
        if isinstance(message, StrategyCommand):
            self._gateway.command(message)
        return True

    async def progress(self, sequence: int) -> bool:
        """Nobody waits for it: the market moves when this strategy has returned."""
        return True

    async def close(self) -> None:
        """There is nothing to close."""


async def _always() -> None:
    """The upstream roles listen."""
