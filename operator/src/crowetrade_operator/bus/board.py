"""What gateways and agents said last, with the time at which we heard it. No I/O.

Ages are measured on our own clock: the senders' clocks may differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from crowetrade.bus.v1 import status_pb2

M = TypeVar("M", bound=Message)

SUCCESSOR_SECONDS = 5.0
"""A gateway speaks each second: one that has said nothing for this long speaks no more."""


@dataclass(frozen=True, slots=True)
class Heard(Generic[M]):
    """A message and when it came (seconds of the board's clock)."""

    message: M
    at: float


class Board:
    """The last GatewayStatus by namespace and venue, and AgentStatus by namespace, strategy and pod."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._gateways: dict[tuple[str, str], Heard[status_pb2.GatewayStatus]] = {}
        self._agents: dict[tuple[str, str], dict[str, Heard[status_pb2.AgentStatus]]] = {}

    def gateway(self, namespace: str, venue: str) -> Heard[status_pb2.GatewayStatus] | None:
        """What the gateway said last."""
        return self._gateways.get((namespace, venue))

    def agents(self, namespace: str, strategy: str, within: float) -> list[status_pb2.AgentStatus]:
        """What each agent of a strategy said last, of those that spoke within so many seconds: a pod that was replaced
        is silent and must not be taken for one that runs."""
        since = self.clock() - within
        heard = self._agents.get((namespace, strategy), {}).values()
        return [one.message for one in heard if one.at >= since]

    def hear_gateway(self, message: status_pb2.GatewayStatus) -> bool:
        """Keeps the message; returns whether anything but its time is new.

        A gateway that was overtaken is ignored while its successor reports. When nobody with a higher token does, the
        message is kept: whoever reads it compares the token with the one on record in the VenueConnection's status
        (see GatewayView.below_record), because a journal that was lost begins again with low tokens.
        """
        key = (message.namespace, message.venue)
        before = self._gateways.get(key)
        overtaken = before is not None and message.fencing_token < before.message.fencing_token
        if before is not None and overtaken and self.clock() - before.at <= SUCCESSOR_SECONDS:
            return False
        self._gateways[key] = Heard(message, self.clock())
        return before is None or _differs(before.message, message)

    def hear_agent(self, message: status_pb2.AgentStatus) -> bool:
        """Keeps the message; tells whether anything but its time is new."""
        pods = self._agents.setdefault((message.namespace, message.strategy), {})
        before = pods.get(message.pod)
        pods[message.pod] = Heard(message, self.clock())
        return before is None or _differs(before.message, message)

    def forget_gateway(self, namespace: str, venue: str) -> None:
        """The VenueConnection is gone."""
        self._gateways.pop((namespace, venue), None)

    def forget_strategy(self, namespace: str, strategy: str) -> None:
        """The Strategy is gone."""
        self._agents.pop((namespace, strategy), None)

    def forget_silent_agents(self, older_than: float) -> None:
        """Drops pods that said nothing for so many seconds: their names do not come back."""
        limit = self.clock() - older_than
        for key, pods in list(self._agents.items()):
            self._agents[key] = {pod: heard for pod, heard in pods.items() if heard.at >= limit}
            if not self._agents[key]:
                del self._agents[key]


def _differs(before: Message, after: Message) -> bool:
    first, second = type(before)(), type(after)()
    first.CopyFrom(before)
    second.CopyFrom(after)
    for message in (first, second):
        message.ClearField("sent_unix_ns")
        if isinstance(message, status_pb2.GatewayStatus):
            message.ClearField("market_data_sequence")  # counts every quote, and no status has it
    return first != second
