"""How far an upgrade is, from the conditions that are stored."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from crowetrade_cli.commands.status import _update
from crowetrade_cli.fleet.status import Update, update

Object = dict[str, Any]
NOW = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)


def told(reconciling: str, reason: str, generation: int = 1, at: str = "2026-01-05T10:00:00Z", **others: str) -> Object:
    """A resource of generation 1 with this condition Reconciling, and others."""
    conditions = [{"type": "Reconciling", "status": reconciling, "reason": reason}]
    conditions += [{"type": type_, "status": status, "reason": "Any"} for type_, status in others.items()]
    return {
        "metadata": {"namespace": "desk", "name": "ema", "generation": 1},
        "status": {
            "phase": "Trading",
            "observedGeneration": generation,
            "lastReportTime": at,
            "conditions": conditions,
        },
    }


COUNTED: dict[str, tuple[Object, str]] = {
    "as its spec says": (told("False", "AsDesired"), "up_to_date"),
    "halted, with the present image": (told("False", "Suspended"), "up_to_date"),
    "it waits for its gateway": (told("True", "WaitingForGateway"), "up_to_date"),
    "rolling out": (told("True", "RollingOut"), "rolling_out"),
    "quiet": (told("True", "WaitingForQuiet"), "waiting_for_quiet"),
    "flat": (told("True", "WaitingForFlat"), "waiting_for_flat"),
    "turn": (told("True", "WaitingForTurn"), "waiting_for_turn"),
    "stalled on its way": (told("False", "ImagePullFailed", Stalled="True"), "unknown"),
    "paused": (told("False", "ReconcilingPaused", Paused="True"), "unknown"),
    "its spec is newer than what is reported": (told("False", "AsDesired", generation=0), "unknown"),
    "nobody has reported lately": (told("True", "RollingOut", at="2026-01-04T10:00:00Z"), "unknown"),
    "nothing is reported": ({"metadata": {"namespace": "desk", "name": "ema", "generation": 1}}, "unknown"),
}
NONE = Update(0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("case", COUNTED)
def test_each_counts_once(case: str) -> None:
    item, counted = COUNTED[case]
    found = update([item], NOW)
    assert {name for name in Update.__slots__ if getattr(found, name)} == {counted}
    assert getattr(found, counted) == 1


def test_in_words_only_what_there_is() -> None:
    assert _update("Gateways", NONE) == "Gateways: 0 of 0 up to date."
    assert _update("Agents", Update(90, 10, 1, 2, 3, 4)) == (
        "Agents: 90 of 110 up to date, 10 rolling out, 1 waiting for quiet, 2 waiting for flat, 3 waiting for a turn, "
        "4 not known."
    )
