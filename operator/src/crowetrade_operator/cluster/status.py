"""Status writes, coalesced: per object at most one a second (limits and KillSwitches: ten), within a budget for all,
significant ones first.

Positions and counters change with every trade; conditions and phases change rarely and matter. A status that waits is
replaced by a newer one, never queued behind it. Unchanged ones are not written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from crowetrade_api.names import API_VERSION, Key, Kind
from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.errors import ClusterError, ClusterUnavailable, Conflict, NotFound

log = structlog.get_logger()

PER_OBJECT_SECONDS = 1.0
QUICK_SECONDS = 0.1
"""For a KillSwitch, and for a RiskLimit whose conditions change: people wait for them to be in force."""
IDLE_SECONDS = 0.05


@dataclass(slots=True)
class Pending:
    """A status that waits to be written."""

    status: Object
    uid: str
    significant: bool
    since: float


def significant(status: Object) -> Object:
    """The part of a status that is written first when it changes."""
    names = (
        "observedGeneration",
        "phase",
        "state",
        "conditions",
        "venues",
        "gateways",
        "acknowledgements",
        "pending",
        "breached",
    )
    part = {name: status.get(name) for name in names}
    part["agents"] = (status.get("agents") or {}).get("summary")
    part["session"] = (status.get("session") or {}).get("state")
    return part


class StatusWriter:
    """Keeps the newest status of each object and writes it when it is its turn."""

    def __init__(self, cluster: Cluster, per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._cluster = cluster
        self._per_second = per_second
        self._clock = clock
        self._tokens = per_second
        self._filled = clock()
        self._pending: dict[Key, Pending] = {}
        self._known: dict[Key, tuple[str, Object]] = {}
        self._last: dict[Key, float] = {}
        self._arrived = asyncio.Event()

    def known(self, key: Key, uid: str) -> Object | None:
        """The status that was last reported for this object by us, whether it is written already or not."""
        pending = self._pending.get(key)
        if pending is not None and pending.uid == uid:
            return pending.status
        found = self._known.get(key)
        return found[1] if found is not None and found[0] == uid else None

    def report(self, key: Key, uid: str, live: Object, status: Object) -> bool:
        """Takes a status to be written; tells whether it differs from the one before."""
        before = self.known(key, uid)
        if before is None:
            before = live
        if before == status:
            return False
        pending = self._pending.get(key)
        urgent = significant(before) != significant(status) or (pending is not None and pending.significant)
        since = pending.since if pending is not None else self._clock()
        self._pending[key] = Pending(status, uid, urgent, since)
        metrics.STATUS_PENDING.set(len(self._pending))
        self._arrived.set()
        return True

    def doubt(self) -> None:
        """Forgets what was written, so that the next reports are compared with what the API server has."""
        self._known.clear()

    def forget(self, key: Key) -> None:
        """The object is gone."""
        for table in (self._pending, self._known, self._last):
            table.pop(key, None)

    async def run(self) -> None:
        """Writes until cancelled."""
        while True:
            if not self._pending:
                self._arrived.clear()
                await self._arrived.wait()
            key = self._next()
            if key is None:
                await asyncio.sleep(IDLE_SECONDS)
            else:
                await self._write(key)

    async def drain(self) -> None:
        """Writes what waits, now: at shutdown."""
        for key in sorted(self._pending, key=lambda key: not self._pending[key].significant):
            await self._write(key)

    def _next(self) -> Key | None:
        """Whose turn it is; None when nothing may be written."""
        now = self._clock()
        self._tokens = min(self._per_second, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        if self._tokens < 1.0 and self._per_second >= 1.0:
            return None
        due = [
            key
            for key, pending in self._pending.items()
            if now - self._last.get(key, float("-inf")) >= _pause(key, pending.significant)
        ]
        return min(due, key=lambda key: turn(key, self._pending[key]), default=None)

    async def _write(self, key: Key) -> None:
        pending = self._pending.pop(key)
        self._tokens -= 1.0
        self._last[key] = self._clock()
        self._known[key] = (pending.uid, pending.status)
        metrics.STATUS_PENDING.set(len(self._pending))
        body: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": key.kind.value,
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": pending.uid},
            "status": pending.status,
        }
        result = "written"
        try:
            await self._cluster.apply(body, "status")
        except NotFound:
            result = "gone"
        except (ClusterUnavailable, Conflict) as error:
            result = "retried"
            log.warning("status not written, trying again", key=str(key), error=str(error))
            self._known.pop(key, None)
            self._pending.setdefault(key, pending)
        except ClusterError as error:
            result = "refused"
            self._known.pop(key, None)
            log.error("status refused by the API server", key=str(key), error=str(error))
        metrics.STATUS_WRITES.labels(key.kind.value, result).inc()


def turn(key: Key, pending: Pending) -> tuple[float, bool, float]:
    """Sorts those that wait: first what people wait for (a limit of many gateways comes after the statuses of them all,
    and would wait for the budget behind them), then significant ones, then the longest waiting."""
    return _pause(key, pending.significant), not pending.significant, pending.since


def _pause(key: Key, urgent: bool) -> float:
    """Seconds between two writes of one status."""
    quick = key.kind is Kind.KILL_SWITCH or (key.kind is Kind.RISK_LIMIT and urgent)
    return min(QUICK_SECONDS, PER_OBJECT_SECONDS) if quick else PER_OBJECT_SECONDS
