"""Executions that a venue reports again, whose orders ended so many orders ago that they are forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.auditor.ledger import Ledger
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import commands, effects, executions
from crowetrade_agents.gateway.books import ENDED_KEPT, Books, recover
from crowetrade_agents.gateway.executions import DAY_NS, BookedExecutions
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import (
    EUR,
    GBP,
    INSTRUMENTS,
    SECOND,
    START,
    VENUE,
    Scenario,
    cl_ord_id,
    configuration,
    kinds,
)

SETTINGS = Settings("cl-research", VENUE, "pod-1", INSTRUMENTS, orders_per_second=10**6, order_burst=10**6)


def _execution(number: int, *, exec_id: str = "", at_ns: int = START, **changes: object) -> port.Executed:
    """Order `number` is filled for its 10,000."""
    values: dict[str, object] = {
        "cl_ord_id": cl_ord_id(number),
        "order_id": f"v{number}",
        "exec_id": exec_id or f"e{number}",
        "instrument": EUR,
        "side": Side.BUY,
        "quantity": Decimal(10_000),
        "price": Decimal("1.1"),
        "fee": Decimal(0),
        "at_ns": at_ns,
    }
    return port.Executed(**{**values, **changes})  # type: ignore[arg-type]


def _bust(number: int, at_ns: int = START + 1) -> port.Busted:
    return port.Busted(
        cl_ord_id(number),
        f"b{number}",
        f"e{number}",
        EUR,
        Side.BUY,
        Decimal(10_000),
        Decimal("1.1"),
        Decimal(0),
        at_ns,
    )


def _forget(scenario: Scenario, numbers: Iterator[int], fill: bool = False) -> None:
    """As many orders end as it takes to forget those before."""
    for number in (next(numbers) for _ in range(ENDED_KEPT)):
        scenario.order(number)
        if fill:
            scenario.venue(_execution(number, at_ns=scenario.now))
        else:
            scenario.ended(number)


@pytest.fixture
def numbers() -> Iterator[int]:
    """Numbers of orders of which nothing is said."""
    return iter(range(1000, 10**6))


@pytest.fixture
def forgotten(numbers: Iterator[int]) -> Scenario:
    """Order 1 was filled, order 2 was filled and that was taken back, and both are forgotten."""
    scenario = Scenario(SETTINGS)
    for number in (1, 2):
        scenario.order(number)
        scenario.venue(_execution(number))
    scenario.venue(_bust(2))
    scenario.now += SECOND
    _forget(scenario, numbers)
    assert scenario.find(1) is scenario.find(2) is None
    return scenario


def _halt(scenario: Scenario) -> str:
    (text,) = scenario.books.halts.values()
    return text


def test_what_is_reported_again_is_known_after_its_order_was_forgotten(forgotten: Scenario) -> None:
    """A strategy that cancels a thousand orders between two executions is a market maker, and a venue that reports the
    last execution again at a logon does what the port says. It halted everybody, and was booked to nobody."""
    snapshot = port.VenueSnapshot(executions=(_execution(1), _execution(2)), busts=(_bust(2),))
    restarted = Scenario(SETTINGS, Books.from_message(VENUE, forgotten.books.to_message()))
    replayed = Scenario(SETTINGS, recover(VENUE, None, forgotten.events))

    for scenario in (forgotten, restarted, replayed):
        done = scenario.do(commands.VenueConnected(snapshot))
        assert kinds(done) == []
        assert done.count(effects.Count("EXECUTIONS_REPEATED", ())) == 3
        for event in (_execution(1), _execution(2), _bust(2)):
            assert kinds(scenario.venue(event)) == []
        assert scenario.position() == 10_000
        assert not scenario.books.halts


def test_a_fee_that_is_reported_later_makes_no_other_execution(forgotten: Scenario) -> None:
    assert kinds(forgotten.venue(_execution(1, fee=Decimal("0.5")))) == []


@pytest.mark.parametrize(
    "changes",
    [
        {"exec_id": "e3"},
        {"quantity": Decimal(9_000)},
        {"price": Decimal("1.2")},
        {"side": Side.SELL},
        {"instrument": GBP},
        {"at_ns": START + DAY_NS},
    ],
    ids=["ExecID", "quantity", "price", "side", "instrument", "day"],
)
def test_another_execution_of_a_forgotten_order_is_booked_to_nobody_and_halts(
    forgotten: Scenario, changes: dict[str, object]
) -> None:
    """FIX lets a venue use an ExecID again on another day."""
    done = forgotten.venue(_execution(1, **changes))  # type: ignore[arg-type]

    assert kinds(done) == ["order_executed", "halt_changed"]
    assert forgotten.events[-2].order_executed.suspense
    assert (
        "whose order ended 1024 orders ago or earlier: it is booked for the first time, and to nobody. Find out why "
        "the venue reports it so late; "
    ) in _halt(forgotten)
    assert kinds(forgotten.venue(_execution(1, **changes))) == []  # type: ignore[arg-type]


def test_what_nobody_sent_halts_with_other_words(forgotten: Scenario) -> None:
    forgotten.venue(_execution(1, exec_id="e9", cl_ord_id="alpha-1hg3k2m9p0ab-999999"))

    assert "which no order of this gateway has: find out who sent it; " in _halt(forgotten)


def test_what_is_in_suspense_is_known_after_that_was_forgotten(numbers: Iterator[int]) -> None:
    scenario = Scenario(SETTINGS)
    scenario.venue(_execution(1, cl_ord_id="by-hand"))
    scenario.do(commands.Configure(configuration(cleared_halts=frozenset(scenario.books.halts), revision="r2")))
    _forget(scenario, numbers)

    assert kinds(scenario.venue(_execution(1, cl_ord_id="by-hand"))) == []
    assert not scenario.books.halts


def test_the_gateways_own_orders_are_known_as_its_own(numbers: Iterator[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """An order that closed a position, executed before what is remembered."""
    monkeypatch.setattr(executions, "KEPT", 4)
    scenario = Scenario(SETTINGS)
    scenario.order(1)
    scenario.venue(_execution(1))
    scenario.do(commands.Configure(configuration({"alpha": TradingState.FLATTEN}, revision="r2")))
    (own,) = [name for name in scenario.books.open if "-g1-" in name]
    closed = _execution(0, exec_id="own", cl_ord_id=own, order_id="v0", side=Side.SELL)
    scenario.venue(closed)
    assert scenario.position() == 0
    scenario.do(commands.Configure(configuration(revision="r3")))
    scenario.now += SECOND
    _forget(scenario, numbers, fill=True)
    scenario.do(commands.VenueConnected(port.VenueSnapshot(executions=(closed,))))

    assert not scenario.books.halts


@pytest.fixture
def long_ago(forgotten: Scenario, numbers: Iterator[int], monkeypatch: pytest.MonkeyPatch) -> Scenario:
    """As `forgotten`; the executions are forgotten too."""
    monkeypatch.setattr(executions, "KEPT", 4)
    _forget(forgotten, numbers, fill=True)
    return forgotten


def test_what_happened_before_the_last_logon_is_booked(long_ago: Scenario) -> None:
    """A venue that sends a whole day's executions at each logon, after more of them than are remembered."""
    held = long_ago.position()
    old = port.VenueSnapshot(executions=(_execution(1), _execution(2)), busts=(_bust(2),))

    for scenario in (long_ago, Scenario(SETTINGS, Books.from_message(VENUE, long_ago.books.to_message()))):
        assert kinds(scenario.do(commands.VenueConnected(old))) == []
        assert kinds(scenario.venue(_execution(1))) == []
        assert scenario.position() == held
        assert not scenario.books.halts


def test_whether_an_older_one_of_this_session_was_booked_is_not_known_and_halts(long_ago: Scenario) -> None:
    done = long_ago.venue(_execution(1))

    assert kinds(done) == ["order_executed", "halt_changed"]
    assert "whether it was booked before is not known any more. Compare the account with the venue; " in _halt(long_ago)
    assert long_ago.books.exposure(("", EUR)).position == 10_000


def test_the_moment_since_which_a_logon_asks_is_not_before_it(long_ago: Scenario) -> None:
    """Of that moment the venue is asked for executions, because one may be missing."""
    at_ns = long_ago.books.venue_ns
    long_ago.do(commands.VenueConnected(port.VenueSnapshot()))

    assert kinds(long_ago.venue(_execution(1, exec_id="e9", at_ns=at_ns - 1))) == []
    assert kinds(long_ago.venue(_execution(1, exec_id="e9", at_ns=at_ns))) == ["order_executed", "halt_changed"]


def test_an_old_execution_that_nobody_sent_halts_after_any_logon(long_ago: Scenario) -> None:
    long_ago.do(commands.VenueConnected(port.VenueSnapshot()))

    long_ago.venue(_execution(1, exec_id="e9", cl_ord_id="by-hand"))

    assert "find out who sent it" in _halt(long_ago)


def test_an_old_execution_of_a_known_order_is_booked_to_it(long_ago: Scenario, numbers: Iterator[int]) -> None:
    """Its order remembers what was booked."""
    number = next(numbers)
    long_ago.order(number)
    long_ago.do(commands.VenueConnected(port.VenueSnapshot()))

    assert kinds(long_ago.venue(_execution(number)))[0] == "order_executed"
    assert not long_ago.books.halts


def test_a_snapshot_of_a_version_that_kept_none_says_that_all_may_be_forgotten(forgotten: Scenario) -> None:
    message = forgotten.books.to_message()
    message.ClearField("executions")
    scenario = Scenario(SETTINGS, Books.from_message(VENUE, message))
    before = forgotten.books.venue_ns

    assert not scenario.books.executions.knows_since(before)
    assert scenario.books.executions.knows_since(before + 1)


def test_what_is_remembered_of_executions_is_bounded_and_restored() -> None:
    """By count: a snapshot takes 8 bytes and a time for each."""
    booked = BookedExecutions()
    body = journal_pb2.OrderExecuted(symbol="EUR-USD", quantity="1", price="1.1")
    for number in range(3 * executions.KEPT):
        body.exec_id, body.transact_unix_ns = f"e{number}", START + number
        booked.add(body)

    message = booked.to_message()
    assert len(message.fingerprints) == len(message.unix_ns) == executions.KEPT
    assert message.ByteSize() < 20 * executions.KEPT
    assert message.forgotten_unix_ns == START + 2 * executions.KEPT - 1
    assert BookedExecutions.from_message(message) == booked
    assert booked.has(body)
    assert booked.knows_since(START + 2 * executions.KEPT)
    assert not booked.knows_since(START + 2 * executions.KEPT - 1)


def test_one_that_is_booked_again_counts_as_booked_last() -> None:
    """Of another order, by a venue that uses an ExecID twice on a day."""
    booked = BookedExecutions()
    bodies = [journal_pb2.OrderExecuted(exec_id=f"e{number}") for number in range(executions.KEPT + 1)]
    for body in (*bodies[:-1], bodies[0], bodies[-1]):
        booked.add(body)

    assert booked.has(bodies[0])
    assert not booked.has(bodies[1])


def test_what_is_forgotten_never_gets_older() -> None:
    """A venue's times may step back."""
    booked = BookedExecutions()
    for number in range(executions.KEPT + 2):
        booked.add(journal_pb2.OrderExecuted(exec_id=f"e{number}", transact_unix_ns=START - number))

    assert booked.to_message().forgotten_unix_ns == START


def test_the_auditor_follows(long_ago: Scenario) -> None:
    long_ago.do(commands.VenueConnected(port.VenueSnapshot(executions=(_execution(1),))))
    ledger = Ledger("cl-research", VENUE)
    for sequence, event in enumerate(long_ago.events, start=1):
        ledger.apply(sequence, event)

    assert ledger.differences(long_ago.books.to_message()) == []


def test_what_is_asked_for_again_is_recognised_although_others_are_booked_before_it_comes() -> None:
    def booked(number: int) -> journal_pb2.OrderExecuted:
        return journal_pb2.OrderExecuted(exec_id=f"e{number}", transact_unix_ns=START + number)

    known = BookedExecutions()
    for number in range(executions.KEPT):
        known.add(booked(number))
    since = known.since(0)
    for number in range(executions.KEPT, executions.KEPT + executions.KEPT // 2):
        known.add(booked(number))

    asked_for = [number for number in range(executions.KEPT) if START + number >= since]
    assert len(asked_for) == executions.KEPT // 2
    assert all(known.has(booked(number)) for number in asked_for)
    assert known.knows_since(since)
