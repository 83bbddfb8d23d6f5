"""How a column of ours comes out of columns of a source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow
import pyarrow.compute

from crowetrade_cli.data.field import Field, field_of
from crowetrade_cli.data.numbers import read_numbers, shifted_field
from crowetrade_cli.data.times import Counted, Written

Texts = Mapping[str, pyarrow.Array]
TAKER_IS_NOT_MAKER = {"true": "sell", "false": "buy"}
"""The taker's side, where the source says whether the buyer was the maker."""
TRADE_SIDES = {"buy": "buy", "b": "buy", "sell": "sell", "s": "sell"}
BOOK_SIDES = {"bid": "bid", "b": "bid", "buy": "bid", "ask": "ask", "a": "ask", "s": "ask", "sell": "ask"}
UPDATES = {"snapshot": "snapshot", "snap": "snapshot", "diff": "diff", "set": "diff", "update": "diff"}


@dataclass(frozen=True, slots=True)
class How:
    """What holds for a whole file: the decimal mark, and one reader of times per column of ours."""

    mark: str
    times: Mapping[str, Counted | Written]
    last: dict[str, str] = field(default_factory=dict)
    """The last value of columns that are carried."""


class Column(Protocol):
    """`sources` are the source's columns it is made of."""

    @property
    def sources(self) -> tuple[str, ...]: ...

    def read(self, name: str, texts: Texts, how: How) -> Field:
        """The column under its name in ours."""
        ...


@dataclass(frozen=True, slots=True)
class Time:
    """A time out of one column, or out of a date's and a time's.

    `formats`: of strptime, or "iso"; none when times are counted since 1970 in `unit`, or in the unit their size
    tells. `zone`: that of the source; empty when the source does not say. `date`: YYYYMMDD of the midnight that is
    counted from instead of 1970. `later_ns` is added.
    """

    sources: tuple[str, ...]
    formats: tuple[str, ...] = ()
    unit: str = ""
    zone: str = ""
    date: str = ""
    later_ns: int = 0

    def texts(self, texts: Texts) -> pyarrow.Array:
        """The columns joined by a blank."""
        parts = [texts[source] for source in self.sources]
        return parts[0] if len(parts) == 1 else pyarrow.compute.binary_join_element_wise(*parts, " ")

    def read(self, name: str, texts: Texts, how: How) -> Field:
        times = how.times[name].read(pyarrow.compute.utf8_trim_whitespace(self.texts(texts)))
        if not self.later_ns:
            return times
        return Field(pyarrow.compute.add(times.values, self.later_ns), times.texts, times.wrong, times.why)


@dataclass(frozen=True, slots=True)
class OneSource:
    """What comes out of one column."""

    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        """That column."""
        return (self.source,)


@dataclass(frozen=True, slots=True)
class Number(OneSource):
    """A price or size. `places`: decimals of a whole number that counts 10^-places. `zero_is_unknown`: a source that
    writes 0 where it knows nothing. `carried`: nothing means as in the row before, because the source writes what
    changed."""

    places: int = 0
    zero_is_unknown: bool = False
    carried: bool = False

    def read(self, name: str, texts: Texts, how: How) -> Field:
        numbers = shifted_field(read_numbers(texts[self.source], how.mark), self.places)
        if self.carried:
            numbers = _carried(name, numbers, how)
        if not self.zero_is_unknown:
            return numbers
        zero = pyarrow.compute.match_substring_regex(numbers.values, r"^0(\.0+)?$")
        values = pyarrow.compute.if_else(pyarrow.compute.fill_null(zero, False), None, numbers.values)
        return Field(values, numbers.texts, numbers.wrong, numbers.why)


@dataclass(frozen=True, slots=True)
class Choice(OneSource):
    """One of a few words, written in any case; `words` are ours by the source's. Nothing is null."""

    words: Mapping[str, str] = field(default_factory=dict)

    def read(self, name: str, texts: Texts, how: How) -> Field:
        encoded = texts[self.source].dictionary_encode()
        written = [text.strip().lower() for text in encoded.dictionary.to_pylist()]
        values = pyarrow.array([self.words.get(text) for text in written], pyarrow.string()).take(encoded.indices)
        unknown = pyarrow.array([bool(text) and text not in self.words for text in written], pyarrow.bool_())
        wrong = unknown.take(encoded.indices)
        return field_of(values, texts[self.source], wrong, f"is none of {', '.join(self.words)}")


@dataclass(frozen=True, slots=True)
class Text(OneSource):
    """An identifier, as it stands."""

    def read(self, name: str, texts: Texts, how: How) -> Field:
        values = texts[self.source]
        return Field(pyarrow.compute.if_else(pyarrow.compute.equal(values, ""), None, values), values)


@dataclass(frozen=True, slots=True)
class Integer(OneSource):
    """A whole number of 64 bits, such as the id of an update."""

    def read(self, name: str, texts: Texts, how: How) -> Field:
        values = texts[self.source]
        empty = pyarrow.compute.equal(values, "")
        whole = pyarrow.compute.match_substring_regex(values, r"^-?[0-9]{1,18}$")
        numbers = pyarrow.compute.if_else(whole, values, None).cast(pyarrow.int64())
        wrong = pyarrow.compute.invert(pyarrow.compute.or_(whole, empty))
        return field_of(numbers, values, wrong, "is not a whole number of at most 18 digits")


@dataclass(frozen=True, slots=True)
class Constant:
    """The same in each row; `beside` is any column of the source."""

    value: str | int
    beside: str

    @property
    def sources(self) -> tuple[str, ...]:
        return (self.beside,)

    def read(self, name: str, texts: Texts, how: How) -> Field:
        rows = len(texts[self.beside])
        kind = pyarrow.int64() if isinstance(self.value, int) else pyarrow.string()
        return Field(
            pyarrow.array([self.value], kind).take(pyarrow.array([0] * rows, pyarrow.int32())), texts[self.beside]
        )


def _carried(name: str, numbers: Field, how: How) -> Field:
    values = pyarrow.concat_arrays([pyarrow.array([how.last.get(name)], pyarrow.string()), numbers.values])
    values = pyarrow.compute.fill_null_forward(values)
    last = values[-1].as_py()
    if last is not None:
        how.last[name] = last
    return Field(values[1:], numbers.texts, numbers.wrong, numbers.why)
