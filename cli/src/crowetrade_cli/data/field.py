"""A column of ours while it is made: values, and which of them could not be."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow
import pyarrow.compute


@dataclass(frozen=True, slots=True)
class Field:
    """`values` are null where the source has nothing, or something wrong. `wrong` is None when nothing is. `texts`
    are the source's, for messages, and `why` continues one: "is not a number"."""

    values: pyarrow.Array
    texts: pyarrow.Array
    wrong: pyarrow.Array | None = None
    why: str = ""


def is_any(mask: pyarrow.Array) -> bool:
    """Whether any value of a mask is true."""
    return bool(pyarrow.compute.any(mask).as_py())


def field_of(values: pyarrow.Array, texts: pyarrow.Array, wrong: pyarrow.Array, why: str) -> Field:
    """A field with its wrong values null."""
    if not is_any(wrong):
        return Field(values, texts)
    return Field(pyarrow.compute.if_else(wrong, None, values), texts, wrong, why)
