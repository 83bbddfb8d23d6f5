"""What a backtest does depends on the recording's time alone, not on how fast the machine is."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.backtests import journaled

from crowetrade_agents.gateway.loop import FROZEN_SECONDS
from crowetrade_api.files import EnvName
from crowetrade_api_tests.samples import change
from crowetrade_cli_tests.desk import LIMIT, STRATEGY, VENUE, record


def _journal(folder: Path) -> list[bytes]:
    record(folder, (1.1 + 0.0005 * min(number, 60 - number) for number in range(60)))
    venue = change(VENUE, "spec.simulated.replay", {"speed": "max", "loop": False})
    events = journaled([venue, STRATEGY, LIMIT], {EnvName.DATA_DIRECTORY: str(folder)})
    assert any(event.HasField("order_executed") for event in events)
    return [event.SerializeToString(deterministic=True) for event in events]


def test_a_machine_that_stalls_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gateway beside others would not send what it approved so long ago."""
    undisturbed = _journal(tmp_path)
    stalled = itertools.count(0.0, 2 * FROZEN_SECONDS)
    monkeypatch.setattr("crowetrade_agents.gateway.loop.monotonic", lambda: next(stalled))
    assert _journal(tmp_path) == undisturbed
