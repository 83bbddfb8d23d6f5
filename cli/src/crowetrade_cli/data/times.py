"""Times as other people write them, as nanoseconds since 1970-01-01 UTC.

Counted since 1970: in s, ms, us or ns, with or without decimals. The unit follows from the size of each number, without
doubt from March 1973 on: from 10^8 on seconds, from 10^11 on ms, from 10^14 on us, from 10^17 on ns. Without a unit
what is below 10^8 is wrong: it is more likely no count, such as a date of eight digits.

Written: by the directives of strptime that this module knows (DIRECTIVES). A time with its own offset from UTC needs
no zone. A date alone is midnight. A local time that the clock shows twice (when summer time ends) or never (when it
begins) is wrong: it cannot be told which instant is meant.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

import pyarrow
import pyarrow.compute

from crowetrade_cli.data.field import Field, field_of, is_any
from crowetrade_cli.data.kinds import MAX_TIME_NS
from crowetrade_cli.data.options import UNITS
from crowetrade_cli.errors import Failed, WrongUse

_FIRST_COUNT = 10**8
_BELOW = {"s": 10**11, "ms": 10**14, "us": 10**17}
_COUNTED = r"^(?P<whole>[0-9]{1,18}|[1-4][0-9]{18})(?:\.(?P<fraction>[0-9]{1,9})[0-9]*)?$"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DIRECTIVES: Mapping[str, str] = {
    "Y": r"(?P<Y>[0-9]{4})",
    "y": r"(?P<y>[0-9]{2})",
    "m": r"(?P<m>[0-9]{1,2})",
    "b": r"(?P<b>[A-Za-z]{3})",
    "d": r"(?P<d>[0-9]{1,2})",
    "H": r"(?P<H>[0-9]{1,2})",
    "I": r"(?P<I>[0-9]{1,2})",
    "M": r"(?P<M>[0-9]{2})",
    "S": r"(?P<S>[0-9]{2})",
    "f": r"(?P<f>[0-9]{1,9})",
    "p": r"(?P<p>[AaPp][Mm])",
    "z": r"(?P<z>Z|UTC|[+-][0-9]{2}:?[0-9]{2})",
}
"""Directives and what they match; %f is 1 to 9 decimals of a second, %b an English month in three letters."""
ISO = (
    "^"
    + DIRECTIVES["Y"]
    + r"-(?P<m>[0-9]{2})-(?P<d>[0-9]{2})(?:[T ](?P<H>[0-9]{2}):(?P<M>[0-9]{2})(?::(?P<S>[0-9]{2})(?:[.,]"
    + DIRECTIVES["f"]
    + r")?)?)?(?: ?"
    + DIRECTIVES["z"]
    + ")?$"
)
"""ISO 8601: a date, or a date and a time, with or without seconds, decimals and offset."""
_NOT_WRITTEN = "is not a time as the first rows have it, or its clock showed it twice or never"
_QUARTER_S = 900
_DAY_S = 86_400
_EPOCH = date(1970, 1, 1)
_FAR_NS = 10 * _DAY_S * UNITS["s"]
"""So far before 1970, or after the last time, is out of range in every time zone."""


def compile_format(text: str) -> str:
    """A regular expression for a strptime format. Raises WrongUse for a directive that is not known, or no date."""
    pattern, place = "^", 0
    while place < len(text):
        if text[place] != "%":
            pattern += re.escape(text[place])
            place += 1
            continue
        directive = text[place + 1 : place + 2]
        if directive not in DIRECTIVES and directive != "%":
            raise WrongUse(
                f"--time-format has %{directive}: write it with {', '.join('%' + name for name in DIRECTIVES)}"
            )
        pattern += DIRECTIVES.get(directive, "%")
        place += 2
    try:
        groups = re.compile(pattern).groupindex
    except re.error as error:
        raise WrongUse(f"--time-format {text!r} has a directive twice: write each once") from error
    if not ({"Y", "y"} & set(groups) and {"m", "b"} & set(groups) and "d" in groups):
        raise WrongUse(f"--time-format {text!r} has no full date: write year, month and day, as %Y-%m-%d")
    if ("I" in groups) != ("p" in groups):
        raise WrongUse(f"--time-format {text!r} needs %I and %p together, or %H")
    return pattern + "$"


def zone_of(name: str) -> tzinfo:
    """A zone of the tz database. Raises WrongUse for a name that is not in it."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as error:
        raise WrongUse(
            f"--tz {name} is no time zone: write a name as Europe/Berlin, America/New_York or UTC"
        ) from error


def midnight_s(text: str) -> int:
    """Seconds until midnight of a date, YYYYMMDD, by its local clock. Raises Failed for a date that there is not."""
    seconds = _midnight(f"{text[:4]} {text[4:6]} {text[6:]}")
    if seconds is None:
        raise Failed(f"{text} in the name of the file is no date: give the file its name again")
    return seconds


def unit_of(count: int) -> str:
    """The unit in which a count since 1970 is written."""
    return next((unit for unit, below in _BELOW.items() if count < below), "ns")


@dataclass(slots=True)
class Counted:
    """Times counted in a unit: since 1970, or since `since_ns` (UTC, or local time when there is a zone).

    Without a unit each number tells its own; `seen` are those that were found.
    """

    unit: str = ""
    since_s: int = 0
    zone: tzinfo | None = None
    seen: set[str] = field(default_factory=set)

    def read(self, texts: pyarrow.Array) -> Field:
        """Nanoseconds."""
        parts = pyarrow.compute.extract_regex(texts, _COUNTED)
        wrong = pyarrow.compute.is_null(parts)
        whole = _integers(_part(parts, "whole"))
        if not self.unit:
            wrong = pyarrow.compute.or_(wrong, pyarrow.compute.less(whole, _FIRST_COUNT))
        fraction = _part(parts, "fraction")
        plain = not is_any(pyarrow.compute.not_equal(fraction, ""))
        nanoseconds = self._whole_units(whole, None if plain else fraction)
        if self.since_s or self.zone:
            nanoseconds, unclear = _to_utc(pyarrow.compute.add(nanoseconds, self.since_s * UNITS["s"]), self.zone)
            wrong = pyarrow.compute.or_(wrong, unclear)
        why = "is not a count of seconds, milliseconds, microseconds or nanoseconds since 1970"
        return _in_range(nanoseconds, texts, wrong, f"is not a count of {self.unit}" if self.unit else why)

    def _whole_units(self, whole: pyarrow.Array, fraction: pyarrow.Array | None) -> pyarrow.Array:
        if self.unit:
            self.seen.add(self.unit)
            return _scaled(whole, fraction, UNITS[self.unit])
        bounds = pyarrow.compute.min_max(whole).as_py()
        if bounds["min"] is None:
            return whole
        lowest, highest = unit_of(bounds["min"]), unit_of(bounds["max"])
        if lowest == highest:
            self.seen.add(lowest)
            return _scaled(whole, fraction, UNITS[lowest])
        result = _scaled(whole, None, 1)
        for unit in ("us", "ms", "s"):
            below = pyarrow.compute.less(whole, _BELOW[unit])
            if is_any(below):
                small = pyarrow.compute.if_else(below, whole, 0)
                result = pyarrow.compute.if_else(below, _scaled(small, fraction, UNITS[unit]), result)
        self.seen.update(unit_of(count) for count in pyarrow.compute.unique(whole).to_pylist() if count is not None)
        return result


@dataclass(slots=True)
class Written:
    """Times written by one pattern (of compile_format, or ISO), in a zone unless they have an offset of their own."""

    pattern: str
    zone: tzinfo | None = None
    seen: set[str] = field(default_factory=set)

    def read(self, texts: pyarrow.Array) -> Field:
        """Nanoseconds. Raises WrongUse when a time of day has neither an offset nor a zone."""
        parts = pyarrow.compute.extract_regex(texts, self.pattern)
        names = {part.name for part in parts.type}
        wrong = pyarrow.compute.is_null(parts)
        seconds, no_day = _days(parts, names)
        clock, no_clock = _clock(parts, names)
        seconds = pyarrow.compute.add(seconds, clock)
        wrong = pyarrow.compute.or_(pyarrow.compute.or_(wrong, no_day), no_clock)
        nanoseconds = _nanoseconds(seconds)
        if "f" in names:
            decimals = pyarrow.compute.utf8_rpad(_part(parts, "f"), 9, "0")
            nanoseconds = pyarrow.compute.add(nanoseconds, _integers(decimals))
        offsets = _offsets(_part(parts, "z")) if "z" in names else pyarrow.nulls(len(texts), pyarrow.int64())
        has_own = offsets.is_valid()
        self._require_zone(parts, names, has_own)
        own = pyarrow.compute.subtract(nanoseconds, _nanoseconds(pyarrow.compute.fill_null(offsets, 0)))
        local, unclear = _to_utc(nanoseconds, self.zone)
        wrong = pyarrow.compute.or_(wrong, pyarrow.compute.and_not(unclear, has_own))
        return _in_range(pyarrow.compute.if_else(has_own, own, local), texts, wrong, _NOT_WRITTEN)

    def _require_zone(self, parts: pyarrow.StructArray, names: set[str], has_own: pyarrow.Array) -> None:
        if self.zone is not None:
            return
        hour = "H" if "H" in names else "I" if "I" in names else ""
        if hour and is_any(pyarrow.compute.and_not(pyarrow.compute.not_equal(_part(parts, hour), ""), has_own)):
            raise WrongUse("the times have no time zone: write it with --tz, as --tz America/New_York or --tz UTC")


def _nanoseconds(counts: pyarrow.Array, unit_ns: int = UNITS["s"]) -> pyarrow.Array:
    """Out of range for every count that is. The product of one that is far out could be taken for another time,
    because it leaves out what does not fit in 64 bits."""
    least, most = -_FAR_NS // unit_ns, (MAX_TIME_NS + _FAR_NS) // unit_ns
    counts = pyarrow.compute.if_else(pyarrow.compute.less(counts, least), least, counts)
    counts = pyarrow.compute.if_else(pyarrow.compute.greater(counts, most), most, counts)
    return pyarrow.compute.multiply(counts, unit_ns)


def _part(parts: pyarrow.StructArray, name: str) -> pyarrow.Array:
    """A group's texts, empty where it or the whole did not match."""
    return pyarrow.compute.fill_null(pyarrow.compute.struct_field(parts, name), "")


def _integers(texts: pyarrow.Array) -> pyarrow.Array:
    return pyarrow.compute.cast(pyarrow.compute.if_else(pyarrow.compute.equal(texts, ""), "0", texts), pyarrow.int64())


def _scaled(whole: pyarrow.Array, fraction: pyarrow.Array | None, unit_ns: int) -> pyarrow.Array:
    nanoseconds = _nanoseconds(whole, unit_ns)
    if fraction is None or unit_ns == 1:
        return nanoseconds
    places = len(str(unit_ns)) - 1
    digits = pyarrow.compute.utf8_slice_codeunits(pyarrow.compute.utf8_rpad(fraction, places, "0"), 0, places)
    return pyarrow.compute.add(nanoseconds, _integers(digits))


def _days(parts: pyarrow.StructArray, names: set[str]) -> tuple[pyarrow.Array, pyarrow.Array]:
    """Seconds until midnight of each date, and which dates there are not."""
    year, month = ("Y" if "Y" in names else "y"), ("m" if "m" in names else "b")
    keys = pyarrow.compute.binary_join_element_wise(
        _part(parts, year), _part(parts, month), _part(parts, "d"), " "
    ).dictionary_encode()
    seconds = [_midnight(key) for key in keys.dictionary.to_pylist()]
    values = pyarrow.array(seconds, pyarrow.int64()).take(keys.indices)
    return pyarrow.compute.fill_null(values, 0), values.is_null()


@lru_cache(4096)
def _midnight(key: str) -> int | None:
    year, month, day = key.split(" ")
    try:
        number = int(month) if month.isdigit() else _MONTHS.index(month.lower()) + 1
        full = int(year) if len(year) == 4 else int(year) + (2000 if int(year) < 69 else 1900)  # as strptime has it
        return (date(full, number, int(day)) - _EPOCH).days * _DAY_S
    except ValueError:
        return None


def _clock(parts: pyarrow.StructArray, names: set[str]) -> tuple[pyarrow.Array, pyarrow.Array]:
    """Seconds since midnight, and which there are not."""
    nothing = pyarrow.array([0] * len(parts), pyarrow.int64())
    hour = _integers(_part(parts, "H")) if "H" in names else nothing
    wrong = pyarrow.compute.greater(hour, 23)
    if "I" in names:
        twelve = _integers(_part(parts, "I"))
        wrong = pyarrow.compute.or_(pyarrow.compute.less(twelve, 1), pyarrow.compute.greater(twelve, 12))
        afternoon = pyarrow.compute.equal(pyarrow.compute.utf8_lower(_part(parts, "p")), "pm")
        hour = pyarrow.compute.add(
            pyarrow.compute.if_else(pyarrow.compute.equal(twelve, 12), 0, twelve),
            pyarrow.compute.if_else(afternoon, 12, 0),
        )
    minute = _integers(_part(parts, "M")) if "M" in names else nothing
    second = _integers(_part(parts, "S")) if "S" in names else nothing
    for value in (minute, second):
        wrong = pyarrow.compute.or_(wrong, pyarrow.compute.greater(value, 59))
    minutes = pyarrow.compute.add(pyarrow.compute.multiply(hour, 60), minute)
    return pyarrow.compute.add(pyarrow.compute.multiply(minutes, 60), second), wrong


def _offsets(texts: pyarrow.Array) -> pyarrow.Array:
    """Seconds east of UTC, null without an offset."""
    encoded = texts.dictionary_encode()
    seconds = [_offset(text) for text in encoded.dictionary.to_pylist()]
    return pyarrow.array(seconds, pyarrow.int64()).take(encoded.indices)


def _offset(text: str) -> int | None:
    if not text:
        return None
    if text in {"Z", "UTC"}:
        return 0
    digits = text[1:].replace(":", "")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if text[0] == "-" else seconds


def _to_utc(local_ns: pyarrow.Array, zone: tzinfo | None) -> tuple[pyarrow.Array, pyarrow.Array]:
    """Instants of local times, and which of them the clock showed twice or never. Zones change their offsets at
    quarters of an hour."""
    if zone is None or zone is UTC:
        return local_ns, pyarrow.array([False] * len(local_ns))
    seconds = pyarrow.compute.divide(local_ns, UNITS["s"])
    quarters = pyarrow.compute.divide(seconds, _QUARTER_S).dictionary_encode()
    offsets = [None if quarter is None else _offset_at(zone, quarter) for quarter in quarters.dictionary.to_pylist()]
    taken = pyarrow.array(offsets, pyarrow.int64()).take(quarters.indices)
    return pyarrow.compute.subtract(local_ns, _nanoseconds(pyarrow.compute.fill_null(taken, 0))), taken.is_null()


@lru_cache(4096)
def _offset_at(zone: tzinfo, quarter: int) -> int | None:
    """Seconds east of UTC at a local time, in quarters of an hour; None when it is there twice or never."""
    local = datetime(1970, 1, 1) + timedelta(seconds=quarter * _QUARTER_S)  # noqa: DTZ001 a local time
    first, second = local.replace(tzinfo=zone), local.replace(tzinfo=zone, fold=1)
    offset = first.utcoffset()
    if offset is None or offset != second.utcoffset():
        return None
    return int(offset.total_seconds())


def _in_range(nanoseconds: pyarrow.Array, texts: pyarrow.Array, wrong: pyarrow.Array, why: str) -> Field:
    outside = pyarrow.compute.or_(
        pyarrow.compute.less(nanoseconds, 0), pyarrow.compute.greater(nanoseconds, MAX_TIME_NS)
    )
    if is_any(pyarrow.compute.and_(outside, pyarrow.compute.invert(wrong))):
        why = f"{why}, or is before 1970 or after 2116"
    return field_of(nanoseconds, texts, pyarrow.compute.or_(wrong, outside), why)
