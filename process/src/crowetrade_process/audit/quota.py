"""How much of the audit trail one namespace may take, so that no tenant fills it for all. No I/O.

Events of one namespace, kind and action have a share by bytes: so much at once, and so much a day. Beyond it they are
counted, and the sum is an event itself: nothing is left out without saying so. A flood of changes of Strategies hides
neither one of a RiskLimit nor a forced deletion, because those have shares of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from crowetrade.audit.v1 import audit_pb2

BYTES_PER_DAY = 256 * 1024
DAYS_AT_ONCE = 4
"""A share that was not used for so long is full, and no more is saved."""
RECORD_BYTES = 256
"""What a record takes beside its event."""
SUM_SECONDS = 600.0
"""From the first event that is counted to the record of the sum."""
SHOWN = 10
_DAY_SECONDS = 86_400.0

_Key = tuple[str, str, audit_pb2.Action.ValueType]
"""Namespace, kind and action."""


@dataclass(slots=True)
class _Share:
    left: float
    at: float


@dataclass(slots=True)
class _Sum:
    """Events that were counted."""

    since: float
    first_ns: int
    last_ns: int = 0
    names: Counter[str] = field(default_factory=Counter)
    actors: Counter[str] = field(default_factory=Counter)
    count: int = 0

    def add(self, event: audit_pb2.AuditEvent) -> None:
        self.count += 1
        self.last_ns = event.at_unix_ns
        _count(self.names, event.name)
        _count(self.actors, event.actor or "nobody known")


class Quota:
    """The shares of all namespaces. Times are seconds of one monotonic clock."""

    def __init__(self, bytes_per_day: int = BYTES_PER_DAY) -> None:
        """0: no bound."""
        self._per_day = bytes_per_day
        self._shares: dict[_Key, _Share] = {}
        self._sums: dict[_Key, _Sum] = {}

    def admits(self, event: audit_pb2.AuditEvent, now: float) -> bool:
        """Whether the event is to be recorded by itself; otherwise it is counted. What is of no namespace always is."""
        if not self._per_day or not event.namespace:
            return True
        key = (event.namespace, event.kind, event.action)
        most = float(self._per_day * DAYS_AT_ONCE)
        share = self._shares.setdefault(key, _Share(most, now))
        share.left = min(most, share.left + (now - share.at) * self._per_day / _DAY_SECONDS)
        share.at = now
        size = event.ByteSize() + RECORD_BYTES
        # While a sum is open the next ones are part of it, so that it stands before what follows.
        if key not in self._sums and size <= share.left:
            share.left -= size
            return True
        self._sums.setdefault(key, _Sum(now, event.at_unix_ns)).add(event)
        return False

    @property
    def summing(self) -> Collection[str]:
        """Namespaces of which events are counted and the sum is not recorded yet."""
        return {namespace for namespace, _, _ in self._sums}

    @property
    def due_at(self) -> float | None:
        """When the next sum is to be recorded."""
        return min((found.since + SUM_SECONDS for found in self._sums.values()), default=None)

    def take(self, now: float) -> list[audit_pb2.AuditEvent]:
        """The sums that are due, which are open no more."""
        # A share that is full again is as that of a namespace that was never seen.
        full = now - DAYS_AT_ONCE * _DAY_SECONDS
        self._shares = {key: share for key, share in self._shares.items() if share.at > full}
        return self._close([key for key, found in self._sums.items() if found.since + SUM_SECONDS <= now])

    def take_all(self) -> list[audit_pb2.AuditEvent]:
        """All sums, which are open no more."""
        return self._close(list(self._sums))

    def _close(self, keys: Iterable[_Key]) -> list[audit_pb2.AuditEvent]:
        return [_event(key, self._sums.pop(key)) for key in keys]


def _count(counted: Counter[str], name: str) -> None:
    counted[name if name in counted or len(counted) < SHOWN else "others"] += 1


def _event(key: _Key, found: _Sum) -> audit_pb2.AuditEvent:
    namespace, kind, action = key
    word = audit_pb2.Action.Name(action).removeprefix("ACTION_").replace("_", " ").lower()
    reason = (
        f"{word} from {_time(found.first_ns)} to {_time(found.last_ns)}, of {_list(found.names.items())}, "
        f"by {_list(found.actors.items())}: the share of the namespace for such records is used up"
    )
    return audit_pb2.AuditEvent(
        action=audit_pb2.ACTION_SUMMED_UP,
        proof=audit_pb2.ACTOR_PROOF_SELF,
        kind=kind,
        namespace=namespace,
        count=found.count,
        reason=reason,
        at_unix_ns=found.last_ns,
    )


def _list(counted: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counted)


def _time(unix_ns: int) -> str:
    return datetime.fromtimestamp(unix_ns / 1e9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
