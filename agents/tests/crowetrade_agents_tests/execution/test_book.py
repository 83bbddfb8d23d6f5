"""The book: positions and working orders from reports, snapshots and resends."""

from __future__ import annotations

from decimal import Decimal

import pytest

from crowetrade.bus.v1 import market_data_pb2, orders_pb2, status_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.execution.book import OrderBook
from crowetrade_agents.execution.ids import ClOrdIds, base36

from ..messages import EUR, origin

BUY, SELL = market_data_pb2.SIDE_BUY, market_data_pb2.SIDE_SELL
PENDING, NEW = orders_pb2.ORD_STATUS_PENDING_NEW, orders_pb2.ORD_STATUS_NEW
PART, FILLED = orders_pb2.ORD_STATUS_PARTIALLY_FILLED, orders_pb2.ORD_STATUS_FILLED
CANCELED, REJECTED = orders_pb2.ORD_STATUS_CANCELED, orders_pb2.ORD_STATUS_REJECTED
IOC, GTC = orders_pb2.TIME_IN_FORCE_IOC, orders_pb2.TIME_IN_FORCE_GTC


def new_order(
    cl_ord_id: str = "a",
    side: market_data_pb2.Side.ValueType = BUY,
    tif: orders_pb2.TimeInForce.ValueType = IOC,
    price: str = "1.1",
) -> orders_pb2.NewOrder:
    return orders_pb2.NewOrder(
        cl_ord_id=cl_ord_id,
        strategy="s",
        symbol=EUR,
        side=side,
        order_quantity="5000",
        price=price,
        time_in_force=tif,
        origin=origin(3),
    )


def report(
    status: orders_pb2.OrdStatus.ValueType,
    cumulated: int = 0,
    cl_ord_id: str = "a",
    side: market_data_pb2.Side.ValueType = BUY,
    order: orders_pb2.NewOrder | None = None,
) -> orders_pb2.ExecutionReport:
    leaves = 0 if status in (FILLED, CANCELED, REJECTED) else 5000 - cumulated
    return orders_pb2.ExecutionReport(
        cl_ord_id=cl_ord_id,
        strategy="s",
        symbol=EUR,
        side=side,
        ord_status=status,
        order_quantity="5000",
        cum_quantity=str(cumulated),
        leaves_quantity=str(leaves),
        order=order,
    )


def snapshot(position: int, *open_orders: orders_pb2.ExecutionReport) -> gateway_pb2.LogonAccepted:
    return gateway_pb2.LogonAccepted(
        positions=[status_pb2.Position(symbol=EUR, quantity=str(position))], open_orders=open_orders
    )


def book_with(*orders: orders_pb2.NewOrder) -> OrderBook:
    book = OrderBook()
    for order in orders:
        book.order_sent(order)
    return book


@pytest.mark.parametrize(("side", "sign"), [(BUY, 1), (SELL, -1)], ids=["buy", "sell"])
def test_fills_move_the_position_and_the_final_report_ends_the_order(
    side: market_data_pb2.Side.ValueType, sign: int
) -> None:
    book = book_with(new_order(side=side))
    assert book.working(EUR)[0].leaves == 5000
    for step in (report(PENDING, side=side), report(NEW, side=side), report(PART, 2000, side=side)):
        book.on_report(step)
    assert book.position(EUR) == sign * 2000
    assert book.working()[0].leaves == 3000
    book.on_report(report(CANCELED, 2000, side=side))
    assert book.position(EUR) == sign * 2000
    assert book.working() == ()
    assert book.position("GBP-USD") == 0


def test_a_report_that_comes_twice_moves_nothing() -> None:
    book = book_with(new_order())
    for _ in range(2):
        book.on_report(report(PART, 2000))
    assert book.position(EUR) == 2000


def test_an_order_of_the_gateway_itself_moves_the_position_too() -> None:
    book = OrderBook()
    closing = [report(PENDING, 0, "close-1", SELL), report(PART, 1000, "close-1", SELL)]
    for step in [*closing, report(FILLED, 5000, "close-1", SELL)]:
        book.on_report(step)
    assert book.position(EUR) == -5000
    assert book.working() == ()


@pytest.mark.parametrize(
    ("tif", "steps", "awaiting"),
    [
        (IOC, [], True),
        (IOC, [report(PENDING)], True),
        (IOC, [report(NEW)], True),
        (IOC, [report(PART, 1)], True),
        (IOC, [report(CANCELED, 1)], False),
        (IOC, [report(REJECTED)], False),
        (GTC, [], True),
        (GTC, [report(PENDING)], True),
        (GTC, [report(NEW)], False),
        (GTC, [report(FILLED, 5000)], False),
    ],
)
def test_what_is_awaited(
    tif: orders_pb2.TimeInForce.ValueType, steps: list[orders_pb2.ExecutionReport], awaiting: bool
) -> None:
    book = book_with(new_order(tif=tif))
    for step in steps:
        book.on_report(step)
    assert bool(book.awaiting(["a", "unknown"])) == awaiting


def test_a_cancel_is_awaited_until_it_is_answered_or_given_up() -> None:
    book = book_with(new_order(tif=GTC))
    book.on_report(report(NEW))
    book.cancel_sent("a")
    book.cancel_sent("unknown")
    assert book.awaiting(["a"]) == ("a",)
    book.cancel_unanswered("a")
    assert book.awaiting(["a"]) == ()
    book.on_report(report(CANCELED))
    assert book.working() == ()


def test_an_order_that_never_left_does_not_count() -> None:
    book = book_with(new_order())
    book.order_unsent("a")
    assert book.working() == ()


def test_a_snapshot_replaces_everything_and_unanswered_orders_are_sent_again() -> None:
    book = book_with(new_order("lost"), new_order("open", tif=GTC), new_order("over", tif=GTC))
    for step in (report(NEW, 0, "open"), report(NEW, 0, "over")):
        book.on_report(step)
    again = book.on_logon(snapshot(7000, report(PART, 1000, "open"), report(NEW, 0, "of an earlier process")))
    assert [order.cl_ord_id for order in again] == ["lost"]
    assert book.position(EUR) == 7000
    assert {order.cl_ord_id for order in book.working()} == {"lost", "open", "of an earlier process"}
    # What the snapshot counts is not counted again.
    book.on_report(report(PART, 3000, "open"))
    assert book.position(EUR) == 9000


@pytest.mark.parametrize(
    ("steps", "position"),
    [
        # The gateway never had it: it begins from nothing and its fills count.
        ([report(PENDING), report(NEW), report(FILLED, 5000)], 12_000),
        # It had it: the answer is what it has become, and the snapshot holds the fills already.
        ([report(FILLED, 5000)], 7000),
        ([report(REJECTED)], 7000),
    ],
    ids=["new to the gateway", "filled before", "refused before"],
)
def test_fills_of_an_order_sent_again_are_counted_once(steps: list[orders_pb2.ExecutionReport], position: int) -> None:
    book = book_with(new_order())
    book.on_logon(snapshot(7000))
    for step in steps:
        book.on_report(step)
    assert book.position(EUR) == position
    assert book.working() == ()


def test_an_open_order_of_the_snapshot_keeps_what_the_process_knows_of_it() -> None:
    book = book_with(new_order("mine"))
    book.on_logon(snapshot(0, report(PENDING, 0, "mine"), report(PENDING, 0, "ioc", order=new_order("ioc"))))
    mine, other = book.working()
    assert (mine.immediate, other.immediate) == (True, True)
    assert other.price == Decimal("1.1")
    assert book.awaiting(["mine", "ioc"]) == ("mine", "ioc")


def test_cl_ord_ids_are_unique_and_say_whose_they_are() -> None:
    ids = ClOrdIds("eurusd-ema", 1_700_000_000_000_000_000)
    first = [ids.next() for _ in range(3)]
    assert first == [f"eurusd-ema-{base36(1_700_000_000_000_000_000)}-{n}" for n in (1, 2, 3)]
    assert int(first[0].split("-")[2], 36) == 1_700_000_000_000_000_000
    assert ClOrdIds("eurusd-ema", 1_700_000_000_000_000_001).next() not in first
    assert base36(0) == "0"
