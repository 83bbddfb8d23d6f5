"""The portfolio stage: every reason to hold, and the sizes when there is none."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain import flow_wire
from crowetrade_agents.domain.flow import Signal, Weight
from crowetrade_agents.domain.hold_reasons import STAND_DOWN, HoldReason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.portfolio.policy import PortfolioPolicy
from crowetrade_agents.portfolio.sizing import kelly_leverage, target_quantities
from crowetrade_agents.portfolio.stage import PortfolioStage
from crowetrade_agents.signals.stage import probability_of_edge

from ..messages import BTC, BTC_USD, EUR, EUR_B, EUR_USD, EUR_USD_B, SECOND_NS, instrument, origin

POLICY = PortfolioPolicy(
    capital=Decimal(1_000_000),
    instruments={EUR: EUR_USD, BTC: BTC_USD, EUR_B: EUR_USD_B},
    min_prob_edge=0.55,
    max_sigma=0.03,
    kelly_fraction=0.3,
    max_leverage=Decimal(2),
    data_gap_ns=30 * SECOND_NS,
    spike_sigma=4.0,
)


def signal(
    sequence: int = 1,
    mu: float = 0.005,
    sigma: float = 0.01,
    *,
    reason: str = "",
    mid: str = "1.1",
    at_seconds: float | None = None,
    weights: dict[InstrumentId, float] | None = None,
    mids: dict[InstrumentId, str] | None = None,
    name: InstrumentId = EUR,
) -> Signal:
    known = {name: mid} if mids is None else mids
    prices = {one: Decimal(text) for one, text in known.items() if text}
    return Signal(
        flow_wire.origin(origin(sequence, name, at_seconds=at_seconds)),
        prices.get(name),
        reason,
        mu,
        sigma,
        probability_of_edge(mu, sigma) if sigma > 0 else 0.5,
        tuple(
            Weight(one, weight, prices.get(one))
            for one, weight in ({name: 1.0} if weights is None else weights).items()
        ),
    )


@pytest.mark.parametrize(
    ("given_signal", "reason"),
    [
        (signal(), ""),
        (signal(mu=-0.005), ""),
        (signal(reason="WarmingUp"), HoldReason.WARMING_UP),
        (signal(reason="NoForecast"), HoldReason.NO_FORECAST),
        (signal(reason="ModelFailing"), HoldReason.MODEL_FAILING),
        (signal(mu=0.0), ""),
        (signal(mu=float("nan")), HoldReason.INVALID_SIGNAL),
        (signal(sigma=0.0), HoldReason.INVALID_SIGNAL),
        (signal(weights={}), HoldReason.INVALID_SIGNAL),
        (signal(weights={InstrumentId("sim", "GBP-USD"): 1.0}), HoldReason.UNKNOWN_INSTRUMENT),
        (signal(mu=0.001), HoldReason.PROB_EDGE_BELOW_GATE),
        (signal(mu=-0.001), HoldReason.PROB_EDGE_BELOW_GATE),
        (signal(mu=0.1, sigma=0.031), HoldReason.SIGMA_ABOVE_GATE),
        (signal(mid=""), HoldReason.NO_MID_PRICE),
        (signal(weights={EUR: 1.0, BTC: -1.0}), HoldReason.NO_MID_PRICE),
    ],
)
def test_one_target_or_the_reason_why_not(given_signal: Signal, reason: str) -> None:
    target = PortfolioStage(POLICY).on_signal(given_signal)
    assert target.hold_reason == reason
    assert bool(target.targets) == (reason == "")
    assert target.origin == given_signal.origin


def test_the_gate_is_inclusive_and_the_same_for_both_sides() -> None:
    # Phi(0.125661...) = 0.55
    at_gate = 0.01 * 0.12566134685507416
    stage = PortfolioStage(POLICY)
    for mu in (at_gate * 1.0001, -at_gate * 1.0001):
        assert stage.on_signal(signal(mu=mu)).hold_reason == ""
    for mu in (at_gate * 0.999, -at_gate * 0.999):
        assert stage.on_signal(signal(mu=mu)).hold_reason == HoldReason.PROB_EDGE_BELOW_GATE


@pytest.mark.parametrize(
    ("mu", "sigma", "mid", "quantity"),
    [
        # 0.3 * 0.0003 / 0.000225 = 0.4 of capital: 400000 USD at 1.1 are 363636.4 EUR.
        (0.0003, 0.015, "1.1", "363000"),
        (-0.0003, 0.015, "1.1", "-363000"),
        # 0.3 * 0.005 / 0.0001 = 15, capped at leverage 2.
        (0.005, 0.01, "1.1", "1818000"),
        (-0.005, 0.01, "1.1", "-1818000"),
        (1e-6, 0.02, "1.1", "0"),
    ],
)
def test_sizes_are_tempered_kelly_capped_and_rounded_toward_zero(
    mu: float, sigma: float, mid: str, quantity: str
) -> None:
    policy = replace(POLICY, min_prob_edge=0.0)
    target = PortfolioStage(policy).on_signal(signal(mu=mu, sigma=sigma, mid=mid))
    assert target.targets == {EUR: Decimal(quantity)}


def test_a_pair_holds_both_legs_on_their_venues_and_shares_the_leverage() -> None:
    pair = signal(mu=0.005, weights={EUR: 1.0, EUR_B: -1.0}, mids={EUR: "1.25", EUR_B: "1.6"})
    targets = PortfolioStage(POLICY).on_signal(pair).targets
    assert targets == {EUR: 800_000, EUR_B: -625_000}


def test_the_size_respects_the_contract_multiplier() -> None:
    # 2 x 1,000,000 USD at 50 USD a barrel and 1,000 barrels a contract.
    oil = instrument(EUR, "0.01", "1", "1", multiplier="1000")
    target = PortfolioStage(replace(POLICY, instruments={EUR: oil})).on_signal(signal(mid="50"))
    assert target.targets == {EUR: 40}


def test_a_forecast_of_no_return_closes_the_position_through_the_gate() -> None:
    target = PortfolioStage(POLICY).on_signal(signal(mu=0.0, sigma=0.5))
    assert target.targets == {EUR: 0}


@given(
    mu=st.floats(-0.5, 0.5),
    sigma=st.floats(1e-9, 1.0),
    fraction=st.floats(0.001, 1.0),
    mids=st.tuples(st.integers(1, 10**9), st.integers(1, 10**9)),
    weights=st.tuples(st.floats(-1, 1), st.floats(-1, 1)),
    capital=st.integers(1, 10**10),
    cap=st.decimals("0.01", "50", places=2),
    multipliers=st.tuples(st.sampled_from(["0.01", "1", "50", "1000"]), st.sampled_from(["0.01", "1", "50", "1000"])),
)
def test_the_gross_notional_is_never_above_the_leverage_cap(
    mu: float,
    sigma: float,
    fraction: float,
    mids: tuple[int, int],
    weights: tuple[float, float],
    capital: int,
    cap: Decimal,
    multipliers: tuple[str, str],
) -> None:
    prices = {EUR: Decimal(mids[0]) / 10_000, BTC: Decimal(mids[1]) / 10_000}
    listed = {
        EUR: instrument(EUR, lot="1000", multiplier=str(multipliers[0])),
        BTC: instrument(BTC, lot="0.001", multiplier=str(multipliers[1])),
    }
    quantities = target_quantities(
        kelly_leverage(mu, sigma, fraction), dict(zip((EUR, BTC), weights, strict=True)), prices, listed,
        Decimal(capital), cap,
    )  # fmt: skip
    notional = sum(abs(quantity) * prices[name] * listed[name].multiplier for name, quantity in quantities.items())
    assert notional <= cap * capital
    assert all(quantity % listed[name].lot_size == 0 for name, quantity in quantities.items())
    for name, weight in zip((EUR, BTC), weights, strict=True):
        assert quantities[name] * Decimal(weight) * Decimal(mu) >= 0


def test_a_tiny_sigma_is_capped_and_no_edge_is_flat() -> None:
    assert kelly_leverage(0.01, 1e-300, 0.5) == 1e18
    assert kelly_leverage(0.0, 0.01, 0.5) == 0.0


def reasons(signals: list[Signal], policy: PortfolioPolicy = POLICY) -> list[str]:
    stage = PortfolioStage(policy)
    return [stage.on_signal(one).hold_reason for one in signals]


def test_after_a_data_gap_it_stands_down_until_the_feed_was_whole_for_as_long() -> None:
    times = [1, 2, 3, 4, 40, 41, 60, 69, 70, 71]
    held = reasons([signal(i, at_seconds=at) for i, at in enumerate(times, 1)])
    assert [at for at, reason in zip(times, held, strict=True) if reason == HoldReason.DATA_GAP] == [40, 41, 60, 69]


def test_hourly_bars_are_no_gap_each_hour_but_a_weekend_is_one() -> None:
    hours = [0, 1, 2, 3, 4, 53, 54, 55]
    held = reasons([signal(i, at_seconds=3600 * hour) for i, hour in enumerate(hours, 1)])
    assert [hour for hour, reason in zip(hours, held, strict=True) if reason] == [53]


def test_a_gap_of_one_leg_holds_the_pair_also_at_events_of_the_other() -> None:
    stage = PortfolioStage(POLICY)
    for second in range(1, 5):
        for name in (EUR, EUR_B):
            assert stage.on_signal(signal(second, at_seconds=second, name=name)).hold_reason == ""
    assert stage.on_signal(signal(5, at_seconds=60, name=EUR_B)).hold_reason == HoldReason.DATA_GAP
    assert stage.on_signal(signal(5, at_seconds=5)).hold_reason == HoldReason.DATA_GAP


def test_a_spike_stands_down_for_ten_events() -> None:
    mids = [f"1.{10000 + i % 2}" for i in range(60)] + ["1.10100"] * 15
    held = reasons([signal(i, mid=mid) for i, mid in enumerate(mids, 1)])
    assert [i for i, reason in enumerate(held) if reason == HoldReason.VOLATILITY_SPIKE] == list(range(60, 70))


def test_stand_down_that_nobody_asked_for_does_not_happen() -> None:
    calm = replace(POLICY, data_gap_ns=None, spike_sigma=None, max_sigma=None)
    wild = [signal(i, sigma=0.9, mu=0.5, mid=str(1 + i % 7), at_seconds=10**i) for i in range(1, 9)]
    assert reasons(wild, calm) == [""] * 8


def test_detectors_see_events_also_while_the_model_warms_up() -> None:
    times = [1, 2, 3, 4, 40]
    held = reasons([signal(i, at_seconds=at, reason="" if at > 3 else "WarmingUp") for i, at in enumerate(times, 1)])
    assert held == ["WarmingUp"] * 3 + ["", "DataGap"]
    assert {"DataGap", "VolatilitySpike", "ModelFailing"} == STAND_DOWN
