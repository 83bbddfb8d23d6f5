"""Trading days end at midnight UTC where nothing closes."""

from __future__ import annotations

import pytest

from crowetrade_agents.errors import ConfigurationError
from crowetrade_agents.venues.calendar import calendar_named

from .values import MIDNIGHT_NS, SECOND_NS

DAY_NS = 86_400 * SECOND_NS


@pytest.mark.parametrize(
    ("at_ns", "end_ns"),
    [
        (MIDNIGHT_NS - 1, MIDNIGHT_NS),
        (MIDNIGHT_NS, MIDNIGHT_NS + DAY_NS),
        (MIDNIGHT_NS + DAY_NS - 1, MIDNIGHT_NS + DAY_NS),
    ],
)
def test_a_day_ends_at_the_next_midnight(at_ns: int, end_ns: int) -> None:
    assert calendar_named("24x7").session_end_ns(at_ns) == end_ns


def test_an_unknown_calendar_is_refused_with_what_to_write() -> None:
    with pytest.raises(ConfigurationError, match=r"'XNYS' is not known: write '24x7'"):
        calendar_named("XNYS")
