"""Trading days and their ends, against the library's own answers; who needs no calendar does not load the library."""

from __future__ import annotations

import subprocess
import sys
from functools import lru_cache
from typing import Any

import exchange_calendars
import pandas
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_agents.risk.calendars import calendar_named, new_calendar
from crowetrade_agents_tests.risk.limits.test_trading_hours import ns

MINUTE_NS = 60_000_000_000
FROM, TO = ns("2026-01-01T00:00:00"), ns("2026-12-31T00:00:00")


@pytest.mark.parametrize("name", ["XNYS", "XHKG", "CMES", "XLON"])
@settings(max_examples=100, deadline=None)
@given(minute=st.integers(FROM // MINUTE_NS, TO // MINUTE_NS))
def test_it_agrees_with_the_library_at_every_minute(name: str, minute: int) -> None:
    theirs = _theirs(name)
    at_ns = minute * MINUTE_NS
    ours = calendar_named(name)
    assert ours.is_open(at_ns) == theirs.is_open_at_time(_stamp(at_ns), side="left")
    session = theirs.minute_to_session(_stamp(at_ns), direction="next")
    assert ours.day(at_ns) == session.date().isoformat()
    assert ours.session_end_ns(at_ns) == theirs.session_close(session).value


@lru_cache
def _theirs(name: str) -> Any:
    return exchange_calendars.get_calendar(name, start="2025-01-01", end="2027-12-31")


def _stamp(at_ns: int) -> pandas.Timestamp:
    return pandas.Timestamp(at_ns, tz="UTC")


@pytest.mark.parametrize(
    ("calendar", "at", "day"),
    [
        ("24x7", "2026-01-03T23:59:59", "2026-01-03"),
        ("XNYS", "2026-01-05T20:59:59", "2026-01-05"),
        ("XNYS", "2026-01-05T21:00:00", "2026-01-06"),
        ("XNYS", "2026-01-03T12:00:00", "2026-01-05"),
        # Chicago's sessions begin the evening before.
        ("CMES", "2026-01-05T23:30:00", "2026-01-06"),
        ("XHKG", "1950-01-05T03:00:00", ""),
        # The library knows Shanghai's holidays up to the end of a year that is less than a table away.
        ("XSHG", "2026-06-01T02:00:00", "2026-06-01"),
    ],
)
def test_a_trading_day(calendar: str, at: str, day: str) -> None:
    assert calendar_named(calendar).day(ns(at)) == day


def test_a_day_that_the_library_does_not_know_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_up: list[str] = []
    real = exchange_calendars.get_calendar

    def counted(name: str, **span: str) -> exchange_calendars.ExchangeCalendar:
        looked_up.append(span["start"])
        return real(name, **span)

    monkeypatch.setattr(exchange_calendars, "get_calendar", counted)
    calendar = new_calendar("XHKG")
    noon, hour_ns = ns("2060-01-05T12:00:00"), 60 * MINUTE_NS
    assert calendar.session_end_ns(noon) is None
    first = len(looked_up)
    for at_ns in (noon - hour_ns, noon, noon + hour_ns):
        assert (calendar.is_open(at_ns), calendar.day(at_ns), calendar.session_end_ns(at_ns)) == (False, "", None)
    assert len(looked_up) == first > 0
    assert calendar.day(ns("2026-01-05T03:00:00")) == "2026-01-05"
    assert calendar.day(noon) == ""


def test_a_gateway_without_a_calendar_does_not_load_the_library() -> None:
    code = (
        "import sys, crowetrade_agents.gateway.engine, crowetrade_agents.control.gateway_config\n"
        "from crowetrade_agents.risk.calendars import calendar_named\n"
        "assert calendar_named('24x7').is_open(0)\n"
        "assert not {'pandas', 'numpy', 'exchange_calendars'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
