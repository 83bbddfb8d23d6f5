"""Events as the kubelet writes them, at a real API server, and how often they are read."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.objects import PodWarning
from crowetrade_operator.cluster.pod_events import ASKED_SECONDS, READ_SECONDS, PodEvents
from crowetrade_operator.cluster.resources import CONFIG_MAPS, ApiResource
from crowetrade_operator_tests.servers import Wire

pytestmark = pytest.mark.integration
Object = dict[str, Any]
EVENTS = ApiResource("", "v1", "events", "Event")
NOT_FOUND = 'MountVolume.SetUp failed for volume "data-0" : configmap "a" not found'
NO_KEY = 'MountVolume.SetUp failed for volume "data-0" : configmap references non-existent config key: b'
SUM = "Unable to attach or mount volumes: unmounted volumes=[data-0]: timed out waiting for the condition"


class Clock:
    """Stands until it is set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


async def tell(cluster: Cluster, namespace: str, second: int, message: str, **fields: Any) -> None:
    """What the kubelet says of the pod with the uid "u"."""
    regarding = {"kind": fields.pop("kind", "Pod"), "namespace": namespace, "name": "p", "uid": fields.pop("uid", "u")}
    event: Object = {
        "metadata": {"generateName": "p."},
        "involvedObject": regarding,
        "reason": "FailedMount",
        "type": "Warning",
        "message": message,
        "source": {"component": "kubelet"},
        "count": 1,
        "firstTimestamp": "2026-01-05T10:00:00Z",
        "lastTimestamp": f"2026-01-05T10:00:{second:02}Z",
    }
    await cluster.create(EVENTS, namespace, event | fields)


async def test_the_last_warning_that_says_what_is_missing_counts(cluster: Cluster, namespace: str) -> None:
    await tell(cluster, namespace, 8, NO_KEY)
    await tell(cluster, namespace, 2, NOT_FOUND)
    await tell(cluster, namespace, 9, SUM)
    await tell(cluster, namespace, 10, "Back-off restarting failed container", reason="BackOff")
    await tell(cluster, namespace, 11, "Pulled", type="Normal")
    await tell(cluster, namespace, 12, "of a Node", kind="Node")
    await tell(cluster, namespace, 1, SUM, uid="other")
    found = await PodEvents(cluster).warnings(namespace)
    assert found == {"u": PodWarning("FailedMount", NO_KEY), "other": PodWarning("FailedMount", SUM)}


async def test_an_eviction_comes_after_what_kept_the_pod_from_starting(cluster: Cluster, namespace: str) -> None:
    full = 'Usage of EmptyDir volume "tmp" exceeds the limit "64Mi". '
    await tell(cluster, namespace, 9, full, reason="Evicted")
    await tell(cluster, namespace, 2, NOT_FOUND)
    assert await PodEvents(cluster).warnings(namespace) == {"u": PodWarning("Evicted", full)}


async def test_a_namespace_is_read_once_in_a_while(cluster: Cluster, namespace: str) -> None:
    clock = Clock()
    events = PodEvents(cluster, clock)
    assert await events.warnings(namespace) == {}
    await tell(cluster, namespace, 1, NOT_FOUND)
    clock.now = READ_SECONDS - 0.1
    assert await events.warnings(namespace) == {}
    clock.now = READ_SECONDS
    assert await events.warnings(namespace) == {"u": PodWarning("FailedMount", NOT_FOUND)}


async def test_what_cannot_be_read_stays_as_it_was(wired: Cluster, wire: Wire, namespace: str) -> None:
    clock = Clock()
    events = PodEvents(wired, clock)
    await tell(wired, namespace, 1, NOT_FOUND)
    known = await events.warnings(namespace)
    await wire.cut()
    clock.now = READ_SECONDS
    assert await events.warnings(namespace) == known == {"u": PodWarning("FailedMount", NOT_FOUND)}
    assert await events.keys(namespace, "a") is None


async def test_keys_of_a_config_map(cluster: Cluster, namespace: str) -> None:
    body = {"metadata": {"name": "a"}, "data": {"Quotes.csv": "x"}, "binaryData": {"ticks.gz": "eA=="}}
    await cluster.create(CONFIG_MAPS, namespace, body)
    events = PodEvents(cluster)
    assert await events.keys(namespace, "a") == ["Quotes.csv", "ticks.gz"]
    assert await events.keys(namespace, "not-there") is None


async def test_what_is_known_of_a_namespace_goes_with_it_and_keys_that_nobody_asks_for_go(
    cluster: Cluster, namespace: str
) -> None:
    clock = Clock()
    events = PodEvents(cluster, clock)
    await events.keys(namespace, "before")
    clock.now = ASKED_SECONDS
    await cluster.create(CONFIG_MAPS, namespace, {"metadata": {"name": "after"}, "data": {"b": "x"}})
    await events.keys(namespace, "after")
    assert list(events._known[namespace].keys) == ["after"]
    assert events.namespaces() == [namespace]
    events.forget(namespace)
    assert events.namespaces() == []
    assert await events.keys(namespace, "after") == ["b"]
