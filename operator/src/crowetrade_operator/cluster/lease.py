"""Leader election by a Lease: one replica works, the others wait (client-go's algorithm).

The clocks of two machines may differ: a lease counts as expired when it has not changed for its duration on OUR
clock, not by the time that is written in it. Released at shutdown, so that the next replica does not have to wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from crowetrade_operator import metrics
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import LEASES
from crowetrade_operator.errors import ClusterError, Conflict, NotFound
from crowetrade_operator.settings import LeaseTimes

log = structlog.get_logger()


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Elector:
    """One candidate of one Lease."""

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        name: str,
        identity: str,
        times: LeaseTimes,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cluster = cluster
        self._namespace = namespace
        self._name = name
        self.identity = identity
        self._times = times
        self._clock = clock
        self._seen: tuple[str, float] = ("", 0.0)

    async def acquire(self) -> None:
        """Waits until this replica leads."""
        while not await self._try():  # noqa: ASYNC110 - the Lease has no event to wait for
            await asyncio.sleep(self._times.retry)
        metrics.LEADER.set(1)
        log.info("leading", identity=self.identity, lease=self._name)

    async def hold(self) -> None:
        """Renews the Lease; returns when it is lost, and the caller must stop all work at once."""
        renewed = self._clock()
        try:
            while True:
                await asyncio.sleep(self._times.retry)
                if await self._try():
                    renewed = self._clock()
                elif self._clock() - renewed > self._times.renew:
                    log.error("lease lost: stop working", identity=self.identity, lease=self._name)
                    return
        finally:
            metrics.LEADER.set(0)

    async def release(self) -> None:
        """Gives the Lease back, if it is ours."""
        metrics.LEADER.set(0)
        try:
            lease = await self._cluster.get(LEASES, self._namespace, self._name)
            if lease["spec"].get("holderIdentity") != self.identity:
                return
            lease["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": _now()}
            await self._cluster.replace(LEASES, self._namespace, self._name, lease)
            log.info("lease released", identity=self.identity, lease=self._name)
        except ClusterError as error:
            log.warning("could not release the lease; the next leader waits for it to expire", error=str(error))

    async def _try(self) -> bool:
        """Takes or renews the Lease; false when another holds it or the API server does not answer."""
        try:
            async with asyncio.timeout(self._times.renew):
                return await self._attempt()
        except (ClusterError, TimeoutError) as error:
            log.warning("leader election", error=str(error) or type(error).__name__)
            return False

    async def _attempt(self) -> bool:
        try:
            lease = await self._cluster.get(LEASES, self._namespace, self._name)
        except NotFound:
            return await self._create()
        spec = lease.setdefault("spec", {})
        holder = spec.get("holderIdentity") or ""
        if holder not in ("", self.identity) and not self._expired(lease):
            return False
        if holder != self.identity:
            spec["acquireTime"] = _now()
            spec["leaseTransitions"] = int(spec.get("leaseTransitions") or 0) + 1
        spec |= {
            "holderIdentity": self.identity,
            "leaseDurationSeconds": max(1, int(self._times.duration)),
            "renewTime": _now(),
        }
        try:
            await self._cluster.replace(LEASES, self._namespace, self._name, lease)
        except Conflict:
            return False
        return True

    async def _create(self) -> bool:
        now = _now()
        body: Object = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": self.identity,
                "leaseDurationSeconds": max(1, int(self._times.duration)),
                "acquireTime": now,
                "renewTime": now,
                "leaseTransitions": 0,
            },
        }
        try:
            await self._cluster.create(LEASES, self._namespace, body)
        except Conflict:
            return False
        return True

    def _expired(self, lease: Object) -> bool:
        version = lease["metadata"]["resourceVersion"]
        if self._seen[0] != version:
            self._seen = (version, self._clock())
            return False
        duration = float(lease["spec"].get("leaseDurationSeconds") or self._times.duration)
        return self._clock() - self._seen[1] > duration
