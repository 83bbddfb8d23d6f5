"""Every event gives one target, also when a model or a stage fails; and a broken model is seen (finding G23)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

import pytest

from crowetrade_agents import sdk
from crowetrade_agents.domain.flow import MarketEvent, Signal, TargetPosition
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.market import Trade
from crowetrade_agents.features.stage import FeatureStage
from crowetrade_agents.metrics import STAGE_FAILURES
from crowetrade_agents.portfolio.stage import PortfolioStage
from crowetrade_agents.roles.stage_health import LOG_EVERY_NS, STAND_DOWN_AFTER
from crowetrade_agents.roles.stages import Stage, StageContext, feature_role, portfolio_role, signal_role
from crowetrade_agents.roles.status import AgentState
from crowetrade_agents.runtime.config import instrument_ids, portfolio_policy
from crowetrade_agents.signals.stage import SignalStage
from crowetrade_process.logs import configure_logging

from ..clock import ManualClock
from ..messages import EUR, NAMESPACE, SECOND_NS, START_NS, STRATEGY, event
from ..runtime.config_files import strategy_config


@pytest.fixture(autouse=True)
def json_logs() -> None:
    """As in a pod; without it each failure is drawn for a terminal, with every local variable."""
    configure_logging()


class Works(sdk.Model):
    """A model that always has a forecast."""

    def __init__(self, works: bool = True) -> None:
        self.works = works

    def on_quote(self, quote: sdk.Quote) -> sdk.Features:
        return sdk.Features(ready=True, values={"x": 1.0})

    def signal(self, features: Mapping[str, float]) -> sdk.Forecast | None:
        return sdk.Forecast(0.01, 0.01, {EUR: 1.0})


# The models of the live test that found G23, in their own words.


class Raises(Works):
    def on_quote(self, quote: sdk.Quote) -> sdk.Features:
        if not self.works:
            raise KeyError("boom")
        return super().on_quote(quote)


class NaN(Works):
    def on_quote(self, quote: sdk.Quote) -> sdk.Features:
        return sdk.Features(ready=True, values={"x": 1.0 if self.works else float("nan")})


class WrongType(Works):
    def on_quote(self, quote: sdk.Quote) -> sdk.Features:
        return super().on_quote(quote) if self.works else 5  # type: ignore[return-value]


class NaNSignal(Works):
    def signal(self, features: Mapping[str, float]) -> sdk.Forecast | None:
        return sdk.Forecast(0.01 if self.works else float("nan"), 0.01, {EUR: 1.0})


class NegativeSigma(Works):
    def signal(self, features: Mapping[str, float]) -> sdk.Forecast | None:
        return sdk.Forecast(0.01, 0.01 if self.works else -1.0, {EUR: 1.0})


class Foreign(Works):
    def signal(self, features: Mapping[str, float]) -> sdk.Forecast | None:
        return sdk.Forecast(0.01, 0.01, {EUR if self.works else InstrumentId("sim", "BTC-USD"): 1.0})


class RaisesInSignal(Works):
    def signal(self, features: Mapping[str, float]) -> sdk.Forecast | None:
        if not self.works:
            raise ZeroDivisionError("division by zero")
        return super().signal(features)


class BrokenPortfolio(PortfolioStage):
    """A stage with a defect."""

    def on_signal(self, signal: Signal) -> TargetPosition:
        raise RuntimeError("portfolio")


@dataclass
class Stages:
    """The three roles of one process and the targets that come out."""

    chain: Stage[MarketEvent, TargetPosition]
    state: AgentState
    clock: ManualClock
    targets: list[TargetPosition]

    async def feed(self, *events: MarketEvent) -> None:
        self.targets += [self.chain(event) for event in events]

    @property
    def holds(self) -> list[str]:
        return [target.hold_reason for target in self.targets]


async def stages(model: sdk.Model, *, broken_portfolio: bool = False) -> Stages:
    config, state, clock = strategy_config(), AgentState(), ManualClock(START_NS)
    context = StageContext(NAMESPACE, STRATEGY, state, clock)
    feature = feature_role(FeatureStage(model), context)
    signal = signal_role(SignalStage(model, instrument_ids(config)), context)
    stage = (BrokenPortfolio if broken_portfolio else PortfolioStage)(portfolio_policy(config))
    portfolio = portfolio_role(stage, context)
    return Stages(lambda event: portfolio(signal(feature(event))), state, clock, [])


def quotes(first: int, count: int) -> list[MarketEvent]:
    return [event(sequence, "1.1", "1.1002") for sequence in range(first, first + count)]


async def test_every_event_gives_one_target() -> None:
    running = await stages(Works())
    await running.feed(*quotes(1, 2))
    assert [target.origin.sequence for target in running.targets] == [1, 2]
    assert all(target.targets for target in running.targets)
    state = running.state
    assert (state.last_signal_unix_ns, state.market_data_seen, state.warming_up) == (START_NS, True, False)
    assert state.waiting() == ("", "")


@pytest.mark.parametrize(
    ("kind", "role", "sentence"),
    [
        (Raises, "feature", "on_quote raised KeyError: 'boom'"),
        (NaN, "feature", "feature 'x' is nan; return finite numbers by name"),
        (WrongType, "feature", "on_quote returned 5, which is no sdk.Features"),
        (NaNSignal, "signal", "signal returned mu nan, which is no finite number"),
        (NegativeSigma, "signal", "signal returned sigma -1.0; a standard deviation is above 0"),
        (
            Foreign,
            "signal",
            "signal weighs sim/BTC-USD, which is no instrument of the strategy (sim/EUR-USD)",
        ),
        (RaisesInSignal, "signal", "signal raised ZeroDivisionError: division by zero"),
    ],
)
async def test_a_broken_model_is_named_counted_and_stands_down_until_it_works_again(
    kind: type[Works], role: str, sentence: str
) -> None:
    model = kind(works=False)
    running = await stages(model)
    counted = STAGE_FAILURES.labels(role=role)._value.get()
    await running.feed(*quotes(1, 12))
    assert running.holds == ["ModelFailed"] * (STAND_DOWN_AFTER - 1) + ["ModelFailing"] * 3
    assert [target.origin.sequence for target in running.targets] == list(range(1, 13))
    (problem,) = running.state.problems.current(running.clock.now_ns())
    assert (problem.reason, problem.message, problem.count) == ("ModelFailing", sentence, 12)
    assert running.state.waiting()[0] == "ModelFailing"
    assert STAGE_FAILURES.labels(role=role)._value.get() == counted + 12
    model.works = True
    await running.feed(*quotes(13, 1))
    assert running.holds[-1] == ""
    assert running.state.waiting() == ("", "")
    model.works = False
    await running.feed(*quotes(14, 1))
    assert running.holds[-1] == "ModelFailed"


async def test_a_bad_event_is_no_failure_of_the_model_and_no_proof_that_it_works() -> None:
    running = await stages(Raises(works=False))
    await running.feed(*quotes(1, STAND_DOWN_AFTER - 1), event(10, "1.1", "nan"), *quotes(11, 1))
    assert running.holds[-2:] == ["InvalidMarketData", "ModelFailing"]
    (problem,) = running.state.problems.current(running.clock.now_ns())
    assert problem.count == STAND_DOWN_AFTER


def trade(sequence: int) -> MarketEvent:
    return MarketEvent(sequence, START_NS, EUR, Trade(EUR, START_NS, Decimal("1.1"), Decimal(5)))


async def test_an_event_without_a_hook_is_no_failure_and_the_model_neither_works_nor_warms_up() -> None:
    """Works has no on_trade: where trades are recorded, every second event may be one."""
    running = await stages(Works())
    await running.feed(*quotes(1, 1), trade(2))
    assert running.holds == ["", "EventNotUsed"]
    assert running.state.waiting() == ("", "")
    failing = await stages(Raises(works=False))
    for sequence in range(1, 2 * STAND_DOWN_AFTER + 1, 2):
        await failing.feed(*quotes(sequence, 1), trade(sequence + 1))
    assert failing.holds[-2:] == ["ModelFailing", "EventNotUsed"]
    assert failing.state.waiting()[0] == "ModelFailing"


async def test_a_broken_model_does_not_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()  # to the output that is captured
    running = await stages(Raises(works=False))
    await running.feed(*quotes(1, 100))
    await running.clock.advance_seconds(LOG_EVERY_NS / SECOND_NS)
    await running.feed(*quotes(101, 100))
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["event"], line["role"], line["not_logged"]) for line in lines] == [
        ("stage_failed", "feature", 0),
        ("stage_failed", "feature", 99),
    ]
    assert lines[0]["error"] == "on_quote raised KeyError: 'boom'"
    # Where in the model it was raised.
    assert 'raise KeyError("boom")' in lines[0]["exception"]


async def test_a_portfolio_stage_that_fails_holds_and_says_that_it_is_our_defect() -> None:
    running = await stages(Works(), broken_portfolio=True)
    await running.feed(*quotes(1, 20))
    assert running.holds == ["StageFailed"] * 20
    (problem,) = running.state.problems.current(running.clock.now_ns())
    assert problem.reason == "StageFailed"
    assert problem.message == "the portfolio stage has a defect: RuntimeError: portfolio"
