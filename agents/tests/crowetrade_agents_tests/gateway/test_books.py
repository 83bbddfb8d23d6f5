"""The books: their snapshot in full, what a start makes of it, and events that cannot follow."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from google.protobuf import text_format
from google.protobuf.message import Message

from crowetrade.bus.v1 import journal_pb2, market_data_pb2, orders_pb2
from crowetrade_agents.domain.orders import OrdStatus, Side, TimeInForce
from crowetrade_agents.errors import JournalCorrupt
from crowetrade_agents.gateway import commands, wire
from crowetrade_agents.gateway.books import ENDED_KEPT, RUNS_KEPT, Books, recover
from crowetrade_agents.gateway.executions import KEPT
from crowetrade_agents.gateway.order import PendingCancel, PendingReplace
from crowetrade_agents.venues import port
from crowetrade_agents_tests.gateway.scenario import (
    EUR,
    GBP,
    RUN,
    SECOND,
    START,
    VENUE,
    Scenario,
    cl_ord_id,
    configuration,
    rule,
    terms,
)

# One order in each state that a snapshot keeps; an execution of nobody's order, a halt, a rule that counts together.
SNAPSHOT = """
fencing_token: 1
venue_state: "s7"
origin_sequence: 41
open { order { cl_ord_id: "alpha-1hg3k2m9p0ab-2" strategy: "alpha" symbol: "EUR-USD" side: SIDE_SELL order_quantity:
  "20000" ord_type: ORD_TYPE_LIMIT price: "1.09" time_in_force: TIME_IN_FORCE_GTD expire_unix_ns: 1700000001000000000
  post_only: true } order_id: "v2" ord_status: ORD_STATUS_PARTIALLY_FILLED cum_quantity: "1000" fills { exec_id: "e1"
  last_price: "1.2" fee: "0.5" } fills { exec_id: "e2" last_quantity: "1000" last_price: "1.3" fee: "0.25" }
  former_cl_ord_ids: "alpha-1hg3k2m9p0ab-1" cancel { cl_ord_id: "alpha-1hg3k2m9p0ab-3" reason: "CancelRequested" }
  changed_unix_ns: 1700000000000000001 busted_quantity: "4000" }
open { order { cl_ord_id: "alpha-1hg3k2m9p0ab-4" strategy: "alpha" symbol: "GBP-USD" side: SIDE_BUY order_quantity:
  "10000" ord_type: ORD_TYPE_LIMIT price: "1.1" time_in_force: TIME_IN_FORCE_GTC } order_id: "v4" ord_status:
  ORD_STATUS_NEW cum_quantity: "0" replace { cl_ord_id: "alpha-1hg3k2m9p0ab-5" order_quantity: "30000" price: "1.05" }
  changed_unix_ns: 1700000000000000002 }
open { order { cl_ord_id: "alpha-1hg3k2m9p0ab-8" strategy: "alpha" symbol: "EUR-USD" side: SIDE_BUY order_quantity:
  "10000" ord_type: ORD_TYPE_LIMIT price: "1.1" time_in_force: TIME_IN_FORCE_GTC } ord_status: ORD_STATUS_PENDING_NEW
  cum_quantity: "0" reason: "UnexpectedReplace" changed_unix_ns: 1700000000000000002 unknown: true }
ended { order { cl_ord_id: "alpha-1hg3k2m9p0ab-6" strategy: "alpha" symbol: "EUR-USD" side: SIDE_BUY order_quantity:
  "10000" ord_type: ORD_TYPE_LIMIT price: "1.1" time_in_force: TIME_IN_FORCE_GTC } order_id: "v6" ord_status:
  ORD_STATUS_REJECTED cum_quantity: "0" reason: "VenueSaysNo" text: "not today" changed_unix_ns: 1700000000000000002 }
ended { order { cl_ord_id: "alpha-1hg3k2m9p0ab-7" strategy: "alpha" symbol: "EUR-USD" side: SIDE_BUY order_quantity:
  "10000" ord_type: ORD_TYPE_LIMIT price: "1.1" time_in_force: TIME_IN_FORCE_GTC } order_id: "v7" ord_status:
  ORD_STATUS_FILLED cum_quantity: "10000" fills { exec_id: "e7" last_quantity: "10000" last_price: "1.1" fee: "0" }
  changed_unix_ns: 1700000000000000002 }
ended { order { cl_ord_id: "?x" symbol: "GBP-USD" side: SIDE_BUY order_quantity: "0" ord_type: ORD_TYPE_MARKET
  time_in_force: TIME_IN_FORCE_IOC } order_id: "v99" ord_status: ORD_STATUS_CANCELED cum_quantity: "3000" fills {
  exec_id: "e9" last_quantity: "3000" last_price: "1.1" fee: "0" } changed_unix_ns: 1700000001000000002 }
positions { strategy: "alpha" symbol: "EUR-USD" quantity: "9000" average_price: "1.1" realized: "200" fees: "0.25" }
positions { symbol: "GBP-USD" quantity: "3000" average_price: "1.1" realized: "0" fees: "0" }
messages { strategy: "alpha" symbol: "EUR-USD" unix_ns: 1700000000000000002 unix_ns: 1700000001000000002 counts: 6
  counts: 1 }
messages { strategy: "alpha" symbol: "GBP-USD" unix_ns: 1700000000000000002 counts: 2 }
messages { strategy: "beta" symbol: "EUR-USD" unix_ns: 1700000000000000002 counts: 1 }
counters { strategy: "alpha" sent: 5 filled: 1 rejected: 1 last_reject { strategy: "alpha" reason: "VenueSaysNo"
  count: 1 text: "not today" } last_reject_since_unix_ns: 1700000000000000002 last_reject_unix_ns: 1700000000000000002
  }
counters { strategy: "beta" rejected: 1 last_reject { strategy: "beta" reason: "MaxOrderQuantity" risk_limit: "desk"
  count: 1 text: "order quantity 2000000 is above maxOrderQuantity 1000000 of desk: send smaller orders" }
  last_reject_since_unix_ns: 1700000001000000002 last_reject_unix_ns: 1700000001000000002 }
used_ids { prefix: "alpha-1hg3k2m9p0ab" highest: 8 }
halts { halt: "UnknownExecution@24" text: "the venue reports execution e9 of 3000 sim-fx/GBP-USD under ClOrdID 'x',
  which no order of this gateway has: find out who sent it; then annotate the VenueConnection with
  trading.crowetrade.io/clear-halt=UnknownExecution@24" }
configuration { revision: "r2" members { risk_limit: "desk" strategies: "" strategies: "alpha" strategies: "beta" } }
at_unix_ns: 1700000001000000002
venue_unix_ns: 1700000001000000002
recent_orders { fingerprints: 8633274017699685132 fingerprints: 4019359117764628458 fingerprints: 3865390795165177869
  unix_ns: 1700000000000000000 unix_ns: 1700000000000000001 unix_ns: 1700000000000000002 strategy_indices: 0
  strategy_indices: 0 strategy_indices: 0 strategies: "alpha" }
tallies { strategy: "alpha" messages: 8 executions: 3 }
tallies { strategy: "beta" messages: 1 rejects: 1 }
tallies { executions: 1 }
buys { symbol: "GBP-USD" unix_ns: 1700000001000000002 counts: 1 }
buys { strategy: "alpha" symbol: "EUR-USD" unix_ns: 1700000000000000002 counts: 1 }
sells { strategy: "alpha" symbol: "EUR-USD" unix_ns: 1700000000000000000 counts: 2 }
executions { fingerprints: 13010917286600411269 fingerprints: 14130306185770974671 fingerprints: 1653914910924186281
  fingerprints: 6722318691619040263 fingerprints: 8985837671919928938 unix_ns: 1699999999999999993 unix_ns:
  1699999999999999991 unix_ns: 1699999999999999995 unix_ns: 1700000000000000002 unix_ns: 1700000001000000002 }
"""


def _rich() -> Scenario:
    scenario = Scenario()
    limits = rule(total=True, maxOrderQuantity="1000000")
    scenario.do(commands.Configure(configuration(None, limits, revision="r2")))
    scenario.do(commands.VenueConnected(port.VenueSnapshot(state="s7")))
    order = terms(side=Side.SELL, time_in_force=TimeInForce.GTD, expire_ns=START + SECOND, post_only=True)
    scenario.do(commands.NewOrder(order, START + SECOND, 41, START))
    scenario.accepted(1)
    scenario.executed(1, "4000", "e1", "1.2", side=Side.SELL, fee=Decimal("0.5"), at_ns=START - 7)
    scenario.executed(1, "1000", "e2", "1.3", side=Side.SELL, fee=Decimal("0.25"), at_ns=START - 9)
    bust = port.Busted(
        cl_ord_id(1), "b1", "e1", EUR, Side.SELL, Decimal(4000), Decimal("1.2"), Decimal("0.5"), START - 5
    )
    scenario.venue(bust)
    scenario.replace(1, 2)
    scenario.venue(port.Replaced(cl_ord_id(2), cl_ord_id(1), "v2", START))
    scenario.now += 1
    scenario.cancel(2, 3)
    scenario.order(terms(4, instrument=GBP))
    scenario.accepted(4)
    scenario.now += 1
    scenario.replace(4, 5, "30000", "1.05")
    scenario.order(6)
    scenario.venue(port.Ended(cl_ord_id(6), "v6", OrdStatus.REJECTED, "VenueSaysNo", "not today", START))
    scenario.order(7)
    scenario.executed(7, "10000", "e7")
    scenario.order(8)
    scenario.venue(port.Replaced(cl_ord_id(9), cl_ord_id(8), "v8", START))
    scenario.order(1, strategy="beta", quantity=Decimal(2_000_000))
    scenario.later(1)
    scenario.venue(port.SessionChanged(port.SessionState.DISCONNECTED, "gone"))
    scenario.executed(99, "3000", "e9", cl_ord_id="x", instrument=GBP)
    scenario.order(9)
    return scenario


def test_a_snapshot_in_full() -> None:
    message = _rich().books.to_message()

    assert text_format.MessageToString(message).replace("\\'", "'").split() == SNAPSHOT.split()


def test_the_books_of_a_snapshot_are_those_that_it_was_made_of() -> None:
    books = _rich().books
    for order in books.open.values():
        # What a snapshot does not keep: when the venue was asked, and the quantity of an execution that was taken back.
        order.asked_ns = 0
        for exec_id, execution in order.executions.items():
            order.executions[exec_id] = execution._replace(quantity=execution.quantity * (not execution.busted))

    restored = recover(VENUE, books.to_message(), ())

    windows = {"messages", "buys", "sells"}
    for name in windows:
        assert getattr(restored, name).to_messages() == getattr(books, name).to_messages(), name
    for name in vars(books).keys() - windows - {"moved", "_folds"}:
        assert getattr(restored, name) == getattr(books, name), name


def test_the_account_is_the_sum_of_its_owners() -> None:
    scenario = _rich()
    for owner in ("alpha", "beta"):
        scenario.executed(50, "700", f"late-{owner}", cl_ord_id=f"y-{owner}")
    books = scenario.books

    assert books.account.keys() == {instrument for _, instrument in books.exposures}
    for instrument, account in books.account.items():
        held = {owner: item for (owner, where), item in books.exposures.items() if where == instrument}
        assert account.owners == held.keys()
        for name in ("position", "open_buy", "open_sell", "open_orders"):
            assert getattr(account.total, name) == sum(getattr(item, name) for item in held.values()), name


SUBMITTED = journal_pb2.OrderSubmitted(
    cl_ord_id=cl_ord_id(1),
    strategy="alpha",
    symbol="EUR-USD",
    side=market_data_pb2.SIDE_BUY,
    order_quantity="10000",
    ord_type=orders_pb2.ORD_TYPE_LIMIT,
    price="1.1",
    time_in_force=orders_pb2.TIME_IN_FORCE_GTC,
)
EXECUTED = journal_pb2.OrderExecuted(
    cl_ord_id=cl_ord_id(1),
    exec_id="e1",
    symbol="EUR-USD",
    side=market_data_pb2.SIDE_BUY,
    quantity="4000",
    price="1.1",
    fee="0",
)
BUSTED = journal_pb2.ExecutionBusted(
    cl_ord_id=cl_ord_id(1),
    exec_ref_id="e1",
    symbol="EUR-USD",
    side=market_data_pb2.SIDE_BUY,
    quantity="4000",
    price="1.1",
    fee="0",
)
ENDED = journal_pb2.OrderEnded(cl_ord_id=cl_ord_id(1), ord_status=orders_pb2.ORD_STATUS_CANCELED)
# The journal's events after a session of number 1, and why the last cannot be.
CORRUPT: dict[str, tuple[list[dict[str, object]], str]] = {
    "an event of a later version": ([{}], "has an event of kind None, which this version cannot read: upgrade it"),
    "a session that is not newer": (
        [{"session_started": journal_pb2.SessionStarted(fencing_token=1)}],
        "session 1 follows session 1",
    ),
    "an order twice": (
        [{"order_submitted": SUBMITTED}, {"order_submitted": SUBMITTED}],
        f"order {cl_ord_id(1)} is submitted twice",
    ),
    "the end of an order that nobody sent": (
        [{"order_ended": ENDED}],
        f"has something about order {cl_ord_id(1)}, which nobody sent",
    ),
    "an execution twice": (
        [{"order_submitted": SUBMITTED}, {"order_executed": EXECUTED}, {"order_executed": EXECUTED}],
        "execution e1 stands twice",
    ),
    "an execution of an order that nobody sent": (
        [{"order_executed": EXECUTED}],
        f"has something about order {cl_ord_id(1)}, which nobody sent",
    ),
    "a bust of an order that nobody sent": (
        [{"execution_busted": BUSTED}],
        f"has something about order {cl_ord_id(1)}, which nobody sent",
    ),
    "a bust twice": (
        [
            {"order_submitted": SUBMITTED},
            {"order_executed": EXECUTED},
            {"execution_busted": BUSTED},
            {"execution_busted": BUSTED},
        ],
        "execution e1 is taken back twice",
    ),
    "an end twice": (
        [{"order_submitted": SUBMITTED}, {"order_ended": ENDED}, {"order_ended": ENDED}],
        f"order {cl_ord_id(1)} ends twice",
    ),
    "a replacement that nobody sent": (
        [
            {"order_submitted": SUBMITTED},
            {"order_replaced": journal_pb2.OrderReplaced(cl_ord_id="x", orig_cl_ord_id=cl_ord_id(1))},
        ],
        f"order {cl_ord_id(1)} is replaced by x, which nobody sent",
    ),
    "another replacement than the one that was sent": (
        [
            {"order_submitted": SUBMITTED},
            {
                "replace_submitted": journal_pb2.ReplaceSubmitted(
                    cl_ord_id=cl_ord_id(2), orig_cl_ord_id=cl_ord_id(1), order_quantity="2", price="1"
                )
            },
            {"order_replaced": journal_pb2.OrderReplaced(cl_ord_id="x", orig_cl_ord_id=cl_ord_id(1))},
        ],
        f"order {cl_ord_id(1)} is replaced by x, which nobody sent",
    ),
    "a quantity that is none": (
        [
            {"order_submitted": SUBMITTED},
            {"order_executed": journal_pb2.OrderExecuted(cl_ord_id=cl_ord_id(1), exec_id="e1", quantity="many")},
        ],
        "has an event order_executed that cannot be read",
    ),
    "a side that is none": (
        [{"order_submitted": journal_pb2.OrderSubmitted(cl_ord_id=cl_ord_id(1), order_quantity="1")}],
        "has an event order_submitted that cannot be read",
    ),
}


@pytest.mark.parametrize("what", CORRUPT)
def test_an_event_that_cannot_follow_is_named(what: str) -> None:
    bodies, sentence = CORRUPT[what]
    started = journal_pb2.JournalEvent(session_started=journal_pb2.SessionStarted(fencing_token=1))
    *before, last = [started, *(journal_pb2.JournalEvent(**body) for body in bodies)]  # type: ignore[arg-type]
    books = recover(VENUE, None, before)

    with pytest.raises(JournalCorrupt, match=re.escape(sentence)):
        books.apply(last)


def test_a_run_is_forgotten_when_there_are_too_many_and_then_counts_as_used() -> None:
    """Runs are base 36 numbers: the shorter text is the older one, whatever its letters."""
    books = Books(VENUE)
    runs = ["z", *(f"1{number:02d}" for number in range(RUNS_KEPT))]
    for run in runs:
        order = journal_pb2.OrderSubmitted()
        order.CopyFrom(SUBMITTED)
        order.cl_ord_id = f"eur-usd-{run}-5"
        books.apply(journal_pb2.JournalEvent(order_submitted=order))

    assert books.used == {"eur-usd": dict.fromkeys(runs[1:], 5)} == recover(VENUE, books.to_message(), ()).used
    assert [books.is_used(f"eur-usd-{text}") for text in ("z-9", "100-5", "100-6", "200-1")] == [
        True,
        True,
        False,
        False,
    ]
    assert not books.is_used("beta-z-9")


def test_refused_requests_are_messages_when_they_are_read_from_the_journal_alone() -> None:
    body = journal_pb2.RequestsRefused(strategy="alpha", reason="InvalidPrice", symbol="EUR-USD", count=3)
    event = journal_pb2.JournalEvent(at_unix_ns=START, requests_refused=body)
    running = Books(VENUE)
    running.apply(event)

    assert recover(VENUE, None, [event]).messages.to_messages() == [
        journal_pb2.BookedMessages(strategy="alpha", symbol="EUR-USD", unix_ns=[START], counts=[3])
    ]
    assert running.messages.to_messages() == []


def test_new_books_are_empty() -> None:
    text = " ".join(text_format.MessageToString(Books(VENUE).to_message()).split())
    assert text == "configuration { } recent_orders { } executions { }"
    assert Books(VENUE).members == {}


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        (cl_ord_id(1), True),
        (cl_ord_id(9), True),
        (cl_ord_id(10), False),
        (cl_ord_id(1, "beta"), False),
        ("alpha-1hg3k2m9p0ac-1", False),
        ("alpha-g1-1", True),
        ("beta-g1-77", True),
        ("alpha-g2-1", False),
        ("alpha-g-1", False),
        ("alpha-1-1", False),
        ("alpha-g1x-1", False),
        (f"alpha-g{'0' * 5000}-1", False),
        (f"alpha-1hg3k2m9p0ab-{'9' * 5000}", False),
        ("alpha-1hg3k2m9p0ab-01", False),
        ("alpha-1hg3k2m9p0ab- 1", False),
        ("alpha-1hg3k2m9p0ab-1_0", False),
        ("by-hand", False),
        ("", False),
    ],
)
def test_what_the_gateway_has_sent_is_told_from_whatever_a_venue_may_name(name: str, sent: bool) -> None:
    """Of its first session alpha has used the numbers 1 to 9."""
    books = _rich().books
    books.used["alpha"][RUN] = 9

    assert books.was_sent(name) is sent


# What happens to an order that was submitted, and has a cancel and a replacement under way.
EVENTS: dict[str, Message] = {
    "order_accepted": journal_pb2.OrderAccepted(cl_ord_id=cl_ord_id(1)),
    "order_executed": EXECUTED,
    "execution_busted": BUSTED,
    "order_ended": ENDED,
    "order_replaced": journal_pb2.OrderReplaced(cl_ord_id=cl_ord_id(2), orig_cl_ord_id=cl_ord_id(1)),
    "request_rejected": journal_pb2.RequestRejected(cl_ord_id=cl_ord_id(3), orig_cl_ord_id=cl_ord_id(1)),
    "order_unknown": journal_pb2.OrderUnknown(cl_ord_id=cl_ord_id(1), reason="NoAnswer"),
}


@pytest.mark.parametrize("what", EVENTS)
def test_an_order_changed_when_the_last_event_says_so(what: str) -> None:
    cancel = journal_pb2.CancelSubmitted(cl_ord_id=cl_ord_id(3), orig_cl_ord_id=cl_ord_id(1), reason="CancelRequested")
    replace = journal_pb2.ReplaceSubmitted(
        cl_ord_id=cl_ord_id(2), orig_cl_ord_id=cl_ord_id(1), order_quantity="20000", price="1"
    )
    books = Books(VENUE)
    bodies = [("order_submitted", SUBMITTED), ("cancel_submitted", cancel), ("replace_submitted", replace)]
    for at_ns, (kind, body) in enumerate([*bodies, (what, EVENTS[what])], start=1):
        books.apply(journal_pb2.JournalEvent(at_unix_ns=at_ns, **{kind: body}))  # type: ignore[arg-type]
        order = books.find(cl_ord_id(1))
        assert order is not None
        assert order.changed_ns == at_ns
        if kind == "cancel_submitted":
            assert order.cancel == PendingCancel(cl_ord_id(3), "CancelRequested", at_ns)
        elif kind == "replace_submitted":
            assert order.replace == PendingReplace(cl_ord_id(2), Decimal(20_000), Decimal(1), at_ns)


def test_times_and_sequences_never_go_back() -> None:
    books = Books(VENUE)
    order, execution = journal_pb2.OrderSubmitted(), journal_pb2.OrderExecuted()
    for number, (at, sequence, venue_ns) in enumerate([(9, 7, 5), (8, 6, 4)], start=1):
        order.CopyFrom(SUBMITTED)
        order.cl_ord_id, order.origin_sequence = cl_ord_id(number), sequence
        execution.CopyFrom(EXECUTED)
        execution.cl_ord_id, execution.transact_unix_ns = cl_ord_id(number), venue_ns
        books.apply(journal_pb2.JournalEvent(at_unix_ns=at, order_submitted=order))
        books.apply(journal_pb2.JournalEvent(at_unix_ns=at, order_executed=execution))

    assert (books.at_ns, books.origin_sequence, books.venue_ns) == (9, 7, 5)


def test_a_hundred_thousand_orders_leave_no_more_entries_than_the_first_ninety() -> None:
    """Of one strategy that is restarted now and then: by counting what is kept."""
    books = Books(VENUE)
    books.apply(journal_pb2.JournalEvent(session_started=journal_pb2.SessionStarted(pod="p", fencing_token=1)))
    submitted = journal_pb2.JournalEvent(order_submitted=wire.submitted(terms(1)))
    executed = journal_pb2.JournalEvent(
        order_executed=journal_pb2.OrderExecuted(
            symbol="EUR-USD", side=market_data_pb2.SIDE_BUY, quantity="10000", price="1.1", fee="0"
        )
    )
    order, execution = submitted.order_submitted, executed.order_executed
    counted: list[list[int]] = []
    for number in range(1, 100_001):
        order.cl_ord_id = execution.cl_ord_id = f"alpha-1hg3k2m9p{number // 1000:03}-{number % 1000 + 1}"
        execution.exec_id = f"e{number}"
        order.side = execution.side = market_data_pb2.SIDE_BUY if number % 2 else market_data_pb2.SIDE_SELL
        submitted.at_unix_ns = executed.at_unix_ns = execution.transact_unix_ns = START + number * SECOND // 100
        books.apply(submitted)
        books.apply(executed)
        if number in (90_000, 100_000):
            counted.append(
                [
                    len(books.open),
                    len(books.ended),
                    len(books._by_id),
                    len(books._renamed),
                    sum(len(item.executions) for item in books.ended.values()),
                    len(books.executions._booked),
                    len(books.used),
                    len(books.used["alpha"]),
                    len(books.positions),
                    len(books.counters),
                    len(books.exposures),
                    len(books.charge_ids),
                ]
            )

    assert counted[0] == counted[1] == [0, ENDED_KEPT, ENDED_KEPT, 0, ENDED_KEPT, KEPT, 1, RUNS_KEPT, 1, 1, 1, 0]
    assert books.is_used("alpha-1hg3k2m9p000-999")
