"""Lock step: the market stands still until every strategy has handled the event before. Pure.

It waits for each bound, active strategy, but not without end: one that has had no session for PATIENCE_NS (its image
cannot be pulled, its configuration is wrong) is named in the status and the market of the others goes on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from crowetrade_agents.gateway.budget import SECOND_NS
from crowetrade_agents.order_entry.port import SessionHub

PATIENCE_NS = 30 * SECOND_NS


@dataclass(slots=True)
class LockStep:
    """`resumed_after` is the event after which this process began: nobody owes progress for it."""

    hub: SessionHub
    resumed_after: int = 0
    # Strategy -> since when it has no session, wall clock.
    _missing_since: dict[str, int] = field(default_factory=dict)

    def waiting_for(self, active: Iterable[str], sequence: int, now_ns: int) -> list[str]:
        """Strategies that must still handle the event `sequence`, or log on, before the next one comes."""
        names = sorted(active)
        connected = self.hub.connected()
        self._missing_since = {name: self._missing_since.get(name, now_ns) for name in names if name not in connected}
        return [
            name
            for name in names
            if (
                now_ns - self._missing_since[name] < PATIENCE_NS
                if name not in connected
                else sequence != self.resumed_after and self.hub.progress(name) < sequence
            )
        ]

    def given_up(self) -> list[str]:
        """Strategies without a session that the market may not wait for any more, or not for much longer."""
        return sorted(self._missing_since)
