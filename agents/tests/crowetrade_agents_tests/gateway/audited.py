"""What the auditor makes of a scenario's journal, beside the gateway's own books."""

from __future__ import annotations

from crowetrade_agents.auditor.ledger import Ledger
from crowetrade_agents_tests.gateway.scenario import VENUE, Scenario


class Following:
    """The auditor's ledger of a scenario whose events are taken as they come, and not kept."""

    def __init__(self) -> None:
        self.ledger = Ledger("cl-research", VENUE)
        self._sequence = 0

    def take(self, scenario: Scenario) -> None:
        """Takes what has been journaled since the last time."""
        for event in scenario.events:
            self._sequence += 1
            self.ledger.apply(self._sequence, event)
        scenario.events.clear()


def audited(scenario: Scenario) -> Ledger:
    """The ledger of everything that a scenario has journaled."""
    ledger = Ledger("cl-research", VENUE)
    for sequence, event in enumerate(scenario.events, start=1):
        ledger.apply(sequence, event)
    return ledger
