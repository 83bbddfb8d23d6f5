"""An execution whose report is lost, by the engine and the simulated venue with a script of faults."""

from __future__ import annotations

from array import array
from decimal import Decimal

import pytest

from crowetrade_agents.domain.orders import TimeInForce
from crowetrade_agents.gateway import commands, effects
from crowetrade_agents.gateway.books import OVERLAP_NS
from crowetrade_agents.gateway.executions import BookedExecutions
from crowetrade_agents.gateway.state import Settings
from crowetrade_agents.venues import port
from crowetrade_agents.venues.adapters.simulated import requests
from crowetrade_agents.venues.adapters.simulated.faults import Fault, FaultKind, Message
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_agents.venues.adapters.simulated.requests import Query
from crowetrade_agents.venues.adapters.simulated.simulation import Simulation
from crowetrade_agents.venues.adapters.simulated.spec import SimulatedSpec
from crowetrade_agents.venues.adapters.simulated.tape import Tape, chunk_of
from crowetrade_agents_tests.gateway.scenario import EUR, INSTRUMENTS, SECOND, START, VENUE, Scenario, kinds, terms

QUOTES = 900
"""One a second."""
RECALL_NS = 60 * SECOND
LOST_SECOND = (Fault(FaultKind.LOSE, Message.EXECUTED, 2),)


class Trading(Scenario):
    """A gateway that trades at a simulated venue, paced by the clock."""

    def __init__(self, *faults: Fault, lock_step: bool = False, shown: str = "1000000") -> None:
        prices = chunk_of([Decimal("1.1"), Decimal("1.10001")] * (QUOTES // 2))
        sizes = chunk_of([Decimal(shown)] * QUOTES)
        tape = Tape(EUR)
        tape.append(array("q", [START + second * SECOND for second in range(QUOTES)]), prices, sizes, prices, sizes)
        spec = SimulatedSpec((), speed=Decimal(1), faults=faults)
        self.exchange = Simulation(spec, Replay([tape]), tuple(INSTRUMENTS.values()), keeps_books=False, retain=None)
        features = port.VenueFeatures(lock_step=lock_step)
        super().__init__(Settings("cl-research", VENUE, "pod-1", INSTRUMENTS, features), ready=False)
        self.make_ready()
        self.log_on()

    def log_on(self) -> port.VenueSnapshot:
        """Opens a session; returns what the venue has said."""
        books = self.books
        snapshot = self.exchange.connect(port.Resume(books.resume_ns, books.venue_state, 0, 1), self.now)
        self.do(commands.VenueConnected(snapshot))
        self.hear()
        return snapshot

    def hear(self) -> None:
        """Until neither has anything more to say now."""
        while events := self.exchange.poll(self.now):
            for event in events:
                self.venue(event)

    def do(self, command: commands.Command) -> list[effects.Effect]:
        """Carries out what it asks of the venue."""
        done = super().do(command)
        for effect in done:
            match effect:
                case effects.SendOrder(order=order):
                    self.exchange.request(requests.of(order), self.now)
                case effects.SendCancel(cancel=cancel):
                    self.exchange.request(requests.of(cancel), self.now)
                case effects.SendQuery(cl_ord_id, order_id, instrument):
                    self.exchange.request(Query(cl_ord_id, order_id, instrument), self.now)
                case effects.SendRecall(since_ns):
                    self.exchange.recall(since_ns, self.now)
        return done

    def wait(self, seconds: int) -> None:
        """Time passes by the second."""
        for _ in range(seconds):
            self.later(1)
            self.hear()

    def buy(self, number: int, **changes: object) -> None:
        """An order that crosses, and what follows at once."""
        self.order(terms(number, price=Decimal("1.2"), **changes))
        self.hear()

    @property
    def truth(self) -> Decimal:
        """What the venue holds for the account."""
        return self.exchange.exchange.ledger.positions.get(EUR, Decimal(0))


def _recalls(done: list[effects.Effect]) -> list[int]:
    return [effect.since_ns for effect in done if isinstance(effect, effects.SendRecall)]


def test_an_execution_that_is_lost_in_a_session_is_asked_for_and_booked_within_a_minute() -> None:
    trading = Trading(*LOST_SECOND)
    for number in (1, 2, 3):
        trading.buy(number)
        trading.wait(1)
    assert trading.position() == 20_000
    assert trading.truth == 30_000
    assert [order.cl_ord_id[-2:] for order in trading.books.open.values()] == ["-2"]

    trading.wait(RECALL_NS // SECOND)

    assert trading.position() == trading.truth == 30_000
    assert not trading.books.open
    assert not trading.books.halts
    assert "execution_was_lost" in str(trading.effects)
    assert effects.Count("EXECUTIONS_REPEATED") not in trading.effects
    assert trading.folded().to_message().positions == trading.books.to_message().positions


def test_one_that_is_lost_just_before_its_order_ends_is_booked_too() -> None:
    """The order is over for the books, so nothing asks for it, and no snapshot names it."""
    trading = Trading(Fault(FaultKind.LOSE, Message.EXECUTED), shown="4000")
    trading.buy(1, time_in_force=TimeInForce.IOC)
    assert trading.position() == 0
    assert trading.truth == 4000
    assert not trading.books.open

    trading.wait(RECALL_NS // SECOND)

    assert trading.position() == trading.truth == 4000
    assert not trading.books.halts


def test_the_next_logon_asks_for_one_that_is_older_than_the_last_that_was_booked() -> None:
    trading = Trading(*LOST_SECOND)
    for number in (1, 2, 3):
        trading.buy(number)
        trading.wait(1)
    assert trading.position() == 20_000

    snapshot = trading.log_on()

    assert len(snapshot.executions) == 3
    assert trading.position() == trading.truth == 30_000
    assert not trading.books.halts


def test_a_bust_that_is_lost_is_booked() -> None:
    trading = Trading(Fault(FaultKind.BUST, Message.EXECUTED), Fault(FaultKind.LOSE, Message.BUSTED))
    trading.buy(1)
    trading.wait(2)
    assert trading.position() == 10_000
    assert trading.truth == 0

    trading.wait(RECALL_NS // SECOND)

    assert trading.position() == trading.truth == 0
    assert not trading.books.halts


def test_nothing_is_asked_for_while_nothing_can_be_executed() -> None:
    trading = Trading()
    trading.wait(3 * RECALL_NS // SECOND)
    assert _recalls(trading.effects) == []
    trading.buy(1)
    trading.wait(5 * RECALL_NS // SECOND)
    assert len(_recalls(trading.effects)) == 1


def test_while_an_order_is_open_it_is_asked_once_a_minute() -> None:
    trading = Trading()
    trading.order(1, price=Decimal("1.0"))
    trading.hear()
    trading.wait(5 * RECALL_NS // SECOND)

    assert len(_recalls(trading.effects)) == 5


def test_without_a_session_nothing_is_asked_and_with_the_next_one_it_goes_on() -> None:
    trading = Trading()
    trading.order(1, price=Decimal("1.0"))
    trading.hear()
    trading.exchange.disconnect(trading.now)
    trading.hear()
    trading.wait(2 * RECALL_NS // SECOND)
    assert _recalls(trading.effects) == []
    trading.log_on()
    trading.wait(RECALL_NS // SECOND)
    assert len(_recalls(trading.effects)) == 1


def test_in_lock_step_the_venue_is_not_asked_for_what_its_market_has_not_come_to() -> None:
    trading = Trading(lock_step=True)
    trading.order(1, price=Decimal("1.0"))
    trading.wait(2 * RECALL_NS // SECOND)

    assert _recalls(trading.effects) == []


@pytest.mark.parametrize(
    ("forgotten_seconds", "expected_seconds"),
    [(-1000, -300), (-300, -300), (-200, -200), (0, 0), (10, 0)],
    ids=["long ago", "at the overlap", "within it", "the last one", "of a snapshot that kept none"],
)
def test_what_is_asked_for_is_older_than_the_last_and_would_be_recognised(
    forgotten_seconds: int, expected_seconds: int
) -> None:
    scenario = Scenario()
    scenario.order(1)
    scenario.executed(1)
    scenario.books.executions = BookedExecutions(_forgotten_ns=scenario.now + forgotten_seconds * SECOND)
    expected = scenario.now + expected_seconds * SECOND

    assert OVERLAP_NS == 300 * SECOND
    assert scenario.books.resume_ns in (expected, expected + 1)
    assert scenario.books.resume_ns <= scenario.books.venue_ns
    assert kinds(scenario.do(commands.VenueConnected(port.VenueSnapshot())))[-1] == "> query"
    assert scenario.state.live.asked_since_ns == scenario.books.resume_ns
