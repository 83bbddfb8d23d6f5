"""The same table, however it is dressed: encoding, separator, decimal mark, thousands, compression."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crowetrade_cli.data.numbers import infer_mark
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.reading import open_reading
from crowetrade_cli.errors import WrongUse

HEADER = ["When", "Bid price", "Ask, price", "Größe"]
COLUMNS = {"ts_ns": "When", "bid_px": "Bid price", "ask_px": "Ask, price", "bid_sz": "Größe"}
numbers = st.decimals(0, 10**9, places=2).map(lambda value: format(value, "f"))


def zipped(content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("folder/data.csv", content)
        archive.writestr("data.csv.CHECKSUM", "0123  data.csv")
    return buffer.getvalue()


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zip": zipped,
    "zstd": lambda content: pyarrow.compress(content, codec="zstd", asbytes=True),
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@dataclass(frozen=True)
class Dress:
    encoding: str
    separator: str
    mark: str
    thousands: str
    compression: str
    newline: str
    quoted: bool
    blank_lines: bool

    def number(self, text: str) -> str:
        whole, _, decimals = text.partition(".")
        return f"{int(whole):_}".replace("_", self.thousands) + self.mark + decimals

    def cell(self, text: str) -> str:
        return f'"{text}"' if self.quoted or self.separator in text else text

    def line(self, cells: list[str]) -> str:
        return self.separator.join(map(self.cell, cells)) + self.newline * (2 if self.blank_lines else 1)

    def content(self, rows: list[tuple[int, str, str, str]]) -> bytes:
        lines = [self.line(HEADER)]
        lines += [self.line([str(at), *map(self.number, values)]) for at, *values in rows]
        text = "".join(lines)
        return COMPRESSIONS[self.compression](text.encode(self.encoding))


dresses = st.builds(
    Dress,
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]),
    st.sampled_from([",", ";", "\t", "|"]),
    st.sampled_from([".", ","]),
    st.sampled_from(["", ".", ",", " ", "'", "\u00a0"]),
    st.sampled_from(list(COMPRESSIONS)),
    st.sampled_from(["\n", "\r\n"]),
    st.booleans(),
    st.booleans(),
).filter(lambda dress: dress.mark != dress.thousands)


def read(path: Path, options: ReadOptions) -> list[tuple[object, ...]]:
    reading = open_reading([path], "", options)
    batches = list(reading.batches())
    assert (reading.bad, reading.first_bad) == (0, "")
    names = ("ts_ns", "bid_px", "ask_px", "bid_sz")
    return [tuple(row[name] for name in names) for batch in batches for row in batch.to_pylist()]


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(10**17, 2 * 10**18), numbers, numbers, numbers), min_size=2, max_size=5), dresses)
def test_the_dress_makes_no_difference(rows: list[tuple[int, str, str, str]], dress: Dress) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "data.bin")
        path.write_bytes(dress.content(rows))
        assert read(path, ReadOptions(columns=COLUMNS)) == rows


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 10**8).map(lambda value: format(Decimal(value) / 1000, ".3f")), min_size=1, max_size=4),
    dresses,
)
def test_what_could_mean_two_things_is_never_guessed(texts: list[str], dress: Dress) -> None:
    """With three decimals a comma may be either; then it is asked, and never taken for the other one."""
    written = [dress.number(text) for text in texts]
    wholes = [text.partition(dress.mark)[0] for text in written]
    if dress.mark == "." or any(whole == "0" or len(whole) > 3 for whole in wholes):
        assert infer_mark(written) == dress.mark
    else:
        with pytest.raises(WrongUse, match="--decimal"):
            infer_mark(written)
