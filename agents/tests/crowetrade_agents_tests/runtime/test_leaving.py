"""How long a stopped gateway stays: for its cancels, for what it closes, and a moment for the order to close."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crowetrade_agents.domain.orders import Side
from crowetrade_agents.gateway import commands
from crowetrade_agents.gateway.state import Closing
from crowetrade_agents.runtime.gateway import has_left

from ..gateway.scenario import EUR, SECOND, Scenario, configuration, terms


def _leaving(flattened: str = "", holds: bool = False, resting: bool = False) -> Scenario:
    """A gateway that was asked to stop; when it holds something, alpha bought 10,000."""
    scenario = Scenario()
    if holds:
        scenario.order(terms(1, side=Side.BUY))
        scenario.executed(1, "10000", "open-1")
        assert scenario.position() == Decimal(10_000)
    if resting:
        scenario.order(2)
    wanted = configuration(revision="r2", flattened_when_deleted=frozenset({flattened}))
    scenario.do(commands.Configure(wanted))
    scenario.do(commands.Leave())
    return scenario


@pytest.mark.parametrize(
    ("scenario", "after", "expected"),
    [
        (_leaving(), 0, True),
        (_leaving(resting=True), 4, False),
        (_leaving(resting=True), 5, True),
        (_leaving(holds=True), 0, True),
        (_leaving(flattened="alpha", holds=True), 4, False),
        (_leaving(flattened="alpha", holds=True), 5, True),
        (_leaving(flattened="beta", holds=True), 0, True),
        (_leaving(flattened="alpha"), 0, True),
    ],
    ids=[
        "nothing is open",
        "a cancel is not answered yet",
        "no answer to a cancel comes",
        "a position that nobody closes",
        "the order to close may come",
        "the order to close has not come",
        "a position of another strategy",
        "a strategy that holds nothing",
    ],
)
def test_when_it_has_left(scenario: Scenario, after: int, expected: bool) -> None:
    assert has_left(scenario.state, after * SECOND) is expected


@pytest.mark.parametrize(
    ("closing", "expected"),
    [(Closing(), False), (Closing(reason="BelowMinQuantity", final=True), True)],
    ids=["goes on", "cannot be closed"],
)
def test_it_stays_as_long_as_it_closes(closing: Closing, expected: bool) -> None:
    scenario = _leaving(flattened="alpha", holds=True)
    scenario.state.live.closing["alpha", EUR] = closing
    assert has_left(scenario.state, 0) is expected
