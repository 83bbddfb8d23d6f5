"""When DAY orders end, by what the exchanges publish; no value here is computed by the library."""

from __future__ import annotations

import pytest

from crowetrade_agents.errors import ConfigurationError
from crowetrade_agents.venues.calendar import calendar_of
from crowetrade_agents_tests.risk.limits.test_trading_hours import ns

# Calendar, when an order is entered and when its day ends, in UTC; an empty end where the calendar knows none.
DAYS = {
    "never closes: the last second of a day": ("24x7", "2023-11-13T23:59:59", "2023-11-14T00:00:00"),
    "never closes: midnight begins the next day": ("24x7", "2023-11-14T00:00:00", "2023-11-15T00:00:00"),
    # NYSE: 09:30 to 16:00 in New York.
    "XNYS in winter": ("XNYS", "2026-01-05T15:00:00", "2026-01-05T21:00:00"),
    "XNYS in summer": ("XNYS", "2026-07-06T15:00:00", "2026-07-06T20:00:00"),
    "XNYS before it opens": ("XNYS", "2026-01-05T08:00:00", "2026-01-05T21:00:00"),
    "XNYS a second before the close": ("XNYS", "2026-01-05T20:59:59", "2026-01-05T21:00:00"),
    "XNYS at the close: the next day": ("XNYS", "2026-01-05T21:00:00", "2026-01-06T21:00:00"),
    "XNYS on Thanksgiving: the half day after it": ("XNYS", "2026-11-26T15:00:00", "2026-11-27T18:00:00"),
    "XNYS on the half day": ("XNYS", "2026-11-27T17:59:59", "2026-11-27T18:00:00"),
    "XNYS after the half day, a Friday": ("XNYS", "2026-11-27T18:00:00", "2026-11-30T21:00:00"),
    "XNYS across its change to summer time": ("XNYS", "2026-03-06T21:30:00", "2026-03-09T20:00:00"),
    "XNYS long ago": ("XNYS", "2012-01-04T15:00:00", "2012-01-04T21:00:00"),
    # London Stock Exchange: 08:00 to 16:30 in London, where clocks go forward on 29 March and back on 25 October.
    "XLON on the last day of winter time": ("XLON", "2026-03-27T12:00:00", "2026-03-27T16:30:00"),
    "XLON over the weekend into summer time": ("XLON", "2026-03-27T16:30:00", "2026-03-30T15:30:00"),
    "XLON over the weekend into winter time": ("XLON", "2026-10-23T15:30:00", "2026-10-26T16:30:00"),
    "XLON on Christmas Eve, which closes at 12:30": ("XLON", "2026-12-24T09:00:00", "2026-12-24T12:30:00"),
    "XLON over Christmas": ("XLON", "2026-12-24T12:30:00", "2026-12-29T16:30:00"),
    # CME Globex, as the library has its day: 17:00 to 17:00 in Chicago, from Sunday evening to Friday.
    "CMES on a Friday": ("CMES", "2026-01-09T15:00:00", "2026-01-09T23:00:00"),
    "CMES over the weekend": ("CMES", "2026-01-10T15:00:00", "2026-01-12T23:00:00"),
    "CMES on a Sunday evening": ("CMES", "2026-01-11T23:30:00", "2026-01-12T23:00:00"),
    # Hong Kong: 09:30 to 16:00 with a break at noon, which ends no day.
    "XHKG in its break": ("XHKG", "2026-01-05T04:30:00", "2026-01-05T08:00:00"),
    "XHKG before anybody knows its holidays": ("XHKG", "1950-01-05T03:00:00", ""),
    # Of Shanghai the holidays are known a year or so ahead.
    "XSHG on the last day of a year": ("XSHG", "2026-12-31T04:00:00", "2026-12-31T07:00:00"),
    "XSHG beyond what anybody can know": ("XSHG", "2060-01-05T03:00:00", ""),
}


@pytest.mark.parametrize("what", DAYS)
def test_the_day_that_an_order_is_entered_on(what: str) -> None:
    name, entered, ends = DAYS[what]
    assert calendar_of(name).session_end_ns(ns(entered)) == (ns(ends) if ends else None)


def test_one_calendar_is_asked_forwards_and_back() -> None:
    calendar = calendar_of("XNYS")
    for entered, ends in [
        ("2026-01-05T15:00:00", "2026-01-05T21:00:00"),
        ("2012-01-04T15:00:00", "2012-01-04T21:00:00"),
        ("2026-07-06T15:00:00", "2026-07-06T20:00:00"),
    ]:
        assert calendar.session_end_ns(ns(entered)) == ns(ends)


def test_venues_and_limits_share_no_table() -> None:
    assert calendar_of("XNYS") is not calendar_of("XNYS")


@pytest.mark.parametrize("name", ["XXXX", "", "xnys", "24X7"])
def test_an_unknown_calendar_is_refused_with_what_to_write(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"spec.calendar: calendar '{name}' is neither '24x7' nor one of"):
        calendar_of(name)
