"""A strategy: the roles that it is given, wired over the bus, which is NATS in a pod (strategy_pod.py).

With all roles in one process (topology Combined) features, signals and targets stay in it; with one role each (Split)
they go over the bus. Market data comes over the bus in both. The order of the start matters: downstream roles subscribe
first, then upstream ones, and only when all listen does execution log on at the gateways, which releases lock step.

When it is asked to stop: working orders are canceled, the answers awaited for a moment, the bus flushed. What is still
open then is canceled by the gateway when it notices the end of the session.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import structlog

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2, status_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.bus.port import Bus
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.flow import MarketEvent, TargetPosition
from crowetrade_agents.domain.flow_wire import target
from crowetrade_agents.errors import ConfigurationError
from crowetrade_agents.features.stage import FeatureStage
from crowetrade_agents.models.registry import create_model, find_model
from crowetrade_agents.order_entry.port import OrderSession, SessionListener
from crowetrade_agents.portfolio.stage import PortfolioStage
from crowetrade_agents.roles.execution import ExecutionRole
from crowetrade_agents.roles.handshake import await_roles
from crowetrade_agents.roles.order_sender import Patience
from crowetrade_agents.roles.stages import (
    RunningStage,
    Stage,
    StageContext,
    feature_role,
    portfolio_role,
    signal_role,
    start_features,
    start_portfolio,
    start_signals,
    subscribe_market_data,
)
from crowetrade_agents.roles.status import AgentState, is_worth_reporting
from crowetrade_agents.runtime.config import (
    execution_policy,
    instrument_ids,
    listings,
    portfolio_policy,
    quoting,
    shadow,
)
from crowetrade_agents.sdk import Model
from crowetrade_agents.signals.stage import SignalStage
from crowetrade_api.files import StrategyFile
from crowetrade_api.names import COMBINED_ROLE, ROLES, Role
from crowetrade_process.health import Health
from crowetrade_process.memory import give_back_memory
from crowetrade_process.stopping import cancelled, unless_stopping

LOOK_SECONDS = 1.0
"""How often a process looks whether it has something to report."""
UPSTREAM = (Role.FEATURE, Role.SIGNAL, Role.PORTFOLIO)

OpenSession = Callable[[str, str, gateway_pb2.Logon, SessionListener], OrderSession]
"""Makes the session with a venue's gateway: (venue, address, logon, listener)."""

_log = structlog.get_logger(__name__)


@dataclass
class StrategyProcess:
    """One process of a strategy. `run` returns when `stopping` is set and everything is put away."""

    config: StrategyFile
    roles: Sequence[Role]
    name: str
    config_hash: str
    clock: Clock
    health: Health
    stopping: asyncio.Event
    open_session: OpenSession
    patience: Patience | None = None
    running: RunningStage = field(default_factory=RunningStage)

    def __post_init__(self) -> None:
        self._state = AgentState()
        self._context = StageContext(
            self.config.namespace, self.config.name, self._state, self.clock, running=self.running
        )
        self._models = {role: self._create_model(role) for role in self.roles if role in UPSTREAM[:2]}

    async def run(self, market: Bus) -> None:
        """Runs on the bus that market data comes over, and closes it. Raises SessionTakenOver when a newer process of
        the strategy logged on."""
        reporting = asyncio.create_task(self._report_status(market))
        try:
            execution = await self._start_execution(market) if Role.EXECUTION in self.roles else None
            if execution is not None and self._combined:
                await self._start_combined(market, execution)
            else:
                await self._start_split(market, execution)
            if execution is None:
                give_back_memory()
                await self.stopping.wait()
            else:
                await self._trade(execution, market)
        finally:
            reporting.cancel()
            await market.close()

    def _create_model(self, role: Role) -> Model:
        with self.running.at_work(role):
            return create_strategy_model(self.config)

    @property
    def _venues(self) -> list[tuple[str, str]]:
        """Namespace and name of each venue."""
        return [(self.config.namespace_of(venue), venue) for venue in self.config.venues]

    @property
    def _combined(self) -> bool:
        return set(self.roles) == set(ROLES)

    async def _start_combined(self, market: Bus, execution: ExecutionRole) -> None:
        """Every role in this process: each event goes through all of them in turn."""
        with self.running.at_work(Role.FEATURE):
            target_of = whole_chain(self.config, self._models, self._context)
        instruments = frozenset(instrument_ids(self.config))

        async def receive(event: MarketEvent) -> None:
            if event.instrument in instruments:
                await execution.on_decided(event, target_of(event))
            else:
                await execution.on_market_event(event)

        await subscribe_market_data(market, self._venues, receive)
        await market.flush()

    async def _start_split(self, market: Bus, execution: ExecutionRole | None) -> None:
        """Each role between its subjects, downstream first."""
        config, context, instruments = self.config, self._context, instrument_ids(self.config)
        if execution is not None:
            await subscribe_market_data(market, self._venues, execution.on_market_event)
            targets = subjects.targets(config.namespace, config.name)

            async def receive(message: market_data_pb2.TargetPosition) -> None:
                await execution.on_target(target(message))

            await market.subscribe(targets, market_data_pb2.TargetPosition, receive)
        if Role.PORTFOLIO in self.roles:
            await start_portfolio(market, context, portfolio_role(PortfolioStage(portfolio_policy(config)), context))
        if Role.SIGNAL in self.roles:
            stage = SignalStage(self._models[Role.SIGNAL], instruments, quoting(config))
            await start_signals(market, context, signal_role(stage, context))
        if Role.FEATURE in self.roles:
            with self.running.at_work(Role.FEATURE):
                feature = feature_role(started(self._models[Role.FEATURE]), context)
            await start_features(market, context, feature, instruments, self._venues)
        await market.flush()
        for role in self.roles:
            await market.answer_pings(subjects.handshake(config.namespace, config.name, role))

    async def _start_execution(self, market: Bus) -> ExecutionRole:
        config = self.config

        async def upstream_ready() -> None:
            await self._await_upstream(market)

        execution = ExecutionRole(
            names={venue: config.name_at(venue) for venue in config.venues},
            instruments=listings(config),
            policy=execution_policy(config),
            state=self._state,
            clock=self.clock,
            upstream_ready=upstream_ready,
            shadow=shadow(config),
            patience=self.patience,
        )
        for namespace, venue in self._venues:
            status = subjects.gateway_status(namespace, venue)
            await market.subscribe(status, status_pb2.GatewayStatus, execution.on_gateway_status)
        return execution

    async def _trade(self, execution: ExecutionRole, market: Bus) -> None:
        sessions = [self._session(venue, execution) for venue in self.config.venues]
        for session in sessions:
            execution.streams[session.venue].session = session
            self._state.gateways_down[session.venue] = f"not logged on to the gateway of {session.venue} yet"
        self._set_gateways_ready()
        await unless_stopping(self.stopping, self._await_upstream(market))
        if self.stopping.is_set():
            return
        # The sessions are made, so all is imported.
        give_back_memory()
        worker = asyncio.create_task(execution.run())
        runs = [asyncio.create_task(session.run()) for session in sessions]
        stopping = asyncio.create_task(self.stopping.wait())
        try:
            done, _ = await asyncio.wait({worker, stopping, *runs}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            await cancelled(worker)
            await execution.stop()
            for session in sessions:
                await session.close()
            await cancelled(stopping)
            await asyncio.wait(runs, timeout=2.0)
            await cancelled(*runs)

    def _session(self, venue: str, execution: ExecutionRole) -> OrderSession:
        logon = gateway_pb2.Logon(namespace=self.config.namespace, strategy=self.config.name, pod=self.name)
        return self.open_session(venue, self.config.gateways[venue], logon, execution)

    async def _await_upstream(self, market: Bus) -> None:
        if self._combined:
            return

        def waiting(role: str) -> None:
            self._state.roles_missing = f"the {role} role does not answer yet: see its pod"

        await await_roles(market, self.clock, self.config.namespace, self.config.name, UPSTREAM, waiting)
        self._state.roles_missing = ""

    def _set_gateways_ready(self) -> None:
        for venue in self.config.venues if Role.EXECUTION in self.roles else ():
            why = self._state.gateways_down.get(venue, "")
            self.health.set_ready(f"gateway {venue}", not why, why)

    async def _report_status(self, market: Bus) -> None:
        name = COMBINED_ROLE if self._combined else "-".join(self.roles)
        subject = subjects.agent_status(self.config.namespace, self.config.name, name)
        identity = status_pb2.AgentStatus(
            namespace=self.config.namespace,
            strategy=self.config.name,
            roles=list(self.roles),
            pod=self.name,
            config_hash=self.config_hash,
        )
        reported: status_pb2.AgentStatus | None = None
        while True:
            self._set_gateways_ready()
            self._state.changed.clear()
            status = self._state.message(identity, self.clock.now_ns())
            if is_worth_reporting(reported, status):
                await market.publish(subject, status)
                reported = status
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._state.changed.wait(), LOOK_SECONDS)


def whole_chain(
    config: StrategyFile, models: Mapping[Role, Model], context: StageContext
) -> Stage[MarketEvent, TargetPosition]:
    """Features, signal and portfolio of one strategy as one function. Raises ConfigurationError."""
    feature = feature_role(started(models[Role.FEATURE]), context)
    signal = signal_role(SignalStage(models[Role.SIGNAL], instrument_ids(config), quoting(config)), context)
    portfolio = portfolio_role(PortfolioStage(portfolio_policy(config)), context)

    def target_of(event: MarketEvent) -> TargetPosition:
        return portfolio(signal(feature(event)))

    return target_of


def create_strategy_model(config: StrategyFile) -> Model:
    """The model that the manifest names; ConfigurationError with the sentence of what is wrong with it."""
    model = config.spec.model
    try:
        return create_model(
            find_model(model.name or "", model.entry_point or ""), model.parameters, instrument_ids(config)
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def started(model: Model) -> FeatureStage:
    """The feature stage of a model; ConfigurationError when the model's `on_start` fails."""
    try:
        return FeatureStage(model)
    except Exception as error:
        raise ConfigurationError(f"the model's on_start raised {type(error).__name__}: {error}") from error
