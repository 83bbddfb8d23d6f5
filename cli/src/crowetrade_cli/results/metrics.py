"""The figures of a run: ratios of empyrical-reloaded, and what follows from fills and holdings.

**Periods.** Returns are those of calendar periods in UTC: days where a curve is longer than 20 days, hours where it is
longer than 20 hours, else minutes. A period's equity is that of its last sample; a period without a sample (a weekend)
does not exist, and what the first sample alone would make is none. Periods per year are those that the curve has,
divided by its length in years of 365.25 days: about 365 where a market never closes, about 261 where it has weekends,
about 313 in FX, whose Sunday evening is a day in UTC.
So a year's variance is what a year like the run would have, and no market calendar is assumed.

**Undefined** figures are None: a ratio of fewer than two periods, of no volatility, or of no loss to divide by; annual
return and Calmar of a curve of 20 days or less, which say nothing when they are compounded to a year; and all of them
where equity was ever zero or less. The risk-free rate is 0.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import PlainSerializer

from crowetrade_agents.domain.numbers import CONTEXT, ZERO, render_money
from crowetrade_agents.domain.numbers import total as total_of
from crowetrade_cli.results.curves import Curve, currencies, total
from crowetrade_cli.results.result import Fill, Result, StrategyFacts
from crowetrade_cli.results.trips import RoundTrip, round_trips

MINUTE_NS = 60 * 1_000_000_000
HOUR_NS = 60 * MINUTE_NS
DAY_NS = 24 * HOUR_NS
YEAR_NS = 365.25 * DAY_NS
LONG_NS = 20 * DAY_NS
"""Runs that are longer have returns of days, and are compounded to a year."""


Money = Annotated[Decimal, PlainSerializer(render_money, return_type=str, when_used="json")]
"""Exact here; rounded where it is written."""


class Period(StrEnum):
    """What returns are taken of."""

    DAY = "day"
    HOUR = "hour"
    MINUTE = "minute"


_UNITS = {"days": DAY_NS, "hours": HOUR_NS, "minutes": MINUTE_NS}
PERIOD_NS = {Period.DAY: DAY_NS, Period.HOUR: HOUR_NS, Period.MINUTE: MINUTE_NS}


@dataclass(frozen=True, slots=True)
class Metrics:
    """Of one strategy, or of all whose capital has the same currency. Money in that currency; what was made in others
    is in `pnl_elsewhere` alone, by currency.

    Returns, drawdown and volatility are shares: 0.01 is one per cent; `max_drawdown` is negative and that of all
    samples. `turnover` is the traded notional divided by the mean equity, over the run; `exposure` is the mean of gross
    exposure divided by equity, `highest_exposure` the greatest. `hit_rate` is the share of `round_trips` that made
    money after fees. `capital_lost_ns` is the first sampled time at which equity was zero or less.
    """

    strategy: str | None
    currency: str
    capital: Money
    pnl: Money
    pnl_elsewhere: Mapping[str, Money]
    fees: Money
    total_return: float | None
    annual_return: float | None
    annual_volatility: float | None
    sharpe: float | None
    sortino: float | None
    calmar: float | None
    max_drawdown: float | None
    turnover: float | None
    exposure: float | None
    highest_exposure: float | None
    round_trips: int
    hit_rate: float | None
    fills: int
    orders_sent: int
    orders_filled: int
    orders_refused: int
    capital_lost_ns: int | None = None


@dataclass(frozen=True, slots=True)
class RunMetrics:
    """Each strategy in the order of the result, and one row for all of each currency, which has `strategy` None.
    `periods` is how many returns a strategy has."""

    period: Period
    periods: int
    periods_per_year: float | None
    strategies: tuple[Metrics, ...]
    totals: tuple[Metrics, ...]


def annualised_from(length_ns: int) -> str:
    """A sentence about ratios of so short a run; empty where it is long enough. The factor is the same for runs of the
    same length, so they may be ranked by them."""
    if length_ns > LONG_NS:
        return ""
    unit, size_ns = next(
        (unit, size_ns) for unit, size_ns in _UNITS.items() if length_ns >= 2 * size_ns or unit == "minutes"
    )
    return (
        f"Sharpe, Sortino and volatility are annualised from {max(round(length_ns / size_ns), 1)} {unit}: good to "
        "compare runs over the same stretch by, and no estimate of a year."
    )


def run_metrics(result: Result, curves: Mapping[tuple[str, str], Curve]) -> RunMetrics:
    """The figures of a result, whose curves are those of strategy_curves."""
    trips = list(round_trips(result))
    calendar = Calendar.of(next(iter(curves.values())).at_ns if curves else ())
    return RunMetrics(
        calendar.period,
        calendar.periods,
        calendar.per_year,
        tuple(_metrics(facts.id, [facts], result, curves, trips) for facts in result.strategies),
        tuple(
            _metrics(None, [facts for facts in result.strategies if facts.currency == currency], result, curves, trips)
            for currency in currencies(result.strategies)
        ),
    )


@dataclass(frozen=True, slots=True)
class Calendar:
    """How sampled times become periods. `ends` are the indices of the samples that returns are taken between."""

    period: Period
    ends: tuple[int, ...]
    years: float

    @staticmethod
    def of(at_ns: Sequence[int]) -> Calendar:
        """That of a curve which is sampled at these times, oldest first."""
        length = at_ns[-1] - at_ns[0] if at_ns else 0
        if length > LONG_NS:
            period = Period.DAY
        elif length > 20 * HOUR_NS:
            period = Period.HOUR
        else:
            period = Period.MINUTE
        number = [at // PERIOD_NS[period] for at in at_ns]
        last = [index for index in range(len(at_ns)) if index + 1 == len(at_ns) or number[index] != number[index + 1]]
        return Calendar(period, tuple(sorted({0, *last})) if last else (), length / YEAR_NS)

    @property
    def periods(self) -> int:
        """How many returns there are."""
        return max(len(self.ends) - 1, 0)

    @property
    def per_year(self) -> float | None:
        """How many periods a year like the curve has."""
        return self.periods / self.years if self.years else None


@dataclass(frozen=True, slots=True)
class _Ratios:
    annual_return: float | None = None
    annual_volatility: float | None = None
    sharpe: float | None = None
    sortino: float | None = None
    calmar: float | None = None
    max_drawdown: float | None = None


def _ratios(at_ns: Sequence[int], equity: Sequence[Decimal]) -> _Ratios:
    import empyrical
    import numpy as np

    calendar = Calendar.of(at_ns)
    if not calendar.per_year or min(equity) <= 0:
        return _Ratios()
    samples = np.array([float(value) for value in equity])
    every = samples[1:] / samples[:-1] - 1
    ends = samples[list(calendar.ends)]
    returns, per_year = ends[1:] / ends[:-1] - 1, calendar.per_year
    with np.errstate(all="ignore"):
        drawdown = _defined(empyrical.max_drawdown(every))
        several = _Ratios(max_drawdown=drawdown)
        if len(returns) >= 2:
            several = _Ratios(
                annual_volatility=_defined(empyrical.annual_volatility(returns, annualization=per_year)),
                sharpe=_defined(empyrical.sharpe_ratio(returns, annualization=per_year)),
                sortino=_defined(empyrical.sortino_ratio(returns, annualization=per_year)),
                max_drawdown=drawdown,
            )
        if calendar.period is not Period.DAY:
            return several
        # Growth does not depend on how it is sampled, so both have that of the whole curve.
        samples_per_year = len(every) / calendar.years
        return replace(
            several,
            annual_return=_defined(empyrical.annual_return(every, annualization=samples_per_year)),
            calmar=_defined(empyrical.calmar_ratio(every, annualization=samples_per_year)),
        )


def _defined(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _metrics(
    strategy: str | None,
    of: Sequence[StrategyFacts],
    result: Result,
    curves: Mapping[tuple[str, str], Curve],
    trips: Sequence[RoundTrip],
) -> Metrics:
    currency, names = of[0].currency, {facts.id for facts in of}
    capital = total_of(facts.capital for facts in of)
    curve = total(curves[name, currency] for name in sorted(names))
    equity = curve.equity(capital)
    elsewhere: dict[str, Decimal] = {}
    for (name, other), made in sorted(curves.items()):
        if name in names and other != currency:
            elsewhere[other] = CONTEXT.add(elsewhere.get(other, ZERO), made.pnl[-1])
    fills = [fill for fill in result.fills if fill.strategy in names]
    counted = [fill for fill in fills if fill.currency == currency]
    closed = [trip for trip in trips if trip.strategy in names]
    ratios = _ratios(curve.at_ns, equity)
    exposures = [float(gross / value) for gross, value in zip(curve.gross, equity, strict=True) if value > 0]
    return Metrics(
        strategy=strategy,
        currency=currency,
        capital=capital,
        pnl=curve.pnl[-1],
        pnl_elsewhere=elsewhere,
        fees=total_of(fill.fee for fill in counted),
        total_return=float(curve.pnl[-1] / capital) if capital else None,
        annual_return=ratios.annual_return,
        annual_volatility=ratios.annual_volatility,
        sharpe=ratios.sharpe,
        sortino=ratios.sortino,
        calmar=ratios.calmar,
        max_drawdown=ratios.max_drawdown,
        turnover=_turnover(counted, result, equity),
        exposure=math.fsum(exposures) / len(exposures) if exposures else None,
        highest_exposure=max(exposures, default=None),
        round_trips=len(closed),
        hit_rate=sum(trip.pnl > 0 for trip in closed) / len(closed) if closed else None,
        fills=len(fills),
        orders_sent=sum(facts.orders_sent for facts in of),
        orders_filled=sum(facts.orders_filled for facts in of),
        orders_refused=sum(facts.orders_refused for facts in of),
        capital_lost_ns=next((at for at, value in zip(curve.at_ns, equity, strict=True) if value <= 0), None),
    )


def _turnover(fills: Sequence[Fill], result: Result, equity: Sequence[Decimal]) -> float | None:
    mean = CONTEXT.divide(total_of(equity), Decimal(len(equity)))
    if mean <= 0:
        return None
    traded = (fill.quantity * fill.price * result.instruments[fill.venue, fill.symbol].multiplier for fill in fills)
    return float(total_of(traded) / mean)
