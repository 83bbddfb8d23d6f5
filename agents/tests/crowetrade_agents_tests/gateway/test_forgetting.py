"""Strategies that come and go for months: what is kept of them, and for how long."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from crowetrade.bus.v1 import status_pb2
from crowetrade.config.v1 import config_pb2, kill_pb2
from crowetrade_agents.auditor.ledger import Ledger
from crowetrade_agents.control.kills import Channel, Kill
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.money import Money
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.errors import JournalCorrupt
from crowetrade_agents.gateway import commands
from crowetrade_agents.gateway.books import FORMER, Books
from crowetrade_agents.gateway.forgetting import DAY_NS, MARKS_KEPT_DAYS
from crowetrade_agents.gateway.order import Counters
from crowetrade_agents.gateway.status import gateway_status, status_pieces
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.breaches import Desk, loss_rule
from crowetrade_agents_tests.gateway.scenario import EUR, GBP, SECOND, VENUE, book, cl_ord_id, kinds, rule

ACTIVE = TradingState.ACTIVE
DAILY = {"maxDailyLoss": "1000"}


def _bind(desk: Desk, *names: str, rules: tuple[config_pb2.RiskRule, ...] = (), **more: object) -> list[str]:
    """The strategies are bound, and alpha is; returns what was journaled."""
    bound = ("alpha", *names)
    wide = rule("size", strategies=bound, maxOrderQuantity="1000000")
    given = {name: Money(Decimal(100_000), "USD") for name in bound}
    bindings, revision = dict.fromkeys(bound, ACTIVE), f"r{len(desk.effects)}"
    desk.put(wide, *rules, bindings=bindings, capital=given, revision=revision, **more)
    return kinds(desk.last)


def _round_trip(desk: Desk, name: str, number: int = 1) -> None:
    """The strategy buys 10,000 and sells them for one unit less in each thousand."""
    desk.trade(number, 10_000, "1.1", strategy=name)
    desk.trade(number + 1, 10_000, "1.099", side=Side.SELL, strategy=name)


def _days(desk: Desk, days: float) -> None:
    """Days pass in which nothing comes but quotes."""
    desk.now += int(days * DAY_NS)
    for instrument in (EUR, GBP):
        desk.venue(port.QuoteChanged(0, book(instrument)))
    desk.do(commands.Timer())


def _forgotten(desk: Desk) -> list[str]:
    return [name for event in desk.events for name in event.forgotten.strategies]


def _names(books: Books) -> set[str]:
    """Whoever is named anywhere in a snapshot but for orders that ended."""
    message = books.to_message()
    message.ClearField("ended")
    message.ClearField("configuration")
    return {name for name in ("alpha", "gone") if name in str(message)}


def _audited(desk: Desk) -> Ledger:
    ledger = Ledger("cl-research", VENUE)
    for sequence, event in enumerate(desk.events, start=1):
        ledger.apply(sequence, event)
    return ledger


def _sizes(desk: Desk) -> dict[str, int]:
    """Entries of every table of the books, of what the process keeps, and of the auditor."""
    books, live, ledger = desk.books, desk.state.live, _audited(desk)
    tables = {
        "books": vars(books),
        "live": {name: getattr(live, name) for name in live.__slots__},
        "judging": {name: getattr(live.judging, name) for name in live.judging.__slots__},
        "auditor": vars(ledger),
    }
    found = {
        f"{where}.{name}": len(table)
        for where, all_of_them in tables.items()
        for name, table in all_of_them.items()
        if isinstance(table, dict | set | list | tuple)
    }
    found["recent"] = sum(len(sent) for sent in books.recent._sent.values())
    for name in ("messages", "buys", "sells"):
        found[name] = len(getattr(books, name)._histories)
    # Bounded by themselves, and not full yet.
    for name in ("books.ended", "books._by_id", "auditor.orders", "auditor._by_id", "auditor._ended", "auditor.recent"):
        found.pop(name, None)
    return found


@pytest.fixture
def desk() -> Desk:
    """The strategy gone has bought and sold; it is about to be unbound."""
    desk = Desk()
    _bind(desk, "gone")
    _round_trip(desk, "gone")
    return desk


def test_a_strategy_that_is_gone_is_forgotten_after_a_day(desk: Desk) -> None:
    assert _bind(desk) == ["configuration_applied"]
    _days(desk, 0.99)
    assert _bind(desk) == ["configuration_applied"]
    assert _names(desk.books) == {"gone"}
    _days(desk, 0.02)
    assert _bind(desk) == ["configuration_applied", "forgotten"]

    assert _forgotten(desk) == ["gone"]
    assert _names(desk.books) == set()
    assert _names(desk.folded()) == set()
    assert desk.folded().to_message() == desk.books.to_message()
    assert _audited(desk).differences(desk.books.to_message()) == []
    assert not any("gone" in str(table) for table in (_audited(desk).tallies, _audited(desk).holdings))


def test_the_totals_of_the_venue_stay(desk: Desk) -> None:
    _bind(desk)
    _days(desk, 2)
    _bind(desk)
    status = gateway_status(desk.state, 1, 0, (), desk.now)

    assert [(item.strategy, item.sent_total, item.filled_total) for item in status.accounts] == [
        ("alpha", 0, 0),
        (FORMER, 2, 2),
    ]
    assert Books.from_message(VENUE, desk.books.to_message()).counters[FORMER] == Counters(sent=2, filled=2)


def test_who_comes_back_begins_with_nothing(desk: Desk) -> None:
    """Under a name that was forgotten, as under any other name that is new."""
    _bind(desk)
    _days(desk, 2)
    _bind(desk)
    _bind(desk, "gone")

    assert desk.books.tallies.of(frozenset({"gone"})).messages == 0
    _round_trip(desk, "gone", 11)
    assert desk.books.counters["gone"].sent == 2
    assert desk.position("gone") == 0
    assert desk.books.positions["gone", EUR].realized == -10
    assert desk.folded().to_message() == desk.books.to_message()


def test_an_execution_that_is_reported_again_is_known(desk: Desk) -> None:
    _bind(desk)
    _days(desk, 2)
    _bind(desk)
    again = port.Executed(
        cl_ord_id(1, "gone"), "v1", "x-gone-1", EUR, Side.BUY, Decimal(10_000), Decimal("1.1"), Decimal(0), SECOND
    )

    assert kinds(desk.venue(again)) == []
    assert not desk.books.halts


def test_an_execution_that_comes_late_is_booked_to_its_owner(desk: Desk) -> None:
    """The order is remembered; what it does counts for every rule that counts strategies together."""
    _bind(desk)
    _days(desk, 2)
    together = loss_rule({"maxGrossNotional": "1000000"}, "all", strategies=("alpha",), aggregate_total=True)
    _bind(desk, rules=(together,))
    desk.executed(1, "1000", "late", cl_ord_id=cl_ord_id(1, "gone"))

    assert desk.position("gone") == 1000
    assert "gone" in desk.books.members["all"]
    assert desk.books.account[EUR].owners >= {"gone"}
    assert desk.books.account[EUR].total.position == 1000
    assert desk.folded().to_message() == desk.books.to_message()


def _holds(desk: Desk) -> None:
    desk.trade(5, 1000, strategy="gone")


def _works(desk: Desk) -> None:
    desk.order(5, strategy="gone")


def _is_killed(desk: Desk) -> None:
    """By its label, which nobody has to have any more."""
    _bind(desk, "gone", strategy_labels={"gone": {"team": "a"}})
    scope = kill_pb2.KillScope(
        strategy_selector=kill_pb2.LabelSelector(match_labels={"team": "a"}), namespaces_from="Same"
    )
    mode = kill_pb2.KILL_MODE_BLOCK
    order = kill_pb2.KillOrder(namespace="cl-research", name="stop", uid="u", generation=1, mode=mode, scope=scope)
    desk.do(Kill(order, Channel.RPC))


def _breaches(desk: Desk) -> None:
    desk.trade(5, 900_000, "1.1", strategy="gone")
    desk.quote("1.0")
    assert desk.latched
    desk.trade(7, 900_000, "1.0", side=Side.SELL, strategy="gone")


def _has_a_session(desk: Desk) -> None:
    desk.do(commands.Logon("gone", 9))


@pytest.mark.parametrize("what", [_holds, _works, _is_killed, _breaches, _has_a_session])
def test_who_has_something_or_is_named_by_what_a_person_ends_is_kept(desk: Desk, what: Callable[[Desk], None]) -> None:
    _bind(desk, "gone", rules=(loss_rule(DAILY, strategies=("gone",)),))
    what(desk)
    for _ in range(3):
        _days(desk, 40)
        _bind(desk)

    assert _forgotten(desk) == []
    assert "gone" in _names(desk.books)


def test_who_has_been_bound_all_the_time_is_kept(desk: Desk) -> None:
    for _ in range(3):
        _days(desk, 40)
        _bind(desk, "gone")

    assert _forgotten(desk) == []


def test_while_nobody_knows_who_is_bound_nobody_is_forgotten(desk: Desk) -> None:
    _bind(desk)
    _days(desk, 40)
    desk.do(commands.Configure(Configuration("r-unreadable", None)))

    assert _forgotten(desk) == []


def test_the_day_and_the_peak_of_who_is_created_again_go_on(desk: Desk) -> None:
    """A month later nothing is left of them."""
    watched = (loss_rule({**DAILY, "maxDrawdown": "0.5"}, strategies=("gone",)),)
    _bind(desk, "gone", rules=watched)
    desk.trade(3, 10_000, "1.1", strategy="gone")
    desk.trade(4, 10_000, "1.2", side=Side.SELL, strategy="gone")
    desk.later(2)
    _round_trip(desk, "gone", 5)
    _bind(desk)
    before = desk.books.loss_marks["uid-loss", "gone"].peak
    assert before == "990.5"
    _days(desk, MARKS_KEPT_DAYS)
    _bind(desk)
    assert _forgotten(desk) == []
    _bind(desk, "gone", rules=watched)
    assert desk.books.loss_marks["uid-loss", "gone"].peak == before

    _bind(desk)
    _days(desk, MARKS_KEPT_DAYS + 2)
    _bind(desk)
    assert _forgotten(desk) == ["gone"]
    assert not desk.books.loss_marks


def test_marks_of_a_risk_limit_that_is_gone_are_forgotten(desk: Desk) -> None:
    together = loss_rule(DAILY, "all", strategies=("alpha", "gone"), aggregate_total=True)
    _bind(desk, "gone", rules=(together,))
    assert ("uid-all", "") in desk.books.loss_marks
    _days(desk, 2 * MARKS_KEPT_DAYS)
    _bind(desk, "gone")
    assert ("uid-all", "") in desk.books.loss_marks, "it was in force until now"
    _days(desk, MARKS_KEPT_DAYS + 2)
    assert _bind(desk, "gone") == ["configuration_applied", "forgotten"]

    assert not desk.books.loss_marks
    assert not _audited(desk).loss_marks
    assert _forgotten(desk) == []
    assert desk.folded().to_message() == desk.books.to_message()


def test_the_auditor_takes_nobody_for_forgotten_who_is_bound(desk: Desk) -> None:
    desk.events[-1].forgotten.strategies.append("gone")
    config = config_pb2.GatewayConfig(strategies=[config_pb2.StrategyBinding(strategy="gone")])
    first = next(event for event in desk.events if event.HasField("configuration_applied"))
    first.configuration_applied.config.CopyFrom(config)

    with pytest.raises(JournalCorrupt):
        _audited(desk)


def test_strategies_that_come_and_go_for_months_leave_no_more_than_those_of_one_month() -> None:
    """Each day another one, with a limit of its own that goes with it; the gateway starts again each week."""
    desk = Desk()
    counted = {}
    for day in range(1, 141):
        name = f"day-{day}"
        _bind(desk, name, rules=(loss_rule({**DAILY, "maxOrderToTradeRatio": "9"}, f"of-{name}", strategies=(name,)),))
        _round_trip(desk, name)
        desk.order(9, strategy=name, quantity=Decimal(2_000_000))
        _days(desk, 1)
        if day % 7 == 0:
            events, now = desk.events, desk.now
            desk = Desk(books=Books.from_message(VENUE, desk.books.to_message()), ready=False)
            desk.events, desk.now = [*events, *desk.events], now
            desk.events[-1].at_unix_ns = now
            desk.make_ready()
        if day in (70, 140):
            counted[day] = _sizes(desk)

    assert counted[70] == counted[140]
    assert max(counted[140].values()) == 2 * (MARKS_KEPT_DAYS + 1)


def test_status_pieces_survive_that_somebody_is_forgotten(desk: Desk) -> None:
    """Bound and without a trade for months when it began, and forgotten before its turn."""
    _days(desk, 40)
    status = status_pb2.GatewayStatus()
    for number, _ in enumerate(status_pieces(status, desk.state, 1, 0, (), desk.now)):
        if number == 0:
            _bind(desk)

    assert _forgotten(desk) == ["gone"]
    assert [item.strategy for item in status.accounts] == ["alpha", "gone", FORMER]
