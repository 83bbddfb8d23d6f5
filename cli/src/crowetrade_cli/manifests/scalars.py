"""What a word without quotes is: go-yaml's own mix of YAML 1.1 and 1.2, which kubectl reads with.

`1e3` is a number, `1:30` and `2026-01-01` are words, `yes` is true and `017` is fifteen.
"""

from __future__ import annotations

import math
import re
from typing import Any

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), math.nan),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), math.inf),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), -math.inf),
}
_TIMESTAMP = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([Tt ]\d{1,2}:\d{1,2}:\d{1,2}.*)?", re.ASCII)
_INTEGER = re.compile(r"(?P<sign>[-+]?)(?P<digits>0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_POINT_FLOAT = re.compile(r"\.[0-9]+(_?[0-9]+)*([eE][-+]?[0-9]+)?", re.ASCII)


def resolved(text: str) -> Any:
    """The value of a word without quotes."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] == ".":
        return float(text) if _POINT_FLOAT.fullmatch(text) else text
    if text[0] not in "+-0123456789" or _TIMESTAMP.fullmatch(text):
        return text
    plain = text.replace("_", "")
    integer = _INTEGER.fullmatch(plain)
    if integer and -(2**63) <= (value := _integer(integer["sign"], integer["digits"])) < 2**64:
        return value
    if _FLOAT.fullmatch(plain) and math.isfinite(value_ := float(plain)):
        return value_
    return text


def _integer(sign: str, digits: str) -> int:
    if len(digits) > 70:
        return 2**64  # no integer of 64 bits, whatever its base
    base = {"x": 16, "b": 2, "o": 8}.get(digits[1:2].lower(), 8 if digits.startswith("0") else 10)
    return int(sign + re.sub("^0[xXbBoO]", "", digits), base)
