"""Charts as parts of a page: positions in per cent of a plot that stretches to any width, and texts beside it.

Lines are thinned for drawing, never for counting: of each stretch of time the lowest and highest value of each line
stay, so a spike is seen however long the run was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

DRAWN_POINTS = 1000
DRAWN_MARKS = 240
_VALUE_TICKS, _TIME_TICKS = 6, 6
_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_MARGIN = 0.04
_STEPS_SECONDS = (1, 5, 15, 60, 300, 900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400, 14 * 86400)
_STEPS_MONTHS = (1, 2, 3, 6, 12, 24, 60, 120)


@dataclass(frozen=True, slots=True)
class Line:
    """Values at the chart's times; None leaves a gap."""

    name: str
    values: Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Mark:
    """A point of its own: `size` decides which are drawn where there are too many."""

    at_ns: int
    value: float
    kind: str
    size: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A place in per cent, from the left or from the top, and its text."""

    place: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawn:
    """A line as an SVG path in a square of 1000 units; `area` closes it at zero."""

    name: str
    path: str
    area: str


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar in per cent of the plot."""

    left: float
    top: float
    width: float
    height: float
    negative: bool
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """What a page needs to draw it. `times` and `values` are what is read under the pointer: milliseconds since the
    Unix epoch, and for each line its values there."""

    title: str
    note: str
    form: str
    lines: tuple[Drawn, ...]
    bars: tuple[Bar, ...]
    marks: tuple[tuple[float, float, str], ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    zero: float | None
    first_ms: int = 0
    last_ms: int = 0
    times: tuple[int, ...] = ()
    values: tuple[tuple[float | None, ...], ...] = ()


def line_chart(
    title: str,
    at_ns: Sequence[int],
    lines: Sequence[Line],
    *,
    note: str = "",
    form: str = "number",
    marks: Sequence[Mark] = (),
    filled: bool = False,
) -> Chart:
    """Lines over time. `form` is how values are written: number or percent."""
    kept = thinned([line.values for line in lines], DRAWN_POINTS)
    times = [at_ns[index] for index in kept]
    drawn_marks = thinned_marks(marks, at_ns[0], at_ns[-1], DRAWN_MARKS)
    shown = [value for line in lines for value in (line.values[index] for index in kept) if value is not None]
    low, high = _range([*shown, *(mark.value for mark in drawn_marks)], with_zero=filled)
    first, last = at_ns[0], max(at_ns[-1], at_ns[0] + 1)

    def x(at: int) -> float:
        return min(max((at - first) / (last - first), 0.0), 1.0)

    def y(value: float) -> float:
        return (high - value) / (high - low)

    return Chart(
        title,
        note,
        form,
        tuple(
            Drawn(line.name, *_paths([(x(at), line.values[i]) for i, at in zip(kept, times, strict=True)], y, filled))
            for line in lines
        ),
        (),
        tuple((_percent(x(mark.at_ns)), _percent(y(mark.value)), mark.kind) for mark in drawn_marks),
        tuple(Tick(_percent(x(at)), text) for at, text in time_ticks(first, last)),
        tuple(Tick(_percent(y(value)), value_text(value, high - low, form)) for value in value_ticks(low, high)),
        _percent(y(0.0)) if low < 0 < high else None,
        first // 1_000_000,
        last // 1_000_000,
        tuple(at // 1_000_000 for at in times),
        tuple(tuple(_short(line.values[index]) for index in kept) for line in lines),
    )


def bar_chart(title: str, bars: Sequence[tuple[str, float]], *, note: str = "", every: int = 1) -> Chart:
    """A bar per label, side by side; each `every`th label is written."""
    low, high = _range([value for _, value in bars], with_zero=True)
    zero, width = high / (high - low), 1 / max(len(bars), 1)
    drawn = [
        Bar(
            _percent(width * (index + 0.1)),
            _percent(min(zero, (high - value) / (high - low))),
            _percent(width * 0.8),
            _percent(abs(value) / (high - low)),
            value < 0,
            f"{label}: {value_text(value, 0, 'number')}",
        )
        for index, (label, value) in enumerate(bars)
    ]
    ticks = [Tick(_percent(width * (i + 0.5)), label) for i, (label, _) in enumerate(bars) if i % every == 0]
    y_ticks = [Tick(_percent((high - v) / (high - low)), value_text(v, high - low)) for v in value_ticks(low, high)]
    return Chart(title, note, "number", (), tuple(drawn), (), tuple(ticks), tuple(y_ticks), _percent(zero))


def thinned(lines: Sequence[Sequence[float | None]], points: int) -> list[int]:
    """Indices to draw, in order: all where there are few, else the first, the last, where each line is lowest and
    highest in each of equally long stretches, and where its gaps begin. About `points` for all lines together, and at
    least 50 stretches."""
    length = len(lines[0])
    if length <= points:
        return list(range(length))
    stretches = max(points // (2 * len(lines)), 50)
    kept = {0, length - 1}
    for values in lines:
        kept |= {index for index in range(1, length) if values[index] is None and values[index - 1] is not None}
        for stretch in range(stretches):
            part = range(stretch * length // stretches, (stretch + 1) * length // stretches)
            known = [(value, index) for index in part if (value := values[index]) is not None]
            if known:
                kept |= {min(known)[1], max(known)[1]}
    return sorted(kept)


def thinned_marks(marks: Sequence[Mark], first_ns: int, last_ns: int, limit: int) -> list[Mark]:
    """All marks where there are few, else the greatest of each kind in each of equally long stretches of time."""
    if len(marks) <= limit:
        return list(marks)
    kinds = {mark.kind for mark in marks}
    stretch_ns = max((last_ns - first_ns) * len(kinds) // limit, 1)
    greatest: dict[tuple[int, str], Mark] = {}
    for mark in marks:
        key = (min((mark.at_ns - first_ns) // stretch_ns, limit // len(kinds) - 1), mark.kind)
        if key not in greatest or mark.size > greatest[key].size:
            greatest[key] = mark
    return sorted(greatest.values(), key=lambda mark: mark.at_ns)


def value_ticks(low: float, high: float) -> list[float]:
    """Round values between low and high: multiples of 1, 2 or 5 times a power of ten."""
    step = _round_step((high - low) / _VALUE_TICKS)
    return [round(index * step, 12) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def value_text(value: float, spread: float = 0.0, form: str = "number") -> str:
    """A value with as many decimal places as tell ticks of this spread apart; two of a single one."""
    scale = 100 if form == "percent" else 1
    places = 2
    if spread:
        places = max(0, -math.floor(math.log10(_round_step(spread * scale / _VALUE_TICKS))))
    text = f"{value * scale:,.{places}f}"
    text = text.removeprefix("-") if not float(text.replace(",", "")) else text
    return f"{text}%" if form == "percent" else text


def time_ticks(first_ns: int, last_ns: int) -> list[tuple[int, str]]:
    """About six round times, in UTC, each with what tells it from its neighbours."""
    wanted = (last_ns - first_ns) / _TIME_TICKS
    step = next((seconds * _SECOND for seconds in _STEPS_SECONDS if seconds * _SECOND >= wanted), None)
    if step is None:
        return list(_months(first_ns, last_ns, wanted))
    form = "%H:%M:%S" if step < 60 * _SECOND else "%H:%M" if step < _DAY else "%d %b"
    times = range(-(-first_ns // step) * step, last_ns + 1, step)
    return [(at, _at(at).strftime("%d %b" if step < _DAY and at % _DAY == 0 else form)) for at in times]


def _months(first_ns: int, last_ns: int, wanted_ns: float) -> Iterator[tuple[int, str]]:
    step = next((months for months in _STEPS_MONTHS if months * 30.4 * _DAY >= wanted_ns), _STEPS_MONTHS[-1])
    first = _at(first_ns)
    number = -(-(first.year * 12 + first.month - 1) // step) * step
    while True:
        day = datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC)
        at = int(day.timestamp()) * _SECOND
        if at > last_ns:
            return
        if at >= first_ns:
            yield at, day.strftime("%Y" if step % 12 == 0 else "%b %Y")
        number += step


def _at(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns // _SECOND, UTC)


def _range(values: Sequence[float], *, with_zero: bool) -> tuple[float, float]:
    """Lowest and highest with a margin; never empty."""
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    if with_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        margin = abs(high) * _MARGIN or _MARGIN
        return low - margin, high + margin
    margin = (high - low) * _MARGIN
    return (low if with_zero and low == 0 else low - margin), (high if with_zero and high == 0 else high + margin)


def _round_step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * digit for digit in (1, 2, 5, 10) if power * digit >= least * (1 - 1e-9))


def _percent(part: float) -> float:
    return round(part * 100, 3)


def _short(value: float | None) -> float | None:
    """Enough digits to read."""
    return None if value is None else float(f"{value:.8g}")


def _paths(points: Sequence[tuple[float, float | None]], y: Callable[[float], float], filled: bool) -> tuple[str, str]:
    parts: list[list[str]] = [[]]
    for x, value in points:
        if value is not None:
            parts[-1].append(f"{x * 1000:.1f} {y(value) * 1000:.1f}")
        elif parts[-1]:
            parts.append([])
    line = "".join(f"M{'L'.join(part)}" for part in parts if part)
    if not filled or not parts[0]:
        return line, ""
    zero = f"{y(0.0) * 1000:.1f}"
    area = "".join(
        f"M{part[0].split()[0]} {zero}L{'L'.join(part)}L{part[-1].split()[0]} {zero}Z" for part in parts if part
    )
    return line, area
