"""The gateway's end of one session, whatever carries it, and what its strategy has under way over all its sessions."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import Enum

import structlog

from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.order_entry.commands import SessionCommand, StrategyCommand
from crowetrade_agents.order_entry.decode import Bounds, Heartbeat, Progress, Violation, decode
from crowetrade_agents.order_entry.limits import SECOND_NS, Pace, SessionLimits
from crowetrade_agents.order_entry.port import CommandSink, Request, Response

_log = structlog.get_logger(__name__)
_HEARTBEAT = Response(heartbeat=gateway_pb2.Heartbeat())


class EndKind(Enum):
    """Why a session ended or did not begin."""

    CLOSED = "Closed"
    LEAVING = "Leaving"
    TAKEN_OVER = "TakenOver"
    UNBOUND = "Unbound"
    EXHAUSTED = "Exhausted"
    SILENT = "Silent"
    EXPIRED = "Expired"
    VIOLATION = "Violation"
    BROKEN = "Broken"

    @property
    def drains(self) -> bool:
        """True when what is queued for the session is still written before it ends."""
        return self not in (EndKind.EXHAUSTED, EndKind.SILENT, EndKind.BROKEN)


@dataclass(frozen=True, slots=True)
class End:
    """`text` is a sentence for the strategy's log."""

    kind: EndKind
    text: str


class Account:
    """One strategy's share of the gateway's queue, its rates and its progress; outlives its sessions."""

    def __init__(self, limits: SessionLimits) -> None:
        self.messages = Pace(SECOND_NS, limits.messages_per_second, limits.messages_burst)
        self.logons = Pace(60 * SECOND_NS, limits.logons_per_minute, limits.logons_burst)
        self.current: Session | None = None
        self.open_streams = 0
        self.lifecycle: deque[SessionCommand] = deque()
        self.posting: asyncio.Task[None] | None = None
        self.progress = 0
        self._credits = asyncio.Semaphore(limits.commands_queued)
        self._put = 0
        self._handled = 0
        self._claimed: deque[tuple[int, int]] = deque()

    async def put(self, command: StrategyCommand, sink: CommandSink) -> None:
        """Puts a command into the gateway's queue; waits while the strategy has its share there."""
        await self._credits.acquire()
        self._put += 1
        try:
            await sink(command)
        except BaseException:
            self._put -= 1
            self._credits.release()
            raise

    def claim(self, sequence: int) -> bool:
        """The strategy says that it has handled this event. That counts as progress once the commands that it put
        before are handled; True when it does at once."""
        if self._claimed and self._claimed[-1][0] == self._put:
            sequence = max(sequence, self._claimed.pop()[1])
        self._claimed.append((self._put, sequence))
        return self._settle()

    def handled(self) -> bool:
        """The gateway has handled one command of the strategy; True when `progress` has moved."""
        self._handled += 1
        self._credits.release()
        return self._settle()

    def restart(self, session: Session | None) -> None:
        """`session` is now the strategy's; progress is a matter of one session."""
        self.current = session
        self.progress = 0
        self._claimed.clear()

    def _settle(self) -> bool:
        before = self.progress
        while self._claimed and self._claimed[0][0] <= self._handled:
            self.progress = max(self.progress, self._claimed.popleft()[1])
        return self.progress > before


class Session:
    """One session: `read` takes requests in, `next` gives responses out, `over` is set when it has ended."""

    def __init__(
        self,
        strategy: str,
        number: int,
        account: Account,
        *,
        venue: str,
        clock: Clock,
        sink: CommandSink,
        published: Callable[[], int],
        responses_queued: int,
        on_end: Callable[[Session, End], None],
        on_progress: Callable[[], None],
    ) -> None:
        self.strategy = strategy
        self.number = number
        self.accepted = asyncio.Event()
        self.over = asyncio.Event()
        self.end_reason: End | None = None
        self._account = account
        self._venue = venue
        self._clock = clock
        self._sink = sink
        self._published = published
        self._responses_queued = responses_queued
        self._on_end = on_end
        self._on_progress = on_progress
        self._outgoing: deque[Response] = deque()
        # Set when there is something for `next` to return.
        self._waiting = asyncio.Event()
        self._heard_ns = 0
        self._holding = False
        self._reader: asyncio.Task[object] | None = None

    @property
    def is_open(self) -> bool:
        """True between accepted and over."""
        return self.accepted.is_set() and self.end_reason is None

    def accept(self, logon_accepted: Response) -> None:
        """The session is up, with this as its first response."""
        self._heard_ns = self._clock.now_ns()
        self._put(logon_accepted)
        self.accepted.set()

    def last_heard_ns(self) -> int:
        """When the client last sent something. While the gateway itself holds its request back, that is now."""
        return self._clock.now_ns() if self._holding else self._heard_ns

    async def read(self, receive: Callable[[], Awaitable[Request | None]]) -> None:
        """Takes every request that `receive` returns and ends the session at None; to be called once, in a task of its
        own, which `end` cancels.

        Nothing is received before the gateway has accepted the logon, nor while the strategy has sent too much: the
        carrier's flow control holds its client back, and nobody else.
        """
        self._reader = asyncio.current_task()
        try:
            await self.accepted.wait()
            while self.end_reason is None and (request := await receive()) is not None:
                self._holding = True
                await self._take(request)
                self._holding = False
                self._heard_ns = self._clock.now_ns()
        except Exception:  # noqa: BLE001 - the top of the loop: a session that breaks ends alone
            _log.exception("session_broke", strategy=self.strategy, session=self.number)
            self.end(End(EndKind.BROKEN, "the gateway could not read the session"))
        else:
            self.end(End(EndKind.CLOSED, ""))

    def deliver(self, response: Response) -> None:
        """Queues a response; ends the session when the client lets too many wait."""
        if self.end_reason is not None:
            return
        if len(self._outgoing) >= self._responses_queued:
            self.end(
                End(EndKind.EXHAUSTED, f"{self._responses_queued} messages wait to be read: log on again and read")
            )
            return
        self._put(response)

    async def next(self, at_most: int) -> Sequence[Response]:
        """What waits to be written, once there is something; nothing when the session is over."""
        while not self._outgoing and self.end_reason is None:
            self._waiting.clear()
            await self._waiting.wait()
        return [self._outgoing.popleft() for _ in range(min(len(self._outgoing), at_most))]

    def end(self, end: End) -> None:
        """Ends the session now: nothing that it sent is put into the queue any more. Only the first end counts."""
        if self.end_reason is not None:
            return
        self.end_reason = end
        if self._reader is not None and self._reader is not asyncio.current_task():
            self._reader.cancel()
        if not end.kind.drains:
            self._outgoing.clear()
        self._waiting.set()
        self.over.set()
        self._on_end(self, end)

    def _put(self, response: Response) -> None:
        self._outgoing.append(response)
        self._waiting.set()

    async def _take(self, request: Request) -> None:
        now_ns = self._clock.now_ns()
        if (due_ns := self._account.messages.due_ns()) > now_ns:
            await self._clock.wait_until(due_ns)
            now_ns = self._clock.now_ns()
        self._account.messages.take(now_ns)
        message = decode(request, Bounds(self.strategy, self._venue, self._published(), now_ns))
        if isinstance(message, Heartbeat):
            self.deliver(_HEARTBEAT)
        elif isinstance(message, Progress):
            if self._account.claim(message.sequence):
                self._on_progress()
        elif isinstance(message, Violation):
            self.end(End(EndKind.VIOLATION, message.text))
        else:
            await self._account.put(message, self._sink)
