"""A stage that raises an error still gives one message for one."""

from __future__ import annotations

from collections.abc import Mapping

from crowetrade import subjects
from crowetrade.bus.v1 import market_data_pb2 as pb
from crowetrade_agents import sdk
from crowetrade_agents.bus.inprocess import InProcessBus
from crowetrade_agents.domain.clock import SettableClock
from crowetrade_agents.features.stage import FeatureStage
from crowetrade_agents.portfolio.stage import PortfolioStage
from crowetrade_agents.runtime.config import portfolio_policy
from crowetrade_agents.runtime.stages import start_features, start_portfolio, start_signals
from crowetrade_agents.runtime.state import AgentState
from crowetrade_agents.signals.stage import SignalStage

from ..gateway.harness import NAMESPACE, STRATEGY, SYMBOL, VENUE
from ..messages import quote
from .config_files import strategy_config


class Broken(sdk.Model):
    """Fails in one place; a user's model may raise anything."""

    def __init__(self, where: str) -> None:
        self._where = where

    def on_quote(self, quote: sdk.Quote) -> sdk.Features:
        if self._where == "features":
            raise RuntimeError("features")
        return sdk.Features(ready=True, values={"x": 1.0})

    def signal(self, features: Mapping[str, float]) -> sdk.Opinion | None:
        if self._where == "signal":
            raise RuntimeError("signal")
        return sdk.Opinion(0.01, 0.01, {SYMBOL: 1.0})


class BrokenPortfolio(PortfolioStage):
    """A stage with a defect."""

    def on_signal(self, signal: pb.Signal) -> pb.TargetPosition:
        raise RuntimeError("portfolio")


async def targets_with(
    model: sdk.Model, *, broken_portfolio: bool = False
) -> tuple[list[pb.TargetPosition], AgentState]:
    bus, config, state = InProcessBus(), strategy_config(), AgentState()
    targets: list[pb.TargetPosition] = []

    async def keep(message: pb.TargetPosition) -> None:
        targets.append(message)

    portfolio = (BrokenPortfolio if broken_portfolio else PortfolioStage)(portfolio_policy(config))
    await bus.subscribe(subjects.targets(NAMESPACE, STRATEGY), pb.TargetPosition, keep)
    await start_portfolio(bus, config, portfolio, state)
    await start_signals(bus, config, SignalStage(model), state, SettableClock(77))
    await start_features(bus, bus, config, FeatureStage(model), state)
    for message in (quote(1, "1.1", "1.1002"), quote(2, "1.1", "1.1002", symbol="GBP-USD"), quote(3, "1.1", "1.1002")):
        await bus.publish(subjects.market_data(NAMESPACE, VENUE, message.quote.symbol), message)
    return targets, state


async def test_every_event_of_a_traded_instrument_gives_one_target() -> None:
    targets, state = await targets_with(Broken("nowhere"))
    assert [target.origin.sequence for target in targets] == [1, 3]
    assert all(target.targets for target in targets)
    assert (state.last_signal_unix_ns, state.market_data_seen, state.warming_up) == (77, True, False)


async def test_a_model_that_fails_gives_no_target_and_says_so() -> None:
    for where in ("features", "signal"):
        targets, state = await targets_with(Broken(where))
        assert [(target.origin.sequence, target.hold_reason) for target in targets] == [
            (1, "WarmingUp"),
            (3, "WarmingUp"),
        ]
        assert state.warming_up


async def test_a_portfolio_stage_that_fails_holds() -> None:
    targets, _ = await targets_with(Broken("nowhere"), broken_portfolio=True)
    assert [target.hold_reason for target in targets] == ["StageFailed"] * 2
