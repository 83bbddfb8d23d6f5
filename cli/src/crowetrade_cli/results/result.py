"""What a backtest leaves behind, as the engine hands it over: facts only, no figure that follows from them.

Times are nanoseconds of the simulated clock since the Unix epoch, UTC. Strategies and venues are named NAMESPACE/NAME
everywhere. Money is in the currency of the instrument and exact, up to the 18 decimal places that a column has.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING, Literal

from crowetrade_agents.domain.numbers import CONTEXT
from crowetrade_agents.roles.problems import Problem

if TYPE_CHECKING:
    import pyarrow as pa

Side = Literal["Buy", "Sell"]

DECIMAL_DIGITS, DECIMAL_PLACES = 38, 18
"""Of the columns that hold Decimals: decimal128(38, 18)."""
_STEP = Decimal(1).scaleb(-DECIMAL_PLACES)
_BATCH_ROWS = 50_000


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution. `quantity` is positive, in contracts; `fee` is in `currency`, negative when it is a rebate."""

    at_ns: int
    strategy: str
    venue: str
    symbol: str
    side: Side
    quantity: Decimal
    price: Decimal
    fee: Decimal
    currency: str
    cl_ord_id: str
    exec_id: str


@dataclass(frozen=True, slots=True)
class Holding:
    """What a strategy holds of one instrument at a sampled time.

    `position` is signed, in contracts. `cash` is what trading the instrument has brought since the start, less fees and
    funding. `mark` is None as long as the instrument has no price, and then `position` is 0. `value` is position x mark
    x multiplier.
    """

    at_ns: int
    strategy: str
    venue: str
    symbol: str
    position: Decimal
    cash: Decimal
    mark: Decimal | None
    value: Decimal


class Holdings:
    """Collects holdings, oldest time first, into columns: a run may have millions.

    At each sampled time there is one row for each instrument of each strategy. Samples are taken at the start (all
    zero), at the end, and in between only where market data came since the sample before, so that a weekend without a
    market has none.
    """

    def __init__(self) -> None:
        self._now_ns: int | None = None
        self._now: dict[tuple[str, str, str], Holding] = {}
        self._columns: list[list[object]] = [[] for _ in fields(Holding)]
        self._batches: list[pa.RecordBatch] = []

    def append(self, holding: Holding) -> None:
        """Adds a row; one of the same time and instrument is replaced by it. Raises ValueError for an earlier time than
        that of the row before."""
        if holding.at_ns != self._now_ns:
            if self._now_ns is not None and holding.at_ns < self._now_ns:
                raise ValueError(f"a holding at {holding.at_ns} comes after one at {self._now_ns}")
            self._put_down()
            self._now_ns = holding.at_ns
        self._now[holding.strategy, holding.venue, holding.symbol] = holding

    def table(self) -> pa.Table:
        """All rows, oldest first, with the columns of Holding. Numbers with more than 18 decimal places are rounded to
        18, half to even. Raises pyarrow.ArrowInvalid for one with more than 20 digits before the point."""
        import pyarrow as pa

        self._put_down()
        self._flush()
        return pa.Table.from_batches(self._batches, schema=holdings_schema()).unify_dictionaries()

    def _put_down(self) -> None:
        """Ends the time that is sampled now."""
        at_ns, strategy, venue, symbol, position, cash, mark, value = self._columns
        for holding in self._now.values():
            at_ns.append(holding.at_ns)
            strategy.append(holding.strategy)
            venue.append(holding.venue)
            symbol.append(holding.symbol)
            position.append(column_decimal(holding.position))
            cash.append(column_decimal(holding.cash))
            mark.append(None if holding.mark is None else column_decimal(holding.mark))
            value.append(column_decimal(holding.value))
        self._now.clear()
        if len(at_ns) >= _BATCH_ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa

        schema = holdings_schema()
        arrays = [pa.array(values, type=kind) for values, kind in zip(self._columns, schema.types, strict=True)]
        self._batches.append(pa.record_batch(arrays, schema=schema))
        for values in self._columns:
            values.clear()


def column_decimal(value: Decimal) -> Decimal:
    """The value with at most the places of a column."""
    exponent = value.as_tuple().exponent
    if isinstance(exponent, int) and exponent < -DECIMAL_PLACES:
        return value.quantize(_STEP, rounding=ROUND_HALF_EVEN, context=CONTEXT)
    return value


def holdings_schema() -> pa.Schema:
    """The columns of Holding."""
    import pyarrow as pa

    name, decimal = pa.dictionary(pa.int32(), pa.string()), pa.decimal128(DECIMAL_DIGITS, DECIMAL_PLACES)
    return pa.schema(
        [
            pa.field("at_ns", pa.int64(), nullable=False),
            pa.field("strategy", name, nullable=False),
            pa.field("venue", name, nullable=False),
            pa.field("symbol", name, nullable=False),
            pa.field("position", decimal, nullable=False),
            pa.field("cash", decimal, nullable=False),
            pa.field("mark", decimal),
            pa.field("value", decimal, nullable=False),
        ]
    )


@dataclass(frozen=True, slots=True)
class Refused:
    """Orders of one strategy and instrument that were refused for the same reason. `risk_limit` is the NAMESPACE/NAME
    of the RiskLimit, empty where another rule refused; `text` is what the strategy was told the first time."""

    strategy: str
    venue: str
    symbol: str
    reason: str
    risk_limit: str
    text: str
    count: int
    first_ns: int
    last_ns: int


@dataclass(frozen=True, slots=True)
class LimitUse:
    """How near one limit of a RiskLimit came to binding. `key` is what it is counted for; `allowed` and `highest` are
    decimals as text, `highest` is the greatest use of an approved order; `refused` counts orders."""

    risk_limit: str
    limit: str
    key: str
    allowed: str
    highest: str
    refused: int


@dataclass(frozen=True, slots=True)
class InstrumentFacts:
    """Notional in `currency` = quantity x price x `multiplier`."""

    multiplier: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class ProblemFacts:
    """What went wrong with a strategy: the reason as `kubectl` would show it, the first sentence, and how often."""

    reason: str
    message: str
    count: int
    first_ns: int


@dataclass(frozen=True, slots=True)
class StrategyFacts:
    """A strategy as its manifest has it, and what became of its orders. `charges` is what its positions were charged,
    funding and rollover: negative when received, in the currency of the instruments."""

    namespace: str
    name: str
    model: str
    parameters: Mapping[str, str]
    capital: Decimal
    currency: str
    orders_sent: int
    orders_filled: int
    orders_refused: int
    charges: Decimal = Decimal(0)
    problems: tuple[ProblemFacts, ...] = ()

    @property
    def id(self) -> str:
        """NAMESPACE/NAME, as fills and holdings name it."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class DataFile:
    """A recording that was replayed. `name` is that of the manifest; `rows` are its events inside the range of the run:
    of recorded depth one per time. `left_out` are the rows of all of it that cannot be traded with.
    """

    venue: str
    symbol: str
    name: str
    sha256: str
    rows: int
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Code:
    """What computed the result: `version` and `sha256` are those of CroweTrade, `models` has the hash of each model."""

    version: str
    sha256: str
    models: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ManifestHash:
    """A manifest as it was read, overrides applied."""

    kind: str
    namespace: str
    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Result:
    """One run over history. `holdings` is what Holdings.table returns; `instruments` is keyed by venue and symbol.

    `starts_ns` are the times, in order, at which every strategy began flat: that of the start, and in runs that were
    joined that of each part. `fills_by_part` is how many of the fills each of these parts has, empty where there is one
    part: by its time a fill may lie in the next part, because its order took its latency.
    """

    strategies: tuple[StrategyFacts, ...]
    instruments: Mapping[tuple[str, str], InstrumentFacts]
    fills: tuple[Fill, ...]
    holdings: pa.Table
    refused: tuple[Refused, ...]
    limits: tuple[LimitUse, ...]
    data: tuple[DataFile, ...]
    code: Code
    manifests: tuple[ManifestHash, ...]
    first_ns: int
    last_ns: int
    events: int
    wall_seconds: float
    starts_ns: tuple[int, ...] = field(default=())
    fills_by_part: tuple[int, ...] = field(default=())

    @property
    def model_failure(self) -> str:
        """The first strategy whose model raised an error or returned what cannot be used, and its sentence; empty when
        none did."""
        failures = (
            f"{facts.id}: {problem.message}"
            for facts in self.strategies
            for problem in facts.problems
            if problem.reason == Problem.MODEL_FAILING
        )
        return next(failures, "")
