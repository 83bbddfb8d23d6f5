"""The feature, signal and portfolio roles: pure stages, called one after the other within one process or put between
two subjects of the bus.

Every input gives exactly one output, also when the stage raises an error: then the one that is not ready, with the
reason, so that execution downstream is never left waiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import TypeVar

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import metrics
from crowetrade_agents.bus.port import Bus
from crowetrade_agents.domain import flow_wire
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.flow import FeatureVector, MarketEvent, Signal, TargetPosition
from crowetrade_agents.domain.flow_wire import market_event
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.features.stage import FeatureStage
from crowetrade_agents.portfolio.stage import PortfolioStage
from crowetrade_agents.roles.stage_health import StageHealth
from crowetrade_agents.roles.status import AgentState
from crowetrade_agents.signals.stage import SignalStage

In = TypeVar("In")
Out = TypeVar("Out")
Stage = Callable[[In], Out]
"""A role as a function: one input, one output, no error."""

FEATURE, SIGNAL, PORTFOLIO, EXECUTION = "feature", "signal", "portfolio", "execution"


class RunningStage:
    """Which stage is at work and since when, for a watchdog in another thread: a model that never returns holds the
    event loop, so nothing in the loop can notice it. One attribute, so that it is read whole."""

    def __init__(self) -> None:
        self.current: tuple[str, float] | None = None
        """(role, `perf_counter()` at its start); None while none is at work."""

    @contextmanager
    def at_work(self, role: str) -> Iterator[None]:
        """The model is made or started for this role."""
        self.current = role, perf_counter()
        try:
            yield
        finally:
            self.current = None


@dataclass(frozen=True, slots=True)
class StageContext:
    """What the roles of one process share."""

    namespace: str
    strategy: str
    state: AgentState
    clock: Clock
    running: RunningStage | None = None
    """Where a watchdog looks; None: nobody watches, and stages are not timed."""


def feature_role(stage: FeatureStage, context: StageContext) -> Stage[MarketEvent, FeatureVector]:
    """The feature stage as a role."""

    def worked(vector: FeatureVector) -> bool:
        return vector.reason not in (HoldReason.INVALID_MARKET_DATA, HoldReason.EVENT_NOT_USED)

    return _role(FEATURE, stage.on_market_event, stage.not_ready, context, worked)


def signal_role(stage: SignalStage, context: StageContext) -> Stage[FeatureVector, Signal]:
    """The signal stage as a role."""
    state, clock = context.state, context.clock

    def run(vector: FeatureVector) -> Signal:
        signal = stage.on_features(vector)
        if not signal.reason:
            state.last_signal_unix_ns = clock.now_ns()
        return signal

    def worked(signal: Signal) -> bool:
        return signal.reason in ("", HoldReason.NO_FORECAST)

    return _role(SIGNAL, run, stage.not_ready, context, worked)


def portfolio_role(stage: PortfolioStage, context: StageContext) -> Stage[Signal, TargetPosition]:
    """The portfolio stage as a role; why there is no target is known to the status when it returns."""
    state = context.state

    def not_ready(signal: Signal, reason: str) -> TargetPosition:
        return TargetPosition(signal.origin, hold_reason=reason)

    guarded = _role(PORTFOLIO, stage.on_signal, not_ready, context, lambda target: True)

    def handle(signal: Signal) -> TargetPosition:
        target = guarded(signal)
        state.hold(target.hold_reason)
        if target.hold_reason:
            metrics.count_hold(target.hold_reason)
        return target

    return handle


def _role(
    role: str,
    run: Stage[In, Out],
    not_ready: Callable[[In, str], Out],
    context: StageContext,
    worked: Callable[[Out], bool],
) -> Stage[In, Out]:
    """`not_ready` makes the output for an input at which the stage failed; `worked` says of an output whether the model
    was asked for it."""
    health = StageHealth(role, context.state, context.clock)

    def handle(message: In) -> Out:
        try:
            result = run(message)
            if health.failing and worked(result):
                health.worked()
        except Exception as error:  # noqa: BLE001 - a user's model may raise anything
            result = not_ready(message, health.failed(error))
        return result

    return handle if context.running is None else _timed(role, handle, context.running)


def _timed(role: str, stage: Stage[In, Out], running: RunningStage) -> Stage[In, Out]:
    seconds = metrics.STAGE_SECONDS.labels(role=role)

    def handle(message: In) -> Out:
        began = perf_counter()
        running.current = role, began
        try:
            return stage(message)
        finally:
            running.current = None
            seconds.observe(perf_counter() - began)

    return handle


async def subscribe_market_data(
    bus: Bus, venues: Iterable[tuple[str, str]], handler: Callable[[MarketEvent], Awaitable[None]]
) -> None:
    """One subscription per venue, of which namespace and name are given, so that the order of the venue is kept among
    its instruments."""

    async def receive(message: pb.MarketData) -> None:
        await handler(market_event(message))

    for namespace, venue in venues:
        await bus.subscribe(subjects.market_data_of_venue(namespace, venue), pb.MarketData, receive)


async def start_features(
    bus: Bus,
    context: StageContext,
    role: Stage[MarketEvent, FeatureVector],
    instruments: Collection[InstrumentId],
    venues: Iterable[tuple[str, str]],
) -> None:
    """Puts the feature role on the bus, for the events of the instruments at venues of which namespace and name are
    given."""
    subject = subjects.features(context.namespace, context.strategy)

    async def receive(event: MarketEvent) -> None:
        if event.instrument in instruments:
            vector = role(event)
            context.state.hold(vector.reason)
            await bus.publish(subject, flow_wire.feature_vector_to_wire(vector))

    await subscribe_market_data(bus, venues, receive)


async def start_signals(bus: Bus, context: StageContext, role: Stage[FeatureVector, Signal]) -> None:
    """Puts the signal role on the bus."""
    subject = subjects.signals(context.namespace, context.strategy)

    async def receive(message: pb.FeatureVector) -> None:
        signal = role(flow_wire.feature_vector(message))
        context.state.hold(signal.reason)
        await bus.publish(subject, flow_wire.signal_to_wire(signal))

    await bus.subscribe(subjects.features(context.namespace, context.strategy), pb.FeatureVector, receive)


async def start_portfolio(bus: Bus, context: StageContext, role: Stage[Signal, TargetPosition]) -> None:
    """Puts the portfolio role on the bus."""
    subject = subjects.targets(context.namespace, context.strategy)

    async def receive(message: pb.Signal) -> None:
        await bus.publish(subject, flow_wire.target_to_wire(role(flow_wire.signal(message))))

    await bus.subscribe(subjects.signals(context.namespace, context.strategy), pb.Signal, receive)
