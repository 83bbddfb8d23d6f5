"""Plain values of venues for tests. Prices and quantities as text, times in seconds after START."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import OrderTerms, OrdType, Side, TimeInForce
from crowetrade_agents.risk._seal import KEY
from crowetrade_agents.risk.approved import ApprovedCancel, ApprovedOrder, ApprovedReplace

D = Decimal
SECOND_NS = 1_000_000_000
MIDNIGHT_NS = 1_699_920_000 * SECOND_NS
"""2023-11-14 00:00 UTC."""
START_NS = MIDNIGHT_NS + 12 * 3600 * SECOND_NS
EUR = InstrumentId("sim", "EUR-USD")
BTC = InstrumentId("sim", "BTC-PERP")
EUR_USD = Instrument(EUR, "USD", D(1), D("0.0001"), D(1000), D(1000))
BTC_PERP = Instrument(BTC, "USD", D("0.01"), D("0.5"), D(1), D(1))


class Quote(NamedTuple):
    """A quote of EUR-USD, the same quantity on both sides."""

    seconds: float
    bid: str
    ask: str
    quantity: str = "10000"


def at(seconds: float) -> int:
    """Venue time."""
    return START_NS + int(seconds * SECOND_NS)


def book(quote: Quote, instrument: InstrumentId = EUR) -> TopOfBook:
    """The quote as a book."""
    quantity = D(quote.quantity)
    return TopOfBook(instrument, D(quote.bid), quantity, D(quote.ask), quantity, at(quote.seconds))


def terms(
    cl_ord_id: str,
    side: Side = Side.BUY,
    quantity: str = "4000",
    price: str | None = "1.1000",
    time_in_force: TimeInForce = TimeInForce.GTC,
    *,
    instrument: InstrumentId = EUR,
    expire_ns: int | None = None,
    post_only: bool = False,
) -> OrderTerms:
    """An order; without a price a market order."""
    return OrderTerms(
        cl_ord_id,
        "ema",
        instrument,
        side,
        D(quantity),
        OrdType.MARKET if price is None else OrdType.LIMIT,
        None if price is None else D(price),
        time_in_force,
        expire_ns,
        post_only,
    )


def approved(order: OrderTerms) -> ApprovedOrder:
    """What only the gate makes."""
    return ApprovedOrder(order, KEY)


def approved_cancel(cl_ord_id: str, orig: str, order_id: str = "", instrument: InstrumentId = EUR) -> ApprovedCancel:
    """What only the gate makes."""
    return ApprovedCancel(cl_ord_id, orig, order_id, instrument, Side.BUY, "CancelRequested", KEY)


def approved_replace(order: OrderTerms, orig: str, order_id: str = "") -> ApprovedReplace:
    """What only the gate makes."""
    return ApprovedReplace(order, orig, order_id, KEY)


def write_quotes(path: Path, quotes: Sequence[Quote]) -> Path:
    """A recording of EUR-USD as CSV."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ts_ns", "bid_px", "bid_sz", "ask_px", "ask_sz"])
        writer.writerows([at(q.seconds), q.bid, q.quantity, q.ask, q.quantity] for q in quotes)
    return path
