"""Lock step: for whom the market stands still, and for how long."""

from __future__ import annotations

from typing import Any

import pytest

from crowetrade_agents.gateway.lock_step import PATIENCE_NS, LockStep

NOW = 1_700_000_000_000_000_000


class Hub:
    """Strategies that have a session, with the event that they handled last."""

    def __init__(self, **progress: int) -> None:
        self.done = progress

    def connected(self) -> set[str]:
        return set(self.done)

    def progress(self, strategy: str) -> int:
        return self.done[strategy]


def _lock_step(resumed_after: int = 0, **progress: int) -> LockStep:
    hub: Any = Hub(**progress)
    return LockStep(hub, resumed_after)


# Who has a session and has handled what, after which event the process began, and who is waited for at event 5.
CASES: dict[str, tuple[dict[str, int], int, list[str]]] = {
    "both are there": ({"alpha": 5, "beta": 7}, 0, []),
    "one is behind": ({"alpha": 5, "beta": 4}, 0, ["beta"]),
    "both are behind, in order": ({"beta": 0, "alpha": 0}, 0, ["alpha", "beta"]),
    "nobody owes progress for what came before this process": ({"alpha": 0, "beta": 0}, 5, []),
    "it is owed for what came after": ({"alpha": 0, "beta": 5}, 4, ["alpha"]),
    "one has no session": ({"beta": 5}, 0, ["alpha"]),
    "one has no session, also after a restart": ({"beta": 0}, 5, ["alpha"]),
    "others do not count": ({"alpha": 5, "beta": 5, "gamma": 0}, 0, []),
}


@pytest.mark.parametrize("what", CASES)
def test_who_is_waited_for(what: str) -> None:
    progress, resumed_after, expected = CASES[what]
    assert _lock_step(resumed_after, **progress).waiting_for(("beta", "alpha"), 5, NOW) == expected


def test_a_strategy_without_a_session_is_waited_for_until_patience_ends() -> None:
    step = _lock_step(beta=5)
    assert step.given_up() == []
    waits = [step.waiting_for(("alpha", "beta"), 5, NOW + waited) for waited in (0, PATIENCE_NS - 1, PATIENCE_NS)]
    assert waits == [["alpha"], ["alpha"], []]
    assert step.given_up() == ["alpha"]

    # One that comes back and goes is waited for again.
    step.hub.done["alpha"] = 5  # type: ignore[attr-defined]
    assert step.waiting_for(("alpha", "beta"), 5, NOW + PATIENCE_NS) == []
    assert step.given_up() == []
    del step.hub.done["alpha"]  # type: ignore[attr-defined]
    assert step.waiting_for(("alpha", "beta"), 5, NOW + 2 * PATIENCE_NS) == ["alpha"]
