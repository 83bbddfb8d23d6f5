"""All that is written in the life of an order: journal, venue, reports, metrics and log, in full.

Plain values, read field by field: what is missing here is missing for an auditor, a strategy or an alert.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields, replace
from decimal import Decimal
from typing import Any

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from crowetrade_agents.domain.orders import OrdStatus, Side, TimeInForce
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import commands, effects
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import (
    EUR,
    GBP,
    SECOND,
    START,
    Scenario,
    cl_ord_id,
    configuration,
    rule,
    terms,
)

AT = START - 7  # the venue's time
FOREIGN = "stranger-x-1"
ORDER = terms(side=Side.SELL, time_in_force=TimeInForce.GTD, expire_ns=START + SECOND, post_only=True)
EXECUTED = port.Executed(cl_ord_id(1), "v1a", "e1", EUR, Side.SELL, Decimal(4000), Decimal("1.2"), Decimal("0.5"), AT)
BUSTED = port.Busted(cl_ord_id(2), "b1", "e1", EUR, Side.SELL, Decimal(4000), Decimal("1.2"), Decimal("0.5"), AT)
REPLACE = commands.ReplaceOrder(
    "alpha", cl_ord_id(2), cl_ord_id(1), Decimal(20_000), Decimal("1.3"), START + SECOND, 42, START - 3
)
NO_PRICE = Refusal(Reason.INVALID_PRICE, "no price")
FOREIGN_EXECUTED = port.Executed(FOREIGN, "v9", "e9", GBP, Side.BUY, Decimal(3000), Decimal("1.2"), Decimal("0.1"), AT)
FOREIGN_BUSTED = port.Busted(FOREIGN, "b9", "e9", GBP, Side.BUY, Decimal(3000), Decimal("1.2"), Decimal("0.1"), AT)
NEVER_EXECUTED = port.Busted("x-2", "b8", "e8", GBP, Side.BUY, Decimal(3000), Decimal("1.2"), Decimal("0.1"), AT)
SNAPSHOT = port.VenueSnapshot(
    (port.OpenOrder("x-3", "v8", EUR, Side.BUY, Decimal(1000), Decimal(1), Decimal(0), OrdStatus.NEW),), state="s7"
)
FLATTEN = {"alpha": TradingState.FLATTEN, "beta": TradingState.ACTIVE}
BETA_REPLACE = commands.ReplaceOrder(
    "beta", cl_ord_id(2, "beta"), cl_ord_id(1, "beta"), Decimal(9000), Decimal(1), START + 60 * SECOND, 0, START
)
BETA_EXECUTED = port.Executed(
    cl_ord_id(1, "beta"), "v7", "e7", EUR, Side.BUY, Decimal(5000), Decimal("1.1"), Decimal(0), AT
)
CLEARED = configuration(cleared_halts=frozenset({"UnknownExecution@23"}), revision="r2")


def _unseen(*done: object) -> list[effects.Effect]:
    """What is written of these stands elsewhere."""
    return []


def _state(number: int, status: OrdStatus | None, cum: int) -> port.OrderState:
    id_ = cl_ord_id(number)
    return port.OrderState(id_, id_, "v8" if status else "", status, Decimal(cum), None, Decimal(cum), AT)


Step = tuple[str, Callable[[Scenario], list[effects.Effect]], str]
# What happens next, and all that is written of it. T is START.
LIFE: list[Step] = [
    (
        "a new order",
        lambda s: s.do(commands.NewOrder(ORDER, START + SECOND, 41, START - 3)),
        """
        journal at_unix_ns: T+0 order_submitted { cl_ord_id: "alpha-1hg3k2m9p0ab-1" strategy: "alpha" symbol:
            "EUR-USD" side: SIDE_SELL order_quantity: "10000" ord_type: ORD_TYPE_LIMIT price: "1.1"
            time_in_force: TIME_IN_FORCE_GTD expire_unix_ns: T+1000000000 post_only: true origin_sequence: 41
            bid_price: "1.1" ask_price: "1.1001" quote_unix_ns: T+0 }
        SendOrder cl_ord_id=alpha-1hg3k2m9p0ab-1 strategy=alpha instrument=sim-fx/EUR-USD side=Side.SELL
            quantity=10000 ord_type=OrdType.LIMIT price=1.1 time_in_force=TimeInForce.GTD expire_ns=T+1000000000
            post_only=True closing=False received_ns=T-3
        count ORDERS_SENT alpha
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-1" strategy: "alpha" instrument { venue: "sim-fx"
            symbol: "EUR-USD" } side: SIDE_SELL exec_type: EXEC_TYPE_PENDING_NEW ord_status:
            ORD_STATUS_PENDING_NEW order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTD
            cum_quantity: "0" leaves_quantity: "10000" transact_unix_ns: T+0
        """,
    ),
    (
        "it is accepted",
        lambda s: s.venue(port.Accepted(cl_ord_id(1), "v1", AT)),
        """
        journal at_unix_ns: T+0 order_accepted { cl_ord_id: "alpha-1hg3k2m9p0ab-1" order_id: "v1"
            transact_unix_ns: T-7 }
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-1" order_id: "v1" strategy: "alpha" instrument {
            venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_SELL exec_type: EXEC_TYPE_NEW ord_status:
            ORD_STATUS_NEW order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTD cum_quantity:
            "0" leaves_quantity: "10000" transact_unix_ns: T-7
        """,
    ),
    (
        "it is sent again",
        lambda s: s.do(commands.NewOrder(ORDER, START + SECOND, 41, START - 3)),
        """
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-1" order_id: "v1" strategy: "alpha" instrument {
            venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_SELL exec_type: EXEC_TYPE_ORDER_STATUS ord_status:
            ORD_STATUS_NEW order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTD cum_quantity:
            "0" leaves_quantity: "10000" transact_unix_ns: T+0
        """,
    ),
    (
        "it is executed",
        lambda s: s.venue(EXECUTED),
        """
        journal at_unix_ns: T+0 order_executed { cl_ord_id: "alpha-1hg3k2m9p0ab-1" order_id: "v1a" exec_id: "e1"
            symbol: "EUR-USD" side: SIDE_SELL quantity: "4000" price: "1.2" fee: "0.5" transact_unix_ns: T-7 }
        count FILLS alpha
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-1" order_id: "v1a" strategy: "alpha" instrument {
            venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_SELL exec_type: EXEC_TYPE_TRADE ord_status:
            ORD_STATUS_PARTIALLY_FILLED order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTD
            cum_quantity: "4000" leaves_quantity: "6000" fill { exec_id: "e1" last_quantity: "4000" last_price:
            "1.2" fee: "0.5" } transact_unix_ns: T-7
        """,
    ),
    (
        "the execution is repeated",
        lambda s: s.venue(EXECUTED),
        """
        count EXECUTIONS_REPEATED
        """,
    ),
    (
        "a cancel/replace",
        lambda s: s.do(REPLACE),
        """
        journal at_unix_ns: T+0 replace_submitted { cl_ord_id: "alpha-1hg3k2m9p0ab-2" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-1" order_quantity: "20000" price: "1.3" origin_sequence: 42
            bid_price: "1.1" ask_price: "1.1001" quote_unix_ns: T+0 }
        SendReplace cl_ord_id=alpha-1hg3k2m9p0ab-2 strategy=alpha instrument=sim-fx/EUR-USD side=Side.SELL
            quantity=20000 ord_type=OrdType.LIMIT price=1.3 time_in_force=TimeInForce.GTD expire_ns=T+1000000000
            post_only=True closing=False orig_cl_ord_id=alpha-1hg3k2m9p0ab-1 order_id=v1a received_ns=T-3
        count ORDERS_SENT alpha
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-1" order_id: "v1a" strategy: "alpha" instrument {
            venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_SELL exec_type: EXEC_TYPE_PENDING_REPLACE ord_status:
            ORD_STATUS_PENDING_REPLACE order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTD
            cum_quantity: "4000" leaves_quantity: "6000" transact_unix_ns: T+0
        """,
    ),
    (
        "it is replaced",
        lambda s: s.venue(port.Replaced(cl_ord_id(2), cl_ord_id(1), "v2", AT)),
        """
        journal at_unix_ns: T+0 order_replaced { cl_ord_id: "alpha-1hg3k2m9p0ab-2" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-1" order_id: "v2" transact_unix_ns: T-7 }
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-2" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-1"
            order_id: "v2" strategy: "alpha" instrument { venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_SELL
            exec_type: EXEC_TYPE_REPLACED ord_status: ORD_STATUS_PARTIALLY_FILLED order_quantity: "20000" price:
            "1.3" time_in_force: TIME_IN_FORCE_GTD cum_quantity: "4000" leaves_quantity: "16000"
            transact_unix_ns: T-7
        """,
    ),
    (
        "a cancel",
        lambda s: s.cancel(2, 3),
        """
        journal at_unix_ns: T+0 cancel_submitted { cl_ord_id: "alpha-1hg3k2m9p0ab-3" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-2" reason: "CancelRequested" }
        SendCancel cl_ord_id=alpha-1hg3k2m9p0ab-3 orig_cl_ord_id=alpha-1hg3k2m9p0ab-2 order_id=v2
            instrument=sim-fx/EUR-USD side=Side.SELL reason=CancelRequested urgent=False
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-2" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-1"
            order_id: "v2" strategy: "alpha" instrument { venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_SELL
            exec_type: EXEC_TYPE_PENDING_CANCEL ord_status: ORD_STATUS_PENDING_CANCEL order_quantity: "20000"
            price: "1.3" time_in_force: TIME_IN_FORCE_GTD cum_quantity: "4000" leaves_quantity: "16000"
            transact_unix_ns: T+0
        """,
    ),
    (
        "the venue refuses to cancel",
        lambda s: s.venue(port.RequestRejected(cl_ord_id(3), cl_ord_id(2), "VenueSaysNo", "not now", False, AT)),
        """
        journal at_unix_ns: T+0 request_rejected { cl_ord_id: "alpha-1hg3k2m9p0ab-3" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-2" reason: "VenueSaysNo" text: "not now" transact_unix_ns: T-7 }
        alpha < CancelReject cl_ord_id: "alpha-1hg3k2m9p0ab-3" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-2" strategy:
            "alpha" response_to: CANCEL_REJECT_RESPONSE_TO_CANCEL ord_status: ORD_STATUS_PARTIALLY_FILLED
            reason: "TooLate" text: "not now"
        """,
    ),
    (
        "the execution is taken back",
        lambda s: s.venue(BUSTED),
        """
        journal at_unix_ns: T+0 execution_busted { cl_ord_id: "alpha-1hg3k2m9p0ab-2" exec_id: "b1" exec_ref_id:
            "e1" symbol: "EUR-USD" side: SIDE_SELL quantity: "4000" price: "1.2" fee: "0.5" transact_unix_ns:
            T-7 }
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-2" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-1"
            order_id: "v2" strategy: "alpha" instrument { venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_SELL
            exec_type: EXEC_TYPE_TRADE_CANCEL ord_status: ORD_STATUS_PARTIALLY_FILLED order_quantity: "20000"
            price: "1.3" time_in_force: TIME_IN_FORCE_GTD cum_quantity: "0" leaves_quantity: "16000" fill {
            exec_id: "e1" last_quantity: "4000" last_price: "1.2" fee: "0.5" } transact_unix_ns: T-7
        """,
    ),
    (
        "it is taken back again",
        lambda s: s.venue(BUSTED),
        """
        count EXECUTIONS_REPEATED
        """,
    ),
    (
        "another cancel",
        lambda s: s.cancel(2, 4),
        """
        journal at_unix_ns: T+0 cancel_submitted { cl_ord_id: "alpha-1hg3k2m9p0ab-4" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-2" reason: "CancelRequested" }
        SendCancel cl_ord_id=alpha-1hg3k2m9p0ab-4 orig_cl_ord_id=alpha-1hg3k2m9p0ab-2 order_id=v2
            instrument=sim-fx/EUR-USD side=Side.SELL reason=CancelRequested urgent=False
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-2" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-1"
            order_id: "v2" strategy: "alpha" instrument { venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_SELL
            exec_type: EXEC_TYPE_PENDING_CANCEL ord_status: ORD_STATUS_PENDING_CANCEL order_quantity: "20000"
            price: "1.3" time_in_force: TIME_IN_FORCE_GTD cum_quantity: "0" leaves_quantity: "16000"
            transact_unix_ns: T+0
        """,
    ),
    (
        "the venue refuses that in one word",
        lambda s: s.venue(port.RequestRejected(cl_ord_id(4), cl_ord_id(2), "VenueSaysNo", "", False, AT)),
        """
        journal at_unix_ns: T+0 request_rejected { cl_ord_id: "alpha-1hg3k2m9p0ab-4" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-2" reason: "VenueSaysNo" transact_unix_ns: T-7 }
        alpha < CancelReject cl_ord_id: "alpha-1hg3k2m9p0ab-4" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-2" strategy:
            "alpha" response_to: CANCEL_REJECT_RESPONSE_TO_CANCEL ord_status: ORD_STATUS_PARTIALLY_FILLED
            reason: "TooLate" text: "VenueSaysNo"
        """,
    ),
    (
        "the order ends",
        lambda s: s.venue(port.Ended(cl_ord_id(2), "v3", OrdStatus.EXPIRED, "DayIsOver", "good night", AT)),
        """
        journal at_unix_ns: T+0 order_ended { cl_ord_id: "alpha-1hg3k2m9p0ab-2" order_id: "v3" ord_status:
            ORD_STATUS_EXPIRED reason: "DayIsOver" text: "good night" transact_unix_ns: T-7 }
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-2" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-1"
            order_id: "v3" strategy: "alpha" instrument { venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_SELL
            exec_type: EXEC_TYPE_EXPIRED ord_status: ORD_STATUS_EXPIRED order_quantity: "20000" price: "1.3"
            time_in_force: TIME_IN_FORCE_GTD cum_quantity: "0" leaves_quantity: "0" reason: "DayIsOver" text:
            "good night" transact_unix_ns: T-7
        """,
    ),
    (
        "a cancel that comes too late",
        lambda s: s.cancel(2, 5),
        """
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-2" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-1"
            order_id: "v3" strategy: "alpha" instrument { venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_SELL
            exec_type: EXEC_TYPE_ORDER_STATUS ord_status: ORD_STATUS_EXPIRED order_quantity: "20000" price:
            "1.3" time_in_force: TIME_IN_FORCE_GTD cum_quantity: "0" leaves_quantity: "0" reason: "DayIsOver"
            text: "good night" transact_unix_ns: T+0
        count ORDERS_REFUSED alpha TooLate
        alpha < CancelReject cl_ord_id: "alpha-1hg3k2m9p0ab-5" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-2" strategy:
            "alpha" response_to: CANCEL_REJECT_RESPONSE_TO_CANCEL ord_status: ORD_STATUS_EXPIRED reason:
            "TooLate" text: "the order is over: Expired with 0 executed"
        """,
    ),
    (
        "an order above a limit",
        lambda s: s.order(5, quantity=Decimal(2_000_000)),
        """
        count ORDERS_REFUSED alpha MaxOrderQuantity
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-5" strategy: "alpha" instrument { venue: "sim-fx"
            symbol: "EUR-USD" } side: SIDE_BUY exec_type: EXEC_TYPE_REJECTED ord_status: ORD_STATUS_REJECTED
            order_quantity: "2000000" price: "1.1" time_in_force: TIME_IN_FORCE_GTC cum_quantity: "0"
            leaves_quantity: "0" reason: "MaxOrderQuantity" risk_limit: "desk" text: "order quantity 2000000 is
            above maxOrderQuantity 1000000 of desk: send smaller orders" transact_unix_ns: T+0
        """,
    ),
    (
        "an order that cannot be read",
        lambda s: s.do(commands.Malformed("alpha", "NewOrder", cl_ord_id(6), "", NO_PRICE)),
        """
        count ORDERS_REFUSED alpha InvalidPrice
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-6" strategy: "alpha" exec_type:
            EXEC_TYPE_REJECTED ord_status: ORD_STATUS_REJECTED cum_quantity: "0" leaves_quantity: "0" reason:
            "InvalidPrice" text: "no price" transact_unix_ns: T+0
        """,
    ),
    (
        "a cancel/replace that cannot be read",
        lambda s: s.do(commands.Malformed("alpha", "CancelReplace", cl_ord_id(7), cl_ord_id(2), NO_PRICE)),
        """
        count ORDERS_REFUSED alpha InvalidPrice
        alpha < CancelReject cl_ord_id: "alpha-1hg3k2m9p0ab-7" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-2" strategy:
            "alpha" response_to: CANCEL_REJECT_RESPONSE_TO_CANCEL_REPLACE ord_status: ORD_STATUS_EXPIRED reason:
            "InvalidPrice" text: "no price"
        """,
    ),
    (
        "a cancel that cannot be read",
        lambda s: s.do(commands.Malformed("alpha", "Cancel", cl_ord_id(7), "x", NO_PRICE)),
        """
        count ORDERS_REFUSED alpha InvalidPrice
        alpha < CancelReject cl_ord_id: "alpha-1hg3k2m9p0ab-7" orig_cl_ord_id: "x" strategy: "alpha"
            response_to: CANCEL_REJECT_RESPONSE_TO_CANCEL reason: "InvalidPrice" text: "no price"
        """,
    ),
    (
        "a second later",
        lambda s: s.later(1),
        """
        journal at_unix_ns: T+1000000000 requests_refused { strategy: "alpha" reason: "TooLate" count: 1 text:
            "the order is over: Expired with 0 executed" symbol: "EUR-USD" }
        log warning requests_refused strategy=alpha reason=TooLate risk_limit= count=1 text=the order is over:
            Expired with 0 executed
        journal at_unix_ns: T+1000000000 requests_refused { strategy: "alpha" reason: "MaxOrderQuantity"
            risk_limit: "desk" count: 1 text: "order quantity 2000000 is above maxOrderQuantity 1000000 of desk:
            send smaller orders" symbol: "EUR-USD" rejects: 1 }
        log warning requests_refused strategy=alpha reason=MaxOrderQuantity risk_limit=desk count=1 text=order
            quantity 2000000 is above maxOrderQuantity 1000000 of desk: send smaller orders
        journal at_unix_ns: T+1000000000 requests_refused { strategy: "alpha" reason: "InvalidPrice" count: 3
            text: "no price" rejects: 2 }
        log warning requests_refused strategy=alpha reason=InvalidPrice risk_limit= count=3 text=no price
        """,
    ),
    (
        "the venue accepts an order that nobody sent",
        lambda s: s.venue(port.Accepted(FOREIGN, "v", AT)),
        """
        count ORPHANS
        log error venue_reports_unknown_order cl_ord_id=stranger-x-1 what=accepted
        """,
    ),
    (
        "it executes one that nobody sent",
        lambda s: s.venue(FOREIGN_EXECUTED),
        """
        journal at_unix_ns: T+1000000000 order_executed { cl_ord_id: "?stranger-x-1" order_id: "v9" exec_id:
            "e9" symbol: "GBP-USD" side: SIDE_BUY quantity: "3000" price: "1.2" fee: "0.1" transact_unix_ns: T-7
            suspense: true }
        count FILLS -
        journal at_unix_ns: T+1000000000 halt_changed { halt: "UnknownExecution@18" text: "the venue reports
            execution e9 of 3000 sim-fx/GBP-USD under ClOrdID 'stranger-x-1', which no order of this gateway
            has: find out who sent it; then annotate the VenueConnection with
            trading.crowetrade.io/clear-halt=UnknownExecution@18" }
        log error halted halt=UnknownExecution@18 text=the venue reports execution e9 of 3000 sim-fx/GBP-USD
            under ClOrdID 'stranger-x-1', which no order of this gateway has: find out who sent it
        count HALTS UnknownExecution
        """,
    ),
    (
        "it repeats that",
        lambda s: s.venue(FOREIGN_EXECUTED),
        """
        count EXECUTIONS_REPEATED
        """,
    ),
    (
        "it takes that back",
        lambda s: s.venue(FOREIGN_BUSTED),
        """
        journal at_unix_ns: T+1000000000 execution_busted { cl_ord_id: "?stranger-x-1" exec_id: "b9"
            exec_ref_id: "e9" symbol: "GBP-USD" side: SIDE_BUY quantity: "3000" price: "1.2" fee: "0.1"
            transact_unix_ns: T-7 suspense: true }
        journal at_unix_ns: T+1000000000 halt_changed { halt: "UnknownExecution@20" text: "the venue takes
            execution e9 back, which this gateway does not remember: find out why; it is not the first since
            trading stopped, the log has them all; then annotate the VenueConnection with
            trading.crowetrade.io/clear-halt=UnknownExecution@20" }
        journal at_unix_ns: T+1000000000 halt_changed { halt: "UnknownExecution@18" text:
            "UnknownExecution@20 takes its place" cleared: true }
        log error halted halt=UnknownExecution@20 text=the venue takes execution e9 back, which this gateway
            does not remember: find out why
        count HALTS UnknownExecution
        """,
    ),
    (
        "it takes back what never happened",
        lambda s: s.venue(NEVER_EXECUTED),
        """
        journal at_unix_ns: T+1000000000 execution_busted { cl_ord_id: "?x-2" exec_id: "b8" exec_ref_id: "e8"
            symbol: "GBP-USD" side: SIDE_BUY quantity: "3000" price: "1.2" fee: "0.1" transact_unix_ns: T-7
            suspense: true }
        journal at_unix_ns: T+1000000000 halt_changed { halt: "UnknownExecution@23" text: "the venue takes
            execution e8 back, which this gateway does not remember: find out why; it is not the first since
            trading stopped, the log has them all; then annotate the VenueConnection with
            trading.crowetrade.io/clear-halt=UnknownExecution@23" }
        journal at_unix_ns: T+1000000000 halt_changed { halt: "UnknownExecution@20" text:
            "UnknownExecution@23 takes its place" cleared: true }
        log error halted halt=UnknownExecution@23 text=the venue takes execution e8 back, which this gateway
            does not remember: find out why
        count HALTS UnknownExecution
        """,
    ),
    (
        "a person clears the halt",
        lambda s: s.do(commands.Configure(CLEARED)),
        """
        journal at_unix_ns: T+1000000000 halt_changed { halt: "UnknownExecution@23" text: "cleared by a person at
            the VenueConnection" cleared: true }
        log warning halt_cleared halt=UnknownExecution@23
        journal at_unix_ns: T+1000000000 configuration_applied { revision: "r2" }
        log info configuration_in_force revision=r2 unreadable= halted=
        """,
    ),
    (
        "the venue takes back once more what never happened",
        lambda s: s.venue(NEVER_EXECUTED),
        """
        count EXECUTIONS_REPEATED
        """,
    ),
    (
        "the strategy logs on again",
        lambda s: s.do(commands.Logon("alpha", 9)),
        """
        AcceptLogon strategy=alpha session=9 snapshot=positions { instrument { venue: "sim-fx" symbol: "EUR-USD"
            } quantity: "0" average_price: "0" mark_price: "1.10005" mark_unix_ns: T+0 realized_pnl: "0"
            unrealized_pnl: "0" fees: "0" } market_data_sequence: 2
            replay_speed: "1"
        """,
    ),
    (
        "another order",
        lambda s: s.order(8),
        """
        journal at_unix_ns: T+1000000000 order_submitted { cl_ord_id: "alpha-1hg3k2m9p0ab-8" strategy: "alpha"
            symbol: "EUR-USD" side: SIDE_BUY order_quantity: "10000" ord_type: ORD_TYPE_LIMIT price: "1.1"
            time_in_force: TIME_IN_FORCE_GTC
            bid_price: "1.1" ask_price: "1.1001" quote_unix_ns: T+0 }
        SendOrder cl_ord_id=alpha-1hg3k2m9p0ab-8 strategy=alpha instrument=sim-fx/EUR-USD side=Side.BUY
            quantity=10000 ord_type=OrdType.LIMIT price=1.1 time_in_force=TimeInForce.GTC expire_ns=None
            post_only=False closing=False received_ns=T+1000000000
        count ORDERS_SENT alpha
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-8" strategy: "alpha" instrument { venue: "sim-fx"
            symbol: "EUR-USD" } side: SIDE_BUY exec_type: EXEC_TYPE_PENDING_NEW ord_status:
            ORD_STATUS_PENDING_NEW order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTC
            cum_quantity: "0" leaves_quantity: "10000" transact_unix_ns: T+1000000000
        """,
    ),
    (
        "nobody answers for ten seconds",
        lambda s: s.later(10),
        """
        journal at_unix_ns: T+11000000000 order_unknown { cl_ord_id: "alpha-1hg3k2m9p0ab-8" reason: "NoAnswer" }
        count ORDERS_UNKNOWN alpha
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-8" strategy: "alpha" instrument { venue: "sim-fx"
            symbol: "EUR-USD" } side: SIDE_BUY exec_type: EXEC_TYPE_ORDER_STATUS ord_status: ORD_STATUS_UNKNOWN
            order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTC cum_quantity: "0"
            leaves_quantity: "10000" reason: "NoAnswer" transact_unix_ns: T+11000000000
        SendQuery cl_ord_id=alpha-1hg3k2m9p0ab-8 order_id= instrument=sim-fx/EUR-USD
        """,
    ),
    (
        "the venue has it",
        lambda s: s.venue(_state(8, OrdStatus.NEW, 0)),
        """
        journal at_unix_ns: T+11000000000 order_accepted { cl_ord_id: "alpha-1hg3k2m9p0ab-8" order_id: "v8"
            transact_unix_ns: T-7 }
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-8" order_id: "v8" strategy: "alpha" instrument {
            venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_BUY exec_type: EXEC_TYPE_ORDER_STATUS ord_status:
            ORD_STATUS_NEW order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTC cum_quantity:
            "0" leaves_quantity: "10000" transact_unix_ns: T-7
        """,
    ),
    (
        "a replacement that is lost on its way",
        lambda s: [*_unseen(s.replace(8, 10), s.later(10)), *s.venue(_state(8, OrdStatus.NEW, 0))],
        """
        journal at_unix_ns: T+21000000000 request_rejected { cl_ord_id: "alpha-1hg3k2m9p0ab-10" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-8" reason: "NotProcessed" text: "the venue has not processed the request"
            transact_unix_ns: T-7 }
        alpha < CancelReject cl_ord_id: "alpha-1hg3k2m9p0ab-10" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-8" strategy:
            "alpha" response_to: CANCEL_REJECT_RESPONSE_TO_CANCEL_REPLACE ord_status: ORD_STATUS_UNKNOWN reason:
            "TooLate" text: "the venue has not processed the request"
        journal at_unix_ns: T+21000000000 order_accepted { cl_ord_id: "alpha-1hg3k2m9p0ab-8" order_id: "v8"
            transact_unix_ns: T-7 }
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-8" order_id: "v8" strategy: "alpha" instrument {
            venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_BUY exec_type: EXEC_TYPE_ORDER_STATUS ord_status:
            ORD_STATUS_NEW order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTC cum_quantity:
            "0" leaves_quantity: "10000" transact_unix_ns: T-7
        """,
    ),
    (
        "a cancel that is lost on its way",
        lambda s: [*_unseen(s.cancel(8, 11), s.later(10)), *s.venue(_state(8, OrdStatus.NEW, 0))],
        """
        journal at_unix_ns: T+31000000000 request_rejected { cl_ord_id: "alpha-1hg3k2m9p0ab-11" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-8" reason: "NotProcessed" text: "the venue has not processed the request: the
            order is still open" transact_unix_ns: T-7 }
        alpha < CancelReject cl_ord_id: "alpha-1hg3k2m9p0ab-11" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-8" strategy:
            "alpha" response_to: CANCEL_REJECT_RESPONSE_TO_CANCEL ord_status: ORD_STATUS_UNKNOWN reason:
            "TooLate" text: "the venue has not processed the request: the order is still open"
        journal at_unix_ns: T+31000000000 order_accepted { cl_ord_id: "alpha-1hg3k2m9p0ab-8" order_id: "v8"
            transact_unix_ns: T-7 }
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-8" order_id: "v8" strategy: "alpha" instrument {
            venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_BUY exec_type: EXEC_TYPE_ORDER_STATUS ord_status:
            ORD_STATUS_NEW order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTC cum_quantity:
            "0" leaves_quantity: "10000" transact_unix_ns: T-7
        """,
    ),
    (
        "a replacement of which the report is lost",
        lambda s: [
            *_unseen(s.replace(8, 12), s.later(10)),
            *s.venue(replace(_state(8, OrdStatus.NEW, 0), current=cl_ord_id(12))),
        ],
        """
        journal at_unix_ns: T+41000000000 order_replaced { cl_ord_id: "alpha-1hg3k2m9p0ab-12" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-8" order_id: "v8" transact_unix_ns: T-7 }
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-12" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-8"
            order_id: "v8" strategy: "alpha" instrument { venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_BUY
            exec_type: EXEC_TYPE_REPLACED ord_status: ORD_STATUS_NEW order_quantity: "20000" price: "1.09"
            time_in_force: TIME_IN_FORCE_GTC cum_quantity: "0" leaves_quantity: "20000" transact_unix_ns: T-7
        """,
    ),
    (
        "a replacement that nobody asked for",
        lambda s: s.venue(port.Replaced(cl_ord_id(9), cl_ord_id(8), "v8", AT)),
        """
        journal at_unix_ns: T+41000000000 order_unknown { cl_ord_id: "alpha-1hg3k2m9p0ab-12" reason:
            "UnexpectedReplace" }
        count ORDERS_UNKNOWN alpha
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-12" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-8"
            order_id: "v8" strategy: "alpha" instrument { venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_BUY
            exec_type: EXEC_TYPE_ORDER_STATUS ord_status: ORD_STATUS_UNKNOWN order_quantity: "20000" price:
            "1.09" time_in_force: TIME_IN_FORCE_GTC cum_quantity: "0" leaves_quantity: "20000" reason:
            "UnexpectedReplace" transact_unix_ns: T+41000000000
        SendQuery cl_ord_id=alpha-1hg3k2m9p0ab-12 order_id=v8 instrument=sim-fx/EUR-USD
        """,
    ),
    (
        "the venue knows no such order",
        lambda s: s.venue(_state(8, None, 0)),
        """
        journal at_unix_ns: T+41000000000 order_ended { cl_ord_id: "alpha-1hg3k2m9p0ab-12" ord_status:
            ORD_STATUS_CANCELED reason: "UnknownAtVenue" text: "the venue knows no such order" transact_unix_ns:
            T-7 }
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-12" orig_cl_ord_id: "alpha-1hg3k2m9p0ab-8"
            order_id: "v8" strategy: "alpha" instrument { venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_BUY
            exec_type: EXEC_TYPE_CANCELED ord_status: ORD_STATUS_CANCELED order_quantity: "20000" price: "1.09"
            time_in_force: TIME_IN_FORCE_GTC cum_quantity: "0" leaves_quantity: "0" reason: "UnknownAtVenue"
            text: "the venue knows no such order" transact_unix_ns: T-7
        """,
    ),
    (
        "a third order, and the venue says that it is filled",
        lambda s: s.order(13) and s.venue(_state(13, OrdStatus.FILLED, 10_000)),
        """
        journal at_unix_ns: T+41000000000 halt_changed { halt: "PositionDifference@44" text: "the venue says that
            order alpha-1hg3k2m9p0ab-13 is executed for 10000, the journal has 0; then annotate the
            VenueConnection with trading.crowetrade.io/clear-halt=PositionDifference@44" }
        log error halted halt=PositionDifference@44 text=the venue says that order alpha-1hg3k2m9p0ab-13 is
            executed for 10000, the journal has 0
        count HALTS PositionDifference
        journal at_unix_ns: T+41000000000 cancel_submitted { cl_ord_id: "alpha-g1-1" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-13" reason: "TradingStopped" }
        SendCancel cl_ord_id=alpha-g1-1 orig_cl_ord_id=alpha-1hg3k2m9p0ab-13 order_id= instrument=sim-fx/EUR-USD
            side=Side.BUY reason=TradingStopped urgent=True
        journal at_unix_ns: T+41000000000 order_ended { cl_ord_id: "alpha-1hg3k2m9p0ab-13" order_id: "v8"
            ord_status: ORD_STATUS_CANCELED reason: "TradingStopped" transact_unix_ns: T-7 }
        alpha < ExecutionReport cl_ord_id: "alpha-1hg3k2m9p0ab-13" order_id: "v8" strategy: "alpha" instrument {
            venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_BUY exec_type: EXEC_TYPE_CANCELED ord_status:
            ORD_STATUS_CANCELED order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTC
            cum_quantity: "0" leaves_quantity: "0" reason: "TradingStopped" transact_unix_ns: T-7
        """,
    ),
    (
        "the session with the venue is lost",
        lambda s: s.venue(port.SessionChanged(port.SessionState.DISCONNECTED, "gone")),
        """
        log info venue_session state=Disconnected text=gone
        """,
    ),
    (
        "it is back, with an order that nobody sent",
        lambda s: s.do(commands.VenueConnected(SNAPSHOT)),
        """
        log info venue_session state=LoggedOn text=
        journal at_unix_ns: T+41000000000 venue_logged_on { state: "s7" }
        count ORPHANS
        log error order_not_in_journal cl_ord_id=x-3 order_id=v8
        SendCancel cl_ord_id=orphan-g1-2 orig_cl_ord_id=x-3 order_id=v8 instrument=sim-fx/EUR-USD side=Side.BUY
            reason=OrderNotInJournal urgent=True
        """,
    ),
]


# What the gateway does itself: it cancels, closes and gives up.
OWN: list[Step] = [
    (
        "two orders, one of them executed in part",
        lambda s: _unseen(s.order(1), s.accepted(1), s.executed(1, "4000", "e1"), s.order(2), s.accepted(2)),
        """
        """,
    ),
    (
        "the strategy logs on again",
        lambda s: s.do(commands.Logon("alpha", 1)),
        """
        AcceptLogon strategy=alpha session=1 snapshot=positions { instrument { venue: "sim-fx" symbol: "EUR-USD"
            } quantity: "4000" average_price: "1.1" mark_price: "1.10005" mark_unix_ns: T+0 realized_pnl: "0"
            unrealized_pnl: "0.2" fees: "0" } open_orders { cl_ord_id: "alpha-1hg3k2m9p0ab-1" order_id: "v1"
            strategy: "alpha" instrument { venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_BUY exec_type:
            EXEC_TYPE_ORDER_STATUS ord_status: ORD_STATUS_PARTIALLY_FILLED order_quantity: "10000" price: "1.1"
            time_in_force: TIME_IN_FORCE_GTC cum_quantity: "4000" leaves_quantity: "6000" transact_unix_ns: T+0
            } open_orders { cl_ord_id: "alpha-1hg3k2m9p0ab-2" order_id: "v2" strategy: "alpha" instrument {
            venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_BUY exec_type: EXEC_TYPE_ORDER_STATUS ord_status:
            ORD_STATUS_NEW order_quantity: "10000" price: "1.1" time_in_force: TIME_IN_FORCE_GTC cum_quantity:
            "0" leaves_quantity: "10000" transact_unix_ns: T+0 } market_data_sequence: 2
            replay_speed: "1"
        """,
    ),
    (
        "the session is lost",
        lambda s: s.do(commands.SessionLost("alpha", 1)),
        """
        """,
    ),
    (
        "an execution nobody hears of",
        lambda s: s.executed(1, "1000", "e2"),
        """
        journal at_unix_ns: T+0 order_executed { cl_ord_id: "alpha-1hg3k2m9p0ab-1" order_id: "v1" exec_id: "e2"
            symbol: "EUR-USD" side: SIDE_BUY quantity: "1000" price: "1.1" fee: "0" transact_unix_ns: T+0 }
        count FILLS alpha
        """,
    ),
    (
        "five seconds later",
        lambda s: s.later(5),
        """
        journal at_unix_ns: T+5000000000 cancel_submitted { cl_ord_id: "alpha-g1-1" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-1" reason: "SessionLost" }
        SendCancel cl_ord_id=alpha-g1-1 orig_cl_ord_id=alpha-1hg3k2m9p0ab-1 order_id=v1
            instrument=sim-fx/EUR-USD side=Side.BUY reason=SessionLost urgent=True
        journal at_unix_ns: T+5000000000 cancel_submitted { cl_ord_id: "alpha-g1-2" orig_cl_ord_id:
            "alpha-1hg3k2m9p0ab-2" reason: "SessionLost" }
        SendCancel cl_ord_id=alpha-g1-2 orig_cl_ord_id=alpha-1hg3k2m9p0ab-2 order_id=v2
            instrument=sim-fx/EUR-USD side=Side.BUY reason=SessionLost urgent=True
        log warning orders_cancelled_on_disconnect strategy=alpha orders=2
        """,
    ),
    (
        "one order ends",
        lambda s: s.ended(1),
        """
        journal at_unix_ns: T+5000000000 order_ended { cl_ord_id: "alpha-1hg3k2m9p0ab-1" order_id: "v1"
            ord_status: ORD_STATUS_CANCELED reason: "SessionLost" transact_unix_ns: T+5000000000 }
        """,
    ),
    (
        "the other is executed to its end",
        lambda s: s.executed(2, "10000", "e3"),
        """
        journal at_unix_ns: T+5000000000 order_executed { cl_ord_id: "alpha-1hg3k2m9p0ab-2" order_id: "v2"
            exec_id: "e3" symbol: "EUR-USD" side: SIDE_BUY quantity: "10000" price: "1.1" fee: "0"
            transact_unix_ns: T+5000000000 }
        count FILLS alpha
        """,
    ),
    (
        "the strategy is back",
        lambda s: s.do(commands.Logon("alpha", 2)),
        """
        AcceptLogon strategy=alpha session=2 snapshot=positions { instrument { venue: "sim-fx" symbol: "EUR-USD"
            } quantity: "15000" average_price: "1.1" mark_price: "1.10005" mark_unix_ns: T+0 realized_pnl: "0"
            unrealized_pnl: "0.75" fees: "0" } market_data_sequence: 2
            replay_speed: "1"
        """,
    ),
    (
        "it is flattened",
        lambda s: s.do(commands.Configure(configuration(FLATTEN, rule(maxOrderQuantity="10000"), revision="r2"))),
        """
        journal at_unix_ns: T+5000000000 configuration_applied { revision: "r2" }
        log info configuration_in_force revision=r2 unreadable= halted=
        journal at_unix_ns: T+5000000000 order_submitted { cl_ord_id: "alpha-g1-3" strategy: "alpha" symbol:
            "EUR-USD" side: SIDE_SELL order_quantity: "10000" ord_type: ORD_TYPE_MARKET time_in_force:
            TIME_IN_FORCE_IOC closing: true
            bid_price: "1.1" ask_price: "1.1001" quote_unix_ns: T+0 }
        SendOrder cl_ord_id=alpha-g1-3 strategy=alpha instrument=sim-fx/EUR-USD side=Side.SELL quantity=10000
            ord_type=OrdType.MARKET price=None time_in_force=TimeInForce.IOC expire_ns=None post_only=False
            closing=True received_ns=T+5000000000
        count ORDERS_SENT alpha
        alpha < ExecutionReport cl_ord_id: "alpha-g1-3" strategy: "alpha" instrument { venue: "sim-fx" symbol:
            "EUR-USD" } side: SIDE_SELL exec_type: EXEC_TYPE_PENDING_NEW ord_status: ORD_STATUS_PENDING_NEW
            order_quantity: "10000" time_in_force: TIME_IN_FORCE_IOC cum_quantity: "0" leaves_quantity: "10000"
            transact_unix_ns: T+5000000000
        """,
    ),
    (
        "the closing order finds nobody",
        lambda s: s.venue(port.Ended("alpha-g1-3", "v5", OrdStatus.CANCELED, "ImmediateRemainder", "", AT)),
        """
        journal at_unix_ns: T+5000000000 order_ended { cl_ord_id: "alpha-g1-3" order_id: "v5" ord_status:
            ORD_STATUS_CANCELED reason: "ImmediateRemainder" transact_unix_ns: T-7 }
        alpha < ExecutionReport cl_ord_id: "alpha-g1-3" order_id: "v5" strategy: "alpha" instrument { venue:
            "sim-fx" symbol: "EUR-USD" } side: SIDE_SELL exec_type: EXEC_TYPE_CANCELED ord_status:
            ORD_STATUS_CANCELED order_quantity: "10000" time_in_force: TIME_IN_FORCE_IOC cum_quantity: "0"
            leaves_quantity: "0" reason: "ImmediateRemainder" transact_unix_ns: T-7
        """,
    ),
    (
        "a second later",
        lambda s: s.later(1),
        """
        journal at_unix_ns: T+6000000000 order_submitted { cl_ord_id: "alpha-g1-4" strategy: "alpha" symbol:
            "EUR-USD" side: SIDE_SELL order_quantity: "10000" ord_type: ORD_TYPE_MARKET time_in_force:
            TIME_IN_FORCE_IOC closing: true
            bid_price: "1.1" ask_price: "1.1001" quote_unix_ns: T+0 }
        SendOrder cl_ord_id=alpha-g1-4 strategy=alpha instrument=sim-fx/EUR-USD side=Side.SELL quantity=10000
            ord_type=OrdType.MARKET price=None time_in_force=TimeInForce.IOC expire_ns=None post_only=False
            closing=True received_ns=T+6000000000
        count ORDERS_SENT alpha
        alpha < ExecutionReport cl_ord_id: "alpha-g1-4" strategy: "alpha" instrument { venue: "sim-fx" symbol:
            "EUR-USD" } side: SIDE_SELL exec_type: EXEC_TYPE_PENDING_NEW ord_status: ORD_STATUS_PENDING_NEW
            order_quantity: "10000" time_in_force: TIME_IN_FORCE_IOC cum_quantity: "0" leaves_quantity: "10000"
            transact_unix_ns: T+6000000000
        """,
    ),
    (
        "a replacement of an order that fills meanwhile is refused",
        lambda s: [
            *_unseen(
                s.order(1, strategy="beta", quantity=Decimal(5000)),
                s.accepted(1, "beta"),
                s.do(BETA_REPLACE),
                s.venue(BETA_EXECUTED),
            ),
            *s.venue(port.RequestRejected(cl_ord_id(2, "beta"), cl_ord_id(1, "beta"), "TooLate", "", False, AT)),
        ],
        """
        journal at_unix_ns: T+6000000000 request_rejected { cl_ord_id: "beta-1hg3k2m9p0ab-2" orig_cl_ord_id:
            "beta-1hg3k2m9p0ab-1" reason: "TooLate" transact_unix_ns: T-7 }
        beta < CancelReject cl_ord_id: "beta-1hg3k2m9p0ab-2" orig_cl_ord_id: "beta-1hg3k2m9p0ab-1" strategy:
            "beta" response_to: CANCEL_REJECT_RESPONSE_TO_CANCEL_REPLACE ord_status: ORD_STATUS_FILLED reason:
            "TooLate" text: "TooLate"
        beta < ExecutionReport cl_ord_id: "beta-1hg3k2m9p0ab-1" order_id: "v7" strategy: "beta" instrument {
            venue: "sim-fx" symbol: "EUR-USD" } side: SIDE_BUY exec_type: EXEC_TYPE_ORDER_STATUS ord_status:
            ORD_STATUS_FILLED order_quantity: "5000" price: "1.1" time_in_force: TIME_IN_FORCE_GTC cum_quantity:
            "5000" leaves_quantity: "0" transact_unix_ns: T-7
        """,
    ),
    (
        "the venue reports positions that differ",
        lambda s: s.do(commands.VenueConnected(port.VenueSnapshot(positions={GBP: Decimal(5)}))),
        """
        journal at_unix_ns: T+6000000000 order_unknown { cl_ord_id: "alpha-g1-4" reason: "NotInSnapshot" }
        count ORDERS_UNKNOWN alpha
        alpha < ExecutionReport cl_ord_id: "alpha-g1-4" strategy: "alpha" instrument { venue: "sim-fx" symbol:
            "EUR-USD" } side: SIDE_SELL exec_type: EXEC_TYPE_ORDER_STATUS ord_status: ORD_STATUS_UNKNOWN
            order_quantity: "10000" time_in_force: TIME_IN_FORCE_IOC cum_quantity: "0" leaves_quantity: "10000"
            reason: "NotInSnapshot" transact_unix_ns: T+6000000000
        SendQuery cl_ord_id=alpha-g1-4 order_id= instrument=sim-fx/EUR-USD
        journal at_unix_ns: T+6000000000 halt_changed { halt: "PositionDifference@23" text: "the account holds
            something else than the journal says: sim-fx/EUR-USD: venue 0, journal 20000; sim-fx/GBP-USD: venue
            5, journal 0; then annotate the VenueConnection with
            trading.crowetrade.io/clear-halt=PositionDifference@23" }
        log error halted halt=PositionDifference@23 text=the account holds something else than the journal says:
            sim-fx/EUR-USD: venue 0, journal 20000; sim-fx/GBP-USD: venue 5, journal 0
        count HALTS PositionDifference
        journal at_unix_ns: T+6000000000 cancel_submitted { cl_ord_id: "alpha-g1-5" orig_cl_ord_id: "alpha-g1-4"
            reason: "TradingStopped" }
        SendCancel cl_ord_id=alpha-g1-5 orig_cl_ord_id=alpha-g1-4 order_id= instrument=sim-fx/EUR-USD
            side=Side.SELL reason=TradingStopped urgent=True
        """,
    ),
    (
        "the gateway leaves",
        lambda s: s.do(commands.Leave()),
        """
        """,
    ),
]


def written(done: Iterable[effects.Effect]) -> list[str]:
    """The effects in words, one text for each."""
    return [re.sub(r"\b1\d{18}\b", lambda found: f"T{int(found[0]) - START:+}", text) for text in map(_text, done)]


def _text(effect: effects.Effect) -> str:
    match effect:
        case effects.Append(event):
            return f"journal {_line(event)}"
        case effects.Report(strategy, message):
            return f"{strategy} < {type(message).__name__} {_line(message)}"
        case effects.Count(metric, labels, amount):
            return " ".join(["count", metric, *(str(label) or "-" for label in labels), *["many"][: amount - 1]])
        case effects.Tell(level, event_name, values):
            return " ".join(["log", level, event_name, *(f"{key}={value}" for key, value in values)])
        case _:
            return f"{type(effect).__name__} {' '.join(_values(effect))}"


def _line(message: Message) -> str:
    return text_format.MessageToString(message, as_one_line=True).replace("\\'", "'")


def _values(value: Any) -> Iterator[str]:
    """Of a dataclass, or of an effect, which is a named tuple."""
    names = getattr(value, "_fields", None) or [item.name for item in fields(value)]
    for name in names:
        found = getattr(value, name)
        if hasattr(found, "__dataclass_fields__") and not hasattr(found, "symbol"):
            yield from _values(found)
        else:
            yield f"{name}={_line(found) if isinstance(found, Message) else found}"


@pytest.mark.parametrize("steps", [LIFE, OWN], ids=["what is asked for", "what the gateway does itself"])
def test_all_that_is_written_about_an_order(steps: list[Step]) -> None:
    scenario = Scenario()
    for what, step, expected in steps:
        found = " ".join(written(step(scenario)))
        assert found.split() == expected.split(), what
