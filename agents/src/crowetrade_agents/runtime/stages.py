"""The feature, signal and portfolio roles: a pure stage between two subjects.

Every message in gives exactly one out, also when the stage raises an error: then the one that says "not ready", so that
execution downstream is never left waiting.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import TypeVar

import structlog
from google.protobuf.message import Message

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import metrics
from crowetrade_agents.bus.port import Bus
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.features.decode import event_symbol
from crowetrade_agents.features.stage import FeatureStage
from crowetrade_agents.portfolio.reasons import HoldReason
from crowetrade_agents.portfolio.stage import PortfolioStage
from crowetrade_agents.runtime.config import listings
from crowetrade_agents.runtime.state import AgentState
from crowetrade_agents.signals.stage import SignalStage
from crowetrade_api.files import StrategyFile
from crowetrade_api.names import Role

In = TypeVar("In", bound=Message)
Out = TypeVar("Out", bound=Message)

_log = structlog.get_logger(__name__)


def stage_handler(
    role: Role, run: Callable[[In], Out], failed: Callable[[In], Out], publish: Callable[[Out], Awaitable[None]]
) -> Callable[[In], Awaitable[None]]:
    """A bus handler around a pure stage; `failed` gives the message for a stage that raised an error."""
    seconds = metrics.STAGE_SECONDS.labels(role=role)

    async def handle(message: In) -> None:
        began = perf_counter()
        try:
            result = run(message)
        except Exception:  # noqa: BLE001 - a user's model may raise anything
            metrics.STAGE_FAILURES.labels(role=role).inc()
            _log.exception("stage_failed", role=role)
            result = failed(message)
        seconds.observe(perf_counter() - began)
        await publish(result)

    return handle


async def subscribe_market_data(
    bus: Bus, config: StrategyFile, handler: Callable[[pb.MarketData], Awaitable[None]]
) -> None:
    """One subscription for each venue, so that the order of the venue is kept among its instruments."""
    for venue in config.venues:
        await bus.subscribe(subjects.market_data_of_venue(config.namespace, venue), pb.MarketData, handler)


async def start_features(market: Bus, bus: Bus, config: StrategyFile, stage: FeatureStage, state: AgentState) -> None:
    """Subscribes the feature role."""
    traded = {(listing.venue, symbol) for symbol, listing in listings(config).items()}
    subject = subjects.features(config.namespace, config.name)

    def failed(message: pb.MarketData) -> pb.FeatureVector:
        venue, symbol = event_symbol(message)
        origin = pb.Origin(venue=venue, symbol=symbol, sequence=message.sequence, event_unix_ns=message.event_unix_ns)
        return pb.FeatureVector(origin=origin)

    async def publish(vector: pb.FeatureVector) -> None:
        state.warming_up = not vector.ready
        await bus.publish(subject, vector)

    handle = stage_handler(Role.FEATURE, stage.on_market_data, failed, publish)

    async def receive(message: pb.MarketData) -> None:
        if event_symbol(message) in traded:
            state.market_data_seen = True
            await handle(message)

    await subscribe_market_data(market, config, receive)


async def start_signals(bus: Bus, config: StrategyFile, stage: SignalStage, state: AgentState, clock: Clock) -> None:
    """Subscribes the signal role."""
    subject = subjects.signals(config.namespace, config.name)

    async def publish(signal: pb.Signal) -> None:
        state.market_data_seen = True
        state.warming_up = not signal.ready
        if signal.ready:
            state.last_signal_unix_ns = clock.now_ns()
        await bus.publish(subject, signal)

    handle = stage_handler(Role.SIGNAL, stage.on_features, lambda vector: pb.Signal(origin=vector.origin), publish)
    await bus.subscribe(subjects.features(config.namespace, config.name), pb.FeatureVector, handle)


async def start_portfolio(bus: Bus, config: StrategyFile, stage: PortfolioStage, state: AgentState) -> None:
    """Subscribes the portfolio role."""
    subject = subjects.targets(config.namespace, config.name)

    def failed(signal: pb.Signal) -> pb.TargetPosition:
        return pb.TargetPosition(origin=signal.origin, hold_reason=HoldReason.STAGE_FAILED)

    async def publish(target: pb.TargetPosition) -> None:
        state.market_data_seen = True
        state.warming_up = target.hold_reason == HoldReason.WARMING_UP
        if target.hold_reason:
            metrics.HOLDS.labels(reason=target.hold_reason).inc()
        await bus.publish(subject, target)

    handle = stage_handler(Role.PORTFOLIO, stage.on_signal, failed, publish)
    await bus.subscribe(subjects.signals(config.namespace, config.name), pb.Signal, handle)
