"""Keeps this gateway's shares of limits that several gateways share: reads the ledgers, tells the engine what it may
use, and exchanges what should change, in an order in which no share is ever used twice (allowances/holder.py).

A ledger that cannot be reached changes nothing: the gateway goes on with what it has, and one that has just started has
nothing. It looks again each second.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog

from crowetrade_agents import metrics
from crowetrade_agents.allowances.holder import Holder, Key, Needs
from crowetrade_agents.allowances.port import LedgerPort
from crowetrade_agents.control.state import Configuration
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.errors import LedgerUnavailable
from crowetrade_agents.gateway import shares
from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.gateway.commands import SharesChanged
from crowetrade_agents.gateway.state import GatewayState
from crowetrade_agents.risk.rules import Rule
from crowetrade_agents.risk.standing import identity
from crowetrade_process.stopping import first_of

log = structlog.get_logger()

LOOK_NS = SECOND_NS // 50
"""How soon an order that was refused for lack of a share is noticed."""
NEEDS_NS = SECOND_NS // 5
"""How often it is looked at what is used."""
READ_NS = SECOND_NS
"""How often ledgers are read of which nothing is heard, and an unreachable one is tried again."""
PATIENCE_NS = 3 * SECOND_NS
"""How long a configuration waits for shares of the limits that it brings."""
ENOUGH_NS = 3 * SECOND_NS // 10
"""How long it waits, once they are known, for as much as is in use: others may need what is missing."""

Tell = Callable[[SharesChanged], Awaitable[None]]
"""Returns once the engine uses these shares and no others."""


class ShareKeeper:
    """Of one gateway process. `round` is one look; `run` looks until it is cancelled."""

    def __init__(self, venue: str, state: GatewayState, ledgers: LedgerPort, tell: Tell, clock: Clock) -> None:
        self._state = state
        self._ledgers = ledgers
        self._tell = tell
        self._clock = clock
        self._holder = Holder(venue, state.books.fencing_token)
        self._told: SharesChanged | None = None
        # A configuration that is about to be put in force.
        self._coming: Configuration | None = None
        self._listed = False
        self._noted = 0
        self._looked_ns = self._read_ns = -READ_NS
        self._failing = ""
        # Looks without an answer from the ledger.
        self.failures = 0
        self._problems: Mapping[str, str] = {}
        # Set after each round, also one that failed.
        self._looked = asyncio.Event()

    async def run(self) -> None:
        """Rounds whenever a ledger has changed, an order was refused for lack of a share, or it is time to look."""
        heard = self._ledgers.heard
        while True:
            heard.clear()
            again = await self._attempt()
            # Others have their turn, also where the ledger is in this process.
            await first_of(heard.wait(), self._clock.wait_until(self._clock.now_ns()))
            while not (again or heard.is_set() or self.due):
                await first_of(heard.wait(), self._clock.wait_until(self._clock.now_ns() + LOOK_NS))

    async def prepare(self, configuration: Configuration) -> None:
        """Gets shares of the limits that the configuration brings, as much as is in use of them, so that nothing that
        is open has to go for a moment's lack; returns when they are there, when the ledger cannot be reached, or when
        they do not come."""
        self._coming = configuration
        if self._failing:
            return
        began_ns = self._clock.now_ns()
        while missing := self._missing(configuration):
            patience_ns = ENOUGH_NS if missing <= self._state.live.shares.keys() else PATIENCE_NS
            self._looked.clear()
            self._ledgers.heard.set()
            await first_of(self._looked.wait(), self._clock.wait_until(began_ns + patience_ns))
            if self._failing or self._clock.now_ns() - began_ns >= patience_ns:
                log.warning("shares_missing", limits=sorted(f"{uid}/{limit}" for uid, limit in missing))
                return

    async def round(self) -> bool:
        """One look; whether another one is due at once. Raises LedgerUnavailable."""
        # Also a look that finds nothing to do is one: the next is due later.
        now_ns = self._looked_ns = self._clock.now_ns()
        self._noted = self._state.live.demands_noted
        rules = self._rules()
        if rules is None:
            return False
        await self._read(rules, now_ns)
        needs = shares.needs(self._state, rules, now_ns)
        await self._use(needs)
        exchanges = self._holder.exchanges(needs, self._in_use())
        for exchange in exchanges:
            self._holder.sent(exchange)
            revision = await self._ledgers.exchange(exchange.uid, exchange.revision, exchange.payload)
            if revision is not None:
                self._holder.accepted(exchange, revision)
            else:
                # Somebody was faster.
                self._holder.read(exchange.uid, (await self._ledgers.read([exchange.uid]))[exchange.uid])
        if exchanges:
            await self._use(needs)
        return bool(exchanges)

    async def _attempt(self) -> bool:
        try:
            again = await self.round()
        except LedgerUnavailable as error:
            metrics.LEDGER_FAILURES.inc()
            self.failures += 1
            if not self._failing:
                log.warning("shares_unavailable", error=str(error))
            self._failing, self._read_ns = str(error), -READ_NS
            again = False
        else:
            if self._failing:
                log.info("shares_available_again")
            self._failing = ""
            self._say_problems()
        self._looked.set()
        return again

    @property
    def due(self) -> bool:
        """Whether it is time to look, or an order was refused for lack of a share."""
        since_ns = self._clock.now_ns() - self._looked_ns
        if self._failing:
            return since_ns >= READ_NS
        return since_ns >= NEEDS_NS or self._noted != self._state.live.demands_noted

    def _rules(self) -> dict[str, Rule] | None:
        """Rules in force and rules to come; None while nothing is known about them."""
        coming, present = self._coming, self._state.live.configuration
        if coming is present:
            coming = self._coming = None
        known = [item for item in (present, coming) if item is not None and _is_known(item)]
        if not known:
            return None
        return {identity(rule): rule for item in known for rule in item.rules if rule.total}

    def _missing(self, configuration: Configuration) -> set[Key]:
        """Limits of which this gateway has no share, or less than is in use."""
        if not _is_known(configuration):
            return set()
        rules = {identity(rule): rule for rule in configuration.rules if rule.total}
        needs = shares.needs(self._state, rules, self._clock.now_ns())
        held = self._state.live.shares
        return {
            (uid, limit)
            for uid, item in needs.items()
            for limit, need in item.limits.items()
            if (uid, limit) not in held or held[uid, limit] < shares.share(need.used)
        }

    async def _read(self, rules: Mapping[str, Rule], now_ns: int) -> None:
        uids = set(self._ledgers.changed())
        if not self._listed:
            uids |= set(await self._ledgers.uids())
        if now_ns - self._read_ns >= READ_NS:
            uids |= self._holder.read_uids
        wanted = uids | (rules.keys() - self._holder.read_uids)
        for uid, entry in (await self._ledgers.read(sorted(wanted))).items():
            self._holder.read(uid, entry)
        self._listed = True
        if now_ns - self._read_ns >= READ_NS:
            self._read_ns = now_ns

    async def _use(self, needs: Mapping[str, Needs]) -> None:
        told = SharesChanged(self._holder.usable(), self._holder.kept(needs))
        # What was to be given back and was in use may be over.
        more = any(shares.share(told.kept.get(key, 0)) < share for key, share in self._state.live.shares.items())
        if more or told != self._told:
            await self._tell(told)
            self._told = told

    def _in_use(self) -> dict[Key, int]:
        """What the engine uses, and what it may use."""
        state = self._state
        found = {key: shares.millionths(share) for key, share in state.live.shares.items()}
        for key, amount in shares.used(state, self._clock.now_ns()):
            found[key] = max(found.get(key, 0), amount or 0)
        return found

    def _say_problems(self) -> None:
        problems = self._holder.problems
        for uid, problem in problems.items():
            if uid not in self._problems:
                log.error("shares_unreadable", risk_limit_uid=uid, problem=problem)
        self._problems = problems


def _is_known(configuration: Configuration) -> bool:
    return configuration.bindings is not None and not configuration.unreadable
