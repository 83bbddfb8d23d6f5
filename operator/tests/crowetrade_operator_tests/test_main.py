"""The process: what it does with wrong settings, and with the signals of Kubernetes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from crowetrade_api.files import EnvName
from crowetrade_operator import main
from crowetrade_operator.cluster.client import Cluster
from crowetrade_operator.cluster.resources import LEASES, VENUES
from crowetrade_operator.errors import LeaseLost
from crowetrade_operator.settings import from_environment
from crowetrade_operator_tests.samples import venue_manifest
from crowetrade_operator_tests.servers import ApiServer
from crowetrade_operator_tests.waiting import until

WRONG = {
    "no namespace": ({"OPERATOR_NAMESPACE": ""}, "OPERATOR_NAMESPACE is not set"),
    "workers that are no number": ({"WORKERS": "many"}, "WORKERS is 'many': write a number such as 16"),
    "lease times that contradict each other": ({"LEASE_RENEW_SECONDS": "20"}, "LEASE_DURATION_SECONDS must be longer"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_setting_ends_it_with_a_sentence_that_names_it(
    case: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """78 is EX_CONFIG: another start with the same settings would not help."""
    environment, words = WRONG[case]
    for name, value in {"OPERATOR_NAMESPACE": "system", **environment}.items():
        monkeypatch.setenv(name, value)
    assert main.main() == 78
    (line,) = capsys.readouterr().out.splitlines()
    assert words in json.loads(line)["error"]


async def _fails(error: BaseException) -> None:
    raise error


ENDS: dict[str, tuple[BaseException, str]] = {
    "what it has thought of": (LeaseLost("it was not renewed"), "it was not renewed"),
    "an error without words": (TimeoutError(), "TimeoutError()"),
    "an error whose words say little": (KeyError("type"), "KeyError('type')"),
    "one of several tasks": (ExceptionGroup("unhandled errors", [ValueError("a line")]), "ValueError('a line')"),
    "a library that cancels what is waited for": (asyncio.CancelledError(), "CancelledError()"),
}


@pytest.mark.parametrize("case", ENDS)
async def test_whatever_ends_a_part_is_said(case: str) -> None:
    error, words = ENDS[case]
    operator = main.Operator(from_environment({"OPERATOR_NAMESPACE": "system"}), asyncio.Event())
    with pytest.raises(RuntimeError, match=re.escape(f"the part has ended: {words}; restarting the operator")):
        await operator._first_end({"the part": _fails(error), "another": asyncio.Event().wait()}, 1.0)


SERVED: dict[str, tuple[BaseException | str, int, str]] = {
    "it was asked to stop": ("", 0, ""),
    "it was asked to stop because it had stalled": (
        "a reconcile has run for 130 s",
        1,
        "a reconcile has run for 130 s",
    ),
    "its port is taken": (OSError(98, "in use"), 1, "OSError(98, 'in use')"),
    "all of it was cancelled": (asyncio.CancelledError(), 1, "CancelledError()"),
    "its Lease was lost": (RuntimeError("lease has ended: lost"), 1, "lease has ended: lost"),
}


@pytest.mark.parametrize("case", SERVED)
def test_however_it_ends_its_termination_message_says_why(
    case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served, code, words = SERVED[case]

    async def serve(*_: object) -> str:
        if isinstance(served, str):
            return served
        raise served

    message = tmp_path / "termination"
    message.touch()
    monkeypatch.setenv("OPERATOR_NAMESPACE", "system")
    monkeypatch.setenv(EnvName.TERMINATION_LOG, str(message))
    monkeypatch.setattr(main, "serve", serve)
    assert main.main() == code
    assert message.read_text() == words


async def test_an_identity_that_nobody_renews_any_more_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its certificate would end hours later, and the bus with it."""

    async def forever(*_: object) -> bool:
        await asyncio.Event().wait()
        return True

    async def starts(report: Callable[[bool, str], None]) -> None:
        report(True, "")

    async def not_yet() -> bool:
        return False

    identity = SimpleNamespace(start=starts, run=lambda: _fails(ValueError("no certificate")))
    operator = main.Operator(from_environment({"OPERATOR_NAMESPACE": "system"}), asyncio.Event(), identity)  # type: ignore[arg-type]
    monkeypatch.setattr(operator, "_work", forever)
    elector: Any = SimpleNamespace(take=not_yet, acquire=forever)
    task = asyncio.create_task(operator._keep_identity())
    admission = asyncio.create_task(operator._record_requests())
    with pytest.raises(RuntimeError, match=r"identity has ended: ValueError\('no certificate'\)"):
        await operator._elect_and_work(elector, elector, task, admission)


def test_a_long_queue_that_goes_on_is_no_stalled_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first look at 10,000 Strategies takes minutes, and longer beside other work: another start would begin it
    again."""
    now = 1_000.0
    monkeypatch.setattr("crowetrade_operator.main.time", SimpleNamespace(monotonic=lambda: now))
    queue = SimpleNamespace(oldest_waiting=lambda: now - 1_000.0)
    controller = SimpleNamespace(queue=queue, reconciled=0)
    operator = main.Operator(from_environment({"OPERATOR_NAMESPACE": "system"}), asyncio.Event())
    operator.parts = SimpleNamespace(controller=controller)  # type: ignore[assignment]
    for _ in range(100):
        assert operator._stalled_queue() == ""
        now += 10.0
        controller.reconciled += 1
    assert operator._stalled_queue() == ""
    now += 121.0
    assert operator._stalled_queue() == "keys have waited for 121 s, and none was taken"


@pytest.mark.integration
async def test_sigterm_ends_it_cleanly(
    api_server: ApiServer, cluster: Cluster, namespace: str, nats_url: str, tmp_path: Path
) -> None:
    """As Kubernetes runs it: a process of its own, that logs JSON lines and gives the Lease back."""

    async def holder() -> str:
        lease = await cluster.get(LEASES, namespace, "crowetrade-operator")
        return str(lease["spec"].get("holderIdentity"))

    async def leads() -> bool:
        return await holder() == "operator-0"

    log = tmp_path / "operator.log"
    environment = {
        **os.environ,
        "OPERATOR_NAMESPACE": namespace,
        "POD_NAME": "operator-0",
        "NAMESPACES": namespace,
        "NATS_URL": nats_url,
        "KUBECONFIG": str(api_server.kubeconfig),
        "HTTP_PORT": "0",
    }
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "crowetrade_operator.main", env=environment, stdout=out, stderr=out
        )
        await until("the process to lead", leads)
        await cluster.create(VENUES, namespace, venue_manifest(namespace=namespace))
        await until("the process to work", lambda: '"event": "gateway_configured"' in log.read_text())
        process.terminate()
        async with asyncio.timeout(15):
            assert await process.wait() == 0, log.read_text()
    assert await holder() == ""
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert all({"event", "level"} <= event.keys() for event in events)
    assert [event["event"] for event in events if event["event"] in ("leading", "working", "lease_released")] == [
        "leading",
        "working",
        "lease_released",
    ]
