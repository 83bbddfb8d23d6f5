"""The venue and the line to it: the simulated exchange on virtual time, and what goes wrong between it and a gateway.

Requests and answers keep their order within a session. An answer may be lost, repeated or late; a session may break
with all that is on its way back, while what is on its way to the venue arrives or does not, but never after the next
logon. What the venue says by itself may be lost, too: executions and busts until the gateway asks for them, ends and
charges until the next logon.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import OrdStatus
from crowetrade_agents.venues import port
from crowetrade_agents.venues.adapters.simulated import requests
from crowetrade_agents.venues.adapters.simulated.exchange import Exchange
from crowetrade_agents.venues.adapters.simulated.faults import FaultKind
from crowetrade_agents.venues.adapters.simulated.requests import Cancel, NewOrder, Query, Replace, Request
from tests.simulation.broken import expect
from tests.simulation.limits import SECOND

if TYPE_CHECKING:
    from tests.simulation.gateway import GatewayProcess
    from tests.simulation.world import World

MILLI = SECOND // 1000
DAY_NS = 30 * SECOND
CHARGE_NS = 7 * SECOND
SNAPSHOT = "snapshot"
"""Under which a snapshot, or an answer to a recall, counts as on its way."""
RECALL_NS = 2 * SECOND
"""As Settings.recall_after_ns: so often that sessions of a run last for longer."""
Answer = port.OrderEvent


class ShortDays:
    """A calendar whose trading days are so short that DAY orders end in a run."""

    def session_end_ns(self, at_ns: int) -> int:
        """End of the day."""
        return (at_ns // DAY_NS + 1) * DAY_NS


class OftenCharged:
    """Positions in an instrument are charged so often that it happens many times in a run."""

    kind = port.ChargeKind.FUNDING

    def __init__(self, symbol: str) -> None:
        self.symbol = symbol

    def next_ns(self, after_ns: int) -> int:
        """Every CHARGE_NS."""
        return (after_ns // CHARGE_NS + 1) * CHARGE_NS

    def bps(self, at_ns: int, *, is_long: bool) -> Decimal:
        """What one side pays the other receives."""
        return Decimal("0.7") if is_long else Decimal("-0.7")


class Venue:
    """`exchange.ledger` is the truth. Venue time is the world's time: it never steps."""

    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.random = random
        charges = [OftenCharged(name.symbol) for name in world.instruments]
        self.exchange = Exchange(world.instruments, calendar=ShortDays(), charges=charges, retain=None)
        self.exchange.start(world.now)
        self.exchange.id_prefix = "v"
        self.exchange.listener = self._saw
        self.session: GatewayProcess | None = None
        self.epoch = 0
        # Messages on their way in either direction, by the ClOrdID under which their order first left.
        self.on_the_way: Counter[str] = Counter()
        self.roots: dict[str, str] = {}
        # What the venue said by itself and was lost: orders that ended, executions and busts by the execution's id.
        self._lost_ends: set[str] = set()
        self.lost_executions: dict[str, Lost] = {}
        self._lost_busts: dict[str, Lost] = {}
        self.lost_charges: set[str] = set()
        # Execution ids that left the exchange, with those of them that are still on their way to the session.
        self.emitted: set[str] = set()
        self.sequence = 0
        self.books: dict[str, TopOfBook] = {}
        self._to_venue_ns = 0
        self._to_gateway_ns = 0
        self._feed_ns = 0
        self._in_flight: list[_Flight] = []

    # --- From the gateway -------------------------------------------------------------------------------------------

    def send(self, process: GatewayProcess, request: Request) -> None:
        """A request leaves a process."""
        if process is not self.session:
            unsent = requests.not_sent(request, "there is no session with the venue", self.world.now)
            if unsent is not None:
                process.put_event(unsent)
            return
        chance, faults = self.random.random, self.world.faults
        if faults and chance() < 0.01:
            self.world.trace("lost on the way to the venue", request)
            return
        for _ in range(2 if faults and chance() < 0.005 else 1):
            self._launch(request)

    def recall(self, process: GatewayProcess, since_ns: int) -> None:
        """A process asks for executions; the answer is lost with the session alone."""
        if process is not self.session:
            return
        for exec_id, lost in self.lost_executions.items():
            lost.asked_for = lost.asked_for or self.exchange.ledger.executions[exec_id].at_ns >= since_ns
        self._to_venue_ns = max(self.world.now + self.world.latency(), self._to_venue_ns)
        self.world.at(self._to_venue_ns, self._recall_arrives, process, since_ns, self.epoch)

    def _recall_arrives(self, process: GatewayProcess, since_ns: int, epoch: int) -> None:
        if epoch != self.epoch:
            return
        ledger = self.exchange.ledger
        answer = port.Recalled(
            tuple(item for item in ledger.executions.values() if item.at_ns >= since_ns),
            tuple(item for item in ledger.busts.values() if item.at_ns >= since_ns),
        )
        self._to_gateway_ns = max(self.world.now + self.world.latency(), self._to_gateway_ns)
        self.on_the_way[SNAPSHOT] += 1
        self.world.at(self._to_gateway_ns, self._recalled, process, answer, self.epoch)

    def _recalled(self, process: GatewayProcess, answer: port.Recalled, epoch: int) -> None:
        if epoch == self.epoch:
            self._told(answer)
            process.put_event(answer, SNAPSHOT)
        else:
            self.on_the_way[SNAPSHOT] -= 1

    def _told(self, answer: port.Recalled | port.VenueSnapshot) -> None:
        found = [self.lost_executions.pop(item.exec_id, None) for item in answer.executions]
        self.world.counts["found", type(answer).__name__] += sum(item is not None for item in found)
        for bust in answer.busts:
            self._lost_busts.pop(bust.exec_ref_id, None)

    def _launch(self, request: Request) -> None:
        self._to_venue_ns = max(self.world.now + self.world.latency(), self._to_venue_ns)
        flight = _Flight(request, self._root(request))
        self.on_the_way[flight.root] += 1
        self._in_flight.append(flight)
        self.world.at(self._to_venue_ns, self._arrives, flight)

    def _root(self, request: Request) -> str:
        """The ClOrdID under which the order first left."""
        if isinstance(request, NewOrder):
            return self.roots.setdefault(request.terms.cl_ord_id, request.terms.cl_ord_id)
        if isinstance(request, Query):
            return self.root(request.cl_ord_id)
        root = self.root(request.orig_cl_ord_id)
        if isinstance(request, Replace):
            self.roots.setdefault(request.terms.cl_ord_id, root)
        return root

    def root(self, cl_ord_id: str) -> str:
        """The ClOrdID under which the order of this one first left."""
        return self.roots.get(cl_ord_id, cl_ord_id)

    def _arrives(self, flight: _Flight) -> None:
        if flight.done:
            return
        flight.done = True
        self._in_flight.remove(flight)
        self.on_the_way[flight.root] -= 1
        fault = self._fault_of(flight.request)
        if fault is not None:
            self.world.trace(f"fault {fault}", flight.request)
        self.exchange.send(flight.request, self.world.now, fault)
        for event in self.exchange.advance(self.world.now):
            self._answer([event], asked=self.root(_cl_ord_id(event)) == flight.root and _answers(flight.request, event))

    def _fault_of(self, request: Request) -> FaultKind | None:
        if not self.world.faults:
            return None
        chance = self.random.random()
        if chance > 0.03:
            return None
        if isinstance(request, NewOrder):
            return FaultKind.REJECT
        if isinstance(request, Query):
            return FaultKind.FORGET if chance < 0.01 else None
        if isinstance(request, Cancel):
            return FaultKind.REJECT if chance < 0.01 else FaultKind.FORGET if chance < 0.015 else FaultKind.LATE_FILL
        return FaultKind.REJECT if chance < 0.02 else FaultKind.FORGET

    # --- To the gateway ---------------------------------------------------------------------------------------------

    def _saw(self, at_ns: int, what: object) -> None:
        if isinstance(what, port.Executed):
            self.emitted.add(what.exec_id)
        elif isinstance(what, NewOrder | Replace):
            self.world.check_arrival(what)

    def _answer(self, events: list[Answer], *, asked: bool) -> None:
        process = self.session
        for event in events:
            if process is None:
                self._lost(event)
                continue
            self._deliver(process, event, asked=asked)

    def _deliver(self, process: GatewayProcess, event: Answer, *, asked: bool) -> None:
        delay, copies = self.world.latency(), 1
        if self.world.faults:
            chance = self.random.random()
            # There are few of them.
            recalled = isinstance(event, port.Executed | port.Busted)
            unasked = not asked or recalled or isinstance(event, port.Charged)
            if chance < (0.05 if recalled else 0.0005 if unasked else 0.01):
                self.world.trace("lost on the way back", event)
                if unasked:
                    self._lost_until_asked_for(event)
                return
            if chance > 0.99:
                copies = 2
            elif chance > 0.975:
                delay += self.random.randrange(8 * SECOND)
        self._to_gateway_ns = max(self.world.now + delay, self._to_gateway_ns)
        root = self.root(_cl_ord_id(event))
        for _ in range(copies):
            self.on_the_way[root] += 1
            self.world.at(self._to_gateway_ns, self._comes_back, process, event, root, self.epoch)
        if copies == 2 and self.random.random() < 0.5:
            self.on_the_way[root] += 1
            later = self._to_gateway_ns + self.random.randrange(SECOND)
            self.world.at(later, self._comes_back, process, event, root, self.epoch)

    def _comes_back(self, process: GatewayProcess, event: Answer, root: str, epoch: int) -> None:
        if epoch == self.epoch:
            process.put_event(event, root)
        else:
            self.on_the_way[root] -= 1

    def taken(self, root: str) -> None:
        """A process has carried out what followed from an answer."""
        self.on_the_way[root] -= 1

    def charges_on_the_way(self) -> set[str]:
        """Charges that have been told and have not been taken yet."""
        return {item.charge_id for item in self.exchange.ledger.charges if self.on_the_way[self.root(item.charge_id)]}

    def _lost(self, event: Answer) -> None:
        """Nobody is logged on: the next snapshot tells it."""

    def _lost_until_asked_for(self, event: Answer) -> None:
        root = self.root(_cl_ord_id(event))
        if isinstance(event, port.Charged):
            self.lost_charges.add(event.charge_id)
        elif isinstance(event, port.Executed):
            self.lost_executions[event.exec_id] = Lost(root)
        elif isinstance(event, port.Busted):
            self._lost_busts[event.exec_ref_id] = Lost(root)
        else:
            self._lost_ends.add(root)

    @property
    def lost_orders(self) -> set[str]:
        """The orders of what was lost and has not been asked for since."""
        lost = (*self.lost_executions.values(), *self._lost_busts.values())
        return self._lost_ends.union(item.root for item in lost)

    # --- Sessions ---------------------------------------------------------------------------------------------------

    def connect(self, process: GatewayProcess, resume: port.Resume) -> None:
        """Logs a process on; whoever had the session loses it."""
        if self.session is not None and self.session is not process:
            self.disconnect()
        for flight in self._in_flight:
            self._drop(flight)
        self._in_flight.clear()
        self.epoch += 1
        self.session = process
        self._answer(self.exchange.advance(self.world.now), asked=False)
        ledger = self.exchange.ledger
        snapshot = port.VenueSnapshot(
            open_orders=tuple(order.as_open() for order in ledger.open_orders()),
            executions=tuple(item for item in ledger.executions.values() if item.at_ns >= resume.since_ns),
            busts=tuple(item for item in ledger.busts.values() if item.at_ns >= resume.since_ns),
            positions=dict(ledger.positions) if self.world.features.positions else None,
            state=f"place-{self.epoch // 4}",
            charges=tuple(item for item in ledger.charges if item.at_ns >= resume.since_ns),
        )
        self._told(snapshot)
        self.lost_charges -= {item.charge_id for item in snapshot.charges}
        self._lost_ends.clear()
        self._to_gateway_ns = max(self.world.now + self.world.latency(), self._to_gateway_ns)
        self._feed_ns = self._to_gateway_ns
        self.on_the_way[SNAPSHOT] += 1
        self.world.at(self._to_gateway_ns, self._tell_snapshot, process, snapshot, self.epoch)
        for book in self.books.values():
            self._feed(port.QuoteChanged(self.sequence, book))

    def _tell_snapshot(self, process: GatewayProcess, snapshot: port.VenueSnapshot, epoch: int) -> None:
        process.logged_on(snapshot, stale=epoch != self.epoch)

    def disconnect(self) -> None:
        """The session breaks."""
        process, self.session = self.session, None
        if process is None:
            return
        self.epoch += 1
        for flight in self._in_flight:
            if self.random.random() < 0.5:
                self._drop(flight)
        self._in_flight = [flight for flight in self._in_flight if not flight.done]
        self.world.trace("the venue's session breaks", process.name)
        self.world.at(self.world.now, process.session_lost)

    def _drop(self, flight: _Flight) -> None:
        flight.done = True
        self.on_the_way[flight.root] -= 1

    # --- The market -------------------------------------------------------------------------------------------------

    def quote(self, book: TopOfBook) -> None:
        """The market moves."""
        self.sequence += 1
        self.books[book.instrument.symbol] = book
        events = self.exchange.on_quote(book)
        self._answer(events, asked=False)
        self._feed(port.QuoteChanged(self.sequence, book))

    def odd_quote(self, instrument: Instrument) -> None:
        """The feed says something that cannot be: bid and offer are crossed."""
        book = self.books[instrument.id.symbol]
        self.sequence += 1
        crossed = book._replace(bid_price=book.ask_price, ask_price=book.bid_price)
        self._feed(port.QuoteChanged(self.sequence, crossed))

    def alive(self) -> None:
        """Time passes without a quote."""
        self._answer(self.exchange.advance(self.world.now), asked=False)
        self._feed(port.FeedAlive(self.world.now))

    def _feed(self, event: port.QuoteChanged | port.FeedAlive) -> None:
        process = self.session
        if process is None or self.world.now < self.world.silent_until:
            return
        self._feed_ns = max(self.world.now + self.world.latency(), self._feed_ns)
        self.world.at(self._feed_ns, self._feed_comes, process, event, self.epoch)

    def _feed_comes(self, process: GatewayProcess, event: port.QuoteChanged | port.FeedAlive, epoch: int) -> None:
        if epoch == self.epoch:
            process.put_event(event)

    def bust(self) -> None:
        """Takes some execution back."""
        ids = [item for item in self.exchange.ledger.executions if item not in self.exchange.ledger.busts]
        if ids:
            self._answer(self.exchange.bust(self.random.choice(ids[-20:])), asked=False)

    def foreign(self) -> None:
        """An execution of an order that nobody here sent."""
        self._answer(self.exchange.foreign_execution(), asked=False)

    # --- What is checked against the truth ---------------------------------------------------------------------------

    def net(self) -> dict[str, Decimal]:
        """Executions less busts, by symbol, from the list of all of them."""
        found: dict[str, Decimal] = {}
        busts = self.exchange.ledger.busts
        for exec_id, item in self.exchange.ledger.executions.items():
            if exec_id not in busts:
                signed = item.quantity * item.side.sign
                found[item.instrument.symbol] = found.get(item.instrument.symbol, Decimal(0)) + signed
        return found

    def check_itself(self) -> None:
        """The exchange's positions are the sum of its executions, or nothing can be compared with it."""
        told = {item.symbol: value for item, value in self.exchange.ledger.positions.items() if value}
        expect(told == {key: value for key, value in self.net().items() if value}, "venue", "ledger and positions")


@dataclass(slots=True)
class Lost:
    """A report that was lost, by the ClOrdID under which its order first left; and since when the gateway has had a
    reason to ask for it, and whether it has."""

    root: str
    owed_ns: int | None = None
    asked_for: bool = False


class _Flight:
    """A request on its way."""

    __slots__ = ("done", "request", "root")

    def __init__(self, request: Request, root: str) -> None:
        self.request = request
        self.root = root
        self.done = False


def _answers(request: Request, event: Answer) -> bool:
    """Whether what is said of the request's order answers it, so that somebody asks when it is lost: an end answers
    nothing but a cancel, unless the order is refused."""
    refused = isinstance(event, port.Ended) and event.status is OrdStatus.REJECTED
    return refused or isinstance(request, Cancel) or not isinstance(event, port.Ended)


def _cl_ord_id(event: Answer) -> str:
    if isinstance(event, port.Replaced | port.RequestRejected):
        return event.orig_cl_ord_id
    if isinstance(event, port.Charged):
        return event.charge_id
    return event.cl_ord_id
