"""Any delimited text, by what the user says of its columns: `--columns time=Date,close="Adj Close"`.

The names are those of docs/data.md, `time` for ts_ns, and `bid`, `ask` for bid_px and ask_px. A column is named as the
header has it, or by its number from 1 where there is no header. A time out of two columns is `time=Date+Time`. Which
columns there are makes the kind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from crowetrade_cli.data.formats.columns import (
    BOOK_SIDES,
    TRADE_SIDES,
    UPDATES,
    Choice,
    Column,
    Integer,
    Number,
    Text,
    Time,
)
from crowetrade_cli.data.formats.csv_format import csv_reader, text_encoding
from crowetrade_cli.data.kinds import COLUMNS, PRICES, REQUIRED, SIZES, kind_of
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.parts import Reader
from crowetrade_cli.data.sample import Sample
from crowetrade_cli.errors import WrongUse

NAME = "csv"
_SHORT = {"time": "ts_ns", "bid": "bid_px", "ask": "ask_px", "bid_size": "bid_sz", "ask_size": "ask_sz"}
_MAY_BE_DATE = re.compile(r"(19|20)[0-9]{2}(0[1-9]|1[0-2])([0-2][0-9]|3[01])([0-9]{4}|[0-9]{6})?")
_CALLED = {"ts_ns": "time"}


@dataclass(frozen=True, slots=True)
class _Any:
    name: str
    title: str

    def recognises(self, sample: Sample) -> bool:
        return False

    def reader(self, sample: Sample, options: ReadOptions) -> Reader:
        text_encoding(sample)
        names = sample.header or tuple(str(number) for number in range(1, sample.width + 1))
        if not options.columns:
            raise WrongUse(
                f"{sample.source.shown} has {_shown(sample, names)}: say what they are, "
                f'as --columns time="{names[0] if names else "Date"}",close=...'
            )
        wanted = {_SHORT.get(name, name): source for name, source in options.columns.items()}
        known = {name for columns in COLUMNS.values() for name in columns} | {"symbol"}
        for name, source in wanted.items():
            if name not in known:
                raise WrongUse(f"--columns has {name}: write time, symbol or a column of docs/data.md")
            missing = [part for part in _sources(source, names) if part not in names]
            if missing:
                raise WrongUse(f"--columns has {missing[0]}, {sample.source.shown} has {_shown(sample, names)}")
        kind = kind_of(set(wanted))
        if kind is None:
            raise WrongUse(f"--columns must name those of one kind: {_kinds()}")
        strange = set(wanted) - set(COLUMNS[kind]) - {"symbol"}
        if strange:
            raise WrongUse(f"--columns has {', '.join(sorted(strange))}, which {kind} have not: leave it out")
        return csv_reader(
            kind,
            {name: _column(kind, name, source, sample, names, options) for name, source in wanted.items()},
            tuple(names),
            sample,
            options,
        )


def _sources(source: str, names: Sequence[str]) -> tuple[str, ...]:
    return (source,) if source in names else tuple(part.strip() for part in source.split("+"))


def _column(kind: str, name: str, source: str, sample: Sample, names: tuple[str, ...], options: ReadOptions) -> Column:
    if name in {"ts_ns", "exch_ts_ns"}:
        sources = _sources(source, names)
        places = [names.index(part) for part in sources]
        values = [" ".join(row[place].strip() for place in places) for row in sample.rows if len(row) == len(names)]
        return Time(sources, _time_formats(values, options))
    if name in PRICES or name in SIZES:
        return Number(source)
    if name == "side":
        return Choice(source, TRADE_SIDES if kind == "trades" else BOOK_SIDES)
    if name == "update":
        return Choice(source, UPDATES)
    return Text(source) if name in {"trade_id", "symbol"} else Integer(source)


def _time_formats(values: Sequence[str], options: ReadOptions) -> tuple[str, ...]:
    """None for times that are counted; ISO 8601 for others, unless the user says it otherwise. Raises WrongUse where
    digits may be a date as well as a count."""
    dates = [value for value in values if _MAY_BE_DATE.fullmatch(value)]
    if dates and not options.unit and not options.time_format:
        raise WrongUse(f"{dates[0]} may be a date or a count since 1970: write --time-format %Y%m%d or --unit s")
    counted = sum(value.replace(".", "", 1).isdigit() for value in values)
    return () if counted * 2 > len(values) else ("iso",)


def _shown(sample: Sample, names: tuple[str, ...]) -> str:
    if sample.header is None:
        return f"{len(names)} columns without header, named 1 to {len(names)}"
    return f"the columns {', '.join(names[:20])}"


def _kinds() -> str:
    return "; ".join(
        f"{kind} have {', '.join(_CALLED.get(name, name) for name in names)}" for kind, names in REQUIRED.items()
    )


FORMATS = (_Any(NAME, "any delimited text, with --columns"),)
