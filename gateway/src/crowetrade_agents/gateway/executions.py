"""Executions and busts that were booked, in bounded memory, so that one that the venue reports again is recognised
after its order was forgotten, or its order has forgotten it.

Each is kept as eight bytes of a hash over the venue's identifier, its day by the venue's time, and its numbers: FIX
promises that an ExecID is used once on a trading day, not for ever. Of the hashes the last KEPT are remembered. Whoever
asks about a time at which one may have been forgotten learns that this is not known.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import islice

from crowetrade.bus.v1 import journal_pb2

KEPT = 8192
DAY_NS = 86_400_000_000_000
Body = journal_pb2.OrderExecuted | journal_pb2.ExecutionBusted


def execution_id(body: Body) -> str:
    """The venue's identifier of the execution that is reported or taken back."""
    return body.exec_ref_id if isinstance(body, journal_pb2.ExecutionBusted) else body.exec_id


def fingerprint(body: Body) -> int:
    """The hash of an execution or of a bust, the same in every process. Neither its order, which may be known under
    several ClOrdIDs, nor its fee, which may be reported later, is part of it."""
    kind = "bust" if isinstance(body, journal_pb2.ExecutionBusted) else "execution"
    return _hash(kind, body, body.transact_unix_ns // DAY_NS)


def _hash(kind: str, body: Body, day: int) -> int:
    text = f"{kind} {body.side} {body.quantity} {body.price} {day} {body.symbol}\0{execution_id(body)}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")


@dataclass(slots=True)
class BookedExecutions:
    """What was booked last. Times are the venue's, nanoseconds since the Unix epoch."""

    # Fingerprint -> when it happened; what was booked last stands last.
    _booked: OrderedDict[int, int] = field(default_factory=OrderedDict)
    # What happened up to this time may be missing.
    _forgotten_ns: int = 0

    def add(self, body: Body) -> None:
        """It is booked."""
        self._add(fingerprint(body), body.transact_unix_ns)

    def has(self, body: Body) -> bool:
        """Whether it was booked and is remembered."""
        return fingerprint(body) in self._booked

    def has_taken_back(self, bust: journal_pb2.ExecutionBusted) -> bool:
        """Whether the execution that the bust takes back was booked and is remembered. It is looked for on the day of
        the bust and on the day before."""
        day = bust.transact_unix_ns // DAY_NS
        return any(_hash("execution", bust, at) in self._booked for at in (day, day - 1))

    def knows_since(self, at_ns: int) -> bool:
        """Whether everything booked that happened at this time or later is remembered."""
        return self._forgotten_ns < at_ns

    def since(self, at_ns: int) -> int:
        """The earliest time, from this one on, since which everything booked is remembered, and will be when KEPT / 2
        others are booked first: what a venue reports again comes behind what happens meanwhile."""
        older = islice(self._booked.values(), max(len(self._booked) - KEPT // 2, 0))
        return max(at_ns, max(older, default=0) + 1, self._forgotten_ns + 1)

    def to_message(self) -> journal_pb2.BookedExecutions:
        """What is remembered, for a snapshot."""
        return journal_pb2.BookedExecutions(
            fingerprints=self._booked.keys(), unix_ns=self._booked.values(), forgotten_unix_ns=self._forgotten_ns
        )

    @classmethod
    def from_message(cls, message: journal_pb2.BookedExecutions) -> BookedExecutions:
        """The inverse of `to_message`."""
        booked = cls(_forgotten_ns=message.forgotten_unix_ns)
        for key, at_ns in zip(message.fingerprints, message.unix_ns, strict=True):
            booked._add(key, at_ns)
        return booked

    def _add(self, key: int, at_ns: int) -> None:
        self._booked[key] = at_ns
        self._booked.move_to_end(key)
        if len(self._booked) > KEPT:
            _, oldest_ns = self._booked.popitem(last=False)
            self._forgotten_ns = max(self._forgotten_ns, oldest_ns)
