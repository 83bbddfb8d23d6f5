"""Quotes in fractions become prices and lots within the leverage, and hold for the reasons of forecasts."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain import flow_wire
from crowetrade_agents.domain.flow import InstrumentQuotes, Signal, TargetQuotes, Weight
from crowetrade_agents.domain.hold_reasons import HoldReason
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.portfolio.policy import PortfolioPolicy
from crowetrade_agents.portfolio.quoting import share_of_leverage, target_quotes
from crowetrade_agents.portfolio.stage import PortfolioStage

from ..messages import BTC, BTC_USD, EUR, EUR_USD, SECOND_NS, instrument, origin

POLICY = PortfolioPolicy(
    capital=Decimal(100_000),
    instruments={EUR: EUR_USD},
    min_prob_edge=0.55,
    max_sigma=0.0001,
    kelly_fraction=0.3,
    max_leverage=Decimal(2),
    data_gap_ns=30 * SECOND_NS,
    spike_sigma=None,
    quoting=True,
)
HALF, SKEW, SIZE = 0.001, 0.004, 0.25


def quotes(name: InstrumentId = EUR, mid: str | None = "1.1", **fields: float) -> InstrumentQuotes:
    given = {"half_spread": HALF, "skew": SKEW, "size": SIZE, "shift": 0.0, **fields}
    return InstrumentQuotes(name, mid=None if mid is None else Decimal(mid), **given)


def signal(*quoted: InstrumentQuotes, sequence: int = 1, reason: str = "", at_seconds: float | None = None) -> Signal:
    return Signal(flow_wire.origin(origin(sequence, at_seconds=at_seconds)), Decimal("1.1"), reason, quotes=quoted)


def test_fractions_become_prices_and_lots() -> None:
    target = PortfolioStage(POLICY).on_signal(signal(quotes(shift=0.01)))
    made = target.quotes[EUR]
    # 200000 USD at 1.1 are 181818 EUR; a quarter of 181000 is 45250.
    assert [made.max_position, made.quantity] == [181_000, 45_000]
    assert float(made.fair) == pytest.approx(1.111)
    assert float(made.half_spread) == pytest.approx(0.001111)
    assert float(made.skew) == pytest.approx(0.004444)
    assert (target.targets, target.hold_reason, target.origin.sequence) == ({}, "", 1)


def test_instruments_share_the_leverage_equally_also_while_one_is_not_quoted() -> None:
    policy = replace(POLICY, instruments={EUR: EUR_USD, BTC: BTC_USD})
    alone = PortfolioStage(policy).on_signal(signal(quotes()))
    assert alone.quotes[EUR].max_position == 90_000
    both = PortfolioStage(policy).on_signal(signal(quotes(), quotes(BTC, "30000")))
    assert (both.quotes[EUR], both.quotes[BTC].max_position) == (alone.quotes[EUR], Decimal("3.333"))


def test_the_largest_position_respects_the_contract_multiplier() -> None:
    oil = instrument(EUR, "0.01", "1", "1", multiplier="1000")
    target = PortfolioStage(replace(POLICY, instruments={EUR: oil})).on_signal(signal(quotes(mid="50")))
    assert [target.quotes[EUR].max_position, target.quotes[EUR].quantity] == [4, 1]


def test_a_size_is_the_number_that_was_written() -> None:
    money = Decimal(10_000)
    # As a binary fraction 0.3 is less than three tenths.
    assert target_quotes(quotes(size=0.3), Decimal(1), EUR_USD, money).quantity == 3000


@pytest.mark.parametrize(
    ("given_signal", "reason"),
    [
        (signal(quotes()), ""),
        (signal(), ""),
        (signal(quotes(), reason="WarmingUp"), HoldReason.WARMING_UP),
        (signal(reason="ModelFailing"), HoldReason.MODEL_FAILING),
        (signal(quotes(mid=None)), HoldReason.NO_MID_PRICE),
        (signal(quotes(), quotes(BTC)), HoldReason.UNKNOWN_INSTRUMENT),
        (signal(quotes(half_spread=0.0)), HoldReason.INVALID_SIGNAL),
        (signal(quotes(half_spread=1.0)), HoldReason.INVALID_SIGNAL),
        (signal(quotes(half_spread=float("nan"))), HoldReason.INVALID_SIGNAL),
        (signal(quotes(skew=-0.1)), HoldReason.INVALID_SIGNAL),
        (signal(quotes(skew=1.1)), HoldReason.INVALID_SIGNAL),
        (signal(quotes(size=0.0)), HoldReason.INVALID_SIGNAL),
        (signal(quotes(size=1.1)), HoldReason.INVALID_SIGNAL),
        (signal(quotes(shift=1.0)), HoldReason.INVALID_SIGNAL),
        (signal(quotes())._replace(weights=(Weight(EUR, 1.0, Decimal(1)),)), HoldReason.INVALID_SIGNAL),
    ],
)
def test_quotes_or_the_reason_why_not(given_signal: Signal, reason: str) -> None:
    target = PortfolioStage(POLICY).on_signal(given_signal)
    assert target.hold_reason == reason
    assert bool(target.quotes) == (reason == "" and bool(given_signal.quotes))
    assert not target.targets


def test_quotes_are_no_signal_for_a_strategy_of_forecasts() -> None:
    target = PortfolioStage(replace(POLICY, quoting=False)).on_signal(signal(quotes()))
    assert (target.hold_reason, target.quotes) == (HoldReason.INVALID_SIGNAL, {})


def test_after_a_data_gap_it_stands_down_as_for_forecasts() -> None:
    stage = PortfolioStage(POLICY)
    held = [
        stage.on_signal(signal(quotes(), sequence=number, at_seconds=at)).hold_reason
        for number, at in enumerate([1, 2, 3, 4, 40, 41, 71], 1)
    ]
    assert held == [""] * 4 + ["DataGap"] * 2 + [""]


@given(
    st.builds(
        InstrumentQuotes,
        st.just(EUR),
        st.floats(0, 0.999, exclude_min=True),
        st.floats(0, 1),
        st.floats(1e-6, 1),
        st.floats(-0.999, 0.999),
        st.none(),
    ),
    st.decimals("0.0001", "1000000", places=4),
    st.sampled_from(["0.01", "1", "1000"]),
    st.decimals("1", "10000000000", places=2),
    st.decimals("0.01", "50", places=2),
    st.integers(1, 16),
)
def test_the_largest_position_is_within_the_leverage_and_numbers_survive_the_wire(
    given_quotes: InstrumentQuotes, mid: Decimal, multiplier: str, capital: Decimal, leverage: Decimal, count: int
) -> None:
    listed = instrument(EUR, multiplier=multiplier)
    made = target_quotes(given_quotes, mid, listed, share_of_leverage(capital, leverage, count))
    assert made.max_position * mid * listed.multiplier * count <= capital * leverage
    assert made.quantity <= made.max_position
    assert made.max_position % listed.lot_size == made.quantity % listed.lot_size == 0
    assert made.half_spread > 0
    target = PortfolioStage(POLICY).on_signal(signal())._replace(quotes={EUR: made})
    assert flow_wire.target(flow_wire.target_to_wire(target)) == target
    assert isinstance(made, TargetQuotes)
