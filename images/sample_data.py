"""Writes the sample recordings of the gateway's image from a wheel of gym-anytrading: sample_data.py WHEELS OUT.

The wheel (MIT) ships two tables of real prices. They are copied row by row into the columns of CroweTrade's bars
(ts_ns, open, high, low, close, volume; ts_ns is the open time of the bar, nanoseconds since the Unix epoch, UTC);
numbers are copied as text.

- FOREX_EURUSD_1H_ASK.csv, EUR/USD offers (ask side), hourly, 2017. Times are UTC: its weeks end on Friday with the bar
  of 21:00 in winter and 20:00 in New York's summer time, as the market does (17:00 in New York).
- STOCKS_GOOGL.csv, Alphabet class A, daily, 2009 to 2018. It gives dates only: a bar opens at 00:00 UTC of its date.
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

COLUMNS = ("ts_ns", "open", "high", "low", "close", "volume")
LICENCE = "gym_anytrading-2.0.0.dist-info/LICENSE"
_NS_PER_SECOND = 1_000_000_000


def _hour(row: dict[str, str]) -> datetime:
    return datetime.strptime(row["Time"], "%d.%m.%Y %H:%M:%S.%f").replace(tzinfo=UTC)


def _day(row: dict[str, str]) -> datetime:
    return datetime.strptime(row["Date"], "%Y-%m-%d").replace(tzinfo=UTC)


@dataclass(frozen=True)
class Sample:
    """One table of the wheel, and how to read the time of a row."""

    member: str
    name: str
    opened: Callable[[dict[str, str]], datetime]


SAMPLES = (
    Sample("gym_anytrading/datasets/data/FOREX_EURUSD_1H_ASK.csv", "eurusd-1h.csv", _hour),
    Sample("gym_anytrading/datasets/data/STOCKS_GOOGL.csv", "googl-1d.csv", _day),
)


def bars(text: str, opened: Callable[[dict[str, str]], datetime]) -> list[tuple[str, ...]]:
    """Rows in COLUMNS; ValueError when times do not rise."""
    rows = [
        (str(int(opened(row).timestamp()) * _NS_PER_SECOND), *(row[name.capitalize()] for name in COLUMNS[1:]))
        for row in csv.DictReader(io.StringIO(text))
    ]
    times = [int(row[0]) for row in rows]
    if times != sorted(set(times)):
        raise ValueError("the times of the sample do not rise: the wheel is not the one that this was written for")
    return rows


def write_samples(wheels: Path, out: Path) -> None:
    """Writes every sample and the licence below `out`."""
    (wheel,) = wheels.glob("gym_anytrading-*.whl")
    out.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for sample in SAMPLES:
            rows = bars(archive.read(sample.member).decode("utf-8"), sample.opened)
            with (out / sample.name).open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS)
                writer.writerows(rows)
        (out / "LICENSE.gym-anytrading").write_bytes(archive.read(LICENCE))


if __name__ == "__main__":
    write_samples(Path(sys.argv[1]), Path(sys.argv[2]))
