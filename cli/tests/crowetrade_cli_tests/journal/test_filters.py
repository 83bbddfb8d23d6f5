"""Which events a person gets to see."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from crowetrade_cli.errors import WrongUse
from crowetrade_cli.journal.filters import EventFilter, parse_since
from crowetrade_cli.journal.rows import rows_of

from ..values import EMA, PAIR, PAIR_REPLACED, SECOND_NS, START_NS, payloads

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NOW_NS = 1_772_366_400_000_000_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", 0),
        ("2026-03-01T12:00:00Z", NOW_NS),
        ("2026-03-01T12:00:00", NOW_NS),
        ("2026-03-01T14:00:00+02:00", NOW_NS),
        ("2026-03-01T12:00:00.000001Z", NOW_NS + 1000),
        ("2026-03-01", NOW_NS - 12 * 3600 * SECOND_NS),
        ("90s", NOW_NS - 90 * SECOND_NS),
        ("15m", NOW_NS - 900 * SECOND_NS),
        ("2h", NOW_NS - 7200 * SECOND_NS),
        ("999999d", NOW_NS - 999_999 * 86_400 * SECOND_NS),
        ("3d", NOW_NS - 259_200 * SECOND_NS),
    ],
)
def test_since_is_a_time_or_an_age(text: str, expected: int) -> None:
    assert parse_since(text, NOW) == expected


@pytest.mark.parametrize("text", ["yesterday", "5", "5w", "-5m", "2026-13-01", "1234567d"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(WrongUse, match="write 2026-03-01T09:30:00Z, or an age such as 90s"):
        parse_since(text, NOW)


@pytest.mark.parametrize(
    ("wanted", "sequences"),
    [
        (EventFilter(), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
        (EventFilter(strategy="ema"), [2, 3, 5, 10]),
        (EventFilter(strategy="gold-pair"), [4, 6, 7, 9]),
        (EventFilter(strategy="pair"), []),
        (EventFilter(since_unix_ns=START_NS + 7 * SECOND_NS), [8, 9, 10]),
        (EventFilter(order=EMA), [2, 3, 5]),
        (EventFilter(order=PAIR), [4, 6, 7, 9]),
        (EventFilter(order=PAIR_REPLACED), [6, 7, 9]),
        (EventFilter(order=PAIR, since_unix_ns=START_NS + 6 * SECOND_NS), [7, 9]),
        (EventFilter(strategy="ema", order=PAIR), []),
    ],
)
def test_filters(wanted: EventFilter, sequences: list[int]) -> None:
    rows = [row for payload in payloads() for row in rows_of(payload)]
    assert [row.sequence for row in rows if wanted.takes(row)] == sequences
