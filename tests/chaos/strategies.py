"""Scripted strategies: sessions over gRPC that send bursts of orders, cancels and replaces, and keep the reports."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import grpc

from crowetrade.bus.v1 import instrument_pb2, orders_pb2
from crowetrade.bus.v1 import market_data_pb2 as md
from crowetrade.gateway.v1 import gateway_pb2, gateway_pb2_grpc
from crowetrade_agents.order_entry.responses import responses_of
from tests.chaos.processes import WAIT_SECONDS, until

if TYPE_CHECKING:
    Call = grpc.aio.StreamStreamCall[gateway_pb2.OrderSessionRequest, gateway_pb2.OrderSessionResponse]

FINAL = {
    orders_pb2.ORD_STATUS_FILLED,
    orders_pb2.ORD_STATUS_CANCELED,
    orders_pb2.ORD_STATUS_REJECTED,
    orders_pb2.ORD_STATUS_EXPIRED,
}
VALID_NS = 60_000_000_000
PATIENCE_SECONDS = 0.1
MAX_OPEN = 12
"""A strategy with more open orders cancels."""


@dataclass(frozen=True)
class Symbol:
    """What is traded: prices move `swing` ticks around `base`."""

    name: str
    base: Decimal
    tick: Decimal
    swing: int


class Strategy:
    """One strategy over all its sessions. `written` holds every ClOrdID that it ever wrote, in order."""

    def __init__(self, name: str, namespace: str, venue: str, symbols: Sequence[Symbol], seed: str) -> None:
        self.name = name
        self.open: dict[str, tuple[Decimal, Decimal]] = {}
        self.positions: Counter[str] = Counter()
        self.written: list[str] = []
        self.refused: dict[str, str] = {}
        # Orders that were written and that no report has named yet.
        self.undecided: dict[str, orders_pb2.NewOrder] = {}
        self.connected = False
        self._news = asyncio.Event()
        self._namespace = namespace
        self._venue = venue
        self._symbols = symbols
        self._random = random.Random(seed)
        # As the start of its process in base 36; a fixed one per seed, so that a seed repeats what is sent.
        self._run = "1hg3k2m9p0ab"
        self._number = 0
        self._channel: grpc.aio.Channel | None = None
        self._call: Call | None = None
        self._reading: asyncio.Task[None] | None = None

    # --- Session ----------------------------------------------------------------------------------------------------

    async def log_on(self, port: int) -> None:
        """Opens a session and takes its snapshot; orders of unknown fate are sent again, some of them."""
        await self.log_off()
        self._channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._call = gateway_pb2_grpc.GatewayServiceStub(self._channel).OrderSession()
        logon = gateway_pb2.Logon(namespace=self._namespace, strategy=self.name, pod=f"{self.name}-0")
        await self._call.write(gateway_pb2.OrderSessionRequest(logon=logon))
        response: Any = await asyncio.wait_for(self._call.read(), WAIT_SECONDS)
        if not isinstance(response, gateway_pb2.OrderSessionResponse):
            raise ConnectionError("the session ended at its logon")
        self._take_snapshot(response.logon_accepted)
        self.connected = True
        self._reading = asyncio.create_task(self._read(self._call))

    async def log_off(self) -> None:
        """Ends what is left of a session."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._channel is not None:
            await self._channel.close()
        self._channel = self._call = self._reading = None
        self.connected = False

    async def send_again(self) -> None:
        """Half of the orders of unknown fate, with the ClOrdIDs that they had; the others are given up."""
        undecided, self.undecided = self.undecided, {}
        for order in undecided.values():
            if self._random.random() < 0.5:
                await self._write(new_order=order)

    def _take_snapshot(self, snapshot: gateway_pb2.LogonAccepted) -> None:
        self.open = {report.cl_ord_id: _size(report) for report in snapshot.open_orders}
        self.positions = Counter()
        for position in snapshot.positions:
            self.positions[position.instrument.symbol] += Decimal(position.quantity)  # type: ignore[assignment]
        for cl_ord_id in self.open:
            self.undecided.pop(cl_ord_id, None)

    async def _read(self, call: Call) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            while isinstance(message := await call.read(), gateway_pb2.OrderSessionResponse):
                for response in responses_of(message):
                    if response.HasField("execution_report"):
                        self._take(response.execution_report)
                    elif response.HasField("cancel_reject"):
                        self.refused[response.cancel_reject.cl_ord_id] = response.cancel_reject.reason
                self._news.set()
        self.connected = False
        self._news.set()

    def _take(self, report: orders_pb2.ExecutionReport) -> None:
        cl_ord_id = report.cl_ord_id
        self.undecided.pop(cl_ord_id, None)
        if report.exec_type == orders_pb2.EXEC_TYPE_TRADE:
            signed = Decimal(report.fill.last_quantity) * (1 if report.side == md.SIDE_BUY else -1)
            self.positions[report.instrument.symbol] += signed  # type: ignore[assignment]
        if report.exec_type == orders_pb2.EXEC_TYPE_REPLACED:
            self.open.pop(report.orig_cl_ord_id, None)
        if report.ord_status in FINAL:
            self.open.pop(cl_ord_id, None)
            if report.ord_status == orders_pb2.ORD_STATUS_REJECTED:
                self.refused[cl_ord_id] = report.reason
        else:
            self.open[cl_ord_id] = _size(report)

    # --- What it sends ----------------------------------------------------------------------------------------------

    async def burst(self, count: int, on_written: Callable[[], None]) -> None:
        """`count` requests; after some of them it waits for news before it goes on, at most PATIENCE_SECONDS, after the
        others it does not. Ends early when the session does."""
        for _ in range(count):
            if not self.connected:
                return
            self._news.clear()
            await self._write(**self._request())
            on_written()
            if self._random.random() < 0.5:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), PATIENCE_SECONDS)

    async def until_answered(self) -> None:
        """Sends one more order and returns when it is answered, and with it everything before."""
        await self._write(new_order=self._order(immediate=True))
        last = self.written[-1]
        await until(lambda: last not in self.undecided, f"an answer to {last}")

    async def _write(self, **message: Any) -> None:
        call = self._call
        if call is None:
            return
        (value,) = message.values()
        self.written.append(value.cl_ord_id)
        if isinstance(value, orders_pb2.NewOrder):
            self.undecided[value.cl_ord_id] = value
        try:
            await call.write(gateway_pb2.OrderSessionRequest(**message))
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            self.connected = False

    def _request(self) -> dict[str, Any]:
        chance = self._random.random()
        if self.open and (chance < 0.15 or len(self.open) > MAX_OPEN):
            orig = self._random.choice(sorted(self.open))
            return {"cancel": orders_pb2.Cancel(cl_ord_id=self._id(), orig_cl_ord_id=orig, strategy=self.name)}
        if self.open and chance < 0.3:
            orig = self._random.choice(sorted(self.open))
            price = self.open[orig][1]
            step = self._random.choice((-2, -1, 1, 2)) * Decimal("0.00001")
            replace = orders_pb2.CancelReplace(
                cl_ord_id=self._id(),
                orig_cl_ord_id=orig,
                strategy=self.name,
                order_quantity=str(self._random.randint(1, 8) * 1000),
                price=f"{price + step:f}",
                valid_until_unix_ns=time.time_ns() + VALID_NS,
            )
            return {"replace": replace}
        return {"new_order": self._order(immediate=chance > 0.7)}

    def _order(self, *, immediate: bool) -> orders_pb2.NewOrder:
        symbol = self._random.choice(self._symbols)
        buy = self._random.random() < 0.5
        away = self._random.randint(-symbol.swing, symbol.swing) - (0 if immediate else symbol.swing)
        price = symbol.base + symbol.tick * (away if buy else -away)
        kinds = ("IOC", "IOC", "FOK") if immediate else ("GTC", "DAY")
        return orders_pb2.NewOrder(
            cl_ord_id=self._id(),
            strategy=self.name,
            instrument=instrument_pb2.InstrumentId(venue=self._venue, symbol=symbol.name),
            side=md.SIDE_BUY if buy else md.SIDE_SELL,
            order_quantity=str(self._random.randint(1, 6) * 1000),
            ord_type=orders_pb2.ORD_TYPE_LIMIT,
            price=f"{price:f}",
            time_in_force=orders_pb2.TimeInForce.Value(f"TIME_IN_FORCE_{self._random.choice(kinds)}"),
            valid_until_unix_ns=time.time_ns() + VALID_NS,
        )

    def _id(self) -> str:
        self._number += 1
        return f"{self.name}-{self._run}-{self._number}"


def _size(report: orders_pb2.ExecutionReport) -> tuple[Decimal, Decimal]:
    return Decimal(report.order_quantity), Decimal(report.price)
