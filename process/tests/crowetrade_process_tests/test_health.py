"""/healthz, /readyz and /metrics over real HTTP."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import structlog
from prometheus_client import CollectorRegistry, Gauge

from crowetrade_process import health as health_module
from crowetrade_process.health import Health


@pytest.fixture
async def health() -> AsyncIterator[Health]:
    served = Health()
    await served.serve(0)
    yield served
    await served.stop()


def fetch(health: Health, path: str) -> tuple[int, str]:
    """From another thread than the event loop's."""
    try:
        with urlopen(Request(f"http://127.0.0.1:{health.port}{path}"), timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


async def get(health: Health, path: str) -> tuple[int, str]:
    return await asyncio.to_thread(fetch, health, path)


async def test_readiness_needs_every_part(health: Health) -> None:
    assert await get(health, "/readyz") == (503, "starting\n")
    health.set_ready("bus", True)
    health.set_ready("gateway sim", False, "no session yet")
    assert not health.ready
    assert await get(health, "/readyz") == (503, "gateway sim: no session yet\n")
    assert health.waiting == {"gateway sim": "no session yet"}
    health.set_ready("gateway sim", True)
    assert await get(health, "/readyz") == (200, "ok\n")
    health.set_ready("bus", False)
    assert await get(health, "/readyz") == (503, "bus: not ready\n")


async def test_the_process_is_alive_and_has_metrics(health: Health) -> None:
    assert await get(health, "/healthz") == (200, "ok\n")
    assert await get(health, "/healthz?verbose") == (200, "ok\n")
    status, text = await get(health, "/metrics")
    assert status == 200
    assert "python_info" in text


async def test_another_path_is_not_found(health: Health) -> None:
    assert (await get(health, "/"))[0] == 404


async def test_stalled_work_is_named_and_metrics_are_brought_up_to_date() -> None:
    registry = CollectorRegistry()
    depth = Gauge("depth", "Keys that wait.", registry=registry)
    stalled = {"queue": "", "watch": ""}
    health = Health(
        live={name: lambda name=name: stalled[name] for name in stalled},  # type: ignore[misc]
        registry=registry,
        refresh=lambda: depth.set(3),
    )
    await health.serve(0)
    try:
        assert await get(health, "/healthz") == (200, "ok\n")
        stalled["watch"] = "nothing has come for 120 s"
        with structlog.testing.capture_logs() as logs:
            assert await get(health, "/healthz") == (503, "watch: nothing has come for 120 s\n")
        assert [(line["event"], line["problems"]) for line in logs] == [
            ("not_alive", ["watch: nothing has come for 120 s"])
        ]
        assert "depth 3.0" in (await get(health, "/metrics"))[1]
    finally:
        await health.stop()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
async def test_an_event_loop_that_is_stuck_is_neither_alive_nor_ready(
    health: Health, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health_module, "LOOP_SECONDS", 0.1)
    health.set_ready("bus", True)
    answers: list[tuple[int, str]] = []
    asking = threading.Thread(target=lambda: answers.append(fetch(health, path)))
    asking.start()
    asking.join(10)  # holds the event loop, as a model that does not return
    assert answers == [(503, "event loop: it has not answered for 0.1 s\n")]
    monkeypatch.undo()
    assert (await get(health, path))[0] == 200, "it goes on when the loop does"


async def test_checks_are_called_in_the_event_loop() -> None:
    threads: list[threading.Thread] = []

    def check() -> str:
        threads.append(threading.current_thread())
        return ""

    health = Health(live={"thread": check}, refresh=lambda: threads.append(threading.current_thread()))
    await health.serve(0)
    await get(health, "/healthz")
    await get(health, "/metrics")
    await health.stop()
    assert threads == [threading.current_thread()] * 2


async def test_a_check_that_raises_is_answered() -> None:
    def check() -> str:
        raise ValueError("no")

    health = Health(live={"broken": check})
    await health.serve(0)
    assert (await get(health, "/healthz"))[0] == 500
    await health.stop()


async def test_a_port_that_is_taken_is_an_error_before_anything_is_ready(health: Health) -> None:
    with pytest.raises(OSError, match="in use"):
        await Health().serve(health.port)


async def test_it_answers_no_more_after_its_stop(health: Health) -> None:
    began = time.monotonic()
    await health.stop()
    assert time.monotonic() - began < 5
    with pytest.raises(OSError, match="refused"):
        await get(health, "/healthz")
