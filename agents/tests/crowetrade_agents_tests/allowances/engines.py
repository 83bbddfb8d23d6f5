"""Gateways that share limits, each an engine and a keeper of shares, with ledgers that answer or do not. No process, no
bus, and one clock, so that a seed repeats a run."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from crowetrade_agents.allowances.ledger import Entry
from crowetrade_agents.allowances.memory import MemoryLedgers
from crowetrade_agents.control.gateway_config import decode
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.orders import OrdStatus
from crowetrade_agents.errors import LedgerUnavailable
from crowetrade_agents.gateway import commands
from crowetrade_agents.gateway.order import Order
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.runtime.shares import ShareKeeper
from crowetrade_agents.venues import port

from ..auditor.forging import configuration, rule
from ..gateway.scenario import EUR, GBP, START, Scenario, book, kinds

PRICE = "1.1"
Limits = Mapping[str, Mapping[str, str]]
"""As in forging.rule."""


class Ledgers(MemoryLedgers):
    """`flying`: exchanges that may arrive later."""

    def __init__(self) -> None:
        super().__init__()
        self.flying: list[tuple[str, int, bytes]] = []


class Line:
    """Implements LedgerPort: one gateway's way to the ledgers, which may be `cut`, or lose or delay what is sent."""

    def __init__(self, ledgers: Ledgers, chance: random.Random | None) -> None:
        self._ledgers, self._port, self._chance = ledgers, ledgers.port(), chance
        self.heard = self._port.heard
        self.cut = False

    def _check(self) -> None:
        if self.cut:
            raise LedgerUnavailable("the line is cut")

    async def uids(self) -> Iterable[str]:
        """See LedgerPort."""
        self._check()
        return await self._port.uids()

    async def read(self, uids: Iterable[str]) -> Mapping[str, Entry]:
        """See LedgerPort."""
        self._check()
        return await self._port.read(uids)

    async def exchange(self, uid: str, revision: int, payload: bytes) -> int | None:
        """See LedgerPort."""
        self._check()
        fate = self._chance.random() if self._chance is not None else 1
        if fate < 0.1:
            raise LedgerUnavailable("it was lost")
        if fate < 0.2:
            self._ledgers.flying.append((uid, revision, payload))
            raise LedgerUnavailable("it is late")
        answer = await self._port.exchange(uid, revision, payload)
        if fate < 0.3:
            raise LedgerUnavailable("the answer was lost")
        return answer

    def changed(self) -> frozenset[str]:
        """See LedgerPort."""
        return self._port.changed()


class World:
    """Gateways under one rule that counts them together. The clock stands between steps."""

    def __init__(self, gateways: int, limits: Limits, seed: int | None = None) -> None:
        self.now = START
        self.chance = random.Random(seed)
        self.ledgers = Ledgers()
        names = [f"v{place}" for place in range(gateways)]
        shared = rule(limits, "fleet", total=True, gateways=names)
        shared.on_breach = "Block"
        own = rule({"maxOrderQuantity": {"value": "100000000"}}, "own")
        configured = decode(configuration(own, shared).SerializeToString())
        faults = None if seed is None else self.chance
        self.gateways = [Gateway(self, name, configured, faults) for name in names]

    def now_ns(self) -> int:
        """Implements Clock."""
        return self.now

    async def wait_until(self, at_ns: int) -> None:
        """Implements Clock."""

    def passes(self, milliseconds: int) -> None:
        """So much time, at every gateway."""
        self.now += milliseconds * 1_000_000
        for gateway in self.gateways:
            gateway.tick()

    def shares(self, limit: str) -> Sequence[Decimal]:
        """By gateway, what its engine uses."""
        key = ("uid-fleet", limit)
        return [gateway.engine.state.live.shares.get(key, Decimal(0)) for gateway in self.gateways]


def _at_the_venue(order: Order) -> port.OpenOrder:
    """The order, of which nothing is executed."""
    made = order.terms
    return port.OpenOrder(
        made.cl_ord_id, "v", made.instrument, made.side, made.quantity, made.price, Decimal(0), OrdStatus.NEW
    )


class Gateway:
    """One of them. `left`: times of the orders that have left."""

    def __init__(self, world: World, name: str, configured: Configuration, faults: random.Random | None) -> None:
        self.world, self.name, self._configured, self._faults = world, name, configured, faults
        self.left: list[int] = []
        self.orders = 0
        self.engine = Scenario(ready=False)
        self._start()

    def restart(self) -> None:
        """Another process, with the books of the journal; what is open at the venue stays open."""
        books = self.engine.folded()
        kept = [_at_the_venue(order) for order in books.open.values()]
        events = self.engine.events
        self.engine = Scenario(books=books, ready=False)
        self.engine.events = [*events, *self.engine.events]
        self._start(kept)

    def _start(self, kept: Sequence[port.OpenOrder] = ()) -> None:
        engine = self.engine
        engine.now = self.world.now
        self.line = Line(self.world.ledgers, self._faults)
        self.keeper = ShareKeeper(self.name, engine.state, self.line, self._tell, self.world)
        engine.do(commands.Configure(self._configured))
        engine.do(commands.VenueConnected(port.VenueSnapshot(open_orders=tuple(kept))))
        for instrument in (EUR, GBP):
            self.quote(PRICE, instrument)
        for session, strategy in enumerate(("alpha", "beta"), start=1):
            engine.do(commands.Logon(strategy, session))

    async def _tell(self, told: commands.SharesChanged) -> None:
        self.engine.do(told)

    def tick(self) -> None:
        """The feed is alive, and timers go off."""
        self.engine.now = self.world.now
        self.engine.venue(port.FeedAlive(self.world.now))
        self.engine.do(commands.Timer())

    def quote(self, mid: str, instrument: InstrumentId = EUR) -> None:
        """A quote of no width."""
        self.engine.venue(port.QuoteChanged(0, book(instrument, mid, mid)))

    async def look(self) -> None:
        """The keeper looks once."""
        await self.keeper._attempt()

    def order(self, **fields: Any) -> str:
        """A new order; returns the answer."""
        self.orders += 1
        self.engine.order(self.orders, **{"price": Decimal(PRICE), **fields})
        answer = next(word for word in kinds(self.engine.last) if word.startswith("<"))
        if answer == "< PENDING_NEW":
            self.left.append(self.world.now)
        return answer

    def executed(self, number: int, exec_id: str, price: str) -> None:
        """All of an order of alpha that is open."""
        order = self.engine.find(number)
        assert order is not None
        made = order.terms
        self.engine.executed(number, str(made.quantity), exec_id, price, instrument=made.instrument, side=made.side)

    @property
    def gross(self) -> Decimal:
        """Gross notional of what it holds and works."""
        sums = Sums(self.engine.state.facts("", self.world.now))
        (shared,) = (one for one in self.engine.state.live.configuration.rules if one.total)
        total = sums.total(shared, sums.members(shared))
        assert total is not None
        return total.gross

    @property
    def breaches(self) -> list[str]:
        """Limits whose breach is latched."""
        return [name.partition("/")[0] for name in self.engine.books.breaches]
