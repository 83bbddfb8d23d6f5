"""Leader election by a Lease: one replica works, the others wait (client-go's algorithm).

Two never work at once. A candidate takes a Lease that has not changed for its whole duration since the candidate saw it
change. The leader begins no write when the renew deadline, which is shorter, has passed since the START of its last
successful renewal, because nobody can have seen that renewal before; and a write that has begun is given up before the
Lease can pass to another. Each try to renew is bounded by what is left of the deadline. Before each write the leader
looks at the clock, so one that was frozen writes nothing when it thaws.

No time of another machine is compared: neither the time written in the Lease nor the wall clock decides anything.
`leaseTransitions` is the epoch of what the leader writes to the bus: it rises with each leader, also when a container
is restarted under the same name, and the leader gives up when it finds another epoch than its own in the Lease.
Released at shutdown, so that the next replica does not have to wait: whoever waits watches the Lease, and asks for it
when the watch says that it is free. The watch alone decides nothing: the Lease is read before it is taken, and without
a watch it is read from time to time.

Versions go back when etcd is restored from a backup, and a watch then brings nothing until they have caught up. So a
leader or a candidate that reads an older Lease than it knows, or none where there was one, must not work with what it
has read so far: it ends. An older Lease that the watch brings is no sign of that, because a watch may begin with what
an API server has in its cache.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import sys
import time
from collections.abc import Callable
from typing import NoReturn

import structlog

from crowetrade_api.names import LEFT_BEHIND_ANNOTATION
from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object, version_of
from crowetrade_operator.cluster.resources import LEASES
from crowetrade_operator.cluster.times import rfc3339_micro
from crowetrade_operator.errors import ClusterError, ClusterRefused, Conflict, LeaseLost, NotFound
from crowetrade_operator.settings import LeaseTimes
from crowetrade_process.stopping import cancelled

log = structlog.get_logger()

SLOW_LOOP_SECONDS = 0.5
"""From here on the message about a lost Lease names the lag of the event loop as a cause."""
TIMER_SECONDS = 0.01
"""A timer may end so much too early."""


def elapsed() -> float:
    """Seconds on a clock that nobody sets and that goes on while the machine is suspended, where there is one."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Elector:
    """One candidate of one Lease; when it has acquired it, the Leadership of all that the process writes."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes,
        clock: Callable[[], float] = elapsed,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        """`wall_clock` is for the times in the Lease, which people read and nobody compares."""
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._times = times
        self._clock = clock
        self._wall_clock = wall_clock
        # Whole seconds are what a Lease can say.
        self._duration = math.ceil(times.duration)
        # Version of another one's Lease that was seen last, and when it will have expired if it stays.
        self._seen, self._expires = "", float("-inf")
        # When its holder, if there is one, begins no more write.
        self._ends = float("inf")
        self.taken_from, self.left_behind = "", ""
        """Version of the Lease that this one has replaced when it began to lead, and what the leader before wrote down
        when it gave it back."""
        self._free = asyncio.Event()
        self._given_back = False
        self._epoch = 0
        self._renewed = float("-inf")
        # The newest of the Lease that was seen, or written by us; 0 until there was one.
        self._version = 0
        self._renewing = asyncio.Lock()
        self._lost: LeaseLost | None = None
        # It is there, with 0, from now on: a Lease that nobody holds is seen by the candidates that tell of it.
        self._leader = metrics.LEADER.labels(namespace, name)

    @property
    def epoch(self) -> int:
        """`leaseTransitions` since this replica leads."""
        return self._epoch

    def seconds_left(self) -> float:
        """Within which a write that begins now must be over; 0 when none may begin."""
        if self._lost is not None:
            return 0.0
        age = self._clock() - self._renewed
        return self._duration - age if age < self._times.renew else 0.0

    @property
    def silent(self) -> str:
        """Version of the Lease of another one that has not renewed it for so long that it begins no more write; empty
        otherwise."""
        return self._seen if self._clock() > self._ends else ""

    async def acquire(self) -> None:
        """Waits until this replica leads. Raises LeaseLost when what it knows is of another history."""
        watching = asyncio.create_task(self._watch())
        try:
            while not await self.take():
                await self._wait()
        finally:
            await cancelled(watching)

    async def take(self) -> bool:
        """Leads if nobody else does; tells whether this replica leads now. Asks once."""
        if not await self._try_to_take():
            return False
        self._leader.set(1)
        log.info("leading", identity=self.identity, lease=self._name, epoch=self._epoch)
        return True

    async def hold(self) -> NoReturn:
        """Renews the Lease for as long as that succeeds. Raises LeaseLost, and the caller must stop all work."""
        failure, lag = "", 0.0
        try:
            while True:
                lag = max(lag, await self._pause())
                metrics.LOOP_LAG.set(lag)
                if self._given_back:
                    await asyncio.Event().wait()
                left = self._renewed + self._times.renew - self._clock()
                if self._lost is not None or left <= 0.0:
                    raise self._lost or LeaseLost(self._why_not_renewed(failure, lag))
                try:
                    # Two tries at least, because the second may find another connection.
                    async with asyncio.timeout(min(left, self._times.renew / 2)), self._renewing:
                        if not self._given_back:
                            await self._renew(self._epoch)
                except (ClusterError, TimeoutError) as error:
                    failure = str(error) or "the API server did not answer in time"
                    log.warning("lease_not_renewed", error=failure, seconds_left=round(self.seconds_left(), 1))
                else:
                    failure, lag = "", 0.0
        finally:
            self._renewed = float("-inf")
            self._leader.set(0)

    async def raise_epoch(self, above: int) -> None:
        """Makes the epoch higher than one that was found on the bus. Epochs went back when the Lease was deleted or
        etcd was restored from a backup; otherwise another one leads, and then this fails. Raises ClusterError."""
        async with self._renewing:
            if self._epoch <= above:
                log.warning("epoch_raised", epoch=self._epoch, found=above)
                await self._renew(above + 1)

    async def release(self, left_behind: str = "") -> None:
        """Gives the Lease back, if it is ours, with a word to the next leader. Nothing is written from here on, and
        `hold` waits to be cancelled."""
        self._renewed = float("-inf")
        self._leader.set(0)
        if self._given_back:
            return
        self._given_back = True
        try:
            async with self._renewing:
                lease = await self._cluster.get(LEASES, self._namespace, self._name)
                if not self._is_ours(lease):
                    return
                lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()}
                if left_behind:
                    lease["metadata"].setdefault("annotations", {})[LEFT_BEHIND_ANNOTATION] = left_behind
                await self._cluster.replace(LEASES, self._namespace, self._name, lease)
            log.info("lease_released", identity=self.identity, lease=self._name)
        except ClusterError as error:
            log.warning("lease_not_released", error=str(error))

    def _now(self) -> str:
        return rfc3339_micro(self._wall_clock())

    async def _wait(self) -> None:
        """Waits until the Lease is worth another look: it is free, or it may have expired, or some time has passed."""
        left = self._expires - self._clock() + TIMER_SECONDS
        seconds = min(self._times.retry, left) if left > 0.0 else self._times.retry
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._free.wait()
        self._free.clear()

    async def _watch(self) -> None:
        """Follows the Lease of another one: each change of it, and that it is free. Begins no more often than the Lease
        is read without it, also where a server ends each watch at once."""
        clock = asyncio.get_running_loop().time
        while True:
            began = clock()
            try:
                async for type_, lease in self._cluster.watch(
                    LEASES, "", self._namespace, fields=f"metadata.name={self._name}"
                ):
                    if type_ == "BOOKMARK":
                        continue
                    self._version = max(self._version, version_of(lease))
                    self._expired(lease)
                    if type_ == "DELETED" or not (lease.get("spec") or {}).get("holderIdentity"):
                        self._free.set()
            except ClusterRefused as error:
                log.warning("lease_watch_forbidden", error=str(error))
                return
            except ClusterError as error:
                log.info("lease_watch_broken", error=str(error))
            await asyncio.sleep(max(0.0, began + self._times.retry - clock()))

    async def _pause(self) -> float:
        """Waits until the next try, or the end of the deadline; returns how much later than asked it went on."""
        before = self._clock()
        asked = max(0.0, min(self._times.retry, self._renewed + self._times.renew - before))
        await asyncio.sleep(asked)
        return max(0.0, self._clock() - before - asked)

    def _why_not_renewed(self, failure: str, lag: float) -> str:
        words = [f"the Lease {self._name} was not renewed for {self._clock() - self._renewed:.1f} s"]
        words += [f"the last try failed: {failure}"] if failure else []
        if lag >= SLOW_LOOP_SECONDS:
            words.append(
                f"the process stood still for {lag:.1f} s: the node is overloaded, or its CPU limit is too low"
            )
        return "; ".join(words)

    def _is_ours(self, lease: Object) -> bool:
        spec = lease.get("spec") or {}
        return (spec.get("holderIdentity"), spec.get("leaseTransitions")) == (self.identity, self._epoch)

    async def _renew(self, epoch: int) -> None:
        """Writes the Lease again with this epoch. Raises LeaseLost when it is not ours any more, ClusterError when it
        could not be written."""
        started = self._clock()
        lease = await self._read()
        if not self._is_ours(lease):
            raise self._lose(f"{lease['spec'].get('holderIdentity') or 'nobody'} holds the Lease {self._name}")
        lease["spec"] |= {
            "leaseDurationSeconds": self._duration,
            "renewTime": self._now(),
            "leaseTransitions": epoch,
        }
        self._written(await self._cluster.replace(LEASES, self._namespace, self._name, lease), started)

    async def _read(self) -> Object:
        """The Lease. Raises NotFound when there has been none so far, LeaseLost when what is known is of another
        history, and ClusterError when it cannot be read."""
        # Meanwhile the watch may bring a newer one than the answer holds.
        known = self._version
        try:
            lease = await self._cluster.get(LEASES, self._namespace, self._name)
        except NotFound:
            if not known:
                raise
            raise self._lose(
                f"the Lease {self._name} was deleted, or etcd was restored from a backup without it; "
                "everything is read again"
            ) from None
        if version_of(lease) < known:
            raise self._lose(
                f"the API server has an older Lease {self._name} than before: etcd was restored from a backup, "
                "and everything is read again"
            )
        self._version = max(self._version, version_of(lease))
        return lease

    def _lose(self, why: str) -> LeaseLost:
        self._lost = LeaseLost(why)
        return self._lost

    async def _try_to_take(self) -> bool:
        """Whether the Lease was taken; not when another one holds it or the API server does not answer."""
        try:
            async with asyncio.timeout(self._times.renew):
                return await self._take()
        except (ClusterError, TimeoutError) as error:
            log.warning("leader_election", error=str(error) or type(error).__name__)
            return False

    async def _take(self) -> bool:
        started = self._clock()
        try:
            lease = await self._read()
        except NotFound:
            return await self._create(started)
        spec = lease.setdefault("spec", {})
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self.identity) and not self._expired(lease):
            return False
        spec |= {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self._duration,
            "acquireTime": self._now(),
            "renewTime": self._now(),
            "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1,
        }
        taken_from = lease["metadata"]["resourceVersion"]
        left_behind = (lease["metadata"].get("annotations") or {}).pop(LEFT_BEHIND_ANNOTATION, "")
        try:
            stored = await self._cluster.replace(LEASES, self._namespace, self._name, lease)
        except Conflict:
            return False
        self.taken_from, self.left_behind = taken_from, left_behind
        self._written(stored, started)
        return True

    async def _create(self, started: float) -> bool:
        now = self._now()
        body: Object = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": self._duration,
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 1,
            },
        }
        try:
            stored = await self._cluster.create(LEASES, self._namespace, body)
        except Conflict:
            return False
        self._written(stored, started)
        return True

    def _written(self, lease: Object, started: float) -> None:
        self._epoch, self._version = int(lease["spec"]["leaseTransitions"]), version_of(lease)
        self._renewed = started

    def _expired(self, lease: Object) -> bool:
        version, now = lease["metadata"]["resourceVersion"], self._clock()
        if self._seen != version:
            duration = float((lease.get("spec") or {}).get("leaseDurationSeconds") or self._duration)
            self._seen, self._expires = version, now + duration
            holder = (lease.get("spec") or {}).get("holderIdentity")
            self._ends = now + self._times.renew if holder else float("inf")
        return now > self._expires
