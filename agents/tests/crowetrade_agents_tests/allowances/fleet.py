"""Gateways that share one limit through a bus: each an engine, a keeper of shares, and a connection of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

import nats
from nats.aio.client import Client
from nats.js.api import KeyValueConfig

from crowetrade import subjects
from crowetrade_agents.allowances.jetstream import JetStreamLedgers
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.gateway.commands import Configure, SharesChanged
from crowetrade_agents.gateway.state import GatewayState
from crowetrade_agents.risk.case import Sums
from crowetrade_agents.runtime.clock import SystemClock
from crowetrade_agents.runtime.shares import ShareKeeper
from crowetrade_agents.venues.port import Ended, QuoteChanged
from crowetrade_process.stopping import cancelled

from ..gateway.scenario import EUR, Scenario, book, cl_ord_id, configuration, kinds, rule_of

NAMESPACE = "desk"
WHOLE = Decimal(11_000_000)
"""maxGrossNotional, which 10,000,000 EUR-USD at 1.1 use."""
WAIT_SECONDS = 30


class Member:
    """One gateway. Its engine has no venue: what it sends counts as open."""

    def __init__(self, name: str, client: Client, gateways: Sequence[str], fencing_token: int = 1) -> None:
        self.name, self.client = name, client
        self.clock = SystemClock()
        self.engine = Scenario()
        self.engine.books.fencing_token = fencing_token
        self._number = 0
        self._gateways = gateways
        self.rename("fleet")
        self.keeper = ShareKeeper(name, self.engine.state, JetStreamLedgers(client, NAMESPACE), self._tell, self.clock)
        self._task = asyncio.create_task(self.keeper.run())

    @property
    def state(self) -> GatewayState:
        """Of its engine."""
        return self.engine.state

    def rename(self, name: str) -> None:
        """The limit is one of a RiskLimit of this name with the next configuration."""
        rule = rule_of({"maxGrossNotional": str(WHOLE)}, name, total=True)
        rule.gateways.extend(self._gateways)
        self.configuration = configuration(None, rule_of({"maxOrderQuantity": "100000000"}), rule)

    @property
    def share(self) -> Decimal:
        """Of the limit, as the engine enforces it; 0 while it is not known."""
        return self.share_of("fleet")

    def share_of(self, name: str) -> Decimal:
        """Of the limit of that name."""
        return self.state.live.shares.get((f"uid-{name}", "maxGrossNotional"), Decimal(0))

    @property
    def cancelled(self) -> bool:
        """Whether an order had to go."""
        return any("cancel" in word for word in kinds(self.engine.effects))

    @property
    def used(self) -> Decimal:
        """Gross notional, as a share of the whole limit."""
        sums = Sums(self.state.facts("", self.clock.now_ns()))
        (rule,) = (rule for rule in self.state.live.configuration.rules if rule.total)
        worth = sums.total(rule, sums.members(rule))
        assert worth is not None
        return worth.gross / WHOLE

    async def configure(self) -> None:
        """As the process does when a configuration comes."""
        await self.keeper.prepare(self.configuration)
        self.engine.do(Configure(self.configuration))

    def order(self, quantity: int) -> str:
        """Asks for an order; returns the word of the answer."""
        self.engine.now = self.clock.now_ns()
        self.engine.venue(QuoteChanged(3 + self._number, book(EUR, "1.1", "1.1")))
        self._number += 1
        self.engine.order(self._number, quantity=Decimal(quantity), side=Side.BUY)
        return next(word for word in kinds(self.engine.last) if word.startswith("<"))

    def close(self) -> None:
        """The venue ends what is open."""
        for number in range(1, self._number + 1):
            if self.engine.find(number) is not None:
                self.engine.venue(
                    Ended(cl_ord_id(number), f"v{number}", OrdStatus.CANCELED, "", "", self.clock.now_ns())
                )

    async def stop(self) -> None:
        """As a process that is killed."""
        await cancelled(self._task)
        await self.client.close()

    async def _tell(self, told: SharesChanged) -> None:
        self.engine.now = self.clock.now_ns()
        self.engine.do(told)


@asynccontextmanager
async def closing(client: Client) -> AsyncIterator[Client]:
    """Closes it in the end."""
    try:
        yield client
    finally:
        await client.close()


async def connect(url: str) -> Client:
    """A connection that is tried again for ever."""
    return await nats.connect(url, max_reconnect_attempts=-1, reconnect_time_wait=0.05, allow_reconnect=True)


@asynccontextmanager
async def fleet(url: str, number: int) -> AsyncIterator[list[Member]]:
    """So many gateways, all configured."""
    names = [f"v{place}" for place in range(number)]
    first = await connect(url)
    await first.jetstream().create_key_value(KeyValueConfig(bucket=subjects.ALLOWANCE_BUCKET, history=1))
    members = [Member(name, first if not place else await connect(url), names) for place, name in enumerate(names)]
    try:
        await asyncio.gather(*(member.configure() for member in members))
        yield members
    finally:
        await asyncio.gather(*(member.stop() for member in members))


async def served(member: Member, quantity: int, members: Sequence[Member]) -> None:
    """The gateway is asked for an order again and again, as by a strategy that goes on trying, until it leaves."""
    async with asyncio.timeout(WAIT_SECONDS):
        while member.order(quantity) != "< PENDING_NEW":
            assert sum(member.share for member in members) <= 1
            await asyncio.sleep(0.05)


async def until(wanted: Callable[[], bool], members: Sequence[Member]) -> None:
    """Waits until it is so; together they never enforce more than the whole meanwhile."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not wanted():
            assert sum(member.share for member in members) <= 1
            await asyncio.sleep(0.001)
