"""`crowetrade data`: what it refuses, and with which sentence; what it leaves behind."""

from __future__ import annotations

import gzip
import json
import lzma
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow.parquet
import pytest

from ..conftest import Run
from ..data.values import ns, rows_of

KLINES = "\n".join(
    f"{1704067200000 + minute * 60000},1,2,1,2,5,{1704067259999 + minute * 60000},1,1,1,1,0" for minute in range(4)
)
TRADES = "time,price\n2024-01-01T00:00:00Z,1.5\n2024-01-01T00:00:01Z,1.6\n"
COLUMNS = ("--columns", "time=time,price=price")


def file(folder: Path, content: str, name: str = "data.csv") -> Path:
    path = folder / name
    path.write_text(content)
    return path


def test_inspect_shows_what_the_file_holds(run: Run, tmp_path: Path) -> None:
    ended = run("data", "inspect", file(tmp_path, KLINES))
    assert (ended.code, ended.err) == (0, "")
    assert [" ".join(line.split()) for line in ended.out.splitlines()] == [
        "format binance-klines (bars)",
        "encoding UTF-8",
        "separator comma",
        "decimal mark none",
        "time unit milliseconds",
        "",
        "rows 4",
        "range 2024-01-01 00:00:00 UTC to 2024-01-01 00:03:00 UTC",
        "distance of bars 1 min",
    ]


def test_the_result_is_named_after_the_source(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = file(tmp_path, KLINES, "BTCUSDT-1m-2024-01.csv")
    assert run("data", "convert", path, "--symbol", "BTC-USDT").code == 0
    result = pyarrow.parquet.read_table("BTCUSDT-1m-2024-01.parquet")
    assert set(result["symbol"].to_pylist()) == {"BTC-USDT"}
    assert result.schema.metadata[b"format"] == b"binance-klines"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name, "BTCUSDT-1m-2024-01.parquet"]


def test_files_are_joined_in_the_order_in_which_they_are_named(run: Run, tmp_path: Path) -> None:
    lines = KLINES.splitlines()
    first, second = file(tmp_path, "\n".join(lines[:2]), "1.csv"), file(tmp_path, "\n".join(lines[2:]), "2.csv")
    out = tmp_path / "out.parquet"
    assert run("data", "convert", first, second, "--out", out).code == 0
    assert [row["ts_ns"] for row in rows_of(out)] == [ns(f"2024-01-01T00:0{minute}:00") for minute in range(4)]


def test_disorder_is_refused_and_sorted_when_asked(run: Run, tmp_path: Path) -> None:
    lines = KLINES.splitlines()
    path, out = file(tmp_path, "\n".join([lines[1], lines[0], *lines[2:]])), tmp_path / "out.parquet"
    ended = run("data", "convert", path, "--out", out)
    assert ended.code == 1
    assert ended.err == (
        "Error: 1 row goes back in time, first row 2 at 2024-01-01 00:00:00 UTC: name files in the order of time, "
        "or add --sort\n"
    )
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    inspected = run("data", "inspect", path)
    assert inspected.code == 1
    assert "out of order" in inspected.out
    assert "--sort" in inspected.err
    assert run("data", "convert", path, "--out", out, "--sort").code == 0
    assert [row["ts_ns"] for row in rows_of(out)] == [ns(f"2024-01-01T00:0{minute}:00") for minute in range(4)]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [path.name, out.name]


BAD_LINES = {
    "a time that is none": ("2024-13-01T00:00:00Z,1", "line 3: time '2024-13-01T00:00:00Z' is not a time"),
    "a price that is none": ("2024-01-01T00:00:00Z,1.2.3", "line 3: price '1.2.3' is not a decimal number"),
    "no price": ("2024-01-01T00:00:00Z,", "line 3: price is empty"),
    "a column too many": ("2024-01-01T00:00:00Z,1,2", "line 3: '2024-01-01T00:00:00Z,1,2' has not the 2 columns"),
    "after an empty line": ("\n2024-01-01T00:00:00Z,x", "line 4: price 'x' is not a decimal number"),
}


@pytest.mark.parametrize(("line", "sentence"), BAD_LINES.values(), ids=BAD_LINES)
def test_a_row_that_cannot_be_read_is_named_by_its_line(run: Run, tmp_path: Path, line: str, sentence: str) -> None:
    header, *rows = TRADES.splitlines()
    path, out = file(tmp_path, "\n".join([header, rows[0], line, rows[1]])), tmp_path / "out.parquet"
    ended = run("data", "convert", path, "--out", out, *COLUMNS)
    assert ended.code == 1
    assert ended.err.startswith(f"Error: 1 row cannot be read, first data.csv, {sentence}")
    assert ended.err.endswith("repair the file, or add --skip-bad-rows\n")
    assert not out.exists()
    # Which of these commands has such an option.
    assert run("data", "inspect", path, *COLUMNS).err.endswith("repair the file, or convert it with --skip-bad-rows\n")
    skipped = run("data", "convert", path, "--out", out, "--skip-bad-rows", *COLUMNS)
    assert skipped.code == 0
    assert f"left out: 1 rows that cannot be read, first data.csv, {sentence}" in skipped.out
    assert [row["price"] for row in rows_of(out)] == ["1.5", "1.6"]


def test_inspect_counts_rows_that_cannot_be_read(run: Run, tmp_path: Path) -> None:
    ended = run("data", "inspect", file(tmp_path, TRADES + "x,1\n2024-01-02T00:00:00Z,y\n"), "--json", *COLUMNS)
    assert ended.code == 1
    shown = json.loads(ended.out)
    assert (shown["unreadable_rows"], shown["symbols"][0]["rows"]) == (2, 2)
    assert shown["first_unreadable"].startswith("data.csv, line 4: time 'x'")


def test_the_first_row_that_cannot_be_read_is_that_of_the_first_file(run: Run, tmp_path: Path) -> None:
    first, second = (file(tmp_path, f"{TRADES}{name},1\n", f"{name}.csv") for name in ("a", "b"))
    ended = run("data", "inspect", first, second, *COLUMNS)
    assert ended.err.startswith("Error: 2 rows cannot be read, first a.csv, line 4: time 'a'")


def test_the_first_row_that_cannot_be_read_is_the_first_in_any_column(run: Run, tmp_path: Path) -> None:
    ended = run("data", "inspect", file(tmp_path, f"{TRADES}2024-01-02T00:00:00Z,x\ny,1\n"), *COLUMNS)
    assert ended.err.startswith("Error: 2 rows cannot be read, first data.csv, line 4: price 'x'")


def test_empty_lines_are_no_rows_and_are_counted(run: Run, tmp_path: Path) -> None:
    header, first, second = TRADES.splitlines()
    path, out = file(tmp_path, "\n".join([header, "", first, ",", second, "", ""])), tmp_path / "out.parquet"
    ended = run("data", "convert", path, "--out", out, *COLUMNS)
    assert ended.code == 0
    assert "left out: 3 rows without a value" in ended.out
    assert [row["price"] for row in rows_of(out)] == ["1.5", "1.6"]
    assert json.loads(run("data", "inspect", path, "--json", *COLUMNS).out)["empty_rows"] == 3


def test_the_wrong_format_is_refused_at_once(run: Run, tmp_path: Path) -> None:
    ended = run("data", "inspect", file(tmp_path, "a,b\nx,1\ny,2\n"), "--columns", "time=a,price=b")
    assert ended.code == 1
    assert ended.err.startswith("Error: no row can be read as csv: data.csv, line 2: a 'x'")


REFUSED = {
    "nothing is known of it": (
        "a;b\n1;2\n",
        (),
        "it has the columns a, b: say what they are with --columns, or name its format with --from",
    ),
    "no such format": (KLINES, ("--from", "binance"), "--from binance is no format: write one of recorded, "),
    "another format": (
        KLINES,
        ("--from", "yahoo"),
        "has 12 columns without header, yahoo has date, open, high, low, close, volume or ",
    ),
    "columns that are not there": (TRADES, ("--columns", "time=time,price=Price"), "--columns has Price, data.csv has"),
    "columns of no kind": (
        TRADES,
        ("--columns", "time=time"),
        "--columns must name those of one kind: quotes have time",
    ),
    "columns of no meaning": (TRADES, ("--columns", "time=time,px=price,x=time"), "--columns has x: write time"),
    "columns that are no pairs": (TRADES, ("--columns", "time"), "--columns has 'time': write pairs as"),
    "columns and a format": (TRADES, ("--from", "yahoo", *COLUMNS), "leave out --from yahoo, or --columns"),
    "no zone": (TRADES.replace("Z", ""), COLUMNS, "the times have no time zone: write it with --tz"),
    "no such zone": (
        TRADES,
        (*COLUMNS, "--tz", "Berlin"),
        "--tz Berlin is no time zone: write a name as Europe/Berlin",
    ),
    "a zone that is known": (
        "Gmt time,Open,High,Low,Close,Volume\n31.01.2024 23:00:00.000,1,1,1,1,1\n",
        ("--tz", "UTC"),
        "--tz is known from the format (UTC): leave it out",
    ),
    "a zone of counted times": (KLINES, ("--tz", "UTC"), "times that are counted since 1970 are UTC: leave it out"),
    "no such unit": (TRADES, (*COLUMNS, "--unit", "h"), "--unit h is not known: write s, ms, us or ns"),
    "marks of two meanings": (
        'time;price\n2024-01-01T00:00:00Z;"1,234"\n',
        COLUMNS,
        "'1,234' may have a decimal comma or separate thousands: write --decimal comma or --decimal point",
    ),
    "an interval of trades": (TRADES, (*COLUMNS, "--interval", "1m"), "--interval is for bars, these are trades"),
    "an interval that is none": (TRADES, (*COLUMNS, "--interval", "1"), "--interval 1 is no length of time"),
    "digits of text": (
        TRADES,
        (*COLUMNS, "--price-digits", "5"),
        "--price-digits is for prices that are whole numbers",
    ),
    "a side of trades": (TRADES, (*COLUMNS, "--side", "bid"), "--side is for files with bars of bids and asks"),
    "a factor that is none": (TRADES, (*COLUMNS, "--multiply-sizes", "0"), "--multiply-sizes is not above 0"),
    "a column that is there twice": ("time,price,price\n1,2,3\n", COLUMNS, "data.csv has column price twice"),
    "digits of a date": ("time,price\n20240102,2\n", COLUMNS, "20240102 may be a date or a count since 1970: write"),
    "digits of a minute": ("time,price\n202401020930,2\n", COLUMNS, "202401020930 may be a date or a count since 1970"),
    "an empty file": ("", (), "data.csv is empty: name a file with market data"),
    "no rows": ("time,price\n", COLUMNS, "data.csv: no rows of trades; name a file with market data"),
    "a member of no archive": (TRADES, ("--member", "x"), "data.csv is not a zip archive: leave --member out"),
    "an encoding that is none": (TRADES, ("--encoding", "utf-99"), "--encoding utf-99 is not known: write utf-8"),
    "a separator of another alphabet": ("time¦price\n", ("--separator", "¦"), "--separator '¦' is none: write one"),
    "a quote as separator": (TRADES, ("--separator", '"'), "is none: write one character of ASCII that is no quote"),
    "a line break in columns": (TRADES, ("--columns", 'time="a\nb'), "cannot be read (new-line character"),
    "all lines skipped": (TRADES, (*COLUMNS, "--skip-lines", "5"), "--skip-lines 5 leaves nothing of data.csv"),
    "no text": ("time,price\n1704067200,1\0\n", COLUMNS, "data.csv is not text: write its encoding"),
    "an encoding of no text": (TRADES, ("--encoding", "hex"), "--encoding hex is not known: write utf-8"),
    "JSON without end": ("[" * 100_000, ("--from", "coinbase-candles-json"), "is not readable JSON: it is nested too"),
}


@pytest.mark.parametrize(("content", "options", "sentence"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("command", ["inspect", "convert"])
def test_a_sentence_says_what_to_write(
    run: Run, tmp_path: Path, command: str, content: str, options: tuple[str, ...], sentence: str
) -> None:
    ended = run("data", command, file(tmp_path, content), *options)
    assert ended.code in {1, 2}
    assert ended.err.startswith("Error: ")
    assert sentence in ended.err
    assert len(ended.err.splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == ["data.csv"]


def test_damaged_files_are_named(run: Run, tmp_path: Path) -> None:
    damaged = {
        "a.gz": gzip.compress(KLINES.encode() * 100)[:-20],
        "b.zip": b"PK\x03\x04 nonsense",
        "c.zst": pyarrow.compress(KLINES.encode() * 100, codec="zstd", asbytes=True)[:-20],
        "d.parquet": b"PAR1 nonsense",
        "f.parquet": b"PAR1" + bytes(range(16, 200)) + b"\x10\0\0\0PAR1",
        "e.csv": TRADES.encode() + b"\xff\xfe\xff\n",
        "14h_ticks.bi5": b"\x5d\x00\x00 nonsense",
    }
    for name, content in damaged.items():
        folder = tmp_path / "2020" / "00" / "03"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        options = {"e.csv": COLUMNS, "14h_ticks.bi5": ("--price-digits", "5")}.get(name, ())
        ended = run("data", "inspect", folder / name, *options)
        assert ended.code == 1, name
        assert ended.err.startswith(f"Error: {name} is "), name
        assert len(ended.err.splitlines()) == 1, name


@pytest.mark.parametrize("kind", [pyarrow.timestamp("ms"), pyarrow.float64()])
def test_times_of_a_recording_are_whole_nanoseconds(run: Run, tmp_path: Path, kind: pyarrow.DataType) -> None:
    """A venue would not take the file, and in the unit of a timestamp its rows would be of 1970."""
    times = pyarrow.array([1704067200000, 1704067260000], pyarrow.int64()).cast(kind)
    path = tmp_path / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"ts_ns": times, "price": ["1", "2"], "size": ["1", "1"]}), path)
    for command in ("inspect", "convert"):
        ended = run("data", command, path, *(("--out", tmp_path / "out.parquet") if command == "convert" else ()))
        assert (ended.code, f"has ts_ns as {kind}: write 64-bit integers" in ended.err) == (1, True), ended.err
    assert not (tmp_path / "out.parquet").exists()


def test_ticks_that_are_cut_off_are_refused_wherever_the_cut_is(run: Run, tmp_path: Path) -> None:
    records = [struct.pack(">IIIff", at * 100, 111870, 111868, 0.75, 1.1) for at in range(2000)]
    whole = lzma.compress(b"".join(records), format=lzma.FORMAT_ALONE)
    path = tmp_path / "2020" / "00" / "03" / "14h_ticks.bi5"
    path.parent.mkdir(parents=True)
    looks_whole = next(
        cut
        for cut in range(len(whole) // 2, len(whole))
        if not len(lzma.LZMADecompressor().decompress(whole[:cut])) % len(records[0])
    )
    for cut, code in ((looks_whole, 1), (looks_whole - 1, 1), (len(whole), 0), (0, 1)):
        path.write_bytes(whole[:cut])
        ended = run("data", "inspect", path, "--from", "dukascopy-bi5", "--price-digits", "5")
        assert ended.code == code, cut
        assert code == 0 or "Traceback" not in ended.err
        assert ("is cut off: get the file again" in ended.err) == (0 < cut < len(whole)), ended.err


def test_of_a_file_that_does_not_fit_nothing_is_left(tmp_path: Path) -> None:
    """The system refuses what is written beyond a size, as on a full disk; the end of the file, too."""
    rows = "\n".join(f"{1704067200000 + row},{row}.{row * 7919 % 100_000:05}" for row in range(200_000))
    path = file(tmp_path, f"time,price\n{rows}\n")
    code = (
        "import resource, signal, sys; from crowetrade_cli.main import main; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)); "
        "main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "data", "convert", str(path), *COLUMNS, "--out", str(tmp_path / "o.parquet")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, "Traceback" in ended.stderr) == (1, False), ended.stderr
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_an_archive_of_several_files_needs_a_choice(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "both.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("one.csv", KLINES)
        archive.writestr("two.csv", KLINES)
    ended = run("data", "inspect", path)
    assert (ended.code, ended.err) == (2, "Error: both.zip holds one.csv, two.csv: choose one with --member\n")
    assert run("data", "inspect", path, "--member", "two.csv").code == 0


def test_nothing_is_overwritten(run: Run, tmp_path: Path) -> None:
    out = file(tmp_path, "mine", "out.parquet")
    ended = run("data", "convert", file(tmp_path, KLINES), "--out", out)
    assert (ended.code, ended.err) == (2, f"Error: {out} exists: name a file that does not, with --out\n")
    assert out.read_text() == "mine"


def test_files_of_two_formats_are_refused(run: Run, tmp_path: Path) -> None:
    ended = run("data", "inspect", file(tmp_path, KLINES, "1.csv"), file(tmp_path, "1704067200,1,1,1,1,1,1\n", "2.csv"))
    assert ended.code == 2
    assert "several formats (binance-klines, kraken-ohlcvt; bars)" in ended.err


def test_formats_are_listed(run: Run) -> None:
    names = [line.split()[0] for line in run("data", "formats").out.splitlines()]
    assert {"binance-klines", "lobster-l2", "csv"} <= set(names)


def test_a_local_time_that_was_there_twice_is_refused(run: Run, tmp_path: Path) -> None:
    text = "time,price\n2024-11-03 00:59:59,1\n2024-11-03 01:30:00,1\n2024-11-03 02:00:00,1\n"
    ended = run("data", "inspect", file(tmp_path, text), *COLUMNS, "--tz", "America/New_York")
    assert ended.code == 1
    assert "line 3: time '2024-11-03 01:30:00' is not a time" in ended.err
    assert "twice or never" in ended.err


def test_other_commands_do_not_wait_for_arrow() -> None:
    """Loading it takes longer than most commands."""
    code = "import sys, crowetrade_cli.commands.data; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
