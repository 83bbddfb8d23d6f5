"""Frozen dataclasses and named tuples as JSON and back, by their type hints; messages as frames of four bytes of length
and JSON.

Decimals are text of the one grammar, enums their value, an instrument its venue and symbol. Where a hint allows several
of them, `_` holds the name. Raises ValueError for what does not fit.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

from crowetrade_agents.domain.instrument import InstrumentId
from crowetrade_agents.domain.numbers import parse, render

MAX_FRAME = 64 * 1024 * 1024
_LENGTH_BYTES = 4


def encode(value: Any) -> Any:
    """Plain JSON values."""
    kind: Any = type(value)
    if _is_record(kind):
        return {"_": kind.__name__, **{name: encode(getattr(value, name)) for name in _hints(kind)}}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return render(value)
    if isinstance(value, Mapping):
        return [[encode(key), encode(item)] for key, item in value.items()]
    if isinstance(value, tuple | list | frozenset):
        return [encode(item) for item in (sorted(value) if isinstance(value, frozenset) else value)]
    return str(value) if isinstance(value, Path) else value


def decode(hint: Any, raw: Any) -> Any:
    """A value of a type hint."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of(arguments, raw)
    if origin is tuple:
        return tuple(decode(arguments[0], item) for item in raw)
    if origin is frozenset:
        return frozenset(decode(arguments[0], item) for item in raw)
    if origin is not None and issubclass(origin, Mapping):
        return {decode(arguments[0], key): decode(arguments[1], item) for key, item in raw}
    if hint is Decimal:
        return parse(raw)
    if hint is InstrumentId:
        return InstrumentId(*raw)
    if _is_record(hint):
        made: Any = hint
        return made(**{name: decode(kind, raw[name]) for name, kind in _hints(made).items() if name in raw})
    if isinstance(hint, type) and issubclass(hint, Enum | Path):
        return hint(raw)
    if hint is float and isinstance(raw, int):
        return float(raw)
    if not isinstance(raw, hint):
        raise ValueError(f"{raw!r} is not {hint}")
    return raw


def _one_of(hints: tuple[Any, ...], raw: Any) -> Any:
    if raw is None and types.NoneType in hints:
        return None
    rest = [hint for hint in hints if hint is not types.NoneType]
    if len(rest) == 1:
        return decode(rest[0], raw)
    for hint in rest:
        if hint.__name__ == raw["_"]:
            return decode(hint, raw)
    raise ValueError(f"{raw['_']} is none of {', '.join(hint.__name__ for hint in rest)}")


def _is_record(kind: Any) -> bool:
    """What travels by the names of its fields; an instrument does not."""
    return dataclasses.is_dataclass(kind) or (hasattr(kind, "_fields") and kind is not InstrumentId)


@cache
def _hints(hint: Any) -> dict[str, Any]:
    return typing.get_type_hints(hint)


def frame(message: Any) -> bytes:
    """A message with its length in front."""
    text = json.dumps(encode(message), separators=(",", ":")).encode()
    return len(text).to_bytes(_LENGTH_BYTES, "big") + text


async def read_frame(reader: asyncio.StreamReader, hint: Any) -> Any:
    """The next message of a hint; None when the connection is over."""
    try:
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        if length > MAX_FRAME:
            raise ValueError(f"a frame of {length} bytes is longer than {MAX_FRAME}")
        text = await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None
    return decode(hint, json.loads(text))
