"""Times become the instants that Python's own datetime and zoneinfo find for them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crowetrade_cli.data.kinds import MAX_TIME_NS
from crowetrade_cli.data.options import UNITS
from crowetrade_cli.data.times import ISO, Counted, Written, compile_format, unit_of
from crowetrade_cli.errors import WrongUse

from .values import ns

ZONES = ["UTC", "America/New_York", "Europe/Athens", "Asia/Kolkata", "Australia/Lord_Howe", "Etc/GMT+5"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
local_times = st.datetimes(datetime(1971, 1, 2), datetime(2100, 1, 1)).map(lambda at: at.replace(microsecond=0))  # noqa: DTZ001


def read(times: Counted | Written, *texts: str) -> list[int | None]:
    field = times.read(pyarrow.array(texts, pyarrow.string()))
    values: list[int | None] = field.values.to_pylist()
    return values


@pytest.mark.parametrize(
    ("text", "wanted"),
    {
        "1709251200": "2024-03-01T00:00:00",
        "1709251200.25": "2024-03-01T00:00:00.25",
        "1709251200123": "2024-03-01T00:00:00.123",
        "1709251200123456": "2024-03-01T00:00:00.123456",
        "1709251200123456789": "2024-03-01T00:00:00.123456789",
        "1709251200123.5": "2024-03-01T00:00:00.1235",
    }.items(),
)
def test_a_count_tells_its_unit(text: str, wanted: str) -> None:
    assert read(Counted(), text) == [ns(wanted)]


def test_units_may_change_within_a_file() -> None:
    counted = Counted()
    assert read(counted, "1735689599999", "1735689600000000", "1735689600.5") == [
        ns("2024-12-31T23:59:59.999"),
        ns("2025-01-01T00:00:00"),
        ns("2025-01-01T00:00:00.5"),
    ]
    assert counted.seen == {"s", "ms", "us"}


@settings(deadline=None)
@given(st.sampled_from(list(UNITS)), st.datetimes(datetime(1973, 4, 1), datetime(2110, 1, 1)))  # noqa: DTZ001
def test_the_unit_of_a_count_is_found_again(unit: str, at: datetime) -> None:
    since = (at.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) * 1000
    assert unit_of(since // UNITS[unit]) == unit
    assert read(Counted(), str(since // UNITS[unit])) == [since // UNITS[unit] * UNITS[unit]]


@pytest.mark.parametrize("text", ["", "x", "-5", "20240102", "1e9", "2024-01-01", "9999999999999999999", "12 "])
def test_what_is_no_count_is_wrong(text: str) -> None:
    assert read(Counted(), text, "1709251200") == [None, ns("2024-03-01T00:00:00")]


@settings(deadline=None)
@given(st.sampled_from(list(UNITS)), st.sampled_from(["", ".25"]), st.integers(0, 5 * 10**18 - 1))
@example("s", "", 1735689600000)  # of 2025 in ms; in 64 bits its nanoseconds as seconds are those of a day of 2023
def test_a_count_that_is_too_large_for_its_unit_is_wrong(unit: str, fraction: str, count: int) -> None:
    (instant,) = read(Counted(unit), f"{count}{fraction}")
    exact = count * UNITS[unit] + (UNITS[unit] // 4 if fraction else 0)
    assert instant == (exact if exact <= MAX_TIME_NS else None)


@settings(deadline=None)
@given(st.datetimes(), st.sampled_from(["", "Z", "+14:00", "-12:00"]))
@example(datetime(2600, 1, 1), "")  # noqa: DTZ001 in 64 bits its nanoseconds are those of a day of 2015
def test_a_year_far_away_is_wrong(at: datetime, offset: str) -> None:
    hours = int(offset[:3]) if offset[1:] else 0
    exact = ((at.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1) - hours * 3_600_000_000) * 1000
    (instant,) = read(Written(ISO, ZoneInfo("UTC")), at.isoformat(" ", "microseconds") + offset)
    assert instant == (exact if 0 <= exact <= MAX_TIME_NS else None)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(ZONES), local_times), min_size=1, max_size=8), st.sampled_from(ZONES))
def test_local_times_are_those_of_zoneinfo(times: list[tuple[str, datetime]], name: str) -> None:
    """Both ways: what the clock showed once is that instant; what it showed twice or never is wrong."""
    zone = ZoneInfo(name)
    found = read(Written(ISO, zone), *(at.isoformat(" ") for _, at in times))
    for (_, at), instant in zip(times, found, strict=True):
        possible = {at.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)}
        shown = {moment for moment in possible if moment.astimezone(zone).replace(tzinfo=None) == at}
        if len(shown) == 1:
            assert instant == (shown.pop() - EPOCH) // timedelta(seconds=1) * 1_000_000_000
        else:
            assert instant is None


@pytest.mark.parametrize(
    ("text", "is_shown_once"),
    {
        "2024-03-10 01:59:59": True,
        "2024-03-10 02:00:00": False,
        "2024-03-10 02:59:59": False,
        "2024-03-10 03:00:00": True,
        "2024-11-03 00:59:59": True,
        "2024-11-03 01:00:00": False,
        "2024-11-03 01:59:59": False,
        "2024-11-03 02:00:00": True,
    }.items(),
)
def test_summer_time_in_new_york(text: str, is_shown_once: bool) -> None:
    (instant,) = read(Written(ISO, ZoneInfo("America/New_York")), text)
    assert (instant is not None) == is_shown_once


FORMATS = [
    "%Y-%m-%d %H:%M:%S",
    "%d.%m.%Y %H:%M:%S.%f",
    "%m/%d/%Y %I:%M:%S %p",
    "%Y%m%d %H%M%S",
    "%Y%m%d%H%M%S%f",
    "%d-%b-%y %H.%M.%S",
    "%Y-%m-%dT%H:%M:%S%z",
]


@settings(deadline=None)
@given(st.sampled_from(FORMATS), local_times.filter(lambda at: at.year < 2069), st.sampled_from([-300, 0, 330]))
def test_formats_mean_what_strptime_means(text: str, at: datetime, offset: int) -> None:
    written = at.strftime(text.replace("%z", ""))
    if "%z" in text:
        written += f"{'-' if offset < 0 else '+'}{abs(offset) // 60:02d}:{abs(offset) % 60:02d}"
    parsed = datetime.strptime(written, text)  # noqa: DTZ007 some have an offset, the others get UTC
    instant = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    assert read(Written(compile_format(text), ZoneInfo("UTC")), written) == [
        (instant - EPOCH) // timedelta(microseconds=1) * 1000
    ]


@pytest.mark.parametrize(
    "text", ["2024-02-30", "2023-02-29 10:00", "2024-13-01", "2024-01-01 24:00", "2024-01-01 10:60", "1969-12-31", ""]
)
def test_times_that_there_are_not_are_wrong(text: str) -> None:
    assert read(Written(ISO, ZoneInfo("UTC")), text, "2024-02-29") == [None, ns("2024-02-29T00:00:00")]


def test_an_offset_of_its_own_needs_no_zone() -> None:
    assert (
        read(Written(ISO), "2024-01-01T01:00:00+01:00", "2024-01-01 00:00:00Z", "2024-01-01")
        == [ns("2024-01-01T00:00:00")] * 3
    )


def test_a_local_time_without_a_zone_is_refused() -> None:
    with pytest.raises(WrongUse, match="--tz"):
        read(Written(ISO), "2024-01-01 00:00:01")


@pytest.mark.parametrize(
    ("text", "sentence"),
    {
        "%Y-%m-%d %Q": "has %Q",
        "%H:%M": "no full date",
        "%Y-%m-%d %Y": "twice",
        "%Y-%m-%d %I:%M": "%I and %p",
    }.items(),
)
def test_formats_that_cannot_be_meant_are_refused(text: str, sentence: str) -> None:
    with pytest.raises(WrongUse, match=sentence):
        compile_format(text)
