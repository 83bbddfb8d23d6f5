"""A control service that acknowledges as a test says: for what no gateway does on purpose."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from crowetrade.config.v1 import kill_pb2
from crowetrade.gateway.v1 import control_pb2, control_pb2_grpc


class ScriptedGateway(control_pb2_grpc.ControlServiceServicer):
    """Serves on a port of its own. `still_open` are the orders that it never has confirmed, `positions` what it never
    closes; one that is not `concerned` is of nobody whom an order stops."""

    def __init__(
        self,
        namespace: str,
        venue: str,
        still_open: Sequence[str] = (),
        positions: Sequence[kill_pb2.OpenPosition] = (),
        concerned: bool = True,
    ) -> None:
        self.orders: list[kill_pb2.KillOrder] = []
        self._namespace, self._venue, self._still_open = namespace, venue, still_open
        self._positions, self._concerned = positions, concerned
        self._server = grpc.server(ThreadPoolExecutor(4))
        control_pb2_grpc.add_ControlServiceServicer_to_server(self, self._server)
        self.target = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        """Ends it."""
        self._server.stop(None).wait()

    def Kill(self, request: control_pb2.KillRequest, context: Any) -> Iterator[control_pb2.KillResponse]:
        """Blocked at once, then halted unless something stays open."""
        self.orders.append(request.order)
        blocked = self.acknowledgement(request.order)
        blocked.still_open.extend(self._still_open or ([] if self._positions else ["c-1"]))
        blocked.positions.extend(self._positions)
        blocked.positions_count = len(self._positions)
        blocked.still_open_count = len(blocked.still_open)
        yield control_pb2.KillResponse(acknowledgement=blocked)
        if self._still_open or self._positions:
            while context.is_active():
                time.sleep(0.01)
            return
        halted = self.acknowledgement(request.order)
        halted.cancels_confirmed, halted.halted_unix_ns = 1, halted.seen_unix_ns + 7_000_000
        yield control_pb2.KillResponse(acknowledgement=halted)

    def ListKills(self, request: control_pb2.ListKillsRequest, context: Any) -> control_pb2.ListKillsResponse:
        """Those that came and concern it."""
        orders = self.orders if self._concerned else []
        return control_pb2.ListKillsResponse(kills=[self.acknowledgement(order) for order in orders])

    def acknowledgement(self, order: kill_pb2.KillOrder) -> kill_pb2.KillAcknowledgement:
        """Of an order that blocks and has not halted."""
        now_ns = time.time_ns()
        return kill_pb2.KillAcknowledgement(
            namespace=order.namespace,
            name=order.name,
            uid=order.uid,
            generation=order.generation,
            mode=order.mode,
            channel="Rpc",
            seen_unix_ns=now_ns,
            blocked_unix_ns=now_ns,
            cancels_sent=1,
            venue_namespace=self._namespace,
            venue=self._venue,
            engaged_by=order.engaged_by,
            reason=order.reason,
        )
