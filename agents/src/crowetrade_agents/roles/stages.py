"""The feature, signal and portfolio roles: a pure stage between two subjects.

Every message in gives exactly one out, also when the stage raises an error: then the one that is not ready, with the
reason, so that execution downstream is never left waiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import TypeVar

from google.protobuf.message import Message

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import metrics
from crowetrade_agents.bus.port import Bus
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.wire import event_instrument
from crowetrade_agents.features.stage import FeatureStage
from crowetrade_agents.portfolio.stage import PortfolioStage
from crowetrade_agents.roles.stage_health import StageHealth
from crowetrade_agents.roles.status import AgentState
from crowetrade_agents.signals.stage import SignalStage

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)

FEATURE, SIGNAL, PORTFOLIO, EXECUTION = "feature", "signal", "portfolio", "execution"


class RunningStage:
    """Which stage is at work and since when, for a watchdog in another thread: a model that never returns holds the
    event loop, so nothing in the loop can notice it. One attribute, so that it is read whole."""

    def __init__(self) -> None:
        self.current: tuple[str, float] | None = None
        """(role, `perf_counter()` at its start); None while none is at work."""


@dataclass(frozen=True, slots=True)
class StageContext:
    """What the roles of one process share."""

    namespace: str
    strategy: str
    state: AgentState
    clock: Clock
    running: RunningStage = field(default_factory=RunningStage)


def stage_handler(
    role: str,
    run: Callable[[In], Out],
    not_ready: Callable[[In, str], Out],
    publish: Callable[[Out], Awaitable[None]],
    context: StageContext,
    worked: Callable[[Out], bool] = lambda result: True,
) -> Callable[[In], Awaitable[None]]:
    """A bus handler around a pure stage; `not_ready` makes the message for an event at which the stage failed, and
    `worked` says of a result whether the model was asked for it."""
    seconds = metrics.STAGE_SECONDS.labels(role=role)
    health = StageHealth(role, context.state, context.clock)
    running = context.running

    async def handle(message: In) -> None:
        began = perf_counter()
        running.current = role, began
        try:
            result = run(message)
            if worked(result):
                health.worked()
        except Exception as error:  # noqa: BLE001 - a user's model may raise anything
            result = not_ready(message, health.failed(error))
        finally:
            running.current = None
        seconds.observe(perf_counter() - began)
        await publish(result)

    return handle


async def subscribe_market_data(
    bus: Bus, namespace: str, venues: Iterable[str], handler: Callable[[pb.MarketData], Awaitable[None]]
) -> None:
    """One subscription per venue, so that the order of the venue is kept among its instruments."""
    for venue in venues:
        await bus.subscribe(subjects.market_data_of_venue(namespace, venue), pb.MarketData, handler)


async def start_features(
    market: Bus, bus: Bus, context: StageContext, stage: FeatureStage, instruments: Collection[InstrumentId]
) -> None:
    """Subscribes the feature role to the events of the instruments."""
    state, subject = context.state, subjects.features(context.namespace, context.strategy)

    async def publish(vector: pb.FeatureVector) -> None:
        state.hold(vector.reason)
        await bus.publish(subject, vector)

    handle = stage_handler(
        FEATURE,
        stage.on_market_data,
        stage.not_ready,
        publish,
        context,
        worked=lambda vector: vector.reason != HoldReason.INVALID_MARKET_DATA,
    )

    async def receive(message: pb.MarketData) -> None:
        if event_instrument(message) in instruments:
            await handle(message)

    await subscribe_market_data(market, context.namespace, venues_of(instruments), receive)


async def start_signals(bus: Bus, context: StageContext, stage: SignalStage) -> None:
    """Subscribes the signal role."""
    state, subject = context.state, subjects.signals(context.namespace, context.strategy)

    async def publish(signal: pb.Signal) -> None:
        state.hold(signal.reason)
        if signal.ready:
            state.last_signal_unix_ns = context.clock.now_ns()
        await bus.publish(subject, signal)

    handle = stage_handler(
        SIGNAL,
        stage.on_features,
        stage.not_ready,
        publish,
        context,
        worked=lambda signal: signal.reason in ("", HoldReason.NO_FORECAST),
    )
    await bus.subscribe(subjects.features(context.namespace, context.strategy), pb.FeatureVector, handle)


async def start_portfolio(bus: Bus, context: StageContext, stage: PortfolioStage) -> None:
    """Subscribes the portfolio role."""
    state, subject = context.state, subjects.targets(context.namespace, context.strategy)

    def not_ready(signal: pb.Signal, reason: str) -> pb.TargetPosition:
        return pb.TargetPosition(origin=signal.origin, hold_reason=reason)

    async def publish(target: pb.TargetPosition) -> None:
        state.hold(target.hold_reason)
        if target.hold_reason:
            metrics.HOLDS.labels(reason=target.hold_reason).inc()
        await bus.publish(subject, target)

    handle = stage_handler(PORTFOLIO, stage.on_signal, not_ready, publish, context)
    await bus.subscribe(subjects.signals(context.namespace, context.strategy), pb.Signal, handle)


def venues_of(instruments: Iterable[InstrumentId]) -> tuple[str, ...]:
    """The venues of the instruments, in the order in which they come first."""
    return tuple(dict.fromkeys(instrument.venue for instrument in instruments))
