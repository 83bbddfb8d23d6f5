"""What makes market data unusable, as sentences."""

from __future__ import annotations

from crowetrade_cli.data.checks import SymbolChecks
from crowetrade_cli.data.reading import Reading
from crowetrade_cli.data.report import instant
from crowetrade_cli.errors import Failed


def refuse_unreadable(reading: Reading, otherwise: str) -> None:
    """Raises Failed when rows could not be read. `otherwise` is what to do but repair the file."""
    if reading.bad:
        rows = "1 row" if reading.bad == 1 else f"{reading.bad} rows"
        raise Failed(f"{rows} cannot be read, first {reading.first_bad}: repair the file, or {otherwise}")


def refuse_empty(reading: Reading) -> None:
    """Raises Failed when there is no row."""
    if not reading.rows:
        names = ", ".join(sample.source.shown for sample, _ in reading.sources[:3])
        raise Failed(f"{names}: no rows of {reading.kind}; name a file with market data")


def disorder_sentence(checks: SymbolChecks) -> str:
    """What is out of order."""
    first = checks.disorder.first
    assert first is not None, "asked only of what is out of order"
    of = f" of {checks.symbol}" if checks.symbol else ""
    rows = f"1 row{of} goes" if checks.disorder.count == 1 else f"{checks.disorder.count} rows{of} go"
    return f"{rows} back in time, first row {first.row} at {instant(first.ts_ns)}"
