"""Every command in every state of an order: what it becomes, what is journaled, sent and reported. Plain values.

`>` is to the venue, `<` is to the strategy. A row that reads wrong is a fault of the engine: FIX 4.4, appendix D (order
state changes) is what it should say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from decimal import Decimal

import pytest

from crowetrade.bus.v1 import journal_pb2
from crowetrade.config.v1 import kill_pb2
from crowetrade_agents.control.kills import Channel, Kill, Rearm
from crowetrade_agents.domain.orders import OrdStatus, Side
from crowetrade_agents.domain.trading_state import TradingState
from crowetrade_agents.gateway import commands, effects
from crowetrade_agents.risk.reasons import Reason, Refusal
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import EUR, Scenario, book, cl_ord_id, configuration, kinds

Step = Callable[[Scenario], object]
SUSPENDED = {"alpha": TradingState.HALTED, "beta": TradingState.ACTIVE}


def _steps(*steps: Step) -> Step:
    def run(s: Scenario) -> object:
        return [step(s) for step in steps][-1]

    return run


def _answer(status: OrdStatus | None) -> Step:
    """The answer to a question about the order, with what is executed as the books have it."""

    def answer(s: Scenario) -> object:
        order = s.find()
        cum = order.cum if order is not None and status is not None else Decimal(0)
        id_, order_id = cl_ord_id(1), "v1" if status else ""
        return s.venue(port.OrderState(id_, id_, order_id, status, Decimal(10_000), Decimal("1.1"), cum, s.now))

    return answer


def _rejected(unknown_order: bool) -> Step:
    event = (cl_ord_id(2), cl_ord_id(1), "VenueSaysNo", "no", unknown_order)
    return lambda s: s.venue(port.RequestRejected(*event, s.now))


def _kill(mode: kill_pb2.KillMode.ValueType) -> Kill:
    """Of everything in the namespace."""
    scope = kill_pb2.KillScope(namespaces_from="Same")
    order = kill_pb2.KillOrder(namespace="cl-research", name="stop", uid="u1", generation=5, mode=mode, scope=scope)
    return Kill(order, Channel.RPC)


def _bust(s: Scenario) -> port.Busted:
    """The execution that a part or a fill has; what is executed of no order is 4,000."""
    order = s.find()
    quantity = order.cum if order is not None and order.cum else Decimal(4000)
    return port.Busted(cl_ord_id(1), "b1", "e1", EUR, Side.BUY, quantity, Decimal("1.1"), Decimal(0), s.now)


def _words(done: Iterable[effects.Effect]) -> list[str]:
    """As `kinds`, and the open orders that the answer to a logon has."""
    told = [
        f"< LOGON {len(effect.snapshot.open_orders)} open" for effect in done if isinstance(effect, effects.AcceptLogon)
    ]
    return [*kinds(done), *told]


def _messages(books: journal_pb2.Books) -> dict[tuple[str, str], int]:
    """How many messages count; when a refused one counts is exact to the second alone."""
    return {(item.strategy, item.symbol): sum(item.counts) for item in books.messages}


def _fill(s: Scenario) -> object:
    order = s.find()
    return s.executed(quantity=str((order.leaves if order else 0) or 10_000), exec_id="x")


_new = _steps(lambda s: s.order(), lambda s: s.accepted())
STATES: dict[str, Step] = {
    "none": lambda s: None,
    "pending_new": lambda s: s.order(),
    "new": _new,
    "partially_filled": _steps(_new, lambda s: s.executed()),
    "pending_cancel": _steps(_new, lambda s: s.cancel(1, 2)),
    "pending_replace": _steps(_new, lambda s: s.replace(1, 2)),
    "unknown": _steps(lambda s: s.order(), lambda s: s.later(10)),
    "filled": _steps(_new, lambda s: s.executed(quantity="10000")),
    "canceled": _steps(_new, lambda s: s.ended()),
    "rejected": _steps(lambda s: s.order(), lambda s: s.ended(status=OrdStatus.REJECTED, reason="VenueSaysNo")),
    "expired": _steps(_new, lambda s: s.ended(status=OrdStatus.EXPIRED)),
}
COMMANDS: dict[str, Step] = {
    "new": lambda s: s.order(),
    "cancel": lambda s: s.cancel(1, 9),
    "replace": lambda s: s.replace(1, 9),
    "accepted": lambda s: s.accepted(),
    "part": lambda s: s.executed(quantity="1000", exec_id="x"),
    "fill": _fill,
    "canceled": lambda s: s.ended(),
    "rejected": lambda s: s.ended(status=OrdStatus.REJECTED, reason="VenueSaysNo"),
    "expired": lambda s: s.ended(status=OrdStatus.EXPIRED),
    "replaced": lambda s: s.venue(port.Replaced(cl_ord_id(2), cl_ord_id(1), "v1", s.now)),
    "request_rejected": _rejected(unknown_order=False),
    "request_rejected_unknown": _rejected(unknown_order=True),
    "state_unknown": _answer(None),
    "state_open": _answer(OrdStatus.NEW),
    "state_canceled": _answer(OrdStatus.CANCELED),
    "suspend": lambda s: s.do(commands.Configure(configuration(SUSPENDED, revision="r2"))),
    "session_lost": _steps(lambda s: s.do(commands.SessionLost("alpha", 1)), lambda s: s.later(5)),
    "reconnect_empty": lambda s: s.do(commands.VenueConnected(port.VenueSnapshot())),
    "silence": lambda s: s.later(10.5),
    "kill": lambda s: s.do(_kill(kill_pb2.KILL_MODE_CANCEL)),
    "kill_flatten": lambda s: s.do(_kill(kill_pb2.KILL_MODE_FLATTEN)),
    "rearm": _steps(
        lambda s: s.do(_kill(kill_pb2.KILL_MODE_BLOCK)),
        lambda s: s.do(Rearm("cl-research", "stop", "u1", 6, Channel.API)),
    ),
    "quote": lambda s: s.venue(port.QuoteChanged(9, book(bid="1.0", ask="1.0001"))),
    "busted": lambda s: s.venue(_bust(s)),
    "leave": lambda s: s.do(commands.Leave()),
    "malformed": lambda s: s.do(
        commands.Malformed("alpha", "CancelReplace", cl_ord_id(9), cl_ord_id(1), Refusal(Reason.INVALID_PRICE, "no"))
    ),
    "logon": lambda s: s.do(commands.Logon("alpha", 3)),
}
# (state, command): status afterwards, what happened in order.
EXPECTED: dict[tuple[str, str], tuple[str, list[str]]] = {
    ("none", "new"): ("PendingNew", ["order_submitted", "> order", "< PENDING_NEW"]),
    ("none", "cancel"): ("-", ["< CANCEL_REJECT UnknownOrder"]),
    ("none", "replace"): ("-", ["< CANCEL_REJECT UnknownOrder"]),
    ("none", "accepted"): ("-", []),
    ("none", "part"): ("-", ["order_executed", "halt_changed"]),
    ("none", "fill"): ("-", ["order_executed", "halt_changed"]),
    ("none", "canceled"): ("-", []),
    ("none", "rejected"): ("-", []),
    ("none", "expired"): ("-", []),
    ("none", "replaced"): ("-", []),
    ("none", "request_rejected"): ("-", []),
    ("none", "request_rejected_unknown"): ("-", []),
    ("none", "state_unknown"): ("-", []),
    ("none", "state_open"): ("-", []),
    ("none", "state_canceled"): ("-", []),
    ("none", "suspend"): ("-", ["configuration_applied"]),
    ("none", "session_lost"): ("-", []),
    ("none", "reconnect_empty"): ("-", []),
    ("none", "silence"): ("-", []),
    ("none", "kill"): ("-", ["kill_changed"]),
    ("none", "kill_flatten"): ("-", ["kill_changed"]),
    ("none", "rearm"): ("-", ["kill_changed"]),
    ("none", "quote"): ("-", []),
    ("none", "busted"): ("-", ["execution_busted", "halt_changed"]),
    ("none", "leave"): ("-", []),
    ("none", "malformed"): ("-", ["< CANCEL_REJECT InvalidPrice"]),
    ("none", "logon"): ("-", ["< LOGON 0 open"]),
    ("pending_new", "new"): ("PendingNew", ["< ORDER_STATUS"]),
    ("pending_new", "cancel"): ("PendingCancel", ["cancel_submitted", "> cancel", "< PENDING_CANCEL"]),
    ("pending_new", "replace"): ("PendingNew", ["< CANCEL_REJECT OrderPending"]),
    ("pending_new", "accepted"): ("New", ["order_accepted", "< NEW"]),
    ("pending_new", "part"): ("PartiallyFilled", ["order_executed", "< TRADE"]),
    ("pending_new", "fill"): ("Filled", ["order_executed", "< TRADE"]),
    ("pending_new", "canceled"): ("Canceled", ["order_ended", "< CANCELED"]),
    ("pending_new", "rejected"): ("Rejected", ["order_ended", "< REJECTED VenueSaysNo"]),
    ("pending_new", "expired"): ("Expired", ["order_ended", "< EXPIRED"]),
    ("pending_new", "replaced"): ("Unknown", ["order_unknown", "< ORDER_STATUS UnexpectedReplace", "> query"]),
    ("pending_new", "request_rejected"): ("PendingNew", []),
    ("pending_new", "request_rejected_unknown"): (
        "Unknown",
        ["order_unknown", "< ORDER_STATUS RequestRejected", "> query"],
    ),
    ("pending_new", "state_unknown"): ("Canceled", ["order_ended", "< CANCELED UnknownAtVenue"]),
    ("pending_new", "state_open"): ("New", ["order_accepted", "< ORDER_STATUS"]),
    ("pending_new", "state_canceled"): ("Canceled", ["order_ended", "< CANCELED"]),
    ("pending_new", "suspend"): ("PendingCancel", ["configuration_applied", "cancel_submitted", "> urgent cancel"]),
    ("pending_new", "session_lost"): ("PendingCancel", ["cancel_submitted", "> urgent cancel"]),
    ("pending_new", "reconnect_empty"): ("Unknown", ["order_unknown", "< ORDER_STATUS NotInSnapshot", "> query"]),
    ("pending_new", "silence"): ("Unknown", ["order_unknown", "< ORDER_STATUS NoAnswer", "> query"]),
    ("pending_new", "kill"): ("PendingCancel", ["kill_changed", "cancel_submitted", "> urgent cancel"]),
    ("pending_new", "kill_flatten"): ("PendingCancel", ["kill_changed", "cancel_submitted", "> urgent cancel"]),
    ("pending_new", "rearm"): ("PendingNew", ["kill_changed"]),
    ("pending_new", "quote"): ("PendingNew", []),
    ("pending_new", "busted"): ("PartiallyFilled", ["order_executed", "< TRADE", "execution_busted", "< TRADE_CANCEL"]),
    ("pending_new", "leave"): ("PendingCancel", ["cancel_submitted", "> urgent cancel"]),
    ("pending_new", "malformed"): ("PendingNew", ["< CANCEL_REJECT InvalidPrice"]),
    ("pending_new", "logon"): ("PendingNew", ["< LOGON 1 open"]),
    ("new", "new"): ("New", ["< ORDER_STATUS"]),
    ("new", "cancel"): ("PendingCancel", ["cancel_submitted", "> cancel", "< PENDING_CANCEL"]),
    ("new", "replace"): ("PendingReplace", ["replace_submitted", "> replace", "< PENDING_REPLACE"]),
    ("new", "accepted"): ("New", []),
    ("new", "part"): ("PartiallyFilled", ["order_executed", "< TRADE"]),
    ("new", "fill"): ("Filled", ["order_executed", "< TRADE"]),
    ("new", "canceled"): ("Canceled", ["order_ended", "< CANCELED"]),
    ("new", "rejected"): ("Rejected", ["order_ended", "< REJECTED VenueSaysNo"]),
    ("new", "expired"): ("Expired", ["order_ended", "< EXPIRED"]),
    ("new", "replaced"): ("Unknown", ["order_unknown", "< ORDER_STATUS UnexpectedReplace", "> query"]),
    ("new", "request_rejected"): ("New", []),
    ("new", "request_rejected_unknown"): ("Unknown", ["order_unknown", "< ORDER_STATUS RequestRejected", "> query"]),
    ("new", "state_unknown"): ("Canceled", ["order_ended", "< CANCELED UnknownAtVenue"]),
    ("new", "state_open"): ("New", []),
    ("new", "state_canceled"): ("Canceled", ["order_ended", "< CANCELED"]),
    ("new", "suspend"): ("PendingCancel", ["configuration_applied", "cancel_submitted", "> urgent cancel"]),
    ("new", "session_lost"): ("PendingCancel", ["cancel_submitted", "> urgent cancel"]),
    ("new", "reconnect_empty"): ("Unknown", ["order_unknown", "< ORDER_STATUS NotInSnapshot", "> query"]),
    ("new", "silence"): ("New", []),
    ("new", "kill"): ("PendingCancel", ["kill_changed", "cancel_submitted", "> urgent cancel"]),
    ("new", "kill_flatten"): ("PendingCancel", ["kill_changed", "cancel_submitted", "> urgent cancel"]),
    ("new", "rearm"): ("New", ["kill_changed"]),
    ("new", "quote"): ("New", []),
    ("new", "busted"): ("PartiallyFilled", ["order_executed", "< TRADE", "execution_busted", "< TRADE_CANCEL"]),
    ("new", "leave"): ("PendingCancel", ["cancel_submitted", "> urgent cancel"]),
    ("new", "malformed"): ("New", ["< CANCEL_REJECT InvalidPrice"]),
    ("new", "logon"): ("New", ["< LOGON 1 open"]),
    ("partially_filled", "new"): ("PartiallyFilled", ["< ORDER_STATUS"]),
    ("partially_filled", "cancel"): ("PendingCancel", ["cancel_submitted", "> cancel", "< PENDING_CANCEL"]),
    ("partially_filled", "replace"): ("PendingReplace", ["replace_submitted", "> replace", "< PENDING_REPLACE"]),
    ("partially_filled", "accepted"): ("PartiallyFilled", []),
    ("partially_filled", "part"): ("PartiallyFilled", ["order_executed", "< TRADE"]),
    ("partially_filled", "fill"): ("Filled", ["order_executed", "< TRADE"]),
    ("partially_filled", "canceled"): ("Canceled", ["order_ended", "< CANCELED"]),
    ("partially_filled", "rejected"): ("Rejected", ["order_ended", "< REJECTED VenueSaysNo"]),
    ("partially_filled", "expired"): ("Expired", ["order_ended", "< EXPIRED"]),
    ("partially_filled", "replaced"): ("Unknown", ["order_unknown", "< ORDER_STATUS UnexpectedReplace", "> query"]),
    ("partially_filled", "request_rejected"): ("PartiallyFilled", []),
    ("partially_filled", "request_rejected_unknown"): (
        "Unknown",
        ["order_unknown", "< ORDER_STATUS RequestRejected", "> query"],
    ),
    ("partially_filled", "state_unknown"): ("Canceled", ["order_ended", "< CANCELED UnknownAtVenue"]),
    ("partially_filled", "state_open"): ("PartiallyFilled", []),
    ("partially_filled", "state_canceled"): ("Canceled", ["order_ended", "< CANCELED"]),
    ("partially_filled", "suspend"): (
        "PendingCancel",
        ["configuration_applied", "cancel_submitted", "> urgent cancel"],
    ),
    ("partially_filled", "session_lost"): ("PendingCancel", ["cancel_submitted", "> urgent cancel"]),
    ("partially_filled", "reconnect_empty"): ("Unknown", ["order_unknown", "< ORDER_STATUS NotInSnapshot", "> query"]),
    ("partially_filled", "silence"): ("PartiallyFilled", []),
    ("partially_filled", "kill"): ("PendingCancel", ["kill_changed", "cancel_submitted", "> urgent cancel"]),
    ("partially_filled", "kill_flatten"): ("PendingCancel", ["kill_changed", "cancel_submitted", "> urgent cancel"]),
    ("partially_filled", "rearm"): ("PartiallyFilled", ["kill_changed"]),
    ("partially_filled", "quote"): ("PartiallyFilled", []),
    ("partially_filled", "busted"): ("PartiallyFilled", ["execution_busted", "< TRADE_CANCEL"]),
    ("partially_filled", "leave"): ("PendingCancel", ["cancel_submitted", "> urgent cancel"]),
    ("partially_filled", "malformed"): ("PartiallyFilled", ["< CANCEL_REJECT InvalidPrice"]),
    ("partially_filled", "logon"): ("PartiallyFilled", ["< LOGON 1 open"]),
    ("pending_cancel", "new"): ("PendingCancel", ["< ORDER_STATUS"]),
    ("pending_cancel", "cancel"): ("PendingCancel", ["< CANCEL_REJECT OrderPending"]),
    ("pending_cancel", "replace"): ("PendingCancel", ["< CANCEL_REJECT OrderPending"]),
    ("pending_cancel", "accepted"): ("PendingCancel", []),
    ("pending_cancel", "part"): ("PendingCancel", ["order_executed", "< TRADE"]),
    ("pending_cancel", "fill"): ("Filled", ["order_executed", "< TRADE"]),
    ("pending_cancel", "canceled"): ("Canceled", ["order_ended", "< CANCELED CancelRequested"]),
    ("pending_cancel", "rejected"): ("Rejected", ["order_ended", "< REJECTED VenueSaysNo"]),
    ("pending_cancel", "expired"): ("Expired", ["order_ended", "< EXPIRED"]),
    ("pending_cancel", "replaced"): ("Unknown", ["order_unknown", "< ORDER_STATUS UnexpectedReplace", "> query"]),
    ("pending_cancel", "request_rejected"): ("New", ["request_rejected", "< CANCEL_REJECT TooLate"]),
    ("pending_cancel", "request_rejected_unknown"): (
        "Unknown",
        ["request_rejected", "< CANCEL_REJECT TooLate", "order_unknown", "< ORDER_STATUS RequestRejected", "> query"],
    ),
    ("pending_cancel", "state_unknown"): ("Canceled", ["order_ended", "< CANCELED CancelRequested"]),
    ("pending_cancel", "state_open"): ("PendingCancel", []),
    ("pending_cancel", "state_canceled"): ("Canceled", ["order_ended", "< CANCELED CancelRequested"]),
    ("pending_cancel", "suspend"): ("PendingCancel", ["configuration_applied"]),
    ("pending_cancel", "session_lost"): ("PendingCancel", []),
    ("pending_cancel", "reconnect_empty"): ("Unknown", ["order_unknown", "< ORDER_STATUS NotInSnapshot", "> query"]),
    ("pending_cancel", "silence"): ("Unknown", ["order_unknown", "< ORDER_STATUS NoAnswer", "> query"]),
    ("pending_cancel", "kill"): ("PendingCancel", ["kill_changed"]),
    ("pending_cancel", "kill_flatten"): ("PendingCancel", ["kill_changed"]),
    ("pending_cancel", "rearm"): ("PendingCancel", ["kill_changed"]),
    ("pending_cancel", "quote"): ("PendingCancel", []),
    ("pending_cancel", "busted"): (
        "PendingCancel",
        ["order_executed", "< TRADE", "execution_busted", "< TRADE_CANCEL"],
    ),
    ("pending_cancel", "leave"): ("PendingCancel", []),
    ("pending_cancel", "malformed"): ("PendingCancel", ["< CANCEL_REJECT InvalidPrice"]),
    ("pending_cancel", "logon"): ("PendingCancel", ["< LOGON 1 open"]),
    ("pending_replace", "new"): ("PendingReplace", ["< ORDER_STATUS"]),
    ("pending_replace", "cancel"): ("PendingCancel", ["cancel_submitted", "> cancel", "< PENDING_CANCEL"]),
    ("pending_replace", "replace"): ("PendingReplace", ["< CANCEL_REJECT OrderPending"]),
    ("pending_replace", "accepted"): ("PendingReplace", []),
    ("pending_replace", "part"): ("PendingReplace", ["order_executed", "< TRADE"]),
    ("pending_replace", "fill"): ("PendingReplace", ["order_executed", "< TRADE"]),
    ("pending_replace", "canceled"): ("Canceled", ["order_ended", "< CANCELED"]),
    ("pending_replace", "rejected"): ("Rejected", ["order_ended", "< REJECTED VenueSaysNo"]),
    ("pending_replace", "expired"): ("Expired", ["order_ended", "< EXPIRED"]),
    ("pending_replace", "replaced"): ("New", ["order_replaced", "< REPLACED"]),
    ("pending_replace", "request_rejected"): ("New", ["request_rejected", "< CANCEL_REJECT TooLate"]),
    ("pending_replace", "request_rejected_unknown"): (
        "Unknown",
        ["request_rejected", "< CANCEL_REJECT TooLate", "order_unknown", "< ORDER_STATUS RequestRejected", "> query"],
    ),
    ("pending_replace", "state_unknown"): ("Canceled", ["order_ended", "< CANCELED UnknownAtVenue"]),
    ("pending_replace", "state_open"): ("PendingReplace", []),
    ("pending_replace", "state_canceled"): ("Canceled", ["order_ended", "< CANCELED"]),
    ("pending_replace", "suspend"): ("PendingCancel", ["configuration_applied", "cancel_submitted", "> urgent cancel"]),
    ("pending_replace", "session_lost"): ("PendingCancel", ["cancel_submitted", "> urgent cancel"]),
    ("pending_replace", "reconnect_empty"): ("Unknown", ["order_unknown", "< ORDER_STATUS NotInSnapshot", "> query"]),
    ("pending_replace", "silence"): ("Unknown", ["order_unknown", "< ORDER_STATUS NoAnswer", "> query"]),
    ("pending_replace", "kill"): ("PendingCancel", ["kill_changed", "cancel_submitted", "> urgent cancel"]),
    ("pending_replace", "kill_flatten"): ("PendingCancel", ["kill_changed", "cancel_submitted", "> urgent cancel"]),
    ("pending_replace", "rearm"): ("PendingReplace", ["kill_changed"]),
    ("pending_replace", "quote"): ("PendingReplace", []),
    ("pending_replace", "busted"): (
        "PendingReplace",
        ["order_executed", "< TRADE", "execution_busted", "< TRADE_CANCEL"],
    ),
    ("pending_replace", "leave"): ("PendingCancel", ["cancel_submitted", "> urgent cancel"]),
    ("pending_replace", "malformed"): ("PendingReplace", ["< CANCEL_REJECT InvalidPrice"]),
    ("pending_replace", "logon"): ("PendingReplace", ["< LOGON 1 open"]),
    ("unknown", "new"): ("Unknown", ["< ORDER_STATUS NoAnswer"]),
    ("unknown", "cancel"): ("Unknown", ["cancel_submitted", "> cancel", "< PENDING_CANCEL NoAnswer"]),
    ("unknown", "replace"): ("Unknown", ["< CANCEL_REJECT OrderPending"]),
    ("unknown", "accepted"): ("New", ["order_accepted", "< NEW"]),
    ("unknown", "part"): ("Unknown", ["order_executed", "< TRADE NoAnswer"]),
    ("unknown", "fill"): ("Filled", ["order_executed", "< TRADE"]),
    ("unknown", "canceled"): ("Canceled", ["order_ended", "< CANCELED"]),
    ("unknown", "rejected"): ("Rejected", ["order_ended", "< REJECTED VenueSaysNo"]),
    ("unknown", "expired"): ("Expired", ["order_ended", "< EXPIRED"]),
    ("unknown", "replaced"): ("Unknown", ["> query"]),
    ("unknown", "request_rejected"): ("Unknown", []),
    ("unknown", "request_rejected_unknown"): ("Unknown", ["> query"]),
    ("unknown", "state_unknown"): ("Canceled", ["order_ended", "< CANCELED UnknownAtVenue"]),
    ("unknown", "state_open"): ("New", ["order_accepted", "< ORDER_STATUS"]),
    ("unknown", "state_canceled"): ("Canceled", ["order_ended", "< CANCELED"]),
    ("unknown", "suspend"): ("Unknown", ["configuration_applied", "cancel_submitted", "> urgent cancel"]),
    ("unknown", "session_lost"): ("Unknown", ["cancel_submitted", "> urgent cancel"]),
    ("unknown", "reconnect_empty"): ("Unknown", ["> query"]),
    ("unknown", "silence"): ("Unknown", ["> query"]),
    ("unknown", "kill"): ("Unknown", ["kill_changed", "cancel_submitted", "> urgent cancel"]),
    ("unknown", "kill_flatten"): ("Unknown", ["kill_changed", "cancel_submitted", "> urgent cancel"]),
    ("unknown", "rearm"): ("Unknown", ["kill_changed"]),
    ("unknown", "quote"): ("Unknown", []),
    ("unknown", "busted"): (
        "Unknown",
        ["order_executed", "< TRADE NoAnswer", "execution_busted", "< TRADE_CANCEL NoAnswer"],
    ),
    ("unknown", "leave"): ("Unknown", ["cancel_submitted", "> urgent cancel"]),
    ("unknown", "malformed"): ("Unknown", ["< CANCEL_REJECT InvalidPrice"]),
    ("unknown", "logon"): ("Unknown", ["< LOGON 1 open"]),
    ("filled", "new"): ("Filled", ["< ORDER_STATUS"]),
    ("filled", "cancel"): ("Filled", ["< ORDER_STATUS", "< CANCEL_REJECT TooLate"]),
    ("filled", "replace"): ("Filled", ["< ORDER_STATUS", "< CANCEL_REJECT TooLate"]),
    ("filled", "accepted"): ("Filled", []),
    ("filled", "part"): ("Filled", ["order_executed", "< TRADE", "halt_changed"]),
    ("filled", "fill"): ("Filled", ["order_executed", "< TRADE", "halt_changed"]),
    ("filled", "canceled"): ("Filled", []),
    ("filled", "rejected"): ("Filled", []),
    ("filled", "expired"): ("Filled", []),
    ("filled", "replaced"): ("Filled", []),
    ("filled", "request_rejected"): ("Filled", []),
    ("filled", "request_rejected_unknown"): ("Filled", []),
    ("filled", "state_unknown"): ("Filled", []),
    ("filled", "state_open"): ("Filled", []),
    ("filled", "state_canceled"): ("Filled", []),
    ("filled", "suspend"): ("Filled", ["configuration_applied"]),
    ("filled", "session_lost"): ("Filled", []),
    ("filled", "reconnect_empty"): ("Filled", []),
    ("filled", "silence"): ("Filled", []),
    ("filled", "kill"): ("Filled", ["kill_changed"]),
    ("filled", "kill_flatten"): ("Filled", ["kill_changed", "order_submitted", "> order", "< PENDING_NEW"]),
    ("filled", "rearm"): ("Filled", ["kill_changed"]),
    ("filled", "quote"): ("Filled", []),
    ("filled", "busted"): ("Filled", ["execution_busted", "< TRADE_CANCEL"]),
    ("filled", "leave"): ("Filled", []),
    ("filled", "malformed"): ("Filled", ["< CANCEL_REJECT InvalidPrice"]),
    ("filled", "logon"): ("Filled", ["< LOGON 0 open"]),
    ("canceled", "new"): ("Canceled", ["< ORDER_STATUS"]),
    ("canceled", "cancel"): ("Canceled", ["< ORDER_STATUS", "< CANCEL_REJECT TooLate"]),
    ("canceled", "replace"): ("Canceled", ["< ORDER_STATUS", "< CANCEL_REJECT TooLate"]),
    ("canceled", "accepted"): ("Canceled", []),
    ("canceled", "part"): ("Canceled", ["order_executed", "< TRADE"]),
    ("canceled", "fill"): ("Canceled", ["order_executed", "< TRADE"]),
    ("canceled", "canceled"): ("Canceled", []),
    ("canceled", "rejected"): ("Canceled", []),
    ("canceled", "expired"): ("Canceled", []),
    ("canceled", "replaced"): ("Canceled", []),
    ("canceled", "request_rejected"): ("Canceled", []),
    ("canceled", "request_rejected_unknown"): ("Canceled", []),
    ("canceled", "state_unknown"): ("Canceled", []),
    ("canceled", "state_open"): ("Canceled", []),
    ("canceled", "state_canceled"): ("Canceled", []),
    ("canceled", "suspend"): ("Canceled", ["configuration_applied"]),
    ("canceled", "session_lost"): ("Canceled", []),
    ("canceled", "reconnect_empty"): ("Canceled", []),
    ("canceled", "silence"): ("Canceled", []),
    ("canceled", "kill"): ("Canceled", ["kill_changed"]),
    ("canceled", "kill_flatten"): ("Canceled", ["kill_changed"]),
    ("canceled", "rearm"): ("Canceled", ["kill_changed"]),
    ("canceled", "quote"): ("Canceled", []),
    ("canceled", "busted"): ("Canceled", ["order_executed", "< TRADE", "execution_busted", "< TRADE_CANCEL"]),
    ("canceled", "leave"): ("Canceled", []),
    ("canceled", "malformed"): ("Canceled", ["< CANCEL_REJECT InvalidPrice"]),
    ("canceled", "logon"): ("Canceled", ["< LOGON 0 open"]),
    ("rejected", "new"): ("Rejected", ["< ORDER_STATUS VenueSaysNo"]),
    ("rejected", "cancel"): ("Rejected", ["< ORDER_STATUS VenueSaysNo", "< CANCEL_REJECT TooLate"]),
    ("rejected", "replace"): ("Rejected", ["< ORDER_STATUS VenueSaysNo", "< CANCEL_REJECT TooLate"]),
    ("rejected", "accepted"): ("Rejected", []),
    ("rejected", "part"): ("Rejected", ["order_executed", "< TRADE VenueSaysNo"]),
    ("rejected", "fill"): ("Rejected", ["order_executed", "< TRADE VenueSaysNo"]),
    ("rejected", "canceled"): ("Rejected", []),
    ("rejected", "rejected"): ("Rejected", []),
    ("rejected", "expired"): ("Rejected", []),
    ("rejected", "replaced"): ("Rejected", []),
    ("rejected", "request_rejected"): ("Rejected", []),
    ("rejected", "request_rejected_unknown"): ("Rejected", []),
    ("rejected", "state_unknown"): ("Rejected", []),
    ("rejected", "state_open"): ("Rejected", []),
    ("rejected", "state_canceled"): ("Rejected", []),
    ("rejected", "suspend"): ("Rejected", ["configuration_applied"]),
    ("rejected", "session_lost"): ("Rejected", []),
    ("rejected", "reconnect_empty"): ("Rejected", []),
    ("rejected", "silence"): ("Rejected", []),
    ("rejected", "kill"): ("Rejected", ["kill_changed"]),
    ("rejected", "kill_flatten"): ("Rejected", ["kill_changed"]),
    ("rejected", "rearm"): ("Rejected", ["kill_changed"]),
    ("rejected", "quote"): ("Rejected", []),
    ("rejected", "busted"): (
        "Rejected",
        ["order_executed", "< TRADE VenueSaysNo", "execution_busted", "< TRADE_CANCEL VenueSaysNo"],
    ),
    ("rejected", "leave"): ("Rejected", []),
    ("rejected", "malformed"): ("Rejected", ["< CANCEL_REJECT InvalidPrice"]),
    ("rejected", "logon"): ("Rejected", ["< LOGON 0 open"]),
    ("expired", "new"): ("Expired", ["< ORDER_STATUS"]),
    ("expired", "cancel"): ("Expired", ["< ORDER_STATUS", "< CANCEL_REJECT TooLate"]),
    ("expired", "replace"): ("Expired", ["< ORDER_STATUS", "< CANCEL_REJECT TooLate"]),
    ("expired", "accepted"): ("Expired", []),
    ("expired", "part"): ("Expired", ["order_executed", "< TRADE"]),
    ("expired", "fill"): ("Expired", ["order_executed", "< TRADE"]),
    ("expired", "canceled"): ("Expired", []),
    ("expired", "rejected"): ("Expired", []),
    ("expired", "expired"): ("Expired", []),
    ("expired", "replaced"): ("Expired", []),
    ("expired", "request_rejected"): ("Expired", []),
    ("expired", "request_rejected_unknown"): ("Expired", []),
    ("expired", "state_unknown"): ("Expired", []),
    ("expired", "state_open"): ("Expired", []),
    ("expired", "state_canceled"): ("Expired", []),
    ("expired", "suspend"): ("Expired", ["configuration_applied"]),
    ("expired", "session_lost"): ("Expired", []),
    ("expired", "reconnect_empty"): ("Expired", []),
    ("expired", "silence"): ("Expired", []),
    ("expired", "kill"): ("Expired", ["kill_changed"]),
    ("expired", "kill_flatten"): ("Expired", ["kill_changed"]),
    ("expired", "rearm"): ("Expired", ["kill_changed"]),
    ("expired", "quote"): ("Expired", []),
    ("expired", "busted"): ("Expired", ["order_executed", "< TRADE", "execution_busted", "< TRADE_CANCEL"]),
    ("expired", "leave"): ("Expired", []),
    ("expired", "malformed"): ("Expired", ["< CANCEL_REJECT InvalidPrice"]),
    ("expired", "logon"): ("Expired", ["< LOGON 0 open"]),
}


def test_the_table_is_complete() -> None:
    assert EXPECTED.keys() == {(state, command) for state in STATES for command in COMMANDS}


@pytest.mark.parametrize(("state", "command"), EXPECTED)
def test_command_in_state(state: str, command: str) -> None:
    scenario = Scenario()
    STATES[state](scenario)

    COMMANDS[command](scenario)

    order = scenario.find()
    status, happened = EXPECTED[state, command]
    assert ("-" if order is None else order.status.value, _words(scenario.last)) == (status, happened)


@pytest.mark.parametrize(("state", "command"), EXPECTED)
def test_the_books_are_the_fold_of_the_journal(state: str, command: str) -> None:
    scenario = Scenario()
    STATES[state](scenario)
    COMMANDS[command](scenario)
    scenario.later(1.1)  # refused requests are journaled as counts once a second

    folded, kept = scenario.folded().to_message(), scenario.books.to_message()

    assert _messages(folded) == _messages(kept)
    folded.ClearField("messages")
    kept.ClearField("messages")
    assert folded == kept


@pytest.mark.parametrize(("state", "command"), EXPECTED)
def test_nothing_leaves_before_it_is_journaled(state: str, command: str) -> None:
    scenario = Scenario()
    STATES[state](scenario)
    COMMANDS[command](scenario)

    journaled: set[str] = set()
    for effect in scenario.effects:
        match effect:
            case effects.Append(event):
                body = getattr(event, event.WhichOneof("event") or "")
                journaled.add(getattr(body, "cl_ord_id", ""))
            case effects.SendOrder(order=order):
                assert order.terms.cl_ord_id in journaled
            case effects.SendCancel(cancel=cancel):
                assert cancel.cl_ord_id in journaled
            case effects.SendReplace(replace=replace):
                assert replace.terms.cl_ord_id in journaled
