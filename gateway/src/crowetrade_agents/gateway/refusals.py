"""What one strategy was refused since the journal was told last.

A strategy may send as fast as it can, and what it is refused costs it nothing. So its refusals are journaled as counts,
at most EVENTS of them at a time, whatever it sends: one for each reason and RiskLimit, and where there are more of
these, one for all the others together. Every request is in exactly one of the counts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from crowetrade.bus.v1 import journal_pb2
from crowetrade_agents.risk.reasons import Reason, Refusal

EVENTS = 4
NAMED_SYMBOLS = 64
"""Counts that name a symbol, in all events of a record together; what else is refused counts without a symbol."""
TEXT_LENGTH = 400
"""Characters of a sentence that the journal keeps; those of the gateway's own rules are shorter."""


@dataclass(slots=True)
class Refused:
    """Requests: how many, the last one's sentence, how many of them count as rejected in a row, and how many were for
    which listed symbol."""

    count: int = 0
    text: str = ""
    rejects: int = 0
    symbols: dict[str, int] = field(default_factory=dict)


class Refusals:
    """See the module."""

    def __init__(self) -> None:
        # By reason and RiskLimit; what was refused last stands last. Reasons are an enumeration and RiskLimits those of
        # the configuration, so a strategy cannot make this grow.
        self._refused: dict[tuple[str, str], Refused] = {}
        self._named = 0

    @property
    def rejects(self) -> int:
        """How many count as rejected in a row."""
        return sum(refused.rejects for refused in self._refused.values())

    def add(self, refusal: Refusal, symbol: str, *, is_reject: bool) -> None:
        """One more. `symbol` is listed, or empty."""
        key = (str(refusal.reason), refusal.risk_limit)
        refused = self._refused.pop(key, None) or Refused()
        self._refused[key] = refused
        refused.count, refused.text = refused.count + 1, refusal.text[:TEXT_LENGTH]
        refused.rejects += is_reject
        if symbol in refused.symbols:
            refused.symbols[symbol] += 1
        elif symbol and self._named < NAMED_SYMBOLS:
            refused.symbols[symbol] = 1
            self._named += 1

    def end_row(self) -> None:
        """The venue took an order: what was refused before is in no row any more."""
        for refused in self._refused.values():
            refused.rejects = 0

    def events(self, strategy: str) -> list[journal_pb2.RequestsRefused]:
        """As they are journaled; what was refused last stands last."""
        items = list(self._refused.items())
        if len(items) <= EVENTS:
            return [_event(strategy, *key, refused) for key, refused in items]
        # The last one, and of the others those that were refused most often.
        *before, last = items
        often = sorted(before, key=lambda item: item[1].count, reverse=True)[: EVENTS - 2]
        others = [refused for key, refused in before if key not in dict(often)]
        named = [item for item in before if item[0] in dict(often)]
        return [
            _event(strategy, str(Reason.SEVERAL_REASONS), "", _sum(others)),
            *(_event(strategy, *key, refused) for key, refused in (*named, last)),
        ]


def _sum(several: list[Refused]) -> Refused:
    """All of them as one."""
    total = Refused(text=f"refused for {len(several)} other reasons, which are not named")
    for refused in several:
        total.count += refused.count
        total.rejects += refused.rejects
        for symbol, count in refused.symbols.items():
            total.symbols[symbol] = total.symbols.get(symbol, 0) + count
    return total


def _event(strategy: str, reason: str, risk_limit: str, refused: Refused) -> journal_pb2.RequestsRefused:
    event = journal_pb2.RequestsRefused(
        strategy=strategy,
        reason=reason,
        risk_limit=risk_limit,
        count=refused.count,
        text=refused.text,
        rejects=refused.rejects,
    )
    # Most often all are for one symbol.
    if list(refused.symbols.values()) == [refused.count]:
        (event.symbol,) = refused.symbols
    else:
        event.symbols.extend(
            journal_pb2.RefusedSymbol(symbol=symbol, count=count) for symbol, count in refused.symbols.items()
        )
    return event


def by_symbol(body: journal_pb2.RequestsRefused) -> Iterable[tuple[str, int]]:
    """How many of them were for which symbol, together all of them; empty where they name none."""
    if not body.symbols:
        return [(body.symbol, body.count)]
    named = [(item.symbol, item.count) for item in body.symbols]
    unnamed = body.count - sum(count for _, count in named)
    return [*named, ("", unnamed)] if unnamed else named
