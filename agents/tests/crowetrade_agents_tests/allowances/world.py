"""Gateways that share one limit, the ledger between them, and everything that can go wrong with both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from crowetrade_agents.allowances.holder import Exchange, Holder, Needs
from crowetrade_agents.allowances.ledger import WHOLE, Entry, Share, decode
from crowetrade_agents.allowances.memory import MemoryLedgers
from crowetrade_agents.allowances.split import Need, Yield

UID, LIMIT = "u1", "maxGrossNotional"
KEY = (UID, LIMIT)
FATES = ("answered", "not answered", "late", "late and answered by nobody", "lost")
"""Of an exchange that is sent."""


@dataclass
class Gateway:
    """`holder` None while it is down. `used` outlives its process, as positions and open orders do. `usable` is what
    the engine is told; it follows the holder at once when that falls, and only on request when it rises."""

    name: str
    token: int = 0
    holder: Holder | None = None
    # A process that was overtaken and has not noticed: its journal takes nothing from it, so that it uses nothing.
    overtaken: Holder | None = None
    usable: int = 0
    used: int = 0
    demanded: int = 0
    bound: bool = True
    known: bool = True


class World:
    """`count`: the whole limit where it counts whole things, else 0."""

    def __init__(self, gateways: int, yields: Yield = Yield.EXCESS, count: int = 0) -> None:
        self.store = MemoryLedgers()
        self.gateways = [Gateway(f"v{place}") for place in range(gateways)]
        self.yields, self.count = yields, count
        self.flying: list[Exchange] = []
        self.history = [Entry()]

    # --- what a process does

    def starts(self, gateway: Gateway) -> None:
        """A process of it; one that ran sends no order any more, but may not know that yet."""
        gateway.token += 1
        gateway.overtaken = gateway.holder
        gateway.holder, gateway.usable = Holder(gateway.name, gateway.token), 0

    def crashes(self, gateway: Gateway) -> None:
        """What it has sent may arrive later."""
        gateway.holder, gateway.usable = None, 0

    def reads(self, gateway: Gateway, back: int = 0) -> None:
        """`back`: a server that was leader once answers with what was there so many revisions ago."""
        if gateway.holder is not None:
            gateway.holder.read(UID, self.history[max(0, len(self.history) - 1 - back)])
            gateway.usable = min(gateway.usable, gateway.holder.usable().get(KEY, 0))

    def lowers(self, gateway: Gateway) -> None:
        """It stops using what it is about to give back. As the engine: what is open stays, a rate ends by itself."""
        if gateway.holder is not None:
            kept = gateway.holder.kept(self.needs(gateway)).get(KEY, 0)
            floor = gateway.used if self.yields is not Yield.ALL and gateway.bound else 0
            gateway.usable = min(gateway.usable, max(kept, floor))

    def exchanges(self, gateway: Gateway, fate: str = "answered") -> bool:
        """Whether it sent something."""
        if gateway.holder is None:
            return False
        self.lowers(gateway)
        in_use = {KEY: max(gateway.usable, gateway.used)}
        found = gateway.holder.exchanges(self.needs(gateway), in_use)
        for exchange in found:
            gateway.holder.sent(exchange)
            if fate.startswith("late"):
                self.flying.append(exchange)
            elif fate != "lost":
                revision = self.apply(exchange)
                if fate == "answered" and revision is not None:
                    gateway.holder.accepted(exchange, revision)
        return bool(found)

    def raises(self, gateway: Gateway) -> None:
        """It uses what it may."""
        if gateway.holder is not None:
            gateway.usable = gateway.holder.usable().get(KEY, 0)

    def round(self, gateway: Gateway, fate: str = "answered") -> bool:
        """All of it."""
        self.reads(gateway)
        sent = self.exchanges(gateway, fate)
        self.raises(gateway)
        return sent

    def overtaken_round(self, gateway: Gateway) -> None:
        """What the process before does that has not noticed."""
        if gateway.overtaken is not None:
            gateway.overtaken.read(UID, self.entry())
            for exchange in gateway.overtaken.exchanges(self.needs(gateway), {}):
                gateway.overtaken.sent(exchange)
                self.apply(exchange)

    # --- what happens to it

    def trades(self, gateway: Gateway, used: int) -> None:
        """Its use becomes this, at most what is enforced."""
        if gateway.bound and gateway.holder is not None:
            gateway.used = min(used, max(gateway.usable, gateway.used))

    def configured(self, gateway: Gateway, bound: bool) -> None:
        """What a gateway has does not count for a rule that does not bind it any more."""
        if gateway.holder is not None:
            gateway.bound = bound
            if not bound:
                gateway.usable = gateway.used = 0

    def deleted(self, gateway: Gateway) -> None:
        """The operator takes what is held by a gateway that is gone for good."""
        if gateway.holder is None:
            gateway.used = 0
            self.store.remove(gateway.name)
            if self.entry() != self.history[-1]:
                self.history.append(self.entry())

    def arrives(self, place: int, again: bool) -> None:
        """Something that was on its way for long; `again`: and will arrive once more."""
        if self.flying:
            exchange = self.flying[place % len(self.flying)]
            self.apply(exchange)
            if not again:
                self.flying.remove(exchange)

    # --- what is

    def needs(self, gateway: Gateway) -> dict[str, Needs]:
        """What its engine would say."""
        if not gateway.bound:
            return {}
        used = gateway.used if gateway.known else 0
        need = Need(used, gateway.demanded, self.count, self.yields, gateway.known)
        return {UID: Needs(len(self.gateways), {LIMIT: need})}

    def entry(self) -> Entry:
        """The ledger."""
        return self.store.entries.get(UID, Entry())

    def held(self, gateway: Gateway) -> int:
        """By the ledger."""
        return decode(self.entry().payload).get(LIMIT, {}).get(gateway.name, Share()).held

    def apply(self, exchange: Exchange) -> int | None:
        """The exchange arrives."""
        revision = self.store.exchange(exchange.uid, exchange.revision, exchange.payload)
        if revision is not None:
            self.history.append(self.entry())
        return revision

    def check(self) -> None:
        """Together they use no more than the whole limit, and each no more than stands under its name."""
        using = {gateway.name: max(gateway.usable, gateway.used) for gateway in self.gateways}
        assert sum(using.values()) <= WHOLE, using
        for gateway in self.gateways:
            assert using[gateway.name] <= self.held(gateway), (gateway.name, using)

    def heal(self, among: Sequence[Gateway] | None = None) -> None:
        """Everybody runs, knows its use and is bound."""
        for gateway in self.gateways if among is None else among:
            if gateway.holder is None:
                self.starts(gateway)
            gateway.bound = gateway.known = True

    def settle(self, rounds: int = 15) -> None:
        """Rounds of everybody in turn until nobody has anything to change; fails when that does not come."""
        for _ in range(rounds):
            moved = [self.round(gateway) for gateway in self.gateways]
            self.check()
            if not any(moved):
                return
        raise AssertionError("shares do not come to rest")
