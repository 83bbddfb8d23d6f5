"""What a user may say about a file that the file does not say itself. Imports no Arrow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal

MARKS: Mapping[str, str] = {"point": ".", "comma": ","}
"""Decimal marks by their names."""
UNITS: Mapping[str, int] = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
"""Nanoseconds in each unit that times are counted in."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How files are read. Empty and None mean that the format says so, or that it is found out from the file.

    `columns`: our column to the file's. `time_format`: as strptime has it. `unit`: s, ms, us or ns. `zone`: a name of
    the tz database. `decimal_mark`: point or comma. `separator`: between columns. `member`: which file of an archive.
    `skip_lines`: lines before the header. `side`: bid or ask, where a file has bars of both. `price_digits`: decimals
    of whole-number prices. `interval_ns`: length of bars. `size_factor`: what sizes are multiplied by.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    time_format: str = ""
    unit: str = ""
    zone: str = ""
    decimal_mark: str = ""
    separator: str = ""
    encoding: str = ""
    member: str = ""
    skip_lines: int = 0
    side: str = ""
    price_digits: int | None = None
    interval_ns: int = 0
    size_factor: Decimal = Decimal(1)
    symbol: str = ""
