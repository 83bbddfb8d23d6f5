"""One run over history, from a plan to its result."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from time import perf_counter

from crowetrade_agents.runtime.backtest.gateway import History
from crowetrade_agents.runtime.backtest.run import Backtest
from crowetrade_agents.runtime.backtest.strategy import BacktestStrategy
from crowetrade_agents.runtime.venue import instruments_of
from crowetrade_cli.backtest.collect import Collector
from crowetrade_cli.backtest.hashes import model_name, of_code, of_file, of_manifest, parameters_of
from crowetrade_cli.backtest.plan import Plan, Recordings
from crowetrade_cli.errors import Failed
from crowetrade_cli.results.result import DataFile, InstrumentFacts, ProblemFacts, Result, StrategyFacts

SAMPLES = 2_000
"""Times at which what is held is looked at, but at least once a day."""
_DAY_NS = 86_400_000_000_000
_EVENTS_PER_LOOK = 1_000

Progress = Callable[[float], None]
"""Called now and then with the share that is done, 0 to 1."""


@dataclass(frozen=True, slots=True)
class Range:
    """Venue time in nanoseconds since the Unix epoch, from `from_ns` up to and without `to_ns`."""

    from_ns: int
    to_ns: int


WHOLE = Range(0, 2**62)


def span_of(histories: list[History], asked: Range) -> Range:
    """The part of a range in which market data comes: from the first event on until the last one has arrived. Raises
    Failed when there is none."""
    firsts, lasts = [], []
    for history in histories:
        times = history.replay.times
        first, end = bisect_left(times, asked.from_ns), bisect_left(times, asked.to_ns)
        if first < end:
            firsts.append(times[first])
            lasts.append(times[end - 1] + history.spec.market_data_latency_ns)
    if not firsts:
        raise Failed("no recording has market data in that range: see what they hold with `crowetrade data inspect`")
    return Range(min(firsts), min(max(lasts) + 1, asked.to_ns))


def run(plan: Plan, recordings: Recordings, asked: Range, progress: Progress | None = None) -> Result:
    """Raises DataError and ConfigurationError, and Failed when there is nothing to run on."""
    began = perf_counter()
    histories = [recordings.of(file) for file in plan.traded]
    span = span_of(histories, asked)
    collector = Collector({file.name: file.namespace for file in plan.traded}, plan.strategies)
    backtest = Backtest(
        [(history, plan.configurations[history.file.name]) for history in histories],
        plan.strategies,
        collector.recorded,
        span.from_ns,
        span.to_ns,
    )
    collector.sample(backtest, span.from_ns)
    length = span.to_ns - span.from_ns
    step_ns = min(length // SAMPLES + 1, _DAY_NS)
    due_ns, events, looked, at_ns = span.from_ns + step_ns, 0, 0, span.from_ns
    for at_ns, handled in backtest.run():
        events += handled
        if at_ns >= due_ns:
            collector.sample(backtest, at_ns)
            due_ns += ((at_ns - due_ns) // step_ns + 1) * step_ns
        if progress is not None and events - looked >= _EVENTS_PER_LOOK:
            looked = events
            progress((at_ns - span.from_ns) / length)
    collector.sample(backtest, at_ns)
    return Result(
        strategies=tuple(_strategy(backtest, collector, one) for one in backtest.strategies),
        instruments={
            (f"{history.file.namespace}/{name.venue}", name.symbol): InstrumentFacts(
                instrument.multiplier, instrument.currency
            )
            for history in histories
            for name, instrument in instruments_of(history.file).items()
        },
        fills=tuple(collector.fills),
        holdings=collector.holdings.table(),
        refused=collector.refused,
        limits=collector.limits,
        data=tuple(file for history in histories for file in _data(history, span)),
        code=of_code(plan.strategies),
        manifests=tuple(of_manifest(manifest, plan.namespace) for manifest in plan.manifests),
        first_ns=span.from_ns,
        last_ns=at_ns,
        events=events,
        wall_seconds=perf_counter() - began,
        starts_ns=(span.from_ns,),
    )


def _strategy(backtest: Backtest, collector: Collector, strategy: BacktestStrategy) -> StrategyFacts:
    file = strategy.file
    counters = [
        counted
        for venue in file.venues
        if (counted := backtest.gateways[venue].gateway.state.books.counters.get(file.name_at(venue))) is not None
    ]
    return StrategyFacts(
        namespace=file.namespace,
        name=file.name,
        model=model_name(file),
        parameters=parameters_of(file),
        capital=Decimal(file.spec.capital.amount),
        currency=file.spec.capital.currency,
        orders_sent=sum(counted.sent for counted in counters),
        orders_filled=sum(counted.filled for counted in counters),
        orders_refused=sum(counted.rejected for counted in counters),
        charges=collector.charges[f"{file.namespace}/{file.name}"],
        problems=tuple(ProblemFacts(one.reason, one.message, one.count, one.first_ns) for one in strategy.problems),
    )


def _data(history: History, span: Range) -> list[DataFile]:
    """Of a file with several instruments there is an entry for each that the manifest names by its symbol; one without
    a symbol is of all that the file's own column names."""
    venue = f"{history.file.namespace}/{history.file.name}"
    found = []
    for recording, named in zip(history.spec.recordings, history.file.recordings, strict=True):
        name = named.sample or named.path
        same = [other.symbol for other in history.spec.recordings if other.path == recording.path]
        listed = [item.symbol for item in history.file.spec.instruments]
        symbols = [recording.symbol] if recording.symbol else [symbol for symbol in listed if symbol not in same]
        to_ns = span.to_ns - history.spec.market_data_latency_ns
        rows = sum(history.replay.rows(recording.path, symbol, span.from_ns, to_ns) for symbol in symbols)
        left_out = sum(history.replay.left_out(recording.path, symbol) for symbol in symbols)
        found.append(DataFile(venue, recording.symbol, name, of_file(recording.path), rows, left_out))
    return found
