"""report.html: one run for whoever has to judge it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from itertools import pairwise
from statistics import median

from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_agents.domain.numbers import total as total_of
from crowetrade_cli.results.chart import Chart, Line, Mark, bar_chart, line_chart
from crowetrade_cli.results.curves import Curve, InstrumentCurve, currencies, instrument_curves, total
from crowetrade_cli.results.figures import FIGURES, labels, money, short_names, utc
from crowetrade_cli.results.folds import Fold
from crowetrade_cli.results.metrics import HOUR_NS, RunMetrics, annualised_from
from crowetrade_cli.results.pages import render
from crowetrade_cli.results.result import Fill, LimitUse, Result
from crowetrade_cli.results.sweep import LISTED_ROWS, RefusedRow
from crowetrade_cli.results.tables import all_label
from crowetrade_cli.results.trips import RoundTrip, round_trips

DRAWN_STRATEGIES = 8
DRAWN_INSTRUMENTS = 12
HOURS = 24


@dataclass(frozen=True, slots=True)
class InstrumentRow:
    """What was made with an instrument, over all strategies, in its currency. `part` compares it, in per cent, with the
    instrument of the same currency that made or lost most."""

    label: str
    currency: str
    pnl: Decimal
    part: float
    fees: Decimal
    traded: Decimal
    fills: int


@dataclass(frozen=True, slots=True)
class LimitRow:
    """`part` is the highest use in per cent of what is allowed, None where either is no number."""

    use: LimitUse
    part: float | None


def report_page(
    result: Result,
    metrics: RunMetrics,
    curves: Mapping[tuple[str, str], Curve],
    folds: Sequence[Fold] = (),
    refused: Sequence[RefusedRow] = (),
) -> str:
    """The page of a run, or of the joined tests of folds, with the combinations among which they could not choose."""
    instruments = instrument_curves(result)
    names = labels([facts.id for facts in result.strategies])
    venues = labels(sorted({venue for venue, _ in result.instruments}))
    return render(
        "report.html.jinja",
        result=result,
        metrics=metrics,
        figures=FIGURES,
        all_label=all_label,
        names=names,
        venues=venues,
        folds=folds,
        refused=refused,
        listed=LISTED_ROWS,
        fold_names=short_names(list(folds[0].parameters)) if folds else {},
        warnings=warnings_of(result, metrics),
        money_charts=_money_charts(result, curves, metrics, names),
        instruments=_instrument_rows(result, instruments, venues),
        hour_charts=_hour_charts(result, instruments),
        price_charts=_price_charts(result, instruments, venues),
        limits=limit_rows(result.limits),
    )


def limit_rows(limits: Sequence[LimitUse]) -> list[LimitRow]:
    """Those that refused most first, then those that came nearest."""
    rows = [LimitRow(use, _part(use)) for use in limits]
    return sorted(rows, key=lambda row: (-row.use.refused, -(row.part or 0), row.use.risk_limit, row.use.limit))


def _part(use: LimitUse) -> float | None:
    try:
        return float(Decimal(use.highest) / Decimal(use.allowed)) * 100
    except (InvalidOperation, ZeroDivisionError):
        return None


def warnings_of(result: Result, metrics: RunMetrics) -> list[str]:
    """What a reader of the figures has to know first, a sentence each."""
    names = labels([facts.id for facts in result.strategies])
    sentences = []
    for facts in result.strategies:
        for problem in facts.problems:
            times = "once" if problem.count == 1 else f"{problem.count:,} times"
            sentences.append(
                f"{names[facts.id]}: {problem.reason} {times}, first at {utc(problem.first_ns)}: {problem.message}"
            )
        if not facts.orders_sent and not facts.problems:
            sentences.append(f"{names[facts.id]} sent no order: its model, its entry gate or its size asked for none.")
        if facts.charges:
            sentences.append(
                f"{names[facts.id]} was charged {money(facts.charges)} for what it held (funding and rollover): that "
                "is in PnL and not in Fees, which are those of executions."
            )
    sentences += [
        f"{names[row.strategy or '']} had lost all its capital at {utc(row.capital_lost_ns)}: no account would have "
        "carried what came after, and ratios are undefined. A RiskLimit with maxDrawdown stops it before that."
        for row in metrics.strategies
        if row.capital_lost_ns is not None
    ]
    left_out = [
        f"{file.left_out:,} rows of {file.name}{f' ({file.symbol})' if file.symbol else ''}, counted over the "
        "whole recording, are no market and were left out: a bid above its offer, or a price or size of a trade that "
        "is not above 0."
        for file in result.data
        if file.left_out
    ]
    # The tests of folds are over the same files.
    sentences += dict.fromkeys(left_out)
    elsewhere = [
        f"{names[row.strategy or '']} {money(value)} {currency}"
        for row in metrics.strategies
        for currency, value in row.pnl_elsewhere.items()
    ]
    if elsewhere:
        sentences.append(
            "No exchange rate is known here, so what strategies made in instruments of another currency than that of "
            f"their capital is in no figure and in no equity curve of theirs: {', '.join(elsewhere)}."
        )
    if len(metrics.totals) > 1:
        listed = ", ".join(row.currency for row in metrics.totals)
        sentences.append(f"The strategies' capital is in {listed}: there is a sum for each, and none of all.")
    short = annualised_from(result.last_ns - result.first_ns)
    if short and any(row.annual_volatility is not None for row in metrics.totals):
        sentences.append(short)
    return sentences


def _money_charts(
    result: Result, curves: Mapping[tuple[str, str], Curve], metrics: RunMetrics, names: Mapping[str, str]
) -> list[tuple[str, list[Chart]]]:
    charts = []
    for currency in currencies(result.strategies):
        of = [facts for facts in result.strategies if facts.currency == currency]
        curve = total(curves[facts.id, currency] for facts in of)
        equity = [float(value) for value in curve.equity(total_of(facts.capital for facts in of))]
        drawn = [
            line_chart(f"Equity, {currency}", curve.at_ns, [Line("Equity", equity)]),
            line_chart("Drawdown", curve.at_ns, [Line("Drawdown", drawdown(equity))], form="percent", filled=True),
        ]
        if len(of) > 1:
            drawn.append(_by_strategy(currency, curve.at_ns, {names[f.id]: curves[f.id, currency] for f in of}))
        exposure = [Line("Gross", [float(value) for value in curve.gross])]
        exposure.append(Line("Net", [float(value) for value in curve.net]))
        drawn.append(line_chart(f"Exposure, {currency}", curve.at_ns, exposure))
        charts.append((currency, drawn))
    return charts


def _by_strategy(currency: str, at_ns: Sequence[int], curves: Mapping[str, Curve]) -> Chart:
    most = sorted(curves, key=lambda name: -abs(curves[name].pnl[-1]))[:DRAWN_STRATEGIES]
    note = f"The {len(most)} of {len(curves)} strategies that made or lost most." if len(most) < len(curves) else ""
    lines = [Line(name, [float(value) for value in curves[name].pnl]) for name in most]
    return line_chart(f"PnL by strategy, {currency}", at_ns, lines, note=note)


def drawdown(equity: Sequence[float]) -> list[float]:
    """At each time the share by which equity is below its highest so far: zero or negative."""
    highest, shares = equity[0], []
    for value in equity:
        highest = max(highest, value)
        shares.append(value / highest - 1 if highest > 0 else 0.0)
    return shares


def _instrument_rows(
    result: Result, instruments: Sequence[InstrumentCurve], venues: Mapping[str, str]
) -> list[InstrumentRow]:
    fills = _fills_by_instrument(result)
    most: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for curve in instruments:
        most[curve.currency] = max(most[curve.currency], abs(curve.pnl[-1]))
    return [
        InstrumentRow(
            f"{venues[curve.venue]}/{curve.symbol}",
            curve.currency,
            curve.pnl[-1],
            float(abs(curve.pnl[-1]) / most[curve.currency]) * 100 if curve.pnl[-1] else 0.0,
            total_of(fill.fee for fill in fills[curve.venue, curve.symbol]),
            total_of(_notional(fill, result) for fill in fills[curve.venue, curve.symbol]),
            len(fills[curve.venue, curve.symbol]),
        )
        for curve in instruments
    ]


def _fills_by_instrument(result: Result) -> dict[tuple[str, str], list[Fill]]:
    fills: dict[tuple[str, str], list[Fill]] = defaultdict(list)
    for fill in result.fills:
        fills[fill.venue, fill.symbol].append(fill)
    return fills


def _notional(fill: Fill, result: Result) -> Decimal:
    multiplier = result.instruments[fill.venue, fill.symbol].multiplier
    return CONTEXT.multiply(CONTEXT.multiply(fill.quantity, fill.price), multiplier)


def _hour_charts(result: Result, instruments: Sequence[InstrumentCurve]) -> list[Chart]:
    charts = []
    for currency in sorted({curve.currency for curve in instruments}):
        curves = [curve for curve in instruments if curve.currency == currency]
        if _typically_apart(curves[0].at_ns) <= HOUR_NS:
            hours = pnl_by_hour(curves)
            note = "What positions made, counted in the hour in which it is sampled, on the hour in the one before."
        else:
            traded = {(curve.venue, curve.symbol) for curve in curves}
            hours = closed_by_hour([trip for trip in round_trips(result) if (trip.venue, trip.symbol) in traded])
            note = "What trades made, by the hour in which they were closed: samples are more than an hour apart."
        bars = [(f"{hour:02}", float(value)) for hour, value in enumerate(hours)]
        charts.append(bar_chart(f"PnL by hour of day (UTC), {currency}", bars, note=note, every=3))
    return charts


def _typically_apart(at_ns: Sequence[int]) -> float:
    """The median time between samples, 0 of a single one."""
    return median([later - at for at, later in pairwise(at_ns)] or [0])


def pnl_by_hour(curves: Sequence[InstrumentCurve]) -> list[Decimal]:
    """What was made in each hour of the day, UTC, by the time of the sample that first shows it. A sample on the hour
    shows what was made before it: bars of an hour end there."""
    hours = [ZERO] * HOURS
    for curve in curves:
        before = ZERO
        for at_ns, pnl in zip(curve.at_ns, curve.pnl, strict=True):
            hour = (at_ns - 1) // HOUR_NS % HOURS
            hours[hour] = CONTEXT.add(hours[hour], CONTEXT.subtract(pnl, before))
            before = pnl
    return hours


def closed_by_hour(trips: Sequence[RoundTrip]) -> list[Decimal]:
    """What round trips made, by the hour of the day, UTC, in which they were closed."""
    hours = [ZERO] * HOURS
    for trip in trips:
        hour = trip.closed_ns // HOUR_NS % HOURS
        hours[hour] = CONTEXT.add(hours[hour], trip.pnl)
    return hours


def _price_charts(
    result: Result, instruments: Sequence[InstrumentCurve], venues: Mapping[str, str]
) -> tuple[list[Chart], int]:
    """Of the instruments that were traded most often, and of how many no chart is drawn."""
    fills = _fills_by_instrument(result)
    traded = [curve for curve in instruments if fills[curve.venue, curve.symbol]]
    traded.sort(key=lambda curve: -len(fills[curve.venue, curve.symbol]))
    charts = [_price_chart(curve, fills[curve.venue, curve.symbol], venues) for curve in traded[:DRAWN_INSTRUMENTS]]
    return charts, len(traded) - len(charts)


def _price_chart(curve: InstrumentCurve, fills: Sequence[Fill], venues: Mapping[str, str]) -> Chart:
    marks = [Mark(fill.at_ns, float(fill.price), fill.side, float(fill.quantity)) for fill in fills]
    shown = with_a_market(curve.mark)
    price = [None if mark is None else float(mark) for mark in curve.mark[shown]]
    title = f"{venues[curve.venue]}/{curve.symbol}, {curve.currency}"
    chart = line_chart(title, curve.at_ns[shown], [Line("Price", price)], marks=marks)
    if len(chart.marks) == len(marks):
        return chart
    return replace(chart, note=f"{len(chart.marks)} of {len(marks):,} fills are drawn, the largest of each stretch.")


def with_a_market(marks: Sequence[Decimal | None]) -> slice:
    """From the sample before the first change of the mark to the one after the last: instruments of one run may have
    recordings of different years."""
    changes = [index for index in range(1, len(marks)) if marks[index] != marks[index - 1]]
    return slice(changes[0] - 1, changes[-1] + 2) if changes else slice(None)
