"""Own orders: positions and working orders from reports, snapshots and resends."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from crowetrade.bus.v1 import market_data_pb2, orders_pb2, status_pb2
from crowetrade.gateway.v1 import gateway_pb2
from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.execution.ids import ClOrdIds, base36
from crowetrade_agents.execution.own_orders import REMEMBERED_ENDED_ORDERS, OwnOrders

from ..messages import EUR, EUR_B, origin, wire

BUY, SELL = market_data_pb2.SIDE_BUY, market_data_pb2.SIDE_SELL
PENDING, NEW = orders_pb2.ORD_STATUS_PENDING_NEW, orders_pb2.ORD_STATUS_NEW
PART, FILLED = orders_pb2.ORD_STATUS_PARTIALLY_FILLED, orders_pb2.ORD_STATUS_FILLED
CANCELED, REJECTED = orders_pb2.ORD_STATUS_CANCELED, orders_pb2.ORD_STATUS_REJECTED
EXPIRED, UNKNOWN = orders_pb2.ORD_STATUS_EXPIRED, orders_pb2.ORD_STATUS_UNKNOWN
VALID_UNTIL_NS = 1_000
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
        instrument=wire(EUR),
        side=side,
        order_quantity="5000",
        price=price,
        time_in_force=tif,
        valid_until_unix_ns=VALID_UNTIL_NS,
        origin=origin(3),
    )


def report(
    status: orders_pb2.OrdStatus.ValueType,
    cumulated: int = 0,
    cl_ord_id: str = "a",
    side: market_data_pb2.Side.ValueType = BUY,
    **fields: object,
) -> orders_pb2.ExecutionReport:
    leaves = 0 if status in (FILLED, CANCELED, REJECTED, EXPIRED) else 5000 - cumulated
    return orders_pb2.ExecutionReport(
        cl_ord_id=cl_ord_id,
        strategy="s",
        instrument=wire(EUR),
        side=side,
        ord_status=status,
        order_quantity="5000",
        cum_quantity=str(cumulated),
        leaves_quantity=str(leaves),
        **fields,  # type: ignore[arg-type]
    )


def snapshot(position: int, *open_orders: orders_pb2.ExecutionReport) -> gateway_pb2.LogonAccepted:
    return gateway_pb2.LogonAccepted(
        positions=[status_pb2.Position(instrument=wire(EUR), quantity=str(position))], open_orders=open_orders
    )


def orders_with(*sent: orders_pb2.NewOrder) -> OwnOrders:
    orders = OwnOrders()
    for order in sent:
        orders.order_sent(order)
    return orders


def log_on(orders: OwnOrders, accepted: gateway_pb2.LogonAccepted) -> list[orders_pb2.NewOrder]:
    """While every order is still valid."""
    return orders.on_logon(accepted, now_ns=VALID_UNTIL_NS - 1)


@pytest.mark.parametrize(("side", "sign"), [(BUY, 1), (SELL, -1)], ids=["buy", "sell"])
def test_fills_move_the_position_and_the_final_report_ends_the_order(
    side: market_data_pb2.Side.ValueType, sign: int
) -> None:
    orders = orders_with(new_order(side=side))
    assert orders.working(EUR)[0].leaves == 5000
    for step in (report(PENDING, side=side), report(NEW, side=side), report(PART, 2000, side=side)):
        orders.on_report(step)
    assert orders.position(EUR) == sign * 2000
    assert orders.working()[0].leaves == 3000
    orders.on_report(report(CANCELED, 2000, side=side))
    assert orders.position(EUR) == sign * 2000
    assert orders.working() == ()
    assert orders.position(EUR_B) == 0


def test_a_report_that_comes_twice_moves_nothing() -> None:
    orders = orders_with(new_order())
    for _ in range(2):
        orders.on_report(report(PART, 2000))
    assert orders.position(EUR) == 2000


def test_an_order_of_the_gateway_itself_moves_the_position_too() -> None:
    orders = OwnOrders()
    closing = [report(PENDING, 0, "close-1", SELL), report(PART, 1000, "close-1", SELL)]
    for step in [*closing, report(FILLED, 5000, "close-1", SELL)]:
        orders.on_report(step)
    assert orders.position(EUR) == -5000
    assert orders.working() == ()


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
    orders = orders_with(new_order(tif=tif))
    for step in steps:
        orders.on_report(step)
    assert bool(orders.awaiting(["a", "unknown"])) == awaiting


def test_a_cancel_is_awaited_until_it_is_answered_or_given_up() -> None:
    orders = orders_with(new_order(tif=GTC))
    orders.on_report(report(NEW))
    orders.cancel_sent("a")
    orders.cancel_sent("unknown")
    assert orders.awaiting(["a"]) == ("a",)
    orders.cancel_unanswered("a")
    assert orders.awaiting(["a"]) == ()
    orders.on_report(report(CANCELED))
    assert orders.working() == ()


def test_an_order_that_never_left_does_not_count() -> None:
    orders = orders_with(new_order())
    orders.order_unsent("a")
    assert orders.working() == ()


def test_a_snapshot_replaces_everything_and_unanswered_orders_are_sent_again() -> None:
    orders = orders_with(new_order("lost"), new_order("open", tif=GTC), new_order("over", tif=GTC))
    for step in (report(NEW, 0, "open"), report(NEW, 0, "over")):
        orders.on_report(step)
    again = orders.on_logon(
        snapshot(7000, report(PART, 1000, "open"), report(NEW, 0, "of an earlier process")), now_ns=VALID_UNTIL_NS - 1
    )
    assert [order.cl_ord_id for order in again] == ["lost"]
    assert orders.position(EUR) == 7000
    assert {order.cl_ord_id for order in orders.working()} == {"lost", "open", "of an earlier process"}
    # What the snapshot counts is not counted again.
    orders.on_report(report(PART, 3000, "open"))
    assert orders.position(EUR) == 9000


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
    orders = orders_with(new_order())
    log_on(orders, snapshot(7000))
    for step in steps:
        orders.on_report(step)
    assert orders.position(EUR) == position
    assert orders.working() == ()


def test_an_open_order_of_the_snapshot_keeps_what_the_process_knows_of_it() -> None:
    orders = orders_with(new_order("mine"))
    orders.on_logon(
        snapshot(0, report(PENDING, 0, "mine"), report(PENDING, 0, "ioc", time_in_force=IOC, price="1.1")),
        now_ns=VALID_UNTIL_NS - 1,
    )
    mine, other = orders.working()
    assert (mine.immediate, other.immediate) == (True, True)
    assert other.price == Decimal("1.1")
    assert orders.awaiting(["mine", "ioc"]) == ("mine", "ioc")


def test_an_order_that_is_no_longer_valid_is_not_sent_again() -> None:
    """Finding G14: the order of a broken session was sent again minutes later at its old price."""
    orders = orders_with(new_order())
    assert orders.on_logon(snapshot(0), now_ns=VALID_UNTIL_NS) == []
    assert orders.working() == ()
    # Had it reached the gateway after all, its executions would still count.
    orders.on_report(report(PART, 2000, exec_type=TRADE, fill=fill(2000)))
    assert orders.position(EUR) == 2000


TRADE, BUST = orders_pb2.EXEC_TYPE_TRADE, orders_pb2.EXEC_TYPE_TRADE_CANCEL
STATUS = orders_pb2.EXEC_TYPE_ORDER_STATUS


def fill(quantity: int) -> orders_pb2.Fill:
    return orders_pb2.Fill(last_quantity=str(quantity), last_price="1.1")


@pytest.mark.parametrize(
    ("before", "bust", "position", "working"),
    [
        ([report(PART, 3000)], report(PART, 1000, exec_type=BUST, fill=fill(2000)), 1000, ["a"]),
        ([report(FILLED, 5000)], report(FILLED, 3000, exec_type=BUST, fill=fill(2000)), 3000, []),
        ([report(FILLED, 5000)], report(PART, 3000, exec_type=BUST, fill=fill(2000)), 3000, ["a"]),
        ([report(CANCELED, 1000)], report(CANCELED, 0, exec_type=BUST, fill=fill(1000)), 0, []),
    ],
    ids=["of a working order", "of a filled order", "of a filled order that opens again", "of a canceled order"],
)
def test_a_bust_moves_the_position_back_once(
    before: list[orders_pb2.ExecutionReport], bust: orders_pb2.ExecutionReport, position: int, working: list[str]
) -> None:
    orders = orders_with(new_order(tif=GTC))
    for step in [*before, bust, bust]:
        orders.on_report(step)
    assert orders.position(EUR) == position
    assert [order.cl_ord_id for order in orders.working()] == working


def test_after_a_bust_further_executions_count_from_the_lower_cum_quantity() -> None:
    orders = orders_with(new_order(tif=GTC))
    steps = [report(PART, 3000), report(PART, 1000, exec_type=BUST, fill=fill(2000)), report(PART, 4000)]
    assert [orders.on_report(step) for step in steps] == [3000, -2000, 3000]
    assert orders.position(EUR) == 4000


@pytest.mark.parametrize(
    ("step", "position"),
    [
        (report(PART, 4000, "old", exec_type=TRADE, fill=fill(1000)), 1000),
        (report(FILLED, 5000, "old", exec_type=TRADE, fill=fill(1000)), 1000),
        (report(PART, 1000, "old", exec_type=BUST, fill=fill(2000)), -2000),
        (report(FILLED, 5000, "old", exec_type=STATUS), 0),
        (report(PART, 3000, "old", exec_type=STATUS), 0),
    ],
    ids=["execution", "last execution", "bust", "status of an ended order", "status of an open order"],
)
def test_of_an_order_that_is_not_known_only_its_own_execution_counts(
    step: orders_pb2.ExecutionReport, position: int
) -> None:
    orders = OwnOrders()
    orders.on_report(step)
    assert orders.position(EUR) == position


def test_a_fill_that_comes_after_the_end_of_its_order_counts_once() -> None:
    orders = orders_with(new_order())
    late = report(CANCELED, 2000, exec_type=TRADE, fill=fill(2000))
    for step in (report(CANCELED), late, late):
        orders.on_report(step)
    assert orders.position(EUR) == 2000
    assert orders.working() == ()


def test_what_a_snapshot_holds_of_an_ended_order_is_not_counted_again() -> None:
    orders = orders_with(new_order())
    orders.on_report(report(CANCELED))
    # 1000 came late while the session was down, 500 more come after it is up again.
    log_on(orders, snapshot(1000))
    orders.on_report(report(CANCELED, 1500, exec_type=TRADE, fill=fill(500)))
    assert orders.position(EUR) == 1500


def test_a_replaced_order_goes_on_under_its_new_cl_ord_id() -> None:
    orders = orders_with(new_order("a", tif=GTC))
    orders.on_report(report(PART, 1000, "a"))
    orders.on_report(report(orders_pb2.ORD_STATUS_PENDING_REPLACE, 1000, "a"))
    assert [order.cl_ord_id for order in orders.working()] == ["a"]
    replaced = report(PART, 1000, "b", exec_type=orders_pb2.EXEC_TYPE_REPLACED, orig_cl_ord_id="a", price="1.2")
    orders.on_report(replaced)
    (order,) = orders.working()
    assert (order.cl_ord_id, order.price) == ("b", Decimal("1.2"))
    assert order.leaves == 4000
    assert orders.position(EUR) == 1000
    orders.on_report(report(FILLED, 5000, "b", exec_type=TRADE, fill=fill(4000)))
    assert orders.position(EUR) == 5000
    assert orders.working() == ()


def test_a_cancel_that_is_reported_under_the_id_of_its_request_ends_the_order() -> None:
    orders = orders_with(new_order("a", tif=GTC))
    orders.on_report(report(NEW, 0, "a"))
    orders.on_report(report(orders_pb2.ORD_STATUS_PENDING_CANCEL, 0, "c", orig_cl_ord_id="a"))
    assert [(order.cl_ord_id, order.cancelling) for order in orders.working()] == [("a", True)]
    orders.on_report(report(CANCELED, 0, "c", orig_cl_ord_id="a"))
    assert orders.working() == ()


def test_an_order_of_unknown_fate_counts_in_full_until_it_is_known() -> None:
    orders = orders_with(new_order(tif=GTC))
    orders.on_report(report(UNKNOWN))
    (order,) = orders.working()
    assert (order.unknown, order.accepted) == (True, False)
    assert order.leaves == 5000
    orders.on_report(report(NEW))
    assert [(order.unknown, order.accepted) for order in orders.working()] == [(False, True)]
    orders.on_report(report(EXPIRED))
    assert orders.working() == ()


@pytest.mark.parametrize(
    ("status", "left"),
    [(orders_pb2.ORD_STATUS_UNSPECIFIED, []), (FILLED, []), (CANCELED, []), (NEW, ["a"]), (PART, ["a"])],
)
def test_a_refused_cancel_says_whether_there_is_such_an_order(
    status: orders_pb2.OrdStatus.ValueType, left: list[str]
) -> None:
    orders = orders_with(new_order(tif=GTC))
    orders.on_report(report(NEW))
    orders.cancel_sent("a")
    orders.on_cancel_reject(orders_pb2.CancelReject(cl_ord_id="c", orig_cl_ord_id="a", ord_status=status))
    assert [order.cl_ord_id for order in orders.working() if not order.cancelling] == left


def test_positions_are_kept_by_venue_and_symbol() -> None:
    orders = OwnOrders()
    for name, quantity in ((EUR, 1000), (EUR_B, 2000)):
        orders.on_report(trade_in(name, quantity))
    assert orders.position(EUR) == 1000
    assert orders.position(EUR_B) == 2000


def trade_in(name: InstrumentId, quantity: int) -> orders_pb2.ExecutionReport:
    message = report(PART, quantity, str(name), exec_type=TRADE, fill=fill(quantity))
    message.instrument.CopyFrom(wire(name))
    return message


def test_the_memory_of_ended_orders_is_bounded() -> None:
    orders = OwnOrders()
    for number in range(REMEMBERED_ENDED_ORDERS + 5):
        orders.on_report(report(FILLED, 5000, f"x-{number}", exec_type=STATUS))
    assert len(orders._ended) == REMEMBERED_ENDED_ORDERS


def test_cl_ord_ids_are_unique_and_name_their_strategy() -> None:
    ids = ClOrdIds(1_700_000_000_000_000_000)
    first = [ids.next("eurusd-ema") for _ in range(3)]
    assert first == [f"eurusd-ema-{base36(1_700_000_000_000_000_000)}-{n}" for n in (1, 2, 3)]
    assert int(first[0].split("-")[2], 36) == 1_700_000_000_000_000_000
    assert ClOrdIds(1_700_000_000_000_000_001).next("eurusd-ema") not in first
    assert base36(0) == "0"


@pytest.mark.parametrize("start_ns", [0, 1, 1_400_000_000_000_000_000, 2**63 - 1])
def test_a_run_has_10_to_13_characters(start_ns: int) -> None:
    """The gateway's own requests have a shorter one, so that no strategy can use theirs."""
    assert re.fullmatch(r"s-[0-9a-z]{10,13}-1", ClOrdIds(start_ns).next("s"))
