"""Both ends of an order entry session.

The strategy's end is `OrderSession` with its `SessionListener`: roles/execution.py does not know whether the gateway is
across gRPC or in the same process. The gateway's end is `SessionHub`: the gateway's loop hands reports to it and it
puts commands into the loop's queue.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from crowetrade.bus.v1 import orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.order_entry.commands import SessionCommand

Request = gateway_pb2.OrderSessionRequest
Response = gateway_pb2.OrderSessionResponse


def progress_request(sequence: int) -> Request:
    """Reports that the event is handled."""
    return Request(progress=gateway_pb2.Progress(sequence=sequence))


class SessionListener(Protocol):
    """What the execution role does with a session. Calls come in the order of the stream and never wait."""

    def on_logon(self, venue: str, snapshot: gateway_pb2.LogonAccepted) -> Sequence[Request]:
        """Takes the snapshot; returns what to send first."""
        ...

    def on_report(self, venue: str, report: orders_pb2.ExecutionReport) -> None:
        """Takes one report."""
        ...

    def on_cancel_reject(self, venue: str, reject: orders_pb2.CancelReject) -> None:
        """Takes the refusal of a cancel or cancel/replace."""
        ...

    def on_published(self, venue: str, sequence: int) -> None:
        """In lock step: every report of what happened up to this event has been taken."""
        ...

    def on_down(self, venue: str, why: str) -> None:
        """The session is not up, for this reason; it is tried again."""
        ...


class OrderSession(Protocol):
    """The strategy's end: one venue's session that is opened again whenever it ends."""

    @property
    def venue(self) -> str:
        """Name of the VenueConnection."""
        ...

    @property
    def up(self) -> bool:
        """True between LogonAccepted and the end of the stream."""
        ...

    async def run(self) -> None:
        """Keeps the session up until `close`; raises SessionTakenOver."""
        ...

    async def send(self, request: Request) -> bool:
        """False when the session is not up, or too much waits to be sent already, and nothing was sent. True says no
        more than that the request was handed over: should the session break, the next logon shows what became of it."""
        ...

    async def progress(self, sequence: int) -> bool:
        """Sends that the event is handled, which lock step waits for; as `send`."""
        ...

    async def close(self) -> None:
        """Ends the stream in order: what was sent before still arrives."""
        ...


class SessionHub(Protocol):
    """The gateway's end: the sessions of all strategies."""

    def deliver(self, strategy: str, response: Response) -> None:
        """Queues a response for the strategy's session if it has one; a session that does not read is ended."""
        ...

    def accept(self, strategy: str, session: int, snapshot: gateway_pb2.LogonAccepted) -> None:
        """Opens the session that asked, if it is still the strategy's newest; only then are its requests read. The hub
        adds the heartbeat deadline to the snapshot."""
        ...

    def handled(self, command: object) -> None:
        """The loop has handled a command and carried out what followed: its strategy may have another one in the queue.
        To be called once for every command that was taken from the queue; those of nobody's session are ignored."""
        ...

    def publish(self, sequence: int) -> None:
        """In lock step: sends Published to every session."""
        ...

    def connected(self) -> frozenset[str]:
        """Strategies that have a session."""
        ...

    def progress(self, strategy: str) -> int:
        """Last market data event that the strategy has handled, all that it sent before saying so included; 0 without a
        session."""
        ...

    def leave(self) -> None:
        """Ends every session, after what is queued for it, and opens none any more."""
        ...


CommandSink = Callable[[SessionCommand], Awaitable[None]]
"""Puts one command into the gateway's queue, waiting while it is full. Cancelled while it waits, it has put nothing."""
