"""A format by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from crowetrade_cli.data.formats.csv_format import CsvFormat
from crowetrade_cli.data.options import ReadOptions
from crowetrade_cli.data.parts import Reader
from crowetrade_cli.data.sample import Sample
from crowetrade_cli.errors import Failed


class Format(Protocol):
    """A form that files of market data have; `title` says for people which."""

    @property
    def name(self) -> str: ...

    @property
    def title(self) -> str: ...

    def recognises(self, sample: Sample) -> bool:
        """Whether the file may be of this format, by its content and name."""
        ...

    def reader(self, sample: Sample, options: ReadOptions) -> Reader:
        """A reader of the file. Raises Failed when it is not of this format."""
        ...


@dataclass(frozen=True, slots=True)
class CsvSource:
    """A format of delimited text that comes in variants."""

    name: str
    title: str
    variants: tuple[CsvFormat, ...]

    def recognises(self, sample: Sample) -> bool:
        return any(variant.recognises(sample) for variant in self.variants)

    def reader(self, sample: Sample, options: ReadOptions) -> Reader:
        for variant in self.variants:
            if variant.fits(sample):
                return variant.reader(sample, options)
        has = f"the columns {', '.join(sample.header)}" if sample.header else f"{sample.width} columns without header"
        wanted = " or ".join(", ".join(variant.layout) for variant in self.variants)
        raise Failed(f"{sample.source.shown} has {has}, {self.name} has {wanted}: name another format with --from")
