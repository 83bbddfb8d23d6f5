"""Status writes, coalesced: per object at most one a second (limits and KillSwitches: ten), within a budget for all.

Positions and counters change with every trade; conditions and phases change rarely and matter. A status that waits is
replaced by a newer one, never queued behind it. Unchanged ones are written once in REPORT_SECONDS with another
lastReportTime, as regular ones, so that whoever reads a status sees whether an operator works.

There are three lines, each in the order of what may be written first: what people wait for, other significant changes,
and the rest. The rest alone is held to the budget, so that a significant change does not wait for it; a bound of its
own keeps a cluster that breaks all at once from taking the API server. An object that changes without end is slowed
down: it takes nothing from others.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import heapq
import sys
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, cast

import orjson
import structlog

from crowetrade_api.names import API_VERSION, Key, Kind
from crowetrade_operator import metrics
from crowetrade_operator.cluster.cache import REMEMBERED
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object, version_of
from crowetrade_operator.cluster.times import rfc3339, unix_of
from crowetrade_operator.cluster.undeclared import UndeclaredFields, undeclared_fields
from crowetrade_operator.errors import ClusterError, ClusterUnavailable, Conflict, NotFound, NotInSchema
from crowetrade_process.stopping import together

log = structlog.get_logger()

PER_OBJECT_SECONDS = 1.0
QUICK_SECONDS = 0.1
"""For a KillSwitch, and for a RiskLimit whose conditions change: people wait for them to be in force."""
SIGNIFICANT_FACTOR = 10.0
"""How many significant statuses may be written for each of the rest."""
RESTLESS_WRITES = 30
RESTLESS_SECONDS = 5.0
"""After so many significant changes in a row an object is written once in so many seconds."""
REPORT_SECONDS = 600.0
"""How old a status may become before it is written again although nothing has changed."""
REPORT_TIME = "lastReportTime"
LOOK_SECONDS = 0.05
WRITERS = 16
"""So many are written at once, as many as there are workers: with 4, what ten thousand Strategies say when gateways are
first heard waited for the answers of the API server and not for its work."""


@dataclass(slots=True)
class Pending:
    """A status that waits to be written."""

    status: Object
    uid: str
    significant: bool
    since: float
    # Whether nothing is new but the time.
    renews: bool


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


def _pack(status: Object) -> bytes:
    """2 KB become 0.8; what orjson returns holds four times as much memory as there is text."""
    return zlib.compress(orjson.dumps(status), 1)


def _unpack(text: bytes) -> Object:
    return cast(Object, orjson.loads(zlib.decompress(text)))


def _said(status: Object) -> Object:
    """Without the time at which it was said."""
    return {name: value for name, value in status.items() if name != REPORT_TIME}


class Bucket:
    """So many a second, and as many at once."""

    def __init__(self, per_second: float, at_once: float, now: float) -> None:
        self._per_second = per_second
        self._at_once = at_once
        self._tokens = at_once
        self._filled = now

    def wait(self, now: float) -> float:
        """Seconds until one may be taken; 0 when it may be now."""
        self._tokens = min(self._at_once, self._tokens + (now - self._filled) * self._per_second)
        self._filled = now
        return 0.0 if self._tokens >= 1.0 else (1.0 - self._tokens) / self._per_second

    def take(self) -> None:
        """Takes one."""
        self._tokens -= 1.0


class Line(IntEnum):
    """Who is written before whom."""

    QUICK = 0
    SIGNIFICANT = 1
    REGULAR = 2


class StatusWriter:
    """Keeps the newest status of each object and writes it when it is its turn."""

    def __init__(
        self,
        cluster: Cluster,
        per_second: float,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._wall_clock = wall_clock
        self._clock = clock
        self._per_second = per_second
        # Hardly more at once than one: whoever counts them over a few seconds finds no more than were allowed.
        budget = Bucket(per_second, max(1.0, per_second * LOOK_SECONDS), clock())
        important = Bucket(per_second * SIGNIFICANT_FACTOR, per_second * SIGNIFICANT_FACTOR, clock())
        self._buckets = {Line.QUICK: important, Line.SIGNIFICANT: important, Line.REGULAR: budget}
        self._pending: dict[Key, Pending] = {}
        # (when it may be written, since when it waits, key); an entry whose status is written or has moved on to
        # another line is skipped.
        self._lines: dict[Line, list[tuple[float, float, Key]]] = {line: [] for line in Line}
        # The uid, and as compressed text what was written: there is one for each object.
        self._known: dict[Key, tuple[str, bytes]] = {}
        self._read = functools.lru_cache(REMEMBERED)(_unpack)
        # resourceVersion that the last write made.
        self._versions: dict[Key, int] = {}
        self._last: dict[Key, float] = {}
        self._restless: dict[Key, Bucket] = {}
        self._writing: set[Key] = set()
        self.undeclared = UndeclaredFields(clock)
        self.on_undeclared: Callable[[], None] = lambda: None
        """Called when a CRD turns out to declare less than this operator reports, or more than before."""
        self._arrived = asyncio.Event()
        self._turn = asyncio.Lock()
        self._regular_written = asyncio.Event()
        self._ended = asyncio.Event()
        self._closed = False

    def known(self, key: Key, uid: str) -> Object | None:
        """The status that was last reported for this object by us, whether it is written already or not."""
        pending = self._pending.get(key)
        if pending is not None and pending.uid == uid:
            return pending.status
        found = self._known.get(key)
        return self._read(found[1]) if found is not None and found[0] == uid else None

    def report(self, key: Key, uid: str, live: Object, status: Object) -> bool:
        """Takes a status to be written; tells whether it has to be."""
        before = self.known(key, uid)
        told = status
        if before is None:
            before, told = live, self.undeclared.declared(key.kind, status)
        pending, renews = self._pending.get(key), _said(before) == _said(told)
        if renews and (pending is not None or not self._is_old(key.kind, before)):
            return False
        if key.kind is Kind.RISK_LIMIT and before.get("observedGeneration") != status.get("observedGeneration"):
            # Somebody has edited it, and waits for it to be in force.
            self._restless.pop(key, None)
        urgent = significant(before) != significant(status) or (pending is not None and pending.significant)
        since = pending.since if pending is not None else self._clock()
        self._pending[key] = Pending(status, uid, urgent, since, renews)
        if pending is None or urgent != pending.significant:
            self._queue(key)
        metrics.STATUS_PENDING.set(len(self._pending))
        return True

    def _is_old(self, kind: Kind, status: Object) -> bool:
        """Also when it is of a time that has not come: the clock was put back. Not where the CRD has no such field."""
        reported = status.get(REPORT_TIME)
        if not reported:
            return bool(self.undeclared.declared(kind, {REPORT_TIME: ""}))
        return abs(self._wall_clock() - unix_of(reported)) >= REPORT_SECONDS

    def doubt(self, key: Key) -> None:
        """Forgets what was written, so that the next report is compared with what the API server has."""
        self._known.pop(key, None)

    def is_overwritten(self, key: Key, item: Object) -> bool:
        """Whether somebody wrote another status after our last one. It may have been us: a request whose answer was
        given up may still arrive, even at another object of the same name, because uids do not count for a status."""
        found = self._known.get(key)
        if found is None or key in self._pending or key in self._writing:
            return False
        uid, text = found
        if uid != item["metadata"]["uid"] or version_of(item) <= self._versions.get(key, sys.maxsize):
            return False
        return bool(item.get("status") != self.undeclared.declared(key.kind, self._read(text)))

    def forget(self, key: Key) -> None:
        """The object is gone."""
        for table in (self._pending, self._known, self._versions, self._last, self._restless):
            table.pop(key, None)

    async def run(self) -> None:
        """Writes until cancelled."""
        await together(*(self._write_on() for _ in range(WRITERS)))

    async def finish(self) -> None:
        """Ends `run` without an interrupted write, then writes what readers wait for: at shutdown. Figures are written
        by whoever leads next."""
        self._closed = True
        while self._writing:
            self._ended.clear()
            await self._ended.wait()
        await self.drain(Line.SIGNIFICANT)

    async def drain(self, last: Line = Line.REGULAR) -> None:
        """Writes what waits, now, up to the line `last`."""
        waiting = sorted((_line(key, pending), pending.since, key) for key, pending in self._pending.items())
        for line, _, key in waiting:
            if line <= last:
                await self._write(key)

    async def regular_turn(self) -> None:
        """Waits until another regular status would not have to wait for long: whoever makes one for each turn makes no
        more than can be written."""
        await asyncio.sleep(1.0 / self._per_second)
        while len(self._lines[Line.REGULAR]) >= max(1.0, self._per_second):
            self._regular_written.clear()
            await self._regular_written.wait()

    async def _write_on(self) -> None:
        while True:
            async with self._turn:
                key = await self._due()
            await self._write(key)

    async def _due(self) -> Key:
        """Waits until somebody may be written; one writer looks at a time."""
        while True:
            key, wait = self._next()
            if key is not None:
                return key
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait and min(wait, LOOK_SECONDS)):
                    await self._arrived.wait()

    def _queue(self, key: Key) -> None:
        pending = self._pending[key]
        line = _line(key, pending)
        due = self._last.get(key, float("-inf")) + _pause(key, pending.significant)
        if line is not Line.REGULAR and key in self._restless:
            due = max(due, self._clock() + self._restless[key].wait(self._clock()))
        heapq.heappush(self._lines[line], (max(due, pending.since), pending.since, key))
        self._arrived.set()

    def _next(self) -> tuple[Key | None, float | None]:
        """Whose turn it is, or how long nobody's; for None, until something arrives."""
        now, waits = self._clock(), list[float]()
        if self._closed:
            return None, None
        for line, entries in self._lines.items():
            while entries and not self._is_in(line, entries[0]):
                heapq.heappop(entries)
            if not entries:
                continue
            wait = max(entries[0][0] - now, self._buckets[line].wait(now))
            if wait <= 0:
                self._buckets[line].take()
                return heapq.heappop(entries)[2], None
            waits.append(wait)
        return None, min(waits, default=None)

    def _is_in(self, line: Line, entry: tuple[float, float, Key]) -> bool:
        """Whether the entry stands for what waits; what is being written is queued again when it is done."""
        _, since, key = entry
        pending = self._pending.get(key)
        return (
            pending is not None and (_line(key, pending), pending.since) == (line, since) and key not in self._writing
        )

    async def _write(self, key: Key) -> None:
        pending, now = self._pending.pop(key), self._clock()
        self._last[key] = now
        self._writing.add(key)
        if pending.significant and key.kind is not Kind.KILL_SWITCH:
            restless = self._restless.setdefault(key, Bucket(1.0 / RESTLESS_SECONDS, RESTLESS_WRITES, now))
            restless.wait(now)
            restless.take()
        if not pending.significant:
            self._regular_written.set()
        status = {**pending.status, REPORT_TIME: rfc3339(self._wall_clock())}
        self._known[key] = (pending.uid, _pack(status))
        metrics.STATUS_PENDING.set(len(self._pending))
        status = self.undeclared.declared(key.kind, status)
        body: dict[str, Any] = {
            "apiVersion": API_VERSION,
            "kind": key.kind.value,
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": pending.uid},
            "status": status,
        }
        result = "renewed" if pending.renews else "written"
        try:
            self._versions[key] = version_of(await self._cluster.apply(body, "status"))
            if self.undeclared.taken(key.kind, status):
                log.info("crd_declares_more", kind=key.kind)
                self.on_undeclared()
        except NotFound:
            result = "gone"
        except NotInSchema as error:
            result = "retried"
            self._retry(key, pending)
            if self.undeclared.refused(key.kind, status, undeclared_fields(error.message)):
                fields = self.undeclared.of(key.kind)
                log.error("crd_outdated", kind=key.kind, left_out=fields, hint="upgrade the CRDs")
                self.on_undeclared()
        except (ClusterUnavailable, Conflict) as error:
            result = "retried"
            log.warning("status_not_written", key=str(key), error=str(error))
            self._retry(key, pending)
        except ClusterError as error:
            result = "refused"
            self._known.pop(key, None)
            log.error("status_refused", key=str(key), error=str(error))
        finally:
            self._writing.discard(key)
            self._ended.set()
            if key in self._pending:
                self._queue(key)
        metrics.STATUS_WRITES.labels(key.kind.value, result).inc()

    def _retry(self, key: Key, pending: Pending) -> None:
        self._known.pop(key, None)
        self._pending.setdefault(key, pending)


def _line(key: Key, pending: Pending) -> Line:
    """People wait for a KillSwitch and for a limit to be in force; a limit of many gateways comes after the statuses of
    them all, and would wait behind them."""
    if _is_quick(key, pending.significant):
        return Line.QUICK
    return Line.SIGNIFICANT if pending.significant else Line.REGULAR


def _is_quick(key: Key, urgent: bool) -> bool:
    return key.kind is Kind.KILL_SWITCH or (key.kind is Kind.RISK_LIMIT and urgent)


def _pause(key: Key, urgent: bool) -> float:
    """Seconds between two writes of one status."""
    return min(QUICK_SECONDS, PER_OBJECT_SECONDS) if _is_quick(key, urgent) else PER_OBJECT_SECONDS
