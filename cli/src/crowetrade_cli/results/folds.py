"""Walk-forward: parameters are chosen on one stretch of history and tested on the next, which they have not seen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from crowetrade_agents.domain.numbers import CONTEXT, ZERO
from crowetrade_cli.results.figures import BY_NAME, Figure, short_names, span
from crowetrade_cli.results.result import DECIMAL_DIGITS, DECIMAL_PLACES, LimitUse, Refused, Result, StrategyFacts
from crowetrade_cli.results.tables import plain_table

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Fold:
    """The parameters with the best `metric`, a name of FIGURES, in training, and the metric in training and in test.
    Ranges are nanoseconds since the Unix epoch."""

    train_first_ns: int
    train_last_ns: int
    test_first_ns: int
    test_last_ns: int
    parameters: Mapping[str, str]
    metric: str
    train: float | None
    test: float | None

    @property
    def figure(self) -> Figure:
        """How the metric is written."""
        return BY_NAME[self.metric]

    @property
    def trained_on(self) -> str:
        """The range for people."""
        return span(self.train_first_ns, self.train_last_ns)

    @property
    def tested_on(self) -> str:
        """The range for people."""
        return span(self.test_first_ns, self.test_last_ns)


def folds_table(folds: Sequence[Fold]) -> Table:
    """A row per fold."""
    short = short_names(list(folds[0].parameters))
    title = f"Folds, by {folds[0].figure.label}"
    table = plain_table(title, "Trained on", "Tested on", *short.values(), "In training", "In test")
    for column in table.columns[:2]:
        column.justify, column.no_wrap = "left", False
    for fold in folds:
        values = (fold.parameters[name] for name in short)
        shown = (fold.figure.text(fold.train), fold.figure.text(fold.test))
        table.add_row(*map(Text, (fold.trained_on, fold.tested_on, *values, *shown)))
    return table


def joined(results: Sequence[Result]) -> Result:
    """The tests of folds as one run: what each made is added to what those before it made.

    Every test begins flat, with the capital of the manifest: what is held at the end of one is valued at its last mark,
    and gains are not put to work in the next. Instruments, code and manifests are those of
    the first.
    """
    first = results[0]
    return replace(
        first,
        strategies=tuple(_strategy(same) for same in zip(*(one.strategies for one in results), strict=True)),
        fills=tuple(fill for one in results for fill in one.fills),
        holdings=_holdings(results),
        refused=_refused(results),
        limits=_limits(results),
        data=tuple(dict.fromkeys(file for one in results for file in one.data)),
        last_ns=results[-1].last_ns,
        events=sum(one.events for one in results),
        wall_seconds=sum(one.wall_seconds for one in results),
        starts_ns=tuple(one.first_ns for one in results),
        fills_by_part=tuple(len(one.fills) for one in results),
    )


def _strategy(same: Sequence[StrategyFacts]) -> StrategyFacts:
    """A strategy over all tests, with the parameters that it had in each of them."""
    first, *others = same
    always = {
        name: value
        for name, value in first.parameters.items()
        if all(other.parameters.get(name) == value for other in others)
    }
    return replace(
        first,
        parameters=always,
        orders_sent=sum(facts.orders_sent for facts in same),
        orders_filled=sum(facts.orders_filled for facts in same),
        orders_refused=sum(facts.orders_refused for facts in same),
        charges=sum((facts.charges for facts in same), ZERO),
        problems=tuple(problem for facts in same for problem in facts.problems),
    )


def _holdings(results: Sequence[Result]) -> pa.Table:
    """All rows, with the cash of each raised by what the tests before it made in the end."""
    import pyarrow as pa
    import pyarrow.compute as pc

    money = pa.decimal128(DECIMAL_DIGITS, DECIMAL_PLACES)
    # One digit less, for the sum of two of them has one more.
    term = pa.decimal128(DECIMAL_DIGITS - 1, DECIMAL_PLACES)
    made: dict[str, Decimal] = defaultdict(lambda: ZERO)
    parts = []
    for result in results:
        rows = result.holdings
        keys = [pc.cast(rows[name], pa.string()).combine_chunks() for name in ("strategy", "venue", "symbol")]
        key = pc.binary_join_element_wise(*keys, "\n").dictionary_encode()
        before = pa.array([made[name] for name in key.dictionary.to_pylist()], term).take(key.indices)
        cash = pc.add(pc.cast(rows["cash"], term), before)
        parts.append(
            rows.set_column(rows.schema.get_field_index("cash"), rows.schema.field("cash"), pc.cast(cash, money))
        )
        last = pc.equal(rows["at_ns"], pc.max(rows["at_ns"]))
        ends = zip(*(rows.filter(last)[name].to_pylist() for name in ("cash", "value")), strict=True)
        for name, (in_cash, in_value) in zip(key.filter(last.combine_chunks()).to_pylist(), ends, strict=True):
            made[name] = CONTEXT.add(made[name], CONTEXT.add(in_cash, in_value))
    return pa.concat_tables(parts).unify_dictionaries()


def _refused(results: Sequence[Result]) -> tuple[Refused, ...]:
    found: dict[tuple[str, ...], Refused] = {}
    for row in (row for result in results for row in result.refused):
        key = (row.strategy, row.venue, row.symbol, row.reason, row.risk_limit)
        earlier = found.get(key)
        found[key] = replace(earlier, count=earlier.count + row.count, last_ns=row.last_ns) if earlier else row
    return tuple(found.values())


def _limits(results: Sequence[Result]) -> tuple[LimitUse, ...]:
    found: dict[tuple[str, ...], LimitUse] = {}
    for row in (row for result in results for row in result.limits):
        key = (row.risk_limit, row.limit, row.key, row.allowed)
        earlier = found.get(key, replace(row, refused=0))
        highest = max(earlier.highest, row.highest, key=Decimal)
        found[key] = replace(earlier, highest=highest, refused=earlier.refused + row.refused)
    return tuple(found.values())
