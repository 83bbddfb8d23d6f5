"""What a backtest does depends on the recording's time alone, not on how fast the machine is."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from tests.backtests import journaled

from crowetrade_agents.gateway.loop import FROZEN_SECONDS
from crowetrade_api.files import EnvName
from crowetrade_api_tests.samples import change
from crowetrade_cli_tests.desk import FIRST_NS, LIMIT, STRATEGY, VENUE

MINUTE_NS = 60_000_000_000


def _journal(folder: Path) -> list[bytes]:
    recording = folder / "waves" / "q.csv"
    recording.parent.mkdir(parents=True, exist_ok=True)
    rows = ["ts_ns,bid_px,bid_sz,ask_px,ask_sz"]
    for number in range(60):
        bid = 1.1 + 0.0005 * min(number, 30) - 0.0005 * max(number - 30, 0)
        rows.append(f"{FIRST_NS + number * MINUTE_NS},{bid:.5f},5000000,{bid + 0.00002:.5f},5000000")
    recording.write_text("\n".join(rows) + "\n")
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
