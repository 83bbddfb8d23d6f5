"""Requests as a strategy sends them."""

from __future__ import annotations

from crowetrade.bus.v1 import instrument_pb2, market_data_pb2, orders_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.order_entry.port import Request
from crowetrade_agents_tests.clock import SECOND_NS, START_NS

NAMESPACE, VENUE = "desk", "sim"
RUN = "dmkxbfk8oqo"
PUBLISHED = 100


def cl_ord_id(number: int = 1, strategy: str = "alpha", run: str = RUN) -> str:
    """Of the strategy's own form."""
    return f"{strategy}-{run}-{number}"


def logon(strategy: str = "alpha", namespace: str = NAMESPACE) -> gateway_pb2.Logon:
    """Of a pod of the strategy."""
    return gateway_pb2.Logon(namespace=namespace, strategy=strategy, pod=f"{strategy}-0")


def new_order(number: int = 1, strategy: str = "alpha") -> Request:
    """A good order: buy 1000 EUR-USD at 1.1, good till canceled."""
    return Request(
        new_order=orders_pb2.NewOrder(
            cl_ord_id=cl_ord_id(number, strategy),
            strategy=strategy,
            instrument=instrument_pb2.InstrumentId(venue=VENUE, symbol="EUR-USD"),
            side=market_data_pb2.SIDE_BUY,
            order_quantity="1000",
            ord_type=orders_pb2.ORD_TYPE_LIMIT,
            price="1.1",
            time_in_force=orders_pb2.TIME_IN_FORCE_GTC,
            valid_until_unix_ns=START_NS + 5 * SECOND_NS,
            origin=origin(7),
        )
    )


def cancel(number: int = 2, of: int = 1) -> Request:
    """A good cancel."""
    return Request(
        cancel=orders_pb2.Cancel(cl_ord_id=cl_ord_id(number), orig_cl_ord_id=cl_ord_id(of), strategy="alpha")
    )


def replace(number: int = 2, of: int = 1) -> Request:
    """A good cancel/replace: 2000 at 1.2."""
    return Request(
        replace=orders_pb2.CancelReplace(
            cl_ord_id=cl_ord_id(number),
            orig_cl_ord_id=cl_ord_id(of),
            strategy="alpha",
            order_quantity="2000",
            price="1.2",
            valid_until_unix_ns=START_NS + 5 * SECOND_NS,
            origin=origin(8),
        )
    )


def progress(sequence: int) -> Request:
    """The event is handled."""
    return Request(progress=gateway_pb2.Progress(sequence=sequence))


def heartbeat() -> Request:
    """The session is alive."""
    return Request(heartbeat=gateway_pb2.Heartbeat())


def origin(sequence: int, venue: str = VENUE) -> market_data_pb2.Origin:
    """An event of the venue."""
    return market_data_pb2.Origin(
        instrument=instrument_pb2.InstrumentId(venue=venue, symbol="EUR-USD"), sequence=sequence
    )
