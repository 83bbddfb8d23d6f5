"""The library's figures against the formulas of textbooks, worked out here with the standard library."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_cli.results.curves import strategy_curves
from crowetrade_cli.results.metrics import Calendar, Metrics, Period, RunMetrics, annualised_from, run_metrics
from crowetrade_cli.results.result import Result

from .values import DAY_NS, EMA, HOUR_NS, MONDAY_NS, PAIR, SECOND_NS, equity_run, facts, fill, result

YEAR_DAYS = 365.25
ZERO = Decimal(0)
RATIOS = {"annual_return", "annual_volatility", "sharpe", "sortino", "calmar", "max_drawdown"}


def figures(run: Result) -> RunMetrics:
    return run_metrics(run, strategy_curves(run))


def of_equity(equity: Sequence[str], step_ns: int = DAY_NS) -> Metrics:
    return figures(equity_run(equity, step_ns)).strategies[0]


EQUITY = st.lists(st.decimals(50, 150, places=2), min_size=25, max_size=60)


@settings(max_examples=40, deadline=None)
@given(EQUITY)
def test_ratios_are_those_of_the_textbook(values: list[Decimal]) -> None:
    metrics = of_equity([str(value) for value in values])
    equity = [float(value) for value in values]
    returns = [later / earlier - 1 for earlier, later in pairwise(equity)]
    years = len(returns) / YEAR_DAYS
    mean, deviation = statistics.fmean(returns), statistics.stdev(returns)
    downside = math.sqrt(statistics.fmean(min(one, 0) ** 2 for one in returns))
    growth = (equity[-1] / equity[0]) ** (1 / years) - 1
    drawdown = min(value / max(equity[: index + 1]) - 1 for index, value in enumerate(equity))
    expected = {
        "total_return": equity[-1] / equity[0] - 1,
        "annual_return": growth,
        "annual_volatility": deviation * math.sqrt(YEAR_DAYS),
        "sharpe": mean / deviation * math.sqrt(YEAR_DAYS) if deviation else None,
        "sortino": mean * YEAR_DAYS / (downside * math.sqrt(YEAR_DAYS)) if downside else None,
        "max_drawdown": drawdown,
        "calmar": growth / -drawdown if drawdown else None,
    }
    for name, value in expected.items():
        assert getattr(metrics, name) == (None if value is None else pytest.approx(value, rel=1e-9, abs=1e-12)), name


def test_a_loss_within_a_day_counts_as_drawdown_and_not_as_volatility() -> None:
    days = ["100", "100", "60", "100"] * 21
    metrics = of_equity(days, DAY_NS // 4)
    assert metrics.max_drawdown == pytest.approx(-0.4)
    assert metrics.annual_volatility == 0


@pytest.mark.parametrize(
    ("length_ns", "step_ns", "period", "periods"),
    [
        (20 * DAY_NS + HOUR_NS, HOUR_NS, Period.DAY, 21),
        (20 * DAY_NS, HOUR_NS, Period.HOUR, 480),
        (20 * HOUR_NS, 600 * SECOND_NS, Period.MINUTE, 120),
        (0, 1, Period.MINUTE, 0),
    ],
)
def test_periods_follow_from_the_length_of_the_run(length_ns: int, step_ns: int, period: Period, periods: int) -> None:
    calendar = Calendar.of(range(MONDAY_NS, MONDAY_NS + length_ns + 1, step_ns))
    assert (calendar.period, calendar.periods) == (period, periods)


@pytest.mark.parametrize(
    ("length_ns", "shown"),
    [
        (20 * DAY_NS + 1, ""),
        (20 * DAY_NS, " from 20 days:"),
        (47 * HOUR_NS, " from 47 hours:"),
        (6 * 60 * SECOND_NS, " from 6 minutes:"),
        (SECOND_NS, " from 1 minutes:"),
    ],
)
def test_ratios_of_a_short_run_are_said_to_be_no_estimate_of_a_year(length_ns: int, shown: str) -> None:
    assert (shown in annualised_from(length_ns), bool(annualised_from(length_ns))) == (True, bool(shown))


def test_days_without_a_market_are_no_periods() -> None:
    at_ns = [MONDAY_NS + day * DAY_NS + hour * HOUR_NS for day in range(364) if day % 7 < 5 for hour in range(9, 17)]
    calendar = Calendar.of(at_ns)
    # The first day has a return as well, from its first sample to its last.
    assert calendar.periods == 260
    assert calendar.per_year == pytest.approx(262, abs=1.5)


def test_what_the_first_sample_alone_makes_is_no_period() -> None:
    assert Calendar.of([MONDAY_NS + day * DAY_NS for day in range(30)]).ends == tuple(range(30))
    assert Calendar.of([MONDAY_NS + half * DAY_NS // 2 for half in range(60)]).ends == (0, *range(1, 60, 2))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("equity", "step_ns", "undefined"),
    [
        (["100"], DAY_NS, RATIOS),
        (["100", "101"], DAY_NS, {"annual_return", "annual_volatility", "sharpe", "sortino", "calmar"}),
        (["100"] * 30, DAY_NS, {"sharpe", "sortino", "calmar"}),
        (["100", "101", "102"] + ["103"] * 30, DAY_NS, {"sortino", "calmar"}),
        (["100", "101", "99"], DAY_NS, {"annual_return", "calmar"}),
        (
            ["100", "-1", "100"] * 10,
            DAY_NS,
            RATIOS,
        ),
        (
            ["100", "0", "100"],
            DAY_NS,
            RATIOS,
        ),
    ],
)
def test_what_is_undefined_is_none_without_a_warning(
    equity: list[str], step_ns: int, undefined: set[str], capfd: pytest.CaptureFixture[str]
) -> None:
    metrics = of_equity(equity, step_ns)
    assert {name for name in RATIOS if getattr(metrics, name) is None} == undefined
    assert capfd.readouterr().err == ""


def test_when_the_capital_was_lost_is_known() -> None:
    assert of_equity(["100", "1", "0", "50", "-1"]).capital_lost_ns == MONDAY_NS + 2 * DAY_NS
    assert of_equity(["100", "0.01"]).capital_lost_ns is None


def test_nothing_traded() -> None:
    metrics = of_equity(["100"] * 30)
    assert (metrics.pnl, metrics.fees, metrics.round_trips, metrics.fills) == (ZERO, ZERO, 0, 0)
    assert (metrics.hit_rate, metrics.turnover, metrics.exposure, metrics.highest_exposure) == (None, 0, 0, 0)


def test_trading_figures() -> None:
    samples = [
        (MONDAY_NS, {(EMA, "FUT"): ("0", "0", "10")}),
        (MONDAY_NS + HOUR_NS, {(EMA, "FUT"): ("1", "-501", "10")}),
        (MONDAY_NS + 2 * HOUR_NS, {(EMA, "FUT"): ("0", "98", "12")}),
    ]
    fills = [
        fill(MONDAY_NS + 1, "Buy", "1", "10", "1", symbol="FUT"),
        fill(MONDAY_NS + HOUR_NS + 1, "Sell", "1", "12", "1", symbol="FUT"),
    ]
    metrics = figures(result(samples, fills)).strategies[0]
    assert (metrics.pnl, metrics.fees, metrics.fills, metrics.round_trips, metrics.hit_rate) == (
        Decimal(98),
        Decimal(2),
        2,
        1,
        1,
    )
    mean = (1000 + 999 + 1098) / 3
    assert metrics.turnover == pytest.approx((500 + 600) / mean)
    assert metrics.highest_exposure == pytest.approx(500 / 999)
    assert metrics.exposure == pytest.approx(500 / 999 / 3)
    assert (metrics.orders_sent, metrics.orders_filled, metrics.orders_refused) == (7, 5, 2)


def test_what_is_made_in_another_currency_is_not_added() -> None:
    held = {(EMA, "EUR-USD"): ("0", "30", "1"), (EMA, "EUR-GBP"): ("0", "500", "1")}
    zero = dict.fromkeys(held, ("0", "0", "1"))
    fills = [fill(MONDAY_NS + 1, "Buy", "1", "1", "7", symbol="EUR-GBP", currency="GBP")]
    metrics = figures(result([(MONDAY_NS, zero), (MONDAY_NS + HOUR_NS, held)], fills)).strategies[0]
    assert (metrics.pnl, metrics.pnl_elsewhere, metrics.fees, metrics.turnover) == (
        Decimal(30),
        {"GBP": Decimal(500)},
        ZERO,
        0,
    )


def test_all_together_are_a_portfolio_per_currency() -> None:
    eur = "desk/eur"
    held = {
        (EMA, "EUR-USD"): ("0", "100", "1"),
        (PAIR, "EUR-USD"): ("0", "-50", "1"),
        (eur, "EUR-USD"): ("0", "1", "1"),
    }
    zero = dict.fromkeys(held, ("0", "0", "1"))
    strategies = (facts(EMA), facts(PAIR, "3000"), facts(eur, "500", currency="EUR"))
    run = figures(result([(MONDAY_NS, zero), (MONDAY_NS + HOUR_NS, held)], strategies=strategies))
    assert [row.strategy for row in run.strategies] == [EMA, PAIR, eur]
    assert [(row.currency, row.capital, row.pnl, row.pnl_elsewhere) for row in run.totals] == [
        ("EUR", Decimal(500), ZERO, {"USD": Decimal(1)}),
        ("USD", Decimal(4000), Decimal(50), {}),
    ]
    assert run.totals[1].total_return == pytest.approx(50 / 4000)
    assert run.totals[1].orders_sent == 14
