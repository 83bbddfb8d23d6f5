"""The watchdog says once of each call that it hangs, and knows when a model is made and started."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator, Mapping
from time import perf_counter
from typing import ClassVar

import pytest

from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.bus.local import LocalBus
from crowetrade_agents.order_entry.port import OrderSession, SessionListener
from crowetrade_agents.roles.stages import RunningStage
from crowetrade_agents.runtime.strategy import StrategyProcess
from crowetrade_agents.runtime.watchdog import StageWatchdog
from crowetrade_agents.sdk import Forecast, InstrumentId, Model
from crowetrade_agents_tests.clock import ManualClock
from crowetrade_agents_tests.runtime.config_files import strategy_config
from crowetrade_api.names import Role
from crowetrade_process.health import Health

WAIT_SECONDS = 10


class Case:
    """A watchdog that looks all the time."""

    def __init__(self, hangs_after_seconds: float) -> None:
        self.running = RunningStage()
        self.written: queue.Queue[str] = queue.Queue()
        self.watchdog = StageWatchdog(self.running, self.written.put, hangs_after_seconds, look_every_seconds=0.001)
        self.watchdog.start()


@pytest.fixture
def case() -> Iterator[Case]:
    case = Case(hangs_after_seconds=100.0)
    yield case
    case.watchdog.stop()


def test_a_call_that_hangs_is_reported_once(case: Case) -> None:
    for role in ("feature", "signal"):
        case.running.current = role, perf_counter() - 101
        assert f"has not returned to the {role} role for 100 s" in case.written.get(timeout=WAIT_SECONDS)
    case.watchdog.stop()
    assert case.written.empty()


def test_a_call_that_is_short_and_no_call_are_not(case: Case) -> None:
    case.running.current = "feature", perf_counter()
    case.watchdog.stop()
    assert case.written.empty()


class Looks(Model):
    """A model that looks at what a watchdog sees while it is made and started."""

    running = RunningStage()
    seen: ClassVar[list[tuple[str, str]]] = []

    def __init__(self, parameters: Mapping[str, object], instruments: tuple[InstrumentId, ...]) -> None:
        self.look("__init__")

    def look(self, at: str) -> None:
        """Notes whom it works for."""
        assert self.running.current is not None
        self.seen.append((at, self.running.current[0]))

    def on_start(self) -> None:
        self.look("on_start")

    def signal(self, features: Mapping[str, float]) -> Forecast | None:
        return None


@pytest.mark.parametrize(
    ("role", "seen"),
    [(Role.FEATURE, [("__init__", "feature"), ("on_start", "feature")]), (Role.SIGNAL, [("__init__", "signal")])],
)
async def test_a_model_is_at_work_while_it_is_made_and_started(role: Role, seen: list[tuple[str, str]]) -> None:
    Looks.seen.clear()
    stopping = asyncio.Event()
    stopping.set()
    config = strategy_config(
        model={"entryPoint": f"{__name__}:Looks"}, agents={"image": "registry.example.com/m@sha256:" + "0" * 64}
    )

    process = StrategyProcess(
        config, (role,), "pod", "", ManualClock(), Health(), stopping, _no_session, running=Looks.running
    )
    await process.run(LocalBus().connect())

    assert (Looks.seen, Looks.running.current) == (seen, None)


def _no_session(venue: str, address: str, logon: gateway_pb2.Logon, listener: SessionListener) -> OrderSession:
    raise AssertionError("only execution has sessions")
