"""Order entry sessions over gRPC: one a strategy; a newer one takes over, a lost one has its orders cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import grpc
import structlog

from crowetrade.bus.v1 import orders_pb2
from crowetrade.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from crowetrade_agents.errors import JournalError
from crowetrade_agents.gateway.core import OrderPath
from crowetrade_agents.gateway.state import position_message
from crowetrade_agents.risk.reasons import Reason

log = structlog.get_logger()
Response = gateway_pb2.OrderSessionResponse


class Session:
    """One connected execution role. None in the queue ends it."""

    def __init__(self, strategy: str) -> None:
        self.strategy = strategy
        self.progress = 0
        self.outgoing: asyncio.Queue[Response | None] = asyncio.Queue()


class Sessions(gateway_pb2_grpc.GatewayServiceServicer):
    """The gRPC service. `changed` is set whenever a session comes, goes or makes progress."""

    def __init__(
        self,
        path: OrderPath,
        namespace: str,
        *,
        lock_step: bool,
        published: Callable[[], int],
        cancel_after_seconds: float,
    ) -> None:
        self._path = path
        self._namespace = namespace
        self._lock_step = lock_step
        self._published = published
        self._cancel_after = cancel_after_seconds
        self._tasks: set[asyncio.Task[None]] = set()
        self.by_strategy: dict[str, Session] = {}
        self.changed = asyncio.Event()
        path.on_report = self._report
        path.on_cancel_reject = self._cancel_reject

    async def OrderSession(
        self,
        request_iterator: AsyncIterator[gateway_pb2.OrderSessionRequest],
        context: grpc.aio.ServicerContext[gateway_pb2.OrderSessionRequest, Response],
    ) -> AsyncIterator[Response]:
        """See gateway.proto."""
        first = await anext(aiter(request_iterator), None)
        if first is None or not first.HasField("logon"):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the first message of a session is Logon")
            return
        strategy = first.logon.strategy
        bindings = self._path.limits.bindings
        if first.logon.namespace != self._namespace or bindings is None or strategy not in bindings:
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                f"strategy {strategy!r} is not bound to this venue: its spec.instruments must name it",
            )
            return
        session = Session(strategy)
        if (older := self.by_strategy.get(strategy)) is not None:
            older.outgoing.put_nowait(None)
        async with self._path.lock:
            # Under the lock: no report can fall between the snapshot and the session that receives it.
            session.outgoing.put_nowait(Response(logon_accepted=self._snapshot(strategy)))
            self.by_strategy[strategy] = session
        self.changed.set()
        log.info("session began", strategy=strategy, pod=first.logon.pod)
        reader = asyncio.create_task(self._read(session, request_iterator))
        try:
            while (response := await session.outgoing.get()) is not None:
                yield response
            if self.by_strategy.get(strategy) is not session:
                await context.abort(grpc.StatusCode.ABORTED, "a newer session of the strategy took over")
        finally:
            reader.cancel()
            self._lost(session)

    def say_published(self, sequence: int) -> None:
        """In lock step, after the reports of an event and before the event: see Published in gateway.proto."""
        for session in self.by_strategy.values():
            session.outgoing.put_nowait(Response(published=gateway_pb2.Published(sequence=sequence)))

    def end_all(self) -> None:
        """Ends every session: the gateway leaves."""
        for session in self.by_strategy.values():
            session.outgoing.put_nowait(None)

    async def _read(self, session: Session, requests: AsyncIterator[gateway_pb2.OrderSessionRequest]) -> None:
        """However it ends, the session ends with it: a strategy must not believe that its orders are still read."""
        try:
            async for request in requests:
                await self._take(session, request)
        except (grpc.aio.AbortError, grpc.RpcError):
            return
        except JournalError as error:
            log.error("session ends: the journal takes no more", strategy=session.strategy, error=str(error))
        except Exception:  # the top of the loop
            log.exception("session broke", strategy=session.strategy)
        finally:
            session.outgoing.put_nowait(None)

    async def _take(self, session: Session, request: gateway_pb2.OrderSessionRequest) -> None:
        match request.WhichOneof("message"):
            case "new_order":
                await self._path.new_order(session.strategy, request.new_order)
            case "cancel":
                await self._path.cancel(session.strategy, request.cancel)
            case "progress":
                session.progress = max(session.progress, request.progress.sequence)
                self.changed.set()
            case "heartbeat":
                session.outgoing.put_nowait(Response(heartbeat=gateway_pb2.Heartbeat()))

    def _snapshot(self, strategy: str) -> gateway_pb2.LogonAccepted:
        state = self._path.state
        return gateway_pb2.LogonAccepted(
            positions=[
                position_message(symbol, position, self._path.book)
                for (name, symbol), position in sorted(state.positions.items())
                if name == strategy
            ],
            open_orders=state.open_of(strategy),
            lock_step=self._lock_step,
            market_data_sequence=self._published(),
        )

    def _report(self, report: orders_pb2.ExecutionReport) -> None:
        session = self.by_strategy.get(report.strategy)
        if session is not None:
            session.outgoing.put_nowait(Response(execution_report=report))

    def _cancel_reject(self, reject: orders_pb2.CancelReject) -> None:
        session = self.by_strategy.get(reject.strategy)
        if session is not None:
            session.outgoing.put_nowait(Response(cancel_reject=reject))

    def _lost(self, session: Session) -> None:
        if self.by_strategy.get(session.strategy) is not session:
            return
        del self.by_strategy[session.strategy]
        self.changed.set()
        log.info("session ended", strategy=session.strategy)
        task = asyncio.get_running_loop().create_task(self._cancel_later(session.strategy))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _cancel_later(self, strategy: str) -> None:
        await asyncio.sleep(self._cancel_after)
        if strategy not in self.by_strategy:
            cancelled = 0
            with suppress(JournalError):  # the gateway stops: its successor finds the orders in the journal
                cancelled = await self._path.cancel_all(strategy, Reason.SESSION_LOST)
            if cancelled:
                log.warning("orders cancelled on disconnect", strategy=strategy, cancelled=cancelled)
