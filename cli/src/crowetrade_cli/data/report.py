"""What checks found, as lines for people and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from crowetrade_cli.data.checks import Oddity, Place, SymbolChecks

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = (("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("min", 60_000_000_000), ("s", 1_000_000_000))


def instant(ts_ns: int) -> str:
    """A time in UTC, with as many decimals of its second as it has, in threes."""
    seconds, nanoseconds = divmod(ts_ns, 1_000_000_000)
    decimals = f"{nanoseconds:09d}".rstrip("0")
    decimals = decimals.ljust(-(-len(decimals) // 3) * 3, "0")
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%d %H:%M:%S}{'.' + decimals if decimals else ''} UTC"


def duration(ns: int) -> str:
    """A length of time in its largest unit: 48 h, 1.2 s, 250 ms."""
    for name, unit in _UNITS:
        if ns >= unit:
            return f"{ns / unit:.3g} {name}"
    return f"{ns / 1_000_000:.3g} ms"


def lines(checks: SymbolChecks) -> Iterator[tuple[str, str]]:
    """Name and text of everything that is to be said of one symbol, the odd only where it was seen."""
    yield "rows", str(checks.rows)
    yield "range", f"{instant(checks.first_ns)} to {instant(checks.last_ns)}"
    if checks.kind == "bars" and checks.interval_ns:
        yield "distance of bars", duration(checks.interval_ns)
    yield from _gaps(checks)
    for name, oddity in _oddities(checks).items():
        if oddity.count:
            yield name, f"{oddity.count}, first {_at(oddity.first)}"
    if checks.largest_move_at is not None:
        yield "largest move", f"{checks.largest_move:.2%} {_at(checks.largest_move_at)}"


def _gaps(checks: SymbolChecks) -> Iterator[tuple[str, str]]:
    longest = ""
    if checks.longest_gap is not None:
        longest = f"longest {duration(checks.longest_gap_ns)} after {instant(checks.longest_gap.ts_ns)}"
    if checks.kind == "bars":
        if checks.bar_gaps:
            yield "gaps", f"{checks.bar_gaps}, {checks.absent_bars} bars absent, {longest}"
    elif checks.gaps.count:
        yield f"gaps over {duration(checks.gap_ns)}", f"{checks.gaps.count}, {longest}"
    elif longest:
        yield "gaps", f"none over {duration(checks.gap_ns)}, {longest}"


def _oddities(checks: SymbolChecks) -> dict[str, Oddity]:
    deleted = "levels that end (size 0)" if checks.kind == "l2" else "zero sizes"
    found = {
        "out of order": checks.disorder,
        "repeated rows": checks.duplicates,
        "crossed quotes": checks.crossed,
        "locked quotes": checks.locked,
        "prices not above 0": checks.not_positive,
        "broken bars (high or low not the extreme)": checks.broken_bars,
        deleted: checks.zero_sizes,
        "negative sizes": checks.negative_sizes,
        f"outliers (moves over {checks.outlier:.0%})": checks.outliers,
    }
    return found if checks.kind == "l2" else {"same time as the row before": checks.same_time, **found}


def _at(place: Place | None) -> str:
    if place is None:
        return ""
    return f"in row {place.row}{' (' + place.what + ')' if place.what else ''} at {instant(place.ts_ns)}"


def as_json(checks: SymbolChecks) -> dict[str, object]:
    """Counts and places of one symbol; times are nanoseconds."""
    named = {
        "out_of_order": checks.disorder,
        "same_time": checks.same_time,
        "repeated_rows": checks.duplicates,
        "crossed_quotes": checks.crossed,
        "locked_quotes": checks.locked,
        "prices_not_positive": checks.not_positive,
        "broken_bars": checks.broken_bars,
        "zero_sizes": checks.zero_sizes,
        "negative_sizes": checks.negative_sizes,
        "outliers": checks.outliers,
    }
    return {
        "symbol": checks.symbol,
        "rows": checks.rows,
        "first_ns": checks.first_ns,
        "last_ns": checks.last_ns,
        "interval_ns": checks.interval_ns,
        "gaps": checks.bar_gaps if checks.kind == "bars" else checks.gaps.count,
        "absent_bars": checks.absent_bars,
        "longest_gap_ns": checks.longest_gap_ns,
        "largest_move": checks.largest_move,
        **{name: oddity.count for name, oddity in named.items()},
        "first": {
            name: {"row": oddity.first.row, "ts_ns": oddity.first.ts_ns}
            for name, oddity in named.items()
            if oddity.first is not None
        },
    }
