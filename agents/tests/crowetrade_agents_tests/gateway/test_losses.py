"""Losses against the plain history of values: whatever the market does, and with a restart anywhere."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from crowetrade.config.v1 import config_pb2
from crowetrade_agents.gateway import commands
from crowetrade_agents.gateway.books import Books, recover
from crowetrade_agents.gateway.engine import next_timer_ns
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.breaches import Desk, loss_rule
from crowetrade_agents_tests.gateway.scenario import SECOND, START, VENUE

MINUTE = 60 * SECOND
ROUND = SECOND + SECOND // 2
"""A round over the ledgers, with room to spare."""
RULES = (
    loss_rule({"maxDailyLoss": "100"}, "day", on_breach="Alert"),
    loss_rule({"maxDrawdown": "0.0015"}, "peak", on_breach="Alert"),
    loss_rule({"maxLossPerMinute": "0.0012"}, "minute", on_breach="Alert"),
)
ALLOWED = {"day": Decimal(100), "peak": Decimal(150), "minute": Decimal(120)}
UNITS = 10_000


class Market(Desk):
    """A gateway whose timers go off when they are due."""

    def pass_time(self, until_ns: int) -> None:
        while (due := next_timer_ns(self.state)) is not None and due <= until_ns:
            self.now = max(due, self.now)
            self.do(commands.Timer())
        self.now = until_ns

    def found(self) -> set[str]:
        return {body.risk_limit for body in self.books.breaches.values() if body.subject == "alpha"}

    def restarted(self) -> Market:
        """Another process that finds what the journal says, and is quoted as before."""
        market = Market(books=recover(VENUE, self.books.to_message(), ()), ready=False)
        market.now = self.now
        market.put(*RULES)
        market.do(commands.VenueConnected(port.VenueSnapshot()))
        return market


def _trading() -> Market:
    market = Market()
    market.quote("1.1")
    market.put(*RULES)
    market.trade(1, UNITS)
    return market


GAPS = st.sampled_from((0.0, 0.001, 0.3, 1.0, 2.5, 7.0, 31.0, 59.0, 60.5, 90.0))
CHANGES = st.integers(-60, 65)
"""Of the value in USD: small, so that the first breach comes late."""
STEPS = st.lists(st.tuples(GAPS, CHANGES), min_size=1, max_size=30)


@given(STEPS)
@example([(1.0, 400), (0.001, -121)])
@example([(1.0, 100), (1.0, -40), (59.0, -81)])
@example([(1.0, 100), (1.0, -40), (59.0, 0), (2.0, -81)])
@example([(1.0, 100), (1.0, -60), (0.0, 30), (0.001, -20), (60.5, 0), (90.0, -95)])
@settings(max_examples=60, deadline=None)
def test_what_is_found_is_what_the_history_says(steps: list[tuple[float, int]]) -> None:
    market = _trading()
    history = [(market.now, Decimal(0))]
    must: set[str] = set()
    may: set[str] = set()
    value = Decimal(0)
    for gap, change in steps:
        market.pass_time(market.now + int(gap * SECOND))
        value += change
        history.append((market.now, value))
        market.quote(str(Decimal("1.1") + value / UNITS))
        must |= _broken(history, MINUTE)
        may |= _broken(history, MINUTE + ROUND)
        assert must <= market.found() <= may


def _broken(history: list[tuple[int, Decimal]], window_ns: int) -> set[str]:
    now, value = history[-1]
    # A value is in force until the next one comes.
    until = [at for at, _ in history[1:]] + [now]
    lately = max(item for (_, item), end in zip(history, until, strict=True) if end >= now - window_ns)
    lost = {"day": -value, "peak": max(item for _, item in history) - value, "minute": lately - value}
    return {name for name, amount in lost.items() if amount > ALLOWED[name]}


@given(STEPS, st.integers(0, 24))
@settings(max_examples=30, deadline=None)
def test_a_restart_changes_neither_day_nor_peak(steps: list[tuple[float, int]], at: int) -> None:
    """Of the last second before it a high may be lost, so the process that stops has had its second."""
    market, expected, value = _trading(), _trading(), Decimal(0)
    for number, (gap, change) in enumerate(steps):
        value += change
        expected.pass_time(expected.now + int(gap * SECOND))
        market.pass_time(market.now + int(gap * SECOND))
        if number == at:
            market.pass_time(market.now + 2 * ROUND)
            before = market.books
            market = market.restarted()
            assert market.books.loss_marks == before.loss_marks
            assert market.books.tallies == before.tallies
        for desk in (market, expected):
            desk.quote(str(Decimal("1.1") + value / UNITS))
    market.pass_time(market.now + 2 * ROUND)
    expected.pass_time(expected.now + 2 * ROUND)
    assert market.found() - {"minute"} == expected.found() - {"minute"}
    assert _peaks(market) == _peaks(expected)


def _peaks(desk: Desk) -> dict[str, str]:
    """By strategy, under the rule whose drawdown they are measured for."""
    return {subject: mark.peak for (uid, subject), mark in desk.books.loss_marks.items() if uid == "uid-peak"}


# --- Days of a calendar ----------------------------------------------------------------------------------------------


def _ns(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def _hours(calendar: str = "") -> config_pb2.RiskRule:
    """By the days of a calendar, or by its own, as "17:00 America/New_York"."""
    message = loss_rule({"maxDailyLoss": "100"}, on_breach="Alert")
    starts_at, _, zone = calendar.partition(" ")
    if zone:
        message.day.time_zone, message.day.starts_at = zone, starts_at
        message.limits.append(config_pb2.Limit(name="tradingHours", values={"calendar": "24x7"}))
    elif calendar:
        message.limits.append(config_pb2.Limit(name="tradingHours", values={"calendar": calendar}))
    return message


# Calendar, when the day begins (UTC), the day before and the one that begins.
DAYS = {
    "UTC": ("", "2024-11-29T00:00:00", "2024-11-28", "2024-11-29"),
    "a market that never closes": ("24x7", "2024-11-29T00:00:00", "2024-11-28", "2024-11-29"),
    "New York in winter": ("XNYS", "2024-11-26T21:00:00", "2024-11-26", "2024-11-27"),
    "an early close, after which comes a weekend": ("XNYS", "2024-11-29T18:00:00", "2024-11-29", "2024-12-02"),
    "a holiday belongs to the next session": ("XNYS", "2024-11-27T21:00:00", "2024-11-27", "2024-11-29"),
    "New York in summer": ("XNYS", "2024-07-01T20:00:00", "2024-07-01", "2024-07-02"),
    "the week in which the clock changes": ("XNYS", "2024-11-01T20:00:00", "2024-11-01", "2024-11-04"),
    "and the first close after it": ("XNYS", "2024-11-04T21:00:00", "2024-11-04", "2024-11-05"),
    "its own day in winter": ("17:00 America/New_York", "2024-11-26T22:00:00", "2024-11-25", "2024-11-26"),
    "its own day in summer": ("17:00 America/New_York", "2024-07-01T21:00:00", "2024-06-30", "2024-07-01"),
    "midnight in Zurich": ("00:00 Europe/Zurich", "2024-07-01T22:00:00", "2024-07-01", "2024-07-02"),
    "a day of 23 hours begins": ("00:00 Europe/Zurich", "2024-03-30T23:00:00", "2024-03-30", "2024-03-31"),
    "and ends": ("00:00 Europe/Zurich", "2024-03-31T22:00:00", "2024-03-31", "2024-04-01"),
    "a day of 25 hours begins": ("00:00 Europe/Zurich", "2024-10-26T22:00:00", "2024-10-26", "2024-10-27"),
    "and ends an hour later": ("00:00 Europe/Zurich", "2024-10-27T23:00:00", "2024-10-27", "2024-10-28"),
    "a time that spring leaves out": ("02:30 Europe/Zurich", "2024-03-31T01:00:00", "2024-03-30", "2024-03-31"),
    "a time that comes twice in autumn": ("02:30 Europe/Zurich", "2024-10-27T00:30:00", "2024-10-26", "2024-10-27"),
}


@pytest.mark.parametrize("what", DAYS)
def test_the_day_is_that_of_the_calendar(what: str) -> None:
    calendar, begins, day_before, day = DAYS[what]
    desk = Desk(books=Books(VENUE), ready=False)
    desk.now = _ns(begins) - 2 * SECOND
    desk.make_ready()
    desk.quote("1.1")
    desk.put(_hours(calendar))
    key = ("uid-loss", "alpha")
    assert desk.books.loss_marks[key].day == day_before
    desk.trade(1, UNITS)
    desk.quote("1.0901")
    desk.now = _ns(begins) - 1
    desk.quote("1.0901")
    assert desk.books.loss_marks[key].day == day_before

    desk.now = _ns(begins)
    desk.quote("1.0901")

    assert desk.books.loss_marks[key].day == day
    assert desk.books.loss_marks[key].day_start == "-99"
    desk.quote("1.0802")
    assert desk.latched == []
    desk.quote("1.08")
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/alpha"]


def test_a_day_does_not_begin_again_when_the_clock_goes_back() -> None:
    """In Zurich 02:30 comes at 00:30 and at 01:30 UTC; in between the clock shows 02:00 to 02:30 once more."""
    desk = Desk(books=Books(VENUE), ready=False)
    desk.now = _ns("2024-10-27T00:30:00")
    desk.make_ready()
    desk.quote("1.1")
    desk.put(_hours("02:30 Europe/Zurich"))
    desk.trade(1, UNITS)
    for minute in range(0, 130, 5):
        desk.now = _ns("2024-10-27T00:30:00") + minute * MINUTE
        desk.quote("1.0901")
        mark = desk.books.loss_marks["uid-loss", "alpha"]
        assert (mark.day, mark.day_start) == ("2024-10-27", "0"), minute


CHANGED = {
    "the boundary is moved into what was yesterday": ("", "17:00 America/New_York", "2024-11-27T22:00:00"),
    "its own day is taken away": ("17:00 America/New_York", "", "2024-11-28T00:00:00"),
    "another zone": ("00:00 Europe/Zurich", "00:00 Asia/Tokyo", "2024-11-27T15:00:00"),
    "another calendar": ("24x7", "XNYS", "2024-11-27T21:00:00"),
}


@pytest.mark.parametrize("restart", [False, True], ids=["while it runs", "while it was down"])
@pytest.mark.parametrize("what", CHANGED)
def test_no_loss_is_forgotten_because_the_boundary_is_moved(what: str, restart: bool) -> None:
    before, after, next_day = CHANGED[what]
    desk = Desk(books=Books(VENUE), ready=False)
    desk.now = _ns("2024-11-27T10:00:00")
    desk.make_ready()
    desk.quote("1.1")
    desk.put(_hours(before))
    desk.trade(1, UNITS)
    desk.quote("1.0901")
    if restart:
        desk = Desk(books=recover(VENUE, desk.books.to_message(), ()), ready=False)
        desk.now = _ns("2024-11-27T10:00:00")
    desk.put(_hours(after))
    if restart:
        desk.do(commands.VenueConnected(port.VenueSnapshot()))
        desk.quote("1.0901")
    assert desk.books.loss_marks["uid-loss", "alpha"].day_start == "0"
    desk.now = _ns(next_day) - SECOND
    desk.quote("1.0901")
    assert desk.books.loss_marks["uid-loss", "alpha"].day_start == "0"
    desk.now += SECOND
    desk.quote("1.0901")
    assert desk.books.loss_marks["uid-loss", "alpha"].day_start == "-99"
    assert desk.latched == []


@pytest.mark.parametrize("alive", [False, True], ids=["a market that rests", "a market without quotes"])
def test_what_the_market_does_over_a_day_s_end_counts_for_the_new_day(alive: bool) -> None:
    """From Tuesday evening to Thursday morning nothing is quoted; then the price has fallen."""
    desk = _down_99()
    for _ in range(36):
        desk.now += 3_600 * SECOND
        if alive:
            desk.venue(port.FeedAlive(desk.now))
        desk.do(commands.Timer())
    desk.quote("1.0802")
    assert desk.books.loss_marks["uid-loss", "alpha"].day_start == "-99"
    assert desk.latched == []
    desk.quote("1.08")
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/alpha"]


def test_a_gap_at_the_first_quote_of_a_day_is_a_loss_of_that_day() -> None:
    desk = Desk()
    desk.put(_hours())
    desk.trade(1, UNITS)
    desk.quote("1.1")
    desk.now += 86_400 * SECOND
    desk.quote("1.08")
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/alpha"]


def _down_99() -> Desk:
    """A desk that holds a position by which it has lost 99."""
    desk = Desk()
    desk.put(_hours())
    desk.trade(1, UNITS)
    desk.quote("1.0901")
    return desk


def _restarted(desk: Desk, day: int = 1, seconds: int = 0, *rules: config_pb2.RiskRule) -> Desk:
    """A gateway that opens the same journal days later, and has no quote yet."""
    restarted = Desk(books=recover(VENUE, desk.books.to_message(), ()), ready=False)
    restarted.now = START + day * 86_400 * SECOND + seconds * SECOND
    restarted.put(*(rules or (_hours(),)))
    restarted.do(commands.VenueConnected(port.VenueSnapshot()))
    return restarted


@pytest.mark.parametrize("leaves", [False, True], ids=["killed", "asked to stop"])
def test_a_day_that_begins_while_no_gateway_runs_begins_with_the_last_value(leaves: bool) -> None:
    desk = _down_99()
    if leaves:
        desk.do(commands.Leave())
    else:
        desk.later(1)
    restarted = _restarted(desk)
    mark = restarted.books.loss_marks["uid-loss", "alpha"]
    assert (mark.day, mark.day_start) == ("2023-11-15", "-99")
    restarted.quote("1.0802")
    assert restarted.latched == []
    again = _restarted(restarted, 1, 60)
    again.quote("1.0801")
    assert again.books.loss_marks["uid-loss", "alpha"].day_start == "-99", "the day began once"
    assert again.latched == []
    again.quote("1.08")
    assert [name.partition("@")[0] for name in again.latched] == ["maxDailyLoss/alpha"]


def test_an_execution_while_no_gateway_ran_over_the_day_s_end_counts_for_the_new_day() -> None:
    desk = Desk()
    desk.put(_hours())
    desk.quote("1.1")
    desk.order(1)
    desk.accepted(1)
    desk.do(commands.Leave())
    restarted = _restarted(desk)
    restarted.executed(1, "10000", "x1", "1.1")
    restarted.quote("1.0899")
    assert restarted.books.loss_marks["uid-loss", "alpha"].day_start == "0"
    assert [name.partition("@")[0] for name in restarted.latched] == ["maxDailyLoss/alpha"]


def test_the_last_value_is_marked_once_a_minute() -> None:
    desk = Desk()
    desk.put(_hours())
    desk.trade(1, UNITS)
    desk.later(2)
    before = len(desk.events)
    for second in range(125):
        desk.quote(str(Decimal("1.1") - Decimal(second) / 100_000))
        desk.later(1)
    assert [event.WhichOneof("event") for event in desk.events[before:]] == ["loss_marked"] * 2


def test_whoever_joins_while_no_gateway_runs_over_the_day_s_end_brings_no_loss_of_the_past() -> None:
    desk = Desk()
    alone = loss_rule({"maxDailyLoss": "100"}, aggregate_total=True, strategies=["alpha"])
    desk.put(alone)
    desk.trade(1, UNITS)
    desk.trade(1, UNITS, strategy="beta")
    desk.quote("1.0901")
    desk.do(commands.Leave())
    both = loss_rule({"maxDailyLoss": "100"}, aggregate_total=True)
    restarted = _restarted(desk, 1, 0, both)
    watch = restarted.state.live.standing.watches["uid-loss", ""]
    assert watch.pending is not None
    assert (watch.baseline.day, watch.baseline.day_start) == ("2023-11-15", None)
    restarted.quote("1.0852")
    assert restarted.latched == [], "49 of alpha since the last value; what beta had made by now is its own"
    restarted.quote("1.08265")
    assert restarted.latched == []
    restarted.quote("1.0826")
    assert [name.partition("@")[0] for name in restarted.latched] == ["maxDailyLoss/-"]


def test_a_start_in_another_day_without_a_last_value_counts_from_the_first_that_is_known() -> None:
    desk = _down_99()
    restarted = _restarted(desk)
    assert restarted.books.loss_marks["uid-loss", "alpha"].day_start == ""
    restarted.quote("1.05")
    assert restarted.books.loss_marks["uid-loss", "alpha"].day_start == "-500"
    restarted.quote("1.0401")
    assert restarted.latched == []
    restarted.quote("1.0399")
    assert [name.partition("@")[0] for name in restarted.latched] == ["maxDailyLoss/alpha"]


@pytest.mark.parametrize("leaves", [False, True], ids=["nothing on record", "a last value"])
def test_a_start_whose_first_quote_is_the_first_of_a_day_leaves_nothing_out(leaves: bool) -> None:
    """A position that had no quote until then is not worth nothing."""
    desk = _down_99()
    if leaves:
        desk.do(commands.Leave())
    restarted = _restarted(desk, 0, 60)
    restarted.now += 86_400 * SECOND
    restarted.quote("1.05")
    assert restarted.books.loss_marks["uid-loss", "alpha"].day_start == ("-99" if leaves else "-500")
    assert bool(restarted.latched) is leaves, "401 since the last value, or nothing that anybody knows"


@pytest.mark.parametrize(("mid", "made"), [("1.15", "500"), ("1.05", "-500")], ids=["after a gain", "after a loss"])
def test_a_limit_on_losses_that_comes_to_a_rule_on_messages_counts_from_then_on(mid: str, made: str) -> None:
    """Before, nobody added up what was made: neither does that gain make room, nor was that loss the day's."""
    desk = Desk()
    ratio = {"maxOrderToTradeRatio": "60"}
    desk.put(loss_rule(ratio, on_breach="Alert"))
    desk.trade(1, UNITS)
    desk.quote(mid)
    assert desk.books.loss_marks["uid-loss", "alpha"].day_start == ""
    desk.put(loss_rule({**ratio, "maxDailyLoss": "100"}, on_breach="Alert"))
    mark = desk.books.loss_marks["uid-loss", "alpha"]
    assert (mark.day_start, mark.peak) == (made, made)
    desk.quote(str(Decimal(mid) - Decimal("0.0100")))
    assert desk.latched == []
    desk.quote(str(Decimal(mid) - Decimal("0.0101")))
    assert [name.partition("@")[0] for name in desk.latched] == ["maxDailyLoss/alpha"]
