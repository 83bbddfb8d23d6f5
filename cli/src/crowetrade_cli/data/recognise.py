"""Which format a file has."""

from __future__ import annotations

from collections.abc import Sequence

from crowetrade_cli.data.formats import generic
from crowetrade_cli.data.formats.format import Format
from crowetrade_cli.data.formats.registry import FORMATS
from crowetrade_cli.data.sample import Sample
from crowetrade_cli.errors import Failed, WrongUse


def format_named(name: str) -> Format:
    """A format by its name. Raises WrongUse for one that there is not."""
    for candidate in FORMATS:
        if candidate.name == name:
            return candidate
    raise WrongUse(f"--from {name} is no format: write one of {', '.join(known.name for known in FORMATS)}")


def recognise(sample: Sample) -> Format:
    """The only format that the file may have. Raises WrongUse when there are several, or none."""
    possible = candidates(sample)
    if len(possible) == 1:
        return possible[0]
    shown = sample.source.shown
    if possible:
        raise WrongUse(f"{shown} may be {_either([found.name for found in possible])}: choose with --from")
    if not sample.start.strip():
        raise Failed(f"{shown} is empty: name a file with market data")
    if sample.encoding is None:
        raise WrongUse(f"{shown} is of no format that is known here: name one with --from ({_names()})")
    columns = f"the columns {', '.join(sample.header[:20])}" if sample.header else f"{sample.width} columns, no header"
    raise WrongUse(
        f"{shown} is of no format that is known here; it has {columns}: say what they are with --columns, or name "
        f"its format with --from ({_names()})"
    )


def candidates(sample: Sample) -> Sequence[Format]:
    """The formats that the file may have."""
    return [candidate for candidate in FORMATS if candidate.recognises(sample)]


def choose(sample: Sample, name: str, *, has_columns: bool) -> Format:
    """The format of that name, the generic one when columns are given, or the recognised one."""
    if has_columns and name not in {"", generic.NAME}:
        raise WrongUse(f"--columns is for files of no known format: leave out --from {name}, or --columns")
    if has_columns:
        return format_named(generic.NAME)
    return format_named(name) if name else recognise(sample)


def _names() -> str:
    return ", ".join(known.name for known in FORMATS)


def _either(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} or {names[-1]}"
