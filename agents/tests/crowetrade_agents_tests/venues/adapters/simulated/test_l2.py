"""Recorded depth becomes a tape: how diffs join the snapshot, and the same book as a plain dict keeps."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet
import pytest

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.errors import DataError
from crowetrade_agents.venues.adapters.simulated.depth import DepthTape
from crowetrade_agents.venues.adapters.simulated.recording import read
from crowetrade_agents.venues.adapters.simulated.spec import Recording

from ...values import D

X = Instrument(InstrumentId("sim", "X"), "USD", D(1), D("0.5"), D("0.1"), D("0.1"))
SPOT = "ts_ns,update,side,px,sz,first_id,last_id"
FUTURES = f"{SPOT},prev_last_id"
BOOK = "5,snapshot,bid,100,7,,10\n5,snapshot,bid,99.5,8,,10\n5,snapshot,ask,101,9.5,,10\n"
BOOK_WITH_PREV = BOOK.replace(",,10\n", ",,10,\n")
GAP = ": take a recording without a gap, or put a snapshot behind it"


def tape_of(folder: Path, text: str) -> DepthTape:
    path = folder / "l2.csv"
    path.write_text(text)
    (tape,) = read([Recording(path, "X")], [X])
    assert isinstance(tape, DepthTape)
    return tape


def tops(tape: DepthTape) -> list[str]:
    books = [tape.book(row) for row in range(len(tape))]
    return [f"{book.bid_price} {book.bid_quantity} {book.ask_price} {book.ask_quantity}" for book in books]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{SPOT}\n{BOOK}6,diff,bid,100.0,0,11,12\n7,diff,ask,100,0.5,13,13\n",
         ["99.5 8.0 101.0 9.5", "99.5 8.0 100.0 0.5"]),
        # Of two diffs before the snapshot the first is in it already, the second is applied at the snapshot's time.
        (f"{SPOT}\n1,diff,bid,100,1,7,10\n2,diff,bid,99.5,0,11,12\n{BOOK}6,diff,bid,100,0,13,13\n6,diff,bid,99,3,13,13\n",
         ["99.0 3.0 101.0 9.5"]),
        # A futures diff that ends at the snapshot's id is applied, and each names the one before it.
        (f"{FUTURES}\n{BOOK_WITH_PREV}6,diff,bid,100,6,9,10,8\n7,diff,bid,100,5,30,31,10\n",
         ["100.0 6.0 101.0 9.5", "100.0 5.0 101.0 9.5"]),
        # A later snapshot replaces the book.
        (f"{SPOT}\n{BOOK}6,snapshot,bid,90,1,,20\n6,snapshot,ask,91,2,,20\n7,diff,bid,90,4,21,21\n",
         ["90.0 1.0 91.0 2.0", "90.0 4.0 91.0 2.0"]),
        # Crossed, then not: both messages take effect together.
        (f"{SPOT}\n{BOOK}6,diff,ask,99,1,11,11\n7,diff,ask,99,0,12,12\n7,diff,bid,100,6,12,12\n",
         ["100.0 6.0 101.0 9.5"]),
        # Without ids.
        ("ts_ns,update,side,px,sz\n1,diff,bid,100,1\n5,snapshot,bid,100,7\n5,snapshot,ask,101,9.5\n6,diff,bid,100,2\n",
         ["100.0 2.0 101.0 9.5"]),
    ],
)  # fmt: skip
def test_diffs_join_their_snapshot(tmp_path: Path, text: str, expected: list[str]) -> None:
    found = tops(tape_of(tmp_path, text))
    assert found[-len(expected) :] == expected
    assert len(found) <= len(expected) + 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            f"{SPOT}\n{BOOK}6,diff,bid,100,0,12,12\n",
            "l2.csv lacks updates of X between ids 10 and 12" + GAP,
        ),
        (
            f"{SPOT}\n{BOOK}6,diff,bid,100,0,11,12\n7,diff,bid,100,1,14,14\n",
            "l2.csv lacks updates of X between ids 12 and 14" + GAP,
        ),
        (
            f"{FUTURES}\n{BOOK_WITH_PREV}6,diff,bid,100,6,9,11,8\n7,diff,bid,100,5,12,12,10\n",
            "l2.csv lacks updates of X between ids 11 and 12" + GAP,
        ),
        (
            f"{SPOT}\n6,diff,bid,100,0,12,12\n",
            "l2.csv holds no snapshot of X: a recorded book begins with one",
        ),
        (
            f"{SPOT}\n5,snapshot,bid,100,7,,10\n",
            "l2.csv holds no usable quote of X: bids are above offers, or not positive",
        ),
        (
            f"{SPOT}\n5,full,bid,100,7,,10\n",
            "l2.csv, row 1 (X at 5): update 'full' is neither snapshot nor diff: write one of them",
        ),
        (
            f"{SPOT}\n5,diff,buy,100,7,,10\n",
            "l2.csv, row 1 (X at 5): side 'buy' is neither bid nor ask: write one of them",
        ),
        (f"{SPOT}\n5,diff,bid,0.00,7,,10\n", "l2.csv, row 1 (X at 5): px '0.00' is not a price above 0"),
        (
            f"{SPOT}\n5,diff,bid,1,-7,,10\n",
            "l2.csv, row 1 (X at 5): sz '-7' is negative: write what is there, 0 for a level that is gone",
        ),
        (
            f"{SPOT}\n5,diff,bid,1,1.1234567890123456,,10\n",
            "l2.csv has prices or sizes of more than 18 digits: write fewer decimal places",
        ),
    ],
)
def test_depth_that_cannot_be_replayed_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(DataError) as caught:
        tape_of(tmp_path, text)
    assert str(caught.value) == sentence


@pytest.mark.no_cover
@pytest.mark.parametrize(
    ("name", "tick", "lot"),
    [("BTC-USDT.binance-spot", "0.01", "0.00001"), ("BTC-USDT-PERP.binance-usdm", "0.1", "0.001")],
)
def test_the_recorded_books_are_those_that_a_plain_dict_keeps(
    shared_data: Path, name: str, tick: str, lot: str
) -> None:
    """Needs ../shared/data; skips without it. The dict is kept by price, and its best prices are sought, not sorted."""
    instrument = Instrument(InstrumentId("sim", "X"), "USDT", D(1), D(tick), D(lot), D(lot))
    path = shared_data / "l2" / f"{name}.parquet"
    (tape,) = read([Recording(path, "X")], [instrument])
    assert isinstance(tape, DepthTape)
    columns = ["ts_ns", "update", "side", "px", "sz", "last_id"]
    rows = [list(row.values()) for row in pyarrow.parquet.read_table(path, columns=columns).to_pylist()]
    snapshot = next(row for row in rows if row[1] == "snapshot")
    spot = 1 if "spot" in name else 0
    kept = [row for row in rows if row[1] == "snapshot"]
    kept += [row for row in rows if row[1] == "diff" and row[5] >= snapshot[5] + spot]
    sizes: dict[tuple[str, str], str] = {}
    number, checked = 0, 0
    for place, (at_ns, _, side, price, size, last_id) in enumerate(kept):
        sizes[side, price] = size
        ends = place + 1 == len(kept) or kept[place + 1][5] != last_id
        if not ends or (place + 1 < len(kept) and kept[place + 1][0] < snapshot[0]):
            continue
        if number % 331 == 0:
            bids = {D(px): D(sz) for (which, px), sz in sizes.items() if which == "bid" and D(sz)}
            offers = {D(px): D(sz) for (which, px), sz in sizes.items() if which == "ask" and D(sz)}
            bid, offer = max(bids), min(offers)
            assert tape.book(number) == TopOfBook(
                instrument.id, bid, bids[bid], offer, offers[offer], max(at_ns, snapshot[0])
            )
            whole = tape.whole(number)
            shown = {tape.scale.price(key) * (-1 if key < 0 else 1): tape.scale.quantity(size)
                     for key, size in zip(whole.keys, whole.sizes, strict=True)}  # fmt: skip
            assert shown == {**{-price: size for price, size in bids.items()}, **offers}
            checked += 1
        number += 1
    assert number == len(tape)
    assert checked > 10
