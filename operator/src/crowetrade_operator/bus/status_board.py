"""The last status of each gateway and agent, with the time at which it came. No I/O.

Ages are measured on our own clock: the senders' clocks may differ.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from crowetrade.bus.v1 import status_pb2
from crowetrade_operator.bus.news import GatewayNews, News, agent_news, gateway_news

M = TypeVar("M", bound=Message)

SUCCESSOR_SECONDS = 5.0
"""A gateway reports each second: one that has not reported for this long has ended."""


@dataclass(frozen=True, slots=True)
class Received(Generic[M]):
    """A message and when it came (seconds of the clock of the StatusBoard)."""

    message: M
    at: float


class StatusBoard:
    """The last GatewayStatus by namespace and venue, and AgentStatus by namespace, strategy and pod."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._gateways: dict[tuple[str, str], Received[status_pb2.GatewayStatus]] = {}
        self._agents: dict[tuple[str, str], dict[str, Received[status_pb2.AgentStatus]]] = {}
        # Whose silence was noticed.
        self._silent_gateways: set[tuple[str, str]] = set()
        self._silent_agents: set[tuple[str, str, str]] = set()

    def gateways(self) -> list[tuple[str, str]]:
        """Namespace and venue of all that have reported."""
        return list(self._gateways)

    def gateway(self, namespace: str, venue: str) -> Received[status_pb2.GatewayStatus] | None:
        """The last status of the gateway."""
        return self._gateways.get((namespace, venue))

    def agents(self, namespace: str, strategy: str, within: float) -> list[status_pb2.AgentStatus]:
        """The last status of each agent of a strategy, of those that reported within so many seconds: a pod that was
        replaced is silent and must not be taken for one that runs."""
        since = self.clock() - within
        received = self._agents.get((namespace, strategy), {}).values()
        return [one.message for one in received if one.at >= since]

    def record_gateway_status(self, message: status_pb2.GatewayStatus, at: float | None = None) -> GatewayNews:
        """Keeps the message, which came at that time or now; returns what is new in it. After a silence that was
        noticed it is a first one.

        A gateway that was overtaken is ignored while its successor reports. When nobody with a higher token does, the
        message is kept: whoever reads it compares the token with the one on record in the VenueConnection's status
        (see GatewayView.below_record), because a journal that was lost begins again with low tokens.
        """
        key, at = (message.namespace, message.venue), self.clock() if at is None else at
        before = self._gateways.get(key)
        overtaken = before is not None and message.fencing_token < before.message.fencing_token
        if before is not None and overtaken and at - before.at <= SUCCESSOR_SECONDS:
            return GatewayNews(News.NOTHING)
        self._gateways[key] = Received(message, at)
        was_silent = key in self._silent_gateways
        self._silent_gateways.discard(key)
        return gateway_news(before.message if before is not None and not was_silent else None, message)

    def record_agent_status(self, message: status_pb2.AgentStatus, at: float | None = None) -> News:
        """Keeps the message, which came at that time or now; returns how much of it is new. After a silence that was
        noticed it is a first one."""
        key, pod = (message.namespace, message.strategy), message.pod
        pods = self._agents.setdefault(key, {})
        before = pods.get(pod)
        pods[pod] = Received(message, self.clock() if at is None else at)
        was_silent = bool(self._silent_agents) and (*key, pod) in self._silent_agents
        if was_silent:
            self._silent_agents.discard((*key, pod))
        return agent_news(before.message if before is not None and not was_silent else None, message)

    def notice_silence(self, seconds: float) -> tuple[list[tuple[str, str]], set[tuple[str, str]]]:
        """Gateways, by namespace and venue, and Strategies, by namespace and name, of which a pod has not
        reported for so many seconds; each is returned once, until it reports again."""
        limit = self.clock() - seconds
        gateways = [
            key for key, received in self._gateways.items() if received.at < limit and key not in self._silent_gateways
        ]
        self._silent_gateways.update(gateways)
        agents = [
            (*key, pod)
            for key, pods in self._agents.items()
            for pod, received in pods.items()
            if received.at < limit and (*key, pod) not in self._silent_agents
        ]
        self._silent_agents.update(agents)
        return gateways, {(namespace, name) for namespace, name, _ in agents}

    def forget_gateway(self, namespace: str, venue: str) -> None:
        """The VenueConnection is gone."""
        self._gateways.pop((namespace, venue), None)
        self._silent_gateways.discard((namespace, venue))

    def forget_strategy(self, namespace: str, strategy: str) -> None:
        """The Strategy is gone."""
        for pod in self._agents.pop((namespace, strategy), {}):
            self._silent_agents.discard((namespace, strategy, pod))

    def forget_silent_agents(self, older_than: float) -> None:
        """Drops pods that said nothing for so many seconds: their names do not come back."""
        limit = self.clock() - older_than
        for key, pods in list(self._agents.items()):
            for pod in [pod for pod, heard in pods.items() if heard.at < limit]:
                del pods[pod]
                self._silent_agents.discard((*key, pod))
            if not pods:
                del self._agents[key]
