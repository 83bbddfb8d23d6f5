"""What events say about pods that do not start or were ended; they are read only while there are such pods."""

from __future__ import annotations

from collections.abc import Iterable

from crowetrade_operator.cluster.objects import Object
from crowetrade_operator.cluster.pod_events import PodEvents
from crowetrade_operator.decide.pod_failures import PodWarnings, missed_config_map, speaks_in_events


async def warnings_about(pods: Iterable[Object], events: PodEvents, now: float) -> PodWarnings:
    """About the pods of one resource; `now` in seconds since the Unix epoch."""
    silent = {pod["metadata"]["uid"]: pod for pod in pods if speaks_in_events(pod, now)}
    if not silent:
        return PodWarnings()
    namespace = next(iter(silent.values()))["metadata"]["namespace"]
    told = await events.warnings(namespace)
    last = {uid: told[uid] for uid in silent if uid in told}
    names = {missed_config_map(silent[uid], warning) for uid, warning in last.items()} - {None}
    keys = {name: await events.keys(namespace, name) for name in names if name is not None}
    return PodWarnings(last, {name: found for name, found in keys.items() if found is not None})
