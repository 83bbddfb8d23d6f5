"""The namespaces of one shard, chosen by their label, and handed over from one shard to another.

A namespace has a claim, a Lease in the operator's namespace that names the shard which works there. A shard works only
where it holds the claim. It passes to the shard that the label names when the shard before has given it up, which that
does after all its work has ended; or when nobody leads that shard: the Lease of its leader was given back, or has not
changed for its whole duration since this shard saw it first. A leader writes each of its claims before it works, so of
one that begins and one that takes over, one is refused. Claims are not renewed: what ends is the Lease of the leader,
without which nothing is written.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from crowetrade_api.names import SHARD_LABEL
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.lease import elapsed
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.resources import LEASES, NAMESPACES
from crowetrade_operator.errors import ClusterError, NotFound

log = structlog.get_logger()

CLAIM_PREFIX = "crowetrade-namespace-"


@dataclass(slots=True)
class Shard:
    """What one leader knows of the namespaces of its shard."""

    cluster: Cluster
    operator_namespace: str
    # Value of the label.
    name: str
    # Of the shard's leader.
    lease_name: str
    # Of the leader of an operator without shards, which works wherever there is no claim.
    unsharded_lease: str
    # Of the Lease of another shard that says nothing about it, in seconds.
    lease_duration: float
    clock: Callable[[], float] = elapsed
    mine: frozenset[str] = frozenset()
    """Where the claim is ours and this leader has written it."""
    _seen: dict[str, tuple[str, float]] = field(default_factory=dict)

    async def look(self) -> bool:
        """Claims what the label gives to this shard; tells whether work has to begin or to end somewhere. What has to
        end stays claimed until `settle`. Raises ClusterError when the namespaces cannot be listed."""
        wanted = await self._labelled()
        gained = {namespace for namespace in sorted(wanted - self.mine) if await self._take(namespace)}
        lost = self.mine - wanted
        self.mine |= gained
        return bool(gained or lost)

    async def settle(self) -> tuple[str, ...]:
        """Gives up what is not of this shard any more; called when no work is done anywhere. Returns where to work."""
        wanted = await self._labelled()
        for claim in await self._claims():
            namespace = claim["metadata"]["name"].removeprefix(CLAIM_PREFIX)
            if claim["spec"].get("holderIdentity") == self.lease_name and namespace not in wanted:
                await self._write(claim, "")
        self.mine &= wanted
        return tuple(sorted(self.mine))

    async def _labelled(self) -> frozenset[str]:
        found, _ = await self.cluster.list(NAMESPACES, selector=f"{SHARD_LABEL}={self.name}")
        return frozenset(item["metadata"]["name"] for item in found)

    async def _claims(self) -> list[Object]:
        found, _ = await self.cluster.list(LEASES, self.operator_namespace)
        return [item for item in found if item["metadata"]["name"].startswith(CLAIM_PREFIX)]

    async def _take(self, namespace: str) -> bool:
        """Whether the claim is ours now. It is read before the Lease of who holds it: a leader that begins after that
        has written the claim, and then ours is refused."""
        try:
            claim = await self._claim(namespace)
            holder = self.unsharded_lease if claim is None else claim["spec"].get("holderIdentity") or ""
            if holder not in ("", self.lease_name) and not await self._nobody_leads(holder):
                log.info("namespace_awaited", namespace=namespace, lease=holder)
                return False
            if claim is None:
                await self._create(namespace)
            else:
                await self._write(claim, self.lease_name)
        except ClusterError as error:
            log.warning("namespace_not_claimed", namespace=namespace, error=str(error))
            return False
        return True

    async def _claim(self, namespace: str) -> Object | None:
        with contextlib.suppress(NotFound):
            return await self.cluster.get(LEASES, self.operator_namespace, CLAIM_PREFIX + namespace)
        return None

    async def _create(self, namespace: str) -> None:
        body: Object = {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {"name": CLAIM_PREFIX + namespace, "namespace": self.operator_namespace},
            "spec": {"holderIdentity": self.lease_name, "leaseTransitions": 1},
        }
        await self.cluster.create(LEASES, self.operator_namespace, body)

    async def _write(self, claim: Object, holder: str) -> None:
        """By compare-and-set; counts, so that each write is another version."""
        spec = claim["spec"]
        spec |= {"holderIdentity": holder, "leaseTransitions": int(spec.get("leaseTransitions") or 0) + 1}
        await self.cluster.replace(LEASES, self.operator_namespace, claim["metadata"]["name"], claim)

    async def _nobody_leads(self, lease_name: str) -> bool:
        """Whether no leader of that shard can be at work."""
        try:
            lease = await self.cluster.get(LEASES, self.operator_namespace, lease_name)
        except NotFound:
            if lease_name == self.unsharded_lease:
                return True
            lease = {"metadata": {"resourceVersion": ""}, "spec": {"holderIdentity": "?"}}
        if not lease["spec"].get("holderIdentity"):
            return True
        version, duration = lease["metadata"]["resourceVersion"], lease["spec"].get("leaseDurationSeconds")
        known = self._seen.get(lease_name)
        if known is None or known[0] != version:
            self._seen[lease_name] = (version, self.clock())
            return False
        return self.clock() - known[1] > float(duration or self.lease_duration)
