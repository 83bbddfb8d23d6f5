"""What goes wrong on purpose. Plain values: a script, rates, a seed; pure, so that the same run fails in the same way.

A message is counted by its kind, in each direction by itself, from 1. A scripted fault strikes at the n-th message of a
kind; rates strike at random, from the seed. Times are wall-clock nanoseconds.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass
from enum import StrEnum


class Message(StrEnum):
    """Kinds of message: first what the gateway sends, then what the venue sends."""

    NEW_ORDER = "NewOrder"
    CANCEL = "Cancel"
    REPLACE = "Replace"
    QUERY = "Query"
    ACCEPTED = "Accepted"
    EXECUTED = "Executed"
    ENDED = "Ended"
    REPLACED = "Replaced"
    REQUEST_REJECTED = "RequestRejected"
    BUSTED = "Busted"
    CHARGED = "Charged"
    ORDER_STATE = "OrderState"
    QUOTE = "QuoteChanged"
    TRADE = "TradePrinted"
    FEED_ALIVE = "FeedAlive"


class FaultKind(StrEnum):
    """What a fault does to the message that it strikes."""

    LOSE = "Lose"
    """It never arrives: a lost acknowledgement (Accepted), a lost order (NewOrder)."""
    DUPLICATE = "Duplicate"
    """It arrives twice: a repeated execution (Executed), an order sent twice (NewOrder)."""
    DELAY = "Delay"
    """It, and what the venue sends behind it, arrives `delay_ns` later: a slow venue. For what the venue sends."""
    DISCONNECT = "Disconnect"
    """The session is lost, with this message and all that were on their way."""
    REJECT = "Reject"
    """The venue refuses the order or the request. For what the gateway sends, Query apart."""
    FORGET = "Forget"
    """The venue loses the order that a Cancel, Replace or Query names, and denies from then on that it knows it."""
    LATE_FILL = "LateFill"
    """The order that a Cancel names trades just before the cancel, and its confirmation overtakes the execution."""
    BUST = "Bust"
    """The execution is taken back `delay_ns` after it was reported. For Executed."""
    FOREIGN_EXECUTION = "ForeignExecution"
    """After this message comes an execution of an order that the gateway never sent. For what the venue sends."""
    SILENCE = "Silence"
    """From this message on neither quotes, trades nor FeedAlive arrive for `delay_ns`. For these three."""


REQUESTS = frozenset({Message.NEW_ORDER, Message.CANCEL, Message.REPLACE, Message.QUERY})
FEED = frozenset({Message.QUOTE, Message.TRADE, Message.FEED_ALIVE})
ANSWERS = frozenset(Message) - REQUESTS - FEED
_ON_ORDERS = frozenset({Message.CANCEL, Message.REPLACE, Message.QUERY})
SUITS: dict[FaultKind, frozenset[Message]] = {
    FaultKind.LOSE: frozenset(Message),
    FaultKind.DUPLICATE: REQUESTS | ANSWERS,
    FaultKind.DELAY: ANSWERS,
    FaultKind.DISCONNECT: frozenset(Message),
    FaultKind.REJECT: REQUESTS - {Message.QUERY},
    FaultKind.FORGET: _ON_ORDERS,
    FaultKind.LATE_FILL: frozenset({Message.CANCEL}),
    FaultKind.BUST: frozenset({Message.EXECUTED}),
    FaultKind.FOREIGN_EXECUTION: ANSWERS | FEED,
    FaultKind.SILENCE: FEED,
}
"""The messages that each kind can strike."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Strikes once, at the `nth` message of kind `on` (from 1). Raises ValueError when the kind cannot strike it."""

    kind: FaultKind
    on: Message
    nth: int = 1
    delay_ns: int = 0

    def __post_init__(self) -> None:
        if self.on not in SUITS[self.kind]:
            known = ", ".join(sorted(SUITS[self.kind]))
            raise ValueError(f"fault {self.kind} cannot strike {self.on}: write one of {known}")
        if self.nth < 1 or self.delay_ns < 0:
            raise ValueError(f"fault {self.kind} on {self.on}: nth counts from 1, and delay_ns is not negative")


@dataclass(frozen=True, slots=True)
class FaultRate:
    """Strikes each message of kind `on` with this probability, 0 to 1; a delay is drawn up to `delay_ns`."""

    kind: FaultKind
    on: Message
    probability: float
    delay_ns: int = 0

    def __post_init__(self) -> None:
        Fault(self.kind, self.on, 1, self.delay_ns)
        if not 0 <= self.probability <= 1:
            raise ValueError(f"fault {self.kind} on {self.on}: probability {self.probability} is not between 0 and 1")


class FaultInjector:
    """Counts messages and returns the faults that strike them."""

    def __init__(self, script: tuple[Fault, ...] = (), rates: tuple[FaultRate, ...] = (), seed: int = 0) -> None:
        self._script: dict[tuple[Message, int], list[Fault]] = {}
        for fault in script:
            self._script.setdefault((fault.on, fault.nth), []).append(fault)
        self._rates: dict[Message, list[FaultRate]] = {}
        for rate in rates:
            self._rates.setdefault(rate.on, []).append(rate)
        self._random = random.Random(seed)
        self._counts: Counter[Message] = Counter()
        self.never_strike = not script and not rates

    def strike(self, message: Message) -> tuple[Fault, ...]:
        """The faults of the next message of a kind; most often none."""
        self._counts[message] += 1
        struck = self._script.get((message, self._counts[message]), [])
        if message in self._rates:
            struck = [*struck, *self._drawn(message)]
        return tuple(struck)

    def _drawn(self, message: Message) -> list[Fault]:
        drawn: list[Fault] = []
        for rate in self._rates[message]:
            # Both are drawn each time, so that one rate does not move the numbers of another.
            chance, share = self._random.random(), self._random.random()
            if chance < rate.probability:
                drawn.append(Fault(rate.kind, message, self._counts[message], int(rate.delay_ns * share)))
        return drawn
