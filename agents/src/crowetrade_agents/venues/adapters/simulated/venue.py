"""The simulated venue as the gateway sees it: logon, recorded market data, orders matched against it.

Order latency is venue time: an order that arrives at T is matched against the quote in force at T + latency, which the
recording already knows; the answer is given at once. Cancels have no latency.
"""

from __future__ import annotations

import hashlib
import hmac

from crowetrade_agents.risk.approved import ApprovedOrder
from crowetrade_agents.venues.adapters.simulated.matching import Fees, MatchingEngine
from crowetrade_agents.venues.adapters.simulated.replay import Replay
from crowetrade_agents.venues.port import LogonRefused, MarketEvent, OrderEvent

MILLI_NS = 1_000_000


class SimulatedVenue:
    """Implements OrderPort. The venue's time is that of the last market event, nanoseconds since the Unix epoch."""

    def __init__(self, replay: Replay, fees: Fees, order_latency_ns: int, session: int) -> None:
        self.replay = replay
        self._engine = MatchingEngine(fees, session)
        self._latency_ns = order_latency_ns
        self._sequence = 0
        self._now_ns = 0

    @staticmethod
    def log_on(api_key: str | None, expected_sha256: str) -> None:
        """Raises LogonRefused when the venue asks for a key and this is not it."""
        if not expected_sha256:
            return
        if not api_key:
            raise LogonRefused("the venue asks for an API key and none was given: set spec.credentials")
        actual = hashlib.sha256(api_key.encode()).hexdigest()
        if not hmac.compare_digest(actual, expected_sha256.lower()):
            raise LogonRefused(
                "the venue refused the API key: its SHA-256 is not spec.simulated.apiKeySha256; "
                "write the right key to the secret that spec.credentials names"
            )

    def advance(self, event: MarketEvent) -> list[OrderEvent]:
        """The next market event; returns executions of resting orders."""
        self._sequence = event.sequence
        self._now_ns = event.book.event_ns
        return self._engine.quote(event.book)

    def submit(self, order: ApprovedOrder, *, immediate: bool, all_or_none: bool) -> list[OrderEvent]:
        """Matches an order at venue time now + latency."""
        at = self._now_ns + self._latency_ns
        ahead = self.replay.book_at(self._sequence + 1, order.request.symbol, at)
        return self._engine.submit(order, at, immediate=immediate, all_or_none=all_or_none, book=ahead)

    def cancel(self, cl_ord_id: str, reason: str) -> list[OrderEvent]:
        """Cancels at once."""
        return self._engine.cancel(cl_ord_id, reason, self._now_ns)
