"""Options about files that `inspect` and `convert` share, as they are typed and as they are meant.

This module and those of the commands import Arrow only when a command runs: every command of the program loads them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any

import typer

from crowetrade_agents.domain.numbers import parse
from crowetrade_agents.errors import InvalidNumber
from crowetrade_cli.data.options import MARKS, UNITS, ReadOptions
from crowetrade_cli.errors import WrongUse

Files = Annotated[
    list[Path],
    typer.Argument(help="Files of one format, in the order of time; also compressed (zip, gzip, zstd, bzip2, xz)."),
]
From = Annotated[
    str, typer.Option("--from", metavar="FORMAT", help="The format (crowetrade data formats); by default recognised.")
]
Columns = Annotated[
    str,
    typer.Option(
        metavar="OURS=THEIRS,...", help='Columns of any other CSV: time=Date,close="Adj Close",volume=Volume.'
    ),
]
TimeFormat = Annotated[str, typer.Option(metavar="FORMAT", help="How times are written, as %d.%m.%Y %H:%M:%S.")]
Unit = Annotated[str, typer.Option(help="What times since 1970 are counted in: s, ms, us or ns.")]
Zone = Annotated[str, typer.Option("--tz", metavar="ZONE", help="The time zone of local times, as America/New_York.")]
DecimalMark = Annotated[str, typer.Option("--decimal", help="The decimal mark: point or comma.")]
Separator = Annotated[str, typer.Option(help='Between columns: one character, or "tab".')]
Encoding = Annotated[str, typer.Option(help="The text's encoding, as cp1252.")]
Member = Annotated[str, typer.Option(help="The file to read of a zip archive.")]
SkipLines = Annotated[int, typer.Option(min=0, help="Lines before the header.")]
Side = Annotated[str, typer.Option(help="bid or ask: bars of this side, of a file with both.")]
PriceDigits = Annotated[
    int | None, typer.Option(min=0, max=10, help="Decimals of prices that are whole numbers (.bi5).")
]
Interval = Annotated[str, typer.Option(help="The length of bars, as 30s, 1m, 4h, 1d; by default their distance.")]
MultiplySizes = Annotated[str, typer.Option(metavar="FACTOR", help="Multiply sizes, as 1000000 for sizes in millions.")]
Gap = Annotated[str, typer.Option(help="A pause between quotes or trades that is a gap, as 60s, 5m.")]
Outlier = Annotated[
    float, typer.Option("--outlier-percent", min=0, help="A move of the price that is an outlier, in percent.")
]
_LENGTHS = {"ms": 1_000_000, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86_400 * 10**9}


def read_options(
    *,
    columns: Columns = "",
    time_format: TimeFormat = "",
    unit: Unit = "",
    zone: Zone = "",
    decimal_mark: DecimalMark = "",
    separator: Separator = "",
    encoding: Encoding = "",
    member: Member = "",
    skip_lines: SkipLines = 0,
    side: Side = "",
    price_digits: PriceDigits = None,
    interval: Interval = "",
    multiply_sizes: MultiplySizes = "1",
) -> ReadOptions:
    """Raises WrongUse with what to write instead."""
    _one_of("--unit", unit, tuple(UNITS))
    _one_of("--decimal", decimal_mark, tuple(MARKS))
    _one_of("--side", side, ("bid", "ask"))
    separator = {"tab": "\t", "\\t": "\t"}.get(separator, separator)
    if len(separator) > 1 or not separator.isascii() or (separator and separator in '"\r\n'):
        raise WrongUse(f"--separator {separator!r} is none: write one character of ASCII that is no quote, or tab")
    return ReadOptions(
        columns=parse_columns(columns),
        time_format=time_format,
        unit=unit,
        zone=zone,
        decimal_mark=decimal_mark,
        separator=separator,
        encoding=encoding,
        member=member,
        skip_lines=skip_lines,
        side=side,
        price_digits=price_digits,
        interval_ns=parse_length("--interval", interval) if interval else 0,
        size_factor=_factor(multiply_sizes),
    )


def takes_read_options(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the parameters of read_options in place of its parameter `options`."""
    own = [
        parameter for parameter in signature(command, eval_str=True).parameters.values() if parameter.name != "options"
    ]
    shared = signature(read_options, eval_str=True).parameters

    @wraps(command)
    def with_shared(**given: Any) -> None:
        options = read_options(**{name: given.pop(name) for name in shared})
        command(**given, options=options)

    parameters = [*own, *shared.values()]
    keyword = [parameter.replace(kind=Parameter.KEYWORD_ONLY) for parameter in parameters]
    with_shared.__signature__ = Signature(keyword)  # type: ignore[attr-defined]
    with_shared.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword}
    return with_shared


def parse_columns(text: str) -> dict[str, str]:
    """`time=Date,close="Adj Close"`, with or without the quotes, which are needed around a comma."""
    columns: dict[str, str] = {}
    # Quotes around the value alone are moved around the whole pair, where csv understands them.
    quoted = re.sub(r'(^|,)\s*([^,="]+)="((?:[^"]|"")*)"', r'\1"\2=\3"', text)
    try:
        pairs = next(csv.reader([quoted]), [])
    except csv.Error as error:
        raise WrongUse(f"--columns {text!r} cannot be read ({error}): write pairs as time=Date,close=Close") from error
    for pair in pairs:
        name, equals, source = pair.partition("=")
        if not equals or not name.strip() or not source.strip():
            raise WrongUse(f'--columns has {pair!r}: write pairs as time=Date,close="Adj Close"')
        if name.strip() in columns:
            raise WrongUse(f"--columns has {name.strip()} twice: name each once")
        columns[name.strip()] = source.strip()
    return columns


def parse_length(option: str, text: str) -> int:
    """A length of time in ns."""
    match = re.fullmatch(r"([1-9][0-9]{0,8})(ms|s|m|h|d)", text)
    if match is None:
        raise WrongUse(f"{option} {text} is no length of time: write 500ms, 30s, 1m, 4h or 1d")
    return int(match[1]) * _LENGTHS[match[2]]


def _factor(text: str) -> Decimal:
    try:
        factor = parse(text)
    except InvalidNumber as error:
        raise WrongUse(f"--multiply-sizes {error}") from error
    if factor <= 0:
        raise WrongUse("--multiply-sizes is not above 0: write a factor as 1000000")
    return factor


def _one_of(option: str, value: str, values: Sequence[str]) -> None:
    if value and value not in values:
        raise WrongUse(f"{option} {value} is not known: write {', '.join(values[:-1])} or {values[-1]}")
