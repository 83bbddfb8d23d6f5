"""An exported file gives back the bytes, and says where somebody changed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crowetrade_agents.errors import JournalCorrupt
from crowetrade_cli.errors import Failed, WrongUse
from crowetrade_cli.journal.files import Format, format_of, read_file, write_file
from crowetrade_cli.journal.rows import rows_of

from ..values import FINE, payloads

FORMATS = [Format.JSONL, Format.PARQUET]


def exported(folder: Path, file_format: Format) -> Path:
    file = folder / f"journal.{file_format}"
    with write_file(file, file_format) as write:
        for payload in payloads():
            write(rows_of(payload))
    return file


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_bytes_come_back(tmp_path: Path, file_format: Format) -> None:
    file = exported(tmp_path, file_format)
    assert list(read_file(file, file_format)) == payloads()
    assert list(tmp_path.iterdir()) == [file]


def test_rows_can_be_read_without_our_code(tmp_path: Path) -> None:
    lines = [json.loads(line) for line in exported(tmp_path, Format.JSONL).read_text().splitlines()]
    assert [line["sequence"] for line in lines] == list(range(1, 11))
    assert (lines[4]["at"], lines[4]["kind"]) == ("2026-03-01T09:00:04.123456789Z", "OrderExecuted")
    assert lines[4]["event"]["price"] == FINE
    assert [line["record"]["first_sequence"] for line in lines] == [1, 2, 2, 4, 5, 5, 5, 8, 8, 8]
    table = pq.read_table(exported(tmp_path / "..", Format.PARQUET))
    assert table["sequence"].to_pylist() == list(range(1, 11))
    assert json.loads(table["event"][4].as_py())["price"] == FINE
    assert table["strategy"].to_pylist()[:6] == ["", "ema", "ema", "gold-pair", "ema", "gold-pair"]
    assert table["record_hash"][0].as_py() == table["previous_hash"][1].as_py()


Rows = list[dict[str, Any]]


def change_event(rows: Rows) -> None:
    rows[4]["event"] = json.dumps({"price": "1.2"}) if isinstance(rows[4]["event"], str) else {"price": "1.2"}


def change_strategy(rows: Rows) -> None:
    rows[1]["strategy"] = "other"


def drop_first_row(rows: Rows) -> None:
    del rows[0]


def drop_inner_row(rows: Rows) -> None:
    del rows[2]


def drop_last_row(rows: Rows) -> None:
    del rows[-1]


def swap_rows(rows: Rows) -> None:
    rows[5], rows[6] = rows[6], rows[5]


def add_a_row(rows: Rows) -> None:
    rows.append({**rows[-1], "sequence": 11})


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (change_event, "row 5 of .* says something else than the bytes of its record"),
        (change_strategy, "row 2 of .* says something else"),
        (drop_inner_row, "row 3 of .* begins a record before the one before has ended"),
        (drop_last_row, "ends in the middle of a record"),
        (swap_rows, "row 6 of .* says something else"),
        (add_a_row, "row 11 of .* says something else"),
    ],
)
def test_a_changed_file_is_found(
    tmp_path: Path, file_format: Format, change: Callable[[Rows], None], sentence: str
) -> None:
    file = exported(tmp_path, file_format)
    if file_format is Format.JSONL:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        change(rows)
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        table = pq.read_table(file)
        rows = table.to_pylist()
        change(rows)
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), file)
    with pytest.raises(Failed, match=sentence):
        list(read_file(file, file_format))


@pytest.mark.parametrize(
    "content", [b"nothing", b"[]", b'{"record": 5}', b'{"record": {"bytes": "?"}}', b'{"sequence": 1}', b"\xff\xfe"]
)
def test_what_is_no_export_is_named(tmp_path: Path, content: bytes) -> None:
    for file_format, sentence in ((Format.JSONL, "line 1 of .* is not what"), (Format.PARQUET, "cannot be read as")):
        file = tmp_path / f"x.{file_format}"
        file.write_bytes(content)
        with pytest.raises(Failed, match=sentence):
            list(read_file(file, file_format))


def test_parquet_of_something_else_is_named(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table({"price": [1.0]}), file)
    with pytest.raises(Failed, match=r"row 1 of .* says something else"):
        list(read_file(file, Format.PARQUET))


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_file_that_is_not_finished_has_no_name(tmp_path: Path, file_format: Format) -> None:
    file = tmp_path / "journal"
    with pytest.raises(JournalCorrupt), write_file(file, file_format) as write:
        write(row for payload in [payloads()[0], b""] for row in rows_of(payload))
    assert list(tmp_path.iterdir()) == []


def test_the_format_is_asked_for_or_the_extension(tmp_path: Path) -> None:
    assert format_of(Path("a.PARQUET"), None) is Format.PARQUET
    assert format_of(Path("a.jsonl"), None) is format_of(Path("a.ndjson"), None) is Format.JSONL
    assert format_of(Path("a.jsonl"), Format.PARQUET) is Format.PARQUET
    with pytest.raises(WrongUse, match=r"a\.csv has none of the extensions"):
        format_of(Path("a.csv"), None)
