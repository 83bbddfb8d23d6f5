"""The numbered promises of a venue adapter. The market is EUR-USD: lots of 1000, tick 0.0001; each quote shows the same
quantity on both sides. A case starts with a venue that is not connected and has shown nothing."""

from __future__ import annotations

import asyncio

import pytest

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import can_travel
from crowetrade_agents.domain.orders import OrdStatus, Side, TimeInForce
from crowetrade_agents.venues.adapters.simulated.faults import Fault, FaultKind, Message
from crowetrade_agents.venues.port import (
    DUPLICATE_CL_ORD_ID,
    Accepted,
    Busted,
    Ended,
    Executed,
    FeedAlive,
    LogonRefused,
    OrderState,
    QuoteChanged,
    Recalled,
    Replaced,
    RequestRejected,
    Resume,
    SessionChanged,
    SessionState,
)

from ..venues.values import EUR, MIDNIGHT_NS, SECOND_NS, D, Quote, at, terms
from .bench import Venue, case

NEXT_MIDNIGHT = (MIDNIGHT_NS + 86_400 * SECOND_NS - at(0)) // SECOND_NS
FALLING = (Quote(0, "1.0998", "1.1000"), Quote(10, "1.0990", "1.0992", "3000"), Quote(20, "1.0990", "1.0992"))
OVERNIGHT = (Quote(0, "1.0998", "1.1000"), Quote(NEXT_MIDNIGHT + 1, "1.0998", "1.1000"))


async def begin(venue: Venue) -> None:
    """Logged on, first quote seen."""
    await venue.connect()
    await venue.quote(1)


async def state(venue: Venue, cl_ord_id: str) -> OrderState:
    """The answer to a query; everything that was sent before it has arrived then."""
    venue.port.query(cl_ord_id, "", EUR)
    return await venue.next(OrderState, lambda event: event.cl_ord_id == cl_ord_id)


@case()
async def c01_snapshot_first(venue: Venue) -> None:
    """connect returns a snapshot before anything happens; the market comes after it."""
    snapshot = await venue.connect()
    assert snapshot.open_orders == ()
    assert snapshot.executions == ()
    first = await venue.next(QuoteChanged)
    assert first.sequence == 1
    assert first.book.instrument == EUR


@case(quotes=FALLING)
async def c02_sequences(venue: Venue) -> None:
    """Market data is numbered from 1 without gaps, and its time does not go back."""
    await begin(venue)
    events = [venue.of(QuoteChanged)[0], await venue.quote(2), await venue.quote(3)]
    assert [event.sequence for event in events] == [1, 2, 3]
    times = [event.book.event_ns for event in events]
    assert times == sorted(times)


@case()
async def c03_accepted_before_executed(venue: Venue) -> None:
    """An order is accepted, with the venue's OrderID, before it trades, and each execution names its instrument and
    side."""
    await begin(venue)
    venue.submit(terms("a", quantity="4000"))
    executed = await venue.next(Executed)
    (accepted,) = venue.of(Accepted, "a")
    assert accepted.order_id == executed.order_id != ""
    assert (executed.instrument, executed.side, executed.quantity) == (EUR, Side.BUY, D(4000))
    assert executed.price == D("1.1000")
    assert accepted.at_ns <= executed.at_ns


@case()
async def c04_exec_ids_unique(venue: Venue) -> None:
    """Executions have ids of their own; together they are what was executed."""
    await begin(venue)
    for number in range(5):
        venue.submit(terms(f"a{number}", quantity="1000"))
    assert (await state(venue, "a4")).status is OrdStatus.FILLED
    executions = venue.of(Executed)
    assert len({event.exec_id for event in executions}) == 5
    assert sum(event.quantity for event in executions) == 5000


@case()
async def c05_ioc(venue: Venue) -> None:
    """IOC takes what is there, and the rest is canceled."""
    await begin(venue)
    venue.submit(terms("a", quantity="25000", time_in_force=TimeInForce.IOC))
    ended = await venue.next(Ended)
    assert (ended.cl_ord_id, ended.status) == ("a", OrdStatus.CANCELED)
    assert sum(event.quantity for event in venue.of(Executed, "a")) == 10_000


@case()
async def c06_fok(venue: Venue) -> None:
    """FOK trades nothing when there is too little, and all at once when there is enough."""
    await begin(venue)
    venue.submit(terms("a", quantity="11000", time_in_force=TimeInForce.FOK))
    ended = await venue.next(Ended)
    assert (ended.status, venue.of(Executed)) == (OrdStatus.CANCELED, [])
    venue.submit(terms("b", quantity="10000", time_in_force=TimeInForce.FOK))
    assert (await venue.next(Executed)).quantity == 10_000
    assert (await state(venue, "b")).status is OrdStatus.FILLED


@case(quotes=OVERNIGHT)
async def c07_day(venue: Venue) -> None:
    """A DAY order expires at the end of the trading day."""
    await begin(venue)
    venue.submit(terms("a", price="1.0900", time_in_force=TimeInForce.DAY))
    assert (await state(venue, "a")).status is OrdStatus.NEW
    venue.port.release(1)
    ended = await venue.next(Ended)
    assert (ended.cl_ord_id, ended.status) == ("a", OrdStatus.EXPIRED)
    assert ended.at_ns == MIDNIGHT_NS + 86_400 * SECOND_NS


@case(quotes=FALLING)
async def c08_gtd(venue: Venue) -> None:
    """A GTD order expires at its time, though the market would reach it later."""
    await begin(venue)
    venue.submit(terms("a", price="1.0992", time_in_force=TimeInForce.GTD, expire_ns=at(9)))
    assert (await state(venue, "a")).status is OrdStatus.NEW
    venue.port.release(1)
    ended = await venue.next(Ended)
    assert (ended.status, ended.at_ns) == (OrdStatus.EXPIRED, at(9))
    assert venue.of(Executed) == []


@case(quotes=OVERNIGHT)
async def c09_gtc(venue: Venue) -> None:
    """A GTC order outlives the trading day."""
    await begin(venue)
    venue.submit(terms("a", price="1.0900"))
    await venue.quote(2)
    assert (await state(venue, "a")).status is OrdStatus.NEW
    assert venue.of(Ended) == []


@case("post_only")
async def c10_post_only(venue: Venue) -> None:
    """A post-only order that would trade at once is canceled; one that would not rests."""
    await begin(venue)
    venue.submit(terms("a", price="1.1000", post_only=True))
    ended = await venue.next(Ended)
    assert (ended.cl_ord_id, ended.status) == ("a", OrdStatus.CANCELED)
    venue.submit(terms("b", price="1.0999", post_only=True))
    assert (await state(venue, "b")).status is OrdStatus.NEW
    assert venue.of(Executed) == []


@case()
async def c11_market_order(venue: Venue) -> None:
    """A market order trades at the touch, and what is not there is canceled."""
    await begin(venue)
    venue.submit(terms("a", Side.SELL, "12000", None))
    ended = await venue.next(Ended)
    assert ended.status is OrdStatus.CANCELED
    (executed,) = venue.of(Executed, "a")
    assert (executed.price, executed.quantity, executed.side) == (D("1.0998"), D(10_000), Side.SELL)


@case(quotes=FALLING)
async def c12_resting_order(venue: Venue) -> None:
    """A resting order fills at its own price when the market reaches it, up to what is quoted, quote by quote."""
    await begin(venue)
    venue.submit(terms("a", price="1.0995", quantity="5000"))
    assert (await state(venue, "a")).status is OrdStatus.NEW
    await venue.quote(2)
    partial = await state(venue, "a")
    assert (partial.status, partial.cum_quantity) == (OrdStatus.PARTIALLY_FILLED, D(3000))
    await venue.quote(3)
    assert (await state(venue, "a")).status is OrdStatus.FILLED
    assert [(event.quantity, event.price) for event in venue.of(Executed, "a")] == [
        (D(3000), D("1.0995")),
        (D(2000), D("1.0995")),
    ]


@case()
async def c13_cancel_confirmed(venue: Venue) -> None:
    """A cancel is confirmed by the end of the order, under the order's ClOrdID."""
    await begin(venue)
    venue.submit(terms("a", price="1.0900"))
    accepted = await venue.next(Accepted)
    venue.cancel("c", "a")
    ended = await venue.next(Ended)
    assert (ended.cl_ord_id, ended.order_id, ended.status) == ("a", accepted.order_id, OrdStatus.CANCELED)


@case()
async def c14_cancel_unknown(venue: Venue) -> None:
    """A cancel of an order that the venue never had is refused as unknown."""
    await begin(venue)
    venue.cancel("c", "nobody")
    rejected = await venue.next(RequestRejected)
    assert (rejected.cl_ord_id, rejected.orig_cl_ord_id, rejected.unknown_order) == ("c", "nobody", True)


@case()
async def c15_cancel_too_late(venue: Venue) -> None:
    """A cancel of an order that is over is refused as not open any more."""
    await begin(venue)
    venue.submit(terms("a"))
    await venue.next(Executed)
    venue.cancel("c", "a")
    assert (await venue.next(RequestRejected)).unknown_order
    assert venue.of(Ended) == []


@case("replace", quotes=FALLING)
async def c16_replace_chain(venue: Venue) -> None:
    """A chain of replacements is one order: each is confirmed under the new ClOrdID, executions carry the last one."""
    await begin(venue)
    venue.submit(terms("a", price="1.0900", quantity="2000"))
    venue.replace(terms("b", price="1.0910", quantity="3000"), "a")
    venue.replace(terms("c", price="1.0995", quantity="3000"), "b")
    last = await venue.next(Replaced, lambda event: event.cl_ord_id == "c")
    first = venue.of(Replaced, "b")[0]
    assert (first.orig_cl_ord_id, last.orig_cl_ord_id) == ("a", "b")
    assert venue.of(Accepted)[0].order_id == first.order_id == last.order_id
    await venue.quote(2)
    known = await state(venue, "a")
    assert (known.current, known.status, known.cum_quantity) == ("c", OrdStatus.FILLED, D(3000))
    assert [event.cl_ord_id for event in venue.of(Executed)] == ["c"]


@case("replace", quotes=FALLING)
async def c17_replace_keeps_executions(venue: Venue) -> None:
    """The quantity of a replacement is the whole quantity: what was executed stays and counts."""
    await begin(venue)
    venue.submit(terms("a", price="1.0995", quantity="5000"))
    await venue.quote(2)
    venue.replace(terms("b", price="1.0900", quantity="4000"), "a")
    await venue.next(Replaced)
    known = await state(venue, "b")
    assert (known.quantity, known.cum_quantity, known.status) == (D(4000), D(3000), OrdStatus.PARTIALLY_FILLED)


@case("replace", quotes=FALLING)
async def c18_replace_below_executed(venue: Venue) -> None:
    """A replacement at or below what was executed fills the order with what was executed (FIX 4.4, C.2.b and C.2.c)."""
    await begin(venue)
    venue.submit(terms("a", price="1.0995", quantity="5000"))
    await venue.quote(2)
    venue.replace(terms("b", price="1.0995", quantity="2000"), "a")
    await venue.next(Replaced)
    known = await state(venue, "b")
    assert (known.status, known.quantity, known.cum_quantity) == (OrdStatus.FILLED, D(3000), D(3000))
    await venue.quote(3)
    assert sum(event.quantity for event in venue.of(Executed)) == 3000


@case("replace")
async def c19_replace_after_fill(venue: Venue) -> None:
    """A replacement that meets a filled order is refused as not open any more, and nothing trades twice."""
    await begin(venue)
    venue.submit(terms("a", quantity="4000"))
    venue.replace(terms("b", quantity="8000"), "a")
    assert (await venue.next(RequestRejected)).unknown_order
    assert sum(event.quantity for event in venue.of(Executed)) == 4000
    assert (await state(venue, "b")).status is None


@case()
async def c20_query(venue: Venue) -> None:
    """A query tells open, filled, canceled and never seen orders apart, after all their executions."""
    await begin(venue)
    venue.submit(terms("open", price="1.0900"))
    venue.submit(terms("filled"))
    venue.submit(terms("ended", price="1.0900"))
    venue.cancel("c", "ended")
    found = {name: await state(venue, name) for name in ("open", "filled", "ended", "never")}
    assert [event.status for event in found.values()] == [
        OrdStatus.NEW,
        OrdStatus.FILLED,
        OrdStatus.CANCELED,
        None,
    ]
    assert found["filled"].cum_quantity == sum(event.quantity for event in venue.of(Executed, "filled")) == 4000


@case(quotes=FALLING, faults=(Fault(FaultKind.DISCONNECT, Message.EXECUTED),))
async def c21_snapshot_after_disconnect(venue: Venue) -> None:
    """What is executed and not reported before the session breaks stands in the next snapshot, with what is open."""
    await begin(venue)
    venue.submit(terms("a", price="1.0995", quantity="5000"))
    venue.submit(terms("b", price="1.0900"))
    assert (await state(venue, "b")).status is OrdStatus.NEW
    venue.port.release(1)
    lost = await venue.next(SessionChanged)
    assert lost.state is SessionState.DISCONNECTED
    assert venue.of(Executed) == []
    snapshot = await venue.connect(Resume(since_ns=at(0), fencing_token=1))
    assert [(event.cl_ord_id, event.quantity) for event in snapshot.executions] == [("a", D(3000))]
    opened = {order.cl_ord_id: (order.status, order.cum_quantity) for order in snapshot.open_orders}
    assert opened == {"a": (OrdStatus.PARTIALLY_FILLED, D(3000)), "b": (OrdStatus.NEW, D(0))}


@case(abilities=("drop",))
async def c22_nothing_of_an_old_session(venue: Venue) -> None:
    """After a snapshot nothing of an earlier session arrives, and what it has sent either stands in the snapshot or
    never happens."""
    await begin(venue)
    names = [f"a{number}" for number in range(20)]
    for name in names:
        venue.submit(terms(name, price="1.0900", quantity="1000"))
    await venue.bench.drop()
    snapshot = await venue.connect()
    venue.seen.clear()
    known = {order.cl_ord_id for order in snapshot.open_orders}
    for name in names:
        assert ((await state(venue, name)).status is OrdStatus.NEW) == (name in known)
    assert venue.of(Accepted) == []


@case(abilities=("drop",))
async def c23_reports_disconnect(venue: Venue) -> None:
    """A session that breaks is reported, and the next connect works."""
    await begin(venue)
    await venue.bench.drop()
    assert (await venue.next(SessionChanged)).state is SessionState.DISCONNECTED
    await venue.connect()
    venue.submit(terms("a", price="1.0900"))
    assert (await venue.next(Accepted)).cl_ord_id == "a"


@case()
async def c24_duplicate_cl_ord_id(venue: Venue) -> None:
    """A second order of the same ClOrdID is refused as a duplicate, and the first one goes on."""
    await begin(venue)
    venue.submit(terms("a", price="1.0900"))
    venue.submit(terms("a", price="1.0900"))
    ended = await venue.next(Ended)
    assert (ended.status, ended.reason) == (OrdStatus.REJECTED, DUPLICATE_CL_ORD_ID)
    assert (await state(venue, "a")).status is OrdStatus.NEW


@case()
async def c25_invalid_orders(venue: Venue) -> None:
    """Orders off the grid, without a price or in an unknown instrument are refused with a reason, one by one."""
    await begin(venue)
    venue.submit(terms("lot", quantity="1500"))
    venue.submit(terms("tick", price="1.10005"))
    venue.submit(terms("where", instrument=InstrumentId("sim", "NOT-HERE")))
    venue.submit(terms("past", time_in_force=TimeInForce.GTD, expire_ns=at(-1)))
    venue.submit(terms("good", price="1.0900"))
    await venue.next(Accepted, lambda event: event.cl_ord_id == "good")
    refused = {event.cl_ord_id: event for event in venue.of(Ended)}
    assert set(refused) == {"lot", "tick", "where", "past"}
    assert all(event.status is OrdStatus.REJECTED and event.reason and event.text for event in refused.values())


@case()
async def c26_nothing_raises_without_a_session(venue: Venue) -> None:
    """Without a session submit, cancel, replace and query neither raise nor wait; what was not sent is reported so."""
    venue.submit(terms("a"))
    venue.cancel("c", "x")
    venue.replace(terms("r"), "x")
    venue.port.query("q", "", EUR)
    venue.port.release(7)
    ended = await venue.next(Ended)
    assert (ended.cl_ord_id, ended.status, ended.reason) == ("a", OrdStatus.REJECTED, "NotSent")
    cancel, replace = await venue.next(RequestRejected), await venue.next(RequestRejected)
    assert [(event.cl_ord_id, event.unknown_order) for event in (cancel, replace)] == [("c", False), ("r", False)]


@case()
async def c27_close_ends_events(venue: Venue) -> None:
    """close ends the stream of events."""
    await begin(venue)
    await venue.port.close()
    with pytest.raises(StopAsyncIteration):
        await venue.next(SessionChanged)


@case("positions")
async def c28_positions(venue: Venue) -> None:
    """A venue that tells positions has in its snapshot what was executed."""
    await begin(venue)
    venue.submit(terms("a", quantity="4000"))
    venue.submit(terms("b", Side.SELL, "1000", "1.0998"))
    await state(venue, "b")
    assert (await venue.connect()).positions == {EUR: D(3000)}


@case(abilities=("key",), api_key="wrong")
async def c29_wrong_key(venue: Venue) -> None:
    """A wrong key is refused with a sentence for people."""
    with pytest.raises(LogonRefused, match="key"):
        await venue.connect()


@case()
async def c30_end_of_the_recording(venue: Venue) -> None:
    """At the end of the market's data the session says so; orders are refused then, cancels and queries answered."""
    await begin(venue)
    venue.submit(terms("a", price="1.0900"))
    await venue.quote(2)
    venue.port.release(2)
    assert (await venue.next(SessionChanged)).state is SessionState.ENDED
    venue.submit(terms("b", price="1.0900"))
    assert (await venue.next(Ended)).status is OrdStatus.REJECTED
    venue.cancel("c", "a")
    ended = await venue.next(Ended)
    assert (ended.cl_ord_id, ended.status) == ("a", OrdStatus.CANCELED)


@case()
async def c31_feed_alive(venue: Venue) -> None:
    """While nothing changes the feed says that it is alive."""
    await begin(venue)
    for _ in range(2):
        await venue.next(FeedAlive)


@case(faults=(Fault(FaultKind.BUST, Message.EXECUTED),))
async def c32_bust(venue: Venue) -> None:
    """A trade that is taken back is reported with its numbers, and stands in the next snapshot."""
    await begin(venue)
    venue.submit(terms("a", quantity="4000"))
    busted = await venue.next(Busted)
    (executed,) = venue.of(Executed)
    assert busted.exec_ref_id == executed.exec_id != busted.exec_id
    assert (busted.quantity, busted.price, busted.fee) == (executed.quantity, executed.price, executed.fee)
    known = await state(venue, "a")
    assert known.cum_quantity == 0
    snapshot = await venue.connect()
    assert [event.exec_ref_id for event in snapshot.busts] == [executed.exec_id]
    assert snapshot.open_orders == ()


@case(quotes=FALLING)
async def c33_book_in_force_after_a_logon(venue: Venue) -> None:
    """After a new logon the book in force comes first, with its own sequence."""
    await begin(venue)
    await venue.quote(2)
    await venue.connect()
    event = await venue.next(QuoteChanged)
    assert (event.sequence, event.book.bid_price) == (2, D("1.0990"))


@case(abilities=("key",))
async def c34_renewal(venue: Venue) -> None:
    """A session is logged on again with another key while orders go on: none is lost, no session breaks."""
    await begin(venue)
    venue.submit(terms("a", price="1.0900"))
    venue.bench.api_key = "rightful"
    renewing = asyncio.create_task(venue.port.renew())
    venue.submit(terms("b", price="1.0901"))
    await renewing
    venue.submit(terms("c", price="1.0902"))
    for name in "abc":
        assert (await state(venue, name)).status is OrdStatus.NEW
    assert not venue.of(SessionChanged)


@case(abilities=("key",))
async def c35_renewal_refused(venue: Venue) -> None:
    """A venue that refuses the new key says so, and the session goes on."""
    await begin(venue)
    venue.submit(terms("a", price="1.0900"))
    venue.bench.api_key = "wrong"
    renewing = asyncio.create_task(venue.port.renew())
    venue.submit(terms("b", price="1.0901"))
    with pytest.raises(LogonRefused, match="key"):
        await renewing
    for name in "ab":
        assert (await state(venue, name)).status is OrdStatus.NEW
    assert not venue.of(SessionChanged)


@case(faults=(Fault(FaultKind.LOSE, Message.EXECUTED),))
async def c36_recall_of_what_was_lost(venue: Venue) -> None:
    """An execution whose report was lost is in the answer to `recall`, as it would have been reported."""
    await begin(venue)
    venue.submit(terms("a", quantity="4000"))
    assert (await state(venue, "a")).cum_quantity == 4000
    assert venue.of(Executed) == []
    venue.port.recall(0)
    (lost,) = (await venue.next(Recalled)).executions
    assert (lost.cl_ord_id, lost.instrument, lost.side) == ("a", EUR, Side.BUY)
    assert (lost.quantity, lost.price) == (D(4000), D("1.1000"))
    assert (await venue.connect()).executions == (lost,)


@case(faults=(Fault(FaultKind.BUST, Message.EXECUTED),))
async def c37_recall_since(venue: Venue) -> None:
    """`recall` answers with what was executed and taken back since that time, the time itself included, oldest first,
    and comes after all that was reported before."""
    await begin(venue)
    venue.submit(terms("a", quantity="1000"))
    busted = await venue.next(Busted)
    await venue.quote(2)
    venue.submit(terms("b", quantity="2000"))
    venue.submit(terms("c", quantity="3000"))
    venue.port.recall(0)
    answer = await venue.next(Recalled)
    assert answer.executions == tuple(venue.of(Executed))
    assert [event.cl_ord_id for event in answer.executions] == ["a", "b", "c"]
    assert answer.busts == (busted,)
    first, second, _ = answer.executions
    venue.port.recall(first.at_ns + 1)
    assert [event.cl_ord_id for event in (await venue.next(Recalled)).executions] == ["b", "c"]
    venue.port.recall(second.at_ns)
    assert (await venue.next(Recalled)).executions[0].cl_ord_id == "b"


@case()
async def c38_numbers_fit_the_journal(venue: Venue) -> None:
    """What an execution says has at most 20 digits before the point and 18 after it."""
    await begin(venue)
    venue.submit(terms("a", quantity="7000"))
    executed = await venue.next(Executed)
    assert can_travel(executed.quantity, executed.price, executed.fee)
