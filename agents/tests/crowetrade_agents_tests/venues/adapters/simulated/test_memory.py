"""A venue that is started on its own log remembers everything that anybody can have seen."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.orders import OrdStatus
from crowetrade_agents.venues.adapters.simulated.codec import encode
from crowetrade_agents.venues.adapters.simulated.costs import FundingSchedule
from crowetrade_agents.venues.adapters.simulated.exchange import Exchange
from crowetrade_agents.venues.adapters.simulated.faults import FaultKind
from crowetrade_agents.venues.adapters.simulated.ledger import Ledger
from crowetrade_agents.venues.adapters.simulated.memory import Memory
from crowetrade_agents.venues.adapters.simulated.requests import Cancel, NewOrder
from crowetrade_agents.venues.adapters.simulated.server import entries_of
from crowetrade_agents.venues.adapters.simulated.spec import Funding
from crowetrade_agents.venues.calendar import calendar_of
from crowetrade_agents.venues.port import Charged

from ....risk.limits.test_trading_hours import ns
from ...values import BTC, BTC_PERP, EUR, EUR_USD, D, Quote, at, book, terms
from .test_exchange import FEES, GTC, IOC, at_once, exchange, exchange_at, request_of, resting, steps

Entry = Mapping[str, Any]


def logged(venue: Exchange) -> list[Entry]:
    """The lines that the venue's log gets from now on, as JSON leaves them."""
    lines: list[Entry] = []
    venue.listener = lambda at_ns, message: lines.append(
        json.loads(json.dumps({"at": at_ns, "message": encode(message)}))
    )
    return lines


def restarted(lines: Sequence[Entry], calendar: str = "24x7") -> tuple[Exchange, list[Entry]]:
    """An exchange that remembers these lines, and what its log gets."""
    memory = Memory(Ledger(None))
    memory.read(lines)
    venue = Exchange({EUR: EUR_USD, BTC: BTC_PERP}, FEES, calendar=calendar_of(calendar))
    more = logged(venue)
    venue.remember(memory)
    return venue, more


@given(steps, st.sampled_from([None, FaultKind.REJECT, FaultKind.LATE_FILL]))
def test_a_whole_log_restores_the_whole_ledger(plan: list[tuple[object, ...]], fault: FaultKind | None) -> None:
    venue = exchange()
    lines = logged(venue)
    drive(venue, plan, fault)
    for exec_id in list(venue.ledger.executions)[::3]:
        venue.bust(exec_id)

    again, more = restarted(lines)

    assert more == []
    for order in venue.ledger.orders():
        if order.status.is_final:
            order.expire_ns = None
    assert again.ledger == venue.ledger


@given(steps, st.data())
def test_a_log_that_was_cut_off_restores_what_it_holds(plan: list[tuple[object, ...]], data: st.DataObject) -> None:
    venue = exchange()
    lines = logged(venue)
    drive(venue, plan, None)
    kept = lines[: data.draw(st.integers(0, len(lines)))]

    again, more = restarted(kept)

    whole = [*kept, *more]
    executed = [line["message"]["exec_id"] for line in whole if line["message"]["_"] == "Executed"]
    assert list(again.ledger.executions) == executed
    for order in again.ledger.orders():
        assert order.cum + order.leaves + order.canceled == order.terms.quantity
        assert order.status.is_final or not order.terms.time_in_force.is_immediate
    assert restarted(whole)[0].ledger == again.ledger
    again.on_quote(book(Quote(10_000, "1.0998", "1.1000")))
    at_once(again, NewOrder(terms("new", quantity="1000")))
    order_ids = [order.order_id for order in again.ledger.orders() if order.order_id]
    assert len(set(order_ids)) == len(order_ids)
    assert len(again.ledger.executions) > len(executed), "the new execution got an id of its own"


def drive(venue: Exchange, plan: list[tuple[object, ...]], fault: FaultKind | None) -> None:
    """Quotes and requests, a second apart; the fault strikes every third request."""
    for second, step in enumerate(plan, 1):
        if step[0] == "quote":
            _, bid, spread, lots = (int(str(value)) if value != "quote" else 0 for value in step)
            quote = Quote(second, str(D(bid) / 10_000), str(D(bid + spread) / 10_000), str(lots * 1000))
            venue.on_quote(book(quote))
        else:
            request = request_of(step, second)
            struck = fault if second % 3 == 0 and not (fault is FaultKind.LATE_FILL and step[0] != "cancel") else None
            venue.send(request, at(second), struck)
            venue.advance(at(second))


def test_an_immediate_order_that_was_cut_off_is_canceled_and_the_log_says_so() -> None:
    venue = exchange()
    lines = logged(venue)
    at_once(venue, NewOrder(terms("a", quantity="12000", time_in_force=IOC)))
    cut = next(number for number, line in enumerate(lines) if line["message"]["_"] == "Executed")

    again, more = restarted(lines[:cut])

    (order,) = again.ledger.orders()
    assert (order.status, order.cum, order.reason) == (OrdStatus.CANCELED, D(0), "ImmediateRemainder")
    assert [line["message"]["_"] for line in more] == ["Ended"]


def test_a_day_order_ends_with_its_day_across_a_restart() -> None:
    """Its day is that on which it was entered, however late the venue starts again."""
    venue = exchange_at("XNYS", "2026-11-27T15:00:00")
    lines = logged(venue)
    at_once(venue, resting("a"))
    close = ns("2026-11-27T18:00:00")
    for first_seen in (close, ns("2026-11-30T15:00:00")):
        again, more = restarted(lines, "XNYS")
        assert again.advance(close - 1) == []
        assert [order.terms.cl_ord_id for order in again.ledger.open_orders()] == ["a"]
        again.advance(first_seen)
        assert [(line["message"]["status"], line["message"]["reason"]) for line in more] == [
            ("Expired", "EndOfSession")
        ]
        assert more[0]["at"] == close
        (kept,) = restarted([*lines, *more], "XNYS")[0].ledger.orders()
        assert (kept.status, kept.reason) == (OrdStatus.EXPIRED, "EndOfSession")


def test_a_day_order_whose_end_the_new_calendar_does_not_know_is_canceled() -> None:
    venue = exchange_at("24x7", "2060-01-05T03:00:00")
    lines = logged(venue)
    at_once(venue, resting("a"))
    at_once(venue, resting("b", GTC))

    again, more = restarted(lines, "XHKG")

    assert [order.terms.cl_ord_id for order in again.ledger.open_orders()] == ["b"]
    (ended,) = (line["message"] for line in more)
    assert (ended["cl_ord_id"], ended["status"], ended["reason"]) == ("a", "Canceled", "TradingDayUnknown")


def test_a_used_cl_ord_id_stays_used() -> None:
    venue = exchange()
    lines = logged(venue)
    at_once(venue, NewOrder(terms("a", price="1.0900")))
    at_once(venue, NewOrder(terms("a", quantity="9000")))
    at_once(venue, Cancel("c", "a", ""))

    again, _ = restarted(lines)
    (refused,) = at_once(again, NewOrder(terms("a")))

    assert getattr(refused, "reason", "") == "DuplicateClOrdID"
    assert again.ledger.order("a") is not None
    assert again.ledger.orders()[0].terms.quantity == D(4000)


def test_charges_are_remembered_and_their_identifiers_are_not_given_out_again() -> None:
    charges = (FundingSchedule(Funding("EUR-USD", D(1), 1)),)
    venue = Exchange({EUR: EUR_USD}, charges=charges, retain=None)
    lines = logged(venue)
    venue.start(at(0))
    venue.on_quote(book(Quote(0, "1.0998", "1.1000")))
    at_once(venue, NewOrder(terms("a")))
    venue.advance(at(2 * 3600))

    memory = Memory(Ledger(None))
    memory.read(lines)
    again = Exchange({EUR: EUR_USD}, charges=charges, retain=None)
    again.remember(memory)
    assert again.ledger == venue.ledger
    assert len(again.ledger.charges) == 2

    again.on_quote(book(Quote(7201, "1.0998", "1.1000")))
    again.start(at(7201))
    (charged,) = again.advance(at(3 * 3600))
    assert isinstance(charged, Charged)
    assert charged.charge_id == "x4"
    assert charged.at_ns == at(3 * 3600)


def test_a_line_that_was_cut_off_is_removed(tmp_path: Path) -> None:
    log = tmp_path / "venue.jsonl"
    log.write_text('{"at": 1}\n{"at": 2}\n{"at": 3')
    assert list(entries_of(log)) == [{"at": 1}, {"at": 2}]
    assert log.read_text() == '{"at": 1}\n{"at": 2}\n'
