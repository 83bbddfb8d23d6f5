"""Values as Go writes them into a sentence: the API server's messages quote what they refuse.

Which characters are written by number depends on the Unicode version: Python's and the API server's may differ there.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

_SHORT_ESCAPES = {
    "\a": r"\a",
    "\b": r"\b",
    "\f": r"\f",
    "\n": r"\n",
    "\r": r"\r",
    "\t": r"\t",
    "\v": r"\v",
    "\\": r"\\",
    '"': r"\"",
}
_JSON_ESCAPES = str.maketrans(
    {"<": r"\u003c", ">": r"\u003e", "&": r"\u0026", "\u2028": r"\u2028", "\u2029": r"\u2029"}
)


def quoted(text: str) -> str:
    """A string as %q writes it."""
    return '"' + "".join(_escaped(character) for character in text) + '"'


def _escaped(character: str) -> str:
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def number(value: int | float) -> str:
    """A number as %v writes it: the fewest digits, with an exponent when that is below -4 or above 5."""
    if isinstance(value, int):
        return str(value)
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    figures, power = "".join(str(digit) for digit in digits), len(digits) + exponent - 1
    if -4 <= power < 6:
        return f"{Decimal(repr(value)).normalize():f}"
    return f"{'-' if sign else ''}{figures[0]}{'.' if figures[1:] else ''}{figures[1:]}e{power:+03d}"


def whole_numbers(value: Any) -> Any:
    """The value as encoding/json writes it: 2.0 as 2, and the fewest digits with zeros after them."""
    if isinstance(value, dict):
        return {key: whole_numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e21:
        return int(Decimal(repr(value)))
    return value


def decoded(value: Any) -> Any:
    """The value as the API server reads it from JSON: an integer that is no int64 becomes a float."""
    if isinstance(value, dict):
        return {key: decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [decoded(item) for item in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    return value


def as_json(value: Any) -> str:
    """A value as encoding/json writes it: keys in order, no spaces, and nothing that HTML would read as a tag."""
    return json.dumps(whole_numbers(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False).translate(
        _JSON_ESCAPES
    )


def bad_value(value: Any) -> str:
    """A value as a field error shows it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, int | float):
        return number(value)
    return as_json(value)
