"""The sessions of all strategies with one gateway, whatever carries them: gRPC streams or calls within the process.

A session begins with a Logon in the gateway's queue and ends with a SessionLost there. Both are put by a task of the
hub, in order, so that neither a stream that is reset nor a queue that is full loses one: an engine that has handled all
of them knows exactly who is connected. The Logon of a session that takes over comes before the SessionLost of the older
one.

No session fills the queue: a strategy has `commands_queued` commands in it at most, and gets room for another when the
gateway's loop calls `handled`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import count

import structlog

from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.clock import Clock
from crowetrade_agents.order_entry.commands import (
    CancelOrder,
    Logon,
    Malformed,
    NewOrder,
    ReplaceOrder,
    SessionCommand,
    SessionLost,
)
from crowetrade_agents.order_entry.limits import SessionLimits
from crowetrade_agents.order_entry.port import CommandSink, Response
from crowetrade_agents.order_entry.session import Account, End, EndKind, Session
from crowetrade_api.names import name_at

_log = structlog.get_logger(__name__)
_LEAVING = End(EndKind.LEAVING, "the gateway is leaving: log on again")
_MILLI_NS = 1_000_000


class Sessions:
    """Implements SessionHub.

    `is_bound` says of a strategy, by what this gateway calls it, whether it is bound to this venue; `published` returns
    MarketData.sequence last published. `changed` is set whenever a session opens, ends or makes progress; whoever waits
    for it clears it.
    """

    def __init__(
        self,
        namespace: str,
        venue: str,
        sink: CommandSink,
        clock: Clock,
        *,
        is_bound: Callable[[str], bool],
        published: Callable[[], int],
        limits: SessionLimits | None = None,
    ) -> None:
        self.changed = asyncio.Event()
        self.limits = limits or SessionLimits()
        self.clock = clock
        self._namespace = namespace
        self._venue = venue
        self._sink = sink
        self._is_bound = is_bound
        self._published = published
        self._numbers = count(1)
        self._accounts: dict[str, Account] = {}
        self._leaving = False

    # For the gateway's loop.

    def deliver(self, strategy: str, response: Response) -> None:
        """See SessionHub."""
        if (session := self._open(strategy)) is not None:
            session.deliver(response)

    def accept(self, strategy: str, session: int, snapshot: gateway_pb2.LogonAccepted) -> None:
        """See SessionHub. One that has ended meanwhile is nobody's current one: its SessionLost follows its Logon."""
        account = self._accounts.get(strategy)
        current = account.current if account else None
        if account is None or current is None or current.number != session:
            return
        account.restart(current)
        response = Response(logon_accepted=snapshot)
        response.logon_accepted.heartbeat_deadline_millis = self.limits.heartbeat_deadline_ns // _MILLI_NS
        current.accept(response)
        self.changed.set()

    def handled(self, command: object) -> None:
        """See SessionHub."""
        if isinstance(command, NewOrder):
            strategy = command.terms.strategy
        elif isinstance(command, CancelOrder | ReplaceOrder | Malformed):
            strategy = command.strategy
        else:
            return
        if (account := self._accounts.get(strategy)) is not None and account.handled():
            self.changed.set()

    def publish(self, sequence: int) -> None:
        """See SessionHub."""
        response = Response(published=gateway_pb2.Published(sequence=sequence))
        for strategy in self.connected():
            self.deliver(strategy, response)

    def connected(self) -> frozenset[str]:
        """See SessionHub."""
        return frozenset(strategy for strategy in self._accounts if self._open(strategy) is not None)

    def progress(self, strategy: str) -> int:
        """See SessionHub."""
        return self._accounts[strategy].progress if self._open(strategy) is not None else 0

    def leave(self) -> None:
        """Ends every session, after what is queued for it, and opens none any more."""
        self._leaving = True
        for account in list(self._accounts.values()):
            if account.current is not None:
                account.current.end(_LEAVING)

    # For what carries the sessions.

    def open(self, logon: gateway_pb2.Logon) -> Session | End:
        """A session whose logon is on its way to the engine, or why there is none. An older session of the strategy
        ends at once, however busy the gateway is."""
        if (refusal := self._refusal(logon)) is not None:
            return refusal
        strategy = self._name(logon)
        account = self._accounts.setdefault(strategy, Account(self.limits))
        account.logons.take(self.clock.now_ns())
        session = Session(
            strategy,
            next(self._numbers),
            account,
            venue=self._venue,
            clock=self.clock,
            sink=self._sink,
            published=self._published,
            responses_queued=self.limits.responses_queued,
            on_end=self._ended,
            on_progress=self.changed.set,
        )
        older = account.current
        account.restart(session)
        account.open_streams += 1
        self._post(account, Logon(strategy, session.number))
        if older is not None:
            older.end(End(EndKind.TAKEN_OVER, f"a newer session of strategy {strategy!r} took over"))
        _log.info("session_begins", strategy=strategy, session=session.number, pod=logon.pod[:253])
        return session

    def release(self, session: Session) -> None:
        """What carried the session is gone; called once, after its end."""
        self._accounts[session.strategy].open_streams -= 1

    def _refusal(self, logon: gateway_pb2.Logon) -> End | None:
        if self._leaving:
            return _LEAVING
        strategy = self._name(logon)
        # No name holds a dot, so nobody of this namespace can log on as a strategy of another one.
        if "." in logon.strategy or not self._is_bound(strategy):
            text = (
                f"strategy {logon.strategy[:63]!a} of namespace {logon.namespace[:63]!a} is not bound to this venue: "
                "its spec.instruments must name it, and spec.allowedStrategies of the venue admit it"
            )
            return End(EndKind.UNBOUND, text)
        account = self._accounts.get(strategy)
        if account is None or account.current is None:
            sessions = sum(1 for other in self._accounts.values() if other.current is not None)
            if sessions >= self.limits.sessions:
                return End(EndKind.EXHAUSTED, f"the gateway has {sessions} sessions, its maximum")
        if account is None:
            return None
        if account.open_streams >= self.limits.streams_per_strategy:
            text = f"{account.open_streams} streams of strategy {strategy!r} are open: read them to their end"
            return End(EndKind.EXHAUSTED, text)
        busy = len(account.lifecycle) >= self.limits.lifecycle_queued
        if busy or account.logons.due_ns() > self.clock.now_ns():
            return End(EndKind.EXHAUSTED, f"strategy {strategy!r} logs on too often: wait before the next try")
        return None

    def _name(self, logon: gateway_pb2.Logon) -> str:
        """What this gateway calls the strategy."""
        return name_at(self._namespace, logon.namespace, logon.strategy)

    def _open(self, strategy: str) -> Session | None:
        account = self._accounts.get(strategy)
        session = account.current if account else None
        return session if session is not None and session.is_open else None

    def _ended(self, session: Session, end: End) -> None:
        account = self._accounts[session.strategy]
        if account.current is session:
            account.restart(None)
        self._post(account, SessionLost(session.strategy, session.number))
        self.changed.set()
        _log.info("session_ends", strategy=session.strategy, session=session.number, kind=end.kind.value, text=end.text)

    def _post(self, account: Account, command: SessionCommand) -> None:
        account.lifecycle.append(command)
        if account.posting is None or account.posting.done():
            account.posting = asyncio.get_running_loop().create_task(self._post_all(account))

    async def _post_all(self, account: Account) -> None:
        while account.lifecycle:
            await self._sink(account.lifecycle[0])
            account.lifecycle.popleft()
