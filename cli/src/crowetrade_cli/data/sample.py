"""The beginning of a file, from which its format, encoding and separators are recognised."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from crowetrade_cli.data.csv_rows import sniff_separator, split_rows
from crowetrade_cli.data.files import Input, open_input
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.text import check_encoding, encoding_of, marked_encoding
from crowetrade_cli.errors import WrongUse

SAMPLE_BYTES = 256 * 1024
_LINES = 1000
_DATUM = re.compile(r"\s*[+-]?[0-9]")


@dataclass(frozen=True)
class Sample:
    """`start` are the first bytes, decompressed; `whole` when there are no more. `encoding` is None for no text."""

    source: Input
    start: bytes
    whole: bool
    encoding: str | None
    skip_lines: int = 0
    given_separator: str = ""

    @cached_property
    def _lines(self) -> list[str]:
        if self.encoding is None:
            return []
        lines = self.start.decode(self.encoding, errors="replace").splitlines()
        if not self.whole and len(lines) > 1:
            lines.pop()
        return lines[:_LINES]

    @cached_property
    def first_line(self) -> int:
        """The number of the first line that counts, from 1."""
        return next(
            (number for number, line in enumerate(self._lines, 1) if number > self.skip_lines and line.strip()), 1
        )

    @cached_property
    def separator(self) -> str:
        """What stands between columns."""
        return self.given_separator or sniff_separator(self._lines[self.first_line - 1 :][:100])

    @cached_property
    def _rows(self) -> list[list[str]]:
        return split_rows(self._lines[self.first_line - 1 :], self.separator)

    @cached_property
    def _two_levels(self) -> bool:
        """Whether the header is that of yfinance's download: a line of columns, one of tickers, and a third with the
        name of the first column alone."""
        rows = self._rows[:3]
        return len(rows) == 3 and [row[:1] for row in rows[:2]] == [["Price"], ["Ticker"]] and not any(rows[2][1:])

    @cached_property
    def header(self) -> tuple[str, ...] | None:
        """The names of the columns, None when the first row is data: one of its values begins with a digit."""
        if not self._rows or any(_DATUM.match(value) for value in self._rows[0]):
            return None
        names = [*self._rows[2][:1], *self._rows[0][1:]] if self._two_levels else self._rows[0]
        return tuple(value.strip() for value in names)

    @cached_property
    def rows(self) -> list[list[str]]:
        """The first rows of data."""
        return self._rows[self.data_line - self.first_line :]

    @property
    def data_line(self) -> int:
        """The line where the data begins, from 1."""
        return self.first_line + (0 if not self.header else 3 if self._two_levels else 1)

    @property
    def width(self) -> int:
        """The number of columns."""
        return len(self._rows[0]) if self._rows else 0


def sample_of(source: Input, options: ReadOptions) -> Sample:
    """Reads the beginning of a file."""
    if options.encoding:
        check_encoding(options.encoding)
    with open_input(source) as stream:
        start = stream.read(SAMPLE_BYTES)
        whole = not stream.read(1)
    encoding = marked_encoding(start) or options.encoding or encoding_of(start)
    sample = Sample(source, start, whole, encoding, options.skip_lines, options.separator)
    if start and sample.first_line <= options.skip_lines:
        raise WrongUse(f"--skip-lines {options.skip_lines} leaves nothing of {source.shown}: skip fewer")
    return sample
