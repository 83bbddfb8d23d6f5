"""Events are written in the background, and losing one stops nothing."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from crowetrade_api.v1alpha1.meta import Metadata
from crowetrade_operator.cluster import events
from crowetrade_operator.cluster.client import Cluster, connect
from crowetrade_operator.cluster.events import Recorder, Told, event_body
from crowetrade_operator.cluster.objects import Note
from crowetrade_operator.cluster.resources import EVENTS, NAMESPACES
from crowetrade_operator_tests.fault_proxy import Fault, FaultProxy
from crowetrade_operator_tests.integration.webhook import NOBODY, registered
from crowetrade_operator_tests.servers import ApiServer, Wire
from crowetrade_operator_tests.waiting import counted, until
from crowetrade_process.stopping import cancelled
from crowetrade_process_tests.identity.authority import Authority

pytestmark = pytest.mark.integration
Object = dict[str, Any]


def _metadata(namespace: str) -> Metadata:
    return Metadata(name="ema", namespace=namespace, uid="u-1", resource_version="7")


def _note(reason: str, text: str = "because", occasion: str = "") -> Note:
    return Note("Warning", reason, "Reconcile", text, occasion)


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
    assert counted("events_dropped", reason="Lost", cause="refused") == 1


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


async def test_a_flood_is_dropped_counted_and_not_kept_in_memory(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is Normal and frequent takes no room from warnings and repairs."""
    monkeypatch.setattr(events, "MOST_WAITING", 3)
    recorder, before = Recorder(cluster, "operator-0"), counted("events_dropped", cause="queue_full")
    for number in range(5):
        recorder.record("Strategy", _metadata(namespace), Note("Normal", f"Normal{number}", "Reconcile", "because"))
    recorder.record("Strategy", _metadata(namespace), Note("Normal", "Repaired", "Repair", "because"))
    recorder.record("Strategy", _metadata(namespace), Note("Normal", "Stopped", "Delete", "because"))
    recorder.record("Strategy", _metadata(namespace), _note("Warned"))
    with capture_logs() as logs:
        recorder.record("Strategy", _metadata(namespace), _note("OneTooMany"))
    assert (logs[-1]["event"], logs[-1]["reason"]) == ("event_dropped", "OneTooMany")
    assert counted("events_dropped", cause="queue_full") == before + 3
    assert counted("events_dropped", reason="OneTooMany", cause="queue_full") == 1
    await recorder.drain()
    found, _ = await cluster.list(EVENTS, namespace)
    told = {"Normal0", "Normal1", "Normal2", "Repaired", "Stopped", "Warned"}
    assert {item["reason"] for item in found} == told


async def test_warnings_and_repairs_are_written_first(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "WRITERS", 1)
    recorder = Recorder(cluster, "operator-0")
    for note in (
        Note("Normal", "Available", "Reconcile", "x"),
        Note("Normal", "Repaired", "Repair", "x"),
        _note("Bad"),
    ):
        recorder.record("Strategy", _metadata(namespace), note)
    await recorder.drain()
    found, _ = await cluster.list(EVENTS, namespace)
    by_version = sorted(found, key=lambda item: int(item["metadata"]["resourceVersion"]))
    assert [item["reason"] for item in by_version] == ["Repaired", "Bad", "Available"]
    by_time = sorted(found, key=lambda item: str(item["eventTime"]))
    assert [item["reason"] for item in by_time] == ["Available", "Repaired", "Bad"], (
        "when it was, not when it was written"
    )


@contextlib.asynccontextmanager
async def _running(recorder: Recorder) -> AsyncIterator[None]:
    task = asyncio.create_task(recorder.run())
    try:
        yield
    finally:
        await cancelled(task)


async def _written(cluster: Cluster, namespace: str, count: int) -> None:
    async def check() -> bool:
        return len((await cluster.list(EVENTS, namespace))[0]) == count

    await until(f"{count} events", check)


async def test_without_an_answer_of_the_api_server_nothing_is_given_up(
    cluster: Cluster, wired: Cluster, wire: Wire, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "PAUSES", (0.01, 0.01))
    recorder, dropped = Recorder(wired, "operator-0"), counted("events_dropped")
    await wire.cut()
    before = counted("api_requests", verb="create", resource="events", code="0")
    for number in range(20):
        recorder.record("Strategy", _metadata(namespace), _note(f"Kept{number}"))
    async with _running(recorder):
        tried = before + events.WRITERS * 5
        await until("many tries", lambda: counted("api_requests", verb="create", resource="events", code="0") > tried)
        await wire.mend()
        await _written(cluster, namespace, 20)
    assert counted("events_dropped") == dropped


async def test_a_namespace_whose_events_are_refused_each_time_keeps_no_other_waiting_for_long(
    cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A webhook that nobody serves: the API server answers with 500 for as long as it is there."""
    monkeypatch.setattr(events, "PAUSES", (0.01, 0.01))
    broken = f"{namespace}-broken"
    await cluster.create(NAMESPACES, "", {"metadata": {"name": broken}})
    recorder = Recorder(cluster, "operator-0")
    async with registered(cluster, broken, EVENTS.group, EVENTS.plural, NOBODY, Authority()), _running(recorder):
        for _ in range(events.WRITERS * 2):
            recorder.record("Strategy", _metadata(broken), _note("Refused"))
        recorder.record("Strategy", _metadata(namespace), _note("Second"))
        await _written(cluster, namespace, 1)
        await recorder.drain()
    assert counted("events_dropped", reason="Refused", cause="unavailable") == events.WRITERS * 2
    assert counted("events", reason="Refused") == 0


async def test_one_that_takes_long_keeps_no_other_waiting_and_is_waited_for_at_the_end(
    api_server: ApiServer, cluster: Cluster, namespace: str, tmp_path: Path
) -> None:
    async with FaultProxy(api_server, seed=1, slow_seconds=3.0).running() as proxy:
        through = await connect(str(proxy.kubeconfig(tmp_path)))
        recorder = Recorder(through, "operator-0")
        async with _running(recorder):
            proxy.next.append(Fault.SLOW)
            recorder.record("Strategy", _metadata(namespace), _note("Slow"))
            await until("the slow request", lambda: proxy.spoiled[Fault.SLOW] == 1)
            recorder.record("Strategy", _metadata(namespace), _note("Quick"))
            await _written(cluster, namespace, 1)
            found, _ = await cluster.list(EVENTS, namespace)
            assert [item["reason"] for item in found] == ["Quick"]
            await recorder.drain()
            await _written(cluster, namespace, 2)
        await through.close()


def test_long_texts_are_cut_to_what_the_api_server_takes() -> None:
    regarding = {"namespace": "desk", "name": "ema"}
    body = event_body(Told(regarding, _note("Long", "x" * 5000), time.time(), "ema.1"), "i" * 500)
    assert len(body["note"]) == 1000
    assert len(body["reportingInstance"]) == 128
    assert body["metadata"] == {"name": "ema.1", "namespace": "desk"}


async def test_what_two_leaders_find_on_record_is_told_once(cluster: Cluster, namespace: str) -> None:
    """The first has told it, and ended before the status was written that it had decided. What happens again is told
    again, by whom it may be."""
    now = time.time()
    first = Recorder(cluster, "operator-0", lambda: now)
    second = Recorder(cluster, "operator-1", lambda: now + events.SAME_SECONDS - 1)
    third = Recorder(cluster, "operator-2", lambda: now + events.SAME_SECONDS + 1)

    async def told(recorder: Recorder, note: Note, **fields: Any) -> list[str]:
        recorder.record("Strategy", _metadata(namespace).model_copy(update=fields), note)
        await recorder.drain()
        found, _ = await cluster.list(EVENTS, namespace)
        return sorted(item["reportingInstance"] for item in found)

    assert await told(first, _note("Crashing", "pod p", "down")) == ["operator-0"]
    assert await told(second, _note("Crashing", "pod q", "down")) == ["operator-0"]
    assert await told(first, _note("Crashing", "pod p", "down")) == ["operator-0"] * 2
    assert await told(second, _note("Crashing", "pod q", "down")) == ["operator-0"] * 2 + ["operator-1"]
    assert await told(third, _note("Crashing", "pod q", "down")) == ["operator-0"] * 2 + ["operator-1", "operator-2"]
    found, _ = await cluster.list(EVENTS, namespace)
    for fields in ({"generation": 2}, {"uid": "u-2"}):
        before = len(found)
        await told(Recorder(cluster, "operator-3", lambda: now), _note("Crashing", "pod p", "down"), **fields)
        found, _ = await cluster.list(EVENTS, namespace)
        assert len(found) == before + 1, fields
    before = len(found)
    await told(second, _note("Repaired"))
    await told(third, _note("Repaired"))
    assert len((await cluster.list(EVENTS, namespace))[0]) == before + 2, "what only one of them can have done"


async def test_of_the_names_that_it_gave_a_recorder_remembers_the_last(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MOST_NAMES", 2)
    recorder = Recorder(cluster, "operator-0")
    for occasion in ("a", "b", "c"):
        recorder.record("Strategy", _metadata("desk"), _note("Crashing", occasion=occasion))
    assert len(recorder._names) == 2


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
