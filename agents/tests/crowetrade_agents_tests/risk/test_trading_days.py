"""Days that begin at a time of day in a time zone, by the gateway and by the auditor, which find them on their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_agents.auditor import hours
from crowetrade_agents.errors import InvalidLimit
from crowetrade_agents.risk.calendars import calendar_named
from crowetrade_agents.risk.trading_days import zoned_days
from crowetrade_agents_tests.risk.limits.test_trading_hours import ns

SECOND = 1_000_000_000
HOUR = 3_600 * SECOND
# Among them some that change at midnight, by half an hour, and the other way round than most (Dublin, Casablanca).
ZONES = (
    "UTC",
    "Europe/Zurich",
    "Europe/Dublin",
    "America/New_York",
    "America/St_Johns",
    "America/Havana",
    "America/Santiago",
    "Asia/Beirut",
    "Asia/Tokyo",
    "Africa/Casablanca",
    "Australia/Lord_Howe",
)
FROM, TO = ns("2023-01-01T00:00:00"), ns("2030-01-01T00:00:00")

# Zone and time, the moment at which a day begins (UTC), the day before it, the day, and how many hours it has.
BEGINNINGS = {
    "midnight UTC": ("UTC", "00:00", "2024-11-29T00:00:00", "2024-11-28", "2024-11-29", 24),
    "foreign exchange": ("America/New_York", "17:00", "2024-11-29T22:00:00", "2024-11-28", "2024-11-29", 24),
    "spring, 23 hours": ("Europe/Zurich", "00:00", "2024-03-30T23:00:00", "2024-03-30", "2024-03-31", 23),
    "autumn, 25 hours": ("Europe/Zurich", "00:00", "2024-10-26T22:00:00", "2024-10-26", "2024-10-27", 25),
    "over spring": ("America/New_York", "17:00", "2024-03-09T22:00:00", "2024-03-08", "2024-03-09", 23),
    "over autumn": ("America/New_York", "17:00", "2024-11-02T21:00:00", "2024-11-01", "2024-11-02", 25),
    "left out": ("Europe/Zurich", "02:30", "2024-03-31T01:00:00", "2024-03-30", "2024-03-31", 23.5),
    "twice": ("Europe/Zurich", "02:30", "2024-10-27T00:30:00", "2024-10-26", "2024-10-27", 25),
    "a midnight that is left out": ("America/Havana", "00:00", "2024-03-10T05:00:00", "2024-03-09", "2024-03-10", 23),
    "a midnight that comes twice": ("America/Havana", "00:00", "2024-11-03T04:00:00", "2024-11-02", "2024-11-03", 25),
    "half an hour": ("Australia/Lord_Howe", "00:00", "2024-04-06T13:00:00", "2024-04-06", "2024-04-07", 24.5),
}


@pytest.mark.parametrize("what", BEGINNINGS)
def test_a_day_begins(what: str) -> None:
    zone, starts_at, begins, before, day, length = BEGINNINGS[what]
    days, at_ns = zoned_days(zone, starts_at), ns(begins)
    after_ns = at_ns + int(length * HOUR)
    wanted = {at_ns - 1: before, at_ns: day, after_ns - 1: day}
    assert {moment: days.day(moment) for moment in wanted} == wanted
    assert {moment: hours.zoned_day(zone, starts_at, moment) for moment in wanted} == wanted
    assert days.day(after_ns) == hours.zoned_day(zone, starts_at, after_ns) > day
    # And when it was asked for in another order.
    assert days.day(at_ns - 1) == before


@given(st.sampled_from(ZONES), st.times(), st.integers(FROM // SECOND, TO // SECOND))
@settings(max_examples=300, deadline=None)
def test_it_is_the_last_date_and_time_that_the_clock_has_shown(zone: str, starts_at: object, second: int) -> None:
    text = f"{starts_at:%H:%M}"
    found = zoned_days(zone, text).day(second * SECOND)
    clock = datetime.fromtimestamp(second, ZoneInfo(zone))
    # By how much a clock was ahead of now at most within the last hours, it has gone back since.
    earlier = (datetime.fromtimestamp(second - back, ZoneInfo(zone)) for back in range(0, 4 * 3600, 60))
    shown = max(item.replace(tzinfo=None) for item in (clock, *earlier))
    hour, minute = map(int, text.split(":"))
    assert found == (shown - timedelta(hours=hour, minutes=minute)).date().isoformat()
    assert found == hours.zoned_day(zone, text, second * SECOND)


@pytest.mark.parametrize("calendar", ["24x7", "XNYS", "XHKG", "CMES"])
@given(second=st.integers(ns("2025-06-01T00:00:00") // SECOND, ns("2026-06-01T00:00:00") // SECOND))
@settings(max_examples=100, deadline=None)
def test_the_auditor_finds_the_same_day_of_a_calendar(calendar: str, second: int) -> None:
    assert hours.calendar_day(calendar, second * SECOND) == calendar_named(calendar).day(second * SECOND)


def test_a_day_is_found_once() -> None:
    days = zoned_days("Europe/Zurich", "17:00")
    assert days is zoned_days("Europe/Zurich", "17:00")
    assert days.name == "17:00 Europe/Zurich"
    assert datetime.fromtimestamp(0, UTC).date().isoformat() == "1970-01-01"
    assert days.day(0) == "1969-12-31"


@pytest.mark.parametrize("zone", ["Europe/Nowhere", "Europe", "", "../etc/passwd", "/etc/passwd"])
def test_a_zone_that_nobody_knows(zone: str) -> None:
    with pytest.raises(InvalidLimit, match="is not one of the IANA database"):
        zoned_days(zone, "00:00")
    with pytest.raises(ValueError, match=r"zone|ZoneInfo"):
        hours.zoned_day(zone, "00:00", 0)


@pytest.mark.parametrize("text", ["24:00", "7:00", "17:60", "17:00:00", "", "١٧:٠٠"])
def test_a_time_that_no_clock_shows(text: str) -> None:
    with pytest.raises(InvalidLimit, match="is not a time of day"):
        zoned_days("UTC", text)
