"""How processes of pytest share one cluster: tests/e2e/turns.py."""

from __future__ import annotations

import fcntl
from pathlib import Path
from threading import Thread

import pytest
from tools.demo.wait import wait_for
from tools.localcluster import paths

from tests.e2e import turns


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    paths.cache().mkdir(parents=True)


def _nobody_waits() -> str | None:
    """None once somebody waits to be alone: later ones are held up then."""
    with (paths.cache() / "e2e-next.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return None
        return "nobody waits to be alone"


def test_tests_run_beside_each_other() -> None:
    with turns.turn(alone=False), turns.turn(alone=False):
        assert _nobody_waits() is not None


def test_one_that_must_be_alone_waits_for_the_others_and_those_that_come_later_for_it() -> None:
    order: list[str] = []

    def take(name: str, alone: bool) -> None:
        with turns.turn(alone):
            order.append(name)

    waiting = Thread(target=take, args=("alone", True), daemon=True)
    later = Thread(target=take, args=("later", False), daemon=True)
    with turns.turn(alone=False):
        waiting.start()
        wait_for(_nobody_waits, 30, "the second to wait")
        later.start()
        order.append("first")
    for thread in (waiting, later):
        thread.join(30)
    assert order == ["first", "alone", "later"]


def test_one_process_of_a_run_sets_the_cluster_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", "one")
    with pytest.raises(RuntimeError), turns.first():
        raise RuntimeError("the first one could not")
    seen = []
    for run in ("one", "one", "two", "two"):
        monkeypatch.setenv("PYTEST_XDIST_TESTRUNUID", run)
        with turns.first() as is_first:
            seen.append(is_first)
    assert seen == [True, False, True, False]


def test_without_other_processes_each_run_sets_it_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_TESTRUNUID", raising=False)
    for _ in range(2):
        with turns.first() as is_first:
            assert is_first
