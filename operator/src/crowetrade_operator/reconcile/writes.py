"""How often each child is written, and when one that others change again and again is repaired next.

The first repairs come at once. Whoever goes on changing what we repair fights us, and two programs that undo each
other's work as fast as they can are worse than a child that is wrong for a while: from then on, repairs come at
intervals that double. Ten minutes without one end it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from crowetrade_operator import metrics
from crowetrade_operator.cluster.cache import Address

WINDOW_SECONDS = 600.0
OFTEN = 5
"""More writes than these within the window are too many."""
AT_ONCE = 5
"""So many repairs of a child come at once."""
FIRST_DELAY = 5.0
LAST_DELAY = 300.0


@dataclass(slots=True)
class _Record:
    # The last OFTEN + 1 of all writes.
    times: list[float] = field(default_factory=list)
    # Repairs, each within the window after the one before.
    repairs: int = 0
    repaired_at: float = 0.0
    often: bool = False


class Writes:
    """A record for each child that was written in the last ten minutes, besides its creation."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, at_once: int = AT_ONCE) -> None:
        self._clock = clock
        self.at_once = at_once
        self._records: dict[Address, _Record] = {}

    def seconds_until_repair(self, child: Address) -> float:
        """0.0 when it may be repaired now."""
        record = self._records.get(child)
        if record is None:
            return 0.0
        return max(0.0, record.repaired_at + self._delay(record.repairs) - self._clock())

    def repairs(self, child: Address) -> int:
        """How many repairs there were, each within ten minutes of the one before."""
        record = self._records.get(child)
        return record.repairs if record is not None else 0

    def wrote(self, child: Address, *, repair: bool) -> None:
        """It was written; its creation does not count."""
        now = self._clock()
        record = self._records.setdefault(child, _Record())
        record.times = [*record.times[-OFTEN:], now]
        if repair:
            quiet = now - record.repaired_at > WINDOW_SECONDS
            record.repairs = 1 if quiet else record.repairs + 1
            record.repaired_at = now
        if len(record.times) > OFTEN and now - record.times[0] <= WINDOW_SECONDS and not record.often:
            record.often = True
            metrics.CHILD_WRITTEN_OFTEN.labels(*child).set(1)

    def forget_old(self) -> None:
        """Ends what has been quiet for ten minutes."""
        old = [child for child, record in self._records.items() if self._clock() - record.times[-1] > WINDOW_SECONDS]
        for child in old:
            if self._records.pop(child).often:
                with contextlib.suppress(KeyError):
                    metrics.CHILD_WRITTEN_OFTEN.remove(*child)

    def _delay(self, repairs: int) -> float:
        if repairs < self.at_once:
            return 0.0
        return min(LAST_DELAY, FIRST_DELAY * 2.0 ** (repairs - self.at_once))
