"""`crowetrade data inspect`: what a file of market data holds, and what is odd about it."""

from __future__ import annotations

import json as json_text
from typing import Annotated

import typer

from crowetrade_cli.commands.data.options import (
    Columns,
    DecimalMark,
    Encoding,
    Files,
    From,
    Gap,
    Interval,
    Member,
    MultiplySizes,
    Outlier,
    PriceDigits,
    Separator,
    Side,
    SkipLines,
    TimeFormat,
    Unit,
    Zone,
    disorder_sentence,
    parse_length,
    read_options,
    refuse_empty,
    refuse_unreadable,
)
from crowetrade_cli.commands.data.progress import with_progress
from crowetrade_cli.data.checks import Checks
from crowetrade_cli.data.reading import Reading, open_reading
from crowetrade_cli.data.report import as_json, lines
from crowetrade_cli.errors import Failed


def inspect(
    files: Files,
    format_name: From = "",
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
    gap: Gap = "60s",
    outlier_percent: Outlier = 10.0,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show rows, range, gaps, duplicates, disorder, crossed quotes, outliers and zero sizes of market data.

    Exits with 1, and a sentence, when a venue could not replay it as it is: rows that cannot be read, or out of order.
    """
    options = read_options(
        columns=columns,
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
        interval=interval,
        multiply_sizes=multiply_sizes,
    )
    gap_ns = parse_length("--gap", gap)
    reading = open_reading(files, format_name, options)
    checks = Checks(reading.kind, gap_ns, outlier_percent / 100)
    for rows in with_progress(reading.batches()):
        checks.take(rows)
    typer.echo(_as_json(reading, checks) if json else _as_text(reading, checks))
    refuse_unreadable(reading)
    refuse_empty(reading)
    if disordered := checks.disorder:
        raise Failed(f"{disorder_sentence(disordered)}: convert it with --sort")


def _as_text(reading: Reading, checks: Checks) -> str:
    blocks = [[("format", f"{reading.format} ({reading.kind})"), *reading.found.items()]]
    if reading.bad:
        blocks[0].append(("rows that cannot be read", f"{reading.bad}, first {reading.first_bad}"))
    if reading.empty:
        blocks[0].append(("rows without a value", str(reading.empty)))
    for symbol, found in checks.by_symbol.items():
        blocks.append([("symbol", symbol)] * bool(symbol) + list(lines(found)))
    width = max(len(name) for block in blocks for name, _ in block)
    return "\n\n".join("\n".join(f"{name:{width}}  {text}" for name, text in block) for block in blocks)


def _as_json(reading: Reading, checks: Checks) -> str:
    return json_text.dumps(
        {
            "format": reading.format,
            "kind": reading.kind,
            "found": dict(reading.found),
            "unreadable_rows": reading.bad,
            "first_unreadable": reading.first_bad,
            "empty_rows": reading.empty,
            "symbols": [as_json(found) for found in checks.by_symbol.values()],
        }
    )
