"""What one process knows of its own state, for AgentStatus."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from crowetrade.bus.v1 import status_pb2
from crowetrade_agents.execution.plan import IdleReason
from crowetrade_agents.portfolio.reasons import HoldReason
from crowetrade_api.reasons import WaitingReason

_QUANTITY_UNKNOWN = (
    "the venue quotes no quantities, so spec.policy.execution.participationCap allows no order: "
    "remove the cap or use data with quantities"
)
_WARMING_UP = "the model warms up: it has not seen enough market data yet"


@dataclass
class AgentState:
    """Mutable; each role writes its part. Times in nanoseconds since the Unix epoch, wall clock."""

    market_data_seen: bool = False
    warming_up: bool = False
    last_signal_unix_ns: int = 0
    # Venue or role -> why it is waited for.
    gateways_down: dict[str, str] = field(default_factory=dict)
    roles_missing: str = ""
    stand_down: str = ""
    # True when a participation cap is set and the venue does not say how much it quotes.
    quantity_unknown: bool = False

    # Set at a change that is worth telling at once.
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def waiting(self) -> tuple[str, str]:
        """(reason, sentence) why the process does not trade; empty strings when it does."""
        if self.roles_missing:
            return WaitingReason.ROLE_NOT_READY, self.roles_missing
        if self.gateways_down:
            sentences = "; ".join(self.gateways_down[venue] for venue in sorted(self.gateways_down))
            return WaitingReason.GATEWAY_UNREACHABLE, sentences
        if not self.market_data_seen:
            return WaitingReason.NO_MARKET_DATA, "no market data has arrived since the process started"
        if self.warming_up:
            return HoldReason.WARMING_UP, _WARMING_UP
        if self.stand_down:
            return self.stand_down, "trading stands down by spec.policy.standDown; it goes on when the market is usual"
        if self.quantity_unknown:
            return IdleReason.NO_QUOTED_QUANTITY, _QUANTITY_UNKNOWN
        return "", ""

    def message(self, identity: status_pb2.AgentStatus, now_ns: int) -> status_pb2.AgentStatus:
        """The status to publish; `identity` holds what does not change."""
        reason, sentence = self.waiting()
        status = status_pb2.AgentStatus(
            sent_unix_ns=now_ns,
            last_signal_unix_ns=self.last_signal_unix_ns,
            waiting_reason=reason,
            waiting_message=sentence,
        )
        status.MergeFrom(identity)
        return status
