"""Recorded files become quotes, or one sentence that says what is wrong and what to write."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from crowetrade_agents.domain.instrument import Instrument, InstrumentId
from crowetrade_agents.domain.market import TopOfBook
from crowetrade_agents.domain.orders import Side
from crowetrade_agents.errors import DataError
from crowetrade_agents.venues.adapters.simulated.recording import BATCH_ROWS, read
from crowetrade_agents.venues.adapters.simulated.spec import QuoteMaking, Recording
from crowetrade_agents.venues.adapters.simulated.tape import Tape, TradeTape
from crowetrade_agents.venues.port import TradePrinted

D = Decimal
HOUR = 3_600_000_000_000
BARS = "ts_ns,open,high,low,close,volume"


def instrument(symbol: str, tick: str = "0.00001") -> Instrument:
    return Instrument(InstrumentId("sim", symbol), "USD", D(1), D(tick), D(1000), D(1000))


EUR, NZD = instrument("EUR-USD"), instrument("NZD-USD")


def books(tape: Tape) -> list[TopOfBook]:
    return [tape.book(row) for row in range(len(tape))]


def markets(recordings: Sequence[Recording], instruments: Sequence[Instrument]) -> list[Tape]:
    return [tape for tape in read(recordings, instruments) if isinstance(tape, Tape)]


def read_one(path: Path, making: QuoteMaking = QuoteMaking()) -> list[TopOfBook]:  # noqa: B008
    (tape,) = markets([Recording(path, "EUR-USD", making)], [EUR])
    return books(tape)


def written(folder: Path, text: str, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def parquet(folder: Path, columns: dict[str, Sequence[object]]) -> Path:
    path = folder / "data.parquet"
    pyarrow.parquet.write_table(pyarrow.table(columns), path)
    return path


def test_quotes_are_read_as_they_stand(tmp_path: Path) -> None:
    path = written(tmp_path, "ts_ns,bid_px,bid_sz,ask_px,ask_sz\n1,1.10,3,1.11,\n2,1.1000,0,1.1,2.5\n")
    first, second = read_one(path, QuoteMaking(quantity=D(777)))
    assert first == TopOfBook(EUR.id, D("1.10"), D(3), D("1.11"), D(777), 1)
    assert second == TopOfBook(EUR.id, D("1.1"), D(0), D("1.1"), D("2.5"), 2)


@pytest.mark.parametrize("zero", [["0", "0"], [0.0, 0.0], [0, 0], [D(0), D(0)]])
def test_size_zero_says_that_nothing_is_there(tmp_path: Path, zero: list[object]) -> None:
    """Finding D1: a size of 0 in Parquet was taken as unknown, and everything filled."""
    path = parquet(
        tmp_path,
        {"ts_ns": [1, 2], "bid_px": ["1.1", "1.1"], "bid_sz": zero, "ask_px": ["1.2", "1.2"], "ask_sz": zero},
    )
    assert all(quote.bid_quantity == quote.ask_quantity == 0 for quote in read_one(path))


def test_columns_may_be_numbers_of_other_types(tmp_path: Path) -> None:
    path = parquet(
        tmp_path,
        {
            "ts_ns": [1, 2],
            "bid_px": [1.1, 0.00001],
            "bid_sz": [1, 2],
            "ask_px": [D("1.2"), D("1.3")],
            "ask_sz": [None, 7.5],
        },
    )
    first, second = read_one(path, QuoteMaking(quantity=D(9)))
    assert (first.bid_price, first.ask_price, first.bid_quantity, first.ask_quantity) == (
        D("1.1"),
        D("1.2"),
        D(1),
        D(9),
    )
    assert (second.bid_price, second.ask_quantity) == (D("0.00001"), D("7.5"))


def test_numbers_keep_all_digits(tmp_path: Path) -> None:
    bid, ask = "12345678901234567890.123456789012345678", "12345678901234567890.123456789012345679"
    (quote,) = read_one(written(tmp_path, f"ts_ns,bid_px,ask_px\n1,{bid},{ask}\n"))
    assert (str(quote.bid_price), str(quote.ask_price)) == (bid, ask)


def test_crossed_quotes_are_left_out_and_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "ts_ns,bid_px,ask_px\n1,1.1,1.2\n2,1.3,1.2\n3,0,1.2\n4,-1,1.2\n5,1.2,1.2\n")
    (tape,) = markets([Recording(path)], [EUR])
    assert [quote.event_ns for quote in books(tape)] == [1, 5]
    assert tape.left_out == 3


def test_bars_make_quotes_around_their_close_at_their_end(tmp_path: Path) -> None:
    path = written(tmp_path, f"{BARS}\n0,1,1,1,1.10000,5\n{HOUR},1,1,1,1.10003,\n")
    first, second = read_one(path, QuoteMaking(D(1), D(777)))
    assert (first.bid_price, first.ask_price, first.event_ns) == (D("1.09994"), D("1.10006"), HOUR)
    assert (second.bid_price, second.ask_price, second.bid_quantity) == (D("1.09997"), D("1.10009"), D(777))


def test_bars_of_offers_keep_the_offer(tmp_path: Path) -> None:
    path = written(tmp_path, f"{BARS},interval_ns\n0,1,1,1,1.10000,5,{HOUR}\n")
    (quote,) = read_one(path, QuoteMaking(D(1), D(1), price_is_ask=True))
    assert (quote.bid_price, quote.ask_price) == (D("1.09989"), D("1.1"))


def test_a_stub_bar_does_not_make_the_others_known_before_their_end(tmp_path: Path) -> None:
    """Finding D2: the shortest distance was taken as the length of every bar."""
    opens = [number * HOUR for number in range(10)]
    opens.insert(5, 4 * HOUR + 1_000_000_000)
    path = written(tmp_path, BARS + "\n" + "".join(f"{at},1,1,1,1.1,1\n" for at in opens))
    assert [quote.event_ns for quote in read_one(path)] == [at + HOUR for at in opens]


def test_the_length_that_is_written_counts(tmp_path: Path) -> None:
    """Finding D2: interval_ns was ignored: one hour a day was known a day later."""
    rows = "".join(f"{day * 24 * HOUR},1.1,{HOUR}\n" for day in range(5))
    path = written(tmp_path, f"ts_ns,close,interval_ns\n{rows}")
    assert [quote.event_ns for quote in read_one(path)] == [day * 24 * HOUR + HOUR for day in range(5)]


def test_of_two_lengths_that_are_equally_common_the_longer_counts(tmp_path: Path) -> None:
    path = written(tmp_path, "ts_ns,close\n0,1.1\n60,1.1\n3660,1.1\n")
    assert [quote.event_ns for quote in read_one(path)] == [3600, 3660, 7260]


def test_trades_make_quotes(tmp_path: Path) -> None:
    (quote,) = read_one(written(tmp_path, "ts_ns,price,size\n1,2.00000,1\n"), QuoteMaking(D(10), D(5)))
    assert (quote.bid_price, quote.ask_price, quote.event_ns) == (D("1.999"), D("2.001"), 1)


def test_trades_beside_quotes_are_printed_and_make_no_quotes(tmp_path: Path) -> None:
    quotes = written(tmp_path, "ts_ns,bid_px,ask_px\n5,1.10,1.11\n", "quotes.csv")
    trades = written(
        tmp_path,
        "ts_ns,price,size,side\n5,1.105,2.50,buy\n6,1.1,3,\n7,1.1,0,buy\n8,0,4,sell\n9,1.12,4,sell\n",
        "trades.csv",
    )
    first, second = read([Recording(quotes, "EUR-USD"), Recording(trades, "EUR-USD")], [EUR])
    assert isinstance(first, TradeTape)
    assert isinstance(second, Tape)
    assert first.left_out == 2
    assert [first.event(place + 4, place, 100) for place in range(len(first))] == [
        TradePrinted(4, EUR.id, D("1.105"), D("2.5"), Side.BUY, 105),
        TradePrinted(5, EUR.id, D("1.1"), D(3), None, 106),
        TradePrinted(6, EUR.id, D("1.12"), D(4), Side.SELL, 109),
    ]
    assert books(second) == [TopOfBook(EUR.id, D("1.10"), D(1_000_000), D("1.11"), D(1_000_000), 5)]


@pytest.mark.parametrize(
    ("trades", "sentence"),
    [
        ("ts_ns,price\n1,1.1\n", "trades.csv has no column size, which trades beside a market need: add it"),
        (
            "ts_ns,price,size,side\n1,1.1,1,B\n",
            "trades.csv, row 1 (EUR-USD at 1): side 'B' is no side: write buy, sell, or nothing",
        ),
        (
            "ts_ns,price,size\n1,1.1,0\n",
            "trades.csv holds no usable trade of EUR-USD: prices or sizes are not positive",
        ),
    ],
)
def test_trades_that_cannot_be_printed_are_refused(tmp_path: Path, trades: str, sentence: str) -> None:
    recordings = [
        Recording(written(tmp_path, "ts_ns,bid_px,ask_px\n5,1.10,1.11\n", "quotes.csv"), "EUR-USD"),
        Recording(written(tmp_path, trades, "trades.csv"), "EUR-USD"),
    ]
    with pytest.raises(DataError) as caught:
        read(recordings, [EUR])
    assert str(caught.value) == sentence


def test_one_file_may_hold_several_instruments(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "symbol,ts_ns,close\nNZD-USD,0,0.8\nEUR-USD,0,1.1\nOTHER,5,9\nEUR-USD,60,1.1\nNZD-USD,3600,0.8\n"
        "EUR-USD,120,1.1\n",
    )
    eur, nzd = markets([Recording(path)], [EUR, NZD])
    assert [quote.event_ns for quote in books(eur)] == [60, 120, 180]
    assert [quote.event_ns for quote in books(nzd)] == [3600, 7200]


def test_each_instrument_may_have_its_own_making(tmp_path: Path) -> None:
    path = written(tmp_path, "symbol,ts_ns,price\nNZD-USD,1,1\nEUR-USD,2,1\n")
    recordings = [
        Recording(path, "NZD-USD", QuoteMaking(quantity=D(5))),
        Recording(path, "EUR-USD", QuoteMaking(D(200), D(7))),
    ]
    eur, nzd = markets(recordings, [EUR, NZD])
    assert (eur.book(0).bid_quantity, eur.book(0).bid_price) == (D(7), D("0.99"))
    assert nzd.book(0).bid_quantity == D(5)


@pytest.mark.parametrize("name", ["q.csv", "q.parquet"])
def test_a_recording_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    (tmp_path / name).touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    monkeypatch.setattr(pyarrow.parquet, "read_schema", refuse)
    with pytest.raises(DataError, match=rf"{name} .*Permission denied"):
        read([Recording(tmp_path / name)], [EUR])


QUOTES = "ts_ns,bid_px,ask_px"


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.csv", None, r"none.csv is missing: check spec.simulated.data"),
        ("empty.csv", b"", r"has the columns no header, which are none .* bars need ts_ns, close"),
        ("head.csv", b"ts_ns,close\n", r"holds no rows: point the venue at .*quotes need ts_ns, bid_px, ask_px"),
        ("odd.csv", b"time,last\n1,2\n", r"has the columns time, last, which are none .* trades need ts_ns, price"),
        ("half.csv", b"ts_ns,bid_px\n1,2\n", r"has the columns ts_ns, bid_px, which are none"),
        ("twice.csv", b"ts_ns,price,price\n1,2,3\n", r"column price twice"),
        ("text.csv", b"ts_ns,price\n1,1.1\n2,high\n", r"row 2 \(EUR-USD at 2\): price 'high' is not a decimal"),
        ("nan.csv", b"ts_ns,price\n1,NaN\n", r"row 1 .*price 'NaN' is not a decimal number"),
        ("inf.csv", b"ts_ns,price\n1,inf\n", r"'inf' is not a decimal number"),
        ("exponent.csv", b"ts_ns,price\n1,1E5\n", r"'1E5' is not a decimal number"),
        ("hole.csv", b"ts_ns,price\n1,\n", r"row 1 .*: price is empty: write a decimal number"),
        ("size.csv", b"ts_ns,bid_px,ask_px,bid_sz\n1,1,2,-3\n", r"bid_sz '-3' is negative: write what is there"),
        ("time.csv", b"ts_ns,price\n1.5,1\n", r"ts_ns '1.5' is not nanoseconds as a whole number"),
        ("notime.csv", b"ts_ns,price\n,1\n", r"ts_ns is empty"),
        ("far.csv", b"ts_ns,price\n9000000000000000000,1\n", r"after the year 2116"),
        ("back.csv", b"ts_ns,price\n2,1\n1,1\n", r"goes back in time at 1 of EUR-USD: sort it by ts_ns"),
        ("crossed.csv", b"ts_ns,bid_px,ask_px\n2,3,2\n", r"no usable quote of EUR-USD: bids are above offers"),
        ("single.csv", b"ts_ns,close\n1,1\n", r"single bar of EUR-USD without interval_ns: write its length in ns"),
        ("length.csv", b"ts_ns,close,interval_ns\n1,1,0\n", r"write the length of each bar in nanoseconds"),
        ("nested.csv", b"ts_ns,close,interval_ns\n0,1,60\n30,1,5\n", r"ends before the one before it"),
        ("ragged.csv", b"ts_ns,price\n1,1\n2\n", r"row 2 has 1 values for 2 columns"),
        ("quote.csv", b'ts_ns,price\n1,"1\n', r"is not readable CSV"),
        ("semicolon.csv", b"ts_ns;price\n1;1\n", r"separates its columns by semicolons: write commas"),
        ("utf16.csv", "ts_ns,price\n1,1\n".encode("utf-16"), r"utf16.csv is UTF-16: save it as CSV in UTF-8"),
        ("plain16.csv", "ts_ns,price\n1,1\n".encode("utf-16-le"), r"not text in UTF-8: save it as CSV in UTF-8"),
        ("latin1.csv", "ts_ns,price,note\n1,1,Zürich\n".encode("latin-1"), r"is not UTF-8 .*save it as CSV"),
        ("mark.csv", "ts_ns,price\n1,1\n".encode("utf-8-sig"), r"starts with a byte order mark: save it .* without"),
        ("wrong.csv", b"PAR1xx", r"is Parquet under another name"),
        ("broken.parquet", b"PAR0", r"broken.parquet is not readable Parquet: .*write the file again"),
        ("symbol.csv", b"symbol,ts_ns,price\n,1,1\n", r"has rows without a symbol"),
        ("other.csv", b"symbol,ts_ns,price\nX,1,1\n", r"holds no row of EUR-USD: write the symbol as"),
    ],
)
def test_what_cannot_be_replayed_is_said_in_a_sentence(
    tmp_path: Path, name: str, content: bytes | None, sentence: str
) -> None:
    """Finding D3, and the refusals of each kind of value."""
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=sentence) as refused:
        read([Recording(path, "EUR-USD")], [EUR])
    assert "\n" not in str(refused.value)
    assert name in str(refused.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_are_none_are_refused_in_parquet(tmp_path: Path, value: float) -> None:
    path = parquet(tmp_path, {"ts_ns": [1], "bid_px": [1.0], "ask_px": [value]})
    with pytest.raises(DataError, match=r"ask_px '(nan|inf)' is not a decimal number"):
        read_one(path)


def test_times_of_another_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has ts_ns as double: write 64-bit integers"):
        read_one(parquet(tmp_path, {"ts_ns": [1.0], "price": ["1"]}))


@pytest.mark.parametrize(
    ("recordings", "sentence"),
    [
        ([("a.csv", "EUR-USD")], "no recording holds NZD-USD"),
        ([("a.csv", "")], "has no column symbol, so it cannot hold EUR-USD, NZD-USD"),
        ([("a.csv", "EUR-USD"), ("a.csv", "NZD-USD")], "has no column symbol"),
        ([("a.csv", "EUR-USD"), ("b.csv", "EUR-USD")], "b.csv holds EUR-USD, and so does another recording"),
        ([("a.csv", "GBP-USD")], "GBP-USD, which is not among the venue's instruments: write one of EUR-USD, NZD-USD"),
    ],
)
def test_each_instrument_has_one_recording(tmp_path: Path, recordings: list[tuple[str, str]], sentence: str) -> None:
    for name in ("a.csv", "b.csv"):
        written(tmp_path, "ts_ns,price\n1,1\n", name)
    with pytest.raises(DataError, match=sentence):
        read([Recording(tmp_path / name, symbol) for name, symbol in recordings], [EUR, NZD])


def test_a_long_file_is_read_in_batches(tmp_path: Path) -> None:
    """Finding D7: whole files became Python dictionaries. Here: under 64 bytes a row are kept, and values cross the
    borders of batches unharmed."""
    rows = 3 * BATCH_ROWS + 5
    path = parquet(
        tmp_path,
        {
            "ts_ns": list(range(rows)),
            "bid_px": [f"{1 + row / 1e6:.6f}" for row in range(rows)],
            "ask_px": ["2.5"] * rows,
        },
    )
    tracemalloc.start()
    (tape,) = markets([Recording(path)], [EUR])
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(tape) == rows
    assert kept < 64 * rows
    assert peak < kept + 600 * BATCH_ROWS
    for row in (0, BATCH_ROWS - 1, BATCH_ROWS, 2 * BATCH_ROWS, rows - 1, 7):
        assert tape.book(row).bid_price == D(f"{1 + row / 1e6:.6f}")


def test_the_recorded_files_are_readable(shared_data: Path) -> None:
    """Needs ../shared/data; skips without it."""
    recordings = [
        Recording(shared_data / "quotes" / "EUR-USD.oanda.parquet", "EUR-USD"),
        Recording(shared_data / "quotes" / "NZD-USD.fxcm.parquet", "NZD-USD"),
    ]
    eur, nzd = markets(recordings, [EUR, NZD])
    assert (len(eur), eur.left_out) == (144_725, 0)
    assert (len(nzd), nzd.left_out) == (66_638 - 1271, 1271)
    recorded = pyarrow.parquet.read_table(recordings[0].path).to_pylist()
    for row in range(0, len(recorded), 997):
        quote = eur.book(row)
        assert (quote.event_ns, quote.bid_price, quote.ask_price) == (
            recorded[row]["ts_ns"],
            D(recorded[row]["bid_px"]),
            D(recorded[row]["ask_px"]),
        )


def test_a_recording_is_read_without_pandas(tmp_path: Path) -> None:
    """pyarrow would import it, 60 MB in every backtest, because it is installed for calendars; those still find it."""
    (tmp_path / "rec.csv").write_text("ts_ns,bid_px,ask_px\n1,1.1,1.2\n")
    code = (
        "import sys; from pathlib import Path; from decimal import Decimal\n"
        "from crowetrade_agents.domain.instrument import Instrument, InstrumentId\n"
        "from crowetrade_agents.venues.adapters.simulated import recording\n"
        "from crowetrade_agents.venues.adapters.simulated.spec import Recording\n"
        "one = Decimal(1)\n"
        "listed = Instrument(InstrumentId('v', 'A'), 'USD', one, one, one, one)\n"
        "recording.read([Recording(Path(sys.argv[1]), 'A')], [listed])\n"
        "assert 'pandas' not in sys.modules\n"
        "from crowetrade_agents.risk.calendars import calendar_named\n"
        "assert calendar_named('XNYS').day(1767627000000000000) == '2026-01-05'"
    )
    subprocess.run([sys.executable, "-c", code, tmp_path / "rec.csv"], check=True)
