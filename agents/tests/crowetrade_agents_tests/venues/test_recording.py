"""Recorded files become quotes, or one sentence that says what is wrong; a replay finds its place again."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crowetrade_agents.domain.instrument import Instrument
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.errors import DataError
from crowetrade_agents.venues.adapters.simulated.recording import QuoteMaking, read
from crowetrade_agents.venues.adapters.simulated.replay import Replay

D = Decimal
INSTRUMENT = Instrument("EUR-USD", "USD", D("0.00001"), D(1000), D(1000))
HOUR = 3_600_000_000_000


def test_bars_make_quotes_around_their_close_at_their_end(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text(f"ts_ns,open,high,low,close,volume\n0,1,1,1,1.10000,5\n{HOUR},1,1,1,1.10003,\n")
    first, second = read(path, INSTRUMENT, QuoteMaking(D(1), D(777)))
    assert (first.bid_price, first.ask_price, first.event_ns) == (D("1.09994"), D("1.10006"), HOUR)
    assert (second.bid_price, second.ask_price, second.bid_quantity) == (D("1.09997"), D("1.10009"), D(777))


def test_bars_of_offers_keep_the_offer(tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_text("ts_ns,open,high,low,close,volume\n0,1,1,1,1.10000,5\n")
    (quote,) = read(path, INSTRUMENT, QuoteMaking(D(1), D(1), price_is_ask=True))
    assert (quote.bid_price, quote.ask_price) == (D("1.09989"), D("1.1"))


def test_parquet_quotes_are_read_as_they_stand_without_crossed_ones(tmp_path: Path) -> None:
    path = tmp_path / "quotes.parquet"
    table = pyarrow.table(
        {
            "ts_ns": [1, 2],
            "bid_px": ["1.10", "1.20"],
            "bid_sz": ["3", None],
            "ask_px": ["1.11", "1.19"],
            "ask_sz": ["", "1"],
        }
    )
    pyarrow.parquet.write_table(table, path)
    (quote,) = read(path, INSTRUMENT, QuoteMaking())
    assert quote == TopOfBook("EUR-USD", D("1.10"), D(3), D("1.11"), None, 1)


def test_trades_make_quotes(tmp_path: Path) -> None:
    path = tmp_path / "trades.csv"
    path.write_text("ts_ns,price,size\n1,2.00000,1\n")
    (quote,) = read(path, INSTRUMENT, QuoteMaking(D(10), D(5)))
    assert (quote.bid_price, quote.ask_price) == (D("1.999"), D("2.001"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.csv", None, "missing"),
        ("empty.csv", "ts_ns,close\n", "holds no rows"),
        ("odd.csv", "time,last\n1,2\n", "quotes, trades or bars are needed"),
        ("text.csv", "ts_ns,close\n1,high\n", "not a decimal number"),
        ("nan.csv", "ts_ns,close\n1,NaN\n", "not a finite number"),
        ("back.csv", "ts_ns,bid_px,ask_px\n2,1,2\n1,1,2\n", "goes back in time"),
        ("crossed.csv", "ts_ns,bid_px,ask_px\n2,3,2\n", "no usable quote"),
        ("broken.parquet", "PAR0", "not readable Parquet"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_a_sentence(
    tmp_path: Path, name: str, content: str | None, sentence: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=sentence):
        read(path, INSTRUMENT, QuoteMaking())


def test_the_recorded_files_are_readable(shared_data: Path) -> None:
    quotes = read(shared_data / "quotes" / "EUR-USD.oanda.parquet", INSTRUMENT, QuoteMaking())
    assert len(quotes) == 144_725


def replay(gaps: list[int], speed: Decimal | None = None, *, loop: bool = False, longest: int = 0) -> Replay:
    books, at = [], 1000
    for gap in [0, *gaps]:
        at += gap
        books.append(TopOfBook("EUR-USD", D(1), None, D(2), None, at))
    return Replay(books, speed=speed, loop=loop, max_gap_ns=longest)


@given(
    st.lists(st.integers(0, 1000), min_size=1, max_size=20),
    st.integers(1, 60),
    st.booleans(),
    st.sampled_from([0, 100]),
)
def test_the_place_in_the_market_follows_from_the_clock(
    gaps: list[int], sequence: int, loop: bool, longest: int
) -> None:
    market = replay(gaps, D(1), loop=loop, longest=longest)
    event = market.event(sequence)
    if event is None:
        assert not loop
        assert sequence > len(market)
        return
    due = market.due_ns(sequence, 5)
    assert market.sequence_at(due, 5) >= sequence
    assert market.sequence_at(due - 1, 5) < sequence
    later = market.event(sequence + 1)
    if later is not None:
        assert later.book.event_ns >= event.book.event_ns
        assert market.due_ns(sequence + 1, 5) >= due


def test_speed_and_longest_gap_shorten_the_wait() -> None:
    assert replay([100, 5000], D(10)).due_ns(3, 0) == 510
    assert replay([100, 5000], D(10), longest=1000).due_ns(3, 0) == 110


def test_latency_looks_ahead() -> None:
    market = replay([100, 100])
    assert market.book_at(2, "EUR-USD", 1099) is None
    found = market.book_at(2, "EUR-USD", 1200)
    assert found is not None
    assert found.event_ns == 1200
    assert market.book_at(2, "X", 1200) is None
