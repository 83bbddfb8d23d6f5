"""What `crowetrade data inspect` does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import typer

from crowetrade_cli.commands.data.progress import with_progress
from crowetrade_cli.commands.data.refusals import disorder_sentence, refuse_empty, refuse_unreadable
from crowetrade_cli.data.checks import Checks
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.reading import Reading, open_reading
from crowetrade_cli.data.report import as_json, lines
from crowetrade_cli.errors import Failed


def inspect_files(
    files: Sequence[Path], format_name: str, options: ReadOptions, gap_ns: int, outlier: float, as_document: bool
) -> None:
    """Prints what the files hold, as text or as a JSON document. Raises Failed when a venue could not replay them."""
    reading = open_reading(files, format_name, options)
    checks = Checks(reading.kind, gap_ns, outlier)
    for rows in with_progress(reading.batches()):
        checks.take(rows)
    typer.echo(_as_json(reading, checks) if as_document else _as_text(reading, checks))
    refuse_unreadable(reading, "convert it with --skip-bad-rows")
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
    return json.dumps(
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
