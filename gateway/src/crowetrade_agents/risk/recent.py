"""Orders that strategies sent a short while ago, in bounded memory, so that one that is sent twice is recognised.

An order is kept as eight bytes of a hash over what makes it the same as another: instrument, side, quantity, type and
price. Of the hashes the last KEPT are remembered. Whoever asks about a time before the oldest of them gets no answer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Set
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from hashlib import blake2b

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.domain.numbers import REPEATED, render
from crowetrade_agents.domain.orders import OrderTerms, OrdType, Side

KEPT = 16_384
_NEVER: dict[str, int] = {}


def fingerprint(terms: OrderTerms) -> int:
    """The hash of an order, the same in every process."""
    return _fingerprint(terms.instrument.symbol, terms.side, terms.quantity, terms.ord_type, terms.price)


@lru_cache(REPEATED)
def _fingerprint(symbol: str, side: Side, quantity: Decimal, ord_type: OrdType, price: Decimal | None) -> int:
    text = f"{symbol} {side.value} {render(quantity)} {ord_type.value} {'' if price is None else render(price)}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


@dataclass(slots=True)
class RecentOrders:
    """When strategies last sent each order. Times are wall clock, nanoseconds since the Unix epoch."""

    # Fingerprint -> strategy -> when it was last sent; in both what was sent last stands last.
    _sent: OrderedDict[int, dict[str, int]] = field(default_factory=OrderedDict)
    # Orders that were sent up to this time may be missing.
    _forgotten_ns: int = 0

    def add(self, terms: OrderTerms, at_ns: int) -> None:
        """An order leaves."""
        self._add(fingerprint(terms), terms.strategy, at_ns)

    def knows_since(self, since_ns: int) -> bool:
        """Whether every order that was sent later than this is remembered."""
        return self._forgotten_ns <= since_ns

    def sent_since(self, order: int, strategies: frozenset[str], since_ns: int) -> bool:
        """Whether one of the strategies sent the order of that fingerprint later than `since_ns`."""
        for strategy, at_ns in reversed(self._sent.get(order, _NEVER).items()):
            if at_ns <= since_ns:
                return False
            if strategy in strategies:
                return True
        return False

    def forget(self, strategies: Set[str]) -> None:
        """The strategies are gone, and sent nothing that a window may count."""
        for key, sent in list(self._sent.items()):
            if not strategies.isdisjoint(sent):
                self._sent[key] = {strategy: at_ns for strategy, at_ns in sent.items() if strategy not in strategies}
                if not self._sent[key]:
                    del self._sent[key]

    def to_message(self) -> journal_pb2.BookedRecentOrders:
        """What is remembered, for a snapshot."""
        message = journal_pb2.BookedRecentOrders(forgotten_unix_ns=self._forgotten_ns)
        names: dict[str, int] = {}
        for key, sent in self._sent.items():
            for strategy, at_ns in sent.items():
                message.fingerprints.append(key)
                message.unix_ns.append(at_ns)
                message.strategy_indices.append(names.setdefault(strategy, len(names)))
        message.strategies.extend(names)
        return message

    @classmethod
    def from_message(cls, message: journal_pb2.BookedRecentOrders) -> RecentOrders:
        """The inverse of `to_message`."""
        recent = cls()
        for key, at_ns, index in zip(message.fingerprints, message.unix_ns, message.strategy_indices, strict=True):
            recent._add(key, message.strategies[index], at_ns)
        recent._forgotten_ns = message.forgotten_unix_ns
        return recent

    def _add(self, key: int, strategy: str, at_ns: int) -> None:
        sent = self._sent.get(key)
        if sent is None:
            self._sent[key] = {strategy: at_ns}
            if len(self._sent) > KEPT:
                _, oldest = self._sent.popitem(last=False)
                self._forgotten_ns = max(self._forgotten_ns, *oldest.values())
            return
        sent.pop(strategy, None)
        sent[strategy] = at_ns
        self._sent.move_to_end(key)
