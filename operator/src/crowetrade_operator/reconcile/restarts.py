"""Who restarts at present because its Deployment has changed: others of the namespace wait for a turn (see
decide/strategy.py and decide/venueconnection_rollout.py).

A restart begins when the content of a Deployment changes whose pod is ready. It ends when the pod of the new content is
ready, or when the Deployment gives up. A pod that crashes later restarts by itself, and takes nobody's turn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from crowetrade_api.names import Key, Kind
from crowetrade_operator.cluster.cache import Cache, owner_key
from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.decide.pods import restarting, runs

LONGEST_SECONDS = 240.0
"""A restart that lasts longer has failed: the pod of before takes up to 45 s to stop, and the Deployment gives up after
120 s. Of a Deployment that goes back to a template that it had before, Kubernetes does not say that it has failed."""


@dataclass(slots=True)
class _Restart:
    since: float
    # Those of its Deployments that are not done.
    deployments: set[str] = field(default_factory=set)


class Restarts:
    """An index that follows the cache; what an event costs does not depend on how many there are."""

    def __init__(self, cache: Cache, clock: Callable[[], float]) -> None:
        self._clock = clock
        # By kind and namespace: who restarts, in the order in which they began.
        self._under_way: dict[tuple[Kind, str], dict[str, _Restart]] = defaultdict(dict)
        self.on_free: Callable[[Kind, str], None] = lambda kind, namespace: None
        for item in cache.of_kind("Deployment"):
            # What began before we came to lead: whether its pod was ready before, nobody knows.
            key = owner_key(item)
            if key is not None and restarting(item):
                self._enter(key, item["metadata"]["name"])
        cache.listen(self._changed)

    def of(self, kind: Kind, namespace: str) -> Collection[str]:
        """Names of those that restart; not a copy."""
        found = self._under_way.get((kind, namespace))
        while found and self._clock() - next(iter(found.values())).since > LONGEST_SECONDS:
            del found[next(iter(found))]
        return found.keys() if found else ()

    def begin(self, key: Key) -> None:
        """A reconcile is about to restart it: its Deployments do not say so yet."""
        self._enter(key)

    def carried_out(self, key: Key) -> None:
        """The reconcile has ended; perhaps it has restarted nothing."""
        self._leave(key)

    def _changed(self, before: Object | None, after: Object | None) -> None:
        item = after or before
        assert item is not None
        key = owner_key(item) if item["kind"] == "Deployment" else None
        if key is None:
            return
        name = item["metadata"]["name"]
        if after is None or not restarting(after):
            self._leave(key, name)
        elif key.name in self._under_way.get((key.kind, key.namespace), ()) or _begins(before, after):
            self._enter(key, name)

    def _enter(self, key: Key, *deployments: str) -> None:
        restart = self._under_way[key.kind, key.namespace].setdefault(key.name, _Restart(self._clock()))
        restart.deployments.update(deployments)

    def _leave(self, key: Key, *deployments: str) -> None:
        place = key.kind, key.namespace
        restart = self._under_way.get(place, {}).get(key.name)
        if restart is None:
            return
        restart.deployments.difference_update(deployments)
        if restart.deployments:
            return
        del self._under_way[place][key.name]
        if not self._under_way[place]:
            del self._under_way[place]
        self.on_free(*place)


def _begins(before: Object | None, after: Object) -> bool:
    """Whether the content of a Deployment that runs has changed."""
    if before is None or before["metadata"].get("generation") == after["metadata"].get("generation"):
        return False
    return runs([before])
