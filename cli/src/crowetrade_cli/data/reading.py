"""Files of market data as one stream of batches in our columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow
import pyarrow.compute

from crowetrade_cli.data.files import find_input, open_input
from crowetrade_cli.data.kinds import TEXT
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.parts import Part, Reader
from crowetrade_cli.data.recognise import choose
from crowetrade_cli.data.sample import Sample, sample_of
from crowetrade_cli.errors import Failed, WrongUse


@dataclass(slots=True)
class Reading:
    """Files of one kind and format, in the order in which they were named.

    While `batches` is read, `rows`, `bad` and `first_bad` count what could be read and what could not,
    and `empty` the rows without any value.
    """

    format: str
    kind: str
    sources: Sequence[tuple[Sample, Reader]]
    symbol: str = ""
    rows: int = 0
    bad: int = 0
    first_bad: str = ""
    empty: int = 0
    _columns: tuple[str, ...] | None = field(default=None)

    @property
    def found(self) -> Mapping[str, str]:
        """What was told from the first file."""
        return self.sources[0][1].found

    def batches(self) -> Iterator[pyarrow.RecordBatch]:
        """Raises Failed for what is no data of this format at all."""
        for sample, reader in self.sources:
            with open_input(sample.source) as stream:
                for part in reader.parts(stream):
                    yield from self._taken(part)

    def _taken(self, part: Part) -> Iterator[pyarrow.RecordBatch]:
        self.bad += part.bad
        self.empty += part.empty
        self.first_bad = self.first_bad or part.first_bad
        if part.bad and not part.rows.num_rows and not self.rows:
            raise Failed(f"no row can be read as {self.format}: {part.first_bad}")
        if not part.rows.num_rows:
            return
        rows = self._with_symbol(part.rows)
        names = tuple(rows.schema.names)
        if self._columns not in {None, names}:
            raise WrongUse(f"the files have different columns ({', '.join(names)}): convert them one by one")
        self._columns = names
        self.rows += rows.num_rows
        yield rows

    def _with_symbol(self, rows: pyarrow.RecordBatch) -> pyarrow.RecordBatch:
        if not self.symbol:
            return rows
        if "symbol" in rows.schema.names:
            raise WrongUse("the rows name their symbols themselves: leave --symbol out")
        nulls = pyarrow.nulls(rows.num_rows, TEXT)
        return rows.append_column("symbol", pyarrow.compute.fill_null(nulls, self.symbol))


def open_reading(paths: Sequence[Path], format_name: str, options: ReadOptions) -> Reading:
    """Raises WrongUse or Failed for files that cannot be read so, before anything is."""
    opened: list[tuple[str, Sample, Reader]] = []
    for path in paths:
        sample = sample_of(find_input(path, options.member), options)
        chosen = choose(sample, format_name, has_columns=bool(options.columns))
        opened.append((chosen.name, sample, chosen.reader(sample, options)))
    names, kinds = {name for name, _, _ in opened}, {reader.kind for _, _, reader in opened}
    if len(names) > 1 or len(kinds) > 1:
        raise WrongUse(
            f"the files are of several formats ({', '.join(sorted(names))}; {', '.join(sorted(kinds))}): name them in "
            "commands of their own"
        )
    return Reading(names.pop(), kinds.pop(), [(sample, reader) for _, sample, reader in opened], options.symbol)
