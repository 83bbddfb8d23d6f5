"""Rows are known by the numbers of their lines, whatever stands between them."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_cli.data.csv_rows import Layout, read_rows, sniff_separator

LAYOUT = Layout(",", ("a", "b"), 3)


def read(lines: list[str]) -> tuple[list[tuple[int, str]], list[tuple[int, str]], int]:
    """Rows and misfits with their lines, and the number of empty rows."""
    text = "preamble\nx,y\n" + "".join(f"{line}\n" for line in lines)
    rows, misfits, empty = [], [], 0
    for batch in read_rows(io.BytesIO(text.encode()), LAYOUT, ["b"], "data.csv"):
        values = batch.columns["b"].to_pylist() if batch.columns else []
        rows += [(batch.lines[place], value) for place, value in enumerate(values)]
        misfits += batch.misfits
        empty += batch.empty
    return rows, misfits, empty


@settings(deadline=None)
@given(st.lists(st.sampled_from(["1,2", "", ",", "1", "1,2,3"]), min_size=1, max_size=20))
def test_lines(kinds: list[str]) -> None:
    numbered = list(enumerate(kinds, 3))
    assert read(kinds) == (
        [(number, "2") for number, line in numbered if line == "1,2"],
        [(number, line) for number, line in numbered if line in {"1", "1,2,3"}],
        sum(line in {"", ","} for line in kinds),
    )


def test_lines_beyond_one_block() -> None:
    """The reader reads ahead of what it gives, so that misfits come before the rows before them."""
    kinds = ["1" if number % 7 == 0 else "" if number % 11 == 0 else f"1,{number}" for number in range(3, 200_000)]
    rows, misfits, _ = read(kinds)
    assert [str(number) for number, _ in rows] == [value for _, value in rows]
    assert [number for number, _ in misfits] == [number for number in range(3, 200_000) if number % 7 == 0]


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["a,b", "1,2"], ","),
        (["a;b", "1,5;2,5"], ";"),
        (["a\tb c", "1\t2 3"], "\t"),
        (["a|b"], "|"),
        (["a;b", "", "1;2", ""], ";"),
        (["alone", "1"], ","),
        ([], ","),
    ],
)
def test_the_separator_is_found_out(lines: list[str], wanted: str) -> None:
    assert sniff_separator(lines) == wanted
