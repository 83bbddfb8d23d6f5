"""Events are written behind the reconcilers' backs, and losing one stops nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from crowetrade_api.v1alpha1.meta import Metadata
from crowetrade_operator.cluster import events
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.events import Recorder, event_body
from crowetrade_operator.cluster.objects import Note
from crowetrade_operator.cluster.resources import EVENTS, NAMESPACES
from crowetrade_operator_tests.fault_proxy import Fault, FaultProxy
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import counted

pytestmark = pytest.mark.integration
Object = dict[str, Any]


def _metadata(namespace: str) -> Metadata:
    return Metadata(name="ema", namespace=namespace, uid="u-1", resource_version="7")


def _note(reason: str, text: str = "because") -> Note:
    return Note("Warning", reason, "Reconcile", text)


async def test_events_are_written_in_order_and_one_that_cannot_be_written_is_left(
    cluster: Cluster, namespace: str
) -> None:
    recorder = Recorder(cluster, "operator-0")
    recorder.record("Strategy", _metadata(namespace), _note("First"))
    recorder.record("Strategy", _metadata("there-is-no-such-namespace"), _note("Lost"))
    recorder.record("Strategy", _metadata(namespace), _note("Second"))
    await recorder.drain()
    found, _ = await cluster.list(EVENTS, namespace)
    assert [item["reason"] for item in sorted(found, key=lambda item: str(item["eventTime"]))] == ["First", "Second"]
    assert counted("events", reason="Lost") == 0


async def test_in_a_namespace_that_is_being_deleted_there_is_nothing_to_warn_of(
    cluster: Cluster, namespace: str
) -> None:
    await cluster.delete(NAMESPACES, "", namespace)
    recorder = Recorder(cluster, "operator-0")
    before = counted("events", reason="Stopped")
    recorder.record("Strategy", _metadata(namespace), _note("Stopped"))
    with capture_logs() as logs:
        await recorder.drain()
    assert [item["log_level"] for item in logs] == ["debug"]
    assert counted("events", reason="Stopped") == before


async def test_a_flood_is_dropped_and_not_kept_in_memory(cluster: Cluster, namespace: str) -> None:
    recorder = Recorder(cluster, "operator-0")
    with capture_logs() as logs:
        for _ in range(1000):
            recorder.record("Strategy", _metadata(namespace), _note("Flood"))
        assert [item for item in logs if item["log_level"] == "warning"] == []
        recorder.record("Strategy", _metadata(namespace), _note("OneTooMany"))
    assert (logs[-1]["event"], logs[-1]["reason"]) == ("event_dropped", "OneTooMany")


def test_long_texts_are_cut_to_what_the_api_server_takes() -> None:
    body = event_body("Strategy", _metadata("desk"), _note("Long", "x" * 5000), "i" * 500, "now")
    assert len(body["note"]) == 1000
    assert len(body["reportingInstance"]) == 128
    assert body["metadata"]["name"].startswith("ema.")


async def test_an_event_whose_answer_was_lost_is_there_once_and_one_that_failed_is_tried_again(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAUSES", (0.0,))
    before = counted("events", reason="Told")
    async with FaultProxy(api_server, seed=1, slow_seconds=0.0).running() as proxy:
        through = await connect(str(proxy.kubeconfig(tmp_path)))
        recorder = Recorder(through, "operator-0")
        for fault in (Fault.ANSWER_LOST, Fault.ERROR):
            proxy.next.append(fault)
            recorder.record("Strategy", _metadata(namespace), _note("Told", fault))
            await recorder.drain()
        await through.close()
    found, _ = await cluster.list(EVENTS, namespace)
    assert sorted(item["note"] for item in found) == sorted((Fault.ANSWER_LOST, Fault.ERROR))
    assert counted("events", reason="Told") == before + 2
